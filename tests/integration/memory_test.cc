// Memory is bounded, whatever the cluster's size: the largest resident set of any process that a
// command runs, as the kernel counts it.
#include <fcntl.h>
#include <iostream>
#include <unistd.h>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/file.h"
#include "base/process.h"
#include "support/holdfast_command.h"
#include "support/recovery_scene.h"

namespace holdfast::test {
namespace {

constexpr long kLimitKib = 256 << 10;

// With eight jobs.
long peak_of_holdfast(const RecoveryScene& scene, const std::vector<std::string>& words,
                      const std::string& directory = {}) {
  SpawnOptions options{
      .arguments = {holdfast_program(), "--config", scene.config_file(), "--jobs", "8"},
      .directory = directory,
      .output = scene.path("out"),
      .error = "&1"};
  options.arguments.insert(options.arguments.end(), words.begin(), words.end());
  return peak_kib(options);
}

// A scene whose cluster is made before anything is archived. Sealed by a passphrase, which takes
// the most memory.
class Memory : public testing::Test {
 protected:
  Memory()
      : scene_({.sealing = Sealing::kPassphrase,
                .config = {"max_wal_size = 64MB"},
                .archive = false}) {}

  void begin_archiving() {
    scene_.must({"init", "--configure-server"});
    scene_.server().restart();
    EXPECT_EQ(scene_.server().value("SHOW archive_mode"), "on");
  }
  void expect_bounded(const std::vector<std::string>& words) {
    const long peak = peak_of_holdfast(scene_, words);
    std::cout << fmt::format("{}: {} MiB at most\n", words.front(), peak >> 10);
    EXPECT_LT(peak, kLimitKib) << words.front();
    EXPECT_GT(peak, 4 << 10) << "nothing was measured";
  }
  void expect_all_bounded() {
    expect_bounded({"backup"});
    expect_bounded({"restore", "--into", scene_.path("into")});
    expect_bounded({"verify", "--deep"});
    expect_bounded({"expire"});
    EXPECT_TRUE(lstat_if_exists(scene_.path("into/global/pg_control")));
  }

  RecoveryScene scene_;
};

class MemoryOfWal : public testing::TestWithParam<int> {};  // MiB of a segment

TEST_P(MemoryOfWal, IsBoundedWhateverASegmentHas) {
  RecoveryScene scene(
      {.sealing = Sealing::kKeyFile, .wal_segment_mib = GetParam(), .archive = false});
  scene.must({"init", "--configure-server"});
  PostgresServer& server = scene.server();
  server.sql("ALTER SYSTEM SET archive_command = 'false'");
  server.restart();
  const std::string name = server.value("SELECT pg_walfile_name(pg_current_wal_lsn())");
  // Rows that do not compress within a piece, 400 MiB of WAL: look-ahead has six segments of 64.
  server.sql(
      "CREATE TABLE dense AS SELECT (SELECT string_agg(decode(md5((g * 63 + i)::text), 'hex'), "
      "'') FROM generate_series(1, 63) i) AS bytes FROM generate_series(1, 16000) g");
  server.sql(
      "DO $$ DECLARE rows bytea[] := (SELECT array_agg(bytes) FROM dense); BEGIN FOR i IN 1..25 "
      "LOOP INSERT INTO dense SELECT unnest(rows); END LOOP; END $$");
  server.sql("SELECT pg_switch_wal()");
  const std::string path = join_path(server.data_directory(), "pg_wal/" + name);
  const auto expect_bounded = [&](const std::vector<std::string>& words, long limit_mib) {
    const long peak = peak_of_holdfast(scene, words, server.data_directory());
    std::cout << fmt::format("{} {}: {} MiB at most\n", words[0], words[1], peak >> 10);
    EXPECT_LT(peak, limit_mib << 10) << words[0] << " " << words[1];
    EXPECT_GT(peak, 4 << 10) << "nothing was measured";
  };
  // The kernel counts what this process had when it forked, too: 70 MiB when others have run in it.
  expect_bounded({"wal", "push", path}, 200);
  expect_bounded({"wal", "get", name, scene.path("got")}, 128);
  EXPECT_EQ(run({.arguments = {"cmp", path, scene.path("got")}}).status.code, 0);
  expect_bounded({"verify", "--deep"}, 128);
  const Json listed = scene.must({"wal", "list"});
  EXPECT_NE(listed.dump().find(name), std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(SegmentMebibytes, MemoryOfWal, testing::Values(64, 256));

// Minutes of writing on two processors each.
class LongMemory : public Memory {};

TEST_F(Memory, IsBoundedForHundredsOfMegabytes) {
  // Rows of random text, which is not compressed away.
  scene_.server().sql(
      "CREATE TABLE large AS SELECT (SELECT string_agg(md5((g * 31 + i)::text), '') FROM "
      "generate_series(1, 31) i) AS text FROM generate_series(1, 250000) g");
  begin_archiving();
  ASSERT_GT(std::stoll(scene_.server().value("SELECT pg_database_size('postgres')")),
            int64_t{250} << 20);
  expect_all_bounded();
}

TEST_F(LongMemory, IsBoundedForA20GigabyteSparseRelation) {
  scene_.server().sql("CREATE TABLE sparse AS SELECT 1 AS one");
  const std::string relation =
      join_path(scene_.server().data_directory(),
                scene_.server().value("SELECT pg_relation_filepath('sparse')"));
  begin_archiving();
  scene_.server().stop();
  // Pages of zeros are valid: they are those that nothing was written to yet.
  for (int segment = 0; segment < 20; ++segment) {
    const Fd fd = open_file(segment == 0 ? relation : fmt::format("{}.{}", relation, segment),
                            O_WRONLY | O_CREAT);
    ASSERT_EQ(ftruncate(fd.get(), off_t{1} << 30), 0);
  }
  scene_.server().start();
  expect_all_bounded();
  struct stat status =
      stat_if_exists(scene_.path("into") +
                     relation.substr(scene_.server().data_directory().size()) + ".19")
          .value();
  EXPECT_EQ(status.st_size, off_t{1} << 30);
  EXPECT_LT(status.st_blocks, 1 << 10) << "it is not sparse any more";
}

TEST_F(LongMemory, IsBoundedFor200000Files) {
  begin_archiving();
  const std::string many = join_path(scene_.server().data_directory(), "base/5");
  // Relations' names, of none that the catalog knows: they are copied like the others.
  for (int file = 0; file < 200'000; ++file)
    (void)open_file(fmt::format("{}/{}", many, 1'000'000 + file), O_WRONLY | O_CREAT | O_EXCL);
  expect_all_bounded();
  EXPECT_TRUE(lstat_if_exists(scene_.path("into/base/5/1199999")));
}

}  // namespace
}  // namespace holdfast::test
