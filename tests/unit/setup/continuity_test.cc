#include "setup/continuity.h"

#include <gtest/gtest.h>

#include "support/archive_fixture.h"
#include "support/counting_store.h"
#include "support/error_of.h"

namespace holdfast::setup {
namespace {

using test::ArchiveFixture;
using test::at_minute;
using test::WalBuilder;

// A backup in segment 1, begun at minute 11; in segment k a commit at minute 10k + 2.
class ContinuityTest : public testing::Test, protected ArchiveFixture {
 protected:
  void write(uint32_t segments, const std::set<uint32_t>& minimal = {}) {
    const pg::Lsn start = wal_.end_lsn() + 40;
    for (uint32_t k = 1; k <= segments; ++k) {
      add_commit(wal_, k, 10 * k + 2);
      if (k == 1) id_ = put_backup({.start = start, .stop = wal_.end_lsn(), .stop_minute = 12});
      if (minimal.contains(k)) {
        minimal_from_ = wal_.end_lsn();
        wal_.add_parameters(100, pg::WalLevel::kMinimal);
      }
      wal_.add_switch();
    }
    for (size_t index = 0; index < segments; ++index)
      put_segment_at(wal_, index, 10 * static_cast<double>(index + 1) + 5);
  }
  CheckItem look(std::optional<double> started, uint32_t timeline = 1) {
    return look_at_continuity(repository(), lineage(), {timeline},
                              started ? std::optional(at_minute(*started)) : std::nullopt);
  }

  WalBuilder wal_;
  pg::Lsn minimal_from_;
  std::string id_;
};

TEST_F(ContinuityTest, FailsWhereWalOfLevelMinimalLiesBehindTheNewestBackup) {
  write(6, {4});
  for (const std::optional<double> started : {std::optional<double>(45), std::optional<double>()}) {
    const CheckItem item = look(started);
    EXPECT_EQ(item.outcome, CheckOutcome::kFailed);
    EXPECT_NE(item.message.find("from " + pg::to_string(minimal_from_) + " on"), std::string::npos)
        << item.message;
    EXPECT_EQ(item.hint, "Take a backup now: \"holdfast backup\".");
  }
  // A backup that was taken since leads on.
  const pg::Lsn start = pg::start_lsn(5, size()) + 40;
  put_backup({.start = start, .stop = start + 100, .stop_minute = 53});
  EXPECT_EQ(look(45).outcome, CheckOutcome::kOk);
}

// A level changes at a start of the server alone. `check --read-only` runs every minute.
TEST_F(ContinuityTest, ReadsMetadataOnlyOfWhatWasWrittenBeforeTheServersLastStart) {
  write(100);
  const auto read_of = [&](double started) {
    test::CountingStore counting(store());
    const repo::Repository counted = repo::Repository::open(counting, {});
    EXPECT_EQ(look_at_continuity(counted, lineage(), {1}, at_minute(started)).outcome,
              CheckOutcome::kOk);
    size_t segments = 0;
    for (size_t index = 0; index < 100; ++index)
      segments += counting.bytes_of(archive().object_name(
                      {.kind = pg::WalFileKind::kSegment, .segment = wal_.name(index)})) > 0;
    return segments;
  };
  EXPECT_EQ(read_of(5), 0U) << "before the backup";
  EXPECT_LE(read_of(105), 20U) << "some to find the place, and those up to there";
}

TEST_F(ContinuityTest, FailsWhereWhatIsArchivedIsOfAnotherHistory) {
  write(6);
  set_aside(wal_, 3);
  WalBuilder again;
  for (uint32_t k = 1; k <= 4; ++k) {
    add_commit(again, k, k < 4 ? 10 * k + 2 : 140);
    again.add_switch();
  }
  put_segment_at(again, 3, 150, 1);
  const CheckItem item = look(5);
  EXPECT_EQ(item.outcome, CheckOutcome::kFailed);
  EXPECT_NE(item.hint.find("wal set-aside 000000010000000000000005 --onward"), std::string::npos)
      << item.hint;
}

TEST_F(ContinuityTest, SaysOfAHistoryThatCannotBeReadThatTheServerHasIt) {
  write(2);
  put_history(2, "no history\n");
  const Error damaged = test::error_of([&] { look(5, 2); });
  EXPECT_EQ(damaged.code(), ErrorCode::kCorrupt);
  EXPECT_NE(damaged.hint().find("holdfast wal push pg_wal/00000002.history"), std::string::npos)
      << damaged.hint();
  EXPECT_EQ(test::error_of([&] { look(5, 3); }).code(), ErrorCode::kNotFound);
}

// A copy of the cluster takes backups of its own, and they are newer.
TEST_F(ContinuityTest, TheNewestBackupIsOneThatLeadsToTheServer) {
  write(6);
  put_history(2, "1\t" + pg::to_string(pg::start_lsn(4, size())) + "\ttest\n");
  const pg::Lsn start = pg::start_lsn(5, size()) + 40;
  const std::string of_copy =
      put_backup({.start = start, .stop = start + 100, .stop_minute = 53, .timeline = 2});
  const auto newest = [&](std::optional<uint32_t> timeline) {
    std::optional<pg::TimelineHistory> history;
    if (timeline) history = archived_history(repository(), lineage(), {*timeline});
    return find_newest_backups(repository(), lineage().name, history,
                               [](const std::string&, const Error&) {});
  };
  EXPECT_EQ(newest(1).leading.value().id, id_);
  EXPECT_EQ(newest(1).good.value().id, of_copy);
  EXPECT_EQ(newest(2).leading.value().id, of_copy);
  EXPECT_EQ(newest(std::nullopt).leading.value().id, of_copy);
  put_history(3, "1\t" + pg::to_string(pg::start_lsn(1, size())) + "\ttest\n");
  EXPECT_FALSE(newest(3).leading);
}

}  // namespace
}  // namespace holdfast::setup
