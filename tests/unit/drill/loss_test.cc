#include "drill/loss.h"

#include <map>

#include <gtest/gtest.h>

#include "base/file.h"
#include "support/wal_builder.h"

namespace holdfast::drill {
namespace {

constexpr int64_t kSecond = 1'000'000;

// Commits at 10, 20, 30 and 5 s (clocks go back) over two segments, as files of a pg_wal; and an
// abort, which nobody loses.
class FindLoss : public testing::Test {
 protected:
  FindLoss() {
    wal_.add_filler(100);
    first_ = wal_.add_commit(100, 10 * kSecond);
    wal_.add_data(pg::kRmTransaction, 0x20, 104, ByteWriter().i64(1 * kSecond).view());
    second_ = wal_.add_commit(101, 20 * kSecond);
    while (wal_.segment_count() < 2) wal_.add_filler(5000);
    third_ = wal_.add_commit(102, 30 * kSecond);
    wal_.add_commit(103, 5 * kSecond);
    end_ = wal_.end_lsn();
    Bytes bytes = wal_.bytes();
    bytes.resize(wal_.segment_count() * size_.bytes());
    for (size_t i = 0; i < wal_.segment_count(); ++i)
      files_[pg::segment_file_name(wal_.name(i), size_)] =
          Bytes(bytes.begin() + static_cast<std::ptrdiff_t>(i * size_.bytes()),
                bytes.begin() + static_cast<std::ptrdiff_t>((i + 1) * size_.bytes()));
  }
  Loss loss(pg::Lsn recovered_end, pg::Lsn flushed) {
    return find_loss({.flushed = flushed, .timeline = {1}, .data_directory = {}}, recovered_end,
                     size_,
                     [&](const std::string& name) {
                       auto found = files_.find(name);
                       return found == files_.end() ? std::nullopt : std::optional(found->second);
                     },
                     {});
  }

  pg::WalSegmentSize size_{uint64_t{1} << 20};
  test::WalBuilder wal_;
  pg::Lsn first_, second_, third_, end_;
  std::map<std::string, Bytes> files_;
};

TEST_F(FindLoss, CountsTheCommitsBehindTheRecoveryAndFindsTheEarliest) {
  const struct {
    pg::Lsn recovered, flushed;
    uint64_t transactions;
    std::optional<int64_t> earliest;
  } cases[] = {
      {first_, end_, 4, 5}, {first_, third_, 2, 10},   {second_, end_, 3, 5},
      {third_, end_, 2, 5}, {second_, third_, 1, 20},  {second_ + 1, third_, 0, {}},
      {end_, end_, 0, {}},  {end_ + 100, end_, 0, {}},
  };
  for (const auto& c : cases) {
    const Loss found = loss(c.recovered, c.flushed);
    EXPECT_EQ(found.transactions, c.transactions) << pg::to_string(c.recovered);
    EXPECT_EQ(found.wal_bytes, c.recovered < c.flushed ? c.flushed - c.recovered : 0);
    EXPECT_EQ(found.earliest.has_value(), c.earliest.has_value());
    if (c.earliest) {
      EXPECT_EQ(found.earliest, from_postgres_microseconds(*c.earliest * kSecond));
    }
  }
}

TEST_F(FindLoss, IsUnknownWhereWalIsMissingOrEndsEarly) {
  const std::map<std::string, Bytes> whole = files_;
  for (const auto& [name, content] : whole) {
    files_ = whole;
    files_.erase(name);
    const Loss found = loss(first_, end_);
    EXPECT_FALSE(found.transactions) << name;
    EXPECT_FALSE(found.earliest);
    EXPECT_NE(found.note.find(name), std::string::npos) << found.note;
    EXPECT_EQ(found.wal_bytes, end_ - first_);
  }
  // A record that is not what was written.
  files_ = whole;
  files_.begin()->second[wal_.offset_of(second_) + 20] ^= std::byte{1};
  EXPECT_FALSE(loss(first_, end_).transactions);
  // What had been flushed is not there.
  files_ = whole;
  EXPECT_FALSE(loss(first_, end_ + 1000).transactions);
}

// It was stopped a moment after it said how far it had flushed.
TEST_F(FindLoss, WhatAServerWroteEndsWithItsLastRecord) {
  auto written = [&](pg::Lsn flushed) {
    return cluster::written_end({.flushed = flushed, .timeline = {1}, .data_directory = {}}, size_,
                                [&](const std::string& name) {
                                  auto found = files_.find(name);
                                  return found == files_.end() ? std::nullopt
                                                               : std::optional(found->second);
                                },
                                {});
  };
  for (const pg::Lsn flushed : {first_, second_, third_, end_}) EXPECT_EQ(written(flushed), end_);
  EXPECT_EQ(written(end_ + 100), end_ + 100);
  // The rest of a recycled file, and a file for later.
  files_.rbegin()->second[wal_.offset_of(third_) % size_.bytes() + 8] ^= std::byte{1};
  EXPECT_EQ(written(second_), third_);
  files_["000000010000000000000003"] = files_.begin()->second;
  EXPECT_EQ(written(second_), third_);
  files_.clear();
  EXPECT_EQ(written(second_), second_);
}

TEST(WalFilesOf, ReadsADirectoryAndKnowsWhatIsAbsent) {
  const TemporaryDirectory pg_wal;
  write_file_durably(join_path(pg_wal.path(), "000000010000000000000001"), as_bytes("wal"));
  const ReadWalFile read = cluster::wal_files_of(pg_wal.path());
  EXPECT_EQ(read("000000010000000000000001"), to_bytes("wal"));
  EXPECT_EQ(read("000000010000000000000002"), std::nullopt);
}

}  // namespace
}  // namespace holdfast::drill
