#include "base/rate_limit.h"

#include <gtest/gtest.h>

namespace holdfast {
namespace {

using std::chrono::milliseconds;

constexpr std::chrono::steady_clock::time_point kStart{std::chrono::hours(1)};

TEST(RateLimit, LetsEachWaitForThoseBeforeIt) {
  RateLimit limit(1000);
  EXPECT_EQ(limit.book(500, kStart), milliseconds(0));  // a tenth of a second was unused
  EXPECT_EQ(limit.book(500, kStart), milliseconds(400));
  EXPECT_EQ(limit.book(1000, kStart), milliseconds(900));
  EXPECT_EQ(limit.book(1, kStart + milliseconds(1500)), milliseconds(400));
}

TEST(RateLimit, DoesNotMakeUpForAPause) {
  RateLimit limit(1000);
  limit.book(100, kStart);
  const auto later = kStart + std::chrono::minutes(5);
  EXPECT_EQ(limit.book(10000, later), milliseconds(0));
  EXPECT_EQ(limit.book(1, later), milliseconds(9900));
}

TEST(RateLimit, OfNoneNeverWaits) {
  RateLimit limit(0);
  for (int time = 0; time < 10; ++time) EXPECT_EQ(limit.book(UINT64_MAX, kStart), milliseconds(0));
}

}  // namespace
}  // namespace holdfast
