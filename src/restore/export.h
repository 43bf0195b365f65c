// export.h: a backup as the tar files that pg_basebackup -Ft makes, for whoever has no Holdfast.
//
//   base.tar      backup_label, tablespace_map, all files of the data directory, the WAL of the
//                 backup in pg_wal, and global/pg_control as its last member
//   <oid>.tar     one for each tablespace, with names relative to its directory
//
// Unpacked into an empty directory a server of the same major starts on it and recovers to the end
// of the backup by itself, without an archive. Tablespaces are made where tablespace_map, a text
// file, says. Left out are recovery.signal and its like; files from outside the data directory
// (Debian's configuration) are named in the result.
//
// Written front to back, each extent verified: memory is one leaf (16 MiB) and one manifest block.
#pragma once

#include <functional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/reporter.h"
#include "base/time.h"
#include "repo/backup.h"

namespace holdfast::restore {

struct ExportOptions {
  std::string backup;     // an id, the beginning of one, or latest
  std::string directory;  // absent or empty; or empty text: everything goes to `out`
  std::function<void(ByteView)> out = {};
  bool with_wal = true;
};

struct ExportResult {
  repo::Backup backup;
  struct File {
    std::string path;  // empty: went to `out`
    uint64_t bytes = 0;
  };
  std::vector<File> files;  // base.tar last
  uint64_t members = 0;
  std::vector<std::string> wal;      // segments that are in it
  std::vector<std::string> outside;  // files of the backup that are not in it
};

// Throws kAlreadyExists for a directory with files, kUnsupported for a backup with tablespaces that
// is to go to `out`, kNotFound when the archive lacks WAL that the backup needs: all before the
// first byte. kCorrupt for damage; what was begun in the directory is removed then.
ExportResult export_backup(const ExportOptions& options, const repo::Repository& repository,
                           const repo::Lineage& lineage, const Clock& clock, Reporter& reporter,
                           std::stop_token stop);

}  // namespace holdfast::restore
