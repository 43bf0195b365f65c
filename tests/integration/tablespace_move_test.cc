// "restore --tablespace OLD=NEW": the server finds its tablespaces where they were moved to.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "base/process.h"
#include "support/holdfast_command.h"
#include "support/recovery_scene.h"

namespace holdfast::test {
namespace {

class TablespaceMove : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(EachMajor, TablespaceMove, testing::ValuesIn(outer_majors()),
                         [](const testing::TestParamInfo<int>& tested) {
                           return std::to_string(tested.param);
                         });

void expect_rows(const RestoredServer& server, const std::string& one, const std::string& two) {
  EXPECT_EQ(server.value("SELECT pg_catalog.count(*) FROM public.in_one"), "1000");
  EXPECT_EQ(server.value("SELECT pg_catalog.count(*) FROM public.in_two"), "300");
  EXPECT_EQ(server.value("SELECT pg_catalog.count(*) FROM public.later"), "20");
  for (const auto& [name, place] : {std::pair{"one", one}, std::pair{"two", two}})
    EXPECT_EQ(server.value(fmt::format("SELECT pg_catalog.pg_tablespace_location(oid) FROM "
                                       "pg_catalog.pg_tablespace WHERE spcname = '{}'",
                                       name)),
              place);
}

TEST_P(TablespaceMove, ByPathAndByOidElsewhereAndInPlace) {
  RecoveryScene scene({.major = GetParam(), .wal_segment_mib = 1});
  const std::string one = scene.make_tablespace_directory("one");
  const std::string two = scene.make_tablespace_directory("two");
  for (const auto& [name, place] : {std::pair{"one", one}, std::pair{"two", two}})
    scene.server().sql(fmt::format("CREATE TABLESPACE {} LOCATION '{}'", name, place));
  scene.server().sql("CREATE TABLE in_one TABLESPACE one AS SELECT generate_series(1, 1000)");
  scene.server().sql("CREATE TABLE in_two TABLESPACE two AS SELECT generate_series(1, 300)");
  scene.must({"backup"});
  // Replay writes there too.
  scene.server().sql("CREATE TABLE later TABLESPACE one AS SELECT generate_series(1, 20)");
  scene.archive_current_segment();
  const std::string oid =
      scene.server().value("SELECT oid FROM pg_tablespace WHERE spcname = 'two'");
  const std::vector<std::string> one_before = listing(one);

  const std::string moved = scene.path("moved one");
  {
    std::unique_ptr<RestoredServer> copy =
        scene.restore_into("copy", {"--tablespace", one + "=" + moved});
    expect_rows(*copy, moved, "../holdfast_tablespaces/" + oid);
    EXPECT_EQ(copy->result().at("tablespaces").items().size(), 2U);
  }
  EXPECT_EQ(listing(one), one_before);

  // Refused, and nothing was touched: the server still runs on it.
  const Captured full =
      scene.run({"restore", "--into", scene.path("new"), "--tablespace", oid + "=" + moved});
  EXPECT_EQ(full.status.code, 1) << describe(full);
  EXPECT_NE(full.err.find("is not empty"), std::string::npos) << full.err;
  EXPECT_FALSE(lstat_if_exists(scene.path("new")));

  scene.crash();
  const std::string new_two = scene.path("disk/two");
  std::unique_ptr<RestoredServer> restored =
      scene.restore_in_place({"--tablespace", oid + "=" + new_two});
  expect_rows(*restored, one, new_two);
  // The old place is the cluster's no more.
  EXPECT_TRUE(is_empty_directory(two));
}

// Of one laid copy: it is copied, the copy is recovered, and the first is moved and recovered too.
TEST(TablespacesOfACopy, GoAlongWhereverItIsMovedOrCopied) {
  RecoveryScene scene({.major = 15, .wal_segment_mib = 1});
  scene.server().sql(
      fmt::format("CREATE TABLESPACE one LOCATION '{}'", scene.make_tablespace_directory("one")));
  scene.server().sql("CREATE TABLE kept TABLESPACE one AS SELECT generate_series(1, 100) g");
  scene.must({"backup"});
  scene.server().sql("INSERT INTO kept SELECT generate_series(101, 300)");
  scene.archive_current_segment();

  const auto copy = [&](const std::string& from, const std::string& to) {
    holdfast::run({.arguments = {"cp", "-a", scene.path(from), scene.path(to)}});
  };
  const auto resume = [&](const std::string& name, const char* rows) {
    const std::string directory = scene.path(name);
    auto server = std::make_unique<RestoredServer>(
        directory, scene.must({"restore", "--resume", "--into", directory}));
    EXPECT_EQ(server->value("SHOW data_directory"), directory);
    EXPECT_NE(server->value("SHOW unix_socket_directories").find(directory + "/"),
              std::string::npos);
    EXPECT_EQ(server->value("SELECT pg_catalog.count(*) FROM public.kept"), rows);
    return server;
  };
  {  // One that replay makes, too.
    scene.must({"restore", "--into", scene.path("first")});
    scene.server().sql(
        fmt::format("CREATE TABLESPACE two LOCATION '{}'", scene.make_tablespace_directory("two")));
    scene.server().sql("CREATE TABLE later TABLESPACE two AS SELECT 1");
    scene.archive_current_segment();
    const std::unique_ptr<RestoredServer> server = scene.restore_into("with two", {});
    const std::string oid =
        server->value("SELECT oid FROM pg_catalog.pg_tablespace WHERE spcname = 'two'");
    EXPECT_EQ(read_link(join_path(server->directory(), "pg_tblspc/" + oid)),
              "../holdfast_tablespaces/" + oid);
    EXPECT_EQ(server->value("SELECT pg_catalog.count(*) FROM public.later"), "1");
  }
  copy("first", "copied");
  const std::vector<std::string> before = contents(scene.path("first"));
  {
    const std::unique_ptr<RestoredServer> copied = resume("copied", "300");
    copied->value(
        "WITH gone AS (DELETE FROM public.kept RETURNING 1) SELECT pg_catalog.count(*) FROM gone");
    copied->connect().query("CHECKPOINT");
    EXPECT_TRUE(contents(scene.path("first")) == before);
    rename_path(scene.path("first"), scene.path("moved"));
    const std::unique_ptr<RestoredServer> moved = resume("moved", "300");
    // Who is production is asked where its tablespaces are.
    scene.crash();
    scene.must({"finish", "--production", moved->directory()});
    EXPECT_EQ(moved
                  ->value("SELECT pg_catalog.min(pg_catalog.pg_tablespace_location(oid)) FROM "
                          "pg_catalog.pg_tablespace WHERE spcname = 'one'")
                  .find(moved->directory() + "/holdfast_tablespaces/"),
              0U);
    EXPECT_EQ(moved->value("SELECT pg_catalog.count(*) FROM public.kept"), "300");
  }

  // One that lies elsewhere is the first's alone, while that is there.
  scene.must({"restore", "--into", scene.path("first"), "--to-immediate", "--tablespace",
              scene.path("one") + "=" + scene.path("elsewhere")});
  copy("first", "copied");
  const Captured refused = scene.run({"restore", "--resume", "--into", scene.path("copied")});
  EXPECT_EQ(refused.status.code, 1) << describe(refused);
  EXPECT_NE(refused.err.find(fmt::format("\"{}\" is also that of \"{}\"", scene.path("elsewhere"),
                                         scene.path("first"))),
            std::string::npos)
      << refused.err;
  remove_tree(scene.path("first"));
  resume("copied", "100");
}

}  // namespace
}  // namespace holdfast::test
