#include "backup/wal_wait.h"

#include <gtest/gtest.h>

#include "base/file.h"
#include "base/task_group.h"
#include "codec/digest.h"
#include "support/error_of.h"
#include "support/pieces_of.h"
#include "support/recording_reporter.h"
#include "support/test_repository.h"

namespace holdfast::backup {
namespace {

using test::error_of;
using test::RecordingReporter;
using test::TestRepository;

class WalWaitTest : public testing::Test {
 protected:
  void put(uint64_t number, uint64_t system_identifier, uint32_t timeline = 1,
           uint64_t unreadable = 0) {
    pg::WalSegmentSize size = archive_.segment_size();
    pg::SegmentName segment{.timeline = {timeline}, .segment_number = number};
    Bytes content(size.bytes());
    repo::WalSegmentInfo info;
    info.file_name = pg::segment_file_name(segment, size);
    info.timeline = segment.timeline;
    info.bytes = content.size();
    info.sha256 = codec::sha256(content);
    info.system_identifier = system_identifier;
    info.segment_bytes = size.bytes();
    info.start_lsn = pg::start_lsn(number, size);
    info.readable_end = pg::end_lsn(number, size) - unreadable;
    ASSERT_TRUE(archive_.put_segment(pg::parse_wal_file_name(info.file_name, size), info,
                                     test::pieces_of(content)));
  }
  void put(uint64_t number) { put(number, stored_.lineage.system_identifier); }
  void put_history(uint32_t timeline) {
    repo::WalFileInfo info;
    info.file_name = pg::history_file_name({timeline});
    Bytes content = to_bytes("1\t0/3000000\tno recovery target specified\n");
    info.bytes = content.size();
    info.sha256 = codec::sha256(content);
    info.system_identifier = stored_.lineage.system_identifier;
    ASSERT_TRUE(archive_.put_file(pg::parse_wal_file_name(info.file_name, archive_.segment_size()),
                                  info, content));
  }
  void wait(const NeededWal& needed) {
    wait_for_wal(archive_, needed, {.timeout = timeout_, .archiver = [this] { return status_; }},
                 system_clock(), reporter_, stop_.get_token());
  }

