// machine.h: the machine that a drill's figures were measured on.
#pragma once

#include <string>

#include "repo/drill_report.h"

namespace holdfast::drill {

// Host, processor, memory, and the file system of `directory`, into the report.
void describe_machine(repo::DrillReport& report, const std::string& directory);

}  // namespace holdfast::drill
