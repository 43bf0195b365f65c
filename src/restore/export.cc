// Facts: basebackup.c (perform_base_backup, sendDir), PostgreSQL 13 to 18: the order of base.tar,
// and that with a tablespace_map the links themselves are left out.
#include "restore/export.h"

#include <algorithm>
#include <memory>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "base/error.h"
#include "base/file.h"
#include "base/tar_writer.h"
#include "base/task_group.h"
#include "pg/control_file.h"
#include "pg/wal_file_name.h"
#include "repo/needed_wal.h"
#include "repo/wal_archive.h"
#include "restore/hold.h"
#include "restore/lay.h"

namespace holdfast::restore {
namespace {

constexpr std::string_view kTablespaceLinks = "pg_tblspc/";
constexpr const char* kBase = "base.tar";
constexpr uint32_t kWalMode = 0600;

// One tar file, or what goes to the caller.
class Output {
 public:
  explicit Output(std::function<void(ByteView)> out) : tar_(std::move(out)) {}
  explicit Output(const std::string& path)
      : path_(path),
        file_(std::make_unique<DurableFile>(path, 0600)),
        tar_([this](ByteView bytes) { file_->write(bytes); }) {}
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;

  TarWriter& tar() { return tar_; }
  ExportResult::File commit() {
    if (file_) file_->commit(DurableFile::Mode::kCreate);
    return {.path = path_, .bytes = tar_.bytes()};
  }

 private:
  std::string path_;
  std::unique_ptr<DurableFile> file_;
  TarWriter tar_;
};

// "16384" of "pg_tblspc/16384/PG_15_202209061/5/1259", with the rest behind it; empty for others.
std::pair<std::string, std::string> tablespace_of(const std::string& path) {
  if (!path.starts_with(kTablespaceLinks)) return {};
  const size_t end = path.find('/', kTablespaceLinks.size());
  return {path.substr(kTablespaceLinks.size(), end - kTablespaces.size()),
          end == std::string::npos ? "" : path.substr(end + 1)};
}

class Export {
 public:
  Export(const ExportOptions& options, const repo::Repository& repository,
         const repo::Lineage& lineage, const Clock& clock, Reporter& reporter, std::stop_token stop)
      : options_(options),
        repository_(repository),
        clock_(clock),
        reporter_(reporter),
        stop_(std::move(stop)),
        archive_(repository, lineage),
        backup_(repo::resolve_backup(repository, lineage.name, options.backup)),
        extents_(repository, lineage.name),
        reader_(extents_, backup_.block_bytes),
        manifest_(repository, lineage.name, backup_.id, backup_.manifest_sha256,
                  [&](std::string_view text) { reporter.warning(text); }),
        buffer_(repo::kLeafBytes) {}

  ExportResult run();

 private:
  struct Segment {
    pg::WalFileName file;
    std::optional<Bytes16> partial;
  };
  void check_place() const;
  void find_wal();
  void write_entry(const repo::ManifestEntry& entry);
  void write_member(TarWriter& tar, std::string path, const repo::ManifestEntry& entry);
  void write_wal();
  TarEntry member_of(const repo::ManifestEntry& entry) const;
  TarEntry wal_member(std::string name) const;
  bool is_linked(const std::string& oid) const { return linked_.contains(oid); }

  const ExportOptions& options_;
  const repo::Repository& repository_;
  const Clock& clock_;
  Reporter& reporter_;
  const std::stop_token stop_;
  const repo::WalArchive archive_;
  const repo::Backup backup_;
  repo::ExtentReader extents_;
  repo::FileReader reader_;
  repo::ManifestReader manifest_;
  Bytes buffer_;

