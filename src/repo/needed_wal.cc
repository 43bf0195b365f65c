#include "repo/needed_wal.h"

#include <fmt/format.h>

#include "base/time.h"
#include "repo/layout_table.h"

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

const WalArchive::SetAside* find_wal_taken_from(
    const Backup& backup, const WalArchive& archive,
    const std::vector<WalArchive::SetAside>& set_aside) {
  if (!backup.committed) return nullptr;
  const std::optional<Range> range = range_of(
      {.timeline = backup.stop_timeline, .start_lsn = backup.start_lsn, .end_lsn = backup.stop_lsn},
      archive.segment_size());
  if (!range) return nullptr;
  for (const WalArchive::SetAside& one : set_aside) {
    const uint64_t number = one.file.segment.segment_number;
    if (one.file.segment.timeline != backup.stop_timeline || number < range->first ||
        number > range->last)
      continue;
    // The end of a standby's backup may be an unfinished segment.
    const bool is_own = one.file.kind == pg::WalFileKind::kSegment ||
                        (one.file.kind == pg::WalFileKind::kPartial && backup.from_standby &&
                         number == range->last);
    if (!is_own) continue;
    // One that could not be read was set aside for that, and can be filled with what it held.
    if (!one.content.aside->sha256 || one.content.aside->at <= *backup.committed) continue;
    const std::optional<store::ObjectInfo> info = archive.store().info(one.content.object);
    if (info && info->modified <= *backup.committed) return &one;
  }
  return nullptr;
}

std::string taken_wal_words(const WalArchive::SetAside& taken, pg::WalSegmentSize size) {
  return fmt::format("WAL file \"{}\", with which it was taken, was set aside at {}",
                     pg::to_string(taken.file, size), to_local(taken.content.aside->at));
}

}  // namespace holdfast::repo
