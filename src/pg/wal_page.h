// wal_page.h: the headers of WAL pages, and what the first one says about its segment.
//
//   short := magic u16, flags u16, timeline u32, page address u64, remaining length u32,
//            padding u32                                                     24 bytes, every page
//   long  := short, system identifier u64, segment size u32, block size u32  40 bytes, first page
//
// The timeline on a page is that of its first record and never higher than the one in the file's
// name: the segment in which a new timeline begins starts with a copy of the old one. A server
// recycles segment files under future names without clearing them, so a file is what its pages'
// addresses say, not what its name says.
//
// Facts: xlog_internal.h, xlogreader.c (XLogReaderValidatePageHeader), PostgreSQL 13 to 19.
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
// The flag of a page that starts anew where the rest of a record was lost (13.5, 14.1 and later).
// 19 gave it the bit that had said that full-page images could be left out.
constexpr uint16_t wal_page_overwrites(int major) { return major >= 19 ? 0x0004 : 0x0008; }
constexpr uint16_t wal_page_legal_flags(int major) { return major >= 19 ? 0x0007 : 0x000F; }

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
  int major = 0;  // 0: newer than this program knows; the header has been the same since 9.3
  WalPageHeader page;
  WalSegmentSize segment_size;
};

// Throws kCorrupt when this is not the start of a segment, kUnsupported for an older major or a
// beta, and for a WAL block size that is not known.
WalSegmentHeader parse_wal_segment_header(ByteView first_page);
// The same for who expects files that are no segments (a recycled or zeroed one in pg_wal): the
// problem instead of an exception.
std::variant<WalSegmentHeader, Error::Parts> read_wal_segment_header(ByteView first_page);

// What a file with a segment's name is, by the front of its first page. A server that recycles
// files after a recovery renames some of the timeline that was left, whatever their address, to
// names of the new one (RemoveNonParentXlogFiles, PostgreSQL 13 to 18); so the timeline decides
// too.
enum class SegmentFile : uint8_t {
  kItself,  // a sound header, this segment's address, and its timeline or, where the segment begins
            // before that did, an older one
  kForReuse,  // a sound header of an older address or timeline
  kUnknown,   // anything else
};
// `began`: where the timeline of the name did, by its history; nullopt when that is not known.
// Never throws.
SegmentFile segment_file(ByteView first_page, SegmentName name, WalSegmentSize size,
                         std::optional<Lsn> began);
inline bool holds_segment(ByteView first_page, SegmentName name, WalSegmentSize size,
                          std::optional<Lsn> began) {
  return segment_file(first_page, name, size, began) == SegmentFile::kItself;
}

}  // namespace holdfast::pg
