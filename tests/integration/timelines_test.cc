// Recoveries of recoveries: each leaves a timeline, and every one of them can be gone back to.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/error.h"
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

}  // namespace
}  // namespace holdfast::test
