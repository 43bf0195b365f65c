#include "restore/prepare.h"

#include <algorithm>
#include <chrono>
#include <dirent.h>
#include <fcntl.h>
#include <set>
#include <unistd.h>

#include <fmt/core.h>

#include "base/error.h"
#include "base/process.h"
#include "base/task_group.h"
#include "cluster/data_directory.h"
#include "cluster/start_barrier.h"
#include "cluster/wal_directory.h"
#include "pg/backup_exclusions.h"
#include "pg/control_file.h"
#include "pg/version.h"
#include "restore/configuration.h"
#include "restore/old_tree.h"
#include "restore/outside.h"
#include "restore/own_directory.h"
#include "restore/seclusion.h"
#include "restore/state.h"

namespace holdfast::restore {
namespace {

std::string control_path(const std::string& directory) {
  return join_path(directory, pg::kControlFilePath);
}

bool is_unfinished_restore(const std::string& directory) {
  if (const std::optional<Marker> marker = read_marker(directory))
    return !marker->is_untouched &&
           (!lstat_if_exists(control_path(directory)) || !was_started(directory));
  return is_marker_begun(directory);
}

void set_mode(const std::string& path, mode_t mode) {
  if (chmod(path.c_str(), mode) != 0) throw_errno("change mode of", path);
}

bool is_link(const std::string& path) {
  const std::optional<struct stat> status = lstat_if_exists(path);
  return status && S_ISLNK(status->st_mode);
}

// The tablespaces that the old cluster links to belong to it: its files in them are cleared, the
// directories stay.
void clear_tablespaces(const std::string& directory, const repo::Backup& backup,
                       const Marker& marker, const TellFailure& failed) {
  const std::string links = join_path(directory, "pg_tblspc");
  if (!is_directory(links)) return;
  for (const DirectoryEntry& entry : list_directory(links)) {
    const std::string path = join_path(links, entry.name);
    if (!is_link(path)) continue;
    // What lies in the data directory is cleared with it.
    const std::set<std::string> place = {resolved_path(path)};
    if (!places_outside(directory, place).empty())
      clear_marked(version_directory(path, backup), marker.token, failed);
    remove_file(path);
  }
}

// What an interrupted restore began to lay outside.
void clear_marked_places(const repo::Backup& backup, const Marker& marker,
                         const TellFailure& failed = {}) {
  for (const std::string& place : marker.places)
    clear_marked(version_directory(place, backup), marker.token, failed);
}

// A second name for a file, and a copy where there can be none.
void link_file(const std::string& from, const std::string& to,
               const std::optional<OwnerIds>& owner) {
  if (link(from.c_str(), to.c_str()) == 0) return;
  if (errno != EXDEV && errno != EPERM && errno != EOPNOTSUPP && errno != EMLINK)
    throw_errno("create link", to);
  write_owned_file(to, read_file(from, size_t{1} << 31), 0600, owner);
}

// WAL that is not archived, put where the clearing does not reach it. It also stays in pg_wal until
// that is cleared: whatever comes between, an error or a kill, the cluster has it.
class WalAside {
 public:
  WalAside(std::string pg_wal, const std::optional<OwnerIds>& owner)
      : pg_wal_(std::move(pg_wal)), owner_(owner) {}
  ~WalAside();
  WalAside(const WalAside&) = delete;
  WalAside& operator=(const WalAside&) = delete;

  void put(const ClearOptions& options);
  // The clearing begins. From and to.
  std::vector<std::pair<std::string, std::string>> keep() { return std::exchange(put_, {}); }

