// Drills: what they measure and find, what they leave behind, and that production notices nothing.
#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <memory>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/file.h"
#include "base/random.h"
#include "base/time.h"
#include "cluster/running_server.h"
#include "cluster/server_process.h"
#include "pg/page.h"
#include "repo/drill_report.h"
#include "repo/layout.h"
#include "repo/repository.h"
#include "restore/aside.h"
#include "store/open_store.h"
#include "support/holdfast_command.h"
#include "support/recovery_scene.h"

namespace holdfast::test {
namespace {

namespace fs = std::filesystem;

Json check_of(const Json& report, const std::string& name) {
  for (const Json& check : report.at("checks").items())
    if (check.at("name").as_string() == name) return check;
  return {};
}
std::string state_of(const Json& report, const std::string& name) {
  const Json check = check_of(report, name);
  return check.is_null() ? "absent" : check.at("state").as_string();
}

// A cluster with a backup and archived commits behind it, and a directory for its drills.
class DrillScene : public RecoveryScene {
 public:
  // On a slow machine autovacuum would commit something meanwhile, which would count as lost.
  explicit DrillScene(int major = 15)
      : RecoveryScene({.major = major, .wal_segment_mib = 1, .config = {"autovacuum = off"}}) {
    make_directory(drills());
    server().sql("CREATE TABLE orders AS SELECT g AS id FROM generate_series(1, 1000) g");
    must({"backup"});
    server().sql("INSERT INTO orders SELECT g FROM generate_series(1001, 1200) g");
    archive_current_segment();
  }
  std::string drills() const { return path("drills"); }
  Captured drill(std::vector<std::string> words = {}) const {
    words.insert(words.begin(), {"drill", "--drill-directory", drills()});
    return run(words);
  }
  // The report of a drill that ends with that status.
  Json report(std::vector<std::string> words, int status) const {
    words.emplace_back("--json");
    const Captured ran = drill(words);
    EXPECT_EQ(ran.status.code, status) << describe(ran);
    EXPECT_TRUE(is_empty_directory(drills())) << "the sandbox was left";
    return Json::parse(ran.out, "report");
  }
  std::string sql_file(const std::string& text) const {
    const std::string file = path("check.sql");
    write_file_durably(file, as_bytes(text));
    return file;
  }
  size_t documents() const {
    const std::string folder = join_path(repository(), "clusters/main/drills");
    return is_directory(folder) ? list_directory(folder).size() : 0;
  }
};

class Drill : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(EachMajor, Drill, testing::ValuesIn(outer_majors()),
                         [](const testing::TestParamInfo<int>& tested) {
                           return std::to_string(tested.param);
                         });

TEST_P(Drill, BringsTheClusterBackMeasuresItAndKeepsTheEvidence) {
  DrillScene scene(GetParam());
  // Committed and never archived: what the repository alone cannot give back.
  for (int order = 1; order <= 3; ++order)
    scene.server().sql(fmt::format("INSERT INTO orders VALUES ({})", 5000 + order));
  const pg::Lsn flushed = pg::parse_lsn(scene.server().value("SELECT pg_current_wal_flush_lsn()"));
  const std::string page = scene.path("report.html");
  const Json report = scene.report(
      {"--rto", "1h", "--rpo", "1h", "--report", page, "--check",
       scene.sql_file("SELECT count(*) = 1200 FROM orders;\nSELECT id > 0 FROM orders;\n")},
      0);
  EXPECT_TRUE(report.at("passed").as_bool());
  EXPECT_TRUE(report.at("sandboxed").as_bool());

  const Json& recovery = report.at("recovery");
  const double whole = recovery.at("seconds").as_double();
  double parts = 0;
  for (const char* part :
       {"plan_seconds", "lay_seconds", "replay_seconds", "promote_seconds", "write_seconds"})
    parts += recovery.at(part).as_double();
  EXPECT_GT(recovery.at("lay_seconds").as_double(), 0);
  EXPECT_GT(recovery.at("replay_seconds").as_double(), 0);
  EXPECT_NEAR(parts, whole, 0.001);

  const Json& loss = report.at("loss");
  EXPECT_EQ(loss.at("transactions").as_u64(), 3U);
  EXPECT_GT(loss.at("wal_bytes").as_u64(), 0U);
  // Where the server was when the drill began.
  const pg::Lsn noted = pg::parse_lsn(loss.at("flushed").as_string());
  EXPECT_GE(noted, flushed);
  EXPECT_LT(noted - flushed, scene.segment_size().bytes() / 4);
  EXPECT_GT(loss.at("seconds").as_double(), 0);
  EXPECT_LT(loss.at("seconds").as_double(), 3600);

  for (const char* name : {"recovered", "databases", "sql", "pages"})
    EXPECT_EQ(state_of(report, name), "passed") << report.dump();
  // The pinned servers come without their clients.
  EXPECT_EQ(
      state_of(report, "dump"),
      lstat_if_exists(scene.server().installation().program("pg_dump")) ? "passed" : "not run");
  EXPECT_EQ(check_of(report, "sql").at("count").as_u64(), 2U);
  EXPECT_GT(check_of(report, "pages").at("count").as_u64(), 1000U);
  for (const char* field : {"host", "processor", "file_system", "cache"})
    EXPECT_FALSE(report.at("machine").at(field).as_string().empty()) << field;

  // The evidence, as document and as a page.
  EXPECT_EQ(scene.documents(), 1U);
  const std::string id = report.at("id").as_string();
  EXPECT_EQ(scene.must({"drill", "show", "latest"}).dump(), report.dump());
  EXPECT_EQ(scene.must({"drill", "show", id.substr(0, 12)}).at("id").as_string(), id);
  EXPECT_EQ(scene.must({"drill", "list"}).at("drills").items().size(), 1U);
  EXPECT_NE(scene.run({"drill", "list"}).out.find(id), std::string::npos);
  EXPECT_EQ(scene.run({"drill", "show", id, "--html"}).out, read_text_file(page));
  EXPECT_NE(read_text_file(page).find("3 transactions of the last"), std::string::npos);
}

// Every connection to the recovered server takes a second longer, the one that writes too: its time
// belongs to the recovery, and that of the checks, which connect as well, does not.
TEST(DrillClock, RunsUpToTheFirstWriteAndNotThroughTheChecks) {
  DrillScene scene;
  // Without a reload: production itself does not notice.
  scene.server().sql("ALTER SYSTEM SET post_auth_delay = 1");
  scene.must({"backup"});
  scene.server().sql("INSERT INTO orders VALUES (1)");
  scene.archive_current_segment();
  const Json report = scene.report({}, 0);
  const double recovery = report.at("recovery").at("seconds").as_double();
  const double checks = report.at("check_seconds").as_double();
  EXPECT_GE(report.at("recovery").at("write_seconds").as_double(), 1);
  EXPECT_GE(checks, 2);
  // The report's own two times, around all of it.
  const Microseconds all =
      parse_time(report.at("finished").as_string()) - parse_time(report.at("started").as_string());
  EXPECT_LE(recovery + checks, std::chrono::duration<double>(all).count() + 0.1);
}

// A cluster that no test takes away: in each it has archived whatever it committed.
class DrillOfOneCluster : public testing::Test {
 protected:
  static void TearDownTestSuite() { scene_.reset(); }
  static DrillScene& scene() {
    if (!scene_) scene_ = std::make_unique<DrillScene>();
    return *scene_;
  }
  static std::unique_ptr<DrillScene> scene_;
};
std::unique_ptr<DrillScene> DrillOfOneCluster::scene_;

TEST_F(DrillOfOneCluster, LosesNothingWhenEverythingIsArchived) {
  DrillScene& scene = DrillOfOneCluster::scene();
  const Json report = scene.report({"--rpo", "0s"}, 0);
  EXPECT_EQ(report.at("loss").at("transactions").as_u64(), 0U);
  EXPECT_EQ(report.at("loss").at("seconds").as_double(), 0);
}

// The server goes on while the drill restores.
TEST_F(DrillOfOneCluster, DoesNotCountWhatIsCommittedAfterTheDisaster) {
  DrillScene& scene = DrillOfOneCluster::scene();
  const std::string words = scene.path("words of a busy one");
  Process drill({.arguments = {holdfast_program(), "--config", scene.config_file(), "drill",
                               "--drill-directory", scene.drills(), "--json"},
                 .output = scene.path("busy.json"),
                 .error = words,
                 .new_process_group = true});
  ASSERT_TRUE(
      comes_true([&] { return read_text_file(words).find("laying files") != std::string::npos; },
                 std::chrono::seconds(120)))
      << read_text_file(words);
  scene.server().sql("CREATE TABLE committed_later AS SELECT 7 AS id");
  ASSERT_EQ(drill.wait().code, 0) << read_text_file(words);
  const Json report = Json::parse(read_text_file(scene.path("busy.json")), "report");
  EXPECT_EQ(report.at("loss").at("transactions").as_u64(), 0U) << report.dump();
  EXPECT_EQ(report.at("loss").at("seconds").as_double(), 0);
  scene.archive_current_segment();
}

TEST(DrillLoss, IsUnknownWhereNobodyCanBeAsked) {
  DrillScene scene;
  scene.crash();
  const Json report = scene.report({}, 0);
  EXPECT_TRUE(report.at("loss").at("seconds").is_null());
  EXPECT_TRUE(report.at("loss").at("transactions").is_null());
  EXPECT_NE(report.at("loss").at("note").as_string().find("could not be asked"), std::string::npos);
  // What is not known cannot be shown to be little.
  const Json missed = scene.report({"--rpo", "1h"}, 6);
  EXPECT_FALSE(missed.at("passed").as_bool());
}

TEST_F(DrillOfOneCluster, ThatMissesItsObjectiveHasStatusSixAndIsKept) {
  DrillScene& scene = DrillOfOneCluster::scene();
  const size_t before = scene.documents();
  scene.server().sql("INSERT INTO orders VALUES (1)");
  const Json late = scene.report({"--rto", "1ms"}, 6);
  EXPECT_NE(late.at("missed").items().at(0).as_string().find("was allowed"), std::string::npos);
  const Json lossy = scene.report({"--rpo", "0s"}, 6);
  EXPECT_NE(lossy.at("missed").items().at(0).as_string().find("would be lost"), std::string::npos);
  EXPECT_EQ(scene.documents(), before + 2);
  scene.archive_current_segment();
}

TEST(DrillChecks, NameWhatFailed) {
  DrillScene scene;
  // An index that is out of order: its operators have changed their minds.
  scene.server().sql(
      "CREATE FUNCTION backwards(int, int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT "
      "btint4cmp($1, $2)'");
  scene.server().sql(
      "CREATE OPERATOR CLASS backwards_ops FOR TYPE int USING btree AS OPERATOR 1 <, OPERATOR 2 "
      "<=, OPERATOR 3 =, OPERATOR 4 >=, OPERATOR 5 >, FUNCTION 1 backwards(int, int)");
  scene.server().sql("CREATE INDEX out_of_order ON orders (id backwards_ops)");
  scene.server().sql(
      "CREATE OR REPLACE FUNCTION backwards(int, int) RETURNS int LANGUAGE sql IMMUTABLE AS "
      "'SELECT btint4cmp($2, $1)'");
  scene.archive_current_segment();
  const Json report = scene.report(
      {"--check",
       scene.sql_file("SELECT true;\n\nSELECT count(*) = 3 FROM orders;\nSELECT 1/0 = 1;\n"
                      "SELECT id > 1 FROM orders;\nSELECT true WHERE false;\nSELECT true, true;\n"
                      "SELECT 'yes';\n\\connect nowhere\nSELECT true;\n")},
      6);
  const Json sql = check_of(report, "sql");
  EXPECT_EQ(sql.at("count").as_u64(), 8U);
  std::string said;
  for (const Json& failure : sql.at("failures").items()) said += failure.as_string() + "\n";
  for (const char* words :
       {"line 3: SELECT count(*) = 3 FROM orders: false",
        "line 4: SELECT 1/0 = 1: division by zero", "line 5: SELECT id > 1 FROM orders: false",
        "line 6: SELECT true WHERE false: it gave no row",
        "line 7: SELECT true, true: it gave 2 columns", "line 8: SELECT 'yes': it gave \"yes\"",
        "line 10: SELECT true: "})
    EXPECT_NE(said.find(words), std::string::npos) << words << "\n" << said;
  EXPECT_EQ(sql.at("failure_count").as_u64(), 7U) << said;

  const Json indexes = check_of(report, "indexes");
  ASSERT_EQ(indexes.at("state").as_string(), "failed") << report.dump();
  EXPECT_EQ(indexes.at("failure_count").as_u64(), 1U);
  EXPECT_NE(indexes.at("failures").items().at(0).as_string().find("out_of_order"),
            std::string::npos);
  EXPECT_EQ(state_of(report, "tables"), "passed");
}

TEST(DrillChecks, FindADamagedPage) {
  DrillScene scene;
  const std::string file = join_path(scene.server().data_directory(),
                                     scene.server().value("SELECT pg_relation_filepath('orders')"));
  scene.server().sql("CHECKPOINT");
  scene.server().stop();
  Bytes bytes = read_file(file);
  bytes[bytes.size() - 100] ^= std::byte{1};
  write_file_durably(file, bytes);
  scene.server().start();
  EXPECT_EQ(scene.run({"backup"}).status.code, 3);
  scene.server().sql("CREATE TABLE later AS SELECT 1 AS one");
  scene.archive_current_segment();
  // The damaged backup is taken when it is named alone.
  EXPECT_EQ(state_of(scene.report({}, 0), "pages"), "passed");
  const Json report = scene.report({"--backup", "latest"}, 6);
  EXPECT_EQ(check_of(report, "pages").at("failure_count").as_u64(), 1U) << report.dump();
  EXPECT_EQ(state_of(report, "dump"), "failed");
}

// What watches over production's sessions (triggers, libraries, settings, closed databases), and a
// file as a full disk leaves it, is no damage of a copy.
class DrillOfAGuardedCluster : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Majors, DrillOfAGuardedCluster, testing::Values(15, 17),
                         [](const testing::TestParamInfo<int>& tested) {
                           return std::to_string(tested.param);
                         });

TEST_P(DrillOfAGuardedCluster, IsNotHinderedByWhatGuardsIt) {
  const bool event_triggers_can_be_off = GetParam() >= 17;
  DrillScene scene(GetParam());
  const std::string file = join_path(scene.server().data_directory(),
                                     scene.server().value("SELECT pg_relation_filepath('orders')"));
  scene.server().sql("CHECKPOINT");
  write_all(open_file(file, O_WRONLY | O_APPEND), Bytes(pg::kPageBytes / 2), file);
  scene.must({"backup"});
  scene.server().sql("CREATE DATABASE guarded");
  for (const char* database : {"postgres", "guarded"}) {
    scene.server().sql(
        "CREATE FUNCTION deny() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN IF "
        "current_setting('data_directory') LIKE '%/holdfast-drill-%' THEN RAISE 'only in the "
        "change window'; END IF; END $$",
        database);
    scene.server().sql("CREATE EVENT TRIGGER ddl ON ddl_command_start EXECUTE FUNCTION deny()",
                       database);
    if (event_triggers_can_be_off) {
      scene.server().sql("CREATE EVENT TRIGGER login ON login EXECUTE FUNCTION deny()", database);
      scene.server().sql("ALTER EVENT TRIGGER login ENABLE ALWAYS", database);
    }
  }
  scene.server().sql("ALTER EVENT TRIGGER ddl ENABLE ALWAYS", "guarded");
  cluster::Connection connection = scene.server().connect();
  for (const char* statement :
       {"CREATE ROLE limited", "ALTER ROLE postgres SET role = limited",
        "ALTER DATABASE postgres SET default_transaction_read_only = on",
        "ALTER DATABASE postgres SET session_preload_libraries = 'not_on_this_host'",
        "ALTER DATABASE template1 ALLOW_CONNECTIONS false"})
    connection.query(statement);
  // An index that calls what only the application's search_path finds; from 17 on the server lets
  // nobody make one.
  const bool has_such_indexes = GetParam() < 17;
  if (has_such_indexes)
    for (const char* statement :
         {"RESET ROLE", "ALTER DATABASE postgres SET search_path = app, public",
          "CREATE SCHEMA app", "CREATE SCHEMA other", "SET search_path = app, other",
          "CREATE FUNCTION app.known(text) RETURNS text LANGUAGE sql AS 'SELECT $1'",
          "CREATE FUNCTION other.hidden(text) RETURNS text LANGUAGE sql AS 'SELECT $1'",
          "CREATE FUNCTION app.a(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN "
          "known($1); END'",
          "CREATE FUNCTION app.b(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN "
          "hidden($1); END'",
          "CREATE TABLE app.people AS SELECT 'x'::text AS n",
          "CREATE INDEX by_a ON app.people (app.a(n))",
          "CREATE INDEX by_b ON app.people (app.b(n))"})
      connection.query(statement);
  scene.archive_current_segment(std::move(connection));

  const Json report = scene.report({}, 0);
  EXPECT_EQ(check_of(report, "databases").at("count").as_u64(), 2U) << report.dump();
  for (const char* name : {"indexes", "tables"}) {
    const Json check = check_of(report, name);
    EXPECT_EQ(check.at("state").as_string(), "passed") << report.dump();
    std::string note;
    if (!event_triggers_can_be_off)
      note =
          "Not in database \"guarded\", where amcheck cannot be made: only in the change window: "
          "The server answered with SQLSTATE P0001.";
    if (has_such_indexes && std::string_view(name) == "indexes")
      note +=
          " In database \"postgres\" 1 could not be looked at, because the database's own "
          "functions, "
          "names or rights refuse it; the first: index app.by_b: function hidden(text) does not "
          "exist: The server answered with SQLSTATE 42883.";
    EXPECT_EQ(check.at("note").as_string(), note);
  }
  EXPECT_NE(check_of(report, "pages")
                .at("note")
                .as_string()
                .find("has 4096 bytes behind the last whole page"),
            std::string::npos)
      << report.dump();
}

TEST(DrillOfAClusterThatCannotStart, NamesTheSettingAndLeavesItsLogWhenItIsToBeKept) {
  DrillScene scene;
  const std::string file = join_path(scene.server().data_directory(), "postgresql.conf");
  write_file_durably(file, as_bytes(read_text_file(file) + "lc_monetary = 'xx_XX'\n"));
  scene.must({"backup"});
  scene.server().sql("INSERT INTO orders VALUES (1)");
  scene.archive_current_segment();
  const Captured ran = scene.drill();
  EXPECT_EQ(ran.status.code, 1) << describe(ran);
  for (const char* told : {"invalid value for parameter \"lc_monetary\": \"xx_XX\"",
                           "It is removed with the drill's directory; --keep leaves that."})
    EXPECT_NE(ran.err.find(told), std::string::npos) << ran.err;
  EXPECT_EQ(ran.err.find(".."), std::string::npos) << ran.err;
  EXPECT_TRUE(is_empty_directory(scene.drills()));
  const Captured kept = scene.drill({"--keep"});
  EXPECT_EQ(kept.status.code, 1) << describe(kept);
  EXPECT_FALSE(is_empty_directory(scene.drills()));
}

TEST(DrillOfAClosedCluster, SaysAsWhomAndWhereItCouldNotBegin) {
  DrillScene scene;
  scene.server().sql("CREATE DATABASE app");
  cluster::Connection connection = scene.server().connect("app");
  connection.query(
      "UPDATE pg_database SET datallowconn = false WHERE datname IN ('postgres', 'template1')");
  scene.archive_current_segment(std::move(connection));
  const Captured refused = scene.drill();
  EXPECT_EQ(refused.status.code, 1) << describe(refused);
  for (const char* database : {"postgres", "template1"})
    EXPECT_NE(refused.err.find(fmt::format(
                  "As \"postgres\" in database \"{0}\": could not connect to the PostgreSQL "
                  "server",
                  database)),
              std::string::npos)
        << refused.err;
  EXPECT_NE(refused.err.find("database \"template1\" is not currently accepting connections"),
            std::string::npos)
      << refused.err;
  const Captured ran = scene.drill({"--conninfo", scene.server().conninfo("app")});
  EXPECT_TRUE(ran.status.ok()) << describe(ran);
}

TEST(DrillChecks, FailWhenThereIsNothingToCompare) {
  RecoveryScene scene({.major = 15, .wal_segment_mib = 1});
  scene.must({"backup"});
  scene.crash();
  const Captured ran = scene.run({"drill", "--drill-directory", scene.directory()});
  EXPECT_EQ(ran.status.code, 6) << describe(ran);
  EXPECT_NE(ran.out.find("nothing to compare"), std::string::npos) << ran.out;
}

TEST_F(DrillOfOneCluster, RecoversAChosenMomentAndCountsNothingLater) {
  DrillScene& scene = DrillOfOneCluster::scene();
  scene.server().sql("CREATE TABLE mistaken AS SELECT g AS id FROM generate_series(1, 70) g");
  const std::string moment = scene.server().value("SELECT clock_timestamp()");
  scene.server().sql("DROP TABLE mistaken");
  scene.archive_current_segment();
  const Json report = scene.report(
      {"--to", moment, "--check", scene.sql_file("SELECT count(*) = 70 FROM mistaken")}, 0);
  EXPECT_TRUE(report.at("loss").at("seconds").is_null());
  EXPECT_EQ(state_of(report, "recovered"), "passed");
}

// --- How it ends --------------------------------------------------------------------------------

// One whose checks do not end, once it is at them. What it says goes to the file `words`.
Process drill_that_stays(const DrillScene& scene, const std::string& words) {
  Process drill({.arguments = {holdfast_program(), "--config", scene.config_file(), "drill",
                               "--drill-directory", scene.drills(), "--check",
                               scene.sql_file("SELECT pg_sleep(600) IS NULL")},
                 .output = words,
                 .error = "&1",
                 .new_process_group = true});
  EXPECT_TRUE(
      comes_true([&] { return read_text_file(words).find("checking: sql") != std::string::npos; },
                 std::chrono::seconds(120)))
      << read_text_file(words);
  return drill;
}

TEST_F(DrillOfOneCluster, LeavesNothingWhenItIsInterrupted) {
  DrillScene& scene = DrillOfOneCluster::scene();
  const std::string words = scene.path("words");
  Process drill = drill_that_stays(scene, words);
  drill.signal(SIGINT);
  EXPECT_EQ(drill.wait().code, 130) << read_text_file(words);
  EXPECT_TRUE(is_empty_directory(scene.drills()));
  wait_until_deserted(scene.drills());
}

TEST_F(DrillOfOneCluster, RemovesWhatOneThatWasKilledHasLeft) {
  DrillScene& scene = DrillOfOneCluster::scene();
  const std::string words = scene.path("words of the killed");
  Process drill = drill_that_stays(scene, words);
  // Beside one that is at work nothing is removed.
  scene.sql_file("SELECT true");
  ASSERT_EQ(scene.drill().status.code, 0);
  ASSERT_EQ(list_directory(scene.drills()).size(), 1U);
  const std::string left = join_path(scene.drills(), list_directory(scene.drills()).front().name);
  EXPECT_FALSE(drill.poll());
  drill.signal(SIGKILL);
  drill.wait();
  ASSERT_TRUE(cluster::find_running_server(join_path(left, "data")));

  // A stranger's directory, and one that was kept, stay.
  make_directory(join_path(scene.drills(), "holdfast-drill-kept"));
  const Captured next = scene.drill();
  EXPECT_EQ(next.status.code, 0) << describe(next);
  EXPECT_NE(next.err.find("which a drill that was killed had left"), std::string::npos) << next.err;
  EXPECT_FALSE(lstat_if_exists(left));
  EXPECT_FALSE(cluster::find_running_server(join_path(left, "data")));
  remove_tree(join_path(scene.drills(), "holdfast-drill-kept"));
  EXPECT_TRUE(is_empty_directory(scene.drills()));
  wait_until_deserted(scene.drills());
}

TEST(DrillEnd, LeavesNothingButItsReportWhenTheRecoveryFails) {
  DrillScene scene;
  const std::string object = scene.wal_object(scene.archived_segments().back()).value();
  Bytes bytes = read_file(object);
  bytes[bytes.size() - 200] ^= std::byte{0x40};
  write_file_durably(object, bytes);
  const Captured ran = scene.drill({"--timeout", "0s"});
  EXPECT_EQ(ran.status.code, 1) << describe(ran);
  EXPECT_TRUE(is_empty_directory(scene.drills()));
  wait_until_deserted(scene.drills());
  const Json report = scene.must({"drill", "show", "latest"});
  EXPECT_FALSE(report.at("passed").as_bool());
  EXPECT_NE(report.at("error").as_string().find("recovery on"), std::string::npos);
  EXPECT_NE(scene.run({"drill", "list"}).out.find("failed"), std::string::npos);
}

TEST_F(DrillOfOneCluster, WritesNothingWhereThereIsNoSpace) {
  const char* disk = std::getenv("HOLDFAST_SMALL_DISK");
  ASSERT_NE(disk, nullptr);
  DrillScene& scene = DrillOfOneCluster::scene();
  const Captured ran = scene.run({"drill", "--drill-directory", disk, "--json"});
  EXPECT_EQ(ran.status.code, 1) << describe(ran);
  EXPECT_EQ(Json::parse(ran.out, "error").at("code").as_string(), "no_space");
  EXPECT_NE(ran.err.find("--drill-directory"), std::string::npos);
  for (const DirectoryEntry& entry : list_directory(disk))
    EXPECT_FALSE(entry.name.starts_with("holdfast-drill")) << entry.name;
}

TEST_F(DrillOfOneCluster, LeavesItRunningWhenItIsToBeKept) {
  DrillScene& scene = DrillOfOneCluster::scene();
  const Captured ran = scene.drill({"--keep", "--json"});
  ASSERT_EQ(ran.status.code, 0) << describe(ran);
  const Json report = Json::parse(ran.out, "report");
  const std::string kept = report.at("kept_directory").as_string();
  EXPECT_EQ(cluster::Connection::connect({.conninfo = report.at("connect").as_string()}, {})
                .query_value("SELECT pg_catalog.count(*) FROM public.orders WHERE id > 1"),
            "1199");
  EXPECT_TRUE(
      cluster::stop_server(kept, cluster::ShutdownMode::kFast, std::chrono::minutes(2), {}));
  remove_tree(parent_path(kept));
}

// --- Production ---------------------------------------------------------------------------------

// Whatever the running server itself writes is left out: its WAL, its statistics, the files of its
// slots and origins (their rows are compared).
std::vector<std::string> files_of_production(const RecoveryScene& scene) {
  std::vector<std::string> lines =
      contents(join_path(const_cast<RecoveryScene&>(scene).server().data_directory(), "base"));
  return lines;
}

TEST(DrillBesideProduction, ChangesNothingOfIt) {
  RecoveryScene scene({.major = 15,
                       .wal_segment_mib = 1,
                       .config = {"wal_level = logical", "autovacuum = off",
                                  "max_logical_replication_workers = 4"}});
  PostgresServer& production = scene.server();
  production.sql("ALTER SYSTEM SET wal_level = logical");
  production.restart();
  make_directory(scene.path("drills"));
  const std::string early = scene.make_tablespace_directory("early");
  production.sql(fmt::format("CREATE TABLESPACE early LOCATION '{}'", early));
  production.sql("CREATE TABLE kept TABLESPACE early AS SELECT 1 AS id");
  production.sql("CREATE DATABASE source");
  production.sql("CREATE TABLE sent (id int PRIMARY KEY)", "source");
  production.sql("CREATE PUBLICATION published FOR TABLE sent", "source");
  production.sql("SELECT pg_create_logical_replication_slot('subscribed', 'pgoutput')", "source");
  production.sql("CREATE TABLE sent (id int PRIMARY KEY)");
  production.sql(fmt::format(
      "CREATE SUBSCRIPTION subscribed CONNECTION {} PUBLICATION published WITH (create_slot = "
      "false, slot_name = subscribed)",
      cluster::quote_literal(production.conninfo("source"))));
  production.sql("SELECT pg_create_physical_replication_slot('kept', true)");
  scene.must({"backup"});
  production.sql("INSERT INTO sent SELECT g FROM generate_series(1, 10) g", "source");
  ASSERT_TRUE(comes_true([&] { return production.value("SELECT count(*) FROM sent") == "10"; }));
  const std::string late = scene.make_tablespace_directory("late");
  production.sql(fmt::format("CREATE TABLESPACE late LOCATION '{}'", late));
  production.sql(
      "CREATE TABLE in_it TABLESPACE late AS SELECT g AS id FROM generate_series(1, 9) g");
  production.sql("CHECKPOINT");
  scene.archive_current_segment();
  // From here on nobody writes; what the recovered copy would do to it is all that could.
  const char* subscriptions =
      "SELECT string_agg(s.subname || ' ' || coalesce(p.pid::text, '-') || ' ' || "
      "coalesce(t.apply_error_count::text, '-') || ' ' || coalesce(t.stats_reset::text, '-'), ';') "
      "FROM pg_subscription s LEFT JOIN pg_stat_subscription p ON p.subid = s.oid LEFT JOIN "
      "pg_stat_subscription_stats t ON t.subid = s.oid";
  const char* slots =
      "SELECT string_agg(slot_name || ' ' || coalesce(active_pid::text, '-') || ' ' || "
      "coalesce(restart_lsn::text, '-'), ';' ORDER BY slot_name) FROM pg_replication_slots WHERE "
      "slot_type = 'physical'";
  const char* logical =
      "SELECT coalesce(active_pid::text, '-') FROM pg_replication_slots WHERE slot_name = "
      "'subscribed'";
  production.sql("CHECKPOINT");
  const std::string subscriptions_before = production.value(subscriptions);
  const std::string slots_before = production.value(slots);
  const std::string logical_before = production.value(logical);
  const std::vector<std::string> files_before = files_of_production(scene);
  const std::vector<std::string> early_before = listing(early), late_before = listing(late);
  const std::vector<std::string> archived_before = scene.archived_segments();
  ASSERT_NE(subscriptions_before.find("subscribed"), std::string::npos);
  ASSERT_NE(logical_before, "-");
  const size_t objects_before = contents(scene.repository()).size();

  const Captured ran = scene.run({"drill", "--drill-directory", scene.path("drills"), "--json"});
  ASSERT_EQ(ran.status.code, 0) << describe(ran);
  EXPECT_TRUE(Json::parse(ran.out, "report").at("sandboxed").as_bool());

  EXPECT_EQ(production.value(subscriptions), subscriptions_before);
  EXPECT_EQ(production.value(slots), slots_before);
  EXPECT_EQ(production.value(logical), logical_before);
  EXPECT_EQ(files_of_production(scene), files_before);
  EXPECT_EQ(listing(early), early_before);
  EXPECT_EQ(listing(late), late_before);
  EXPECT_EQ(scene.archived_segments(), archived_before);
  EXPECT_EQ(scene.archived_segments(2), std::vector<std::string>{});
  // The drill's own document; the intents that kept others from expiring what it read and what its
  // recovery asked for; and their ends.
  EXPECT_EQ(contents(scene.repository()).size(), objects_before + 5);
  EXPECT_TRUE(is_empty_directory(scene.path("drills")));
  production.restart();
  EXPECT_EQ(production.value("SELECT count(*) FROM in_it"), "9");
}

// --- The real cluster ---------------------------------------------------------------------------

class DrillDestroy : public testing::Test {
 protected:
  DrillDestroy() {
    side_ = scene_.make_tablespace_directory("side");
    scene_.server().sql(fmt::format("CREATE TABLESPACE side LOCATION '{}'", side_));
    scene_.server().sql(
        "CREATE TABLE kept TABLESPACE side AS SELECT g AS id FROM generate_series(1, 50) g");
    scene_.archive_current_segment();
  }
  Captured destroy(std::vector<std::string> words) {
    words.insert(words.begin(), {"drill", "--destroy"});
    return scene_.run(words);
  }
  // The newest drill once more, as one that passed and was made that long ago.
  void put_older_drill(std::chrono::minutes age) {
    const std::unique_ptr<store::Store> store = store::open_store(scene_.repository());
    const repo::Repository repository = repo::Repository::open(*store, {});
    repo::DrillReport report = repo::resolve_drill_report(repository, "main", "latest");
    report.started -= age;
    report.finished -= age;
    report.id = repo::make_backup_id(report.started, system_random());
    report.passed = true;
    report.missed.clear();
    repo::put_drill_report(repository, report);
  }
  std::string rows() {
    return cluster::Connection::connect({.conninfo = scene_.server().conninfo()}, {})
        .query_value("SELECT pg_catalog.count(*) FROM public.kept");
  }
  // What lies beside the data directory and in the tablespace.
  size_t aside() const {
    size_t found = 0;
    for (const std::string& place : {scene_.directory(), side_})
      for (const DirectoryEntry& entry : list_directory(place))
        if (entry.name.find(".holdfast-aside-") != std::string::npos) ++found;
    return found;
  }

