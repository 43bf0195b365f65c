#include "pg/relation_map.h"

#include <cstdint>

#include "pg/crc32c.h"

namespace holdfast::pg {
namespace {

constexpr uint32_t kMagic = 0x592717;
constexpr size_t kCountOffset = 4;

struct Layout {
  size_t bytes;
  size_t slots;
  size_t crc_offset;
};
constexpr Layout kLayouts[] = {{.bytes = 512, .slots = 62, .crc_offset = 504},
                               {.bytes = 524, .slots = 64, .crc_offset = 520}};

}  // namespace

bool is_whole_relation_map(ByteView bytes) {
  for (const Layout& layout : kLayouts) {
    if (bytes.size() != layout.bytes) continue;
    return load_le<uint32_t>(bytes.data()) == kMagic &&
           load_le<uint32_t>(bytes.data() + kCountOffset) <= layout.slots &&
           load_le<uint32_t>(bytes.data() + layout.crc_offset) ==
               crc32c(bytes.first(layout.crc_offset));
  }
  return false;
}

}  // namespace holdfast::pg
