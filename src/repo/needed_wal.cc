#include "repo/needed_wal.h"

#include <algorithm>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "base/error.h"
#include "base/time.h"
#include "codec/digest.h"
#include "repo/layout_table.h"

namespace holdfast::repo {
namespace {

// Of the first `bytes` of a segment's content; nullopt: it is not there, or has not so many.
std::optional<Bytes32> sha256_of_beginning(const WalArchive& archive, const std::string& object,
                                           uint64_t bytes) {
  codec::Sha256 sha256;
  uint64_t left = bytes;
  const auto read = archive.read_segment_of(object, [&](ByteView piece) {
    const size_t part = std::min<uint64_t>(piece.size(), left);
    sha256.update(piece.first(part));
    left -= part;
  });
  return read && left == 0 ? std::optional(sha256.finish()) : std::nullopt;
}

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
    if (name->kind == ObjectKind::kTimelineHistory || name->kind == ObjectKind::kHistoryCopy ||
        name->kind == ObjectKind::kFurtherFile)
      return true;
    const bool is_content = name->kind == ObjectKind::kWalSegment ||
                            name->kind == ObjectKind::kWalPartial ||
                            name->kind == ObjectKind::kFurtherSegment;
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
    const pg::WalFileName history{.kind = pg::WalFileKind::kHistory,
                                  .segment = {.timeline = needed.timeline}};
    if (!archive.is_there(history)) return archive.object_name(history);
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
    std::optional<OwnWal::Beginning> begins;
    // What cannot be read is nothing to go by.
    unreadable_of([&] {
      info = archive.segment_info(file);
      if (info) return;
      // The last one may be unfinished: the copy that holds the end.
      file.kind = pg::WalFileKind::kPartial;
      std::optional<Bytes16> chosen;
      for (const Bytes16& partial : archive.partials(file.segment))
        if (!info || info->readable_end < needed.end_lsn) {
          info = archive.segment_info(file, &partial);
          chosen = partial;
        }
      if (!info) return;
      const uint64_t bytes = needed.end_lsn - info->start_lsn;
      if (const std::optional<Bytes32> sha256 =
              sha256_of_beginning(archive, archive.object_name(file, &*chosen), bytes))
        begins = {.bytes = bytes, .sha256 = *sha256};
    });
    if (info)
      own.push_back({.file = pg::to_string(file, archive.segment_size()),
                     .sha256 = info->sha256,
                     .begins = begins});
  }
  return own;
}

std::optional<bool> begin_alike(const WalArchive& archive, const std::string& one,
                                const std::string& other, uint64_t bytes) {
  const std::optional<Bytes32> first = sha256_of_beginning(archive, one, bytes);
  const std::optional<Bytes32> second = sha256_of_beginning(archive, other, bytes);
  return first && second ? std::optional(*first == *second) : std::nullopt;
}

bool are_parted(const WalArchive& archive, const std::string& one, const std::string& other,
                uint64_t bytes) {
  std::optional<bool> alike;
  unreadable_of([&] { alike = begin_alike(archive, one, other, bytes); });
  return alike == false;
}

namespace {

// One of the contents under a backup's WAL file, by its metadata.
struct Known {
  WalArchive::Content content;
  WalSegmentInfo info;
};
std::vector<Known> readable_contents(const WalArchive& archive, const pg::WalFileName& file,
                                     const Bytes16* partial = nullptr) {
  std::vector<Known> all;
  for (WalArchive::Content& content : archive.contents(file, partial)) {
    std::optional<WalSegmentInfo> info;
    unreadable_of([&] { info = archive.segment_info_of(content.object); });
    if (info) all.push_back({.content = std::move(content), .info = *std::move(info)});
  }
  return all;
}

class OwnWalCheck {
 public:
  OwnWalCheck(const WalArchive& archive, const OwnWal& own, Compare compare)
      : archive_(archive), own_(own), compare_(compare) {
    pg::WalFileName file = pg::parse_wal_file_name(own.file, archive.segment_size());
    is_segment_ = file.kind == pg::WalFileKind::kSegment;
    const Bytes16 digest = partial_digest(own.sha256);
    if (!is_segment_) unfinished_ = readable_contents(archive, file, &digest);
    segment_ = file.segment;
    file.kind = pg::WalFileKind::kSegment;
    whole_ = readable_contents(archive, file);
    for (const Known& known : is_segment_ ? whole_ : unfinished_)
      if (known.info.sha256 == own.sha256) mine_ = &known;
    for (const Known& known : whole_)
      if (!known.content.aside) served_ = &known;
  }

