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
// Where the archived WAL ends is no proof that the server's did. What lies behind it tells: the
// place where another timeline left this one, the end of a parent at which this one began, an
// unfinished segment or a backup's history file with a higher number. WAL up to there existed, and
// where it is not archived there is a hole.
//
// Facts: xlogrecovery.c (XLogFileReadAnyTLI), PostgreSQL 13 to 18.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <vector>

#include "base/error.h"
#include "pg/timeline_history.h"
#include "recovery/plan.h"
#include "recovery/segment_copy.h"
#include "repo/wal_archive.h"

namespace holdfast::recovery {

struct PathSegment {
  pg::SegmentName name;
  std::optional<Bytes16> partial;  // the digest that its name ends with
};

// Up to where each timeline was written at least, and the one that left it there.
struct Left {
  pg::Lsn at;
  pg::TimelineId by;
};
using LeftAt = std::map<pg::TimelineId, Left>;
LeftAt left_at(std::span<const pg::TimelineHistory> histories);

// Every timeline of the archive whose history can be read, newest first. What cannot be read, or is
// missing although the timeline has WAL, is told to `passed_over`, which may throw.
using PassedOver = std::function<void(pg::TimelineId timeline, const std::optional<Error>& damage)>;
std::vector<pg::TimelineHistory> read_histories(const repo::WalArchive& archive,
                                                const PassedOver& passed_over);

class WalPath {
 public:
  // Lists the segments of each timeline of the history from `first_segment` on. Memory: one range
  // for each stretch without a hole. `left`: what all archived histories say.
  // `own_partials`: of unfinished segments that part the one that is meant.
  WalPath(const repo::WalArchive& archive, const pg::TimelineHistory& history,
          uint64_t first_segment, const LeftAt& left = {},
          std::span<const Bytes16> own_partials = {});
  // The same up to the segment `until` alone: what lies behind is not listed, whatever there is of
  // it, so a long archive costs no more than a short one. nullopt: not all of these are there.
  static std::optional<WalPath> up_to(const repo::WalArchive& archive,
                                      const pg::TimelineHistory& history, uint64_t first_segment,
                                      uint64_t until);

  const pg::TimelineHistory& history() const { return history_; }
  // The timeline that has WAL: the history's own, or the nearest ancestor that has.
  pg::TimelineId timeline() const { return timeline_; }
  std::optional<pg::Lsn> limit() const { return limit_; }
  // Stretches of one timeline without a hole, in order; the unfinished segment is not in them.
  const std::vector<WalRange>& runs() const { return runs_; }
  const std::optional<PathSegment>& tail() const { return tail_; }
  // Unfinished copies of the tail's segment that hold other WAL than the tail does. Which of them
  // the server wrote cannot be told, unless one is its own.
  struct Parted {
    std::vector<Bytes16> others;
    bool is_own = false;  // the tail is
  };
  const Parted& parted() const { return parted_; }
  // The last whole segment is cut short, and unfinished copies of it are archived: that segment and
  // those that part from it, or all that go on in it, the farthest first. A server is given the one
  // under the segment's own name. Empty: there are none.
  struct Rivals {
    std::vector<SegmentCopy> parted, longer;
  };
  const Rivals& rivals() const { return rivals_; }

  // The highest segment number, the unfinished one included; nullopt: nothing is archived.
  std::optional<uint64_t> last() const;
  // nullopt where there is a hole, and outside.
  std::optional<PathSegment> at(uint64_t segment_number) const;
  // The first segment at or behind `from` that is missing although a later one is there, or is
  // proven to have been; or `from` itself when nothing from there on is.
  std::optional<pg::SegmentName> first_hole(uint64_t from) const;
  // WAL is missing behind the last segment, or in it: the segment in which what is archived ends,
  // and up to where WAL is proven to have been written.
  struct MissingEnd {
    pg::SegmentName first;
    pg::Lsn archived_to;
    pg::Lsn written_to;
    // The timeline that left this one in that segment and has what is missing in its own.
    std::optional<pg::TimelineId> held_by;
  };
  const std::optional<MissingEnd>& missing_end() const { return missing_end_; }

 private:
  WalPath(pg::WalSegmentSize size, const pg::TimelineHistory& history)
      : size_(size), history_(history), timeline_(history.timeline()) {}
  // From the newest timeline to the oldest: each gives its segments before `end`, and up to where
  // the newer one takes over. `has_wal` tells, when its runs were listed, whether one has any.
  using HasWal = std::function<bool(pg::TimelineId timeline, uint64_t first)>;
  bool list(const repo::WalArchive& archive, uint64_t first_segment, uint64_t end,
            const HasWal& has_wal);
  pg::SegmentName expected_name(uint64_t segment_number) const;
  void list_runs(const repo::WalArchive& archive, pg::TimelineId timeline, uint64_t first,
                 uint64_t end);
  void find_tail(const repo::WalArchive& archive, uint64_t segment_number,
                 std::span<const Bytes16> own_partials);
  void find_rivals(const repo::WalArchive& archive);
  void find_missing_end(const repo::WalArchive& archive, uint64_t first_segment,
                        const LeftAt& left);
  Left written_to(const repo::WalArchive& archive, uint64_t next, const LeftAt& left) const;
  pg::Lsn archived_to(const repo::WalArchive& archive, uint64_t next, pg::Lsn written_to) const;

  pg::WalSegmentSize size_;
  pg::TimelineHistory history_;
  pg::TimelineId timeline_;
  std::optional<pg::Lsn> limit_;
  std::vector<WalRange> runs_;
  std::optional<PathSegment> tail_;
  pg::Lsn tail_end_;  // what of it can be read
  Parted parted_;
  Rivals rivals_;
  std::optional<MissingEnd> missing_end_;
};

// A timeline copies what its parent had written in the segment in which it leaves it. Where the
// parent's server was rolled back since, and wrote anew what is archived now, the timeline left
// another line than the one that the backup, or the segments before, are of: true where the
// contents show it. Reads them only where the backup ends in that segment, or where the one before
// it is amended.
bool left_another_line(const repo::WalArchive& archive, const pg::TimelineHistory& history,
                       pg::TimelineId parent, const repo::Backup& backup);

// The segment right behind the end of the path, when all that is archived of it is set aside and
// the path's own end was never amended: then it is the path's continuation that was taken, not a
// line that another has replaced.
std::optional<pg::SegmentName> set_aside_behind(const repo::WalArchive& archive,
                                                const WalPath& path);

}  // namespace holdfast::recovery
