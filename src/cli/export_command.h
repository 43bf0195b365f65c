// export_command.h: "backup export".
#pragma once

#include "cli/call.h"

namespace holdfast::cli {

int run_backup_export(const Call& call);

}  // namespace holdfast::cli
