#include "verify/inventory.h"

#include <algorithm>

#include "base/task_group.h"
#include "repo/layout.h"
#include "verify/listing.h"

namespace holdfast::verify {
namespace {

constexpr size_t kShownUnknown = 20;

using repo::ObjectKind;

class Taker {
 public:
  Taker(const repo::Lineage& lineage, const repo::VerifiedRecords& records)
      : lineage_(lineage.name), size_(lineage.wal_segment_bytes), records_(records) {}

  void take(const store::ListEntry& entry) {
    const std::optional<repo::ObjectName> name =
        repo::parse_object_name(lineage_, size_, entry.name);
    if (!name) return take_unknown(entry.name, entry.bytes);
    const std::optional<repo::LastRead> read =
        records_.cover(entry.name, entry.bytes, std::max(entry.modified, entry.changed));
    ListedObject object{.kind = &repo::row_of(name->kind),
                        .name = entry.name,
                        .bytes = entry.bytes,
                        .is_known_good = read.has_value(),
                        .read = read.value_or(repo::LastRead{})};
    switch (name->kind) {
      case ObjectKind::kPack:
        inventory_.packs.push_back({.id = name->id,
                                    .bytes = entry.bytes,
                                    .is_known_good = object.is_known_good,
                                    .read = object.read});
        return;
      case ObjectKind::kWalSegment:
        if (object.bytes > UINT32_MAX) return take_unknown(object.name, object.bytes);
        inventory_.segments[name->segment.timeline].push_back(
            {.number = name->segment.segment_number,
             .bytes = static_cast<uint32_t>(object.bytes),
             .is_known_good = object.is_known_good,
             .read = object.read});
        return;
      case ObjectKind::kBackup:
      case ObjectKind::kBackupCopy:
        inventory_.backups[name->backup_id].has_commit = true;
        return;
      case ObjectKind::kManifest:
        inventory_.backups[name->backup_id].manifest = std::move(object);
        return;
      case ObjectKind::kManifestCopy:
        inventory_.backups[name->backup_id].copy = std::move(object);
        return;
      case ObjectKind::kRefs:
        inventory_.backups[name->backup_id].refs = std::move(object);
        return;
      case ObjectKind::kLineage:  // verify.cc has looked at it and its copy
      case ObjectKind::kLineageCopy:
      case ObjectKind::kVerified:  // was read when the records were
        return;
      case ObjectKind::kFurtherSegment:
      case ObjectKind::kSetAside:
        inventory_.amended.insert(name->segment);
        [[fallthrough]];
      case ObjectKind::kFurtherFile:
      case ObjectKind::kRedirect:
      case ObjectKind::kMark:
      case ObjectKind::kWalPartial:
      case ObjectKind::kWalPiece:
      case ObjectKind::kBackupHistory:
      case ObjectKind::kTimelineHistory:
      case ObjectKind::kHistoryCopy:
      case ObjectKind::kWalIndex:
      case ObjectKind::kCatalogNames:
      case ObjectKind::kIntent:
      case ObjectKind::kIntentEnd:
      case ObjectKind::kFurtherIntentEnd:
      case ObjectKind::kDoomed:
      case ObjectKind::kDoomedEnd:
        inventory_.others.push_back(std::move(object));
        return;
      case ObjectKind::kRepositoryCopy:
      case ObjectKind::kRepository:  // stand in no lineage's folder; verify.cc looks at them
      case ObjectKind::kKey:
      case ObjectKind::kKeyCopy:
      case ObjectKind::kLease:
      case ObjectKind::kDrill:
      case ObjectKind::kClusterName:
      case ObjectKind::kClusterNameCopy:
        HF_CHECK(false);
    }
  }

  Inventory finish() { return std::move(inventory_); }

 private:
  void take_unknown(const std::string& name, uint64_t bytes) {
    ++inventory_.unknown_count;
    inventory_.unknown_bytes += bytes;
    if (inventory_.unknown.size() < kShownUnknown) inventory_.unknown.push_back(name);
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
  std::vector<std::pair<std::string, Error>> unreadable;
  visit_all(
      repository.store(), repo::lineage_folder(lineage.name),
      [&](const store::ListEntry& entry) {
        throw_if_stopped(stop);
        taker.take(entry);
      },
      [&](const std::string& folder, const Error& error) {
        unreadable.emplace_back(folder, error);
      });
  Inventory inventory = taker.finish();
  inventory.unreadable_folders = std::move(unreadable);
  return inventory;
}

}  // namespace holdfast::verify
