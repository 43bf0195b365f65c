// "wal salvage": what the pg_wal of a server that is gone still holds comes into the archive, and a
// recovery reaches it.
#include <algorithm>
#include <filesystem>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "support/holdfast_command.h"
#include "support/recovery_scene.h"

namespace holdfast::test {
namespace {

TEST(WalSalvageCommand, BringsTheLastCommitsOfADeadServerIntoTheArchive) {
  RecoveryScene scene({.major = test_majors().back(), .wal_segment_mib = 1});
  scene.must({"backup"});
  scene.archive_current_segment();
  // From here on nothing is archived.
  scene.server().sql("ALTER SYSTEM SET archive_command = 'false'");
  scene.server().sql("SELECT pg_reload_conf()");
  ASSERT_TRUE(comes_true([&] { return scene.server().value("SHOW archive_command") == "false"; }));
  scene.server().sql("CREATE TABLE unarchived AS SELECT generate_series(1, 20000) AS id");
  scene.server().sql("SELECT pg_switch_wal()");
  scene.server().sql("CREATE TABLE last AS SELECT 1 AS one");

  // While a server runs, by whatever name its WAL is called, only what it has finished is taken.
  const std::string data = scene.server().data_directory();
  const std::string elsewhere = scene.path("disk");
  std::filesystem::create_directory_symlink(join_path(data, "pg_wal"), elsewhere);
  std::vector<std::string> finished;
  for (const std::string& named : {data, join_path(data, "pg_wal"), elsewhere}) {
    const Captured busy = scene.run({"wal", "salvage", named, "--json"});
    EXPECT_EQ(busy.status.code, 5) << describe(busy);
    const Json result = Json::parse(busy.out, "salvage");
    EXPECT_FALSE(result.at("server_doubt").is_null()) << busy.out;
    for (const Json& name : result.at("archived").items()) finished.push_back(name.as_string());
  }
  ASSERT_GE(finished.size(), 2U);
  for (const std::string& name : finished) {
    EXPECT_EQ(name.size(), 24U) << name;
    EXPECT_TRUE(lstat_if_exists(join_path(data, "pg_wal/archive_status/" + name + ".ready")));
  }

  scene.crash();
  const std::vector<std::string> before = contents(join_path(scene.repository(), "clusters"));
  const Json paper = scene.must({"wal", "salvage", data, "--dry-run"});
  EXPECT_EQ(contents(join_path(scene.repository(), "clusters")), before);
  ASSERT_EQ(paper.at("archived").items().size(), 1U);

  // A pg_wal that was saved from the disk, alone.
  run_checked({.arguments = {"cp", "-a", join_path(data, "pg_wal"), scene.path("saved")}});
  const Json done = scene.must({"wal", "salvage", scene.path("saved")});
  EXPECT_EQ(done.at("archived").dump(), paper.at("archived").dump());
  EXPECT_EQ(done.at("reach").at("end_lsn").as_string(),
            paper.at("reach").at("end_lsn").as_string());
  EXPECT_EQ(done.at("reach").at("missing_segments").as_i64(), 0);
  EXPECT_TRUE(done.at("refused").items().empty());
  // Nothing is new the second time.
  EXPECT_TRUE(scene.must({"wal", "salvage", data}).at("archived").items().empty());

  scene.destroy();
  const std::unique_ptr<RestoredServer> restored = scene.restore_into("restored", {});
  EXPECT_EQ(restored->value("SELECT pg_catalog.count(*) FROM public.unarchived"), "20000");
  EXPECT_EQ(restored->value("SELECT one FROM public.last"), "1");
}

TEST(WalSalvageCommand, WhatIsRefusedIsNamedAndIsTheExitStatus) {
  RecoveryScene scene({.wal_segment_mib = 1});
  scene.must({"backup"});
  const std::string segment = scene.archive_current_segment();
  scene.crash();
  const std::string saved = scene.path("saved");
  run_checked(
      {.arguments = {"cp", "-a", join_path(scene.server().data_directory(), "pg_wal"), saved}});
  // Another content under a name that is taken, and one that is cut.
  Bytes other = read_file(join_path(saved, segment));
  other[other.size() / 2] ^= std::byte{1};
  write_file_durably(join_path(saved, segment), other);
  write_file_durably(join_path(saved, "000000010000000000000777"), ByteView(other).first(100));
  const Captured ran = scene.run({"wal", "salvage", saved});
  EXPECT_EQ(ran.status.code, 1) << describe(ran);
  EXPECT_NE(ran.out.find(segment), std::string::npos) << ran.out;
  EXPECT_NE(ran.out.find("Keep the directory: what was refused is nowhere else."),
            std::string::npos)
      << ran.out;
}

// A power failure took the first sector of a segment that waits; all its other pages are good.
TEST(WalSalvageCommand, ASegmentThatIsNotUnderstoodIsNeverDeleted) {
  RecoveryScene scene({.wal_segment_mib = 1});
  scene.must({"backup"});
  scene.server().sql("ALTER SYSTEM SET archive_command = 'false'");
  scene.server().sql("SELECT pg_reload_conf()");
  ASSERT_TRUE(comes_true([&] { return scene.server().value("SHOW archive_command") == "false"; }));
  scene.server().sql("CREATE TABLE unarchived AS SELECT generate_series(1, 200) AS id");
  const std::string segment = scene.server().value("SELECT pg_walfile_name(pg_switch_wal())");
  scene.server().sql("CHECKPOINT");
  scene.crash();
  const std::string data = scene.server().data_directory();
  const std::string path = join_path(data, "pg_wal/" + segment);
  Bytes content = read_file(path);
  std::fill_n(content.begin(), 4096, std::byte{0});
  write_file_durably(path, content);

  const Captured ran = scene.run({"wal", "salvage", data});
  EXPECT_EQ(ran.status.code, 1) << describe(ran);
  EXPECT_NE(ran.out.find(segment), std::string::npos) << ran.out;
  // What is missing is told before anything is cleared, and only an earlier target is gone to.
  EXPECT_EQ(scene.run({"restore", "--in-place", "--yes"}).status.code, 4);
  EXPECT_EQ(read_file(path), content);
  const Captured restored = scene.run({"restore", "--in-place", "--yes", "--to-immediate"});
  EXPECT_EQ(restored.status.code, 0) << describe(restored);
  std::vector<std::string> kept;
  for (const DirectoryEntry& entry : list_directory(parent_path(data)))
    if (entry.name.find("holdfast-salvage-") != std::string::npos)
      kept.push_back(join_path(parent_path(data), entry.name));
  ASSERT_EQ(kept.size(), 1U);
  EXPECT_EQ(read_file(join_path(kept.front(), segment)), content);
}

// An archived file of a timeline without its history locks every recovery; it is set aside, and
// comes back.
TEST(WalSetAside, LetsRecoveriesPassByAWrongFile) {
  RecoveryScene scene({.wal_segment_mib = 1});
  scene.must({"backup"});
  const std::string segment = scene.archive_current_segment();
  // As a program archived it that did not look at the history.
  const std::string file = "00000002" + segment.substr(8) + ".00000028.backup";
  const std::string path = join_path(scene.server().data_directory(), "pg_wal/" + file);
  write_file_durably(path, as_bytes("START WAL LOCATION: 0/200028\n"));
  give_to_server_user(path);
  EXPECT_EQ(scene.run({"wal", "push", path}).status.code, 1);
  const std::string ready =
      join_path(scene.server().data_directory(), "pg_wal/archive_status/" + file + ".ready");
  write_file_durably(ready, {});
  give_to_server_user(ready);
  EXPECT_EQ(scene.run({"wal", "push", path}).status.code, 0);
  remove_file_if_exists(ready);
  remove_file(path);
  scene.crash();

  const Captured locked = scene.run({"restore", "--into", scene.path("locked")});
  EXPECT_EQ(locked.status.code, 4) << describe(locked);
  EXPECT_NE(locked.err.find(" wal set-aside"), std::string::npos) << locked.err;
  const Json done = scene.must({"wal", "set-aside", file});
  EXPECT_EQ(done.at("changed").at("number").as_i64(), 0);
  EXPECT_TRUE(done.at("served").is_null());
  const Json listed = scene.must({"wal", "list"}).at("lineages").items().front();
  EXPECT_EQ(listed.at("set_aside").items().front().at("file").as_string(), file);
  EXPECT_EQ(listed.at("timelines").items().size(), 1U);
  EXPECT_EQ(scene.run({"verify"}).status.code, 0);
  const std::unique_ptr<RestoredServer> restored = scene.restore_into("free", {});
  EXPECT_EQ(restored->result().at("new_timeline").as_i64(), 2);
  restored->destroy();

  EXPECT_EQ(scene.must({"wal", "set-aside", file, "--off"}).at("served").at("number").as_i64(), 0);
  EXPECT_EQ(scene.run({"restore", "--into", scene.path("locked")}).status.code, 4);
  EXPECT_EQ(scene.run({"wal", "set-aside", "00000009.history"}).status.code, 1);
  EXPECT_EQ(scene.run({"wal", "set-aside", "nonsense"}).status.code, 2);
}

}  // namespace
}  // namespace holdfast::test
