#include "backup/preflight.h"

#include <algorithm>
#include <chrono>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fmt/format.h>

#include "base/error.h"
#include "base/file.h"
#include "base/users.h"
#include "cluster/data_directory.h"
#include "pg/version.h"

namespace holdfast::backup {
namespace {

constexpr size_t kMaxLabelBytes = 1000;
constexpr std::string_view kConfigureHint =
    "Run \"holdfast init --configure-server\", then restart the server.";

[[noreturn]] void refuse_directory(const std::string& configured,
                                   const cluster::ServerFacts& facts) {
  throw Error(
      {.code = ErrorCode::kWrongCluster,
       .message = fmt::format("\"{}\" is not the data directory of the server", configured),
       .detail = fmt::format("The server's data directory is \"{}\".", facts.data_directory),
       .hint = "Correct pgdata or conninfo in the configuration; pgdata may be left out." +
               cluster::environment_hint()});
}

void check_is_readable(const std::string& directory) {
  std::optional<struct stat> status = stat_if_exists(directory);
  if (!status)
    throw Error(
        {.code = ErrorCode::kNotFound,
         .message = fmt::format("there is no data directory \"{}\" on this host", directory),
         .detail = "A backup reads the files of the cluster where they lie.",
         .hint = "Run the backup on the server's own host."});
  if (faccessat(AT_FDCWD, directory.c_str(), R_OK | X_OK, AT_EACCESS) == 0) return;
  std::string owner = user_name(status->st_uid);
  throw Error(
      {.code = ErrorCode::kPermission,
       .message = fmt::format("cannot read the data directory \"{}\"", directory),
       .detail = fmt::format("It belongs to \"{}\", and this program runs as \"{}\".", owner,
                             user_name(geteuid())),
       .hint = fmt::format("Run it as the owner: runuser -u {} -- holdfast backup", owner)});
}

}  // namespace

void check_server(const cluster::ServerFacts& facts) {
  if (facts.in_recovery)
    pg::require_known_major(facts.major,
                            "A backup of a standby ends where its control file says, which is not "
                            "read of this major.");
  if (facts.in_recovery) return;
  if (facts.wal_level == "minimal")
    throw Error({.code = ErrorCode::kServer,
                 .message = "wal_level of the server is \"minimal\"",
                 .detail = "Such WAL cannot be recovered from; wal_level must be \"replica\" or "
                           "\"logical\".",
                 .hint = std::string(kConfigureHint)});
  if (facts.archive_mode == cluster::ArchiveMode::kOff)
    throw Error({.code = ErrorCode::kServer,
                 .message = "archive_mode of the server is \"off\"",
                 .detail = "Without the WAL that is written while it is taken a backup cannot be "
                           "recovered.",
                 .hint = std::string(kConfigureHint)});
  if (facts.archive_command.empty() && facts.archive_library.empty())
    throw Error({.code = ErrorCode::kServer,
                 .message = "archive_command of the server is not set",
                 .detail = "Without the WAL that is written while it is taken a backup cannot be "
                           "recovered.",
                 .hint = "Run \"holdfast init --configure-server\"."});
}

repo::Lineage lineage_of(const repo::Repository& repository, const std::string& cluster,
                         const cluster::ServerFacts& facts) {
  if (std::optional<repo::Lineage> lineage =
          repository.find_lineage(cluster, facts.system_identifier))
    return *lineage;
  const repo::Lineage newest = repository.require_lineages(cluster).back();
  throw Error(
      {.code = ErrorCode::kWrongCluster,
       .message = fmt::format("the server is not cluster \"{}\" of the repository", cluster),
       .detail = fmt::format("Its system identifier is {}, that of lineage {} is {}.",
                             facts.system_identifier, repo::to_string(newest.name),
                             newest.system_identifier),
       .hint = "After pg_upgrade or a new initdb run \"holdfast init --new-lineage\"; otherwise "
               "correct conninfo." +
               cluster::environment_hint()});
}

std::string check_data_directory(const std::string& configured, const cluster::ServerFacts& facts) {
  std::string directory = absolute_path(configured.empty() ? facts.data_directory : configured);
  // stat_if_exists throws for a parent directory that cannot be entered; the answer to that is the
  // same.
  struct stat status{};
  if (stat(directory.c_str(), &status) != 0 && errno == EACCES)
    throw Error({.code = ErrorCode::kPermission,
                 .message = fmt::format("cannot read the data directory \"{}\"", directory),
                 .detail = fmt::format("A directory on the way to it cannot be entered by \"{}\".",
                                       user_name(geteuid())),
                 .hint = "Run holdfast as the user who runs the server, for example: runuser -u "
                         "postgres -- holdfast backup"});
  struct stat servers{};
  const bool is_seen = stat(facts.data_directory.c_str(), &servers) == 0;
  // The server's is here: the configuration names another.
  if (is_seen && !stat_if_exists(directory)) refuse_directory(directory, facts);
  check_is_readable(directory);
  if (configured.empty()) return directory;
  bool is_same = is_seen ? servers.st_dev == status.st_dev && servers.st_ino == status.st_ino
                         : directory == absolute_path(facts.data_directory);
  if (!is_same) refuse_directory(directory, facts);
  return directory;
}

void check_control_file(const pg::ControlFile& control, const cluster::ServerFacts& facts,
                        const std::string& data_directory, pg::Lsn start_lsn) {
  bool is_same = control.system_identifier == facts.system_identifier &&
                 control.catalog_version == facts.catalog_version;
  if (!is_same)
    throw Error(
        {.code = ErrorCode::kWrongCluster,
         .message = fmt::format("data directory \"{}\" is not the server's", data_directory),
         .detail = fmt::format("Its system identifier is {}, that of the server is {}.",
                               control.system_identifier, facts.system_identifier),
         .hint = "Correct pgdata or conninfo in the configuration." + cluster::environment_hint()});
  pg::ClusterState expected =
      facts.in_recovery ? pg::ClusterState::kInArchiveRecovery : pg::ClusterState::kInProduction;
  bool knows_checkpoint = control.state == expected && control.redo_lsn >= start_lsn;
  if (start_lsn.is_valid() && !knows_checkpoint)
    throw Error(
        {.code = ErrorCode::kWrongCluster,
         .message = fmt::format("data directory \"{}\" is not the server's", data_directory),
         .detail = fmt::format("It is another server's of the same cluster: its pg_control says "
                               "\"{}\" with the last checkpoint at {}, while the server has just "
                               "made one at {}.",
                               pg::to_string(control.state), pg::to_string(control.redo_lsn),
                               pg::to_string(start_lsn)),
         .hint = "Run the backup on the host of the server that conninfo names." +
                 cluster::environment_hint()});
}

namespace {

// What a checkpoint writes, as the server's function and the file tell it.
struct LastCheckpoint {
  pg::Lsn record, redo;
  pg::TimelineId timeline;
  std::string next_xid;  // "0:731"
  uint32_t next_oid = 0;
  int64_t time = 0;  // seconds since 1970
  bool operator==(const LastCheckpoint&) const = default;
};

LastCheckpoint checkpoint_of(const pg::ControlFile& control) {
  return {.record = control.checkpoint_lsn,
          .redo = control.redo_lsn,
          .timeline = control.timeline,
          .next_xid = fmt::format("{}:{}", control.next_xid >> 32, control.next_xid & UINT32_MAX),
          .next_oid = control.next_oid,
          .time = std::chrono::floor<std::chrono::seconds>(control.checkpoint_time)
                      .time_since_epoch()
                      .count()};
}

LastCheckpoint ask_checkpoint(cluster::Connection& connection) {
  const cluster::Row row = connection.query_row(
      "SELECT checkpoint_lsn, redo_lsn, timeline_id, next_xid, next_oid, "
      "pg_catalog.date_part('epoch', checkpoint_time)::pg_catalog.int8 "
      "FROM pg_catalog.pg_control_checkpoint()");
  return {.record = pg::parse_lsn(row[0].value_or("")),
          .redo = pg::parse_lsn(row[1].value_or("")),
          .timeline = {static_cast<uint32_t>(std::stoul(row[2].value_or("0")))},
          .next_xid = row[3].value_or(""),
          .next_oid = static_cast<uint32_t>(std::stoul(row[4].value_or("0"))),
          .time = std::stoll(row[5].value_or("0"))};
}

}  // namespace

void require_same_control_file(cluster::Connection& connection, const std::string& data_directory) {
  // It may make another checkpoint between two questions, but not each time.
  constexpr int kTries = 5;
  LastCheckpoint ours, servers;
  for (int i = 0; i < kTries; ++i) {
    ours = checkpoint_of(cluster::read_control_file(data_directory).control);
    servers = ask_checkpoint(connection);
    if (ours == servers) return;
  }
  auto words = [](const LastCheckpoint& last) {
    return fmt::format("the last checkpoint at {} on timeline {}, of {}, with next transaction {}",
                       pg::to_string(last.record), pg::to_string(last.timeline),
                       to_local(Time(std::chrono::seconds(last.time))), last.next_xid);
  };
  throw Error({.code = ErrorCode::kWrongCluster,
               .message = fmt::format("data directory \"{}\" is not the server's", data_directory),
               .detail = fmt::format(
                   "It is another server's of the same cluster: its pg_control has {}; the "
                   "server that conninfo leads to has {}.",
                   words(ours), words(servers)),
               .hint = "Run the backup on the host of the server that conninfo names." +
                       cluster::environment_hint()});
}

void check_label(const std::string& label) {
  bool is_plain = std::ranges::all_of(label, [](char c) { return c >= ' ' && c <= '~'; });
  if (label.size() <= kMaxLabelBytes && is_plain) return;
  throw Error(
      {.code = ErrorCode::kUsage,
       .message = "invalid backup label",
       .detail = fmt::format("A label is at most {} printable ASCII characters.", kMaxLabelBytes)});
}

}  // namespace holdfast::backup
