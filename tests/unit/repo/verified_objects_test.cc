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
      objects.add(lineage(), pack(number), 1000u + static_cast<uint64_t>(number));
    for (uint64_t number : {300, 255, 256, 257, 1})
      objects.add(lineage(), segment(1, number), 70000);
    objects.add(lineage(), segment(2, 256), UINT32_MAX);
    objects.add(lineage(), manifest(), 12);
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
  std::vector<std::string> unreadable_;
};
INSTANTIATE_TEST_SUITE_P(Kinds, VerifiedObjectsTest,
                         testing::Values(Sealing::kNone, Sealing::kKeyFile), [](const auto& p) {
                           return p.param == Sealing::kNone ? "Plain" : "Sealed";
                         });

TEST_P(VerifiedObjectsTest, ARecordSaysWhatWasPutIntoIt) {
  const Time began = now();
  put_verified(target_.repository, lineage(), began, sample(), {});
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

TEST_P(VerifiedObjectsTest, ALaterOneTakesOverWhatItNames) {
  const std::string first = put_verified(target_.repository, lineage(), now(), sample(), {});
  target_.clock.advance(std::chrono::minutes(1));
  VerifiedObjects less;
  less.add(lineage(), pack(3), 1003);
  less.sort();
  const std::string second = put_verified(target_.repository, lineage(), now(), less, {first});
  const VerifiedRecords read = records();
  EXPECT_EQ(read.ids(), std::vector<std::string>{second});
  EXPECT_TRUE(read.cover(pack(3), 1003, Time{}));
  EXPECT_FALSE(read.cover(pack(9), 1009, Time{}));
  EXPECT_EQ(replaced_records(target_.repository, lineage()), std::set<std::string>{first});
}

// The record that stopped it from counting is taken over itself; it must not count again.
TEST_P(VerifiedObjectsTest, WhatWasTakenOverOnceNeverCountsAgain) {
  put_verified(target_.repository, lineage(), now(), sample(), {});
  for (int i = 0; i < 3; ++i) {
    target_.clock.advance(std::chrono::minutes(1));
    put_verified(target_.repository, lineage(), now(), {}, records().replaceable());
  }
  EXPECT_EQ(records().ids().size(), 1u);
  EXPECT_EQ(records().replaceable().size(), 4u);
  EXPECT_FALSE(records().cover(pack(9), 1009, Time{}));
  EXPECT_EQ(replaced_records(target_.repository, lineage()).size(), 3u);
}

TEST_P(VerifiedObjectsTest, OneThatCannotBeReadCountsForNothing) {
  const std::string id = put_verified(target_.repository, lineage(), now(), sample(), {});
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
  for (const auto& [type, raw] : encode_verified(sample())) {
    VerifiedObjects twice;
    decode_verified(type, raw, "test", twice);
    EXPECT_EQ(error_of([&] { decode_verified(type, raw, "test", twice); }).code(),
              ErrorCode::kCorrupt)
        << type;
  }
  VerifiedObjects none;
  EXPECT_EQ(error_of([&] { decode_verified(9, {}, "test", none); }).code(), ErrorCode::kCorrupt);
}

}  // namespace
}  // namespace holdfast::repo
