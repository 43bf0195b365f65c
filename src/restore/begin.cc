#include "restore/begin.h"

#include <algorithm>
#include <fcntl.h>
#include <signal.h>

#include <fmt/core.h>

#include "base/error.h"
#include "cluster/data_directory.h"
#include "cluster/running_server.h"
#include "cluster/server_facts.h"
#include "pg/wal_file_name.h"
#include "restore/configuration.h"

namespace holdfast::restore {
namespace {

// Servers from 15 on tell how far they are; once a second in place of every ten.
constexpr int kFirstMajorWithProgress = 15;

// The server's own settings first: ours win over them, and are told from them (kGivenSetting).
cluster::Settings command_line(const Beginning& beginning, const RestoredState& state) {
  cluster::Settings settings = state.command_line;
  settings.emplace_back("data_directory", beginning.directory);
  if (state.major >= kFirstMajorWithProgress)
    settings.emplace_back("log_startup_progress_interval", "1s");
  if (state.only_in_sandbox)
    settings.emplace_back("restore_command", recovery::restore_command_until(
                                                 beginning.restore_command, state.target_segment));
  settings.insert(settings.end(), beginning.server_settings.begin(),
                  beginning.server_settings.end());
  std::string given;
  for (const auto& [name, value] : settings) given += (given.empty() ? "" : ",") + name;
  settings.emplace_back(cluster::kGivenSetting, given);
  settings.insert(settings.begin(), state.servers_own.begin(), state.servers_own.end());
  return settings;
}

// The cluster's own, also where root starts it: whoever backs the directory up must read all of it.
// One that is there and has another name elsewhere is somebody's file, not a log.
void make_log(const std::string& log, const std::string& directory,
              const std::optional<OwnerIds>& owner) {
  const Fd file = open_file(log, O_WRONLY | O_CREAT | O_NONBLOCK | O_NOCTTY, 0600);
  struct stat status{};
  if (fstat(file.get(), &status) != 0) throw_errno("stat", log);
  if (!S_ISREG(status.st_mode) || status.st_nlink != 1)
    throw Error({.code = ErrorCode::kConflict,
                 .message = fmt::format("\"{}\" is not a log file", log),
                 .detail = "The server's words would be appended to it.",
                 .hint = "Find out who has put it there, and remove it."});
  set_owner(file, owner, log);
  if (fchmod(file.get(), cluster::file_mode_in(directory)) != 0) throw_errno("change mode of", log);
}

// What stood in for the tablespaces that the WAL made.
std::vector<std::string> settle(const std::string& directory, const RestoredState& state,
                                StandIns& stand_ins, Reporter& reporter) {
  std::vector<std::string> moved;
  if (state.sandbox && settle_tablespaces(directory, state.created) > 0) {
    for (const NewTablespace& created : state.created) {
      moved.push_back(created.path);
      reporter.note(fmt::format("tablespace {} of \"{}\" is at \"{}\" in this copy", created.oid,
                                created.path, created.place));
    }
  }
  std::vector<std::string> made = state.made_here;
  made.insert(made.end(), stand_ins.made().begin(), stand_ins.made().end());
  stand_ins.release(std::move(made));
  return moved;
}

// A server that made a restartpoint at its target starts behind it the next time, and would look
// for it in vain (xlogrecovery.c, PerformWalRecovery, PostgreSQL 13 to 19). At the end of the
// archived WAL there is nothing more to replay, so it needs no target.
bool is_at_the_end(const std::string& directory, pg::Lsn end_record) {
  return !lstat_if_exists(join_path(directory, "backup_label")) &&
         cluster::read_control_file(directory).control.checkpoint_lsn >= end_record;
}

// A server without a target takes wherever it cannot read on for the end of the WAL, and is
// promoted there; one with a target that it does not reach ends (xlogrecovery.c, "recovery ended
// before configured recovery target was reached", PostgreSQL 13 to 18). So the end is a target too:
// that of the archive now, which may have grown while the files were laid.
void aim_at_the_end(const Beginning& beginning, RestoredState& state, Reporter& reporter) {
  recovery::ArchiveEnd end = beginning.find_end(state);
  for (const repo::WalTablespace& created : end.created) {
    if (created.path.empty() || created.path.starts_with(beginning.directory + "/")) continue;
    if (state.is_copy) {
      reporter.warning(fmt::format(
          "WAL that was archived since this restore was planned creates tablespace {} at \"{}\", "
          "which may be production's: recovery ends before that WAL, at {}. A new restore goes on.",
          created.oid, created.path, pg::to_string(state.end_record)));
      const pg::WalSegmentSize size(state.wal_segment_bytes);
      const pg::SegmentName last{.timeline = state.timeline,
                                 .segment_number = pg::segment_of(state.end_record, size)};
      end = {.record = state.end_record,
             .segment = pg::segment_file_name(last, size),
             .segment_number = last.segment_number};
      break;
    }
    // As for those that were planned (Restore::make_new_tablespace_directories).
    if (!lstat_if_exists(created.path))
      make_owned_directories(created.path, 0700, beginning.owners.of_cluster());
  }
  state.end_record = end.record;
  if (end.wal) state.last_wal = end.wal;
  state.target_segment = end.segment;
  state.last_segment = std::max(state.last_segment, end.segment_number);
  const std::string& directory = beginning.directory;
  ConfSettings settings = read_saved_settings(directory);
  // Behind the kinds of target that are not used (recovery_settings.cc).
  std::erase_if(settings, [](const pg::ConfSetting& setting) {
    return setting.name == "recovery_target_lsn" || setting.name == "recovery_target_inclusive";
  });
  for (pg::ConfSetting& setting : settings)
    if (setting.name == "restore_command" && !state.only_in_sandbox)
      setting.value =
          recovery::restore_command_until(beginning.restore_command, state.target_segment);
  if (is_at_the_end(directory, end.record)) {
    if (state.action != recovery::TargetAction::kPromote)
      throw Error(
          {.code = ErrorCode::kConflict,
           .message = fmt::format("the recovery of \"{}\" has come to its end", directory),
           .detail = "It made a restartpoint at the last archived record: a server that is "
                     "started again has nothing to replay, and cannot stop there.",
           .hint = fmt::format("To open it: {} --action promote", beginning.resume_command)});
  } else {
    settings.push_back({.name = "recovery_target_lsn", .value = pg::to_string(end.record)});
    settings.push_back({.name = "recovery_target_inclusive", .value = "on"});
  }
  write_recovery_configuration(directory, {}, settings, beginning.owners, reporter);
  write_state(directory, state, beginning.owners.of_cluster());
}

}  // namespace

EndFinder end_finder(const repo::Repository& repository, const repo::Lineage& lineage) {
  return [archive = repo::WalArchive(repository, lineage)](const RestoredState& state) {
    return recovery::find_archive_end(archive, state.timeline, state.end_record,
                                      state.ends_in_tail);
  };
}

Begun begin_recovery(const Beginning& beginning, const RestoredState& restored, const Clock& clock,
                     Reporter& reporter, const std::stop_token& stop) {
  const std::string& directory = beginning.directory;
  RestoredState state = restored;
  const bool to_the_end = state.end_record.is_valid() && beginning.find_end;
  if (to_the_end) aim_at_the_end(beginning, state, reporter);
  const bool looks_for_end = to_the_end && !is_at_the_end(directory, state.end_record);
  Begun begun;
  begun.server_start = {.installation = beginning.installation,
                        .data_directory = directory,
                        .settings = command_line(beginning, state),
                        .log_file = join_path(directory, kLogName),
                        .environment = beginning.server_environment,
                        .run_as = beginning.run_as,
                        .sandbox = state.sandbox};
  make_log(begun.server_start.log_file, directory, beginning.owners.of_cluster());
  begun.recovery = run_recovery(begun.server_start,
                                {.action = state.action,
                                 .segment_size = pg::WalSegmentSize(state.wal_segment_bytes),
                                 .first_segment = state.first_segment,
                                 .last_segment = state.last_segment,
                                 .end_record = looks_for_end ? state.end_record : pg::Lsn{},
                                 .commit_times = beginning.commit_times,
                                 .resume_command = beginning.resume_command},
                                clock, reporter, stop);
  begun.moved_tablespaces = settle(directory, state, beginning.stand_ins, reporter);
  if (std::optional<cluster::PostmasterPid> file = cluster::read_postmaster_pid(directory)) {
    begun.socket_directory = file->socket_directory;
    if (!begun.socket_directory.empty() && !begun.socket_directory.starts_with('/'))
      begun.socket_directory = join_path(directory, begun.socket_directory);
    begun.port = file->port;
  }
  switch (begun.recovery.ended_by) {
    case recovery::TargetAction::kPromote:
      remove_recovery_configuration(directory);
      remove_state(directory);
      if (kill(begun.recovery.server_pid, SIGHUP) != 0 && errno != ESRCH)
        throw_errno("reload the configuration of", directory);
      break;
    case recovery::TargetAction::kPause:
      reporter.note(fmt::format(
          "the server waits at the target and can be read; holdfast finish {} ends the recovery",
          directory));
      break;
    case recovery::TargetAction::kShutdown:
      reporter.note(
          fmt::format("the server was shut down at the target; recovery.signal stays, so the next "
                      "start repeats the end of the recovery. To open it: {} --action promote",
                      beginning.resume_command));
      break;
  }
  return begun;
}

CommitTimes commit_times_of(const repo::Repository& repository, const repo::Lineage& lineage) {
  return [archive = repo::WalArchive(repository, lineage)](
             pg::SegmentName segment) -> std::optional<Time> {
    std::optional<Time> time;
    // What is only shown must not end a recovery; who follows it sees a stop by himself, and stops
    // the server too.
    error_of(even_interrupted, [&] {
      const std::optional<repo::WalSegmentInfo> info =
          archive.segment_info({.kind = pg::WalFileKind::kSegment, .segment = segment});
      if (info && info->commits.count > 0) time = info->commits.last_time;
    });
    return time;
  };
}

pg::TimelineId newest_timeline(const std::string& data_directory) {
  const pg::ControlFile control = cluster::read_control_file(data_directory).control;
  pg::TimelineId newest = control.timeline;
  for (const DirectoryEntry& entry : list_directory(join_path(data_directory, "pg_wal"))) {
    const pg::WalFileName file = pg::parse_wal_file_name(entry.name, control.wal_segment_size);
    if (file.kind == pg::WalFileKind::kHistory) newest = std::max(newest, file.segment.timeline);
  }
  return newest;
}

}  // namespace holdfast::restore
