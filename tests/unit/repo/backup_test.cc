#include "repo/backup.h"

#include <algorithm>

#include <gtest/gtest.h>

#include "codec/digest.h"
#include "repo/intent.h"
#include "repo/marks.h"
#include "support/deletion_world.h"
#include "support/error_of.h"
#include "support/test_repository.h"

namespace holdfast::repo {
namespace {

using namespace std::chrono_literals;
using test::error_of;
using test::expect_backup_holds;
using test::make_backup;
using test::object_bytes;
using test::object_names;
using test::sample_files;
using test::Sealing;
using test::TestRepository;

const std::string kFirst = "20261122T082239Z-1f2e3d";
const std::string kSecond = "20261123T082239Z-aaaaaa";
const std::string kThird = "20261123T092239Z-bbbbbb";

class BackupIn : public testing::TestWithParam<Sealing> {
 protected:
  Backup make(const std::string& id, uint64_t seed = 1) {
    return make_backup(target.repository, target.lineage, id, sample_files(seed), target.clock);
  }
  TestRepository target{GetParam()};
};
INSTANTIATE_TEST_SUITE_P(Sealing, BackupIn, testing::Values(Sealing::kNone, Sealing::kKeyFile),
                         [](const auto& p) {
                           return p.param == Sealing::kNone ? "Plain" : "Sealed";
                         });

TEST_P(BackupIn, HoldsEveryFileOfEachBackup) {
  make(kFirst, 1);
  make(kSecond, 2);
  expect_backup_holds(target.repository, target.lineage.name, kFirst, sample_files(1));
  expect_backup_holds(target.repository, target.lineage.name, kSecond, sample_files(2));
}

TEST_P(BackupIn, CommitTellsWhatWasTaken) {
  const Backup made = make(kFirst);
  const std::optional<Backup> read = read_backup(target.repository, target.lineage.name, kFirst);
  ASSERT_TRUE(read.has_value());
  EXPECT_EQ(to_json(*read).dump(), to_json(made).dump());
  EXPECT_EQ(read->id, kFirst);
  EXPECT_EQ(read->lineage, target.lineage.name);
  EXPECT_EQ(read->system_identifier, target.lineage.system_identifier);
  EXPECT_EQ(read->major, 15);
  EXPECT_EQ(read->stop_lsn, pg::Lsn{0x4000138});
  EXPECT_EQ(read->tablespaces.at(0).path, "/srv/fast");
  EXPECT_EQ(read->data_mode, 0700u);
  EXPECT_EQ(read->floors.max_connections, 100);
  EXPECT_FALSE(read->damaged);

  uint64_t bytes = 0, files = 0, stored = 0, packs = 0;
  for (const test::SampleFile& file : sample_files(1)) {
    bytes += file.content.size();
    files += file.type == EntryType::kFile;
  }
  store::for_each_entry(target.store, {.prefix = lineage_folder(target.lineage.name) + "packs/"},
                        [&](const store::ListEntry& entry) {
                          stored += entry.bytes;
                          ++packs;
                          return true;
                        });
  EXPECT_EQ(read->bytes, bytes);
  EXPECT_EQ(read->files, files);
  EXPECT_EQ(read->stored_bytes, stored);
  EXPECT_EQ(read->packs, packs);
  const Bytes manifest = object_bytes(target.store, manifest_name(target.lineage.name, kFirst));
  EXPECT_EQ(read->manifest_sha256, codec::sha256(manifest));
  EXPECT_EQ(read->manifest_bytes, manifest.size());
  EXPECT_EQ(read->refs_sha256,
            codec::sha256(object_bytes(target.store, refs_name(target.lineage.name, kFirst))));
}

// A document holds only UTF-8, and a path whatever bytes somebody gave it.
TEST(BackupDocument, HoldsPathsOfAnyBytes) {
  Backup backup;
  backup.id = kFirst;
  backup.lineage = {.cluster = "main", .major = 15, .count = 1};
  for (const char* path :
       {"/srv/ts", "/srv/t\xC3\xA9", "/srv/ts\xE9", "/srv/\xED\xA0\x80", "/\xC0\xAF"}) {
    backup.tablespaces = {{.oid = 16384, .path = path, .mount = path}};
    backup.data_directory = backup.data_mount = path;
    backup.wal_directory = backup.wal_mount = path;
    const Backup read = backup_from_json(Json::parse(to_json(backup).dump(), "backup"));
    EXPECT_EQ(read.tablespaces.at(0).path, path);
    EXPECT_EQ(read.data_directory, path);
    const std::string mount = is_utf8(path) ? path : "";
    EXPECT_EQ(read.tablespaces.at(0).mount, mount);
    EXPECT_EQ(read.data_mount, mount);
    EXPECT_EQ(read.wal_directory, path);
    EXPECT_EQ(read.wal_mount, mount);
  }
  Json body = to_json(backup);
  Json directory = body.at("data_directory");
  body.set("data_directory", directory.set("path_hex", "2f00"));
  EXPECT_EQ(test::error_of([&] { backup_from_json(body); }).code(), ErrorCode::kCorrupt);
}

TEST_P(BackupIn, RefsListEveryPack) {
  const Backup made = make(kFirst);
  const std::string name = refs_name(target.lineage.name, kFirst);
  std::optional<ObjectReader> refs =
      ObjectReader::open(target.store, target.repository.keyring(), kRefsKind, name, name);
  ASSERT_TRUE(refs.has_value());
  refs->next();
  std::optional<ObjectReader::Section> section = refs->next();
  ASSERT_TRUE(section.has_value());
  const Bytes raw = refs->expand(*section);
  ByteReader in(raw, "refs");
  const uint64_t count = in.varint();
  EXPECT_EQ(count, made.packs);
  Bytes16 before;
  for (uint64_t i = 0; i < count; ++i) {
    Bytes16 pack{in.array<16>()};
    EXPECT_LT(before, pack);
    before = pack;
    EXPECT_EQ(in.varint(), read_pack_footer(target.repository, target.lineage.name, pack).size());
    EXPECT_EQ(in.u8(), 0);
  }
  in.expect_end();
  EXPECT_FALSE(refs->next().has_value());
}

TEST_P(BackupIn, IsNotThereBeforeItsCommit) {
  {
    BackupWriter writer(target.repository, target.lineage, kFirst, {}, target.clock);
    ExtentWriter worker = writer.make_worker();
    test::write_files(sample_files(1), worker, writer.manifest(), 8192);
    writer.finish_worker(std::move(worker));
    writer.seal_contents();
  }
  EXPECT_TRUE(list_backup_ids(target.repository, target.lineage.name).empty());
  EXPECT_FALSE(read_backup(target.repository, target.lineage.name, kFirst).has_value());
}

TEST_P(BackupIn, TellsDeletionBeforeItWritesAnything) {
  BackupWriter writer(target.repository, target.lineage, kFirst, {}, target.clock);
  const std::vector<std::string> names = object_names(target.store);
  auto intent = std::ranges::find_if(
      names, [](const std::string& name) { return name.find("/intents/") != std::string::npos; });
  ASSERT_NE(intent, names.end());
  const std::optional<Json> body = target.repository.read_document("intent", *intent);
  EXPECT_EQ(body->at("backup").as_string(), kFirst);
  EXPECT_EQ(body->at("what").as_string(), "backup");
  EXPECT_EQ(parse_rfc3339(body->at("objects_from").as_string()), target.clock.now());
  EXPECT_EQ(parse_rfc3339(body->at("valid_until").as_string()), target.clock.now() + kIntentLife);
}

size_t count_intents(TestRepository& target) {
  return target.store.list({.prefix = lineage_folder(target.lineage.name) + "intents/"})
      .entries.size();
}

TEST_P(BackupIn, RenewsItsIntentInTimeAndStopsWhenItCouldNot) {
  BackupWriter writer(target.repository, target.lineage, kFirst, {}, target.clock);
  target.clock.advance(kIntentLife / 2);
  writer.finish_worker(writer.make_worker());
  EXPECT_EQ(count_intents(target), 1u);
  target.clock.advance(std::chrono::hours(1));
  writer.finish_worker(writer.make_worker());
  EXPECT_EQ(count_intents(target), 2u);
  target.clock.advance(kIntentLife + std::chrono::hours(1));
  Error error = error_of([&] { writer.seal_contents(); });
  EXPECT_EQ(error.code(), ErrorCode::kConflict);
  EXPECT_FALSE(error.hint().empty());
}

TEST_P(BackupIn, IsRefusedWhenAPackIsMissingOrCutShort) {
  for (const bool cut : {false, true}) {
    const std::string id = cut ? kFirst : kSecond;
    BackupWriter writer(target.repository, target.lineage, id, {}, target.clock);
    ExtentWriter worker = writer.make_worker();
    test::write_files(sample_files(1), worker, writer.manifest(), 8192);
    const std::vector<PackSummary> packs = worker.finish();
    writer.finish_worker(std::move(worker));
    writer.seal_contents();
    const std::string pack = pack_name(target.lineage.name, packs.at(0).pack);
    if (cut)
      target.store.edit(pack, [](Bytes& all) { all.pop_back(); });
    else
      target.store.remove(pack);
    Error error = error_of([&] { writer.commit({}); });
    EXPECT_EQ(error.code(), ErrorCode::kConflict);
    EXPECT_EQ(error.message(), "backup \"" + id + "\" cannot be completed");
    EXPECT_EQ(error.detail(), "The object \"" + pack + "\" that it wrote is missing or cut short.");
  }
  EXPECT_TRUE(list_backup_ids(target.repository, target.lineage.name).empty());
}

TEST_P(BackupIn, IsRefusedWhenWhatItWroteIsDoomed) {
  BackupWriter writer(target.repository, target.lineage, kFirst, {}, target.clock);
  ExtentWriter worker = writer.make_worker();
  test::write_files(sample_files(1), worker, writer.manifest(), 8192);
  const std::string pack = pack_name(target.lineage.name, worker.finish().at(0).pack);
  writer.finish_worker(std::move(worker));
  writer.seal_contents();
  const std::string doomed = doomed_folder(target.lineage.name) + std::string(32, 'd') + ".json";
  ASSERT_TRUE(target.repository.create_document(
      "doomed", doomed,
      Json::object().set("objects", Json(Json::Array{Json("other"), Json(pack)}))));
  Error error = error_of([&] { writer.commit({}); });
  EXPECT_EQ(error.code(), ErrorCode::kConflict);
  EXPECT_EQ(error.detail(), "What it wrote is about to be removed. The object \"" + pack +
                                "\" is in a list of what will be removed.");
  EXPECT_TRUE(list_backup_ids(target.repository, target.lineage.name).empty());
}

// Dooms everything at the moment at which a commit is put.
class DoomingStore : public store::MemoryStore {
 public:
  using MemoryStore::MemoryStore;
  std::function<void()> at_commit;
  bool create(const std::string& name, ByteView bytes) override {
    const bool made = MemoryStore::create(name, bytes);
    if (name.find("/backups/") != std::string::npos && at_commit)
      std::exchange(at_commit, nullptr)();
    return made;
  }
};

TEST(BackupCommit, MarksItselfDamagedWhenItWasDoomedAtThatMoment) {
  test::FakeClock clock;
  DoomingStore store(clock);
  Repository repository = Repository::create(store, {}, clock);
  const Lineage lineage = repository.create_lineage(test::test_lineage());
  store.at_commit = [&] {
    repository.create_document(
        "doomed", doomed_folder(lineage.name) + std::string(32, 'd') + ".json",
        Json::object().set("objects", Json(Json::Array{Json(refs_name(lineage.name, kFirst))})));
  };
  Error error = error_of([&] { make_backup(repository, lineage, kFirst, sample_files(1), clock); });
  EXPECT_EQ(error.code(), ErrorCode::kConflict);
  EXPECT_EQ(error.message(), "backup \"" + kFirst + "\" was marked as damaged");
  const store::ListPage marks = store.list({.prefix = marks_folder(lineage.name, kFirst)});
  ASSERT_EQ(marks.entries.size(), 1u);
  EXPECT_EQ(repository.read_document("mark", marks.entries[0].name)->at("what").as_string(),
            "damaged");
}

// Takes the WAL away at the moment at which a commit is put, as an expiry does that saw neither the
// claim nor the commit.
TEST(BackupCommit, MarksItselfDamagedWhenItsWalWasRemovedAtThatMoment) {
  test::FakeClock clock;
  DoomingStore store(clock);
  Repository repository = Repository::create(store, {}, clock);
  const Lineage lineage = repository.create_lineage(test::test_lineage());
  const std::string wal = WalArchive(repository, lineage)
                              .object_name({.kind = pg::WalFileKind::kSegment,
                                            .segment = {.timeline = {1}, .segment_number = 4}});
  store.create(wal, as_bytes("segment"));
  store.at_commit = [&] { store.remove(wal); };
  BackupWriter writer(repository, lineage, kFirst, {}, clock);
  writer.protect_wal({1}, pg::Lsn{0x4000028});
  writer.seal_contents();
  Backup backup;
  backup.start_lsn = pg::Lsn{0x4000028};
  backup.stop_lsn = pg::Lsn{0x4000138};
  backup.start_timeline = backup.stop_timeline = {1};
  EXPECT_EQ(error_of([&] { writer.commit(backup); }).detail(),
            "The WAL object \"" + wal + "\" that it needs is missing.");
  EXPECT_TRUE(read_marks(repository, lineage.name, kFirst).damaged);
}

// Takes a pack away at the moment at which a commit is put, as an expiry does that saw no commit.
TEST(BackupCommit, MarksItselfDamagedWhenAPackWasRemovedAtThatMoment) {
  test::FakeClock clock;
  DoomingStore store(clock);
  Repository repository = Repository::create(store, {}, clock);
  const Lineage lineage = repository.create_lineage(test::test_lineage());
  std::string taken;
  store.at_commit = [&] {
    taken = store.list({.prefix = lineage_folder(lineage.name) + "packs/"}).entries.at(0).name;
    store.remove(taken);
  };
  Error error = error_of([&] { make_backup(repository, lineage, kFirst, sample_files(1), clock); });
  EXPECT_EQ(error.code(), ErrorCode::kConflict);
  EXPECT_EQ(error.detail(), "The object \"" + taken + "\" that it wrote is missing or cut short.");
  EXPECT_TRUE(read_marks(repository, lineage.name, kFirst).damaged);
}

// The machine is suspended for a day and more between the look at what the backup uses and its
// commit: by then an expiry may have taken it.
TEST(BackupCommit, IsNotPutWhenItsClaimRanOutWhileItWasLookedAt) {
  struct SlowStore : store::MemoryStore {
    explicit SlowStore(test::FakeClock& its) : MemoryStore(its), clock(its) {}
    std::optional<store::ObjectInfo> info(const std::string& name) override {
      if (name.find("/refs/") != std::string::npos) clock.sleep(kIntentLife + 1h);
      return MemoryStore::info(name);
    }
    test::FakeClock& clock;
  };
  test::FakeClock clock;
  SlowStore store(clock);
  Repository repository = Repository::create(store, {}, clock);
  const Lineage lineage = repository.create_lineage(test::test_lineage());
  const Error error =
      error_of([&] { make_backup(repository, lineage, kFirst, sample_files(1), clock); });
  EXPECT_EQ(error.code(), ErrorCode::kConflict);
  EXPECT_EQ(error.message(), "this backup has lost the protection of its objects");
  EXPECT_FALSE(has_commit(repository, lineage.name, kFirst));
}

// Of one whose WAL was told: segment 4.
class BackupWithWal : public testing::Test, protected test::DeletionWorld {
 protected:
  Backup make(const std::string& id) {
    BackupWriter writer(target.repository, target.lineage, id, {}, target.clock);
    writer.protect_wal({1}, pg::start_lsn(4, segment_size()) + 0x28);
    ExtentWriter worker = writer.make_worker();
    test::write_files(sample_files(1), worker, writer.manifest(), 8192);
    writer.finish_worker(std::move(worker));
    writer.seal_contents();
    return writer.commit(commit_of(id, 1, 4));
  }
};

TEST_F(BackupWithWal, IsRefusedWithoutItAndWhereItIsAboutToGo) {
  const std::string needed = wal_name(1, 4);
  EXPECT_EQ(error_of([&] { make(kFirst); }).detail(),
            "The WAL object \"" + needed + "\" that it needs is missing.");
  put_segment(1, 4);
  put_doomed_list(target.repository, lineage(), {needed}, target.clock.now());
  {
    HeldIntent expiry(target.repository, lineage(), {.what = std::string(kExpireIntent)},
                      target.clock);
    EXPECT_EQ(error_of([&] { make(kSecond); }).detail(),
              "WAL that it needs is about to be removed. The object \"" + needed +
                  "\" is in a list of what will be removed.");
  }
  EXPECT_TRUE(list_backup_ids(target.repository, lineage()).empty());
  make(kThird);  // the list is nobody's now, and whoever comes for it sees the claim
}

TEST_F(BackupWithWal, ClaimsItBeforeItIsLookedFor) {
  BackupWriter writer(target.repository, target.lineage, kFirst, {}, target.clock);
  writer.protect_wal({1}, pg::Lsn{0x4000028});
  const std::vector<Intent> valid =
      read_valid_intents(target.repository, lineage(), target.clock.now(), kGrace);
  EXPECT_EQ(std::ranges::count(valid, pg::Lsn{0x4000028}, &Intent::wal_from), 1);
}

TEST_P(BackupIn, LetsGoOfItsObjectsWhenItIsDone) {
  make(kFirst);
  EXPECT_TRUE(
      read_valid_intents(target.repository, target.lineage.name, target.clock.now(), kIntentLife)
          .empty());
}

TEST_P(BackupIn, IsNeverReplaced) {
  make(kFirst);
  const Bytes before = object_bytes(target.store, backup_name(target.lineage.name, kFirst));
  EXPECT_EQ(error_of([&] { make(kFirst, 2); }).code(), ErrorCode::kAlreadyExists);
  EXPECT_EQ(object_bytes(target.store, backup_name(target.lineage.name, kFirst)), before);
  EXPECT_EQ(object_bytes(target.store, backup_copy_name(target.lineage.name, kFirst)), before);
  expect_backup_holds(target.repository, target.lineage.name, kFirst, sample_files(1));
}

TEST_P(BackupIn, CountsDamageThatWasFound) {
  BackupWriter writer(target.repository, target.lineage, kFirst, {}, target.clock);
  writer.manifest().add_damaged(
      {.root = ManifestRoot::kData, .path = "base/5/1", .block = 4, .reason = 1});
  writer.seal_contents();
  const Backup made = writer.commit({});
  EXPECT_TRUE(made.damaged);
  EXPECT_EQ(made.damaged_blocks, 1u);
}

TEST_P(BackupIn, ACopiedCommitIsRefused) {
  make(kFirst);
  target.store.create(backup_name(target.lineage.name, kSecond),
                      object_bytes(target.store, backup_name(target.lineage.name, kFirst)));
  EXPECT_EQ(error_of([&] { read_backup(target.repository, target.lineage.name, kSecond); }).code(),
            ErrorCode::kCorrupt);
}

class ResolveBackup : public testing::Test {
 protected:
  ResolveBackup() {
    for (const std::string& id : {kSecond, kFirst, kThird})
      make_backup(target.repository, target.lineage, id, {}, target.clock);
  }
  Backup resolve(std::string_view text) {
    return resolve_backup(target.repository, target.lineage.name, text);
  }
  TestRepository target;
};

TEST_F(ResolveBackup, ListsIdsOldestFirst) {
  target.store.create(backups_folder(target.lineage.name) + "notes.txt", {});
  EXPECT_EQ(list_backup_ids(target.repository, target.lineage.name),
            (std::vector<std::string>{kFirst, kSecond, kThird}));
}

TEST_F(ResolveBackup, TakesLatestAnIdAndItsBeginning) {
  EXPECT_EQ(resolve("latest").id, kThird);
  EXPECT_EQ(resolve(kSecond).id, kSecond);
  EXPECT_EQ(resolve("20261122").id, kFirst);
  EXPECT_EQ(resolve("20261123T09").id, kThird);
}

TEST_F(ResolveBackup, NamesTheNearestWhenThereIsNone) {
  for (const char* text : {"20261123T1", "", "x", "2026112312"}) {
    Error error = error_of([&] { resolve(text); });
    EXPECT_EQ(error.code(), ErrorCode::kNotFound) << text;
    EXPECT_EQ(error.message(), fmt::format("cluster \"main\" has no backup \"{}\"", text));
    EXPECT_NE(error.hint().find("holdfast backup list"), std::string::npos);
  }
  EXPECT_EQ(error_of([&] { resolve("20261123T1"); }).detail(),
            fmt::format("It has 3 backup(s); nearest: \"{}\", \"{}\".", kSecond, kThird));
}

TEST_F(ResolveBackup, RefusesABeginningOfSeveral) {
  Error error = error_of([&] { resolve("20261123"); });
  EXPECT_EQ(error.code(), ErrorCode::kUsage);
  EXPECT_EQ(error.message(), "\"20261123\" is the beginning of 2 backups");
  EXPECT_NE(error.detail().find(kSecond), std::string::npos);
  EXPECT_NE(error.detail().find(kThird), std::string::npos);
}

TEST(ResolveNoBackup, SaysThatThereIsNone) {
  TestRepository target;
  Error error = error_of([&] { resolve_backup(target.repository, target.lineage.name, "latest"); });
  EXPECT_EQ(error.code(), ErrorCode::kNotFound);
  EXPECT_EQ(error.message(), "cluster \"main\" has no backup");
  EXPECT_EQ(error.hint(), "Take one with \"holdfast backup\".");
}

}  // namespace
}  // namespace holdfast::repo
