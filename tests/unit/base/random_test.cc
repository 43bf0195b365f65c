#include "base/random.h"

#include <algorithm>
#include <set>

#include <gtest/gtest.h>

#include "support/fake_random.h"

namespace holdfast {
namespace {

TEST(SystemRandom, NeverRepeatsAndFillsEveryByte) {
  std::set<Bytes16> ids;
  std::set<Bytes32> salts;
  for (int i = 0; i < 1000; ++i) {
    EXPECT_TRUE(ids.insert(system_random().bytes16()).second);
    EXPECT_TRUE(salts.insert(system_random().bytes32()).second);
  }
  // More than getrandom(2) gives in one call that a signal may interrupt: 64 KiB without a run of
  // zeros, whose chance is nil.
  Bytes many(65536);
  system_random().fill(many);
  EXPECT_TRUE(std::ranges::search(many, Bytes(16)).empty());
}

TEST(FakeRandom, RepeatsItsSeed) {
  test::FakeRandom one(7);
  test::FakeRandom same(7);
  test::FakeRandom other(8);
  const Bytes32 first = one.bytes32();
  EXPECT_EQ(first, same.bytes32());
  EXPECT_NE(first, other.bytes32());
  EXPECT_NE(first, one.bytes32());
}

}  // namespace
}  // namespace holdfast
