// continuity.h: whether all that a server has archived since its newest good backup is there, and
// can be replayed.
//
// Requests: a listing of the WAL since then. The metadata of segments is read where WAL of
// wal_level minimal may be among them, a small read each: those between the backup and the server's
// last start, for the setting changes at a start alone, and of these the newest
// recovery::kSegmentsLookedInto.
#pragma once

#include <optional>

#include "base/time.h"
#include "repo/repository.h"
#include "setup/check.h"

namespace holdfast::setup {

// `server_started`: by its clock; nullopt: that proves nothing (a standby, whose primary had starts
// of its own). Throws kNotFound or kCorrupt without the server's history, and what reading throws.
CheckItem look_at_continuity(const repo::Repository& repository, const repo::Lineage& lineage,
                             pg::TimelineId timeline, std::optional<Time> server_started);

}  // namespace holdfast::setup
