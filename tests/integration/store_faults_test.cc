// The repository goes away while it is written to or read: unmounted, or closed to us. It is said
// at once and clearly, nothing earlier is lost, and the command works again when it is back.
#include <algorithm>
#include <csignal>
#include <functional>
#include <sys/stat.h>
#include <thread>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/file.h"
#include "base/process.h"
#include "support/holdfast_command.h"
#include "support/recovery_scene.h"

namespace holdfast::test {
namespace {

class StoreFaults : public testing::Test {
 protected:
  StoreFaults() : scene_({.wal_segment_mib = 1}) {
    // Enough to be in the middle of.
    scene_.server().sql(
        "CREATE TABLE kept AS SELECT g, md5(g::text) || md5((-g)::text) AS text FROM "
        "generate_series(1, 200000) g");
    scene_.archive_current_segment();
    scene_.must({"backup"});
  }

  std::string clusters() { return join_path(scene_.repository(), "clusters"); }

  struct Ended {
    ExitStatus status;
    std::string err;
  };
  // Runs `words`, holds the program when `is_midway` says so, does `fault`, lets it go on to its
  // end, and takes the fault back. Again when it was too quick for us.
  Ended interrupted(const std::vector<std::string>& words, const std::function<bool()>& is_midway,
                    const std::function<bool()>& is_done, const std::function<void()>& fault,
                    const std::function<void()>& repair, const std::function<void()>& clean) {
    for (int attempt = 0; attempt < 20; ++attempt) {
      const std::string err = scene_.path("err");
      remove_file_if_exists(err);
      SpawnOptions options{
          .arguments = {holdfast_program(), "-q", "--config", scene_.config_file()},
          .output = "/dev/null",
          .error = err};
      options.arguments.insert(options.arguments.end(), words.begin(), words.end());
      Process process(options);
      while (!process.poll() && !is_midway()) std::this_thread::yield();
      if (process.poll()) {
        clean();
        continue;
      }
      process.signal(SIGSTOP);
      // Held when the kernel says so.
      EXPECT_TRUE(comes_true([&] {
        const std::string stat = read_text_file(fmt::format("/proc/{}/stat", process.pid()));
        return stat.substr(stat.rfind(')') + 2, 1) == "T";
      }));
      if (!is_midway() || is_done()) {
        process.signal(SIGCONT);
        process.wait();
        clean();
        continue;
      }
      fault();
      process.signal(SIGCONT);
      const ExitStatus status = process.wait();
      repair();
      return {.status = status, .err = read_text_file(err)};
    }
    ADD_FAILURE() << "the program was never caught in the middle";
    return {};
  }
  void expect_words(const Ended& ended, const std::string& begin, const std::string& hint) {
    EXPECT_EQ(to_string(ended.status), "exited with status 1") << ended.err;
    EXPECT_TRUE(ended.err.starts_with(begin)) << ended.err;
    EXPECT_NE(ended.err.find(hint), std::string::npos) << ended.err;
  }
  std::vector<std::string> uploads() {
    std::vector<std::string> names;
    for (const DirectoryEntry& entry :
         list_directory_if_exists(join_path(scene_.repository(), ".tmp"))
             .value_or(std::vector<DirectoryEntry>{}))
      names.push_back(entry.name);
    return names;
  }
  size_t backups() { return scene_.must({"backup", "list"}).at("backups").items().size(); }

  // The two faults.
  std::function<void()> unmount() {
    return [this] { rename_path(scene_.repository(), scene_.path("away")); };
  }
  std::function<void()> mount() {
    return [this] { rename_path(scene_.path("away"), scene_.repository()); };
  }
  std::function<void()> mode(mode_t mode) {
    return [this, mode] { EXPECT_EQ(chmod(scene_.repository().c_str(), mode), 0); };
  }
  std::string gone() {
    return fmt::format("ERROR:  repository directory \"{}\" is not there\n", scene_.repository());
  }
  static constexpr const char* kGoneHint =
      "HINT:  Check the path, and that the file system which holds it is mounted.";
  static constexpr const char* kClosedHint =
      "HINT:  Give its owner back what he may do: chmod -R u+rwX ";

  RecoveryScene scene_;
};

TEST_F(StoreFaults, EndABackupAndLoseNothing) {
  const std::vector<std::string> before = contents(clusters());
  const auto is_midway = [&] { return !uploads().empty(); };
  const auto never = [] { return false; };
  const auto nothing = [] {};
  size_t count = backups();
  expect_words(interrupted({"backup"}, is_midway, never, unmount(), mount(), nothing), gone(),
               kGoneHint);
  EXPECT_GE(backups(), count);
  expect_words(interrupted({"backup"}, is_midway, never, mode(0), mode(0700), nothing),
               "ERROR:  could not ", kClosedHint);
  count = backups();
  scene_.must({"backup"});
  EXPECT_EQ(backups(), count + 1);
  const std::vector<std::string> after = contents(clusters());
  for (const std::string& file : before) EXPECT_EQ(std::ranges::count(after, file), 1) << file;
  EXPECT_EQ(scene_.restore_into("restored", {})
                ->value("SELECT pg_catalog.count(*) FROM "
                        "public.kept"),
            "200000");
}

TEST_F(StoreFaults, EndARestoreThatLeavesNothingToStart) {
  const std::string into = scene_.path("into");
  const auto is_midway = [&] { return lstat_if_exists(join_path(into, "base/1")).has_value(); };
  const auto is_done = [&] { return lstat_if_exists(join_path(into, "backup_label")).has_value(); };
  const auto clean = [&] { remove_tree(into); };
  const std::vector<std::string> restore = {"restore", "--into", into};
  expect_words(interrupted(restore, is_midway, is_done, unmount(), mount(), clean), gone(),
               kGoneHint);
  EXPECT_FALSE(lstat_if_exists(join_path(into, "global/pg_control")));
  clean();
  expect_words(interrupted(restore, is_midway, is_done, mode(0), mode(0700), clean),
               "ERROR:  could not ", kClosedHint);
  EXPECT_FALSE(lstat_if_exists(join_path(into, "global/pg_control")));
  // Over what it has left.
  const RestoredServer server(into, scene_.must({"restore", "--into", into, "--start"}));
  EXPECT_EQ(server.value("SELECT pg_catalog.count(*) FROM public.kept"), "200000");
}

TEST_F(StoreFaults, DoNotKeepARestoreFromARepositoryThatCanOnlyBeRead) {
  // What the archiver still had to do is done, and is not done again.
  scene_.archive_current_segment();
  scene_.server().stop();
  run_checked({.arguments = {"chmod", "-R", "a-w", scene_.repository()}});
  const std::string into = scene_.path("into");
  const Captured ran = scene_.run({"restore", "--into", into, "--json"});
  EXPECT_TRUE(ran.status.ok()) << describe(ran);
  EXPECT_NE(ran.err.find("WARNING:  the repository cannot be written to, so nothing keeps others "
                         "from expiring what is restored: could not create \""),
            std::string::npos)
      << ran.err;
  EXPECT_TRUE(lstat_if_exists(join_path(into, "global/pg_control")));
  run_checked({.arguments = {"chmod", "-R", "u+w", scene_.repository()}});
}

}  // namespace
}  // namespace holdfast::test
