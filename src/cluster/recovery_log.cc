// Two tables of wordings, in a small language: literal text with fields in it.
//
//   %L  an LSN: lsn, and the second time second_lsn        %T  a timeline id
//   %X  a transaction id                                   %F  a word: name
//   %N  any text up to the next literal: name              %t  the same: time
//   %*  any text up to the next literal, not kept
//
// A pattern must match from the start of the message; what follows it does not matter. Double
// quotes are dropped from the message before, for 17 put settings' names into quotes.
#include "cluster/recovery_log.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <iterator>
#include <utility>

#include <fmt/format.h>

#include "base/error.h"

namespace holdfast::cluster {
namespace {

struct EventPattern {
  std::string_view text;
  RecoveryEventKind kind;
};

constexpr EventPattern kEvents[] = {
    {"database system was interrupted; last known up at %t", RecoveryEventKind::kPreviousState},
    {"database system was interrupted while in recovery at log time %t",
     RecoveryEventKind::kPreviousState},
    {"database system was interrupted while in recovery at %t", RecoveryEventKind::kPreviousState},
    {"database system was shut down in recovery at %t", RecoveryEventKind::kPreviousState},
    {"database system was shut down at %t", RecoveryEventKind::kPreviousState},
    {"database system shutdown was interrupted; last known up at %t",
     RecoveryEventKind::kPreviousState},
    {"starting archive recovery", RecoveryEventKind::kArchiveRecoveryStarts},
    {"starting point-in-time recovery to %N", RecoveryEventKind::kTargetRecoveryStarts},
    {"entering standby mode", RecoveryEventKind::kStandbyStarts},
    {"starting backup recovery with redo LSN %L, checkpoint LSN %L, on timeline ID %T",
     RecoveryEventKind::kBackupRecoveryStarts},
    {"restarting backup recovery with redo LSN %L", RecoveryEventKind::kBackupRecoveryStarts},
    {"restored log file %F from archive", RecoveryEventKind::kRestoredFile},
    {"redo starts at %L", RecoveryEventKind::kRedoStarts},
    {"redo in progress, elapsed time: %* s, current LSN: %L", RecoveryEventKind::kRedoProgress},
    {"redo is not required", RecoveryEventKind::kRedoNotRequired},
    {"syncing data directory (", RecoveryEventKind::kHousekeeping},
    {"resetting unlogged relations (", RecoveryEventKind::kHousekeeping},
    {"completed backup recovery with redo LSN %L and end LSN %L",
     RecoveryEventKind::kBackupRecoveryCompleted},
    {"consistent recovery state reached at %L", RecoveryEventKind::kConsistent},
    {"database system is ready to accept read only connections", RecoveryEventKind::kReadOnlyReady},
    {"database system is ready to accept read-only connections", RecoveryEventKind::kReadOnlyReady},
    {"recovery stopping after commit of transaction %X, time %t", RecoveryEventKind::kStopping},
    {"recovery stopping before commit of transaction %X, time %t", RecoveryEventKind::kStopping},
    {"recovery stopping after abort of transaction %X, time %t", RecoveryEventKind::kStopping},
    {"recovery stopping before abort of transaction %X, time %t", RecoveryEventKind::kStopping},
    {"recovery stopping at restore point %N, time %t", RecoveryEventKind::kStopping},
    {"recovery stopping before WAL location (LSN) %L", RecoveryEventKind::kStopping},
    {"recovery stopping after WAL location (LSN) %L", RecoveryEventKind::kStopping},
    {"recovery stopping after reaching consistency", RecoveryEventKind::kStopping},
    {"pausing at the end of recovery", RecoveryEventKind::kPausedAtTarget},
    {"recovery has paused", RecoveryEventKind::kPaused},
    {"shutdown at recovery target", RecoveryEventKind::kShutdownAtTarget},
    {"redo done at %L", RecoveryEventKind::kRedoDone},
    {"last completed transaction was at log time %t", RecoveryEventKind::kLastTransaction},
    {"selected new timeline ID: %T", RecoveryEventKind::kNewTimeline},
    {"archive recovery complete", RecoveryEventKind::kArchiveRecoveryComplete},
    {"database system is ready to accept connections", RecoveryEventKind::kReady},
    {"received promote request", RecoveryEventKind::kPromoteRequested},
    {"started streaming WAL from primary at %L on timeline %T", RecoveryEventKind::kStreaming},
    {"restarted WAL streaming at %L on timeline %T", RecoveryEventKind::kStreaming},
    {"waiting for WAL to become available at %L", RecoveryEventKind::kWaitingForWal},
    {"invalid record length at %L", RecoveryEventKind::kEndOfWal},
    {"invalid record offset at %L", RecoveryEventKind::kEndOfWal},
    {"invalid magic number", RecoveryEventKind::kEndOfWal},
    {"unexpected pageaddr", RecoveryEventKind::kEndOfWal},
    {"record with incorrect prev-link", RecoveryEventKind::kEndOfWal},
    {"incorrect resource manager data checksum in record at %L", RecoveryEventKind::kEndOfWal},
    {"invalid resource manager ID", RecoveryEventKind::kEndOfWal},
    {"invalid info bits", RecoveryEventKind::kEndOfWal},
    {"invalid contrecord length", RecoveryEventKind::kEndOfWal},
    {"there is no contrecord flag at %L", RecoveryEventKind::kEndOfWal},
    {"contrecord is requested by %L", RecoveryEventKind::kEndOfWal},
    {"out-of-sequence timeline ID", RecoveryEventKind::kEndOfWal},
    {"invalid checkpoint record", RecoveryEventKind::kEndOfWal},
    {"invalid primary checkpoint record", RecoveryEventKind::kEndOfWal},
    {"received smart shutdown request", RecoveryEventKind::kStopRequested},
    {"received fast shutdown request", RecoveryEventKind::kStopRequested},
    {"received immediate shutdown request", RecoveryEventKind::kStopRequested},
    {"startup process (PID %*) exited with exit code", RecoveryEventKind::kStartupProcessEnded},
    {"startup process (PID %*) was terminated by signal", RecoveryEventKind::kStartupProcessEnded},
    {"database system is shut down", RecoveryEventKind::kShutDown},
    {"could not connect to the primary server", RecoveryEventKind::kStreamingFailed},
    {"could not receive data from WAL stream", RecoveryEventKind::kStreamingFailed},
    {"could not receive database system identifier", RecoveryEventKind::kStreamingFailed},
    {"could not start WAL streaming", RecoveryEventKind::kStreamingFailed},
    {"terminating walreceiver", RecoveryEventKind::kStreamingFailed},
    {"requested WAL segment %F has already been removed", RecoveryEventKind::kStreamingFailed},
};

struct FailurePattern {
  std::string_view text;
  RecoveryFailure failure;
  LogLevel at_least = LogLevel::kFatal;  // some fail the recovery by a lower level
};

constexpr FailurePattern kFailures[] = {
    {"must specify restore_command when standby mode is not enabled",
     RecoveryFailure::kNoRestoreCommand},
    {"recovery target timeline %T does not exist", RecoveryFailure::kTimelineMissing},
    {"requested timeline %T is not a child of this server's history",
     RecoveryFailure::kNotOnTimeline},
    {"requested timeline %T does not contain minimum recovery point %L",
     RecoveryFailure::kNotOnTimeline},
    {"could not locate required checkpoint record", RecoveryFailure::kStartWalMissing},
    {"could not find redo location", RecoveryFailure::kStartWalMissing},
    {"could not locate a valid checkpoint record", RecoveryFailure::kNoValidCheckpoint},
    {"unexpected record type found at redo point %L", RecoveryFailure::kWrongWal},
    {"invalid redo in checkpoint record", RecoveryFailure::kWrongWal},
    {"invalid next transaction ID", RecoveryFailure::kWrongWal},
    {"WAL ends before end of online backup", RecoveryFailure::kBackupEndMissing},
    {"WAL ends before consistent recovery point", RecoveryFailure::kBackupEndMissing},
    {"recovery ended before configured recovery target was reached",
     RecoveryFailure::kTargetNotReached},
    {"requested recovery stop point is before consistent recovery point",
     RecoveryFailure::kTargetTooEarly},
    {"backup_label contains data inconsistent with control file",
     RecoveryFailure::kLabelDoesNotMatch},
    {"invalid data in file backup_label", RecoveryFailure::kInvalidLabel},
    {"invalid data in file tablespace_map", RecoveryFailure::kInvalidLabel},
    {"this is an incremental backup, not a data directory",
     RecoveryFailure::kIncrementalNotCombined},
    {"online backup was canceled, recovery cannot continue", RecoveryFailure::kBackupCancelled},
    {"hot standby is not possible because %* is a lower setting than",
     RecoveryFailure::kSettingsTooLow},
    {"hot standby is not possible because of insufficient parameter settings",
     RecoveryFailure::kSettingsTooLow, LogLevel::kWarning},
    {"promotion is not possible because of insufficient parameter settings",
     RecoveryFailure::kSettingsTooLow, LogLevel::kWarning},
    {"recovery aborted because of insufficient parameter settings",
     RecoveryFailure::kSettingsTooLow},
    {"hot standby is not possible because wal_level was not set to", RecoveryFailure::kMinimalWal},
    {"WAL was generated with wal_level=minimal", RecoveryFailure::kMinimalWal, LogLevel::kWarning},
    {"WAL file is from different database system", RecoveryFailure::kForeignWal, LogLevel::kLog},
    {"archive file %F has wrong size", RecoveryFailure::kWrongFileSize},
    {"could not restore file %F from archive", RecoveryFailure::kRestoreCommandFailed},
    {"incorrect checksum in control file", RecoveryFailure::kDamagedControlFile},
    {"could not open file %*global/pg_control", RecoveryFailure::kDamagedControlFile},
    {"control file contains invalid", RecoveryFailure::kDamagedControlFile},
    {"database files are incompatible with", RecoveryFailure::kWrongProgram},
    {"invalid WAL segment size in control file", RecoveryFailure::kDamagedControlFile},
    {"WAL contains references to invalid pages", RecoveryFailure::kInvalidPages},
    {"unexpected timeline ID %T", RecoveryFailure::kMixedTimelines},
    {"unexpected previous timeline ID %T", RecoveryFailure::kMixedTimelines},
    {"using recovery command file recovery.conf is not supported", RecoveryFailure::kRecoveryConf},
    {"multiple recovery targets specified", RecoveryFailure::kSeveralTargets},
    {"cannot specify more than one recovery target", RecoveryFailure::kSeveralTargets},
    {"directory %* specified for tablespace", RecoveryFailure::kTablespaceDirectory},
    {"directory %* does not exist", RecoveryFailure::kTablespaceDirectory},
    {"could not create symbolic link", RecoveryFailure::kTablespaceDirectory},
    {"data directory %* has invalid permissions", RecoveryFailure::kPermissions},
    {"data directory %* has wrong ownership", RecoveryFailure::kPermissions},
    {"could not access directory", RecoveryFailure::kPermissions},
    {"lock file %* already exists", RecoveryFailure::kAnotherServer},
    {"lock file %* is empty", RecoveryFailure::kAnotherServer},
    {"pre-existing shared memory block", RecoveryFailure::kAnotherServer},
    {"could not create any TCP/IP sockets", RecoveryFailure::kAnotherServer},
    {"could not create any Unix-domain sockets", RecoveryFailure::kAnotherServer},
    {"could not write to file %*: No space left on device", RecoveryFailure::kNoSpace},
    {"could not write to %*: No space left on device", RecoveryFailure::kNoSpace},
    {"could not extend file %*: No space left on device", RecoveryFailure::kNoSpace},
    {"could not write block %*: No space left on device", RecoveryFailure::kNoSpace},
    {"could not create file %*: No space left on device", RecoveryFailure::kNoSpace},
    // What the system has taken of a write, where it took some (mdextend, mdwritev, md.c).
    {"could not extend file %*: wrote only", RecoveryFailure::kNoSpace},
    {"could not write block %*: wrote only", RecoveryFailure::kNoSpace},
    {"could not write blocks %*: wrote only", RecoveryFailure::kNoSpace},
    // By "holdfast wal get", whose exit then ends the server.
    {"could not write %*RECOVERYXLOG%*: No space left on device", RecoveryFailure::kNoSpace,
     LogLevel::kError},
    {"could not create shared memory segment", RecoveryFailure::kSharedMemory},
    {"could not map anonymous shared memory", RecoveryFailure::kSharedMemory},
    {"configuration file %* contains errors", RecoveryFailure::kInvalidConfiguration},
    {"unrecognized configuration parameter", RecoveryFailure::kInvalidConfiguration},
    {"invalid value for parameter", RecoveryFailure::kInvalidConfiguration},
    {"parameter %* cannot be", RecoveryFailure::kInvalidConfiguration},
    {"could not load", RecoveryFailure::kInvalidConfiguration},
    {"could not access file",
     RecoveryFailure::kInvalidConfiguration},  // of shared_preload_libraries
};

// FATALs by which a session ends, not the server.
constexpr std::string_view kSessionEnds[] = {
    "the database system is ",
    "terminating connection",
    "terminating background worker",
    "terminating autovacuum",
    "terminating logical replication",
    "connection to client lost",
    "sorry, too many clients",
    "remaining connection slots",
    "no pg_hba.conf entry",
    "pg_hba.conf rejects",
    "password authentication failed",
    "Peer authentication failed",
    "Ident authentication failed",
    "canceling authentication",
    "unsupported frontend protocol",
    "invalid length of startup packet",
    "role ",
    "database ",
};

struct LevelName {
  std::string_view name;
  LogLevel level;
};
constexpr LevelName kLevels[] = {
    {"LOG:  ", LogLevel::kLog},      {"FATAL:  ", LogLevel::kFatal},
    {"PANIC:  ", LogLevel::kPanic},  {"WARNING:  ", LogLevel::kWarning},
    {"ERROR:  ", LogLevel::kError},  {"NOTICE:  ", LogLevel::kNotice},
    {"INFO:  ", LogLevel::kInfo},    {"DEBUG:  ", LogLevel::kDebug},
    {"DEBUG1:  ", LogLevel::kDebug}, {"DEBUG2:  ", LogLevel::kDebug},
    {"DEBUG3:  ", LogLevel::kDebug}, {"DEBUG4:  ", LogLevel::kDebug},
    {"DEBUG5:  ", LogLevel::kDebug},
};
constexpr std::string_view kDetail = "DETAIL:  ";
constexpr std::string_view kHint = "HINT:  ";
constexpr std::string_view kOtherParts[] = {
    "CONTEXT:  ", "STATEMENT:  ", "QUERY:  ", "LOCATION:  ", "BACKTRACE:  "};

constexpr size_t kMaxPartBytes = 8192;  // of a DETAIL or HINT that goes on and on

// Where `word` begins a part of the line: at its start or behind something that is no letter.
size_t find_part(std::string_view line, std::string_view word) {
  for (size_t at = line.find(word); at != std::string_view::npos; at = line.find(word, at + 1)) {
    char before = at == 0 ? ' ' : line[at - 1];
    bool is_letter = (before >= 'A' && before <= 'Z') || (before >= 'a' && before <= 'z');
    if (!is_letter) return at;
  }
  return std::string_view::npos;
}

// log_error_verbosity=verbose puts the SQLSTATE first: "00000: starting archive recovery".
std::string_view without_sqlstate(std::string_view message) {
  if (message.size() < 7 || message.substr(5, 2) != ": ") return message;
  bool is_state = std::ranges::all_of(message.substr(0, 5), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z');
  });
  return is_state ? message.substr(7) : message;
}

template <typename T>
std::optional<T> leading_number(std::string_view& text) {
  T value{};
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end == text.data()) return std::nullopt;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return value;
}

