// wal_reader.h: the records of WAL segments, and a summary of each segment for those who join them.
//
// A WalReader is fed segments in order, whole or in pieces. A record that runs over the end of one
// is completed from the next; fed a segment that does not follow, it starts afresh with the first
// record that starts in it. Records are checked as the server checks them (page headers,
// continuation lengths, previous-record links, CRC); reading stops where one fails, and the summary
// says where and why: what that means is the caller's to judge, since in a live pg_wal it is the
// normal end.
//
// What is read is not trusted. Memory: kMaxKeptBytes for a record that runs over pages, taken only
// as its bytes arrive. Sketch: 1 GB/s and more, bound by the CRC; records within one page are not
// copied. One thread at a time.
//
// Facts: xlogreader.c, PostgreSQL 13 to 19.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "pg/crc32c.h"
#include "pg/lsn.h"
#include "pg/wal_file_name.h"
#include "pg/wal_record.h"

namespace holdfast::pg {

// Of a longer record the callback sees only the front; its CRC is checked over the whole. Such
// records hold logical messages or millions of subtransactions: their block references come first
// and are never cut.
inline constexpr size_t kMaxKeptBytes = size_t{64} << 20;

// The most that a summary keeps of a record that two segments share.
inline constexpr size_t kMaxSharedBytes = 1024;

enum class WalStop : uint8_t {
  kSegmentEnd,  // read to the last byte
  kSwitch,      // XLOG_SWITCH: the rest of the segment is unused
  kZeros,       // nothing was written from here on
  kShort,       // fewer bytes than a segment were given
  kBadPage,     // a page header does not fit; in a recycled file, the normal end
  kBadRecord,   // a record is damaged, or its continuation is missing
  kNewerMajor,  // of a PostgreSQL that this program does not know: nothing of it was read
};

struct WalSegmentSummary {
  SegmentName name;
  int major = 0;
  uint16_t page_magic = 0;
  uint64_t system_identifier = 0;
  WalSegmentSize segment_size;
  TimelineId first_page_timeline;
  TimelineId last_page_timeline;

  // What the neighbours must fit: bytes at the start that belong to a record from before, and bytes
  // of the last record that are still to come in the next segment. A segment in the middle of one
  // record has both, and no record of its own.
  uint32_t remaining_length_at_start = 0;
  uint32_t remaining_length_at_end = 0;
  // The segment starts anew where the rest of a record was lost in a crash: the neighbour's
  // remaining length then counts for nothing, and first_record_previous_lsn links to the last
  // record that was complete.
  bool overwrites_record = false;
  // Those bytes at the start, without page headers, where they are no more than kMaxSharedBytes;
  // and of a record that starts here and goes on in the next segment the front, up to as many.
  Bytes shared_with_previous;
  Bytes shared_with_next;

  // The first record that starts here, and the link it carries (absent if its header runs over the
  // end of the segment).
  std::optional<Lsn> first_record_lsn;
  std::optional<Lsn> first_record_previous_lsn;
  // The last record that starts here, complete or not: the next segment's first link.
  std::optional<Lsn> last_record_lsn;
  // The last record completed here (it may have started before, if the reader was fed that) and the
  // end of it.
  std::optional<Lsn> last_complete_record_lsn;
  std::optional<Lsn> last_complete_record_end_lsn;
  uint64_t record_count = 0;  // completed here

  WalStop stop = WalStop::kSegmentEnd;
  Lsn stop_lsn;             // where reading stopped
  std::string stop_reason;  // a sentence for DETAIL; empty for kSegmentEnd and kSwitch

  bool operator==(const WalSegmentSummary&) const = default;
};

class SegmentWalk;

class WalReader {
 public:
  using OnRecord = std::function<void(const WalRecord&)>;

  explicit WalReader(WalSegmentSize size) : size_(size) {}

  // Reads one segment; `on_record` is called for each record that is completed in it, in order.
  // `segment` may be shorter than the segment size (a part of one): reading then stops with kShort
  // and the next call starts afresh. Throws kCorrupt when this is no segment, or not the one that
  // the name says; kUnsupported for an unknown version.
  WalSegmentSummary feed(ByteView segment, SegmentName name, const OnRecord& on_record);

 private:
  friend class SegmentWalk;

  // A record whose end is still to come.
  struct Unfinished {
    bool discarded = false;  // its start was not seen: only its length is known
    Lsn lsn;
    uint32_t total_bytes = 0;
    uint32_t remaining = 0;
    Crc32c crc;  // of what came behind the header so far
  };

  WalSegmentSize size_;
  std::optional<Unfinished> unfinished_;
  Bytes kept_;  // the front of the unfinished record
  std::optional<Lsn> last_record_lsn_;
  // What the next segment must be, to be the continuation.
  std::optional<uint64_t> next_segment_number_;
  uint64_t system_identifier_ = 0;
  int major_ = 0;
};

struct WalSegmentScan {
  WalSegmentSummary summary;
  std::vector<WalEvent> events;  // in LSN order
  bool operator==(const WalSegmentScan&) const = default;
};

// One segment in pieces, for who does not hold all of it.
class WalSegmentFeed {
 public:
  // `bytes`: of all pieces together. `reader` must outlive it.
  WalSegmentFeed(WalReader& reader, SegmentName name, uint64_t bytes,
                 WalReader::OnRecord on_record = {});
  ~WalSegmentFeed();

  // The next piece. Throws as WalReader::feed (the first one), and kCorrupt when another than the
  // last one does not end with a page, or more bytes come than were told.
  void take(ByteView piece);
  // Behind the last piece. Throws as WalReader::feed when there was none, and kCorrupt when there
  // were fewer bytes than were told.
  WalSegmentSummary finish();

 private:
  std::unique_ptr<SegmentWalk> walk_;
};

// The same with what its records name: of one segment alone, or as the continuation of what
// `reader` was fed. Memory for the events: at most about twice the segment.
class WalSegmentScanner {
 public:
  WalSegmentScanner(SegmentName name, uint64_t bytes) : name_(name), bytes_(bytes) {}
  WalSegmentScanner(WalReader& reader, SegmentName name, uint64_t bytes);

  void take(ByteView piece);
  WalSegmentScan finish();

 private:
  void begin(WalReader& reader);

  SegmentName name_;
  uint64_t bytes_;
  std::optional<WalReader> own_;
  std::vector<WalEvent> events_;
  std::optional<WalSegmentFeed> feed_;
};
// The same for one that is held.
WalSegmentScan scan_segment(WalReader& reader, ByteView segment, SegmentName name);

// The moment that a record names which begins in one segment and ends on the first page of the
// next. `record` is whole, without page headers; `lsn` is where it starts. nullopt where it names
// none, or is damaged: then no reader of the two segments finds it either.
std::optional<WalEvent> decode_shared_record(ByteView record, Lsn lsn, Lsn next_segment_start,
                                             uint32_t bytes_in_next, int major);

}  // namespace holdfast::pg
