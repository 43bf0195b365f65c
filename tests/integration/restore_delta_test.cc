// "restore --delta": what the directory holds and is equal stays, by content; the rest is written.
#include <array>
#include <fcntl.h>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "support/holdfast_command.h"
#include "support/recovery_scene.h"

namespace holdfast::test {
namespace {

class RestoreDelta : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(EachMajor, RestoreDelta, testing::ValuesIn(outer_majors()),
                         [](const testing::TestParamInfo<int>& tested) {
                           return std::to_string(tested.param);
                         });

// Overwrites one block of a file with zeros; its size and times are as before.
void damage(const std::string& path, uint64_t block) {
  const struct stat before = lstat_if_exists(path).value();
  pwrite_all(open_file(path, O_WRONLY), Bytes(8192, std::byte{0}), block * 8192, path);
  const std::array<struct timespec, 2> times = {before.st_atim, before.st_mtim};
  ASSERT_EQ(utimensat(AT_FDCWD, path.c_str(), times.data(), 0), 0);
  const struct stat after = lstat_if_exists(path).value();
  ASSERT_EQ(after.st_size, before.st_size);
  ASSERT_EQ(after.st_mtim.tv_nsec, before.st_mtim.tv_nsec);
}

void expect_mostly_kept(const Json& result, int64_t written_at_most) {
  const Json& delta = result.at("delta");
  EXPECT_EQ(delta.at("bytes_kept").as_i64() + delta.at("bytes_written").as_i64(),
            result.at("bytes").as_i64());
  EXPECT_LT(delta.at("bytes_written").as_i64(), written_at_most);
  EXPECT_GT(delta.at("files_kept").as_i64(), result.at("files").as_i64() * 8 / 10);
}

TEST_P(RestoreDelta, InPlaceMendsADamagedClusterAndAnEarlierCopyFollows) {
  RecoveryScene scene({.major = GetParam(), .wal_segment_mib = 1, .config = {"autovacuum = off"}});
  const std::string side = scene.make_tablespace_directory("side");
  scene.server().sql(fmt::format("CREATE TABLESPACE side LOCATION '{}'", side));
  scene.server().sql(
      "CREATE TABLE big TABLESPACE side AS SELECT g AS id, repeat('x', 500) AS filler FROM "
      "generate_series(1, 8000) g");
  scene.server().sql("CREATE TABLE kept AS SELECT generate_series(1, 1000) AS id");
  const std::string big = join_path(scene.server().data_directory(),
                                    scene.server().value("SELECT pg_relation_filepath('big')"));
  scene.must({"backup"});
  scene.server().sql("INSERT INTO kept SELECT generate_series(1001, 1100)");
  scene.archive_current_segment();

  // A copy, that was worked with.
  {
    std::unique_ptr<RestoredServer> copy = scene.restore_into("copy", {});
    copy->connect().query("DELETE FROM public.kept WHERE id < 500");
    copy->connect().query("CREATE TABLE public.mine AS SELECT 1 AS one");
    copy->connect().query("CHECKPOINT");

    // Not while its server runs.
    const Captured busy = scene.run({"restore", "--into", scene.path("copy"), "--delta", "--yes"});
    EXPECT_EQ(busy.status.code, 5) << describe(busy);
    end_processes_below(copy->directory());

    // Nor without a word.
    const Captured asked = scene.run({"restore", "--into", scene.path("copy"), "--delta"});
    EXPECT_EQ(asked.status.code, 2) << describe(asked);
    EXPECT_TRUE(lstat_if_exists(join_path(copy->directory(), "global/pg_control")));

    std::unique_ptr<RestoredServer> again = scene.restore_into("copy", {"--delta", "--yes"});
    EXPECT_EQ(again->value("SELECT pg_catalog.count(*) FROM public.kept"), "1100");
    EXPECT_EQ(again->value("SELECT pg_catalog.to_regclass('public.mine') IS NULL"), "t");
    EXPECT_EQ(again->value("SELECT pg_catalog.count(*) FROM public.big"), "8000");
    expect_mostly_kept(again->result(), int64_t{8} << 20);
  }

  // The cluster itself: a page and a file are lost, and a row is only in its pg_wal.
  scene.server().sql("INSERT INTO kept VALUES (5000)");
  scene.server().sql("CHECKPOINT");
  scene.crash();
  damage(big, 100);
  remove_file(join_path(scene.server().data_directory(), "global/pg_filenode.map"));
  std::unique_ptr<RestoredServer> restored = scene.restore_in_place({"--delta"});
  EXPECT_EQ(restored->value("SELECT pg_catalog.count(*) FROM public.kept"), "1101");
  EXPECT_EQ(restored->value("SELECT pg_catalog.sum(pg_catalog.length(filler)) FROM public.big"),
            "4000000");
  expect_mostly_kept(restored->result(), int64_t{8} << 20);
  EXPECT_EQ(restored->value("SELECT pg_catalog.pg_tablespace_location(oid) FROM "
                            "pg_catalog.pg_tablespace WHERE spcname = 'side'"),
            side);
}

}  // namespace
}  // namespace holdfast::test
