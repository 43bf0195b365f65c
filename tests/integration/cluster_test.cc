// The room cluster on real servers of every major under test.
#include <algorithm>
#include <chrono>
#include <cstring>
#include <fcntl.h>
#include <functional>
#include <set>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <thread>
#include <unistd.h>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "base/task_group.h"
#include "cluster/connection.h"
#include "cluster/data_directory.h"
#include "cluster/log_follower.h"
#include "cluster/online_backup.h"
#include "cluster/recovery_log.h"
#include "cluster/running_server.h"
#include "cluster/server_facts.h"
#include "cluster/server_process.h"
#include "cluster/wal_directory.h"
#include "cluster/written_wal.h"
#include "pg/backup_label.h"
#include "pg/crc32c.h"
#include "pg/version.h"
#include "pg/wal_file_name.h"
#include "pg/wal_page.h"
#include "support/error_of.h"
#include "support/postgres_server.h"
#include "support/recording_reporter.h"

namespace holdfast::cluster {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using test::error_of;
using test::PostgresServer;
using test::RecordingReporter;

constexpr seconds kPatience{60};

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

// Asks again until the answer is the wanted one; what is waited for is another process, so only its
// own signs can be looked at.
template <typename Question>
bool comes_true(Question question) {
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (std::chrono::steady_clock::now() < deadline) {
    if (question()) return true;
    wait_for({}, milliseconds(20));
  }
  return false;
}

// Copies the cluster as a backup does, with what is of the room cluster alone, into `target`.
OnlineBackup::Stopped copy_cluster(PostgresServer& server, const std::string& target) {
  OnlineBackup backup(server.connect(), {.label = "copied by a test"});
  RecordingReporter reporter;
  walk_data_directory(server.data_directory(), reporter, [&](const DataEntry& entry) {
    if (entry.path == pg::kControlFilePath) return;
    std::string path = join_path(target, entry.path);
    if (entry.type != EntryType::kFile) return make_directory(path, entry.mode);
    std::optional<Bytes> content = read_if_exists(join_path(server.data_directory(), entry.path));
    if (content)
      write_all(open_file(path, O_WRONLY | O_CREAT | O_EXCL, entry.mode), *content, path);
  });
  backup.check_alive();
  OnlineBackup::Stopped stopped = backup.stop();
  EXPECT_LT(backup.start_lsn(), stopped.stop_lsn);
  auto write = [&](const std::string& name, ByteView bytes) {
    write_file_durably(join_path(target, name), bytes);
  };
  write("backup_label", as_bytes(stopped.backup_label));
  if (!stopped.tablespace_map.empty()) write("tablespace_map", as_bytes(stopped.tablespace_map));
  write(std::string(pg::kControlFilePath), read_control_file(server.data_directory()).bytes);
  return stopped;
}

std::string major_name(const testing::TestParamInfo<int>& tested) {
  return std::to_string(tested.param);
}

class EachMajor : public testing::TestWithParam<int> {
 protected:
  static PostgresServer::Options options(std::vector<std::string> config = {}) {
    return {.major = GetParam(), .config = std::move(config)};
  }
};
INSTANTIATE_TEST_SUITE_P(Cluster, EachMajor, testing::ValuesIn(test::test_majors()), major_name);

// --- Connection ---------------------------------------------------------------------------------

TEST(ClusterConnection, SaysWhyNobodyAnswersAndWhatToLookAt) {
  test::ServerDirectory directory;
  Error error = error_of([&] {
    Connection::connect(
        {.conninfo = conninfo_pair("host", directory.path()) + " port=5999 user=postgres"}, {});
  });
  EXPECT_EQ(error.code(), ErrorCode::kServerUnavailable);
  EXPECT_EQ(error.message(), "could not connect to the PostgreSQL server");
  EXPECT_TRUE(contains(error.detail(), directory.path() + "/.s.PGSQL.5999")) << error.detail();
  EXPECT_TRUE(error.hint().starts_with(
      "Is the server running, and do host and port of conninfo name its socket directory"))
      << error.hint();

  Error unreadable = error_of([] { Connection::connect({.conninfo = "host=/tmp prot=5432"}, {}); });
  EXPECT_EQ(unreadable.code(), ErrorCode::kConfiguration);
  EXPECT_TRUE(contains(unreadable.detail(), "\"prot\"")) << unreadable.detail();
  EXPECT_EQ(error_of([] { Connection::connect({.conninfo = "connect_timeout=soon"}, {}); }).code(),
            ErrorCode::kConfiguration);
}

// A server that takes connections and never says a word.
class SilentServer {
 public:
  SilentServer() : socket_(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::string path = directory_.path() + "/.s.PGSQL.5432";
    std::memcpy(address.sun_path, path.c_str(), path.size());
    if (bind(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
        listen(socket_.get(), 8) != 0)
      throw_errno("listen on", path);
  }
  std::string conninfo() const {
    return conninfo_pair("host", directory_.path()) + " port=5432 user=postgres";
  }

 private:
  test::ServerDirectory directory_;
  Fd socket_;
};

TEST(ClusterConnection, WaitsNoLongerThanConnectTimeout) {
  SilentServer server;
  const auto start = std::chrono::steady_clock::now();
  Error error = error_of(
      [&] { Connection::connect({.conninfo = server.conninfo() + " connect_timeout=1"}, {}); });
  EXPECT_LT(std::chrono::steady_clock::now() - start, seconds(3));
  EXPECT_EQ(error.code(), ErrorCode::kServerUnavailable);
  EXPECT_TRUE(contains(error.detail(), "within 1 s")) << error.detail();
}

TEST(ClusterConnection, StopsWithinASecondWhileItWaits) {
  SilentServer silent;
  PostgresServer server({});
  Connection observer = server.connect();
  const struct {
    const char* what;
    std::function<void(std::stop_token)> wait;
  } cases[] = {
      {"connecting",
       [&](std::stop_token stop) { Connection::connect({.conninfo = silent.conninfo()}, stop); }},
      {"a statement",
       [&](std::stop_token stop) {
         Connection connection = Connection::connect(
             {.conninfo = server.conninfo(), .application_name = "sleeper"}, stop);
         connection.query("SELECT pg_sleep(600)");
       }},
  };
  for (const auto& c : cases) {
    std::stop_source stop;
    std::chrono::steady_clock::time_point asked;
    std::jthread stopper([&] {
      // Once the statement runs; where there is none, once the call has begun to wait.
      if (std::string_view(c.what) == "a statement")
        comes_true([&] {
          return observer.query_value(
                     "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'sleeper' AND "
                     "query LIKE '%pg_sleep%' AND state = 'active'") == "1";
        });
      asked = std::chrono::steady_clock::now();
      stop.request_stop();
    });
    EXPECT_EQ(error_of([&] { c.wait(stop.get_token()); }).code(), ErrorCode::kInterrupted)
        << c.what;
    stopper.join();
    EXPECT_LT(std::chrono::steady_clock::now() - asked, seconds(1)) << c.what;
  }
  // The server does not sleep on for nobody.
  EXPECT_TRUE(comes_true([&] {
    return observer.query_value(
               "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'sleeper'") == "0";
  }));
}

TEST(ClusterConnection, PassesOnTheServersRefusalsWithTheirSqlstate) {
  PostgresServer server({});
  std::vector<Notice> notices;
  Connection connection =
      Connection::connect({.conninfo = server.conninfo(),
                           .on_notice = [&](const Notice& notice) { notices.push_back(notice); }},
                          {});
  Error syntax = error_of([&] { connection.query("SELEKT 1"); });
  EXPECT_EQ(syntax.code(), ErrorCode::kServer);
  EXPECT_EQ(syntax.message(), "syntax error at or near \"SELEKT\"");
  EXPECT_TRUE(contains(syntax.detail(), "42601")) << syntax.detail();

  // The session goes on.
  const Value parameters[] = {"it's", std::nullopt};
  Row row = connection.query_row("SELECT $1::text, $2::text, length('ä')", parameters);
  EXPECT_EQ(row, (Row{"it's", std::nullopt, "1"}));
  EXPECT_EQ(error_of([&] { connection.query_value("SELECT NULL"); }).code(), ErrorCode::kServer);
  EXPECT_EQ(error_of([&] { connection.query_row("SELECT 1 WHERE false"); }).code(),
            ErrorCode::kServer);

  connection.query("DO $$ BEGIN RAISE WARNING 'look here' USING HINT = 'behind you'; END $$");
  ASSERT_EQ(notices.size(), 1u);
  EXPECT_EQ(notices[0].severity, "WARNING");
  EXPECT_EQ(notices[0].message, "look here");
  EXPECT_EQ(notices[0].hint, "behind you");

  const struct {
    const char* database;
    const char* user;
    const char* hint;
  } cases[] = {{"nowhere", "postgres",
                "Name a database that exists in conninfo, for example dbname=postgres."},
               {"postgres", "nobody", "Create the role, or name another in conninfo (user=...)."}};
  for (const auto& c : cases) {
    Error error = error_of([&] { server.connect(c.database, c.user); });
    EXPECT_EQ(error.code(), ErrorCode::kServerUnavailable);
    EXPECT_EQ(error.hint(), c.hint);
  }
}

TEST(ClusterConnection, NoticesAServerThatEndsTheSession) {
  PostgresServer server({});
  Connection connection = server.connect();
  connection.check_alive();
  Connection administrator = server.connect();
  administrator.query(fmt::format("SELECT pg_terminate_backend({})", connection.backend_pid()));
  Error ended = error_of([&] {
    comes_true([&] {
      connection.check_alive();
      return false;
    });
  });
  EXPECT_EQ(ended.code(), ErrorCode::kServerUnavailable);
  EXPECT_EQ(ended.message(), "the connection to the server was lost");
  // The server's last word, or, when its end of the socket was closed before that was read,
  // libpq's.
  EXPECT_TRUE(contains(ended.detail(), "terminating connection due to administrator command") ||
              contains(ended.detail(), "server closed the connection unexpectedly"))
      << ended.detail();

  Connection other = server.connect();
  server.crash();
  EXPECT_EQ(error_of([&] {
              comes_true([&] {
                other.query("SELECT 1");
                return false;
              });
            }).code(),
            ErrorCode::kServerUnavailable);
}

TEST_P(EachMajor, HasNoTimeoutInASessionWhateverTheRoleSays) {
  PostgresServer server(options());
  for (const char* setting :
       {"statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"})
    server.sql(fmt::format("ALTER ROLE postgres SET {} = '1h'", setting));
  if (GetParam() >= 14) server.sql("ALTER ROLE postgres SET idle_session_timeout = '1h'");
  if (GetParam() >= 17) server.sql("ALTER ROLE postgres SET transaction_timeout = '1h'");
  server.sql("ALTER ROLE postgres SET DateStyle = 'German'");
  server.sql("ALTER ROLE postgres SET TimeZone = 'Asia/Tokyo'");
  Connection connection = server.connect();
  EXPECT_EQ(
      connection.query_value(
          "SELECT count(*) FROM pg_settings WHERE name IN ('statement_timeout', 'lock_timeout', "
          "'transaction_timeout', "
          "'idle_in_transaction_session_timeout', 'idle_session_timeout') AND setting <> '0'"),
      "0");
  EXPECT_EQ(connection.query_value("SELECT timestamptz '2026-11-22 08:22:39.5+00'"),
            "2026-11-22 08:22:39.5+00");
  EXPECT_EQ(connection.server_major(), GetParam());
  EXPECT_EQ(connection.server_version(), server.installation().version);
  EXPECT_TRUE(connection.is_superuser());
}

// --- ServerFacts --------------------------------------------------------------------------------

TEST_P(EachMajor, TellsTheFactsThatItsFilesTellToo) {
  PostgresServer::Options made = options(
      {"archive_mode = on", "archive_command = 'false'", "include_if_exists = 'extra.conf'"});
  made.wal_segment_mib = 4;
  made.start = false;
  PostgresServer server(made);
  write_file_durably(server.data_directory() + "/extra.conf", as_bytes("work_mem = '5MB'\n"));
  test::give_to_server_user(server.data_directory() + "/extra.conf");
  server.start();
  std::string space = server.server_directory().make("space");
  server.sql(fmt::format("CREATE TABLESPACE elsewhere LOCATION '{}'", space));

  Connection connection = server.connect();
  ServerFacts facts = read_server_facts(connection);
  server.sql("CHECKPOINT");
  pg::ControlFile control = read_control_file(server.data_directory()).control;
  EXPECT_EQ(facts.system_identifier, control.system_identifier);
  EXPECT_EQ(facts.major, GetParam());
  EXPECT_EQ(facts.catalog_version, control.catalog_version);
  EXPECT_EQ(facts.data_directory, server.data_directory());
  EXPECT_EQ(facts.config_file, server.data_directory() + "/postgresql.conf");
  EXPECT_EQ(facts.hba_file, server.data_directory() + "/pg_hba.conf");
  EXPECT_EQ(facts.included_files,
            std::vector<std::string>{server.data_directory() + "/extra.conf"});
  EXPECT_EQ(facts.unix_user.has_value(), true);
  EXPECT_EQ(facts.wal_level, "replica");
  EXPECT_EQ(facts.archive_mode, ArchiveMode::kOn);
  EXPECT_EQ(facts.archive_command, "false");
  EXPECT_EQ(facts.archive_library, "");
  EXPECT_EQ(facts.wal_segment_size, control.wal_segment_size);
  EXPECT_EQ(facts.wal_segment_size.bytes(), 4u << 20);
  EXPECT_EQ(facts.block_size, 8192u);
  EXPECT_TRUE(facts.data_checksums);
  EXPECT_TRUE(facts.full_page_writes);
  EXPECT_FALSE(facts.in_recovery);
  EXPECT_EQ(facts.timeline, pg::TimelineId{1});
  EXPECT_LE(facts.flush_lsn, facts.insert_lsn);
  EXPECT_LE(facts.redo_lsn, facts.insert_lsn);
  EXPECT_GT(facts.redo_lsn, pg::Lsn{0});
  ASSERT_EQ(facts.tablespaces.size(), 1u);
  EXPECT_EQ(facts.tablespaces[0].name, "elsewhere");
  EXPECT_EQ(facts.tablespaces[0].location, space);
  EXPECT_EQ(facts.unix_socket_directories, server.directory());
  EXPECT_EQ(facts.port, 5432);
  EXPECT_FALSE(facts.current_log_file);

  // The archive command fails, and the server says so.
  server.sql("SELECT pg_switch_wal()");
  EXPECT_TRUE(comes_true([&] { return read_archiver_status(connection).is_failing(); }));
  ArchiverStatus status = read_archiver_status(connection);
  EXPECT_GT(status.failed_count, 0u);
  EXPECT_EQ(status.archived_count, 0u);
  EXPECT_TRUE(status.last_failed_wal);
}

TEST_P(EachMajor, IsServedByARoleWithNoMoreThanTheGrantsThatTheHintNames) {
  PostgresServer server(options());
  server.sql("CREATE ROLE holdfast LOGIN");
  Connection poor = server.connect("postgres", "holdfast");
  Error refused =
      error_of([&] { OnlineBackup(server.connect("postgres", "holdfast"), {.label = "no"}); });
  EXPECT_EQ(refused.code(), ErrorCode::kPermission);
  EXPECT_TRUE(refused.message().starts_with("permission denied for function pg_"))
      << refused.message();
  EXPECT_TRUE(contains(refused.detail(), "SQLSTATE 42501")) << refused.detail();
  EXPECT_TRUE(contains(refused.hint(), backup_role_grants(GetParam(), "holdfast")))
      << refused.hint();
  EXPECT_EQ(error_of([&] { read_server_facts(poor); }).code(), ErrorCode::kPermission);

  Connection administrator = server.connect();
  std::string grants = backup_role_grants(GetParam(), "holdfast");
  for (size_t start = 0, end = 0; (end = grants.find(';', start)) != std::string::npos;
       start = end + 1)
    administrator.query(grants.substr(start, end - start));
  Connection rich = server.connect("postgres", "holdfast");
  EXPECT_FALSE(rich.is_superuser());
  EXPECT_EQ(read_server_facts(rich).data_directory, server.data_directory());
  read_archiver_status(rich);
  // Nobody needs the right to read any file by SQL, where the data directory is at hand.
  EXPECT_TRUE(
      wal_files_of_server(rich)(rich.query_value("SELECT pg_walfile_name(pg_current_wal_lsn())")));
  rich.query("SELECT pg_create_restore_point('by holdfast'), pg_switch_wal()");
  OnlineBackup backup(std::move(rich), {.label = "yes"});
  EXPECT_FALSE(backup.stop().backup_label.empty());
}

// --- OnlineBackup -------------------------------------------------------------------------------

TEST_P(EachMajor, StartsAndStopsABackupByItsOwnCalls) {
  PostgresServer server(options({"archive_mode = on", "archive_command = 'false'"}));
  std::string space = server.server_directory().make("space");
  server.sql(fmt::format("CREATE TABLESPACE elsewhere LOCATION '{}'", space));
  OnlineBackup backup(server.connect(), {.label = "nightly 7"});
  EXPECT_FALSE(backup.from_standby());
  server.sql("CREATE TABLE while_it_runs AS SELECT generate_series(1, 1000)");
  backup.check_alive();
  // A broken archive does not hold it up.
  OnlineBackup::Stopped stopped = backup.stop();
  EXPECT_GT(stopped.stop_lsn, backup.start_lsn());
  EXPECT_EQ(pg::parse_backup_label(stopped.backup_label, {}).start_lsn, backup.start_lsn())
      << stopped.backup_label;
  // 13 says master where later servers say primary.
  const char* origin = GetParam() == 13 ? "BACKUP FROM: master\n" : "BACKUP FROM: primary\n";
  EXPECT_TRUE(contains(stopped.backup_label, origin)) << stopped.backup_label;
  EXPECT_TRUE(contains(stopped.backup_label, "BACKUP METHOD: streamed\n")) << stopped.backup_label;
  EXPECT_TRUE(contains(stopped.backup_label, "LABEL: nightly 7\n")) << stopped.backup_label;
  EXPECT_TRUE(stopped.tablespace_map.ends_with(" " + space + "\n")) << stopped.tablespace_map;
  EXPECT_FALSE(stat_if_exists(server.data_directory() + "/backup_label"));
}

TEST_P(EachMajor, LeavesNoTraceOfABackupThatWasNotStopped) {
  PostgresServer server(options());
  pid_t session = 0;
  {
    OnlineBackup abandoned(server.connect(), {.label = "abandoned"});
    session = abandoned.connection().backend_pid();
  }
  EXPECT_TRUE(comes_true([&] {
    return server.value(
               fmt::format("SELECT count(*) FROM pg_stat_activity WHERE pid = {}", session)) == "0";
  }));
  EXPECT_FALSE(stat_if_exists(server.data_directory() + "/backup_label"));
  if (GetParam() < 15) {
    EXPECT_EQ(server.value("SELECT pg_is_in_backup()"), "f");
  }
  EXPECT_TRUE(contains(server.log(), "aborting backup due to backend exiting before"))
      << server.log();
  // The cluster restarts, and the next backup is not disturbed.
  server.restart();
  OnlineBackup next(server.connect(), {.label = "next"});
  EXPECT_FALSE(next.stop().backup_label.empty());
}

TEST(ClusterOnlineBackup, EndsWithTheSessionAndSaysSo) {
  PostgresServer server({});
  OnlineBackup backup(server.connect(), {.label = "cut"});
  server.sql(fmt::format("SELECT pg_terminate_backend({})", backup.connection().backend_pid()));
  EXPECT_EQ(error_of([&] {
              comes_true([&] {
                backup.check_alive();
                return false;
              });
            }).code(),
            ErrorCode::kServerUnavailable);
}

TEST(ClusterOnlineBackup, RefusesALabelAndAServerThatCannotBeUsed) {
  PostgresServer server({.config = {"wal_level = minimal", "max_wal_senders = 0"}});
  Error minimal = error_of([&] { OnlineBackup(server.connect(), {.label = "minimal"}); });
  EXPECT_EQ(minimal.code(), ErrorCode::kServer);
  EXPECT_EQ(minimal.message(), "WAL level not sufficient for making an online backup");
  EXPECT_EQ(minimal.hint(), "Set wal_level = replica in postgresql.conf and restart the server.");
  for (const std::string& label : {std::string("two\nlines"), std::string(1025, 'x')})
    EXPECT_EQ(error_of([&] { OnlineBackup(server.connect(), {.label = label}); }).code(),
              ErrorCode::kUsage);
}

// --- ServerProcess ------------------------------------------------------------------------------

TEST_P(EachMajor, IsSeenRunningStoppedAndCrashed) {
  PostgresServer server(options());
  EXPECT_EQ(server.process().state(), ServerState::kReady);
  std::optional<PostmasterPid> file = read_postmaster_pid(server.data_directory());
  ASSERT_TRUE(file);
  EXPECT_EQ(file->pid, server.pid());
  EXPECT_EQ(file->data_directory, server.data_directory());
  EXPECT_EQ(file->socket_directory, server.directory());
  EXPECT_EQ(file->status, "ready");
  EXPECT_TRUE(file->shared_memory_id);
  std::optional<RunningServer> running = find_running_server(server.data_directory());
  ASSERT_TRUE(running);
  EXPECT_TRUE(running->is_postmaster);
  EXPECT_EQ(parent_of(server.connect().backend_pid()), server.pid());
  Error second = error_of([&] { server.start(); });
  EXPECT_EQ(second.code(), ErrorCode::kBusy) << second.message();

  EXPECT_TRUE(stop_server(server.data_directory(), ShutdownMode::kFast, kPatience, {}));
  EXPECT_EQ(server.process().state(), ServerState::kEnded);
  EXPECT_TRUE(server.process().exit_status()->ok());
  EXPECT_FALSE(find_running_server(server.data_directory()));
  EXPECT_FALSE(stop_server(server.data_directory(), ShutdownMode::kFast, kPatience, {}));
  EXPECT_EQ(read_control_file(server.data_directory()).control.state, pg::ClusterState::kShutDown);

  server.start();
  server.crash();
  EXPECT_TRUE(server.process().exit_status()->signalled);
  EXPECT_TRUE(comes_true([&] { return !find_running_server(server.data_directory()); }));
  EXPECT_TRUE(stat_if_exists(server.data_directory() + "/postmaster.pid"));
  // It has left its shared memory, which proves its end also where no process would be seen.
  EXPECT_FALSE(find_unseen_server(server.data_directory(), {}));
  EXPECT_EQ(read_control_file(server.data_directory()).control.state,
            pg::ClusterState::kInProduction);
  server.start();  // over the stale postmaster.pid
  server.destroy();
  EXPECT_FALSE(stat_if_exists(server.data_directory()));
}

TEST(ClusterServerProcess, SaysInTheServersWordsWhyItDidNotStart) {
  PostgresServer server(
      {.config = {"shared_preload_libraries = 'no_such_library'"}, .start = false});
  Error error = error_of([&] { server.start(); });
  EXPECT_EQ(error.code(), ErrorCode::kServer);
  EXPECT_EQ(error.message(),
            fmt::format("the server on \"{}\" did not start", server.data_directory()));
  EXPECT_TRUE(contains(error.detail(),
                       "exited with status 1. It said: could not access file \"no_such_library\""))
      << error.detail();
  EXPECT_TRUE(contains(
      error.hint(),
      "A library that is missing (shared_preload_libraries) must be installed on this host."))
      << error.hint();
}

TEST(ClusterServerProcess, StopsItsServerWhenItIsForgotten) {
  PostgresServer server({});
  std::string directory = server.data_directory();
  pid_t pid = server.pid();
  server.process().wait_until_ended(milliseconds(0), {});
  server.stop(ShutdownMode::kImmediate);
  {
    ServerProcess forgotten({.installation = server.installation(),
                             .data_directory = directory,
                             .settings = server.command_line_settings(),
                             .log_file = server.log_file(),
                             .run_as = test::server_user()});
    forgotten.wait_until_accepting(ServerProcess::Until::kReady, kPatience, {});
    EXPECT_NE(forgotten.pid(), pid);
  }
  EXPECT_FALSE(find_running_server(directory));
}

// --- Recovery, followed by its log --------------------------------------------------------------

// A primary that archives by cp, a copy of it, and rows before and after a restore point.
class RecoveryTest : public EachMajor {
 protected:
  RecoveryTest() {
    archive_ = directory_.make("archive");
    primary_ = std::make_unique<PostgresServer>(
        options({"archive_mode = on", fmt::format("archive_command = 'cp %p {}/%f'", archive_)}));
    primary_->sql("CREATE TABLE kept (id int)");
    primary_->sql("INSERT INTO kept VALUES (1)");
    primary_->sql("CREATE TABLE untouched AS SELECT 1 AS id");
    copy_ = directory_.make("copy");
    stopped_ = copy_cluster(*primary_, copy_);
    primary_->sql("INSERT INTO kept VALUES (2)");
    primary_->sql("SELECT pg_create_restore_point('before the mistake')");
    primary_->sql("DELETE FROM kept");
    archive_all();
  }

