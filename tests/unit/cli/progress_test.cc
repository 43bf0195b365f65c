#include "cli/progress.h"

#include <gtest/gtest.h>

#include "cli/terminal.h"
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

TEST(Progress, OfATerminalIsOneLineFromTheBeginningOfAPhase) {
  EXPECT_EQ(
      printed(ProgressStyle::kBar),
      "\r\x1b[Kreplaying WAL [------------------------------]   0%, 0 B of 48 MiB, 0 B/s"
      "\r\x1b[Kreplaying WAL [---------]   0%, segment 1 of 3, 0/5000000, 0 B of 48 MiB, 0 B/s"
      "\r\x1b[Kreplaying WAL  33%, 16 s left, segment 2 of 3, 16 MiB of 48 MiB, 2.0 MiB/s"
      "\r\x1b[Kreplaying WAL  66%, 6 s left, segment 3 of 3, 32 MiB of 48 MiB, 2.7 MiB/s"
      "\r\x1b[K\r\x1b[Kpromoting"
      "\r\x1b[K");
}

TEST(Progress, StandsBehindEachNoteAgain) {
  const test::FakeClock clock;
  testing::internal::CaptureStderr();
  Arguments arguments;
  arguments.progress = ProgressStyle::kBar;
  {
    const std::unique_ptr<ProgressReporter> reporter = make_reporter(arguments, clock);
    reporter->phase("waiting for WAL", 0);
    reporter->note("backup stops at 0/5000000");
    reporter->clear();  // a result is printed
    reporter->warning("one thing");
  }
  EXPECT_EQ(testing::internal::GetCapturedStderr(),
            "\r\x1b[Kwaiting for WAL"
            "\r\x1b[Kbackup stops at 0/5000000\n"
            "\r\x1b[Kwaiting for WAL"
            "\r\x1b[KWARNING:  one thing\n");
}

TEST(BarLine, IsNeverWiderThanTheTerminal) {
  const BarLine replay{.name = "replaying WAL",
                       .position =
                           "segment 12 of 190, 16/B374D848, commits up to 2026-11-22 "
                           "09:22:39.544 CET",
                       .done = 190 << 20,
                       .total = uint64_t{3040} << 20,
                       .rate = 25e6};
  const BarLine unknown{.name = "checking: indexes of database \"a rather long name\"",
                        .position = "12 of 3400"};
  for (size_t columns = 1; columns < 140; ++columns)
    for (const BarLine& line : {replay, unknown})
      EXPECT_LE(columns_of(to_string(line, columns)), columns);
  const struct {
    size_t columns;
    const char* text;
  } cases[] = {
      {30, "replaying WAL   6%, 24 MiB/s"},
      {79, "replaying WAL   6%, 1 min 59 s left, segment 12 of 190, 190 MiB of 3.0 GiB"},
      {139,
       "replaying WAL [#-----------------------------]   6%, 1 min 59 s left, segment 12 of 190, "
       "16/B374D848, 190 MiB of 3.0 GiB, 24 MiB/s"},
  };
  for (const auto& c : cases) EXPECT_EQ(to_string(replay, c.columns), c.text) << c.columns;
  EXPECT_EQ(to_string({.name = "copying", .done = 4 << 20, .total = 4 << 20, .rate = 1e6}, 79),
            "copying [##############################] 100%, 4.0 MiB of 4.0 MiB, 977 KiB/s");
  EXPECT_EQ(to_string(unknown, 20), "checking: indexes o…");
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
