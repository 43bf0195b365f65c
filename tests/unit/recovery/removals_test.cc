// Plans whose target lies between what takes a database or a tablespace away and the end of the
// transaction that does it.
#include <gtest/gtest.h>

#include "recovery/plan.h"
#include "support/archive_fixture.h"
#include "support/counting_store.h"

namespace holdfast::recovery {
namespace {

using test::ArchiveFixture;
using test::at_minute;
using test::WalBuilder;

Target time_target(double minute) { return {.kind = TargetKind::kTime, .time = at_minute(minute)}; }
Target lsn_target(pg::Lsn lsn, bool exclusive = false) {
  return {.kind = TargetKind::kLsn, .lsn = lsn, .exclusive = exclusive};
}
Target before_xid(uint64_t xid) {
  return {.kind = TargetKind::kXid, .xid = xid, .exclusive = true};
}

constexpr uint32_t kShop = 16385;

// Transaction 11 commits at minute 10, and a backup ends behind it. What a test adds comes then.
class RemovalPlan : public testing::Test, protected ArchiveFixture {
 protected:
  RemovalPlan() {
    wal_.add_filler(8);
    const pg::Lsn start = wal_.end_lsn();
    add_commit(wal_, 11, 10);
    put_backup({.start = start, .stop = wal_.end_lsn(), .stop_minute = 12});
    add_commit(wal_, 20, 20);
  }
  pg::Lsn commit(uint32_t xid) {
    add_commit(wal_, xid, xid);
    return wal_.previous_lsn();
  }
  void put_all() {
    wal_.add_switch();
    put_segments(wal_);
  }
  Plan plan(const Target& target) { return make_plan(repository(), lineage(), target); }

  // Recovery goes to `place`, and says why.
  void expect_before(pg::Lsn place, const Target& target, const std::string& what) {
    SCOPED_TRACE(to_string(target));
    const Plan made = plan(target);
    EXPECT_EQ(to_options(made.target), fmt::format("--to-lsn {} --exclusive", to_string(place)));
    ASSERT_FALSE(made.notes.empty());
    EXPECT_EQ(made.notes.back(),
              fmt::format("{} is taken away from {} on, before the transaction ends that does it: "
                          "recovery stops before that place, and no transaction up to the target "
                          "committed behind it",
                          what, to_string(place)));
  }
  void expect_untouched(const Target& target, size_t warnings = 0) {
    SCOPED_TRACE(to_string(target));
    const Plan made = plan(target);
    EXPECT_EQ(to_options(made.target), to_options(target));
    EXPECT_EQ(made.warnings.size(), warnings);
    EXPECT_TRUE(made.notes.empty());
  }

