// wal_path.h: the WAL that leads along one timeline's history, as far as it is archived.
//
//   timeline 1  ...|----|----|--x              x: timeline 2 was forked off within this segment
//   timeline 2               |--x-|----|--~     ~: an unfinished segment, archived as .partial
//   path        ...|----|----|----|----|--~
//
// A server asks for each segment under the newest timeline of its history first. So the segment
// that holds a switch point comes from the newer timeline, which copied what the older one had
// written in it.
//
// A timeline that has its history file alone has no WAL yet: its path is that of its parent, and
// nothing behind the switch point belongs to it (limit), although the parent may have archived
// more.
//
// Facts: xlogrecovery.c (XLogFileReadAnyTLI), PostgreSQL 13 to 18.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "pg/timeline_history.h"
#include "recovery/plan.h"
#include "repo/wal_archive.h"

namespace holdfast::recovery {

struct PathSegment {
  pg::SegmentName name;
  std::optional<Bytes16> partial;  // the digest that its name ends with
};

class WalPath {
 public:
  // Lists the segments of each timeline of the history from `first_segment` on. Memory: one range
  // for each stretch without a hole.
  WalPath(const repo::WalArchive& archive, const pg::TimelineHistory& history,
          uint64_t first_segment);

  const pg::TimelineHistory& history() const { return history_; }
  // The timeline that has WAL: the history's own, or the nearest ancestor that has.
  pg::TimelineId timeline() const { return timeline_; }
  std::optional<pg::Lsn> limit() const { return limit_; }
  // Stretches of one timeline without a hole, in order; the unfinished segment is not in them.
  const std::vector<WalRange>& runs() const { return runs_; }
  const std::optional<PathSegment>& tail() const { return tail_; }

  // The highest segment number, the unfinished one included; nullopt: nothing is archived.
  std::optional<uint64_t> last() const;
  // nullopt where there is a hole, and outside.
  std::optional<PathSegment> at(uint64_t segment_number) const;
  // The first segment at or behind `from` that is missing although a later one is there; or `from`
  // itself when nothing from there on is.
  std::optional<pg::SegmentName> first_hole(uint64_t from) const;

 private:
  pg::SegmentName expected_name(uint64_t segment_number) const;
  void list_runs(const repo::WalArchive& archive, pg::TimelineId timeline, uint64_t first,
                 uint64_t end);
  void find_tail(const repo::WalArchive& archive, uint64_t segment_number);

  pg::WalSegmentSize size_;
  pg::TimelineHistory history_;
  pg::TimelineId timeline_;
  std::optional<pg::Lsn> limit_;
  std::vector<WalRange> runs_;
  std::optional<PathSegment> tail_;
};

}  // namespace holdfast::recovery
