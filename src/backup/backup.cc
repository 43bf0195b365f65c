#include "backup/backup.h"

#include <sys/stat.h>
#include <utility>

#include <fmt/format.h>

#include "backup/configuration.h"
#include "backup/data_copy.h"
#include "backup/last_files.h"
#include "backup/outside_files.h"
#include "backup/owners.h"
#include "backup/preflight.h"
#include "backup/wal_wait.h"
#include "base/containment.h"
#include "base/file.h"
#include "base/process.h"
#include "base/users.h"
#include "cluster/data_directory.h"
#include "cluster/online_backup.h"
#include "pg/backup_label.h"
#include "pg/version.h"
#include "repo/layout.h"
#include "repo/repair.h"

namespace holdfast::backup {
namespace {

Time server_time(cluster::Connection& connection) {
  return parse_time(connection.query_value("SELECT clock_timestamp()"));
}

cluster::Connection connect(const BackupOptions& options, Reporter& reporter,
                            std::stop_token stop) {
  return cluster::Connection::connect(
      {.conninfo = options.conninfo,
       .application_name = "holdfast backup",
       .on_notice = [&reporter](const cluster::Notice& notice) { reporter.note(notice.message); }},
      std::move(stop));
}

struct stat stat_of(const std::string& path) {
  struct stat status{};
  if (stat(path.c_str(), &status) != 0) throw_errno("stat", path);
  return status;
}

// What is known before a byte is copied.
repo::Backup describe(const BackupOptions& options, const std::string& id,
                      const repo::Lineage& lineage, const cluster::ServerFacts& facts,
                      const std::string& data_directory, const pg::ControlFile& control) {
  struct stat status = stat_of(data_directory);
  repo::Backup backup;
  backup.id = id;
  backup.type = "full";
  backup.lineage = lineage.name;
  backup.system_identifier = facts.system_identifier;
  backup.major = facts.major;
  backup.catalog_version = facts.catalog_version;
  backup.wal_segment_bytes = facts.wal_segment_size.bytes();
  backup.block_bytes = lineage.block_bytes;
  backup.blocks_per_segment = lineage.blocks_per_segment;
  backup.data_checksums = control.has_checksums();
  backup.label = options.label.empty() ? "holdfast " + id : options.label;
  backup.host = host_name();
  backup.tool = options.tool_version;
  backup.data_directory = data_directory;
  backup.data_user = user_name(status.st_uid);
  backup.data_group = group_name(status.st_gid);
  backup.data_mode = status.st_mode & 07777;
  backup.data_mount = mount_point_of(data_directory);
  const std::string pg_wal = join_path(data_directory, "pg_wal");
  if (const auto link = lstat_if_exists(pg_wal); link && S_ISLNK(link->st_mode)) {
    backup.wal_directory = resolve_links(pg_wal);
    backup.wal_mount = mount_point_of(pg_wal);
  }
  for (const cluster::TablespaceLink& link : cluster::read_tablespace_links(data_directory))
    backup.tablespaces.push_back(
        {.oid = link.oid, .path = link.target, .mount = mount_point_of(link.target)});
  backup.floors = repo::floors_of(control);
  return backup;
}

// pg_control has the owner and mode of the server's; the others are made here and are as private as
// the server makes them.
LastFiles last_files(const cluster::OnlineBackup::Stopped& stopped, ByteView control_bytes,
                     const std::string& data_directory, OwnerIndex& owners, Time now) {
  const struct stat control = stat_of(join_path(data_directory, pg::kControlFilePath));
  return {.backup_label = {.content = as_bytes(stopped.backup_label), .modified = now},
          .control = {.content = control_bytes, .mode = control.st_mode & 07777, .modified = now},
          .tablespace_map = {.content = as_bytes(stopped.tablespace_map), .modified = now},
          .owner = owners.index(control.st_uid, control.st_gid)};
}

// No commit before the stop position carries a later time: asked after the stop. On a standby the
// commits are the primary's, whose clock may be ahead.
Time stop_time(cluster::Connection& connection) {
  return parse_time(connection.query_value(
      "SELECT greatest(clock_timestamp(), pg_last_xact_replay_timestamp())"));
}

// A standby follows its primary to another timeline when that was promoted itself.
void require_one_timeline(pg::TimelineId started, const pg::ControlFile& control) {
  if (control.minimum_recovery_timeline == started) return;
  throw Error({.code = ErrorCode::kServer,
               .message = "the standby followed its primary to another timeline during the backup",
               .detail = fmt::format(
                   "It began on timeline {} and is on timeline {} now; there is no new "
                   "backup.",
                   pg::to_string(started), pg::to_string(control.minimum_recovery_timeline)),
               .hint = "Take the backup again."});
}

// What the stop call says of the WAL that the backup needs.
void describe_wal(const cluster::OnlineBackup::Stopped& stopped, pg::Lsn start_lsn,
                  pg::WalSegmentSize size, repo::Backup& backup) {
  pg::BackupLabel label = pg::parse_backup_label(stopped.backup_label, size);
  if (label.start_lsn != start_lsn)
    throw Error({.code = ErrorCode::kServer,
                 .message = "the server gave the label of another backup",
                 .detail = fmt::format("It starts at {}, this backup at {}.",
                                       pg::to_string(label.start_lsn), pg::to_string(start_lsn)),
                 .hint = "Take the backup again, without a connection pooler between."});
  backup.start_lsn = start_lsn;
  backup.checkpoint_lsn = label.checkpoint_lsn;
  backup.start_timeline = label.start_timeline;
  backup.start_segment = label.start_segment;
  backup.stop_lsn = stopped.stop_lsn;
  backup.stop_timeline = label.start_timeline;
  backup.stop_segment = pg::segment_file_name(
      {backup.stop_timeline, pg::last_segment_before_end(stopped.stop_lsn, size)}, size);
}

}  // namespace

namespace {

std::optional<recovery::Window> window_of(const repo::Backup& backup,
                                          const repo::Repository& repository,
                                          const repo::Lineage& lineage) {
  const recovery::WalPicture picture =
      recovery::look_at_wal(repository, lineage, [](const std::string&, const Error&) {});
  const auto found = std::ranges::find_if(picture.windows, [&](const recovery::Window& window) {
    return window.timeline == backup.stop_timeline &&
           std::ranges::find(window.backups, backup.id) != window.backups.end();
  });
  return found == picture.windows.end() ? std::nullopt : std::optional(*found);
}

// What a backup needs is not in it: that they cannot be put is told, and no failure.
void put_missing_copies(const repo::Repository& repository, const repo::Lineage& lineage,
                        Reporter& reporter) {
  repository.complete_copies(lineage.name);
  const std::optional<Error> error = error_of([&] {
    for (const std::string& object : repo::repair(repository, lineage, system_clock()))
      reporter.warning(fmt::format("\"{}\" was missing, and was put again", object));
  });
  if (error)
    reporter.warning(
        fmt::format("what is missing of two copies could not be put again: {}", error->message()));
}

}  // namespace

BackupResult backup(const BackupOptions& options, const repo::Repository& repository,
                    Reporter& reporter, std::stop_token stop) {
  const Clock& clock = system_clock();
  check_label(options.label);

  // Look at the server, its files and the repository; nothing has been begun.
  cluster::Connection connection = connect(options, reporter, stop);
  cluster::ServerFacts facts = cluster::read_server_facts(connection);
  check_server(facts);
  if (pg::is_newer_major(facts.major)) reporter.warning(pg::newer_major_notice(facts.major));
  repo::Lineage lineage = lineage_of(repository, options.cluster, facts);
  put_missing_copies(repository, lineage, reporter);
  std::string data_directory = check_data_directory(options.pgdata, facts);
  pg::ControlFile control = cluster::read_control_file(data_directory).control;
  check_control_file(control, facts, data_directory);
  cluster::require_apart_from(facts, repository.store().url());
  uint64_t expected_bytes = measure_data_directory(data_directory);

  // Start. From here on the server writes full pages and waits for our stop call; if we die, it
  // forgets the backup.
  BackupResult result;
  Time started = clock.now();
  std::string id = repo::make_backup_id(started, repository.random());
  repo::Backup description = describe(options, id, lineage, facts, data_directory, control);
  description.started = started;
  repo::BackupWriter writer(repository, lineage, id, options.compression, clock);
  reporter.phase("starting", 0);
  description.start_time = server_time(connection);
  cluster::OnlineBackup online(std::move(connection), {.label = description.label,
                                                       .fast_checkpoint = options.fast_checkpoint});
  description.from_standby = online.from_standby();
  check_control_file(cluster::read_control_file(data_directory).control, facts, data_directory,
                     online.start_lsn());
  require_same_control_file(online.connection(), data_directory);
  // A standby may be days behind, and what it starts from listed for removal.
  writer.protect_wal(facts.timeline, online.start_lsn());
  reporter.note(fmt::format("backup {} starts at {}, timeline {}", id,
                            pg::to_string(online.start_lsn()), pg::to_string(facts.timeline)));

  // Start completed the segment before it: where the WAL goes is known before hours are spent.
  WalWait wait{.timeout = options.archive_timeout, .archiver = [&online] {
                 return cluster::read_archiver_status(online.connection());
               }};
  const uint64_t start_segment = pg::segment_of(online.start_lsn(), facts.wal_segment_size);
  if (!online.from_standby() && start_segment > 1)
    prove_archiving(repo::WalArchive(repository, lineage),
                    {.segment = {.timeline = facts.timeline, .segment_number = start_segment - 1},
                     .status_directory = join_path(data_directory, "pg_wal/archive_status"),
                     .began = started},
                    wait, clock, reporter, stop);

  // What its configuration consists of: links to it are kept while the files are walked.
  ConfigurationFiles configuration(facts, data_directory);

  // Copy the data directory, then what lies outside it.
  reporter.phase("copying", expected_bytes);
  DataCopyResult copied = copy_data_directory(
      {.source = {.data_directory = data_directory,
                  .version_directory =
                      pg::tablespace_version_directory(facts.major, facts.catalog_version),
                  .block_bytes = lineage.block_bytes,
                  .blocks_per_segment = lineage.blocks_per_segment,
                  .has_checksums = control.has_checksums(),
                  .is_of_known_major = !pg::is_newer_major(facts.major),
                  .start_lsn = online.start_lsn()},
       .jobs = options.jobs,
       .bytes_per_second = options.bytes_per_second,
       .current_lsn =
           [&online] {
             return pg::parse_lsn(online.connection().query_value(
                 online.from_standby() ? "SELECT pg_last_wal_replay_lsn()"
                                       : "SELECT pg_current_wal_insert_lsn()"));
           },
       .take_link =
           [&configuration](const std::string& path, const std::string& target) {
             return configuration.take_link(path, target);
           },
       .check_alive = [&online] { online.check_alive(); }},
      writer, reporter, stop);
  repo::ExtentWriter extents = writer.make_worker();
  OwnerIndex owners(writer.manifest());
  OutsideFiles outside = keep_outside_files(configuration.paths(), data_directory,
                                            lineage.block_bytes, writer, extents, owners, reporter);

  // pg_control last of all files, as basebackup.c does; the bytes kept are those whose CRC was
  // checked. Then stop.
  reporter.phase("finishing", 0);
  require_same_control_file(online.connection(), data_directory);
  cluster::ControlFileCopy last_control = cluster::read_control_file(data_directory);
  cluster::OnlineBackup::Stopped stopped = online.stop();
  description.stop_time = stop_time(online.connection());
  describe_wal(stopped, online.start_lsn(), facts.wal_segment_size, description);
  if (online.from_standby()) require_one_timeline(description.stop_timeline, last_control.control);
  reporter.note(fmt::format("backup stops at {}", pg::to_string(stopped.stop_lsn)));
  const NeededWal needed{.timeline = description.stop_timeline,
                         .start_lsn = description.start_lsn,
                         .end_lsn = description.stop_lsn};
  ServersWal servers_wal({.data_directory = data_directory,
                          .host = description.host,
                          .needed = needed,
                          .checkpoint_lsn = description.checkpoint_lsn},
                         facts.wal_segment_size);

  // Everything but the commit object.
  add_last_files(last_files(stopped, last_control.bytes, data_directory, owners, clock.now()),
                 lineage.block_bytes, writer, extents);
  writer.finish_worker(std::move(extents));
  writer.seal_contents();

  // A backup exists only with the WAL that it needs, and that its server wrote.
  reporter.phase("waiting for WAL", 0);
  wait.by_primary = online.from_standby();
  wait.server = &servers_wal;
  if (online.from_standby() && options.archive_tail)
    wait.archive_tail = [&](const std::string& segment) {
      std::optional<pg::Lsn> end =
          options.archive_tail(join_path(data_directory, "pg_wal"), segment);
      return end && *end >= description.stop_lsn;
    };
  writer.protect_wal(description.stop_timeline, description.start_lsn);
  wait_for_expiry(repository, lineage, needed, options.archive_timeout, clock, reporter, stop);
  wait_for_wal(repo::WalArchive(repository, lineage), needed, wait, clock, reporter, stop);

  // Commit: from here on the backup exists.
  description.external_files = outside.kept;
  description.configuration = configuration.describe();
  for (const std::string& left_out : description.configuration->passed_over)
    reporter.warning(fmt::format(
        "\"{}\" of the server's configuration cannot be recorded and is not in the backup",
        left_out));
  description.damaged_blocks = copied.damaged_blocks;
  description.damaged = copied.damaged_blocks > 0;
  description.finished = clock.now();
  result.backup = writer.commit(std::move(description));
  result.damaged = std::move(copied.damaged);
  result.unreadable_files = std::move(outside.unreadable);
  // It exists, whatever else cannot be read.
  error_of([&] { result.window = window_of(result.backup, repository, lineage); });
  return result;
}

}  // namespace holdfast::backup
