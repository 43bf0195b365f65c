// A disk that is full: it is said, nothing earlier is lost, and with space again the next run
// works.
//
// HOLDFAST_SMALL_DISK names the small file system; tools/run_integration mounts it.
#include <algorithm>
#include <cstdlib>
#include <fcntl.h>
#include <memory>
#include <regex>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/file.h"
#include "support/holdfast_command.h"
#include "support/recovery_scene.h"

namespace holdfast::test {
namespace {

std::string small_disk() {
  const char* path = std::getenv("HOLDFAST_SMALL_DISK");
  if (path == nullptr || *path == '\0')
    throw Error({.code = ErrorCode::kUsage,
                 .message = "HOLDFAST_SMALL_DISK is not set",
                 .hint = "Run the integration tests with tools/run_integration, where a tmpfs can "
                         "be mounted."});
  return path;
}

// Takes all of the small disk but `left` bytes, until it is destroyed.
class Filler {
 public:
  explicit Filler(uint64_t left) : path_(join_path(small_disk(), "filler")) {
    const Fd fd = open_file(path_, O_WRONLY | O_CREAT | O_EXCL);
    // In ever smaller steps: a tmpfs may refuse to give all that it calls free at once.
    uint64_t size = 0;
    for (uint64_t step = uint64_t{64} << 20; step >= 4096;) {
      const uint64_t free = free_bytes(small_disk());
      if (free <= left) break;
      const uint64_t taken = std::min(step, free - left);
      if (posix_fallocate(fd.get(), static_cast<off_t>(size), static_cast<off_t>(taken)) == 0)
        size += taken;
      else
        step /= 2;
    }
    EXPECT_LE(free_bytes(small_disk()), left);
  }
  ~Filler() { remove_file_if_exists(path_); }
  Filler(const Filler&) = delete;
  Filler& operator=(const Filler&) = delete;

 private:
  std::string path_;
};

class FullDisk : public testing::Test {
 protected:
  FullDisk() : repository_(join_path(small_disk(), "repo")), scene_({.wal_segment_mib = 1}) {
    must({"init", "--configure-server", "--replace"});
    scene_.server().sql("CREATE TABLE kept AS SELECT g FROM generate_series(1, 1000) g");
    must({"backup"});
  }
  ~FullDisk() override {
    remove_tree(repository_);
    remove_tree(join_path(small_disk(), "restored"));
  }

  static std::vector<std::string> with_repository(std::vector<std::string> words,
                                                  const std::string& repository) {
    words.insert(words.end(), {"--repo", repository});
    return words;
  }
  Captured run(const std::vector<std::string>& words, const std::string& in = {}) {
    return scene_.run(with_repository(words, repository_), in);
  }
  Json must(const std::vector<std::string>& words) {
    return scene_.must(with_repository(words, repository_));
  }
  // The message, DETAIL and HINT of a run that must fail with 1; random names are masked.
  std::string refusal(const std::vector<std::string>& words, const std::string& in = {}) {
    const Captured ran = run(words, in);
    EXPECT_EQ(ran.status.code, 1) << describe(ran);
    std::string text = ran.err.substr(std::min(ran.err.find("ERROR:  "), ran.err.size()));
    text.resize(std::min(text.find("CONTEXT:  "), text.size()));
    text = std::regex_replace(text, std::regex("[0-9a-f]{32}"), "$$HEX");
    for (size_t at = text.find(small_disk()); at != std::string::npos; at = text.find(small_disk()))
      text.replace(at, small_disk().size(), "$SMALL");
    return text;
  }
  // Everything that stays, by content.
  std::vector<std::string> kept() { return contents(join_path(repository_, "clusters")); }
  std::vector<std::string> backups() {
    std::vector<std::string> ids;
    const Json list = must({"backup", "list"});
    for (const Json& backup : list.at("backups").items())
      ids.push_back(backup.at("id").as_string());
    return ids;
  }
  void expect_restorable(const std::string& backup) {
    const RestoredServer server(
        scene_.path("restored"),
        must({"restore", "--into", scene_.path("restored"), "--start", "--backup", backup}));
    EXPECT_EQ(server.value("SELECT pg_catalog.count(*) FROM public.kept"), "1000");
  }

