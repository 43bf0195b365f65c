#include "restore/stand_ins.h"

#include <atomic>

#include <gtest/gtest.h>

#include "base/file.h"
#include "base/task_group.h"

namespace holdfast::restore {
namespace {

TEST(StandIns, AreRemovedByTheLastOfTheCopiesThatNeedThem) {
  const TemporaryDirectory directory;
  const std::string path = join_path(directory.path(), "late");
  StandIns one, other;
  one.hold(path, std::nullopt);
  other.hold(path, std::nullopt);
  EXPECT_EQ(one.made(), std::vector<std::string>{path});
  EXPECT_EQ(other.made(), std::vector<std::string>{path});
  one.release(one.made());
  EXPECT_TRUE(is_directory(path));
  other.release(other.made());
  EXPECT_FALSE(lstat_if_exists(path));
}

TEST(StandIns, AreNeverTakenAwayFromACopyHoweverManyComeAndGo) {
  const TemporaryDirectory directory;
  const std::string path = join_path(directory.path(), "late");
  TaskGroup copies;
  std::atomic<int> taken_away = 0;
  for (int copy = 0; copy < 4; ++copy)
    copies.start([&](const std::stop_token&) {
      for (int round = 0; round < 200; ++round) {
        StandIns stand_ins;
        stand_ins.hold(path, std::nullopt);
        if (!is_directory(path)) ++taken_away;
        stand_ins.release(stand_ins.made());
      }
    });
  copies.wait();
  EXPECT_EQ(taken_away, 0);
  EXPECT_FALSE(lstat_if_exists(path));
}

TEST(StandIns, TakeTheDirectoriesAboveWithThemThatWereMadeToo) {
  const TemporaryDirectory directory;
  const std::string above = join_path(directory.path(), "above");
  StandIns stand_ins;
  stand_ins.hold(join_path(above, "late"), std::nullopt);
  stand_ins.release(stand_ins.made());
  EXPECT_FALSE(lstat_if_exists(above));
  EXPECT_TRUE(is_directory(directory.path()));
}

TEST(StandIns, LeaveProductionsOwnDirectoryAlone) {
  const TemporaryDirectory directory;
  StandIns one, other;
  for (StandIns* copy : {&one, &other}) {
    copy->hold(directory.path(), std::nullopt);
    EXPECT_TRUE(copy->made().empty());
  }
  for (StandIns* copy : {&one, &other}) copy->release(copy->made());
  EXPECT_TRUE(is_directory(directory.path()));
}

TEST(StandIns, StayWhereSomethingWasPutIntoThemOrNothingWasReleased) {
  const TemporaryDirectory directory;
  const std::string path = join_path(directory.path(), "late");
  {
    StandIns forgotten;
    forgotten.hold(path, std::nullopt);
  }
  EXPECT_TRUE(is_directory(path));
  write_file_durably(join_path(path, "somebody's"), {});
  // The recovery that is gone on with knows what the first run made.
  StandIns again;
  again.hold(path, std::nullopt, true);
  again.release({path});
  EXPECT_TRUE(lstat_if_exists(join_path(path, "somebody's")));
}

}  // namespace
}  // namespace holdfast::restore
