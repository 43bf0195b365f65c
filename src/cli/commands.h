// commands.h: each command: settings -> options, one call of a verb, the result to view.
#pragma once

#include <stop_token>

#include "base/time.h"
#include "cli/arguments.h"
#include "cli/progress.h"

namespace holdfast::cli {

// Carries out `arguments.command`, prints its result on stdout, and returns the exit status. Errors
// are thrown.
int run_command(const Arguments& arguments, const Clock& clock, ProgressReporter& reporter,
                std::stop_token stop);

}  // namespace holdfast::cli
