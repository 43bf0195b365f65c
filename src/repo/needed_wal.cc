#include "repo/needed_wal.h"

#include <algorithm>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "base/error.h"
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

std::vector<OwnWal> read_own_wal(const Repository& repository, const Lineage& lineage,
                                 const NeededWal& needed) {
  const WalArchive archive(repository, lineage);
  std::vector<OwnWal> own;
  const std::optional<Range> range = range_of(needed, archive.segment_size());
  if (!range) return own;
  for (const uint64_t number : std::set{range->first, range->last}) {
    pg::WalFileName file{.kind = pg::WalFileKind::kSegment,
                         .segment = {.timeline = needed.timeline, .segment_number = number}};
    std::optional<WalSegmentInfo> info;
    // What cannot be read is nothing to go by.
    unreadable_of([&] {
      info = archive.segment_info(file);
      if (info) return;
      // The last one may be unfinished: the copy that holds the end.
      file.kind = pg::WalFileKind::kPartial;
      for (const Bytes16& partial : archive.partials(file.segment))
        if (!info || info->readable_end < needed.end_lsn)
          info = archive.segment_info(file, &partial);
    });
    if (info)
      own.push_back({.file = pg::to_string(file, archive.segment_size()), .sha256 = info->sha256});
  }
  return own;
}

namespace {

struct Known {
  WalArchive::Content content;
  std::optional<Bytes32> sha256;  // nullopt: it cannot be read
};
std::vector<Known> all_contents(const WalArchive& archive, const pg::WalFileName& file) {
  std::vector<Known> all;
  const auto add = [&](const Bytes16* partial) {
    for (WalArchive::Content& content : archive.contents(file, partial)) {
      std::optional<WalSegmentInfo> info;
      unreadable_of([&] { info = archive.segment_info_of(content.object); });
      all.push_back({.content = std::move(content),
                     .sha256 = info ? std::optional(info->sha256) : std::nullopt});
    }
  };
  if (file.kind == pg::WalFileKind::kSegment)
    add(nullptr);
  else
    for (const Bytes16& partial : archive.partials(file.segment)) add(&partial);
  return all;
}

}  // namespace

std::optional<TakenWal> find_taken_wal(const Backup& backup, const WalArchive& archive) {
  const pg::WalSegmentSize size = archive.segment_size();
  for (const OwnWal& own : backup.wal) {
    const pg::WalFileName file = pg::parse_wal_file_name(own.file, size);
    const WalAmendments amendments = archive.amendments(file);
    if (amendments.further.empty() && amendments.marks.empty()) continue;
    const std::vector<Known> all = all_contents(archive, file);
    const auto is_own = [&](const Known& known) { return known.sha256 == own.sha256; };
    // Nothing is put behind a content that is served but its repair.
    if (std::ranges::any_of(
            all, [&](const Known& known) { return is_own(known) && !known.content.aside; }))
      continue;
    if (const auto found = std::ranges::find_if(all, is_own); found != all.end())
      return TakenWal{
          .object = found->content.object,
          .words = fmt::format("WAL file \"{}\", with which it was taken, was set aside at {}",
                               own.file, to_local(found->content.aside->at))};
    // Its own may be one that cannot be read any more: then another is no repair only where that
    // was set aside.
    const auto served = std::ranges::find_if(
        all, [](const Known& known) { return !known.content.aside && known.sha256; });
    if (file.kind == pg::WalFileKind::kSegment && served != all.end())
      return TakenWal{.object = served->content.object,
                      .words = fmt::format("what is served as WAL file \"{}\" is not what it was "
                                           "taken with",
                                           own.file)};
  }
  return std::nullopt;
}

}  // namespace holdfast::repo
