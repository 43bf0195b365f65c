#include "backup/copy_window.h"

#include <string>

#include <gtest/gtest.h>

#include "base/task_group.h"

namespace holdfast::backup {
namespace {

constexpr uint64_t kRegion = repo::kLeafBytes;

class CopyWindowTest : public testing::Test {
 protected:
  void push(const std::string& path, repo::EntryType type = repo::EntryType::kFile) {
    auto item = std::make_unique<CopyItem>();
    item->entry.path = path;
    item->entry.type = type;
    window_.push(std::move(item));
  }
  // The next work, which must be the opening of `path`, opened with so many bytes.
  CopyWindow::Work open(const std::string& path, uint64_t bytes) {
    std::optional<CopyWindow::Work> work = window_.next({});
    EXPECT_TRUE(work && work->to_open);
    EXPECT_EQ(work->item->entry.path, path);
    work->item->bytes = bytes;
    std::optional<CopyWindow::Work> first = window_.opened(*work->item);
    EXPECT_EQ(first.has_value(), bytes > 0);
    return first ? *first : *work;
  }
  std::string front() {
    std::unique_ptr<CopyItem> item = window_.pop_front_if_done();
    return item ? item->entry.path : "";
  }

  CopyWindow window_{4};
};

TEST_F(CopyWindowTest, GivesEntriesBackInOrderThoughTheyEndInAnother) {
  push("a");
  push("b");
  push("directory", repo::EntryType::kDirectory);
  CopyWindow::Work a = open("a", 10);
  CopyWindow::Work b = open("b", 10);
  EXPECT_TRUE(window_.region_done(*b.item, {.end = 10}));
  window_.finish(*b.item);
  EXPECT_EQ(front(), "");
  EXPECT_TRUE(window_.region_done(*a.item, {.end = 10}));
  window_.finish(*a.item);
  EXPECT_EQ(front(), "a");
  EXPECT_EQ(front(), "b");
  EXPECT_EQ(front(), "directory");
  EXPECT_EQ(front(), "");
  EXPECT_TRUE(window_.is_empty());
}

TEST_F(CopyWindowTest, HandsOutEveryRegionOfALargeFileBeforeTheNextFile) {
  push("large");
  push("next");
  CopyWindow::Work first = open("large", 2 * kRegion + 1);
  EXPECT_EQ(first.region, 0u);
  for (uint64_t region : {1, 2}) {
    std::optional<CopyWindow::Work> work = window_.next({});
    ASSERT_TRUE(work);
    EXPECT_EQ(work->item, first.item);
    EXPECT_EQ(work->region, region);
    EXPECT_FALSE(work->to_open);
  }
  open("next", 1);
  // The end is the last byte that any region has read.
  EXPECT_FALSE(window_.region_done(*first.item, {.end = 2 * kRegion + 1}));
  EXPECT_FALSE(window_.region_done(*first.item, {.end = kRegion}));
  EXPECT_TRUE(window_.region_done(*first.item, {.end = 0}));
  EXPECT_EQ(first.item->end, 2 * kRegion + 1);
}

TEST_F(CopyWindowTest, PassesAFileThatIsBeingOpened) {
  push("slow");
  push("quick");
  std::optional<CopyWindow::Work> slow = window_.next({});
  ASSERT_TRUE(slow && slow->to_open);
  CopyWindow::Work quick = open("quick", 1);
  // Once it is open, its further regions come first again.
  push("later");
  slow->item->bytes = 3 * kRegion;
  window_.opened(*slow->item);
  std::optional<CopyWindow::Work> work = window_.next({});
  ASSERT_TRUE(work);
  EXPECT_EQ(work->item, slow->item);
  EXPECT_EQ(work->region, 1u);
  EXPECT_TRUE(window_.region_done(*quick.item, {.end = 1}));
}

TEST_F(CopyWindowTest, IsFullAtItsCapacity) {
  for (const char* path : {"a", "b", "c", "d"}) {
    EXPECT_FALSE(window_.is_full());
    push(path, repo::EntryType::kDirectory);
  }
  EXPECT_TRUE(window_.is_full());
  EXPECT_EQ(front(), "a");
  EXPECT_FALSE(window_.is_full());
}

TEST_F(CopyWindowTest, EndsWhenAllIsHandedOutAndNothingMoreComes) {
  push("a");
  CopyWindow::Work work = open("a", 1);
  window_.close();
  EXPECT_FALSE(window_.next({}));
  EXPECT_TRUE(window_.region_done(*work.item, {.end = 1}));
  window_.finish(*work.item);
  EXPECT_EQ(front(), "a");
}

TEST_F(CopyWindowTest, KeepsAWaitingWorkerUntilAFileBeingOpenedHasShownItsLength) {
  push("large");
  window_.close();
  std::optional<CopyWindow::Work> work = window_.next({});
  ASSERT_TRUE(work);
  std::optional<uint64_t> other;
  TaskGroup group;
  group.start([&](std::stop_token stop) {
    if (std::optional<CopyWindow::Work> second = window_.next(stop)) other = second->region;
  });
  work->item->bytes = 2 * kRegion;
  window_.opened(*work->item);
  group.wait();
  EXPECT_EQ(other, 1u);
}

TEST_F(CopyWindowTest, AStopWakesWhoWaits) {
  std::stop_source stop;
  std::optional<CopyWindow::Work> work;
  TaskGroup group;
  group.start([&](std::stop_token) { work = window_.next(stop.get_token()); });
  group.start(
      [&](std::stop_token) { window_.wait_for_front(stop.get_token(), std::chrono::hours(1)); });
  stop.request_stop();
  group.wait();
  EXPECT_FALSE(work);
}

TEST_F(CopyWindowTest, KeepsSoManyFaultsAndCountsTheRest) {
  push("damaged");
  CopyWindow::Work work = open("damaged", 2 * kRegion);
  std::vector<PageFault> faults(kMaxFaults - 1);
  EXPECT_FALSE(window_.region_done(*work.item, {.end = 1, .faults = faults}));
  EXPECT_TRUE(window_.region_done(*work.item, {.end = 1, .faults = std::span(faults).first(5)}));
  EXPECT_EQ(work.item->faults.size(), kMaxFaults);
  EXPECT_EQ(work.item->more_faults, 4u);
}

}  // namespace
}  // namespace holdfast::backup
