// page.h: the 8 kB pages of relation files: header, checksum, verification.
//
//   page   := header, line pointers up to `lower`, a hole, data from `upper`
//   header := lsn high u32, lsn low u32, checksum u16, flags u16,
//             lower u16, upper u16, special u16, size|version u16, prune xid u32
//
// A page with upper = 0 is new and valid only if all its bytes are zero. FSM and VM pages keep data
// in the "hole". The checksum covers the page and its number within the whole fork, not within the
// file: callers add segment number times blocks per segment. Files of pg_xact, pg_multixact and the
// like have no page header; see relation_file.h for which files have.
//
// Sketch: checksum() above 3 GB/s on one core, no memory.
//
// Facts: bufpage.h, checksum_impl.h, bufpage.c (PageIsVerified), PostgreSQL 13 to 19.
#pragma once

#include <compare>
#include <cstdint>
#include <span>

#include "base/bytes.h"
#include "pg/lsn.h"

namespace holdfast::pg {

inline constexpr size_t kPageBytes = 8192;
inline constexpr size_t kPageHeaderBytes = 24;

using PageView = std::span<const std::byte, kPageBytes>;

// The number of a block within a fork, over all its segments.
struct BlockNumber {
  uint32_t value = 0;
  auto operator<=>(const BlockNumber&) const = default;
};

struct PageHeader {
  Lsn lsn;  // of the end of the last record that changed the page
  uint16_t checksum = 0;
  uint16_t flags = 0;
  uint16_t lower = 0;
  uint16_t upper = 0;
  uint16_t special = 0;
  uint16_t size_and_version = 0;
  uint32_t prune_xid = 0;
};
PageHeader read_page_header(PageView page);

// All bytes zero: a page that was allocated and never written.
bool is_new(PageView page);

// The checksum that the page should carry; its own checksum field is not looked at. Never 0.
uint16_t checksum(PageView page, BlockNumber block);

enum class PageVerdict : uint8_t { kValid, kNew, kBadChecksum, kBadHeader };

// What the server would say on reading the page. With `has_checksums` false only the header is
// judged.
PageVerdict verify_page(PageView page, BlockNumber block, bool has_checksums = true);

// checksum() without the wider instructions that it uses where the processor has them; for the test
// that compares the two.
uint16_t checksum_portable(PageView page, BlockNumber block);

}  // namespace holdfast::pg
