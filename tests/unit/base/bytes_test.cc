#include "base/bytes.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "support/error_of.h"

namespace holdfast {
namespace {

using test::error_of;

Bytes bytes_of(std::initializer_list<int> values) {
  Bytes bytes;
  for (int value : values) bytes.push_back(static_cast<std::byte>(value));
  return bytes;
}

TEST(Hex, ReadsBackWhatItPrints) {
  Bytes every;
  for (int value = 0; value < 256; ++value) every.push_back(static_cast<std::byte>(value));
  EXPECT_EQ(parse_hex(to_hex(every)), every);
  EXPECT_EQ(to_hex(bytes_of({0x00, 0x1f, 0xab})), "001fab");
  EXPECT_EQ(parse_hex("001FaB"), bytes_of({0x00, 0x1f, 0xab}));
  EXPECT_EQ(parse_hex(""), Bytes{});
}

TEST(Hex, RefusesWhatIsNotHexadecimal) {
  for (const char* text : {"0", "001", "0g", "g0", " 0", "0x", "-1", "0\xff"})
    EXPECT_EQ(parse_hex(text), std::nullopt) << text;
}

TEST(Text, AndBytesAreViewsOfTheSameMemory) {
  const std::string text = "abc";
  EXPECT_EQ(as_text(as_bytes(text)).data(), text.data());
  EXPECT_EQ(as_text(to_bytes("a\0b")), std::string_view("a"));
  EXPECT_EQ(as_text(to_bytes({"a\0b", 3})), std::string_view("a\0b", 3));
}

// What a move leaves behind is what is tested, so it is looked at: bugprone-use-after-move is for
// who does so unknowingly.
TEST(RawBytes, MoveAllAndLeaveNothing) {
  RawBytes first(100);
  const std::byte* const memory = first.span().data();
  RawBytes second(std::move(first));
  EXPECT_EQ(first.size(), 0U);  // NOLINT(bugprone-use-after-move)
  EXPECT_EQ(second.size(), 100U);
  RawBytes third;
  third = std::move(second);
  EXPECT_EQ(second.size(), 0U);  // NOLINT(bugprone-use-after-move)
  EXPECT_EQ(third.span().data(), memory);
  EXPECT_EQ(third.size(), 100U);
}

TEST(Narrow, KeepsWhatFitsAndRefusesTheRest) {
  EXPECT_EQ(narrow<uint8_t>(255), 255);
  EXPECT_EQ(narrow<int8_t>(-128), -128);
  EXPECT_EQ(error_of([] { narrow<uint8_t>(256); }).code(), ErrorCode::kInternal);
  EXPECT_EQ(error_of([] { narrow<uint32_t>(-1); }).code(), ErrorCode::kInternal);
  EXPECT_EQ(error_of([] { narrow<int64_t>(UINT64_MAX); }).code(), ErrorCode::kInternal);
}

TEST(ByteWriter, WritesLittleEndian) {
  ByteWriter writer;
  writer.u8(1).u16(0x0203).u32(0x04050607).u64(0x08090a0b0c0d0e0f).i64(-2).text("hi");
  EXPECT_EQ(to_hex(writer.view()),
            "01"
            "0302"
            "07060504"
            "0f0e0d0c0b0a0908"
            "feffffffffffffff"
            "026869");
  EXPECT_EQ(writer.size(), 26u);
  EXPECT_EQ(writer.take().size(), 26u);
  EXPECT_EQ(writer.size(), 0u);
}

TEST(ByteReader, ReadsBackWhatTheWriterWrote) {
  ByteWriter writer;
  writer.u8(1)
      .u16(0x0203)
      .u32(0x04050607)
      .u64(UINT64_MAX)
      .i64(INT64_MIN)
      .text("hi")
      .bytes(bytes_of({7, 8, 9}));
  const Bytes bytes = writer.take();
  ByteReader reader(bytes, "record");
  EXPECT_EQ(reader.u8(), 1);
  EXPECT_EQ(reader.u16(), 0x0203);
  EXPECT_EQ(reader.u32(), 0x04050607u);
  EXPECT_EQ(reader.u64(), UINT64_MAX);
  EXPECT_EQ(reader.i64(), INT64_MIN);
  EXPECT_EQ(reader.text(), "hi");
  EXPECT_EQ(reader.remaining(), 3u);
  reader.skip(1);
  EXPECT_EQ(reader.array<2>(), (std::array{std::byte{8}, std::byte{9}}));
  EXPECT_TRUE(reader.at_end());
  reader.expect_end();
}

TEST(ByteReader, ReadsBackEveryLengthOfVarint) {
  const struct {
    uint64_t value;
    const char* hex;
  } cases[] = {{0, "00"},
               {127, "7f"},
               {128, "8001"},
               {16383, "ff7f"},
               {16384, "808001"},
               {UINT64_MAX / 2, "ffffffffffffffff7f"},
               {UINT64_MAX, "ffffffffffffffffff01"}};
  for (const auto& c : cases) {
    ByteWriter writer;
    writer.varint(c.value);
    EXPECT_EQ(to_hex(writer.view()), c.hex);
    ByteReader reader(writer.view(), "number");
    EXPECT_EQ(reader.varint(), c.value);
    EXPECT_TRUE(reader.at_end());
  }
}

TEST(ByteReader, RefusesVarintsThatAreTooLongOrNotTheShortest) {
  const struct {
    const char* hex;
    const char* message;
  } cases[] = {
      {"8000", "damaged number: a variable-length number is not in its shortest form"},
      {"ff8000", "damaged number: a variable-length number is not in its shortest form"},
      {"ffffffffffffffffff02", "damaged number: a variable-length number has more than 64 bits"},
      {"ffffffffffffffffffff01", "damaged number: a variable-length number has more than 64 bits"},
      {"80", "damaged number: 1 bytes are needed and 0 are left"},
  };
  for (const auto& c : cases) {
    const Bytes bytes = parse_hex(c.hex).value();
    const Error error = error_of([&] { ByteReader(bytes, "number").varint(); });
    EXPECT_EQ(error.code(), ErrorCode::kCorrupt) << c.hex;
    EXPECT_EQ(error.message(), c.message) << c.hex;
  }
}

TEST(ByteReader, RefusesToReadPastTheEndAndSaysWhere) {
  const Bytes bytes(5);
  ByteReader reader(bytes, "pack footer");
  reader.u8();
  const Error error = error_of([&] { reader.u64(); });
  EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
  EXPECT_EQ(error.message(), "damaged pack footer: 8 bytes are needed and 4 are left");
  EXPECT_EQ(error.detail(), "Found at byte 1 of 5.");
  EXPECT_EQ(error_of([&] { reader.bytes(SIZE_MAX); }).code(), ErrorCode::kCorrupt);
  EXPECT_EQ(reader.u32(), 0u);  // a refused read has taken nothing
}

TEST(ByteReader, RefusesTextsBeyondTheirLimitAndBytesAfterTheEnd) {
  ByteWriter writer;
  writer.text("four");
  EXPECT_EQ(error_of([&] { ByteReader(writer.view(), "name").text(3); }).message(),
            "damaged name: a text of 4 bytes exceeds its limit of 3");
  ByteReader reader(writer.view(), "name");
  reader.u8();
  EXPECT_EQ(error_of([&] { reader.expect_end(); }).message(),
            "damaged name: 4 bytes follow its end");
}

}  // namespace
}  // namespace holdfast
