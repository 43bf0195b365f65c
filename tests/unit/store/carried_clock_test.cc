#include "store/carried_clock.h"

#include <gtest/gtest.h>

#include "support/fake_clock.h"

namespace holdfast::store {
namespace {

using namespace std::chrono_literals;

struct Carried {
  Time now() {
    return clock.now(
        [&] {
          ++asked;
          return theirs;
        },
        host);
  }
  // As a host sees it that runs.
  void pass(Microseconds time) {
    theirs += time;
    host.advance(time);
  }
  test::FakeClock host;
  Time theirs = host.now() + 3h;
  CarriedClock clock;
  int asked = 0;
};

TEST(CarriedClock, IsAskedOnceAMinute) {
  Carried carried;
  for (int i = 0; i < 60; ++i) {
    EXPECT_EQ(carried.now(), carried.theirs);
    carried.pass(1s);
  }
  EXPECT_EQ(carried.asked, 1);
  carried.pass(1s);
  EXPECT_EQ(carried.now(), carried.theirs);
  EXPECT_EQ(carried.asked, 2);
}

// The steady clock of a machine that is suspended stands still, and both clocks of one that is
// paused, until its wall clock is set right.
TEST(CarriedClock, IsAskedAgainBehindASuspendOfTheMachine) {
  Carried carried;
  carried.now();
  carried.theirs += 8h;
  carried.host.sleep(8h);
  EXPECT_EQ(carried.now(), carried.theirs);
  EXPECT_EQ(carried.asked, 2);
  // Also when the wall clock is set back.
  carried.theirs += 10s;
  carried.host.sleep(-2h);
  EXPECT_EQ(carried.now(), carried.theirs);
  EXPECT_EQ(carried.asked, 3);
  // A wall clock that is slewed is none.
  carried.pass(30s);
  carried.host.sleep(15ms);
  EXPECT_EQ(carried.now(), carried.theirs);
  EXPECT_EQ(carried.asked, 3);
}

}  // namespace
}  // namespace holdfast::store
