#include "archive/wal_tail.h"

#include <fcntl.h>
#include <utility>

#include <fmt/core.h>

#include "archive/intake.h"
#include "base/error.h"
#include "base/file.h"
#include "cluster/wal_directory.h"
#include "pg/wal_page.h"
#include "repo/wal_histories.h"

namespace holdfast::archive {

std::optional<pg::Lsn> archive_tail(const TailOptions& options, const repo::Repository& repository,
                                    Reporter& reporter, const Clock& clock) {
  const std::string path = join_path(options.wal_directory, options.segment);
  Context archiving("archiving the end of WAL in \"{}\"", path);
  WalSource source = wal_source_of(path, "", "");
  const repo::Lineage lineage = find_lineage(repository, options.cluster, identify(source));
  const repo::WalArchive archive(repository, lineage);
  const pg::WalFileName file = pg::parse_wal_file_name(options.segment, archive.segment_size());

  // A file of that name may still be one of old WAL, kept for reuse.
  std::optional<Fd> fd = open_if_exists(path, O_RDONLY);
  if (!fd) return std::nullopt;
  Bytes first_page(pg::kWalBlockBytes);
  first_page.resize(pread_some(*fd, first_page, 0, path));
  std::optional<pg::Lsn> began =
      cluster::beginning_of(options.wal_directory, file.segment.timeline);
  if (!began) began = repo::WalHistories(archive).beginning_of(file.segment.timeline);
  if (!pg::holds_segment(first_page, file.segment, archive.segment_size(), began))
    return std::nullopt;

  // The standby writes on in it.
  Intake intake(archive, std::move(source), reporter, clock,
                {.compression = options.compression, .read_once = true});
  OfferedFile offered = intake.as_partial(intake.read(options.segment));
  // The intake takes any .partial; this one must continue what is archived, or the backup that
  // needs it could not be recovered.
  std::optional<repo::WalSegmentInfo> before =
      archive.segment_info({.kind = pg::WalFileKind::kSegment,
                            .segment = {.timeline = file.segment.timeline,
                                        .segment_number = file.segment.segment_number - 1}});
  if (before && !repo::joins(*before, offered.segment))
    throw Error({.code = ErrorCode::kConflict,
                 .message = fmt::format("\"{}\" does not continue the archived WAL", path),
                 .detail = fmt::format("The segment before it was archived by host \"{}\", data "
                                       "directory \"{}\".",
                                       before->host, before->pgdata),
                 .hint = "This standby and the server that archives follow different histories: "
                         "make the standby anew."});
  const pg::Lsn end = offered.segment.readable_end;
  intake.accept(std::move(offered));
  return end;
}

}  // namespace holdfast::archive
