#include "repo/repository.h"

#include <algorithm>
#include <functional>

#include <gtest/gtest.h>

#include "repo/lineage_choice.h"
#include "support/closed_store.h"
#include "support/error_of.h"
#include "support/test_repository.h"

namespace holdfast::repo {
namespace {

using test::error_of;
using test::object_bytes;
using test::Sealing;
using test::test_key;
using test::TestRepository;

// A store that forgets to look whether a name is free.
class ReplacingStore : public store::MemoryStore {
 public:
  bool create(const std::string& name, ByteView bytes) override {
    if (!info(name)) return MemoryStore::create(name, bytes);
    edit(name, [&](Bytes& all) { all.assign(bytes.begin(), bytes.end()); });
    return true;
  }
};

TEST(Repository, OpensWithTheIdAndTheKeyThatItWasMadeWith) {
  for (Sealing sealing : {Sealing::kNone, Sealing::kKeyFile}) {
    TestRepository made(sealing);
    Repository opened = Repository::open(made.store, made.key);
    EXPECT_EQ(opened.id(), made.repository.id());
    EXPECT_EQ(opened.created(), made.clock.now());
    EXPECT_EQ(opened.sealed(), sealing != Sealing::kNone);
    EXPECT_EQ(opened.keyring().content_digest_key, made.repository.keyring().content_digest_key);
    EXPECT_NO_THROW(Repository::open(made.store, made.key, made.repository.id()));
  }
}

TEST(Repository, OpensWithAPassphrase) {
  test::FakeClock clock;
  test::FakeRandom random;
  store::MemoryStore store(clock);
  const KeySource key{.passphrase = "correct horse battery staple"};
  Repository made = Repository::create(store, key, clock, random);
  Repository opened = Repository::open(store, key);
  EXPECT_TRUE(
      std::ranges::equal(opened.keyring().data_key->view(), made.keyring().data_key->view()));

  Error error = error_of([&] { Repository::open(store, {.passphrase = "correct horse battery"}); });
  EXPECT_EQ(error.code(), ErrorCode::kWrongKey);
  EXPECT_EQ(error.message(), "this passphrase does not open the repository at \"memory:\"");
}

TEST(Repository, SaysWhatIsMissing) {
  store::MemoryStore store;
  Error error = error_of([&] { Repository::open(store, {}); });
  EXPECT_EQ(error.code(), ErrorCode::kNotFound);
  EXPECT_EQ(error.message(), "there is no repository at \"memory:\"");
  EXPECT_NE(error.hint().find("mounted"), std::string::npos);
  EXPECT_NE(error.hint().find("holdfast init"), std::string::npos);
}

TEST(Repository, SealedNeedsTheKeyAndSaysWhereToPutIt) {
  TestRepository made(Sealing::kKeyFile);
  Error error = error_of([&] { Repository::open(made.store, {}); });
  EXPECT_EQ(error.code(), ErrorCode::kWrongKey);
  EXPECT_EQ(error.message(), "the repository at \"memory:\" is sealed, and no key was given");
  for (const char* setting : {"--key-file", "key_file", "passphrase_file", "passphrase_command"})
    EXPECT_NE(error.hint().find(setting), std::string::npos) << setting;

  KeySource other{.key_file = codec::SecretKey::generate(made.random)};
  error = error_of([&] { Repository::open(made.store, other); });
  EXPECT_EQ(error.code(), ErrorCode::kWrongKey);
  EXPECT_EQ(error.message(), "this key file does not open the repository at \"memory:\"");
}

TEST(Repository, UnsealedRefusesAKey) {
  TestRepository made(Sealing::kNone);
  Error error = error_of([&] { Repository::open(made.store, test_key(Sealing::kKeyFile)); });
  EXPECT_EQ(error.code(), ErrorCode::kConfiguration);
  EXPECT_EQ(error.message(), "a key was given, but the repository at \"memory:\" is not sealed");
}

TEST(Repository, RefusesToBeAnotherOne) {
  TestRepository made;
  Error error = error_of([&] { Repository::open(made.store, {}, Bytes16{}); });
  EXPECT_EQ(error.code(), ErrorCode::kWrongCluster);
  EXPECT_NE(error.detail().find(to_hex(made.repository.id().view())), std::string::npos);
}

TEST(Repository, RefusesFeaturesThatItDoesNotKnow) {
  TestRepository made;
  const Bytes text = object_bytes(made.store, "repo.json");
  made.store.remove("repo.copy.json");
  for (const char* member : {"format", "features"}) {
    Json body = decode_open_document("repository", "repo.json", text).body;
    body.set(member,
             std::string_view(member) == "format" ? Json(2) : Json(Json::Array{Json("dedup2")}));
    const Bytes changed =
        encode_open_document(made.repository.id(), "repository", "repo.json", body, made.random);
    made.store.edit("repo.json", [&](Bytes& all) { all = changed; });
    EXPECT_EQ(error_of([&] { Repository::open(made.store, {}); }).code(), ErrorCode::kUnsupported)
        << member;
  }
}

TEST(Repository, IsOpenedByItsCopyWhereTheFirstLooksAsIfItWereALaterVersions) {
  TestRepository made;
  test::flip_a_bit_of_the_seal(made.store, "repo.json");
  EXPECT_EQ(Repository::open(made.store, {}).id(), made.repository.id());
}

TEST(Repository, IsNotMadeWhereOneIs) {
  TestRepository made;
  const Bytes before = object_bytes(made.store, "repo.json");
  Error error = error_of([&] { Repository::create(made.store, {}, made.clock); });
  EXPECT_EQ(error.code(), ErrorCode::kAlreadyExists);
  EXPECT_EQ(error.message(), "there is already a repository at \"memory:\"");
  EXPECT_EQ(object_bytes(made.store, "repo.json"), before);
}

TEST(Repository, IsNotMadeAmongOtherFilesNorOverARepositoryWithoutItsIdentity) {
  test::FakeClock clock;
  test::FakeRandom random;
  const struct {
    const char* object;
    const char* message;
  } cases[] = {
      {"photos/cat.jpg", "\"memory:\" is not empty"},
      {"zz", "\"memory:\" is not empty"},
      {"clusters/main/15-1/lineage.json", "the repository at \"memory:\" has lost its repo.json"},
  };
  for (const auto& c : cases) {
    store::MemoryStore store(clock);
    ASSERT_TRUE(store.create(c.object, as_bytes("x")));
    const Error error = error_of([&] { Repository::create(store, {}, clock, random); });
    EXPECT_EQ(error.code(), ErrorCode::kConflict) << c.object;
    EXPECT_EQ(error.message(), c.message);
    EXPECT_FALSE(error.hint().empty());
    EXPECT_EQ(store.list({}).entries.size(), 1U) << "something was made";
  }
  // Keys that an attempt left which failed before repo.json.
  store::MemoryStore store(clock);
  ASSERT_TRUE(store.create(key_name(random.bytes16()), as_bytes("x")));
  EXPECT_NO_THROW(Repository::create(store, {}, clock, random));
}

TEST(Repository, IsNotMadeOnAStoreThatReplaces) {
  ReplacingStore store;
  Error error = error_of([&] { Repository::create(store, {}, system_clock()); });
  EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
  EXPECT_EQ(error.message(), "the store at \"memory:\" replaces what it should keep");
}

TEST(Repository, OpensByTheCopyOfAKeyThatIsLostOrDamaged) {
  TestRepository made(Sealing::kKeyFile);
  const std::string name = made.store.list({.prefix = "keys/"}).entries.at(0).name;
  made.store.edit(name, [](Bytes& all) { all[all.size() / 2] ^= std::byte{1}; });
  EXPECT_NO_THROW(Repository::open(made.store, made.key));
  made.store.remove(name);
  EXPECT_NO_THROW(Repository::open(made.store, made.key));

  const std::string copy = made.store.list({.prefix = "keys.copy/"}).entries.at(0).name;
  made.store.edit(copy, [](Bytes& all) { all[all.size() / 2] ^= std::byte{1}; });
  EXPECT_EQ(error_of([&] { Repository::open(made.store, made.key); }).code(), ErrorCode::kCorrupt)
      << "damage is not taken for a wrong key";
  made.store.remove(copy);
  Error error = error_of([&] { Repository::open(made.store, made.key); });
  EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
  EXPECT_EQ(error.message(), "the repository at \"memory:\" has no key objects");
}

TEST(Repository, PassesOverKeysOfAnotherRepository) {
  TestRepository made(Sealing::kKeyFile);
  TestRepository other(Sealing::kKeyFile, 5);
  const std::string foreign = other.store.list({.prefix = "keys/"}).entries.at(0).name;
  made.store.create(foreign, object_bytes(other.store, foreign));
  EXPECT_NO_THROW(Repository::open(made.store, made.key));
}

TEST(Repository, RefusesEveryChangedByteOfRepoJson) {
  TestRepository made;
  const Bytes text = object_bytes(made.store, "repo.json");
  made.store.remove("repo.copy.json");
  const size_t salt_start = as_text(text).find("\"salt\":\"") + 8;  // not used without a key
  for (size_t at = 0; at < text.size(); ++at) {
    if (at >= salt_start && at < salt_start + 64) continue;
    made.store.edit("repo.json", [&](Bytes& all) { all[at] ^= std::byte{1}; });
    ASSERT_THROW(Repository::open(made.store, {}), Error) << at;
    made.store.edit("repo.json", [&](Bytes& all) { all[at] ^= std::byte{1}; });
  }
}

TEST(Lineages, AreFoundBySystemIdentifierAndCountedByMajor) {
  TestRepository made(Sealing::kKeyFile);
  EXPECT_EQ(made.repository.clusters(), std::vector<std::string>{"main"});
  EXPECT_EQ(to_string(made.lineage.name), "15-1");

  Lineage second = test::test_lineage();
  second.system_identifier = 42;
  made.clock.advance(std::chrono::hours(1));
  second.created = made.clock.now();
  second = made.repository.create_lineage(second);
  EXPECT_EQ(to_string(second.name), "15-2");
  Lineage third = test::test_lineage();
  third.system_identifier = 43;
  third.name.major = 18;
  third.created = made.clock.now();
  EXPECT_EQ(to_string(made.repository.create_lineage(third).name), "18-1");

  EXPECT_EQ(made.repository.lineages("main").size(), 3u);
  EXPECT_EQ(to_string(made.repository.newest_lineage("main")->name), "18-1");
  const std::optional<Lineage> found =
      made.repository.find_lineage("main", made.lineage.system_identifier);
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->name, made.lineage.name);
  EXPECT_EQ(found->catalog_version, made.lineage.catalog_version);
  EXPECT_EQ(found->wal_segment_bytes, made.lineage.wal_segment_bytes);
  EXPECT_EQ(found->block_bytes, made.lineage.block_bytes);
  EXPECT_EQ(found->blocks_per_segment, made.lineage.blocks_per_segment);
  EXPECT_EQ(found->created, made.lineage.created);
  EXPECT_FALSE(made.repository.find_lineage("main", 99).has_value());
  EXPECT_FALSE(made.repository.newest_lineage("other").has_value());
}

// What everything hangs on stands twice.
TEST(Repository, IsReadFromTheCopiesOfWhatIsLostOrRotten) {
  for (const test::Sealing sealing : {test::Sealing::kNone, test::Sealing::kKeyFile})
    for (const bool is_missing : {false, true}) {
      TestRepository made(sealing);
      const std::vector<std::pair<std::string, std::string>> pairs = {
          {"repo.json", "repo.copy.json"},
          {lineage_document_name(made.lineage.name), lineage_copy_name(made.lineage.name)}};
      for (const auto& [first, copy] : pairs) {
        const Bytes bytes = *store::read_whole(made.store, first, kMaxDocumentBytes);
        EXPECT_EQ(*store::read_whole(made.store, copy, kMaxDocumentBytes), bytes);
        const auto spoil = [&](const std::string& name) {
          if (is_missing)
            made.store.remove(name);
          else
            made.store.edit(name, [](Bytes& text) { text[text.size() / 2] ^= std::byte{4}; });
        };
        for (const std::string& name : {first, copy}) {
          spoil(name);
          const Repository repository = Repository::open(made.store, made.key);
          EXPECT_EQ(repository.id(), made.repository.id()) << name;
          EXPECT_EQ(repository.require_lineages("main").size(), 1u) << name;
          made.store.remove(name);
          made.store.create(name, bytes);
        }
        spoil(first);
        spoil(copy);
        EXPECT_THROW(Repository::open(made.store, made.key).require_lineages("main"), Error)
            << first;
        for (const std::string& name : {first, copy}) {
          made.store.remove(name);
          made.store.create(name, bytes);
        }
        // Of an earlier version there is no copy, until the next backup.
        made.store.remove(copy);
        made.repository.complete_copies(made.lineage.name);
        EXPECT_EQ(*store::read_whole(made.store, copy, kMaxDocumentBytes), bytes);
      }
    }
}

// Its backups say the same, so it is neither lost nor made a second time.
TEST(Lineages, WithoutEitherDocumentAreReadFromACommitAndGetThemAgain) {
  for (const Sealing sealing : {Sealing::kNone, Sealing::kKeyFile}) {
    TestRepository made(sealing);
    const LineageName& name = made.lineage.name;
    const std::string id = make_backup_id(made.clock.now(), made.random);
    const auto lose_both = [&] {
      made.store.remove(lineage_document_name(name));
      made.store.remove(lineage_copy_name(name));
    };
    lose_both();
    made.repository.complete_copies(name);
    EXPECT_FALSE(made.store.info(lineage_document_name(name))) << "nothing tells what it said";
    made.repository.create_lineage(test::test_lineage());
    test::make_backup(made.repository, made.lineage, id, test::sample_files(1), made.clock);
    for (const std::string& lost : {backup_name(name, id), backup_copy_name(name, id)}) {
      const Bytes commit = object_bytes(made.store, lost);
      made.store.remove(lost);
      lose_both();
      const std::optional<Lineage> found =
          made.repository.find_lineage("main", made.lineage.system_identifier);
      ASSERT_TRUE(found);
      EXPECT_EQ(found->name, name);
      EXPECT_EQ(found->catalog_version, made.lineage.catalog_version);
      EXPECT_EQ(found->wal_segment_bytes, made.lineage.wal_segment_bytes);
      EXPECT_EQ(found->block_bytes, made.lineage.block_bytes);
      EXPECT_EQ(found->blocks_per_segment, made.lineage.blocks_per_segment);
      EXPECT_EQ(error_of([&] { made.repository.create_lineage(test::test_lineage()); }).code(),
                ErrorCode::kAlreadyExists);
      made.repository.complete_copies(name);
      EXPECT_EQ(object_bytes(made.store, lineage_document_name(name)),
                object_bytes(made.store, lineage_copy_name(name)));
      made.store.create(lost, commit);
      EXPECT_EQ(made.repository.require_lineages("main").size(), 1u);
    }
    lose_both();
    for (const std::string& half : {backup_name(name, id), backup_copy_name(name, id)})
      test::flip_a_bit(made.store, half);
    EXPECT_EQ(error_of([&] { made.repository.require_lineages("main"); }).code(),
              ErrorCode::kCorrupt)
        << "it may be any system's";
  }
}

TEST(Lineages, OneThatCannotBeReadHoldsUpNobodyWhoNeedsAnother) {
  TestRepository made;
  Lineage other = test::test_lineage();
  other.system_identifier = 42;
  other = made.repository.create_lineage(other);
  test::ClosedStore store(made.store);
  const Repository repository = Repository::open(store, made.key);
  store.close("clusters/main/drills/");
  EXPECT_EQ(repository.lineages("main").size(), 2u);

  store.close(lineage_document_name(other.name));
  EXPECT_EQ(repository.lineages("main").size(), 2u) << "its copy is read";
  store.close(lineage_copy_name(other.name));
  EXPECT_TRUE(repository.find_lineage("main", made.lineage.system_identifier).has_value());
  std::vector<std::string> told;
  const std::vector<Lineage> found =
      repository.require_lineages("main", [&](const LineageName& name, const Error& error) {
        told.push_back(to_string(name) + ": " + error.message());
      });
  EXPECT_EQ(found.size(), 1u);
  EXPECT_EQ(told,
            std::vector<std::string>{"15-2: could not open \"clusters/main/15-2/lineage.json\": "
                                     "Permission denied"});
  // Who needs it is told why it cannot be had: it may be the one, or the newest, or the next.
  const auto newest = [&] { repository.newest_lineage("main"); };
  const auto of_system = [&] { repository.find_lineage("main", 42); };
  const auto latest = [&] { choose_lineage(repository, "main", {.backup = "latest"}); };
  const auto next = [&] {
    Lineage third = test::test_lineage();
    third.system_identifier = 43;
    repository.create_lineage(third);
  };
  for (const std::function<void()>& call : std::vector<std::function<void()>>{
           newest, of_system, latest, next, [&] { repository.lineages("main"); }})
    EXPECT_EQ(error_of(call).code(), ErrorCode::kPermission);
}

TEST(Lineages, OfAClusterThatIsNotThereAreRefusedWithWhatIsThere) {
  TestRepository made;
  EXPECT_EQ(made.repository.require_lineages("main").size(), 1u);
  Error error = error_of([&] { made.repository.require_lineages("other"); });
  EXPECT_EQ(error.code(), ErrorCode::kNotFound);
  EXPECT_EQ(error.message(), "the repository has no cluster \"other\"");
  EXPECT_EQ(error.detail(), "It has: main.");
  EXPECT_EQ(
      error.hint(),
      "Choose one with --cluster NAME. To begin this one, write a section [cluster.other] into "
      "the configuration, if there is one, and run \"holdfast init -c other\".");

  store::MemoryStore empty;
  const Repository without = Repository::create(empty, {}, system_clock());
  error = error_of([&] { without.require_lineages("other"); });
  EXPECT_EQ(error.detail(), "It has no cluster at all.");
  EXPECT_EQ(error.hint(), "Run \"holdfast init -c other\" first.");
}

TEST(Lineages, ASystemIdentifierHasOne) {
  TestRepository made;
  Error error = error_of([&] { made.repository.create_lineage(test::test_lineage()); });
  EXPECT_EQ(error.code(), ErrorCode::kAlreadyExists);
  EXPECT_EQ(error.detail(), "It is \"15-1\".");
}

TEST(Documents, AreCreatedOnceAndReadBack) {
  TestRepository made(Sealing::kKeyFile);
  const std::string name = "clusters/main/15-1/marks/b/m.json";
  EXPECT_FALSE(made.repository.read_document("mark", name).has_value());
  EXPECT_TRUE(made.repository.create_document("mark", name, Json::object().set("what", "pinned")));
  EXPECT_FALSE(
      made.repository.create_document("mark", name, Json::object().set("what", "unpinned")));
  EXPECT_EQ(made.repository.read_document("mark", name)->at("what").as_string(), "pinned");
}

}  // namespace
}  // namespace holdfast::repo
