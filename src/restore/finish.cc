// Ends a recovery that waits at its target. The server is asked by its promotion signal, which
// needs no password and no permission in pg_hba.conf: a file "promote" in the data directory and
// SIGUSR1 to the postmaster, as pg_ctl does it. A recovery that is paused at its target ends by it
// as by pg_wal_replay_resume().
//
// Facts: pg_ctl.c (do_promote), xlogrecovery.c (recoveryPausesHere, CheckForStandbyTrigger),
// PostgreSQL 13 to 18.
#include <signal.h>

#include <fmt/core.h>

#include "base/error.h"
#include "base/file.h"
#include "base/process.h"
#include "cluster/connection.h"
#include "cluster/data_directory.h"
#include "cluster/own_server.h"
#include "cluster/running_server.h"
#include "cluster/start_barrier.h"
#include "cluster/written_wal.h"
#include "repo/wal_archive.h"
#include "repo/wal_conflict.h"
#include "restore/begin.h"
#include "restore/configuration.h"
#include "restore/hold.h"
#include "restore/recover.h"
#include "restore/restore.h"
#include "restore/server_answer.h"
#include "restore/tablespaces.h"
#include "restore/target_lock.h"

namespace holdfast::restore {
namespace {

bool is_over(const std::string& directory, pg::ClusterState state) {
  return (state == pg::ClusterState::kInProduction || state == pg::ClusterState::kShutDown ||
          state == pg::ClusterState::kShuttingDown) &&
         !lstat_if_exists(join_path(directory, kRecoverySignal)) && !read_state(directory);
}

std::string how_to_start(const std::string& directory, pg::ClusterState control) {
  const std::optional<RestoredState> state = read_state(directory);
  if (is_over(directory, control))
    return "Its recovery is over: start it, and it is open for work.";
  if (!state)
    return "Start it first; it then recovers to its target again and waits there, unless "
           "recovery_target_action says otherwise.";
  return fmt::format(
      "Go on with its recovery to the end: holdfast restore --resume {} --action promote",
      state->is_copy ? "--into " + shell_quote(directory) : std::string("--in-place"));
}

// A server that runs: promoted, if it is not, and without what its recovery needed.
void end_recovery(const std::string& directory, const cluster::RunningServer& server,
                  pg::ClusterState before, Reporter& reporter, const std::stop_token& stop) {
  if (before == pg::ClusterState::kInArchiveRecovery) {
    reporter.phase("promoting", 0);
    write_owned_file(join_path(directory, "promote"), {}, cluster::file_mode_in(directory),
                     owner_of(directory));
    if (kill(server.pid, SIGUSR1) != 0) throw_errno("signal the server on", directory);
  }
  wait_until_promoted(directory, stop);
  if (remove_recovery_configuration(directory) && kill(server.pid, SIGHUP) != 0 && errno != ESRCH)
    throw_errno("reload the configuration of", directory);
  remove_state(directory);
}

// A standby waits for its primary, at no target: who ends its recovery makes a second primary.
void require_no_standby(const std::string& directory) {
  if (!lstat_if_exists(join_path(directory, kStandbySignal))) return;
  throw Error(
      {.code = ErrorCode::kConflict,
       .message = fmt::format("\"{}\" is the data directory of a standby", directory),
       .detail = fmt::format("It has a \"{}\". Its recovery waits at no target, and to end "
                             "it would make a primary of it, beside the one that it follows.",
                             kStandbySignal),
       .hint = fmt::format("If it is to be the primary, and the other one is stopped for "
                           "good: pg_ctl -D {} promote",
                           shell_quote(directory))});
}

constexpr const char* kTwoHistories =
    "Two servers that archive as one cluster write two histories, of which a later restore follows "
    "one.";
constexpr const char* kStopItFirst =
    "Stop it first. If that copy is to be a cluster of its own instead, give it a configuration of "
    "its own, and name that with --config.";

// Two servers of one cluster that are both called production write two histories.
void require_no_other_production(const FinishOptions& options, const std::string& directory) {
  if (options.configured_directory.empty() ||
      resolved_path(options.configured_directory) == resolved_path(directory))
    return;
  const std::optional<cluster::RunningServer> other =
      cluster::find_running_server(options.configured_directory);
  if (!other || !other->is_postmaster) return;
  throw Error({.code = ErrorCode::kBusy,
               .message = fmt::format("the server that is production runs, on \"{}\"",
                                      options.configured_directory),
               .detail = fmt::format("It is process {}. {}", other->pid, kTwoHistories),
               .hint = kStopItFirst});
}

// The same where the configuration does not name its directory, or it lives on another host.
void require_no_production_at(const std::string& conninfo, const std::string& directory,
                              uint64_t system_identifier, const std::stop_token& stop) {
  if (conninfo.empty()) return;
  std::optional<cluster::Production> other;
  error_of([&] {
    cluster::Connection connection = cluster::Connection::connect(
        {.conninfo = conninfo, .application_name = "holdfast finish"}, stop);
    other = cluster::ask_production(connection, system_identifier).production;
    // The copy itself, which is reached that way by now.
    if (other && !error_of([&] { cluster::require_server_of(directory, connection); }))
      other.reset();
  });
  if (!other) return;
  throw Error(
      {.code = ErrorCode::kBusy,
       .message = "the server that is production answers at conninfo",
       .detail = fmt::format("Its data directory is \"{}\", and it is on timeline {}. {}",
                             other->data_directory, pg::to_string(other->timeline), kTwoHistories),
       .hint = kStopItFirst});
}

void require_copy(const std::string& directory) {
  if (lstat_if_exists(join_path(directory, kSavedCopySettingsName))) return;
  throw Error({.code = ErrorCode::kConflict,
               .message = fmt::format("\"{}\" is no copy that holdfast restored", directory),
               .detail = fmt::format("It has no \"{}\": nothing keeps it apart from production.",
                                     kSavedCopySettingsName),
               .hint = "Name the data directory of a copy, as restore --into made it."});
}

}  // namespace

namespace {

// The server waits for the answer with its promotion; whoever has started it may hold the lock of
// the directory and wait for that. It writes no signal file any more (xlog.c, PostgreSQL 13 to 19:
// they go before recovery_end_command is run).
FinishResult take_out_after_recovery(const std::string& directory) {
  for (const char* name : {kRecoverySignal, kStandbySignal})
    if (lstat_if_exists(join_path(directory, name)))
      throw Error({.code = ErrorCode::kConflict,
                   .message = fmt::format("the recovery of \"{}\" has not ended", directory),
                   .detail = fmt::format("There is a \"{}\".", name),
                   .hint = "The server runs this command itself when it has ended."});
  FinishResult result{.directory = directory};
  result.claim = claim_of_recovery_in(directory);
  remove_recovery_configuration(directory);
  remove_state(directory);
  return result;
}

}  // namespace

FinishResult finish(const FinishOptions& options, Reporter& reporter, std::stop_token stop) {
  const std::string directory = absolute_path(options.data_directory);
  if (options.recovery_ended) return take_out_after_recovery(directory);
  const TargetLock lock = TargetLock::take(directory);
  if (!stat_if_exists(cluster::control_file_path(directory)))
    throw Error({.code = ErrorCode::kNotFound,
                 .message = fmt::format("\"{}\" is not a data directory", directory),
                 .detail = "It has no global/pg_control.",
                 .hint = "Name the directory that restore --into made, or the cluster's own."});
  const pg::ControlFile before = cluster::read_control_file(directory).control;
  if (options.production) require_copy(directory);
  require_no_standby(directory);
  if (options.production) {
    require_no_other_production(options, directory);
    require_no_production_at(options.conninfo, directory, before.system_identifier, stop);
  }
  const std::optional<cluster::RunningServer> server = cluster::find_running_server(directory);
  const std::optional<cluster::UnseenServer> unseen =
      server ? std::nullopt : cluster::find_unseen_server(directory, cluster::sight_of(directory));
  if (unseen && unseen->file) {
    throw Error({.code = ErrorCode::kBusy,
                 .message = fmt::format("the server on \"{}\" is not seen from here", directory),
                 .detail = fmt::format("Its postmaster.pid names process {}. {}", unseen->file->pid,
                                       unseen->why),
                 .hint = "Run the command where the server runs. If it is dead: " +
                         how_to_start(directory, before.state)});
  }
  const bool runs = server && server->is_postmaster;
  if (const std::optional<RestoredState> state = read_state(directory);
      state && !state->is_copy && before.state == pg::ClusterState::kInArchiveRecovery)
    restore::require_no_production(options.conninfo, before.system_identifier, stop);
  const bool has_recovered = is_over(directory, before.state);
  if (!runs && !(options.production && has_recovered)) {
    throw Error({.code = ErrorCode::kServerUnavailable,
                 .message = fmt::format("no server runs on \"{}\"", directory),
                 .detail = fmt::format("Its control file says: {}.", pg::to_string(before.state)),
                 .hint = how_to_start(directory, before.state)});
  }
  FinishResult result{.directory = directory, .production = options.production};
  result.claim = claim_of_recovery_in(directory);
  result.was_over = has_recovered;
  if (runs) {
    end_recovery(directory, *server, before.state, reporter, stop);
    result.running_server = server->pid;
  }
  result.new_timeline = newest_timeline(directory);
  if (runs)
    reporter.note(fmt::format("the server on \"{}\" accepts writes, on timeline {}", directory,
                              pg::to_string(result.new_timeline)));
  if (options.production) {
    // For everything that asks a server where its tablespaces are.
    for (const cluster::TablespaceLink& link : cluster::read_tablespace_links(directory))
      if (link.target.starts_with(directory + "/"))
        set_tablespace_link(directory, link.oid, link.target);
    for (const pg::ConfSetting& setting : remove_copy_configuration(directory))
      result.taken_out.emplace_back(setting.name, setting.value);
  }
  return result;
}

std::optional<Error> find_taken_timeline(const std::string& directory, pg::TimelineId timeline,
                                         const repo::Repository& repository,
                                         const std::string& cluster) {
  if (timeline.value <= 1) return std::nullopt;
  const std::optional<repo::Lineage> lineage = repository.find_lineage(
      cluster, cluster::read_control_file(directory).control.system_identifier);
  const std::string name = pg::history_file_name(timeline);
  const std::optional<Bytes> own = read_if_exists(fmt::format("{}/pg_wal/{}", directory, name));
  if (!lineage || !own) return std::nullopt;
  const repo::WalArchive archive(repository, *lineage);
  const auto taken = [&](std::string detail) {
    return Error({.code = ErrorCode::kConflict,
                  .message = fmt::format("timeline {} is taken: this server cannot archive",
                                         pg::to_string(timeline)),
                  .detail = std::move(detail),
                  .hint = std::string(repo::kTakenTimelineHint)});
  };
  const pg::WalFileName file{.kind = pg::WalFileKind::kHistory, .segment = {.timeline = timeline}};
  const std::optional<Bytes> archived = archive.read_file(file);
  if (archived && *archived != *own) {
    const std::optional<repo::WalFileInfo> info = archive.file_info(file);
    return taken(fmt::format("Host \"{}\" has archived another \"{}\" at {}.",
                             info ? info->host : "?", name, info ? to_local(info->pushed) : "?"));
  }
  // Two recoveries to one target have one history: then whose WAL it is tells.
  const std::optional<uint64_t> last = archive.last_segment(timeline);
  if (!last) return std::nullopt;
  const std::optional<repo::WalSegmentInfo> segment =
      archive.segment_info({.kind = pg::WalFileKind::kSegment,
                            .segment = {.timeline = timeline, .segment_number = *last}});
  if (!segment || (segment->host == host_name() && segment->pgdata == absolute_path(directory)))
    return std::nullopt;
  return taken(fmt::format("WAL segment \"{}\" was archived by {}.", segment->file_name,
                           repo::pushed_by(*segment)));
}

}  // namespace holdfast::restore
