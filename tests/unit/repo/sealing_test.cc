// What a whole repository promises: with a key it shows nothing, and no object stands in for
// another.
#include <algorithm>

#include <gtest/gtest.h>

#include "repo/backup.h"
#include "support/error_of.h"
#include "support/test_repository.h"

namespace holdfast::repo {
namespace {

using test::error_of;
using test::expect_backup_holds;
using test::make_backup;
using test::object_bytes;
using test::object_names;
using test::sample_files;
using test::Sealing;
using test::TestRepository;

const std::string kSealedBackup = "20261122T082239Z-1f2e3d";

bool contains(ByteView bytes, std::string_view text) {
  return as_text(bytes).find(text) != std::string_view::npos;
}

TEST(SealedRepository, ShowsNoTextOfTheClusterInAnyObject) {
  // What somebody with a copy of the store would look for: contents, names of files, users, hosts,
  // labels, LSNs.
  const std::string secret = "4111-1111-1111-1111 belongs to Alice";
  std::vector<test::SampleFile> files = sample_files(1);
  files[0].content = to_bytes(secret);
  const std::string_view known[] = {secret,
                                    "Alice",
                                    "PG_VERSION",
                                    "base/5",
                                    "1259",
                                    "pg_hba",
                                    "local all all peer",
                                    "START WAL LOCATION",
                                    "postgres",
                                    "/srv/wal",
                                    "/srv/fast",
                                    "db1.example",
                                    "nightly of the accounts",
                                    "0/4000028",
                                    "7301234567890123456",
                                    "202209061",
                                    "000000010000000000000004",
                                    "max_connections",
                                    "manifests/",
                                    "self"};
  for (const char* compression : {"none", "zstd"}) {
    TestRepository target(Sealing::kKeyFile);
    {
      BackupWriter writer(target.repository, target.lineage, kSealedBackup,
                          codec::parse_compression(compression), target.clock);
      ExtentWriter worker = writer.make_worker();
      test::write_files(files, worker, writer.manifest(), 8192);
      writer.finish_worker(std::move(worker));
      writer.seal_contents();
      Backup backup;
      backup.start_lsn = pg::Lsn{0x4000028};
      backup.label = "nightly of the accounts database";
      backup.host = "db1.example";
      backup.start_segment = "000000010000000000000004";
      backup.tablespaces = {{.oid = 16400, .path = "/srv/fast"}};
      writer.commit(backup);
    }
    const std::vector<std::string> names = object_names(target.store);
    EXPECT_GE(names.size(), 9u);
    for (const std::string& name : names) {
      const Bytes bytes = object_bytes(target.store, name);
      const bool is_open =
          name == "repo.json" || name == "repo.copy.json" || name.starts_with("keys");
      for (std::string_view text : known) {
        if (is_open && text == "self") continue;
        EXPECT_FALSE(contains(bytes, text)) << name << " shows " << text;
      }
      EXPECT_FALSE(contains(bytes, as_text(target.repository.keyring().data_key->view()))) << name;
      EXPECT_FALSE(contains(bytes, to_hex(target.repository.keyring().data_key->view()))) << name;
    }
    expect_backup_holds(target.repository, target.lineage.name, kSealedBackup, files);
  }
}

TEST(SealedRepository, DoesNotShowThatTwoContentsAreEqual) {
  TestRepository target(Sealing::kKeyFile);
  ExtentWriter writer(target.repository, target.lineage.name,
                      {.algorithm = codec::Compression::kNone, .level = 0});
  const Bytes raw(8192, std::byte{7});
  const ExtentRef a = writer.append({.block_count = 1}, raw);
  const ExtentRef b = writer.append({.block_count = 1}, raw);
  const Bytes pack =
      object_bytes(target.store, pack_name(target.lineage.name, writer.finish().at(0).pack));
  EXPECT_EQ(a.digest, b.digest);
  EXPECT_FALSE(std::ranges::equal(ByteView(pack).subspan(a.offset + 64, a.unit_bytes),
                                  ByteView(pack).subspan(b.offset + 64, b.unit_bytes)));
  EXPECT_FALSE(contains(pack, as_text(a.digest.view()))) << "the digest would tell";
}

TEST(AnyRepository, RefusesEveryObjectUnderTheNameOfAnother) {
  for (Sealing sealing : {Sealing::kNone, Sealing::kKeyFile}) {
    // Everything of one backup is put in the place of the other's, object by object.
    const std::string other = "20261123T082239Z-aaaaaa";
    TestRepository target(sealing);
    make_backup(target.repository, target.lineage, kSealedBackup, sample_files(1), target.clock);
    const std::vector<std::string> before = object_names(target.store);
    make_backup(target.repository, target.lineage, other, sample_files(2), target.clock);
    const std::string folder = lineage_folder(target.lineage.name);
    auto packs_of = [&](bool of_first) {
      std::vector<std::string> packs;
      for (const std::string& name : object_names(target.store))
        if (name.starts_with(folder + "packs/") &&
            (std::ranges::find(before, name) != before.end()) == of_first)
          packs.push_back(name);
      return packs;
    };
    const LineageName& lineage = target.lineage.name;
    std::vector<std::pair<std::string, std::string>> swaps = {
        {backup_name(lineage, kSealedBackup), backup_name(lineage, other)},
        {manifest_name(lineage, kSealedBackup), manifest_name(lineage, other)},
    };
    const std::vector<std::string> first_packs = packs_of(true), other_packs = packs_of(false);
    ASSERT_EQ(first_packs.size(), other_packs.size());
    for (size_t i = 0; i < first_packs.size(); ++i)
      swaps.emplace_back(first_packs[i], other_packs[i]);
    if (first_packs.size() > 1) swaps.emplace_back(first_packs[0], first_packs[1]);

    // Without their copies, which would be read.
    target.store.remove(manifest_copy_name(lineage, kSealedBackup));
    target.store.remove(backup_copy_name(lineage, kSealedBackup));
    auto read_first = [&] {
      expect_backup_holds(target.repository, lineage, kSealedBackup, sample_files(1));
    };
    for (const auto& [a, b] : swaps) {
      const Bytes bytes_a = object_bytes(target.store, a), bytes_b = object_bytes(target.store, b);
      target.store.edit(a, [&](Bytes& all) { all = bytes_b; });
      EXPECT_EQ(error_of(read_first).code(), ErrorCode::kCorrupt) << a << " holds " << b;
      target.store.edit(a, [&](Bytes& all) { all = bytes_a; });
    }
    read_first();
  }
}

TEST(SealedRepository, RefusesWhatSomebodyWithoutTheKeyPlants) {
  // Everything is copied into an unsealed repository of the same id, where it can be written by
  // anybody.
  TestRepository target(Sealing::kKeyFile);
  TestRepository attacker(Sealing::kNone);
  make_backup(target.repository, target.lineage, kSealedBackup, sample_files(1), target.clock);
  const LineageName& lineage = target.lineage.name;
  Keyring planter = attacker.repository.keyring();
  planter.repository_id = target.repository.id();

  // A commit.
  const std::string planted_id = "20261124T000000Z-000000";
  const Backup real = *read_backup(target.repository, lineage, kSealedBackup);
  Backup forged = real;
  forged.id = planted_id;
  const std::string commit = backup_name(lineage, planted_id);
  target.store.create(commit,
                      encode_document(planter, "backup", commit, to_json(forged), attacker.random));
  EXPECT_EQ(error_of([&] { read_backup(target.repository, lineage, planted_id); }).code(),
            ErrorCode::kCorrupt);

  // An extent in the place of a real one, under the pack's own id and salt.
  const store::ListPage packs = target.store.list({.prefix = lineage_folder(lineage) + "packs/"});
  for (const store::ListEntry& entry : packs.entries) {
    target.store.edit(entry.name, [&](Bytes& all) {
      ObjectHeader header = decode_header(all, kPackKind, target.repository.keyring(), entry.name);
      header.sealed = false;
      codec::ObjectSeal seal = make_seal(header, planter);
      const uint32_t unit_bytes = load_le<uint32_t>(all.data() + kHeaderBytes + 8);
      seal.seal(0, std::span(all).subspan(kHeaderBytes + 64, unit_bytes + codec::kSealBytes));
    });
  }
  EXPECT_EQ(error_of([&] {
              expect_backup_holds(target.repository, lineage, kSealedBackup, sample_files(1));
            }).code(),
            ErrorCode::kCorrupt);

  // repo.json that says that nothing is sealed: who has the key notices.
  Json body = Json::object();
  body.set("repository_id", to_hex(target.repository.id().view()))
      .set("format", 1)
      .set("features", Json::array());
  body.set("created", "2026-11-22T08:22:39Z")
      .set("sealed", false)
      .set("digest_key", std::string(128, '0'));
  const Bytes open = encode_open_document(target.repository.id(), "repository", "repo.json", body,
                                          attacker.random);
  target.store.edit("repo.json", [&](Bytes& all) { all = open; });
  EXPECT_EQ(error_of([&] { Repository::open(target.store, target.key); }).code(),
            ErrorCode::kConfiguration);
}

TEST(AnyRepository, ACopyInAnotherPlaceIsTheSameRepository) {
  for (Sealing sealing : {Sealing::kNone, Sealing::kKeyFile}) {
    TestRepository target(sealing);
    make_backup(target.repository, target.lineage, kSealedBackup, sample_files(1), target.clock);
    store::MemoryStore copy;
    for (const std::string& name : object_names(target.store))
      copy.create(name, object_bytes(target.store, name));
    Repository repository = Repository::open(copy, target.key);
    EXPECT_EQ(repository.clusters(), std::vector<std::string>{"main"});
    const LineageName lineage = repository.newest_lineage("main")->name;
    EXPECT_EQ(resolve_backup(repository, lineage, "latest").id, kSealedBackup);
    expect_backup_holds(repository, lineage, kSealedBackup, sample_files(1));
  }
}

}  // namespace
}  // namespace holdfast::repo
