#include "cluster/recovery_log.h"

#include <set>

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace holdfast::cluster {
namespace {

using Kind = RecoveryEventKind;
using Failure = RecoveryFailure;

constexpr std::string_view kPrefix = "2026-11-22 08:22:37.123 UTC [4711] ";

// All events of a log, also the one that its end closes.
std::vector<RecoveryEvent> parse(std::string_view log) {
  RecoveryLogParser parser;
  std::vector<RecoveryEvent> events;
  while (!log.empty()) {
    size_t end = log.find('\n');
    for (RecoveryEvent& event : parser.feed(log.substr(0, end))) events.push_back(std::move(event));
    if (end == std::string_view::npos) break;
    log.remove_prefix(end + 1);
  }
  if (std::optional<RecoveryEvent> event = parser.flush()) events.push_back(std::move(*event));
  return events;
}

struct ProgressCase {
  const char* majors;
  const char* message;
  Kind kind;
  RecoveryEvent expected = {};  // the fields that the line fills
};

TEST(RecoveryLog, ReadsEveryStepInTheWordsOfEveryMajor) {
  const ProgressCase cases[] = {
      {"all",
       "database system was interrupted; last known up at 2026-11-22 08:22:37 UTC",
       Kind::kPreviousState,
       {.time = "2026-11-22 08:22:37 UTC"}},
      {"all",
       "database system was interrupted while in recovery at log time 2026-11-22 08:22:37 UTC",
       Kind::kPreviousState,
       {.time = "2026-11-22 08:22:37 UTC"}},
      {"all",
       "database system was shut down at 2026-11-22 08:22:37 UTC",
       Kind::kPreviousState,
       {.time = "2026-11-22 08:22:37 UTC"}},
      {"all",
       "database system was shut down in recovery at 2026-11-22 08:22:37 UTC",
       Kind::kPreviousState,
       {.time = "2026-11-22 08:22:37 UTC"}},
      {"all", "starting archive recovery", Kind::kArchiveRecoveryStarts},
      {"all",
       "starting point-in-time recovery to 2026-11-22 08:22:39.544793+00",
       Kind::kTargetRecoveryStarts,
       {.name = "2026-11-22 08:22:39.544793+00"}},
      {"all",
       "starting point-in-time recovery to XID 745",
       Kind::kTargetRecoveryStarts,
       {.name = "XID 745"}},
      {"all",
       "starting point-in-time recovery to \"before_release\"",
       Kind::kTargetRecoveryStarts,
       {.name = "before_release"}},
      {"all",
       "starting point-in-time recovery to WAL location (LSN) \"0/5000148\"",
       Kind::kTargetRecoveryStarts,
       {.name = "WAL location (LSN) 0/5000148"}},
      {"all",
       "starting point-in-time recovery to earliest consistent point",
       Kind::kTargetRecoveryStarts,
       {.name = "earliest consistent point"}},
      {"all", "entering standby mode", Kind::kStandbyStarts},
      {"15.6+",
       "starting backup recovery with redo LSN 0/4000060, checkpoint LSN 0/40000B8, on timeline ID "
       "10",
       Kind::kBackupRecoveryStarts,
       {.lsn = {0x4000060}, .second_lsn = {0x40000B8}, .timeline = {10}}},
      {"19",
       "starting backup recovery with redo LSN 0/04000060, checkpoint LSN 0/040000B8, on timeline "
       "ID 1",
       Kind::kBackupRecoveryStarts,
       {.lsn = {0x4000060}, .second_lsn = {0x40000B8}, .timeline = {1}}},
      {"15.6+",
       "restarting backup recovery with redo LSN 16/B374D848",
       Kind::kBackupRecoveryStarts,
       {.lsn = {0x16B374D848}}},
      {"all",
       "restored log file \"000000010000000000000004\" from archive",
       Kind::kRestoredFile,
       {.name = "000000010000000000000004"}},
      {"all",
       "restored log file \"0000000A.history\" from archive",
       Kind::kRestoredFile,
       {.name = "0000000A.history"}},
      {"all", "redo starts at 0/4000060", Kind::kRedoStarts, {.lsn = {0x4000060}}},
      {"15+",
       "redo in progress, elapsed time: 10.00 s, current LSN: 0/7A3F1D8",
       Kind::kRedoProgress,
       {.lsn = {0x7A3F1D8}}},
      {"all", "redo is not required", Kind::kRedoNotRequired},
      {"15+", "syncing data directory (fsync), elapsed time: 10.00 s, current path: ./base/5/1259",
       Kind::kHousekeeping},
      {"15+", "resetting unlogged relations (init), elapsed time: 10.00 s, current path: base/5",
       Kind::kHousekeeping},
      {"13-15", "invalid primary checkpoint record", Kind::kEndOfWal},
      {"16+", "invalid checkpoint record", Kind::kEndOfWal},
      {"13-15", "invalid info bits 0010 in log segment 000000010000000000000006, offset 0",
       Kind::kEndOfWal},
      {"all", "invalid contrecord length 12 (expected 34) at 0/6000000", Kind::kEndOfWal},
      {"all", "out-of-sequence timeline ID 1 (after 2) in log segment 000000010000000000000006",
       Kind::kEndOfWal},
      {"15.6+",
       "completed backup recovery with redo LSN 0/4000060 and end LSN 0/4000138",
       Kind::kBackupRecoveryCompleted,
       {.lsn = {0x4000060}, .second_lsn = {0x4000138}}},
      {"all",
       "consistent recovery state reached at 0/4000138",
       Kind::kConsistent,
       {.lsn = {0x4000138}}},
      {"13", "database system is ready to accept read only connections", Kind::kReadOnlyReady},
      {"14+", "database system is ready to accept read-only connections", Kind::kReadOnlyReady},
      {"all",
       "recovery stopping after commit of transaction 745, time 2026-11-22 08:22:39.5+00",
       Kind::kStopping,
       {.xid = 745, .time = "2026-11-22 08:22:39.5+00"}},
      {"all",
       "recovery stopping before commit of transaction 746, time 2026-11-22 08:22:39.5+00",
       Kind::kStopping,
       {.xid = 746, .time = "2026-11-22 08:22:39.5+00"}},
      {"all",
       "recovery stopping after abort of transaction 747, time 2026-11-22 08:22:39.5+00",
       Kind::kStopping,
       {.xid = 747, .time = "2026-11-22 08:22:39.5+00"}},
      {"all",
       "recovery stopping before abort of transaction 4294967295, time T",
       Kind::kStopping,
       {.xid = 4294967295, .time = "T"}},
      {"all",
       "recovery stopping at restore point \"a, time b\", time 2026-11-22 08:22:39+00",
       Kind::kStopping,
       {.name = "a, time b", .time = "2026-11-22 08:22:39+00"}},
      {"all",
       "recovery stopping before WAL location (LSN) \"0/5000148\"",
       Kind::kStopping,
       {.lsn = {0x5000148}}},
      {"all",
       "recovery stopping after WAL location (LSN) \"0/5000148\"",
       Kind::kStopping,
       {.lsn = {0x5000148}}},
      {"19",
       "recovery stopping after WAL location (LSN) \"0/05000148\"",
       Kind::kStopping,
       {.lsn = {0x5000148}}},
      {"all", "recovery stopping after reaching consistency", Kind::kStopping},
      {"all", "pausing at the end of recovery", Kind::kPausedAtTarget},
      {"all", "recovery has paused", Kind::kPaused},
      {"all", "shutdown at recovery target", Kind::kShutdownAtTarget},
      {"13", "redo done at 0/5000120", Kind::kRedoDone, {.lsn = {0x5000120}}},
      {"14+",
       "redo done at 0/5000120 system usage: CPU: user: 0.01 s, system: 0.02 s, elapsed: 0.35 s",
       Kind::kRedoDone,
       {.lsn = {0x5000120}}},
      {"all",
       "last completed transaction was at log time 2026-11-22 08:22:39.1+00",
       Kind::kLastTransaction,
       {.time = "2026-11-22 08:22:39.1+00"}},
      {"all", "selected new timeline ID: 2", Kind::kNewTimeline, {.timeline = {2}}},
      {"all", "archive recovery complete", Kind::kArchiveRecoveryComplete},
      {"all", "database system is ready to accept connections", Kind::kReady},
      {"all", "received promote request", Kind::kPromoteRequested},
      {"all",
       "started streaming WAL from primary at 0/6000000 on timeline 1",
       Kind::kStreaming,
       {.lsn = {0x6000000}, .timeline = {1}}},
      {"all",
       "restarted WAL streaming at 0/6000000 on timeline 2",
       Kind::kStreaming,
       {.lsn = {0x6000000}, .timeline = {2}}},
      {"15+",
       "waiting for WAL to become available at 0/6000018",
       Kind::kWaitingForWal,
       {.lsn = {0x6000018}}},
      {"13-15",
       "invalid record length at 0/6000060: wanted 24, got 0",
       Kind::kEndOfWal,
       {.lsn = {0x6000060}}},
      {"16+",
       "invalid record length at 0/6000060: expected at least 24, got 0",
       Kind::kEndOfWal,
       {.lsn = {0x6000060}}},
      {"13-15", "invalid magic number 0000 in log segment 000000010000000000000006, offset 0",
       Kind::kEndOfWal},
      {"16+",
       "invalid magic number 0000 in WAL segment 000000010000000000000006, LSN 0/6000000, offset 0",
       Kind::kEndOfWal},
      {"all", "unexpected pageaddr 0/3000000 in log segment 000000010000000000000006, offset 0",
       Kind::kEndOfWal},
      {"all", "record with incorrect prev-link 0/1 at 0/6000060", Kind::kEndOfWal},
      {"all",
       "incorrect resource manager data checksum in record at 0/6000060",
       Kind::kEndOfWal,
       {.lsn = {0x6000060}}},
      {"all", "there is no contrecord flag at 0/6000000", Kind::kEndOfWal, {.lsn = {0x6000000}}},
      {"all", "received fast shutdown request", Kind::kStopRequested},
      {"all", "startup process (PID 4712) exited with exit code 1", Kind::kStartupProcessEnded},
      {"all", "startup process (PID 4712) was terminated by signal 6: Aborted",
       Kind::kStartupProcessEnded},
      {"all", "database system is shut down", Kind::kShutDown},
  };
  for (const ProgressCase& c : cases) {
    std::vector<RecoveryEvent> events = parse(fmt::format("{}LOG:  {}\n", kPrefix, c.message));
    ASSERT_EQ(events.size(), 1u) << c.message;
    const RecoveryEvent& event = events.front();
    EXPECT_EQ(event.kind, c.kind) << c.message;
    EXPECT_EQ(event.failure, Failure::kNone) << c.message;
    EXPECT_EQ(event.message, c.message);
    EXPECT_EQ(event.lsn, c.expected.lsn) << c.message;
    EXPECT_EQ(event.second_lsn, c.expected.second_lsn) << c.message;
    EXPECT_EQ(event.timeline, c.expected.timeline) << c.message;
    EXPECT_EQ(event.xid, c.expected.xid) << c.message;
    EXPECT_EQ(event.name, c.expected.name) << c.message;
    EXPECT_EQ(event.time, c.expected.time) << c.message;
  }
}

TEST(RecoveryLog, TellsEveryFailureInTheWordsOfEveryMajor) {
  const struct {
    const char* majors;
    const char* level;
    const char* message;
    Failure failure;
  } cases[] = {
      {"13-16", "FATAL", "must specify restore_command when standby mode is not enabled",
       Failure::kNoRestoreCommand},
      {"17+", "FATAL", "must specify \"restore_command\" when standby mode is not enabled",
       Failure::kNoRestoreCommand},
      {"all", "FATAL", "recovery target timeline 8 does not exist", Failure::kTimelineMissing},
      {"all", "FATAL", "requested timeline 2 is not a child of this server's history",
       Failure::kNotOnTimeline},
      {"all", "FATAL",
       "requested timeline 2 does not contain minimum recovery point 0/4000138 on timeline 1",
       Failure::kNotOnTimeline},
      {"13-16", "FATAL", "could not locate required checkpoint record", Failure::kStartWalMissing},
      {"17+", "FATAL", "could not locate required checkpoint record at 0/40000B8",
       Failure::kStartWalMissing},
      {"13-16", "FATAL", "could not find redo location referenced by checkpoint record",
       Failure::kStartWalMissing},
      {"17+", "FATAL",
       "could not find redo location 0/4000060 referenced by checkpoint record at 0/40000B8",
       Failure::kStartWalMissing},
      {"13-16", "PANIC", "could not locate a valid checkpoint record", Failure::kNoValidCheckpoint},
      {"17+", "PANIC", "could not locate a valid checkpoint record at 0/40000B8",
       Failure::kNoValidCheckpoint},
      {"19", "FATAL", "could not locate a valid checkpoint record at 0/040000B8",
       Failure::kNoValidCheckpoint},
      {"17+", "FATAL", "unexpected record type found at redo point 0/4000060", Failure::kWrongWal},
      {"all", "FATAL", "WAL ends before end of online backup", Failure::kBackupEndMissing},
      {"all", "FATAL", "WAL ends before consistent recovery point", Failure::kBackupEndMissing},
      {"all", "FATAL", "recovery ended before configured recovery target was reached",
       Failure::kTargetNotReached},
      {"all", "FATAL", "requested recovery stop point is before consistent recovery point",
       Failure::kTargetTooEarly},
      {"all", "FATAL", "backup_label contains data inconsistent with control file",
       Failure::kLabelDoesNotMatch},
      {"all", "FATAL", "invalid data in file \"backup_label\"", Failure::kInvalidLabel},
      {"all", "FATAL", "invalid data in file \"tablespace_map\"", Failure::kInvalidLabel},
      {"all", "PANIC",
       "unexpected previous timeline ID 1 (current timeline ID 2) in checkpoint record",
       Failure::kMixedTimelines},
      {"13", "FATAL",
       "hot standby is not possible because wal_level was not set to \"replica\" or higher on the "
       "master server",
       Failure::kMinimalWal},
      {"20", "FATAL", "cannot specify more than one recovery target", Failure::kSeveralTargets},
      {"all", "FATAL", "directory \"/srv/x\" specified for tablespace 16385 does not exist",
       Failure::kTablespaceDirectory},
      {"all", "FATAL", "directory \"/srv/x\" does not exist", Failure::kTablespaceDirectory},
      {"17+", "FATAL", "this is an incremental backup, not a data directory",
       Failure::kIncrementalNotCombined},
      {"all", "PANIC", "online backup was canceled, recovery cannot continue",
       Failure::kBackupCancelled},
      {"13", "FATAL",
       "hot standby is not possible because max_connections = 50 is a lower setting than on the "
       "master server (its value was 100)",
       Failure::kSettingsTooLow},
      {"14+", "FATAL", "recovery aborted because of insufficient parameter settings",
       Failure::kSettingsTooLow},
      {"14+", "WARNING", "hot standby is not possible because of insufficient parameter settings",
       Failure::kSettingsTooLow},
      {"14+", "WARNING", "promotion is not possible because of insufficient parameter settings",
       Failure::kSettingsTooLow},
      {"13", "WARNING", "WAL was generated with wal_level=minimal, data may be missing",
       Failure::kMinimalWal},
      {"14-16", "FATAL", "WAL was generated with wal_level=minimal, cannot continue recovering",
       Failure::kMinimalWal},
      {"17+", "FATAL", "WAL was generated with \"wal_level=minimal\", cannot continue recovering",
       Failure::kMinimalWal},
      {"all", "LOG",
       "WAL file is from different database system: WAL file database system identifier is 1, "
       "pg_control database system identifier is 2",
       Failure::kForeignWal},
      {"all", "FATAL",
       "archive file \"000000010000000000000004\" has wrong size: 8192 instead of 16777216",
       Failure::kWrongFileSize},
      {"all", "FATAL",
       "could not restore file \"000000010000000000000004\" from archive: child process exited "
       "with exit code 200",
       Failure::kRestoreCommandFailed},
      {"all", "FATAL",
       "could not restore file \"000000010000000000000004\" from archive: command not found",
       Failure::kRestoreCommandFailed},
      {"all", "FATAL",
       "could not restore file \"00000002.history\" from archive: child process was terminated by "
       "signal 9: Killed",
       Failure::kRestoreCommandFailed},
      {"all", "FATAL", "incorrect checksum in control file", Failure::kDamagedControlFile},
      {"all", "PANIC", "could not open file \"global/pg_control\": No such file or directory",
       Failure::kDamagedControlFile},
      {"all", "FATAL", "database files are incompatible with server", Failure::kWrongProgram},
      {"all", "PANIC", "WAL contains references to invalid pages", Failure::kInvalidPages},
      {"all", "PANIC", "unexpected timeline ID 3 (after 2) in checkpoint record",
       Failure::kMixedTimelines},
      {"all", "PANIC", "unexpected timeline ID 3 (should be 2) in end-of-recovery record",
       Failure::kMixedTimelines},
      {"all", "FATAL", "using recovery command file \"recovery.conf\" is not supported",
       Failure::kRecoveryConf},
      {"all", "FATAL", "multiple recovery targets specified", Failure::kSeveralTargets},
      {"all", "FATAL", "could not create symbolic link \"pg_tblspc/16385\": File exists",
       Failure::kTablespaceDirectory},
      {"all", "FATAL", "data directory \"/tmp/x\" has invalid permissions", Failure::kPermissions},
      {"all", "FATAL", "data directory \"/tmp/x\" has wrong ownership", Failure::kPermissions},
      {"all", "FATAL", "lock file \"postmaster.pid\" already exists", Failure::kAnotherServer},
      {"all", "PANIC", "could not write to file \"pg_wal/xlogtemp.12\": No space left on device",
       Failure::kNoSpace},
      {"all", "FATAL",
       "could not extend file \"base/5/16384\": wrote only 4096 of 8192 bytes at block 12",
       Failure::kNoSpace},
      {"17", "FATAL",
       "could not write blocks 12..13 in file \"base/5/16384\": wrote only 4096 of 16384 bytes",
       Failure::kNoSpace},
      {"all", "ERROR", "could not write \"pg_wal/RECOVERYXLOG.holdfast\": No space left on device",
       Failure::kNoSpace},
      {"all", "FATAL", "could not create shared memory segment: No space left on device",
       Failure::kSharedMemory},
      {"all", "FATAL", "could not map anonymous shared memory: Cannot allocate memory",
       Failure::kSharedMemory},
      {"all", "FATAL", "configuration file \"/tmp/x/postgresql.conf\" contains errors",
       Failure::kInvalidConfiguration},
      {"all", "FATAL", "could not access file \"pg_cron\": No such file or directory",
       Failure::kInvalidConfiguration},
      {"all", "FATAL", "something that nobody has seen before", Failure::kOther},
  };
  for (const auto& c : cases) {
    std::vector<RecoveryEvent> events =
        parse(fmt::format("{}{}:  {}\n", kPrefix, c.level, c.message));
    ASSERT_EQ(events.size(), 1u) << c.message;
    EXPECT_EQ(events[0].kind, Kind::kFailure) << c.message;
    EXPECT_EQ(events[0].failure, c.failure) << c.message << ": " << advice(events[0].failure).name;
    EXPECT_EQ(events[0].message, c.message);
  }
}

TEST(RecoveryLog, NamesTheSettingThatTheServerDoesNotTake) {
  const std::vector<RecoveryEvent> events = parse(
      "2026-11-22 08:22:37.100 UTC [7] LOG:  invalid value for parameter \"lc_monetary\": "
      "\"de_DE.UTF-8\"\n"
      "2026-11-22 08:22:37.100 UTC [7] LOG:  unrecognized configuration parameter \"nonexistent\" "
      "in "
      "file \"/d/postgresql.conf\" line 3\n"
      "2026-11-22 08:22:37.100 UTC [7] FATAL:  configuration file \"/d/postgresql.conf\" contains "
      "errors\n");
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].detail,
            "invalid value for parameter \"lc_monetary\": \"de_DE.UTF-8\"; unrecognized "
            "configuration parameter \"nonexistent\" in file \"/d/postgresql.conf\" line 3");
}

