// A cluster as Debian lays it out, with its configuration outside the data directory: both are lost
// and both come back.
//
// pg_createcluster, of the distribution's package, makes it below a directory of the test's own, as
// an ordinary user.
#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>
#include <sys/stat.h>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/file.h"
#include "base/process.h"
#include "cluster/server_process.h"
#include "support/holdfast_command.h"
#include "support/recovery_scene.h"

namespace holdfast::test {
namespace {

using cluster::Connection;

class DebianLayout : public testing::Test {
 protected:
  DebianLayout() {
    forget_outer_settings();
    make_directory(etc());
    run_checked({.arguments = {"pg_createcluster", "15", "main", "--datadir", data(), "--socketdir",
                               directory_.path(), "--port", "5432", "--start-conf", "manual",
                               "--logfile", path("log"), "--", "--auth", "trust"},
                 .environment = {{"PG_CLUSTER_CONF_ROOT", etc()}}});
    // As administrators do: a file in conf.d, another that is included by name, an own order of
    // authentication.
    write("conf.d/local.conf", "work_mem = '7MB'\nlisten_addresses = ''\nfsync = off\n", 0644);
    write("extra.conf", "maintenance_work_mem = '33MB'\n", 0600);
    make_directory(conf("more.d"));
    append("postgresql.conf",
           fmt::format("include '{}'\ninclude_dir 'more.d'\n", conf("extra.conf")));
    append("pg_hba.conf", "# the last line\nlocal all nobody reject\n");
    append("pg_ident.conf", "people /^(.*)$ \\1\n");
    write_file_durably(config_file(),
                       as_bytes(fmt::format("[repo]\nurl = \"{}\"\n[cluster.main]\npgdata = "
                                            "\"{}\"\nconninfo = \"{}\"\n",
                                            path("repo"), data(), conninfo())));
  }
  ~DebianLayout() override {
    process_.reset();
    end_processes_below(directory_.path());
  }

  std::string path(const std::string& name) const { return join_path(directory_.path(), name); }
  std::string data() const { return path("data"); }
  std::string etc() const { return path("etc"); }
  std::string conf(const std::string& name) const { return path("etc/15/main/" + name); }
  std::string config_file() const { return path("holdfast.toml"); }
  std::string conninfo() const {
    return fmt::format("host={} port=5432 user=postgres dbname=postgres", directory_.path());
  }
  void write(const std::string& name, const std::string& text, mode_t mode) {
    write_file_durably(conf(name), as_bytes(text));
    EXPECT_EQ(chmod(conf(name).c_str(), mode), 0);
  }
  void append(const std::string& name, const std::string& text) {
    const mode_t mode = stat_if_exists(conf(name))->st_mode & 07777;
    write(name, read_text_file(conf(name)) + text, mode);
  }
  void start() {
    process_ = std::make_unique<cluster::ServerProcess>(
        cluster::ServerStart{.installation = test_installation(15),
                             .data_directory = data(),
                             .settings = {{"config_file", conf("postgresql.conf")}},
                             .log_file = path("server.log")});
    try {
      process_->wait_until_accepting(cluster::ServerProcess::Until::kReady, std::chrono::minutes(1),
                                     {});
    } catch (const Error& error) {
      FAIL() << error.message() << "\n" << read_text_file(path("server.log"));
    }
  }
  Connection connect() { return Connection::connect({.conninfo = conninfo()}, {}); }
  Json must(std::vector<std::string> words) {
    words.insert(words.begin(), {"--config", config_file(), "--json"});
    const Captured ran = holdfast(words);
    EXPECT_TRUE(ran.status.ok()) << describe(ran);
    return Json::parse(ran.out, "output");
  }
  // Text and mode of each configuration file that the server reads.
  std::map<std::string, std::string> configuration() {
    std::map<std::string, std::string> files;
    for (const char* name :
         {"postgresql.conf", "pg_hba.conf", "pg_ident.conf", "extra.conf", "conf.d/local.conf"}) {
      const std::optional<struct stat> status = stat_if_exists(conf(name));
      files[name] = status ? fmt::format("{:o} {}\n{}", status->st_mode, status->st_uid,
                                         read_text_file(conf(name)))
                           : "absent";
    }
    return files;
  }
  static void expect_in_force(Connection& connection) {
    EXPECT_EQ(connection.query_value("SELECT pg_catalog.count(*) FROM public.kept"), "1000");
    EXPECT_EQ(connection.query_value("SHOW work_mem"), "7MB");
    EXPECT_EQ(connection.query_value("SHOW maintenance_work_mem"), "33MB");
    EXPECT_EQ(connection.query_value("SELECT pg_catalog.count(*) FROM pg_catalog.pg_hba_file_rules "
                                     "WHERE auth_method = 'reject'"),
              "1");
  }

