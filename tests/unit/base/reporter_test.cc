#include "base/reporter.h"

#include <gtest/gtest.h>

#include "base/task_group.h"
#include "support/recording_reporter.h"

namespace holdfast {
namespace {

TEST(Reporter, TheSilentOneTakesEverythingAndPrintsNothing) {
  testing::internal::CaptureStderr();
  testing::internal::CaptureStdout();
  Reporter& reporter = silent_reporter();
  reporter.phase("copy", 10);
  reporter.amount(10);
  reporter.note("note");
  reporter.warning("warning");
  EXPECT_EQ(testing::internal::GetCapturedStdout() + testing::internal::GetCapturedStderr(), "");
}

TEST(Reporter, TheRecordingOneAddsUpWhatThreadsReport) {
  test::RecordingReporter reporter;
  reporter.phase("copy", 0);
  TaskGroup tasks;
  for (int i = 0; i < 4; ++i)
    tasks.start([&](std::stop_token) {
      for (int j = 0; j < 1000; ++j) reporter.amount(2);
      reporter.note("done");
    });
  tasks.wait();
  EXPECT_EQ(reporter.total_bytes(), 8000u);
  EXPECT_EQ(reporter.phases(), std::vector<std::string>{"copy"});
  EXPECT_EQ(reporter.notes().size(), 4u);
  EXPECT_TRUE(reporter.warnings().empty());
}

}  // namespace
}  // namespace holdfast
