#include "backup/servers_wal.h"

#include <algorithm>
#include <fcntl.h>
#include <utility>

#include <fmt/format.h>

#include "base/error.h"
#include "base/file.h"
#include "codec/digest.h"
#include "pg/wal_reader.h"

namespace holdfast::backup {
namespace {

constexpr size_t kReadBytes = size_t{1} << 20;

// Of the first `bytes` of a file; nullopt: it is shorter, or the name leads elsewhere when it was
// read. A segment that is recycled gets another name first, and then other content.
std::optional<Bytes32> digest_of_file(const std::string& path, uint64_t bytes) {
  const std::optional<Fd> fd = open_if_exists(path, O_RDONLY);
  if (!fd) return std::nullopt;
  codec::Sha256 sha256;
  Bytes piece(kReadBytes);
  for (uint64_t at = 0; at < bytes;) {
    const size_t want = static_cast<size_t>(std::min<uint64_t>(kReadBytes, bytes - at));
    if (pread_some(*fd, std::span(piece).first(want), at, path) != want) return std::nullopt;
    sha256.update(ByteView(piece).first(want));
    at += want;
  }
  struct stat opened{};
  if (fstat(fd->get(), &opened) != 0) throw_errno("stat", path);
  const std::optional<struct stat> named = stat_if_exists(path);
  if (!named || named->st_dev != opened.st_dev || named->st_ino != opened.st_ino)
    return std::nullopt;
  return sha256.finish();
}

// Of the first `bytes` that the archive gives back.
Bytes32 digest_of_archived(const repo::WalArchive& archive, const pg::WalFileName& file,
                           uint64_t bytes) {
  codec::Sha256 sha256;
  archive.read_segment(file, [&](ByteView piece) {
    const size_t count = static_cast<size_t>(std::min<uint64_t>(piece.size(), bytes));
    sha256.update(piece.first(count));
    bytes -= count;
  });
  return sha256.finish();
}

pg::WalFileName segment_file(pg::TimelineId timeline, uint64_t number) {
  return {.kind = pg::WalFileKind::kSegment,
          .segment = {.timeline = timeline, .segment_number = number}};
}

// Whether `is_it` holds of a record that begins in the archived segments [first, last].
template <typename IsIt>
bool holds_record(const repo::WalArchive& archive, pg::TimelineId timeline, uint64_t first,
                  uint64_t last, const IsIt& is_it) {
  bool found = false;
  pg::WalReader reader(archive.segment_size());
  for (uint64_t number = first; number <= last && !found; ++number) {
    Bytes content;
    if (!archive.read_segment(segment_file(timeline, number), [&](ByteView piece) {
          content.insert(content.end(), piece.begin(), piece.end());
        }))
      return false;
    reader.feed(content, {.timeline = timeline, .segment_number = number},
                [&](const pg::WalRecord& record) {
                  if (!pg::may_be_wal_event(record.header)) return;
                  if (const std::optional<pg::WalEvent> event = pg::decode_wal_event(record))
                    found = found || is_it(*event);
                });
  }
  return found;
}

}  // namespace

ServersWal::ServersWal(Options options, pg::WalSegmentSize size)
    : options_(std::move(options)), size_(size) {
  const uint64_t last = pg::last_segment_before_end(options_.needed.end_lsn, size_);
  last_ = digest_of_file(path_of(pg::segment_file_name({options_.needed.timeline, last}, size_)),
                         options_.needed.end_lsn - pg::start_lsn(last, size_));
}

std::string ServersWal::path_of(const std::string& name) const {
  return fmt::format("{}/pg_wal/{}", options_.data_directory, name);
}

std::string ServersWal::first_other(const repo::WalArchive& archive,
                                    const repo::WalSegmentInfo& archived) const {
  std::string first = archived.file_name;
  for (uint64_t number = pg::segment_of(archived.start_lsn, size_); number-- > 0;) {
    const pg::WalFileName file = segment_file(options_.needed.timeline, number);
    const std::optional<repo::WalSegmentInfo> there = archive.segment_info(file);
    if (!there) break;
    const std::optional<Bytes32> own = digest_of_file(path_of(there->file_name), there->bytes);
    if (!own || *own == there->sha256) break;
    first = there->file_name;
  }
  return first;
}

void ServersWal::throw_other(const repo::WalArchive& archive, const repo::WalSegmentInfo& archived,
                             const std::string& how) const {
  const repo::WalOwner here{.host = options_.host, .data_directory = options_.data_directory};
  throw Error(
      {.code = ErrorCode::kConflict,
       .message =
           fmt::format("archived WAL segment \"{}\" is not the server's", archived.file_name),
       .detail = fmt::format(
           "{} It was pushed by {}; the backup was taken of {}. With another server's WAL it "
           "would be recovered to a mixture of both, so there is no new backup.",
           how, repo::pushed_by(archived), repo::to_string(here)),
       .hint = repo::way_past(first_other(archive, archived), repo::owner_of(archived), here)});
}

void ServersWal::require_same_history(const repo::WalArchive& archive) const {
  const pg::TimelineId timeline = options_.needed.timeline;
  const std::string name = pg::history_file_name(timeline);
  const pg::WalFileName file{.kind = pg::WalFileKind::kHistory, .segment = {.timeline = timeline}};
  const std::optional<Bytes> own = read_if_exists(path_of(name));
  const std::optional<Bytes> archived = archive.read_file(file);
  if (!own || !archived || *own == *archived) return;
  const std::optional<repo::WalFileInfo> info = archive.file_info(file);
  throw Error(
      {.code = ErrorCode::kConflict,
       .message = fmt::format("archived timeline history file \"{}\" is not the server's", name),
       .detail = fmt::format(
           "It was pushed by host \"{}\" at {}; the backup was taken of {}, which began its "
           "timeline {} otherwise. Of two servers on one timeline the archive holds one, so there "
           "is no new backup.",
           info ? info->host : "?", info ? to_rfc3339(info->pushed) : "?",
           repo::to_string({.host = options_.host, .data_directory = options_.data_directory}),
           pg::to_string(timeline)),
       .hint = std::string(repo::kTakenTimelineHint)});
}

void ServersWal::require_same_segment(const repo::WalArchive& archive,
                                      const repo::WalSegmentInfo& archived) {
  const uint64_t number = pg::segment_of(archived.start_lsn, size_);
  const pg::WalFileName file = segment_file(options_.needed.timeline, number);
  const uint64_t bytes =
      std::min(pg::end_lsn(number, size_), options_.needed.end_lsn) - archived.start_lsn;
  std::optional<Bytes32> own;
  if (number == pg::last_segment_before_end(options_.needed.end_lsn, size_)) {
    own = last_;
  } else {
    const std::string path = path_of(archived.file_name);
    if (digest_of_file(path, archived.bytes) == archived.sha256) return;
    own = digest_of_file(path, bytes);
  }
  if (!own) return;
  if (digest_of_archived(archive, file, bytes) != *own)
    throw_other(archive, archived, "The file of that name in the server's pg_wal is another one.");
  if (last_ == own) is_end_proven_ = true;
}

void ServersWal::require_its_records(const repo::WalArchive& archive, bool has_put_tail) const {
  const repo::NeededWal& needed = options_.needed;
  const uint64_t last = pg::last_segment_before_end(needed.end_lsn, size_);
  const auto require = [&](uint64_t from, uint64_t until, const char* record, const auto& is_it) {
    if (holds_record(archive, needed.timeline, from, until, is_it)) return;
    const std::optional<repo::WalSegmentInfo> info =
        archive.segment_info(segment_file(needed.timeline, until));
    if (info) throw_other(archive, *info, fmt::format("The record {} is not in it.", record));
  };
  // A record may end in the segment behind the one in which it begins.
  const uint64_t checkpoint = pg::segment_of(options_.checkpoint_lsn, size_);
  if (!has_put_tail || checkpoint + 1 < last)
    require(checkpoint, std::min(checkpoint + 1, last),
            "of the checkpoint that the backup began with", [&](const pg::WalEvent& event) {
              const auto* found = std::get_if<pg::Checkpoint>(&event);
              return found != nullptr && found->lsn == options_.checkpoint_lsn &&
                     found->redo_lsn == needed.start_lsn;
            });
  if (is_end_proven_ || has_put_tail) return;
  const uint64_t first = pg::segment_of(needed.start_lsn, size_);
  require(std::max(first, last - std::min<uint64_t>(last, 1)), last, "that ends the backup",
          [&](const pg::WalEvent& event) {
            const auto* found = std::get_if<pg::BackupEnd>(&event);
            return found != nullptr && found->start_lsn == needed.start_lsn &&
                   found->end_lsn == needed.end_lsn;
          });
}

}  // namespace holdfast::backup
