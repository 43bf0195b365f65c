// The end of the archived WAL is an end only where that is proven: what all commands then say of a
// hole, and what a recovery does.
#include <regex>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/file.h"
#include "cluster/data_directory.h"
#include "cluster/running_server.h"
#include "pg/timeline_history.h"
#include "support/file_faults.h"
#include "support/holdfast_command.h"
#include "support/recovery_scene.h"

namespace holdfast::test {
namespace {

bool says(const Captured& ran, const std::string& words) {
  return ran.out.find(words) != std::string::npos || ran.err.find(words) != std::string::npos;
}

// The last line of what it said that holds a whole command, as this machine runs it.
std::string last_command(const Captured& ran) {
  const size_t at = ran.err.rfind("holdfast --config");
  if (at == std::string::npos) return {};
  return holdfast_program() + ran.err.substr(at + 8, ran.err.find('\n', at) - at - 8);
}

// A failover of which the archive has the new timeline's history, and neither its WAL nor the old
// one's last segments.
TEST(Ends, AHistoryThatLeftBehindTheArchivedWalIsAHoleForEveryCommand) {
  RecoveryScene scene({.major = 15, .wal_segment_mib = 1});
  scene.must({"backup"});
  scene.server().sql("CREATE TABLE kept AS SELECT 1 AS one");
  scene.archive_current_segment();
  EXPECT_EQ(scene.run({"check"}).status.code, 0);

  const pg::Lsn end = scene.archive_end();
  const pg::WalSegmentSize size = scene.segment_size();
  const std::string missing =
      pg::segment_file_name({.timeline = {1}, .segment_number = pg::segment_of(end, size)}, size);
  make_directories(scene.path("new/pg_wal"));
  make_directory(scene.path("new/global"));
  write_file_durably(scene.path("new/global/pg_control"),
                     read_file(scene.server().data_directory() + "/global/pg_control"));
  write_file_durably(scene.path("new/pg_wal/00000002.history"),
                     as_bytes(fmt::format("1\t{}\tno recovery target specified\n",
                                          pg::to_string(end + 2 * size.bytes() + 0x100))));
  ASSERT_EQ(scene.run({"wal", "push", "pg_wal/00000002.history"}, scene.path("new")).status.code,
            0);

  const Captured got = scene.run({"wal", "get", missing, "pg_wal/RECOVERYXLOG"}, scene.path("new"));
  EXPECT_EQ(got.status.code, 200) << describe(got);
  const Captured restored = scene.run({"restore", "--into", scene.path("copy"), "--start"});
  EXPECT_EQ(restored.status.code, 4) << describe(restored);
  EXPECT_TRUE(says(restored, fmt::format("WAL segment \"{}\" is not in the archive", missing)));
  EXPECT_TRUE(says(restored, " wal salvage")) << restored.err;
  EXPECT_FALSE(lstat_if_exists(scene.path("copy")));
  EXPECT_EQ(run({.arguments = {"sh", "-c", last_command(restored) + " --dry-run"}}).status.code, 0)
      << restored.err;
  const Captured list = scene.run({"wal", "list"});
  EXPECT_TRUE(std::regex_search(list.out, std::regex(missing + " .* 3 +MISSING"))) << list.out;
  const Captured info = scene.run({"info"});
  EXPECT_TRUE(says(info, "  HOLE: 3 WAL segments are missing: " + missing + " to ")) << info.out;
  EXPECT_EQ(scene.must({"info"})
                .at("clusters")
                .items()[0]
                .at("lineages")
                .items()[0]
                .at("gaps")
                .items()
                .size(),
            1U);
  const Captured verified = scene.run({"verify"});
  EXPECT_EQ(verified.status.code, 4) << describe(verified);
  EXPECT_TRUE(says(verified, "hole: 3 WAL segments are missing: " + missing)) << verified.out;
}

// Segments that went elsewhere for a while: archiving works again, and nothing behind the hole can
// be recovered until a backup is taken.
TEST(Ends, CheckTellsAHoleBetweenTheNewestBackupAndNow) {
  RecoveryScene scene({.major = 17, .wal_segment_mib = 1});
  scene.must({"backup"});
  EXPECT_TRUE(says(scene.run({"check"}), "ok       continuity: from backup "));
  scene.server().sql("CREATE TABLE lost AS SELECT 1 AS one");
  const std::string missing = scene.archive_current_segment();
  scene.archive_current_segment();
  remove_file(scene.wal_object(missing).value());
  const Captured failed = scene.run({"check"});
  EXPECT_EQ(failed.status.code, 1) << describe(failed);
  EXPECT_TRUE(says(failed, "failed   continuity: WAL segment " + missing + " is missing"))
      << failed.out;
  EXPECT_TRUE(
      failed.out.ends_with(fmt::format("Take a backup now: \"holdfast --config {} backup\". "
                                       "\"holdfast --config {} wal list\" shows all that is "
                                       "missing.\n",
                                       scene.config_file(), scene.config_file())))
      << failed.out;
  const Captured info = scene.run({"info"});
  EXPECT_TRUE(says(info, "  HOLE: WAL segment " + missing + " is missing")) << info.out;
  // The new backup is the beginning of what can be recovered from here on.
  const Captured backup = scene.run({"backup"});
  const Json newest = scene.must({"backup", "show", "latest"});
  EXPECT_TRUE(says(backup, "Everything from ")) << backup.out;
  EXPECT_EQ(scene.run({"check"}).status.code, 0);
  EXPECT_EQ(scene.must({"info"})
                .at("clusters")
                .items()[0]
                .at("lineages")
                .items()[0]
                .at("recoverable")
                .items()
                .size(),
            2U);
}

class TimeEnds : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(EachMajor, TimeEnds, testing::Values(15, 17),
                         [](const testing::TestParamInfo<int>& tested) {
                           return std::to_string(tested.param);
                         });

TEST_P(TimeEnds, AreReachedByTheArchiveOrProvenByTheServerThatRuns) {
  RecoveryScene scene({.major = GetParam(), .wal_segment_mib = 1});
  scene.server().sql("CREATE TABLE t AS SELECT generate_series(1, 100) AS id");
  scene.must({"backup"});
  const auto now = [&] { return scene.server().value("SELECT clock_timestamp()"); };
  const auto dry_run = [&](const std::string& time) {
    return scene.run({"restore", "--dry-run", "--into", scene.path("copy"), "--to", time});
  };
  {
    SCOPED_TRACE("an idle server has ended nothing");
    const Captured idle = dry_run(now());
    EXPECT_EQ(idle.status.code, 0) << describe(idle);
    EXPECT_TRUE(says(idle, "and the server has ended none up to then")) << idle.out;
  }
  scene.server().sql("INSERT INTO t VALUES (101), (102), (103)");
  const std::string before = now();
  scene.server().sql("DELETE FROM t");
  {
    SCOPED_TRACE("three rows are committed and not archived");
    for (const std::string& time : {before, std::string("2100-01-01 00:00:00Z")}) {
      const Captured refused = dry_run(time);
      EXPECT_EQ(refused.status.code, 4) << describe(refused);
      // Nothing that the server archives reaches what is to come.
      EXPECT_EQ(says(refused, "SELECT pg_switch_wal()"), time == before) << refused.err;
      EXPECT_EQ(says(refused, " lies in the future\n"), time != before) << refused.err;
      EXPECT_TRUE(says(refused, "To take what is archived: holdfast --config ")) << refused.err;
      EXPECT_TRUE(says(refused, " --to-latest\n")) << refused.err;
    }
    EXPECT_TRUE(says(dry_run(before), "has committed what is not archived")) << dry_run(before).err;
    const Captured drill =
        scene.run({"drill", "--drill-directory", scene.directory(), "--to", before});
    EXPECT_EQ(drill.status.code, 4) << describe(drill);
  }
  {
    SCOPED_TRACE("what the hint says");
    scene.archive_current_segment();
    const auto restored = scene.restore_into("copy", {"--to", before});
    EXPECT_EQ(restored->value("SELECT count(*) FROM public.t"), "103");
  }
  {
    SCOPED_TRACE("what the server has and did not archive came later than the target");
    const std::string between = now();
    scene.server().sql("INSERT INTO t VALUES (104)");
    const Captured later = dry_run(between);
    EXPECT_EQ(later.status.code, 0) << describe(later);
  }
  {
    SCOPED_TRACE("nobody can be asked");
    const std::string last = now();
    scene.crash();
    const Captured refused = dry_run(last);
    EXPECT_EQ(refused.status.code, 4) << describe(refused);
    EXPECT_TRUE(says(refused, "The server could not be asked")) << refused.err;
    SCOPED_TRACE("behind the end of its own WAL, which is saved, a dead server wrote nothing");
    EXPECT_EQ(
        scene.run({"restore", "--in-place", "--yes", "--to", "2100-01-01 00:00:00Z"}).status.code,
        4);
    const auto restored = scene.restore_in_place({"--to", last});
    EXPECT_EQ(restored->value("SELECT id FROM public.t"), "104");
  }
}

// Commands that are pasted as a block: the segment is on its way when the next one is run.
TEST(Ends, APlanWaitsForWhatTheServerIsArchiving) {
  RecoveryScene scene({.major = 15, .wal_segment_mib = 1});
  scene.server().sql("CREATE TABLE t AS SELECT generate_series(1, 100) AS id");
  scene.must({"backup"});
  const std::string command = scene.server().value("SHOW archive_command");
  scene.server().sql("ALTER SYSTEM SET archive_command = " +
                     cluster::quote_literal("sleep 1; " + command));
  scene.server().sql("SELECT pg_reload_conf()");
  scene.server().sql("INSERT INTO t VALUES (101)");
  const std::string before = scene.server().value("SELECT clock_timestamp()");
  scene.server().sql("DELETE FROM t");
  scene.server().sql("SELECT pg_switch_wal()");
  const auto restored = scene.restore_into("copy", {"--to", before});
  EXPECT_EQ(restored->value("SELECT count(*) FROM public.t"), "101");
  scene.server().sql("SELECT pg_create_restore_point('there')");
  scene.server().sql("SELECT pg_switch_wal()");
  const std::vector<std::string> there = {"restore",   "--dry-run", "--into", scene.path("another"),
                                          "--to-name", "there"};
  EXPECT_EQ(scene.run(there).status.code, 0) << describe(scene.run(there));
}

// A time in the WAL is no place: what was told by a clock that was ahead is later than nothing.
TEST(Ends, AClockThatWasAheadProvesNothingAgainstTheServer) {
  RecoveryScene scene({.major = 15, .wal_segment_mib = 1});
  const auto archive_an_hour_ahead = [&](const std::string& statement) {
    scene.server().stop();
    scene.server().start(environment_ahead(std::chrono::hours(1)));
    scene.server().sql(statement);
    scene.archive_current_segment();
    scene.server().restart();
  };
  const auto now = [&] { return scene.server().value("SELECT clock_timestamp()"); };
  const auto dry_run = [&](const std::string& time) {
    return scene.run({"restore", "--dry-run", "--into", scene.path("copy"), "--to", time});
  };
  scene.server().sql("CREATE TABLE t (id int)");
  scene.must({"backup"});
  {
    SCOPED_TRACE("nothing later is archived but a restore point");
    archive_an_hour_ahead("SELECT pg_create_restore_point('nightly')");
    scene.server().sql("INSERT INTO t SELECT generate_series(1, 50)");
    const std::string before = now();
    scene.server().sql("DELETE FROM t");
    const Captured refused = dry_run(before);
    EXPECT_EQ(refused.status.code, 4) << describe(refused);
    EXPECT_TRUE(says(refused, "the archived WAL may lack transactions up to ")) << refused.err;
    EXPECT_TRUE(says(refused, "has committed what is not archived")) << refused.err;
    EXPECT_TRUE(says(refused, " --to-latest\n")) << refused.err;
    scene.archive_current_segment();
    // The rows are archived, and the server says so.
    EXPECT_EQ(dry_run(before).status.code, 0) << describe(dry_run(before));
  }
  archive_an_hour_ahead("INSERT INTO t SELECT generate_series(51, 120)");
  scene.server().sql("INSERT INTO t SELECT generate_series(121, 170)");
  const std::string before = now();
  scene.server().sql("DELETE FROM t");
  {
    SCOPED_TRACE("a transaction that is later is archived, and one that is not came behind it");
    const Captured refused = dry_run(before);
    EXPECT_EQ(refused.status.code, 4) << describe(refused);
    EXPECT_TRUE(says(refused, "has committed what is not archived")) << refused.err;
    EXPECT_TRUE(says(refused, " --exclusive\n")) << refused.err;
  }
  {
    SCOPED_TRACE("all is archived, and when the transactions were committed nobody knows");
    scene.archive_current_segment();
    const Captured refused = dry_run(before);
    EXPECT_EQ(refused.status.code, 4) << describe(refused);
    EXPECT_TRUE(says(refused, "The server's clock says ")) << refused.err;
    EXPECT_EQ(run({.arguments = {"sh", "-c", last_command(refused) + " --dry-run"}}).status.code, 0)
        << refused.err;
  }
  {
    SCOPED_TRACE("nobody can be asked: the command that reaches them");
    scene.crash();
    const Captured planned = dry_run(before);
    EXPECT_EQ(planned.status.code, 0) << describe(planned);
    EXPECT_TRUE(says(planned, "commit times go back: ")) << planned.out;
  }
}

// A copy that archives is promoted beside production, which goes on.
TEST(Ends, AStrayPromotionDoesNotLeadTheNextRestore) {
  RecoveryScene scene({.major = 15, .wal_segment_mib = 1});
  scene.server().sql("CREATE TABLE t AS SELECT generate_series(1, 100) AS id");
  scene.must({"backup"});
  scene.archive_current_segment();
  {
    const auto stray = scene.restore_into("stray", {"--archive", "on"});
    scene.archive_current_segment(stray->connect());
  }
  scene.server().sql("INSERT INTO t VALUES (101)");
  scene.archive_current_segment();
  scene.destroy();
  const Captured refused = scene.run({"restore", "--dry-run", "--in-place"});
  EXPECT_EQ(refused.status.code, 4) << describe(refused);
  EXPECT_TRUE(says(refused, "timeline 1 has later commits than timeline 2")) << refused.err;
  for (const char* timeline : {"--timeline 1\n", "--timeline 2\n"})
    EXPECT_TRUE(says(refused, timeline)) << refused.err;
  const auto restored = scene.restore_in_place({"--timeline", "1"});
  EXPECT_EQ(restored->value("SELECT max(id) FROM public.t"), "101");
}

class RecoveryEnds : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(EachMajor, RecoveryEnds, testing::Values(13, 17),
                         [](const testing::TestParamInfo<int>& tested) {
                           return std::to_string(tested.param);
                         });

// The last segment goes away when the files are laid: the server takes the end before it for the
// end of the WAL.
TEST_P(RecoveryEnds, ThatAreShortOfThePlansAreNoEnd) {
  RecoveryScene scene({.major = GetParam(), .wal_segment_mib = 1});
  scene.server().sql("CREATE TABLE t AS SELECT 1 AS id");
  scene.must({"backup"});
  scene.server().sql("INSERT INTO t VALUES (2)");
  scene.archive_current_segment();
  scene.server().sql("INSERT INTO t VALUES (3)");
  const std::string last = scene.archive_current_segment();
  const std::string copy = scene.path("copy");
  scene.must({"restore", "--into", copy});
  const std::string object = scene.wal_object(last).value();
  rename_path(object, scene.path("aside"));

  const Captured refused = scene.run({"restore", "--resume", "--into", copy});
  EXPECT_EQ(refused.status.code, 1) << describe(refused);
  EXPECT_TRUE(std::regex_search(
      refused.err,
      std::regex("ended at 0/[0-9A-F]+, short of the end of the archived WAL at 0/[0-9A-F]+")))
      << refused.err;
  EXPECT_EQ(cluster::read_control_file(copy).control.state, pg::ClusterState::kInArchiveRecovery);
  EXPECT_TRUE(lstat_if_exists(join_path(copy, "recovery.signal")));
  EXPECT_FALSE(lstat_if_exists(join_path(copy, "pg_wal/00000002.history")));
  EXPECT_FALSE(cluster::find_running_server(copy));

  // It is back, and more has come since.
  rename_path(scene.path("aside"), object);
  scene.server().sql("INSERT INTO t VALUES (4)");
  scene.archive_current_segment();
  const RestoredServer resumed(copy, scene.must({"restore", "--resume", "--into", copy}));
  EXPECT_EQ(resumed.value("SELECT string_agg(id::text, ' ' ORDER BY id) FROM public.t"), "1 2 3 4");
  EXPECT_EQ(read_text_file(join_path(copy, "postgresql.auto.conf")).find("recovery_target"),
            std::string::npos);
}

}  // namespace
}  // namespace holdfast::test
