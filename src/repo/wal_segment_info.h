// wal_segment_info.h: what the archive knows of a WAL segment without reading its content: section
// 1 of its object. Normative: docs/design/repository-format.md, "The WAL archive".
//
// A function of the segment alone, whoever pushes it, in whatever order: what two segments tell
// only together is left to the reader of both.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/json.h"
#include "base/time.h"
#include "pg/lsn.h"
#include "pg/wal_file_name.h"
#include "pg/wal_reader.h"
#include "pg/wal_record.h"
#include "repo/parameter_floors.h"

namespace holdfast::repo {

struct WalCommits {
  uint64_t count = 0;  // commits and aborts of top-level transactions, prepared ones included
  Time first_time, last_time;      // of the first and the last in LSN order
  Time lowest_time, highest_time;  // commit times are not monotonic
  uint32_t lowest_xid = 0, highest_xid = 0;
  pg::Lsn last_lsn;  // of the last such record
};
struct WalRestorePoint {
  std::string name;
  pg::Lsn lsn;
  Time time;
};
struct WalTablespace {
  uint32_t oid = 0;
  std::string path;
  pg::Lsn lsn;
};

// What takes a database or a tablespace away before its transaction ends (pg::Removal).
struct WalRemoval {
  pg::Removal::What what = pg::Removal::What::kMark;
  uint32_t oid = 0;
  std::string name;  // kMark: of the database
  uint32_t xid = 0;
  pg::Lsn lsn;
  bool ended = false;  // its transaction, in the same segment
};

// What makes two contents of WAL files equal, with their length. The one digest of the archive's
// metadata.
Bytes32 wal_content_sha256(ByteView content);
// What completes the name of a partial segment: the first half of that.
Bytes16 partial_digest(const Bytes32& sha256);

// Section 1 of a segment object.
struct WalSegmentInfo {
  std::string file_name;  // as the server offered it
  pg::TimelineId timeline;
  uint64_t bytes = 0;
  bool complete = true;  // false for .partial
  Bytes32 sha256;        // of the content
  uint64_t system_identifier = 0;
  uint16_t wal_magic = 0;
  uint32_t segment_bytes = 0;
  std::string host, pgdata;  // who pushed it
  Time pushed;
  pg::Lsn start_lsn;                                   // of the segment
  pg::Lsn first_record, last_record, last_record_end;  // invalid when no record begins in it
  pg::Lsn previous_record;                             // the link of the first record
  uint32_t carried_in = 0;                             // bytes of a record that began before
  uint32_t carried_out = 0;  // bytes of the last record that the next segment must hold
  // A moment may be named by the record that is carried out: what is said below counts it neither
  // here nor in the next segment; count_moment_between() does. The bytes of such a record in this
  // segment, and those that are carried in, whatever they are: empty where they are many.
  bool carries_moment = false;
  Bytes carried_in_bytes, carried_out_bytes;
  bool starts_with_overwrite = false;
  bool ends_with_switch = false;
  // Records can be read up to here: the end of the segment, or less in one that is partial or
  // short. One that is not read (is_unread) counts to its last byte in memory.
  pg::Lsn readable_end;
  pg::TimelineId highest_page_timeline;
  WalCommits commits;
  std::vector<WalRestorePoint> restore_points;
  std::vector<WalTablespace> creates_tablespaces;
  std::optional<ParameterFloors> parameter_floors;  // the highest of any parameter change in it
  // The first that sets wal_level to minimal: what is written then is not in the WAL, and a server
  // recovers no further (xlog.c, CheckRequiredParameterValues; 13 where hot_standby is on).
  pg::Lsn minimal_from;
  // False: an older program archived it, and there is a change of parameters in it; whether one of
  // them sets that, its records tell.
  bool knows_minimal = true;
  std::vector<WalRemoval> removals;
  // False: an older program archived it; its records tell.
  bool knows_removals = true;
};
Json to_json(const WalSegmentInfo& info);
WalSegmentInfo wal_segment_info_from_json(const Json& json);

// Whether it is of a major that this program does not know: only its bytes and its place are known.
bool is_unread(const WalSegmentInfo& info);
// Whether its records can be read to its last byte. Of others wal_histories.h tells whether they
// are whole all the same.
bool reaches_its_end(const WalSegmentInfo& info);
// Whether it begins at or behind `began`, where its timeline did, and has pages of older timelines
// alone: a file that the server kept for reuse. It holds no WAL of its timeline.
bool is_foreign(const WalSegmentInfo& info, pg::Lsn began);

// Whether `first` and `second`, the segment behind it, can be of one history. Says no only where
// both ends are known.
bool joins(const WalSegmentInfo& first, const WalSegmentInfo& second);
// Whether a recovery that has replayed `first` goes on in `second`.
bool leads_into(const WalSegmentInfo& first, const WalSegmentInfo& second);

// Counts a moment that lies before all others of `info`.
void count_earlier(WalSegmentInfo& info, const pg::WalEvent& moment);
// Counts in `second` what is named by the record that begins in `first`, the segment before it, and
// ends in `second`. False: their metadata does not tell; who must know reads both segments.
bool count_moment_between(const WalSegmentInfo& first, WalSegmentInfo& second, int major);

// A record of parameters is no larger, its header included: one of which more is carried over the
// end of a segment is none.
inline constexpr uint32_t kMaxParameterChangeBytes = 64;
// Takes from the records of `info` what its metadata does not know of minimal_from.
void learn_minimal(WalSegmentInfo& info, std::span<const pg::WalEvent> events);

// Those among the moments of a segment.
std::vector<WalRemoval> removals_of(std::span<const pg::WalEvent> events);

// Who offers a segment, and when.
struct WalOrigin {
  std::string host;
  std::string pgdata;
  Time pushed;
};
// What the records of a segment, or of a partial one, say. REQUIRES: file.kind is kSegment or
// kPartial.
WalSegmentInfo describe_segment(const pg::WalSegmentScan& scan, const Bytes32& sha256,
                                uint64_t bytes, const pg::WalFileName& file,
                                const WalOrigin& origin);

}  // namespace holdfast::repo