  WalBuilder wal_;
};

TEST_F(RemovalPlan, EachTargetBetweenADropAndItsEndIsThePlaceBeforeIt) {
  const pg::Lsn mark = wal_.add_mark(kShop, "shop");
  const pg::Lsn checkpoint = add_checkpoint(wal_, 21);
  const pg::Lsn drop = wal_.add_drop_database(kShop, 30);
  const pg::Lsn end = commit(30);
  const pg::Lsn other = commit(31);
  put_all();
  for (const Target& target :
       {time_target(20), time_target(29.9), before_xid(30), lsn_target(end, true),
        lsn_target(drop, true), lsn_target(drop), lsn_target(checkpoint), lsn_target(mark),
        // Where no record starts the next one is the target.
        lsn_target(mark - 3)}) {
    expect_before(mark, target, "database \"shop\"");
    EXPECT_EQ(plan(target).last_commit, at_minute(20));
    EXPECT_TRUE(plan(target).warnings.empty());
  }
  for (const Target& target :
       {time_target(30), lsn_target(end), lsn_target(other, true), lsn_target(mark, true),
        Target{.kind = TargetKind::kXid, .xid = 30}, Target{}})
    expect_untouched(target);
}

TEST_F(RemovalPlan, ATablespaceAndADatabaseWithoutAMarkGoWithTheirDirectories) {
  const pg::Lsn tablespace = wal_.add_drop_tablespace(16400, 25);
  commit(25);
  const pg::Lsn database = wal_.add_drop_database(kShop, 30);
  commit(30);
  put_all();
  expect_before(tablespace, time_target(24), "tablespace 16400");
  expect_before(database, time_target(29), "database 16385");
  expect_before(database, before_xid(30), "database 16385");
}

TEST_F(RemovalPlan, ADropMayTakeManySegments) {
  for (const uint64_t bytes : {8, 40}) {  // of the mark in the segment where it begins
    SCOPED_TRACE(bytes);
    ArchiveFixture archive;
    WalBuilder wal;
    wal.add_filler(8);
    const pg::Lsn start = wal.end_lsn();
    add_commit(wal, 11, 10);
    archive.put_backup({.start = start, .stop = wal.end_lsn(), .stop_minute = 12});
    wal.fill_to(pg::end_lsn(1, archive.size()) - bytes);
    const pg::Lsn mark = wal.add_mark(kShop, "shop");
    wal.add_switch();
    wal.add_filler(8);
    wal.add_switch();
    wal.add_drop_database(kShop, 30);
    wal.add_switch();
    add_commit(wal, 30, 30);
    wal.add_switch();
    archive.put_segments(wal);
    for (const Target& target : {time_target(29), before_xid(30)})
      EXPECT_EQ(to_options(make_plan(archive.repository(), archive.lineage(), target).target),
                fmt::format("--to-lsn {} --exclusive", to_string(mark)));
  }
}

// The checkpoint in between takes seconds to minutes: others go on working.
TEST_F(RemovalPlan, WhatOthersCommittedMeanwhileIsKeptAndBothPlacesAreNamed) {
  const pg::Lsn mark = wal_.add_mark(kShop, "shop");
  commit(25);
  const pg::Lsn drop = wal_.add_drop_database(kShop, 30);
  const pg::Lsn end = commit(30);
  put_all();
  const std::string as_it_was = fmt::format("--to-lsn {} --exclusive", to_string(mark));
  const std::string with_others = fmt::format("--to-lsn {} --exclusive", to_string(drop));
  for (const Target& target : {time_target(29), before_xid(30), lsn_target(end, true)}) {
    expect_before(drop, target, "database \"shop\"");
    const Plan made = plan(target);
    EXPECT_EQ(made.last_commit, at_minute(25));
    ASSERT_EQ(made.warnings.size(), 1U);
    EXPECT_EQ(made.warnings[0],
              fmt::format("DROP DATABASE marks database \"shop\" at {} and has not ended where "
                          "recovery stops: its files are there, and nobody can connect to it until "
                          "a superuser undoes the mark (UPDATE pg_database SET datconnlimit = -1 "
                          "WHERE oid = 16385). As it was before, and without what committed since: "
                          "holdfast restore {}. As it is here: holdfast restore {}",
                          to_string(mark), as_it_was, with_others));
  }
  // The commands do what they say.
  expect_untouched(lsn_target(mark, true));
  expect_untouched(lsn_target(drop, true), 1);
  expect_untouched({.kind = TargetKind::kXid, .xid = 25}, 1);
}

TEST_F(RemovalPlan, WhatCommittedBehindTheFilesIsKeptWithAWarning) {
  const pg::Lsn mark = wal_.add_mark(kShop, "shop");
  const pg::Lsn drop = wal_.add_drop_database(kShop, 30);
  commit(25);
  commit(30);
  put_all();
  const Plan made = plan(time_target(29));
  EXPECT_EQ(made.target.kind, TargetKind::kTime);
  ASSERT_EQ(made.warnings.size(), 1U);
  EXPECT_EQ(made.warnings[0],
            fmt::format("database \"shop\" is left without its files, which are taken away at {}: "
                        "the transaction that does it has not ended where recovery stops. As it "
                        "was before, and without what committed since: holdfast restore --to-lsn "
                        "{} --exclusive. As it is here: holdfast restore {}",
                        to_string(drop), to_string(mark), to_options(time_target(29))));
  expect_before(mark, before_xid(25), "database \"shop\"");
}

TEST_F(RemovalPlan, OfSeveralAtOnceEachIsWhole) {
  const pg::Lsn first = wal_.add_mark(kShop, "shop");
  wal_.add_mark(16386, "store");
  wal_.add_drop_database(16386, 30);
  wal_.add_drop_database(kShop, 31);
  commit(30);
  commit(31);
  put_all();
  expect_before(first, time_target(29), "database \"shop\"");
}

TEST_F(RemovalPlan, ADropThatFailedIsNoneWhereItsTransactionIsKnownToHaveEnded) {
  const auto abort = [&](uint32_t xid) {
    wal_.add_data(pg::kRmTransaction, 0x20, xid,
                  ByteWriter().i64(test::to_postgres_microseconds(at_minute(xid))).view());
  };
  wal_.add_mark(kShop, "shop", 25);
  abort(25);
  commit(26);
  commit(27);
  put_all();
  expect_untouched(time_target(26));
}

// Whose transaction it was, and that it ended, nothing tells: the row is marked all the same.
TEST_F(RemovalPlan, AMarkWithoutATransactionStandsUntilTheDatabaseIsGone) {
  const pg::Lsn mark = wal_.add_mark(kShop, "shop");
  commit(25);
  commit(26);
  wal_.add_mark(kShop, "shop");
  wal_.add_drop_database(kShop, 30);
  commit(30);
  commit(31);
  put_all();
  expect_untouched(time_target(25.5), 1);
  EXPECT_NE(plan(time_target(25.5)).warnings[0].find(to_string(mark)), std::string::npos);
  expect_untouched(time_target(30.5));
}

TEST_F(RemovalPlan, ABackupThatEndedBehindTheBeginningIsTooLate) {
  const pg::Lsn mark = wal_.add_mark(kShop, "shop");
  const pg::Lsn start = wal_.end_lsn();
  wal_.add_filler(8);
  const std::string late = put_backup({.start = start, .stop = wal_.end_lsn(), .stop_minute = 22});
  wal_.add_drop_database(kShop, 30);
  commit(30);
  put_all();
  expect_before(mark, time_target(29), "database \"shop\"");
  EXPECT_NE(plan(time_target(29)).backup.id, late);
  // With that one alone the place cannot be reached.
  Target from_late = time_target(29);
  from_late.backup = late;
  const Plan made = plan(from_late);
  EXPECT_EQ(made.target.kind, TargetKind::kTime);
  ASSERT_EQ(made.warnings.size(), 1U);
  EXPECT_TRUE(made.warnings[0].ends_with("No backup leads to the place before that"))
      << made.warnings[0];
}

TEST_F(RemovalPlan, TheEndOfTheArchiveIsKeptWithAWarning) {
  const pg::Lsn mark = wal_.add_mark(kShop, "shop");
  wal_.add_drop_database(kShop, 30);
  put_all();
  const Plan made = plan({});
  EXPECT_EQ(made.target.kind, TargetKind::kLatest);
  ASSERT_EQ(made.warnings.size(), 1U);
  EXPECT_NE(made.warnings[0].find(fmt::format("As it was before: holdfast restore --to-lsn {} "
                                              "--exclusive. As it is here: holdfast restore "
                                              "--to-latest",
                                              to_string(mark))),
            std::string::npos)
      << made.warnings[0];
}

TEST_F(RemovalPlan, OfWhatAnOlderProgramArchivedTheLastTwoSegmentsAreRead) {
  commit(21);
  wal_.add_switch();
  const pg::Lsn mark = wal_.add_mark(kShop, "shop");
  wal_.add_drop_database(kShop, 30);
  wal_.add_switch();
  commit(30);
  wal_.add_switch();
  for (size_t index = 0; index < wal_.segment_count(); ++index) put_segment_of_0_1_0(wal_, index);
  expect_before(mark, time_target(29), "database \"shop\"");
  expect_before(mark, before_xid(30), "database \"shop\"");
}

// Twenty segments with transactions, and with a DROP DATABASE each but the one of the target.
uint64_t calls_for_a_time(bool with_drops) {
  ArchiveFixture archive;
  WalBuilder wal;
  wal.add_filler(8);
  const pg::Lsn start = wal.end_lsn();
  archive.add_commit(wal, 11, 10);
  archive.put_backup({.start = start, .stop = wal.end_lsn(), .stop_minute = 12});
  for (uint32_t k = 20; k < 40; ++k) {
    if (with_drops && k < 39) {
      wal.add_mark(k, "shop");
      wal.add_drop_database(k, k);
    }
    archive.add_commit(wal, k, k);
    archive.add_commit(wal, 100 + k, k + 0.5);
    wal.add_switch();
  }
  archive.put_segments(wal);
  test::CountingStore counting(archive.store());
  const repo::Repository counted = repo::Repository::open(counting, {});
  const uint64_t before = counting.calls();
  EXPECT_EQ(make_plan(counted, archive.lineage(), time_target(39.2)).target.kind,
            TargetKind::kTime);
  return counting.calls() - before;
}

TEST(RemovalPlanReads, NoSegmentBecauseOfADropThatEndedInIt) {
  EXPECT_EQ(calls_for_a_time(true), calls_for_a_time(false));
}

}  // namespace
}  // namespace holdfast::recovery
