// plan.h: recovery target -> which backup, which timeline, which segments: decided once, for every
// reader.
//
// Everything is read from the repository alone: commit objects, history files, and the metadata of
// the WAL segments from the backup's start to the end of the chosen timeline (one listing and one
// small read each; memory does not grow with them), for an LSN and a backup's end to the segment
// behind it: how much lies farther behind plays no part. A plan that was made can be carried out: a
// target that cannot be reached is refused here, before a byte is written, with the nearest that
// can.
//
// Rules: a backup serves a target that lies after its stop LSN, on a timeline that descends from
// the backup's stop timeline and was not forked before its stop LSN. Damaged backups are not
// chosen, only taken when named. First the timeline is chosen: the newest to which some backup
// leads (for kImmediate the backup's own); then the newest backup on the way to it that serves.
//
// A time target stops the server at the first commit or abort that is later, wherever that stands.
// Where none is archived the time is reached if a record of that time or a later one is (a
// transaction's end, a checkpoint, a restore point) and none behind it is of an earlier one, or if
// the server that still runs proves that it ended nothing else up to then: it is carried out as
// kLatest. Any other is refused. A time is no place, for a clock may have been ahead: a server that
// answers is asked whatever the archive says, and what it has ended up to then refuses. What is
// reached so before a hole, or before a segment that does not join, is carried out as the LSN of
// the last record there: the server would look for a later transaction behind it. A restore point
// whose name was used again is carried out as the LSN of the newest one.
//
// A target just behind which the transaction of a DROP DATABASE or DROP TABLESPACE ends, which has
// taken the files away already, is carried out as the LSN before it did, if no other transaction
// committed in between; else it is kept, and a warning names that LSN.
//
// Behind the archived WAL there is nothing only as far as nothing proves otherwise (wal_path.h).
// Which of several timelines is meant is asked where it is not plain (parting.h).
//
// Facts: xlogrecovery.c (recoveryStopsBefore, recoveryStopsAfter), PostgreSQL 13 to 18.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "pg/timeline_history.h"
#include "recovery/target.h"
#include "repo/backup.h"
#include "repo/wal_archive.h"

