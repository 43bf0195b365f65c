// A recovered copy must not touch production: not its files, its tablespaces, its archive or its
// ports.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <unistd.h>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/file.h"
#include "cluster/sandbox.h"
#include "cluster/server_process.h"
#include "support/holdfast_command.h"
#include "support/recovery_scene.h"

namespace holdfast::test {
namespace {

namespace fs = std::filesystem;

using cluster::Connection;

// Where a copy stands in for a tablespace's directory and ends while another one begins, the
// directory goes under the other's hands.
TEST(Sandbox, MakesNothingOnTheHost) {
  const TemporaryDirectory place("hf-sandbox");
  const auto path = [&](const char* name) { return join_path(place.path(), name); };
  make_directory(path("covered"));
  make_directory(path("other"));
  write_file_durably(path("covered/file"), {});
  const std::vector<std::string> before = listing(place.path());
  cluster::Sandbox sandbox{.program = holdfast_program(),
                           .covers = {{.path = path("covered")},
                                      {.path = path("covered/below"), .by = path("other")},
                                      {.path = path("gone")}}};
  const std::vector<std::string> look = {"ls", "-R", path("covered")};
  const Captured ran = run({.arguments = cluster::in_sandbox(sandbox, look)});
  EXPECT_EQ(ran.status.code, 0) << describe(ran);
  EXPECT_NE(ran.out.find("below"), std::string::npos) << ran.out;
  EXPECT_EQ(ran.out.find("file"), std::string::npos) << ran.out;

  // While it is only tried nothing covers the place, so none is made below it either.
  sandbox.covers = {{.path = path("covered"), .by = path("other")},
                    {.path = path("covered/below"), .by = path("other")}};
  EXPECT_EQ(cluster::why_no_sandbox(sandbox), std::nullopt);
  EXPECT_EQ(listing(place.path()), before);

  sandbox.covers = {{.path = path("gone-too"), .by = path("other")}};
  EXPECT_EQ(cluster::why_no_sandbox(sandbox), std::nullopt);
  const Captured refused = run({.arguments = cluster::in_sandbox(sandbox, look)});
  EXPECT_EQ(refused.status.code, 1) << describe(refused);
  EXPECT_NE(refused.err.find("is not there"), std::string::npos) << refused.err;
  EXPECT_EQ(listing(place.path()), before);
}

// The inodes of all TCP sockets that listen on this host.
std::set<std::string> listening_tcp_sockets() {
  std::set<std::string> inodes;
  for (const char* table : {"/proc/net/tcp", "/proc/net/tcp6"}) {
    std::ifstream file(table);
    std::string line;
    std::getline(file, line);  // the head
    while (std::getline(file, line)) {
      std::istringstream words(line);
      std::vector<std::string> fields;
      for (std::string word; words >> word;) fields.push_back(word);
      if (fields.size() > 9 && fields[3] == "0A") inodes.insert(fields[9]);
    }
  }
  return inodes;
}
bool listens_on_tcp(int64_t pid) {
  const std::set<std::string> listening = listening_tcp_sockets();
  for (const fs::directory_entry& entry : fs::directory_iterator(fmt::format("/proc/{}/fd", pid))) {
    std::error_code gone;
    const std::string target = fs::read_symlink(entry.path(), gone).string();
    if (target.starts_with("socket:[") && listening.contains(target.substr(8, target.size() - 9)))
      return true;
  }
  return false;
}

class Copy : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(EachMajor, Copy, testing::ValuesIn(outer_majors()),
                         [](const testing::TestParamInfo<int>& tested) {
                           return std::to_string(tested.param);
                         });

TEST_P(Copy, LeavesEveryPlaceOfProductionAsItIs) {
  // Production would listen: what the copy must not take over.
  RecoveryScene scene({.major = GetParam(), .wal_segment_mib = 1});
  const std::string side = scene.make_tablespace_directory("side");
  scene.server().sql(fmt::format("CREATE TABLESPACE side LOCATION '{}'", side));
  scene.server().sql(
      "CREATE TABLE kept TABLESPACE side AS SELECT g AS id FROM generate_series(1, 1000) g");
  scene.server().sql("ALTER SYSTEM SET listen_addresses = '127.0.0.1'");
  scene.must({"backup"});
  scene.server().sql(
      "CREATE TABLE later TABLESPACE side AS SELECT g AS id FROM generate_series(1, 500) g");
  scene.server().sql("CREATE DATABASE inside TABLESPACE side");
  scene.archive_current_segment();
  // At rest, so that every change is the copy's.
  scene.server().stop();
  wait_until_deserted(scene.server().data_directory());
  const std::vector<std::string> data_before = listing(scene.server().data_directory());
  const std::vector<std::string> side_before = listing(side);
  const std::vector<std::string> wal_before = scene.archived_segments();
  ASSERT_GT(side_before.size(), 3U);

  {
    std::unique_ptr<RestoredServer> copy = scene.restore_into("copy", {});
    Connection connection = copy->connect();
    EXPECT_EQ(connection.query_value("SELECT pg_catalog.count(*) FROM public.kept"), "1000");
    EXPECT_EQ(connection.query_value("SELECT pg_catalog.count(*) FROM public.later"), "500");
    EXPECT_EQ(connection.query_value("SHOW archive_mode"), "off");
    EXPECT_EQ(connection.query_value("SHOW listen_addresses"), "");
    EXPECT_FALSE(listens_on_tcp(copy->result().at("server_pid").as_i64()));

    // It works in its own places.
    connection.query(
        "INSERT INTO public.kept SELECT g FROM pg_catalog.generate_series(1, 20000) g");
    connection.query("DROP TABLE public.later");
    connection.query("DROP DATABASE inside");
    connection.query("CREATE TABLE public.mine TABLESPACE side AS SELECT 1 AS one");
    connection.query("SELECT pg_catalog.pg_switch_wal()");
    connection.query("CHECKPOINT");
    const std::string location = connection.query_value(
        "SELECT pg_catalog.pg_tablespace_location(oid) FROM pg_catalog.pg_tablespace WHERE spcname "
        "= 'side'");
    EXPECT_TRUE(location.starts_with("../holdfast_tablespaces/")) << location;
    for (const DirectoryEntry& entry :
         list_directory(join_path(copy->directory(), "pg_wal/archive_status")))
      EXPECT_FALSE(entry.name.ends_with(".ready")) << entry.name;
  }
  EXPECT_EQ(listing(scene.server().data_directory()), data_before);
  EXPECT_EQ(listing(side), side_before);
  EXPECT_EQ(scene.archived_segments(), wal_before);
  EXPECT_EQ(scene.archived_segments(2), std::vector<std::string>{});
  EXPECT_FALSE(scene.wal_object("00000002.history"));
}

// A tablespace that is newer than the backup, with a table in it, archived.
class CopyTablespace : public testing::Test {
 protected:
  CopyTablespace() : scene_({.major = 15, .wal_segment_mib = 1}) {
    scene_.must({"backup"});
    scene_.server().sql("SELECT pg_create_restore_point('before')");
    late_ = scene_.make_tablespace_directory("late");
    scene_.server().sql(fmt::format("CREATE TABLESPACE late LOCATION '{}'", late_));
    scene_.server().sql(
        "CREATE TABLE in_it TABLESPACE late AS SELECT g AS id FROM generate_series(1, 100) g");
    scene_.server().sql("CHECKPOINT");
    scene_.archive_current_segment();
    // What the copy does not have: of production alone.
    scene_.server().sql("INSERT INTO in_it SELECT g FROM generate_series(101, 300) g");
    scene_.server().sql("CHECKPOINT");
  }
  // Whatever it has in memory is not asked: it begins anew with its files.
  std::string rows_of_production() {
    scene_.server().restart();
    return scene_.server().value("SELECT count(*) FROM in_it");
  }

