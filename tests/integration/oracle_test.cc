// The oracle: what was acknowledged is what comes back, to every kind of target, under load with
// concurrent DDL, sealed and not; and the oracle notices when it is not so.
#include "support/oracle.h"

#include <atomic>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <set>
#include <unistd.h>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/file.h"
#include "base/task_group.h"
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

// Everything that is asked of a recovered server. `connect` opens a database by its name.
using Connect = std::function<Connection(const std::string&)>;
Findings expect_recovered(const Connect& connect, const Path& path) {
  Connection connection = connect("postgres");
  Findings findings = compare(connection, path);
  EXPECT_TRUE(findings.complaints.empty()) << joined(findings.complaints);
  // One commit of each writer was under way at each place that is known to the byte, and can lie
  // behind a marker that held it up.
  EXPECT_LE(findings.in_doubt, 2 * kWriters * std::ssize(path));
  EXPECT_GT(findings.present, 0);
  const std::vector<std::string> churn = check_churn(connect);
  EXPECT_TRUE(churn.empty()) << joined(churn);
  return findings;
}
Findings expect_recovered(const RestoredServer& restored, const Path& path) {
  return expect_recovered([&](const std::string& database) { return restored.connect(database); },
                          path);
}
Findings expect_recovered(const RestoredServer& restored, const Ledger& ledger,
                          const Moment& moment) {
  return expect_recovered(restored, Path{{.ledger = &ledger, .end = moment}});
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
                            : major == 14 ? Sealing::kPassphrase
                                          : Sealing::kNone;
    const std::optional<int> mib = major == 13   ? std::optional<int>(1)
                                   : major >= 18 ? std::optional<int>(4)
                                                 : std::nullopt;
    all.push_back({major, sealing, mib});
  }
  return all;
}

// A cluster under load, destroyed, recovered, put under load again, destroyed, and so once more:
//
//   timeline 1   --B1-- lsn -- one -- fork 1 -- time -- end
//   timeline 2                           \\-- two --B2-- fork 2 -- regretted -- end
//   timeline 3                                               \\-- three -- end
//
// From the one repository each moment of it is gone to, by every kind of target and from either
// side.
class Oracle : public testing::TestWithParam<Combination> {
 protected:
  struct Target {
    const char* name;
    std::vector<std::string> words;
    Path path;
    std::map<std::string, bool> markers;  // which are there, and which are not
  };

  Oracle()
      // Uncompressed, so that what is sealed is not only hidden by its compression.
      : scene_({.major = GetParam().major,
                .sealing = GetParam().sealing,
                .compression = is_sealed() ? "none" : "zstd:3",
                .wal_segment_mib = GetParam().wal_segment_mib,
                .config = {"track_commit_timestamp = on"}}) {}

  static bool is_sealed() { return GetParam().sealing != Sealing::kNone; }
  std::unique_ptr<Load> load_on(const std::string& conninfo, Ledger& ledger, int64_t first) {
    return std::make_unique<Load>(
        Load::Options{
            .conninfo = conninfo, .writers = kWriters, .tablespace = "side", .first = first},
        ledger);
  }
  static pg::Lsn restore_point(Connection& session, const std::string& name) {
    return pg::parse_lsn(session.query_value("SELECT pg_catalog.pg_create_restore_point($1)",
                                             std::vector<cluster::Value>{name}));
  }