// At most 8 hexadecimal digits, a slash and as many again.
std::optional<pg::Lsn> leading_lsn(std::string_view& text) {
  constexpr std::string_view kDigits = "0123456789ABCDEFabcdef";
  size_t slash = text.find_first_not_of(kDigits);
  if (slash == 0 || slash > 8 || slash == std::string_view::npos || text[slash] != '/')
    return std::nullopt;
  size_t end = std::min(text.find_first_not_of(kDigits, slash + 1), text.size());
  if (end == slash + 1 || end - slash - 1 > 8) return std::nullopt;
  pg::Lsn lsn = pg::parse_lsn(text.substr(0, end));
  text.remove_prefix(end);
  return lsn;
}

// The text up to where the pattern's next literal begins, or all of it.
std::string_view take_until(std::string_view& text, std::string_view rest_of_pattern) {
  std::string_view literal = rest_of_pattern.substr(0, rest_of_pattern.find('%'));
  // A name may hold the literal itself; behind the last one stands what follows it.
  size_t end = literal.empty() ? text.size() : text.rfind(literal);
  if (end == std::string_view::npos) end = text.size();
  std::string_view taken = text.substr(0, end);
  text.remove_prefix(end);
  return taken;
}

// Reads one field into the event; false when the text has no such field.
bool match_field(char field, std::string_view rest_of_pattern, std::string_view& text,
                 RecoveryEvent& event) {
  switch (field) {
    case 'L': {
      std::optional<pg::Lsn> lsn = leading_lsn(text);
      if (!lsn) return false;
      (event.lsn.is_valid() ? event.second_lsn : event.lsn) = *lsn;
      return true;
    }
    case 'T': {
      std::optional<uint32_t> number = leading_number<uint32_t>(text);
      if (!number) return false;
      event.timeline = {*number};
      return true;
    }
    case 'X': {
      event.xid = leading_number<uint32_t>(text);
      return event.xid.has_value();
    }
    case 'F': {
      size_t end = std::min(text.find_first_of(" ,:"), text.size());
      event.name = std::string(text.substr(0, end));
      text.remove_prefix(end);
      return !event.name.empty();
    }
    case 'N':
      event.name = std::string(take_until(text, rest_of_pattern));
      return true;
    case 't':
      event.time = std::string(take_until(text, rest_of_pattern));
      return true;
    default:
      HF_CHECK(field == '*');
      take_until(text, rest_of_pattern);
      return true;
  }
}

