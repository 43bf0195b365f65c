// walk_history.h: what was acknowledged on which line of WAL, and which rows a place in it holds.
//
// A line is what one timeline wrote: it left its parent at a place, and from there on has rows of
// its own. A recovery to a moment forgets on purpose, a failover may lose what no standby
// acknowledged: both are nothing but a new line that left its parent before those rows. They stay
// the old line's, where the archive may still have them.
//
//   line 0, timeline 1   --1--2--3--+--4--5
//   line 1, timeline 2              +--6--7
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/time.h"
#include "pg/lsn.h"
#include "pg/wal_file_name.h"

namespace holdfast::test {

struct WalkRow {
  int64_t id = 0;
  pg::Lsn end = {};            // its commit ends here or before
  Time begun = {}, done = {};  // its commit's time lies between
  // Servers that had it on their disk before it was acknowledged, beside the one that wrote it.
  std::set<std::string> acknowledged_by = {};
};

struct WalkLine {
  uint32_t timeline = 1;
  int parent = -1;    // -1: none
  pg::Lsn fork = {};  // where it left its parent
  std::vector<WalkRow> rows = {};
};

class WalkHistory {
 public:
  WalkHistory() : lines_(1) {}

  int add(const WalkLine& line);
  WalkLine& line(int number) { return lines_.at(static_cast<size_t>(number)); }
  const WalkLine& line(int number) const { return lines_.at(static_cast<size_t>(number)); }
  int count() const { return static_cast<int>(lines_.size()); }
  // The newest line of that timeline.
  std::optional<int> line_of(uint32_t timeline) const;

  // Rows along a line up to a place or a time, by id, which is the order of their acknowledgement.
  std::vector<WalkRow> rows(int line, pg::Lsn up_to) const;
  std::vector<WalkRow> rows_until(int line, Time time) const;

  // `ancestor` is the line or one that it stems from, and what that one wrote up to `end` is part
  // of the line's past.
  bool is_past_of(int line, int ancestor, pg::Lsn end) const;
  // The line, on the way to `line`, in whose segment the server looks for the WAL of this number:
  // the newest that had begun before the segment's end.
  int line_of_segment(int line, uint64_t segment, pg::WalSegmentSize size) const;

 private:
  std::vector<WalkLine> lines_;
};

std::vector<int64_t> ids_of(const std::vector<WalkRow>& rows);
// "1-4 7": for a message.
std::string ranges_of(const std::vector<int64_t>& ids);

}  // namespace holdfast::test
