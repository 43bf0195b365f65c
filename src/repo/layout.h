// layout.h: every object's name. The one place that spells them.
//
// Normative: docs/design/repository-format.md, "Names".
#pragma once

#include <compare>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>

#include "base/bytes.h"
#include "base/random.h"
#include "base/time.h"
#include "pg/wal_file_name.h"

namespace holdfast::repo {

// A cluster's name: [a-z0-9][a-z0-9_-]{0,62}. Throws kUsage.
void check_cluster_name(std::string_view name);
bool is_cluster_name(std::string_view name);

// One system identifier of one major: "15-1".
struct LineageName {
  std::string cluster;  // the folder of the cluster, its first name
  int major = 0;
  int count = 1;
  std::string called = {};  // the name it was asked for by, where that is a later one
  const std::string& shown() const { return called.empty() ? cluster : called; }
  std::strong_ordering operator<=>(const LineageName& other) const {
    return std::tie(cluster, major, count) <=> std::tie(other.cluster, other.major, other.count);
  }
  bool operator==(const LineageName& other) const { return (*this <=> other) == 0; }
};
std::string to_string(const LineageName& lineage);  // "15-1"
// nullopt when `text` is not what to_string() writes.
std::optional<LineageName> parse_lineage_name(std::string_view cluster, std::string_view text);
std::string cluster_folder(std::string_view cluster);    // "clusters/main/"
std::string lineage_folder(const LineageName& lineage);  // "clusters/main/15-1/"

inline constexpr std::string_view kRepositoryName = "repo.json";
inline constexpr std::string_view kRepositoryCopyName = "repo.copy.json";
inline constexpr std::string_view kClustersFolder = "clusters/";
inline constexpr std::string_view kKeysFolder = "keys/";
inline constexpr std::string_view kKeyCopiesFolder = "keys.copy/";
inline constexpr std::string_view kJsonSuffix = ".json";
std::string key_name(const Bytes16& key_id);
std::string key_copy_name(const Bytes16& key_id);

std::string lineage_document_name(const LineageName& lineage);
std::string lineage_copy_name(const LineageName& lineage);
std::string backups_folder(const LineageName& lineage);
std::string backup_copies_folder(const LineageName& lineage);
std::string backup_name(const LineageName& lineage, std::string_view backup_id);
std::string backup_copy_name(const LineageName& lineage, std::string_view backup_id);
std::string manifest_name(const LineageName& lineage, std::string_view backup_id);
std::string manifest_copy_name(const LineageName& lineage, std::string_view backup_id);
std::string pack_name(const LineageName& lineage, const Bytes16& pack_id);
std::string redirect_name(const LineageName& lineage, const Bytes16& pack_id);
std::string refs_name(const LineageName& lineage, std::string_view backup_id);
std::string mark_name(const LineageName& lineage, std::string_view backup_id,
                      const Bytes16& mark_id);
std::string marks_folder(const LineageName& lineage, std::string_view backup_id);
std::string intents_folder(const LineageName& lineage);
std::string intent_name(const LineageName& lineage, const Bytes16& intent_id);
std::string intent_end_name(const LineageName& lineage, const Bytes16& intent_id);
// "…/intents/<id>.ended.", with which the names of all its further ends begin.
std::string further_intent_ends(const LineageName& lineage, const Bytes16& intent_id);
std::string doomed_folder(const LineageName& lineage);
std::string doomed_name(const LineageName& lineage, const Bytes16& doomed_id);
std::string doomed_end_name(const LineageName& lineage, const Bytes16& doomed_id);

std::string wal_folder(const LineageName& lineage);  // "…/wal/"
std::string wal_timeline_folder(const LineageName& lineage,
                                pg::TimelineId timeline);  // "…/wal/00000001/"
// The object of any file that a server archives: a segment, "<segment>.<offset>.backup",
// "<timeline>.history". For a partial segment `partial` (the first 16 bytes of the SHA-256 of its
// bytes) completes the name. REQUIRES: file.kind is not kOther.
std::string wal_object_name(const LineageName& lineage, const pg::WalFileName& file,
                            pg::WalSegmentSize size, const Bytes16* partial = nullptr);

// What there is of WAL files beside the objects in wal/ (wal_contents.h): below
// "…/amended/00000001/000000010000000000000004/" "1" and "<id>.json".
std::string amended_root(const LineageName& lineage);  // "…/amended/"
std::string amended_folder(const LineageName& lineage, const pg::WalFileName& file,
                           pg::WalSegmentSize size);
std::string amended_content_name(const LineageName& lineage, const pg::WalFileName& file,
                                 pg::WalSegmentSize size, uint64_t number);
std::string amended_mark_name(const LineageName& lineage, const pg::WalFileName& file,
                              pg::WalSegmentSize size, const Bytes16& mark_id);

// Every content of a history stands twice: "…/wal/00000002.history" and
// "…/histories.copy/00000002/0", "…/amended/00000002/00000002.history/3" and
// "…/histories.copy/00000002/3". Of the name of the one that of the other; nullopt: it is not one.
std::string history_copies_folder(const LineageName& lineage);
std::optional<std::string> copy_of_history(std::string_view name);
std::optional<std::string> history_of_copy(std::string_view name);

std::string cluster_names_folder(std::string_view name);  // "clusters/shop/names/"
std::string cluster_name_object(std::string_view name, uint64_t number);
// Its copy stands with the cluster that it leads to: "clusters/main/names.copy/shop/3.json".
std::string cluster_name_copies_folder(std::string_view folder);
std::string cluster_name_copy(std::string_view folder, std::string_view name, uint64_t number);
std::string drills_folder(std::string_view cluster);  // "clusters/main/drills/"
std::string drill_name(std::string_view cluster, std::string_view drill_id);

// "20261122T082239Z-1f2e3d": of backups, and of drills
std::string make_backup_id(Time start, RandomSource& random);
bool is_backup_id(std::string_view text);

}  // namespace holdfast::repo
