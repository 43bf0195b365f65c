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
#include "repo/layout_table.h"
#include "repo/marks.h"
#include "repo/refs.h"
#include "repo/verified_objects.h"
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

  static Bytes16 pack(uint8_t number) {
    Bytes16 id;
    id.bytes.fill(std::byte{number});
    return id;
  }
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
  // The commit and its copy.
  std::vector<std::string> commit_names(const std::string& id) const {
    return {repo::backup_name(lineage(), id), repo::backup_copy_name(lineage(), id)};
  }
  bool put_commit(const std::string& id, uint32_t timeline, uint64_t segment) {
    const Bytes text =
        repo::encode_document(target.repository.keyring(), "backup", commit_names(id).front(),
                              repo::to_json(commit_of(id, timeline, segment)), target.random);
    bool is_put = true;
    for (const std::string& name : commit_names(id))
      is_put = target.repository.store().create(name, text) && is_put;
    return is_put;
  }
  void remove_commit(const std::string& id) {
    for (const std::string& name : commit_names(id)) target.store.remove(name);
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

  std::string segment_text(uint32_t timeline, uint64_t segment) const {
    return pg::segment_file_name({.timeline = {timeline}, .segment_number = segment},
                                 segment_size());
  }
  std::string put_index(uint32_t timeline, uint64_t first, uint64_t last) {
    return put_named(fmt::format("index/{:08X}/{}-{}.1.{}", timeline, segment_text(timeline, first),
                                 segment_text(timeline, last), hex_id().substr(0, 8)));
  }
  std::string put_snapshot(uint32_t timeline, pg::Lsn lsn) {
    return put_named(
        fmt::format("names/{:08X}/{:016X}.{}", timeline, lsn.value, hex_id().substr(0, 8)));
  }
  std::string put_redirect(const Bytes16& home) {
    return put_named(fmt::format("redirects/{}/{}", to_hex(home.view()), hex_id()));
  }
  std::string put_record(const std::vector<std::string>& replaced) {
    return repo::put_verified(target.repository, lineage(), {.began = target.clock.now()}, {},
                              replaced);
  }
  std::string record_name(const std::string& id) const {
    return repo::lineage_folder(lineage()) + "verified/" + id;
  }

  // One object that nothing needs of every kind that expires, and one that is needed, of those
  // kinds of which there is one beside the other.
  struct EveryKind {
    std::string kept, deleted;  // backups; of the second what is garbage once its commit is gone
    std::map<repo::ObjectKind, std::string> garbage, needed;
  };
  EveryKind put_every_kind() {
    using enum repo::ObjectKind;
    EveryKind all;
    const Bytes16 shared = target.random.bytes16(), own = target.random.bytes16(),
                  of_deleted = target.random.bytes16();
    all.kept = put_backup({own, shared}, 8, 3);
    target.clock.advance(std::chrono::hours(1));
    all.deleted = put_backup({of_deleted, shared}, 5, 3);
    for (const bool is_needed : {false, true}) {
      std::map<repo::ObjectKind, std::string>& into = is_needed ? all.needed : all.garbage;
      const std::string& backup = is_needed ? all.kept : all.deleted;
      const uint64_t segment = is_needed ? 9 : 6;
      const std::string wal = wal_name(3, segment);
      into[kManifest] = repo::manifest_name(lineage(), backup);
      into[kManifestCopy] = repo::manifest_copy_name(lineage(), backup);
      into[kRefs] = repo::refs_name(lineage(), backup);
      into[kPack] = repo::pack_name(lineage(), is_needed ? own : of_deleted);
      repo::put_mark(target.repository, lineage(), backup, repo::MarkKind::kVerified, "");
      into[kMark] =
          target.store.list({.prefix = repo::marks_folder(lineage(), backup)}).entries.at(0).name;
      into[kWalSegment] = put_segment(3, segment);
      into[kWalPartial] = put_at(wal + ".partial." + hex_id());
      into[kWalPiece] = put_at(wal + ".part/00000000-00002000." + hex_id());
      into[kBackupHistory] = put_at(wal + ".00000028.backup");
      // Of files of which nothing else is there.
      const auto amended = [&](uint64_t number, const std::string& rest) {
        return put_at(fmt::format("{}amended/00000003/{}{}", repo::lineage_folder(lineage()),
                                  segment_text(3, number), rest));
      };
      into[kFurtherSegment] = amended(is_needed ? 10 : 3, "/1");
      into[kFurtherFile] = amended(is_needed ? 10 : 3, ".00000028.backup/1");
      into[kSetAside] = amended(is_needed ? 11 : 2, "/" + hex_id() + ".json");
      into[kWalIndex] = put_index(3, 5, is_needed ? 8 : 7);
      into[kCatalogNames] = put_snapshot(3, pg::start_lsn(is_needed ? 7 : 6, segment_size()));
      const uint32_t timeline = is_needed ? 3 : 2;
      into[kTimelineHistory] =
          put_history(timeline, {{{1}, pg::start_lsn(timeline, segment_size()), "test"}});
      into[kHistoryCopy] = repo::copy_of_history(into[kTimelineHistory]).value();
    }
    all.garbage[kRedirect] = put_redirect(of_deleted);
    const std::string old = put_record({});
    target.clock.advance(std::chrono::minutes(1));
    all.garbage[kVerified] = record_name(old);
    all.needed[kVerified] = record_name(put_record({old}));
    const Time now = target.clock.now();
    repo::Intent intent{.id = {},
                        .what = "restore",
                        .backup = {},
                        .uses = {all.kept},
                        .objects_from = {},
                        .timeline = pg::TimelineId{3},
                        .wal_from = pg::start_lsn(8, segment_size()),
                        .host = "db1",
                        .started = now,
                        .valid_until = now + repo::kLongestIntentLife};
    all.needed[kIntent] =
        repo::intent_name(lineage(), repo::put_intent(target.repository, lineage(), intent));
    const Bytes16 ended = repo::put_intent(target.repository, lineage(), intent);
    repo::put_intent_end(target.repository, lineage(), ended, now);
    all.garbage[kIntent] = repo::intent_name(lineage(), ended);
    all.garbage[kIntentEnd] = repo::intent_end_name(lineage(), ended);
    all.garbage[kFurtherIntentEnd] =
        put_at(repo::further_intent_ends(lineage(), ended) + "01234567.json");
    return all;
  }

  bool has(const std::string& name) { return target.store.info(name).has_value(); }
  void flip_a_bit(const std::string& name) { test::flip_a_bit(target.store, name); }

  TestRepository target;

 private:
  std::string hex_id() { return to_hex(target.random.bytes16().view()); }
  std::string put_at(const std::string& name) {
    HF_CHECK(repo::kind_of_object(name) != nullptr);
    target.store.create(name, as_bytes("object"));
    return name;
  }
  std::string put_named(const std::string& below) {
    return put_at(repo::lineage_folder(lineage()) + below);
  }
};

}  // namespace holdfast::test
