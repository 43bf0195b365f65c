// backup.h: takes an online base backup of a running cluster into the repository.
//
// Steps: look at the server and the repository; start the backup on the server; workers copy
// regions of files (read, check page checksums, compress, seal, append to packs of their own); stop
// the backup; backup_label, tablespace_map and pg_control last; wait until all WAL that the backup
// needs is in the archive; commit. Until the commit nothing exists.
//
// A standby is backed up like a primary, and without it: what the primary has archived is waited
// for, and what it has not, of the segment in which the backup ends, the standby archives itself as
// .partial: on a quiet system that segment would not be complete for hours.
//
// Sketch: per worker 1 MiB read buffer and an open pack; the manifest streams; memory does not grow
// with the cluster. Production's page cache is spared (posix_fadvise).
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/reporter.h"
#include "base/time.h"
#include "codec/compression.h"
#include "recovery/windows.h"
#include "repo/backup.h"

namespace holdfast::backup {

struct BackupOptions {
  std::string cluster = "main";
  std::string conninfo;
  std::string pgdata;  // empty: the server is asked
  int jobs = 2;
  uint64_t bytes_per_second = 0;  // that are read of the cluster at most; 0: no limit
  bool fast_checkpoint = true;
  codec::CompressionSetting compression;
  std::string label;  // ASCII, at most 1000 characters; empty: "holdfast <id>"
  std::string tool_version;
  std::chrono::seconds archive_timeout{3600};  // how long to wait for the last WAL to be archived
  // Archives what a standby's pg_wal has of a segment as .partial, and says up to where its records
  // can be read; nullopt when it has nothing of it (archive::archive_tail).
  std::function<std::optional<pg::Lsn>(const std::string& pg_wal, const std::string& segment)>
      archive_tail = {};
};

struct BackupResult {
  repo::Backup backup;
  std::vector<repo::DamagedBlock> damaged;  // the first 100
  // Configuration files outside the data directory that could not be read and are not in the
  // backup.
  std::vector<std::string> unreadable_files;
  // The stretch without a hole that it leads into, with older backups where there is none between.
  std::optional<recovery::Window> window = {};
};

// Throws kServerUnavailable, kPermission (cannot read the data directory; run as its owner),
// kWrongCluster (server and lineage differ), kServer (wal_level minimal, archive_mode off …, with
// hints), kInterrupted. When WAL does not reach the archive within archive_timeout: kServer, naming
// the first missing segment and the archiver's last failure; nothing is committed.
BackupResult backup(const BackupOptions& options, const repo::Repository& repository,
                    Reporter& reporter, std::stop_token stop);

}  // namespace holdfast::backup
