// The walk goes depth first: a directory is named, then entered, then its next sibling is named.
// This is the order of the bytes of paths in which a slash is the lowest: "a" < "a/b" < "a-b".
#include "cluster/data_directory.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <dirent.h>
#include <fcntl.h>
#include <optional>
#include <set>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

#include <fmt/format.h>

#include "base/error.h"
#include "base/file.h"
#include "base/task_group.h"
#include "cluster/start_barrier.h"
#include "pg/backup_exclusions.h"
#include "pg/conf_file.h"
#include "pg/relation_file.h"
#include "pg/version.h"

namespace holdfast::cluster {
namespace {

constexpr std::string_view kTablespaces = "pg_tblspc";
constexpr int kControlFileReads = 10;
constexpr std::chrono::milliseconds kControlFilePause{10};

Time to_time(const timespec& at) {
  return Time(std::chrono::seconds(at.tv_sec) + Microseconds(at.tv_nsec / 1000));
}

std::optional<uint32_t> parse_oid(std::string_view text) {
  uint32_t oid = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), oid);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return oid;
}

// "pg_tblspc/16385", and not what lies below.
bool is_tablespace(std::string_view path) {
  if (!path.starts_with(kTablespaces) || path.size() <= kTablespaces.size() + 1 ||
      path[kTablespaces.size()] != '/')
    return false;
  return parse_oid(path.substr(kTablespaces.size() + 1)).has_value();
}

// Where the link of a tablespace leads. In a copy by "restore --into" it names the way from there.
std::string place_of(const std::string& link) {
  const std::string target = read_link(link);
  return absolute_path(target.starts_with('/') ? target : join_path(parent_path(link), target));
}

using FileIdentity = std::pair<dev_t, ino_t>;

class Walk {
 public:
  Walk(std::string root, Reporter& reporter, const std::function<void(const DataEntry&)>& visit,
       const TakeLink& take_link)
      : root_(std::move(root)),
        reporter_(reporter),
        visit_(visit),
        take_link_(take_link),
        version_directory_(tablespace_version_directory_of(root_)) {
    note_tablespaces();
  }

  WalkTotals run() {
    enter("");
    return totals_;
  }

 private:
  void note_tablespaces();
  void enter(const std::string& directory);
  void look_at(const std::string& path);
  void give(const std::string& path, EntryType type, const struct stat& status,
            std::string link_target);
  void give_link(const std::string& path, pg::BackupTreatment treatment, const struct stat& link);
  bool is_entered(const std::string& path, unsigned char type) const;
  bool is_tablespace_directory(const std::string& path) const;
  std::string full_path(std::string_view path) const {
    return path.empty() ? root_ : join_path(root_, path);
  }

  std::string root_;
  Reporter& reporter_;
  const std::function<void(const DataEntry&)>& visit_;
  const TakeLink& take_link_;
  std::string version_directory_;
  std::set<FileIdentity> tablespace_directories_;
  WalkTotals totals_;
};

// Tablespaces that lie inside the data directory would be met twice.
void Walk::note_tablespaces() {
  for (const TablespaceLink& link : read_tablespace_links(root_)) {
    if (link.target.empty()) continue;
    if (std::optional<struct stat> status =
            stat_if_exists(full_path(fmt::format("{}/{}", kTablespaces, link.oid))))
      tablespace_directories_.emplace(status->st_dev, status->st_ino);
  }
}

bool Walk::is_entered(const std::string& path, unsigned char type) const {
  if (type == DT_LNK) return is_tablespace(path);
  if (type != DT_DIR) return false;
  return pg::backup_treatment(path, pg::PathType::kDirectory) == pg::BackupTreatment::kKeep;
}

bool Walk::is_tablespace_directory(const std::string& path) const {
  std::optional<struct stat> status = stat_if_exists(full_path(path));
  return status && tablespace_directories_.contains({status->st_dev, status->st_ino});
}

void Walk::enter(const std::string& directory) {
  std::optional<std::vector<DirectoryEntry>> entries =
      list_directory_if_exists(full_path(directory));
  if (!entries) {
    // The data directory itself was looked at before; a tablespace's link is checked where it is
    // given.
    ++totals_.vanished_count;
    return;
  }
  bool in_tablespace = is_tablespace(directory);
  std::vector<std::string> names;
  for (const DirectoryEntry& entry : *entries) names.push_back(entry.name);
  // Only where relations lie does "_init" in a name mean anything.
  bool holds_relations = pg::parse_relation_path(directory + "/1", version_directory_).has_value();
  pg::UnloggedRelations unlogged(holds_relations ? std::span<const std::string>(names)
                                                 : std::span<const std::string>());
  names = {};

  for (const DirectoryEntry& entry : *entries) {
    if (in_tablespace && entry.name != version_directory_)
      continue;  // another major's, or somebody else's
    if (holds_relations && unlogged.leaves_out(entry.name)) continue;
    std::string path = directory.empty() ? entry.name : fmt::format("{}/{}", directory, entry.name);
    bool entered = is_entered(path, entry.type);
    if (entered && entry.type == DT_DIR && is_tablespace_directory(path)) continue;
    look_at(path);
    if (entered) enter(path);
  }
}

