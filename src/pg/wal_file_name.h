// wal_file_name.h: the names of files in pg_wal and in a WAL archive.
//
//   TTTTTTTTHHHHHHHHLLLLLLLL                  segment: timeline, high and low part of its number
//   TTTTTTTTHHHHHHHHLLLLLLLL.partial          last, unfinished segment of a timeline that ended
//   TTTTTTTTHHHHHHHHLLLLLLLL.OOOOOOOO.backup  backup history: segment and offset of a start LSN
//   TTTTTTTT.history                          timeline history
//
// All upper-case hexadecimal, 8 digits a group. With segment size S there are 2^32/S segments to
// one high part, so the low part is always below that and a name can be read only by who knows S.
// Segment numbers start at 1: 0 is never used.
//
// Facts: xlog_internal.h, PostgreSQL 13 to 19.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "pg/lsn.h"

namespace holdfast::pg {

// A power of two from 1 MiB to 1 GiB; one per cluster.
class WalSegmentSize {
 public:
  // 16 MiB, what initdb chooses unless told otherwise.
  constexpr WalSegmentSize() = default;
  // Throws kInvalidText when `bytes` is no size that a server can have.
  explicit WalSegmentSize(uint64_t bytes);

  static constexpr bool is_valid(uint64_t bytes) {
    return bytes >= (uint64_t{1} << 20) && bytes <= (uint64_t{1} << 30) &&
           (bytes & (bytes - 1)) == 0;
  }
  constexpr uint32_t bytes() const { return bytes_; }
  constexpr uint64_t segments_per_high_part() const { return (uint64_t{1} << 32) / bytes_; }
  auto operator<=>(const WalSegmentSize&) const = default;

 private:
  uint32_t bytes_ = uint32_t{16} << 20;
};

// Orders by timeline, then number: as the names sort.
struct SegmentName {
  TimelineId timeline;
  uint64_t segment_number = 0;

  auto operator<=>(const SegmentName&) const = default;
};

// The range of a segment is [start_lsn, end_lsn).
Lsn start_lsn(uint64_t segment_number, WalSegmentSize size);
Lsn end_lsn(uint64_t segment_number, WalSegmentSize size);
// The number of the segment that holds the byte at `lsn`.
uint64_t segment_of(Lsn lsn, WalSegmentSize size);
// The last segment needed to read up to `end`, which is exclusive: a boundary belongs to the
// segment before it. REQUIRES: end.is_valid().
uint64_t last_segment_before_end(Lsn end, WalSegmentSize size);

std::string segment_file_name(SegmentName segment, WalSegmentSize size);
std::string partial_file_name(SegmentName segment, WalSegmentSize size);
std::string backup_history_file_name(SegmentName segment, uint32_t offset, WalSegmentSize size);
std::string history_file_name(TimelineId timeline);

enum class WalFileKind : uint8_t { kSegment, kPartial, kHistory, kBackupHistory, kOther };

// `segment` is set for kSegment, kPartial and kBackupHistory; for kHistory its timeline is.
// `offset` is set for kBackupHistory.
struct WalFileName {
  WalFileKind kind = WalFileKind::kOther;
  SegmentName segment;
  uint32_t offset = 0;
};

// Never throws. What is not exactly a name that a server with this segment size writes is kOther:
// lower-case digits, timeline 0, a low part or an offset that is too large.
WalFileName parse_wal_file_name(std::string_view name, WalSegmentSize size);
// The name that it was read from. REQUIRES: it is not kOther.
std::string to_string(const WalFileName& file, WalSegmentSize size);

}  // namespace holdfast::pg
