// wal_tip.h: the end of the archive on one timeline, read whole.
#pragma once

#include "pg/wal_tip.h"
#include "repo/wal_archive.h"

namespace holdfast::repo {

// The last segment; or the unfinished one behind it that reaches farthest. Memory: one segment.
pg::WalTip read_wal_tip(const WalArchive& archive, pg::TimelineId timeline);

}  // namespace holdfast::repo
