// deletion_world.h: a repository in memory whose objects are names, commits and references alone:
// all that deletion reads. Packs and segments hold a few bytes that nobody opens.
#pragma once

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "pg/timeline_history.h"
#include "repo/doomed.h"
#include "repo/intent.h"
#include "repo/refs.h"
#include "repo/wal_archive.h"
#include "support/fault_store.h"
#include "support/test_repository.h"

namespace holdfast::test {

class DeletionWorld {
 public:
  static constexpr Microseconds kGrace = std::chrono::hours(24);
  explicit DeletionWorld(Sealing sealing = Sealing::kNone) : target(sealing) {}

  const repo::LineageName& lineage() const { return target.lineage.name; }
  pg::WalSegmentSize segment_size() const {
    return pg::WalSegmentSize(target.lineage.wal_segment_bytes);
  }
  std::string new_id() { return repo::make_backup_id(target.clock.now(), target.random); }

  std::string put_pack(store::Store& store, const Bytes16& id) {
    std::string name = repo::pack_name(lineage(), id);
    store.create(name, as_bytes("extents"));
    return name;
  }
  std::string put_pack(const Bytes16& id) { return put_pack(target.store, id); }

  static void put_refs(const repo::Repository& repository, const repo::LineageName& lineage,
                       const std::string& id, std::vector<repo::PackRefs> packs) {
    std::ranges::sort(packs, {}, &repo::PackRefs::pack);
    const std::string name = repo::refs_name(lineage, id);
    repo::ObjectWriter object(repository.store(), repository.keyring(), repo::kRefsKind, name,
                              repository.random());
    object.section(1, ByteWriter().text(name).view());
    codec::Compressor compressor({});
    object.compressed_section(2, repo::encode_pack_refs(packs), compressor);
    object.commit();
  }
  // Manifest, its copy, and references: all but the commit.
  void put_contents(const std::string& id, const std::vector<repo::PackRefs>& packs) {
    for (const std::string& name :
         {repo::manifest_name(lineage(), id), repo::manifest_copy_name(lineage(), id)})
      target.store.create(name, as_bytes("manifest"));
    put_refs(target.repository, lineage(), id, packs);
  }
  repo::Backup commit_of(const std::string& id, uint32_t timeline, uint64_t segment) const {
    repo::Backup backup;
    backup.id = id;
    backup.lineage = lineage();
    backup.start_timeline = backup.stop_timeline = pg::TimelineId{timeline};
    backup.start_lsn = pg::start_lsn(segment, segment_size()) + 0x28;
    backup.stop_lsn = backup.start_lsn + 0x100;
    backup.stop_time = target.clock.now();
    return backup;
  }
  bool put_commit(const std::string& id, uint32_t timeline, uint64_t segment) {
    return target.repository.create_document("backup", repo::backup_name(lineage(), id),
                                             repo::to_json(commit_of(id, timeline, segment)));
  }
  // A whole backup of these packs, which are made where they are not there.
  std::string put_backup(const std::vector<Bytes16>& packs, uint64_t segment = 4,
                         uint32_t timeline = 1) {
    std::string id = new_id();
    std::vector<repo::PackRefs> refs;
    for (const Bytes16& pack : packs) {
      put_pack(pack);
      refs.push_back({.pack = pack, .extents = 1, .runs = {}});
    }
    put_contents(id, refs);
    put_commit(id, timeline, segment);
    return id;
  }

  std::string wal_name(uint32_t timeline, uint64_t segment) const {
    return repo::WalArchive(target.repository, target.lineage)
        .object_name({.kind = pg::WalFileKind::kSegment,
                      .segment = {.timeline = {timeline}, .segment_number = segment}});
  }
  std::string put_segment(uint32_t timeline, uint64_t segment) {
    std::string name = wal_name(timeline, segment);
    target.store.create(name, as_bytes("segment"));
    return name;
  }
  // "<timeline>.history" with these ancestors.
  std::string put_history(uint32_t timeline, std::vector<pg::TimelineHistoryEntry> ancestors) {
    const repo::WalArchive archive(target.repository, target.lineage);
    const pg::WalFileName file{.kind = pg::WalFileKind::kHistory,
                               .segment = {.timeline = {timeline}}};
    const std::string text =
        pg::TimelineHistory(pg::TimelineId{timeline}, std::move(ancestors)).to_text();
    archive.put_file(file,
                     {.file_name = pg::history_file_name({timeline}),
                      .bytes = text.size(),
                      .sha256 = repo::wal_content_sha256(as_bytes(text)),
                      .system_identifier = target.lineage.system_identifier,
                      .host = "db1",
                      .pushed = target.clock.now()},
                     as_bytes(text));
    return archive.object_name(file);
  }

  bool has(const std::string& name) { return target.store.info(name).has_value(); }

  TestRepository target;
};

}  // namespace holdfast::test
