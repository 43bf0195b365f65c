// drill_report.h: what a drill found, as it is kept: clusters/<name>/drills/<id>.json.
//
// Normative: docs/design/repository-format.md, "Drills". The evidence that a cluster was brought
// back, in what time and with what loss: everything that a reader of a later year needs to judge it
// stands in it.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "base/time.h"
#include "pg/lsn.h"
#include "repo/repository.h"

namespace holdfast::repo {

// At most so many failures of one check are named; all are counted.
inline constexpr size_t kNamedFailures = 100;

struct DrillCheck {
  // "recovered", "databases", "indexes", "tables", "dump", "sql", "pages"
  std::string name = {};
  std::string state = {};  // "passed", "failed", "not run"
  uint64_t count = 0;
  std::string what = {};  // was looked at: "databases", "pages"
  uint64_t failure_count = 0;
  std::vector<std::string> failures = {};
  std::string note = {};  // a sentence; why it was not run
  Microseconds took{};
};

struct DrillReport {
  std::string id;
  std::string cluster;
  LineageName lineage;
  std::string kind = "sandbox";  // or "destroy": the cluster itself
  std::string tool, host;
  Time started;   // T0, the disaster
  Time finished;  // the last check has ended

  // What was restored.
  std::string target;
  std::string backup;
  Time backup_time;  // when that backup had ended
  int major = 0;
  pg::TimelineId timeline;
  uint64_t segments = 0, files = 0, bytes = 0;
  bool sandboxed = false;

  // T0 to the first successful write, and its parts in order; checks apart.
  bool recovered = false;  // it came to that
  Microseconds recovery_time{};
  Microseconds plan_time{}, lay_time{}, replay_time{}, promote_time{}, write_time{};
  Microseconds check_time{};

  // What was lost: from the end of what was recovered to what the server had flushed at T0.
  std::optional<pg::Lsn> recovered_end;
  std::optional<Time> last_recovered;  // the last transaction that was recovered
  std::optional<pg::Lsn> flushed;      // by the server, at T0
  std::optional<Microseconds> loss_time;
  std::optional<uint64_t> lost_transactions;
  std::optional<uint64_t> lost_bytes;  // of WAL
  std::string loss_note;               // how that is known, or why not

  std::optional<Microseconds> allowed_recovery_time, allowed_loss_time;

  std::vector<DrillCheck> checks;
  bool passed = false;
  std::vector<std::string> missed;  // why not: sentences
  std::string error;                // what ended it early

  // The machine that it ran on.
  std::string processor;
  uint64_t processors = 0, memory_bytes = 0;
  std::string directory, file_system;
  std::string cache;  // a sentence
};

Json to_json(const DrillReport& report);
// Throws kCorrupt.
DrillReport drill_report_from_json(const Json& body);

void put_drill_report(const Repository& repository, const DrillReport& report);
// The newest `limit`, oldest first. Those that cannot be read are told to `unreadable`.
std::vector<DrillReport> read_drill_reports(
    const Repository& repository, const std::string& cluster, size_t limit,
    const std::function<void(const std::string& id, const Error& error)>& unreadable);
// "latest", an id, or a unique prefix of one. Throws kNotFound, and kUsage for a prefix of several.
DrillReport resolve_drill_report(const Repository& repository, const std::string& cluster,
                                 std::string_view text);

}  // namespace holdfast::repo
