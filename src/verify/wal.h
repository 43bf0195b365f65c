// wal.h: archived segments: their contents, their records, and how they join.
#pragma once

#include <functional>

#include "recovery/windows.h"
#include "repo/wal_archive.h"
#include "verify/inventory.h"
#include "verify/job.h"

namespace holdfast::verify {

using recovery::WalDamage;

// Reads the segments for which `is_wanted` holds, some at a time in order, so that records that run
// over the end of one are checked too.
WalDamage check_wal(
    const Job& job, const repo::WalArchive& archive, const Inventory& inventory,
    const std::function<bool(pg::TimelineId timeline, const ListedSegment&)>& is_wanted,
    uint64_t& segments_read, uint64_t& bytes_read);

// Finds copies of a segment that is not archived whole which hold different WAL.
void check_unfinished(const Job& job, const repo::WalArchive& archive, pg::SegmentName segment,
                      const std::vector<Bytes16>& partials);

}  // namespace holdfast::verify
