// A restore whose server is started as servers are: by pg_ctl, or by a unit file that knows nothing
// of it. And what is left of one when it was copied, or its backup is gone.
#include <algorithm>
#include <filesystem>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "support/holdfast_command.h"
#include "support/recovery_scene.h"

namespace holdfast::test {
namespace {

std::string auto_conf(const std::string& data) {
  return read_text_file(join_path(data, "postgresql.auto.conf"));
}

bool is_open_for_work(PostgresServer& server) {
  return comes_true(
      [&] { return server.value("SELECT pg_catalog.pg_is_in_recovery()::text") == "false"; });
}

void expect_no_trace(const std::string& data) {
  const std::string text = auto_conf(data);
  for (const char* name : {"recovery_", "restore_command", "holdfast: begin"})
    EXPECT_EQ(text.find(name), std::string::npos) << text;
  for (const DirectoryEntry& entry : list_directory(data))
    EXPECT_FALSE(entry.name.starts_with("holdfast_re")) << entry.name;
}

const Json* item(const Json& check, std::string_view name) {
  const auto& items = check.at("checks").items();
  const auto found = std::ranges::find_if(
      items, [&](const Json& one) { return one.at("name").as_string() == name; });
  return found == items.end() ? nullptr : &*found;
}

class ByHand {
 protected:
  explicit ByHand(int major) : scene_({.major = major, .wal_segment_mib = 1}) {
    scene_.must({"backup"});
    scene_.server().sql("CREATE TABLE t AS SELECT generate_series(1, 100) AS id");
    target_ = scene_.server().value("SELECT pg_catalog.pg_current_wal_insert_lsn()");
    scene_.server().sql("INSERT INTO t SELECT generate_series(1, 700)");
    scene_.archive_current_segment();
    scene_.server().stop();
  }
  std::string data() { return scene_.server().data_directory(); }
  Json check() {
    const Captured ran = scene_.run({"check", "--read-only", "--json"});
    return Json::parse(ran.out, "check");
  }

  RecoveryScene scene_;
  std::string target_;
};

class RestoreByHand : protected ByHand, public testing::TestWithParam<int> {
 protected:
  RestoreByHand() : ByHand(GetParam()) {}
};
INSTANTIATE_TEST_SUITE_P(EachMajor, RestoreByHand, testing::Values(13, newest_major()),
                         testing::PrintToStringParamName());

TEST_P(RestoreByHand, TakesItsSettingsOutWhenItsRecoveryHasEnded) {
  // The server's own command is still run.
  scene_.server().start();
  const std::string own = scene_.path("own_command");
  scene_.server().sql(fmt::format("ALTER SYSTEM SET recovery_end_command = 'touch {}'", own));
  scene_.server().stop();
  scene_.must({"restore", "--in-place", "--yes", "--to-lsn", target_});
  EXPECT_NE(auto_conf(data()).find("--until"), std::string::npos);
  EXPECT_FALSE(scene_.must({"claims"}).at("claims").items().empty());
  scene_.server().start();
  ASSERT_TRUE(is_open_for_work(scene_.server())) << scene_.server().log();
  EXPECT_EQ(scene_.server().value("SELECT pg_catalog.count(*) FROM t"), "100");
  EXPECT_TRUE(lstat_if_exists(own));
  EXPECT_NE(auto_conf(data()).find("touch"), std::string::npos);
  scene_.server().sql("ALTER SYSTEM RESET recovery_end_command");
  expect_no_trace(data());
  EXPECT_TRUE(scene_.must({"claims"}).at("claims").items().empty());
  EXPECT_EQ(item(check(), "recovery settings"), nullptr);
}

class RestoreByAnotherProgram : protected ByHand, public testing::Test {
 protected:
  RestoreByAnotherProgram() : ByHand(15) {}
};

// Between the restore and the promotion the program becomes another: that neither keeps the server
// from its work, nor goes unnoticed. (Without any program the server cannot be promoted at all: it
// asks restore_command for its next timeline's history.)
TEST_F(RestoreByAnotherProgram, SaysThatTheSettingsAreThereWhereTheProgramDoesNotTakeThemOut) {
  const std::string program = scene_.path("program");
  std::filesystem::copy_file(holdfast_program(), program);
  run_checked({.arguments = {program, "--config", scene_.config_file(), "restore", "--in-place",
                             "--yes", "--to-lsn", target_, "--action", "pause"}});
  scene_.server().start();
  write_file_durably(program, as_bytes("#!/bin/sh\nexit 1\n"), 0755);
  run_checked({.arguments = {scene_.server().installation().program("pg_ctl"), "promote", "-w",
                             "-s", "-D", data()}});
  ASSERT_TRUE(is_open_for_work(scene_.server()));
  const Json seen = check();
  const Json* left = item(seen, "recovery settings");
  ASSERT_NE(left, nullptr);
  EXPECT_EQ(left->at("outcome").as_string(), "warning");
  EXPECT_NE(left->at("hint").as_string().find(" finish " + data()), std::string::npos);
  scene_.archive_current_segment();
  EXPECT_NE(scene_.server().log().find("are still in postgresql.auto.conf"), std::string::npos)
      << scene_.server().log();
  scene_.must({"finish", data()});
  expect_no_trace(data());
  EXPECT_EQ(item(check(), "recovery settings"), nullptr);
}

class RestoreCopied : public testing::Test {
 protected:
  RecoveryScene scene_{{.wal_segment_mib = 1}};
};

// "cp -a" of what is laid, and the copy is recovered; then the backup goes.
TEST_F(RestoreCopied, KeepsItsWalForTheOriginalWhichGoesOnWithoutItsBackup) {
  const std::string backup = scene_.must({"backup"}).at("backup").at("id").as_string();
  scene_.server().sql("CREATE TABLE later AS SELECT 1 AS one");
  scene_.archive_current_segment();
  const std::string laid = scene_.path("c"), copy = scene_.path("d");
  scene_.must({"restore", "--into", laid, "--action", "pause"});
  const std::string claims = scene_.must({"claims"}).at("claims").dump();
  EXPECT_NE(claims.find("recovery"), std::string::npos) << claims;
  run_checked({.arguments = {"cp", "-a", laid, copy}});
  {
    const RestoredServer server(
        copy, scene_.must({"restore", "--resume", "--into", copy, "--action", "promote"}));
    EXPECT_EQ(server.value("SELECT one FROM public.later"), "1");
  }
  EXPECT_EQ(scene_.must({"claims"}).at("claims").dump(), claims);
  scene_.must({"backup"});
  scene_.must({"backup", "delete", backup, "--yes"});
  const RestoredServer server(
      laid, scene_.must({"restore", "--resume", "--into", laid, "--action", "promote"}));
  EXPECT_EQ(server.value("SELECT one FROM public.later"), "1");
}

TEST_F(RestoreCopied, KeepsNothingWhenItIsThrownAway) {
  const std::string backup = scene_.must({"backup"}).at("backup").at("id").as_string();
  scene_.must({"backup"});
  const std::string laid = scene_.path("c");
  scene_.must({"restore", "--into", laid, "--backup", backup});
  const auto state = [&] {
    return scene_.must({"claims"}).at("claims").items().at(0).at("state").as_string();
  };
  EXPECT_EQ(state(), "unknown");
  remove_tree(laid);
  EXPECT_EQ(state(), "dead");
}

}  // namespace
}  // namespace holdfast::test
