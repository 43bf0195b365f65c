// own_disks.h: what a server that is restored in place had on disks that are not where they were.
//
// A disk that is not mounted leaves an empty directory of another file system in its place: what is
// laid there fills that one, and is hidden when the disk comes back, with the old cluster on it.
// And where pg_wal had a disk of its own, and the data directory's is lost, what waited for the
// archiver is still there, and no link leads to it any more. A backup notes where all of it was.
#pragma once

#include <string>
#include <vector>

#include "base/reporter.h"
#include "repo/backup.h"
#include "restore/tablespaces.h"

namespace holdfast::restore {

struct OwnDisks {
  std::string directory;
  bool holds_files = false;  // of the cluster: then it is where it is meant to be
  bool without_own_wal = false;
  std::vector<TablespaceMove> moves = {};  // what is named there is meant
};
// `last`: the newest backup of the server. Throws kConflict, with the way on.
void require_own_disks(const OwnDisks& disks, const repo::Backup& last, Reporter& reporter);

}  // namespace holdfast::restore
