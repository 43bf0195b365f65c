#include "pg/wal_page.h"

#include <gtest/gtest.h>

#include "support/error_of.h"
#include "support/golden.h"
#include "support/wal_builder.h"

namespace holdfast::pg {
namespace {

TEST(ParseWalSegmentHeader, ReadsWhatServersWrote) {
  const struct {
    const char* file;
    int major;
    uint64_t system_identifier;
    uint64_t start;
  } cases[] = {{"pg-13/000000010000000000000009", 13, 7711016004381711055, 0x900000},
               {"pg-15/00000001000000000000000A", 15, 7711016015274031957, 0xA00000},
               {"pg-18/00000001000000000000000B", 18, 7711016036897029253, 0xB00000},
               {"pg-19/00000001000000000000000B", 19, 7713986141286665821, 0xB00000}};
  for (const auto& c : cases) {
    Bytes bytes = test::golden(c.file);
    WalSegmentHeader header = parse_wal_segment_header(bytes);
    EXPECT_EQ(header.major, c.major);
    EXPECT_EQ(header.page.system_identifier, c.system_identifier);
    EXPECT_EQ(header.page.address, Lsn{c.start});
    EXPECT_EQ(header.page.timeline, TimelineId{1});
    EXPECT_EQ(header.segment_size, WalSegmentSize(1 << 20));
    uint64_t number = c.start >> 20;
    EXPECT_TRUE(
        holds_segment(bytes, {.timeline = {1}, .segment_number = number}, header.segment_size, {}));
    EXPECT_TRUE(
        holds_segment(bytes, {.timeline = {2}, .segment_number = number}, header.segment_size, {}));
    EXPECT_FALSE(holds_segment(bytes, {.timeline = {1}, .segment_number = number + 1},
                               header.segment_size, {}));
    EXPECT_FALSE(
        holds_segment(bytes, {.timeline = {1}, .segment_number = number}, WalSegmentSize(), {}));
  }
}

// A server that recycles files renames those of the timeline that it left to names of the new one;
// the number may even be the same.
TEST(SegmentFile, BehindASwitchIsNoSegmentOfAnOlderTimeline) {
  const test::WalBuilder wal = [] {
    test::WalBuilder builder({.timeline = {2}, .first_segment = 3});
    builder.add_filler(10);
    return builder;
  }();
  const Bytes page = wal.segment(0);
  const WalSegmentSize size = wal.options().size;
  const Lsn start = start_lsn(3, size);
  const struct {
    uint32_t timeline;
    uint64_t number;
    std::optional<Lsn> began;
    SegmentFile expected;
  } cases[] = {
      {2, 3, std::nullopt, SegmentFile::kItself},
      {5, 3, std::nullopt, SegmentFile::kItself},  // may hold the switch
      {5, 3, start + 8, SegmentFile::kItself},     // does
      {5, 3, start, SegmentFile::kForReuse},
      {5, 3, start_lsn(1, size), SegmentFile::kForReuse},
      {2, 4, std::nullopt, SegmentFile::kForReuse},
      {5, 2, start, SegmentFile::kForReuse},  // of the old timeline, from further on
      {2, 2, std::nullopt, SegmentFile::kUnknown},
      {1, 3, std::nullopt, SegmentFile::kUnknown},
  };
  for (const auto& c : cases)
    EXPECT_EQ(
        segment_file(page, {.timeline = {c.timeline}, .segment_number = c.number}, size, c.began),
        c.expected)
        << c.timeline << "/" << c.number;
  Bytes damaged = page;
  damaged[0] ^= std::byte{1};
  EXPECT_EQ(segment_file(damaged, wal.name(0), size, {}), SegmentFile::kUnknown);
}

TEST(ParseWalSegmentHeader, SaysWhatIsWrong) {
  test::WalBuilder builder;
  builder.add_filler(10);
  const struct {
    size_t offset;
    uint32_t value;
    ErrorCode code;
    const char* text;  // of the detail or, for what is not supported, the message
  } cases[] = {
      {0, 0, ErrorCode::kCorrupt, "Its page magic is 0000."},
      {0, 0x0002D120, ErrorCode::kUnsupported, "unknown WAL page magic D120"},
      {0, 0x0012D110, ErrorCode::kCorrupt, "Its flags are 0012."},
      {0, 0x0000D110, ErrorCode::kCorrupt, "Its first page has no long header."},
      {4, 0, ErrorCode::kCorrupt, "Its timeline is 0."},
      {8, 0x100008, ErrorCode::kCorrupt, "Its address 0/100008 is not the start of a segment."},
      {32, 12345, ErrorCode::kCorrupt, "Its segment size is 12345."},
      {36, 4096, ErrorCode::kUnsupported, "WAL block size 4096 is not supported"},
  };
  for (const auto& c : cases) {
    Bytes segment = builder.segment(0);
    store_le(segment.data() + c.offset, c.value);
    Error error = test::error_of([&] { parse_wal_segment_header(segment); });
    EXPECT_EQ(error.code(), c.code) << c.text;
    EXPECT_EQ(c.code == ErrorCode::kUnsupported ? error.message() : error.detail(), c.text);
    EXPECT_FALSE(holds_segment(segment, builder.name(0), builder.options().size, {}));
  }
  Bytes segment = builder.segment(0);
  for (size_t size : {size_t{0}, size_t{23}, size_t{39}}) {
    EXPECT_EQ(
        test::error_of([&] { parse_wal_segment_header(ByteView(segment).first(size)); }).code(),
        ErrorCode::kCorrupt);
  }
}

}  // namespace
}  // namespace holdfast::pg
