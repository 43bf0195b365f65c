#include "setup/info.h"

#include <gtest/gtest.h>

#include "codec/digest.h"
#include "support/error_of.h"
#include "support/pieces_of.h"
#include "support/test_repository.h"

namespace holdfast::setup {
namespace {

using test::error_of;
using test::TestRepository;

class InfoTest : public testing::Test {
 protected:
  Time at(int minutes) const { return started_ + std::chrono::minutes(minutes); }

  void put_segment(uint64_t number, std::optional<Time> last_commit, uint32_t timeline = 1) {
    repo::WalArchive archive(stored_.repository, stored_.lineage);
    pg::WalSegmentSize size = archive.segment_size();
    pg::SegmentName segment{.timeline = {timeline}, .segment_number = number};
    Bytes content(size.bytes());
    repo::WalSegmentInfo info;
    info.file_name = pg::segment_file_name(segment, size);
    info.timeline = segment.timeline;
    info.bytes = content.size();
    info.sha256 = codec::sha256(content);
    info.system_identifier = stored_.lineage.system_identifier;
    info.segment_bytes = size.bytes();
    info.start_lsn = pg::start_lsn(number, size);
    info.pushed = stored_.clock.now();
    if (last_commit) {
      info.commits.count = 1;
      info.commits.first_time = info.commits.last_time = *last_commit;
      info.commits.lowest_time = info.commits.highest_time = *last_commit;
      info.commits.last_lsn = info.last_record = pg::end_lsn(number, size) - 64;
      info.last_record_end = info.readable_end = pg::end_lsn(number, size);
    }
    ASSERT_TRUE(archive.put_segment(pg::parse_wal_file_name(info.file_name, size), info,
                                    test::pieces_of(content)));
  }
  void put_history(uint32_t timeline, std::string_view text) {
    repo::WalArchive archive(stored_.repository, stored_.lineage);
    archive.put_file({.kind = pg::WalFileKind::kHistory, .segment = {.timeline = {timeline}}},
                     {.file_name = pg::history_file_name({timeline}),
                      .bytes = text.size(),
                      .sha256 = repo::wal_content_sha256(as_bytes(text)),
                      .system_identifier = stored_.lineage.system_identifier,
                      .host = "db1",
                      .pushed = stored_.clock.now()},
                     as_bytes(text));
  }
  std::string put_backup(Time stopped, bool damaged = false, pg::TimelineId timeline = {1},
                         pg::Lsn stop = {0x4000028}) {
    stored_.clock.advance(std::chrono::seconds(1));
    std::string id = repo::make_backup_id(stored_.clock.now(), stored_.random);
    repo::BackupWriter writer(stored_.repository, stored_.lineage, id, {}, stored_.clock);
    writer.seal_contents();
    repo::Backup backup;
    backup.started = backup.start_time = backup.stop_time = backup.finished = stopped;
    backup.start_lsn = backup.checkpoint_lsn = backup.stop_lsn = stop;
    backup.start_timeline = backup.stop_timeline = timeline;
    backup.damaged = damaged;
    writer.commit(backup);
    return id;
  }
  LineageInfo lineage() { return info(stored_.repository, "main").clusters.at(0).lineages.at(0); }

