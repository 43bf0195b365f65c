// import_entries.h: what the tars of a base backup hold, collected in any order, and made a
// manifest in its own.
//
// Contents go to packs at once; what stays is an entry for each file, with where its content lies,
// and, where a backup_manifest tells, what it should be. Both are sorted in bounded memory
// (path_sorter.h), and compared as they are merged:
//
//   entries, by path            files of backup_manifest, by path
//         \_____________________________/
//                       |
//   there twice? missing? another size or checksum? a page that is damaged? -> manifest
//
// A directory that no tar names is made up. Forks of unlogged relations are left out, as from every
// backup.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <vector>

#include "backup/copy_window.h"
#include "backup/data_copy.h"
#include "backup/path_sorter.h"
#include "base/mutex.h"
#include "base/reporter.h"
#include "pg/backup_manifest.h"
#include "repo/backup.h"

namespace holdfast::backup {

// What a member of the tar was found to be.
struct ImportedEntry {
  repo::ManifestEntry entry = {};  // but for its owner
  repo::Owner owner = {};
  std::optional<pg::RelationFile> relation = {};
  std::optional<uint32_t> crc32c = {};  // of a file
  bool is_kept = true;                  // false: only compared with backup_manifest
};

class ImportEntries {
 public:
  // Faults that are kept with their place, of all files together; more are only counted.
  static constexpr size_t kMaxAllFaults = 100'000;

  // `directory`: for what does not fit into memory.
  explicit ImportEntries(const std::string& directory);

  // Any thread.
  void add(const ImportedEntry& entry);
  void add_faults(const std::string& path, std::vector<PageFault> faults, uint64_t more);

  // --- one thread, once everything was added

  void add_expected(const pg::BackupManifestFile& file);

  struct MergeOptions {
    bool has_checksums = false;
    // What was found of pages counts.
    bool pages_were_judged = false;
    pg::Lsn start_lsn, stop_lsn;     // pages that say they are from between are whole after replay
    uint32_t directory_mode = 0700;  // of directories that are made up
    repo::Owner directory_owner = {};
    bool has_manifest = false;
    // The bytes of a file that was stored, for checksums that were not made on the way.
    std::function<Bytes(const repo::ManifestEntry& entry, pg::ManifestChecksum algorithm)> digest =
        {};
  };
  // Writes root 0 of the manifest. Throws kCorrupt when a path stands twice, a file lies where a
  // directory should be, or backup_manifest says otherwise.
  DataCopyResult merge(const MergeOptions& options, repo::ManifestWriter& manifest,
                       Reporter& reporter, const std::stop_token& stop);

 private:
  struct Faults {
    std::vector<PageFault> faults;
    uint64_t more = 0;
  };
  class Merge;

  Mutex mutex_;
  PathSorter sorter_ HF_GUARDED_BY(mutex_);
  std::vector<repo::Owner> owners_ HF_GUARDED_BY(mutex_);
  std::map<repo::Owner, uint32_t> owner_index_ HF_GUARDED_BY(mutex_);
  std::set<pg::RelFileLocator> unlogged_ HF_GUARDED_BY(mutex_);
  std::map<std::string, Faults> faults_ HF_GUARDED_BY(mutex_);
  size_t fault_count_ HF_GUARDED_BY(mutex_) = 0;
  PathSorter expected_;
};

}  // namespace holdfast::backup