  DrillScene scene_;
  std::string side_;
};

TEST_F(DrillDestroy, IsRefusedWithoutAProofAndWithoutItsName) {
  const pid_t server = scene_.server().pid();
  const Captured unproven = destroy({"--confirm", "main"});
  EXPECT_EQ(unproven.status.code, 2) << describe(unproven);
  EXPECT_NE(unproven.err.find("has passed within the last day"), std::string::npos);
  // A drill that failed proves nothing.
  scene_.report({"--rto", "1ms"}, 6);
  EXPECT_EQ(destroy({"--confirm", "main"}).status.code, 2);
  // Nor does one that is older than a day.
  put_older_drill(std::chrono::hours(24) + std::chrono::minutes(1));
  EXPECT_EQ(destroy({"--confirm", "main"}).status.code, 2);
  scene_.report({}, 0);
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{}, {"--confirm", "other"}}) {
    const Captured unconfirmed = destroy(words);
    EXPECT_EQ(unconfirmed.status.code, 2) << describe(unconfirmed);
    EXPECT_NE(unconfirmed.err.find("was not confirmed"), std::string::npos);
  }
  EXPECT_TRUE(scene_.server().is_running());
  EXPECT_EQ(scene_.server().pid(), server);
  EXPECT_EQ(aside(), 0U);
}

