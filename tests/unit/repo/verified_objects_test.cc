#include "repo/verified_objects.h"

#include <gtest/gtest.h>

#include "repo/layout.h"
#include "support/error_of.h"
#include "support/test_repository.h"

namespace holdfast::repo {
namespace {

using test::error_of;
using test::Sealing;
using test::TestRepository;

class VerifiedObjectsTest : public testing::TestWithParam<Sealing> {
 protected:
  std::string pack(int number) {
    return pack_name(lineage(), Bytes16{{static_cast<std::byte>(number), std::byte{7}}});
  }
  std::string segment(uint32_t timeline, uint64_t number) {
    return wal_object_name(lineage(),
                           {.kind = pg::WalFileKind::kSegment,
                            .segment = {.timeline = {timeline}, .segment_number = number}},
                           pg::WalSegmentSize());
  }
  std::string manifest() { return manifest_name(lineage(), "20261122T082239Z-1f2e3d"); }
  VerifiedObjects sample() {
    VerifiedObjects objects;
    for (const int number : {9, 3, 200})
      objects.add(lineage(), pack(number), 1000u + static_cast<uint64_t>(number), read_);
    for (uint64_t number : {300, 255, 256, 257, 1})
      objects.add(lineage(), segment(1, number), 70000, read_);
    objects.add(lineage(), segment(2, 256), UINT32_MAX, {});
    objects.add(lineage(), manifest(), 12, read_);
    objects.sort();
    return objects;
  }
  VerifiedRecords records() {
    return VerifiedRecords(
        target_.repository, lineage(),
        [&](const std::string& name, const Error&) { unreadable_.push_back(name); });
  }
  const LineageName& lineage() { return target_.lineage.name; }
  Time now() { return target_.clock.now(); }

