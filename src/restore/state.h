// state.h: what a restore leaves in the data directory for whoever goes on with its recovery.
//
// holdfast_restore.json is written before pg_control, so every directory on which a server can be
// started has it, until the recovery is finished. With it "restore --resume" starts the server as
// the restore did, without the repository's help.
//
//   { "schema": "holdfast.restored.v1", "cluster": "main", "in_place": false, "backup": ...,
//     "command_line": [["port", "5432"], ...], "sandbox": {...}, ... }
//
// restore_command is not in it: it is the caller's, and may name another place of the repository.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "cluster/sandbox.h"
#include "cluster/server_process.h"
#include "recovery/plan.h"
#include "restore/owners.h"
#include "restore/seclusion.h"

namespace holdfast::restore {

inline constexpr const char* kStateName = "holdfast_restore.json";

struct RestoredState {
  // Which directory this is (identity_of_directory), and where it was; in a copy of it those of the
  // original.
  std::string directory = {};
  std::string place = {};
  std::string cluster;
  std::string lineage = {};  // "15-1"
  bool is_copy = true;
  std::string backup;  // its id; it may be deleted since
  int major = 0;
  uint32_t wal_segment_bytes = 0;
  std::string target;  // as a sentence part
  recovery::TargetAction action = recovery::TargetAction::kPromote;
  pg::TimelineId timeline;
  int port = 0;                                  // as it was asked for
  std::optional<bool> archive;                   // the same
  uint64_t first_segment = 0, last_segment = 0;  // that are replayed
  std::string target_segment;                    // as recovery::target_segment() names it
  // To the end of the archived WAL: the last record that must be replayed; invalid for every other
  // target. Whether it lies in an unfinished segment that was laid.
  pg::Lsn end_record;
  // What was archived under the name of the last of those segments, when it was planned.
  std::optional<repo::OwnWal> last_wal = {};
  bool ends_in_tail = false;
  // On its command line: the server's own at the backup, then ours, which win.
  cluster::Settings servers_own = {};
  cluster::Settings command_line;
  bool only_in_sandbox = false;
  std::optional<cluster::Sandbox> sandbox;  // without the program
  std::vector<NewTablespace> created;
  std::vector<std::string> made_here;  // directories of the host, made for the WAL's tablespaces
  // Of production, as the backup has them: its data directory and tablespaces.
  std::vector<std::string> production = {};
  std::string claim = {};  // the intent that keeps its WAL, as RecoveryHold names it

  // Of one backup, to one target, in one way: laid by the same command.
  bool is_same_restore(const RestoredState& other) const;
};
Json to_json(const RestoredState& state);
RestoredState restored_state_from_json(const Json& json);  // throws kCorrupt

// As that of this directory. Paths in it are written as the way from there ("./holdfast_socket").
void write_state(const std::string& directory, RestoredState state,
                 const std::optional<OwnerIds>& owner);
// With the paths that are in the directory where it lies now. nullopt: there is none. In a copy of
// a directory ("cp -a") it has no claim: that is the original's, whose WAL it keeps.
std::optional<RestoredState> read_state(const std::string& directory);
void remove_state(const std::string& directory);  // nothing to remove is fine

// Whether a server was ever started on it: postmaster.opts is written at each start and stays.
bool was_started(const std::string& directory);
// Laid to its end, and no server was started on it.
bool is_laid_and_unused(const std::string& directory);

}  // namespace holdfast::restore
