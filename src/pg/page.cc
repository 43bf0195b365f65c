// The checksum runs 32 independent sums over the page seen as 64 rows of 32 integers: made for
// vector units. The sums are kept in vectors of eight, which the compiler maps to the widest
// registers that the function's target has; the same body is compiled for AVX2 and for the
// baseline, and the processor is asked once.
#include "pg/page.h"

#include <array>
#include <cstring>

namespace holdfast::pg {

namespace {

constexpr uint32_t kFnvPrime = 16777619;
constexpr size_t kColumns = 32;
constexpr size_t kRowBytes = kColumns * sizeof(uint32_t);
constexpr size_t kRows = kPageBytes / kRowBytes;
static_assert(kRows == 64);

constexpr std::array<uint32_t, kColumns> kBases = {
    0x5B1F36E9, 0xB8525960, 0x02AB50AA, 0x1DE66D2A, 0x79FF467A, 0x9BB9F8A3, 0x217E7CD2, 0x83E13D2C,
    0xF8D4474F, 0xE39EB970, 0x42C6AE16, 0x993216FA, 0x7B093B5D, 0x98DAFF3C, 0xF718902A, 0x0B1C9CDB,
    0xE58F764B, 0x187636BC, 0x5D7B3BB1, 0xE73DE7DE, 0x92BEC979, 0xCCA6C0B2, 0x304A0979, 0x85AA43D4,
    0x783125BB, 0x6CA8EAA2, 0xE407EAC6, 0x4B5CFC3E, 0x9FBF8C76, 0x15CA20BE, 0xF2CA9FD3, 0x959BD756};

constexpr size_t kChecksumOffset = 8;
constexpr uint16_t kLegalFlags = 0x0007;

using Lanes = uint32_t __attribute__((vector_size(32)));
constexpr size_t kVectors = kRowBytes / sizeof(Lanes);

// One body for every target; it must be inlined into a function that has one.
[[gnu::always_inline]] inline uint16_t checksum_body(const std::byte* page, uint32_t block) {
  Lanes sums[kVectors];
  std::memcpy(sums, kBases.data(), sizeof sums);

  // The first row carries the checksum itself in the low half of its third column: counted as zero.
  std::byte first_row[kRowBytes];
  std::memcpy(first_row, page, kRowBytes);
  std::memset(first_row + kChecksumOffset, 0, sizeof(uint16_t));

  const std::byte* row = first_row;
  for (size_t number = 0; number < kRows; ++number) {
    for (size_t i = 0; i < kVectors; ++i) {
      Lanes values;
      std::memcpy(&values, row + i * sizeof values, sizeof values);
      values ^= sums[i];
      sums[i] = (values * kFnvPrime) ^ (values >> 17);
    }
    row = page + (number + 1) * kRowBytes;
  }
  // Two more rounds of zeros, so that the last row is mixed as well as the others.
  for (int round = 0; round < 2; ++round) {
    for (Lanes& sum : sums) sum = (sum * kFnvPrime) ^ (sum >> 17);
  }

  Lanes folded = sums[0];
  for (size_t i = 1; i < kVectors; ++i) folded ^= sums[i];
  uint32_t result = block;
  for (size_t lane = 0; lane < sizeof(Lanes) / sizeof(uint32_t); ++lane) result ^= folded[lane];
  return static_cast<uint16_t>(result % 65535 + 1);
}

uint16_t checksum_baseline(const std::byte* page, uint32_t block) {
  return checksum_body(page, block);
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) uint16_t checksum_avx2(const std::byte* page, uint32_t block) {
  return checksum_body(page, block);
}

bool has_avx2() {
  static const bool found = __builtin_cpu_supports("avx2") != 0;
  return found;
}
#endif

bool has_sane_header(const PageHeader& header) {
  return (header.flags & ~kLegalFlags) == 0 && header.lower <= header.upper &&
         header.upper <= header.special && header.special <= kPageBytes && header.special % 8 == 0;
}

}  // namespace

PageHeader read_page_header(PageView page) {
  const std::byte* at = page.data();
  return {.lsn = {uint64_t{load_le<uint32_t>(at)} << 32 | load_le<uint32_t>(at + 4)},
          .checksum = load_le<uint16_t>(at + kChecksumOffset),
          .flags = load_le<uint16_t>(at + 10),
          .lower = load_le<uint16_t>(at + 12),
          .upper = load_le<uint16_t>(at + 14),
          .special = load_le<uint16_t>(at + 16),
          .size_and_version = load_le<uint16_t>(at + 18),
          .prune_xid = load_le<uint32_t>(at + 20)};
}

bool is_new(PageView page) {
  // All bytes are equal to their neighbour and the first is zero: memcmp compares at the speed of
  // memory.
  return page[0] == std::byte{0} && std::memcmp(page.data(), page.data() + 1, page.size() - 1) == 0;
}

uint16_t checksum(PageView page, BlockNumber block) {
#if defined(__x86_64__)
  if (has_avx2()) return checksum_avx2(page.data(), block.value);
#endif
  return checksum_baseline(page.data(), block.value);
}

uint16_t checksum_portable(PageView page, BlockNumber block) {
  return checksum_baseline(page.data(), block.value);
}

PageVerdict verify_page(PageView page, BlockNumber block, bool has_checksums) {
  PageHeader header = read_page_header(page);
  if (header.upper == 0) return is_new(page) ? PageVerdict::kNew : PageVerdict::kBadHeader;
  if (has_checksums && checksum(page, block) != header.checksum) return PageVerdict::kBadChecksum;
  return has_sane_header(header) ? PageVerdict::kValid : PageVerdict::kBadHeader;
}

}  // namespace holdfast::pg
