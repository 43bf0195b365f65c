// read_first.h: that the backup is there, before what it is to replace is cleared.
#pragma once

#include <functional>
#include <stop_token>
#include <string>

#include "base/reporter.h"
#include "recovery/plan.h"
#include "repo/backup.h"
#include "repo/repository.h"
#include "repo/wal_archive.h"

namespace holdfast::restore {

// Reads what a backup needs and was not read and found good before; returns what keeps it from
// being restored, as sentences, or nothing. Handed in (verify::verify), because verbs do not
// include each other.
using ReadBackup = std::function<std::string(const repo::Backup& backup)>;

// Throws kCorrupt when a pack that the backup names is not there, or is empty: one listing.
void require_packs(const repo::Repository& repository, const repo::Backup& backup,
                   const std::string& directory);

// Whether the directory still holds a cluster: somebody has something to lose. False for one that
// an interrupted restore has begun to clear.
bool holds_a_cluster(const std::string& directory);

// Throws kCorrupt unless `read` finds it whole. No other backup is taken in its place: which
// commits are given up is for a human to say.
void require_readable(const ReadBackup& read, const repo::Backup& backup,
                      const std::string& directory);

// Reads the WAL that the plan replays, but what is recorded as read and found good. Throws kCorrupt
// for what is not: a server that meets it in the midst of its recovery stops there, and what lay
// behind it is gone with the old directory.
// `target`: what the plan is of, for the way out that is told.
void require_readable_wal(const repo::WalArchive& archive, const recovery::Plan& plan,
                          const recovery::Target& target, const std::string& directory,
                          Reporter& reporter, const std::stop_token& stop);

}  // namespace holdfast::restore
