// destroy.h: the drill on the real cluster: it is taken away, and brought back in its own place.
//
// Only after a drill in the sandbox has passed on the day before. The server's flush position is
// noted, then it is stopped at once; data directory and tablespaces are moved aside, each within
// its directory; then the cluster is restored in place from the repository alone. Nothing is
// salvaged from what was moved aside: what had not been archived is lost, and counted. So what was
// moved aside is removed only when every check has passed and nothing was lost; else it stays, and
// the result says where. When the restore fails the error says how to put it back; where the drill
// was killed, a note beside the data directory (restore/aside.h).
#pragma once

#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/reporter.h"
#include "base/time.h"
#include "drill/sql_statements.h"
#include "repo/drill_report.h"
#include "restore/aside.h"
#include "restore/restore.h"

namespace holdfast::drill {

struct DestroyOptions {
  // cluster, restore_command, jobs and bindir as for a restore in place.
  restore::RestoreOptions restore;
  std::string conninfo;
  std::string pgdata;  // empty: the server is asked
  std::vector<SqlStatement> statements = {};
  bool with_statements = false;
  std::optional<Microseconds> allowed_recovery_time, allowed_loss_time;
  std::string tool_version;
  // Asked last, when all that can be refused was: what is about to be destroyed. Throws to refuse.
  std::function<void(const std::string& data_directory)> confirm;
};

struct DestroyResult {
  repo::DrillReport report;
  std::string data_directory;
  // What was moved aside and is still there, from and to; empty when it was removed.
  restore::Moves aside;
};

// Throws kUsage when no drill passed lately, kServerUnavailable when the server does not run on
// this host, kUnsupported for a layout that cannot be moved aside, kNoSpace; before anything is
// touched. From then on what restore throws, with how to put the cluster back as its hint.
DestroyResult destroy(const DestroyOptions& options, const repo::Repository& repository,
                      const Clock& clock, Reporter& reporter, std::stop_token stop);

}  // namespace holdfast::drill
