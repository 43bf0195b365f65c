// Goes on with the recovery of a directory that a restore laid. Nothing is laid: what the server
// has replayed is in its files, and where it is to go on is in its pg_control.
#include <algorithm>
#include <utility>

#include <fmt/core.h>

#include "base/error.h"
#include "cluster/data_directory.h"
#include "cluster/running_server.h"
#include "cluster/start_barrier.h"
#include "pg/control_file.h"
#include "repo/intent.h"
#include "repo/needed_wal.h"
#include "restore/begin.h"
#include "restore/configuration.h"
#include "restore/hold.h"
#include "restore/outside.h"
#include "restore/prepare.h"
#include "restore/restore.h"
#include "restore/server_answer.h"
#include "restore/target_lock.h"

namespace holdfast::restore {
namespace {

// What the directory is: a restore that was laid to its end and is not finished yet.
RestoredState require_restored(const std::string& directory) {
  const bool has_control = lstat_if_exists(join_path(directory, pg::kControlFilePath)).has_value();
  if (lstat_if_exists(join_path(directory, kMarkerName)) && !has_control) {
    throw Error({.code = ErrorCode::kConflict,
                 .message = fmt::format("the restore into \"{}\" was interrupted before its files "
                                        "were laid",
                                        directory),
                 .detail = "There is no recovery to go on with: no server starts on it.",
                 .hint = "Run the same restore again, without --resume: it lays the files anew."});
  }
  std::optional<RestoredState> state;
  if (has_control) state = read_state(directory);
  if (!state) {
    throw Error({.code = ErrorCode::kConflict,
                 .message = fmt::format("\"{}\" holds no recovery to go on with", directory),
                 .detail = !lstat_if_exists(directory)
                               ? std::string("There is no such directory.")
                               : fmt::format("There is no \"{}\" in it: no restore has laid it, or "
                                             "its recovery is finished.",
                                             kStateName),
                 .hint =
                     "Name the directory of a restore that was interrupted. A new restore needs "
                     "no --resume."});
  }
  return *state;
}

void require_that_place(const RestoredState& state, const RestoreOptions& options,
                        const std::string& directory) {
  const bool is_copy = options.where == Where::kInto;
  if (state.is_copy == is_copy && state.cluster == options.cluster) return;
  throw Error(
      {.code = ErrorCode::kUsage,
       .message = fmt::format("\"{}\" was restored {}, of cluster \"{}\"", directory,
                              state.is_copy ? "elsewhere" : "in place", state.cluster),
       .detail = "",
       .hint = fmt::format("Go on with: holdfast restore --resume --cluster {} {}", state.cluster,
                           state.is_copy ? "--into " + directory : std::string("--in-place"))});
}

// A copy of the directory has its links: what it replayed would go into the original's tablespaces.
void require_own_tablespaces(const RestoredState& state, const std::string& directory) {
  const std::set<std::string> outside = places_outside(directory, linked_places(directory));
  const bool is_its_own = state.directory == identity_of_directory(directory);
  if (!is_its_own) require_not_of(state.place, directory, outside);
  require_unused(outside, directory);
}

// What a server that went down without a word has left: it keeps the next one from starting when
// any other process has its number by now. REQUIRES: no server works there (which was looked at
// more closely than the server itself does it).
void remove_stale_locks(const std::string& directory) {
  const std::optional<cluster::PostmasterPid> stale = cluster::read_postmaster_pid(directory);
  if (!stale) return;
  if (!stale->socket_directory.empty() && stale->port != 0) {
    const std::string socket = join_path(stale->socket_directory.starts_with('/')
                                             ? stale->socket_directory
                                             : join_path(directory, stale->socket_directory),
                                         fmt::format(".s.PGSQL.{}", stale->port));
    const std::optional<Bytes> lock = read_if_exists(socket + ".lock");
    if (lock && as_text(*lock).starts_with(fmt::format("{}\n", stale->pid))) {
      remove_file_if_exists(socket);
      remove_file_if_exists(socket + ".lock");
    }
  }
  remove_file_if_exists(join_path(directory, "postmaster.pid"));
  fsync_directory(directory);
}

// Another action than the restore's: the recovery settings are written once more.
void change_action(const std::string& directory, recovery::TargetAction action,
                   RestoredState& state, const Owners& owners, Reporter& reporter) {
  ConfSettings settings = read_saved_settings(directory);
  auto set = [&](const std::string& name, const std::string& value) {
    for (pg::ConfSetting& setting : settings) {
      if (setting.name == name) {
        setting.value = value;
        return;
      }
    }
    settings.push_back({.name = name, .value = value});
  };
  set("recovery_target_action", to_string(action));
  if (action == recovery::TargetAction::kPause) set("hot_standby", "on");
  write_recovery_configuration(directory, {}, settings, owners, reporter);
  state.action = action;
  write_state(directory, state, owners.of_cluster());
}

// What is replayed over the files must be what the backup was taken with; of one that is deleted by
// now nobody knows. And what was replayed already is not replayed over by another history.
void require_own_wal(const repo::Repository& repository, const repo::Lineage& lineage,
                     const RestoredState& state, const std::string& directory) {
  const repo::WalArchive archive(repository, lineage);
  constexpr const char* kHint = "Restore a backup anew, into another directory.";
  std::optional<repo::Backup> backup;
  unreadable_of([&] { backup = repo::read_commit(repository, lineage.name, state.backup); });
  if (backup) repo::require_own_wal(*backup, archive, kHint);
  if (!state.last_wal || !was_started(directory) ||
      !repo::find_taken_wal(*state.last_wal, archive, repo::Compare::kContents))
    return;
  throw Error(
      {.code = ErrorCode::kTargetUnreachable,
       .message =
           fmt::format("the WAL that \"{}\" was recovered by is not served any more", directory),
       .detail = fmt::format("What is archived as \"{}\" now is not what it was when the recovery "
                             "began: two histories would be mixed.",
                             state.last_wal->file),
       .hint = kHint});
}

// The sandbox of the restore, or, for a copy that was laid without being started, one of its own.
void seclude_again(RestoredState& state, const RestoreOptions& options,
                   const std::string& directory, Reporter& reporter) {
  if (!state.is_copy || options.sandbox.program.empty()) return;
  std::optional<std::string> why_not;
  if (state.sandbox) {
    state.sandbox->program = options.sandbox.program;
    why_not = cluster::why_no_sandbox(*state.sandbox);
  } else {
    Seclusion seclusion = seclude(options.sandbox, state.production, directory, {});
    state.sandbox = std::move(seclusion.sandbox);
    if (!state.sandbox) why_not = seclusion.why_not;
  }
  if (!why_not) return;
  if (state.only_in_sandbox || options.sandbox.required) {
    throw Error({.code = ErrorCode::kPermission,
                 .message = "the copy cannot be kept from production",
                 .detail = fmt::format("No sandbox can be made: {}.", *why_not),
                 .hint = "Go on where one is permitted, as the restore was."});
  }
  state.sandbox.reset();
  reporter.note(fmt::format("the copy's server runs without a sandbox: {}", *why_not));
}

}  // namespace

ResumeResult resume(const RestoreOptions& options, const repo::Repository& repository,
                    const Clock& clock, Reporter& reporter, std::stop_token stop) {
  if (options.directory.empty()) {
    throw Error({.code = ErrorCode::kUsage,
                 .message = "no directory to go on in was named",
                 .detail = "",
                 .hint =
                     "Name it with --into DIR, or use --in-place with cluster.pgdata set in the "
                     "configuration."});
  }
  const std::string directory = absolute_path(options.directory);
  const TargetLock lock = TargetLock::take(directory);
  require_no_other_restore(directory, repo::intent_owner(repository),
                           options.witness.declared_dead);
  settle_untouched(directory);
  const auto require_no_server = [&] {
    cluster::require_no_running_server(directory, "going on with its recovery", options.witness,
                                       stop);
  };
  require_no_server();
  RestoredState state = require_restored(directory);
  require_that_place(state, options, directory);
  require_own_tablespaces(state, directory);
  if (read_marker(directory)) remove_marks(directory);
  {
    // The locks of a server that was started this moment are no stale ones.
    const cluster::StartBarrier barrier(directory);
    require_no_server();
    remove_stale_locks(directory);
  }

  // What is laid needs its backup no more, which may be deleted by now.
  const repo::Lineage lineage =
      state.lineage.empty()
          ? repo::choose_lineage(repository, options.cluster, {.backup = state.backup})
          : repo::require_lineage(repository, options.cluster, state.lineage);
  require_own_wal(repository, lineage, state, directory);
  const bool is_meant = options.new_action == recovery::TargetAction::kPromote;
  if (!state.is_copy && !is_meant && !options.witness.declared_dead)
    require_no_production(options.witness.conninfo, lineage.system_identifier, stop);
  const Owners owners = Owners::of_directory(directory);
  seclude_again(state, options, directory, reporter);
  const bool recovers = lstat_if_exists(join_path(directory, kRecoverySignal)).has_value();
  if (recovers && options.new_action && *options.new_action != state.action)
    change_action(directory, *options.new_action, state, owners, reporter);

  // What was replayed before is not replayed again.
  const pg::ControlFile control = cluster::read_control_file(directory).control;
  if (lstat_if_exists(join_path(directory, "backup_label")) == std::nullopt)
    state.first_segment =
        std::max(state.first_segment, pg::segment_of(control.redo_lsn, control.wal_segment_size));
  // Until the recovery has come to its end its WAL stays, whoever expires.
  const Hold hold{.what = "recovery",
                  .done = "replayed",
                  .backup = "",
                  .timeline = state.timeline,
                  .wal_from = pg::start_lsn(state.first_segment, control.wal_segment_size),
                  .directory = directory};
  const std::unique_ptr<repo::HeldIntent> held =
      hold_off_deletion(hold, repository, lineage.name, clock, reporter);
  std::optional<RecoveryHold> recovery;
  if (held) {
    recovery.emplace(hold, repository, lineage.name, clock, reporter);
    recovery->keep();
    end_recovery_hold(std::exchange(state.claim, recovery->claim()), repository, lineage.name);
    write_state(directory, state, owners.of_cluster());
  }
  reporter.note(recovers ? fmt::format("going on at {} of the recovery to {}",
                                       pg::to_string(control.redo_lsn), state.target)
                         : "the recovery has ended already; what it needed is taken out of the "
                           "configuration");

  ResumeResult result{.directory = directory, .backup = state.backup, .target = state.target};
  StandIns stand_ins;
  if (state.sandbox)
    for (const NewTablespace& created : state.created)
      stand_ins.hold(created.path, owners.of_cluster(),
                     std::ranges::find(state.made_here, created.path) != state.made_here.end());
  Begun begun = begin_recovery(
      {.directory = directory,
       .installation = cluster::find_installation(
           state.major, options.bindir.empty() ? std::nullopt : std::optional(options.bindir)),
       .run_as = owners.server_user(),
       .owners = owners,
       .restore_command = options.restore_command,
       .resume_command = options.resume_command,
       .server_settings = options.server_settings,
       .server_environment = options.server_environment,
       .commit_times = commit_times_of(repository, lineage),
       .find_end = recovers ? end_finder(repository, lineage) : EndFinder(),
       .stand_ins = stand_ins},
      state, clock, reporter, stop);
  result.recovery = begun.recovery;
  if (recovery && begun.recovery.ended_by == recovery::TargetAction::kPromote) recovery->end();
  if (begun.recovery.ended_by == recovery::TargetAction::kPromote &&
      !result.recovery.new_timeline.is_valid())
    result.recovery.new_timeline = newest_timeline(directory);
  result.sandboxed = state.sandbox.has_value();
  result.moved_tablespaces = std::move(begun.moved_tablespaces);
  result.socket_directory = std::move(begun.socket_directory);
  result.port = begun.port;
  return result;
}

}  // namespace holdfast::restore
