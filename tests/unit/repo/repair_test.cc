// Commits stand twice: one of the two that is lost, damaged or closed costs nothing, and what is
// missing is put again.
#include "repo/repair.h"

#include <functional>

#include <gtest/gtest.h>

#include "repo/backup_order.h"
#include "repo/marks.h"
#include "support/closed_store.h"
#include "support/deletion_world.h"
#include "support/error_of.h"

namespace holdfast::repo {
namespace {

using test::Sealing;

class TwoCommits : public testing::TestWithParam<Sealing>, protected test::DeletionWorld {
 protected:
  TwoCommits() : DeletionWorld(GetParam()) {}

  std::vector<std::string> repair() {
    return repair_commits(target.repository, lineage(), target.clock);
  }
  // Everything that is said of a backup with that store below it.
  void expect_there(store::Store& store, const std::string& id) {
    const Repository repository = Repository::open(store, target.key, std::nullopt, target.random);
    EXPECT_EQ(list_backup_ids(repository, lineage()), std::vector<std::string>{id});
    EXPECT_EQ(backup_ids_in_order(repository, lineage()), std::vector<std::string>{id});
    EXPECT_TRUE(has_commit(repository, lineage(), id));
    EXPECT_EQ(resolve_backup(repository, lineage(), "latest").id, id);
  }
};
INSTANTIATE_TEST_SUITE_P(Kinds, TwoCommits, testing::Values(Sealing::kNone, Sealing::kKeyFile),
                         [](const auto& p) {
                           return p.param == Sealing::kNone ? "Plain" : "Sealed";
                         });

TEST_P(TwoCommits, AreTheSameBytesPutByTheBackup) {
  const std::string id = new_id();
  make_backup(target.repository, target.lineage, id, test::sample_files(1), target.clock);
  const std::vector<std::string> two = commit_names(id);
  EXPECT_EQ(test::object_bytes(target.store, two[0]), test::object_bytes(target.store, two[1]));
  EXPECT_TRUE(repair().empty());
}

TEST_P(TwoCommits, EitherIsTheBackup) {
  const std::string id = put_backup({pack(1)});
  for (const std::string& name : commit_names(id)) {
    SCOPED_TRACE(name);
    const Bytes whole = test::object_bytes(target.store, name);
    target.store.remove(name);
    expect_there(target.store, id);
    target.store.create(name, whole);
    flip_a_bit(name);
    expect_there(target.store, id);
    flip_a_bit(name);
    test::ClosedStore closed(target.store);
    closed.close(name);
    expect_there(closed, id);
  }
}

TEST_P(TwoCommits, WithoutEitherThereIsNone) {
  const std::string id = put_backup({pack(1)});
  for (const std::string& name : commit_names(id)) flip_a_bit(name);
  EXPECT_EQ(test::error_of([&] { read_commit(target.repository, lineage(), id); }).code(),
            ErrorCode::kCorrupt);
  EXPECT_EQ(list_backup_ids(target.repository, lineage()), std::vector<std::string>{id});
  remove_commit(id);
  EXPECT_FALSE(read_commit(target.repository, lineage(), id));
  EXPECT_FALSE(has_commit(target.repository, lineage(), id));
  EXPECT_TRUE(list_backup_ids(target.repository, lineage()).empty());
}

TEST_P(TwoCommits, TheFirstDecidesWhereTheyDiffer) {
  const std::string id = put_backup({pack(1)}, 4);
  const std::string copy = commit_names(id)[1];
  target.store.remove(copy);
  target.store.create(copy,
                      encode_document(target.repository.keyring(), "backup", commit_names(id)[0],
                                      to_json(commit_of(id, 1, 9)), target.random));
  EXPECT_EQ(read_commit(target.repository, lineage(), id)->start_lsn,
            commit_of(id, 1, 4).start_lsn);
}

TEST_P(TwoCommits, WhatIsMissingIsPutAgain) {
  const std::string id = put_backup({pack(1)});
  for (const std::string& name : commit_names(id)) {
    const Bytes whole = test::object_bytes(target.store, name);
    target.store.remove(name);
    EXPECT_EQ(repair(), std::vector<std::string>{name});
    EXPECT_EQ(test::object_bytes(target.store, name), whole);
  }
  EXPECT_TRUE(
      read_valid_intents(target.repository, lineage(), target.clock.now(), kIntentLife).empty());
  const std::vector<std::string> before = test::object_names(target.store);
  EXPECT_TRUE(repair().empty());
  EXPECT_EQ(test::object_names(target.store), before);
}

TEST_P(TwoCommits, NothingIsMadeOfDamageNorPutInItsPlace) {
  const std::string id = put_backup({pack(1)});
  for (const std::string& name : commit_names(id)) flip_a_bit(name);
  EXPECT_TRUE(repair().empty());
  target.store.remove(commit_names(id)[0]);
  EXPECT_TRUE(repair().empty());
  EXPECT_FALSE(has(commit_names(id)[0]));
}

// An expiry takes the two of a deleted backup one after the other.
TEST_P(TwoCommits, NothingIsPutOfWhatIsDeletedNorBesideAnExpiry) {
  const std::string deleted = put_backup({pack(1)});
  target.clock.advance(std::chrono::hours(1));
  const std::string there = put_backup({pack(2)});
  for (const std::string& id : {deleted, there}) target.store.remove(commit_names(id)[1]);
  put_mark(target.repository, lineage(), deleted, MarkKind::kDeleted, "");
  {
    const HeldIntent expiry(target.repository, lineage(), {.what = std::string(kExpireIntent)},
                            target.clock, kExpireIntentLife);
    EXPECT_TRUE(repair().empty());
  }
  EXPECT_EQ(repair(), std::vector<std::string>{commit_names(there)[1]});
  EXPECT_FALSE(has(commit_names(deleted)[1]));
}

// A repository that is full to the last byte has the backup nevertheless.
TEST_P(TwoCommits, ACopyThatCannotBePutIsNoFailure) {
  class NoCopies : public test::FaultStore {
   public:
    explicit NoCopies(store::Store& below)
        : FaultStore(below, {.first = test::Fault::kAllFurther}) {}
    bool create(const std::string& name, ByteView bytes) override {
      if (name.find("/backups.copy/") != std::string::npos)
        throw Error({.code = ErrorCode::kNoSpace, .message = "no room"});
      return FaultStore::create(name, bytes);
    }
  } full(target.store);
  const Repository repository = Repository::open(full, target.key, std::nullopt, target.random);
  const std::string id = new_id();
  make_backup(repository, target.lineage, id, test::sample_files(1), target.clock);
  EXPECT_EQ(list_backup_ids(target.repository, lineage()), std::vector<std::string>{id});
  EXPECT_EQ(repair(), std::vector<std::string>{commit_names(id)[1]});
}

}  // namespace
}  // namespace holdfast::repo
