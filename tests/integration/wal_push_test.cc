// wal push: what is archived stays as it is, and two servers never write one timeline.
#include <algorithm>
#include <filesystem>
#include <memory>
#include <optional>
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

pg::SegmentName parsed(const std::string& segment, pg::WalSegmentSize size) {
  return pg::parse_wal_file_name(segment, size).segment;
}
std::string behind(const std::string& segment, pg::WalSegmentSize size, uint64_t count = 1) {
  pg::SegmentName name = parsed(segment, size);
  name.segment_number += count;
  return pg::segment_file_name(name, size);
}

// Writes `text` and completes the segment, three times. Returns the first of the three.
std::string write_three_segments(PostgresServer& server, const std::string& text) {
  std::string first;
  for (int i = 0; i < 3; ++i) {
    server.sql(
        fmt::format("CREATE TABLE {}_{} AS SELECT g FROM generate_series(1, 100) g", text, i));
    const std::string name = server.value("SELECT pg_walfile_name(pg_current_wal_lsn())");
    if (first.empty()) first = name;
    server.sql("SELECT pg_switch_wal()");
  }
  return first;
}

// One cluster that was copied and went on twice: from `forked` on, the same names have other
// content. Nothing of it is archived yet.
class WalPush : public testing::Test {
 protected:
  WalPush()
      : scene_({.wal_segment_mib = 1, .config = {"wal_keep_size = 128MB"}, .archive = false}),
        size_(scene_.segment_size()) {
    common_ = write_three_segments(scene_.server(), "common");
    scene_.server().stop();
    run_checked({.arguments = {"cp", "-a", data(), clone_data()}});
    scene_.server().start();
    forked_ = write_three_segments(scene_.server(), "first");
    scene_.server().stop();
    clone_ = std::make_unique<PostgresServer>(
        PostgresServer::Options{.major = 15, .data_directory = clone_data()});
    EXPECT_EQ(write_three_segments(*clone_, "second"), forked_);
    clone_->stop();
    EXPECT_NE(read_file(wal(data(), forked_)), read_file(wal(clone_data(), forked_)));
  }

  std::string data() { return scene_.server().data_directory(); }
  std::string clone_data() { return scene_.path("clone"); }
  static std::string wal(const std::string& directory, const std::string& segment) {
    return join_path(directory, "pg_wal/" + segment);
  }
  Captured push(const std::string& directory, const std::string& file,
                std::vector<std::string> words = {}) {
    std::vector<std::string> all = {"wal", "push", "pg_wal/" + file};
    all.insert(all.end(), words.begin(), words.end());
    return scene_.run(all, directory);
  }
  void expect_done(const Captured& ran) { EXPECT_EQ(ran.status.code, 0) << describe(ran); }
  void expect_refused(const Captured& ran) {
    EXPECT_EQ(ran.status.code, 1) << describe(ran);
    EXPECT_FALSE(ran.status.signalled);
    EXPECT_NE(ran.err.find("ERROR:  "), std::string::npos) << ran.err;
  }
  // As the server marks what waits to be archived.
  static void make_ready(const std::string& directory, const std::string& file) {
    write_file_durably(join_path(directory, "pg_wal/archive_status/" + file + ".ready"), {});
  }
  std::vector<std::string> archived() {
    return contents(join_path(scene_.repository(), "clusters/main"));
  }

  RecoveryScene scene_;
  pg::WalSegmentSize size_;
  std::string common_;  // the first of three that both have
  std::string forked_;  // the first that differs
  std::unique_ptr<PostgresServer> clone_;
};

TEST_F(WalPush, TakesTheSameContentAgainAndKeepsTheFirstAgainstAnyOther) {
  expect_done(push(data(), common_));
  const std::vector<std::string> once = archived();
  const std::vector<std::string> files = listing(scene_.wal_object(common_).value());
  expect_done(push(data(), common_));
  expect_done(push(clone_data(), common_));
  EXPECT_EQ(archived(), once);

  for (uint64_t i = 1; i < 3; ++i) expect_done(push(data(), behind(common_, size_, i)));
  expect_done(push(data(), forked_));
  const std::vector<std::string> before = archived();
  const Captured other = push(clone_data(), forked_);
  expect_refused(other);
  EXPECT_NE(other.err.find(forked_), std::string::npos) << other.err;
  expect_refused(push(clone_data(), forked_));
  EXPECT_EQ(archived(), before);
  expect_done(push(data(), forked_));
}