 private:
  const std::string pg_wal_;
  const std::optional<OwnerIds> owner_;
  std::string aside_;
  std::vector<std::pair<std::string, std::string>> put_;
};

// Beside the data directory, on its file system: what is above a volume may be gone with the
// container. In the data directory where nobody may write there.
std::string make_aside(const ClearOptions& options, const std::optional<OwnerIds>& owner) {
  const std::string& directory = options.directory;
  const std::optional<struct stat> here = stat_if_exists(directory);
  const std::optional<struct stat> above = stat_if_exists(parent_path(directory));
  std::string aside = fmt::format("{}.holdfast-salvage-{}", directory, options.time);
  const auto make = [&] {
    make_owned_directories(aside, 0700, owner);
    prove_writable(aside);
  };
  if (here && above && here->st_dev == above->st_dev && !error_of(make)) return aside;
  aside = fmt::format("{}/{}{}", directory, pg::kSalvagePrefix, options.time);
  make();
  return aside;
}

void WalAside::put(const ClearOptions& options) {
  for (const std::string& unsaved : options.unsaved) {
    const std::string from = join_path(pg_wal_, base_name(unsaved));
    if (!lstat_if_exists(from)) continue;
    if (aside_.empty()) aside_ = make_aside(options, owner_);
    const std::string to = join_path(aside_, base_name(unsaved));
    link_file(from, to, owner_);
    put_.emplace_back(from, to);
  }
  if (!aside_.empty()) fsync_directory(aside_);
}

WalAside::~WalAside() {
  for (const auto& [from, to] : put_) unlink(to.c_str());
  if (!aside_.empty()) rmdir(aside_.c_str());  // unless it was kept, with what is in it
}

// Whoever reads WAL ahead into that pg_wal ends with the server for which it does; but that server
// may have been stopped a moment ago, and what it writes must not be cleared under it. nullopt:
// there never was one.
std::optional<FileLock> take_spool(const std::string& pg_wal) {
  constexpr std::chrono::seconds kPatience{70};  // a store that does not answer is asked for 60
  constexpr std::chrono::milliseconds kPause{10};
  const std::string lock_file =
      fmt::format("{}/{}/{}", pg_wal, cluster::kSpoolDirectory, cluster::kSpoolLock);
  const auto end = std::chrono::steady_clock::now() + kPatience;
  while (stat_if_exists(lock_file)) {
    if (std::optional<FileLock> lock = FileLock::try_lock(lock_file)) return lock;
    if (std::chrono::steady_clock::now() > end)
      throw Error({.code = ErrorCode::kBusy,
                   .message = fmt::format("another process holds \"{}\"", lock_file),
                   .detail = "It reads WAL ahead for a server on this data directory.",
                   .hint = "Look for a \"holdfast wal get\" that is still running, then run the "
                           "command again."});
    wait_for({}, kPause);
  }
  return std::nullopt;
}

// A WAL directory that is full can be cleared all the same.
void prove_clearable(const std::string& directory) {
  error_of({ErrorCode::kNoSpace}, [&] { prove_writable(directory); });
}

// pg_control is the first thing to go. On a full disk it makes the room for the marker; until that
// is there the directory is the cluster's by the names in it (own_directory.h).
void close_directory(const std::string& directory, const Marker& marker,
                     const std::optional<OwnerIds>& owner) {
  const std::optional<Error> no_room =
      error_of({ErrorCode::kNoSpace}, [&] { write_marker(directory, marker, owner); });
  cluster::remove_control_file(directory);
  if (no_room) write_marker(directory, marker, owner);
}

}  // namespace

// Without room for the marker, as on a disk that WAL has filled, the barrier alone keeps servers
// out: the WAL can be saved, and whatever works there next takes the barrier away.
KeepOut::KeepOut(std::string directory, Marker marker) : directory_(std::move(directory)) {
  if (is_unfinished_restore(directory_)) {
    if (!lstat_if_exists(control_path(directory_))) return;
  } else {
    marker.is_untouched = true;
    error_of({ErrorCode::kNoSpace},
             [&] { write_marker(directory_, marker, owner_of(directory_)); });
  }
  cluster::bar_start(directory_);
}

// What cannot be put back is put back by the next command that works there.
KeepOut::~KeepOut() {
  error_of(even_interrupted, [&] { settle_untouched(directory_); });
}

void settle_untouched(const std::string& directory) {
  const std::optional<Marker> marker = read_marker(directory);
  if (!marker || !marker->is_untouched) {
    // An interrupted restore that had its pg_control laid already.
    if (!marker || is_unfinished_restore(directory)) cluster::take_barrier_away(directory);
    return;
  }
  for (const std::string& place : marker->places)
    for (const DirectoryEntry& entry :
         list_directory_if_exists(place).value_or(std::vector<DirectoryEntry>()))
      remove_token(join_path(place, entry.name), marker->token);
  cluster::take_barrier_away(directory);
  remove_marker(directory);
}

Marker make_marker(const std::string& directory, const std::optional<ProcessIdentity>& process,
                   RandomSource& random) {
  Marker marker{.directory = identity_of_directory(directory),
                .host = host_name(),
                .pid = process_id(),
                .process = process,
                .token = to_hex(random.bytes16().view())};
  if (!is_unfinished_restore(directory)) return marker;
  if (const std::optional<Marker> before = read_marker(directory)) {
    marker.places = before->places;
    if (!before->token.empty()) marker.token = before->token;
  }
  return marker;
}

bool may_keep_configuration(const std::string& directory) {
  if (!is_unfinished_restore(directory)) return true;
  const std::optional<Marker> marker = read_marker(directory);
  return marker && marker->keeps_configuration;
}

std::set<std::string> own_places(const std::string& directory, bool is_copy, bool delta,
                                 const repo::Backup& backup) {
  std::set<std::string> own;
  const std::optional<Marker> marker =
      is_unfinished_restore(directory) ? read_marker(directory) : std::nullopt;
  if (marker) own = marker->places;
  if (is_copy && !delta) {
    if (marker) require_marked(directory, *marker, places_outside(directory, own), backup);
    return own;
  }
  std::set<std::string> linked = linked_places(directory);
  if (is_copy) {
    std::erase_if(linked, [&](const std::string& link) {
      return std::ranges::any_of(backup.tablespaces, [&](const repo::Tablespace& tablespace) {
        return !tablespace.path.empty() && resolved_path(tablespace.path) == resolved_path(link);
      });
    });
  }
  own.merge(linked);
  if (marker) require_marked(directory, *marker, places_outside(directory, own), backup);
  return own;
}

// What another program thinks is its own alone: a server's base backups would take the copy along,
// an expiry would look into it.
void require_in_nobodys_directory(const std::string& directory) {
  for (std::string at = parent_path(resolved_path(directory)); at != parent_path(at);
       at = parent_path(at)) {
    const char* what = lstat_if_exists(cluster::control_file_path(at))         ? "a data directory"
                       : lstat_if_exists(join_path(at, repo::kRepositoryName)) ? "a repository"
                                                                               : nullptr;
    if (what == nullptr) continue;
    throw Error({.code = ErrorCode::kConflict,
                 .message = fmt::format("\"{}\" lies inside {}", directory, what),
                 .detail = fmt::format("That is \"{}\".", at),
                 .hint = "Name a directory outside of it."});
  }
}

void require_place_for_copy(const std::string& directory) {
  require_in_nobodys_directory(directory);
  if (!lstat_if_exists(directory)) return;
  if (!is_directory(directory)) {
    throw Error({.code = ErrorCode::kAlreadyExists,
                 .message = fmt::format("\"{}\" is not a directory", directory),
                 .detail = "",
                 .hint = "Name a directory that does not exist or is empty."});
  }
  if (is_unfinished_restore(directory) || is_empty_directory(directory)) return;
  throw Error(
      {.code = ErrorCode::kAlreadyExists,
       .message = fmt::format("directory \"{}\" is not empty", directory),
       .detail = lstat_if_exists(join_path(directory, kStateName))
                     ? "It holds another restore by holdfast, whose recovery is not finished."
                     : "A restore elsewhere never writes among other files.",
       .hint = "Name a directory that does not exist or is empty. To restore over the "
               "cluster's own data directory use "
               "--in-place."});
}

void require_free_tablespaces(const std::string& directory,
                              const std::vector<TablespacePlace>& places,
                              const repo::Backup& backup) {
  const std::set<std::string> own = own_places(directory, false, false, backup);
  for (const TablespacePlace& tablespace : places) {
    if (tablespace.recorded.empty() || own.contains(absolute_path(tablespace.place))) continue;
    const std::string version = version_directory(tablespace.place, backup);
    if (is_unused(version)) continue;
    throw Error({.code = ErrorCode::kAlreadyExists,
                 .message = fmt::format("tablespace directory \"{}\" is not empty", version),
                 .detail = fmt::format("The backup lays tablespace {} there, and the data "
                                       "directory \"{}\" does not show that the files are its own.",
                                       tablespace.oid, directory),
                 .hint = "Make sure that no other cluster uses it, then move it away and run the "
                         "command again."});
  }
}

void require_free_new_tablespaces(const std::string& directory, const recovery::Plan& plan,
                                  const std::set<std::string>& own) {
  for (const NewTablespace& created : new_tablespaces(plan, directory, {})) {
    if (own.contains(absolute_path(created.path)) ||
        std::ranges::find(plan.backup.tablespaces, created.path, &repo::Tablespace::path) !=
            plan.backup.tablespaces.end())
      continue;
    require_may_write(created.path);
    const std::string version = version_directory(created.path, plan.backup);
    if (is_unused(version)) continue;
    throw Error(
        {.code = ErrorCode::kAlreadyExists,
         .message = fmt::format("tablespace directory \"{}\" is not empty", version),
         .detail = fmt::format("The WAL to replay creates tablespace {} there, at {}, and the data "
                               "directory \"{}\" does not show that the files are its own: the "
                               "server would write onto them.",
                               created.oid, pg::to_string(created.lsn), directory),
         .hint =
             fmt::format("If they are this cluster's, move them away and run the command again. "
                         "If another cluster uses them: restore as a copy (--into DIR --start), "
                         "from a newer backup, or to before that place (--to-lsn {} "
                         "--exclusive).",
                         pg::to_string(created.lsn))});
  }
}

void require_may_write(const std::string& path) {
  std::string at = path, missing;
  for (; !stat_if_exists(at); at = parent_path(at)) missing = at;
  if (!is_directory(at)) {
    if (missing.empty()) return;  // which is another refusal
    throw Error({.code = ErrorCode::kIo,
                 .message = fmt::format("could not create directory \"{}\"", missing),
                 .detail = fmt::format("\"{}\" is not a directory.", at)});
  }
  if (access(at.c_str(), W_OK | X_OK) == 0) return;
  if (missing.empty()) throw_errno("write into", at);
  throw_errno("create directory", missing);
}

void prepare_into(const std::string& directory, const Marker& marker, const repo::Backup& backup,
                  const Owners& owners) {
  cluster::remove_control_file(directory);
  clear_marked_places(backup, marker);
  const std::optional<FileLock> spool = take_spool(join_path(directory, "pg_wal"));
  std::set<std::string> keep = salvages_in(directory);
  keep.insert(kMarkerName);
  clear_directory(directory, keep);
  set_mode(directory, backup.data_mode);
  set_owner(directory, owners.of_cluster());
  write_marker(directory, marker, owners.of_cluster());
}

void mark_places(const std::set<std::string>& places, const Marker& marker,
                 const repo::Backup& backup, const Owners& owners) {
  for (const std::string& place : places)
    if (const std::string version = version_directory(place, backup); is_directory(version))
      put_token(version, marker.token, owners.of_cluster());
}

void begin_places(const std::set<std::string>& places, const Marker& marker,
                  const repo::Backup& backup, const Owners& owners) {
  for (const std::string& place : places) {
    make_owned_directories(place, 0700, owners.of_cluster());
    make_owned_directories(version_directory(place, backup), backup.data_mode, owners.of_cluster());
  }
  mark_places(places, marker, backup, owners);
}

void remove_marks(const std::string& directory) {
  if (const std::optional<Marker> marker = read_marker(directory))
    for (const std::string& place : marker->places)
      for (const DirectoryEntry& entry :
           list_directory_if_exists(place).value_or(std::vector<DirectoryEntry>()))
        remove_token(join_path(place, entry.name), marker->token);
  remove_marker(directory);
}

std::string way_around_another_cluster(const std::string& directory) {
  return fmt::format(
      "Check --cluster and cluster.pgdata, or restore elsewhere with --into DIR. If that is the "
      "empty cluster which a package has made, or nothing in it is needed, stop its server, "
      "move it away with \"mv {} {}\", and run the command again.",
      shell_quote(directory), shell_quote(directory + ".old"));
}

void require_same_cluster(const std::string& directory, const Bytes& control_file,
                          const repo::Lineage& lineage) {
  const pg::ControlFile control = pg::parse_control_file(control_file);
  if (control.system_identifier == lineage.system_identifier) return;
  throw Error({.code = ErrorCode::kWrongCluster,
               .message = fmt::format("data directory \"{}\" is of another cluster", directory),
               .detail = fmt::format("Its system identifier is {}, that of the backups is {}.",
                                     control.system_identifier, lineage.system_identifier),
               .hint = way_around_another_cluster(directory)});
}

bool check_delta_into(const std::string& directory, const repo::Lineage& lineage,
                      const std::string& original, const cluster::ServerWitness& witness,
                      const std::stop_token& stop) {
  if (!lstat_if_exists(directory)) return false;
  if (!is_directory(directory)) {
    throw Error({.code = ErrorCode::kConflict,
                 .message = fmt::format("\"{}\" is not a directory", directory),
                 .detail = "",
                 .hint = "Name an earlier copy of the cluster, or a new directory."});
  }
  cluster::require_no_running_server(directory, "restoring over its data directory", witness, stop);
  if (is_empty_directory(directory)) return false;
  if (is_unfinished_restore(directory)) return true;
  if (resolved_path(directory) == resolved_path(original)) {
    throw Error({.code = ErrorCode::kConflict,
                 .message = fmt::format("\"{}\" is the cluster's own data directory", directory),
                 .detail = "A copy made over it would lose WAL that is not archived, and would not "
                           "archive.",
                 .hint = "Use --in-place --delta, or name another directory."});
  }
  // Unlike in place nobody has said that it is the cluster's, so the directory itself must.
  const std::optional<Bytes> control = read_if_exists(control_path(directory));
  if (!control || !pg::crc_is_valid(*control)) {
    throw Error({.code = ErrorCode::kConflict,
                 .message = fmt::format("directory \"{}\" is not known to be a copy of the cluster",
                                        directory),
                 .detail = fmt::format("Its \"{}\" is {}.", pg::kControlFilePath,
                                       control ? "damaged" : "missing"),
                 .hint = "Name an earlier copy of the cluster, or a new directory."});
  }
  require_same_cluster(directory, *control, lineage);
  return true;
}

void require_wal_there(const std::string& directory) {
  // What a restore laid, or a backup, has its WAL in the archive.
  for (const char* name : {"backup_label", kRecoverySignal, kStateName, kMarkerName})
    if (lstat_if_exists(join_path(directory, name))) return;
  std::optional<pg::ControlFile> control;
  if (lstat_if_exists(control_path(directory)))
    unreadable_of([&] { control = cluster::read_control_file(directory).control; });
  if (!control) return;
  const pg::WalSegmentSize size = control->wal_segment_size;
  const uint64_t number = pg::segment_of(control->redo_lsn, size);
  const std::string pg_wal = join_path(directory, "pg_wal");
  if (is_directory(pg_wal))
    for (const DirectoryEntry& entry : list_directory(pg_wal)) {
      const pg::WalFileName file = pg::parse_wal_file_name(entry.name, size);
      if (file.kind == pg::WalFileKind::kSegment && file.segment.segment_number == number) return;
    }
  const std::string where =
      is_link(pg_wal) ? fmt::format(", which leads to \"{}\",", read_link(pg_wal)) : std::string();
  throw Error(
      {.code = ErrorCode::kConflict,
       .message = fmt::format("the WAL of the server of \"{}\" is not where it was", directory),
       .detail = fmt::format(
           "Its pg_control needs segment \"{}\", and \"{}\"{} has none of that "
           "number: what was not archived is lost with it. Nothing was changed.",
           pg::segment_file_name({.timeline = control->timeline, .segment_number = number}, size),
           pg_wal, where),
       .hint = "If its disk is not mounted, mount it. If it is lost: add --without-own-wal to the "
               "command."});
}

SalvagedWal salvage_wal(const std::string& directory, const Salvage& salvage,
                        pg::WalSegmentSize size, bool on_paper) {
  const std::string pg_wal = join_path(directory, "pg_wal");
  if (!is_directory(pg_wal)) return {};
  const std::vector<cluster::WalDirectoryFile> files = cluster::list_wal_directory(pg_wal, size);
  if (files.empty()) return {};
  if (salvage) return salvage(pg_wal, on_paper);
  SalvagedWal salvaged;
  for (const cluster::WalDirectoryFile& file : files) {
    if (file.status != cluster::ArchiveStatus::kDone) salvaged.unsaved.push_back(file.name);
  }
  return salvaged;
}

std::set<std::string> salvages_in(const std::string& directory) {
  std::set<std::string> names;
  for (const DirectoryEntry& entry : list_directory(directory))
    if (entry.name.starts_with(pg::kSalvagePrefix)) names.insert(entry.name);
  return names;
}

// The order matters: what can fail is done while it can be taken back, what cannot be replaced is
// put away, then nothing can be started any more, and then the rest goes.
std::vector<std::pair<std::string, std::string>> prepare_in_place(const ClearOptions& options,
                                                                  const repo::Backup& backup,
                                                                  const Owners& owners,
                                                                  Reporter& reporter) {
  const std::string& directory = options.directory;
  const std::string pg_wal = join_path(directory, "pg_wal");
  const bool has_wal = is_directory(pg_wal);
  const std::optional<FileLock> spool = has_wal ? take_spool(pg_wal) : std::nullopt;
  WalAside aside(pg_wal, owners.of_cluster());
  if (has_wal) {
    prove_clearable(pg_wal);
    aside.put(options);
  }
  close_directory(directory, options.marker, owners.of_cluster());
  std::vector<std::pair<std::string, std::string>> moved = aside.keep();

  Leftovers left(directory);
  std::set<std::string> keep = options.left;
  keep.merge(salvages_in(directory));
  keep.insert(kMarkerName);
  if (has_wal) {
    clear_directory(pg_wal, strangers_in(pg_wal), left.teller());
    keep.insert("pg_wal");
  }
  clear_tablespaces(directory, backup, options.marker, left.teller());
  clear_marked_places(backup, options.marker, left.teller());
  clear_directory(directory, keep, left.teller());
  left.settle(reporter);
  set_mode(directory, backup.data_mode);
  set_owner(directory, owners.of_cluster());
  return moved;
}

namespace {

// Links that lead to where their tablespace is to lie stay.
void remove_other_links(const std::string& directory, const DeltaOptions& options,
                        const repo::Backup& backup, Reporter& reporter) {
  const std::string links = join_path(directory, "pg_tblspc");
  if (!is_directory(links) || is_link(links)) return;
  std::set<std::string> wanted;
  for (const TablespacePlace& place : options.clear.places)
    if (!place.recorded.empty()) wanted.insert(resolved_path(place.place));
  for (const DirectoryEntry& entry : list_directory(links)) {
    const std::string link = join_path(links, entry.name);
    if (!is_link(link)) continue;
    const std::string read = read_link(link);
    const std::string target = resolved_path(read.starts_with('/') ? read : join_path(links, read));
    const bool stays = std::ranges::any_of(options.clear.places, [&](const TablespacePlace& place) {
      return std::to_string(place.oid) == entry.name && resolved_path(place.place) == target;
    });
    if (stays) continue;
    if (!options.is_copy && !wanted.contains(target) &&
        !target.starts_with(resolved_path(directory) + "/"))
      clear_marked(version_directory(target, backup), options.clear.marker.token);
    else if (options.is_copy && !target.starts_with(resolved_path(directory) + "/"))
      reporter.note(
          fmt::format("tablespace {} lay in \"{}\", which is left as it is", entry.name, target));
    remove_file(link);
  }
}

// Below a copy: directories of tablespaces that lie elsewhere now, or are no more.
void remove_other_copies(const std::string& directory, const DeltaOptions& options) {
  const std::string copies = join_path(directory, kTablespacesDirectory);
  if (!options.is_copy || !is_directory(copies) || is_link(copies)) return;
  for (const DirectoryEntry& entry : list_directory(copies)) {
    const std::string path = join_path(copies, entry.name);
    const bool stays = entry.type == DT_DIR &&
                       std::ranges::any_of(options.clear.places, [&](const TablespacePlace& place) {
                         return place.place == path;
                       });
    if (!stays) remove_entry(copies, entry);
  }
}

}  // namespace

std::vector<std::pair<std::string, std::string>> prepare_delta(const DeltaOptions& options,
                                                               const repo::Backup& backup,
                                                               const Owners& owners,
                                                               Reporter& reporter) {
  const std::string& directory = options.clear.directory;
  const std::string pg_wal = join_path(directory, "pg_wal");
  // Of a copy made by other means it may lead to production's.
  const bool is_others = options.is_copy && is_link(pg_wal);
  const bool has_wal = is_directory(pg_wal) && !is_others;
  const std::optional<FileLock> spool = has_wal ? take_spool(pg_wal) : std::nullopt;
  WalAside aside(pg_wal, owners.of_cluster());
  if (has_wal) {
    prove_clearable(pg_wal);
    if (!options.is_copy) aside.put(options.clear);
  }
  set_mode(directory, backup.data_mode);
  set_owner(directory, owners.of_cluster());
  if (const std::string global = parent_path(control_path(directory));
      options.is_copy && is_link(global)) {
    // What it leads to is not the copy's.
    write_marker(directory, options.clear.marker, owners.of_cluster());
    remove_file(global);
  }
  close_directory(directory, options.clear.marker, owners.of_cluster());
  std::vector<std::pair<std::string, std::string>> moved = aside.keep();

  if (is_others) remove_file(pg_wal);
  if (has_wal) clear_directory(pg_wal, strangers_in(pg_wal));
  remove_other_links(directory, options, backup, reporter);
  remove_other_copies(directory, options);
  return moved;
}

}  // namespace holdfast::restore
