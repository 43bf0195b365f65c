// expire_commands.h: the commands that remove: backup delete, expire; and backup pin.
#pragma once

#include "cli/call.h"

namespace holdfast::cli {

int run_backup_delete(const Call& call);
int run_backup_pin(const Call& call);
int run_expire(const Call& call);

}  // namespace holdfast::cli
