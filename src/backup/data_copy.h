// data_copy.h: copies a data directory into a backup that is being made: root 0 of its manifest.
//
// Knows files alone; what must be asked of the server comes through two functions, called by the
// calling thread.
//
// The calling thread walks the directory and writes the manifest; `jobs` workers copy regions
// (copy_window.h). Left out are what pg/backup_exclusions.h leaves out, global/pg_control (whoever
// stops the backup copies it last), files that vanish, and the other forks of a relation that has
// an init fork.
//
// The last rule looks twice: at the names in the directory when it is walked, and at the init fork
// when the copy of another fork is done. A file number that was seen with an init fork belongs to
// an unlogged relation until it is dropped, and if the number is used again after that, WAL after
// the backup's start makes the new relation whole: leaving it out is right in every order of
// events. Without the second look a fork that was listed just before its init fork was made would
// be restored, and the server would find it in its way when it makes it anew at the end of
// recovery.
//
// Sketch: memory is jobs x (1 MiB + an open pack) and the window, whatever the size or the number
// of files.
#pragma once

#include <cstdint>
#include <functional>
#include <stop_token>
#include <vector>

#include "backup/region_copier.h"
#include "base/reporter.h"
#include "cluster/data_directory.h"
#include "repo/backup.h"

namespace holdfast::backup {

inline constexpr size_t kWindowEntries = 4096;
inline constexpr size_t kReportedBlocks = 100;

struct DataCopyOptions {
  SourceFacts source = {};
  int jobs = 2;
  uint64_t bytes_per_second = 0;  // that are read at most; 0: no limit
  size_t window_entries = kWindowEntries;
  // Up to where the server has written WAL: a page with a later LSN is damaged.
  std::function<pg::Lsn()> current_lsn = {};
  // Links that are kept beside the files; called by the thread that walks.
  cluster::TakeLink take_link = {};
  // Called about once a second; throws when the copy is worth nothing any more.
  std::function<void()> check_alive = {};
};

struct DataCopyResult {
  uint64_t files = 0;
  uint64_t bytes = 0;
  uint64_t vanished_files = 0;
  uint64_t damaged_blocks = 0;
  std::vector<repo::DamagedBlock> damaged;  // the first kReportedBlocks
};

// The bytes that there are to copy, by walking the directory once: finds what would be refused
// before anything has begun.
uint64_t measure_data_directory(const std::string& data_directory);

// Throws kPermission and kIo for what cannot be read, kUnsupported for what walk_data_directory
// refuses, kInterrupted, what the two functions throw and what the writer throws.
DataCopyResult copy_data_directory(const DataCopyOptions& options, repo::BackupWriter& writer,
                                   Reporter& reporter, std::stop_token stop);

}  // namespace holdfast::backup
