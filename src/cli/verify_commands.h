// verify_commands.h: "verify".
#pragma once

#include "cli/call.h"

namespace holdfast::cli {

int run_verify(const Call& call);

// How a restore in place reads its backup before it clears anything. Both must outlive it.
restore::ReadBackup backup_reader(const Call& call, const OpenRepository& opened);

}  // namespace holdfast::cli
