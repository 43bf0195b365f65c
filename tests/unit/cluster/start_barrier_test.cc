#include "cluster/start_barrier.h"

#include <filesystem>

#include <gtest/gtest.h>

#include "base/file.h"
#include "base/process.h"
#include "cluster/running_server.h"

namespace holdfast::cluster {
namespace {

TEST(StartBarrier, HidesPgControlAndPutsItBack) {
  const TemporaryDirectory data;
  const std::string usual = join_path(data.path(), "global/pg_control");
  const std::string barred = join_path(data.path(), kBarredControlFile);
  make_directory(parent_path(usual));
  write_file_durably(usual, as_bytes("old"));
  {
    const StartBarrier barrier(data.path());
    EXPECT_FALSE(lstat_if_exists(usual));
    EXPECT_EQ(control_file_path(data.path()), barred);
  }
  EXPECT_EQ(read_text_file(usual), "old");
  EXPECT_EQ(control_file_path(data.path()), usual);
  EXPECT_FALSE(take_barrier_away(data.path()));

  // A human was quicker: his is the cluster's.
  bar_start(data.path());
  write_file_durably(usual, as_bytes("newer"));
  EXPECT_FALSE(take_barrier_away(data.path()));
  EXPECT_EQ(read_text_file(usual), "newer");
  remove_control_file(data.path());
  EXPECT_FALSE(lstat_if_exists(usual) || lstat_if_exists(barred));
}

TEST(StartBarrier, LeavesWhatALinkLeadsTo) {
  const TemporaryDirectory scene;
  const std::string other = join_path(scene.path(), "other");
  const std::string data = join_path(scene.path(), "data");
  make_directory(other);
  make_directory(data);
  write_file_durably(join_path(other, "pg_control"), as_bytes("another's"));
  std::filesystem::create_directory_symlink(other, join_path(data, "global"));
  const StartBarrier barrier(data);
  EXPECT_EQ(read_text_file(join_path(other, "pg_control")), "another's");
}

TEST(FindUseOf, NamesAProcessThatHasAFileOpenBelow) {
  const TemporaryDirectory scene;
  const std::string used = join_path(scene.path(), "PG_15_202209061");
  make_directory(used);
  make_directory(used + "0");
  EXPECT_FALSE(find_use_of({used}, "/nowhere"));
  Process reader({.arguments = {"sleep", "100"}, .directory = "/", .output = used + "/16384"});
  const std::optional<DirectoryUse> use = find_use_of({used}, "/nowhere");
  ASSERT_TRUE(use);
  EXPECT_EQ(use->directory, used);
  EXPECT_NE(use->how.find(std::to_string(reader.pid())), std::string::npos) << use->how;
  EXPECT_NE(use->how.find(used + "/16384"), std::string::npos) << use->how;
  EXPECT_FALSE(find_use_of({used + "0"}, "/nowhere"));
  EXPECT_FALSE(find_use_of({used}, "/"));  // of the server itself
}

}  // namespace
}  // namespace holdfast::cluster