bool match(std::string_view pattern, std::string_view text, RecoveryEvent& event) {
  while (!pattern.empty()) {
    if (pattern.front() == '%') {
      char field = pattern[1];
      pattern.remove_prefix(2);
      if (!match_field(field, pattern, text, event)) return false;
      continue;
    }
    std::string_view literal = pattern.substr(0, pattern.find('%'));
    if (!text.starts_with(literal)) return false;
    text.remove_prefix(literal.size());
    pattern.remove_prefix(literal.size());
  }
  return true;
}

// guc-file.l and guc.c, PostgreSQL 13 to 18.
bool is_about_settings(std::string_view message) {
  constexpr std::array<std::string_view, 5> kWords = {
      "invalid value for parameter", "unrecognized configuration parameter", "syntax error in file",
      "could not open configuration", "is outside the valid range"};
  return std::ranges::any_of(kWords, [&](std::string_view words) {
    return message.find(words) != std::string_view::npos;
  });
}

// Nothing for a line of which recovery need not know.
std::optional<RecoveryEvent> event_of(const LogLine& line) {
  std::string text(line.message);
  std::erase(text, '"');
  for (const FailurePattern& row : kFailures) {
    RecoveryEvent event{
        .kind = RecoveryEventKind::kFailure, .level = line.level, .failure = row.failure};
    if (!match(row.text, text, event)) continue;
    // A lower level than the table's is a report about something else, for instance a setting that
    // was refused on reload.
    if (line.level < row.at_least) continue;
    event.message = std::string(line.message);
    return event;
  }
  for (const EventPattern& row : kEvents) {
    RecoveryEvent event{.kind = row.kind, .level = line.level};
    if (!match(row.text, text, event)) continue;
    event.message = std::string(line.message);
    return event;
  }
  if (line.level < LogLevel::kFatal) return std::nullopt;
  if (std::ranges::any_of(kSessionEnds,
                          [&](std::string_view start) { return text.starts_with(start); }))
    return std::nullopt;
  return RecoveryEvent{.kind = RecoveryEventKind::kFailure,
                       .level = line.level,
                       .failure = RecoveryFailure::kOther,
                       .message = std::string(line.message)};
}

