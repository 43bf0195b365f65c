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
#include "cluster/start_barrier.h"
#include "codec/digest.h"
#include "pg/control_file.h"
#include "pg/version.h"
#include "pg/wal_page.h"
#include "repo/doomed.h"
#include "repo/intent.h"
#include "repo/wal_conflict.h"
#include "repo/wal_histories.h"

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
  std::optional<Bytes> bytes = read_if_exists(cluster::control_file_path(source.data_directory));
  if (!bytes || !pg::crc_is_valid(*bytes)) return std::nullopt;
  return pg::parse_control_file(*bytes);
}

WalIdentity identity_of(const pg::ControlFile& control) {
  WalIdentity identity{.system_identifier = control.system_identifier, .segment_size = {}};
  if (control.is_of_known_major()) identity.segment_size = control.wal_segment_size;
  return identity;
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
    return identity_of(*control);
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
  std::optional<pg::ControlFile> control = control_file_of(source);
  std::variant<pg::WalSegmentHeader, Error::Parts> read =
      pg::read_wal_segment_header(read_first_page(path));
  if (auto* problem = std::get_if<Error::Parts>(&read)) {
    // What is wrong with it is for who reads it to say.
    if (control) return identity_of(*control);
    throw Error(std::move(*problem));
  }
  const auto& header = std::get<pg::WalSegmentHeader>(read);
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

bool Intake::is_marked_ready(const std::string& name) const {
  return stat_if_exists(fmt::format("{}/archive_status/{}.ready", source_.wal_directory, name))
      .has_value();
}

// Whether a server that writes WAL of its own has finished that file, and waits for it to be
// archived.
bool Intake::is_in_production(const std::string& name) const {
  if (!setting_.by_server || source_.data_directory.empty()) return false;
  if (!is_marked_ready(name) || stat_if_exists(join_path(source_.data_directory, "standby.signal")))
    return false;
  const std::optional<pg::ControlFile> control = control_file_of(source_);
  return control && !pg::is_in_recovery(control->state);
}

// What its records say. Of a segment whose first page is damaged nothing but its bytes are known:
// it is kept when a server in production offers it, and is one that can be read to its start only.
repo::WalSegmentInfo Intake::describe(const std::string& name, const OfferedFile& offered,
                                      const repo::SegmentPass::Read& read, repo::SegmentPass& pass,
                                      const std::function<repo::SegmentPass::Take()>& keep) const {
  const repo::WalOrigin origin{
      .host = source_.host, .pgdata = source_.data_directory, .pushed = clock_->now()};
  repo::WalSegmentInfo info;
  const std::optional<Error> damage = error_of({ErrorCode::kCorrupt}, [&] {
    info = pass.describe(offered.bytes, read, offered.file, origin, keep());
  });
  if (!damage) return info;
  if (offered.file.kind != pg::WalFileKind::kSegment || !is_in_production(name))
    throw Error(*damage);
  codec::Sha256 sha256;
  const repo::SegmentPass::Look hash = [&](ByteView piece) { sha256.update(piece); };
  pass.run(offered.bytes, read, {&hash, 1}, keep());
  const pg::Lsn start =
      pg::start_lsn(offered.file.segment.segment_number, archive_->segment_size());
  info.file_name = name;
  info.timeline = info.highest_page_timeline = offered.file.segment.timeline;
  info.bytes = offered.bytes;
  info.sha256 = sha256.finish();
  info.system_identifier = archive_->lineage().system_identifier;
  info.segment_bytes = archive_->lineage().wal_segment_bytes;
  info.host = origin.host;
  info.pgdata = origin.pgdata;
  info.pushed = origin.pushed;
  info.start_lsn = info.readable_end = start;
  return info;
}

OfferedFile Intake::read(const std::string& name, repo::SegmentPass& pass, uint64_t at_most) const {
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

  const size_t limit =
      is_wal(offered.file.kind) ? archive_->segment_size().bytes() : kMaxSmallFileBytes;
  const Fd fd = open_file(path, O_RDONLY);
  if (fstat(fd.get(), &offered.status) != 0) throw_errno("stat", path);
  const uint64_t size = std::min(static_cast<uint64_t>(offered.status.st_size), at_most);
  offered.bytes = size;
  if (size > limit)
    throw Error(
        {.code = ErrorCode::kCorrupt,
         .message = fmt::format("{} \"{}\" has the wrong size", noun_of(offered.file.kind), name),
         .detail = fmt::format("It has {} bytes, more than {}.", size, limit),
         .hint = "A file that another program copied there may be cut or damaged."});
  // One that was cut is no segment.
  const bool is_cut = offered.file.kind == pg::WalFileKind::kSegment && size < limit;
  if (is_cut) offered.file.kind = pg::WalFileKind::kPartial;
  const repo::SegmentPass::Read read = read_from_file(fd, path);
  if (!is_wal(offered.file.kind)) {
    offered.small_content.resize(size);
    read(offered.small_content, 0);
    offered.sha256 = repo::wal_content_sha256(offered.small_content);
    return offered;
  }
  uint64_t kept = 0;
  const auto keep = [&]() -> repo::SegmentPass::Take {
    offered.content = {};
    kept = 0;
    if (!setting_.read_once && (setting_.on_paper || size > kLargestKeptSegment)) return {};
    return [&](repo::CompressedPiece&& piece) {
      kept += piece.frame.size();
      if (setting_.read_once || kept <= kMaxKeptBytes)
        offered.content.push_back(std::move(piece));
      else
        offered.content = {};
    };
  };
  offered.segment = describe(name, offered, read, pass, keep);
  offered.sha256 = offered.segment.sha256;
  if (offered.segment.system_identifier != archive_->lineage().system_identifier)
    throw Error({.code = ErrorCode::kWrongCluster,
                 .message = fmt::format("WAL segment \"{}\" is from another cluster", name),
                 .detail = fmt::format("Its system identifier is {}, that of lineage \"{}\" is {}.",
                                       offered.segment.system_identifier,
                                       repo::to_string(archive_->lineage().name),
                                       archive_->lineage().system_identifier),
                 .hint = "Somebody has copied the file there; take it away."});
  if (is_cut) offered = as_partial(std::move(offered));
  return offered;
}

OfferedFile Intake::as_partial(OfferedFile segment) const {
  segment.file.kind = pg::WalFileKind::kPartial;
  segment.name = pg::partial_file_name(segment.file.segment, archive_->segment_size());
  segment.segment.file_name = segment.name;
  segment.segment.complete = false;
  return segment;
}

OfferedFile Intake::under_another_digest(const OfferedFile& partial) {
  const uint64_t bytes = partial.bytes - std::min<uint64_t>(partial.bytes, pg::kWalBlockBytes);
  const repo::WalSegmentInfo& segment = partial.segment;
  if (bytes == 0 || segment.start_lsn + bytes < segment.readable_end)
    throw Error({.code = ErrorCode::kCorrupt,
                 .message = fmt::format("what is archived of \"{}\" is damaged", partial.name),
                 .detail = "No page behind its records can be left out, by which it would have "
                           "another name in the archive.",
                 .hint = "Keep the file; when the server goes on in it, it is archived again."});
  return read(base_name(partial.path), pass_, bytes);
}

// --- what is archived

// What nobody needed was listed for removal, and now a server offers it: it stays like what is put
// just now. False: it has been removed meanwhile.
bool Intake::keep_listed(const OfferedFile& offered, const std::string& object) {
  const repo::Repository& repository = archive_->repository();
  const repo::LineageName& lineage = archive_->lineage().name;
  if (!listed_) {
    const std::string folder = repo::lineage_folder(lineage);
    listed_ = repo::doomed_objects(repository, lineage, [&](const std::string& name) {
      return name.starts_with(folder + "wal/") || name.starts_with(folder + "amended/");
    });
  }
  if (!listed_->contains(object)) return true;

  const pg::TimelineId timeline = offered.file.segment.timeline;
  pg::Lsn from = pg::start_lsn(offered.file.segment.segment_number, archive_->segment_size());
  if (offered.file.kind == pg::WalFileKind::kHistory) {
    from = pg::Lsn{UINT64_MAX};  // one that is not understood leads nowhere
    error_of({ErrorCode::kCorrupt}, [&] {
      const pg::TimelineHistory history =
          pg::parse_timeline_history(timeline, as_text(offered.small_content));
      if (!history.ancestors().empty()) from = history.ancestors().back().switch_lsn;
    });
  }
  if (const auto held = held_from_.find(timeline);
      held == held_from_.end() || held->second > from) {
    repo::put_intent(repository, lineage,
                     {.what = "push",
                      .timeline = timeline,
                      .wal_from = from,
                      .detail = offered.name,
                      .host = source_.host,
                      .pid = process_id(),
                      .started = clock_->now(),
                      .valid_until = repository.store().now() + repo::kIntentLife});
    held_from_.insert_or_assign(timeline, from);
  }
  if (const std::optional<repo::Going> going = repo::find_going(
          repository, lineage, [&](const std::string& name) { return name == object; }))
    throw Error(
        {.code = ErrorCode::kBusy,
         .message = fmt::format("\"{}\" is archived, and about to be removed", offered.name),
         .detail = fmt::format("{} An expiry is at work: {}.", going->what, going->by),
         .hint = "Try again when it has ended."});
  return repository.store().info(object).has_value();
}

Intake::Standing Intake::look(const OfferedFile& offered) const {
  using enum Standing::Kind;
  std::optional<Bytes16> partial;
  if (offered.file.kind == pg::WalFileKind::kPartial)
    partial = repo::partial_digest(offered.sha256);
  const Bytes16* digest = partial ? &*partial : nullptr;
  const repo::WalAmendments amendments = archive_->amendments(offered.file);
  const std::vector<repo::WalArchive::Content> contents = archive_->contents(offered.file, digest);
  // Numbers are never used twice: nor is one that a mark names.
  Standing standing{.kind = kFree,
                    .number = std::max<uint64_t>(amendments.next_number, contents.empty() ? 0 : 1)};
  const auto served = std::ranges::find_if(contents.rbegin(), contents.rend(),
                                           [](const auto& content) { return !content.aside; });
  if (served != contents.rend()) {
    const uint64_t number = standing.number;
    const std::optional<Error> unread = unreadable_of([&] {
      standing = digest                      ? look_at_partial(*served)
                 : is_wal(offered.file.kind) ? look_at_segment(offered, *served)
                                             : look_at_file(offered, *served);
    });
    if (unread) {
      if (!is_named_the_same(offered, served->object) && !is_shown_to_be_its_server(offered))
        throw_untold(offered, *unread);
      reporter_->warning(
          fmt::format("what is archived under \"{}\" {}, and is amended: {}", offered.name,
                      unread->is_damage() ? "is damaged" : "cannot be read", unread->message()));
      standing.kind = kAmends;
    }
    standing.number = number;
  }
  if (served != contents.rend()) standing.object = served->object;
  if (standing.kind == kThere) {
    archive_->make_durable(offered.file, digest);
    return standing;
  }
  const std::string content = digest ? to_hex(digest->view()) : std::to_string(standing.number);
  if (const repo::WalMark* mark =
          repo::set_aside(amendments, content, [&] { return std::optional(offered.sha256); })) {
    standing.kind = kSetAside;
    standing.archived_by = fmt::format("host \"{}\" at {}", mark->by, to_rfc3339(mark->at));
  }
  return standing;
}

// By the metadata of an object whose content cannot be read.
bool Intake::is_named_the_same(const OfferedFile& offered, const std::string& object) const {
  std::optional<Bytes32> sha256;
  unreadable_of([&] {
    if (is_wal(offered.file.kind)) {
      if (const auto info = archive_->segment_info_of(object)) sha256 = info->sha256;
    } else if (const auto info = archive_->file_info_of(object)) {
      sha256 = info->sha256;
    }
  });
  return sha256 == offered.sha256;
}

// What is archived under that name cannot be read, so nobody can compare it. The server that wrote
// it has what is archived behind it byte for byte, for histories that parted do not meet again;
// where nothing is, it is known by where the segment before it came from.
bool Intake::is_shown_to_be_its_server(const OfferedFile& offered) const {
  const pg::SegmentName segment = offered.file.segment;
  const auto is_ours = [&](const repo::WalSegmentInfo& info) {
    return !source_.data_directory.empty() && info.host == source_.host &&
           info.pgdata == source_.data_directory;
  };
  if (offered.file.kind == pg::WalFileKind::kHistory) {
    const std::optional<uint64_t> first = archive_->first_segment(segment.timeline);
    if (!first) return true;
    const std::optional<repo::WalSegmentInfo> begins =
        neighbour_info({.timeline = segment.timeline, .segment_number = *first});
    return begins && (is_ours(*begins) || has_the_same(*begins));
  }
  if (offered.file.kind != pg::WalFileKind::kSegment) return true;
  if (const auto next = neighbour_info(
          {.timeline = segment.timeline, .segment_number = segment.segment_number + 1}))
    return has_the_same(*next);
  const auto previous =
      neighbour_info({.timeline = segment.timeline, .segment_number = segment.segment_number - 1});
  return previous && is_ours(*previous);
}

bool Intake::has_the_same(const repo::WalSegmentInfo& archived) const {
  bool is_same = false;
  // A file that is not there, or is damaged, is not the same.
  error_of([&] {
    repo::SegmentPass pass(setting_.compression, 1);
    is_same = read(archived.file_name, pass).sha256 == archived.sha256;
  });
  return is_same;
}

void Intake::throw_untold(const OfferedFile& offered, const Error& unread) const {
  throw Error(
      {.code = ErrorCode::kConflict,
       .message = fmt::format("what is archived as \"{}\" {}, and may be another's", offered.name,
                              unread.is_damage() ? "is damaged" : "cannot be read"),
       .detail =
           fmt::format("{}. Nothing shows that {} wrote it: the neighbour that is archived is "
                       "not its own.",
                       unread.message(), repo::to_string(owner())),
       .hint = fmt::format("Let the server that wrote it push it, or make it readable. If that is "
                           "this one after all, \"holdfast wal set-aside {}\" takes the unreadable "
                           "one out of service, and this one is archived at the next try.",
                           offered.name)});
}

Intake::Standing Intake::look_at_file(const OfferedFile& offered,
                                      const repo::WalArchive::Content& served) const {
  const std::optional<Bytes> content = archive_->read_file_of(served.object);
  if (!content) return {.kind = Standing::Kind::kFree};
  if (*content == offered.small_content) return {.kind = Standing::Kind::kThere};
  // A server that was rolled back to where a backup began takes another one there. No recovery
  // reads either, and nothing is to wait for them.
  if (offered.file.kind == pg::WalFileKind::kBackupHistory)
    return {.kind = Standing::Kind::kAmends};
  const std::optional<repo::WalFileInfo> there = archive_->file_info_of(served.object);
  if (!there) return {.kind = Standing::Kind::kFree};
  return {.kind = Standing::Kind::kConflict,
          .archived_by = fmt::format("host \"{}\" at {}", there->host, to_rfc3339(there->pushed)),
          .owner = {.host = there->host, .data_directory = {}}};
}

// The name tells what its content was when it was put; whether it still is, its bytes do.
Intake::Standing Intake::look_at_partial(const repo::WalArchive::Content& served) const {
  const bool is_there = archive_->read_segment_of(served.object, [](ByteView) {}).has_value();
  return {.kind = is_there ? Standing::Kind::kThere : Standing::Kind::kFree};
}

Intake::Standing Intake::look_at_segment(const OfferedFile& offered,
                                         const repo::WalArchive::Content& served) const {
  using enum Standing::Kind;
  const std::optional<repo::WalSegmentInfo> there = archive_->segment_info_of(served.object);
  if (!there) return {.kind = kFree};
  Standing standing{.kind = kConflict,
                    .number = 0,
                    .archived_by = repo::pushed_by(*there),
                    .owner = repo::owner_of(*there)};
  const repo::WalSegmentInfo& here = offered.segment;
  if (there->sha256 == offered.sha256 && there->bytes == offered.bytes) {
    // Who hears that it is there lets go of the last copy that may be whole: a server recycles it,
    // a restore in place clears it. So the bytes are read, and their SHA-256 is compared.
    if (!archive_->read_segment_of(served.object, [](ByteView) {})) return {.kind = kFree};
    standing.kind = kThere;
  } else if (there->highest_page_timeline < here.highest_page_timeline &&
             repo::WalHistories(*archive_).is_foreign(*there)) {
    standing.kind = kAmends;
  } else if (!repo::reaches_its_end(*there) || !repo::reaches_its_end(here)) {
    const pg::Lsn end = std::min(there->readable_end, here.readable_end);
    if (agrees_with(served.object, offered, end - here.start_lsn))
      standing.kind = here.readable_end > there->readable_end ? kAmends : kThere;
  }
  return standing;
}

// Whether both begin with the same bytes.
bool Intake::agrees_with(const std::string& object, const OfferedFile& offered,
                         uint64_t bytes) const {
  const Fd fd = open_file(offered.path, O_RDONLY);
  uint64_t at = 0;
  bool agrees = true;
  Bytes here;
  archive_->read_segment_of(object, [&](ByteView piece) {
    const uint64_t compared = std::min<uint64_t>(piece.size(), bytes - std::min(at, bytes));
    here.resize(static_cast<size_t>(compared));
    agrees = agrees && pread_some(fd, here, at, offered.path) == compared &&
             std::ranges::equal(piece.first(here.size()), here);
    at += piece.size();
  });
  return agrees;
}

repo::WalOwner Intake::owner() const {
  return {.host = source_.host, .data_directory = source_.data_directory};
}

void Intake::throw_conflict(const OfferedFile& offered, const Standing& standing) const {
  throw Error({.code = ErrorCode::kConflict,
               .message = fmt::format("{} \"{}\" is already archived with other content",
                                      noun_of(offered.file.kind), offered.name),
               .detail = fmt::format(
                   "The archived one, which stays, was pushed by {}. This one is offered by {}.",
                   standing.archived_by, repo::to_string(owner())),
               .hint = offered.file.kind == pg::WalFileKind::kHistory
                           ? std::string(repo::kTakenTimelineHint)
                           : repo::way_past(offered.name, standing.owner, owner())});
}

void Intake::refuse_conflict(const OfferedFile& offered) const {
  const Standing standing = look(offered);
  if (standing.kind == Standing::Kind::kConflict) throw_conflict(offered, standing);
}

void Intake::throw_set_aside(const OfferedFile& offered, const std::string& by) const {
  throw Error({.code = ErrorCode::kConflict,
               .message = fmt::format("this content of {} \"{}\" was set aside",
                                      noun_of(offered.file.kind), offered.name),
               .detail = fmt::format("By {}. It is offered by {}.", by, repo::to_string(owner())),
               .hint = fmt::format(
                   "If it is right after all, \"holdfast wal set-aside {} --off\" serves it "
                   "again. Else stop archiving on the server that offers it.",
                   offered.name)});
}

// --- what it must fit

void Intake::refuse_foreign(const OfferedFile& offered) {
  const pg::TimelineId timeline = offered.file.segment.timeline;
  check_history(timeline);
  if (!history_ || !repo::is_foreign(offered.segment, *history_->start_of(timeline))) return;
  throw Error(
      {.code = ErrorCode::kCorrupt,
       .message = fmt::format("file \"{}\" does not hold the WAL of its name", offered.name),
       .detail = fmt::format(
           "It is of timeline {}, and behind {} there is only WAL of timeline {} itself.",
           offered.segment.highest_page_timeline.value,
           pg::to_string(*history_->start_of(timeline)), timeline.value),
       .hint = "A server keeps old files under new names, for reuse."});
}

void Intake::check(const OfferedFile& offered) {
  const pg::SegmentName segment = offered.file.segment;
  if (offered.file.kind == pg::WalFileKind::kHistory) return;
  if (offered.file.kind != pg::WalFileKind::kSegment) {
    // Whatever is archived of a timeline says that its id is taken; without its history no recovery
    // could be promoted any more.
    if (is_in_production(offered.name) || is_known(segment.timeline)) return;
    if (stat_if_exists(join_path(source_.wal_directory, pg::history_file_name(segment.timeline))))
      return check_history(segment.timeline);
    throw Error({.code = ErrorCode::kNotFound,
                 .message = fmt::format("\"{}\" is of timeline {}, whose history is not archived",
                                        offered.name, segment.timeline.value),
                 .detail = fmt::format("Nor does \"{}\" lie beside it.",
                                       pg::history_file_name(segment.timeline)),
                 .hint = "Archived without it, it would keep every recovery from being promoted."});
  }
  refuse_foreign(offered);

  // The first segment of a timeline continues the one it came from.
  pg::SegmentName before{.timeline = segment.timeline,
                         .segment_number = segment.segment_number - 1};
  const pg::Lsn start = pg::start_lsn(segment.segment_number, archive_->segment_size());
  if (history_ && start.is_valid()) before.timeline = history_->timeline_at(start - 1);
  if (std::optional<repo::WalSegmentInfo> previous = neighbour_info(before))
    check_joins(offered, *previous, true);
  const pg::SegmentName behind{.timeline = segment.timeline,
                               .segment_number = segment.segment_number + 1};
  if (std::optional<repo::WalSegmentInfo> next = neighbour_info(behind)) {
    check_joins(offered, *next, false);
    check_is_of_one_line(offered, *next);
  }
}

// Records of equal lengths join whoever wrote them. So where another content of this name was set
// aside, what was archived behind that is of its line, unless it was pushed since, or the server
// itself has the same.
void Intake::check_is_of_one_line(const OfferedFile& offered,
                                  const repo::WalSegmentInfo& next) const {
  const repo::WalAmendments amendments = archive_->amendments(offered.file);
  const auto doubts = [&](const repo::WalMark& mark) {
    return mark.is_set_aside && mark.sha256 != offered.sha256 && next.pushed <= mark.at;
  };
  if (std::ranges::none_of(amendments.marks, doubts)) return;
  if (has_the_same(next)) return;
  throw Error(
      {.code = ErrorCode::kConflict,
       .message = fmt::format("WAL segment \"{}\" has not the archived \"{}\" behind it",
                              offered.name, next.file_name),
       .detail = fmt::format(
           "What was archived as \"{}\" before was set aside, and the segment behind it was pushed "
           "before that, by {}: it is of the same line. This one is offered by {}.",
           offered.name, repo::pushed_by(next), repo::to_string(owner())),
       .hint = repo::way_past(next.file_name, repo::owner_of(next), owner())});
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
                             repo::pushed_by(neighbour), repo::to_string(owner())),
       .hint = repo::way_past(neighbour.file_name, repo::owner_of(neighbour), owner())});
}

