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
#include "base/process.h"
#include "cluster/data_directory.h"
#include "cluster/running_server.h"
#include "restore/begin.h"
#include "restore/configuration.h"
#include "restore/hold.h"
#include "restore/recover.h"
#include "restore/restore.h"

namespace holdfast::restore {
namespace {

std::string how_to_start(const std::string& directory) {
  const std::optional<RestoredState> state = read_state(directory);
  if (!state)
    return "Start it first; it then recovers to its target again and waits there, unless "
           "recovery_target_action says otherwise.";
  return fmt::format(
      "Go on with its recovery to the end: holdfast restore --resume {} --action promote",
      state->is_copy ? "--into " + shell_quote(directory) : std::string("--in-place"));
}

}  // namespace

FinishResult finish(const std::string& data_directory, Reporter& reporter, std::stop_token stop) {
  const std::string directory = absolute_path(data_directory);
  const pg::ControlFile before = cluster::read_control_file(directory).control;
  const std::optional<cluster::RunningServer> server = cluster::find_running_server(directory);
  const std::optional<cluster::UnseenServer> unseen =
      server ? std::nullopt : cluster::find_unseen_server(directory, cluster::sight_of(directory));
  if (unseen && unseen->file) {
    throw Error({.code = ErrorCode::kBusy,
                 .message = fmt::format("the server on \"{}\" is not seen from here", directory),
                 .detail = fmt::format("Its postmaster.pid names process {}. {}", unseen->file->pid,
                                       unseen->why),
                 .hint = "Run the command where the server runs. If it is dead: " +
                         how_to_start(directory)});
  }
  if (!server || !server->is_postmaster) {
    throw Error({.code = ErrorCode::kServerUnavailable,
                 .message = fmt::format("no server runs on \"{}\"", directory),
                 .detail = fmt::format("Its control file says: {}.", pg::to_string(before.state)),
                 .hint = how_to_start(directory)});
  }
  if (before.state == pg::ClusterState::kInArchiveRecovery) {
    reporter.phase("promoting", 0);
    write_owned_file(join_path(directory, "promote"), {}, cluster::file_mode_in(directory),
                     owner_of(directory));
    if (kill(server->pid, SIGUSR1) != 0) throw_errno("signal the server on", directory);
  }
  wait_until_promoted(directory, stop);
  if (remove_recovery_configuration(directory) && kill(server->pid, SIGHUP) != 0 && errno != ESRCH)
    throw_errno("reload the configuration of", directory);
  const std::string claim = claim_of_recovery_in(directory);
  remove_state(directory);
  const FinishResult result{.new_timeline = newest_timeline(directory), .claim = claim};
  reporter.note(fmt::format("the server on \"{}\" accepts writes, on timeline {}", directory,
                            pg::to_string(result.new_timeline)));
  return result;
}

}  // namespace holdfast::restore
