// continuity.h: whether all that a server has archived since its newest good backup is there, and
// can be replayed.
//
// Requests: a listing of the WAL since then. The metadata of segments is read where WAL of
// wal_level minimal may be among them, a small read each: those between the backup and the server's
// last start, for the setting changes at a start alone, and of these the newest
// recovery::kSegmentsLookedInto.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "base/error.h"
#include "base/time.h"
#include "pg/timeline_history.h"
#include "repo/backup.h"
#include "repo/repository.h"
#include "setup/check.h"

namespace holdfast::setup {

// The archived history of the timeline on which the server is. Throws kNotFound or kCorrupt
// without.
pg::TimelineHistory archived_history(const repo::Repository& repository,
                                     const repo::Lineage& lineage, pg::TimelineId timeline);

// The newest good backup, and the newest from which a recovery follows a server of that history:
// not those of a copy's timeline, or of one that a recovery has left. Every one does where it is
// not known.
struct NewestBackups {
  size_t looked_at = 0;
  std::optional<repo::Backup> good = {};
  std::optional<repo::Backup> leading = {};
};
// One that cannot be read is told to `unreadable` and passed over, whatever is newer.
NewestBackups find_newest_backups(
    const repo::Repository& repository, const repo::LineageName& lineage,
    const std::optional<pg::TimelineHistory>& history,
    const std::function<void(const std::string& id, const Error& error)>& unreadable);

// `server_started`: by its clock; nullopt: that proves nothing (a standby, whose primary had starts
// of its own). Throws kNotFound or kCorrupt without the server's history, and what reading throws.
CheckItem look_at_continuity(const repo::Repository& repository, const repo::Lineage& lineage,
                             pg::TimelineId timeline, std::optional<Time> server_started);

}  // namespace holdfast::setup
