#include "verify/inventory.h"

#include <algorithm>

#include "base/task_group.h"
#include "repo/layout.h"

namespace holdfast::verify {
namespace {

constexpr size_t kShownUnknown = 20;
constexpr std::string_view kJsonSuffix = ".json";

std::string_view base_of(std::string_view name) { return name.substr(name.rfind('/') + 1); }

class Taker {
 public:
  Taker(const repo::Lineage& lineage, const repo::VerifiedRecords& records)
      : lineage_(lineage.name), size_(lineage.wal_segment_bytes), records_(records) {}

  void take(const store::ListEntry& entry) {
    const repo::KindOfObject* kind = repo::kind_of_object(entry.name);
    if (kind == nullptr) return take_unknown(entry.name, entry.bytes);
    ListedObject object{.kind = kind,
                        .name = entry.name,
                        .bytes = entry.bytes,
                        .is_known_good = records_.cover(entry.name, entry.bytes, entry.modified)};
    std::string_view base = base_of(entry.name);
    switch (kind->kind) {
      case repo::ObjectKind::kPack:
        inventory_.packs.push_back({.id = *parse_hex_array<16>(base),
                                    .bytes = entry.bytes,
                                    .is_known_good = object.is_known_good});
        return;
      case repo::ObjectKind::kWalSegment:
        return take_segment(object);
      case repo::ObjectKind::kBackup:
        base.remove_suffix(kJsonSuffix.size());
        inventory_.backups[std::string(base)].has_commit = true;
        return;
      case repo::ObjectKind::kManifest:
        inventory_.backups[std::string(base)].manifest = std::move(object);
        return;
      case repo::ObjectKind::kManifestCopy:
        inventory_.backups[std::string(base)].copy = std::move(object);
        return;
      case repo::ObjectKind::kRefs:
        inventory_.backups[std::string(base)].refs = std::move(object);
        return;
      case repo::ObjectKind::kLineage:   // was read when the lineages were
      case repo::ObjectKind::kVerified:  // was read when the records were
        return;
      default:
        inventory_.others.push_back(std::move(object));
    }
  }

  Inventory finish() { return std::move(inventory_); }

 private:
  void take_unknown(const std::string& name, uint64_t bytes) {
    ++inventory_.unknown_count;
    inventory_.unknown_bytes += bytes;
    if (inventory_.unknown.size() < kShownUnknown) inventory_.unknown.push_back(name);
  }

  void take_segment(const ListedObject& object) {
    const pg::WalFileName file = pg::parse_wal_file_name(base_of(object.name), size_);
    // A name that no server of this segment size gives, or that stands in another's folder.
    if (file.kind != pg::WalFileKind::kSegment || object.bytes > UINT32_MAX ||
        repo::wal_object_name(lineage_, file, size_) != object.name)
      return take_unknown(object.name, object.bytes);
    inventory_.segments[file.segment.timeline].push_back(
        {.number = file.segment.segment_number,
         .bytes = static_cast<uint32_t>(object.bytes),
         .is_known_good = object.is_known_good});
  }

  const repo::LineageName lineage_;
  const pg::WalSegmentSize size_;
  const repo::VerifiedRecords& records_;
  Inventory inventory_;
};

}  // namespace

ListedPack* Inventory::find_pack(const Bytes16& id) {
  const auto found = std::ranges::lower_bound(packs, id, {}, &ListedPack::id);
  return found == packs.end() || found->id != id ? nullptr : &*found;
}

const ListedSegment* Inventory::find_segment(pg::SegmentName name) const {
  const auto timeline = segments.find(name.timeline);
  if (timeline == segments.end()) return nullptr;
  const auto found =
      std::ranges::lower_bound(timeline->second, name.segment_number, {}, &ListedSegment::number);
  return found == timeline->second.end() || found->number != name.segment_number ? nullptr
                                                                                 : &*found;
}

Inventory take_inventory(const repo::Repository& repository, const repo::Lineage& lineage,
                         const repo::VerifiedRecords& records, const std::stop_token& stop) {
  Taker taker(lineage, records);
  store::for_each_entry(repository.store(), {.prefix = repo::lineage_folder(lineage.name)},
                        [&](const store::ListEntry& entry) {
                          throw_if_stopped(stop);
                          taker.take(entry);
                          return true;
                        });
  return taker.finish();
}

}  // namespace holdfast::verify
