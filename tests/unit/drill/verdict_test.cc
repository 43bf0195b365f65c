#include "drill/verdict.h"

#include <gtest/gtest.h>

#include "base/file.h"

namespace holdfast::drill {
namespace {

using recovery::TargetKind;

Time at(int seconds) { return Time(std::chrono::seconds(1'800'000'000 + seconds)); }

restore::RestoreResult restored_to(TargetKind kind) {
  restore::RestoreResult restored;
  restored.plan.target.kind = kind;
  restored.plan.backup.stop_time = at(0);
  restored.plan.last_record = pg::Lsn{0x5000000};
  return restored;
}

TEST(CheckRecovered, ComparesWithTheLastCommitOfTheArchive) {
  restore::RestoreResult restored = restored_to(TargetKind::kLatest);
  restored.plan.last_commit = at(10);
  repo::DrillReport report;
  report.recovered_end = pg::Lsn{0x5000100};

  restored.recovered_to_time = at(10);
  EXPECT_EQ(check_recovered(report, restored, "").state, "passed");
  EXPECT_EQ(check_recovered(report, restored, "").count, 1U);
  restored.recovered_to_time = at(9);
  EXPECT_EQ(check_recovered(report, restored, "").state, "failed");
  restored.recovered_to_time.reset();
  EXPECT_EQ(check_recovered(report, restored, "").state, "failed");
  restored.recovered_to_time = at(10);
  report.recovered_end = pg::Lsn{0x5000000};  // the archive's last record is missing
  EXPECT_EQ(check_recovered(report, restored, "").state, "failed");
}

TEST(CheckRecovered, FailsWhenThereIsNothingToCompare) {
  restore::RestoreResult restored = restored_to(TargetKind::kLatest);
  repo::DrillReport report;
  report.recovered_end = pg::Lsn{0x5000100};
  const repo::DrillCheck check = check_recovered(report, restored, "Nobody answers.");
  EXPECT_EQ(check.state, "failed");
  EXPECT_EQ(check.failures.at(0),
            "there is nothing to compare: no transaction behind the backup was recovered. Nobody "
            "answers.");
  // A commit from before the backup's end, in the same segment, is none behind it.
  restored.plan.last_commit = at(-1);
  EXPECT_EQ(check_recovered(report, restored, "").state, "failed");
  // The server's own position is something.
  report.flushed = pg::Lsn{0x5000100};
  report.lost_transactions = 0;
  EXPECT_EQ(check_recovered(report, restored, "").state, "passed");
  // The end of the backup alone is not.
  EXPECT_EQ(check_recovered(report, restored_to(TargetKind::kImmediate), "").state, "failed");
}

TEST(CheckRecovered, RefusesATransactionBehindATargetInTime) {
  restore::RestoreResult restored = restored_to(TargetKind::kTime);
  restored.plan.target.time = at(20);
  restored.recovered_to_time = at(20);
  EXPECT_EQ(check_recovered({}, restored, "").state, "passed");
  restored.recovered_to_time = at(21);
  EXPECT_EQ(check_recovered({}, restored, "").state, "failed");
}

TEST(TakeLoss, CountsFromTheEarliestCommitToTheDisaster) {
  repo::DrillReport report;
  report.started = at(100);
  take_loss(report, {.transactions = 2, .wal_bytes = 500, .earliest = at(60), .note = "x"});
  EXPECT_EQ(report.loss_time, std::chrono::seconds(40));
  take_loss(report, {.transactions = 0, .wal_bytes = 500, .earliest = {}, .note = "x"});
  EXPECT_EQ(report.loss_time, Microseconds{});
  // The server's clock may be ahead of ours.
  take_loss(report, {.transactions = 1, .wal_bytes = 500, .earliest = at(101), .note = "x"});
  EXPECT_EQ(report.loss_time, Microseconds{});
  repo::DrillReport unknown;
  take_loss(unknown, {.transactions = {}, .wal_bytes = 500, .earliest = {}, .note = "why"});
  EXPECT_FALSE(unknown.loss_time);
  EXPECT_EQ(unknown.loss_note, "why");
}

TEST(Judge, FailsForEachObjectiveThatWasMissedAndEachCheckThatFailed) {
  repo::DrillReport good;
  good.recovery_time = std::chrono::seconds(30);
  good.loss_time = std::chrono::seconds(5);
  good.allowed_recovery_time = std::chrono::seconds(30);
  good.allowed_loss_time = std::chrono::seconds(5);
  good.checks = {{.name = "dump", .state = "passed"}, {.name = "tables", .state = "not run"}};
  repo::DrillReport report = good;
  judge(report);
  EXPECT_TRUE(report.passed);

  report = good;
  report.recovery_time += Microseconds(1);
  report.loss_time = *report.loss_time + Microseconds(1);
  report.checks.push_back({.name = "sql", .state = "failed", .failures = {"line 3"}});
  judge(report);
  EXPECT_FALSE(report.passed);
  ASSERT_EQ(report.missed.size(), 3U);
  EXPECT_EQ(report.missed[2], "The check \"sql\" failed: line 3.");

  report = good;
  report.loss_time.reset();
  report.loss_note = "Nobody answers.";
  judge(report);
  EXPECT_EQ(report.missed,
            std::vector<std::string>{"What would be lost is not known, and at most 5 s was "
                                     "allowed. Nobody answers."});
}

TEST(RecoveredEnd, IsWhereTheNewTimelineBegan) {
  const TemporaryDirectory data;
  make_directory(join_path(data.path(), "pg_wal"));
  EXPECT_EQ(recovered_end(data.path(), {}), std::nullopt);
  EXPECT_EQ(recovered_end(data.path(), {3}), std::nullopt);
  write_file_durably(join_path(data.path(), "pg_wal/00000003.history"),
                     as_bytes("1\t0/3000000\tno recovery target specified\n\n"
                              "2\t0/5000098\tno recovery target specified\n"));
  EXPECT_EQ(recovered_end(data.path(), {3}), (pg::Lsn{0x5000098}));
}

}  // namespace
}  // namespace holdfast::drill
