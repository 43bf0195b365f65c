#include "pg/wal_file_name.h"

#include <gtest/gtest.h>

#include "support/error_of.h"

namespace holdfast::pg {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;

TEST(WalSegmentSize, IsAPowerOfTwoFromOneMebibyteToOneGibibyte) {
  for (uint64_t bytes = kMiB; bytes <= 1024 * kMiB; bytes *= 2)
    EXPECT_EQ(WalSegmentSize(bytes).bytes(), bytes);
  EXPECT_EQ(WalSegmentSize().bytes(), 16 * kMiB);
  for (uint64_t bytes :
       {uint64_t{0}, uint64_t{1}, kMiB / 2, 3 * kMiB, kMiB + 1, 2048 * kMiB, uint64_t{1} << 52}) {
    EXPECT_EQ(test::error_of([&] { WalSegmentSize{bytes}; }).code(), ErrorCode::kInvalidText)
        << bytes;
  }
}

TEST(WalFileName, NamesSegmentsOfEverySize) {
  const struct {
    uint64_t size;
    uint32_t timeline;
    uint64_t number;
    const char* name;
    uint64_t start;
  } cases[] = {
      {16 * kMiB, 1, 1, "000000010000000000000001", 0x1000000},
      {16 * kMiB, 1, 255, "0000000100000000000000FF", 0xFF000000},
      {16 * kMiB, 10, 256, "0000000A0000000100000000", 0x100000000},
      {kMiB, 1, 4095, "000000010000000000000FFF", 0xFFF00000},
      {kMiB, 1, 4096, "000000010000000100000000", 0x100000000},
      {1024 * kMiB, 2, 7, "000000020000000100000003", 0x1C0000000},
      {16 * kMiB, UINT32_MAX, (uint64_t{1} << 40) - 1, "FFFFFFFFFFFFFFFF000000FF",
       UINT64_MAX - 16 * kMiB + 1},
  };
  for (const auto& c : cases) {
    WalSegmentSize size(c.size);
    SegmentName segment{.timeline = {c.timeline}, .segment_number = c.number};
    EXPECT_EQ(segment_file_name(segment, size), c.name);
    WalFileName parsed = parse_wal_file_name(c.name, size);
    EXPECT_EQ(parsed.kind, WalFileKind::kSegment) << c.name;
    EXPECT_EQ(parsed.segment, segment) << c.name;
    EXPECT_EQ(start_lsn(c.number, size), Lsn{c.start});
    EXPECT_EQ(segment_of(Lsn{c.start}, size), c.number);
    EXPECT_EQ(end_lsn(c.number, size), Lsn{c.start} + c.size);
  }
}

TEST(WalFileName, TellsTheKindsOfFilesApart) {
  WalSegmentSize size;
  const struct {
    const char* name;
    WalFileKind kind;
  } cases[] = {
      {"000000010000000000000001", WalFileKind::kSegment},
      {"000000010000000000000001.partial", WalFileKind::kPartial},
      {"0000000A.history", WalFileKind::kHistory},
      {"000000010000000000000004.00000060.backup", WalFileKind::kBackupHistory},
      // Not names that this cluster's server writes.
      {"00000001000000000000000a", WalFileKind::kOther},
      {"0000000a.history", WalFileKind::kOther},
      {"000000000000000000000001", WalFileKind::kOther},
      {"00000000.history", WalFileKind::kOther},
      {"000000010000000000000100", WalFileKind::kOther},
      {"000000010000000000000004.01000000.backup", WalFileKind::kOther},
      {"000000010000000000000004.0000060.backup", WalFileKind::kOther},
      {"000000010000000000000001.gz", WalFileKind::kOther},
      {"000000010000000000000001.partial.x", WalFileKind::kOther},
      {"00000001000000000000001", WalFileKind::kOther},
      {"0000000100000000000000010", WalFileKind::kOther},
      {"RECOVERYXLOG", WalFileKind::kOther},
      {"xlogtemp.1234", WalFileKind::kOther},
      {"archive_status", WalFileKind::kOther},
      {"", WalFileKind::kOther},
      {".history", WalFileKind::kOther},
  };
  for (const auto& c : cases) EXPECT_EQ(parse_wal_file_name(c.name, size).kind, c.kind) << c.name;

  WalFileName backup = parse_wal_file_name("000000010000000000000004.00000060.backup", size);
  EXPECT_EQ(backup.offset, 0x60U);
  EXPECT_EQ(backup.segment, (SegmentName{.timeline = {1}, .segment_number = 4}));
  EXPECT_EQ(backup_history_file_name(backup.segment, backup.offset, size),
            "000000010000000000000004.00000060.backup");
  EXPECT_EQ(partial_file_name(backup.segment, size), "000000010000000000000004.partial");
  EXPECT_EQ(parse_wal_file_name("0000000A.history", size).segment.timeline, TimelineId{10});
  EXPECT_EQ(history_file_name({10}), "0000000A.history");
}

TEST(LastSegmentBeforeEnd, CountsABoundaryToTheSegmentBefore) {
  WalSegmentSize size;
  EXPECT_EQ(last_segment_before_end(Lsn{0x1000001}, size), 1U);
  EXPECT_EQ(last_segment_before_end(Lsn{0x2000000}, size), 1U);
  EXPECT_EQ(last_segment_before_end(Lsn{0x2000001}, size), 2U);
}

}  // namespace
}  // namespace holdfast::pg