void Walk::look_at(const std::string& path) {
  std::optional<struct stat> status = lstat_if_exists(full_path(path));
  if (!status) {
    ++totals_.vanished_count;
    return;
  }
  pg::PathType type = S_ISREG(status->st_mode)   ? pg::PathType::kFile
                      : S_ISDIR(status->st_mode) ? pg::PathType::kDirectory
                      : S_ISLNK(status->st_mode) ? pg::PathType::kSymbolicLink
                                                 : pg::PathType::kSpecial;
  pg::BackupTreatment treatment = pg::backup_treatment(path, type);
  switch (treatment) {
    case pg::BackupTreatment::kSkip:
      return;
    case pg::BackupTreatment::kSkipAndWarn:
      if (type == pg::PathType::kSymbolicLink && take_link_ &&
          take_link_(path, read_link(full_path(path))))
        return;
      reporter_.warning(type == pg::PathType::kSymbolicLink
                            ? fmt::format("\"{}\" is a symbolic link and is left out; what it "
                                          "points to is not part of the backup",
                                          path)
                            : fmt::format("\"{}\" is a special file and is left out", path));
      return;
    case pg::BackupTreatment::kRefuse:
      throw Error({.code = ErrorCode::kUnsupported,
                   .message = fmt::format("\"{}\" is a symbolic link", full_path(path)),
                   .detail = "PostgreSQL knows links in pg_tblspc and for pg_wal only; without "
                             "what this one points to the backup would not be "
                             "complete.",
                   .hint = "Stop the server and move the directory back into the data directory, "
                           "or make a tablespace where the data should "
                           "lie."});
    case pg::BackupTreatment::kKeep:
    case pg::BackupTreatment::kDirectoryOnly:
      break;
  }
  if (type == pg::PathType::kSymbolicLink) return give_link(path, treatment, *status);
  give(path, type == pg::PathType::kFile ? EntryType::kFile : EntryType::kDirectory, *status, "");
}

void Walk::give_link(const std::string& path, pg::BackupTreatment treatment,
                     const struct stat& link) {
  std::string full = full_path(path);
  bool is_link_of_tablespace = treatment == pg::BackupTreatment::kKeep;
  std::string target = is_link_of_tablespace ? place_of(full) : read_link(full);
  std::optional<struct stat> followed = stat_if_exists(full);
  if (is_link_of_tablespace && (!followed || !S_ISDIR(followed->st_mode))) {
    if (!lstat_if_exists(full)) {  // DROP TABLESPACE came between
      ++totals_.vanished_count;
      return;
    }
    throw Error(
        {.code = ErrorCode::kNotFound,
         .message = fmt::format("the directory of tablespace {} is missing", base_name(path)),
         .detail =
             fmt::format("\"{}\" points to \"{}\", where there is no directory.", full, target),
         .hint = "Mount the file system that holds the tablespace, then try again."});
  }
  give(path, is_link_of_tablespace ? EntryType::kTablespaceLink : EntryType::kDirectory,
       followed ? *followed : link, std::move(target));
}

void Walk::give(const std::string& path, EntryType type, const struct stat& status,
                std::string link_target) {
  DataEntry entry{.path = path,
                  .type = type,
                  .bytes = type == EntryType::kFile ? static_cast<uint64_t>(status.st_size) : 0,
                  .mode = status.st_mode & 07777,
                  .owner = status.st_uid,
                  .group = status.st_gid,
                  .modified_at = to_time(status.st_mtim),
                  .link_target = std::move(link_target)};
  if (type == EntryType::kFile) {
    ++totals_.file_count;
    totals_.file_bytes += entry.bytes;
  } else {
    ++totals_.directory_count;
  }
  visit_(entry);
}

}  // namespace

