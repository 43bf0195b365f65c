// The server that is meant is the one that is reached: whatever the environment says, and wherever
// the server runs.
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <unistd.h>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/process.h"
#include "cluster/own_server.h"
#include "cluster/server_facts.h"
#include "setup/configured_directory.h"
#include "support/error_of.h"
#include "support/holdfast_command.h"
#include "support/recovery_scene.h"

namespace holdfast::test {
namespace {

namespace fs = std::filesystem;

using Variables = std::vector<std::pair<std::string, std::string>>;

// Each leads libpq elsewhere or spoils the session.
const Variables& hostile() {
  static const Variables variables = {{"PGHOSTADDR", "127.0.0.1"},
                                      {"PGSERVICE", "nowhere"},
                                      {"PGSERVICEFILE", "/nowhere"},
                                      {"PGOPTIONS", "-c role=nobody"},
                                      {"PGTARGETSESSIONATTRS", "standby"},
                                      {"PGTZ", "Mars"},
                                      {"PGPORT", "1"},
                                      {"PGUSER", "nobody"},
                                      {"PGPASSWORD", "secret"}};
  return variables;
}

// Variables of this process, taken out again at the end.
class Environment {
 public:
  explicit Environment(Variables variables) : variables_(std::move(variables)) {
    for (const auto& [name, value] : variables_) setenv(name.c_str(), value.c_str(), 1);
  }
  ~Environment() {
    for (const auto& [name, value] : variables_) unsetenv(name.c_str());
  }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

