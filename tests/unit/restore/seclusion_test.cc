#include "restore/seclusion.h"

#include <unistd.h>

#include <gtest/gtest.h>

#include "base/file.h"

namespace holdfast::restore {
namespace {

recovery::Plan plan_that_creates(std::vector<repo::WalTablespace> tablespaces) {
  recovery::Plan plan;
  plan.backup.start_lsn = pg::Lsn{0x2000028};
  plan.tablespaces_created = std::move(tablespaces);
  return plan;
}

TEST(NewTablespaces, AreThoseThatReplayMakesOutsideOfTheCopy) {
  const recovery::Plan plan = plan_that_creates({
      {.oid = 1, .path = "/srv/before", .lsn = pg::Lsn{0x2000000}},
      {.oid = 2, .path = "/srv/late", .lsn = pg::Lsn{0x2000100}},
      {.oid = 3, .path = "/copy/inside", .lsn = pg::Lsn{0x2000200}},
      {.oid = 4, .path = "", .lsn = pg::Lsn{0x2000300}},
      {.oid = 5, .path = "/srv/late", .lsn = pg::Lsn{0x2000400}},
  });
  const std::vector<NewTablespace> created = new_tablespaces(plan, "/copy", "/copy/tablespaces");
  ASSERT_EQ(created.size(), 1U);
  EXPECT_EQ(created[0].oid, 2U);
  EXPECT_EQ(created[0].path, "/srv/late");
  EXPECT_EQ(created[0].place, "/copy/tablespaces/2");
}

TEST(SettleTablespaces, ChangesTheLinksToCoveredPathsAlone) {
  const TemporaryDirectory copy;
  const std::string links = join_path(copy.path(), "pg_tblspc");
  make_directory(links);
  ASSERT_EQ(symlink("/srv/late", join_path(links, "2").c_str()), 0);
  ASSERT_EQ(symlink("/srv/late", join_path(links, "5").c_str()), 0);
  ASSERT_EQ(symlink("/copy/tablespaces/1", join_path(links, "1").c_str()), 0);
  const std::vector<NewTablespace> created = {
      {.oid = 2, .path = "/srv/late", .lsn = {}, .place = "/copy/tablespaces/2"}};
  EXPECT_EQ(settle_tablespaces(copy.path(), created), 2);
  EXPECT_EQ(read_link(join_path(links, "1")), "/copy/tablespaces/1");
  EXPECT_EQ(read_link(join_path(links, "2")), "/copy/tablespaces/2");
  EXPECT_EQ(read_link(join_path(links, "5")), "/copy/tablespaces/2");
  EXPECT_EQ(settle_tablespaces(copy.path(), created), 0);
  EXPECT_EQ(list_directory(copy.path()).size(), 1U);
}

TEST(Seclude, MakesNoneWithoutAProgram) {
  const Seclusion seclusion = seclude({}, {}, "/copy", {});
  EXPECT_FALSE(seclusion.sandbox);
  EXPECT_EQ(seclusion.why_not, "");
}

TEST(Seclude, NeverCoversWhatTheCopyNeeds) {
  const TemporaryDirectory host;
  for (const char* name : {"data", "late", "repo"}) make_directory(join_path(host.path(), name));
  const std::string copy = join_path(host.path(), "copy");
  recovery::Plan plan = plan_that_creates({});
  plan.backup.data_directory = join_path(host.path(), "data");
  plan.backup.tablespaces = {{.oid = 7, .path = host.path()}};  // holds the copy and all else
  // A program that makes no namespaces says that it can.
  SandboxOptions options{.program = "/bin/true",
                         .keep_visible = {join_path(host.path(), "late/repo")}};
  const Seclusion seclusion = seclude(options, production_places(plan.backup), copy, {});
  ASSERT_TRUE(seclusion.sandbox);
  EXPECT_EQ(seclusion.sandbox->covers,
            (std::vector<cluster::Sandbox::Cover>{{.path = plan.backup.data_directory}}));

  // Where production's tablespace holds the repository, one of them would be lost.
  const std::vector<NewTablespace> created = {{.oid = 8,
                                               .path = join_path(host.path(), "late"),
                                               .lsn = {},
                                               .place = join_path(copy, "tablespaces/8")}};
  EXPECT_FALSE(seclude(options, production_places(plan.backup), copy, created).sandbox);
  options.keep_visible.clear();
  EXPECT_TRUE(seclude(options, production_places(plan.backup), copy, created).sandbox);
}

TEST(PreloadCautions, NameTheLibrariesThatActOnTheirOwn) {
  EXPECT_TRUE(preload_cautions("").empty());
  EXPECT_TRUE(preload_cautions("pg_stat_statements, auto_explain").empty());
  const std::vector<PreloadCaution> cautions =
      preload_cautions("pg_stat_statements, \"pg_cron\",/usr/lib/pg_net.so");
  ASSERT_EQ(cautions.size(), 2U);
  EXPECT_EQ(cautions[0].warning,
            "shared_preload_libraries loads pg_cron, which runs its jobs on its own. It is kept "
            "from that by cron.launch_active_jobs = 'off'.");
  EXPECT_EQ(cautions[0].setting, "cron.launch_active_jobs");
  EXPECT_EQ(cautions[0].value, "off");
  EXPECT_EQ(cautions[1].setting, "");
}

}  // namespace
}  // namespace holdfast::restore
