// wal_get.h: `wal get %f "%p"`: one file from the archive for a server that recovers.
//
// What the server makes of the answer decides whether transactions are lost: taken for "not there"
// it ends recovery, or picks a timeline id for new. So kAbsent is an answer that was proven, and
// everything else is an Error (exit 200, which stops the server):
//
//   repository  repo.json was read, with the expected id
//   lineage     that of the system identifier and segment size in global/pg_control of the server
//   that asks segment     no later segment of its timeline is archived, nor does an archived
//   timeline branch off behind it; or it lies before
//               the place where its timeline began. Otherwise it is a hole (kCorrupt). Wherever
//               something later was found the segment itself is looked for once more: segments
//               arrive in order.
//   history     neither that timeline nor a later one has left anything
//
// A server with standby.signal would be killed by an Error: for it a hole, or a store that cannot
// be reached, is tried for `timeout` and then kAbsent, with a warning. It asks again.
//
// A recovery to a target reads ahead of what it replays (recovery_prefetch, PostgreSQL 15 to 18),
// so the server may ask for a segment that its target does not need. It never takes the end of WAL
// for the target (xlogrecovery.c, "recovery ended before configured recovery target was reached",
// 13 to 18); so behind the segment of `until` a hole, or damage, is kAbsent too, with a warning.
//
// The server asks the archive before it looks into its own pg_wal, and renames what it gets over
// the file that it has there (XLogFileReadAnyTLI, KeepFileRestoredFromArchive, PostgreSQL 13 to
// 18). So a .partial is never served as a segment: `restore` lays the one that its plan ends with
// into pg_wal itself. And of a segment that is archived short the server's own copy counts, where
// that has the same and more; else it is a hole, when something later is archived.
//
// The file is written beside the destination as `<destination>.holdfast`, checked to the last byte,
// and renamed. It is not synced: the server does that when it keeps it.
#pragma once

#include <chrono>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/reporter.h"
#include "base/time.h"
#include "repo/keys.h"
#include "repo/layout.h"
#include "store/store.h"

namespace holdfast::archive {

struct GetOptions {
  std::string file_name;             // %f
  std::string destination;           // %p: absolute, or from the working directory
  std::string data_directory = ".";  // of the server that asks
  std::string cluster;
  std::optional<Bytes16> repository_id = std::nullopt;  // the expected one
  std::chrono::milliseconds timeout = std::chrono::seconds(60);
  // The segment in which the server's recovery target lies; nullopt: it has no target.
  std::optional<std::string> until = std::nullopt;

  // Reading ahead (wal_spool.h): segments at most; 0: none. With `repository_id` what was read
  // ahead is served without the repository.
  int read_ahead = 0;
  std::string spool_directory = {};  // empty: default_spool_directory()
  // The command line that runs run_read_ahead() with the same repository, cluster and directories;
  // empty: nobody is started.
  std::vector<std::string> read_ahead_command = {};
};

// The data directory of whoever asks: a server runs its restore_command there, pg_rewind anywhere,
// with an absolute path in `<data directory>/pg_wal` as destination. Else the configured one;
// empty: none is.
std::string asking_data_directory(const std::string& destination, const std::string& configured);

enum class GetOutcome : uint8_t { kPlaced, kAbsent };

struct GetResult {
  GetOutcome outcome = GetOutcome::kAbsent;
  bool from_spool = false;
};

// `source` is tried again within the timeout: hand in the store itself. Throws whatever is neither
// of the two.
GetResult get(const GetOptions& options, store::Store& source, const repo::KeySource& key,
              Reporter& reporter, std::stop_token stop);

}  // namespace holdfast::archive