 private:
  Variables variables_;
};

TEST(OwnServer, IsReachedWhateverTheEnvironmentSays) {
  forget_outer_settings();
  PostgresServer server({.wal_segment_mib = 1});
  const auto ask = [&] {
    return cluster::connect_to_server_of(server.data_directory(), {.conninfo = server.conninfo()},
                                         {})
        .query_value("SELECT pg_catalog.current_setting('data_directory')");
  };
  for (const auto& variable : hostile()) {
    const Environment environment({variable});
    EXPECT_EQ(ask(), server.data_directory()) << variable.first;
  }
  const Environment all(hostile());
  EXPECT_EQ(ask(), server.data_directory());
  EXPECT_STREQ(std::getenv("PGHOSTADDR"), "127.0.0.1");
  // postmaster.pid tells where it listens.
  EXPECT_EQ(cluster::address_of(server.data_directory()),
            fmt::format("host='{}' port=5432", server.directory()));
  // Of production's sessions the environment is a part, and an error says so, without its values.
  const Error error = error_of([&] { server.connect(); });
  EXPECT_EQ(error.code(), ErrorCode::kServerUnavailable);
  EXPECT_NE(error.detail().find("PGHOSTADDR, PGOPTIONS, "), std::string::npos) << error.detail();
  EXPECT_EQ(error.detail().find("secret"), std::string::npos) << error.detail();
}

TEST(OwnServer, IsNoOtherThatAnswersAsIfItWereIt) {
  forget_outer_settings();
  PostgresServer meant({.wal_segment_mib = 1});
  const std::string copy = meant.server_directory().make("copy");
  meant.stop();
  run_checked({.arguments = {"cp", "-a", meant.data_directory() + "/.", copy}});
  meant.start();
  PostgresServer other({.data_directory = copy});  // in all but its directory the same
  const Error error = error_of([&] {
    cluster::connect_to_server_of(meant.data_directory(), {.conninfo = other.conninfo()}, {});
  });
  EXPECT_EQ(error.code(), ErrorCode::kWrongCluster);
  EXPECT_NE(error.detail().find(copy), std::string::npos) << error.detail();
  // One that is dead is nobody's.
  meant.crash();
  EXPECT_EQ(error_of([&] {
              cluster::connect_to_server_of(copy, {.conninfo = meant.conninfo()}, {});
            }).code(),
            ErrorCode::kServerUnavailable);

  // init changes settings: the directory that the configuration names must be the server's, and a
  // path alone does not say so, for every host has the same ones.
  cluster::Connection connection = other.connect();
  cluster::ServerFacts facts = cluster::read_server_facts(connection);
  setup::check_configured_directory(copy, facts);
  facts.system_identifier ^= 1;
  EXPECT_EQ(error_of([&] { setup::check_configured_directory(copy, facts); }).code(),
            ErrorCode::kWrongCluster);
}

TEST(OwnServer, IsReachedAgainAsItWasReached) {
  forget_outer_settings();
  PostgresServer server({.wal_segment_mib = 1});
  std::string way;
  {
    const Environment environment({{"PGHOST", server.directory()},
                                   {"PGPORT", "5432"},
                                   {"PGUSER", "postgres"},
                                   {"PGPASSWORD", "it's \\ secret"}});
    way = cluster::Connection::connect({.conninfo = "dbname=template1"}, {}).parameters();
  }
  EXPECT_EQ(cluster::conninfo_value(way, "password"), "it's \\ secret");
  const Environment environment(hostile());
  EXPECT_EQ(cluster::connect_to_server_of(server.data_directory(), {.conninfo = way}, {})
                .query_value("SELECT pg_catalog.current_database()"),
            "template1");
}

// A drill in a shell from which psql goes to production.
TEST(DrillInAnEnvironment, ChecksTheCopyAndLeavesProductionAlone) {
  RecoveryScene scene({.wal_segment_mib = 1, .config = {"autovacuum = off"}});
  make_directory(scene.path("drills"));
  scene.must({"backup"});
  scene.server().sql(
      "CREATE FUNCTION variables() RETURNS text LANGUAGE plpgsql AS $$ DECLARE found text; BEGIN "
      "CREATE TEMP TABLE v (name text); COPY v FROM PROGRAM 'env | cut -d= -f1'; "
      "SELECT string_agg(name, ' ') INTO found FROM v; DROP TABLE v; RETURN found; END $$");
  scene.server().sql("CREATE TABLE t AS SELECT generate_series(1, 100) AS id");
  scene.archive_current_segment();
  scene.server().sql("INSERT INTO t VALUES (101)");  // not archived: the copy has 100
  write_file_durably(scene.path("check.sql"),
                     as_bytes("SELECT count(*) = 100 FROM t;\n"
                              "SELECT variables() !~ 'PGPASSWORD|PGHOSTADDR|HF_SECRET';\n"
                              "SELECT variables() ~ 'PATH';\n"));
  const std::vector<std::string> words = {
      holdfast_program(),   "--config", scene.config_file(),     "drill", "--drill-directory",
      scene.path("drills"), "--check",  scene.path("check.sql"), "--json"};
  const auto check_of = [](const Json& report, const std::string& name) {
    for (const Json& check : report.at("checks").items())
      if (check.at("name").as_string() == name) return check.at("state").as_string();
    return std::string("absent");
  };

  // Variables that break every session but the copy's.
  Variables variables = hostile();
  variables.emplace_back("HF_SECRET", "token");
  const Captured broken = run({.arguments = words, .environment = variables});
  ASSERT_EQ(broken.status.code, 0) << describe(broken);
  const Json report = Json::parse(broken.out, "report");
  EXPECT_EQ(check_of(report, "sql"), "passed") << report.dump();
  EXPECT_TRUE(report.at("loss").at("seconds").is_null());
  EXPECT_NE(report.at("loss").at("note").as_string().find("could not be asked"), std::string::npos);

  // And one that leads there: a network in which production listens at libpq's address.
  scene.crash();  // a clean stop would archive what the copy is not to have
  const std::string log = scene.path("production.log");
  Process production(
      {.arguments = {holdfast_program(), "run-in-sandbox", "--private-network", "--",
                     scene.server().installation().program("postgres"), "-D",
                     scene.server().data_directory(), "-c", "listen_addresses=127.0.0.1"},
       .output = log,
       .error = "&1"});
  const auto by_socket = [&](const std::string& sql) {
    return scene.server().connect().query_value(sql);
  };
  ASSERT_TRUE(comes_true([&] {
    return read_text_file(log).find("ready to accept connections") != std::string::npos;
  })) << read_text_file(log);
  std::vector<std::string> there = {"nsenter",  "--preserve-credentials",
                                    "--user",   "--net",
                                    "--target", fmt::format("{}", production.pid())};
  there.insert(there.end(), words.begin(), words.end());
  const Captured led = run({.arguments = there, .environment = {{"PGHOSTADDR", "127.0.0.1"}}});
  ASSERT_EQ(led.status.code, 0) << describe(led);
  const Json beside = Json::parse(led.out, "report");
  EXPECT_EQ(beside.at("loss").at("transactions").as_u64(), 1U) << "production was not asked";
  EXPECT_EQ(check_of(beside, "sql"), "passed");
  EXPECT_EQ(by_socket("SELECT count(*) FROM pg_catalog.pg_extension WHERE extname = 'amcheck'"),
            "0");
  // What is true of production alone is false of the copy.
  write_file_durably(scene.path("check.sql"), as_bytes("SELECT count(*) = 101 FROM t;\n"));
  EXPECT_EQ(run({.arguments = there, .environment = {{"PGHOSTADDR", "127.0.0.1"}}}).status.code, 6);
  production.signal(SIGINT);
  production.wait();
}

// --- Containers ---------------------------------------------------------------------------------

// A command with processes, /proc and shared memory of its own, as this user; all of it ends with
// the process that is started.
std::vector<std::string> in_container(std::vector<std::string> command) {
  std::vector<std::string> words = {"unshare",
                                    "--user",
                                    fmt::format("--map-user={}", geteuid()),
                                    fmt::format("--map-group={}", getegid()),
                                    "--pid",
                                    "--ipc",
                                    "--fork",
                                    "--kill-child",
                                    "--mount-proc"};
  words.insert(words.end(), command.begin(), command.end());
  return words;
}

// A cluster whose server runs in a container, with commits that are not archived.
class OtherContainer : public testing::Test {
 protected:
  OtherContainer() : scene_({.wal_segment_mib = 1}), data_(scene_.server().data_directory()) {
    scene_.must({"backup"});
    scene_.server().sql("CREATE TABLE t AS SELECT generate_series(1, 100) AS id");
    scene_.archive_current_segment();
    scene_.server().sql("ALTER SYSTEM SET archive_command = 'false'");
    scene_.server().stop();
    server_.emplace(SpawnOptions{
        .arguments =
            in_container({scene_.server().installation().program("postgres"), "-D", data_}),
        .output = scene_.path("container.log"),
        .error = "&1"});
    EXPECT_TRUE(comes_true([&] {
      return read_text_file(scene_.path("container.log")).find("ready to accept connections") !=
             std::string::npos;
    })) << read_text_file(scene_.path("container.log"));
    query("INSERT INTO t VALUES (101)");
    query("SELECT pg_catalog.pg_switch_wal()");
    query("INSERT INTO t VALUES (102)");
  }
  ~OtherContainer() override { end_container(); }