TEST_F(WalPush, RefusesASegmentThatDoesNotJoinTheOneBeforeIt) {
  for (uint64_t i = 0; i < 3; ++i) expect_done(push(data(), behind(common_, size_, i)));
  expect_done(push(data(), forked_));
  const std::vector<std::string> before = archived();
  // A name that nobody has taken, of a history that parted one segment earlier.
  expect_refused(push(clone_data(), behind(forked_, size_)));
  EXPECT_EQ(archived(), before);
  expect_done(push(data(), behind(forked_, size_)));
}

TEST_F(WalPush, LoadsNoClientLibraryAsItTalksToNoServer) {
  // One that cannot be loaded stands before the system's.
  const std::string broken = scene_.path("broken");
  make_directories(broken);
  write_file_durably(join_path(broken, "libpq.so.5"), as_bytes("no library"));
  auto with_broken = [&](std::vector<std::string> words) {
    words.insert(words.begin(), {holdfast_program(), "--config", scene_.config_file()});
    return run({.arguments = std::move(words),
                .environment = {{"LD_LIBRARY_PATH", broken}},
                .directory = data()});
  };
  expect_done(with_broken({"wal", "push", "pg_wal/" + common_}));
  expect_done(with_broken({"wal", "get", common_, scene_.path("got")}));
  const Captured backup = with_broken({"backup"});
  expect_refused(backup);
  EXPECT_NE(backup.err.find("could not load \"libpq.so.5\"\nDETAIL:  "), std::string::npos)
      << backup.err;
  EXPECT_NE(backup.err.find("package libpq5"), std::string::npos) << backup.err;
  // Not only when all is restored.
  const Captured drill = with_broken({"drill"});
  expect_refused(drill);
  EXPECT_NE(drill.err.find("could not load"), std::string::npos) << drill.err;
}

TEST_F(WalPush, LooksAheadOnlyAlongAnUnbrokenChain) {
  // All that waits is taken along, in one call.
  const std::string last_common = behind(common_, size_, 2);
  for (uint64_t i = 1; i < 3; ++i) make_ready(data(), behind(common_, size_, i));
  expect_done(push(data(), common_));
  EXPECT_TRUE(scene_.wal_object(last_common));

  // The other history has put its segment behind the last common one first.
  remove_file(scene_.wal_object(last_common).value());
  expect_done(push(data(), forked_));
  const std::string object = scene_.wal_object(forked_).value();
  const Bytes first = read_file(object);
  for (uint64_t i = 0; i < 3; ++i) make_ready(clone_data(), behind(forked_, size_, i));
  const Captured ran = push(clone_data(), last_common);
  // The named one is common to both: it is accepted, and what waits behind it is not its business.
  expect_done(ran);
  EXPECT_NE(ran.err.find("WARNING"), std::string::npos) << ran.err;
  EXPECT_EQ(read_file(object), first);
  EXPECT_FALSE(scene_.wal_object(behind(forked_, size_, 1)));
  EXPECT_FALSE(scene_.wal_object(behind(forked_, size_, 2)));
}

TEST_F(WalPush, KeepsEveryPartialSegmentOfAName) {
  for (uint64_t i = 0; i < 3; ++i) expect_done(push(data(), behind(common_, size_, i)));
  const std::string name = forked_ + ".partial";
  for (const std::string& directory : {data(), clone_data()})
    rename_path(wal(directory, forked_), wal(directory, name));
  expect_done(push(data(), name));
  expect_done(push(clone_data(), name));
  expect_done(push(data(), name));
  int64_t kept = 0;
  for (const DirectoryEntry& entry :
       list_directory(parent_path(scene_.wal_object(common_).value())))
    if (entry.name.starts_with(name + ".")) ++kept;
  EXPECT_EQ(kept, 2);
}

