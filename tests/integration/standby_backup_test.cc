// Backups of a standby: while its primary works, while it is quiet, and when it is gone.
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/file.h"
#include "base/task_group.h"
#include "cluster/data_directory.h"
#include "support/file_faults.h"
#include "support/holdfast_command.h"
#include "support/recovery_scene.h"

namespace holdfast::test {
namespace {

// A primary that archives, and a standby that streams from it and archives nothing.
class StandbyScene {
 protected:
  explicit StandbyScene(int major, int wal_segment_mib = 1)
      : major_(major), scene_({.major = major, .wal_segment_mib = wal_segment_mib}) {
    scene_.server().sql("CREATE TABLE kept (g int)");
    scene_.must({"backup"});
    make_standby();
  }
  ~StandbyScene() {
    if (standby_ && standby_->is_running()) standby_->stop(cluster::ShutdownMode::kImmediate);
  }

  void make_standby() {
    scene_.must({"restore", "--into", data()});
    remove_file_if_exists(join_path(data(), "recovery.signal"));
    write_file_durably(join_path(data(), "standby.signal"), {});
    const std::string conf = join_path(data(), "postgresql.auto.conf");
    write_file_durably(
        conf, as_bytes(read_text_file(conf) +
                       fmt::format("recovery_target_timeline = 'latest'\nprimary_conninfo = {}\n",
                                   cluster::quote_literal(scene_.server().conninfo()))));
    standby_ = std::make_unique<PostgresServer>(
        PostgresServer::Options{.major = major_, .data_directory = data()});
    EXPECT_TRUE(comes_true([&] {
      return scene_.server().value("SELECT count(*) FROM pg_stat_replication") == "1";
    })) << standby_->log();
  }

  std::string data() const { return scene_.path("standby"); }
  // One row more on the primary, replayed by the standby and known to its next restartpoint.
  void insert() {
    scene_.server().sql("INSERT INTO kept VALUES (1)");
    scene_.server().sql("CHECKPOINT");
    ++rows_;
    const std::string lsn = scene_.server().value("SELECT pg_current_wal_flush_lsn()");
    EXPECT_TRUE(comes_true([&] {
      return standby_->value("SELECT pg_last_wal_replay_lsn() >= '" + lsn + "'") == "t";
    })) << standby_->log();
  }
  std::vector<std::string> there(std::vector<std::string> words) const {
    words.insert(words.end(), {"--conninfo", standby_->conninfo(), "--pgdata", data()});
    return words;
  }
  // From the archive alone, at the very end of the backup.
  void expect_restorable(const std::string& id, const std::string& rows) {
    const std::unique_ptr<RestoredServer> server =
        scene_.restore_into("restored", {"--backup", id, "--to-immediate"});
    EXPECT_EQ(server->value("SELECT pg_catalog.count(*) FROM public.kept"), rows);
    EXPECT_EQ(server->value("SELECT pg_catalog.pg_is_in_recovery()"), "f");
  }
  void expect_whole_without_the_primary() {
    if (scene_.server().is_running()) {
      insert();
      scene_.crash();  // what is in the unfinished segment, the primary has not archived
    }
    const Json backup = scene_.must(there({"backup"})).at("backup");
    EXPECT_TRUE(backup.at("from_standby").as_bool());
    expect_restorable(backup.at("id").as_string(), rows());
  }
  std::string rows() const { return fmt::format("{}", rows_); }
  size_t backups() { return scene_.must({"backup", "list"}).at("backups").items().size(); }

