// wal_histories.h: where timelines began and where they were left, by the histories that are
// archived; and by that, which segments are whole.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "pg/timeline_history.h"
#include "repo/wal_archive.h"

namespace holdfast::repo {

class WalHistories {
 public:
  // Reads all of them, once. One that is damaged, or that nobody understands, says nothing here.
  explicit WalHistories(const WalArchive& archive);

  // By its own history; nullopt: timeline 1, or it is not known.
  std::optional<pg::Lsn> beginning_of(pg::TimelineId timeline) const;
  // Whether a timeline left that one within (start, end].
  bool is_left_within(pg::TimelineId timeline, pg::Lsn start, pg::Lsn end) const;
  bool is_foreign(const WalSegmentInfo& info) const;

 private:
  std::map<pg::TimelineId, pg::TimelineHistory> histories_;
};

// Whether nothing is missing in a segment, which is archived or will be: its records reach its end,
// or the end of its timeline, or what its server wrote over. A recovery ends in any other; the word
// for that is short.
bool is_whole(const WalSegmentInfo& info, const WalArchive& archive, const WalHistories& histories);

}  // namespace holdfast::repo