TEST_F(WalPush, FailsWith1AndNeverWithACodeThatWouldHideIt) {
  const std::string away = scene_.path("repo.away");
  expect_done(push(data(), common_));
  const std::string next = behind(common_, size_);
  const std::vector<std::string> before = archived();

  expect_refused(push(data(), "0000000100000000000000F0"));
  expect_refused(push(data(), "no-such-kind-of-file"));
  expect_refused(push(data(), next, {"--no-such-option"}));
  expect_refused(push(data(), next, {"a second file"}));
  expect_refused(scene_.run({"wal", "push"}, data()));
  expect_refused(push(data(), next, {"--look-ahead", "far"}));
  expect_refused(push(data(), next, {"--config", scene_.path("no-such-file.toml")}));
  expect_refused(push(data(), next, {"--cluster", "somebody-elses"}));
  expect_refused(push(data(), next, {"--compression", "magic"}));
  {
    SCOPED_TRACE("an empty directory where the repository was");
    rename_path(scene_.repository(), away);
    make_directory(scene_.repository());
    expect_refused(push(data(), next));
    EXPECT_TRUE(is_empty_directory(scene_.repository()));
    remove_tree(scene_.repository());
    SCOPED_TRACE("none");
    expect_refused(push(data(), next));
    EXPECT_FALSE(lstat_if_exists(scene_.repository()));
    rename_path(away, scene_.repository());
  }
  {
    SCOPED_TRACE("a repository that may not be written");
    const std::string folder = parent_path(scene_.wal_object(common_).value());
    ASSERT_EQ(chmod(folder.c_str(), 0500), 0);
    expect_refused(push(data(), next));
    ASSERT_EQ(chmod(folder.c_str(), 0700), 0);
  }
  {
    SCOPED_TRACE("another cluster's segment");
    PostgresServer other({.config = {"wal_keep_size = 128MB"}, .wal_segment_mib = 1});
    const std::string theirs = other.value("SELECT pg_walfile_name(pg_current_wal_lsn())");
    other.sql("SELECT pg_switch_wal()");
    other.stop();
    expect_refused(push(other.data_directory(), theirs));
    // In our own directory too.
    const std::string free = behind(forked_, size_, 20);
    run_checked({.arguments = {"cp", wal(other.data_directory(), theirs), wal(data(), free)}});
    expect_refused(push(data(), free));
  }
  {
    SCOPED_TRACE("a recycled file under a future name");
    const std::string future = behind(forked_, size_, 30);
    run_checked({.arguments = {"cp", wal(data(), common_), wal(data(), future)}});
    expect_refused(push(data(), future));
  }
  EXPECT_EQ(archived(), before);
  {
    SCOPED_TRACE("a segment that was cut short is kept, and never under the name of a whole one");
    const std::string cut = behind(forked_, size_, 2);
    Bytes bytes = read_file(wal(data(), cut));
    bytes.resize(bytes.size() / 2);
    write_file_durably(wal(data(), cut), bytes);
    expect_done(push(data(), cut));
    const auto kept = archived();
    EXPECT_EQ(kept.size(), before.size() + 1);
    for (const std::string& line : kept) EXPECT_EQ(line.find(cut + " "), std::string::npos) << line;
  }
  expect_done(push(data(), next));
}

