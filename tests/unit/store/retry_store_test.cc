#include "store/retry_store.h"

#include <functional>

#include <gtest/gtest.h>

#include "base/error.h"
#include "store/memory_store.h"
#include "support/error_of.h"
#include "support/fault_store.h"

namespace holdfast::store {
namespace {

using std::chrono::milliseconds;
using test::error_of;
using test::Fault;
using test::FaultStore;

constexpr milliseconds kLong{60'000};

// Every call that is tried again; "there" holds "content".
const std::pair<const char*, std::function<void(Store&)>> kCalls[] = {
    {"upload", [](Store& store) { store.upload("new")->commit(); }},
    {"create", [](Store& store) { EXPECT_TRUE(store.create("new", as_bytes("bytes"))); }},
    {"read", [](Store& store) { EXPECT_EQ(as_text(*store.read("there", 0, 3)), "con"); }},
    {"read_into",
     [](Store& store) {
       Bytes buffer(4);
       EXPECT_EQ(store.read_into("there", 1, buffer), 4u);
       EXPECT_EQ(as_text(buffer), "onte");
     }},
    {"info", [](Store& store) { EXPECT_EQ(store.info("there")->bytes, 7u); }},
    {"list",
     [](Store& store) { EXPECT_EQ(store.list({.prefix = ""}).entries.at(0).name, "there"); }},
    {"make_durable", [](Store& store) { store.make_durable("there"); }},
    {"now", [](Store& store) { EXPECT_GT(store.now(), Time{}); }}};

class RetryStoreTest : public testing::Test {
 protected:
  RetryStoreTest() { memory_.create("there", as_bytes("content")); }
  MemoryStore memory_;
};

TEST_F(RetryStoreTest, TriesEveryCallAgainUntilTheStoreAnswers) {
  for (const auto& [name, call] : kCalls) {
    SCOPED_TRACE(name);
    FaultStore faulty(memory_, {.first = 1, .count = 2});
    std::unique_ptr<Store> store = retrying(faulty, kLong, {});
    call(*store);
    EXPECT_GE(faulty.calls(), 3u);
    memory_.remove("new");
  }
}

TEST_F(RetryStoreTest, PassesAllOtherErrorsAtOnce) {
  for (ErrorCode code :
       {ErrorCode::kPermission, ErrorCode::kNoSpace, ErrorCode::kIo, ErrorCode::kCorrupt,
        ErrorCode::kAlreadyExists, ErrorCode::kUnsupported, ErrorCode::kInternal})
    for (const auto& [name, call] : kCalls) {
      SCOPED_TRACE(name);
      FaultStore faulty(memory_, {.first = 1, .count = 1, .code = code});
      std::unique_ptr<Store> store = retrying(faulty, kLong, {});
      EXPECT_EQ(error_of([&] { call(*store); }).code(), code);
      EXPECT_EQ(faulty.calls(), 1u);
    }
}

TEST_F(RetryStoreTest, ThrowsTheLastErrorWhenTheTimeHasPassed) {
  for (const auto& [name, call] : kCalls) {
    SCOPED_TRACE(name);
    FaultStore faulty(memory_, {.first = 1, .count = Fault::kAllFurther});
    std::unique_ptr<Store> store = retrying(faulty, milliseconds(70), {});
    std::chrono::steady_clock::time_point before = std::chrono::steady_clock::now();
    Error error = error_of([&] { call(*store); });
    EXPECT_EQ(error.code(), ErrorCode::kStoreUnavailable);
    EXPECT_NE(error.message().find("the test says so"), std::string::npos);
    EXPECT_GE(std::chrono::steady_clock::now() - before, milliseconds(70));
    EXPECT_GE(faulty.calls(), 2u);
    EXPECT_LE(faulty.calls(), 5u);  // pauses of 25 to 50 and of 50 to 100 ms, and one last call
  }
}

TEST_F(RetryStoreTest, WithoutTimeItTriesOnce) {
  for (const auto& [name, call] : kCalls) {
    SCOPED_TRACE(name);
    FaultStore faulty(memory_, 1);
    std::unique_ptr<Store> store = retrying(faulty, milliseconds(0), {});
    EXPECT_EQ(error_of([&] { call(*store); }).code(), ErrorCode::kStoreUnavailable);
    EXPECT_EQ(faulty.calls(), 1u);
  }
}

TEST_F(RetryStoreTest, AStopRequestEndsTheWaiting) {
  std::stop_source stop;
  stop.request_stop();
  FaultStore faulty(memory_, {.first = 1, .count = Fault::kAllFurther});
  std::unique_ptr<Store> store = retrying(faulty, kLong, stop.get_token());
  EXPECT_EQ(error_of([&] { store->info("there"); }).code(), ErrorCode::kInterrupted);
  EXPECT_EQ(faulty.calls(), 1u);
}

TEST_F(RetryStoreTest, ACreateWhoseAnswerWasLostHasMadeTheObject) {
  FaultStore faulty(memory_, {.first = 1, .count = 1, .lost_answer = true});
  std::unique_ptr<Store> store = retrying(faulty, kLong, {});
  EXPECT_TRUE(store->create("new", as_bytes("ours")));
  EXPECT_EQ(as_text(*memory_.read("new", 0, 10)), "ours");
}

TEST_F(RetryStoreTest, ACreateThatFailedAndThenFindsOtherBytesHasNot) {
  for (const char* other : {"theirs", "our", "ours and more", ""}) {
    memory_.remove("new");
    memory_.create("new", as_bytes(other));
    FaultStore faulty(memory_, {.first = 1, .count = 1, .lost_answer = true});
    EXPECT_FALSE(retrying(faulty, kLong, {})->create("new", as_bytes("ours"))) << other;
    EXPECT_EQ(as_text(*memory_.read("new", 0, 100)), other);
  }
}

TEST_F(RetryStoreTest, ACreateThatDidNotFailTakesNoNameForItsOwn) {
  EXPECT_FALSE(retrying(memory_, kLong, {})->create("there", as_bytes("content")));
}

TEST_F(RetryStoreTest, TheCheckOfALostAnswerIsTriedAgainToo) {
  // Calls: create (its answer is lost), create (the name is taken), read fails, create, read.
  FaultStore first(memory_, {.first = 3, .count = 1});
  FaultStore faulty(first, {.first = 1, .count = 1, .lost_answer = true});
  EXPECT_TRUE(retrying(faulty, kLong, {})->create("new", as_bytes("ours")));
  EXPECT_TRUE(first.fired());
}

TEST_F(RetryStoreTest, AnUploadIsNotTriedAgain) {
  const struct {
    const char* what;
    uint64_t nth;
    bool lost_answer;
    bool stands;
  } cases[] = {{"append", 2, false, false},
               {"commit", 3, false, false},
               {"commit, answer lost", 3, true, true}};
  for (const auto& c : cases) {
    SCOPED_TRACE(c.what);
    memory_.remove("new");
    FaultStore faulty(memory_, {.first = c.nth, .count = 1, .lost_answer = c.lost_answer});
    std::unique_ptr<Store> store = retrying(faulty, kLong, {});
    std::unique_ptr<Upload> upload = store->upload("new");
    Error error = error_of([&] {
      upload->append(as_bytes("bytes"));
      upload->commit();
    });
    EXPECT_EQ(error.code(), ErrorCode::kStoreUnavailable);
    EXPECT_EQ(faulty.calls(), c.nth);
    upload.reset();
    EXPECT_EQ(memory_.info("new").has_value(), c.stands);
  }
}

TEST_F(RetryStoreTest, AbsentIsAnAnswerThatIsNotAskedForAgain) {
  FaultStore counting(memory_, {.first = Fault::kAllFurther, .count = 1});
  std::unique_ptr<Store> store = retrying(counting, kLong, {});
  EXPECT_FALSE(store->read("absent", 0, 1));
  EXPECT_FALSE(store->info("absent"));
  EXPECT_EQ(counting.calls(), 2u);
  EXPECT_EQ(store->url(), "memory:");
}

}  // namespace
}  // namespace holdfast::store
