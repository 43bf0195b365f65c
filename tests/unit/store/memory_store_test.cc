#include "store/memory_store.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "support/error_of.h"
#include "support/fake_clock.h"

namespace holdfast::store {
namespace {

TEST(MemoryStore, EditsAnObjectInPlace) {
  MemoryStore store;
  store.create("a", as_bytes("bytes"));
  std::optional<ObjectInfo> before = store.info("a");
  store.edit("a", [](Bytes& bytes) { bytes[0] ^= std::byte{1}; });
  EXPECT_EQ(as_text(*store.read("a", 0, 10)), "cytes");
  EXPECT_EQ(store.info("a")->modified, before->modified);
  store.edit("a", [](Bytes& bytes) { bytes.resize(2); });
  EXPECT_EQ(store.info("a")->bytes, 2u);
  EXPECT_EQ(test::error_of([&] { store.edit("b", [](Bytes&) {}); }).code(), ErrorCode::kNotFound);
}

TEST(MemoryStore, TellsTheTimeOfTheClockItWasGiven) {
  test::FakeClock clock;
  MemoryStore store(clock);
  store.create("early", {});
  clock.advance(std::chrono::hours(24));
  store.create("late", {});
  EXPECT_EQ(store.now(), clock.now());
  EXPECT_EQ(store.info("late")->modified, clock.now());
  EXPECT_EQ(store.info("early")->modified, clock.now() - std::chrono::hours(24));
}

}  // namespace
}  // namespace holdfast::store