  void archive_all() {
    std::string last = primary_->value("SELECT pg_walfile_name(pg_switch_wal())");
    // Not by the file, which cp may still be writing.
    EXPECT_TRUE(comes_true([&] {
      return stat_if_exists(primary_->data_directory() + "/pg_wal/archive_status/" + last + ".done")
          .has_value();
    }));
  }

  // Writes the recovery settings of a restore.
  void prepare(std::vector<std::string> settings) {
    std::string text = read_text_file(copy_ + "/postgresql.auto.conf");
    text += "archive_mode = off\n";
    text += fmt::format("restore_command = 'cp {}/%f \"%p\"'\n", archive_);
    for (const std::string& setting : settings) text += setting + "\n";
    write_file_durably(copy_ + "/postgresql.auto.conf", as_bytes(text));
    write_file_durably(copy_ + "/recovery.signal", {});
    test::give_to_server_user(copy_);
  }
  static PostgresServer::Options of_copy(const std::string& copy) {
    return {.major = GetParam(), .data_directory = copy, .start = false};
  }

  // Every event from the start of the log until one of `last`.
  std::vector<RecoveryEvent> follow(PostgresServer& server, RecoveryEventKind last) {
    LogFollower follower(server.log_file());
    RecoveryLogParser parser;
    std::vector<RecoveryEvent> events;
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    while (std::chrono::steady_clock::now() < deadline) {
      std::optional<std::string> line = follower.next_line({}, milliseconds(500));
      if (!line) continue;
      for (RecoveryEvent& event : parser.feed(*line)) {
        events.push_back(std::move(event));
        if (events.back().kind == last) return events;
      }
    }
    ADD_FAILURE() << "the log ended before the event was seen:\n" << server.log();
    return events;
  }
  static const RecoveryEvent* find(const std::vector<RecoveryEvent>& events,
                                   RecoveryEventKind kind) {
    auto found = std::ranges::find(events, kind, &RecoveryEvent::kind);
    return found == events.end() ? nullptr : &*found;
  }

