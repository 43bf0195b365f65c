#include "pg/crc32c.h"

#include <random>

#include <gtest/gtest.h>

namespace holdfast::pg {
namespace {

TEST(Crc32c, GivesTheValuesOfItsDefinition) {
  // The check value of the polynomial, and the vectors of RFC 3720, B.4.
  EXPECT_EQ(crc32c(as_bytes("123456789")), 0xE3069283U);
  EXPECT_EQ(crc32c({}), 0U);
  EXPECT_EQ(crc32c(Bytes(32, std::byte{0})), 0x8A9136AAU);
  EXPECT_EQ(crc32c(Bytes(32, std::byte{0xFF})), 0x62A8AB43U);
}

TEST(Crc32c, IsTheSameWithAndWithoutTheInstructionAndInAnyPieces) {
  const unsigned seed = std::random_device()();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  Bytes bytes(4099);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
  for (int i = 0; i < 200; ++i) {
    size_t from = random() % 64;
    ByteView piece = ByteView(bytes).subspan(from, random() % (bytes.size() - from));
    uint32_t whole = crc32c(piece);
    EXPECT_EQ(crc32c_portable(piece), whole);
    Crc32c pieces;
    for (ByteView rest = piece; !rest.empty();) {
      size_t count = std::min<size_t>(rest.size(), 1 + random() % 37);
      pieces.update(rest.first(count));
      rest = rest.subspan(count);
    }
    EXPECT_EQ(pieces.value(), whole);
  }
}

}  // namespace
}  // namespace holdfast::pg
