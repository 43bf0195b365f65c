// inventory.h: what a lineage's folder holds, by one listing, and what of it is to be read.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "pg/wal_file_name.h"
#include "repo/layout_table.h"
#include "repo/repository.h"
#include "repo/verified_objects.h"

namespace holdfast::verify {

struct ListedPack {
  Bytes16 id;
  uint64_t bytes = 0;
  bool is_known_good = false;  // read whole before, and unchanged
  bool is_due = false;         // and to be read again
  bool is_needed = false;      // some backup refers to it
  repo::LastRead read = {};
};
struct ListedSegment {
  uint64_t number = 0;
  uint32_t bytes = 0;
  bool is_known_good = false;
  bool is_due = false;
  repo::LastRead read = {};
};
struct ListedObject {
  const repo::KindOfObject* kind = nullptr;
  std::string name;
  uint64_t bytes = 0;
  bool is_known_good = false;
  bool is_due = false;
  repo::LastRead read = {};
};
// What stands under one backup's id, its marks apart.
struct BackupObjects {
  bool has_commit = false;  // it, or its copy
  std::optional<ListedObject> manifest, copy, refs;
};

struct Inventory {
  std::vector<ListedPack> packs;  // by id
  std::map<pg::TimelineId, std::vector<ListedSegment>> segments;
  // Those with further contents or marks: which one is served is asked when they are read.
  std::set<pg::SegmentName> amended;
  std::map<std::string, BackupObjects> backups;  // by id
  std::vector<ListedObject> others;
  std::vector<std::string> unknown;  // names that no kind of object has; some
  uint64_t unknown_count = 0, unknown_bytes = 0;
  // What is in these could not be listed.
  std::vector<std::pair<std::string, Error>> unreadable_folders;

  ListedPack* find_pack(const Bytes16& id);
  const ListedSegment* find_segment(pg::SegmentName name) const;
  // Every object that is read whole, to `visit`, with whatever of the above it is.
  template <typename Visit>
  void for_each(const Visit& visit) {
    for (ListedPack& pack : packs) visit(pack);
    for (auto& [timeline, all] : segments)
      for (ListedSegment& segment : all) visit(segment);
    for (auto& [id, backup] : backups)
      for (std::optional<ListedObject>* object : {&backup.manifest, &backup.copy, &backup.refs})
        if (*object) visit(**object);
    for (ListedObject& object : others) visit(object);
  }
};

// Memory: 32 bytes for each pack, 24 for each segment, the names of what else there is.
Inventory take_inventory(const repo::Repository& repository, const repo::Lineage& lineage,
                         const repo::VerifiedRecords& records, const std::stop_token& stop);

}  // namespace holdfast::verify