  RecoveryScene scene_;
  std::string late_;
};

TEST_F(CopyTablespace, OfProductionIsDestroyedByACopyThatIsStartedByHand) {
  // What all protection is about; a restore does not let it come to this, so it is tricked.
  rename_path(late_, late_ + ".away");
  scene_.must({"restore", "--into", scene_.path("copy")});
  ASSERT_TRUE(is_empty_directory(late_));
  remove_empty_directory(late_);
  rename_path(late_ + ".away", late_);
  {
    cluster::ServerProcess by_hand({.installation = scene_.server().installation(),
                                    .data_directory = scene_.path("copy"),
                                    .log_file = scene_.path("by_hand.log")});
    by_hand.wait_until_accepting(cluster::ServerProcess::Until::kReady, std::chrono::minutes(2),
                                 {});
    by_hand.stop(cluster::ShutdownMode::kFast);
  }
  EXPECT_NE(rows_of_production(), "300");
}

TEST_F(CopyTablespace, ThatIsNewerThanTheBackupIsOfTheCopyInItsSandbox) {
  {
    std::unique_ptr<RestoredServer> copy = scene_.restore_into("copy", {});
    EXPECT_TRUE(copy->result().at("sandboxed").as_bool());
    EXPECT_EQ(copy->value("SELECT pg_catalog.count(*) FROM public.in_it"), "100");
    copy->connect().query(
        "INSERT INTO public.in_it SELECT g FROM pg_catalog.generate_series(1, 5000) g");
    copy->connect().query("CHECKPOINT");
    // Its link is of use without the sandbox too.
    EXPECT_TRUE(copy->value("SELECT pg_catalog.pg_tablespace_location(oid) FROM "
                            "pg_catalog.pg_tablespace WHERE spcname = 'late'")
                    .starts_with("../holdfast_tablespaces/"));
    EXPECT_TRUE(cluster::stop_server(copy->directory(), cluster::ShutdownMode::kFast,
                                     std::chrono::minutes(2), {}));
    cluster::ServerProcess by_hand({.installation = scene_.server().installation(),
                                    .data_directory = copy->directory(),
                                    .log_file = scene_.path("by_hand.log")});
    by_hand.wait_until_accepting(cluster::ServerProcess::Until::kReady, std::chrono::minutes(2),
                                 {});
    EXPECT_EQ(copy->value("SELECT pg_catalog.count(*) FROM public.in_it"), "5100");
    by_hand.stop(cluster::ShutdownMode::kFast);
  }
  EXPECT_EQ(rows_of_production(), "300");
}

TEST_F(CopyTablespace, CannotBeMadeByHandWhereTheRecoveryInTheSandboxFailed) {
  // Its metadata can be read, so the plan is made; its content cannot.
  const std::string object = scene_.wal_object(scene_.archived_segments().back()).value();
  Bytes bytes = read_file(object);
  bytes[bytes.size() - 200] ^= std::byte{0x40};
  write_file_durably(object, bytes);
  const Captured failed =
      scene_.run({"restore", "--into", scene_.path("copy"), "--start", "--timeout", "0s"});
  EXPECT_EQ(failed.status.code, 1) << describe(failed);

  cluster::ServerProcess by_hand({.installation = scene_.server().installation(),
                                  .data_directory = scene_.path("copy"),
                                  .log_file = scene_.path("by_hand.log")});
  EXPECT_TRUE(by_hand.wait_until_ended(std::chrono::minutes(2), {}));
  EXPECT_NE(read_text_file(scene_.path("by_hand.log")).find("only be recovered in its sandbox"),
            std::string::npos);
  EXPECT_EQ(rows_of_production(), "300");
}

TEST_F(CopyTablespace, ThatIsNewerThanTheBackupIsRefusedBeforeAnythingIsWritten) {
  scene_.server().stop();
  wait_until_deserted(scene_.server().data_directory());
  const std::vector<std::string> before = listing(late_);
  const std::string copy = scene_.path("copy");
  const auto expect_refused = [&](const Captured& refused, const std::string& because) {
    EXPECT_EQ(refused.status.code, 1) << describe(refused);
    EXPECT_NE(refused.err.find(late_), std::string::npos) << refused.err;
    EXPECT_NE(refused.err.find(because), std::string::npos) << refused.err;
    EXPECT_NE(refused.err.find("HINT:"), std::string::npos) << refused.err;
    EXPECT_FALSE(lstat_if_exists(copy));
    EXPECT_EQ(listing(late_), before);
  };
  // A server that somebody else will start; one that is to be started again.
  expect_refused(scene_.run({"restore", "--into", copy}), "without a sandbox");
  expect_refused(scene_.run({"restore", "--into", copy, "--start", "--action", "pause"}),
                 "started again");
  expect_refused(scene_.run({"restore", "--into", copy, "--start", "--action", "shutdown"}),
                 "started again");
  // Where no namespace can be made: the limit is reached.
  const std::string words = fmt::format(
      "echo 1 >/proc/sys/user/max_user_namespaces; exec unshare --user --map-user={} "
      "--map-group={} {} --config {} restore --into {} --start",
      geteuid(), getegid(), holdfast_program(), scene_.config_file(), copy);
  expect_refused(run({.arguments = {"unshare", "--user", "--map-root-user", "sh", "-c", words}}),
                 "without a sandbox");

  // Before it, everything is fine.
  {
    scene_.restore_into("copy", {"--to-name", "before"});
  }
  EXPECT_EQ(listing(late_), before);

  // In place it is the cluster's own.
  scene_.destroy();
  std::unique_ptr<RestoredServer> restored = scene_.restore_in_place();
  EXPECT_EQ(restored->value("SELECT pg_catalog.count(*) FROM public.in_it"), "300");
}

}  // namespace
}  // namespace holdfast::test
