// Two servers write WAL under the same names: a clone of the cluster archives first. Whatever would
// put the one's rows in the place of the other's is refused, and names both.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "support/holdfast_command.h"
#include "support/recovery_scene.h"

namespace holdfast::test {
namespace {

class TwoHistories : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(EachMajor, TwoHistories, testing::Values(15, 17),
                         [](const testing::TestParamInfo<int>& tested) {
                           return std::to_string(tested.param);
                         });

void expect_refused(const Captured& ran, int status, const std::vector<std::string>& words) {
  EXPECT_EQ(ran.status.code, status) << describe(ran);
  for (const std::string& word : words)
    EXPECT_NE((ran.out + ran.err).find(word), std::string::npos) << "without \"" << word << "\":\n"
                                                                 << describe(ran);
}

TEST_P(TwoHistories, TheOthersWalIsNeverTakenForTheServersOwn) {
  RecoveryScene scene({.major = GetParam(), .wal_segment_mib = 1});
  PostgresServer& server = scene.server();
  server.sql("CREATE TABLE public.rows (who text, n int)");
  server.sql("INSERT INTO public.rows SELECT 'both', generate_series(1, 100)");
  scene.must({"backup"});
  server.stop();
  const std::string clone = scene.path("clone");
  run_checked({.arguments = {"cp", "-a", server.data_directory(), clone}});
  std::string first;
  {
    PostgresServer other({.major = GetParam(), .data_directory = clone});
    other.sql("INSERT INTO public.rows SELECT 'clone', generate_series(1, 50)");
    first = scene.archive_current_segment(other.connect());
    for (int i = 0; i < 2; ++i) scene.archive_current_segment(other.connect());
    other.stop();
  }
  server.start();
  server.sql("INSERT INTO public.rows SELECT 'own', generate_series(1, 900)");
  const std::string moment = server.value("SELECT clock_timestamp()");
  server.sql("SELECT pg_switch_wal()");
  server.sql("INSERT INTO public.rows SELECT 'own', generate_series(901, 1000)");
  const std::string rows =
      "SELECT string_agg(who || count, ' ' ORDER BY who) FROM (SELECT who, "
      "count(*) AS count FROM public.rows GROUP BY who) AS counted";

  {
    SCOPED_TRACE("a backup");
    expect_refused(scene.run({"backup", "--archive-timeout", "60s"}), 1,
                   {"is not the server's", clone, server.data_directory(), "there is no new backup",
                    "wal set-aside ", "--onward"});
    EXPECT_EQ(scene.must({"backup", "list"}).at("backups").items().size(), 1U);
  }
  {
    SCOPED_TRACE("a time that the running server should prove");
    expect_refused(
        scene.run({"restore", "--into", scene.path("copy"), "--to", moment, "--dry-run"}), 4,
        {"of another history than the archive"});
    expect_refused(scene.run({"check", "--archive-timeout", "5s"}), 1,
                   {"history: the archive is not shown to be this server's"});
  }
  scene.crash();
  {
    SCOPED_TRACE("a restore in place");
    const std::vector<std::string> before = contents(server.data_directory());
    const std::vector<std::string> archived = contents(join_path(scene.repository(), "clusters"));
    for (const char* how : {"--dry-run", "--start"})
      expect_refused(scene.run({"restore", "--in-place", "--yes", how}), 1,
                     {"the archive holds another history", clone, "--onward", "--to-lsn",
                      "--without-own-wal"});
    EXPECT_EQ(contents(server.data_directory()), before);
    EXPECT_EQ(contents(join_path(scene.repository(), "clusters")), archived);
  }
  // The way that the refusals name.
  scene.must({"wal", "set-aside", first, "--onward"});
  const std::unique_ptr<RestoredServer> restored = scene.restore_in_place();
  EXPECT_EQ(restored->value(rows), "both100 own1000");
  scene.must({"backup", "--conninfo", restored->conninfo()});
  scene.must({"verify"});
}

// A server was rolled back to a snapshot, and its old line taken out of service. What a backup of
// that line would be given back with is the new line's: nobody does.
TEST(RolledBack, ABackupOfTheOldLineIsGivenBackByNoCommand) {
  RecoveryScene scene({.wal_segment_mib = 1});
  PostgresServer& server = scene.server();
  const std::string data = server.data_directory(), snapshot = scene.path("snapshot");
  server.sql("CREATE TABLE public.rows (who text)");
  const std::string common = scene.must({"backup"}).at("backup").at("id").as_string();
  scene.archive_current_segment();
  server.stop();
  run_checked({.arguments = {"cp", "-a", data, snapshot}});
  server.start();
  server.sql("INSERT INTO public.rows SELECT 'old' FROM generate_series(1, 100)");
  const std::string first = scene.archive_current_segment();
  scene.must({"backup"});
  const std::string id = scene.must({"backup", "show", "latest"}).at("backup").at("id").as_string();
  scene.must({"restore", "--into", scene.path("laid")});
  // A recovery that has replayed the old line, from a backup that leads to both.
  scene.must({"restore", "--into", scene.path("recovered"), "--backup", common, "--start",
              "--action", "shutdown"});
  server.stop();
  remove_tree(data);
  run_checked({.arguments = {"cp", "-a", snapshot, data}});
  scene.must({"wal", "set-aside", first, "--onward"});
  server.start();
  // Under a name that was set aside it comes into the archive too.
  const Captured checked = scene.run({"--json", "check"});
  EXPECT_TRUE(Json::parse(checked.out, "check").at("proven").as_bool()) << checked.out;
  for (int i = 0; i < 4; ++i) {
    server.sql("INSERT INTO public.rows SELECT 'new' FROM generate_series(1, 100)");
    scene.archive_current_segment();
  }

  // A copy of the repository has other times.
  const std::string mirror = scene.path("mirror");
  run_checked({.arguments = {"cp", "-r", scene.repository(), mirror}});
  std::string text = read_text_file(scene.config_file());
  text.replace(text.find(scene.repository()), scene.repository().size(), mirror);
  const std::string config = scene.path("mirror.toml");
  write_file_durably(config, as_bytes(text));
  expect_refused(holdfast({"--config", config, "verify"}), 3, {id + ": damaged: WAL file"});

  const auto expect_nobody = [&] {
    expect_refused(scene.run({"verify"}), 3, {id + ": damaged: WAL file"});
    const std::string out_of_service = "is of a history that was taken out of service";
    expect_refused(scene.run({"restore", "--into", scene.path("copy"), "--backup", id}), 4,
                   {out_of_service});
    expect_refused(scene.run({"restore", "--resume", "--into", scene.path("laid")}), 4,
                   {out_of_service});
    expect_refused(scene.run({"restore", "--resume", "--into", scene.path("recovered"), "--action",
                              "promote"}),
                   4, {"was recovered by is not served any more"});
    expect_refused(scene.run({"backup", "export", id, "--tar", scene.path("tar")}), 4,
                   {out_of_service});
    EXPECT_FALSE(lstat_if_exists(scene.path("copy")));
  };
  expect_nobody();
  // The printed undo: what came later is served all the same.
  scene.must({"wal", "set-aside", first, "--onward", "--off"});
  expect_nobody();
}

// By a hint for a copy's timeline, on a bad day.
TEST(SetAside, WhatTheClustersServerHasWrittenStays) {
  RecoveryScene scene({.wal_segment_mib = 1});
  scene.must({"backup"});
  const std::string segment = scene.archive_current_segment();
  const std::vector<std::string> onward = {"wal", "set-aside", segment, "--onward"};
  expect_refused(scene.run(onward), 1, {"is of the server that conninfo leads to"});
  EXPECT_TRUE(scene.wal_object(segment));
  scene.crash();
  {
    const std::unique_ptr<RestoredServer> second = scene.restore_in_place();
    scene.archive_current_segment(second->connect());
    expect_refused(scene.run({"wal", "set-aside", "00000002.history"}), 1,
                   {"is of the server that conninfo leads to"});
  }
  scene.must(onward);
}

}  // namespace
}  // namespace holdfast::test
