// timeline_history.h: how a timeline came about: the file TTTTTTTT.history.
//
//   <ancestor, decimal> TAB <LSN where it was left> TAB <reason>      oldest first, parent last
//
// Blank lines and lines that start with # count for nothing; for targets by time and LSN the server
// itself leaves a blank line. Timeline 1 has no file: TimelineHistory(TimelineId{1}).
//
// The ids ascend; the places need not. A recovery along a timeline to a place before that timeline
// began writes this, and reads it:
//
//   1  0/3018D48
//   2  0/3018C78      timeline 3 goes on from 0/3018C78, a place that lies on timeline 1
//
// A line's timeline holds [the switch point before it, its own). Where two lines' ranges hold a
// place the newer one's counts; a range that ends before it begins holds none. So an ancestor is
// part of this timeline's past up to the least of its own and all later switch points.
//
// Facts: timeline.c (readTimeLineHistory, writeTimeLineHistory, tliOfPointInHistory), PostgreSQL 13
// to 19.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "pg/lsn.h"

namespace holdfast::pg {

struct TimelineHistoryEntry {
  TimelineId timeline;
  Lsn switch_lsn;  // where the next timeline begins; exclusive end of this one
  std::string reason;

  bool operator==(const TimelineHistoryEntry&) const = default;
};

class TimelineHistory {
 public:
  // A timeline without ancestors.
  explicit TimelineHistory(TimelineId timeline) : timeline_(timeline) {}
  // REQUIRES: what parse_timeline_history() demands of a file.
  TimelineHistory(TimelineId timeline, std::vector<TimelineHistoryEntry> ancestors);

  TimelineId timeline() const { return timeline_; }
  // Oldest first; the parent last.
  std::span<const TimelineHistoryEntry> ancestors() const { return ancestors_; }

  // This timeline or one of its ancestors.
  bool contains(TimelineId timeline) const;
  // Which timeline's WAL holds the byte at `lsn`, on the way to this timeline.
  TimelineId timeline_at(Lsn lsn) const;
  // Where `timeline` begins: 0 for the oldest; nullopt for one that is not on the way.
  std::optional<Lsn> start_of(TimelineId timeline) const;
  // Where the way to this timeline leaves `timeline`: not its own line's switch point where a later
  // one lies before it. nullopt for one that is not on the way, and for this timeline itself, whose
  // end is open.
  std::optional<Lsn> switch_point_of(TimelineId timeline) const;
  // Whether what was written on `timeline` up to `end` (exclusive) is part of this timeline's past:
  // it is on the way and was not left before that. A backup that stopped there can be recovered
  // along this timeline.
  bool is_ancestor(TimelineId timeline, Lsn end) const;

  // As the server writes the file.
  std::string to_text() const;

  bool operator==(const TimelineHistory&) const = default;

 private:
  TimelineId timeline_;
  std::vector<TimelineHistoryEntry> ancestors_;
};

// The content of `timeline`'s file. Throws kCorrupt for what no server reads: a line that is not an
// id and an LSN, ids that do not increase or reach the file's own.
TimelineHistory parse_timeline_history(TimelineId timeline, std::string_view text);

}  // namespace holdfast::pg
