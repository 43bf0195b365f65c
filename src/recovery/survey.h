// survey.h: reads the metadata of the segments that a recovery replays, in order, up to where its
// target lies.
//
// Metadata tells in which segment a moment lies (of a record that two segments hold, the metadata
// of both); the record itself is found by reading that segment, together with the one before it,
// because a record may begin there.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "pg/wal_reader.h"
#include "pg/wal_record.h"
#include "recovery/wal_path.h"

namespace holdfast::recovery {

// How long a transaction may take from its time, which is read first, to its record's place in the
// WAL. Where times go back by more a clock was wrong.
inline constexpr Microseconds kTimeToPlace = std::chrono::seconds(1);

struct Moment {
  pg::Lsn lsn;
  Time time;
};

// Where the server will stop, and what it has replayed by then.
struct Reach {
  bool found = false;  // the target's record; else the WAL was read to its end, or to a hole
  pg::Lsn stop_lsn;    // found: of the record at which it stops
  std::optional<Time> stop_time;  // found by a time: its own
  pg::Lsn end_lsn;                // of the last record that was seen; found: of what is replayed
  pg::Lsn last_record;            // the start of the last record that is complete
  uint64_t last_segment = 0;      // the last that is needed
  std::optional<Time> last_commit;
  std::optional<pg::SegmentName> hole;
  // Two archived segments in a row of which the second is not reached from the first, or cannot be
  // read: the walk ended there.
  struct Break {
    enum class Kind : uint8_t {
      kApart,    // they are of different histories
      kShort,    // the records of the first end before it does
      kEarlier,  // the second is of the history that stood before it earlier (repo/wal_line.h)
      kForeign,  // the second is an old file of another timeline; `first` may be empty
      kMinimal,  // the second has its minimal_from; `first` may be empty
      kDamaged,  // the second cannot be read, and is empty; `first` may be
    };
    Kind kind = Kind::kApart;
    repo::WalSegmentInfo first, second;
    uint64_t segment_number = 0;  // of the second
    std::optional<Error> damage = {};
  };
  std::optional<Break> broken;
  // Found, in a segment that has such a place: the target may lie behind it.
  std::optional<Break> minimal;
  // Of the times in the metadata of what was walked, which are those of transactions' ends and
  // restore points, the latest, and the one that stands last.
  std::optional<Time> latest_time;
  std::optional<Moment> last_moment;
  uint64_t segments = 0;
  repo::ParameterFloors floors;
  std::vector<repo::WalTablespace> tablespaces;
  // Of all segments that were walked, wherever the target lies in the last; of those of an older
  // program, which does not tell, only where they are the last ones.
  std::vector<repo::WalRemoval> removals;
};

class Survey {
 public:
  Survey(const repo::WalArchive& archive, const WalPath& path) : archive_(archive), path_(path) {}

  // All from `first` on.
  Reach to_the_end(uint64_t first);
  // Up to the first record at or behind `lsn`.
  Reach to_lsn(uint64_t first, pg::Lsn lsn);
  // Up to the first commit or abort that is later than `time` (or just as late, when exclusive)
  // and, if there is one, before the path's limit.
  Reach to_time(uint64_t first, Time time, bool exclusive);
  // All segments up to the one that holds the byte before `end`.
  Reach to_backup_end(uint64_t first, pg::Lsn end);

  // The last checkpoint, or end of a recovery, in [first, last]; nullopt where none is found near
  // its end.
  std::optional<Moment> last_checkpoint(uint64_t first, uint64_t last);
  // When the recovery ended that began the timeline of the segment which holds `start`.
  struct Between {
    Time earliest, latest;
  };
  std::optional<Between> time_of_beginning(pg::Lsn start);
  // Where times go back behind a transaction that is later than `time`: a clock was set right.
  // Looks as far as transactions up to `time` lie there, and some segments farther.
  struct Behind {
    // The last that ended at or before `time` (exclusive: before it).
    std::optional<pg::TransactionEnd> meant;
    // The last one before times first go back to one that is earlier than the stop's, and that.
    struct Fall {
      pg::Lsn from;
      Time to;
    };
    std::optional<Fall> fall;
  };
  Behind look_behind(Moment stop, Time time, bool exclusive);

