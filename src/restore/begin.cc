#include "restore/begin.h"

#include <algorithm>
#include <fcntl.h>
#include <signal.h>

#include <fmt/core.h>

#include "base/error.h"
#include "cluster/data_directory.h"
#include "cluster/running_server.h"
#include "pg/wal_file_name.h"
#include "restore/configuration.h"

namespace holdfast::restore {
namespace {

// Servers from 15 on tell how far they are; once a second in place of every ten.
constexpr int kFirstMajorWithProgress = 15;

cluster::Settings command_line(const Beginning& beginning, const RestoredState& state) {
  cluster::Settings settings = state.command_line;
  if (state.major >= kFirstMajorWithProgress)
    settings.emplace_back("log_startup_progress_interval", "1s");
  if (state.only_in_sandbox)
    settings.emplace_back("restore_command", recovery::restore_command_until(
                                                 beginning.restore_command, state.target_segment));
  settings.insert(settings.end(), beginning.server_settings.begin(),
                  beginning.server_settings.end());
  return settings;
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

}  // namespace

Begun begin_recovery(const Beginning& beginning, const RestoredState& state, const Clock& clock,
                     Reporter& reporter, const std::stop_token& stop) {
  const std::string& directory = beginning.directory;
  Begun begun;
  begun.server_start = {.installation = beginning.installation,
                        .data_directory = directory,
                        .settings = command_line(beginning, state),
                        .log_file = join_path(directory, kLogName),
                        .environment = beginning.server_environment,
                        .run_as = beginning.run_as,
                        .sandbox = state.sandbox};
  // The cluster's own, also where root starts it: whoever backs the directory up must read all of
  // it.
  const std::string& log = begun.server_start.log_file;
  set_owner(open_file(log, O_WRONLY | O_CREAT, 0600), beginning.owner, log);
  begun.recovery = run_recovery(begun.server_start,
                                {.action = state.action,
                                 .segment_size = pg::WalSegmentSize(state.wal_segment_bytes),
                                 .first_segment = state.first_segment,
                                 .last_segment = state.last_segment,
                                 .commit_times = beginning.commit_times,
                                 .resume_command = beginning.resume_command},
                                clock, reporter, stop);
  begun.moved_tablespaces = settle(directory, state, beginning.stand_ins, reporter);
  if (std::optional<cluster::PostmasterPid> file = cluster::read_postmaster_pid(directory)) {
    begun.socket_directory = file->socket_directory;
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
