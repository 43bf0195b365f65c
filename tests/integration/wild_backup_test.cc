// Backups of clusters as they are found: odd names and places, files that come, go and change while
// they are copied, disks that cannot be read, sessions and signals that end a backup.
#include <algorithm>
#include <csignal>
#include <fcntl.h>
#include <memory>
#include <poll.h>
#include <stop_token>
#include <string>
#include <sys/socket.h>
#include <sys/un.h>
#include <thread>
#include <unistd.h>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/file.h"
#include "support/file_faults.h"
#include "support/holdfast_command.h"
#include "support/recovery_scene.h"

namespace holdfast::test {
namespace {

// A file of every cluster, which is opened in the middle of the copy.
constexpr const char* kMidway = "global/pg_filenode.map";

class WildBackup : public testing::Test {
 protected:
  WildBackup() : scene_({.wal_segment_mib = 1}) {}

  PostgresServer& server() { return scene_.server(); }
  std::vector<std::string> ids() {
    std::vector<std::string> found;
    const Json list = scene_.must({"backup", "list"});
    for (const Json& backup : list.at("backups").items())
      found.push_back(backup.at("id").as_string());
    return found;
  }
  // No session of a backup, no file of one in the data directory, and no upload is left.
  void expect_nothing_left() {
    EXPECT_TRUE(comes_true([&] {
      return server().value(
                 "SELECT count(*) FROM pg_stat_activity WHERE application_name = "
                 "'holdfast backup'") == "0";
    }));
    EXPECT_FALSE(lstat_if_exists(join_path(server().data_directory(), "backup_label")));
    EXPECT_FALSE(lstat_if_exists(join_path(server().data_directory(), "tablespace_map")));
    EXPECT_TRUE(
        comes_true([&] { return list_directory(join_path(scene_.repository(), ".tmp")).empty(); }));
  }
  void expect_refused_for_its_pooler(const Captured& ended) {
    EXPECT_EQ(ended.status.code, 1) << describe(ended);
    EXPECT_TRUE(ended.err.starts_with(
        "ERROR:  the session that started the backup was replaced by another\n"))
        << ended.err;
    EXPECT_NE(ended.err.find("HINT:  Let conninfo name the server itself, not a pooler."),
              std::string::npos)
        << ended.err;
    EXPECT_TRUE(ids().empty());
  }
  // Of the file of a relation, below the data directory.
  std::string file_of(const std::string& relation, const std::string& database = "postgres") {
    return server().value("SELECT pg_relation_filepath('" + relation + "')", database);
  }