TEST_F(DrillDestroy, BringsTheClusterBackInItsPlaceAndThenRemovesTheOldOne) {
  scene_.report({}, 0);
  const Captured ran = destroy({"--confirm", "main", "--json", "--check",
                                scene_.sql_file("SELECT count(*) = 50 FROM kept")});
  ASSERT_EQ(ran.status.code, 0) << describe(ran);
  const Json report = Json::parse(ran.out, "report");
  EXPECT_EQ(report.at("kind").as_string(), "destroy");
  EXPECT_EQ(report.at("loss").at("transactions").as_u64(), 0U);
  EXPECT_EQ(state_of(report, "pages"), "passed");
  EXPECT_TRUE(report.at("aside").items().empty());
  EXPECT_EQ(aside(), 0U);
  EXPECT_FALSE(lstat_if_exists(restore::aside_note_path(scene_.server().data_directory())));
  EXPECT_EQ(rows(), "50");
  // The cluster is what it was: no extension was left in it.
  EXPECT_EQ(cluster::Connection::connect({.conninfo = scene_.server().conninfo()}, {})
                .query_value("SELECT pg_catalog.count(*) FROM pg_catalog.pg_extension"),
            "1");
  EXPECT_EQ(scene_.must({"drill", "show", "latest"}).at("kind").as_string(), "destroy");

  // What somebody has put among the cluster's files since the backup is in the old ones alone.
  const std::string notes = join_path(scene_.server().data_directory(), "notes.txt");
  write_file_durably(notes, {});
  give_to_server_user(notes);
  // So is a setting.
  cluster::Connection::connect({.conninfo = scene_.server().conninfo()}, {})
      .query("ALTER SYSTEM SET work_mem = '5MB'");
  scene_.archive_current_segment(
      cluster::Connection::connect({.conninfo = scene_.server().conninfo()}, {}));
  const Captured kept = destroy({"--confirm", "main"});
  ASSERT_EQ(kept.status.code, 0) << describe(kept);
  for (const char* name : {"\"notes.txt\"", "\"postgresql.auto.conf\" as it was"})
    EXPECT_NE(kept.err.find(name), std::string::npos) << kept.err;
  EXPECT_NE(kept.out.find("is kept, because the backup does not have all of it"), std::string::npos)
      << kept.out;
  EXPECT_EQ(aside(), 2U);
}

