#include "base/log.h"

#include <algorithm>
#include <unistd.h>

#include <fmt/core.h>
#include <gtest/gtest.h>

#include "base/time.h"

namespace holdfast {
namespace {

class Log : public testing::Test {
 protected:
  void TearDown() override { set_log_level(LogLevel::kInfo); }
};

TEST_F(Log, WritesLinesAsTheServerDoes) {
  testing::internal::CaptureStderr();
  log_info("archived segment \"{}\"", "000000010000000000000001");
  log_warning("first line\nsecond line");
  const std::string text = testing::internal::GetCapturedStderr();

  const std::string process = fmt::format(" [{}] ", getpid());
  const size_t first = text.find(process);
  ASSERT_NE(first, std::string::npos) << text;
  // The time comes first, as people read it: with its zone.
  const Time written = parse_time(text.substr(0, first));
  EXPECT_LT(system_clock().now() - written, std::chrono::minutes(1));
  EXPECT_TRUE(text.substr(first + process.size())
                  .starts_with("LOG:  archived segment \"000000010000000000000001\"\n"))
      << text;
  EXPECT_TRUE(text.ends_with("WARNING:  first line\n\tsecond line\n")) << text;
}

TEST_F(Log, KeepsQuietBelowItsLevel) {
  const struct {
    LogLevel level;
    int lines;
  } cases[] = {
      {LogLevel::kDebug, 4}, {LogLevel::kInfo, 3}, {LogLevel::kWarning, 2}, {LogLevel::kError, 1}};
  for (const auto& c : cases) {
    set_log_level(c.level);
    testing::internal::CaptureStderr();
    log_debug("a");
    log_info("b");
    log_warning("c");
    log_line(LogLevel::kError, "d");
    EXPECT_EQ(std::ranges::count(testing::internal::GetCapturedStderr(), '\n'), c.lines);
  }
}

}  // namespace
}  // namespace holdfast