bool Intake::is_known(pg::TimelineId timeline) const {
  if (timeline.value == 1) return true;
  return archive_->file_info({.kind = pg::WalFileKind::kHistory, .segment = {.timeline = timeline}})
      .has_value();
}

void Intake::check_history(pg::TimelineId timeline) {
  if (checked_ == timeline) return;
  history_.reset();
  if (timeline.value > 1) {
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
    OfferedFile offered = read(name);
    // One that nobody understands was told of when it was archived.
    error_of({ErrorCode::kCorrupt}, [&] {
      history_ = pg::parse_timeline_history(timeline, as_text(offered.small_content));
    });
    if (!accept(std::move(offered)).was_there && !setting_.on_paper)
      reporter_->note(fmt::format("archived timeline history file \"{}\"", name));
  }
  checked_ = timeline;
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

bool Intake::put(const OfferedFile& offered, uint64_t number, repo::SegmentPass& pass,
                 const std::function<void()>& before_commit) const {
  if (is_wal(offered.file.kind))
    return archive_->put_segment(
        offered.file, offered.segment,
        [&](const auto& put_piece) { hand_over(offered, pass, put_piece); }, before_commit, number);
  return archive_->put_file(offered.file,
                            {.file_name = offered.name,
                             .bytes = offered.bytes,
                             .sha256 = offered.sha256,
                             .system_identifier = archive_->lineage().system_identifier,
                             .host = source_.host,
                             .pushed = clock_->now()},
                            offered.small_content, number);
}

Intake::Accepted Intake::accept(OfferedFile offered) {
  // Somebody else may put the same name: then what stands there is looked at once more.
  constexpr int kTries = 10;
  const auto accepted = [&](bool was_there) {
    Accepted result{.name = offered.name, .was_there = was_there};
    if (offered.file.kind == pg::WalFileKind::kPartial)
      result.partial = repo::partial_digest(offered.sha256);
    return result;
  };
  for (int tries = 0; tries < kTries; ++tries) {
    if (tries > 0) archive_->look_again();
    const Standing standing = look(offered);
    if (standing.kind == Standing::Kind::kThere) {
      if (!setting_.on_paper && offered.file.kind == pg::WalFileKind::kHistory)
        archive_->put_missing_history(standing.object);
      if (!setting_.on_paper && !keep_listed(offered, standing.object)) continue;
      return accepted(true);
    }
    if (standing.kind == Standing::Kind::kAmends &&
        offered.file.kind == pg::WalFileKind::kPartial) {
      offered = under_another_digest(offered);
      continue;
    }
    const bool is_segment = offered.file.kind == pg::WalFileKind::kSegment;
    if (is_segment && offered.segment.highest_page_timeline < offered.segment.timeline)
      refuse_foreign(offered);
    // Where it ends is not seen, so the server must have said that it is finished.
    if (is_segment && repo::is_unread(offered.segment) && !is_marked_ready(offered.name)) {
      reporter_->note(
          fmt::format("WAL segment \"{}\" is of a newer PostgreSQL than this program knows and not "
                      "marked as ready, and is kept as .partial: a server may go on in it",
                      offered.name));
      offered = as_partial(std::move(offered));
      continue;
    }
    if (is_segment && !repo::reaches_its_end(offered.segment)) {
      const bool is_offered = is_in_production(offered.name);
      if (!is_offered &&
          !repo::is_whole(offered.segment, *archive_, repo::WalHistories(*archive_))) {
        if (setting_.by_server)
          reporter_->note(
              fmt::format("WAL segment \"{}\" can be read only up to {}, and is kept as .partial: "
                          "the server that "
                          "writes it may go on in it",
                          offered.name, pg::to_string(offered.segment.readable_end)));
        offered = as_partial(std::move(offered));
        continue;
      }
    }
    if (standing.kind == Standing::Kind::kConflict) throw_conflict(offered, standing);
    if (standing.kind == Standing::Kind::kSetAside) throw_set_aside(offered, standing.archived_by);
    check(offered);
    if (is_segment && !repo::reaches_its_end(offered.segment) &&
        !repo::is_whole(offered.segment, *archive_, repo::WalHistories(*archive_)))
      reporter_->warning(
          fmt::format("WAL segment \"{}\" can be read only up to {}: it is archived as the server "
                      "offers it, but recovery will end there",
                      offered.name, pg::to_string(offered.segment.readable_end)));
    if (is_segment && repo::is_unread(offered.segment))
      reporter_->warning(
          fmt::format("WAL segment \"{}\" is of a newer PostgreSQL than this program knows (page "
                      "magic {:04X}): "
                      "it is archived as the server offers it, unread",
                      offered.name, offered.segment.wal_magic));
    if (offered.file.kind == pg::WalFileKind::kHistory)
      if (const std::optional<Error> error = error_of({ErrorCode::kCorrupt}, [&] {
            pg::parse_timeline_history(offered.file.segment.timeline,
                                       as_text(offered.small_content));
          }))
        reporter_->warning(fmt::format("{}: it is archived as the server offers it. {}",
                                       error->message(), error->detail()));
    if (setting_.on_paper) {
      if (is_segment) would_be_there_.insert_or_assign(offered.file.segment, offered.segment);
      return accepted(false);
    }
    if (!put(offered, standing.number, pass_, {})) continue;
    if (standing.number > 0) archive_->look_again();
    return accepted(false);
  }
  throw Error({.code = ErrorCode::kStoreUnavailable,
               .message = fmt::format("the archive does not show \"{}\", which it says it has",
                                      offered.name),
               .hint = "Try again."});
}

}  // namespace holdfast::archive
