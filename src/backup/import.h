// import.h: takes a base backup that was made elsewhere, as tar files, into the repository: from
// then on it is a backup like every other.
//
// Steps: see which files there are, and what they say of themselves where that can be seen at once;
// workers take the members apart (tar_feed.h: check pages, compress, seal, append to packs); the
// WAL that came along goes to the archive; the archived WAL is read from the backup's start to its
// end; the manifest is made, and compared with backup_manifest; commit. Until the commit nothing
// exists.
//
// A backup's time is that of the server's WAL: its id is made from the checkpoint with which it
// began, so it stands among the others where it belongs, whenever it was imported; what it recovers
// from is the last commit in it. Only `started` and `finished` tell of the import.
//
// Sketch: memory per worker 16 MiB, a read buffer of 1 MiB and an open pack; 64 MiB for sorting.
// Room below TMPDIR: for the WAL in the tars, and about 200 bytes for each
// file. It is removed, of an import that was killed by the next one.
#pragma once

#include <chrono>
#include <functional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/reporter.h"
#include "base/time.h"
#include "codec/compression.h"
#include "pg/lsn.h"
#include "repo/backup.h"

namespace holdfast::backup {

struct ImportOptions {
  std::string cluster = "main";
  std::string tar;     // a directory or a file; empty: stdin
  std::string pgdata;  // where the cluster's data directory is; empty: what its last backup says
  int jobs = 2;
  codec::CompressionSetting compression;
  std::string tool_version;
  // How long to wait for the end of an expiry that may be removing WAL which the backup needs.
  std::chrono::seconds expiry_timeout{3600};
  // Archives the WAL files in `directory` from `from` on, and says which were new
  // (archive::take_wal).
  std::function<std::vector<std::string>(const std::string& directory, pg::Lsn from)> archive_wal;
};

struct ImportResult {
  repo::Backup backup;
  std::string place;                        // what was imported
  std::vector<repo::DamagedBlock> damaged;  // the first 100
  std::vector<std::string> archived_wal;    // that came with it and was not archived yet
  std::vector<std::string> not_included;    // files of the configuration that are not in it
  bool was_compared = false;                // with backup_manifest
};

// Throws kUsage for what is no base backup, kWrongCluster, kCorrupt for damage of the tars and
// where they are not what backup_manifest says, kNotFound when WAL is missing, kConflict when the
// archive holds other WAL, kUnsupported for members that no base backup has, kInterrupted. Nothing
// is committed then.
ImportResult import_backup(const ImportOptions& options, const repo::Repository& repository,
                           Reporter& reporter, std::stop_token stop,
                           const Clock& clock = system_clock());

}  // namespace holdfast::backup
