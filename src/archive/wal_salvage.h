// wal_salvage.h: into the archive with what an old pg_wal still holds, before it is emptied
// (restore --in-place, `wal salvage DIR`).
//
// The server must have ended; of one that may still write only what it has finished and offered
// (.ready) is taken, for that does not change any more. History files go first, then complete
// segments in order, by the rules of intake.h; the last segment of each timeline, which the crash
// left unfinished, becomes <segment>.partial. Files that the server kept for reuse under future
// names are passed over. What is refused is reported with its reason and left where it is: whoever
// empties the directory moves it aside. Where the archive has another history than the directory,
// nothing behind that is taken on that timeline, not even as .partial: it would stand in the
// archive behind WAL that it does not belong to.
#pragma once

#include <cstdint>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/reporter.h"
#include "base/time.h"
#include "cluster/server_end.h"
#include "pg/lsn.h"
#include "repo/repository.h"

namespace holdfast::archive {

struct SalvageOptions {
  std::string wal_directory;        // the old pg_wal
  std::string data_directory = {};  // empty: the one that holds it, if it is called pg_wal
  std::string cluster;
  std::string host = {};  // empty: this host's name
  codec::CompressionSetting compression = {};
  bool dry_run = false;  // archive nothing, say what would be
  // Why a server may still write there (cluster/server_end.h); nullopt: it has ended.
  std::optional<Error> server_doubt = std::nullopt;
};

// The options for a directory that a user names: a pg_wal, or a data directory with one. Throws
// kNotFound when it is neither.
SalvageOptions salvage_options_for(const std::string& directory,
                                   const cluster::ServerWitness& witness = {},
                                   const std::stop_token& stop = {});

struct SalvageResult {
  struct Refused {
    std::string file;
    std::string reason;  // message and detail
  };
  repo::LineageName lineage;
  std::vector<std::string> pushed;  // names as archived, .partial included
  uint64_t already_archived = 0;
  uint64_t unused = 0;           // recycled or never written
  uint64_t unfinished = 0;       // not looked at: the server may still write them
  std::vector<Refused> refused;  // left behind, and not in the archive
  // Of each timeline the first file to which the archive has another one: from there on they are of
  // two histories.
  struct Conflict {
    pg::SegmentName from;  // of a history: the timeline's beginning
    Error error;
  };
  std::vector<Conflict> conflicts;
  std::vector<Bytes16> partials;  // unfinished segments, by the digests in their names
  // The end of the last record that was found, and its timeline, the newest.
  pg::Lsn readable_end;
  pg::TimelineId readable_timeline;
  bool dry_run = false;
  std::optional<Error> server_doubt = std::nullopt;  // the option
  // How far the WAL in the archive goes now (or would go), on its newest timeline; nullopt when it
  // has none.
  struct Reach {
    pg::TimelineId timeline;
    pg::Lsn end;
    std::optional<Time> last_commit;  // of the last segment in which a transaction ended, if known
    uint64_t missing_segments = 0;  // in gaps before it: no recovery goes across; not of a dry run
  };
  std::optional<Reach> reach;
};

// Throws when the directory or its cluster cannot be identified, and when the store fails: then
// nothing may be emptied.
SalvageResult salvage(const SalvageOptions& options, const repo::Repository& repository,
                      Reporter& reporter, std::stop_token stop,
                      const Clock& clock = system_clock());

}  // namespace holdfast::archive
