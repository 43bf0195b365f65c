#include "restore/own_directory.h"

#include <algorithm>
#include <dirent.h>
#include <fcntl.h>
#include <optional>
#include <vector>

#include <fmt/core.h>

#include "base/error.h"
#include "base/file.h"
#include "base/process.h"
#include "cluster/data_directory.h"
#include "cluster/start_barrier.h"
#include "pg/backup_exclusions.h"
#include "pg/control_file.h"
#include "pg/wal_file_name.h"
#include "pg/wal_page.h"
#include "repo/backup.h"
#include "repo/backup_order.h"
#include "repo/manifest.h"
#include "restore/marker.h"
#include "restore/prepare.h"

namespace holdfast::restore {
namespace {

constexpr size_t kTellingNames = 3;

// Whoever began to restore in this directory had it shown, or it was empty.
bool was_interrupted_here(const std::string& directory) {
  if (is_marker_begun(directory)) return true;
  const std::optional<Marker> marker = read_marker(directory);
  return marker && !marker->is_untouched && marker->directory == identity_of_directory(directory);
}

std::string how_to_go_on(const std::string& directory, bool in_place) {
  if (!in_place)
    return "Move it away and run the command again, or name a directory that does not exist.";
  return fmt::format(
      "Check cluster.pgdata in the configuration. If it is the cluster's own directory, move what "
      "is not the cluster's out of it and run the command again. Or save its WAL with \"holdfast "
      "wal salvage {0}\", move the whole directory aside with \"mv {0} {1}\", and run the command "
      "again: it makes a new one.",
      shell_quote(directory), shell_quote(directory + ".old"));
}

// A segment in its pg_wal carries the system identifier. Where all else was removed, with pg_wal on
// a disk of its own, that is what is left of a cluster.
bool has_its_wal(const std::string& directory, const repo::Lineage& lineage) {
  const std::string pg_wal = join_path(directory, "pg_wal");
  const pg::WalSegmentSize size(lineage.wal_segment_bytes);
  bool found = false;
  unreadable_of([&] {
    for (const DirectoryEntry& entry :
         list_directory_if_exists(pg_wal).value_or(std::vector<DirectoryEntry>{})) {
      if (found || pg::parse_wal_file_name(entry.name, size).kind != pg::WalFileKind::kSegment)
        continue;
      // One that the disk does not give says nothing of the others.
      unreadable_of([&] {
        const std::string path = join_path(pg_wal, entry.name);
        Bytes page(pg::kWalLongHeaderBytes);
        page.resize(pread_some(open_file(path, O_RDONLY), page, 0, path));
        const std::optional<pg::WalPageHeader> header = pg::read_wal_page_header(page);
        found = header && header->has(pg::kWalPageIsLong) &&
                header->system_identifier == lineage.system_identifier;
      });
    }
  });
  return found;
}

void require_telling_names(const std::string& directory, const repo::Lineage& lineage) {
  std::string telling;
  size_t count = 0;
  for (const DirectoryEntry& entry : list_directory(directory)) {
    if (pg::top_name(entry.name) != pg::TopName::kTelling) continue;
    telling += fmt::format("{}\"{}\"", count++ == 0 ? "" : ", ", entry.name);
  }
  if (count < kTellingNames && !has_its_wal(directory, lineage))
    throw Error(
        {.code = ErrorCode::kConflict,
         .message = fmt::format("directory \"{}\" holds other files than a cluster's", directory),
         .detail = fmt::format(
             "A restore in place clears the directory, so it must be empty or a data directory. It "
             "has no valid {}, and of the names by which a data directory is known {}.",
             pg::kControlFilePath, count == 0 ? std::string("none") : "only " + telling),
         .hint = how_to_go_on(directory, true)});
  if (!lstat_if_exists(join_path(directory, "PG_VERSION"))) return;
  const int major = cluster::read_major(directory);
  if (major == lineage.name.major) return;
  throw Error(
      {.code = ErrorCode::kWrongCluster,
       .message = fmt::format("data directory \"{}\" is of another cluster", directory),
       .detail = fmt::format("It has no valid {}, and its PG_VERSION says {}; the backups are of "
                             "PostgreSQL {}.",
                             pg::kControlFilePath, major, lineage.name.major),
       .hint = way_around_another_cluster(directory)});
}

// Takes out of `names` what any backup has at the top of its data directory.
void take_out_backed_up(std::set<std::string>& names, const repo::Repository& repository,
                        const repo::Lineage& lineage) {
  const std::vector<std::string> ids = repo::backup_ids_in_order(repository, lineage.name);
  for (auto id = ids.rbegin(); id != ids.rend() && !names.empty(); ++id) {
    // One that cannot be read tells nothing.
    error_of([&] {
      const std::optional<repo::Backup> backup = repo::read_backup(repository, lineage.name, *id);
      if (!backup) return;
      repo::ManifestReader manifest(repository, lineage.name, *id, backup->manifest_sha256,
                                    [](std::string_view) {});
      std::erase_if(names, [&](const std::string& name) {
        return manifest.find(repo::ManifestRoot::kData, name).has_value();
      });
    });
  }
}

}  // namespace

std::optional<Bytes> valid_control_file(const std::string& directory) {
  std::optional<Bytes> bytes = read_if_exists(cluster::control_file_path(directory));
  if (bytes && !pg::crc_is_valid(*bytes)) bytes.reset();
  return bytes;
}

bool require_data_directory(const std::string& directory, const repo::Lineage& lineage) {
  if (!lstat_if_exists(directory)) return false;
  if (!is_directory(directory))
    throw Error({.code = ErrorCode::kConflict,
                 .message = fmt::format("\"{}\" is not a directory", directory),
                 .detail = "",
                 .hint = "Check cluster.pgdata in the configuration."});
  if (is_empty_directory(directory)) return false;
  if (const std::optional<Bytes> control = valid_control_file(directory))
    require_same_cluster(directory, *control, lineage);
  else if (!was_interrupted_here(directory))
    require_telling_names(directory, lineage);
  return true;
}

void require_no_strangers(const std::string& directory, bool in_place,
                          const repo::Repository& repository, const repo::Lineage& lineage) {
  if (valid_control_file(directory) || (in_place && was_interrupted_here(directory))) return;
  std::set<std::string> strangers;
  for (const DirectoryEntry& entry : list_directory(directory))
    if ((entry.type == DT_REG || entry.type == DT_DIR) &&
        pg::top_name(entry.name) == pg::TopName::kStranger)
      strangers.insert(entry.name);
  if (!strangers.empty()) take_out_backed_up(strangers, repository, lineage);
  if (strangers.empty()) return;
  constexpr size_t kNamed = 5;
  std::string named;
  for (size_t count = 0; const std::string& name : strangers)
    if (count++ < kNamed) named += fmt::format("{}\"{}\"", named.empty() ? "" : ", ", name);
  if (strangers.size() > kNamed) named += fmt::format(" and {} more", strangers.size() - kNamed);
  throw Error(
      {.code = ErrorCode::kConflict,
       .message = fmt::format("directory \"{}\" holds what is not known to be the cluster's: {}",
                              directory, named),
       .detail = fmt::format("The directory would be cleared, and it has no valid {} that shows it "
                             "to be the cluster's. No server puts a file of that name there, and "
                             "no backup of the cluster has one.",
                             pg::kControlFilePath),
       .hint = how_to_go_on(directory, in_place)});
}

std::set<std::string> strangers_in(const std::string& pg_wal) {
  std::set<std::string> strangers;
  for (const DirectoryEntry& entry : list_directory(pg_wal))
    if (!pg::is_name_in_pg_wal(entry.name) && !is_file_systems_own(entry.name))
      strangers.insert(entry.name);
  return strangers;
}

}  // namespace holdfast::restore
