#include "base/task_group.h"

#include <atomic>
#include <future>

#include <gtest/gtest.h>

#include "base/error.h"
#include "support/error_of.h"

namespace holdfast {
namespace {

using test::error_of;

constexpr std::chrono::milliseconds kForever = std::chrono::hours(1);

TEST(TaskGroup, WaitsForAllTasks) {
  std::atomic<int> done = 0;
  TaskGroup tasks;
  for (int i = 0; i < 8; ++i) tasks.start([&](std::stop_token) { ++done; });
  tasks.wait();
  EXPECT_EQ(done, 8);
}

TEST(TaskGroup, TheFirstErrorStopsTheOthersAndIsTheOneThrown) {
  for (int round = 0; round < 50; ++round) {
    TaskGroup tasks;
    // These throw too, because of the stop; their errors must not hide its cause.
    for (int i = 0; i < 3; ++i)
      tasks.start([](std::stop_token stop) {
        wait_for(stop, kForever);
        throw_if_stopped(stop);
      });
    tasks.start([](std::stop_token) {
      throw Error({.code = ErrorCode::kNoSpace, .message = "the cause"});
    });
    const Error error = error_of([&] { tasks.wait(); });
    ASSERT_EQ(error.code(), ErrorCode::kNoSpace);
    ASSERT_EQ(error.message(), "the cause");
  }
}

TEST(TaskGroup, CarriesErrorsThatAreNotOurs) {
  TaskGroup tasks;
  tasks.start([](std::stop_token) { throw std::bad_alloc(); });
  EXPECT_THROW(tasks.wait(), std::bad_alloc);
}

TEST(TaskGroup, StopsWhenItsParentDoesAndSaysSo) {
  std::stop_source parent;
  TaskGroup tasks(parent.get_token());
  std::promise<void> running;
  tasks.start([&](std::stop_token stop) {
    running.set_value();
    wait_for(stop, kForever);  // returns quietly, its work undone
  });
  running.get_future().wait();
  parent.request_stop();
  EXPECT_EQ(error_of([&] { tasks.wait(); }).code(), ErrorCode::kInterrupted);
}

TEST(TaskGroup, StartsStoppedUnderAStoppedParent) {
  std::stop_source parent;
  parent.request_stop();
  TaskGroup tasks(parent.get_token());
  std::atomic<bool> saw_stop = false;
  tasks.start([&](std::stop_token stop) { saw_stop = stop.stop_requested(); });
  EXPECT_EQ(error_of([&] { tasks.wait(); }).code(), ErrorCode::kInterrupted);
  EXPECT_TRUE(saw_stop);
}

TEST(TaskGroup, StoppedByItsOwnerEndsWithoutAnError) {
  TaskGroup tasks;
  tasks.start([](std::stop_token stop) { wait_for(stop, kForever); });
  tasks.request_stop();
  tasks.wait();
  EXPECT_TRUE(tasks.stop_token().stop_requested());
}

TEST(TaskGroup, DestroyedWithoutWaitingStopsAndJoins) {
  std::atomic<int> ended = 0;
  {
    TaskGroup tasks;
    for (int i = 0; i < 4; ++i)
      tasks.start([&](std::stop_token stop) {
        wait_for(stop, kForever);
        ++ended;
        throw Error({.code = ErrorCode::kIo, .message = "nobody hears this"});
      });
  }
  EXPECT_EQ(ended, 4);
}

TEST(TaskGroup, TasksFailInTheContextOfTheirStarter) {
  Context backup("taking backup \"{}\"", "b1");
  TaskGroup tasks;
  tasks.start([](std::stop_token) {
    Context file("copying file \"{}\"", "f");
    throw Error({.code = ErrorCode::kIo, .message = "m"});
  });
  EXPECT_EQ(error_of([&] { tasks.wait(); }).context(),
            (std::vector<std::string>{"copying file \"f\"", "taking backup \"b1\""}));
}

TEST(WaitFor, EndsWithItsTimeOrWithTheStop) {
  std::stop_source source;
  const auto before = std::chrono::steady_clock::now();
  EXPECT_TRUE(wait_for(source.get_token(), std::chrono::milliseconds(5)));
  EXPECT_GE(std::chrono::steady_clock::now() - before, std::chrono::milliseconds(5));

  std::jthread stopper([&] { source.request_stop(); });
  EXPECT_FALSE(wait_for(source.get_token(), std::chrono::milliseconds::max()));
  EXPECT_FALSE(wait_for(source.get_token(), kForever));
}

TEST(ThrowIfStopped, SaysInterrupted) {
  std::stop_source source;
  throw_if_stopped(source.get_token());
  throw_if_stopped({});
  source.request_stop();
  const Error error = error_of([&] { throw_if_stopped(source.get_token()); });
  EXPECT_EQ(error.code(), ErrorCode::kInterrupted);
  EXPECT_EQ(error.message(), "interrupted by a request to stop");
}

}  // namespace
}  // namespace holdfast
