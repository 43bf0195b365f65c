// last_files.h: root 2 of the manifest: what is laid behind all other files, because without it no
// server starts from them.
#pragma once

#include <cstdint>

#include "base/bytes.h"
#include "base/time.h"
#include "repo/backup.h"

namespace holdfast::backup {

struct LastFile {
  ByteView content;
  uint32_t mode = 0600;
  Time modified;
};

struct LastFiles {
  LastFile backup_label;
  LastFile control;
  LastFile tablespace_map;  // left out when it is empty
  uint32_t owner = 0;       // as the manifest counts them
};

// Adds backup_label, global/pg_control and tablespace_map, in the manifest's order.
void add_last_files(const LastFiles& files, uint32_t block_bytes, repo::BackupWriter& writer,
                    repo::ExtentWriter& extents);

}  // namespace holdfast::backup
