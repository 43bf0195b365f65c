#include "backup/import.h"

#include <algorithm>
#include <fcntl.h>
#include <map>
#include <memory>
#include <optional>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "backup/import_entries.h"
#include "backup/import_files.h"
#include "backup/import_plan.h"
#include "backup/import_wal.h"
#include "backup/last_files.h"
#include "backup/region_copier.h"
#include "backup/tar_feed.h"
#include "backup/wal_wait.h"
#include "base/error.h"
#include "base/file.h"
#include "base/locked_directory.h"
#include "base/process.h"
#include "base/task_group.h"
#include "codec/digest.h"
#include "pg/version.h"
#include "repo/backup_order.h"
#include "repo/intent.h"
#include "repo/layout.h"
#include "repo/marks.h"
#include "repo/wal_archive.h"

namespace holdfast::backup {
namespace {

constexpr const char* kOrigin = "tar";
constexpr uint32_t kOwnerBits = 0700;
constexpr uint32_t kLinkMode = 0777;
constexpr LockedDirectory::Kind kSpools{.prefix = "holdfast-import-", .lock = "import.lock"};

repo::Lineage lineage_for(const ImportOptions& options, const repo::Repository& repository,
                          const std::optional<uint64_t>& system_identifier) {
  if (system_identifier)
    if (std::optional<repo::Lineage> known =
            repository.find_lineage(options.cluster, *system_identifier))
      return *known;
  return repository.require_lineages(options.cluster).back();
}

codec::Sha2 digest_for(pg::ManifestChecksum algorithm) {
  return codec::Sha2(algorithm == pg::ManifestChecksum::kSha224   ? 224
                     : algorithm == pg::ManifestChecksum::kSha256 ? 256
                     : algorithm == pg::ManifestChecksum::kSha384 ? 384
                                                                  : 512);
}

// The digest of a stored file, read back.
Bytes stored_digest(repo::FileReader& reader, const repo::ManifestEntry& entry,
                    pg::ManifestChecksum algorithm) {
  codec::Sha2 digest = digest_for(algorithm);
  reader.open(entry.location, entry.size);
  Bytes buffer(repo::kMaxBlocksBytes);
  for (uint64_t at = 0; at < entry.size;) {
    const size_t got = reader.read_range(at, buffer);
    HF_CHECK(got > 0);
    digest.update(ByteView(buffer).first(got));
    at += got;
  }
  return digest.finish();
}

// Where WAL and what does not fit into memory lie meanwhile. The destructor removes it; if it is
// not reached, the next import does.
class Spool {
 public:
  explicit Spool(Reporter& reporter) : directory_(root_without_abandoned(reporter), kSpools) {}
  ~Spool() { remove_locked_or_log(path(), kSpools); }
  Spool(const Spool&) = delete;
  Spool& operator=(const Spool&) = delete;
  const std::string& path() const { return directory_.path(); }

 private:
  static std::string root_without_abandoned(Reporter& reporter) {
    std::string root = temporary_root();
    remove_abandoned(root, kSpools, [&](const std::string& path) {
      remove_locked(path, kSpools);
      reporter.note(fmt::format("removed \"{}\", which an import that was killed had left", path));
    });
    return root;
  }

  LockedDirectory directory_;
};

class Import {
 public:
  Import(const ImportOptions& options, const repo::Repository& repository, Reporter& reporter,
         std::stop_token stop, const Clock& clock)
      : options_(options),
        repository_(repository),
        reporter_(reporter),
        stop_(std::move(stop)),
        clock_(clock),
        spool_(reporter),
        entries_(spool_.path()) {}

  ImportResult run();