constexpr Advice kAdvice[] = {
    {RecoveryFailure::kNone, "none", "", ""},
    {RecoveryFailure::kNoRestoreCommand, "no_restore_command",
     "The server does not know where archived WAL is.",
     "Set restore_command = 'holdfast wal get %f \"%p\"' in postgresql.auto.conf, or let "
     "\"holdfast restore\" write it.",
     true},
    {RecoveryFailure::kTimelineMissing, "timeline_missing",
     "The history file of the wanted timeline is not in the archive.",
     "Choose a timeline that \"holdfast wal list\" shows. PostgreSQL reads a number with a leading "
     "zero as octal: write it plainly."},
    {RecoveryFailure::kNotOnTimeline, "not_on_timeline",
     "The backup was taken behind the point where the wanted timeline left its parent, so it is no "
     "ancestor of the target.",
     "Restore an older backup (--backup), or the timeline of this one (--timeline)."},
    {RecoveryFailure::kStartWalMissing, "start_wal_missing",
     "The WAL in which the backup began could not be fetched, so the server does not know where to "
     "start.",
     "See the missing segments with \"holdfast wal list\". If restore_command failed, its message "
     "stands above in the log. Do not remove "
     "backup_label: the cluster would start and be corrupt.",
     true},
    {RecoveryFailure::kNoValidCheckpoint, "no_valid_checkpoint",
     "There is neither a backup_label that says where to start nor the WAL that pg_control points "
     "to.",
     "The data directory is not a complete restore. Restore again with \"holdfast restore\"; do "
     "not use pg_resetwal."},
    {RecoveryFailure::kWrongWal, "wrong_wal", "The WAL found does not belong to this backup.",
     "Check that restore_command reads this cluster's archive, empty pg_wal, and restore again."},
    {RecoveryFailure::kBackupEndMissing, "backup_end_missing",
     "The archive stops before the end of the backup: its files do not fit together until that WAL "
     "is replayed.",
     "See the missing segments with \"holdfast wal list\". If the old server's pg_wal still "
     "exists, \"holdfast wal salvage\" takes what it "
     "holds. Otherwise restore an older backup.",
     true},
    {RecoveryFailure::kTargetNotReached, "target_not_reached",
     "All WAL that could be fetched was replayed, and the recovery target was not in it.",
     "Restore without a target to reach the last transaction there is, or to an earlier target. "
     "\"holdfast wal list\" shows how far the "
     "archive goes and whether a segment is missing."},
    {RecoveryFailure::kTargetTooEarly, "target_too_early",
     "The target lies before the end of the backup, which no recovery can undo.",
     "Restore a backup that ended before the target (--backup; \"holdfast backup list\" shows when "
     "each did)."},
    {RecoveryFailure::kLabelDoesNotMatch, "label_does_not_match",
     "backup_label and pg_control are not those of one backup.",
     "Restore the backup again, whole, into an empty directory."},
    {RecoveryFailure::kInvalidLabel, "invalid_label",
     "backup_label or tablespace_map was changed after the backup.",
     "Restore the backup again; these files must keep every byte, their line ends too."},
    {RecoveryFailure::kIncrementalNotCombined, "incremental_not_combined",
     "The data directory holds an incremental backup of pg_basebackup, of which most is in its "
     "predecessors.",
     "Combine it with them by pg_combinebackup first. A backup of Holdfast's never needs that."},
    {RecoveryFailure::kBackupCancelled, "backup_cancelled",
     "The backup was cancelled on the server before it was complete.", "Restore another backup."},
    {RecoveryFailure::kSettingsTooLow, "settings_too_low",
     "A setting that sizes shared memory is lower than it was on the server that wrote the WAL.",
     "Raise the setting that the detail names (max_connections, max_worker_processes, "
     "max_wal_senders, max_prepared_transactions, "
     "max_locks_per_transaction) to that value in postgresql.conf; the data is unharmed.",
     true},
    {RecoveryFailure::kMinimalWal, "minimal_wal",
     "The server ran with wal_level = minimal for a while: the WAL does not tell all that was "
     "done.",
     "Restore to a target before that, or restore a backup taken after wal_level was set to "
     "replica."},
    {RecoveryFailure::kForeignWal, "foreign_wal", "A WAL file of another cluster was found.",
     "Check that restore_command reads this cluster's archive, and empty pg_wal of files that came "
     "from elsewhere.",
     true},
    {RecoveryFailure::kWrongFileSize, "wrong_file_size",
     "restore_command delivered a WAL file that is not as long as a segment.",
     "Check the archive with \"holdfast verify\". A command that is not Holdfast's must deliver a "
     "whole file or none.",
     true},
    {RecoveryFailure::kRestoreCommandFailed, "restore_command_failed",
     "restore_command stopped the recovery on purpose: the archive could not be read, and to go on "
     "could have lost transactions.",
     "The command's own message stands above in the log. Repair the cause (repository reachable, "
     "key readable, no damage).",
     true},
    {RecoveryFailure::kDamagedControlFile, "damaged_control_file",
     "global/pg_control is missing or damaged.",
     "The restore was not finished, or the disk is at fault. Restore again."},
    {RecoveryFailure::kWrongProgram, "wrong_program",
     "This PostgreSQL program cannot read these files: another version, or built otherwise.",
     "Start the cluster with the major version that made it; bindir in the configuration names its "
     "directory.",
     true},
    {RecoveryFailure::kInvalidPages, "invalid_pages",
     "WAL changes pages that the data files do not have.",
     "A file of the backup is missing or old. Check the backup with \"holdfast verify --deep\" and "
     "restore another one. "
     "ignore_invalid_pages loses data and is the last resort."},
    {RecoveryFailure::kMixedTimelines, "mixed_timelines",
     "WAL of different timelines was mixed under the same names.",
     "Empty pg_wal, and see with \"holdfast wal list\" which timelines the archive has; choose one "
     "by --timeline."},
    {RecoveryFailure::kRecoveryConf, "recovery_conf",
     "A recovery.conf is there, which no server since 12 reads.",
     "Remove it; its settings belong into postgresql.auto.conf, beside a file recovery.signal.",
     true},
    {RecoveryFailure::kSeveralTargets, "several_targets",
     "More than one recovery_target setting is set.",
     "Keep one of them in postgresql.conf and postgresql.auto.conf; an earlier restore may have "
     "left the other.",
     true},
    {RecoveryFailure::kTablespaceDirectory, "tablespace_directory",
     "The directory of a tablespace is missing, or could not be linked.",
     "Make the directory, owned by the server's user, or restore with --tablespace OLD=NEW.", true},
    {RecoveryFailure::kPermissions, "permissions",
     "The data directory does not belong to the server's user, or others may enter it.",
     "chown -R it to that user and give it mode 0700 or 0750.", true},
    {RecoveryFailure::kAnotherServer, "another_server",
     "Another server holds the data directory, the port or the socket.",
     "Stop it, or start this one with another --port.", true},
    {RecoveryFailure::kNoSpace, "no_space", "The disk is full.",
     "Make room on the file system that the message names, with other files than those in pg_wal.",
     true},
    {RecoveryFailure::kSharedMemory, "shared_memory",
     "The host did not give the server the shared memory that it asked for.",
     "\"No space left on device\" means that the host's segments are all taken: ipcs -m lists "
     "them, and ipcrm -m ID removes one that no process is attached to (nattch 0), left by a "
     "server that was killed. \"Cannot allocate memory\" means that shared_buffers is more than "
     "this host has: "
     "lower it in postgresql.conf, and set huge_pages = try.",
     true},
    {RecoveryFailure::kInvalidConfiguration, "invalid_configuration",
     "The configuration has a setting that this server does not take.",
     "Correct the line that the server names. A library that is missing (shared_preload_libraries) "
     "must be installed on this host.",
     true},
    {RecoveryFailure::kOther, "other", "The server gave up for a reason that has no advice here.",
     "Read the log from the first FATAL or PANIC upwards.", true},
};