  void expect_reached(const Target& target) {
    SCOPED_TRACE(fmt::format("target {}", target.name));
    try {
      const std::unique_ptr<RestoredServer> restored =
          scene_.restore_into(fmt::format("to-{}", target.name), target.words);
      const Findings findings = expect_recovered(*restored, target.path);
      EXPECT_GT(findings.excluded, 0);  // some commits lie behind every one of these moments
      Connection connection = restored->connect();
      for (const auto& [marker, is_there] : target.markers)
        EXPECT_EQ(marker_is_there(connection, marker), is_there) << marker;
      expect_open_for_work(*restored);
    } catch (const Error& error) {
      ADD_FAILURE() << error.message() << "\n" << error.detail();
    }
  }
  // Several at a time, which must not get into each other's way.
  void expect_all_reached(const std::vector<Target>& targets) {
    std::atomic<size_t> next = 0;
    TaskGroup workers;
    for (int job = 0; job < 3; ++job)
      workers.start([&](const std::stop_token&) {
        for (size_t i = next++; i < targets.size(); i = next++) expect_reached(targets[i]);
      });
    workers.wait();
  }
  // Restored by us, started by hand with PostgreSQL's own word for the timeline.
  void expect_by_hand(const Target& target, const std::string& timeline) {
    SCOPED_TRACE(fmt::format("target {}, recovery_target_timeline = {}", target.name, timeline));
    const std::string directory = scene_.path(fmt::format("to-{}", target.name));
    std::vector<std::string> words = {"restore", "--into", directory};
    words.insert(words.end(), target.words.begin(), target.words.end());
    scene_.must(words);
    const std::string settings = join_path(directory, "postgresql.auto.conf");
    write_file_durably(settings,
                       as_bytes(read_text_file(settings) +
                                fmt::format("recovery_target_timeline = '{}'\n", timeline)));
    PostgresServer server({.major = GetParam().major, .data_directory = directory});
    EXPECT_TRUE(comes_true([&] { return server.value("SELECT pg_is_in_recovery()") == "f"; }))
        << server.log();
    const Findings findings = expect_recovered(
        [&](const std::string& database) { return server.connect(database); }, target.path);
    EXPECT_GT(findings.excluded, 0);
    for (const auto& [marker, is_there] : target.markers) {
      Connection connection = server.connect();
      EXPECT_EQ(marker_is_there(connection, marker), is_there) << marker;
    }
    server.stop(cluster::ShutdownMode::kImmediate);
    remove_tree(directory);
  }

  RecoveryScene scene_;
};
INSTANTIATE_TEST_SUITE_P(EachMajor, Oracle, testing::ValuesIn(combinations()),
                         [](const testing::TestParamInfo<Combination>& tested) {
                           return std::to_string(tested.param.major);
                         });

