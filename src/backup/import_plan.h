// import_plan.h: what a base backup from elsewhere says of itself, and whether it can become a
// backup of this lineage. Decides, and reads nothing.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "backup/tar_feed.h"
#include "pg/backup_label.h"
#include "pg/backup_manifest.h"
#include "pg/control_file.h"
#include "pg/tablespace_map.h"
#include "repo/repository.h"

namespace holdfast::backup {

struct ImportPlan {
  pg::BackupLabel label;
  pg::ControlFile control;
  std::vector<pg::TablespaceMapEntry> tablespaces;  // by oid
  std::string tablespace_map;                       // the file; empty when there are none
  bool from_standby = false;
  // Where the backup ended; nullopt: the WAL tells.
  std::optional<pg::Lsn> stop_lsn;
};

// Throws kWrongCluster for a backup of another cluster than the lineage's, kUsage for what is no
// base backup, kUnsupported for one that no server starts from (incremental, over two timelines),
// kCorrupt where it contradicts itself.
ImportPlan plan_import(const ImportParts& parts, const repo::Lineage& lineage,
                       const std::optional<pg::BackupManifest>& manifest);

// Each tablespace has a tar, and each tar a tablespace. Throws kUsage, naming tablespace and path.
void check_tablespace_tars(const std::vector<pg::TablespaceMapEntry>& tablespaces,
                           const ImportFiles& files);

}  // namespace holdfast::backup
