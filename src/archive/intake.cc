#include "archive/intake.h"

#include <algorithm>
#include <fcntl.h>
#include <limits>
#include <thread>
#include <utility>
#include <variant>

#include <fmt/core.h>

#include "base/error.h"
#include "base/file.h"
#include "base/process.h"
#include "codec/digest.h"
#include "pg/control_file.h"
#include "pg/wal_page.h"

namespace holdfast::archive {
namespace {

// Threads that read and compress one segment; more would not shorten it.
constexpr int kMaxJobs = 4;
// Compressed: more than any segment of 16 MiB takes, and what eight threads may hold.
constexpr uint64_t kMaxKeptBytes = uint64_t{20} << 20;
// Of a larger segment nothing is kept: what the most compress to would be too much.
constexpr uint64_t kLargestKeptSegment = uint64_t{64} << 20;
// History and backup history files are a few lines.
constexpr size_t kMaxSmallFileBytes = size_t{1} << 20;
// Names of any cluster are legal for the smallest segments, but for the offset of .backup files.
constexpr uint64_t kSmallestSegmentBytes = uint64_t{1} << 20;

bool is_wal(pg::WalFileKind kind) {
  return kind == pg::WalFileKind::kSegment || kind == pg::WalFileKind::kPartial;
}

pg::WalFileKind kind_of(const std::string& name) {
  return pg::parse_wal_file_name(name, pg::WalSegmentSize(kSmallestSegmentBytes)).kind;
}

// nullopt also for one that is damaged, or is being written at this moment: the segments tell as
// well.
std::optional<pg::ControlFile> control_file_of(const WalSource& source) {
  if (source.data_directory.empty()) return std::nullopt;
  std::optional<Bytes> bytes =
      read_if_exists(join_path(source.data_directory, pg::kControlFilePath));
  if (!bytes || !pg::crc_is_valid(*bytes)) return std::nullopt;
  return pg::parse_control_file(*bytes);
}

Bytes read_first_page(const std::string& path) {
  Bytes page(pg::kWalBlockBytes);
  Fd fd = open_file(path, O_RDONLY);
  page.resize(pread_some(fd, page, 0, path));
  return page;
}

// Both must outlive it.
repo::SegmentPass::Read read_from_file(const Fd& fd, const std::string& path) {
  return [&](std::span<std::byte> into, uint64_t offset) {
    if (pread_some(fd, into, offset, path) != into.size())
      throw Error({.code = ErrorCode::kIo,
                   .message = fmt::format("file \"{}\" was cut while it was read", path)});
  };
}

std::string who(const std::string& host, const std::string& pgdata) {
  return pgdata.empty() ? fmt::format("host \"{}\"", host)
                        : fmt::format("host \"{}\", data directory \"{}\"", host, pgdata);
}

std::string who(const repo::WalSegmentInfo& info) {
  return fmt::format("{} at {}", who(info.host, info.pgdata), to_rfc3339(info.pushed));
}

std::string_view noun_of(pg::WalFileKind kind) {
  switch (kind) {
    case pg::WalFileKind::kHistory:
      return "timeline history file";
    case pg::WalFileKind::kBackupHistory:
      return "backup history file";
    default:
      return "WAL segment";
  }
}

pg::WalFileName segment_file(pg::SegmentName segment) {
  return {.kind = pg::WalFileKind::kSegment, .segment = segment};
}

int usual_jobs(int jobs) {
  if (jobs > 0) return jobs;
  return std::clamp(static_cast<int>(std::thread::hardware_concurrency()), 1, kMaxJobs);
}

constexpr std::string_view kTwoServersHint =
    "Two servers archive the same timeline of one system: a restored copy, or a former primary "
    "that was started again. Stop archiving "
    "on the one that is not to go on (archive_mode = off); a copy that is to go on needs a "
    "timeline, or a repository, of its own.";

}  // namespace

WalSource wal_source_of(const std::string& path, const std::string& data_directory,
                        const std::string& host) {
  WalSource source{.wal_directory = parent_path(absolute_path(path)),
                   .data_directory = data_directory.empty() ? "" : absolute_path(data_directory),
                   .host = host.empty() ? host_name() : host};
  if (source.data_directory.empty() && base_name(source.wal_directory) == "pg_wal")
    source.data_directory = parent_path(source.wal_directory);
  return source;
}

WalIdentity identify(const WalSource& source) {
  if (std::optional<pg::ControlFile> control = control_file_of(source))
    return {.system_identifier = control->system_identifier,
            .segment_size = control->wal_segment_size};
  // A pg_wal that was left without its data directory: its segments tell.
  for (const DirectoryEntry& entry : list_directory(source.wal_directory)) {
    if (!is_wal(kind_of(entry.name))) continue;
    std::variant<pg::WalSegmentHeader, Error::Parts> header =
        pg::read_wal_segment_header(read_first_page(join_path(source.wal_directory, entry.name)));
    if (const auto* found = std::get_if<pg::WalSegmentHeader>(&header))
      return {.system_identifier = found->page.system_identifier,
              .segment_size = found->segment_size};
  }
  throw Error(
      {.code = ErrorCode::kNotFound,
       .message =
           fmt::format("could not find out to which cluster \"{}\" belongs", source.wal_directory),
       .detail = fmt::format("There is neither a file \"{}\" beside it nor a WAL segment in it.",
                             pg::kControlFilePath),
       .hint = "The server runs archive_command in its data directory, with the file's path in "
               "it; by hand, go there first."});
}

WalIdentity identify_file(const WalSource& source, const std::string& name) {
  if (!is_wal(kind_of(name))) return identify(source);
  const std::string path = join_path(source.wal_directory, name);
  Context reading("reading WAL file \"{}\"", path);
  const pg::WalSegmentHeader header = pg::parse_wal_segment_header(read_first_page(path));
  std::optional<pg::ControlFile> control = control_file_of(source);
  if (control && control->system_identifier != header.page.system_identifier)
    throw Error(
        {.code = ErrorCode::kWrongCluster,
         .message = fmt::format(
             "WAL segment \"{}\" is from another cluster than its data directory", name),
         .detail = fmt::format("The segment's system identifier is {}, that in \"{}\" is {}.",
                               header.page.system_identifier,
                               join_path(source.data_directory, pg::kControlFilePath),
                               control->system_identifier),
         .hint = "Somebody has copied the file there; take it away."});
  return {.system_identifier = header.page.system_identifier, .segment_size = header.segment_size};
}

repo::Lineage find_lineage(const repo::Repository& repository, const std::string& cluster,
                           const WalIdentity& identity) {
  std::optional<repo::Lineage> lineage =
      repository.find_lineage(cluster, identity.system_identifier);
  if (!lineage) {
    const repo::Lineage newest = repository.require_lineages(cluster).back();
    throw Error({.code = ErrorCode::kWrongCluster,
                 .message = fmt::format("system identifier {} does not belong to cluster \"{}\"",
                                        identity.system_identifier, cluster),
                 .detail = fmt::format("Its newest lineage, \"{}\", is of system identifier {}.",
                                       repo::to_string(newest.name), newest.system_identifier),
                 .hint = "After pg_upgrade or a new initdb run \"holdfast init --new-lineage\"; "
                         "otherwise this server is configured with another cluster's name."});
  }
  if (identity.segment_size && identity.segment_size->bytes() != lineage->wal_segment_bytes)
    throw Error(
        {.code = ErrorCode::kWrongCluster,
         .message = fmt::format("WAL segments of {} bytes do not fit lineage \"{}\"",
                                identity.segment_size->bytes(), repo::to_string(lineage->name)),
         .detail = fmt::format("Its segments have {} bytes.", lineage->wal_segment_bytes),
         .hint = "The segment size was changed by pg_resetwal: the cluster's WAL before "
                 "and after that cannot be joined. Use another cluster name."});
  return *lineage;
}

Intake::Intake(const repo::WalArchive& archive, WalSource source, Reporter& reporter,
               const Clock& clock, IntakeSetting setting)
    : archive_(&archive),
      source_(std::move(source)),
      reporter_(&reporter),
      clock_(&clock),
      setting_(setting),
      pass_(setting.compression, usual_jobs(setting.jobs)) {}

OfferedFile Intake::read(const std::string& name, repo::SegmentPass& pass) const {
  OfferedFile offered;
  offered.name = name;
  offered.path = join_path(source_.wal_directory, name);
  const std::string& path = offered.path;
  Context reading("reading WAL file \"{}\"", path);
  offered.file = pg::parse_wal_file_name(name, archive_->segment_size());
  if (offered.file.kind == pg::WalFileKind::kOther)
    throw Error(
        {.code = ErrorCode::kInvalidText,
         .message = fmt::format("\"{}\" is not the name of a WAL file", name),
         .detail = fmt::format("Segments have {} bytes in this cluster.",
                               archive_->segment_size().bytes()),
         .hint = "The server names the file: write \"holdfast wal push %p\" as archive_command."});

  const bool whole = offered.file.kind == pg::WalFileKind::kSegment;
  const size_t limit =
      is_wal(offered.file.kind) ? archive_->segment_size().bytes() : kMaxSmallFileBytes;
  const Fd fd = open_file(path, O_RDONLY);
  if (fstat(fd.get(), &offered.status) != 0) throw_errno("stat", path);
  const auto size = static_cast<uint64_t>(offered.status.st_size);
  offered.bytes = size;
  if (size > limit || (whole && size != limit))
    throw Error(
        {.code = ErrorCode::kCorrupt,
         .message = fmt::format("{} \"{}\" has the wrong size", noun_of(offered.file.kind), name),
         .detail = fmt::format("It has {} bytes, {} {}.", size, whole ? "not" : "more than", limit),
         .hint = "A file that another program copied there may be cut or damaged."});
  const repo::SegmentPass::Read read = read_from_file(fd, path);
  if (!is_wal(offered.file.kind)) {
    offered.small_content.resize(size);
    read(offered.small_content, 0);
    offered.sha256 = repo::wal_content_sha256(offered.small_content);
  } else {
    repo::SegmentPass::Take keep;
    uint64_t kept = 0;
    if (setting_.read_once || (!setting_.on_paper && size <= kLargestKeptSegment))
      keep = [&](repo::CompressedPiece&& piece) {
        kept += piece.frame.size();
        if (setting_.read_once || kept <= kMaxKeptBytes)
          offered.content.push_back(std::move(piece));
        else
          offered.content = {};
      };
    offered.segment = pass.describe(
        size, read, offered.file,
        {.host = source_.host, .pgdata = source_.data_directory, .pushed = clock_->now()}, keep);
    offered.sha256 = offered.segment.sha256;
    if (offered.segment.system_identifier != archive_->lineage().system_identifier)
      throw Error({.code = ErrorCode::kWrongCluster,
                   .message = fmt::format("WAL segment \"{}\" is from another cluster", name),
                   .detail = fmt::format(
                       "Its system identifier is {}, that of lineage \"{}\" is {}.",
                       offered.segment.system_identifier, repo::to_string(archive_->lineage().name),
                       archive_->lineage().system_identifier),
                   .hint = "Somebody has copied the file there; take it away."});
  }
  if (offered.file.kind == pg::WalFileKind::kHistory)
    pg::parse_timeline_history(offered.file.segment.timeline, as_text(offered.small_content));
  return offered;
}

OfferedFile Intake::as_partial(OfferedFile segment) const {
  segment.file.kind = pg::WalFileKind::kPartial;
  segment.name = pg::partial_file_name(segment.file.segment, archive_->segment_size());
  segment.segment.file_name = segment.name;
  segment.segment.complete = false;
  return segment;
}

bool Intake::is_archived(const OfferedFile& offered) const {
  const std::string here = who(source_.host, source_.data_directory);
  if (is_wal(offered.file.kind)) {
    std::optional<Bytes16> partial;
    if (offered.file.kind == pg::WalFileKind::kPartial)
      partial = repo::partial_digest(offered.sha256);
    const Bytes16* digest = partial ? &*partial : nullptr;
    std::optional<repo::WalSegmentInfo> there = archive_->segment_info(offered.file, digest);
    if (!there) return false;
    if (there->sha256 != offered.sha256 || there->bytes != offered.bytes)
      throw_conflict(offered, who(*there));
    archive_->make_durable(offered.file, digest);
    return true;
  }
  std::optional<repo::WalFileInfo> there = archive_->file_info(offered.file);
  if (!there) return false;
  if (there->sha256 != offered.sha256 || there->bytes != offered.bytes)
    throw_conflict(offered,
                   fmt::format("host \"{}\" at {}", there->host, to_rfc3339(there->pushed)));
  archive_->make_durable(offered.file);
  return true;
}

void Intake::throw_conflict(const OfferedFile& offered, const std::string& archived_by) const {
  throw Error({.code = ErrorCode::kConflict,
               .message = fmt::format("{} \"{}\" is already archived with other content",
                                      noun_of(offered.file.kind), offered.name),
               .detail = fmt::format(
                   "The archived one, which stays, was pushed by {}. This one is offered by {}.",
                   archived_by, who(source_.host, source_.data_directory)),
               .hint = std::string(kTwoServersHint)});
}

void Intake::check(const OfferedFile& offered) {
  if (offered.file.kind != pg::WalFileKind::kSegment) return;
  const pg::SegmentName segment = offered.file.segment;
  check_history(segment.timeline);

  // The first segment of a timeline continues the one it came from.
  pg::SegmentName before{.timeline = segment.timeline,
                         .segment_number = segment.segment_number - 1};
  const pg::Lsn start = pg::start_lsn(segment.segment_number, archive_->segment_size());
  if (history_ && start.is_valid()) before.timeline = history_->timeline_at(start - 1);
  if (std::optional<repo::WalSegmentInfo> previous = neighbour_info(before))
    check_joins(offered, *previous, true);
  const pg::SegmentName behind{.timeline = segment.timeline,
                               .segment_number = segment.segment_number + 1};
  if (std::optional<repo::WalSegmentInfo> next = neighbour_info(behind))
    check_joins(offered, *next, false);
}

void Intake::check_behind(const OfferedFile& offered, const repo::WalSegmentInfo& previous) {
  HF_CHECK(previous.timeline == offered.segment.timeline &&
           previous.start_lsn + previous.segment_bytes == offered.segment.start_lsn);
  check_joins(offered, previous, true);
  const pg::SegmentName behind{.timeline = offered.file.segment.timeline,
                               .segment_number = offered.file.segment.segment_number + 1};
  if (std::optional<repo::WalSegmentInfo> next = neighbour_info(behind))
    check_joins(offered, *next, false);
}

std::optional<repo::WalSegmentInfo> Intake::neighbour_info(pg::SegmentName segment) const {
  if (auto found = would_be_there_.find(segment); found != would_be_there_.end())
    return found->second;
  // A neighbour that cannot be read proves nothing against the segment in hand, and must not keep
  // the server from archiving.
  std::optional<repo::WalSegmentInfo> info;
  const std::optional<Error> error =
      unreadable_of([&] { info = archive_->segment_info(segment_file(segment)); });
  if (error)
    reporter_->warning(fmt::format("archived WAL segment \"{}\" {}: {}",
                                   pg::segment_file_name(segment, archive_->segment_size()),
                                   error->is_damage() ? "is damaged" : "cannot be read",
                                   error->message()));
  return info;
}

void Intake::check_joins(const OfferedFile& offered, const repo::WalSegmentInfo& neighbour,
                         bool neighbour_is_first) const {
  if (neighbour_is_first ? repo::joins(neighbour, offered.segment)
                         : repo::joins(offered.segment, neighbour))
    return;
  throw Error(
      {.code = ErrorCode::kConflict,
       .message = fmt::format("WAL segment \"{}\" does not join the archived segment \"{}\"",
                              offered.name, neighbour.file_name),
       .detail = fmt::format("The timelines have diverged. The archived segment was pushed by {}. "
                             "This one is offered by {}.",
                             who(neighbour), who(source_.host, source_.data_directory)),
       .hint = std::string(kTwoServersHint)});
}

void Intake::check_history(pg::TimelineId timeline) {
  if (timeline.value == 1) {
    history_.reset();
    return;
  }
  if (history_ && history_->timeline() == timeline) return;
  const std::string name = pg::history_file_name(timeline);
  const std::string path = join_path(source_.wal_directory, name);
  if (!stat_if_exists(path))
    throw Error(
        {.code = ErrorCode::kNotFound,
         .message = fmt::format("timeline history file \"{}\" does not exist", path),
         .detail = fmt::format(
             "A segment of timeline {} can be archived only when the server's history of that "
             "timeline is the archive's.",
             timeline.value),
         .hint = fmt::format(
             "If this server did come from there, put the file back: \"holdfast wal get {} {}\".",
             name, path)});
  const OfferedFile offered = read(name);
  if (!is_archived(offered) && !setting_.on_paper && put(offered))
    reporter_->note(fmt::format("archived timeline history file \"{}\"", name));
  history_ = pg::parse_timeline_history(timeline, as_text(offered.small_content));
}

void Intake::hand_over(const OfferedFile& offered, repo::SegmentPass& pass,
                       const std::function<void(const repo::CompressedPiece&)>& put_piece) {
  if (!offered.content.empty()) {
    for (const repo::CompressedPiece& piece : offered.content) put_piece(piece);
    return;
  }
  const Fd fd = open_file(offered.path, O_RDONLY);
  codec::Sha256 sha256;
  const repo::SegmentPass::Look hash = [&](ByteView piece) { sha256.update(piece); };
  pass.run(offered.bytes, read_from_file(fd, offered.path), {&hash, 1}, put_piece);
  if (sha256.finish() != offered.sha256)
    throw Error({.code = ErrorCode::kIo,
                 .message = fmt::format("file \"{}\" was changed while it was read", offered.path),
                 .hint = "Try again."});
}

bool Intake::put(const OfferedFile& offered, repo::SegmentPass& pass,
                 const std::function<void()>& before_commit) const {
  bool is_ours;
  if (is_wal(offered.file.kind)) {
    is_ours = archive_->put_segment(
        offered.file, offered.segment,
        [&](const auto& put_piece) { hand_over(offered, pass, put_piece); }, before_commit);
  } else {
    is_ours = archive_->put_file(offered.file,
                                 {.file_name = offered.name,
                                  .bytes = offered.bytes,
                                  .sha256 = offered.sha256,
                                  .system_identifier = archive_->lineage().system_identifier,
                                  .host = source_.host,
                                  .pushed = clock_->now()},
                                 offered.small_content);
  }
  // Somebody was first: fine if it was with the same content.
  if (!is_ours && !is_archived(offered))
    throw Error({.code = ErrorCode::kStoreUnavailable,
                 .message = fmt::format("the archive does not show \"{}\", which it says it has",
                                        offered.name),
                 .hint = "Try again."});
  return is_ours;
}

bool Intake::accept(const OfferedFile& offered) {
  if (is_archived(offered)) return false;
  check(offered);
  if (offered.segment.complete && offered.file.kind == pg::WalFileKind::kSegment &&
      offered.segment.readable_end !=
          pg::end_lsn(offered.file.segment.segment_number, archive_->segment_size()))
    reporter_->warning(
        fmt::format("WAL segment \"{}\" can be read only up to {}: it is archived as the server "
                    "offers it, but recovery will end there",
                    offered.name, pg::to_string(offered.segment.readable_end)));
  if (!setting_.on_paper) return put(offered);
  if (offered.file.kind == pg::WalFileKind::kSegment)
    would_be_there_.insert_or_assign(offered.file.segment, offered.segment);
  return true;
}

}  // namespace holdfast::archive