  std::optional<TakenWal> find() const {
    if (served_ != nullptr && served_->info.sha256 == own_.sha256) return std::nullopt;
    if (mine_ != nullptr && mine_->content.aside && (is_segment_ || served_ == nullptr))
      return TakenWal{
          .object = mine_->content.object,
          .words = fmt::format("WAL file \"{}\", with which it was taken, was set aside at {}",
                               own_.file, to_local(mine_->content.aside->at))};
    // What is missing or cannot be read is told elsewhere.
    if (served_ == nullptr) return find_other_unfinished();
    if (goes_on()) return std::nullopt;
    return is_another(served_->content.object, served_->info.file_name);
  }

 private:
  static TakenWal is_another(const std::string& object, const std::string& file) {
    return {.object = object,
            .words = fmt::format("WAL file \"{}\" is not the one that it was taken with", file)};
  }

  // The served one has all of it, and more.
  bool goes_on() const {
    if (mine_ != nullptr) {
      const WalSegmentInfo& mine = mine_->info;
      if (is_segment_ && reaches_its_end(mine)) return false;
      if (served_->info.readable_end < mine.readable_end) return false;
      if (compare_ == Compare::kMetadata) return true;
      std::optional<bool> alike;
      unreadable_of([&] {
        alike = begin_alike(archive_, mine_->content.object, served_->content.object,
                            mine.readable_end - mine.start_lsn);
      });
      if (alike) return *alike;
    }
    return own_.begins ? begins_so(served_->content.object, served_->info)
                       : mine_ != nullptr || !is_segment_;
  }

  // Of what cannot be read nobody knows.
  bool begins_so(const std::string& object, const WalSegmentInfo& info) const {
    if (info.readable_end < info.start_lsn + own_.begins->bytes) return false;
    if (compare_ == Compare::kMetadata) return true;
    std::optional<Bytes32> sha256;
    unreadable_of([&] { sha256 = sha256_of_beginning(archive_, object, own_.begins->bytes); });
    return !sha256 || *sha256 == own_.begins->sha256;
  }

  // Nothing is left of an unfinished one, and what is served is unfinished too: none of it begins
  // with that.
  std::optional<TakenWal> find_other_unfinished() const {
    if (!own_.begins || mine_ != nullptr) return std::nullopt;
    std::optional<TakenWal> another;
    const pg::WalFileName file{.kind = pg::WalFileKind::kPartial, .segment = segment_};
    for (const Bytes16& partial : archive_.partials(segment_)) {
      std::optional<WalSegmentInfo> info;
      if (unreadable_of([&] { info = archive_.segment_info(file, &partial); }) || !info) continue;
      const std::string object = archive_.object_name(file, &partial);
      if (begins_so(object, *info)) return std::nullopt;
      another = is_another(object, info->file_name);
    }
    return another;
  }

  const WalArchive& archive_;
  const OwnWal& own_;
  const Compare compare_;
  bool is_segment_ = false;  // else an unfinished one
  pg::SegmentName segment_;
  std::vector<Known> unfinished_, whole_;  // under that name; under the segment's
  const Known* mine_ = nullptr;            // what the backup was committed with
  const Known* served_ = nullptr;          // of the segment
};

}  // namespace

std::optional<TakenWal> find_taken_wal(const Backup& backup, const WalArchive& archive,
                                       Compare compare) {
  for (const OwnWal& own : backup.wal)
    if (std::optional<TakenWal> taken = find_taken_wal(own, archive, compare)) return taken;
  return std::nullopt;
}

std::optional<TakenWal> find_taken_wal(const OwnWal& own, const WalArchive& archive,
                                       Compare compare) {
  return OwnWalCheck(archive, own, compare).find();
}

void require_own_wal(const Backup& backup, const WalArchive& archive, std::string hint) {
  const std::optional<TakenWal> taken = find_taken_wal(backup, archive, Compare::kContents);
  if (!taken) return;
  throw Error(
      {.code = ErrorCode::kTargetUnreachable,
       .message = fmt::format("backup {} is of a history that was taken out of service", backup.id),
       .detail = taken->words + ". What is archived under that name now is not what its pages came "
                                "from: two histories would be mixed.",
       .hint = std::move(hint)});
}

}  // namespace holdfast::repo
