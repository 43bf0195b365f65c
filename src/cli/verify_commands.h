// verify_commands.h: "verify".
#pragma once

#include "cli/call.h"

namespace holdfast::cli {

int run_verify(const Call& call);

}  // namespace holdfast::cli