  RecoveryScene scene_;
};

TEST_F(WildBackup, KeepsEveryNameAndPlaceThatAClusterCanHave) {
  const std::string long_name(63, 'n');
  const std::vector<std::string> names = {"with space",   "quo\"te",
                                          "apo'strophe",  "line\nbreak",
                                          "se;mi$(x)`y`", "\xC3\xBCml\xC3\xA4ut \xE2\x98\x83",
                                          long_name};
  // A tablespace whose path is a link to a directory with an odd name.
  const std::string place = scene_.make_tablespace_directory("its place's");
  const std::string link = scene_.path("linked");
  ASSERT_EQ(symlink(place.c_str(), link.c_str()), 0);
  server().sql("CREATE TABLESPACE \"spaced out\" LOCATION " + cluster::quote_literal(link));
  for (const std::string& name : names) {
    server().sql("CREATE DATABASE " + cluster::quote_identifier(name) +
                 " TABLESPACE \"spaced out\"");
    server().sql("CREATE TABLE " + cluster::quote_identifier(name) + " AS SELECT 42 AS answer",
                 name);
  }
  server().sql("CREATE UNLOGGED TABLE fleeting AS SELECT generate_series(1, 1000) AS g");
  server().sql("CREATE TABLE kept AS SELECT generate_series(1, 1000) AS g");
  const std::string fleeting = file_of("fleeting");
  // pg_wal on a disk of its own, as it were.
  server().stop();
  const std::string wal = join_path(server().data_directory(), "pg_wal");
  rename_path(wal, scene_.path("wal disk"));
  ASSERT_EQ(symlink(scene_.path("wal disk").c_str(), wal.c_str()), 0);
  write_file_durably(join_path(server().data_directory(), "a file of nobody's\n"),
                     as_bytes("kept"));
  make_directory(join_path(server().data_directory(), "base/pgsql_tmp"));
  write_file_durably(join_path(server().data_directory(), "base/pgsql_tmp/pgsql_tmp1.0"),
                     as_bytes("temporary"));
  server().start();

  scene_.must({"backup"});
  const std::string moved = scene_.server().server_directory().make("moved");
  const std::unique_ptr<RestoredServer> restored =
      scene_.restore_into("restored", {"--tablespace", link + "=" + moved});
  for (const std::string& name : names)
    EXPECT_EQ(restored->connect(name).query_value("SELECT answer FROM public." +
                                                  cluster::quote_identifier(name)),
              "42")
        << name;
  EXPECT_EQ(restored->value("SELECT pg_catalog.count(*) FROM public.kept"), "1000");
  EXPECT_EQ(restored->value("SELECT pg_catalog.count(*) FROM public.fleeting"), "0");
  EXPECT_TRUE(
      lstat_if_exists(join_path(restored->directory(), "a file of nobody's\n")).has_value());
  EXPECT_FALSE(lstat_if_exists(join_path(restored->directory(), "base/pgsql_tmp/pgsql_tmp1.0")));
  const Json shown = scene_.must({"backup", "show", "latest"});
  EXPECT_EQ(shown.at("backup").at("tablespaces").items().size(), 1U);
}

TEST_F(WildBackup, IsWholeWhateverHappensToFilesWhileTheyAreCopied) {
  const std::string rows = " AS SELECT g, md5(g::text) FROM generate_series(1, 20000) g";
  for (const char* table : {"dropped", "truncated", "shrunk", "grown", "rewritten"})
    server().sql("CREATE TABLE " + std::string(table) + rows);
  server().sql("CREATE DATABASE there");
  HeldCommand backup(scene_, {"-q", "backup"}, kMidway);
  server().sql("DROP TABLE dropped");
  server().sql("TRUNCATE truncated");
  server().sql("DELETE FROM shrunk WHERE g > 10");
  server().sql("VACUUM shrunk");
  server().sql("INSERT INTO grown SELECT g, md5(g::text) FROM generate_series(20001, 60000) g");
  server().sql("CREATE UNLOGGED TABLE fleeting AS SELECT generate_series(1, 1000) AS g");
  server().sql("VACUUM FULL rewritten");
  server().sql("CREATE DATABASE by_wal TEMPLATE there STRATEGY wal_log");
  server().sql("CREATE DATABASE by_files TEMPLATE there STRATEGY file_copy");
  for (const char* database : {"by_wal", "by_files"})
    server().sql("CREATE TABLE made AS SELECT 42 AS answer", database);
  server().sql("DROP DATABASE there");
  server().sql("CHECKPOINT");
  const Captured ended = backup.release();
  ASSERT_TRUE(ended.status.ok()) << describe(ended);

  const std::unique_ptr<RestoredServer> restored =
      scene_.restore_into("restored", {"--to-immediate"});
  auto value = [&](const std::string& statement) { return restored->value(statement); };
  EXPECT_EQ(value("SELECT pg_catalog.to_regclass('public.dropped') IS NULL"), "t");
  for (const auto& [table, count] :
       {std::pair{"truncated", "0"}, std::pair{"shrunk", "10"}, std::pair{"grown", "60000"},
        std::pair{"rewritten", "20000"}, std::pair{"fleeting", "0"}})
    EXPECT_EQ(value(fmt::format("SELECT pg_catalog.count(*) FROM public.{}", table)), count)
        << table;
  for (const char* database : {"by_wal", "by_files"})
    EXPECT_EQ(restored->connect(database).query_value("SELECT answer FROM public.made"), "42");
  EXPECT_EQ(value("SELECT pg_catalog.count(*) FROM pg_catalog.pg_database WHERE datname = 'there'"),
            "0");
}

TEST_F(WildBackup, RecordsWhatTheDiskCannotReadAndGoesOn) {
  server().sql("CREATE TABLE worn AS SELECT g, md5(g::text) FROM generate_series(1, 20000) g");
  server().sql("CHECKPOINT");
  scene_.must({"backup"});
  const std::vector<std::string> good = ids();
  const std::string file = file_of("worn");
  const Captured ran = run_with_unreadable(
      scene_, {"backup", "--json"}, {.path_end = file, .from = 5 * 8192 + 100, .to = 7 * 8192});
  EXPECT_EQ(ran.status.code, 3) << describe(ran);
  const Json document = Json::parse(ran.out, ran.out);
  EXPECT_TRUE(document.at("backup").at("damaged").as_bool());
  const Json::Array& damaged = document.at("damaged").items();
  ASSERT_EQ(damaged.size(), 2U) << ran.out;
  for (size_t i = 0; i < damaged.size(); ++i) {
    EXPECT_EQ(damaged[i].at("path").as_string(), file);
    EXPECT_EQ(damaged[i].at("block").as_u64(), 5 + i);
    EXPECT_EQ(damaged[i].at("reason").as_u64(), 3U);
  }
  EXPECT_NE(
      ran.err.find(fmt::format("WARNING:  block 5 of \"{}\" is damaged: it cannot be read", file)),
      std::string::npos)
      << ran.err;
  // It is there, and nobody takes it for a good one.
  EXPECT_EQ(ids().size(), good.size() + 1);
  const std::unique_ptr<RestoredServer> restored = scene_.restore_into("restored", {});
  EXPECT_EQ(restored->result().at("plan").at("backup").as_string(), good.back());
  EXPECT_EQ(restored->value("SELECT pg_catalog.count(*) FROM public.worn"), "20000");
}

TEST_F(WildBackup, RecordsARelationMapThatIsDamaged) {
  server().sql("CREATE DATABASE unlucky");
  const std::string map =
      fmt::format("base/{}/pg_filenode.map",
                  server().value("SELECT oid FROM pg_database WHERE datname = 'unlucky'"));
  const std::string path = join_path(server().data_directory(), map);
  Bytes content = read_file(path);
  content[20] ^= std::byte{1};
  pwrite_all(open_file(path, O_WRONLY), content, 0, path);
  const Captured ran = scene_.run({"backup"});
  EXPECT_EQ(ran.status.code, 3) << describe(ran);
  EXPECT_NE(ran.out.find(fmt::format("damaged: block 0 of \"{}\"\n", map)), std::string::npos)
      << ran.out;
  EXPECT_NE(ran.err.find("its checksum does not match"), std::string::npos) << ran.err;
}

TEST_F(WildBackup, EndsCleanlyBySignals) {
  for (const int signal : {SIGINT, SIGTERM}) {
    HeldCommand backup(scene_, {"-q", "backup"}, kMidway);
    backup.process().signal(signal);
    const Captured ended = backup.release();
    EXPECT_EQ(to_string(ended.status), "exited with status 130") << describe(ended);
    EXPECT_TRUE(ids().empty());
    expect_nothing_left();
  }
  scene_.must({"backup"});
}

TEST_F(WildBackup, EndsWhenItsSessionIsEnded) {
  {
    HeldCommand backup(scene_, {"-q", "backup"}, kMidway);
    server().sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = "
        "'holdfast backup'");
    const Captured ended = backup.release();
    EXPECT_EQ(ended.status.code, 1) << describe(ended);
    EXPECT_NE(ended.err.find("terminating connection due to administrator command"),
              std::string::npos)
        << ended.err;
    EXPECT_TRUE(ids().empty());
    expect_nothing_left();
  }
  // The server is gone in the middle, and comes back.
  {
    HeldCommand backup(scene_, {"-q", "backup"}, kMidway);
    scene_.crash();
    const Captured ended = backup.release();
    EXPECT_EQ(ended.status.code, 1) << describe(ended);
    EXPECT_NE(ended.err.find("the connection to the server was lost"), std::string::npos)
        << ended.err;
  }
  server().start();
  EXPECT_TRUE(ids().empty());
  expect_nothing_left();
  scene_.must({"backup"});
}

// Between client and server, as a connection pooler in transaction mode: when the backup has
// started, the next statement goes to another session.
class SwitchingProxy {
 public:
  SwitchingProxy(const std::string& directory, const std::string& server_socket)
      : server_(server_socket) {
    make_directory(directory);
    listener_ = Fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const sockaddr_un address = address_of(join_path(directory, ".s.PGSQL.5432"));
    EXPECT_EQ(bind(listener_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address),
              0);
    EXPECT_EQ(listen(listener_.get(), 4), 0);
    thread_ = std::jthread([this](std::stop_token stop) { serve(stop); });
  }

