// outside_files.h: what a server needs to start and keeps outside its data directory: root 1 of the
// manifest.
//
// Debian keeps postgresql.conf, pg_hba.conf and pg_ident.conf in /etc; they include others. Who has
// lost the machine has lost them too. A file that this process may not read does not stop the
// backup (the data counts for more), but it is told and listed.
#pragma once

#include <string>
#include <vector>

#include "backup/owners.h"
#include "base/reporter.h"
#include "repo/backup.h"

namespace holdfast::backup {

struct OutsideFiles {
  std::vector<std::string> kept;        // absolute paths, in the manifest's order
  std::vector<std::string> unreadable;  // needed, and not in the backup
};

// Adds those of `paths` to the manifest that lie outside the data directory, each under its
// absolute path. A path inside that is a link to a file outside is kept under the path of that
// file: the walk of the data directory does not follow links.
OutsideFiles keep_outside_files(const std::vector<std::string>& paths,
                                const std::string& data_directory, uint32_t block_bytes,
                                repo::BackupWriter& writer, repo::ExtentWriter& extents,
                                OwnerIndex& owners, Reporter& reporter);

}  // namespace holdfast::backup