  TestRepository stored_;
  Time started_ = stored_.clock.now();
};

TEST_F(InfoTest, TellsOfARepositoryWithoutBackups) {
  RepositoryInfo result = info(stored_.repository, "");
  EXPECT_EQ(result.url, "memory:");
  EXPECT_EQ(result.id, stored_.repository.id());
  EXPECT_FALSE(result.sealed);
  ASSERT_EQ(result.clusters.size(), 1u);
  EXPECT_EQ(result.clusters[0].name, "main");
  EXPECT_EQ(lineage().backup_count, 0u);
  EXPECT_TRUE(lineage().timelines.empty());
  EXPECT_TRUE(lineage().windows.empty());
  EXPECT_TRUE(lineage().gaps.empty());
}

TEST_F(InfoTest, NamesTheClustersThereAreWhenAnotherIsAskedFor) {
  Error error = error_of([this] { info(stored_.repository, "mian"); });
  EXPECT_EQ(error.code(), ErrorCode::kNotFound);
  EXPECT_EQ(error.message(), "the repository has no cluster \"mian\"");
  EXPECT_EQ(error.detail(), "It has: main.");
}

TEST_F(InfoTest, ShowsTheNewestTenBackupsAndCountsAll) {
  std::vector<std::string> ids;
  for (int number = 0; number < 12; ++number) ids.push_back(put_backup(at(number)));
  LineageInfo found = lineage();
  EXPECT_EQ(found.backup_count, 12u);
  ASSERT_EQ(found.backups.size(), 10u);
  EXPECT_EQ(found.backups.front().id, ids[2]);
  EXPECT_EQ(found.backups.back().id, ids[11]);
  // The oldest counts although it is not shown; but without WAL none can be recovered.
  EXPECT_TRUE(found.windows.empty());
  put_segment(4, std::nullopt);
  found = lineage();
  ASSERT_EQ(found.windows.size(), 1u);
  EXPECT_EQ(found.windows[0].start_time, at(0));
  EXPECT_EQ(found.windows[0].end_time, at(0));
  EXPECT_EQ(found.windows[0].backups.size(), 12u);
}

TEST_F(InfoTest, RecoveryReachesFromTheOldestUndamagedBackupToTheLastArchivedCommit) {
  put_backup(at(0), true);
  put_backup(at(10));
  put_segment(4, at(12));
  put_segment(5, at(15));
  put_segment(6, std::nullopt);
  LineageInfo found = lineage();
  ASSERT_EQ(found.windows.size(), 1u);
  EXPECT_EQ(found.windows[0].timeline, pg::TimelineId{1});
  EXPECT_EQ(found.windows[0].start_time, at(10));
  EXPECT_EQ(found.windows[0].end_time, at(15));
  EXPECT_TRUE(found.gaps.empty());
  ASSERT_EQ(found.timelines.size(), 1u);
  EXPECT_EQ(found.timelines[0].first_segment, 4u);
  EXPECT_EQ(found.timelines[0].last_segment, 6u);
  ASSERT_TRUE(found.timelines[0].last);
  EXPECT_EQ(found.timelines[0].last->file_name, "000000010000000000000006");
}

TEST_F(InfoTest, CommitsBehindAHoleCannotBeRecoveredAndTheHoleIsTold) {
  const std::string backup = put_backup(at(10));
  put_segment(4, at(20));
  put_segment(6, at(30));
  LineageInfo found = lineage();
  ASSERT_EQ(found.windows.size(), 1u);
  EXPECT_EQ(found.windows[0].end_time, at(20));
  ASSERT_EQ(found.gaps.size(), 1u);
  EXPECT_EQ(found.gaps[0].first_segment, "000000010000000000000005");
  EXPECT_EQ(found.gaps[0].segment_count, 1u);
  EXPECT_EQ(found.gaps[0].problem, "missing");
  EXPECT_EQ(found.gaps[0].after, at(20));
  EXPECT_EQ(found.gaps[0].before, at(30));
  EXPECT_EQ(found.gaps[0].backups, std::vector{backup});
  EXPECT_TRUE(found.gaps[0].costs());
  put_segment(5, std::nullopt);
  EXPECT_EQ(lineage().windows.at(0).end_time, at(30));
}

// A timeline that was left is nobody's present: a backup of another one, taken after all that was
// archived of it, is newer. One that leads to the hole is not, whenever it was taken in.
TEST_F(InfoTest, AHoleOfATimelineThatWasLeftIsOfThePast) {
  const std::string before = put_backup(at(10));
  put_segment(4, at(20));
  put_segment(6, at(30));
  put_history(2, "1\t0/4000100\tx\n");
  put_segment(4, at(40), 2);
  stored_.clock.advance(std::chrono::minutes(1));
  put_backup(at(11));
  EXPECT_TRUE(lineage().gaps.at(0).costs());
  const std::string newer = put_backup(at(50), false, {2}, {0x4000200});
  ASSERT_EQ(lineage().gaps.size(), 1u);
  EXPECT_EQ(lineage().gaps[0].newer_backup, newer);
  // Its server lives: what it writes now cannot be recovered.
  stored_.clock.advance(std::chrono::minutes(1));
  put_segment(7, at(60));
  EXPECT_TRUE(lineage().gaps.at(0).costs());
}

// The archive ends where it ends; that the WAL went on is what the history says.
TEST_F(InfoTest, AHoleAtTheEndIsToldByTheTimelineThatLeftBehindIt) {
  put_backup(at(10));
  put_segment(4, at(20));
  put_history(2, "1\t0/7000000\tx\n");
  const LineageInfo found = lineage();
  ASSERT_EQ(found.gaps.size(), 1u);
  EXPECT_EQ(found.gaps[0].first_segment, "000000010000000000000005");
  EXPECT_EQ(found.gaps[0].last_segment, "000000010000000000000006");
  ASSERT_EQ(found.windows.size(), 2u);
  for (const recovery::Window& window : found.windows) EXPECT_EQ(window.end_time, at(20));
}

TEST_F(InfoTest, EachTimelineHasItsOwnEnd) {
  put_backup(at(10));
  put_segment(4, at(30), 1);
  put_history(2, "1\t0/4000100\tx\n");
  put_segment(4, at(20), 2);
  LineageInfo found = lineage();
  EXPECT_EQ(found.timelines.size(), 2u);
  ASSERT_EQ(found.windows.size(), 2u);
  EXPECT_EQ(found.windows[0].timeline, pg::TimelineId{1});
  EXPECT_EQ(found.windows[0].end_time, at(30));
  EXPECT_EQ(found.windows[1].timeline, pg::TimelineId{2});
  EXPECT_EQ(found.windows[1].end_time, at(20));
}

// A host's clock was a year ahead while the second backup was taken: the place counts.
TEST_F(InfoTest, AClockThatIsWrongMakesNoWindowLonger) {
  put_backup(at(10));
  put_backup(at(500'000));
  put_segment(4, at(20));
  ASSERT_EQ(lineage().windows.size(), 1u);
  EXPECT_EQ(lineage().windows[0].end_time, at(20));
}

TEST_F(InfoTest, WalThatCannotBeReadIsToldAndEndsNothing) {
  put_backup(at(10));
  put_segment(4, at(20));
  put_history(2, "no history\n");
  const LineageInfo found = lineage();
  EXPECT_EQ(found.windows.size(), 1u);
  ASSERT_EQ(found.unreadable_wal.size(), 1u);
  EXPECT_NE(found.unreadable_wal[0].find("00000002.history"), std::string::npos);
}

}  // namespace
}  // namespace holdfast::setup
