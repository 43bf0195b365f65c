#include "repo/wal_tip.h"

#include <algorithm>

namespace holdfast::repo {

pg::WalTip read_wal_tip(const WalArchive& archive, pg::TimelineId timeline) {
  pg::WalTip tip{.timeline = timeline};
  if (timeline.value > 1)
    tip.history =
        archive.read_file({.kind = pg::WalFileKind::kHistory, .segment = {.timeline = timeline}});
  const auto take = [&](pg::WalFileKind kind, pg::SegmentName segment, const Bytes16* partial) {
    Bytes content;
    const std::optional<WalSegmentInfo> info = archive.read_segment(
        {.kind = kind, .segment = segment},
        [&](ByteView piece) { content.insert(content.end(), piece.begin(), piece.end()); },
        partial);
    if (!info) return;
    content.resize(static_cast<size_t>(
        std::min<uint64_t>(content.size(), info->readable_end - info->start_lsn)));
    if (tip.segment == segment && content.size() <= tip.content.size()) return;
    tip.segment = segment;
    tip.content = std::move(content);
  };
  const std::optional<uint64_t> last = archive.last_segment(timeline);
  if (!last) return tip;
  pg::SegmentName segment{.timeline = timeline, .segment_number = *last};
  take(pg::WalFileKind::kSegment, segment, nullptr);
  ++segment.segment_number;
  for (const Bytes16& partial : archive.partials(segment))
    take(pg::WalFileKind::kPartial, segment, &partial);
  return tip;
}

}  // namespace holdfast::repo
