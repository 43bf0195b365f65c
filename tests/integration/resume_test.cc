// A recovery that did not end goes on: after a server that was killed or failed, an interrupted
// command, a host that went down. Nothing is laid again.
#include <csignal>
#include <regex>
#include <sys/stat.h>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/file.h"
#include "cluster/running_server.h"
#include "support/holdfast_command.h"
#include "support/recovery_scene.h"

namespace holdfast::test {
namespace {

class Resume : public testing::TestWithParam<int> {
 protected:
  Resume() : scene_({.major = GetParam(), .wal_segment_mib = 1}) {
    scene_.server().sql("CREATE TABLE kept AS SELECT g FROM generate_series(1, 1000) g");
    backup_ = scene_.must({"backup"}).at("backup").at("id").as_string();
    for (int i = 0; i < 4; ++i) {
      scene_.server().sql(fmt::format("CREATE TABLE later_{} AS SELECT 1 AS one", i));
      segments_.push_back(scene_.archive_current_segment());
    }
  }

  std::string into() { return scene_.path("copy"); }
  std::vector<std::string> words(std::vector<std::string> more = {}) {
    std::vector<std::string> all = {"restore", "--resume", "--into", into()};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  // restore_command waits before it fetches this segment until open_the_gate() is called.
  void put_gate_before(const std::string& segment) {
    const std::string script = scene_.path("gate.sh");
    write_file_durably(script,
                       as_bytes(fmt::format("#!/bin/sh\n"
                                            "if [ \"$1\" = {} ]; then touch '{}/waiting'\n"
                                            "while [ ! -e '{}/open' ]; do sleep 0.05; done\n"
                                            "sleep 0.3; fi\n"  // a slow store
                                            "exec '{}' --config '{}' wal get \"$1\" \"$2\"\n",
                                            segment, scene_.directory(), scene_.directory(),
                                            holdfast_program(), scene_.config_file())),
                       0755);
    const std::string conf = join_path(into(), "postgresql.auto.conf");
    std::string text = read_text_file(conf);
    const size_t at = text.find("restore_command = ");
    ASSERT_NE(at, std::string::npos);
    text.replace(at, text.find('\n', at) - at,
                 fmt::format("restore_command = '{} %f \"%p\"'", script));
    write_file_durably(conf, as_bytes(text));
  }
  void open_the_gate() { write_file_durably(scene_.path("open"), {}); }
  bool is_waiting() { return lstat_if_exists(scene_.path("waiting")).has_value(); }
  Process begin() {
    std::vector<std::string> all = {holdfast_program(), "--config", scene_.config_file()};
    for (const std::string& word : words()) all.push_back(word);
    return Process(
        {.arguments = std::move(all), .output = scene_.path("out"), .error = scene_.path("err")});
  }
  std::string said() { return read_text_file(scene_.path("err")); }

  // Everything is there, and nothing of the recovery is left in the configuration.
  void expect_recovered(const Json& result) {
    const RestoredServer server(into(), result);
    EXPECT_EQ(server.value("SELECT pg_catalog.count(*) FROM public.kept"), "1000");
    EXPECT_EQ(server.value("SELECT one FROM public.later_3"), "1");
    EXPECT_EQ(server.value("SELECT pg_catalog.pg_is_in_recovery()"), "f");
    expect_no_trace();
  }
  void expect_no_trace() {
    const std::string conf = read_text_file(join_path(into(), "postgresql.auto.conf"));
    EXPECT_EQ(conf.find("restore_command"), std::string::npos) << conf;
    EXPECT_EQ(conf.find("recovery_target"), std::string::npos) << conf;
    for (const char* name : {"holdfast_restore.json", "holdfast_recovery.settings",
                             "recovery.signal", "holdfast_restore.in_progress"})
      EXPECT_FALSE(lstat_if_exists(join_path(into(), name))) << name;
  }

  RecoveryScene scene_;
  std::string backup_;
  std::vector<std::string> segments_;
};
INSTANTIATE_TEST_SUITE_P(EachMajor, Resume, testing::Values(13, newest_major()),
                         [](const testing::TestParamInfo<int>& tested) {
                           return std::to_string(tested.param);
                         });

TEST_P(Resume, GoesOnAfterARecoveryThatFailedByTheCommandOfItsHint) {
  // The plan sees the segment; its content is damaged, which wal get finds out.
  const std::string object = scene_.wal_object(segments_[2]).value();
  const Bytes good = read_file(object);
  Bytes damaged = good;
  damaged[damaged.size() - 100] ^= std::byte{0x55};
  ASSERT_EQ(chmod(object.c_str(), 0600), 0);
  write_file_durably(object, damaged);
  const Captured ran = scene_.run({"restore", "--into", into(), "--start"});
  EXPECT_EQ(ran.status.code, 1) << describe(ran);
  EXPECT_NE(ran.err.find("restore_command stopped the recovery on purpose"), std::string::npos)
      << ran.err;
  const size_t hint = ran.err.find("Then go on with: holdfast ");
  ASSERT_NE(hint, std::string::npos) << ran.err;

  write_file_durably(object, good);
  const std::vector<std::string> laid = contents(join_path(into(), "base"));
  std::string command = ran.err.substr(hint + std::string_view("Then go on with: holdfast").size());
  command = holdfast_program() + command.substr(0, command.find('\n')) + " --json";
  const Captured resumed = run({.arguments = {"sh", "-c", command}});
  ASSERT_TRUE(resumed.status.ok()) << command << describe(resumed);
  expect_recovered(Json::parse(resumed.out, "resume"));
}

TEST_P(Resume, GoesOnAfterAnInterruptedCommandAndAKilledServer) {
  // A recovery to the end of the archive has its restore_command written anew each time.
  scene_.server().sql("SELECT pg_catalog.pg_create_restore_point('all')");
  scene_.archive_current_segment();
  scene_.must({"restore", "--into", into(), "--to-name", "all", "--action", "promote"});
  put_gate_before(segments_[2]);
  {
    SCOPED_TRACE("interrupted");
    Process command = begin();
    ASSERT_TRUE(comes_true([&] { return is_waiting(); })) << said();
    command.signal(SIGINT);
    EXPECT_EQ(command.wait().code, 130) << said();
    EXPECT_NE(said().find("HINT:  Go on where it stopped with: holdfast --config "),
              std::string::npos)
        << said();
    EXPECT_FALSE(cluster::find_running_server(into()));
  }
  {
    SCOPED_TRACE("the server was killed");
    remove_file(scene_.path("waiting"));
    Process command = begin();
    ASSERT_TRUE(comes_true([&] { return is_waiting(); })) << said();
    {
      SCOPED_TRACE("beside it nobody else can go on");
      const Captured second = scene_.run(words());
      EXPECT_EQ(second.status.code, 5) << describe(second);
    }
    ASSERT_EQ(kill(cluster::find_running_server(into()).value().pid, SIGKILL), 0);
    EXPECT_EQ(command.wait().code, 1) << said();
    EXPECT_NE(said().find("was terminated by signal 9"), std::string::npos) << said();
    end_processes_below(into());
  }
  {
    SCOPED_TRACE("the host went down: nothing ended in order");
    remove_file(scene_.path("waiting"));
    Process command = begin();
    ASSERT_TRUE(comes_true([&] { return is_waiting(); })) << said();
    command.signal(SIGKILL);
    command.wait();
    end_processes_below(into());
  }
  open_the_gate();
  const Captured ended = scene_.run(words({"--progress", "bar", "--json"}));
  ASSERT_TRUE(ended.status.ok()) << describe(ended);
  expect_recovered(Json::parse(ended.out, "resume"));
  // On a terminal, how far it is.
  EXPECT_TRUE(
      std::regex_search(ended.err, std::regex("replaying WAL +[0-9]+%, .*segment [1-9] of [1-9], .*"
                                              "[0-9.]+ MiB of [0-9.]+ MiB, [0-9.]+ [KM]iB/s")))
      << ended.err;
}

TEST_P(Resume, EndsAsTheRestoreWantedOrAsItIsTold) {
  {
    SCOPED_TRACE("pause, and the server was killed while it waited");
    const Json paused = scene_.must({"restore", "--into", into(), "--start", "--action", "pause"});
    end_processes_below(into());
    const Json again = scene_.must(words());
    EXPECT_EQ(again.at("ended_by").as_string(), "pause");
    const RestoredServer server(into(), again);
    EXPECT_EQ(server.value("SELECT one FROM public.later_3"), "1");
    EXPECT_EQ(server.value("SELECT pg_catalog.pg_is_in_recovery()"), "t");
    EXPECT_EQ(scene_.must({"finish", into()}).at("new_timeline").as_i64(), 2);
    EXPECT_EQ(server.value("SELECT pg_catalog.pg_is_in_recovery()"), "f");
    expect_no_trace();
  }
  {
    SCOPED_TRACE("shutdown: the way out that finish names");
    scene_.must({"restore", "--into", into(), "--start", "--action", "shutdown"});
    EXPECT_EQ(scene_.must(words()).at("ended_by").as_string(), "shutdown");
    const Captured finish = scene_.run({"finish", into()});
    EXPECT_EQ(finish.status.code, 1) << describe(finish);
    EXPECT_NE(finish.err.find(fmt::format(" restore --resume --into {} --action promote", into())),
              std::string::npos)
        << finish.err;
    expect_recovered(scene_.must(words({"--action", "promote"})));
  }
  for (const char* by : {"pg_ctl promote", "SELECT pg_wal_replay_resume()"}) {
    SCOPED_TRACE(by);
    const RestoredServer server(
        into(), scene_.must({"restore", "--into", into(), "--start", "--action", "pause"}));
    if (std::string_view(by) == "pg_ctl promote")
      run_checked({.arguments = {scene_.server().installation().program("pg_ctl"), "promote", "-w",
                                 "-s", "-D", into()}});
    else
      server.value("SELECT pg_catalog.pg_wal_replay_resume()::text");
    scene_.must({"finish", into()});
    EXPECT_EQ(server.value("SELECT pg_catalog.pg_is_in_recovery()"), "f");
    expect_no_trace();
  }
  {
    SCOPED_TRACE("promoted, and nobody has taken out what the recovery needed");
    const Json paused = scene_.must({"restore", "--into", into(), "--start", "--action", "pause"});
    run_checked({.arguments = {scene_.server().installation().program("pg_ctl"), "promote", "-w",
                               "-s", "-D", into()}});
    end_processes_below(into());
    const Json again = scene_.must(words());
    EXPECT_EQ(again.at("new_timeline").as_i64(), 2);
    expect_recovered(again);
  }
}

class ResumeRefusals : public testing::Test {
 protected:
  ResumeRefusals() : scene_({.wal_segment_mib = 1}) { scene_.must({"backup"}); }
  Captured resume(std::vector<std::string> more) {
    more.insert(more.begin(), {"restore", "--resume"});
    return scene_.run(more);
  }
  RecoveryScene scene_;
};

TEST_F(ResumeRefusals, NameWhatTheDirectoryIsInsteadOfARecoveryToGoOnWith) {
  const std::string into = scene_.path("copy");
  const struct {
    const char* what;
    std::vector<std::string> words;
    int status;
    const char* text;
  } cases[] = {
      {"nothing", {"--into", into}, 1, "There is no such directory."},
      {"a cluster of somebody's",
       {"--into", scene_.server().data_directory()},
       5,
       "a PostgreSQL server is running on"},
      {"other files", {"--into", scene_.repository()}, 1, "no restore has laid it"},
      {"a target", {"--into", into, "--to-latest"}, 2, "--to-latest does not go with --resume"},
      {"a dry run", {"--into", into, "--dry-run"}, 2, "--dry-run does not go with --resume"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.what);
    const Captured ran = resume(c.words);
    EXPECT_EQ(ran.status.code, c.status) << describe(ran);
    EXPECT_NE(ran.err.find(c.text), std::string::npos) << ran.err;
  }

  scene_.must({"restore", "--into", into});
  {
    SCOPED_TRACE("in place is another place");
    scene_.crash();
    const Captured ran = resume({"--in-place"});
    EXPECT_EQ(ran.status.code, 1) << describe(ran);
    EXPECT_NE(ran.err.find("holds no recovery to go on with"), std::string::npos) << ran.err;
  }
  {
    SCOPED_TRACE("the laying was interrupted");
    const std::string control = join_path(into, "global/pg_control");
    const std::string aside = scene_.path("pg_control");
    rename_path(control, aside);
    write_file_durably(join_path(into, "holdfast_restore.in_progress"), {});
    const Captured ran = resume({"--into", into});
    EXPECT_EQ(ran.status.code, 1) << describe(ran);
    EXPECT_NE(ran.err.find("Run the same restore again, without --resume"), std::string::npos)
        << ran.err;
    // And that works.
    const RestoredServer server(into, scene_.must({"restore", "--into", into, "--start"}));
    const Captured finished = resume({"--into", into});
    EXPECT_EQ(finished.status.code, 5) << describe(finished);
  }
}

TEST_F(ResumeRefusals, InPlaceGoesOnToo) {
  scene_.server().sql("CREATE TABLE later AS SELECT 1 AS one");
  scene_.archive_current_segment();
  scene_.crash();
  const std::string data = scene_.server().data_directory();
  scene_.must({"restore", "--in-place", "--yes"});
  const RestoredServer server(data, scene_.must({"restore", "--resume", "--in-place"}));
  EXPECT_EQ(server.value("SELECT one FROM public.later"), "1");
  EXPECT_FALSE(lstat_if_exists(join_path(data, "holdfast_restore.json")));
}

// The last thing that a server writes which is shut down is a checkpoint: recovery makes a
// restartpoint of it, and a server that is started again has nothing more to replay.
TEST_F(ResumeRefusals, AtTheEndItIsOpenedOrSaysSo) {
  scene_.server().sql("CREATE TABLE later AS SELECT 1 AS one");
  scene_.server().stop();
  scene_.must({"wal", "salvage", scene_.server().data_directory()});
  const std::string into = scene_.path("copy");
  scene_.must({"restore", "--into", into, "--start", "--action", "shutdown"});
  const Captured again = resume({"--into", into});
  EXPECT_EQ(again.status.code, 1) << describe(again);
  EXPECT_NE(again.err.find("has come to its end"), std::string::npos) << again.err;
  const RestoredServer server(
      into, scene_.must({"restore", "--resume", "--into", into, "--action", "promote"}));
  EXPECT_EQ(server.value("SELECT one FROM public.later"), "1");
}

}  // namespace
}  // namespace holdfast::test
