// layout_table.h: every kind of object that a repository holds, as a table: where such objects
// stand, and in which shape.
//
// Who goes through a whole repository (verify) asks here what an object is; the tests take from
// here which kinds there are to be damaged. layout.h spells the names, this reads them. Normative:
// docs/design/repository-format.md, "Names".
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace holdfast::repo {

enum class ObjectKind : uint8_t {
  kRepository,
  kKey,
  kKeyCopy,
  kLineage,
  kBackup,
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
  kWalIndex,
  kCatalogNames,
  kIntent,
  kIntentEnd,
  kDoomed,
  kDoomedEnd,
  kLease,
  kDrill,
};

enum class ObjectShape : uint8_t {
  kOpenDocument,  // never sealed
  kDocument,
  kSections,
  kExtents,  // a pack
};

struct KindOfObject {
  ObjectKind kind = ObjectKind::kRepository;
  std::string_view noun;  // "pack", for messages
  // Its name. In place of <...>: the part of a name that the reader of the table knows.
  std::string_view place;
  ObjectShape shape = ObjectShape::kDocument;
  std::string_view document = {};  // of documents: the word in their first line
  uint32_t code = 0;               // of the others: the kind in their header
};
std::span<const KindOfObject> object_kinds();

// What the object of that name is; nullptr: no version of the format that this program knows has
// one there.
const KindOfObject* kind_of_object(std::string_view name);

}  // namespace holdfast::repo
