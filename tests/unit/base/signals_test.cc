#include "base/signals.h"

#include <csignal>
#include <future>
#include <unistd.h>

#include <gtest/gtest.h>

#include "base/task_group.h"

namespace holdfast {
namespace {

bool is_blocked(int number) {
  sigset_t mask;
  pthread_sigmask(SIG_SETMASK, nullptr, &mask);
  return sigismember(&mask, number) == 1;
}

TEST(SignalStop, TurnsASignalIntoAStop) {
  for (int number : {SIGINT, SIGTERM, SIGHUP}) {
    // A shell starts what runs in its background with SIGINT ignored, and what is ignored stays so.
    std::signal(number, SIG_DFL);
    SignalStop signals;
    std::promise<void> stopped;
    std::stop_callback on_stop(signals.token(), [&] { stopped.set_value(); });
    EXPECT_EQ(signals.signal_number(), 0);
    EXPECT_FALSE(signals.token().stop_requested());
    kill(getpid(), number);
    stopped.get_future().wait();
    EXPECT_EQ(signals.signal_number(), number);
  }
}

TEST(SignalStop, EndsCleanlyWithoutASignalAndRestoresTheMask) {
  ASSERT_FALSE(is_blocked(SIGTERM));
  for (int round = 0; round < 100; ++round) {
    SignalStop signals;
    EXPECT_TRUE(is_blocked(SIGTERM));
  }
  EXPECT_FALSE(is_blocked(SIGTERM));
}

TEST(SignalStop, MakesABrokenPipeAnError) {
  SignalStop signals;
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  close(ends[0]);
  EXPECT_EQ(write(ends[1], "x", 1), -1);
  EXPECT_EQ(errno, EPIPE);
  close(ends[1]);
}

TEST(SignalStopDeathTest, ASecondSignalEndsTheProcess) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_EXIT(
      {
        std::signal(SIGTERM, SIG_DFL);
        SignalStop signals;
        kill(getpid(), SIGTERM);
        wait_for(signals.token(), std::chrono::hours(1));
        kill(getpid(), SIGTERM);
        wait_for({}, std::chrono::hours(1));
      },
      testing::ExitedWithCode(130), "");
}

TEST(SignalStopDeathTest, ASignalIgnoredFromTheStartStaysIgnored) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_EXIT(
      {
        signal(SIGHUP, SIG_IGN);  // as under nohup
        SignalStop signals;
        kill(getpid(), SIGHUP);
        kill(getpid(), SIGTERM);
        wait_for(signals.token(), std::chrono::hours(1));
        _exit(signals.signal_number());
      },
      testing::ExitedWithCode(SIGTERM), "");
}

}  // namespace
}  // namespace holdfast
