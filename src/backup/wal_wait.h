// wal_wait.h: waits until the archive holds the WAL without which a backup cannot be recovered.
//
// The archive itself is asked, not the server: what the server takes for archived may have gone
// elsewhere.
#pragma once

#include <chrono>
#include <functional>
#include <stop_token>
#include <string>

#include "backup/servers_wal.h"
#include "base/reporter.h"
#include "base/time.h"
#include "cluster/server_facts.h"
#include "repo/needed_wal.h"
#include "repo/wal_archive.h"

namespace holdfast::backup {

using repo::NeededWal;

// Until no run of expire can be removing anything of `needed`: one that was under way before the
// caller put its intent on it does not know of that. What is there from then on stays. Throws kBusy
// after `timeout`, kInterrupted.
void wait_for_expiry(const repo::Repository& repository, const repo::Lineage& lineage,
                     const NeededWal& needed, std::chrono::seconds timeout, const Clock& clock,
                     Reporter& reporter, const std::stop_token& stop);

struct WalWait {
  std::chrono::seconds timeout{3600};
  // What pg_stat_archiver says, for a warning every few seconds while the archiver fails, and for
  // the error at the end.
  std::function<cluster::ArchiverStatus()> archiver = {};
  // The primary archives it: the server that was backed up is a standby.
  bool by_primary = false;
  // What the server that was backed up has of it: it must be the same. Not asked when there is none
  // (an imported backup's server is not at hand).
  ServersWal* server = nullptr;
  // Asked once when every segment but the last is there: archives what there is of that one, and
  // says whether its records reach end_lsn.
  std::function<bool(const std::string& segment)> archive_tail = {};
};

// Every segment of `needed`, whole, and from timeline 2 on the timeline's history file. Throws
// kServer, naming the first file that is missing, after `timeout`; kWrongCluster when a segment is
// another cluster's; kConflict at the first file that is another server's; kInterrupted.
void wait_for_wal(const repo::WalArchive& archive, const NeededWal& needed, const WalWait& wait,
                  const Clock& clock, Reporter& reporter, const std::stop_token& stop);

// Before anything is copied: the segment that the backup's start completed is on its way, and what
// the server takes for archived is in this archive. Waits at most a minute (and wait.timeout) for
// it. Nothing is proven, and nothing refused, where the segment was archived before `began`, or the
// archiver only lags behind: the wait at the end decides.
//
// Throws kServer: the server has archived it elsewhere, or fails to archive; kInterrupted.
struct StartSegment {
  pg::SegmentName segment;       // the last before the backup's start
  std::string status_directory;  // the server's pg_wal/archive_status
  Time began;
};
void prove_archiving(const repo::WalArchive& archive, const StartSegment& start, WalWait wait,
                     const Clock& clock, Reporter& reporter, const std::stop_token& stop);

}  // namespace holdfast::backup
