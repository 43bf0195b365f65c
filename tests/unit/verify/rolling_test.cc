#include "verify/rolling.h"

#include <vector>

#include <gtest/gtest.h>

#include "support/fake_clock.h"

namespace holdfast::verify {
namespace {

struct Thing {
  repo::LastRead read;
  uint64_t bytes = 0;
};

class RollingTest : public testing::Test {
 protected:
  // One run at this time; returns how many bytes of what is known were read again.
  uint64_t run(uint64_t fresh = 0) {
    Rolling rolling;
    rolling.add_fresh(fresh);
    for (const Thing& thing : things_) rolling.add(thing.read, thing.bytes);
    rolling.decide(clock_.now(), kWithin);
    uint64_t bytes = 0;
    for (Thing& thing : things_)
      if (rolling.take(thing.read, thing.bytes)) {
        thing.read = now();
        bytes += thing.bytes;
      }
    return bytes;
  }
  repo::LastRead now() { return repo::LastRead::of(clock_.now()); }
  Microseconds oldest() {
    return clock_.now() - std::ranges::min_element(things_, {}, &Thing::read)->read.time();
  }

  static constexpr Microseconds kWithin = std::chrono::hours(240);
  test::FakeClock clock_;
  std::vector<Thing> things_;
};

TEST_F(RollingTest, WhatWasReadAtOnceIsSpreadOverTheTimeAndAllIsReadWithinIt) {
  for (uint64_t i = 0; i < 240; ++i) things_.push_back({.read = now(), .bytes = 1000 + i});
  uint64_t all = 0;
  for (const Thing& thing : things_) all += thing.bytes;
  for (int hour = 1; hour <= 720; ++hour) {
    clock_.advance(std::chrono::hours(1));
    const uint64_t bytes = run();
    EXPECT_LE(bytes, all / 240 * 3) << hour;
    EXPECT_LE(oldest(), kWithin + std::chrono::hours(2)) << hour;
  }
}

TEST_F(RollingTest, AllThatIsDueIsReadAfterAPauseAndNothingRightAfterwards) {
  for (int i = 0; i < 10; ++i) things_.push_back({.read = now(), .bytes = 1000});
  EXPECT_EQ(run(), 0U);
  clock_.advance(kWithin / 2);
  EXPECT_EQ(run(), 5000U);
  EXPECT_EQ(run(), 0U);
  clock_.advance(kWithin * 3);
  EXPECT_EQ(run(), 10000U);
}

TEST_F(RollingTest, ALargeOneWaitsUntilSoMuchIsDueAndIsReadInTime) {
  things_ = {{.read = now(), .bytes = 100'000}, {.read = now(), .bytes = 10}};
  for (int hour = 1; hour <= 300; ++hour) {
    clock_.advance(std::chrono::hours(1));
    run();
    EXPECT_LE(oldest(), kWithin);
  }
}

TEST_F(RollingTest, WhatNobodyKnowsTheAgeOfIsReadFirst) {
  things_ = {{.read = {}, .bytes = 500}, {.read = now(), .bytes = 100'000}};
  EXPECT_EQ(run(), 500U);
  EXPECT_TRUE(things_[0].read.is_known());
}

TEST_F(RollingTest, WithoutATimeNothingIsReadAgain) {
  Rolling rolling;
  rolling.add({}, 500);
  rolling.decide(clock_.now(), Microseconds{0});
  EXPECT_FALSE(rolling.take({}, 500));
}

}  // namespace
}  // namespace holdfast::verify