 private:
  void look_first();
  void read_manifest(const std::function<size_t(std::span<std::byte>)>& read);
  void read_tars();
  void copy_regions(TarFeed& feed, repo::ExtentWriter& extents, const std::stop_token& stop);
  BackupWal settle_wal(repo::HeldIntent& intent);
  std::string choose_id(Time start) const;
  void note_same_backup(const std::string& id) const;
  void warn_of_configuration();
  repo::Backup describe(const std::string& id, const BackupWal& wal);
  void add_tablespace_links();
  void write_manifest(repo::BackupWriter& writer, const BackupWal& wal);
  LastFiles last_files(repo::BackupWriter& writer) const;
  repo::Owner owner_of_cluster() const;
  uint32_t directory_mode() const;
  const KeptMember& kept(std::string_view path) const { return parts_.files.at(std::string(path)); }

  const ImportOptions& options_;
  const repo::Repository& repository_;
  Reporter& reporter_;
  const std::stop_token stop_;
  const Clock& clock_;
  const Spool spool_;

  ImportFiles files_;
  std::optional<pg::BackupManifest> manifest_;
  std::optional<bool> has_checksums_;  // where pg_control could be looked at before
  repo::Lineage lineage_;
  std::optional<repo::WalArchive> archive_;
  std::optional<WalSpool> wal_;
  ImportEntries entries_;
  Mutex mutex_;
  std::vector<repo::ExtentWriter> extents_ HF_GUARDED_BY(mutex_);
  ImportParts parts_;
  ImportPlan plan_;
  Time started_;
  ImportResult result_;
};

// What can be refused before everything is read: which files there are, and, where base.tar can be
// skipped through, all that it says of itself.
void Import::look_first() {
  files_ = find_import_files(options_.tar);
  result_.place = files_.place;
  if (files_.manifest) {
    const Fd fd = open_file(*files_.manifest, O_RDONLY);
    Context reading("reading \"{}\"", *files_.manifest);
    read_manifest([&](std::span<std::byte> into) { return read_some(fd, into, *files_.manifest); });
  }
  std::optional<uint64_t> system_identifier;
  if (manifest_) system_identifier = manifest_->system_identifier;
  ImportParts parts;
  if (!files_.tars.front().path.empty()) parts = look_into(files_.tars.front(), stop_);
  const auto control = parts.files.find(std::string(pg::kControlFilePath));
  if (control != parts.files.end()) {
    const pg::ControlFile found = pg::parse_control_file(control->second.content);
    system_identifier = found.system_identifier;
    has_checksums_ = found.has_checksums();
  }
  lineage_ = lineage_for(options_, repository_, system_identifier);
  pg::require_known_major(
      lineage_.name.major,
      "An import is proven by its control file and its WAL, which are not read.");
  if (control != parts.files.end() && parts.files.contains("backup_label"))
    check_tablespace_tars(plan_import(parts, lineage_, manifest_).tablespaces, files_);
}

void Import::read_manifest(const std::function<size_t(std::span<std::byte>)>& read) {
  manifest_ = pg::read_backup_manifest(
      read, [this](const pg::BackupManifestFile& file) { entries_.add_expected(file); });
}

void Import::copy_regions(TarFeed& feed, repo::ExtentWriter& extents, const std::stop_token& stop) {
  // Whether pages have checksums is told by pg_control, the last file. Where that could not be
  // looked at before, they are verified, and what was found counts if they have.
  const SourceFacts facts{
      .version_directory = pg::tablespace_version_directory(lineage_.name.major),
      .block_bytes = lineage_.block_bytes,
      .blocks_per_segment = lineage_.blocks_per_segment,
      .has_checksums = has_checksums_.value_or(true)};
  RegionBytes bytes;
  RegionCopier copier(facts, bytes, extents, reporter_, stop);
  Bytes buffer(repo::kLeafBytes);
  while (std::optional<TarFeed::Work> work = feed.next(buffer)) {
    Context copying("copying file \"{}\"", work->member->entry.path);
    bytes.hold(work->region * repo::kLeafBytes, ByteView(buffer).first(work->bytes));
    std::unique_ptr<TarFeed::Member> member =
        feed.region_done(*work->member, copier.copy(*work->member, work->region));
    if (!member) continue;
    copier.complete(*member);
    entries_.add({.entry = member->entry,
                  .owner = member->owner,
                  .relation = member->relation,
                  .crc32c = member->crc.value()});
    entries_.add_faults(member->entry.path, std::move(member->faults), member->more_faults);
  }
}

void Import::read_tars() {
  archive_.emplace(repository_, lineage_);
  const std::string wal_directory = join_path(spool_.path(), "wal");
  make_directory(wal_directory);
  wal_.emplace(*archive_, wal_directory);
  std::unique_ptr<TarFeed> feed;
  TaskGroup workers(stop_);
  TarFeed::Options options{
      .tars = files_.tars,
      .version_directory = pg::tablespace_version_directory(lineage_.name.major),
      .on_wal = [this](const TarEntry& entry, const std::string& name,
                       TarReader& tar) { wal_->take(entry, name, tar); },
      .on_manifest =
          [this](TarReader& tar) {
            if (manifest_) return;
            read_manifest([&](std::span<std::byte> into) { return tar.read(into); });
          },
      .on_base_read =
          [this](const ImportParts& parts) {
            check_tablespace_tars(plan_import(parts, lineage_, manifest_).tablespaces, files_);
          }};
  // One that fails stops the others within the feed, too.
  feed = std::make_unique<TarFeed>(std::move(options), entries_, workers.stop_token());
  for (int job = 0; job < options_.jobs; ++job)
    workers.start([&](std::stop_token stop) {
      repo::ExtentWriter extents(repository_, lineage_.name, options_.compression);
      copy_regions(*feed, extents, stop);
      MutexLock lock(mutex_);
      extents_.push_back(std::move(extents));
    });
  workers.wait();
  parts_ = feed->take_parts();
  plan_ = plan_import(parts_, lineage_, manifest_);
}

// From here on the archive has all WAL that the backup needs, it was read, and it stays. What is
// there already may have been listed for removal long ago, so it is claimed before it is looked
// for.
BackupWal Import::settle_wal(repo::HeldIntent& intent) {
  intent.use_wal(plan_.label.start_timeline, plan_.label.start_lsn);
  wait_for_expiry(repository_, lineage_,
                  {.timeline = plan_.label.start_timeline,
                   .start_lsn = plan_.label.start_lsn,
                   .end_lsn = plan_.stop_lsn.value_or(pg::Lsn{UINT64_MAX})},
                  options_.expiry_timeout, clock_, reporter_, stop_);
  if (wal_->has_segments()) {
    reporter_.phase("archiving WAL", 0);
    result_.archived_wal = options_.archive_wal(wal_->directory(), plan_.label.start_lsn);
  }
  reporter_.phase("reading WAL", 0);
  return read_backup_wal(*archive_,
                         {.timeline = plan_.label.start_timeline,
                          .start_lsn = plan_.label.start_lsn,
                          .checkpoint_lsn = plan_.label.checkpoint_lsn,
                          .stop_lsn = plan_.stop_lsn,
                          .control_checkpoint = plan_.control.checkpoint_lsn,
                          .control_time = plan_.control.checkpoint_time},
                         stop_);
}

// Its digits are few, and backups that began at one checkpoint share the others: also with an
// import that failed, and with one that was deleted.
std::string Import::choose_id(Time start) const {
  const std::map<std::string, repo::BackupMarks> deleted =
      repo::read_deletions(repository_, lineage_.name);
  for (;;) {
    std::string id = repo::make_backup_id(start, repository_.random());
    if (!deleted.contains(id) &&
        !repository_.store().info(repo::manifest_name(lineage_.name, id)) &&
        !repo::has_commit(repository_, lineage_.name, id))
      return id;
  }
}

repo::Owner Import::owner_of_cluster() const {
  const TarEntry& control = kept(pg::kControlFilePath).entry;
  return {.user = control.user.empty() ? std::to_string(control.uid) : control.user,
          .group = control.group.empty() ? std::to_string(control.gid) : control.group,
          .uid = control.uid,
          .gid = control.gid};
}

// A server's tar does not hold the data directory itself, but its files say whether the group may
// read them.
uint32_t Import::directory_mode() const {
  if (parts_.root && (parts_.root->mode & kOwnerBits) == kOwnerBits) return parts_.root->mode;
  const uint32_t mode = kept(pg::kControlFilePath).entry.mode;
  return (mode & 0040) != 0 ? 0750 : 0700;
}

repo::Backup Import::describe(const std::string& id, const BackupWal& wal) {
  const pg::ControlFile& control = plan_.control;
  const repo::Owner owner = owner_of_cluster();
  repo::Backup backup;
  backup.id = id;
  backup.origin = kOrigin;
  backup.started = started_;
  backup.start_time = wal.start_time;
  backup.stop_time = wal.stop_time;
  backup.start_lsn = plan_.label.start_lsn;
  backup.checkpoint_lsn = plan_.label.checkpoint_lsn;
  backup.stop_lsn = wal.stop_lsn;
  backup.start_timeline = backup.stop_timeline = plan_.label.start_timeline;
  backup.start_segment = plan_.label.start_segment;
  backup.stop_segment = pg::segment_file_name(
      {backup.stop_timeline, pg::last_segment_before_end(wal.stop_lsn, control.wal_segment_size)},
      control.wal_segment_size);
  backup.data_checksums = control.has_checksums();
  backup.from_standby = plan_.from_standby;
  backup.label = plan_.label.label;
  backup.host = host_name();
  backup.tool = options_.tool_version;
  backup.data_directory = options_.pgdata;
  if (backup.data_directory.empty()) {
    // A tar does not say it; the newest backup that can be read does.
    const std::vector<std::string> ids = repo::backup_ids_in_order(repository_, lineage_.name);
    for (auto at = ids.rbegin(); at != ids.rend() && backup.data_directory.empty(); ++at)
      if (std::optional<repo::Backup> other =
              repo::read_backup_if_possible(repository_, lineage_.name, *at, [](const Error&) {}))
        backup.data_directory = other->data_directory;
  }
  backup.data_user = owner.user;
  backup.data_group = owner.group;
  backup.data_mode = directory_mode();
  for (const pg::TablespaceMapEntry& tablespace : plan_.tablespaces)
    backup.tablespaces.push_back({.oid = tablespace.oid, .path = tablespace.path});
  backup.floors = repo::floors_of(control);
  return backup;
}

void Import::add_tablespace_links() {
  for (const pg::TablespaceMapEntry& tablespace : plan_.tablespaces) {
    ImportedEntry link{.owner = owner_of_cluster()};
    link.entry.path = fmt::format("pg_tblspc/{}", tablespace.oid);
    link.entry.type = repo::EntryType::kSymlink;
    link.entry.mode = kLinkMode;
    link.entry.modified = kept("backup_label").entry.modified;
    link.entry.target = tablespace.path;
    entries_.add(link);
  }
}

LastFiles Import::last_files(repo::BackupWriter& writer) const {
  const auto file = [](const TarEntry& entry, ByteView content) {
    return LastFile{.content = content, .mode = entry.mode, .modified = entry.modified};
  };
  const KeptMember& label = kept("backup_label");
  const KeptMember& control = kept(pg::kControlFilePath);
  return {.backup_label = file(label.entry, label.content),
          .control = file(control.entry, control.content),
          .tablespace_map = file(label.entry, as_bytes(plan_.tablespace_map)),
          .owner = writer.manifest().owner(owner_of_cluster())};
}

void Import::write_manifest(repo::BackupWriter& writer, const BackupWal& wal) {
  {
    // Durable first: their files may have to be read back.
    MutexLock lock(mutex_);
    for (repo::ExtentWriter& extents : extents_) writer.finish_worker(std::move(extents));
    extents_.clear();
  }
  repo::ExtentReader stored(repository_, lineage_.name);
  repo::FileReader reader(stored, lineage_.block_bytes);
  add_tablespace_links();
  DataCopyResult merged =
      entries_.merge({.has_checksums = plan_.control.has_checksums(),
                      .pages_were_judged = plan_.control.has_checksums() || has_checksums_,
                      .start_lsn = plan_.label.start_lsn,
                      .stop_lsn = wal.stop_lsn,
                      .directory_mode = directory_mode(),
                      .directory_owner = owner_of_cluster(),
                      .has_manifest = manifest_.has_value(),
                      .digest =
                          [&](const repo::ManifestEntry& entry, pg::ManifestChecksum algorithm) {
                            const auto in_memory = parts_.files.find(entry.path);
                            if (in_memory == parts_.files.end())
                              return stored_digest(reader, entry, algorithm);
                            codec::Sha2 digest = digest_for(algorithm);
                            digest.update(in_memory->second.content);
                            return digest.finish();
                          }},
                     writer.manifest(), reporter_, stop_);
  result_.was_compared = manifest_.has_value();
  result_.damaged = std::move(merged.damaged);
  result_.backup.damaged_blocks = merged.damaged_blocks;
  repo::ExtentWriter extents = writer.make_worker();
  add_last_files(last_files(writer), lineage_.block_bytes, writer, extents);
  writer.finish_worker(std::move(extents));
  writer.seal_contents();
}

void Import::note_same_backup(const std::string& id) const {
  for (const std::string& other : repo::list_backup_ids(repository_, lineage_.name)) {
    if (other.substr(0, other.find('-')) != id.substr(0, id.find('-'))) continue;
    const std::optional<repo::Backup> backup =
        repo::read_backup_if_possible(repository_, lineage_.name, other, [](const Error&) {});
    if (backup && backup->start_lsn == plan_.label.start_lsn)
      reporter_.note(fmt::format("backup {} begins at the same place, {}", other,
                                 pg::to_string(backup->start_lsn)));
  }
}

void Import::warn_of_configuration() {
  for (const std::string_view name : kConfigurationFiles)
    if (!parts_.configuration.contains(name)) result_.not_included.emplace_back(name);
  if (result_.not_included.empty()) return;
  reporter_.warning(
      fmt::format("the configuration of the cluster is not in the tar: {}; what is restored from "
                  "this backup needs it from elsewhere",
                  fmt::join(result_.not_included, ", ")));
}

ImportResult Import::run() {
  look_first();

  // Protects what is written, as long as there is no backup with an id.
  started_ = clock_.now();
  repo::HeldIntent intent(repository_, lineage_.name,
                          {.what = "import", .objects_from = repository_.store().now()}, clock_);
  reporter_.phase("importing", 0);
  read_tars();
  BackupWal wal = settle_wal(intent);

  // Now it is known when the backup was taken.
  reporter_.phase("finishing", 0);
  const std::string id = choose_id(wal.start_time);
  note_same_backup(id);
  warn_of_configuration();
  repo::BackupWriter writer(repository_, lineage_, id, options_.compression, clock_);
  writer.protect_wal(plan_.label.start_timeline, plan_.label.start_lsn);
  intent.check();
  write_manifest(writer, wal);
  const uint64_t damaged_blocks = result_.backup.damaged_blocks;

  // Commit: from here on the backup exists.
  repo::Backup description = describe(id, wal);
  description.damaged_blocks = damaged_blocks;
  description.damaged = damaged_blocks > 0;
  description.finished = clock_.now();
  throw_if_stopped(stop_);
  result_.backup = writer.commit(std::move(description));
  intent.end();
  return std::move(result_);
}

}  // namespace

ImportResult import_backup(const ImportOptions& options, const repo::Repository& repository,
                           Reporter& reporter, std::stop_token stop, const Clock& clock) {
  HF_CHECK(options.jobs > 0);
  return Import(options, repository, reporter, std::move(stop), clock).run();
}

}  // namespace holdfast::backup
