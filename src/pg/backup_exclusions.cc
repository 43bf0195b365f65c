#include "pg/backup_exclusions.h"

#include <algorithm>
#include <array>

#include "pg/relation_file.h"

namespace holdfast::pg {

namespace {

// Directories whose contents belong to the running server, or come from the WAL archive. At the top
// of the data directory only.
constexpr std::string_view kEmptied[] = {"pg_wal",    "pg_replslot",  "pg_dynshmem", "pg_notify",
                                         "pg_serial", "pg_snapshots", "pg_stat_tmp", "pg_subtrans"};

// Left out by name in any directory, as the server does.
constexpr std::string_view kSkippedAnywhere[] = {
    "postmaster.pid",      "postmaster.opts", "postgresql.auto.conf.tmp", "current_logfiles.tmp",
    "backup_label",        "tablespace_map",  "backup_manifest",          ".DS_Store",
    "lost+found",  // not on the server's list: the file system's own, at the root of a mount
    "pg_filenode.map.tmp",  // not on the server's list: left by a crash while the map was renamed
                            // into place (16+)
};
constexpr std::string_view kSkippedPrefixes[] = {"pgsql_tmp", "pg_internal.init", kSalvagePrefix};

// The lock file beside a socket, where the socket lies inside. Not on the server's list: it names a
// process, and would keep a restored server from starting once another has that number.
constexpr std::string_view kSocketPrefix = ".s.PGSQL.";

// Not on the server's list. The signal files are a restore's to write: one that came with a backup
// of a standby would turn a plain restore into a standby.
constexpr std::string_view kSkippedAtTop[] = {"backup_label.old", "tablespace_map.old",
                                              "recovery.done",    "recovery.conf",
                                              "recovery.signal",  "standby.signal"};

// A link in the place of one of these (or below it) would leave data out of the backup.
constexpr std::string_view kNeeded[] = {"base",       "global",       "pg_commit_ts",
                                        "pg_logical", "pg_multixact", "pg_twophase",
                                        "pg_xact",    "pg_tblspc",    "pg_stat"};

// The rest of what a server puts at the top (miscinit.c, syslogger.c, pg_upgrade), and what its
// defaults look for there (ssl_cert_file).
constexpr std::string_view kOtherOfServers[] = {
    "log",      "pg_hba.conf", "pg_ident.conf", "postgresql.conf",    "current_logfiles",
    "promote",  "core",        "server.crt",    "server.key",         "root.crt",
    "root.crl", "pg_log",      "logfile",       "pg_upgrade_output.d"};
// Of holdfast: state, marker, and what a copy has.
constexpr std::string_view kOfHoldfast[] = {
    "holdfast_restore.in_progress", "holdfast_restore.json", "holdfast_recovery.settings",
    "holdfast_copy.settings",       "holdfast_recovery.log", "holdfast_socket",
    "holdfast_tablespaces",         "holdfast_outside"};
// A directory of configuration files, or one named "base", has none of these.
constexpr std::string_view kTellingFiles[] = {"PG_VERSION", "postgresql.auto.conf",
                                              "postmaster.opts", "postmaster.pid"};

bool contains(std::span<const std::string_view> names, std::string_view name) {
  return std::ranges::find(names, name) != names.end();
}

bool skipped_by_name(std::string_view name) {
  return contains(kSkippedAnywhere, name) ||
         std::ranges::any_of(kSkippedPrefixes,
                             [&](std::string_view prefix) { return name.starts_with(prefix); });
}

// "pg_tblspc/16384" and nothing below it.
bool is_tablespace_link(std::string_view path) {
  constexpr std::string_view kDirectory = "pg_tblspc/";
  if (!path.starts_with(kDirectory)) return false;
  std::string_view name = path.substr(kDirectory.size());
  return !name.empty() && name.find_first_not_of("0123456789") == std::string_view::npos;
}

// Where relations lie, so that a name such as "t3_16384" is a temporary relation's: global/,
// base/<n>/, pg_tblspc/<n>/PG_*/<n>/.
bool is_relation_directory(std::string_view directory) {
  auto depth = std::ranges::count(directory, '/');
  return (depth == 0 && directory == "global") || (depth == 1 && directory.starts_with("base/")) ||
         (depth == 3 && directory.starts_with("pg_tblspc/"));
}

}  // namespace

BackupTreatment backup_treatment(std::string_view path, PathType type) {
  size_t first_slash = path.find('/');
  std::string_view top = path.substr(0, first_slash);
  bool at_top = first_slash == std::string_view::npos;

  if (contains(kEmptied, top)) {
    bool is_the_directory =
        at_top && (type == PathType::kDirectory || type == PathType::kSymbolicLink);
    return is_the_directory ? BackupTreatment::kDirectoryOnly : BackupTreatment::kSkip;
  }

  // A name that is left out takes everything below it along, so each component is looked at.
  size_t last_slash = path.rfind('/');
  std::string_view name = last_slash == std::string_view::npos ? path : path.substr(last_slash + 1);
  std::string_view directory =
      last_slash == std::string_view::npos ? std::string_view() : path.substr(0, last_slash);
  for (std::string_view rest = path; !rest.empty();) {
    size_t slash = rest.find('/');
    if (skipped_by_name(rest.substr(0, slash))) return BackupTreatment::kSkip;
    rest = slash == std::string_view::npos ? std::string_view() : rest.substr(slash + 1);
  }
  if (contains(kSkippedAtTop, top)) return BackupTreatment::kSkip;
  if (directory == "global" && name.ends_with(".tmp")) return BackupTreatment::kSkip;
  if (type == PathType::kFile && name.starts_with(kSocketPrefix)) return BackupTreatment::kSkip;
  if (is_relation_directory(directory)) {
    std::optional<RelationFile> file = parse_relation_file_name(name);
    if (file && file->temporary_of) return BackupTreatment::kSkip;
  }

  switch (type) {
    case PathType::kFile:
    case PathType::kDirectory:
      return BackupTreatment::kKeep;
    case PathType::kSymbolicLink:
      if (is_tablespace_link(path)) return BackupTreatment::kKeep;
      return contains(kNeeded, top) ? BackupTreatment::kRefuse : BackupTreatment::kSkipAndWarn;
    case PathType::kSpecial:
      break;
  }
  return BackupTreatment::kSkipAndWarn;
}

UnloggedRelations::UnloggedRelations(std::span<const std::string> names) {
  for (const std::string& name : names) {
    std::optional<RelationFile> file = parse_relation_file_name(name);
    if (file && !file->temporary_of && file->fork == Fork::kInit)
      file_numbers_.insert(file->locator.file_number);
  }
}

bool UnloggedRelations::leaves_out(std::string_view name) const {
  std::optional<RelationFile> file = parse_relation_file_name(name);
  return file && !file->temporary_of && file->fork != Fork::kInit &&
         file_numbers_.contains(file->locator.file_number);
}

TopName top_name(std::string_view name) {
  // A file that is being written has another name behind its own.
  if (name.ends_with(".tmp"))
    for (size_t dot = name.find('.'); dot != std::string_view::npos; dot = name.find('.', dot + 1))
      if (top_name(name.substr(0, dot)) != TopName::kStranger) return TopName::kServers;
  const bool is_everyday = name == "base" || name == "global";
  if (contains(kTellingFiles, name) ||
      (!is_everyday && (contains(kEmptied, name) || contains(kNeeded, name))))
    return TopName::kTelling;
  const bool is_known = is_everyday || contains(kOtherOfServers, name) ||
                        contains(kOfHoldfast, name) || contains(kSkippedAtTop, name) ||
                        skipped_by_name(name) || name.starts_with(kSocketPrefix) ||
                        name.starts_with("core.") || name.starts_with("holdfast_link.");
  return is_known ? TopName::kServers : TopName::kStranger;
}

bool is_name_in_pg_wal(std::string_view name) {
  constexpr size_t kTimelineDigits = 8, kSegmentDigits = 24;
  constexpr std::string_view kNames[] = {"archive_status", "summaries"};
  constexpr std::string_view kPrefixes[] = {"xlogtemp.", "RECOVERYXLOG", "RECOVERYHISTORY",
                                            "holdfast_"};
  const size_t digits = std::min(name.find_first_not_of("0123456789ABCDEF"), name.size());
  const std::string_view behind = name.substr(digits);
  const bool is_segments = digits == kSegmentDigits && (behind.empty() || behind.front() == '.');
  const bool is_historys = digits == kTimelineDigits && behind.starts_with(".history");
  return is_segments || is_historys || contains(kNames, name) ||
         std::ranges::any_of(kPrefixes,
                             [&](std::string_view prefix) { return name.starts_with(prefix); });
}

}  // namespace holdfast::pg
