// disk.h: whether what a restore lays fits onto the file systems that it goes to.
//
// Counted are the files of the backup as the manifest names them; blocks of zeros are laid as holes
// and take nothing, which only the file maps tell. So the maps are read when the sizes alone do not
// fit. A file system that compresses (btrfs, ZFS) may hold more than it says is free: there nobody
// can know.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/reporter.h"
#include "repo/backup.h"
#include "repo/repository.h"

namespace holdfast::restore {

// One file system.
struct DiskNeed {
  std::string path;      // what is laid there: the data directory, or the first tablespace
  uint64_t needed = 0;   // bytes
  uint64_t free = 0;     // now
  uint64_t cleared = 0;  // what clearing the old files gives back
  bool compresses = false;
  bool fits() const { return needed <= free + cleared; }
};

struct DiskPlaces {
  std::string directory;
  // Where a tablespace's files go, by its oid and the recorded path.
  std::function<std::string(const std::string& oid, const std::string& recorded)> tablespace_target;
  bool cleared = false;  // what lies in these places goes first
};

// Reads the manifest once, and the maps where the sizes do not fit. Nothing needs to exist yet.
std::vector<DiskNeed> measure_disk(const DiskPlaces& places, const repo::Repository& repository,
                                   const repo::Backup& backup, Reporter& reporter);

// Throws kNoSpace, naming every file system that is too small; warns where it cannot be known.
void require_disk(const std::vector<DiskNeed>& needs, Reporter& reporter);

}  // namespace holdfast::restore