constexpr bool advice_is_in_order() {
  for (size_t i = 0; i < std::size(kAdvice); ++i)
    if (static_cast<size_t>(kAdvice[i].failure) != i) return false;
  return std::size(kAdvice) == static_cast<size_t>(RecoveryFailure::kOther) + 1;
}
static_assert(advice_is_in_order());

}  // namespace

std::optional<LogLine> split_log_line(std::string_view line) {
  size_t best = std::string_view::npos;
  LogLine result{};
  for (const LevelName& level : kLevels) {
    size_t at = find_part(line, level.name);
    if (at >= best) continue;
    best = at;
    result = {.level = level.level, .message = line.substr(at + level.name.size())};
  }
  if (best == std::string_view::npos) return std::nullopt;
  for (std::string_view part : kOtherParts)
    if (find_part(line, part) < best) return std::nullopt;
  if (find_part(line, kDetail) < best || find_part(line, kHint) < best) return std::nullopt;
  result.message = without_sqlstate(result.message);
  return result;
}

std::vector<RecoveryEvent> RecoveryLogParser::feed(std::string_view line) {
  std::vector<RecoveryEvent> events;
  std::optional<LogLine> split = split_log_line(line);
  if (!split) {
    if (pending_) continue_failure(*pending_, line);
    return events;
  }
  if (std::optional<RecoveryEvent> closed = flush()) events.push_back(std::move(*closed));
  std::optional<RecoveryEvent> event = event_of(*split);
  if (!event && is_about_settings(split->message) && settings_words_.size() < kMaxPartBytes)
    settings_words_ += fmt::format("{}{}", settings_words_.empty() ? "" : "; ", split->message);
  if (!event) return events;
  if (event->kind != RecoveryEventKind::kFailure) {
    events.push_back(std::move(*event));
    return events;
  }
  pending_ = std::move(event);
  continued_ = &pending_->message;
  if (pending_->failure == RecoveryFailure::kInvalidConfiguration)
    pending_->detail = std::exchange(settings_words_, {});
  return events;
}

