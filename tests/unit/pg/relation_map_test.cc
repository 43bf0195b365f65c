#include "pg/relation_map.h"

#include <gtest/gtest.h>

#include "pg/crc32c.h"

namespace holdfast::pg {
namespace {

Bytes make_map(size_t bytes, size_t crc_offset, uint32_t count) {
  Bytes map(bytes);
  store_le(map.data(), uint32_t{0x592717});
  store_le(map.data() + 4, count);
  for (uint32_t i = 0; i < count && 8 + 8 * i + 8 <= crc_offset; ++i) {
    store_le(map.data() + 8 + 8 * i, 1259 + i);
    store_le(map.data() + 12 + 8 * i, 16384 + i);
  }
  store_le(map.data() + crc_offset, crc32c(ByteView(map).first(crc_offset)));
  return map;
}

TEST(IsWholeRelationMap, KnowsBothLayoutsAndEveryFlippedBit) {
  const struct {
    size_t bytes, crc_offset;
    uint32_t slots;
  } layouts[] = {{512, 504, 62}, {524, 520, 64}};
  for (const auto& layout : layouts) {
    Bytes map = make_map(layout.bytes, layout.crc_offset, 15);
    EXPECT_TRUE(is_whole_relation_map(map));
    for (size_t at = 0; at < layout.crc_offset + 4; ++at) {
      map[at] ^= std::byte{4};
      EXPECT_FALSE(is_whole_relation_map(map)) << at;
      map[at] ^= std::byte{4};
    }
    EXPECT_TRUE(is_whole_relation_map(make_map(layout.bytes, layout.crc_offset, layout.slots)));
    EXPECT_FALSE(
        is_whole_relation_map(make_map(layout.bytes, layout.crc_offset, layout.slots + 1)));
    EXPECT_FALSE(is_whole_relation_map(ByteView(map).first(layout.bytes - 1)));
  }
  EXPECT_FALSE(is_whole_relation_map({}));
}

}  // namespace
}  // namespace holdfast::pg
