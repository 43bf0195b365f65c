// object_name.h: what an object of a lineage is, by its name: the way back from layout.h.
//
// Deletion decides by it, so what is not exactly a name of ours is kOther, and nobody touches it.
#pragma once

#include <string>
#include <string_view>

#include "pg/wal_file_name.h"
#include "repo/layout.h"

namespace holdfast::repo {

enum class LineageObject : uint8_t {
  kOther,
  kBackup,
  kManifest,
  kManifestCopy,
  kRefs,
  kMark,
  kPack,
  kRedirect,
  kWalSegment,
  kWalPartial,
  kWalPiece,
  kWalBackupHistory,
  kIntent,
  kIntentEnd,
  kDoomed,
  kDoomedEnd,
};

struct ObjectName {
  LineageObject kind = LineageObject::kOther;
  std::string backup_id = {};    // of backups, manifests, refs, marks
  Bytes16 id = {};               // of packs, intents, doomed lists; of a redirect its home pack
  pg::SegmentName segment = {};  // of WAL
};

ObjectName parse_object_name(const LineageName& lineage, pg::WalSegmentSize segment_size,
                             std::string_view name);

}  // namespace holdfast::repo
