#include "repo/wal_histories.h"

#include <algorithm>

#include "base/error.h"

namespace holdfast::repo {

WalHistories::WalHistories(const WalArchive& archive) {
  for (const pg::TimelineId timeline : archive.history_timelines()) {
    // Of what is wrong with it whoever needs it is told.
    damage_of([&] {
      if (const std::optional<Bytes> text = archive.read_file(
              {.kind = pg::WalFileKind::kHistory, .segment = {.timeline = timeline}}))
        histories_.emplace(timeline, pg::parse_timeline_history(timeline, as_text(*text)));
    });
  }
}

std::optional<pg::Lsn> WalHistories::beginning_of(pg::TimelineId timeline) const {
  const auto found = histories_.find(timeline);
  return found == histories_.end() ? std::nullopt : found->second.start_of(timeline);
}

bool WalHistories::is_left_within(pg::TimelineId timeline, pg::Lsn start, pg::Lsn end) const {
  return std::ranges::any_of(histories_, [&](const auto& named) {
    return std::ranges::any_of(
        named.second.ancestors(), [&](const pg::TimelineHistoryEntry& entry) {
          return entry.timeline == timeline && entry.switch_lsn > start && entry.switch_lsn <= end;
        });
  });
}

bool WalHistories::is_foreign(const WalSegmentInfo& info) const {
  const std::optional<pg::Lsn> began = beginning_of(info.timeline);
  return began && repo::is_foreign(info, *began);
}

bool is_whole(const WalSegmentInfo& info, const WalArchive& archive,
              const WalHistories& histories) {
  if (histories.is_foreign(info)) return false;
  if (reaches_its_end(info)) return true;
  const uint64_t number = pg::segment_of(info.start_lsn, archive.segment_size());
  const pg::SegmentName next{.timeline = info.timeline, .segment_number = number + 1};
  std::optional<WalSegmentInfo> behind;
  damage_of(
      [&] { behind = archive.segment_info({.kind = pg::WalFileKind::kSegment, .segment = next}); });
  if (behind) return leads_into(info, *behind);
  return histories.is_left_within(info.timeline, info.start_lsn, info.readable_end) &&
         !archive.any_segment_after(info.timeline, number);
}

}  // namespace holdfast::repo