TEST(WalPushDiverged, TheSecondOfTwoRestoresPromotedToOneTimelineIsRefusedAtItsFirstSegment) {
  RecoveryScene scene({.wal_segment_mib = 1, .config = {"wal_keep_size = 128MB"}});
  scene.must({"backup"});
  scene.server().sql("CREATE TABLE before_the_fork AS SELECT 1 AS one");
  scene.archive_current_segment();
  scene.destroy();

  // Both are told to archive, and cannot until both were promoted: neither sees the other's
  // history, so both take timeline 2.
  struct Clone {
    std::string directory;
    std::unique_ptr<cluster::ServerProcess> process;
  };
  std::vector<Clone> clones;
  auto start = [&](Clone& clone, bool archives) {
    cluster::Settings settings = cluster::readable_log_settings();
    if (!archives) settings.emplace_back("archive_command", "false");
    clone.process = std::make_unique<cluster::ServerProcess>(
        cluster::ServerStart{.installation = scene.server().installation(),
                             .data_directory = clone.directory,
                             .settings = settings,
                             .log_file = clone.directory + ".log"});
    clone.process->wait_until_accepting(cluster::ServerProcess::Until::kReady,
                                        std::chrono::seconds(60), {});
  };
  auto connect = [&](const Clone& clone) {
    std::string pid_file = read_text_file(join_path(clone.directory, "postmaster.pid"));
    std::vector<std::string> lines;
    for (size_t at = 0; at < pid_file.size();) {
      const size_t end = std::min(pid_file.find('\n', at), pid_file.size());
      lines.push_back(pid_file.substr(at, end - at));
      at = end + 1;
    }
    // A copy names its socket's directory as seen from its data directory.
    const std::string host =
        lines.at(4).starts_with('/') ? lines.at(4) : join_path(clone.directory, lines.at(4));
    return Connection::connect(
        {.conninfo = fmt::format("{} port={} user=postgres dbname=postgres",
                                 cluster::conninfo_pair("host", host), lines.at(3))},
        {});
  };
  for (const char* name : {"one", "two"}) {
    clones.push_back({scene.path(name), nullptr});
    scene.must({"restore", "--into", scene.path(name), "--archive", "on"});
    start(clones.back(), false);
    Connection connection = connect(clones.back());
    EXPECT_EQ(connection.query_value("SELECT pg_catalog.pg_is_in_recovery()"), "f");
    EXPECT_EQ(connection.query_value("SHOW archive_mode"), "on");
    EXPECT_EQ(connection
                  .query_value("SELECT pg_catalog.pg_walfile_name("
                               "pg_catalog.pg_current_wal_insert_lsn())")
                  .substr(0, 8),
              "00000002");
    for (int i = 0; i < 4; ++i) {
      connection.query(fmt::format("CREATE TABLE public.{}_{} AS SELECT 1 AS one", name, i));
      connection.query("SELECT pg_catalog.pg_switch_wal()");
    }
  }
  for (Clone& clone : clones) clone.process->stop(cluster::ShutdownMode::kFast);

  // The first one's WAL is the timeline's.
  start(clones[0], true);
  EXPECT_EQ(scene.archive_current_segment(connect(clones[0])).substr(0, 8), "00000002");
  clones[0].process->stop(cluster::ShutdownMode::kFast);
  const std::vector<std::string> before = contents(join_path(scene.repository(), "clusters/main"));
  const std::vector<std::string> of_first = scene.archived_segments(2);
  ASSERT_GE(of_first.size(), 3U);

  // The second one's is nobody's: it gets no further than its first segment.
  start(clones[1], true);
  Connection second = connect(clones[1]);
  second.query("SELECT pg_catalog.pg_stat_reset_shared('archiver')");
  for (int i = 0; i < 4; ++i) {  // also beyond the names that the first has taken
    second.query(fmt::format("CREATE TABLE public.more_{} AS SELECT 1 AS one", i));
    second.query("SELECT pg_catalog.pg_switch_wal()");
  }
  EXPECT_TRUE(comes_true([&] {
    const std::optional<std::string> failed =
        second.query_row("SELECT last_failed_wal FROM pg_catalog.pg_stat_archiver")[0];
    return failed == of_first.front();
  }));
  EXPECT_EQ(contents(join_path(scene.repository(), "clusters/main")), before);
  const std::string log = read_text_file(clones[1].directory + ".log");
  EXPECT_NE(log.find("ERROR:  "), std::string::npos) << log;
  // By hand, behind the last one that the first has archived: it joins nothing that is there.
  const std::string free_name = behind(of_first.back(), scene.segment_size());
  ASSERT_TRUE(lstat_if_exists(join_path(clones[1].directory, "pg_wal/" + free_name)));
  const Captured ran = scene.run({"wal", "push", "pg_wal/" + free_name}, clones[1].directory);
  EXPECT_EQ(ran.status.code, 1) << describe(ran);
  EXPECT_EQ(contents(join_path(scene.repository(), "clusters/main")), before);
}

}  // namespace
}  // namespace holdfast::test
