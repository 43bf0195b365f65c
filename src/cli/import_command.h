// import_command.h: "backup import".
#pragma once

#include "cli/call.h"

namespace holdfast::cli {

int run_backup_import(const Call& call);

}  // namespace holdfast::cli
