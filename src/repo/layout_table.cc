#include "repo/layout_table.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "repo/format.h"
#include "repo/layout.h"

namespace holdfast::repo {
namespace {

using enum ObjectKind;
using enum ObjectShape;

#define HF_LINEAGE "clusters/<cluster>/<lineage>/"
constexpr std::array kTable = {
    KindOfObject{kRepository, "repository document", "repo.json", kOpenDocument, "repository"},
    KindOfObject{kKey, "key object", "keys/<id>.json", kOpenDocument, "key"},
    KindOfObject{kKeyCopy, "copy of a key object", "keys.copy/<id>.json", kOpenDocument, "key"},
    KindOfObject{kLineage, "lineage document", HF_LINEAGE "lineage.json", kDocument, "lineage"},
    KindOfObject{kBackup, "commit object", HF_LINEAGE "backups/<backup>.json", kDocument, "backup"},
    KindOfObject{
        kManifest, "manifest", HF_LINEAGE "manifests/<backup>", kSections, {}, kManifestKind},
    KindOfObject{kManifestCopy,
                 "copy of a manifest",
                 HF_LINEAGE "manifests.copy/<backup>",
                 kSections,
                 {},
                 kManifestKind},
    KindOfObject{kPack, "pack", HF_LINEAGE "packs/<xx>/<id>", kExtents, {}, kPackKind},
    KindOfObject{kRefs, "list of references", HF_LINEAGE "refs/<backup>", kSections, {}, kRefsKind},
    KindOfObject{kRedirect,
                 "redirect",
                 HF_LINEAGE "redirects/<id>/<id>",
                 kSections,
                 {},
                 object_kind("RDIR")},
    KindOfObject{kMark, "mark", HF_LINEAGE "marks/<backup>/<id>.json", kDocument, "mark"},
    KindOfObject{kVerified,
                 "record of a verification",
                 HF_LINEAGE "verified/<backup>",
                 kSections,
                 {},
                 kVerifiedKind},
    KindOfObject{kWalSegment,
                 "WAL segment",
                 HF_LINEAGE "wal/<timeline>/<folder>/<segment>",
                 kSections,
                 {},
                 kWalSegmentKind},
    KindOfObject{kWalPartial,
                 "partial WAL segment",
                 HF_LINEAGE "wal/<timeline>/<folder>/<segment>.partial.<id>",
                 kSections,
                 {},
                 kWalSegmentKind},
    KindOfObject{kWalPiece,
                 "piece of a WAL segment",
                 HF_LINEAGE "wal/<timeline>/<folder>/<segment>.part/<offset>-<offset>.<id>",
                 kSections,
                 {},
                 kWalSegmentKind},
    KindOfObject{kBackupHistory,
                 "backup history file",
                 HF_LINEAGE "wal/<timeline>/<folder>/<segment>.<offset>.backup",
                 kSections,
                 {},
                 kWalFileKind},
    KindOfObject{kTimelineHistory,
                 "timeline history file",
                 HF_LINEAGE "wal/<timeline>.history",
                 kSections,
                 {},
                 kWalFileKind},
    KindOfObject{kWalIndex,
                 "WAL index",
                 HF_LINEAGE "index/<timeline>/<hex>-<hex>.<number>.<xxxxxxxx>",
                 kSections,
                 {},
                 object_kind("WIDX")},
    KindOfObject{kCatalogNames,
                 "catalogue snapshot",
                 HF_LINEAGE "names/<timeline>/<hex>.<xxxxxxxx>",
                 kSections,
                 {},
                 object_kind("NAME")},
    KindOfObject{kIntent, "intent", HF_LINEAGE "intents/<id>.json", kDocument, "intent"},
    KindOfObject{kIntentEnd, "end of an intent", HF_LINEAGE "intents/<id>.ended.json", kDocument,
                 "intent"},
    KindOfObject{kDoomed, "list of the doomed", HF_LINEAGE "doomed/<id>.json", kDocument, "doomed"},
    KindOfObject{kDoomedEnd, "end of a list of the doomed", HF_LINEAGE "doomed/<id>.done.json",
                 kDocument, "doomed"},
    KindOfObject{kLease, "lease", "clusters/<cluster>/leases/<word>/<number>.json", kDocument,
                 "lease"},
    KindOfObject{kDrill, "drill", "clusters/<cluster>/drills/<word>.json", kDocument, "drill"},
};
#undef HF_LINEAGE

constexpr std::string_view kUpperHex = "0123456789ABCDEF";
constexpr std::string_view kLowerHex = "0123456789abcdef";
constexpr std::string_view kDigits = "0123456789";
constexpr std::string_view kWordCharacters =
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";

// What may stand in the place of a part in <>: so many characters of these, 0 for any number.
struct Part {
  std::string_view name;
  size_t length = 0;
  std::string_view characters;
};
constexpr std::array kParts = {
    Part{"id", 32, kLowerHex},
    Part{"xx", 2, kLowerHex},
    Part{"xxxxxxxx", 8, kLowerHex},
    Part{"timeline", 8, kUpperHex},
    Part{"folder", 16, kUpperHex},
    Part{"segment", 24, kUpperHex},
    Part{"offset", 8, kUpperHex},
    Part{"hex", 0, kUpperHex},
    Part{"number", 0, kDigits},
    Part{"word", 0, kWordCharacters},
    Part{"cluster", 0, kWordCharacters},
    Part{"lineage", 0, "0123456789-"},
    Part{"backup", 23, "0123456789abcdefTZ-"},
};

// What stands behind the part that `text` begins with; nullopt: it does not begin with one.
std::optional<std::string_view> skip_part(std::string_view name, std::string_view text) {
  const Part* part = std::ranges::find(kParts, name, &Part::name);
  HF_CHECK(part != kParts.end());
  size_t length = std::min(text.find_first_not_of(part->characters), text.size());
  if (part->length > 0 && length < part->length) return std::nullopt;
  if (part->length > 0) length = part->length;
  if (length == 0) return std::nullopt;
  const std::string_view value = text.substr(0, length);
  const bool is_one = name == "cluster"   ? is_cluster_name(value)
                      : name == "lineage" ? parse_lineage_name("", value).has_value()
                      : name == "backup"  ? is_backup_id(value)
                                          : true;
  if (!is_one) return std::nullopt;
  return text.substr(length);
}

// No part of variable length is followed by a character that it may hold, but for <hex>-.
bool matches(std::string_view place, std::string_view text) {
  while (!place.empty()) {
    if (place.front() != '<') {
      if (text.empty() || text.front() != place.front()) return false;
      place.remove_prefix(1);
      text.remove_prefix(1);
      continue;
    }
    const size_t close = place.find('>');
    const std::optional<std::string_view> rest = skip_part(place.substr(1, close - 1), text);
    if (!rest) return false;
    text = *rest;
    place.remove_prefix(close + 1);
  }
  return text.empty();
}

}  // namespace

std::span<const KindOfObject> object_kinds() { return kTable; }

const KindOfObject* kind_of_object(std::string_view name) {
  const auto* found = std::ranges::find_if(
      kTable, [&](const KindOfObject& kind) { return matches(kind.place, name); });
  return found == kTable.end() ? nullptr : found;
}

}  // namespace holdfast::repo
