// recovery_log.h: the server's log lines during recovery, as events; and what to do about each way
// to fail.
//
// Pure: lines in, events out. Knows the wordings of 13 to 19 and the padded LSNs of 19, whatever
// log_line_prefix stands in front; matches loosely (quotes and what follows the known words do not
// matter). The messages must be English: servers that we start run with lc_messages=C.
//
// Facts: xlog.c, xlogrecovery.c, xlogarchive.c, postmaster.c, PostgreSQL 13 to 19.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "pg/lsn.h"

namespace holdfast::cluster {

enum class LogLevel : uint8_t { kDebug, kInfo, kNotice, kWarning, kError, kLog, kFatal, kPanic };

// In the order in which a recovery passes through them.
enum class RecoveryEventKind : uint8_t {
  kPreviousState,          // "database system was interrupted ..."; time
  kArchiveRecoveryStarts,  // without a target
  kTargetRecoveryStarts,   // "starting point-in-time recovery to ..."; name is the target as the
                           // server prints it
  kStandbyStarts,
  kBackupRecoveryStarts,  // lsn is the redo position, second_lsn the checkpoint's, timeline
                          // (15.6, 16.2 and later)
  kRestoredFile,          // name is the file's
  kRedoStarts,            // lsn
  kRedoProgress,          // lsn   (15 and later, every log_startup_progress_interval)
  kRedoNotRequired,
  kHousekeeping,  // syncs the data directory, resets unlogged relations (15 and later, as redo)
  kBackupRecoveryCompleted,  // lsn is the redo position, second_lsn the backup's end
  kConsistent,               // lsn
  kReadOnlyReady,            // accepts read-only connections
  kStopping,                 // at the target; xid, time, name or lsn as the target has
  kPausedAtTarget,           // waits for pg_wal_replay_resume()
  kPaused,
  kShutdownAtTarget,
  kRedoDone,         // lsn
  kLastTransaction,  // time of the last commit or abort that was replayed
  kNewTimeline,      // timeline
  kArchiveRecoveryComplete,
  kReady,  // accepts connections
  kPromoteRequested,
  kStreaming,        // lsn, timeline
  kStreamingFailed,  // the receiver gave up; the server tries again
  kWaitingForWal,    // lsn
  kEndOfWal,         // a notice that WAL ends here; normal at the true end
  kStopRequested,
  kStartupProcessEnded,  // the process that recovers died
  kShutDown,             // "database system is shut down": the last line
  kFailure,              // see failure
};

// What failed, one for each piece of advice.
enum class RecoveryFailure : uint8_t {
  kNone,
  kNoRestoreCommand,
  kTimelineMissing,  // the target timeline's history is not in the archive
  kNotOnTimeline,    // the backup lies behind the fork
  kStartWalMissing,  // the checkpoint or redo position of the backup's start is not in the archive
  kNoValidCheckpoint,  // no backup_label, and no WAL either
  kWrongWal,           // WAL that does not continue this cluster's
  kBackupEndMissing,   // WAL ends before the backup does
  kTargetNotReached,
  kTargetTooEarly,
  kLabelDoesNotMatch,  // backup_label and pg_control are not of one backup
  kInvalidLabel,
  kIncrementalNotCombined,
  kBackupCancelled,
  kSettingsTooLow,  // max_connections and its like
  kMinimalWal,
  kForeignWal,  // of another database system
  kWrongFileSize,
  kRestoreCommandFailed,  // above 125, or a signal: on purpose, see wal get
  kDamagedControlFile,
  kWrongProgram,  // built for another version or with other sizes
  kInvalidPages,
  kMixedTimelines,
  kRecoveryConf,
  kSeveralTargets,
  kTablespaceDirectory,
  kPermissions,    // of the data directory
  kAnotherServer,  // a lock file, a port or socket in use
  kNoSpace,
  kSharedMemory,  // the host gives none
  kInvalidConfiguration,
  kOther,  // a FATAL or PANIC that has no row
};

struct RecoveryEvent {
  RecoveryEventKind kind = RecoveryEventKind::kFailure;
  LogLevel level = LogLevel::kLog;
  RecoveryFailure failure = RecoveryFailure::kNone;
  std::string message = {};  // behind the level, as printed
  std::string detail = {};   // of a failure, where the server gave one
  std::string hint = {};
  pg::Lsn lsn = {};
  pg::Lsn second_lsn = {};
  pg::TimelineId timeline = {};
  std::optional<uint32_t> xid = {};
  std::string name = {};
  std::string time = {};  // as printed: in the server's log_timezone
};

struct LogLine {
  LogLevel level;
  std::string_view message;
};
// What stands behind "LOG:  " and its like; nullopt for a continuation (DETAIL, HINT, CONTEXT,
// STATEMENT, a wrapped line) or any other text.
std::optional<LogLine> split_log_line(std::string_view line);

// Makes events of lines. Keeps a failure back until the line that follows its DETAIL and HINT.
class RecoveryLogParser {
 public:
  RecoveryLogParser() = default;
  RecoveryLogParser(const RecoveryLogParser&) = delete;
  RecoveryLogParser& operator=(const RecoveryLogParser&) = delete;

  // One line, without its newline. Returns the failure that this line closes and the event that it
  // is itself, where there are such.
  std::vector<RecoveryEvent> feed(std::string_view line);
  // The failure that was kept back; to be asked for when the log ends or no line came for a while.
  std::optional<RecoveryEvent> flush();

 private:
  void continue_failure(RecoveryEvent& failure, std::string_view line);

  std::optional<RecoveryEvent> pending_;  // a failure that may get a DETAIL
  std::string* continued_ = nullptr;      // the part of pending_ to which a wrapped line belongs
  // What a server that starts says of its settings, before it gives up because of them.
  std::string settings_words_;
};

// In Holdfast's words: what a failure means, and what to do.
struct Advice {
  RecoveryFailure failure;
  std::string_view name;  // "target_not_reached": in JSON and documents
  std::string_view meaning;
  std::string_view action;
  bool can_resume = false;  // the directory is unharmed: with the cause mended recovery goes on
};
const Advice& advice(RecoveryFailure failure);

}  // namespace holdfast::cluster
