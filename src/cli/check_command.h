// check_command.h: "holdfast check".
#pragma once

#include "cli/call.h"

namespace holdfast::cli {

int run_check(const Call& call);

}  // namespace holdfast::cli