TEST(RecoveryLog, GivesAFailureItsDetailAndHintWhateverStandsBetween) {
  std::vector<RecoveryEvent> events = parse(
      "2026-11-22 08:22:37 UTC [7] LOG:  starting archive recovery\n"
      "2026-11-22 08:22:37 UTC [7] FATAL:  recovery aborted because of insufficient parameter "
      "settings\n"
      "2026-11-22 08:22:37 UTC [7] DETAIL:  max_connections = 50 is a lower setting than on the "
      "primary server, where its value was 100.\n"
      "2026-11-22 08:22:37 UTC [7] HINT:  You can restart the server\n"
      "\tafter making the necessary configuration changes.\n"
      "2026-11-22 08:22:37 UTC [7] CONTEXT:  WAL redo at 0/5000148 for XLOG/PARAMETER_CHANGE\n"
      "\tmore of the context\n"
      "2026-11-22 08:22:37 UTC [6] LOG:  startup process (PID 7) exited with exit code 1\n"
      "2026-11-22 08:22:37 UTC [6] LOG:  database system is shut down\n");
  ASSERT_EQ(events.size(), 4u);
  EXPECT_EQ(events[0].kind, Kind::kArchiveRecoveryStarts);
  EXPECT_EQ(events[1].failure, Failure::kSettingsTooLow);
  EXPECT_EQ(events[1].level, LogLevel::kFatal);
  EXPECT_EQ(events[1].detail,
            "max_connections = 50 is a lower setting than on the primary server, where its value "
            "was 100.");
  EXPECT_EQ(events[1].hint,
            "You can restart the server after making the necessary configuration changes.");
  EXPECT_EQ(events[2].kind, Kind::kStartupProcessEnded);
  EXPECT_EQ(events[3].kind, Kind::kShutDown);
}