 private:
  static sockaddr_un address_of(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    return address;
  }
  static bool readable(const Fd& fd) {
    pollfd entry{.fd = fd.get(), .events = POLLIN, .revents = 0};
    return poll(&entry, 1, 20) > 0;
  }
  // What is there; empty at the end.
  static std::string receive(const Fd& fd) {
    std::string bytes(65536, '\0');
    const ssize_t count = recv(fd.get(), bytes.data(), bytes.size(), 0);
    bytes.resize(count > 0 ? static_cast<size_t>(count) : 0);
    return bytes;
  }
  static void pass(const Fd& fd, const std::string& bytes) {
    for (size_t done = 0; done < bytes.size();) {
      const ssize_t count = send(fd.get(), bytes.data() + done, bytes.size() - done, MSG_NOSIGNAL);
      if (count <= 0) return;
      done += static_cast<size_t>(count);
    }
  }
  static bool is_ready(const std::string& bytes) {
    return bytes.ends_with(std::string("Z\0\0\0\5I", 6));
  }
  Fd connect_to_server() const {
    Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const sockaddr_un address = address_of(server_);
    EXPECT_EQ(connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    return fd;
  }
  void serve(const std::stop_token& stop) {
    while (!stop.stop_requested() && !readable(listener_)) {
    }
    if (stop.stop_requested()) return;
    const Fd client(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    Fd first = connect_to_server(), second;
    const std::string greeting = receive(client);
    pass(first, greeting);
    bool starts_backup = false;
    while (!stop.stop_requested()) {
      const Fd& server = second.is_open() ? second : first;
      if (readable(client)) {
        const std::string bytes = receive(client);
        if (bytes.empty()) return;
        starts_backup |= bytes.find("pg_backup_start(") != std::string::npos;
        pass(server, bytes);
      }
      if (!readable(server)) continue;
      const std::string bytes = receive(server);
      if (bytes.empty()) return;
      pass(client, bytes);
      if (!starts_backup || second.is_open() || !is_ready(bytes)) continue;
      second = connect_to_server();
      pass(second, greeting);
      for (std::string answer; !is_ready(answer);) {
        const std::string more = receive(second);
        if (more.empty()) return;
        answer += more;
      }
    }
  }

  std::string server_;
  Fd listener_;
  std::jthread thread_;
};

TEST_F(WildBackup, IsRefusedBehindAPoolerThatChangesItsSession) {
  const SwitchingProxy proxy(scene_.path("proxy"), scene_.path(".s.PGSQL.5432"));
  const Captured ended = scene_.run(
      {"-q", "backup", "--conninfo",
       fmt::format("host={} port=5432 user=postgres dbname=postgres", scene_.path("proxy"))});
  expect_refused_for_its_pooler(ended);
}

// PgBouncer, as Debian has it: a session of the server serves one client after the other, so what
// is set in it would hold for the application too.
TEST_F(WildBackup, IsRefusedThroughPgbouncerAndLeavesItsSessionsAsTheyWere) {
  for (const char* mode : {"transaction", "session"}) {
    SCOPED_TRACE(mode);
    const std::string directory = scene_.path(fmt::format("pgbouncer-{}", mode));
    make_directory(directory);
    const std::string configuration = join_path(directory, "pgbouncer.ini");
    write_file_durably(configuration, as_bytes(fmt::format(
                                          "[databases]\n* = host={} port=5432 user=postgres\n"
                                          "[pgbouncer]\nlisten_port = 5432\nunix_socket_dir = {}\n"
                                          "auth_type = any\npool_mode = {}\ndefault_pool_size = 1\n"
                                          "server_reset_query =\nlogfile = {}/log\n",
                                          scene_.directory(), directory, mode, directory)));
    Process pooler(SpawnOptions{.arguments = {"/usr/sbin/pgbouncer", "-q", configuration},
                                .output = join_path(directory, "out"),
                                .error = "&1"});
    const std::string conninfo =
        fmt::format("host={} port=5432 user=postgres dbname=postgres", directory);
    ASSERT_TRUE(comes_true([&] {
      return pooler.poll() || lstat_if_exists(join_path(directory, ".s.PGSQL.5432")).has_value();
    }));
    ASSERT_FALSE(pooler.poll()) << read_text_file(join_path(directory, "out"));
    const auto applications_search_path = [&] {
      return run_checked({.arguments = {server().installation().program("psql"), "-XAt", "--dbname",
                                        conninfo, "--command", "SHOW search_path"}});
    };
    EXPECT_EQ(applications_search_path(), "\"$user\", public\n");
    for (const std::vector<std::string>& command :
         {std::vector<std::string>{"backup"}, {"check", "--read-only"}}) {
      std::vector<std::string> words = {"-q", "--conninfo", conninfo};
      words.insert(words.end(), command.begin(), command.end());
      const Captured ended = scene_.run(words);
      EXPECT_EQ(ended.status.code, 1) << describe(ended);
      for (const char* told : {"the server is reached through a connection pooler",
                               "Let conninfo name the server itself, which listens on port 5432"})
        EXPECT_NE((ended.out + ended.err).find(told), std::string::npos) << describe(ended);
      EXPECT_EQ(applications_search_path(), "\"$user\", public\n");
    }
    EXPECT_TRUE(ids().empty());
  }
}

// The server allows several, and so does the repository: neither has to wait for the other.
TEST_F(WildBackup, CanBeTakenTwiceAtTheSameTime) {
  server().sql("CREATE TABLE kept AS SELECT generate_series(1, 1000) AS g");
  HeldCommand first(scene_, {"-q", "backup"}, kMidway);
  scene_.must({"backup"});
  const Captured ended = first.release();
  EXPECT_TRUE(ended.status.ok()) << describe(ended);
  const std::vector<std::string> both = ids();
  ASSERT_EQ(both.size(), 2U);
  for (const std::string& id : both) {
    const std::unique_ptr<RestoredServer> restored =
        scene_.restore_into("restored", {"--backup", id, "--to-immediate"});
    EXPECT_EQ(restored->value("SELECT pg_catalog.count(*) FROM public.kept"), "1000");
  }
}

// What a role is given for the sake of others: none of it may end a backup.
TEST_F(WildBackup, IsNotEndedByTimeoutsOfItsRole) {
  for (const char* setting :
       {"statement_timeout = '1s'", "lock_timeout = '1s'",
        "idle_in_transaction_session_timeout = '1s'", "idle_session_timeout = '500ms'"})
    server().sql("ALTER ROLE postgres SET " + std::string(setting));
  HeldCommand backup(scene_, {"-q", "backup"}, kMidway);
  // Held for longer than any of them, and asked a question only each second.
  const std::string idle =
      "SELECT backend_start < clock_timestamp() - interval '4 seconds' FROM pg_stat_activity WHERE "
      "application_name = 'holdfast backup'";
  EXPECT_TRUE(comes_true([&] { return server().value(idle) == "t"; }));
  const Captured ended = backup.release();
  EXPECT_TRUE(ended.status.ok()) << describe(ended);
}

TEST(WildBackupSegments, OfSixtyFourMebibytesWithoutChecksumsComeBack) {
  RecoveryScene scene({.wal_segment_mib = 64});
  scene.server().stop();
  run_checked({.arguments = {scene.server().installation().program("pg_checksums"), "--disable",
                             "-D", scene.server().data_directory()}});
  scene.server().start();
  scene.server().sql("CREATE TABLE kept AS SELECT generate_series(1, 1000) AS g");
  const Json backup = scene.must({"backup"}).at("backup");
  EXPECT_FALSE(backup.at("data_checksums").as_bool());
  scene.server().sql("INSERT INTO kept SELECT generate_series(1, 1000)");
  scene.archive_current_segment();
  scene.destroy();
  const std::unique_ptr<RestoredServer> restored = scene.restore_in_place();
  EXPECT_EQ(restored->value("SELECT pg_catalog.count(*) FROM public.kept"), "2000");
}

// After pg_upgrade or a new initdb: another system identifier under the same name.
TEST(WildBackupLineage, OfANewServerLeavesTheOldOneRestorableAndTheirWalApart) {
  RecoveryScene scene({.wal_segment_mib = 1});
  scene.server().sql("CREATE TABLE kept AS SELECT 'old' AS of");
  const std::string old_id = scene.must({"backup"}).at("backup").at("id").as_string();
  const std::string old_segment = scene.archive_current_segment();
  const std::string archive_command = scene.server().value("SHOW archive_command");

  PostgresServer next({.major = 17,
                       .config = {"archive_mode = on",
                                  "archive_command = " + cluster::quote_literal(archive_command)},
                       .wal_segment_mib = 1});
  auto of_next = [&](std::vector<std::string> words) {
    words.insert(words.end(), {"--conninfo", next.conninfo(), "--pgdata", next.data_directory(),
                               "--bindir", next.installation().bin_directory});
    return words;
  };
  const Captured refused = scene.run(of_next({"init"}));
  EXPECT_EQ(refused.status.code, 1);
  EXPECT_NE(refused.err.find("--new-lineage"), std::string::npos) << refused.err;
  EXPECT_EQ(scene.must(of_next({"init", "--new-lineage"})).at("lineage").at("name").as_string(),
            "17-1");
  next.sql("CREATE TABLE kept AS SELECT 'new' AS of");
  const std::string new_id = scene.must(of_next({"backup"})).at("backup").at("id").as_string();

  // Each server's WAL goes into its own lineage, though the names are the same.
  auto holds = [&](const std::string& lineage, const std::string& segment) {
    return lstat_if_exists(fmt::format("{}/clusters/main/{}/wal/00000001/{}/{}", scene.repository(),
                                       lineage, segment.substr(0, 16), segment))
        .has_value();
  };
  const std::string next_segment = scene.archive_current_segment(next.connect());
  EXPECT_TRUE(comes_true([&] { return holds("17-1", next_segment); }));
  EXPECT_TRUE(holds("15-1", scene.archive_current_segment()));
  // And neither is served the other's: a name that both have is each time the asking server's.
  auto system_of = [](PostgresServer& server) {
    return server.value("SELECT system_identifier FROM pg_control_system()");
  };
  int served = 0;
  for (PostgresServer* asking : {&scene.server(), &next})
    for (const std::string& segment : {old_segment, next_segment}) {
      const std::string got = scene.path("got");
      remove_file_if_exists(got);
      const Captured get =
          scene.run({"wal", "get", segment, got, "--read-ahead", "0"}, asking->data_directory());
      if (get.status.code != 0) continue;
      ++served;
      constexpr size_t kSystemIdentifier = 24;  // in a segment's first page
      EXPECT_EQ(fmt::format("{}", load_le<uint64_t>(read_file(got).data() + kSystemIdentifier)),
                system_of(*asking))
          << segment;
    }
  EXPECT_GE(served, 2);

  // The newest lineage is restored unless a backup of the older is named.
  const std::unique_ptr<RestoredServer> newest = std::make_unique<RestoredServer>(
      scene.path("newest"),
      scene.must(of_next({"restore", "--into", scene.path("newest"), "--start"})));
  EXPECT_EQ(newest->value("SELECT of FROM public.kept"), "new");
  EXPECT_EQ(newest->result().at("plan").at("backup").as_string(), new_id);
  newest->destroy();
  const std::unique_ptr<RestoredServer> old = scene.restore_into("old", {"--backup", old_id});
  EXPECT_EQ(old->value("SELECT of FROM public.kept"), "old");
  EXPECT_EQ(scene.must({"backup", "show", old_id}).at("backup").at("id").as_string(), old_id);
}

// The programs of PostgreSQL 13 that pg_upgrade asks for. Its packages here have none that read
// pg_control, which is the same in 13 and 15: 15's do it, on a copy that says it were 15's.
std::string programs_of_13(const std::string& directory) {
  const std::string old_bin = test_installation(13).bin_directory;
  const std::string new_bin = test_installation(15).bin_directory;
  make_directory(directory);
  auto script = [&](const std::string& name, const std::string& text) {
    const std::string path = join_path(directory, name);
    write_file_durably(path, as_bytes("#!/bin/sh\n" + text));
    EXPECT_EQ(chmod(path.c_str(), 0755), 0);
  };
  script("postgres", fmt::format("exec {}/postgres \"$@\"\n", old_bin));
  script("pg_ctl", fmt::format("exec {}/pg_ctl \"$@\"\n", old_bin));
  script("pg_controldata", fmt::format("exec {}/pg_controldata \"$@\"\n", new_bin));
  script("pg_resetwal", fmt::format("set -e\n"
                                    "for last; do :; done\n"
                                    "case $1 in -V|--version) exec {0}/pg_resetwal \"$@\" ;; esac\n"
                                    "copy={1}/copy\n"
                                    "rm -rf $copy\n"
                                    "mkdir -m 700 -p $copy/global $copy/pg_wal/archive_status\n"
                                    "echo 15 >$copy/PG_VERSION\n"
                                    "cp \"$last/global/pg_control\" $copy/global/\n"
                                    "cp \"$last\"/pg_wal/0* $copy/pg_wal/\n"
                                    "exec {0}/pg_resetwal -n $copy\n",
                                    new_bin, directory));
  return directory;
}

TEST(WildBackupLineage, OfAPgUpgradeBeginsAnewAndWhatWasBeforeItStaysRestorable) {
  RecoveryScene scene({.major = 13, .wal_segment_mib = 1});
  scene.server().sql("CREATE TABLE kept AS SELECT 'old' AS of");
  const std::string old_id = scene.must({"backup"}).at("backup").at("id").as_string();
  scene.server().sql("INSERT INTO kept VALUES ('behind the backup')");
  scene.archive_current_segment();
  const std::string archive_command = scene.server().value("SHOW archive_command");
  scene.server().stop();

  PostgresServer next({.major = 15,
                       .config = {"archive_mode = on",
                                  "archive_command = " + cluster::quote_literal(archive_command)},
                       .wal_segment_mib = 1,
                       .start = false});
  const std::string work = scene.path("upgrade");
  make_directory(work);
  run_checked(
      {.arguments = {next.installation().program("pg_upgrade"), "-b",
                     programs_of_13(scene.path("programs")), "-B",
                     next.installation().bin_directory, "-d", scene.server().data_directory(), "-D",
                     next.data_directory(), "-U", "postgres", "-s", work},
       .directory = work});
  next.start();
  EXPECT_EQ(next.value("SELECT count(*) FROM kept"), "2");

  // The new server's WAL has the old one's timeline, and names that go on from it: none is taken
  // until its lineage has begun.
  next.sql("INSERT INTO kept VALUES ('new')");
  const std::string segment = next.value("SELECT pg_walfile_name(pg_switch_wal())");
  const Captured refused = scene.run({"wal", "push", "pg_wal/" + segment}, next.data_directory());
  EXPECT_EQ(refused.status.code, 1) << describe(refused);
  EXPECT_NE(refused.err.find("--new-lineage"), std::string::npos) << refused.err;
  auto of_next = [&](std::vector<std::string> words) {
    words.insert(words.end(), {"--conninfo", next.conninfo(), "--pgdata", next.data_directory(),
                               "--bindir", next.installation().bin_directory});
    return words;
  };
  EXPECT_EQ(scene.must(of_next({"init", "--new-lineage"})).at("lineage").at("name").as_string(),
            "15-1");
  const std::string new_id = scene.must(of_next({"backup"})).at("backup").at("id").as_string();

  const std::unique_ptr<RestoredServer> newest = std::make_unique<RestoredServer>(
      scene.path("newest"),
      scene.must(of_next({"restore", "--into", scene.path("newest"), "--start"})));
  EXPECT_EQ(newest->result().at("plan").at("backup").as_string(), new_id);
  EXPECT_EQ(newest->value("SELECT pg_catalog.string_agg(of, ', ' ORDER BY of) FROM public.kept"),
            "behind the backup, new, old");
  newest->destroy();
  const std::unique_ptr<RestoredServer> old = scene.restore_into("old", {"--backup", old_id});
  EXPECT_EQ(old->value("SELECT pg_catalog.string_agg(of, ', ' ORDER BY of) FROM public.kept"),
            "behind the backup, old");
  EXPECT_TRUE(old->value("SHOW server_version").starts_with("13."));
}

}  // namespace
}  // namespace holdfast::test
