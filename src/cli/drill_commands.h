// drill_commands.h: drill, and the looking at drills that were made.
#pragma once

#include "cli/call.h"

namespace holdfast::cli {

int run_drill(const Call& call);
int run_drill_list(const Call& call);
int run_drill_show(const Call& call);

}  // namespace holdfast::cli
