// In a disaster people are root. What root does must leave the repository, and the server's
// archiving, to whom they belong.
//
// The tests run as the server's user; tools/run_integration lets them become root where it is root
// itself. Elsewhere these are not run, and it says so: what a repository's owner is to root is
// tried by test_store too, everywhere.
#include <algorithm>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/file.h"
#include "base/users.h"
#include "support/holdfast_command.h"
#include "support/recovery_scene.h"

namespace holdfast::test {
namespace {

using Words = std::vector<std::string>;

// The capabilities come with the program that root executes, so another one stands between.
const Words kBecomeRoot = {"setpriv",
                           "--reuid",
                           "0",
                           "--regid",
                           "0",
                           "--clear-groups",
                           "--inh-caps=-all",
                           "--ambient-caps=-all",
                           "--",
                           "env"};

Captured as_root(const Words& command) {
  Words whole = kBecomeRoot;
  whole.insert(whole.end(), command.begin(), command.end());
  return run({.arguments = std::move(whole)});
}

Captured as_root(const RecoveryScene& scene, const Words& words) {
  forget_outer_settings();
  Words command = {holdfast_program(), "--config", scene.config_file()};
  command.insert(command.end(), words.begin(), words.end());
  return as_root(command);
}

void add_others(const std::string& path, Words& found) {
  if (lstat_if_exists(path)->st_uid != geteuid()) found.push_back(path);
  std::vector<DirectoryEntry> entries;
  unreadable_of(
      [&] { entries = list_directory_if_exists(path).value_or(std::vector<DirectoryEntry>()); });
  for (const DirectoryEntry& entry : entries) add_others(join_path(path, entry.name), found);
}

// What is not the test's user's.
Words others_things(const std::string& path) {
  Words found;
  add_others(path, found);
  return found;
}

uint64_t count_of(RecoveryScene& scene, std::string_view what) {
  return std::stoull(scene.server().value(fmt::format("SELECT {} FROM pg_stat_archiver", what)));
}

// Completes a segment; the archiver must take it at once. Nothing is looked at in the repository.
void expect_archiving(RecoveryScene& scene) {
  const uint64_t failed = count_of(scene, "failed_count");
  const uint64_t archived = count_of(scene, "archived_count");
  scene.server().sql("CREATE TABLE IF NOT EXISTS written ()");
  scene.server().sql("SELECT txid_current(), pg_switch_wal()");
  EXPECT_TRUE(comes_true([&] {
    return count_of(scene, "archived_count") > archived || count_of(scene, "failed_count") > failed;
  }));
  EXPECT_EQ(count_of(scene, "failed_count"), failed) << scene.server().log();
}

class AsRoot : public testing::Test {
 protected:
  AsRoot() : scene_({}) { scene_.server().sql("CREATE TABLE t AS SELECT generate_series(1, 100)"); }
  ~AsRoot() override {
    as_root({"chown", "-R", std::to_string(geteuid()), scene_.directory()});
    as_root({"chmod", "-R", "u+rwX", scene_.directory()});
  }
  RecoveryScene scene_;
};

TEST_F(AsRoot, EveryCommandLeavesTheRepositoryToItsOwner) {
  ASSERT_EQ(as_root({"id", "-u"}).out, "0\n");
  // As on Debian: the server's own user is let in, and root is not.
  write_file_durably(join_path(scene_.server().data_directory(), "pg_hba.conf"),
                     as_bytes("local all all peer\n"));
  scene_.server().sql("SELECT pg_reload_conf()");
  ASSERT_TRUE(comes_true([&] {
    return scene_.server().log().find("received SIGHUP, reloading") != std::string::npos;
  }));
  scene_.must({"backup"});
  make_directory(scene_.path("drills"));
  const Words commands[] = {{"init"},
                            {"verify", "--deep"},
                            {"backup", "pin", "latest"},
                            {"backup"},
                            {"backup", "list"},
                            {"info"},
                            {"check"},
                            {"wal", "list"},
                            {"backup", "export", "latest", "--tar", scene_.path("tars")},
                            {"restore", "--into", scene_.path("restored")},
                            {"backup", "pin", "latest", "--off"},
                            {"backup", "delete", "latest", "--yes"},
                            {"expire"},
                            {"expire"},
                            {"drill"}};
  for (const Words& words : commands) {
    SCOPED_TRACE(fmt::format("{}", fmt::join(words, " ")));
    const Captured ran = as_root(scene_, words);
    EXPECT_TRUE(ran.status.ok()) << describe(ran);
    EXPECT_EQ(others_things(scene_.repository()), Words{});
  }
  // And so whoever it belongs to goes on.
  expect_archiving(scene_);
  for (const Words& words :
       {Words{"backup"}, Words{"verify"}, Words{"info"}, Words{"backup", "list"},
        Words{"drill", "list"}, Words{"wal", "list"}, Words{"check"}, Words{"expire"},
        Words{"restore", "--into", scene_.path("own")}}) {
    SCOPED_TRACE(fmt::format("{}", fmt::join(words, " ")));
    const Captured ran = scene_.run(words);
    EXPECT_TRUE(ran.status.ok()) << describe(ran);
  }
  as_root({"rm", "-rf", scene_.path("tars")});
}

// A disaster: the WAL that root saves is the server's to read, in this recovery and in the next.
TEST_F(AsRoot, ARestoreInPlaceGivesBackAServerThatArchives) {
  scene_.must({"backup"});
  scene_.server().sql("INSERT INTO t VALUES (101)");
  scene_.crash();
  const Captured ran = as_root(scene_, {"restore", "--in-place", "--yes", "--start"});
  ASSERT_TRUE(ran.status.ok()) << describe(ran);
  EXPECT_EQ(others_things(scene_.repository()), Words{});
  EXPECT_EQ(others_things(scene_.server().data_directory()), Words{});
  cluster::Connection connection =
      cluster::Connection::connect({.conninfo = scene_.server().conninfo()}, {});
  EXPECT_EQ(connection.query_value("SELECT count(*) FROM public.t"), "101");
  scene_.archive_current_segment(std::move(connection));
  for (const Words& words : {Words{"verify"}, Words{"backup"}, Words{"wal", "list"}}) {
    const Captured own = scene_.run(words);
    EXPECT_TRUE(own.status.ok()) << describe(own);
  }
}

// As root's cp -r or rsync brings it back: root can read it, and the server could not.
TEST_F(AsRoot, ARepositoryOfRootsIsGivenToTheServersUserBeforeAnythingIsLaid) {
  scene_.must({"backup"});
  ASSERT_TRUE(as_root({"chmod", "0750", scene_.repository()}).status.ok());
  const std::string give =
      fmt::format("chown -R {}: {}", user_name(geteuid()), scene_.repository());
  const std::string copy = scene_.path("copy");
  for (const char* owner : {"root:root", "4242:4242"}) {  // nobody has that number here
    ASSERT_TRUE(as_root({"chown", "-R", owner, scene_.repository()}).status.ok());
    const Captured refused = as_root(scene_, {"restore", "--into", copy, "--start"});
    EXPECT_EQ(refused.status.code, 1) << describe(refused);
    EXPECT_NE(refused.err.find(give), std::string::npos) << describe(refused);
    EXPECT_FALSE(lstat_if_exists(copy));
    const Captured own = scene_.run({"info"});
    EXPECT_EQ(own.status.code, 1) << describe(own);
    EXPECT_NE(own.err.find(give), std::string::npos) << describe(own);
  }
  ASSERT_TRUE(as_root({"sh", "-c", give}).status.ok());
  const Captured ran = as_root(scene_, {"restore", "--into", copy, "--start"});
  EXPECT_TRUE(ran.status.ok()) << describe(ran);
}

// What the owner of the directory lays there leads root nowhere.
TEST_F(AsRoot, ALinkInThePlaceOfTheLogGivesNothingAway) {
  scene_.must({"backup"});
  const std::string victim = scene_.path("victim");
  ASSERT_TRUE(
      as_root({"sh", "-c", fmt::format("echo secret > {0}; chmod 600 {0}", victim)}).status.ok());
  const std::string copy = scene_.path("copy");
  const Captured laid = as_root(scene_, {"restore", "--into", copy});
  ASSERT_TRUE(laid.status.ok()) << describe(laid);
  ASSERT_EQ(symlink(victim.c_str(), join_path(copy, "holdfast_recovery.log").c_str()), 0);
  const Captured started = as_root(scene_, {"restore", "--into", copy, "--start"});
  EXPECT_FALSE(started.status.ok()) << describe(started);
  EXPECT_NE(started.err.find("holdfast_recovery.log"), std::string::npos) << describe(started);
  EXPECT_EQ(lstat_if_exists(victim)->st_uid, 0u);
  EXPECT_EQ(as_root({"cat", victim}).out, "secret\n");
  as_root({"rm", victim});
}

// A repository that an earlier version, or a copy by hand, has left to root in part.
TEST_F(AsRoot, CheckNamesWhatTheOwnerCannotReadAndTheCommandThatRepairsIt) {
  const std::string id = scene_.must({"backup"}).at("backup").at("id").as_string();
  scene_.must({"backup", "pin", "latest"});
  const std::string marks = scene_.repository() + "/clusters/main/15-1/marks";
  ASSERT_TRUE(as_root({"sh", "-c",
                       fmt::format("chown -R 0:0 {0} && mkdir -m 0750 {1}", marks,
                                   scene_.repository() + "/clusters/main/drills")})
                  .status.ok());
  const Captured checked = scene_.run({"check"});
  EXPECT_TRUE(checked.status.ok()) << describe(checked);
  const std::string repair = fmt::format("chown -R --reference={0} {0}", scene_.repository());
  for (const std::string& part : {marks, std::string("belongs to root:root and has mode 0750"),
                                  std::string("clusters/main/drills"), repair})
    EXPECT_NE(checked.out.find(part), std::string::npos) << part << "\n" << describe(checked);

  // Nobody is held up who does not need them.
  expect_archiving(scene_);
  for (const Words& words : {Words{"info"}, Words{"backup", "list"}, Words{"wal", "list"},
                             Words{"restore", "--into", scene_.path("own")}, Words{"backup"}}) {
    const Captured ran = scene_.run(words);
    EXPECT_TRUE(ran.status.ok()) << describe(ran);
  }
  const Captured verified = scene_.run({"verify"});
  EXPECT_NE(verified.out.find("unreadable: clusters/main/15-1/marks/"), std::string::npos)
      << describe(verified);
  EXPECT_EQ(verified.status.code, 3) << describe(verified);
  const Captured deleted = scene_.run({"backup", "delete", id, "--yes"});
  EXPECT_FALSE(deleted.status.ok());
  EXPECT_NE(deleted.err.find("cannot tell whether backup"), std::string::npos) << deleted.err;
  EXPECT_NE(deleted.err.find(repair), std::string::npos) << deleted.err;

  ASSERT_TRUE(as_root({"sh", "-c", repair}).status.ok());
  EXPECT_EQ(scene_.run({"verify"}).status.code, 0);
  EXPECT_EQ(scene_.run({"check"}).out.find("chown"), std::string::npos);
}

TEST_F(AsRoot, ANewRepositoryBelongsToTheServersUser) {
  const std::string place = scene_.path("parent");
  make_directory(place);
  ASSERT_TRUE(as_root({"chown", "0:0", place}).status.ok());
  ASSERT_EQ(as_root({"chmod", "0755", place}).status.code, 0);
  const std::string repository = place + "/new", key = place + "/key";
  const Captured made =
      as_root(scene_, {"--repo", repository, "--key-file", key, "-c", "main", "init", "--encrypt"});
  EXPECT_TRUE(made.status.ok()) << describe(made);
  EXPECT_EQ(others_things(repository), Words{});
  EXPECT_EQ(lstat_if_exists(key)->st_uid, geteuid());
  as_root({"rm", "-rf", place});
}

// lost+found as ext4 has it: root's, closed, at the root of each mount.
TEST_F(AsRoot, WhatTheFileSystemOrAStrangerKeepsInTheDataDirectoryIsInNobodysWay) {
  const std::string data = scene_.server().data_directory();
  const std::string closed[] = {data + "/lost+found", data + "/base/lost+found", data + "/of_root"};
  for (const std::string& path : closed)
    ASSERT_TRUE(
        as_root({"sh", "-c", fmt::format("mkdir -m 0700 {0} && touch {0}/x", path)}).status.ok());
  // A stranger's directory is part of the data directory, and nobody can back up what he may not
  // read.
  as_root({"chmod", "0755", data + "/of_root"});
  scene_.must({"backup"});
  scene_.archive_current_segment();
  scene_.server().stop();
  as_root({"chmod", "0700", data + "/of_root"});
  const Captured planned = scene_.run({"restore", "--in-place", "--dry-run"});
  EXPECT_TRUE(planned.status.ok()) << describe(planned);
  as_root({"mv", data + "/of_root", data + "/of_root_too"});
  const Captured ran = scene_.run({"restore", "--in-place", "--yes"});
  EXPECT_TRUE(ran.status.ok()) << describe(ran);
  EXPECT_NE(ran.err.find(fmt::format("{}/of_root_too", data)), std::string::npos) << describe(ran);
  EXPECT_TRUE(lstat_if_exists(data + "/lost+found"));

  // In the directory that a copy is to have.
  const std::string target = scene_.path("restored");
  ASSERT_TRUE(as_root({"sh", "-c",
                       fmt::format("mkdir {0} && mkdir -m 0700 {0}/lost+found && chown {1} {0}",
                                   target, geteuid())})
                  .status.ok());
  const Captured into = scene_.run({"restore", "--into", target});
  EXPECT_TRUE(into.status.ok()) << describe(into);
  for (const std::string& path :
       {data + "/lost+found", data + "/base/lost+found", data + "/of_root_too", data + "/of_root"})
    as_root({"rm", "-rf", path});
}

// --- Without root: what a user may not read, whoever took it from him
// -------------------------------

// One command's folders are closed; nobody else needs them, least of all archiving and recovery.
TEST(ClosedFolders, HoldUpNobodyWhoDoesNotNeedThem) {
  RecoveryScene scene({});
  const std::string id = scene.must({"backup"}).at("backup").at("id").as_string();
  scene.server().sql("CREATE TABLE t AS SELECT generate_series(1, 100)");
  const std::string kept = scene.must({"backup"}).at("backup").at("id").as_string();
  scene.must({"verify"});
  const std::string cluster = scene.repository() + "/clusters/main";
  const std::string lineage = cluster + "/15-1";
  make_directory(cluster + "/drills");
  make_directory(cluster + "/14-1");  // a lineage of which nothing is known
  const Words closed = {cluster + "/drills",      cluster + "/14-1",
                        lineage + "/marks/" + id, lineage + "/backups/" + id + ".json",
                        lineage + "/doomed",      lineage + "/verified"};
  make_directories(lineage + "/doomed");
  struct Closing {
    explicit Closing(const Words& which) : paths(which) { set(0); }
    ~Closing() { set(0700); }
    void set(mode_t mode) const {
      for (const std::string& path : paths) {
        EXPECT_EQ(chmod(path.c_str(), mode), 0) << path;
      }
    }
    const Words& paths;
  };
  std::optional<Closing> closing(closed);

  expect_archiving(scene);
  const Captured listed = scene.run({"backup", "list"});
  EXPECT_TRUE(listed.status.ok()) << describe(listed);
  EXPECT_NE(listed.out.find("unreadable"), std::string::npos) << describe(listed);
  EXPECT_NE(listed.out.find(kept), std::string::npos) << describe(listed);
  for (const Words& words : {Words{"info"}, Words{"wal", "list"}, Words{"backup", "show", kept}}) {
    const Captured ran = scene.run(words);
    EXPECT_TRUE(ran.status.ok()) << describe(ran);
  }
  const std::unique_ptr<RestoredServer> restored =
      scene.restore_into("copy", {"--backup", kept, "--to-latest"});
  EXPECT_EQ(restored->value("SELECT count(*) FROM public.t"), "100");
  const Captured verified = scene.run({"verify"});
  EXPECT_EQ(verified.status.code, 3) << describe(verified);
  EXPECT_NE(verified.out.find(fmt::format("backup {}: usable: one of its two", id)),
            std::string::npos)
      << describe(verified);

  // What cannot be read protects everything that it could name.
  const Words before = listing(lineage + "/packs");
  const Captured expired = scene.run({"expire", "--grace", "0s", "--yes"});
  EXPECT_FALSE(expired.status.ok()) << describe(expired);
  EXPECT_EQ(listing(lineage + "/packs"), before);
  closing.reset();
  remove_tree(cluster + "/14-1");
  const Captured again = scene.run({"verify"});
  EXPECT_TRUE(again.status.ok()) << describe(again);
}

// Whoever backs the data directory up as a member of its group can read all of it, whatever brought
// it back.
TEST(GroupAccess, IsKeptByWhatARestoreAndItsRecoveryMake) {
  RecoveryScene scene({});
  const std::string data = scene.server().data_directory();
  scene.server().stop();
  run_checked({.arguments = {"chmod", "-R", "g+rX", data}});
  scene.server().start();
  scene.must({"backup"});
  scene.archive_current_segment();
  scene.server().sql("CREATE TABLE t AS SELECT generate_series(1, 100)");
  scene.archive_current_segment();
  scene.crash();
  const std::unique_ptr<RestoredServer> restored = scene.restore_in_place();
  EXPECT_EQ(restored->value("SELECT count(*) FROM public.t"), "100");
  EXPECT_EQ(stat_if_exists(data)->st_mode & 0777U, 0750U);
  EXPECT_EQ(run_checked({.arguments = {"find", data, "-type", "f", "!", "-perm", "-040", "-o",
                                       "-type", "d", "!", "-perm", "-050"}}),
            "");
}

}  // namespace
}  // namespace holdfast::test