  test::ServerDirectory directory_;
  std::string archive_;
  std::string copy_;
  std::unique_ptr<PostgresServer> primary_;
  OnlineBackup::Stopped stopped_;
};
INSTANTIATE_TEST_SUITE_P(Cluster, RecoveryTest, testing::ValuesIn(test::test_majors()), major_name);

TEST_P(RecoveryTest, IsToldStepByStepUpToThePromotion) {
  prepare({"recovery_target_name = 'before the mistake'", "recovery_target_action = promote"});
  PostgresServer recovered(of_copy(copy_));
  recovered.start();
  std::vector<RecoveryEvent> events = follow(recovered, RecoveryEventKind::kReady);

  using Kind = RecoveryEventKind;
  for (Kind kind :
       {Kind::kPreviousState, Kind::kTargetRecoveryStarts, Kind::kRestoredFile, Kind::kRedoStarts,
        Kind::kConsistent, Kind::kReadOnlyReady, Kind::kStopping, Kind::kRedoDone,
        Kind::kLastTransaction, Kind::kNewTimeline, Kind::kArchiveRecoveryComplete, Kind::kReady})
    EXPECT_NE(find(events, kind), nullptr) << static_cast<int>(kind) << "\n" << recovered.log();
  EXPECT_EQ(find(events, Kind::kFailure), nullptr);
  if (testing::Test::HasFailure()) return;
  EXPECT_EQ(find(events, Kind::kTargetRecoveryStarts)->name, "before the mistake");
  EXPECT_EQ(find(events, Kind::kStopping)->name, "before the mistake");
  EXPECT_FALSE(find(events, Kind::kStopping)->time.empty());
  EXPECT_EQ(find(events, Kind::kNewTimeline)->timeline, pg::TimelineId{2});
  EXPECT_EQ(pg::parse_backup_label(stopped_.backup_label, {}).start_lsn,
            find(events, Kind::kRedoStarts)->lsn);
  EXPECT_GE(find(events, Kind::kConsistent)->lsn, find(events, Kind::kRedoStarts)->lsn);

  recovered.process().wait_until_accepting(ServerProcess::Until::kReady, kPatience, {});
  EXPECT_EQ(recovered.value("SELECT string_agg(id::text, ',' ORDER BY id) FROM kept"), "1,2");
  Connection connection = recovered.connect();
  EXPECT_EQ(read_server_facts(connection).timeline, pg::TimelineId{2});
}

TEST_P(RecoveryTest, IsSeenPausedAtItsTargetAndGoesOnWhenAskedTo) {
  prepare({"recovery_target_name = 'before the mistake'"});
  PostgresServer recovered(of_copy(copy_));
  recovered.start();
  EXPECT_NE(
      find(follow(recovered, RecoveryEventKind::kPausedAtTarget), RecoveryEventKind::kStopping),
      nullptr);
  EXPECT_EQ(recovered.process().state(), ServerState::kReadOnly);
  Connection connection = recovered.connect();
  ServerFacts facts = read_server_facts(connection);
  EXPECT_TRUE(facts.in_recovery);
  EXPECT_EQ(facts.timeline, pg::TimelineId{1});
  EXPECT_GT(facts.insert_lsn, stopped_.stop_lsn);
  connection.query("SELECT pg_wal_replay_resume()");
  recovered.process().wait_until_accepting(ServerProcess::Until::kReady, kPatience, {});
  EXPECT_EQ(recovered.value("SELECT count(*) FROM kept"), "2");
}

TEST_P(RecoveryTest, EndsWithAdviceWhenItsTargetIsNotInTheArchive) {
  prepare({"recovery_target_name = 'never made'", "hot_standby = off"});
  PostgresServer recovered(of_copy(copy_));
  Error error = error_of([&] { recovered.start(); });
  EXPECT_EQ(error.code(), ErrorCode::kServer);
  EXPECT_TRUE(
      contains(error.detail(), "recovery ended before configured recovery target was reached"))
      << error.detail();
  EXPECT_TRUE(error.hint().starts_with(advice(RecoveryFailure::kTargetNotReached).meaning))
      << error.hint();
  std::vector<RecoveryEvent> events = follow(recovered, RecoveryEventKind::kShutDown);
  const RecoveryEvent* failure = find(events, RecoveryEventKind::kFailure);
  ASSERT_NE(failure, nullptr);
  EXPECT_EQ(failure->failure, RecoveryFailure::kTargetNotReached);
  EXPECT_NE(find(events, RecoveryEventKind::kStartupProcessEnded), nullptr);
}

TEST_P(RecoveryTest, EndsWithAdviceWhenTheRestoreCommandRefuses) {
  prepare({"restore_command = 'exit 200'"});
  PostgresServer recovered(of_copy(copy_));
  Error error = error_of([&] { recovered.start(); });
  EXPECT_TRUE(error.hint().starts_with(advice(RecoveryFailure::kRestoreCommandFailed).meaning))
      << error.detail() << error.hint();
}

// Real servers of each major fail in each way that can be provoked: their words are known.
//
// Behind the backup the primary goes on, and its archive is kept as it was after each step:
//
//   plain       as RecoveryTest leaves it
//   more        an ordinary checkpoint; a change of "untouched" without an image of its page
//   raised      the shutdown checkpoint of a restart, and a higher max_connections
//   tablespace  CREATE TABLESPACE of a directory that is gone by now
class FailingRecovery : public RecoveryTest {
 protected:
  FailingRecovery() {
    keep_archive("plain");
    // Whole in one page, so that it can be changed in place.
    do {
      primary_->sql("SELECT pg_create_restore_point('another place')");
      primary_->sql("CHECKPOINT");
      const Row row =
          primary_->sql("SELECT redo_lsn, checkpoint_lsn FROM pg_control_checkpoint()").front();
      redo_ = pg::parse_lsn(row[0].value());
      checkpoint_ = pg::parse_lsn(row[1].value());
    } while (checkpoint_.value % 8192 + 200 > 8192);
    primary_->sql("ALTER SYSTEM SET full_page_writes = off");
    primary_->sql("SELECT pg_reload_conf()");
    EXPECT_TRUE(comes_true([&] { return primary_->value("SHOW full_page_writes") == "off"; }));
    primary_->sql("CHECKPOINT");
    primary_->sql("INSERT INTO untouched VALUES (2)");
    archive_all();
    keep_archive("more");

    primary_->sql("ALTER SYSTEM SET max_connections = 150");
    primary_->restart();
    primary_->sql("INSERT INTO kept VALUES (3)");
    archive_all();
    keep_archive("raised");

    const std::string space = directory_.make("space");
    primary_->sql(fmt::format("CREATE TABLESPACE space LOCATION '{}'", space));
    archive_all();
    keep_archive("tablespace");
    primary_->sql("DROP TABLESPACE space");
    remove_tree(space);
  }

