// expire_commands.h: the commands that remove: backup delete, expire, repo change-key; and with
// them backup pin, claims, backup undelete and repo add-key.
#pragma once

#include "cli/call.h"

namespace holdfast::cli {

int run_backup_delete(const Call& call);
int run_backup_undelete(const Call& call);
int run_backup_pin(const Call& call);
int run_repo_remove_key(const Call& call);
// The grace period of this command. Throws kConfiguration for a negative one.
Microseconds grace_of(const config::Settings& settings);
int run_claims(const Call& call);
int run_expire(const Call& call);
int run_repo_list_keys(const Call& call);
int run_repo_change_key(const Call& call);
int run_repo_add_key(const Call& call);

}  // namespace holdfast::cli
