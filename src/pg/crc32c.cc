// The portable way is "slicing by 8": eight tables advance the sum by eight bytes with eight
// look-ups that do not wait for each other.
#include "pg/crc32c.h"

#include <array>

namespace holdfast::pg {

namespace {

using Tables = std::array<std::array<uint32_t, 256>, 8>;

constexpr Tables make_tables() {
  constexpr uint32_t kPolynomial = 0x82F63B78;
  Tables tables{};
  for (uint32_t byte = 0; byte < 256; ++byte) {
    uint32_t sum = byte;
    for (int bit = 0; bit < 8; ++bit) sum = (sum >> 1) ^ ((sum & 1) != 0 ? kPolynomial : 0);
    tables[0][byte] = sum;
  }
  for (size_t table = 1; table < tables.size(); ++table) {
    for (size_t byte = 0; byte < 256; ++byte) {
      uint32_t before = tables[table - 1][byte];
      tables[table][byte] = (before >> 8) ^ tables[0][before & 0xFF];
    }
  }
  return tables;
}

constexpr Tables kTables = make_tables();

uint32_t advance_portable(uint32_t state, const std::byte* at, size_t count) {
  for (; count >= 8; at += 8, count -= 8) {
    uint64_t word = load_le<uint64_t>(at) ^ state;
    state = kTables[7][word & 0xFF] ^ kTables[6][word >> 8 & 0xFF] ^ kTables[5][word >> 16 & 0xFF] ^
            kTables[4][word >> 24 & 0xFF] ^ kTables[3][word >> 32 & 0xFF] ^
            kTables[2][word >> 40 & 0xFF] ^ kTables[1][word >> 48 & 0xFF] ^ kTables[0][word >> 56];
  }
  for (; count > 0; ++at, --count) {
    state = (state >> 8) ^ kTables[0][(state ^ std::to_integer<uint32_t>(*at)) & 0xFF];
  }
  return state;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) uint32_t advance_sse42(uint32_t state, const std::byte* at,
                                                         size_t count) {
  uint64_t wide = state;
  for (; count >= 8; at += 8, count -= 8)
    wide = __builtin_ia32_crc32di(wide, load_le<uint64_t>(at));
  state = static_cast<uint32_t>(wide);
  for (; count > 0; ++at, --count)
    state = __builtin_ia32_crc32qi(state, std::to_integer<uint8_t>(*at));
  return state;
}

bool has_sse42() {
  static const bool found = __builtin_cpu_supports("sse4.2") != 0;
  return found;
}
#endif

uint32_t advance(uint32_t state, ByteView bytes) {
#if defined(__x86_64__)
  if (has_sse42()) return advance_sse42(state, bytes.data(), bytes.size());
#endif
  return advance_portable(state, bytes.data(), bytes.size());
}

}  // namespace

void Crc32c::update(ByteView bytes) { state_ = advance(state_, bytes); }

uint32_t crc32c(ByteView bytes) { return ~advance(0xFFFFFFFF, bytes); }

uint32_t crc32c_portable(ByteView bytes) {
  return ~advance_portable(0xFFFFFFFF, bytes.data(), bytes.size());
}

}  // namespace holdfast::pg