  struct Way {
    RecoveryFailure failure;
    std::function<void(const std::string& copy)> spoil = [](const std::string&) {};
    std::vector<std::string> settings = {};
    int first_major = 13;
  };

  std::string kept(const std::string& name) const { return directory_.path() + "/" + name; }
  void keep_archive(const std::string& name) const {
    run_checked({.arguments = {"cp", "-a", archive_, kept(name)}});
  }
  std::string from(const std::string& archive) const {
    return fmt::format("restore_command = 'cp {}/%f \"%p\"'", kept(archive));
  }
  // "more" under another name, with a number in the ordinary checkpoint's record replaced, and the
  // record's checksum made good (xlogrecord.h and pg_control.h, struct CheckPoint).
  template <typename Number>
  std::string with_checkpoint(const std::string& name, size_t offset, Number number) const {
    if (lstat_if_exists(kept(name))) return from(name);
    run_checked({.arguments = {"cp", "-a", kept("more"), kept(name)}});
    const std::string file = join_path(
        kept(name), pg::segment_file_name(
                        {.timeline = {1}, .segment_number = pg::segment_of(checkpoint_, {})}, {}));
    Bytes bytes = read_file(file);
    std::byte* record = bytes.data() + checkpoint_.value % pg::WalSegmentSize{}.bytes();
    constexpr size_t kHeader = 24, kCrc = 20, kMainData = kHeader + 2;
    const auto length = load_le<uint32_t>(record);
    store_le<Number>(record + kMainData + offset, number);
    Bytes covered(record + kHeader, record + length);
    covered.insert(covered.end(), record, record + kCrc);
    store_le<uint32_t>(record + kCrc, pg::crc32c(covered));
    write_file_durably(file, bytes);
    return from(name);
  }
  // Where the record before the ordinary checkpoint's begins.
  uint64_t before_checkpoint() const {
    const Bytes bytes = read_file(
        join_path(kept("more"),
                  pg::segment_file_name(
                      {.timeline = {1}, .segment_number = pg::segment_of(checkpoint_, {})}, {})));
    return load_le<uint64_t>(bytes.data() + checkpoint_.value % pg::WalSegmentSize{}.bytes() + 8);
  }
  // Recovery begins at the ordinary checkpoint: of a backup that no end of a backup is known of.
  void begin_at_checkpoint(const std::string& copy) const { begin_at_checkpoint(copy, redo_); }
  void begin_at_checkpoint(const std::string& copy, pg::Lsn redo) const {
    const std::string label = read_text_file(copy + "/backup_label");
    write_file_durably(
        copy + "/backup_label",
        as_bytes(fmt::format(
            "START WAL LOCATION: {} (file {})\nCHECKPOINT LOCATION: {}\n{}", pg::to_string(redo),
            pg::segment_file_name({.timeline = {1}, .segment_number = pg::segment_of(redo, {})},
                                  {}),
            pg::to_string(checkpoint_), label.substr(label.find("BACKUP METHOD")))));
  }
  static void replace(const std::string& file, const std::string& what, const std::string& by) {
    std::string text = read_text_file(file);
    const size_t at = text.find(what);
    ASSERT_NE(at, std::string::npos) << text;
    write_file_durably(file, as_bytes(text.replace(at, what.size(), by)));
  }

