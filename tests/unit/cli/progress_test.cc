#include "cli/progress.h"

#include <gtest/gtest.h>

#include "support/fake_clock.h"

namespace holdfast::cli {
namespace {

// What is printed by a replay of three segments, one every four seconds.
std::string printed(ProgressStyle style, bool quiet = false) {
  test::FakeClock clock;
  testing::internal::CaptureStderr();
  {
    Arguments arguments;
    arguments.progress = style;
    arguments.quiet = quiet;
    const std::unique_ptr<Reporter> reporter = make_reporter(arguments, clock);
    reporter->phase("replaying WAL", 48 << 20);
    for (int segment = 1; segment <= 3; ++segment) {
      clock.advance(std::chrono::seconds(4));
      reporter->position("segment " + std::to_string(segment) + " of 3, 0/5000000");
      reporter->amount(16 << 20);
    }
    reporter->phase("promoting", 0);
  }
  return testing::internal::GetCapturedStderr();
}

TEST(Progress, OfATerminalIsOneLineWithPositionRateAndTimeLeft) {
  const std::string text = printed(ProgressStyle::kBar);
  EXPECT_EQ(
      text,
      "\r\x1b[Kreplaying WAL: segment 1 of 3, 0/5000000, 0 B of 48 MiB, 0 B/s"
      "\r\x1b[Kreplaying WAL: segment 2 of 3, 0/5000000, 16 MiB of 48 MiB, 2.0 MiB/s, 16 s "
      "left"
      "\r\x1b[Kreplaying WAL: segment 3 of 3, 0/5000000, 32 MiB of 48 MiB, 2.7 MiB/s, 6 s left"
      "\r\x1b[K");
}

TEST(Progress, ElsewhereIsALineEveryTenSeconds) {
  EXPECT_EQ(printed(ProgressStyle::kLines),
            "replaying WAL: 48 MiB\n"
            "replaying WAL: segment 3 of 3, 0/5000000, 32 MiB of 48 MiB, 2.7 MiB/s, 6 s left\n"
            "promoting\n");
}

TEST(Progress, AsJsonHasThePositionAsAMember) {
  EXPECT_EQ(printed(ProgressStyle::kJson),
            "{\"phase\":\"replaying WAL\",\"total_bytes\":50331648}\n"
            "{\"phase\":\"replaying WAL\",\"done_bytes\":33554432,\"total_bytes\":50331648,"
            "\"position\":\"segment 3 of 3, 0/5000000\"}\n"
            "{\"phase\":\"promoting\",\"total_bytes\":0}\n");
}

TEST(Progress, IsNotShownWhenItIsNotWanted) {
  EXPECT_EQ(printed(ProgressStyle::kNone), "");
  EXPECT_EQ(printed(ProgressStyle::kBar, true), "");
}

}  // namespace
}  // namespace holdfast::cli
