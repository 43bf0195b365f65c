// archive_proof.h: one WAL segment on its way from the server into the repository, watched.
//
//   restore point  ->  pg_switch_wal()  ->  archiver  ->  segment in the repository  ->  read back
//
// The restore point's name is new, and the segment's metadata lists restore points: what is read
// back is the record that was written a moment ago, not something of the same name.
//
// While it does not come, three things are asked at each round: the repository, pg_stat_archiver,
// and the server's log (a status above 125 is told by the log alone). Attempts that fail are waited
// out as long as the archiver repeats them (three, a second apart), since a later one may succeed.
//
// Facts: pgarch.c, PostgreSQL 13 to 18.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <stop_token>
#include <string>

#include "base/time.h"
#include "cluster/connection.h"
#include "cluster/server_facts.h"
#include "cluster/server_log.h"
#include "repo/wal_archive.h"

namespace holdfast::setup {

// What waits in pg_wal/archive_status.
struct Backlog {
  uint64_t files = 0;
  std::optional<Time> oldest = {};  // when the oldest began to wait
  std::string first = {};           // the one that the archiver takes next
};
Backlog read_backlog(cluster::Connection& connection);

struct ProofOptions {
  std::chrono::seconds timeout{60};
  std::string restore_point;
  // Where the server logs, and from where on to read; nullopt: not to be read from here.
  std::optional<std::string> log_file = std::nullopt;
};

struct ProofResult {
  enum class End : uint8_t {
    kProven,
    kElsewhere,     // the server says that it archived the segment, and it is not in the repository
    kFails,         // attempts to archive fail
    kArchiverDies,  // a status above 125, or a signal
    kTimeout,
  };
  End end = End::kTimeout;
  std::string segment;
  Microseconds took{};
  uint64_t failed_attempts = 0;   // since it began; also when it was proven in the end
  std::string failing_file = {};  // of the last attempt that failed
  Backlog before, after;
  uint64_t archived = 0;                             // files that the server archived meanwhile
  std::optional<cluster::ArchiverWords> words = {};  // of the last failed attempt, from the log
};

// Throws what the queries throw (kPermission with the GRANTs), kCorrupt when the archived segment
// does not read back or does not hold the restore point, and kInterrupted.
ProofResult prove_archiving(const ProofOptions& options, const cluster::ServerFacts& facts,
                            cluster::Connection& connection, const repo::WalArchive& archive,
                            const Clock& clock, const std::stop_token& stop);

// Reads an archived segment from beginning to end, its SHA-256 with it. Throws kCorrupt. False:
// there is none.
bool read_back(const repo::WalArchive& archive, const pg::WalFileName& file);

}  // namespace holdfast::setup