  TestRepository target_{GetParam()};
  const LastRead read_{.seconds = 1'700'000'000};
  std::vector<std::string> unreadable_;
};
INSTANTIATE_TEST_SUITE_P(Kinds, VerifiedObjectsTest,
                         testing::Values(Sealing::kNone, Sealing::kKeyFile), [](const auto& p) {
                           return p.param == Sealing::kNone ? "Plain" : "Sealed";
                         });

TEST_P(VerifiedObjectsTest, ARecordSaysWhatWasPutIntoIt) {
  const Time began = now();
  put_verified(target_.repository, lineage(), {.began = began}, sample(), {});
  const VerifiedRecords read = records();
  const Time before = began - std::chrono::milliseconds(21);
  for (const int number : {9, 3, 200}) {
    EXPECT_TRUE(read.cover(pack(number), 1000u + static_cast<uint64_t>(number), before));
    EXPECT_FALSE(read.cover(pack(number), 1001u + static_cast<uint64_t>(number), before))
        << "another size";
    // The last two by a clock that may tick once a second or less.
    for (const Time since : {began, began - Microseconds(1), began - std::chrono::milliseconds(20),
                             began - std::chrono::seconds(1), began - store::kClockTicks})
      EXPECT_FALSE(read.cover(pack(number), 1000u + static_cast<uint64_t>(number), since))
          << "modified since, or perhaps since";
  }
  EXPECT_FALSE(read.cover(pack(4), 1004, before));
  for (uint64_t number : {1, 255, 256, 257, 300})
    EXPECT_TRUE(read.cover(segment(1, number), 70000, before)) << number;
  for (uint64_t number : {2, 254, 258})
    EXPECT_FALSE(read.cover(segment(1, number), 70000, before)) << number;
  EXPECT_TRUE(read.cover(segment(2, 256), UINT32_MAX, before));
  EXPECT_FALSE(read.cover(segment(2, 255), 70000, before));
  EXPECT_TRUE(read.cover(manifest(), 12, before));
  EXPECT_TRUE(unreadable_.empty());
}

TEST_P(VerifiedObjectsTest, ARecordSaysWhenEachWasReadAlsoWhereItTookItOver) {
  const std::string first = put_verified(target_.repository, lineage(),
                                         {.began = now(), .everything = true}, sample(), {});
  EXPECT_EQ(records().cover(pack(9), 1009, Time{}), read_);
  EXPECT_EQ(records().cover(segment(1, 257), 70000, Time{}), read_);
  EXPECT_EQ(records().cover(segment(2, 256), UINT32_MAX, Time{}), LastRead{});
  EXPECT_EQ(records().cover(manifest(), 12, Time{}), read_);
  // Of two that hold the later counts; what is read again is newer than what is taken over.
  target_.clock.advance(std::chrono::minutes(1));
  const LastRead later{.seconds = read_.seconds + 5};
  VerifiedObjects again;
  again.add(lineage(), pack(3), 1003, later);
  again.add(lineage(), pack(3), 1003, read_);
  again.add(lineage(), manifest(), 12, later);
  again.add(lineage(), manifest(), 12, read_);
  again.sort();
  put_verified(target_.repository, lineage(), {.began = now(), .oldest = read_}, again, {});
  EXPECT_EQ(records().cover(pack(3), 1003, Time{}), later);
  EXPECT_EQ(records().cover(manifest(), 12, Time{}), later);
  EXPECT_EQ(records().cover(pack(9), 1009, Time{}), read_);
  // The newest run of everything is told by its record.
  const std::optional<VerifyRun> whole = last_whole_run(target_.repository, lineage());
  ASSERT_TRUE(whole);
  EXPECT_EQ(whole->began, now() - std::chrono::minutes(1));
  EXPECT_FALSE(whole->oldest.is_known());
  EXPECT_TRUE(unreadable_.empty());
}

TEST_P(VerifiedObjectsTest, ALaterOneTakesOverWhatItNames) {
  const std::string first =
      put_verified(target_.repository, lineage(), {.began = now()}, sample(), {});
  target_.clock.advance(std::chrono::minutes(1));
  VerifiedObjects less;
  less.add(lineage(), pack(3), 1003, read_);
  less.sort();
  const std::string second =
      put_verified(target_.repository, lineage(), {.began = now()}, less, {first});
  const VerifiedRecords read = records();
  EXPECT_EQ(read.ids(), std::vector<std::string>{second});
  EXPECT_TRUE(read.cover(pack(3), 1003, Time{}));
  EXPECT_FALSE(read.cover(pack(9), 1009, Time{}));
  EXPECT_EQ(replaced_records(target_.repository, lineage()), std::set<std::string>{first});
}

// The record that stopped it from counting is taken over itself; it must not count again.
TEST_P(VerifiedObjectsTest, WhatWasTakenOverOnceNeverCountsAgain) {
  put_verified(target_.repository, lineage(), {.began = now()}, sample(), {});
  for (int i = 0; i < 3; ++i) {
    target_.clock.advance(std::chrono::minutes(1));
    put_verified(target_.repository, lineage(), {.began = now()}, {}, records().replaceable());
  }
  EXPECT_EQ(records().ids().size(), 1u);
  EXPECT_EQ(records().replaceable().size(), 4u);
  EXPECT_FALSE(records().cover(pack(9), 1009, Time{}));
  EXPECT_EQ(replaced_records(target_.repository, lineage()).size(), 3u);
}

TEST_P(VerifiedObjectsTest, OneThatCannotBeReadCountsForNothing) {
  const std::string id =
      put_verified(target_.repository, lineage(), {.began = now()}, sample(), {});
  const std::string name = lineage_folder(lineage()) + "verified/" + id;
  const size_t bytes = test::object_bytes(target_.store, name).size();
  for (size_t place = 0; place < bytes; place += 7) {
    target_.store.edit(name, [&](Bytes& b) { b[place] ^= std::byte{4}; });
    unreadable_.clear();
    EXPECT_TRUE(records().ids().empty()) << place;
    EXPECT_EQ(unreadable_, std::vector<std::string>{name}) << place;
    target_.store.edit(name, [&](Bytes& b) { b[place] ^= std::byte{4}; });
  }
}

TEST_P(VerifiedObjectsTest, DisorderIsRefused) {
  VerifiedObjects all;
  for (const auto& [type, raw] : encode_verified(sample())) {
    decode_verified(type, raw, "test", all);
    if (type > 4) continue;  // the times: of so many items
    VerifiedObjects twice;
    decode_verified(type, raw, "test", twice);
    EXPECT_EQ(error_of([&] { decode_verified(type, raw, "test", twice); }).code(),
              ErrorCode::kCorrupt)
        << type;
  }
  EXPECT_EQ(all, sample());
  VerifiedObjects none;
  const Bytes of_one = ByteWriter().varint(1).varint(1'700'000'000).varint(1).take();
  EXPECT_EQ(error_of([&] { decode_verified(6, of_one, "test", none); }).code(),
            ErrorCode::kCorrupt);
  EXPECT_EQ(error_of([&] { decode_verified(6, of_one, "test", all); }).code(), ErrorCode::kCorrupt)
      << "all have their times";
  EXPECT_EQ(error_of([&] { decode_verified(9, {}, "test", none); }).code(), ErrorCode::kCorrupt);
}

}  // namespace
}  // namespace holdfast::repo