  const int major_;
  RecoveryScene scene_;
  std::unique_ptr<PostgresServer> standby_;
  int rows_ = 0;
};

class StandbyBackup : public testing::Test, protected StandbyScene {
 protected:
  StandbyBackup() : StandbyScene(15) {}
};
class LongStandbyBackup : public testing::TestWithParam<int>, protected StandbyScene {
 protected:
  LongStandbyBackup() : StandbyScene(GetParam()) {}
};
INSTANTIATE_TEST_SUITE_P(EachMajor, LongStandbyBackup, testing::ValuesIn(test_majors()),
                         [](const testing::TestParamInfo<int>& major) {
                           return fmt::format("PostgreSQL{}", major.param);
                         });

TEST_F(StandbyBackup, IsWholeWithoutItsPrimaryAlsoWhenTheLastSegmentWasNeverCompleted) {
  expect_whole_without_the_primary();
}
TEST_P(LongStandbyBackup, IsWholeWithoutItsPrimaryAlsoWhenTheLastSegmentWasNeverCompleted) {
  expect_whole_without_the_primary();
  // The same again: nothing that is there already stands in the way.
  expect_whole_without_the_primary();
}

// The backup leaves the segment archived as far as the standby had received it. A standby asks the
// archive before it looks into its own pg_wal, and takes what it gets for its own.
// It begins and ends with the checkpoint of the shutdown, and nothing is replayed.
TEST_F(StandbyBackup, IsRestoredThoughItsPrimaryWasShutDown) {
  insert();
  const std::string primary = scene_.server().data_directory();
  scene_.server().stop();
  const std::string checkpoint =
      pg::to_string(cluster::read_control_file(primary).control.checkpoint_lsn);
  EXPECT_TRUE(comes_true([&] {
    return standby_->value("SELECT pg_last_wal_replay_lsn() > '" + checkpoint + "'") == "t";
  })) << standby_->log();
  const Json backup = scene_.must(there({"backup"})).at("backup");
  EXPECT_EQ(backup.at("start_lsn").as_string(), checkpoint);
  const std::string id = backup.at("id").as_string();
  expect_restorable(id, rows());
  const std::unique_ptr<RestoredServer> latest = scene_.restore_into("latest", {"--backup", id});
  EXPECT_EQ(latest->value("SELECT pg_catalog.count(*) FROM public.kept"), rows());
  const Captured waits = scene_.run(
      {"restore", "--into", scene_.path("waits"), "--backup", id, "--start", "--action", "pause"});
  EXPECT_EQ(waits.status.code, 4) << describe(waits);
  EXPECT_NE(waits.err.find("cannot wait there"), std::string::npos) << waits.err;
}

TEST_F(StandbyBackup, TakesNoAcknowledgedCommitFromAStandbyThatStartsAgain) {
  insert();
  scene_.must(there({"backup"}));
  scene_.server().sql("ALTER SYSTEM SET synchronous_standby_names = '*'");
  scene_.server().sql("SELECT pg_reload_conf()");
  ASSERT_TRUE(comes_true([&] {
    return scene_.server().value("SELECT sync_state FROM pg_stat_replication") == "sync";
  }));
  // Acknowledged by the standby, in that very segment.
  for (int i = 0; i < 5; ++i) scene_.server().sql("INSERT INTO kept VALUES (2)");
  rows_ += 5;
  scene_.crash();
  for (const bool is_crash : {true, false}) {
    SCOPED_TRACE(is_crash ? "after a crash" : "after a fast stop");
    if (is_crash)
      standby_->crash();
    else
      standby_->stop();
    wait_until_deserted(data());
    standby_->start();
    EXPECT_EQ(standby_->value("SELECT count(*) FROM kept"), rows()) << standby_->log();
  }
  EXPECT_EQ(standby_->value("SELECT pg_promote()"), "t");
  EXPECT_EQ(standby_->value("SELECT count(*) FROM kept"), rows()) << standby_->log();
}

TEST_F(StandbyBackup, OfAPrimaryThatGoesOnLeavesTheArchiveToThePrimary) {
  insert();
  const std::string id = scene_.must(there({"backup"})).at("backup").at("id").as_string();
  insert();
  // The primary completes the segment of which the standby has archived a part.
  scene_.archive_current_segment();
  expect_restorable(id, "1");
  const std::unique_ptr<RestoredServer> server =
      scene_.restore_into("latest", {"--backup", id, "--to-latest"});
  EXPECT_EQ(server->value("SELECT pg_catalog.count(*) FROM public.kept"), rows());
}

// Such a segment is too large to be kept, and is not the same when it is read again.
class StandbyBackupOfLargeSegments : public testing::Test, protected StandbyScene {
 protected:
  StandbyBackupOfLargeSegments() : StandbyScene(15, 128) {}
};
TEST_F(StandbyBackupOfLargeSegments, TakesTheUnfinishedOneAsItWasReadAtOnce) {
  insert();
  TaskGroup writer;
  writer.start([&](const std::stop_token& stop) {
    cluster::Connection connection = scene_.server().connect();
    while (!stop.stop_requested()) connection.query("INSERT INTO public.kept VALUES (0)");
  });
  const Json backup = scene_.must(there({"backup"})).at("backup");
  writer.request_stop();
  writer.wait();
  scene_.crash();
  const std::unique_ptr<RestoredServer> server =
      scene_.restore_into("restored", {"--backup", backup.at("id").as_string(), "--to-immediate"});
  EXPECT_EQ(server->value("SELECT pg_catalog.count(*) FROM public.kept WHERE g = 1"), rows());
}

TEST_F(StandbyBackup, IsDiscardedWhenTheStandbyIsPromotedMeanwhile) {
  insert();
  const size_t before = backups();
  HeldCommand backup(scene_, there({"-q", "backup"}), "global/pg_filenode.map");
  standby_->sql("SELECT pg_promote()");
  const Captured ended = backup.release();
  EXPECT_EQ(ended.status.code, 1) << describe(ended);
  EXPECT_NE(ended.err.find("the standby was promoted during online backup"), std::string::npos)
      << ended.err;
  EXPECT_NE(ended.err.find("HINT:  What was copied belongs to two timelines and cannot be used. "
                           "Take the backup again."),
            std::string::npos)
      << ended.err;
  EXPECT_EQ(backups(), before);
}

// The WAL before the last segment has to come from the primary. Without it the wait ends.
TEST_F(StandbyBackup, EndsInBoundedTimeWhenWalIsMissingThatThePrimaryAloneHas) {
  scene_.server().sql("ALTER SYSTEM SET archive_command = 'false'");
  scene_.server().sql("SELECT pg_reload_conf()");
  EXPECT_TRUE(comes_true([&] { return scene_.server().value("SHOW archive_command") == "false"; }));
  insert();
  const size_t before = backups();
  HeldCommand backup(scene_, there({"-q", "backup", "--archive-timeout", "1s"}),
                     "global/pg_filenode.map");
  scene_.server().sql("SELECT pg_switch_wal()");
  insert();
  standby_->sql("CHECKPOINT");
  const Captured ended = backup.release();
  EXPECT_EQ(ended.status.code, 1) << describe(ended);
  EXPECT_NE(ended.err.find("did not reach the archive within 1 s"), std::string::npos) << ended.err;
  EXPECT_NE(ended.err.find("The primary archives it, not this standby."), std::string::npos)
      << ended.err;
  EXPECT_EQ(backups(), before);
}

}  // namespace
}  // namespace holdfast::test
