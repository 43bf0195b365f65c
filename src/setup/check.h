// check.h: proves archiving from end to end, and names what is wrong when it does not work.
//
// Looks at the server, the repository and what lies between them; then writes a restore point,
// completes its WAL segment, waits for that very segment in the repository and reads it back. What
// is found is a list: each thing that was looked at with its outcome. Nothing short of the segment
// read back counts as proof.
//
// Left behind: one restore point ("holdfast check <time>-<random>"), and one segment completed
// early. Where archiving is known not to work nothing is written at all.
//
// `read_only`, for every minute: nothing is written, no program is run, and what takes time in a
// large repository is left out. What the server says of its archiver counts instead of the proof,
// held against the repository: the file that it archived last must be there.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/reporter.h"
#include "base/time.h"
#include "repo/repository.h"
#include "setup/init.h"

namespace holdfast::setup {

// So many backups, the newest, are looked at.
inline constexpr size_t kBackupsLookedAt = 50;

struct CheckOptions {
  std::string cluster = "main";
  std::string conninfo;
  std::string pgdata;                 // may be empty: the server is asked
  ArchiveCommandFor archive_command;  // the one that init would set
  PlaceOf place_of = {};
  std::string tool_version;
  std::string user;  // who runs this, for the list
  bool read_only = false;
  bool key_is_passphrase = false;            // what opens the repository
  std::chrono::seconds archive_timeout{60};  // how long to wait for the segment
  // What must not be older, where it was asked for: a check that finds it older, or cannot tell,
  // has failed.
  std::optional<Microseconds> max_backup_age = std::nullopt;   // of the newest good backup that
                                                               // leads to the server
  std::optional<Microseconds> max_archive_lag = std::nullopt;  // of what waits to be archived
  std::optional<Microseconds> max_verify_age = std::nullopt;   // of the last verify of everything
  std::optional<Microseconds> max_drill_age = std::nullopt;    // of the last drill that passed
};

// kNote: good to know. kWarning: works, and should be put right. kFailed: archiving cannot work, or
// is not proven. kSkipped: could not be looked at because of what failed before.
enum class CheckOutcome : uint8_t { kOk, kNote, kWarning, kFailed, kSkipped };
std::string_view to_string(CheckOutcome outcome);  // "ok"

struct CheckItem {
  std::string name;  // "archive_command"
  CheckOutcome outcome = CheckOutcome::kOk;
  std::string message;
  std::string detail = {};
  std::string hint = {};
};

// A measure, for those who draw curves: what more than `limit` of was asked to be a failure.
struct CheckFigure {
  std::string name;  // "backup_age"
  double value = 0;
  std::string unit = {};  // "s", "B", or empty for a count
  std::optional<double> limit = std::nullopt;
};

struct CheckResult {
  std::vector<CheckItem> items;
  std::vector<CheckFigure> figures = {};
  bool read_only = false;
  bool proven = false;
  // When proven: the segment that was read back, and how long it took to come.
  std::string segment = {};
  Microseconds took{};
  // Otherwise the item that is the cause: the first that failed.
  const CheckItem* cause() const;
  // Nothing is to be seen to: neither a failure nor a warning.
  bool is_well() const;
};

// `open` opens the repository; what it throws becomes an item. Throws kInterrupted alone (and what
// is a defect of ours).
CheckResult check(const CheckOptions& options, const std::function<repo::Repository()>& open,
                  const Clock& clock, Reporter& reporter, std::stop_token stop);

}  // namespace holdfast::setup
