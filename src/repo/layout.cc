#include "repo/layout.h"

#include <algorithm>
#include <charconv>

#include <fmt/core.h>

#include "base/error.h"

namespace holdfast::repo {
namespace {

constexpr size_t kMaxClusterNameBytes = 63;
constexpr std::string_view kHexDigits = "0123456789abcdef";
constexpr size_t kTimelineDigits = 8;
constexpr std::string_view kHistorySuffix = ".history";
constexpr std::string_view kWal = "/wal/";
constexpr std::string_view kAmended = "/amended/";
constexpr std::string_view kHistoryCopies = "/histories.copy/";

bool is_name_character(char c, bool first) {
  if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')) return true;
  return !first && (c == '_' || c == '-');
}

// A decimal number without sign and leading zeros, from 1 on.
std::optional<int> parse_count(std::string_view text) {
  if (text.empty() || text.front() < '1' || text.front() > '9') return std::nullopt;
  int value = 0;
  const char* end = text.data() + text.size();
  std::from_chars_result read = std::from_chars(text.data(), end, value);
  if (read.ec != std::errc{} || read.ptr != end) return std::nullopt;
  return value;
}

}  // namespace

bool is_cluster_name(std::string_view name) {
  if (name.empty() || name.size() > kMaxClusterNameBytes) return false;
  if (!is_name_character(name.front(), true)) return false;
  return std::ranges::all_of(name, [](char c) { return is_name_character(c, false); });
}

void check_cluster_name(std::string_view name) {
  if (is_cluster_name(name)) return;
  throw Error(
      {.code = ErrorCode::kUsage,
       .message = fmt::format("invalid cluster name \"{}\"", name),
       .detail =
           "A name has 1 to 63 characters: lower-case letters, digits, \"_\" and \"-\", beginning "
           "with a letter or digit.",
       .hint = "Choose a name such as \"main\" or \"billing-15\"."});
}

std::string to_string(const LineageName& lineage) {
  return fmt::format("{}-{}", lineage.major, lineage.count);
}

std::optional<LineageName> parse_lineage_name(std::string_view cluster, std::string_view text) {
  size_t dash = text.find('-');
  if (dash == std::string_view::npos) return std::nullopt;
  std::optional<int> major = parse_count(text.substr(0, dash));
  std::optional<int> count = parse_count(text.substr(dash + 1));
  if (!major || !count) return std::nullopt;
  return LineageName{.cluster = std::string(cluster), .major = *major, .count = *count};
}

std::string cluster_folder(std::string_view cluster) {
  return fmt::format("{}{}/", kClustersFolder, cluster);
}
std::string lineage_folder(const LineageName& lineage) {
  return fmt::format("{}{}/", cluster_folder(lineage.cluster), to_string(lineage));
}

std::string key_name(const Bytes16& key_id) {
  return fmt::format("{}{}.json", kKeysFolder, to_hex(key_id.view()));
}
std::string key_copy_name(const Bytes16& key_id) {
  return fmt::format("{}{}.json", kKeyCopiesFolder, to_hex(key_id.view()));
}

std::string lineage_document_name(const LineageName& lineage) {
  return lineage_folder(lineage) + "lineage.json";
}
std::string lineage_copy_name(const LineageName& lineage) {
  return lineage_folder(lineage) + "lineage.copy.json";
}
std::string backups_folder(const LineageName& lineage) {
  return lineage_folder(lineage) + "backups/";
}
std::string backup_name(const LineageName& lineage, std::string_view backup_id) {
  return fmt::format("{}{}.json", backups_folder(lineage), backup_id);
}
std::string backup_copies_folder(const LineageName& lineage) {
  return lineage_folder(lineage) + "backups.copy/";
}
std::string backup_copy_name(const LineageName& lineage, std::string_view backup_id) {
  return fmt::format("{}{}.json", backup_copies_folder(lineage), backup_id);
}
std::string manifest_name(const LineageName& lineage, std::string_view backup_id) {
  return fmt::format("{}manifests/{}", lineage_folder(lineage), backup_id);
}
std::string manifest_copy_name(const LineageName& lineage, std::string_view backup_id) {
  return fmt::format("{}manifests.copy/{}", lineage_folder(lineage), backup_id);
}
std::string pack_name(const LineageName& lineage, const Bytes16& pack_id) {
  std::string id = to_hex(pack_id.view());
  return fmt::format("{}packs/{}/{}", lineage_folder(lineage), id.substr(0, 2), id);
}
std::string redirect_name(const LineageName& lineage, const Bytes16& pack_id) {
  return fmt::format("{}redirects/{}", lineage_folder(lineage), to_hex(pack_id.view()));
}
std::string refs_name(const LineageName& lineage, std::string_view backup_id) {
  return fmt::format("{}refs/{}", lineage_folder(lineage), backup_id);
}
std::string marks_folder(const LineageName& lineage, std::string_view backup_id) {
  return fmt::format("{}marks/{}/", lineage_folder(lineage), backup_id);
}
std::string mark_name(const LineageName& lineage, std::string_view backup_id,
                      const Bytes16& mark_id) {
  return fmt::format("{}{}.json", marks_folder(lineage, backup_id), to_hex(mark_id.view()));
}
std::string intents_folder(const LineageName& lineage) {
  return lineage_folder(lineage) + "intents/";
}
std::string intent_name(const LineageName& lineage, const Bytes16& intent_id) {
  return fmt::format("{}{}.json", intents_folder(lineage), to_hex(intent_id.view()));
}
std::string intent_end_name(const LineageName& lineage, const Bytes16& intent_id) {
  return further_intent_ends(lineage, intent_id) + "json";
}

std::string further_intent_ends(const LineageName& lineage, const Bytes16& intent_id) {
  return fmt::format("{}{}.ended.", intents_folder(lineage), to_hex(intent_id.view()));
}
std::string doomed_folder(const LineageName& lineage) {
  return lineage_folder(lineage) + "doomed/";
}
std::string doomed_name(const LineageName& lineage, const Bytes16& doomed_id) {
  return fmt::format("{}{}.json", doomed_folder(lineage), to_hex(doomed_id.view()));
}
std::string doomed_end_name(const LineageName& lineage, const Bytes16& doomed_id) {
  return fmt::format("{}{}.done.json", doomed_folder(lineage), to_hex(doomed_id.view()));
}

std::string wal_folder(const LineageName& lineage) { return lineage_folder(lineage) + "wal/"; }
std::string wal_timeline_folder(const LineageName& lineage, pg::TimelineId timeline) {
  return fmt::format("{}{:08X}/", wal_folder(lineage), timeline.value);
}

std::string wal_object_name(const LineageName& lineage, const pg::WalFileName& file,
                            pg::WalSegmentSize size, const Bytes16* partial) {
  HF_CHECK(file.kind != pg::WalFileKind::kOther);
  HF_CHECK((partial != nullptr) == (file.kind == pg::WalFileKind::kPartial));
  if (file.kind == pg::WalFileKind::kHistory)
    return wal_folder(lineage) + pg::history_file_name(file.segment.timeline);

  std::string segment = pg::segment_file_name(file.segment, size);
  std::string folder = fmt::format("{}{}/", wal_timeline_folder(lineage, file.segment.timeline),
                                   segment.substr(0, 16));
  if (file.kind == pg::WalFileKind::kSegment) return folder + segment;
  if (file.kind == pg::WalFileKind::kPartial)
    return fmt::format("{}{}.{}", folder, pg::partial_file_name(file.segment, size),
                       to_hex(partial->view()));
  return folder + pg::backup_history_file_name(file.segment, file.offset, size);
}

std::string amended_root(const LineageName& lineage) {
  return lineage_folder(lineage) + "amended/";
}
std::string amended_folder(const LineageName& lineage, const pg::WalFileName& file,
                           pg::WalSegmentSize size) {
  return fmt::format("{}{:08X}/{}/", amended_root(lineage), file.segment.timeline.value,
                     pg::to_string(file, size));
}
std::string amended_content_name(const LineageName& lineage, const pg::WalFileName& file,
                                 pg::WalSegmentSize size, uint64_t number) {
  return fmt::format("{}{}", amended_folder(lineage, file, size), number);
}
std::string amended_mark_name(const LineageName& lineage, const pg::WalFileName& file,
                              pg::WalSegmentSize size, const Bytes16& mark_id) {
  return fmt::format("{}{}.json", amended_folder(lineage, file, size), to_hex(mark_id.view()));
}

std::string history_copies_folder(const LineageName& lineage) {
  return lineage_folder(lineage) + std::string(kHistoryCopies.substr(1));
}
// From the end: a cluster may be called "wal".
std::optional<std::string> copy_of_history(std::string_view name) {
  const size_t slash = name.rfind('/');
  if (slash == std::string_view::npos) return std::nullopt;
  if (name.ends_with(kHistorySuffix)) {
    const std::string_view lineage = name.substr(0, slash + 1);
    if (!lineage.ends_with(kWal)) return std::nullopt;
    return fmt::format("{}{}{}/0", lineage.substr(0, lineage.size() - kWal.size()), kHistoryCopies,
                       name.substr(slash + 1, kTimelineDigits));
  }
  const std::string_view folder = name.substr(0, slash);
  const size_t amended = folder.rfind(kAmended);
  const bool is_content = amended != std::string_view::npos && folder.ends_with(kHistorySuffix) &&
                          !name.ends_with(kJsonSuffix);
  if (!is_content) return std::nullopt;
  return fmt::format("{}{}{}{}", name.substr(0, amended), kHistoryCopies,
                     folder.substr(amended + kAmended.size(), kTimelineDigits), name.substr(slash));
}
std::optional<std::string> history_of_copy(std::string_view name) {
  const size_t at = name.find(kHistoryCopies);
  if (at == std::string_view::npos) return std::nullopt;
  const std::string_view rest = name.substr(at + kHistoryCopies.size());
  const std::string_view timeline = rest.substr(0, kTimelineDigits);
  if (rest.size() < timeline.size() + 2) return std::nullopt;
  const std::string_view number = rest.substr(timeline.size() + 1);
  if (number == "0")
    return fmt::format("{}{}{}{}", name.substr(0, at), kWal, timeline, kHistorySuffix);
  return fmt::format("{0}{1}{2}/{2}{3}/{4}", name.substr(0, at), kAmended, timeline, kHistorySuffix,
                     number);
}

std::string cluster_names_folder(std::string_view name) { return cluster_folder(name) + "names/"; }
std::string cluster_name_object(std::string_view name, uint64_t number) {
  return fmt::format("{}{}.json", cluster_names_folder(name), number);
}
std::string cluster_name_copies_folder(std::string_view folder) {
  return cluster_folder(folder) + "names.copy/";
}
std::string cluster_name_copy(std::string_view folder, std::string_view name, uint64_t number) {
  return fmt::format("{}{}/{}.json", cluster_name_copies_folder(folder), name, number);
}
std::string drills_folder(std::string_view cluster) {
  return fmt::format("{}drills/", cluster_folder(cluster));
}
std::string drill_name(std::string_view cluster, std::string_view drill_id) {
  return fmt::format("{}{}.json", drills_folder(cluster), drill_id);
}

std::string make_backup_id(Time start, RandomSource& random) {
  constexpr int64_t kSecond = 1'000'000;
  const int64_t fraction = (start.time_since_epoch().count() % kSecond + kSecond) % kSecond;
  std::array<std::byte, 3> suffix;
  random.fill(suffix);
  suffix[0] = static_cast<std::byte>(fraction * 256 / kSecond);
  return fmt::format("{}-{}", to_compact_utc(start), to_hex(suffix));
}

bool is_backup_id(std::string_view text) {
  constexpr std::string_view kShape =
      "dddddddd"
      "Tdddddd"
      "Z-xxxxxx";
  if (text.size() != kShape.size()) return false;
  for (size_t i = 0; i < text.size(); ++i) {
    bool fits = text[i] == kShape[i];
    if (kShape[i] == 'd') fits = text[i] >= '0' && text[i] <= '9';
    if (kShape[i] == 'x') fits = kHexDigits.find(text[i]) != std::string_view::npos;
    if (!fits) return false;
  }
  return true;
}

}  // namespace holdfast::repo
