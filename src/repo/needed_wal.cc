#include "repo/needed_wal.h"

#include "repo/layout_table.h"
#include "repo/wal_archive.h"

namespace holdfast::repo {
namespace {

struct Range {
  uint64_t first = 0, last = 0;  // segments
};
// nullopt: nothing is needed.
std::optional<Range> range_of(const NeededWal& needed, pg::WalSegmentSize size) {
  if (needed.start_lsn >= needed.end_lsn) return std::nullopt;
  return Range{.first = pg::segment_of(needed.start_lsn, size),
               .last = pg::last_segment_before_end(needed.end_lsn, size)};
}

}  // namespace

std::optional<Going> find_going_wal(const Repository& repository, const Lineage& lineage,
                                    const NeededWal& needed) {
  const pg::WalSegmentSize size(lineage.wal_segment_bytes);
  const std::optional<Range> range = range_of(needed, size);
  if (!range) return std::nullopt;
  return find_going(repository, lineage.name, [&](const std::string& object) {
    const std::optional<ObjectName> name = parse_object_name(lineage.name, size, object);
    if (!name || name->segment.timeline != needed.timeline) return false;
    if (name->kind == ObjectKind::kTimelineHistory) return true;
    const bool is_content =
        name->kind == ObjectKind::kWalSegment || name->kind == ObjectKind::kWalPartial;
    return is_content && name->segment.segment_number >= range->first &&
           name->segment.segment_number <= range->last;
  });
}

std::optional<std::string> find_missing_wal(const Repository& repository, const Lineage& lineage,
                                            const NeededWal& needed) {
  const WalArchive archive(repository, lineage);
  const std::optional<Range> range = range_of(needed, archive.segment_size());
  if (!range) return std::nullopt;
  if (needed.timeline.value > 1) {
    std::string history = archive.object_name(
        {.kind = pg::WalFileKind::kHistory, .segment = {.timeline = needed.timeline}});
    if (!repository.store().info(history)) return history;
  }
  uint64_t expected = range->first;
  archive.for_each_segment(needed.timeline, range->first, [&](uint64_t number, uint64_t) {
    if (number == expected) ++expected;
    return number == expected - 1 && expected <= range->last;
  });
  if (expected > range->last) return std::nullopt;
  const pg::SegmentName missing{.timeline = needed.timeline, .segment_number = expected};
  if (expected == range->last && !archive.partials(missing).empty()) return std::nullopt;
  return archive.object_name({.kind = pg::WalFileKind::kSegment, .segment = missing});
}

}  // namespace holdfast::repo
