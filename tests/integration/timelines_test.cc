// Recoveries of recoveries: each leaves a timeline, and every one of them can be gone back to.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/file.h"
#include "cluster/server_process.h"
#include "support/holdfast_command.h"
#include "support/recovery_scene.h"

namespace holdfast::test {
namespace {

using cluster::Connection;

class Timelines : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(EachMajor, Timelines, testing::ValuesIn(test_majors()),
                         [](const testing::TestParamInfo<int>& tested) {
                           return std::to_string(tested.param);
                         });

void note(Connection connection, const std::string& text) {
  connection.query("INSERT INTO public.notes VALUES (DEFAULT, $1)",
                   std::vector<cluster::Value>{text});
}
std::string notes(const RestoredServer& restored) {
  return restored.value("SELECT pg_catalog.string_agg(text, ' ' ORDER BY id) FROM public.notes");
}

TEST_P(Timelines, ARestoreOfARestoreFollowsItsOwnPathAndAnyOlderOneOnRequest) {
  RecoveryScene scene({.major = GetParam(), .wal_segment_mib = 1});
  scene.server().sql("CREATE TABLE public.notes (id serial, text text)");
  const std::string first_backup = scene.must({"backup"}).at("backup").at("id").as_string();

  // Timeline 1 goes on behind the place where timeline 2 will leave it.
  note(scene.server().connect(), "one");
  scene.server().sql("SELECT pg_create_restore_point('fork')");
  note(scene.server().connect(), "regretted");
  scene.server().sql("SELECT pg_create_restore_point('on the first')");
  note(scene.server().connect(), "regretted-too");
  scene.archive_current_segment();
  scene.destroy();

  // Timeline 2: a restore that archives, and is written to.
  {
    std::unique_ptr<RestoredServer> second =
        scene.restore_into("second", {"--to-name", "fork", "--archive", "on"});
    EXPECT_EQ(second->result().at("new_timeline").as_i64(), 2);
    EXPECT_EQ(notes(*second), "one");
    note(second->connect(), "two");
    scene.archive_current_segment(second->connect());
  }
  {
    SCOPED_TRACE("latest, across both timelines, without a backup of the second");
    std::unique_ptr<RestoredServer> third = scene.restore_into("third", {"--archive", "on"});
    EXPECT_EQ(notes(*third), "one two");
    EXPECT_EQ(third->result().at("plan").at("timeline").as_i64(), 2);
    EXPECT_EQ(third->result().at("new_timeline").as_i64(), 3);
    note(third->connect(), "three");

    // A backup of the third timeline, and more.
    const std::string backup =
        scene.must({"backup", "--pgdata", third->directory(), "--conninfo", third->conninfo()})
            .at("backup")
            .at("id")
            .as_string();
    note(third->connect(), "behind-the-backup");
    scene.archive_current_segment(third->connect());
    third->destroy();

    std::unique_ptr<RestoredServer> fourth = scene.restore_into("fourth", {});
    EXPECT_EQ(notes(*fourth), "one two three behind-the-backup");
    EXPECT_EQ(fourth->result().at("plan").at("backup").as_string(), backup);
    EXPECT_EQ(fourth->result().at("new_timeline").as_i64(), 4);
  }
  {
    SCOPED_TRACE("latest, from the first backup through three timelines");
    std::unique_ptr<RestoredServer> restored =
        scene.restore_into("through", {"--backup", first_backup});
    EXPECT_EQ(notes(*restored), "one two three behind-the-backup");
  }
  {
    SCOPED_TRACE("the end of the first timeline");
    std::unique_ptr<RestoredServer> restored = scene.restore_into("older", {"--timeline", "1"});
    EXPECT_EQ(notes(*restored), "one regretted regretted-too");
    EXPECT_EQ(restored->result().at("plan").at("backup").as_string(), first_backup);
  }
  {
    SCOPED_TRACE("a target on the first timeline, behind the fork");
    std::unique_ptr<RestoredServer> restored =
        scene.restore_into("older", {"--timeline", "1", "--to-name", "on the first"});
    EXPECT_EQ(notes(*restored), "one regretted");
  }
  {
    SCOPED_TRACE("the end of the second timeline");
    std::unique_ptr<RestoredServer> restored = scene.restore_into("older", {"--timeline", "2"});
    EXPECT_EQ(notes(*restored), "one two");
  }
  {
    SCOPED_TRACE("a target that only another timeline has");
    const Captured ran = scene.run({"restore", "--into", scene.path("nowhere"), "--timeline", "2",
                                    "--to-name", "on the first"});
    EXPECT_EQ(ran.status.code, 4) << describe(ran);
    const Captured none =
        scene.run({"restore", "--into", scene.path("nowhere"), "--timeline", "9"});
    EXPECT_EQ(none.status.code, 4) << describe(none);
  }
}

// The first recovery was to too late a moment: do it again, to an earlier one. PostgreSQL follows
// the newest timeline and writes a history whose switch points go down.
TEST_P(Timelines, ARecoveryToBeforeTheLastSwitchArchivesIsBackedUpAndIsRecovered) {
  RecoveryScene scene({.major = GetParam(), .wal_segment_mib = 1});
  scene.server().sql("CREATE TABLE public.notes (id serial, text text)");
  scene.must({"backup"});
  note(scene.server().connect(), "one");
  scene.server().sql("SELECT pg_create_restore_point('early')");
  note(scene.server().connect(), "regretted");
  scene.server().sql("SELECT pg_create_restore_point('late')");
  note(scene.server().connect(), "dropped");
  scene.archive_current_segment();
  scene.server().stop();

  {
    const std::unique_ptr<RestoredServer> too_late = scene.restore_in_place({"--to-name", "late"});
    EXPECT_EQ(notes(*too_late), "one regretted");
    note(too_late->connect(), "mistaken");
    scene.archive_current_segment(too_late->connect());
    // Right behind the stop, while what read ahead for it may still be there.
    run_checked(cluster::as_user(
        {.arguments = {join_path(scene.server().installation().bin_directory, "pg_ctl"), "-D",
                       too_late->directory(), "-m", "fast", "-w", "stop"},
         .output = "/dev/null"},
        server_user()));
    const std::unique_ptr<RestoredServer> earlier = scene.restore_in_place({"--to-name", "early"});
    EXPECT_EQ(notes(*earlier), "one");
    const std::string history =
        read_text_file(join_path(earlier->directory(), "pg_wal/00000003.history"));
    EXPECT_NE(history.find("early"), std::string::npos) << history;
    note(earlier->connect(), "two");
    scene.archive_current_segment(earlier->connect());
    EXPECT_TRUE(scene.wal_object("00000003.history"));
    EXPECT_EQ(earlier->value("SELECT failed_count FROM pg_stat_archiver"), "0");
    scene.must({"backup"});
    note(earlier->connect(), "three");
    const Json listed = scene.must({"wal", "list"}).at("lineages").items().front();
    EXPECT_EQ(listed.at("timelines").items().size(), 3U) << listed.dump();
    EXPECT_EQ(scene.run({"verify"}).status.code, 0);
    run_checked(cluster::as_user(
        {.arguments = {join_path(scene.server().installation().bin_directory, "pg_ctl"), "-D",
                       earlier->directory(), "-m", "immediate", "-w", "stop"},
         .output = "/dev/null"},
        server_user()));
    const std::unique_ptr<RestoredServer> third = scene.restore_in_place();
    EXPECT_EQ(notes(*third), "one two three");
    EXPECT_EQ(third->result().at("new_timeline").as_i64(), 4);
  }
}

// --- Every kind of target on a history of three timelines ----------------------------------------

// A commit of one note, and what names it.
struct Noted {
  uint32_t xid = 0;
  std::string before, commit, after;  // LSNs; `commit`: where its commit record begins
  std::string committed;              // the time in that record
  std::string time;                   // behind it, and before the next
};
Noted commit_note(cluster::Connection connection, const std::string& text) {
  Noted noted;
  noted.before = connection.query_value("SELECT pg_catalog.pg_current_wal_insert_lsn()");
  connection.query("BEGIN");
  noted.xid =
      static_cast<uint32_t>(std::stoul(connection.query_value("SELECT pg_catalog.txid_current()")));
  connection.query("INSERT INTO public.notes VALUES (DEFAULT, $1)",
                   std::vector<cluster::Value>{text});
  noted.commit = connection.query_value("SELECT pg_catalog.pg_current_wal_insert_lsn()");
  connection.query("COMMIT");
  noted.committed = connection.query_value(fmt::format(
      "SELECT pg_catalog.pg_xact_commit_timestamp('{}'::pg_catalog.xid)::pg_catalog.text",
      noted.xid));
  noted.after = connection.query_value("SELECT pg_catalog.pg_current_wal_insert_lsn()");
  noted.time = connection.query_value("SELECT pg_catalog.clock_timestamp()::pg_catalog.text");
  return noted;
}

//   timeline 1   one --(fork 1)-- lost
//   timeline 2             \-- two --(fork 2)-- lost too
//   timeline 3                          \-- three -- four
class ThreeTimelines : public testing::TestWithParam<int> {
 protected:
  ThreeTimelines()
      : scene_({.major = GetParam(),
                .wal_segment_mib = 1,
                .config = {"track_commit_timestamp = on"}}) {
    scene_.server().sql("CREATE TABLE public.notes (id serial, text text)");
    backup_ = scene_.must({"backup"}).at("backup").at("id").as_string();
    // Behind transactions whose numbers no later timeline uses again.
    const auto lose = [](cluster::Connection connection, int others, const std::string& text) {
      for (int i = 0; i < others; ++i) connection.query("SELECT pg_catalog.txid_current()");
      return commit_note(std::move(connection), text);
    };
    one_ = commit_note(scene_.server().connect(), "one");
    scene_.server().sql("SELECT pg_create_restore_point('fork 1')");
    lost_ = lose(scene_.server().connect(), 40, "lost");
    scene_.archive_current_segment();
    scene_.destroy();
    {
      const auto second = scene_.restore_into("second", {"--to-name", "fork 1", "--archive", "on"});
      two_ = commit_note(second->connect(), "two");
      second->value("SELECT pg_catalog.pg_create_restore_point('fork 2')");
      lost_too_ = lose(second->connect(), 20, "lost-too");
      scene_.archive_current_segment(second->connect());
    }
    const auto third = scene_.restore_into("third", {"--to-name", "fork 2", "--archive", "on"});
    three_ = commit_note(third->connect(), "three");
    four_ = commit_note(third->connect(), "four");
    scene_.archive_current_segment(third->connect());
    // From which a history of somebody else's is put into the archive by hand.
    run_checked({.arguments = {"cp", "-a", third->directory(), scene_.path("third.stopped")}});
  }