  static void empty_pg_wal(const std::string& copy) {
    for (const DirectoryEntry& entry : list_directory(copy + "/pg_wal"))
      if (entry.name.size() == 24) remove_file(copy + "/pg_wal/" + entry.name);
  }
  static void append(const std::string& file, const std::string& text) {
    write_file_durably(file, as_bytes(read_text_file(file) + text));
  }
  std::vector<Way> ways() const {
    using F = RecoveryFailure;
    const std::string never = "restore_command = 'false'";
    const auto at_checkpoint = [this](const std::string& copy) { begin_at_checkpoint(copy); };
    return {
        {.failure = F::kNoRestoreCommand, .settings = {"restore_command = ''"}},
        {.failure = F::kTimelineMissing, .settings = {"recovery_target_timeline = '9'"}},
        {.failure = F::kNotOnTimeline,
         .spoil =
             [this](const std::string&) {
               write_file_durably(kept("plain") + "/00000007.history",
                                  as_bytes("1\t0/1000028\tx\n"));
             },
         .settings = {"recovery_target_timeline = '7'"}},
        {.failure = F::kStartWalMissing, .spoil = empty_pg_wal, .settings = {never}},
        {.failure = F::kNoValidCheckpoint,
         .spoil =
             [](const std::string& copy) {
               empty_pg_wal(copy);
               remove_file(copy + "/backup_label");
             },
         .settings = {never}},
        {.failure = F::kTargetNotReached,
         .settings = {"recovery_target_name = 'never made'", "hot_standby = off"}},
        {.failure = F::kTargetTooEarly,
         .settings = {fmt::format(
             "recovery_target_lsn = '{}'",
             stopped_.backup_label.substr(20, stopped_.backup_label.find(' ', 20) - 20))}},
        {.failure = F::kInvalidLabel,
         .spoil =
             [](const std::string& copy) {
               write_file_durably(copy + "/backup_label", as_bytes("START WAL\r\n"));
             }},
        {.failure = F::kIncrementalNotCombined,
         .spoil =
             [](const std::string& copy) {
               append(copy + "/backup_label",
                      "INCREMENTAL FROM LSN: 0/1000028\nINCREMENTAL FROM TLI: 1\n");
             },
         .first_major = 17},
        {.failure = F::kSettingsTooLow,
         .settings = {"max_connections = 20", "max_wal_senders = 5"}},
        {.failure = F::kWrongFileSize,
         .spoil = empty_pg_wal,
         .settings = {fmt::format("restore_command = 'head -c 8192 {}/%f > \"%p\"'", archive_)}},
        {.failure = F::kRestoreCommandFailed, .settings = {"restore_command = 'exit 200'"}},
        {.failure = F::kForeignWal,
         .spoil = empty_pg_wal,
         // The system identifier in the first page's header, and its checksum is that of no record.
         .settings = {fmt::format("restore_command = 'cp {}/%f \"%p\" && printf XXXXXXXX | dd "
                                  "of=\"%p\" bs=1 seek=24 conv=notrunc status=none'",
                                  archive_)}},
        {.failure = F::kDamagedControlFile,
         .spoil =
             [](const std::string& copy) {
               Bytes bytes = read_file(copy + "/global/pg_control");
               bytes[40] ^= std::byte{1};
               write_file_durably(copy + "/global/pg_control", bytes);
             }},
        {.failure = F::kWrongProgram,
         .spoil =
             [](const std::string& copy) {
               write_file_durably(copy + "/PG_VERSION", as_bytes("12\n"));
             }},
        {.failure = F::kRecoveryConf,
         .spoil = [](const std::string& copy) { write_file_durably(copy + "/recovery.conf", {}); }},
        {.failure = F::kSeveralTargets,
         .settings = {"recovery_target_xid = '700'", "recovery_target_lsn = '0/9000000'"}},
        {.failure = F::kPermissions,
         .spoil = [](const std::string& copy) { EXPECT_EQ(chmod(copy.c_str(), 0755), 0); }},
        {.failure = F::kInvalidConfiguration, .settings = {"no_such_setting = 1"}},
        {.failure = F::kInvalidConfiguration,
         .settings = {"shared_preload_libraries = 'no_such_library'"}},
        {.failure = F::kBackupEndMissing, .spoil = at_checkpoint, .settings = {from("more")}},
        {.failure = F::kBackupCancelled, .spoil = at_checkpoint, .settings = {from("raised")}},
        // Its redo position is behind itself; no transaction could be next; and, told from 17 on, a
        // record that does not begin a checkpoint is where replay is to begin.
        {.failure = F::kWrongWal,
         .spoil = at_checkpoint,
         .settings = {with_checkpoint("ahead", 0, checkpoint_.value + 8)}},
        {.failure = F::kWrongWal,
         .spoil = at_checkpoint,
         .settings = {with_checkpoint("no_next", GetParam() >= 19 ? 32 : 24, uint64_t{0})}},
        {.failure = F::kWrongWal,
         .spoil =
             [this](const std::string& copy) {
               begin_at_checkpoint(copy, pg::Lsn{before_checkpoint()});
             },
         .settings = {from("more")},
         .first_major = 17},
        {.failure = F::kStartWalMissing,
         .spoil = at_checkpoint,
         .settings = {with_checkpoint("nowhere", 0, before_checkpoint() + 8)}},
        {.failure = F::kMixedTimelines, .settings = {with_checkpoint("mixed", 8, uint32_t{9})}},
        {.failure = F::kLabelDoesNotMatch,
         .spoil =
             [](const std::string& copy) {
               replace(copy + "/backup_label",
                       GetParam() == 13 ? "BACKUP FROM: master" : "BACKUP FROM: primary",
                       "BACKUP FROM: standby");
             }},
        {.failure = F::kMinimalWal,
         .spoil =
             [](const std::string& copy) {
               Bytes bytes = read_file(copy + "/global/pg_control");
               const size_t wal_level = GetParam() >= 19 ? 180 : 172;
               const size_t crc = GetParam() >= 19 ? 308 : GetParam() == 18 ? 292 : 288;
               store_le<uint32_t>(bytes.data() + wal_level, 0);
               store_le<uint32_t>(bytes.data() + crc, pg::crc32c(ByteView(bytes).first(crc)));
               write_file_durably(copy + "/global/pg_control", bytes);
             }},
        {.failure = F::kInvalidPages,
         .spoil =
             [this](const std::string& copy) {
               remove_file(
                   join_path(copy, primary_->value("SELECT pg_relation_filepath('untouched')")));
             },
         .settings = {from("more")}},
        {.failure = F::kTablespaceDirectory, .settings = {from("tablespace"), "hot_standby = off"}},
        {.failure = F::kTablespaceDirectory,
         .spoil =
             [](const std::string& copy) {
               remove_tree(copy + "/pg_tblspc");
               write_file_durably(copy + "/tablespace_map", as_bytes("99999 /nowhere\n"));
             }},
        // By the WAL, in its midst: PostgreSQL 14 and later wait.
        {.failure = F::kSettingsTooLow, .settings = {from("raised")}},
        {.failure = F::kAnotherServer,
         .spoil =
             [this](const std::string& copy) {
               write_file_durably(copy + "/postmaster.pid",
                                  as_bytes(fmt::format("{}\n{}\n", primary_->pid(), copy)));
             }},
        {.failure = F::kAnotherServer,
         .spoil =
             [](const std::string& copy) { write_file_durably(copy + "/postmaster.pid", {}); }},
    };
  }
  void expect_known(const Way& way) {
    SCOPED_TRACE(advice(way.failure).name);
    const std::string whole = directory_.path() + "/whole";
    if (!lstat_if_exists(whole)) rename_path(copy_, whole);
    run_checked({.arguments = {"cp", "-a", whole, copy_}});
    std::vector<std::string> settings = {from("plain")};
    settings.insert(settings.end(), way.settings.begin(), way.settings.end());
    prepare(settings);
    way.spoil(copy_);
    test::give_to_server_user(copy_);
    PostgresServer server(of_copy(copy_));
    std::string said;
    try {
      server.start();
    } catch (const Error& error) {
      said = error.detail();
    }
    // The first cause that has a name, as a restore tells it. A server that waits says it later.
    std::optional<RecoveryFailure> failure;
    EXPECT_TRUE(comes_true([&] {
      failure = first_failure(server.log());
      return failure.has_value() || !server.is_running();
    }));
    ASSERT_TRUE(failure) << server.log() << said;
    EXPECT_EQ(advice(*failure).name, advice(way.failure).name) << server.log();
    if (server.is_running()) server.stop(ShutdownMode::kImmediate);
    remove_tree(copy_);
  }
  static std::optional<RecoveryFailure> first_failure(const std::string& log) {
    RecoveryLogParser parser;
    std::vector<RecoveryEvent> events;
    for (size_t at = 0, end = 0; (end = log.find('\n', at)) != std::string::npos; at = end + 1)
      for (RecoveryEvent& event : parser.feed(log.substr(at, end - at)))
        events.push_back(std::move(event));
    if (std::optional<RecoveryEvent> event = parser.flush()) events.push_back(std::move(*event));
    for (const RecoveryEvent& event : events)
      if (event.kind == RecoveryEventKind::kFailure && event.failure != RecoveryFailure::kOther)
        return event.failure;
    return std::nullopt;
  }