TEST(RecoveryLog, ReadsLinesBehindAnyPrefix) {
  const char* prefixes[] = {"",
                            "2026-11-22 08:22:37.123 UTC [4711] ",
                            "2026-11-22 08:22:37 UTC [4711-3] [local] postgres@app ",
                            "<%> 57P03:",
                            "XLOG|",
                            "[unknown] LOG: "};
  for (const char* prefix : prefixes) {
    std::vector<RecoveryEvent> events =
        parse(fmt::format("{}LOG:  redo starts at 0/4000060", prefix));
    ASSERT_EQ(events.size(), 1u) << prefix;
    EXPECT_EQ(events[0].lsn, pg::Lsn{0x4000060}) << prefix;
  }
  // log_error_verbosity = verbose
  std::vector<RecoveryEvent> events =
      parse("LOG:  00000: redo starts at 0/4000060\nLOCATION:  StartupXLOG, xlog.c:7000\n");
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].message, "redo starts at 0/4000060");
}

TEST(RecoveryLog, PassesOverWhatIsNotAboutRecovery) {
  const char* lines[] = {
      "",
      "no level at all",
      "LOG:  checkpoint starting: time",
      "LOG:  listening on Unix socket \"/tmp/.s.PGSQL.5432\"",
      "FATAL:  the database system is starting up",
      "FATAL:  the database system is not yet accepting connections",
      "FATAL:  terminating connection due to administrator command",
      "FATAL:  password authentication failed for user \"x\"",
      "FATAL:  role \"x\" does not exist",
      "FATAL:  database \"x\" does not exist",
      "ERROR:  recovery ended before configured recovery target was reached",
      "STATEMENT:  SELECT 'FATAL:  multiple recovery targets specified'",
      "LOG:  redo starts at nowhere",
      "LOG:  redo starts at 123456789/0",
      "DETAIL:  of nothing",
      "HINT:  for nobody",
      "\twrapped",
  };
  for (const char* line : lines) EXPECT_TRUE(parse(line).empty()) << line;
}

TEST(RecoveryLog, AdvisesOnEveryFailureInFullSentences) {
  std::set<std::string_view> names;
  for (int i = 0; i <= static_cast<int>(Failure::kOther); ++i) {
    const Advice& what = advice(static_cast<Failure>(i));
    EXPECT_EQ(what.failure, static_cast<Failure>(i));
    EXPECT_TRUE(names.insert(what.name).second) << what.name;
    if (what.failure == Failure::kNone) continue;
    EXPECT_TRUE(what.meaning.ends_with('.')) << what.name;
    EXPECT_TRUE(what.action.ends_with('.')) << what.name;
  }
}

}  // namespace
}  // namespace holdfast::cluster
