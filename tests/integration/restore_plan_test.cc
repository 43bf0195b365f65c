// "restore --dry-run": the plan is what the restore does, and writes nothing.
#include <regex>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/file.h"
#include "support/holdfast_command.h"
#include "support/recovery_scene.h"

namespace holdfast::test {
namespace {

std::vector<std::string> texts(const Json& list) {
  std::vector<std::string> all;
  for (const Json& item : list.items()) all.push_back(item.as_string());
  return all;
}

class RestorePlan : public testing::Test {
 protected:
  RestorePlan()
      : scene_({.wal_segment_mib = 1, .config = {"max_connections = 30", "wal_keep_size = 64MB"}}) {
  }

  // What a command must leave as it is.
  std::vector<std::string> everything() {
    std::vector<std::string> all = listing(scene_.repository());
    std::ranges::move(listing(scene_.server().data_directory()), std::back_inserter(all));
    for (const DirectoryEntry& entry : list_directory(scene_.directory()))
      all.push_back(entry.name);
    return all;
  }
  Json dry_run(std::vector<std::string> words) {
    words.insert(words.begin(), {"restore", "--dry-run"});
    return scene_.must(words);
  }

  RecoveryScene scene_;
};

TEST_F(RestorePlan, IsWhatTheRestoreThenDoesAndWritesNothing) {
  const std::string tablespace = scene_.make_tablespace_directory("fast");
  scene_.server().sql(fmt::format("CREATE TABLESPACE fast LOCATION '{}'", tablespace));
  scene_.server().sql("CREATE TABLE kept TABLESPACE fast AS SELECT g FROM generate_series(1, 9) g");
  scene_.must({"backup"});
  // The WAL raises a floor above what the backup's files say.
  scene_.server().sql("ALTER SYSTEM SET max_connections = 77");
  scene_.server().restart();
  scene_.server().sql("CREATE TABLE later AS SELECT 1 AS one");
  scene_.archive_current_segment();
  scene_.crash();

  const std::string into = scene_.path("copy");
  const std::vector<std::string> before = everything();
  const Json plan = dry_run({"--into", into, "--start"});
  EXPECT_EQ(everything(), before);
  EXPECT_FALSE(lstat_if_exists(into));
  EXPECT_EQ(plan.at("schema").as_string(), "holdfast.restore_plan.v1");
  EXPECT_EQ(plan.at("directory").as_string(), into);
  EXPECT_EQ(plan.at("raised").at("max_connections").as_string(), "77");
  EXPECT_EQ(plan.at("tablespaces").items()[0].at("recorded").as_string(), tablespace);
  const std::string place = plan.at("tablespaces").items()[0].at("place").as_string();
  EXPECT_TRUE(place.starts_with(into + "/")) << place;
  EXPECT_EQ(plan.at("plan").at("next_timeline").as_i64(), 2);
  EXPECT_EQ(plan.at("plan").at("wal_bytes").as_i64(), plan.at("plan").at("segments").as_i64()
                                                          << 20);
  const Json& disk = plan.at("disk").items()[0];
  EXPECT_TRUE(disk.at("fits").as_bool());
  EXPECT_GE(disk.at("needed_bytes").as_i64(), plan.at("bytes").as_i64());

  // The command that it names does all that.
  const std::string command = plan.at("command").as_string();
  EXPECT_EQ(command,
            fmt::format("holdfast --config {} restore --into {} --start --json --to-latest",
                        scene_.config_file(), into));
  const RestoredServer restored(into, scene_.must({"restore", "--into", into, "--start"}));
  EXPECT_EQ(restored.value("SELECT one FROM public.later"), "1");
  // Promoted, it knows no more of the recovery.
  EXPECT_TRUE(comes_true([&] { return restored.value("SHOW restore_command").empty(); }));
  EXPECT_EQ(restored.value("SELECT pg_catalog.count(*) FROM public.kept"), "9");
  const Json& result = restored.result();
  EXPECT_EQ(result.at("files").as_i64(), plan.at("files").as_i64());
  EXPECT_EQ(result.at("bytes").as_i64(), plan.at("bytes").as_i64());
  EXPECT_EQ(result.at("plan").dump(), plan.at("plan").dump());
  EXPECT_EQ(result.at("new_timeline").as_i64(), plan.at("plan").at("next_timeline").as_i64());
  EXPECT_TRUE(lstat_if_exists(place));
}

// What ran with more than the files of the backup ask for: its pg_control tells.
TEST_F(RestorePlan, RaisesTheFloorsOfTheControlFileWhereTheWalSaysNothingOfThem) {
  const std::string running_with = scene_.server().value("SHOW max_connections");
  scene_.server().sql("ALTER SYSTEM SET max_connections = 25");
  scene_.must({"backup"});
  EXPECT_EQ(dry_run({"--into", scene_.path("copy")}).at("raised").at("max_connections").as_string(),
            running_with);
}

TEST_F(RestorePlan, InPlaceNeedsNoYesAndNamesTheWalThatWouldBeSaved) {
  scene_.must({"backup"});
  {
    SCOPED_TRACE("while the server runs");
    const Captured ran = scene_.run({"restore", "--dry-run", "--in-place", "--json"});
    EXPECT_EQ(ran.status.code, 5) << describe(ran);  // as the restore's; the plan is there
    const Json plan = Json::parse(ran.out, "plan");
    EXPECT_EQ(plan.at("running_server").as_i64(), scene_.server().pid());
    EXPECT_TRUE(plan.at("clears").as_bool());
  }
  scene_.server().sql("ALTER SYSTEM SET archive_command = 'false'");
  scene_.server().sql("SELECT pg_reload_conf()");
  EXPECT_TRUE(comes_true([&] { return scene_.server().value("SHOW archive_command") == "false"; }));
  scene_.server().sql("SELECT pg_create_restore_point('something to switch away from')");
  const std::string segment = scene_.server().value("SELECT pg_walfile_name(pg_switch_wal())");
  scene_.server().sql("CREATE TABLE last AS SELECT 1 AS one");
  const std::string target = scene_.server().value("SELECT pg_current_wal_insert_lsn()");
  scene_.server().sql("CREATE TABLE more AS SELECT 1 AS one");
  scene_.crash();

  const std::vector<std::string> before = everything();
  const Json plan = dry_run({"--in-place"});
  EXPECT_FALSE(plan.at("unarchived_wal").items().empty());
  EXPECT_EQ(texts(plan.at("unarchived_wal"))[0], segment);
  EXPECT_GT(plan.at("disk").items()[0].at("cleared_bytes").as_i64(), 1 << 20);
  EXPECT_TRUE(plan.at("running_server").is_null());

  // A target that only this WAL has is refused with a word about it.
  const Captured refused = scene_.run({"restore", "--dry-run", "--in-place", "--to-lsn", target});
  EXPECT_EQ(refused.status.code, 4) << describe(refused);
  EXPECT_NE(refused.err.find("planning without the WAL in"), std::string::npos) << refused.err;
  EXPECT_EQ(everything(), before);

  const Captured text = scene_.run({"restore", "--dry-run", "--in-place"});
  EXPECT_EQ(text.status.code, 0) << describe(text);
  EXPECT_NE(text.out.find(segment + ", not archived yet\n"), std::string::npos) << text.out;
  EXPECT_TRUE(text.out.ends_with(
      fmt::format("Nothing was written. To do it: holdfast --config {} restore --in-place "
                  "--to-latest\n",
                  scene_.config_file())))
      << text.out;
}

TEST_F(RestorePlan, RefusesWhatTheRestoreWouldRefuseAndTheHintsCommandWorks) {
  scene_.server().sql("CREATE TABLE kept AS SELECT 1 AS one");
  scene_.must({"backup"});
  scene_.server().sql("CREATE TABLE later AS SELECT 1 AS one");
  const std::string absent = scene_.archive_current_segment();
  scene_.archive_current_segment();
  make_directory(scene_.path("full"));
  write_file_durably(scene_.path("full/file"), {});

  make_directory(scene_.path("locked"));
  ASSERT_EQ(chmod(scene_.path("locked").c_str(), 0500), 0);

  const struct {
    std::vector<std::string> words;
    int status;
  } cases[] = {{{"--into", scene_.path("full")}, 1},
               {{"--into", scene_.path("locked/copy")}, 1},
               {{"--in-place"}, 5},  // the server runs
               {{"--in-place", "--pgdata", scene_.path("locked")}, 1},
               {{"--into", scene_.path("copy"), "--to", "2001-01-01 00:00:00Z"}, 4},
               {{"--into", scene_.path("copy"), "--to-lsn", "F/0"}, 4},
               {{"--into", scene_.path("copy"), "--to-name", "nowhere"}, 4},
               {{"--into", scene_.path("copy"), "--timeline", "7"}, 4}};
  for (const auto& c : cases) {
    std::vector<std::string> words = {"restore", "--dry-run"};
    words.insert(words.end(), c.words.begin(), c.words.end());
    const Captured ran = scene_.run(words);
    EXPECT_EQ(ran.status.code, c.status) << describe(ran);
    words[1] = "--yes";
    const Captured refused = scene_.run(words);
    EXPECT_EQ(refused.status.code, c.status) << describe(refused);
    const std::string said = refused.err.substr(refused.err.find("ERROR:"));
    EXPECT_NE(ran.err.find(said.substr(0, said.find('\n'))), std::string::npos) << ran.err << said;
    EXPECT_FALSE(lstat_if_exists(scene_.path("copy")));
    if (c.status != 4) continue;
    // The last line ends with the whole command; "holdfast" is not on this machine's PATH.
    const size_t at = ran.err.rfind("holdfast --config");
    ASSERT_NE(at, std::string::npos) << ran.err;
    const std::string command = holdfast_program() + ran.err.substr(at + 8);
    EXPECT_EQ(run({.arguments = {"sh", "-c", command}}).status.code, 0) << command;
    EXPECT_TRUE(lstat_if_exists(scene_.path("copy/global/pg_control"))) << command;
    remove_tree(scene_.path("copy"));
  }
  {
    SCOPED_TRACE("a hole");
    remove_file(scene_.wal_object(absent).value());
    const Captured ran = scene_.run({"restore", "--dry-run", "--into", scene_.path("copy")});
    EXPECT_EQ(ran.status.code, 4) << describe(ran);
    EXPECT_NE(ran.err.find(absent), std::string::npos) << ran.err;
    const Json plan = dry_run({"--into", scene_.path("copy"), "--to-immediate"});
    EXPECT_EQ(plan.at("plan").at("absent_wal").items()[0].at("first").as_string(), absent);
    EXPECT_EQ(plan.at("plan").at("absent_wal").items()[0].at("last").as_string(), absent);
  }
}

TEST_F(RestorePlan, ATimeThatTheArchiveDoesNotReachIsRefusedWithTheWayToTheEnd) {
  scene_.must({"backup"});
  scene_.server().sql("CREATE TABLE later AS SELECT 1 AS one");
  scene_.archive_current_segment();
  const Captured text = scene_.run(
      {"restore", "--dry-run", "--into", scene_.path("copy"), "--to", "2100-01-01 00:00:00Z"});
  EXPECT_EQ(text.status.code, 4) << describe(text);
  EXPECT_NE(text.err.find(" lies in the future\n"), std::string::npos) << text.err;
  EXPECT_NE(text.err.find("--to-latest"), std::string::npos) << text.err;
}

}  // namespace
}  // namespace holdfast::test
