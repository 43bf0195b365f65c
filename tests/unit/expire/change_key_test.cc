#include "expire/change_key.h"

#include <gtest/gtest.h>

#include "repo/key_objects.h"
#include "support/error_of.h"
#include "support/fault_store.h"
#include "support/test_repository.h"

namespace holdfast::expire {
namespace {

using test::error_of;
using test::Fault;
using test::FaultStore;

const std::string kBackup = "20261122T082239Z-1f2e3d";

repo::KeySource key_file(uint8_t byte) {
  repo::KeySource key;
  key.key_file = codec::SecretKey::from_bytes(Bytes(32, std::byte{byte}));
  return key;
}

class ChangeKey : public testing::Test {
 protected:
  ChangeKey() : target(test::Sealing::kKeyFile) {
    test::make_backup(target.repository, target.lineage, kBackup, test::sample_files(1),
                      target.clock);
  }
  ChangedKey change(const repo::KeySource& from, const repo::KeySource& to, bool keep = false) {
    return change_key(target.store, from, to, keep, target.store, target.random);
  }
  bool opens(const repo::KeySource& key) {
    try {
      const repo::Repository repository =
          repo::Repository::open(target.store, key, std::nullopt, target.random);
      EXPECT_TRUE(std::ranges::equal(repository.keyring().data_key->view(),
                                     target.repository.keyring().data_key->view()));
      test::expect_backup_holds(repository, target.lineage.name, kBackup, test::sample_files(1));
      return true;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kWrongKey) << error.message();
      return false;
    }
  }
  size_t key_objects() {
    return target.store.list({.prefix = "keys/"}).entries.size() +
           target.store.list({.prefix = "keys.copy/"}).entries.size();
  }
  test::TestRepository target;
  const repo::KeySource old_key = test::test_key(test::Sealing::kKeyFile);
  const repo::KeySource new_key = key_file(0x11);
};

TEST_F(ChangeKey, TheNewOneOpensEverythingAndTheOldOneNoLongerDoes) {
  const ChangedKey changed = change(old_key, new_key);
  EXPECT_EQ(changed.removed.size(), 1u);
  EXPECT_FALSE(changed.was_there);
  EXPECT_TRUE(opens(new_key));
  EXPECT_FALSE(opens(old_key));
  EXPECT_EQ(key_objects(), 2u);
}

TEST_F(ChangeKey, AKeyFileCanFollowAPassphraseAndTheOtherWayRound) {
  repo::KeySource passphrase;
  passphrase.passphrase = "seven words that nobody else puts together";
  change(old_key, passphrase);
  EXPECT_TRUE(opens(passphrase));
  EXPECT_FALSE(opens(old_key));
  change(passphrase, new_key);
  EXPECT_TRUE(opens(new_key));
  EXPECT_FALSE(opens(passphrase));
}

TEST_F(ChangeKey, OneMoreKeyLeavesTheOthers) {
  EXPECT_TRUE(change(old_key, new_key, true).removed.empty());
  EXPECT_TRUE(opens(old_key));
  EXPECT_TRUE(opens(new_key));
  change(old_key, key_file(0x22));
  EXPECT_FALSE(opens(old_key));
  EXPECT_TRUE(opens(new_key));
  EXPECT_TRUE(opens(key_file(0x22)));
}

// The way to be rid of a key that was lost or leaked.
TEST_F(ChangeKey, AKeyIsRemovedByWhoHasAnother) {
  const std::string old_id =
      to_hex(repo::list_key_objects(target.store, target.repository.id()).front().id.view());
  const auto find = [&](const repo::KeySource& key, const std::string& id) {
    return find_removable_key(target.store, key, id);
  };
  const Error last = error_of([&] { find(old_key, old_id); });
  EXPECT_EQ(last.code(), ErrorCode::kConflict);
  EXPECT_TRUE(last.hint().starts_with("It is the last one. ")) << last.hint();

  change(old_key, new_key, true);
  const Error used = error_of([&] { find(old_key, old_id.substr(0, 8)); });
  EXPECT_EQ(used.code(), ErrorCode::kConflict);
  EXPECT_EQ(used.message(), "key " + old_id + " is the one that this command uses");
  EXPECT_EQ(error_of([&] { find(new_key, "no such"); }).code(), ErrorCode::kNotFound);
  EXPECT_EQ(error_of([&] { find(key_file(0x33), old_id); }).code(), ErrorCode::kWrongKey);
  EXPECT_EQ(key_objects(), 4u);

  // A run that was killed between the two places is run again.
  const repo::KeyObject key = find(new_key, old_id.substr(0, 8));
  target.store.remove(repo::key_name(key.id));
  remove_key(target.store, new_key, find(new_key, old_id).id, target.store);
  EXPECT_FALSE(opens(old_key));
  EXPECT_TRUE(opens(new_key));
  EXPECT_EQ(key_objects(), 2u);
}

TEST_F(ChangeKey, ChangesNothingForAWrongKeyTheSameKeyOrAnOpenRepository) {
  const std::vector<std::string> before = test::object_names(target.store);
  EXPECT_EQ(error_of([&] { change(key_file(0x33), new_key); }).code(), ErrorCode::kWrongKey);
  const Error same = error_of([&] { change(old_key, old_key); });
  EXPECT_EQ(same.code(), ErrorCode::kUsage);
  EXPECT_EQ(same.message(), "the new key is the one that the repository has");
  EXPECT_EQ(test::object_names(target.store), before);
  test::TestRepository open;
  EXPECT_EQ(
      error_of([&] { change_key(open.store, {}, new_key, false, open.store, open.random); }).code(),
      ErrorCode::kUsage);
}

TEST_F(ChangeKey, RefusesMoreKeysThanAReaderTries) {
  for (uint8_t i = 0; i < 63; ++i) change(old_key, key_file(static_cast<uint8_t>(0x80 + i)), true);
  EXPECT_EQ(error_of([&] { change(old_key, key_file(0xFE), true); }).code(), ErrorCode::kConflict);
  EXPECT_TRUE(opens(old_key));
}

TEST_F(ChangeKey, ListsWhatCanBeToldOfEachKey) {
  target.clock.advance(std::chrono::hours(1));
  repo::KeySource passphrase;
  passphrase.passphrase = "seven words that nobody else puts together";
  const Bytes16 added = change(old_key, passphrase, true).added;
  std::vector<repo::KeyObject> keys = repo::list_key_objects(target.store, target.repository.id());
  ASSERT_EQ(keys.size(), 2u);
  EXPECT_EQ(keys[0].kind, "key_file");
  EXPECT_EQ(keys[1].kind, "passphrase");
  EXPECT_EQ(keys[1].id, added);
  EXPECT_EQ(keys[1].made, target.clock.now());
  EXPECT_EQ(keys[1].made.value() - keys[0].made.value(), std::chrono::hours(1));
  // What is lost or damaged of them is told.
  target.store.remove(repo::key_name(added));
  target.store.edit(repo::key_name(keys[0].id), [](Bytes& bytes) { bytes[5] ^= std::byte{1}; });
  target.store.edit(repo::key_copy_name(keys[0].id),
                    [](Bytes& bytes) { bytes[5] ^= std::byte{1}; });
  keys = repo::list_key_objects(target.store, target.repository.id());
  ASSERT_EQ(keys.size(), 2u);
  EXPECT_EQ(keys[0].copies, 0);
  EXPECT_TRUE(keys[0].kind.empty());
  EXPECT_EQ(keys[1].copies, 1);
  EXPECT_EQ(keys[1].kind, "passphrase");
}

// Also what a kill leaves: from the nth call on nothing is done any more.
TEST_F(ChangeKey, CutShortAtAnyCallLeavesAKeyThatOpensAndTheNextRunFinishes) {
  for (const bool lost_answer : {false, true}) {
    bool finished = false;
    for (uint64_t nth = 1; !finished; ++nth) {
      ASSERT_LT(nth, 200u);
      SCOPED_TRACE(fmt::format("call {}", nth));
      test::TestRepository fresh(test::Sealing::kKeyFile);
      FaultStore faulty(fresh.store,
                        {.first = nth, .count = Fault::kAllFurther, .lost_answer = lost_answer},
                        &fresh.store);
      try {
        change_key(faulty, old_key, new_key, false, faulty, fresh.random);
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::kStoreUnavailable) << error.message();
      }
      finished = !faulty.fired();
      auto opened = [&](const repo::KeySource& key) {
        return !repo::key_objects_opened_by(fresh.store, key, fresh.repository.id()).empty();
      };
      EXPECT_TRUE(opened(old_key) || opened(new_key));
      if (opened(old_key))
        change_key(fresh.store, old_key, new_key, false, fresh.store, fresh.random);
      EXPECT_TRUE(opened(new_key));
      EXPECT_FALSE(opened(old_key));
      EXPECT_EQ(fresh.store.list({.prefix = "keys/"}).entries.size(), 1u);
      EXPECT_EQ(fresh.store.list({.prefix = "keys.copy/"}).entries.size(), 1u);
      repo::Repository::open(fresh.store, new_key, std::nullopt, fresh.random);
    }
  }
}

}  // namespace
}  // namespace holdfast::expire
