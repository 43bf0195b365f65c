#include "restore/own_disks.h"

#include <algorithm>
#include <cstdint>
#include <map>

#include <fmt/core.h>

#include "base/containment.h"
#include "base/error.h"
#include "base/file.h"
#include "base/process.h"
#include "cluster/data_directory.h"
#include "cluster/wal_directory.h"
#include "pg/control_file.h"
#include "restore/configuration.h"
#include "restore/own_directory.h"
#include "restore/state.h"

namespace holdfast::restore {
namespace {

void require_mounted(const std::string& what, const std::string& path, const std::string& mount,
                     const repo::Backup& last, const std::string& word) {
  if (!is_unmounted(path, mount)) return;
  throw Error(
      {.code = ErrorCode::kConflict,
       .message = fmt::format("the file system of {} is not mounted", what),
       .detail =
           fmt::format("\"{}\" was on the one at \"{}\" when backup {} was taken, and lies on "
                       "the one at \"{}\" now. Nothing was changed.",
                       path, mount, last.id, mount_point_of(path)),
       .hint = fmt::format("Mount it, then run the command again. If it is lost, or is not to be "
                           "used any more: add {} to the command.",
                           word)});
}

bool holds_wal(const std::string& pg_wal, const repo::Backup& last) {
  bool holds = false;
  unreadable_of([&] {
    holds =
        is_directory(pg_wal) &&
        !cluster::list_wal_directory(pg_wal, pg::WalSegmentSize(last.wal_segment_bytes)).empty();
  });
  return holds;
}

// The link is put back by hand: whether the directory is another cluster's by now somebody has to
// know, for it is emptied when what it holds is saved.
void require_wal_linked(const OwnDisks& disks, const repo::Backup& last, Reporter& reporter) {
  const std::string link = join_path(disks.directory, "pg_wal");
  if (last.wal_directory.empty() || lstat_if_exists(link)) return;
  if (!disks.without_own_wal) {
    require_mounted("its WAL", last.wal_directory, last.wal_mount, last, "--without-own-wal");
    if (holds_wal(last.wal_directory, last))
      throw Error(
          {.code = ErrorCode::kConflict,
           .message = fmt::format("the WAL of the server of \"{}\" lies in \"{}\"", disks.directory,
                                  last.wal_directory),
           .detail = fmt::format("\"{}\" was a link to it when backup {} was taken, and is not "
                                 "there. What was not archived may be in it. Nothing was changed.",
                                 link, last.id),
           .hint = fmt::format(
               "If no other cluster uses that directory, put the link back and run the command "
               "again; what it holds is saved first: mkdir -p {} && ln -s {} {}\nTo give up what "
               "is in it: add --without-own-wal to the command.",
               shell_quote(disks.directory), shell_quote(last.wal_directory), shell_quote(link))});
  }
  reporter.warning(fmt::format(
      "\"{}\" was a link to \"{}\" when backup {} was taken, and is laid as a directory", link,
      last.wal_directory, last.id));
}

// A cluster that was moved aside, or given another name, before this restore.
void warn_of_moved_cluster(const OwnDisks& disks, const repo::Backup& last, Reporter& reporter) {
  const std::string above = parent_path(disks.directory);
  std::vector<DirectoryEntry> beside;
  unreadable_of(
      [&] { beside = list_directory_if_exists(above).value_or(std::vector<DirectoryEntry>()); });
  for (const DirectoryEntry& entry : beside) {
    const std::string directory = join_path(above, entry.name);
    if (directory == disks.directory || lstat_if_exists(join_path(directory, kStateName)) ||
        lstat_if_exists(join_path(directory, kSavedCopySettingsName)))
      continue;
    std::optional<Bytes> control;
    unreadable_of([&] { control = valid_control_file(directory); });
    if (!control || pg::parse_control_file(*control).system_identifier != last.system_identifier)
      continue;
    reporter.warning(fmt::format(
        "\"{0}\" is a data directory of this cluster too. If it is the one that is brought back, "
        "what it has not archived is in its pg_wal, and nothing of it is recovered unless that is "
        "saved first: holdfast wal salvage {1}",
        directory, shell_quote(directory)));
  }
}

}  // namespace

void require_own_disks(const OwnDisks& disks, const repo::Backup& last, Reporter& reporter) {
  if (!disks.holds_files && !disks.without_own_wal) {
    require_mounted("the data directory", disks.directory, last.data_mount, last,
                    "--without-own-wal");
    warn_of_moved_cluster(disks, last, reporter);
  }
  require_wal_linked(disks, last, reporter);
  // One that was moved since is laid where it is now.
  std::map<uint32_t, std::string> links;
  if (is_directory(join_path(disks.directory, "pg_tblspc")))
    for (const cluster::TablespaceLink& link : cluster::read_tablespace_links(disks.directory))
      links[link.oid] = link.target;
  for (const repo::Tablespace& tablespace : last.tablespaces)
    if (const auto link = links.find(tablespace.oid);
        !tablespace.path.empty() && !is_moved(disks.moves, tablespace) &&
        (link == links.end() || link->second == tablespace.path))
      require_mounted(
          fmt::format("tablespace {}", tablespace.oid), tablespace.path, tablespace.mount, last,
          fmt::format("--tablespace {}={}", tablespace.oid, shell_quote(tablespace.path)));
}

}  // namespace holdfast::restore
