#include "backup/import_wal.h"

#include <algorithm>
#include <fcntl.h>
#include <utility>
#include <variant>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.h"
#include "base/file.h"
#include "base/task_group.h"
#include "cluster/wal_directory.h"
#include "pg/wal_page.h"
#include "pg/wal_reader.h"
#include "repo/wal_histories.h"

namespace holdfast::backup {
namespace {

constexpr uint64_t kMaxHistoryBytes = uint64_t{1} << 20;
constexpr size_t kToldSegments = 3;
constexpr const char* kWhereToGetIt =
    "The archive must have it: archive it from the server or its pg_wal (holdfast wal salvage), or "
    "take the base backup with its WAL (pg_basebackup -X fetch or -X stream).";

// As much of a segment as the archive has: the whole, or the partial one that reaches farthest.
std::optional<Bytes> archived_content(const repo::WalArchive& archive,
                                      const pg::SegmentName& segment) {
  Bytes content;
  const auto append = [&](ByteView piece) {
    content.insert(content.end(), piece.begin(), piece.end());
  };
  if (archive.read_segment({.kind = pg::WalFileKind::kSegment, .segment = segment}, append))
    return content;
  const pg::WalFileName file{.kind = pg::WalFileKind::kPartial, .segment = segment};
  std::optional<Bytes16> farthest;
  pg::Lsn reach;
  for (const Bytes16& partial : archive.partials(segment))
    if (std::optional<repo::WalSegmentInfo> info = archive.segment_info(file, &partial);
        info && info->readable_end > reach) {
      reach = info->readable_end;
      farthest = partial;
    }
  if (!farthest) return std::nullopt;
  content.clear();
  archive.read_segment(file, append, &*farthest);
  return content;
}

bool is_there(const repo::WalArchive& archive, const pg::SegmentName& segment) {
  return archive.segment_info({.kind = pg::WalFileKind::kSegment, .segment = segment}) ||
         !archive.partials(segment).empty();
}

// Every segment up to a known end, before any of them is read.
void require_segments(const repo::WalArchive& archive, const BackupSpan& span, pg::Lsn stop_lsn) {
  const pg::WalSegmentSize size = archive.segment_size();
  std::vector<std::string> missing;
  uint64_t count = 0;
  const uint64_t last = pg::last_segment_before_end(stop_lsn, size);
  for (uint64_t number = pg::segment_of(span.start_lsn, size); number <= last; ++number) {
    const pg::SegmentName segment{.timeline = span.timeline, .segment_number = number};
    if (is_there(archive, segment)) continue;
    if (++count <= kToldSegments) missing.push_back(pg::segment_file_name(segment, size));
  }
  if (count == 0) return;
  throw Error(
      {.code = ErrorCode::kNotFound,
       .message = fmt::format(
           "WAL that the base backup needs is missing: {}{}", fmt::join(missing, ", "),
           count > kToldSegments ? fmt::format(" and {} more segments", count - kToldSegments)
                                 : ""),
       .detail = fmt::format("It needs {} to {} of timeline {}; neither the tar nor the "
                             "archive holds all of that.",
                             pg::to_string(span.start_lsn), pg::to_string(stop_lsn),
                             pg::to_string(span.timeline)),
       .hint = kWhereToGetIt});
}

// A server that was rolled back writes the same places anew.
[[noreturn]] void throw_of_another_line(const BackupSpan& span, Time archived) {
  throw Error(
      {.code = ErrorCode::kConflict,
       .message = "the archived WAL is not that of the base backup",
       .detail = fmt::format("The checkpoint at {} is of {} by its pg_control, and of {} in "
                             "the archive: they are of two histories.",
                             pg::to_string(span.control_checkpoint), to_local(span.control_time),
                             to_local(archived)),
       .hint = "A base backup is recovered with the WAL of its own server alone. One of a "
               "history that is no more can be used without the archive, if it was taken "
               "with its WAL."});
}

void require_history(const repo::WalArchive& archive, pg::TimelineId timeline) {
  if (timeline.value == 1 ||
      archive.file_info({.kind = pg::WalFileKind::kHistory, .segment = {.timeline = timeline}}))
    return;
  throw Error({.code = ErrorCode::kNotFound,
               .message = fmt::format("timeline history file \"{}\" is missing",
                                      pg::history_file_name(timeline)),
               .detail = "Without it no recovery finds the way to the backup's timeline.",
               .hint = kWhereToGetIt});
}

}  // namespace

void WalSpool::take(const TarEntry& entry, const std::string& name, TarReader& tar) {
  const pg::WalFileName file = pg::parse_wal_file_name(name, archive_.segment_size());
  const bool is_segment = file.kind == pg::WalFileKind::kSegment;
  if (!is_segment && file.kind != pg::WalFileKind::kHistory) return;
  const uint64_t limit = is_segment ? archive_.segment_size().bytes() : kMaxHistoryBytes;
  if (is_segment ? entry.bytes != limit : entry.bytes > limit)
    throw Error({.code = ErrorCode::kCorrupt,
                 .message = fmt::format("WAL file \"{}\" in the tar has the wrong size", name),
                 .detail = fmt::format("It has {} bytes; the lineage's segments have {}.",
                                       entry.bytes, archive_.segment_size().bytes()),
                 .hint = "It is another cluster's, or was damaged."});
  content_.resize(static_cast<size_t>(entry.bytes));
  tar.read(content_);
  if (is_segment) {
    std::optional<pg::Lsn> began = cluster::beginning_of(directory_, file.segment.timeline);
    if (!began) began = repo::WalHistories(archive_).beginning_of(file.segment.timeline);
    if (!pg::holds_segment(content_, file.segment, archive_.segment_size(), began)) return;
    has_segments_ = true;
  }
  const std::string path = join_path(directory_, name);
  write_all(open_file(path, O_WRONLY | O_CREAT | O_EXCL), content_, path);
}

BackupWal read_backup_wal(const repo::WalArchive& archive, const BackupSpan& span,
                          const std::stop_token& stop) {
  const pg::WalSegmentSize size = archive.segment_size();
  require_history(archive, span.timeline);
  if (span.stop_lsn) require_segments(archive, span, *span.stop_lsn);

  std::optional<pg::Lsn> end = span.stop_lsn;
  std::optional<Time> started;
  std::optional<Time> highest;
  const auto look_at = [&](const pg::WalRecord& record) {
    if (record.lsn < span.start_lsn || (end && record.lsn >= *end) ||
        !pg::may_be_wal_event(record.header))
      return;
    const std::optional<pg::WalEvent> event = pg::decode_wal_event(record);
    if (!event) return;
    if (const auto* checkpoint = std::get_if<pg::Checkpoint>(&*event);
        checkpoint != nullptr && checkpoint->lsn == span.checkpoint_lsn)
      started = checkpoint->time;
    if (const auto* checkpoint = std::get_if<pg::Checkpoint>(&*event);
        checkpoint != nullptr && checkpoint->lsn == span.control_checkpoint &&
        checkpoint->time != span.control_time)
      throw_of_another_line(span, checkpoint->time);
    if (const auto* transaction = std::get_if<pg::TransactionEnd>(&*event))
      highest = std::max(highest.value_or(transaction->time), transaction->time);
    if (const auto* ended = std::get_if<pg::BackupEnd>(&*event);
        ended != nullptr && ended->start_lsn == span.start_lsn && !end)
      end = ended->end_lsn;
  };

  pg::WalReader reader(size);
  pg::SegmentName segment{.timeline = span.timeline,
                          .segment_number = pg::segment_of(span.start_lsn, size)};
  for (;; ++segment.segment_number) {
    throw_if_stopped(stop);
    const std::string name = pg::segment_file_name(segment, size);
    Context reading("reading WAL segment \"{}\"", name);
    const std::optional<Bytes> content = archived_content(archive, segment);
    if (!content)
      throw Error({.code = ErrorCode::kNotFound,
                   .message = fmt::format("WAL that the base backup needs is missing: {}", name),
                   .detail = fmt::format("The backup begins at {}, and up to this segment the WAL "
                                         "does not say where it ended. Neither the tar nor the "
                                         "archive holds it.",
                                         pg::to_string(span.start_lsn)),
                   .hint = kWhereToGetIt});
    const pg::WalSegmentSummary summary = reader.feed(*content, segment, look_at);
    const bool is_reached = end && summary.last_complete_record_end_lsn &&
                            *summary.last_complete_record_end_lsn >= *end;
    if (is_reached) break;
    if (summary.stop == pg::WalStop::kSegmentEnd || summary.stop == pg::WalStop::kSwitch) {
      // A switch carries the end of WAL to the segment's; a backup can end nowhere behind it.
      if (end && pg::end_lsn(segment.segment_number, size) >= *end) break;
      continue;
    }
    throw Error({.code = ErrorCode::kNotFound,
                 .message = "the WAL of the base backup ends before the backup does",
                 .detail = fmt::format(
                     "It can be read up to {}: {} The backup {}.", pg::to_string(summary.stop_lsn),
                     summary.stop_reason,
                     end ? fmt::format("ends at {}", pg::to_string(*end)) : "has not ended there"),
                 .hint = kWhereToGetIt});
  }
  if (!started)
    throw Error({.code = ErrorCode::kCorrupt,
                 .message = "the WAL does not hold the checkpoint of the base backup",
                 .detail = fmt::format("backup_label says that it is at {}.",
                                       pg::to_string(span.checkpoint_lsn)),
                 .hint = "The backup_label is of another base backup."});
  return {.stop_lsn = *end,
          .start_time = *started,
          .stop_time = std::max(*started, highest.value_or(*started))};
}

}  // namespace holdfast::backup
