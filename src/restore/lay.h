// lay.h: writes the files of a backup into a data directory, several at a time, each extent
// verified on its way.
//
// Workers take one leaf (16 MiB) of a file after the other from the manifest's stream, in file
// order, each with a reader of its own. Directories and links are made as the manifest names them,
// so a directory is there before what it holds. Blocks that the backup does not store are holes.
//
// What decides whether a server starts is not laid but handed back: pg_control, backup_label,
// tablespace_map, and the files from outside the data directory.
//
// In a delta what the directory holds already is compared by content, block by block or by the
// digest of a whole extent; times and sizes prove nothing. What differs is written in place, what
// the manifest does not name is removed, owner and mode are put right. A file that has other names
// (hard links) is not written into: it is laid anew.
//
// Sketch: bound by the disk's writes and the decompression; per worker one leaf's map and one
// extent (2 MiB), plus one manifest block.
#pragma once

#include <functional>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <vector>

#include "base/reporter.h"
#include "repo/manifest.h"
#include "repo/repository.h"
#include "restore/owners.h"

namespace holdfast::restore {

struct LayOptions {
  std::string directory;  // exists, empty but for what a restore in place keeps
  // Where the link of a tablespace is to point, by the oid that its name is, and the recorded
  // target.
  std::function<std::string(const std::string& oid, const std::string& target)> tablespace_target;
  int jobs = 2;
  uint64_t bytes_per_second = 0;  // that are laid at most; 0: no limit
  // Keep what is there already and equal. `tablespace_directory`: the name of this major's
  // directory in a tablespace; what else lies there is not the cluster's. `keep`: paths below the
  // data directory that are not looked at.
  bool delta = false;
  std::string tablespace_directory = {};
  std::set<std::string> keep = {};
  // Files that are not laid: paths below the data directory.
  std::set<std::string> left = {};
};

// A small file with its bytes.
struct HeldFile {
  repo::ManifestEntry entry;
  Bytes content;
};

struct Laid {
  uint64_t files = 0;
  uint64_t bytes = 0;
  // Of a delta: files in which nothing was to be changed, bytes of files that were there and equal,
  // and names that were removed.
  uint64_t files_kept = 0;
  uint64_t bytes_kept = 0;
  uint64_t removed = 0;
  std::vector<HeldFile> outside;  // from outside the data directory
  std::vector<HeldFile> last;     // to be laid last: pg_control among them
};

// Whether a file of the data directory is no part of what is laid: the signals of a recovery, and
// what a running server leaves.
bool is_left_out(const std::string& path);

// Durable when it returns, but for what is handed back. Throws kCorrupt for a damaged extent,
// naming the file in its context; kAlreadyExists when a file is there already, unless it is a
// delta. Files of the signals
// (recovery.signal, standby.signal) are left out.
Laid lay_files(const LayOptions& options, const repo::Repository& repository,
               const repo::Backup& backup, repo::ManifestReader& manifest, const Owners& owners,
               Reporter& reporter, const std::stop_token& stop);

// What a restore reads before it lays anything: the small files of the manifest that `wanted`
// names.
std::vector<HeldFile> read_small_files(
    const repo::Repository& repository, const repo::Backup& backup, repo::ManifestReader& manifest,
    const std::function<bool(const repo::ManifestEntry&)>& wanted);

// Makes what was written to the file system of `path` durable.
void sync_file_system(const std::string& path);

}  // namespace holdfast::restore