namespace holdfast::recovery {

// Segments of one timeline that the recovery reads, a closed range of segment numbers.
struct WalRange {
  pg::TimelineId timeline;
  uint64_t first = 0;
  uint64_t last = 0;
};

// The unfinished last segment of the plan's timeline, archived as .partial (of a server that is
// gone: salvaged). A server never asks for one; who lays the plan puts it into pg_wal under the
// segment's own name, where recovery finds it when the archive has no more.
struct WalTail {
  pg::SegmentName segment;
  Bytes16 partial;
  repo::WalSegmentInfo info;
};

struct AbandonedBranch {
  pg::TimelineId timeline;
  pg::Lsn forked_at;  // where it and the plan's path part
  std::optional<Time> last_commit;
  std::optional<Time> last_commit_meant;  // to a time: the last up to there
};

// A database or a tablespace that recovery would leave in the catalogue and take away: it stops
// between what does the one and what does the other (pg/removal_record.h).
struct HalfRemoval {
  bool is_tablespace = false;
  uint32_t oid = 0;
  std::string name = {};               // of a database; empty: not known
  std::optional<pg::Lsn> marked = {};  // from there on nobody can connect to it
  std::optional<pg::Lsn> gone = {};    // from there on its files are
  // Transactions that are kept committed behind it.
  bool is_marked_before_commits = false;
  bool is_gone_before_commits = false;
};

struct Plan {
  repo::Backup backup;
  std::string why_this_backup;  // a sentence
  Target target;  // as it will be carried out; kTime after the last commit becomes kLatest
  bool ran_to_the_end = false;   // the target lay after the last commit: recovery goes to the end
  pg::TimelineId timeline;       // the decimal recovery_target_timeline
  std::vector<WalRange> ranges;  // in order of replay
  std::optional<WalTail> tail;   // behind them
  std::vector<WalRange>
      absent;             // holes behind the target, which do not matter to it: as far as seen
  uint64_t segments = 0;  // the tail included
  uint64_t stored_wal_bytes = 0;
  pg::Lsn end_lsn;  // where the archived WAL of this path ends, or where the target lies if that is
                    // known
  // kLatest: the start of the last complete record that is replayed; nullopt: none is known.
  std::optional<pg::Lsn> last_record;
  std::optional<Time> last_commit;  // the latest commit that recovery will reach as far as is known
  repo::ParameterFloors floors;     // from the backup and the WAL up to the end
  std::vector<repo::WalTablespace> tablespaces_created;  // by WAL to be replayed
  // The id that the server takes when it is promoted. Where `lost_history_of` is set it cannot:
  // files of that timeline or a later one are archived and its history is not, so wal get does not
  // say that the id is free, and the server ends.
  pg::TimelineId next_timeline;
  std::optional<pg::TimelineId> lost_history_of;
  std::vector<HalfRemoval> half_removals;  // oldest first
  std::vector<AbandonedBranch> abandoned;  // with commits later than this path's fork from them
  std::vector<std::string> notes;          // for the operator
  std::vector<std::string> warnings;       // the same, of what may not be what was meant
};

// What the archive does not tell the server that still runs may: whether it ended a transaction at
// or before `time` (exclusive: before it) behind `archived_to`.
struct TimeQuestion {
  pg::TimelineId timeline;
  pg::Lsn archived_to;
  Time time;
  bool exclusive = false;
  std::optional<Time> seen = {};  // an archived one, which is as late or later
};
struct TimeAnswer {
  enum class Says : uint8_t {
    kNothing,
    kReached,     // it proves that it has not, and the time is past
    kNotReached,  // it has, or by its own clock what was seen is yet to come
    kFuture,      // the time is not past, by its clock
  };
  Says says = Says::kNothing;
  std::string told;  // a sentence
};
using AskServer = std::function<TimeAnswer(const TimeQuestion&)>;

// Throws kTargetUnreachable (with the commands that reach what is nearest; each was planned first;
// also where WAL or a history on the way is missing, naming the first missing segment), kNotFound
// (no backup, no such backup), kUsage (`exclusive` with a target that has no such side), kCorrupt
// (segments that do not join; two histories that contradict each other on the way). `ask_server`
// may be empty: there is none.
Plan make_plan(const repo::Repository& repository, const repo::Lineage& lineage,
               const Target& target, const AskServer& ask_server = {});

// When a recovery ends the server takes the first id behind its timeline whose history file is not
// in the archive (xlogrecovery.c, findNewestTimeLine, PostgreSQL 13 to 19). Where files of that
// timeline or of a later one are archived its history is lost: then it cannot be promoted.
struct NextTimeline {
  pg::TimelineId timeline;
  std::optional<pg::TimelineId> lost_history_of;
};
NextTimeline find_next_timeline(const repo::WalArchive& archive, pg::TimelineId timeline);

// What can be done where that segment cannot be read, for a hint: with the command that recovers up
// to before it, where there is one.
std::string way_before(const repo::Repository& repository, const repo::Lineage& lineage,
                       const Target& target, pg::SegmentName damaged);

// The end of the archived WAL of a timeline: its last complete record, and the segment in which
// what is archived ends.
struct ArchiveEnd {
  pg::Lsn record;
  std::string segment;
  uint64_t segment_number = 0;
  std::vector<repo::WalTablespace> created = {};  // behind `known`: no plan has looked at them
  std::optional<repo::OwnWal> wal = {};           // what it ends in; nullopt: as it was
};
// Looks from the segment of `known`, a record that was found to be the last, on: segments may have
// been archived since. `with_tail`: an unfinished one counts, for it was laid. The end stays where
// it was when it would lie between a removal of files and the end of its transaction now.
ArchiveEnd find_archive_end(const repo::WalArchive& archive, pg::TimelineId timeline, pg::Lsn known,
                            bool with_tail);

// What is archived under the name of the last segment of the plan; nullopt where it cannot be read.
std::optional<repo::OwnWal> last_wal_of(const repo::WalArchive& archive, const Plan& plan);

// The segment in which the target lies, for `wal get --until`; empty for kLatest, where a segment
// that is not there would be taken for the end.
std::string target_segment(const Plan& plan);
// A `wal get` command line with --until; the same one for an empty `segment`.
std::string restore_command_until(const std::string& restore_command, const std::string& segment);

// The settings that make PostgreSQL carry it out, in order, values unquoted: restore_command, every
// recovery_target* (those not used as empty text, so that a stale one in the configuration does not
// count), recovery_target_timeline, recovery_target_action. Parameter floors are the restoring
// room's business. A server that reaches the end of WAL without a target promotes whatever the
// action; so for kLatest with another action the last record becomes its target. REQUIRES:
// restore_command is not empty.
std::vector<std::pair<std::string, std::string>> recovery_settings(
    const Plan& plan, const std::string& restore_command, TargetAction action);

}  // namespace holdfast::recovery