  pg::Lsn redo_, checkpoint_;  // of the ordinary checkpoint
};
class LongFailingRecovery : public FailingRecovery {};
INSTANTIATE_TEST_SUITE_P(Cluster, FailingRecovery, testing::Values(13, test::newest_major()),
                         major_name);
INSTANTIATE_TEST_SUITE_P(Cluster, LongFailingRecovery, testing::ValuesIn(test::test_majors()),
                         major_name);
TEST_P(FailingRecovery, SaysWhyInWordsThatAreKnown) {
  for (const Way& way : ways())
    if (GetParam() >= way.first_major) expect_known(way);
}
TEST_P(LongFailingRecovery, SaysWhyInWordsThatAreKnown) {
  for (const Way& way : ways())
    if (GetParam() >= way.first_major) expect_known(way);
}

TEST_P(RecoveryTest, LeavesAnArchiveAndAWalDirectoryThatTellTheSame) {
  std::vector<WalDirectoryFile> archived = list_wal_directory(archive_, {});
  std::vector<WalDirectoryFile> present =
      list_wal_directory(primary_->data_directory() + "/pg_wal", {});
  std::set<std::string> done;
  for (const WalDirectoryFile& file : present)
    if (file.status == ArchiveStatus::kDone) done.insert(file.name);
  std::set<std::string> kept;
  for (const WalDirectoryFile& file : archived) {
    kept.insert(file.name);
    if (file.parsed.kind == pg::WalFileKind::kSegment) {
      EXPECT_EQ(pg::segment_file(file.front, file.parsed.segment, {}, {}), pg::SegmentFile::kItself)
          << file.name;
    }
  }
  EXPECT_FALSE(done.empty());
  EXPECT_TRUE(std::ranges::includes(kept, done));
}

}  // namespace
}  // namespace holdfast::cluster