int read_major(const std::string& data_directory) {
  std::optional<Bytes> text = read_if_exists(join_path(data_directory, "PG_VERSION"), 64);
  if (!text)
    throw Error(
        {.code = ErrorCode::kNotFound,
         .message = fmt::format("\"{}\" is not a PostgreSQL data directory", data_directory),
         .detail = "It has no file PG_VERSION.",
         .hint = "Name the directory that SHOW data_directory prints, for example "
                 "/var/lib/postgresql/15/main."});
  return pg::parse_version_file(as_text(*text));
}

ControlFileCopy read_control_file(const std::string& data_directory) {
  const std::string path = control_file_path(data_directory);
  Bytes before;
  for (int reads = 1;; ++reads) {
    // One byte more than there should be, so that a longer file is seen.
    Bytes bytes(pg::kControlFileBytes + 1);
    std::optional<Fd> fd = open_if_exists(path, O_RDONLY);
    if (!fd)
      throw Error(
          {.code = ErrorCode::kNotFound,
           .message = fmt::format("\"{}\" is not a data directory", absolute_path(data_directory)),
           .detail = fmt::format("It has no file \"{}\".", pg::kControlFilePath),
           .hint = "Check the path. wal push and wal get run in the server's data directory, as "
                   "the server itself runs them."});
    bytes.resize(read_some(*fd, bytes, path));
    if (pg::crc_is_valid(bytes) || bytes == before || reads == kControlFileReads) {
      Context reading("reading \"{}\"", path);
      pg::ControlFile control = pg::parse_control_file(bytes);
      return {.bytes = std::move(bytes), .control = control};
    }
    before = std::move(bytes);
    wait_for({}, kControlFilePause);
  }
}

std::string tablespace_version_directory_of(const std::string& data_directory) {
  const int major = read_major(data_directory);
  if (!pg::is_newer_major(major)) return pg::tablespace_version_directory(major);
  return pg::tablespace_version_directory(
      major, read_control_file(data_directory).control.catalog_version);
}

bool has_left_recovery_settings(const std::string& data_directory) {
  const auto is_there = [&](const char* name) {
    return lstat_if_exists(join_path(data_directory, name)).has_value();
  };
  return is_there(pg::kRecoverySettingsFile) && !is_there("recovery.signal") &&
         !is_there("standby.signal");
}

std::vector<TablespaceLink> read_tablespace_links(const std::string& data_directory) {
  std::string directory = join_path(data_directory, kTablespaces);
  std::vector<TablespaceLink> links;
  for (const DirectoryEntry& entry : list_directory(directory)) {
    std::optional<uint32_t> oid = parse_oid(entry.name);
    if (!oid || (entry.type != DT_LNK && entry.type != DT_DIR)) continue;
    std::string path = join_path(directory, entry.name);
    if (!lstat_if_exists(path)) continue;
    links.push_back({.oid = *oid, .target = entry.type == DT_LNK ? place_of(path) : std::string()});
  }
  std::ranges::sort(links, {}, &TablespaceLink::oid);
  return links;
}

std::vector<ReplicationSlot> read_replication_slots(const std::string& data_directory) {
  // Magic, checksum, version and length come first, then the slot: its name, and the oid of its
  // database, 0 of a physical one.
  constexpr size_t kDatabaseAt = 4 * sizeof(uint32_t) + 64;
  constexpr size_t kPersistencyAt = kDatabaseAt + sizeof(uint32_t);
  std::vector<ReplicationSlot> slots;
  const std::string directory = join_path(data_directory, "pg_replslot");
  if (!is_directory(directory)) return slots;
  for (const DirectoryEntry& entry : list_directory(directory)) {
    const std::optional<Bytes> state =
        read_if_exists(join_path(directory, entry.name + "/state"), size_t{1} << 20);
    if (!state) continue;
    const bool is_whole = state->size() >= kPersistencyAt + sizeof(uint32_t);
    if (is_whole && load_le<uint32_t>(state->data() + kPersistencyAt) != 0) continue;
    slots.push_back(
        {.name = entry.name,
         .is_logical = is_whole && load_le<uint32_t>(state->data() + kDatabaseAt) != 0});
  }
  std::ranges::sort(slots, {}, &ReplicationSlot::name);
  return slots;
}

WalkTotals walk_data_directory(const std::string& data_directory, Reporter& reporter,
                               const std::function<void(const DataEntry&)>& visit,
                               const TakeLink& take_link) {
  return Walk(absolute_path(data_directory), reporter, visit, take_link).run();
}

mode_t file_mode_in(const std::string& data_directory) {
  const std::optional<struct stat> status = stat_if_exists(data_directory);
  return file_mode_in(status ? status->st_mode : mode_t{0});
}

}  // namespace holdfast::cluster