  ServerDirectory directory_;
  std::unique_ptr<cluster::ServerProcess> process_;
};

TEST_F(DebianLayout, ComesBackWithTheConfigurationThatLayOutsideTheDataDirectory) {
  start();
  must({"init", "--configure-server"});
  process_->stop(cluster::ShutdownMode::kFast);
  start();
  connect().query(
      "CREATE TABLE public.kept AS SELECT g AS id FROM pg_catalog.generate_series(1, "
      "1000) g");
  const Json backup = must({"backup"});
  EXPECT_EQ(backup.at("backup").at("external_files").items().size(), 8U);
  const std::map<std::string, std::string> before = configuration();

  // All is lost: data, and /etc with it.
  process_->crash();
  process_.reset();
  wait_until_deserted(data());
  remove_tree(data());
  remove_tree(etc());

  // Elsewhere: a copy starts with this configuration, and neither place of the original appears.
  {
    RestoredServer copy(path("copy"), must({"restore", "--into", path("copy"), "--start"}));
    Connection connection = copy.connect();
    expect_in_force(connection);
    EXPECT_EQ(connection.query_value("SHOW data_directory"), path("copy"));
    for (const char* file : {"config_file", "hba_file", "ident_file"})
      EXPECT_TRUE(
          connection.query_value(fmt::format("SHOW {}", file)).starts_with(path("copy") + "/"))
          << file;
    EXPECT_FALSE(lstat_if_exists(data()));
    EXPECT_FALSE(lstat_if_exists(etc()));
  }

  // In place, by a user who may not write there: the files lie below the data directory.
  make_directory(etc());
  ASSERT_EQ(chmod(etc().c_str(), 0555), 0);
  {
    RestoredServer restored(data(), must({"restore", "--in-place", "--yes", "--start"}));
    Connection connection = restored.connect();
    expect_in_force(connection);
    EXPECT_EQ(connection.query_value("SHOW config_file"),
              data() + "/holdfast_outside" + conf("postgresql.conf"));
  }
  ASSERT_EQ(chmod(etc().c_str(), 0755), 0);
  remove_tree(etc());

  // In place.
  {
    RestoredServer restored(data(), must({"restore", "--in-place", "--yes", "--start"}));
    EXPECT_EQ(configuration(), before);
    EXPECT_EQ(stat_if_exists(data())->st_mode & 07777, 0700U);
    Connection connection = restored.connect();
    expect_in_force(connection);
    EXPECT_EQ(connection.query_value("SHOW config_file"), conf("postgresql.conf"));
    EXPECT_EQ(connection.query_value("SHOW hba_file"), conf("pg_hba.conf"));
    EXPECT_EQ(connection.query_value("SHOW archive_mode"), "on");

    // While it runs, a copy beside it; nothing of the original changes.
    connection.query("CHECKPOINT");
    RestoredServer copy(path("copy"), must({"restore", "--into", path("copy"), "--start"}));
    Connection beside = copy.connect();
    expect_in_force(beside);
    EXPECT_EQ(configuration(), before);

    // Started as Debian starts it, with nothing left over of the recovery.
    EXPECT_TRUE(
        cluster::stop_server(data(), cluster::ShutdownMode::kFast, std::chrono::minutes(1), {}));
    start();
    Connection again = connect();
    expect_in_force(again);
    EXPECT_EQ(again.query_value("SHOW restore_command"), "");
    EXPECT_EQ(again.query_value("SHOW recovery_target_timeline"), "latest");
    process_.reset();
  }
}

// A second cluster of the same host, a standby of the first, takes over: the newest backup is its.
TEST_F(DebianLayout, TheOldPrimaryKeepsItsOwnConfigurationAfterAFailover) {
  start();
  must({"init", "--configure-server"});
  process_->stop(cluster::ShutdownMode::kFast);
  start();
  connect().query(
      "CREATE TABLE public.kept AS SELECT g AS id FROM pg_catalog.generate_series(1, 1000) g");
  const std::string own = must({"backup"}).at("backup").at("id").as_string();

  run_checked({.arguments = {"pg_createcluster", "15", "replica", "--datadir", path("replica"),
                             "--socketdir", directory_.path(), "--port", "6637", "--start-conf",
                             "manual", "--logfile", path("replica-log"), "--", "--auth", "trust"},
               .environment = {{"PG_CLUSTER_CONF_ROOT", etc()}}});
  write_file_durably(path("etc/15/replica/conf.d/local.conf"),
                     as_bytes("listen_addresses = ''\nfsync = off\n"), 0644);
  remove_tree(path("replica"));
  run_checked({.arguments = {test_installation(15).program("pg_basebackup"), "--pgdata",
                             path("replica"), "--checkpoint", "fast", "--no-sync",
                             "--write-recovery-conf", "--dbname", conninfo()}});
  cluster::ServerProcess replica(
      {.installation = test_installation(15),
       .data_directory = path("replica"),
       .settings = {{"config_file", path("etc/15/replica/postgresql.conf")}},
       .log_file = path("replica.log")});
  replica.wait_until_accepting(cluster::ServerProcess::Until::kReadOnly, std::chrono::minutes(1),
                               {});
  process_->stop(cluster::ShutdownMode::kFast);
  const std::string to_replica =
      fmt::format("host={} port=6637 user=postgres dbname=postgres", directory_.path());
  Connection::connect({.conninfo = to_replica}, {}).query("SELECT pg_catalog.pg_promote()");
  const std::string newest = must({"backup", "--pgdata", path("replica"), "--conninfo", to_replica})
                                 .at("backup")
                                 .at("id")
                                 .as_string();

  // Nobody is told to stop the server that has taken over.
  const Captured refused =
      holdfast({"--config", config_file(), "restore", "--in-place", "--yes", "--start", "--backup",
                newest, "--to-immediate", "--port", "6637"});
  EXPECT_EQ(refused.status.code, 1) << describe(refused);
  EXPECT_NE(refused.err.find(fmt::format("{} HAS TAKEN OVER: backup {} is of the primary there",
                                         path("replica"), newest)),
            std::string::npos)
      << refused.err;
  EXPECT_NE(refused.err.find(fmt::format("on \"{}\", a primary, port 6637. It may be production by "
                                         "now: do not stop it",
                                         path("replica"))),
            std::string::npos)
      << refused.err;

  // What is there, the directory's own, with its own port.
  write("conf.d/local.conf", "work_mem = '11MB'\nlisten_addresses = ''\nfsync = off\n", 0644);
  const std::vector<std::string> restore = {"restore",  "--in-place", "--yes",         "--start",
                                            "--backup", newest,       "--to-immediate"};
  const auto expect_own = [&](const RestoredServer& restored, const std::string& words) {
    EXPECT_EQ(restored.result().at("configuration").as_string(), words);
    EXPECT_EQ(connect().query_value("SHOW config_file"), conf("postgresql.conf"));
    EXPECT_EQ(connect().query_value("SHOW hba_file"), conf("pg_hba.conf"));
    EXPECT_EQ(connect().query_value("SHOW work_mem"), "11MB");
    EXPECT_EQ(connect().query_value("SHOW archive_mode"), "on");
  };
  {
    expect_own(RestoredServer(data(), must(restore)),
               "as it is there, but 1 file outside the data directory was there and left, and "
               "differs");
  }
  // The directory is gone: that of its own newest backup, whatever primary there was since.
  std::vector<std::string> on_paper = restore;
  on_paper.emplace_back("--dry-run");
  EXPECT_NE(must(on_paper).at("configuration").as_string().find(own), std::string::npos);
  // There is none any more: Debian's own files tell whose they are.
  must({"backup", "delete", own, "--yes"});
  std::vector<std::string> words = {holdfast_program(), "--config", config_file(), "--json"};
  words.insert(words.end(), restore.begin(), restore.end());
  const std::string result =
      run_checked({.arguments = words, .environment = {{"PG_CLUSTER_CONF_ROOT", etc()}}});
  {
    expect_own(RestoredServer(data(), Json::parse(result, "output")),
               fmt::format("as it is there ({}), with the postgresql.auto.conf of {}:{} (primary), "
                           "without its port and addresses",
                           conf("postgresql.conf"), host_name(), path("replica")));
  }
  replica.stop(cluster::ShutdownMode::kFast);
}

}  // namespace
}  // namespace holdfast::test