// A line without a level, behind a failure: its DETAIL, its HINT, or the rest of one that was
// wrapped.
void RecoveryLogParser::continue_failure(RecoveryEvent& failure, std::string_view line) {
  size_t detail = find_part(line, kDetail);
  size_t hint = find_part(line, kHint);
  if (detail != std::string_view::npos && detail < hint) {
    failure.detail = std::string(without_sqlstate(line.substr(detail + kDetail.size())));
    continued_ = &failure.detail;
  } else if (hint != std::string_view::npos) {
    failure.hint = std::string(line.substr(hint + kHint.size()));
    continued_ = &failure.hint;
  } else if (std::ranges::any_of(kOtherParts, [&](std::string_view part) {
               return find_part(line, part) != std::string_view::npos;
             })) {
    continued_ = nullptr;
  } else if (line.starts_with('\t') && continued_ != nullptr &&
             continued_->size() + line.size() < kMaxPartBytes) {
    *continued_ += ' ';
    *continued_ += line.substr(1);
  }
}

std::optional<RecoveryEvent> RecoveryLogParser::flush() {
  continued_ = nullptr;
  return std::exchange(pending_, std::nullopt);
}

const Advice& advice(RecoveryFailure failure) { return kAdvice[static_cast<size_t>(failure)]; }

}  // namespace holdfast::cluster
