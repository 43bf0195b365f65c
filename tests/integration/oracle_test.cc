// The oracle: what was acknowledged is what comes back, to every kind of target, under load with
// concurrent DDL, sealed and not; and the oracle notices when it is not so.
#include "support/oracle.h"

#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <set>
#include <unistd.h>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/file.h"
#include "support/holdfast_command.h"
#include "support/recovery_scene.h"

namespace holdfast::test {
namespace {

namespace fs = std::filesystem;

using cluster::Connection;

constexpr int kWriters = 3;

std::string joined(const std::vector<std::string>& lines) {
  return fmt::format(
      "{} complaints; the first ones:\n{}", lines.size(),
      fmt::join(lines.begin(), lines.begin() + std::min<ptrdiff_t>(std::ssize(lines), 10), "\n"));
}

// Everything that is asked of a recovered server.
Findings expect_recovered(const RestoredServer& restored, const Ledger& ledger,
                          const Moment& moment) {
  Connection connection = restored.connect();
  Findings findings = compare(connection, ledger, moment);
  EXPECT_TRUE(findings.complaints.empty()) << joined(findings.complaints);
  // One commit of each writer was under way, where the moment is known to the byte.
  if (moment.time || moment.excluded - moment.certain <= 1) {
    EXPECT_LE(findings.in_doubt, kWriters);
  }
  EXPECT_GT(findings.present, 0);
  const std::vector<std::string> churn =
      check_churn([&](const std::string& database) { return restored.connect(database); });
  EXPECT_TRUE(churn.empty()) << joined(churn);
  return findings;
}

void expect_open_for_work(const RestoredServer& restored) {
  Connection connection = restored.connect();
  EXPECT_EQ(connection.query_value("SELECT pg_catalog.pg_is_in_recovery()"), "f");
  connection.query("CREATE TABLE oracle.written_after_recovery AS SELECT 1 AS one");
}

// What anybody who knows the cluster could look for: texts, names, and what stands in the first
// page header of every WAL segment (xlog_internal.h: system identifier, segment and block size).
std::vector<std::string> known_of(Connection& connection, pg::WalSegmentSize segment_size) {
  const int64_t id = std::stoll(
      connection.query_value("SELECT system_identifier FROM pg_catalog.pg_control_system()"));
  std::string header;
  for (const auto& [value, length] :
       {std::pair<uint64_t, int>(static_cast<uint64_t>(id), 8),
        std::pair<uint64_t, int>(segment_size.bytes(), 4), std::pair<uint64_t, int>(8192, 4)})
    for (int i = 0; i < length; ++i) header += static_cast<char>(value >> (8 * i) & 0xFF);
  return {kPayloadMark, "rows_0", "PG_VERSION", "pg_hba.conf", header};
}

// Those of them that stand in the clear somewhere in the repository.
std::set<std::string> readable(const std::string& repository,
                               const std::vector<std::string>& known) {
  std::set<std::string> found;
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(repository)) {
    if (!entry.is_regular_file()) continue;
    const Bytes bytes = read_file(entry.path().string(), size_t{256} << 20);
    for (const std::string& text : known)
      if (as_text(bytes).find(text) != std::string_view::npos) found.insert(text);
  }
  return found;
}

struct Combination {
  int major;
  Sealing sealing;
  std::optional<int> wal_segment_mib;
};

std::vector<Combination> combinations() {
  std::vector<Combination> all;
  for (int major : test_majors()) {
    const Sealing sealing = major == 13   ? Sealing::kKeyFile
                            : major == 17 ? Sealing::kPassphrase
                                          : Sealing::kNone;
    const std::optional<int> mib = major == 13   ? std::optional<int>(1)
                                   : major == 18 ? std::optional<int>(4)
                                                 : std::nullopt;
    all.push_back({major, sealing, mib});
  }
  return all;
}

class Oracle : public testing::TestWithParam<Combination> {};
INSTANTIATE_TEST_SUITE_P(EachMajor, Oracle, testing::ValuesIn(combinations()),
                         [](const testing::TestParamInfo<Combination>& tested) {
                           return std::to_string(tested.param.major);
                         });

TEST_P(Oracle, EveryTargetBringsBackWhatWasAcknowledgedUpToItAndNothingBeyond) {
  // Uncompressed, so that what is sealed is not only hidden by its compression.
  const bool is_sealed = GetParam().sealing != Sealing::kNone;
  RecoveryScene scene({.major = GetParam().major,
                       .sealing = GetParam().sealing,
                       .compression = is_sealed ? "none" : "zstd:3",
                       .wal_segment_mib = GetParam().wal_segment_mib});
  Connection session = scene.server().connect();
  session.query(
      fmt::format("CREATE TABLESPACE side LOCATION '{}'", scene.make_tablespace_directory("side")));
  make_oracle_tables(session, kWriters, "side");
  Ledger ledger(scene.path("acknowledged"));
  Load load({.conninfo = scene.server().conninfo(), .writers = kWriters, .tablespace = "side"},
            ledger);
  load.wait_for_commits(200);

  // The backup, under load; and the moments, each with commits before and behind it.
  const Json backup = scene.must({"backup", "--jobs", "2"});
  const pg::Lsn consistent = pg::parse_lsn(backup.at("backup").at("stop_lsn").as_string());
  load.wait_for_commits(150);
  load.wait_for_churn(10);
  const pg::Lsn lsn = insert_lsn(session);
  load.wait_for_commits(150);
  const Marker marker = commit_marker(session, "the one");
  load.wait_for_commits(150);
  const pg::Lsn point = pg::parse_lsn(
      session.query_value("SELECT pg_catalog.pg_create_restore_point('before the release')"));
  load.wait_for_commits(150);
  const Time time = system_clock().now();
  load.wait_for_commits(150);
  load.wait_for_churn(5);
  scene.archive_current_segment(scene.server().connect());
  load.wait_for_commits(100);

  // The disaster: only the repository and the ledger are left.
  const std::vector<std::string> known = known_of(session, scene.segment_size());
  scene.destroy();
  load.wait_until_lost();
  const pg::Lsn end = scene.archive_end();
  if (is_sealed) {
    EXPECT_EQ(readable(scene.repository(), known), std::set<std::string>{});
  }

  const struct {
    const char* name;
    std::vector<std::string> words;
    Moment moment;
    std::optional<bool> marker_there;
  } targets[] = {
      {"latest", {}, Moment::at(end), true},
      {"time", {"--to", to_rfc3339(time)}, Moment::at(time), true},
      {"lsn", {"--to-lsn", pg::to_string(lsn)}, {.certain = lsn, .excluded = lsn + 1}, false},
      {"xid",
       {"--to-xid", std::to_string(marker.xid)},
       {.certain = marker.before, .excluded = marker.after},
       true},
      {"xid-exclusive",
       {"--to-xid", std::to_string(marker.xid), "--exclusive"},
       {.certain = marker.before, .excluded = marker.after},
       false},
      {"name", {"--to-name", "before the release"}, Moment::at(point), true},
      {"immediate", {"--to-immediate"}, Moment::at(consistent), false},
  };
  for (const auto& target : targets) {
    SCOPED_TRACE(fmt::format("target {}", target.name));
    try {
      std::unique_ptr<RestoredServer> restored =
          scene.restore_into(fmt::format("to-{}", target.name), target.words);
      const Findings findings = expect_recovered(*restored, ledger, target.moment);
      EXPECT_GT(findings.excluded, 0);  // some commits lie behind every one of these moments
      Connection connection = restored->connect();
      EXPECT_EQ(marker_is_there(connection, "the one"), target.marker_there);
      expect_open_for_work(*restored);
    } catch (const Error& error) {
      ADD_FAILURE() << error.message() << "\n" << error.detail();
    }
  }
  // Nothing was put where the cluster and its tablespace had been.
  EXPECT_FALSE(lstat_if_exists(scene.server().data_directory()));
  EXPECT_FALSE(lstat_if_exists(scene.path("side")));
}

TEST(OraclePause, ARecoveryThatWaitsShowsTheMomentAndFinishOpensIt) {
  RecoveryScene scene({});
  Connection session = scene.server().connect();
  make_oracle_tables(session, kWriters, "");
  Ledger ledger(scene.path("acknowledged"));
  Load load({.conninfo = scene.server().conninfo(), .writers = kWriters, .churn = false}, ledger);
  load.wait_for_commits(50);
  scene.must({"backup"});
  load.wait_for_commits(50);
  const Time time = system_clock().now();
  load.wait_for_commits(50);
  scene.archive_current_segment(scene.server().connect());
  scene.destroy();
  load.wait_until_lost();

  std::unique_ptr<RestoredServer> restored =
      scene.restore_into("waiting", {"--to", to_rfc3339(time), "--action", "pause"});
  EXPECT_EQ(restored->value("SELECT pg_catalog.pg_is_in_recovery()"), "t");
  expect_recovered(*restored, ledger, Moment::at(time));
  scene.must({"finish", restored->directory()});
  expect_recovered(*restored, ledger, Moment::at(time));
  expect_open_for_work(*restored);
}

TEST(OracleSalvage, InPlaceRecoveryFromTheOldWalBringsBackTheLastAcknowledgedCommit) {
  RecoveryScene scene({.major = 15});
  Connection session = scene.server().connect();
  session.query(
      fmt::format("CREATE TABLESPACE side LOCATION '{}'", scene.make_tablespace_directory("side")));
  make_oracle_tables(session, kWriters, "side");
  Ledger ledger(scene.path("acknowledged"));
  Load load({.conninfo = scene.server().conninfo(), .writers = kWriters, .tablespace = "side"},
            ledger);
  load.wait_for_commits(100);
  scene.must({"backup"});
  load.wait_for_commits(400);
  load.wait_for_churn(8);

  // Killed in the middle of a segment; all is lost but pg_wal.
  scene.crash();
  load.wait_until_lost();
  const std::string data = scene.server().data_directory();
  for (const DirectoryEntry& entry : list_directory(data))
    if (entry.name != "pg_wal") remove_tree(join_path(data, entry.name));
  remove_tree(scene.path("side"));

  std::unique_ptr<RestoredServer> restored = scene.restore_in_place();
  const Findings findings = expect_recovered(*restored, ledger, Moment::end_of_everything());
  EXPECT_EQ(findings.present, ledger.count());
  expect_open_for_work(*restored);
}

TEST(OracleSalvage, ADamagedDataDirectoryIsRecoveredInPlaceWithAllThatItHadCommitted) {
  RecoveryScene scene({.major = 15, .sealing = Sealing::kKeyFile});
  Connection session = scene.server().connect();
  make_oracle_tables(session, kWriters, "");
  Ledger ledger(scene.path("acknowledged"));
  Load load({.conninfo = scene.server().conninfo(), .writers = kWriters}, ledger);
  load.wait_for_commits(50);
  scene.must({"backup"});
  load.wait_for_commits(200);

  // Somebody removes a table's file behind the server's back; then the server is killed.
  const std::string file =
      session.query_value("SELECT pg_catalog.pg_relation_filepath('oracle.rows_0')");
  scene.crash();
  load.wait_until_lost();
  remove_file(join_path(scene.server().data_directory(), file));

  std::unique_ptr<RestoredServer> restored = scene.restore_in_place();
  const Findings findings = expect_recovered(*restored, ledger, Moment::end_of_everything());
  EXPECT_EQ(findings.present, ledger.count());
}

TEST(OracleArchiver, CommitsOutliveAnArchiverThatIsKilledAgainAndAgain) {
  RecoveryScene scene({.major = 15, .wal_segment_mib = 1});
  Connection session = scene.server().connect();
  make_oracle_tables(session, kWriters, "");
  Ledger ledger(scene.path("acknowledged"));
  Load load({.conninfo = scene.server().conninfo(),
             .writers = kWriters,
             .churn = false,
             .reconnect = true},
            ledger);
  load.wait_for_commits(50);
  scene.must({"backup"});

  auto archiver = [&]() -> pid_t {
    for (const DirectoryEntry& entry : list_directory("/proc")) {
      if (entry.name.find_first_not_of("0123456789") != std::string::npos) continue;
      // A process may end while its title is read; a stream takes that for an empty one.
      std::ifstream file(join_path("/proc", entry.name + "/cmdline"));
      std::string title;
      std::getline(file, title);
      if (title.find("archiver") == std::string::npos) continue;
      std::error_code gone;
      if (fs::read_symlink(join_path("/proc", entry.name + "/cwd"), gone).string() ==
          scene.server().data_directory())
        return static_cast<pid_t>(std::stol(entry.name));
    }
    return 0;
  };
  // A push is a child of the archiver, in its process group.
  auto is_pushing = [](pid_t pid) {
    std::optional<Bytes> children = read_if_exists(fmt::format("/proc/{0}/task/{0}/children", pid));
    return children && !children->empty();
  };
  for (int round = 0; round < 2; ++round) {
    load.wait_for_commits(100);
    pid_t pid = 0;
    ASSERT_TRUE(comes_true([&] { return (pid = archiver()) != 0 && is_pushing(pid); }));
    // The server takes the archiver's death for a crash and starts over; the sessions come again.
    ASSERT_EQ(kill(-pid, SIGKILL), 0);
    // It starts the next one no sooner than 10 s after the last, and only when something wakes it.
    ASSERT_TRUE(comes_true([&] {
      holdfast::run({.arguments = {scene.server().installation().program("pg_isready"), "-q", "-h",
                                   scene.directory()}});
      const pid_t next = archiver();
      return next != 0 && next != pid;
    })) << scene.server().log();
  }
  load.wait_for_commits(100);
  load.stop();
  scene.archive_current_segment(scene.server().connect());
  scene.destroy();

  std::unique_ptr<RestoredServer> restored = scene.restore_into("again", {});
  const Findings findings = expect_recovered(*restored, ledger, Moment::end_of_everything());
  EXPECT_EQ(findings.present, ledger.count());
}

// --- The oracle can fail ------------------------------------------------------------------------

TEST(OracleItself, FindsEverythingThatIsKnownInARepositoryWithoutAKey) {
  RecoveryScene scene({.compression = "none", .wal_segment_mib = 1});
  Connection session = scene.server().connect();
  make_oracle_tables(session, kWriters, "");
  Ledger ledger(scene.path("acknowledged"));
  Load load({.conninfo = scene.server().conninfo(), .writers = kWriters, .churn = false}, ledger);
  load.wait_for_commits(20);
  load.stop();
  scene.must({"backup"});
  const std::vector<std::string> known = known_of(session, scene.segment_size());
  EXPECT_EQ(readable(scene.repository(), known), std::set(known.begin(), known.end()));
}

TEST(OracleItself, NoticesAWithheldSegmentAndEveryKindOfWrongRow) {
  RecoveryScene scene({.major = 15, .wal_segment_mib = 1});
  Connection session = scene.server().connect();
  make_oracle_tables(session, kWriters, "");
  Ledger ledger(scene.path("acknowledged"));
  Load load({.conninfo = scene.server().conninfo(), .writers = kWriters, .churn = false}, ledger);
  load.wait_for_commits(50);
  scene.must({"backup"});
  const size_t archived_before = scene.archived_segments().size();
  ASSERT_TRUE(comes_true([&] { return scene.archived_segments().size() > archived_before + 4; }));
  scene.archive_current_segment(scene.server().connect());
  scene.destroy();
  load.wait_until_lost();
  const pg::Lsn end = scene.archive_end();
  const std::vector<std::string> segments = scene.archived_segments();

  // One from the middle: refused before anything is written.
  const std::string middle = scene.wal_object(segments[segments.size() - 3]).value();
  rename_path(middle, scene.path("withheld"));
  const Captured refused =
      scene.run({"restore", "--into", scene.path("refused"), "--start", "--to-latest"});
  EXPECT_EQ(refused.status.code, 4) << describe(refused);
  EXPECT_NE(refused.err.find(segments[segments.size() - 3]), std::string::npos) << refused.err;
  EXPECT_FALSE(lstat_if_exists(scene.path("refused")));
  rename_path(scene.path("withheld"), middle);

  // The last one: nobody can know, but the oracle does.
  const std::string last = scene.wal_object(segments.back()).value();
  rename_path(last, scene.path("withheld"));
  {
    std::unique_ptr<RestoredServer> restored = scene.restore_into("short", {});
    Connection connection = restored->connect();
    EXPECT_FALSE(compare(connection, ledger, Moment::at(end)).complaints.empty());
  }
  rename_path(scene.path("withheld"), last);

  std::unique_ptr<RestoredServer> restored = scene.restore_into("whole", {});
  expect_recovered(*restored, ledger, Moment::at(end));
  Connection connection = restored->connect();
  const struct {
    const char* what;
    const char* statement;
  } changes[] = {
      {"one row is withheld",
       "DELETE FROM oracle.rows_0 WHERE key = (SELECT max(key) / 2 FROM oracle.rows_0)"},
      {"the last row is withheld",
       "DELETE FROM oracle.rows_1 WHERE key = (SELECT max(key) FROM oracle.rows_1)"},
      {"one row is changed", "UPDATE oracle.rows_0 SET payload = payload || '.' WHERE key = 5"},
      {"one row is changed with its hash",
       "UPDATE oracle.rows_0 SET payload = 'x', hash = '12638214688346347271' WHERE key = 5"},
      {"one row is too many",
       "INSERT INTO oracle.rows_2 VALUES (1000000, 'x', "
       "'12638214688346347271')"},
  };
  for (const auto& change : changes) {
    SCOPED_TRACE(change.what);
    connection.query("BEGIN");
    connection.query(change.statement);
    EXPECT_FALSE(compare(connection, ledger, Moment::at(end)).complaints.empty());
    connection.query("ROLLBACK");
  }
}

}  // namespace
}  // namespace holdfast::test
