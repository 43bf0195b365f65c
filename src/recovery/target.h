// target.h: where a recovery is to end.
//
// The same group of options everywhere: restore, drill and all that comes later.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/time.h"
#include "pg/lsn.h"

namespace holdfast::recovery {

enum class TargetKind : uint8_t {
  kLatest,     // the end of the archived WAL
  kTime,       // the last commit at or before a time (exclusive: before it)
  kLsn,        // the record at an LSN (exclusive: the one before it)
  kXid,        // the commit or abort of a transaction (exclusive: just before it)
  kName,       // a restore point
  kImmediate,  // as soon as the backup is consistent
};

// How far the server of the cluster itself has written.
struct ClusterEnd {
  pg::TimelineId timeline;
  pg::Lsn end;
  std::string whose;  // "the server that conninfo leads to"
  // It runs and writes on, or what it wrote last is lost: `end` is the least.
  bool goes_on = false;
  // This is a dry run, and the run itself archives first what that server has left.
  bool is_saved_first = false;
  // Its own history file: a timeline's number may have been taken twice. nullopt: not known.
  std::optional<Bytes> history = {};
};

struct Target {
  TargetKind kind = TargetKind::kLatest;
  Time time = {};
  pg::Lsn lsn = {};
  uint64_t xid = 0;  // with its epoch, or its lower 32 bits alone (transaction_id.h)
  std::string name = {};
  bool exclusive = false;
  std::optional<pg::TimelineId> timeline = {};  // else the newest that descends from the backup
  std::string backup = {};                      // id, prefix or "latest"; empty: chosen
  // Digests of unfinished segments of the server that is restored in place: of several that part,
  // its own is meant.
  std::vector<Bytes16> own_partials = {};
  // Where the cluster's own server is: whoever leaves its timeline must name the one that is meant.
  std::optional<ClusterEnd> cluster = {};
  // The command that named it, as it was typed, but without the options of the target: a refusal
  // completes it to a command that works.
  std::string command = "holdfast restore";
};
// "the last commit at or before 2026-11-22 09:22:39 CET", for people.
std::string to_string(const Target& target);
// The options that name it, as a shell reads them: "--to-lsn 0/3000060 --exclusive --timeline 2";
// and the whole command.
std::string to_options(const Target& target);
std::string command_for(const Target& target);

enum class TargetAction : uint8_t { kPromote, kPause, kShutdown };
std::string to_string(TargetAction action);  // as recovery_target_action takes it

}  // namespace holdfast::recovery