TEST_P(Oracle, EveryTargetBringsBackWhatWasAcknowledgedUpToItAndNothingBeyond) {
  Connection session = scene_.server().connect();
  session.query(fmt::format("CREATE TABLESPACE side LOCATION '{}'",
                            scene_.make_tablespace_directory("side")));
  make_oracle_tables(session, kWriters, "side");
  Ledger first(scene_.path("acknowledged.1"));
  std::unique_ptr<Load> load = load_on(scene_.server().conninfo(), first, 1);
  load->wait_for_commits(100);

  // The backup, under load; and the moments, each with commits before and behind it.
  const Json backup = scene_.must({"backup", "--jobs", "2"}).at("backup");
  const std::string first_backup = backup.at("id").as_string();
  const pg::Lsn consistent = pg::parse_lsn(backup.at("stop_lsn").as_string());
  load->wait_for_commits(50);
  load->wait_for_churn(10);
  const pg::Lsn lsn = insert_lsn(session);
  // A tablespace that no backup has, with a table in it.
  session.query(fmt::format("CREATE TABLESPACE late LOCATION '{}'",
                            scene_.make_tablespace_directory("late")));
  session.query("CREATE TABLE churn.late_50 TABLESPACE late AS " + churn_table_as(50));
  session.query("CREATE INDEX ON churn.late_50 (id)");
  load->wait_for_commits(60);
  const Marker one = commit_marker(session, "one");
  load->wait_for_commits(60);
  const pg::Lsn fork = restore_point(session, "fork 1");
  load->wait_for_commits(60);
  const Time time = system_clock().now();
  load->wait_for_commits(60);
  load->wait_for_churn(5);
  scene_.archive_current_segment(scene_.server().connect());
  load->wait_for_commits(50);

  // The disaster: only the repository and the ledger are left.
  const std::vector<std::string> known = known_of(session, scene_.segment_size());
  scene_.destroy();
  load->wait_until_lost();
  const pg::Lsn end = scene_.archive_end();
  if (is_sealed()) {
    EXPECT_EQ(readable(scene_.repository(), known), std::set<std::string>{});
  }

  auto on_first = [&](const Moment& moment) { return Path{{.ledger = &first, .end = moment}}; };
  auto at_marker = [](const Marker& marker) {
    return Moment{.certain = marker.commit, .excluded = marker.after};
  };
  const std::string one_xid = std::to_string(one.xid);
  const std::string one_lsn = pg::to_string(one.commit);
  expect_all_reached({
      {"latest", {}, on_first(Moment::at(end)), {{"one", true}}},
      {"time", {"--to", to_rfc3339(time)}, on_first(Moment::at(time)), {{"one", true}}},
      {"commit-time", {"--to", one.time}, on_first(at_marker(one)), {{"one", true}}},
      {"commit-time-exclusive",
       {"--to", one.time, "--exclusive"},
       on_first(at_marker(one)),
       {{"one", false}}},
      {"lsn",
       {"--to-lsn", pg::to_string(lsn)},
       on_first({.certain = lsn, .excluded = lsn + 1}),
       {{"one", false}}},
      {"commit-lsn", {"--to-lsn", one_lsn}, on_first(at_marker(one)), {{"one", true}}},
      {"commit-lsn-exclusive",
       {"--to-lsn", one_lsn, "--exclusive"},
       on_first(at_marker(one)),
       {{"one", false}}},
      {"xid", {"--to-xid", one_xid}, on_first(at_marker(one)), {{"one", true}}},
      {"xid-exclusive",
       {"--to-xid", one_xid, "--exclusive"},
       on_first(at_marker(one)),
       {{"one", false}}},
      {"name", {"--to-name", "fork 1"}, on_first(Moment::at(fork)), {{"one", true}}},
      {"immediate", {"--to-immediate"}, on_first(Moment::at(consistent)), {{"one", false}}},
  });
  if (HasFailure()) return;

  // Timeline 2, with a backup of its own; timeline 3, which leaves it.
  Ledger second(scene_.path("acknowledged.2")), third(scene_.path("acknowledged.3"));
  std::unique_ptr<RestoredServer> restored =
      scene_.restore_into("second", {"--to-name", "fork 1", "--archive", "on"});
  session = restored->connect();
  load = load_on(restored->conninfo(), second, 1000000);
  load->wait_for_commits(40);
  const Marker two = commit_marker(session, "two");
  load->wait_for_commits(40);
  const std::string second_backup =
      scene_.must({"backup", "--pgdata", restored->directory(), "--conninfo", restored->conninfo()})
          .at("backup")
          .at("id")
          .as_string();
  load->wait_for_commits(40);
  load->wait_for_churn(3);
  const pg::Lsn second_fork = restore_point(session, "fork 2");
  load->wait_for_commits(40);
  const Marker regretted = commit_marker(session, "regretted");
  load->wait_for_commits(40);
  scene_.archive_current_segment(restored->connect());
  load->wait_for_commits(20);
  restored->destroy();
  load->wait_until_lost();
  const pg::Lsn second_end = scene_.archive_end(2);

  restored = scene_.restore_into("third", {"--to-name", "fork 2", "--archive", "on"});
  EXPECT_EQ(restored->result().at("plan").at("backup").as_string(), second_backup);
  EXPECT_EQ(restored->result().at("new_timeline").as_i64(), 3);
  session = restored->connect();
  load = load_on(restored->conninfo(), third, 2000000);
  load->wait_for_commits(40);
  const Marker three = commit_marker(session, "three");
  load->wait_for_commits(40);
  scene_.archive_current_segment(restored->connect());
  load->wait_for_commits(20);
  restored->destroy();
  load->wait_until_lost();
  const pg::Lsn third_end = scene_.archive_end(3);

  auto on_second = [&](const Moment& moment) {
    return Path{{.ledger = &first, .end = Moment::at(fork)}, {.ledger = &second, .end = moment}};
  };
  auto on_third = [&](const Moment& moment) {
    Path path = on_second(Moment::at(second_fork));
    path.push_back({.ledger = &third, .end = moment});
    return path;
  };
  const std::string regretted_xid = std::to_string(regretted.xid);
  const std::string three_lsn = pg::to_string(three.commit);
  const Path newest = on_third(Moment::at(third_end));
  const std::map<std::string, bool> on_newest = {
      {"one", true}, {"two", true}, {"regretted", false}, {"three", true}};
  expect_all_reached({
      {"newest-from-the-first", {"--backup", first_backup}, newest, on_newest},
      {"end-of-the-first",
       {"--timeline", "1"},
       on_first(Moment::at(end)),
       {{"one", true}, {"two", false}}},
      {"abandoned-time",
       {"--timeline", "1", "--to", to_rfc3339(time)},
       on_first(Moment::at(time)),
       {{"one", true}, {"two", false}}},
      {"time-on-the-second",
       {"--to", two.time},
       on_second(at_marker(two)),
       {{"one", true}, {"two", true}}},
      {"time-on-the-second-exclusive",
       {"--to", two.time, "--exclusive"},
       on_second(at_marker(two)),
       {{"one", true}, {"two", false}}},
      {"name-on-the-first", {"--to-name", "fork 1"}, on_first(Moment::at(fork)), {{"two", false}}},
      {"immediate-on-the-first",
       {"--to-immediate", "--backup", first_backup},
       on_first(Moment::at(consistent)),
       {{"one", false}}},
      {"newest", {}, newest, on_newest},
      {"newest-by-number", {"--timeline", "3"}, newest, on_newest},
      {"end-of-the-second",
       {"--timeline", "2"},
       on_second(Moment::at(second_end)),
       {{"two", true}, {"regretted", true}, {"three", false}}},
      {"abandoned-xid",
       {"--timeline", "2", "--to-xid", regretted_xid},
       on_second(at_marker(regretted)),
       {{"two", true}, {"regretted", true}}},
      {"abandoned-xid-exclusive",
       {"--timeline", "2", "--to-xid", regretted_xid, "--exclusive"},
       on_second(at_marker(regretted)),
       {{"two", true}, {"regretted", false}}},
      {"lsn-on-the-third",
       {"--to-lsn", three_lsn, "--timeline", "3"},
       on_third(at_marker(three)),
       {{"two", true}, {"regretted", false}, {"three", true}}},
      {"lsn-on-the-third-exclusive",
       {"--to-lsn", three_lsn, "--exclusive", "--timeline", "3"},
       on_third(at_marker(three)),
       {{"two", true}, {"regretted", false}, {"three", false}}},
  });
  // In PostgreSQL's own words, of a backup that is on timeline 2.
  expect_by_hand({"by-hand-latest", {"--backup", second_backup}, newest, on_newest}, "latest");
  expect_by_hand({"by-hand-current",
                  {"--backup", second_backup},
                  on_second(Moment::at(second_end)),
                  {{"regretted", true}, {"three", false}}},
                 "current");
  // Nothing was put where the cluster and its tablespaces had been.
  for (const std::string& place :
       {scene_.server().data_directory(), scene_.path("side"), scene_.path("late")})
    EXPECT_FALSE(lstat_if_exists(place)) << place;
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
  // Nothing of the recovery is left, neither in the files nor in the server.
  const std::string conf = read_text_file(join_path(restored->directory(), "postgresql.auto.conf"));
  EXPECT_EQ(conf.find("recovery_target"), std::string::npos) << conf;
  EXPECT_TRUE(comes_true([&] { return restored->value("SHOW restore_command").empty(); }));
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
      {"one balance is off", "UPDATE oracle.accounts SET balance = balance + 1 WHERE id = 3"},
      {"an account is withheld", "DELETE FROM oracle.accounts WHERE id = 4"},
      {"one movement is withheld",
       "DELETE FROM oracle.history WHERE key = (SELECT min(key) FROM oracle.history)"},
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
