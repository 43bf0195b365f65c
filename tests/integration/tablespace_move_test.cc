// "restore --tablespace OLD=NEW": the server finds its tablespaces where they were moved to.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/file.h"
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
    expect_rows(*copy, moved, scene.path("copy/holdfast_tablespaces/" + oid));
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

}  // namespace
}  // namespace holdfast::test