TEST_F(DrillDestroy, KeepsTheOldClusterWhenCommitsWereLost) {
  scene_.report({}, 0);
  scene_.server().sql("INSERT INTO kept VALUES (51)");
  const Captured ran = destroy({"--confirm", "main", "--json"});
  ASSERT_EQ(ran.status.code, 0) << describe(ran);
  const Json report = Json::parse(ran.out, "report");
  EXPECT_EQ(report.at("loss").at("transactions").as_u64(), 1U);
  EXPECT_EQ(report.at("aside").items().size(), 2U);
  EXPECT_EQ(aside(), 2U);
  EXPECT_EQ(rows(), "50");
}

// And waits for no standby, and tells what became of those that there are.
TEST_F(DrillDestroy, KeepsTheOldClusterWhenACheckFails) {
  scene_.server().sql("ALTER SYSTEM SET synchronous_standby_names = 's1'");  // and no reload
  scene_.server().sql("SELECT pg_create_physical_replication_slot('s1')");
  scene_.must({"backup"});
  scene_.server().sql("CREATE TABLE later AS SELECT 1 AS a");
  scene_.archive_current_segment();
  scene_.report({}, 0);
  const Captured ran = destroy({"--confirm", "main", "--json", "--check",
                                scene_.sql_file("SELECT count(*) = 51 FROM kept")});
  EXPECT_EQ(ran.status.code, 6) << describe(ran);
  for (const char* told : {"synchronous_standby_names is \"s1\", and no such standby is connected",
                           "SELECT pg_create_physical_replication_slot('s1')"})
    EXPECT_NE(ran.err.find(told), std::string::npos) << ran.err;
  const Json report = Json::parse(ran.out, "report");
  EXPECT_EQ(report.at("loss").at("transactions").as_u64(), 0U);
  EXPECT_EQ(report.at("aside").items().size(), 2U);
  EXPECT_EQ(aside(), 2U);
  EXPECT_EQ(rows(), "50");
}

