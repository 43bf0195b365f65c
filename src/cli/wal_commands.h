// wal_commands.h: the commands that a server runs for its WAL, and what restore needs of them.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "cli/call.h"
#include "pg/lsn.h"
#include "restore/salvage.h"

namespace holdfast::cli {

int run_wal_push(const Call& call);
int run_wal_get(const Call& call);
int run_wal_list(const Call& call);
int run_wal_salvage(const Call& call);
int run_wal_set_aside(const Call& call);

// Saves what an old pg_wal still holds (archive::salvage) and returns the files that could not be
// saved. `call` and `opened` must outlive it.
restore::Salvage salvager(const Call& call, const OpenRepository& opened);

// For a backup of a standby (archive::archive_tail). `call` and `opened` must outlive it.
std::function<std::optional<pg::Lsn>(const std::string& pg_wal, const std::string& segment)>
tail_archiver(const Call& call, const OpenRepository& opened);

}  // namespace holdfast::cli
