// layout_table.h: every kind of object that a repository holds, as a table: where such objects
// stand, and in which shape.
//
// The only such table. Verify asks here what an object is, deletion what it may take, the tests
// which kinds there are to be damaged and to be swept. layout.h spells the names, this reads them.
// What is not exactly a name of a kind is nobody's, and nobody touches it. A new kind takes a row,
// and does not compile until the `switch`es over ObjectKind in verify and expire know it.
// Normative: docs/design/repository-format.md, "Names".
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "pg/wal_file_name.h"
#include "repo/layout.h"

namespace holdfast::repo {

enum class ObjectKind : uint8_t {
  kRepository,
  kRepositoryCopy,
  kKey,
  kKeyCopy,
  kLineage,
  kLineageCopy,
  kBackup,
  kBackupCopy,
  kManifest,
  kManifestCopy,
  kPack,
  kRefs,
  kRedirect,
  kMark,
  kVerified,
  kWalSegment,
  kWalPartial,
  kWalPiece,
  kBackupHistory,
  kTimelineHistory,
  kHistoryCopy,
  kFurtherSegment,
  kFurtherFile,
  kSetAside,
  kWalIndex,
  kCatalogNames,
  kIntent,
  kIntentEnd,
  kFurtherIntentEnd,
  kDoomed,
  kDoomedEnd,
  kLease,
  kDrill,
  kClusterName,
  kClusterNameCopy,
};

enum class ObjectShape : uint8_t {
  kOpenDocument,  // never sealed
  kDocument,
  kSections,
  kExtents,  // a pack
};

// What may take an object of a kind away.
enum class Removal : uint8_t {
  kNothing,
  kCommand,  // that a person gives: backup delete, repo change-key
  kExpiry,   // once nothing needs it, by way of a list of the doomed
  kItself,   // the lists of the doomed: a grace period after they are carried out
};

struct KindOfObject {
  ObjectKind kind = ObjectKind::kRepository;
  std::string_view noun;  // "pack", for messages
  // Its name. In place of <...>: the part of a name that the reader of the table knows.
  std::string_view place;
  ObjectShape shape = ObjectShape::kDocument;
  Removal removal = Removal::kNothing;
  std::string_view document = {};  // of documents: the word in their first line
  uint32_t code = 0;               // of the others: the kind in their header
};
std::span<const KindOfObject> object_kinds();

// What the object of that name is; nullptr: no version of the format that this program knows has
// one there.
const KindOfObject* kind_of_object(std::string_view name);
const KindOfObject& row_of(ObjectKind kind);

// What the name of an object of one lineage tells.
struct ObjectName {
  ObjectKind kind = ObjectKind::kLineage;
  std::string backup_id = {};  // of backups, manifests, refs, marks; of a verification its record's
  Bytes16 id = {};             // of packs, marks, intents, lists; of a redirect its home pack
  // Of WAL, and of what is beside it; of an index the last; of a history the timeline alone.
  pg::SegmentName segment = {};
  pg::Lsn lsn = {};  // of a catalogue snapshot, whose timeline is in `segment`
};
// nullopt: it is not the name of an object of that lineage.
std::optional<ObjectName> parse_object_name(const LineageName& lineage,
                                            pg::WalSegmentSize segment_size, std::string_view name);

}  // namespace holdfast::repo
