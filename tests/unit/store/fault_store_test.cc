// The tests' own tool: what it says it does to a store, it does.

#include "support/fault_store.h"

#include <gtest/gtest.h>

#include "store/memory_store.h"
#include "support/error_of.h"

namespace holdfast::test {
namespace {

using store::MemoryStore;

// Nine calls, one of each kind; "there" is an object.
int calls_that_failed(store::Store& store) {
  int failed = 0;
  auto attempt = [&failed](auto call) {
    try {
      call();
    } catch (const Error&) {
      ++failed;
    }
  };
  std::byte buffer[1];
  std::unique_ptr<store::Upload> upload;
  attempt([&] { upload = store.upload("uploaded"); });
  if (upload) {
    attempt([&] { upload->append(as_bytes("x")); });
    attempt([&] { upload->commit(); });
  }
  attempt([&] { store.create("created", as_bytes("x")); });
  attempt([&] { store.read("there", 0, 1); });
  attempt([&] { store.read_into("there", 0, buffer); });
  attempt([&] { store.info("there"); });
  attempt([&] { store.list({.prefix = ""}); });
  attempt([&] { store.make_durable("there"); });
  attempt([&] { store.now(); });
  return failed;
}

TEST(FaultStore, EachOfTheCallsFailsOnceAndOneBehindThemDoesNot) {
  for (uint64_t nth = 1; nth <= 11; ++nth) {
    MemoryStore memory;
    memory.create("there", as_bytes("x"));
    FaultStore faulty(memory, nth);
    EXPECT_EQ(calls_that_failed(faulty), nth <= 10 ? 1 : 0) << nth;
    EXPECT_EQ(faulty.fired(), nth <= 10) << nth;
    EXPECT_EQ(faulty.calls(),
              nth == 1 ? 8u : 10u);  // without an upload there is no append and no commit
    EXPECT_EQ(memory.info("created").has_value(), nth != 4) << nth;
    EXPECT_EQ(memory.info("uploaded").has_value(), nth != 1 && nth != 3) << nth;
  }
}

TEST(FaultStore, ALostAnswerIsOfACallThatWasCarriedOut) {
  for (uint64_t nth = 1; nth <= 10; ++nth) {
    MemoryStore memory;
    memory.create("there", as_bytes("x"));
    FaultStore faulty(memory, {.first = nth, .count = 1, .lost_answer = true});
    EXPECT_EQ(calls_that_failed(faulty), 1) << nth;
    EXPECT_TRUE(memory.info("created")) << nth;
    EXPECT_EQ(memory.info("uploaded").has_value(), nth != 1) << nth;
  }
}

TEST(FaultStore, StaysDownForAsLongAsItIsTold) {
  MemoryStore memory;
  FaultStore some(memory, {.first = 2, .count = 3, .code = ErrorCode::kIo});
  int failed = 0;
  for (int i = 0; i < 8; ++i) try {
      some.info("x");
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kIo);
      EXPECT_EQ(error.message(), "could not look at \"x\": the test says so");
      ++failed;
    }
  EXPECT_EQ(failed, 3);
  FaultStore dead(memory, {.first = 3, .count = Fault::kAllFurther});
  dead.info("x");
  dead.info("x");
  for (int i = 0; i < 5; ++i)
    EXPECT_EQ(error_of([&] { dead.info("x"); }).code(), ErrorCode::kStoreUnavailable);
}

}  // namespace
}  // namespace holdfast::test
