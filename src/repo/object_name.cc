#include "repo/object_name.h"

#include <algorithm>
#include <array>
#include <vector>

namespace holdfast::repo {
namespace {

constexpr std::string_view kJson = ".json";
constexpr size_t kSegmentNameBytes = 24;
constexpr size_t kFolderNameBytes = 16;
constexpr std::string_view kPartialMark = ".partial.";
constexpr std::string_view kPieceMark = ".part";

std::vector<std::string_view> components(std::string_view path) {
  std::vector<std::string_view> parts;
  for (;;) {
    const size_t slash = path.find('/');
    parts.push_back(path.substr(0, slash));
    if (slash == std::string_view::npos) return parts;
    path.remove_prefix(slash + 1);
  }
}

// "<text><suffix>" -> text; nullopt without the suffix.
std::optional<std::string_view> without(std::string_view name, std::string_view suffix) {
  if (!name.ends_with(suffix)) return std::nullopt;
  return name.substr(0, name.size() - suffix.size());
}

// 32 lower-case digits.
std::optional<Bytes16> lower_id(std::string_view text) {
  std::optional<Bytes16> id = parse_hex_array<16>(text);
  if (!id || to_hex(id->view()) != text) return std::nullopt;
  return id;
}

ObjectName of_backup(LineageObject kind, std::string_view id) {
  if (!is_backup_id(id)) return {};
  return {.kind = kind, .backup_id = std::string(id)};
}

ObjectName of_id(LineageObject kind, std::string_view text) {
  std::optional<Bytes16> id = lower_id(text);
  if (!id) return {};
  return {.kind = kind, .id = *id};
}

// <timeline>/<first 16>/<file>, or /<segment>.part/<piece>.
ObjectName of_wal(const std::vector<std::string_view>& parts, pg::WalSegmentSize size) {
  if (parts.size() < 4 || parts.size() > 5) return {};
  const std::string_view file = parts[3];
  if (file.size() < kSegmentNameBytes || parts[2] != file.substr(0, kFolderNameBytes) ||
      parts[1] != file.substr(0, 8))
    return {};
  const pg::WalFileName segment = pg::parse_wal_file_name(file.substr(0, kSegmentNameBytes), size);
  if (segment.kind != pg::WalFileKind::kSegment) return {};
  const std::string_view rest = file.substr(kSegmentNameBytes);
  ObjectName name{.segment = segment.segment};
  if (parts.size() == 5) {
    if (rest == kPieceMark) name.kind = LineageObject::kWalPiece;
  } else if (rest.empty()) {
    name.kind = LineageObject::kWalSegment;
  } else if (rest.starts_with(kPartialMark)) {
    if (lower_id(rest.substr(kPartialMark.size()))) name.kind = LineageObject::kWalPartial;
  } else if (pg::parse_wal_file_name(file, size).kind == pg::WalFileKind::kBackupHistory) {
    name.kind = LineageObject::kWalBackupHistory;
  }
  return name.kind == LineageObject::kOther ? ObjectName{} : name;
}

}  // namespace

ObjectName parse_object_name(const LineageName& lineage, pg::WalSegmentSize segment_size,
                             std::string_view name) {
  const std::string folder = lineage_folder(lineage);
  if (!name.starts_with(folder)) return {};
  const std::vector<std::string_view> parts = components(name.substr(folder.size()));
  const std::string_view top = parts[0];
  if (top == "wal") return of_wal(parts, segment_size);
  if (parts.size() == 2) {
    const std::string_view leaf = parts[1];
    if (top == "manifests") return of_backup(LineageObject::kManifest, leaf);
    if (top == "manifests.copy") return of_backup(LineageObject::kManifestCopy, leaf);
    if (top == "refs") return of_backup(LineageObject::kRefs, leaf);
    if (top == "backups")
      return of_backup(LineageObject::kBackup, without(leaf, kJson).value_or(std::string_view()));
    if (top == "intents" || top == "doomed") {
      const bool is_intent = top == "intents";
      if (std::optional<std::string_view> id =
              without(leaf, is_intent ? ".ended.json" : ".done.json"))
        return of_id(is_intent ? LineageObject::kIntentEnd : LineageObject::kDoomedEnd, *id);
      return of_id(is_intent ? LineageObject::kIntent : LineageObject::kDoomed,
                   without(leaf, kJson).value_or(std::string_view()));
    }
    return {};
  }
  if (parts.size() != 3) return {};
  if (top == "marks") {
    if (!lower_id(without(parts[2], kJson).value_or(std::string_view()))) return {};
    return of_backup(LineageObject::kMark, parts[1]);
  }
  if (top == "packs")
    return parts[2].starts_with(parts[1]) && parts[1].size() == 2
               ? of_id(LineageObject::kPack, parts[2])
               : ObjectName{};
  if (top == "redirects") return of_id(LineageObject::kRedirect, parts[1]);
  return {};
}

}  // namespace holdfast::repo