  struct Case {
    std::string what;
    std::vector<std::string> words;
    std::string expected;
    uint32_t timeline;
  };
  static constexpr size_t kShortCases = 14;
  std::vector<Case> cases() const {
    const auto xid = [](const Noted& noted) { return std::to_string(noted.xid); };
    return {
        {"latest", {}, "one two three four", 3},
        {"transaction of the third",
         {"--to-xid", xid(three_), "--timeline", "3"},
         "one two three",
         3},
        {"just before it",
         {"--to-xid", xid(three_), "--exclusive", "--timeline", "3"},
         "one two",
         3},
        {"a lost transaction", {"--to-xid", xid(lost_), "--timeline", "1"}, "one lost", 1},
        {"just before it", {"--to-xid", xid(lost_), "--exclusive", "--timeline", "1"}, "one", 1},
        {"restore point of the second", {"--to-name", "fork 2"}, "one two", 3},
        {"time on the second", {"--to", two_.time}, "one two", 3},
        {"LSN on the third, exclusive",
         {"--to-lsn", four_.before, "--exclusive", "--timeline", "3"},
         "one two three",
         3},
        {"end of the second", {"--timeline", "2"}, "one two lost-too", 2},
        {"the very time of a commit", {"--to", two_.committed}, "one two", 3},
        {"just before it", {"--to", two_.committed, "--exclusive"}, "one", 3},
        {"the record of a commit",
         {"--to-lsn", three_.commit, "--timeline", "3"},
         "one two three",
         3},
        {"just before it",
         {"--to-lsn", three_.commit, "--exclusive", "--timeline", "3"},
         "one two",
         3},
        {"immediate", {"--to-immediate"}, "", 1},
        // From here on in the long run.
        {"transaction of the first", {"--to-xid", xid(one_)}, "one", 3},
        {"just before the second's",
         {"--to-xid", xid(two_), "--exclusive", "--timeline", "3"},
         "one",
         3},
        {"the second's", {"--to-xid", xid(two_), "--timeline", "3"}, "one two", 3},
        {"lost too", {"--to-xid", xid(lost_too_), "--timeline", "2"}, "one two lost-too", 2},
        {"just before that",
         {"--to-xid", xid(lost_too_), "--exclusive", "--timeline", "2"},
         "one two",
         2},
        {"restore point of the first", {"--to-name", "fork 1"}, "one", 3},
        {"the same on the first", {"--to-name", "fork 1", "--timeline", "1"}, "one", 1},
        {"time on the first", {"--to", one_.time}, "one", 3},
        {"exclusive", {"--to", one_.time, "--exclusive"}, "one", 3},
        {"time on the second, exclusive", {"--to", two_.time, "--exclusive"}, "one two", 3},
        {"time on the third", {"--to", three_.time}, "one two three", 3},
        {"time behind the end of the lost one",
         {"--to", four_.time, "--timeline", "1"},
         "one lost",
         1},
        {"the very time of the lost one",
         {"--to", lost_.committed, "--timeline", "1"},
         "one lost",
         1},
        {"just before it", {"--to", lost_.committed, "--exclusive", "--timeline", "1"}, "one", 1},
        {"the record of the lost one",
         {"--to-lsn", lost_.commit, "--timeline", "1"},
         "one lost",
         1},
        {"LSN on the first", {"--to-lsn", one_.after}, "one", 3},
        {"LSN on the second", {"--to-lsn", two_.after, "--timeline", "3"}, "one two", 3},
        {"exclusive", {"--to-lsn", two_.after, "--exclusive", "--timeline", "3"}, "one two", 3},
        {"LSN on the third", {"--to-lsn", three_.after, "--timeline", "3"}, "one two three", 3},
        {"LSN of the lost one",
         {"--to-lsn", lost_.before, "--exclusive", "--timeline", "1"},
         "one",
         1},
        {"immediate, of the third", {"--to-immediate", "--timeline", "3"}, "", 3},
        {"end of the first", {"--timeline", "1"}, "one lost", 1},
    };
  }
  void expect_reached(const Case& target) {
    SCOPED_TRACE(fmt::format("{}: {}", target.what, fmt::join(target.words, " ")));
    const auto restored = scene_.restore_into("target", target.words);
    EXPECT_EQ(restored->value("SELECT coalesce(pg_catalog.string_agg(text, ' ' ORDER BY id), '') "
                              "FROM public.notes"),
              target.expected);
    EXPECT_EQ(restored->result().at("plan").at("timeline").as_i64(), target.timeline);
    // An id that nobody has used.
    EXPECT_EQ(restored->result().at("new_timeline").as_i64(), 4);
    EXPECT_EQ(restored->result().at("plan").at("next_timeline").as_i64(), 4);
  }
  Captured dry_run(std::vector<std::string> words) {
    words.insert(words.begin(), {"restore", "--dry-run", "--into", scene_.path("paper")});
    return scene_.run(words);
  }

