// drill.h: a recovery rehearsed and measured, with the evidence kept.
//
// The chosen target is restored from the repository alone into a directory of its own, and started
// in a sandbox (restore/seclusion.h), so that a production server beside it notices nothing. Then
// it is checked (checks.h), and what came back is compared with what had been committed (loss.h).
//
//   T0                     the disaster that is played: production's flush position is noted, and
//                          nothing is done to it; no switch of WAL is forced
//   recovery time (RTO)    T0 to the first successful write on the promoted server
//   loss (RPO)             T0 minus the time of the earliest commit not recovered; 0 when there is
//                          none; unknown where it cannot be known
//
// A drill that finds nothing to compare fails. The report is put into the repository, also that of
// a drill which could not be carried out. Whatever way it ends, the sandbox's server is stopped and
// its directory removed, unless it is to be kept.
#pragma once

#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/reporter.h"
#include "base/time.h"
#include "drill/sql_statements.h"
#include "repo/drill_report.h"
#include "restore/restore.h"

namespace holdfast::drill {

struct DrillOptions {
  // cluster, target, restore_command, jobs, bindir and sandbox as for a restore; the place is ours.
  restore::RestoreOptions restore;
  std::string conninfo;   // of production; empty: nobody is asked
  std::string directory;  // below which the sandbox is made; empty: TMPDIR, else /tmp
  std::vector<SqlStatement> statements = {};
  bool with_statements = false;
  std::optional<Microseconds> allowed_recovery_time, allowed_loss_time;
  bool keep = false;
  std::string tool_version;
};

struct DrillResult {
  repo::DrillReport report;
  std::string kept_directory;  // the data directory, when it was kept; its server runs
  std::string connect;         // how to reach it: a connection string
};

// Throws kUsage for an allowed loss with another target than the latest, and what restore throws.
// A drill that ran and missed what it had to reach returns, with report.passed false.
DrillResult drill(const DrillOptions& options, const repo::Repository& repository,
                  const Clock& clock, Reporter& reporter, std::stop_token stop);

}  // namespace holdfast::drill
