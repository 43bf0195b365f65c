#include "pg/lsn.h"

#include <gtest/gtest.h>

#include "support/error_of.h"

namespace holdfast::pg {
namespace {

TEST(ParseLsn, ReadsBackEverythingItPrints) {
  const struct {
    const char* text;
    uint64_t value;
  } cases[] = {{"0/0", 0},
               {"0/16B3748", 0x16B3748},
               {"16/B374D848", 0x16B374D848},
               {"FFFFFFFF/FFFFFFFF", UINT64_MAX}};
  for (const auto& c : cases) {
    EXPECT_EQ(parse_lsn(c.text), Lsn{c.value}) << c.text;
    EXPECT_EQ(to_string(Lsn{c.value}), c.text);
  }
}

TEST(ParseLsn, TakesPaddedAndLowerCaseDigits) {
  EXPECT_EQ(parse_lsn("0/016B3748"), Lsn{0x16B3748});
  EXPECT_EQ(parse_lsn("00000016/b374d848"), Lsn{0x16B374D848});
}

TEST(ParseLsn, RefusesEverythingElse) {
  for (const char* text : {"", "/", "0", "0/", "/0", "0/0/0", "0x1/2", "1/123456789", "123456789/1",
                           " 0/1", "0/1 ", "-1/0", "0/+1", "g/1"}) {
    Error error = test::error_of([&] { parse_lsn(text); });
    EXPECT_EQ(error.code(), ErrorCode::kInvalidText) << text;
    EXPECT_EQ(error.message(), fmt::format("invalid LSN \"{}\"", text));
    EXPECT_EQ(error.hint(), "Write it as pg_current_wal_lsn() prints it, for example 16/B374D848.");
  }
}

TEST(Lsn, CountsBytesBetweenPositions) {
  EXPECT_EQ(Lsn{0x1000} - Lsn{0xF00}, 0x100U);
  EXPECT_EQ(Lsn{0x1000} + 8, Lsn{0x1008});
  EXPECT_EQ(Lsn{0x1000} - 8, Lsn{0xFF8});
  EXPECT_LT(Lsn{0xFFFFFFFF}, Lsn{0x100000000});
  EXPECT_FALSE(Lsn{}.is_valid());
}

TEST(ParseTimelineId, ReadsDecimalOnly) {
  EXPECT_EQ(parse_timeline_id("10"), TimelineId{10});
  EXPECT_EQ(parse_timeline_id("4294967295"), TimelineId{UINT32_MAX});
  EXPECT_EQ(to_string(TimelineId{10}), "10");
  // The server would read 00000010 as octal.
  for (const char* text : {"", "0", "00000010", "0xA", "A", "1 ", "-1", "4294967296"}) {
    Error error = test::error_of([&] { parse_timeline_id(text); });
    EXPECT_EQ(error.code(), ErrorCode::kInvalidText) << text;
    EXPECT_EQ(error.hint(),
              "File names show the timeline in hexadecimal: 0000000A is timeline 10.");
  }
}

}  // namespace
}  // namespace holdfast::pg