  RecoveryScene scene_;
  std::string backup_;
  Noted one_, lost_, two_, lost_too_, three_, four_;
};

class TimelineTargets : public ThreeTimelines {};
INSTANTIATE_TEST_SUITE_P(EachMajor, TimelineTargets, testing::Values(13, newest_major()),
                         [](const testing::TestParamInfo<int>& tested) {
                           return std::to_string(tested.param);
                         });
TEST_P(TimelineTargets, AreReachedOnTheirOwnPathOrNamedWithTheCommandThatReachesThem) {
  const std::vector<Case> all = cases();
  for (size_t i = 0; i < kShortCases; ++i) expect_reached(all[i]);

  {
    SCOPED_TRACE("what an abandoned timeline has too");
    const Captured both = dry_run({"--to-lsn", three_.commit});
    EXPECT_EQ(both.status.code, 4) << describe(both);
    EXPECT_NE(both.err.find("timeline 2 has such a place too: WAL location "), std::string::npos)
        << both.err;
  }
  {
    SCOPED_TRACE("what only an abandoned timeline has");
    const Captured lost = dry_run({"--to-xid", std::to_string(lost_.xid)});
    EXPECT_EQ(lost.status.code, 4) << describe(lost);
    EXPECT_NE(lost.err.find(fmt::format("Timeline 1 has it: holdfast --config {} restore --into {} "
                                        "--to-xid {} --timeline 1\n",
                                        scene_.config_file(), scene_.path("paper"), lost_.xid)),
              std::string::npos)
        << lost.err;
    const Captured too = dry_run({"--to-xid", std::to_string(lost_too_.xid), "--exclusive"});
    EXPECT_NE(too.err.find("Timeline 2 has it: "), std::string::npos) << too.err;
    EXPECT_NE(too.err.find("--exclusive --timeline 2\n"), std::string::npos) << too.err;
    // A plan that leaves later commits behind says so.
    const Captured latest = dry_run({});
    for (const char* timeline : {"1", "2"})
      EXPECT_NE(latest.out.find(fmt::format("timeline {} left this path at ", timeline)),
                std::string::npos)
          << latest.out;
  }
  {
    SCOPED_TRACE("a history that contradicts the others");
    const std::string stopped = scene_.path("third.stopped");
    write_file_durably(join_path(stopped, "pg_wal/00000004.history"),
                       as_bytes("1\t0/200000\tno recovery target specified\n\n"
                                "2\t0/300000\tno recovery target specified\n"));
    const Captured push = scene_.run({"wal", "push", "pg_wal/00000004.history"}, stopped);
    EXPECT_EQ(push.status.code, 0) << describe(push);
    // The backup is from before the place of which they tell different things.
    for (const std::vector<std::string>& words :
         {std::vector<std::string>{}, {"--timeline", "3"}, {"--timeline", "4"}}) {
      const Captured refused = dry_run(words);
      EXPECT_EQ(refused.status.code, 3) << describe(refused);
      EXPECT_NE(refused.err.find("the history of timeline 4 contradicts that of timeline 2"),
                std::string::npos)
          << refused.err;
    }
    const Captured unconcerned = dry_run({"--timeline", "1"});
    EXPECT_EQ(unconcerned.status.code, 0) << describe(unconcerned);
    EXPECT_NE(unconcerned.out.find("this recovery does not come by there"), std::string::npos)
        << unconcerned.out;
    const std::string object = scene_.wal_object("00000004.history").value();
    remove_file(object);
    remove_tree(join_path(parent_path(parent_path(object)), "histories.copy/00000004"));
  }
  {
    SCOPED_TRACE("a history that is lost");
    const std::string object = scene_.wal_object("00000002.history").value();
    const std::string copy = join_path(parent_path(parent_path(object)), "histories.copy/00000002");
    const std::string aside = scene_.path("history.aside");
    rename_path(object, aside);
    rename_path(copy, aside + ".copy");
    // The third timeline's history knows of the second.
    EXPECT_EQ(dry_run({}).status.code, 0);
    // On the first the server would be stopped at its promotion.
    const Captured refused = dry_run({"--timeline", "1"});
    EXPECT_EQ(refused.status.code, 4) << describe(refused);
    EXPECT_NE(refused.err.find("\"00000002.history\" is not in the archive"), std::string::npos)
        << refused.err;
    EXPECT_EQ(dry_run({"--timeline", "1", "--action", "pause"}).status.code, 0);
    rename_path(aside, object);
    rename_path(aside + ".copy", copy);
  }
}

class LongTimelineTargets : public ThreeTimelines {};
INSTANTIATE_TEST_SUITE_P(EachMajor, LongTimelineTargets, testing::ValuesIn(test_majors()),
                         [](const testing::TestParamInfo<int>& tested) {
                           return std::to_string(tested.param);
                         });
TEST_P(LongTimelineTargets, AreReachedWhateverTheirKindAndSide) {
  for (const Case& target : cases()) expect_reached(target);
}

}  // namespace
}  // namespace holdfast::test
