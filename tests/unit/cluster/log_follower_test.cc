#include "cluster/log_follower.h"

#include <fcntl.h>
#include <thread>
#include <unistd.h>

#include <gtest/gtest.h>

#include "base/bytes.h"
#include "support/error_of.h"

namespace holdfast::cluster {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kNow{0};
constexpr milliseconds kLong{10'000};

class LogFollowerTest : public testing::Test {
 protected:
  LogFollowerTest() : path_(testing::TempDir() + "log_follower_test." + std::to_string(getpid())) {
    remove_file_if_exists(path_);
  }
  ~LogFollowerTest() override { remove_file_if_exists(path_); }
  void append(std::string_view text) {
    Fd fd = open_file(path_, O_WRONLY | O_CREAT | O_APPEND);
    write_all(fd, as_bytes(text), path_);
  }
  std::string path_;
};

TEST_F(LogFollowerTest, GivesWholeLinesOnlyAndWaitsForTheFile) {
  LogFollower follower(path_);
  EXPECT_EQ(follower.next_line({}, kNow), std::nullopt);
  append("first\n\nthi");
  EXPECT_EQ(follower.next_line({}, kNow), "first");
  EXPECT_EQ(follower.next_line({}, kNow), "");
  EXPECT_EQ(follower.next_line({}, kNow), std::nullopt);
  append("rd\n");
  EXPECT_EQ(follower.next_line({}, kNow), "third");
}

TEST_F(LogFollowerTest, BeginsAtTheOffsetAndReadsAShorterFileFromItsStart) {
  append("old line\n");
  LogFollower follower(path_, LogFollower::end_of(path_));
  EXPECT_EQ(follower.next_line({}, kNow), std::nullopt);
  append("new\n");
  EXPECT_EQ(follower.next_line({}, kNow), "new");
  ASSERT_EQ(truncate(path_.c_str(), 0), 0);
  append("again\n");
  EXPECT_EQ(follower.next_line({}, kNow), "again");
}

TEST_F(LogFollowerTest, SeesALineThatIsWrittenWhileItWaits) {
  LogFollower follower(path_);
  std::jthread writer([&] { append("at last\n"); });
  EXPECT_EQ(follower.next_line({}, kLong), "at last");
}

TEST_F(LogFollowerTest, CutsALineThatHasNoEnd) {
  append(std::string(LogFollower::kMaxLineBytes + 10, 'x') + "\nnext\n");
  LogFollower follower(path_);
  EXPECT_EQ(follower.next_line({}, kNow)->size(), LogFollower::kMaxLineBytes);
  EXPECT_EQ(follower.next_line({}, kNow), std::string(10, 'x'));
  EXPECT_EQ(follower.next_line({}, kNow), "next");
}

TEST_F(LogFollowerTest, StopsWaitingWhenAskedTo) {
  LogFollower follower(path_);
  std::stop_source stop;
  std::jthread stopper([&] { stop.request_stop(); });
  EXPECT_EQ(test::error_of([&] { follower.next_line(stop.get_token(), kLong); }).code(),
            ErrorCode::kInterrupted);
}

}  // namespace
}  // namespace holdfast::cluster
