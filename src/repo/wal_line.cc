#include "repo/wal_line.h"

#include <algorithm>

#include "base/error.h"

namespace holdfast::repo {
namespace {

std::optional<Time> written_at(const WalSegmentInfo& info) {
  std::optional<Time> last;
  if (info.commits.count > 0) last = info.commits.last_time;
  for (const WalRestorePoint& point : info.restore_points)
    last = std::max(last.value_or(point.time), point.time);
  return last;
}

// Whether another content of the name stood before `next` when that was archived. Of one that
// cannot be read, or of which a mark alone is left, nobody knows: it may have.
bool had_another_before(const WalArchive& archive, const WalSegmentInfo& here,
                        const WalSegmentInfo& next) {
  const pg::WalFileName file{
      .kind = pg::WalFileKind::kSegment,
      .segment = {.timeline = here.timeline,
                  .segment_number = pg::segment_of(here.start_lsn, archive.segment_size())}};
  const WalAmendments amendments = archive.amendments(file);
  if (amendments.further.empty() && amendments.marks.empty()) return false;
  bool is_known = false;  // of another content, that it did not
  for (const WalArchive::Content& content : archive.contents(file)) {
    std::optional<WalSegmentInfo> other;
    if (unreadable_of([&] { other = archive.segment_info_of(content.object); })) return true;
    if (!other || other->sha256 == here.sha256) continue;
    if (other->pushed <= next.pushed && leads_into(*other, next)) return true;
    is_known = true;
  }
  return !is_known && std::ranges::any_of(amendments.marks, [&](const WalMark& mark) {
    return mark.is_set_aside && mark.sha256 && mark.sha256 != here.sha256;
  });
}

}  // namespace

std::optional<EarlierLine> find_earlier_line(const WalArchive& archive, const WalSegmentInfo& here,
                                             const WalSegmentInfo& next) {
  const std::optional<Time> written = written_at(here);
  if (!written || next.pushed >= *written || next.pushed >= here.pushed) return std::nullopt;
  // A clock that went back between the two would have put the next one's transactions there too.
  if (next.commits.count > 0 && next.commits.highest_time >= *written) return std::nullopt;
  if (!had_another_before(archive, here, next)) return std::nullopt;
  return EarlierLine{.archived = next.pushed, .written = *written};
}

}  // namespace holdfast::repo