  std::vector<Segment> wal_;
  std::set<std::string> linked_;  // oids of tablespaces that have a tar of their own
  std::set<std::string> seen_;    // directories of pg_wal
  std::unique_ptr<Output> base_;
  std::vector<std::pair<std::string, std::unique_ptr<Output>>> tablespaces_;  // by oid
  std::optional<repo::ManifestEntry> control_;
  ExportResult result_;
};

void Export::check_place() const {
  if (options_.directory.empty()) {
    if (backup_.tablespaces.empty()) return;
    throw Error({.code = ErrorCode::kUnsupported,
                 .message = fmt::format("backup {} does not fit into one tar", backup_.id),
                 .detail = fmt::format("It has {} tablespaces, and each is a tar of its own.",
                                       backup_.tablespaces.size()),
                 .hint = "Name a directory for them: --tar DIR."});
  }
  if (!lstat_if_exists(options_.directory)) return;
  if (is_directory(options_.directory) && is_empty_directory(options_.directory)) return;
  throw Error({.code = ErrorCode::kAlreadyExists,
               .message = fmt::format("\"{}\" is not an empty directory", options_.directory),
               .detail = "",
               .hint = "Name a directory that does not exist or is empty, or - for stdout."});
}

// All WAL from the backup's start to its end; the last may be there only as far as it was written.
void Export::find_wal() {
  if (!options_.with_wal) return;
  repo::require_own_wal(backup_, archive_,
                        "Export another backup; or this one without its WAL: --wal off.");
  if (backup_.start_timeline != backup_.stop_timeline) {
    throw Error(
        {.code = ErrorCode::kUnsupported,
         .message = fmt::format("backup {} ended on another timeline than it began on", backup_.id),
         .detail =
             fmt::format("It went from timeline {} to {}.", pg::to_string(backup_.start_timeline),
                         pg::to_string(backup_.stop_timeline)),
         .hint = "Export it without its WAL: --wal off."});
  }
  const pg::WalSegmentSize size = archive_.segment_size();
  const uint64_t last = pg::last_segment_before_end(backup_.stop_lsn, size);
  for (uint64_t number = backup_.start_lsn.value / size.bytes(); number <= last; ++number) {
    const pg::SegmentName segment{.timeline = backup_.stop_timeline, .segment_number = number};
    Segment found{.file = {.kind = pg::WalFileKind::kSegment, .segment = segment}, .partial = {}};
    bool is_there = archive_.segment_info(found.file).has_value();
    if (!is_there && number == last) {
      found.file.kind = pg::WalFileKind::kPartial;
      for (const Bytes16& partial : archive_.partials(segment)) {
        const std::optional<repo::WalSegmentInfo> info =
            archive_.segment_info(found.file, &partial);
        if (!info || info->readable_end < backup_.stop_lsn) continue;
        found.partial = partial;
        is_there = true;
        break;
      }
    }
    if (!is_there) {
      throw Error(
          {.code = ErrorCode::kNotFound,
           .message = fmt::format("WAL segment \"{}\" is not in the archive",
                                  pg::segment_file_name(segment, size)),
           .detail = fmt::format("Backup {} needs the WAL from {} to {}.", backup_.id,
                                 pg::to_string(backup_.start_lsn), pg::to_string(backup_.stop_lsn)),
           .hint = "Without it no server can be recovered from the backup; with --wal off "
                   "it is exported all the same."});
    }
    wal_.push_back(found);
  }
}

TarEntry Export::member_of(const repo::ManifestEntry& entry) const {
  TarEntry member{.type = entry.type == repo::EntryType::kDirectory ? TarEntry::Type::kDirectory
                          : entry.type == repo::EntryType::kSymlink ? TarEntry::Type::kSymlink
                                                                    : TarEntry::Type::kFile,
                  .bytes = entry.size,
                  .mode = entry.mode,
                  .modified = entry.modified,
                  .target = entry.target};
  if (const std::vector<repo::Owner>& owners = manifest_.summary().owners;
      entry.owner < owners.size()) {
    const repo::Owner& owner = owners[entry.owner];
    member.user = owner.user;
    member.group = owner.group;
    member.uid = owner.uid;
    member.gid = owner.gid;
  }
  return member;
}

void Export::write_member(TarWriter& tar, std::string path, const repo::ManifestEntry& entry) {
  Context writing("exporting \"{}\"", entry.path);
  TarEntry member = member_of(entry);
  member.path = std::move(path);
  tar.begin(member);
  ++result_.members;
  if (entry.type != repo::EntryType::kFile) return;
  reader_.open(entry.location, entry.size);
  for (uint64_t at = 0; at < entry.size;) {
    throw_if_stopped(stop_);
    const size_t got = reader_.read_range(at, buffer_);
    HF_CHECK(got > 0);
    tar.write(ByteView(buffer_).first(got));
    reporter_.amount(got);
    at += got;
  }
}

void Export::write_entry(const repo::ManifestEntry& entry) {
  if (entry.root == repo::ManifestRoot::kOutside) {
    if (entry.type == repo::EntryType::kFile) result_.outside.push_back(entry.path);
    return;
  }
  if (is_left_out(entry.path)) return;
  if (entry.path == pg::kControlFilePath) {
    control_ = entry;
    return;
  }
  if (entry.type == repo::EntryType::kDirectory) seen_.insert(entry.path);
  const auto [oid, rest] = tablespace_of(entry.path);
  if (entry.type == repo::EntryType::kSymlink && !oid.empty() && rest.empty()) {
    // tablespace_map tells the server where to make the link.
    linked_.insert(oid);
    tablespaces_.emplace_back(
        oid, std::make_unique<Output>(join_path(options_.directory, oid + ".tar")));
    return;
  }
  if (!rest.empty() && is_linked(oid))
    return write_member(tablespaces_.back().second->tar(), rest, entry);
  write_member(base_->tar(), entry.path, entry);
}

// As the server's files are, owned as the data directory.
TarEntry Export::wal_member(std::string name) const {
  TarEntry member{.path = std::move(name),
                  .mode = kWalMode,
                  .user = backup_.data_user,
                  .group = backup_.data_group,
                  .modified = backup_.stop_time};
  for (const repo::Owner& owner : manifest_.summary().owners)
    if (owner.user == backup_.data_user) {
      member.uid = owner.uid;
      member.gid = owner.gid;
      break;
    }
  return member;
}

void Export::write_wal() {
  TarWriter& tar = base_->tar();
  for (const char* directory : {"pg_wal", "pg_wal/archive_status"}) {
    if (seen_.contains(directory)) continue;
    TarEntry member = wal_member(directory);
    member.type = TarEntry::Type::kDirectory;
    member.mode = backup_.data_mode;
    tar.begin(member);
  }
  if (wal_.empty()) return;
  reporter_.phase("writing WAL", 0);
  const pg::WalSegmentSize size = archive_.segment_size();
  if (backup_.stop_timeline.value > 1) {
    const pg::WalFileName history{.kind = pg::WalFileKind::kHistory,
                                  .segment = {.timeline = backup_.stop_timeline}};
    const std::string name = pg::history_file_name(backup_.stop_timeline);
    if (const std::optional<Bytes> content = archive_.read_file(history))
      tar.add(wal_member("pg_wal/" + name), *content);
    else
      reporter_.warning(fmt::format("timeline history file \"{}\" is not in the archive", name));
  }
  for (const Segment& segment : wal_) {
    throw_if_stopped(stop_);
    const std::string name = pg::segment_file_name(segment.file.segment, size);
    TarEntry member = wal_member("pg_wal/" + name);
    member.bytes = size.bytes();
    tar.begin(member);
    uint64_t written = 0;
    archive_.read_segment(
        segment.file,
        [&](ByteView piece) {
          tar.write(piece);
          written += piece.size();
        },
        segment.partial ? &*segment.partial : nullptr);
    // Behind an unfinished segment there are zeros.
    if (written < size.bytes()) tar.write(Bytes(size.bytes() - written));
    // It is archived already.
    tar.add(wal_member(fmt::format("pg_wal/archive_status/{}.done", name)), {});
    result_.wal.push_back(name);
  }
}

ExportResult Export::run() {
  // What can be refused is refused before the first byte.
  check_place();
  find_wal();
  if (backup_.damaged)
    reporter_.warning(
        fmt::format("backup {} holds {} damaged pages, which are exported as they are", backup_.id,
                    backup_.damaged_blocks));
  const std::unique_ptr<repo::HeldIntent> held =
      hold_off_deletion({.what = "export",
                         .done = "exported",
                         .backup = backup_.id,
                         .timeline = backup_.start_timeline,
                         .wal_from = backup_.start_lsn,
                         .directory = options_.directory},
                        repository_, backup_.lineage, clock_, reporter_);

  if (options_.directory.empty()) {
    base_ = std::make_unique<Output>(options_.out);
  } else {
    make_directories(options_.directory, 0700);
    base_ = std::make_unique<Output>(join_path(options_.directory, kBase));
  }
  reporter_.phase("exporting files", manifest_.summary().file_bytes);
  while (std::optional<repo::ManifestEntry> entry = manifest_.next()) write_entry(*entry);
  write_wal();
  if (!control_) {
    throw Error({.code = ErrorCode::kCorrupt,
                 .message = fmt::format("backup {} has no pg_control", backup_.id),
                 .detail = "No server can be recovered from it.",
                 .hint = "Export another backup: holdfast backup list shows them."});
  }
  write_member(base_->tar(), control_->path, *control_);

  // base.tar is the last to have its name: who finds it finds all.
  for (auto& [oid, output] : tablespaces_) output->tar().finish();
  base_->tar().finish();
  for (auto& [oid, output] : tablespaces_) result_.files.push_back(output->commit());
  result_.files.push_back(base_->commit());
  result_.backup = backup_;
  if (!result_.outside.empty())
    reporter_.warning(
        fmt::format("{} configuration files lie outside the data directory and are not in the tar: "
                    "{}",
                    result_.outside.size(), fmt::join(result_.outside, ", ")));
  return std::move(result_);
}

}  // namespace

ExportResult export_backup(const ExportOptions& options, const repo::Repository& repository,
                           const repo::Lineage& lineage, const Clock& clock, Reporter& reporter,
                           std::stop_token stop) {
  return Export(options, repository, lineage, clock, reporter, std::move(stop)).run();
}

}  // namespace holdfast::restore
