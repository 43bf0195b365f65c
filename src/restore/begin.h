// begin.h: starts the server on a restored directory and sees its recovery through: the part that a
// restore with --start and a restore --resume have in common.
#pragma once

#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/reporter.h"
#include "base/time.h"
#include "repo/wal_archive.h"
#include "restore/recover.h"
#include "restore/stand_ins.h"
#include "restore/state.h"

namespace holdfast::restore {

// The end of the archived WAL at this moment, on the timeline of `state`.
using EndFinder = std::function<recovery::ArchiveEnd(const RestoredState& state)>;
EndFinder end_finder(const repo::Repository& repository, const repo::Lineage& lineage);

struct Beginning {
  std::string directory;
  cluster::Installation installation;
  std::optional<std::string> run_as;       // the server's user, as root
  const Owners& owners;                    // of the log, and of what is written
  std::string restore_command;             // needed where the state says only_in_sandbox
  std::string resume_command;              // for the hint of a recovery that ended too early
  cluster::Settings server_settings = {};  // given last on its command line
  std::vector<std::pair<std::string, std::string>> server_environment = {};
  CommitTimes commit_times = {};
  // Of a recovery to the end: the server is given the last record as its target, so that it is not
  // promoted before it. Empty: the recovery has ended already.
  EndFinder find_end = {};
  StandIns& stand_ins;  // held; released when recovery has ended
};

struct Begun {
  Recovery recovery;
  cluster::ServerStart server_start;
  std::vector<std::string> moved_tablespaces;
  std::string socket_directory;
  int port = 0;
};

// Returns when recovery has ended as `state` wants it, with what the restore added to the
// configuration taken out again if it was promoted. Throws as run_recovery() does.
Begun begin_recovery(const Beginning& beginning, const RestoredState& restored, const Clock& clock,
                     Reporter& reporter, const std::stop_token& stop);

// From the segments' metadata. Where that cannot be read it answers nullopt: what is only shown
// must not end a recovery.
CommitTimes commit_times_of(const repo::Repository& repository, const repo::Lineage& lineage);

// The newest history in pg_wal is that of the timeline which a promotion began; pg_control follows
// only with the next checkpoint.
pg::TimelineId newest_timeline(const std::string& data_directory);

}  // namespace holdfast::restore
