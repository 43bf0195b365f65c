// timeline_history.h: how a timeline came about: the file TTTTTTTT.history.
//
//   <ancestor, decimal> TAB <LSN where it was left> TAB <reason>      oldest first, parent last
//
// Blank lines and lines that start with # count for nothing; for targets by time and LSN the server
// itself leaves a blank line. A timeline covers [switch point of its parent, its own switch point).
// Timeline 1 has no file: TimelineHistory(TimelineId{1}).
//
// Facts: timeline.c (readTimeLineHistory, writeTimeLineHistory, tliOfPointInHistory), PostgreSQL 13
// to 18.
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
  // Where `timeline` begins (0 for the oldest) and where it was left; nullopt for one that is not
  // on the way, and for the end of this timeline itself, which is open.
  std::optional<Lsn> start_of(TimelineId timeline) const;
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

// The content of `timeline`'s file. Throws kCorrupt for a line that is not an id and an LSN, for
// ids that do not increase or reach the file's own, and for switch points that go back.
TimelineHistory parse_timeline_history(TimelineId timeline, std::string_view text);

}  // namespace holdfast::pg