TEST_F(DrillDestroy, SaysHowToPutTheClusterBackWhenItFails) {
  scene_.report({}, 0);
  // Between the drill and this one the archive was damaged, not at its end, which is looked at.
  const std::vector<std::string> archived = scene_.archived_segments();
  const std::string object = scene_.wal_object(archived.at(archived.size() - 2)).value();
  Bytes bytes = read_file(object);
  bytes[bytes.size() - 200] ^= std::byte{0x40};
  write_file_durably(object, bytes);
  const Captured ran = destroy({"--confirm", "main", "--timeout", "0s"});
  EXPECT_EQ(ran.status.code, 1) << describe(ran);
  EXPECT_EQ(aside(), 2U);
  EXPECT_FALSE(scene_.must({"drill", "show", "latest"}).at("passed").as_bool());

  // So does whatever is run in its place, also where the drill was killed and said nothing.
  end_processes_below(scene_.server().data_directory());
  for (const char* word : {"--dry-run", "--start", "--resume"}) {
    const Captured again = scene_.run({"restore", "--in-place", "--yes", word});
    EXPECT_EQ(again.status.code, 1) << describe(again);
    EXPECT_NE(again.err.find("where a drill has moved it"), std::string::npos) << describe(again);
    EXPECT_NE(again.err.find("test -d "), std::string::npos) << again.err;
  }

  // As it says.
  const size_t begin = ran.err.find("test -d "), end = ran.err.find("and start the server");
  ASSERT_NE(begin, std::string::npos) << ran.err;
  ASSERT_NE(end, std::string::npos);
  run_checked({.arguments = {"/bin/sh", "-ec", ran.err.substr(begin, end - begin)}});
  EXPECT_EQ(aside(), 0U);
  cluster::ServerProcess again({.installation = scene_.server().installation(),
                                .data_directory = scene_.server().data_directory(),
                                .log_file = scene_.path("again.log")});
  again.wait_until_accepting(cluster::ServerProcess::Until::kReady, std::chrono::minutes(2), {});
  EXPECT_EQ(rows(), "50");
}

}  // namespace
}  // namespace holdfast::test