  std::string repository_;
  RecoveryScene scene_;
};

constexpr const char* kUploadRefused =
    R"(ERROR:  could not write "$SMALL/repo/.tmp/$HEX": No space left on device
HINT:  Free space on the file system that holds it, then run the command again.
)";

TEST_F(FullDisk, EndsABackupAndLosesNothing) {
  const std::vector<std::string> before = backups();
  const std::vector<std::string> files = kept();
  {
    const Filler filler(600 << 10);  // enough to begin with
    EXPECT_EQ(refusal({"backup"}), kUploadRefused);
    EXPECT_EQ(backups(), before);
    for (const std::string& file : files) EXPECT_EQ(std::ranges::count(kept(), file), 1) << file;
  }
  must({"backup"});
  EXPECT_EQ(backups().size(), before.size() + 1);
  for (const std::string& id : backups()) expect_restorable(id);
}

TEST_F(FullDisk, EndsWalPushAndLosesNothing) {
  scene_.server().sql("ALTER SYSTEM SET archive_command = 'false'");
  scene_.server().sql("SELECT pg_reload_conf()");
  EXPECT_TRUE(comes_true([&] { return scene_.server().value("SHOW archive_command") == "false"; }));
  scene_.server().sql(
      "CREATE TABLE pushed AS SELECT g, md5(g::text) FROM generate_series(1, 5000) g");
  const std::string segment = scene_.server().value("SELECT pg_walfile_name(pg_current_wal_lsn())");
  scene_.server().sql("SELECT pg_switch_wal()");
  const std::string data = scene_.server().data_directory();
  const std::vector<std::string> push = {"wal", "push", "pg_wal/" + segment, "--look-ahead", "0"};
  const std::vector<std::string> before = kept();
  {
    const Filler filler(0);
    EXPECT_EQ(refusal(push, data), kUploadRefused);
    EXPECT_EQ(kept(), before);
  }
  for (int again = 0; again < 2; ++again) {
    const Captured next = run(push, data);
    EXPECT_EQ(next.status.code, 0) << describe(next);
  }
  const std::string got = scene_.path("got");
  const Captured get = run({"wal", "get", segment, got, "--read-ahead", "0"}, data);
  EXPECT_EQ(get.status.code, 0) << describe(get);
  EXPECT_TRUE(read_file(got) == read_file(join_path(data, "pg_wal/" + segment)));
}

TEST_F(FullDisk, RefusesARestoreThatDoesNotFitBeforeItWritesAnything) {
  const std::string into = join_path(small_disk(), "restored");
  const Filler filler(4 << 20);
  for (const char* dry_run : {"--dry-run", "--start"}) {
    const std::string words = refusal({"restore", "--into", into, dry_run});
    EXPECT_TRUE(std::regex_match(
        words, std::regex("ERROR:  there is not enough disk space for this restore\n"
                          "DETAIL:  \"[$]SMALL/restored\" needs [0-9.]+ MiB, and its file system "
                          "has [34][.0-9]* MiB free[.]\n"
                          "HINT:  Nothing was written. Make room there, or restore to another file "
                          "system[.]\n")))
        << words;
    EXPECT_FALSE(lstat_if_exists(into));
  }
}

TEST_F(FullDisk, EndsARestoreThatLeavesNothingToStart) {
  const std::string into = join_path(small_disk(), "restored");
  const std::vector<std::string> restore = {"restore", "--into", into};
  const int64_t needed = must({"restore", "--dry-run", "--into", into})
                             .at("disk")
                             .items()[0]
                             .at("needed_bytes")
                             .as_i64();
  {
    // The files fit, and not a page more: there is no room for the configuration of the recovery.
    const Filler filler(static_cast<uint64_t>(needed));
    const std::string words = refusal(restore);
    EXPECT_TRUE(std::regex_match(
        words, std::regex("ERROR:  could not [a-z ]+ \"[$]SMALL/restored/[^\"]*\": No space left "
                          "on device\nHINT:  Free space on the file system that holds it, then "
                          "run the command again.\n")))
        << words;
    EXPECT_FALSE(lstat_if_exists(join_path(into, "global/pg_control")));
  }
  must(restore);
  EXPECT_TRUE(lstat_if_exists(join_path(into, "global/pg_control")));
}

// What to type then, and that it helps.
TEST_F(FullDisk, IsFreedAtOnceByDeletingAndAnExpiryWithoutGrace) {
  scene_.server().sql(
      "CREATE TABLE gone AS SELECT g, md5(g::text) FROM generate_series(1, 20000) g");
  must({"backup"});
  const std::string newest = backups().back();
  scene_.server().sql("DROP TABLE gone");
  must({"backup"});
  const Captured asked = run({"expire", "--grace", "0"});
  EXPECT_EQ(asked.status.code, 2) << describe(asked);
  const Filler filler(0);
  EXPECT_NE(run({"backup"}).status.code, 0);
  must({"backup", "delete", newest, "--yes"});
  // What was written a moment ago may be somebody's who is not to be seen yet.
  EXPECT_TRUE(comes_true([&] {
    const Captured expired = run({"expire", "--grace", "0", "--yes", "--json"});
    EXPECT_EQ(expired.status.code, 0) << describe(expired);
    return free_bytes(repository_) > (1 << 20);
  }));
  EXPECT_EQ(backups().size(), 2U);
  for (const std::string& id : backups()) expect_restorable(id);
}

TEST_F(FullDisk, OfTheRepositoryDoesNotKeepARestoreElsewhereFromIt) {
  const std::string into = scene_.path("restored");
  const Filler filler(0);
  const Captured ran = run({"restore", "--into", into});
  EXPECT_EQ(ran.status.code, 0) << describe(ran);
  EXPECT_NE(ran.err.find("WARNING:  the repository cannot be written to, so nothing keeps others "
                         "from expiring what is restored: could not write \""),
            std::string::npos)
      << ran.err;
  EXPECT_TRUE(lstat_if_exists(join_path(into, "global/pg_control")));
}

// Its server has ended with commits that are not archived; its directory is on the small disk.
std::string crash_unarchived(RecoveryScene& scene) {
  scene.server().sql("CREATE TABLE kept AS SELECT g FROM generate_series(1, 1000) g");
  scene.must({"backup"});
  scene.server().sql("ALTER SYSTEM SET archive_command = 'false'");
  scene.server().sql("SELECT pg_reload_conf()");
  EXPECT_TRUE(comes_true([&] { return scene.server().value("SHOW archive_command") == "false"; }));
  scene.server().sql("INSERT INTO kept SELECT generate_series(1001, 40000)");
  scene.crash();
  std::string data = join_path(small_disk(), "data");
  run_checked({.arguments = {"cp", "-a", scene.server().data_directory(), data}});
  return data;
}

// The disk of the database is full of WAL that could not be archived: all there is of its last
// commits.
TEST(FullDiskOfACluster, IsRestoredInPlaceWithNothingFreedByHand) {
  RecoveryScene scene({.wal_segment_mib = 1});
  const std::string data = crash_unarchived(scene);
  const std::vector<std::string> restore = {"restore", "--in-place", "--yes",
                                            "--start", "--pgdata",   data};
  const Filler filler(0);
  std::vector<std::string> on_paper = restore;
  on_paper.emplace_back("--dry-run");
  scene.must(on_paper);
  {
    const RestoredServer server(data, scene.must(restore));
    EXPECT_EQ(server.value("SELECT pg_catalog.count(*) FROM public.kept"), "40000");
  }
}

// Where WAL can neither be archived nor be put aside, nothing is cleared, and nobody is led to free
// the disk of the only WAL there is.
TEST(FullDiskOfACluster, IsNotToBeFreedOfItsWal) {
  RecoveryScene scene({.wal_segment_mib = 1});
  const std::string data = crash_unarchived(scene);
  const std::string repository = join_path(small_disk(), "repo");
  run_checked({.arguments = {"cp", "-a", scene.repository(), repository}});
  {
    const Filler filler(0);
    const Captured refused =
        scene.run({"restore", "--in-place", "--yes", "--pgdata", data, "--repo", repository});
    EXPECT_EQ(refused.status.code, 1) << describe(refused);
    EXPECT_NE(refused.err.find(fmt::format("Delete nothing in \"{0}/pg_wal\": it may be the only "
                                           "WAL there is. \"holdfast",
                                           data)),
              std::string::npos)
        << refused.err;
    EXPECT_NE(refused.err.find(fmt::format(" wal salvage {}\" archives it", data)),
              std::string::npos)
        << refused.err;
    EXPECT_TRUE(lstat_if_exists(join_path(data, "global/pg_control")));
    EXPECT_FALSE(lstat_if_exists(join_path(data, "holdfast_restore.in_progress")));
  }
  remove_tree(data);
  remove_tree(repository);
}

}  // namespace
}  // namespace holdfast::test
