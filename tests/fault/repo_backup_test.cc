// A store that fails at any call, or loses its answer, while a backup is made: earlier backups
// stay, and the next run works.
#include <gtest/gtest.h>

#include "repo/backup.h"
#include "support/fault_store.h"
#include "support/test_repository.h"

namespace holdfast::repo {
namespace {

using test::expect_backup_holds;
using test::Fault;
using test::FaultStore;
using test::make_backup;
using test::sample_files;
using test::Sealing;
using test::TestRepository;

const std::string kEarlier = "20261122T082239Z-1f2e3d";
const std::string kTried = "20261123T082239Z-aaaaaa";
const std::string kNext = "20261124T082239Z-bbbbbb";

// Whether a backup of `id` came to be on a store that fails so.
bool try_backup(TestRepository& target, FaultStore& faulty, const std::string& id) {
  try {
    Repository repository = Repository::open(faulty, target.key, std::nullopt, target.random);
    const std::optional<Lineage> lineage = repository.newest_lineage("main");
    if (!lineage) {
      ADD_FAILURE() << "a failing store was taken for an empty one";
      return false;
    }
    make_backup(repository, *lineage, id, sample_files(2), target.clock);
    return true;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kStoreUnavailable) << error.message();
    return false;
  }
}

class BackupFaults : public testing::TestWithParam<std::tuple<Sealing, bool, uint64_t>> {};
INSTANTIATE_TEST_SUITE_P(Kinds, BackupFaults,
                         testing::Combine(testing::Values(Sealing::kNone, Sealing::kKeyFile),
                                          testing::Bool(),
                                          testing::Values(uint64_t{1}, Fault::kAllFurther)),
                         [](const auto& p) {
                           return std::string(std::get<0>(p.param) == Sealing::kNone ? "Plain"
                                                                                     : "Sealed") +
                                  (std::get<1>(p.param) ? "AnswerLost" : "Refused") +
                                  (std::get<2>(p.param) == 1 ? "Once" : "FromThenOn");
                         });

TEST_P(BackupFaults, AnyFailedStoreCallLeavesEarlierBackupsReadableAndTheNextRunWorks) {
  const auto [sealing, lost_answer, count] = GetParam();
  bool finished = false;
  for (uint64_t nth = 1; !finished; ++nth) {
    ASSERT_LT(nth, 1000u) << "it never comes through";
    TestRepository target(sealing);
    make_backup(target.repository, target.lineage, kEarlier, sample_files(1), target.clock);
    FaultStore faulty(target.store,
                      Fault{.first = nth, .count = count, .lost_answer = lost_answer});
    const bool made = try_backup(target, faulty, kTried);
    finished = !faulty.fired();
    EXPECT_TRUE(made || !finished);

    SCOPED_TRACE(fmt::format("call {}", nth));
    const LineageName& lineage = target.lineage.name;
    expect_backup_holds(target.repository, lineage, kEarlier, sample_files(1));
    // What is visible is whole, also when nobody was told that it came to be.
    const std::vector<std::string> ids = list_backup_ids(target.repository, lineage);
    ASSERT_LE(ids.size(), 2u);
    if (made) {
      EXPECT_EQ(ids.size(), 2u);
    }
    if (ids.size() == 2) expect_backup_holds(target.repository, lineage, kTried, sample_files(2));

    make_backup(target.repository, target.lineage, kNext, sample_files(3), target.clock);
    expect_backup_holds(target.repository, lineage, kNext, sample_files(3));
  }
}

TEST(InitFaults, AnyFailedStoreCallLeavesNoRepositoryOrAWholeOneAndTheNextRunWorks) {
  for (Sealing sealing : {Sealing::kNone, Sealing::kKeyFile}) {
    for (const bool lost_answer : {false, true}) {
      bool finished = false;
      for (uint64_t nth = 1; !finished; ++nth) {
        ASSERT_LT(nth, 100u);
        test::FakeClock clock;
        test::FakeRandom random;
        store::MemoryStore store(clock);
        FaultStore faulty(store, Fault{.first = nth, .lost_answer = lost_answer});
        const KeySource key = test::test_key(sealing);
        try {
          Repository::create(faulty, key, clock, random);
        } catch (const Error& error) {
          EXPECT_EQ(error.code(), ErrorCode::kStoreUnavailable) << error.message();
        }
        finished = !faulty.fired();
        if (!store.info("repo.json")) Repository::create(store, key, clock, random);
        Repository repository = Repository::open(store, key, std::nullopt, random);
        const Lineage lineage = repository.create_lineage(test::test_lineage());
        make_backup(repository, lineage, kNext, sample_files(3), clock);
        expect_backup_holds(repository, lineage.name, kNext, sample_files(3));
      }
    }
  }
}

TEST(RestoreFaults, AnyFailedReadIsAnErrorAndNeverOtherBytes) {
  for (Sealing sealing : {Sealing::kNone, Sealing::kKeyFile}) {
    TestRepository target(sealing);
    make_backup(target.repository, target.lineage, kEarlier, sample_files(1), target.clock);
    bool finished = false;
    for (uint64_t nth = 1; !finished; ++nth) {
      ASSERT_LT(nth, 1000u);
      FaultStore faulty(target.store, nth);
      try {
        Repository repository = Repository::open(faulty, target.key, std::nullopt, target.random);
        expect_backup_holds(repository, target.lineage.name, kEarlier, sample_files(1));
        // Only a second place for the same bytes can make up for a failed call.
        EXPECT_FALSE(faulty.fired()) << nth;
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::kStoreUnavailable) << error.message();
      }
      finished = !faulty.fired();
    }
  }
}

}  // namespace
}  // namespace holdfast::repo
