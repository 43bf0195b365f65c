// wal_page.h: the headers of WAL pages, and what the first one says about its segment.
//
//   short := magic u16, flags u16, timeline u32, page address u64, remaining length u32,
//            padding u32                                                     24 bytes, every page
//   long  := short, system identifier u64, segment size u32, block size u32  40 bytes, first page
//
// The timeline on a page is that of its first record and never higher than the one in the file's
// name: the first segment of a new timeline begins with a copy of the old one. A server recycles
// segment files under future names without clearing them, so a file is what its pages' addresses
// say, not what its name says.
//
// Facts: xlog_internal.h, xlogreader.c (XLogReaderValidatePageHeader), PostgreSQL 13 to 18.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>

#include "base/bytes.h"
#include "base/error.h"
#include "pg/lsn.h"
#include "pg/wal_file_name.h"

namespace holdfast::pg {

inline constexpr size_t kWalBlockBytes = 8192;
inline constexpr size_t kWalShortHeaderBytes = 24;
inline constexpr size_t kWalLongHeaderBytes = 40;

inline constexpr uint16_t kWalPageContinues = 0x0001;  // starts with the rest of a record
inline constexpr uint16_t kWalPageIsLong = 0x0002;
inline constexpr uint16_t kWalPageRemovable = 0x0004;  // full-page images could be left out
inline constexpr uint16_t kWalPageOverwrites =
    0x0008;  // starts anew where the rest of a record was lost (13.5, 14.1 and later)
inline constexpr uint16_t kWalPageLegalFlags = 0x000F;

struct WalPageHeader {
  uint16_t magic = 0;
  uint16_t flags = 0;
  TimelineId timeline;
  Lsn address;
  uint32_t remaining_length = 0;  // bytes of the continued record from this page on
  // Long header only.
  uint64_t system_identifier = 0;
  uint32_t segment_bytes = 0;
  uint32_t block_bytes = 0;

  bool has(uint16_t flag) const { return (flags & flag) != 0; }
  size_t header_bytes() const {
    return has(kWalPageIsLong) ? kWalLongHeaderBytes : kWalShortHeaderBytes;
  }
};

// The fields as they stand, unchecked; nullopt when `page` ends before the header does.
std::optional<WalPageHeader> read_wal_page_header(ByteView page);

// What the first page of a segment tells.
struct WalSegmentHeader {
  int major = 0;
  WalPageHeader page;
  WalSegmentSize segment_size;
};

// Throws kCorrupt when this is not the start of a segment, kUnsupported for a major or WAL block
// size that is not known.
WalSegmentHeader parse_wal_segment_header(ByteView first_page);
// The same for who expects files that are no segments (a recycled or zeroed one in pg_wal): the
// problem instead of an exception.
std::variant<WalSegmentHeader, Error::Parts> read_wal_segment_header(ByteView first_page);

// Whether a file that starts so is the segment that its name says: a sound header, this segment's
// address, a timeline not above the name's. Never throws.
bool holds_segment(ByteView first_page, SegmentName name, WalSegmentSize size);

}  // namespace holdfast::pg
