// delete.h: takes backups off, and pins those that must stay.
//
// A backup is gone when its commit object is; what it alone used becomes garbage, which expire()
// removes after the grace period. So a deletion is one small removal for each backup, and a crash
// leaves some of them deleted and the others as they were.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "repo/backup.h"
#include "repo/repository.h"
#include "store/remover.h"

namespace holdfast::expire {

struct DeleteOptions {
  std::string cluster = "main";
  std::vector<std::string> ids;  // each an id, the beginning of one, or "latest"
  bool delete_last = false;      // also when no good backup of the cluster would be left
};

struct Deletion {
  struct OneBackup {
    repo::LineageName lineage;
    std::string id;
    // nullopt: its commit object or its references are damaged, and it can only be given up.
    std::optional<repo::Backup> backup;
  };
  std::vector<OneBackup> backups;
  uint64_t freed_objects = 0;  // that nothing else uses
  uint64_t freed_bytes = 0;
  uint64_t freed_wal_segments = 0;  // that no backup left needs
  uint64_t freed_wal_bytes = 0;
  bool leaves_no_good_backup = false;
};

// What deleting would take off; nothing is changed. Throws kNotFound and kUsage (an id of none or
// of several; a pinned backup; the last good one without delete_last) and kBusy (a restore or mount
// uses it: names host and process).
Deletion plan_deletion(const DeleteOptions& options, const repo::Repository& repository);

// Removes the commits, after looking once more whether somebody has begun to use them.
void carry_out(const Deletion& deletion, const repo::Repository& repository,
               store::Remover& remover);

// Puts the mark that protects a backup from deletion, or takes its effect back. Returns the backup.
repo::Backup pin(const std::string& cluster, const std::string& id, bool pinned,
                 const repo::Repository& repository);

}  // namespace holdfast::expire
