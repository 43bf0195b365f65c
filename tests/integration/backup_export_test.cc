// "backup export": what comes out is a base backup that PostgreSQL and GNU tar alone can use.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "support/holdfast_command.h"
#include "support/recovery_scene.h"

namespace holdfast::test {
namespace {

void unpack(const std::string& tar, const std::string& into) {
  if (!is_directory(into)) make_directory(into, 0700);
  run_checked({.arguments = {"tar", "-xf", tar, "-C", into}});
}

// A server on what was unpacked: no archive, no Holdfast.
std::string value_on(const std::string& data, int major, const std::string& statement) {
  PostgresServer server({.major = major, .config = {}, .data_directory = data, .start = false});
  server.start();
  std::string value = server.value(statement);
  server.stop();
  return value;
}

void expect_exported_cluster_starts(int major) {
  RecoveryScene scene({.major = major, .wal_segment_mib = 1});
  const std::string side = scene.make_tablespace_directory("side");
  scene.server().sql(fmt::format("CREATE TABLESPACE side LOCATION '{}'", side));
  scene.server().sql(
      "CREATE TABLE in_side TABLESPACE side AS SELECT g AS id FROM generate_series(1, 3000) g");
  scene.server().sql("CREATE TABLE kept AS SELECT generate_series(1, 1000) AS id");
  scene.server().sql("CREATE DATABASE other");
  scene.must({"backup"});

  // One tar cannot hold a tablespace.
  const Captured one = scene.run({"backup", "export", "latest", "--tar", "-"});
  EXPECT_EQ(one.status.code, 1) << one.err;
  EXPECT_TRUE(one.out.empty());
  EXPECT_NE(one.err.find("does not fit into one tar"), std::string::npos) << one.err;

  const std::string tars = scene.path("tars");
  const Json result = scene.must({"backup", "export", "latest", "--tar", tars});
  ASSERT_EQ(result.at("files").items().size(), 2U);
  EXPECT_FALSE(result.at("wal").items().empty());
  // It goes nowhere twice.
  EXPECT_EQ(scene.run({"backup", "export", "latest", "--tar", tars}).status.code, 1);

  scene.destroy();
  remove_tree(scene.repository());  // nothing of ours is left but the tars
  const std::string oid = std::to_string(result.at("tablespaces").items()[0].at("oid").as_i64());
  const std::string data = scene.path("unpacked");
  unpack(join_path(tars, "base.tar"), data);
  unpack(join_path(tars, oid + ".tar"), side);
  const std::string names = run_checked({.arguments = {"tar", "-tf", join_path(tars, "base.tar")}});
  EXPECT_TRUE(names.ends_with("\nglobal/pg_control\n")) << names.substr(names.size() - 100);
  EXPECT_EQ(stat_if_exists(join_path(data, "PG_VERSION"))->st_mode & 07777, 0600U);

  // The configuration still names the archive that is gone.
  write_file_durably(join_path(data, "postgresql.auto.conf"), as_bytes("archive_mode = off\n"));
  EXPECT_EQ(value_on(data, major, "SELECT count(*) FROM kept"), "1000");
  EXPECT_EQ(value_on(data, major, "SELECT sum(id) FROM in_side"), "4501500");
  EXPECT_EQ(value_on(data, major, "SELECT pg_is_in_recovery()"), "f");
  EXPECT_EQ(
      value_on(data, major,
               "SELECT pg_tablespace_location(oid) FROM pg_tablespace WHERE spcname = 'side'"),
      side);
}

class BackupExport : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(EachMajor, BackupExport, testing::ValuesIn(outer_majors()),
                         [](const testing::TestParamInfo<int>& tested) {
                           return std::to_string(tested.param);
                         });
TEST_P(BackupExport, StartsOnItsOwnWithEveryRow) { expect_exported_cluster_starts(GetParam()); }

class LongBackupExport : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(EachMajor, LongBackupExport, testing::ValuesIn(every_major()),
                         [](const testing::TestParamInfo<int>& tested) {
                           return std::to_string(tested.param);
                         });
TEST_P(LongBackupExport, StartsOnItsOwnWithEveryRow) { expect_exported_cluster_starts(GetParam()); }

TEST(BackupExportToStdout, IsOneTarAndNothingElse) {
  RecoveryScene scene({.wal_segment_mib = 1});
  scene.server().sql("CREATE TABLE kept AS SELECT generate_series(1, 1000) AS id");
  scene.must({"backup"});
  const std::string tar = scene.path("base.tar");
  run_checked({.arguments = {"/bin/sh", "-c",
                             fmt::format("{} --config {} -q backup export latest --tar - > {}",
                                         holdfast_program(), scene.config_file(), tar)}});
  scene.crash();
  const std::string data = scene.path("unpacked");
  unpack(tar, data);
  write_file_durably(join_path(data, "postgresql.auto.conf"), as_bytes("archive_mode = off\n"));
  EXPECT_EQ(value_on(data, 15, "SELECT count(*) FROM kept"), "1000");

  // Without its WAL it is smaller, and a server says what it lacks.
  const Json without =
      scene.must({"backup", "export", "latest", "--tar", scene.path("without"), "--wal", "off"});
  EXPECT_TRUE(without.at("wal").items().empty());
}

}  // namespace
}  // namespace holdfast::test