  std::vector<cluster::Row> query(const std::string& sql) {
    cluster::Connection connection = scene_.server().connect();
    connection.query("SET search_path = public, pg_catalog");
    return connection.query(sql);
  }
  std::string rows() { return query("SELECT count(*) FROM t").at(0).at(0).value(); }
  void end_container() {
    if (!server_) return;
    server_->signal(SIGKILL);
    server_->wait();
    wait_until_deserted(data_);
    server_.reset();
  }
  // In another container on the same volume.
  Captured beside(std::vector<std::string> words) {
    words.insert(words.begin(), {holdfast_program(), "--config", scene_.config_file()});
    return run({.arguments = in_container(words)});
  }
  std::string pid_file() const { return join_path(data_, "postmaster.pid"); }

  RecoveryScene scene_;
  std::string data_;
  std::optional<Process> server_;
};

TEST_F(OtherContainer, ItsServerRunsOnAndWhatItHasFinishedIsSaved) {
  const std::vector<std::vector<std::string>> commands = {
      {"restore", "--in-place", "--yes"},
      {"restore", "--in-place", "--delta", "--yes"},
      {"restore", "--in-place", "--yes", "--server-is-dead"},
      {"restore", "--into", data_, "--delta", "--yes"},
      {"restore", "--in-place", "--resume"}};
  for (const std::vector<std::string>& words : commands) {
    const Captured refused = beside(words);
    EXPECT_EQ(refused.status.code, 5) << describe(refused);
    EXPECT_NE(refused.err.find("a PostgreSQL server is running on"), std::string::npos)
        << refused.err;
    EXPECT_NE(refused.err.find("It answers at socket"), std::string::npos) << refused.err;
  }
  const Captured finish = beside({"finish", data_});
  EXPECT_EQ(finish.status.code, 5) << describe(finish);
  EXPECT_EQ(rows(), "102");

  // The file is the server's word; conninfo knows better.
  rename_path(pid_file(), pid_file() + ".aside");
  const Captured without = beside({"restore", "--in-place", "--yes"});
  EXPECT_EQ(without.status.code, 5) << describe(without);
  EXPECT_NE(without.err.find("It answers at conninfo"), std::string::npos) << without.err;
  rename_path(pid_file() + ".aside", pid_file());

  const Captured salvage = beside({"wal", "salvage", data_, "--json"});
  EXPECT_EQ(salvage.status.code, 5) << describe(salvage);
  const Json saved = Json::parse(salvage.out, "salvage");
  EXPECT_GE(saved.at("archived").items().size(), 1U) << saved.dump();
  for (const Json& name : saved.at("archived").items())
    EXPECT_EQ(name.as_string().find(".partial"), std::string::npos) << saved.dump();
  EXPECT_GE(saved.at("unfinished").as_u64(), 1U) << saved.dump();
  EXPECT_EQ(rows(), "102");
}

TEST_F(OtherContainer, ThatIsGoneIsDeadWhenSomebodySaysSo) {
  end_container();
  const std::vector<std::string> before = listing(data_);
  for (const std::vector<std::string>& words : std::vector<std::vector<std::string>>{
           {"restore", "--in-place", "--yes"}, {"restore", "--in-place", "--delta", "--yes"}}) {
    const Captured refused = beside(words);
    EXPECT_EQ(refused.status.code, 5) << describe(refused);
    EXPECT_NE(refused.err.find(fmt::format("\"{}\" names process 1,", pid_file())),
              std::string::npos)
        << refused.err;
    EXPECT_NE(refused.err.find("--server-is-dead"), std::string::npos) << refused.err;
  }
  const Captured resumed = beside({"restore", "--in-place", "--resume"});
  EXPECT_EQ(resumed.status.code, 5) << describe(resumed);
  const Captured said = beside({"restore", "--in-place", "--resume", "--server-is-dead"});
  EXPECT_NE(said.err.find("holds no recovery to go on with"), std::string::npos) << said.err;
  const Captured finish = beside({"finish", data_});
  EXPECT_EQ(finish.status.code, 5) << describe(finish);
  const Captured paper = beside({"restore", "--in-place", "--dry-run"});
  EXPECT_EQ(paper.status.code, 0) << describe(paper);
  EXPECT_NE(paper.out.find("it is not certain that the server of"), std::string::npos) << paper.out;
  EXPECT_EQ(listing(data_), before);

  const Captured finished = beside({"wal", "salvage", data_});
  EXPECT_EQ(finished.status.code, 5) << describe(finished);
  EXPECT_EQ(finished.out.find(".partial"), std::string::npos) << finished.out;
  const Captured all = beside({"wal", "salvage", data_, "--server-is-dead"});
  EXPECT_EQ(all.status.code, 0) << describe(all);
  EXPECT_NE(all.out.find(".partial"), std::string::npos) << all.out;

  const Captured restored = beside({"restore", "--in-place", "--yes", "--server-is-dead"});
  ASSERT_EQ(restored.status.code, 0) << describe(restored);
  scene_.server().start();
  ASSERT_TRUE(comes_true(
      [&] { return query("SELECT pg_catalog.pg_is_in_recovery()").at(0).at(0) == "f"; }));
  EXPECT_EQ(rows(), "102");
}

// Two hosts with the same path; the address has moved to the other, and the one that was cut off is
// further along.
TEST(Backup, CopiesNoDirectoryOfAnotherServerThatIsFurtherAlong) {
  RecoveryScene scene({});
  const std::string data = scene.server().data_directory();
  const std::string twin_data = scene.path("twin");
  scene.server().stop();
  run_checked({.arguments = {"cp", "-a", data, twin_data}});
  scene.server().start();
  std::ofstream(join_path(twin_data, "postgresql.auto.conf"), std::ios::app)
      << "archive_command = '/bin/true'\n";
  PostgresServer twin({.data_directory = twin_data});
  twin.sql("CREATE TABLE ahead AS SELECT g FROM generate_series(1, 100000) g");
  twin.sql("SELECT pg_switch_wal()");
  twin.sql("CHECKPOINT");
  const Captured refused =
      run({.arguments = {"unshare", "--user", "--map-root-user", "--mount", "sh", "-c",
                         "mount --bind \"$1\" \"$2\" && exec \"$3\" --config \"$4\" backup", "sh",
                         twin_data, data, holdfast_program(), scene.config_file()}});
  EXPECT_EQ(refused.status.code, 1) << describe(refused);
  EXPECT_NE(refused.err.find("is not the server's"), std::string::npos) << refused.err;
  EXPECT_NE(refused.err.find("the server that conninfo leads to has the last checkpoint at"),
            std::string::npos)
      << refused.err;
  scene.must({"backup"});
}

}  // namespace
}  // namespace holdfast::test
