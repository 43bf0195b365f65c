#include "repo/layout_table.h"

#include <algorithm>
#include <array>
#include <charconv>

#include <fmt/core.h>

#include "base/error.h"
#include "repo/format.h"

namespace holdfast::repo {
namespace {

using enum ObjectKind;
using enum ObjectShape;
using enum Removal;

constexpr KindOfObject open_document(ObjectKind kind, std::string_view noun, std::string_view place,
                                     Removal removal, std::string_view word) {
  return {kind, noun, place, kOpenDocument, removal, word, 0};
}
constexpr KindOfObject document(ObjectKind kind, std::string_view noun, std::string_view place,
                                Removal removal, std::string_view word) {
  return {kind, noun, place, kDocument, removal, word, 0};
}
constexpr KindOfObject sections(ObjectKind kind, std::string_view noun, std::string_view place,
                                Removal removal, uint32_t code) {
  return {kind, noun, place, kSections, removal, {}, code};
}
constexpr KindOfObject pack(ObjectKind kind, std::string_view noun, std::string_view place,
                            Removal removal, uint32_t code) {
  return {kind, noun, place, kExtents, removal, {}, code};
}

#define HF_CLUSTER "clusters/<cluster>/"
#define HF_LINEAGE HF_CLUSTER "<lineage>/"
// In the order of ObjectKind.
constexpr std::array kTable = {
    open_document(kRepository, "repository document", "repo.json", kNothing, "repository"),
    open_document(kRepositoryCopy, "copy of the repository document", "repo.copy.json", kNothing,
                  "repository"),
    open_document(kKey, "key object", "keys/<id>.json", kCommand, "key"),
    open_document(kKeyCopy, "copy of a key object", "keys.copy/<id>.json", kCommand, "key"),
    document(kLineage, "lineage document", HF_LINEAGE "lineage.json", kNothing, "lineage"),
    document(kLineageCopy, "copy of a lineage document", HF_LINEAGE "lineage.copy.json", kNothing,
             "lineage"),
    document(kBackup, "commit object", HF_LINEAGE "backups/<backup>.json", kCommand, "backup"),
    document(kBackupCopy, "copy of a commit object", HF_LINEAGE "backups.copy/<backup>.json",
             kCommand, "backup"),
    sections(kManifest, "manifest", HF_LINEAGE "manifests/<backup>", kExpiry, kManifestKind),
    sections(kManifestCopy, "copy of a manifest", HF_LINEAGE "manifests.copy/<backup>", kExpiry,
             kManifestKind),
    pack(kPack, "pack", HF_LINEAGE "packs/<xx>/<id>", kExpiry, kPackKind),
    sections(kRefs, "list of references", HF_LINEAGE "refs/<backup>", kExpiry, kRefsKind),
    sections(kRedirect, "redirect", HF_LINEAGE "redirects/<id>/<redirect>", kExpiry,
             object_kind("RDIR")),
    document(kMark, "mark", HF_LINEAGE "marks/<backup>/<id>.json", kExpiry, "mark"),
    sections(kVerified, "record of a verification", HF_LINEAGE "verified/<backup>", kExpiry,
             kVerifiedKind),
    sections(kWalSegment, "WAL segment", HF_LINEAGE "wal/<timeline>/<folder>/<segment>", kExpiry,
             kWalSegmentKind),
    sections(kWalPartial, "partial WAL segment",
             HF_LINEAGE "wal/<timeline>/<folder>/<segment>.partial.<id>", kExpiry, kWalSegmentKind),
    sections(kWalPiece, "piece of a WAL segment",
             HF_LINEAGE "wal/<timeline>/<folder>/<segment>.part/<offset>-<offset>.<id>", kExpiry,
             kWalSegmentKind),
    sections(kBackupHistory, "backup history file",
             HF_LINEAGE "wal/<timeline>/<folder>/<segment>.<offset>.backup", kExpiry, kWalFileKind),
    sections(kTimelineHistory, "timeline history file", HF_LINEAGE "wal/<timeline>.history",
             kExpiry, kWalFileKind),
    sections(kHistoryCopy, "copy of a timeline history file",
             HF_LINEAGE "histories.copy/<timeline>/<number>", kExpiry, kWalFileKind),
    sections(kFurtherSegment, "further content of a WAL segment",
             HF_LINEAGE "amended/<timeline>/<segment>/<number>", kExpiry, kWalSegmentKind),
    sections(kFurtherFile, "further content of a WAL file",
             HF_LINEAGE "amended/<timeline>/<small>/<number>", kExpiry, kWalFileKind),
    document(kSetAside, "mark of a WAL file", HF_LINEAGE "amended/<timeline>/<file>/<id>.json",
             kExpiry, "set-aside"),
    sections(kWalIndex, "WAL index",
             HF_LINEAGE "index/<timeline>/<segment>-<segment>.<number>.<xxxxxxxx>", kExpiry,
             object_kind("WIDX")),
    sections(kCatalogNames, "catalogue snapshot", HF_LINEAGE "names/<timeline>/<lsn>.<xxxxxxxx>",
             kExpiry, object_kind("NAME")),
    document(kIntent, "intent", HF_LINEAGE "intents/<id>.json", kExpiry, "intent"),
    document(kIntentEnd, "end of an intent", HF_LINEAGE "intents/<id>.ended.json", kExpiry,
             "intent"),
    document(kFurtherIntentEnd, "further end of an intent",
             HF_LINEAGE "intents/<id>.ended.<xxxxxxxx>.json", kExpiry, "intent"),
    document(kDoomed, "list of the doomed", HF_LINEAGE "doomed/<id>.json", kItself, "doomed"),
    document(kDoomedEnd, "end of a list of the doomed", HF_LINEAGE "doomed/<id>.done.json", kItself,
             "doomed"),
    document(kLease, "lease", HF_CLUSTER "leases/<word>/<number>.json", kNothing, "lease"),
    document(kDrill, "drill", HF_CLUSTER "drills/<word>.json", kNothing, "drill"),
    document(kClusterName, "name of a cluster", HF_CLUSTER "names/<number>.json", kCommand,
             "cluster-name"),
    document(kClusterNameCopy, "copy of a name of a cluster",
             HF_CLUSTER "names.copy/<name>/<number>.json", kCommand, "cluster-name"),
};
#undef HF_CLUSTER
#undef HF_LINEAGE

constexpr bool each_row_stands_at_its_kind() {
  for (size_t i = 0; i < kTable.size(); ++i)
    if (kTable[i].kind != static_cast<ObjectKind>(i)) return false;
  return true;
}
static_assert(each_row_stands_at_its_kind());

constexpr std::string_view kUpperHex = "0123456789ABCDEF";
constexpr std::string_view kLowerHex = "0123456789abcdef";
constexpr std::string_view kDigits = "0123456789";
constexpr std::string_view kWordCharacters =
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";

// Of "0123456789ABCDEF", ".partial", ".backup" and ".history".
constexpr std::string_view kFileCharacters = "0123456789ABCDEF.abchikloprstuy";

// What may stand in the place of a part in <>: so many characters of these, 0 for any number.
struct Part {
  std::string_view name;
  size_t length = 0;
  std::string_view characters;
};
constexpr std::array kParts = {
    Part{"id", 32, kLowerHex},         Part{"xx", 2, kLowerHex},
    Part{"xxxxxxxx", 8, kLowerHex},    Part{"timeline", 8, kUpperHex},
    Part{"folder", 16, kUpperHex},     Part{"segment", 24, kUpperHex},
    Part{"offset", 8, kUpperHex},      Part{"lsn", 16, kUpperHex},
    Part{"redirect", 32, kLowerHex},   Part{"number", 0, kDigits},
    Part{"word", 0, kWordCharacters},  Part{"cluster", 0, kWordCharacters},
    Part{"lineage", 0, "0123456789-"}, Part{"backup", 23, "0123456789abcdefTZ-"},
    Part{"file", 0, kFileCharacters},  Part{"small", 0, kFileCharacters},
    Part{"name", 0, kWordCharacters},
};

// The parts of a name by their places in kParts; of several of one kind the last.
using Values = std::array<std::string_view, kParts.size()>;

size_t place_of(std::string_view part) {
  const Part* found = std::ranges::find(kParts, part, &Part::name);
  HF_CHECK(found != kParts.end());
  return static_cast<size_t>(found - kParts.begin());
}

// What the folders above a part have promised of it.
bool fits_folders(std::string_view part, std::string_view value, const Values& before) {
  if (part == "id") return value.starts_with(before[place_of("xx")]);
  if (part == "folder") return value.starts_with(before[place_of("timeline")]);
  if (part == "file" || part == "small") return value.starts_with(before[place_of("timeline")]);
  if (part == "segment")
    return value.starts_with(before[place_of("timeline")]) &&
           value.starts_with(before[place_of("folder")]);
  return true;
}

// Of a cluster with any segments: the smallest have every name, the largest every offset.
bool is_file_name(std::string_view text, bool is_small) {
  constexpr size_t kSegmentDigits = 24;
  std::string name(text);
  if (text.size() > kSegmentDigits && text.ends_with(".backup"))
    name.replace(kSegmentDigits + 1, 3, "000");
  const pg::WalFileKind kind =
      pg::parse_wal_file_name(name, pg::WalSegmentSize(uint64_t{1} << 20)).kind;
  if (kind == pg::WalFileKind::kHistory || kind == pg::WalFileKind::kBackupHistory) return true;
  return !is_small && kind != pg::WalFileKind::kOther;
}

// What stands behind the part that `text` begins with; nullopt: it does not begin with one.
std::optional<std::string_view> take_part(std::string_view name, std::string_view text,
                                          Values& values) {
  const size_t place = place_of(name);
  const Part& part = kParts[place];
  size_t length = std::min(text.find_first_not_of(part.characters), text.size());
  if (part.length > 0 && length < part.length) return std::nullopt;
  if (part.length > 0) length = part.length;
  if (length == 0) return std::nullopt;
  const std::string_view value = text.substr(0, length);
  const bool is_one = name == "cluster"   ? is_cluster_name(value)
                      : name == "name"    ? is_cluster_name(value)
                      : name == "lineage" ? parse_lineage_name("", value).has_value()
                      : name == "backup"  ? is_backup_id(value)
                      : name == "file"    ? is_file_name(value, false)
                      : name == "small"   ? is_file_name(value, true)
                                          : true;
  if (!is_one || !fits_folders(name, value, values)) return std::nullopt;
  values[place] = value;
  return text.substr(length);
}

// No part of variable length is followed by a character that it may hold.
std::optional<Values> match(std::string_view place, std::string_view text) {
  Values values;
  while (!place.empty()) {
    if (place.front() != '<') {
      if (text.empty() || text.front() != place.front()) return std::nullopt;
      place.remove_prefix(1);
      text.remove_prefix(1);
      continue;
    }
    const size_t close = place.find('>');
    const std::optional<std::string_view> rest =
        take_part(place.substr(1, close - 1), text, values);
    if (!rest) return std::nullopt;
    text = *rest;
    place.remove_prefix(close + 1);
  }
  if (!text.empty()) return std::nullopt;
  return values;
}

// REQUIRES: up to 16 upper-case digits.
uint64_t parse_upper_hex(std::string_view digits) {
  uint64_t value = 0;
  const std::from_chars_result read =
      std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
  HF_CHECK(read.ec == std::errc{});
  return value;
}

struct Found {
  const KindOfObject* row;
  Values values;
};
std::optional<Found> find(std::string_view name) {
  for (const KindOfObject& row : kTable)
    if (const std::optional<Values> values = match(row.place, name)) return Found{&row, *values};
  return std::nullopt;
}

}  // namespace

std::span<const KindOfObject> object_kinds() { return kTable; }

const KindOfObject* kind_of_object(std::string_view name) {
  const std::optional<Found> found = find(name);
  return found ? found->row : nullptr;
}

const KindOfObject& row_of(ObjectKind kind) { return kTable.at(static_cast<size_t>(kind)); }

std::optional<ObjectName> parse_object_name(const LineageName& lineage, pg::WalSegmentSize size,
                                            std::string_view name) {
  if (!name.starts_with(lineage_folder(lineage))) return std::nullopt;
  const std::optional<Found> found = find(name);
  if (!found) return std::nullopt;
  auto part = [&](std::string_view which) { return found->values[place_of(which)]; };
  ObjectName parsed{.kind = found->row->kind, .backup_id = std::string(part("backup"))};
  if (const std::string_view id = part("id"); !id.empty()) parsed.id = *parse_hex_array<16>(id);
  if (const std::string_view lsn = part("lsn"); !lsn.empty())
    parsed.lsn = pg::Lsn{parse_upper_hex(lsn)};
  if (const std::string_view timeline = part("timeline"); !timeline.empty()) {
    parsed.segment.timeline = pg::TimelineId{static_cast<uint32_t>(parse_upper_hex(timeline))};
    if (!parsed.segment.timeline.is_valid()) return std::nullopt;
  }
  // A name that no server of this segment size gives is not one.
  if (const std::string_view segment = part("segment"); !segment.empty()) {
    std::string file(segment);
    if (parsed.kind == kBackupHistory) file += fmt::format(".{}.backup", part("offset"));
    const pg::WalFileName wal = pg::parse_wal_file_name(file, size);
    if (wal.kind == pg::WalFileKind::kOther) return std::nullopt;
    parsed.segment = wal.segment;
  }
  for (const std::string_view file : {part("file"), part("small")}) {
    if (file.empty()) continue;
    const pg::WalFileName wal = pg::parse_wal_file_name(file, size);
    if (wal.kind == pg::WalFileKind::kOther) return std::nullopt;
    parsed.segment = wal.segment;
  }
  return parsed;
}

}  // namespace holdfast::repo