  TestRepository stored_;
  repo::WalArchive archive_{stored_.repository, stored_.lineage};
  RecordingReporter reporter_;
  std::stop_source stop_;
  std::chrono::seconds timeout_{0};
  cluster::ArchiverStatus status_;
  // Segments 4 and 5; the end is exclusive, so the byte at the boundary is not needed.
  NeededWal needed_{.timeline = {1}, .start_lsn = {0x4000028}, .end_lsn = {0x6000000}};
};

TEST_F(WalWaitTest, EndsAtOnceWhenEverySegmentIsThere) {
  put(4);
  put(5);
  wait(needed_);
}

TEST_F(WalWaitTest, RefusesWalThatEndsBeforeTheBackupDoes) {
  put(4, stored_.lineage.system_identifier, 1, 100);
  put(5);
  const Error error = error_of([&] { wait(needed_); });
  EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
  EXPECT_NE(error.message().find("can be read only up to 0/4FFFF9C"), std::string::npos)
      << error.message();
  // What lies behind the backup's end is not its business.
  needed_.end_lsn = pg::Lsn{0x4FFFF00};
  wait(needed_);
}

TEST_F(WalWaitTest, NamesTheFirstMissingSegmentAndTheArchiversLastFailure) {
  put(5);
  status_.failed_count = 3;
  status_.last_failed_wal = "000000010000000000000004";
  status_.last_failed_time = parse_time("2026-11-22 08:22:39+00");
  Error error = error_of([this] { wait(needed_); });
  EXPECT_EQ(error.code(), ErrorCode::kServer);
  EXPECT_NE(error.message().find("WAL file \"000000010000000000000004\" did not reach the archive"),
            std::string::npos)
      << error.message();
  EXPECT_NE(error.detail().find("to archive \"000000010000000000000004\""), std::string::npos)
      << error.detail();
  EXPECT_NE(error.hint().find("archive_command"), std::string::npos);
}

TEST_F(WalWaitTest, WaitsForASegmentThatComesLater) {
  put(4);
  timeout_ = std::chrono::seconds(60);
  TaskGroup group;
  group.start([this](std::stop_token) { wait(needed_); });
  put(5);
  group.wait();
}

TEST_F(WalWaitTest, TakesAStandbysTailOnceWhenAllBeforeItIsThere) {
  std::vector<std::string> asked;
  bool reaches = false;
  auto wait_with_tail = [&] {
    wait_for_wal(archive_, needed_,
                 {.timeout = timeout_,
                  .archiver = [this] { return status_; },
                  .by_primary = true,
                  .archive_tail =
                      [&](const std::string& segment) {
                        asked.push_back(segment);
                        return reaches;
                      }},
                 system_clock(), reporter_, stop_.get_token());
  };
  // Not while a segment before it is missing, which the primary alone can archive.
  Error error = error_of(wait_with_tail);
  EXPECT_NE(error.message().find("\"000000010000000000000004\""), std::string::npos);
  EXPECT_NE(error.hint().find("The primary archives it"), std::string::npos) << error.hint();
  EXPECT_TRUE(asked.empty());
  put(4);
  error = error_of(wait_with_tail);
  EXPECT_NE(error.message().find("\"000000010000000000000005\""), std::string::npos);
  EXPECT_EQ(asked, std::vector<std::string>{"000000010000000000000005"});
  reaches = true;
  wait_with_tail();
  EXPECT_EQ(asked.size(), 2U);
  put(5);
  wait_with_tail();
  EXPECT_EQ(asked.size(), 2U);
}

TEST_F(WalWaitTest, WantsTheHistoryOfALaterTimeline) {
  put(4, stored_.lineage.system_identifier, 2);
  needed_.timeline = {2};
  needed_.end_lsn = {0x4000100};
  Error error = error_of([this] { wait(needed_); });
  EXPECT_NE(error.message().find("\"00000002.history\""), std::string::npos) << error.message();
  put_history(2);
  wait(needed_);
}

TEST_F(WalWaitTest, ProvesBeforeTheCopyWhereTheServersWalGoes) {
  const TemporaryDirectory directory;
  const std::string name = "000000010000000000000004";
  const auto prove = [&](Time began) {
    prove_archiving(archive_,
                    {.segment = {.timeline = {1}, .segment_number = 4},
                     .status_directory = directory.path(),
                     .began = began},
                    {.timeout = timeout_, .archiver = [this] { return status_; }}, system_clock(),
                    reporter_, stop_.get_token());
  };
  const Time now = system_clock().now();
  // Nothing says that it is to be archived: it is on no way of which something could be learned.
  prove(now);
  // It waits, and nothing fails: the archiver is behind.
  write_file_durably(join_path(directory.path(), name + ".ready"), {});
  prove(now);
  // It waits while attempts fail.
  status_.failed_count = 1;
  status_.last_failed_wal = name;
  status_.last_failed_time = now;
  EXPECT_NE(error_of([&] { prove(now); }).message().find("did not reach the archive"),
            std::string::npos);
  remove_file(join_path(directory.path(), name + ".ready"));
  // The server says that it is archived.
  write_file_durably(join_path(directory.path(), name + ".done"), {});
  const Error error = error_of([&] { prove(now - std::chrono::seconds(1)); });
  EXPECT_EQ(error.code(), ErrorCode::kServer);
  EXPECT_NE(error.message().find("archives elsewhere"), std::string::npos) << error.message();
  prove(now + std::chrono::hours(1));  // before the backup: perhaps by another command
  // The checkpoint that began the backup has removed it: the server's statistics still know.
  remove_file(join_path(directory.path(), name + ".done"));
  status_ = {};
  status_.last_archived_wal = name;
  status_.last_archived_time = now;
  EXPECT_NE(
      error_of([&] { prove(now - std::chrono::seconds(1)); }).message().find("archives elsewhere"),
      std::string::npos);
  prove(now + std::chrono::hours(1));
  put(4);
  prove(now - std::chrono::seconds(1));
}

TEST_F(WalWaitTest, RefusesASegmentOfAnotherCluster) {
  put(4, 42);
  Error error = error_of([this] { wait(needed_); });
  EXPECT_EQ(error.code(), ErrorCode::kWrongCluster);
  EXPECT_NE(error.detail().find("42"), std::string::npos);
}

TEST_F(WalWaitTest, AStopEndsTheWait) {
  timeout_ = std::chrono::hours(1);
  stop_.request_stop();
  EXPECT_EQ(error_of([this] { wait(needed_); }).code(), ErrorCode::kInterrupted);
}

}  // namespace
}  // namespace holdfast::backup