  // The newest end of that transaction, and the newest restore point of that name, in [first,
  // last]; newest segments are read first. Where the id has an epoch, the checkpoint before the end
  // must agree.
  struct FoundTransaction {
    std::optional<pg::TransactionEnd> end = {};
    // Else: the full id of the newest that ended under the same lower half.
    std::optional<uint64_t> other = {};
  };
  FoundTransaction find_transaction(uint64_t xid, uint64_t first, uint64_t last);
  std::vector<repo::WalRestorePoint> find_restore_points(const std::string& name, uint64_t first,
                                                         uint64_t last);

  // Whether a transaction ended, and whether one committed, at a place in (from, before).
  bool has_end(uint32_t xid, pg::Lsn from, pg::Lsn before) const;
  bool has_commit(pg::Lsn from, pg::Lsn before) const;
  // The first record that starts at or behind `lsn` and is complete.
  std::optional<pg::Lsn> first_record_from(pg::Lsn lsn) const;

  // Segments in [first, last] in which wal_level was set to minimal, and where. One small read for
  // each that is there; of those that an older program archived, and in which parameters changed,
  // the content too. What cannot be read is passed over.
  struct MinimalPlace {
    uint64_t segment_number = 0;
    pg::Lsn from;
  };
  std::vector<MinimalPlace> find_minimal(uint64_t first, uint64_t last) const;

  // The start of the last record that is complete before the first missing byte at or behind
  // `segment_number`; nullopt: there is none.
  std::optional<pg::Lsn> last_complete_record_before(uint64_t segment_number);

  // Segments that join the one before them and are of the history of another content of that
  // (repo/wal_line.h). Reads what stands beside segments with further contents or marks alone.
  std::vector<pg::SegmentName> find_other_history() const;

  repo::WalSegmentInfo info(const PathSegment& segment) const;
  std::optional<repo::WalSegmentInfo> info_at(uint64_t segment_number) const;

 private:
  // Counts in `here` what is named by a record that begins in `before`, the segment before it;
  // where the metadata does not tell, it is read, if no more than `at_most` bytes of it are in
  // `here`.
  void count_moment_between(const repo::WalSegmentInfo& before, repo::WalSegmentInfo& here,
                            uint64_t segment_number, uint32_t at_most = UINT32_MAX) const;
  void learn_minimal(repo::WalSegmentInfo& here, uint64_t segment_number) const;
  // What the newest checkpoint before `lsn` says that the next full transaction id is; nullopt:
  // there is none in the WAL from `first` on.
  std::optional<uint64_t> next_xid_before(pg::Lsn lsn, uint64_t first) const;
  // Why `here` is not reached from the segment before it; nullopt: it is.
  std::optional<Reach::Break::Kind> break_between(const std::optional<repo::WalSegmentInfo>& before,
                                                  const repo::WalSegmentInfo& here) const;
  // Reads them from the last two segments that were walked, from `unknown_from` on.
  void learn_removals(Reach& reach, uint64_t unknown_from) const;
  // Whether `is_it` says yes to any transaction's end in (from, before). Reads segments whose
  // commits `may_hold` it.
  bool has_such_end(pg::Lsn from, pg::Lsn before,
                    const std::function<bool(const repo::WalCommits&)>& may_hold,
                    const std::function<bool(const pg::TransactionEnd&)>& is_it) const;
  using StopsHere = std::function<bool(const repo::WalSegmentInfo& info, Reach& reach)>;
  Reach walk(uint64_t first, const StopsHere& stops_here);
  // The moments of [first, last] in order, those that run over a segment's end included.
  std::vector<pg::WalEvent> read_events(uint64_t first, uint64_t last) const;
  // Those of one segment, from the segment on in which the record begins that runs into it.
  std::vector<pg::WalEvent> read_events_of(const repo::WalSegmentInfo& here,
                                           uint64_t segment_number) const;
  // The last record that begins and ends in that segment.
  std::optional<pg::Lsn> last_complete_record(const PathSegment& segment,
                                              const repo::WalSegmentInfo& here);
  // What its records name; alone, or as the continuation of what `reader` was fed.
  pg::WalSegmentScan scan(const PathSegment& segment, pg::WalReader& reader) const;
  uint64_t bytes_of(const PathSegment& segment) const;
  void read(const PathSegment& segment, const std::function<void(ByteView)>& take) const;
  const repo::WalArchive& archive_;
  const WalPath& path_;
};

}  // namespace holdfast::recovery
