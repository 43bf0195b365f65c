// What stands twice in the repository of a real cluster: one of the two that is lost or damaged
// costs no command anything, is named by verify, and is put again where it is missing.
#include <filesystem>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "support/holdfast_command.h"
#include "support/recovery_scene.h"

namespace holdfast::test {
namespace {

namespace fs = std::filesystem;

// The two places of one object, each of which is harmed.
struct Places {
  std::string first, copy;
  Bytes whole;

  explicit Places(const std::string& first_path, const std::string& copy_path)
      : first(first_path), copy(copy_path), whole(read_file(first_path)) {
    EXPECT_EQ(whole, read_file(copy_path));
  }
  // For each of the two lost, then damaged; and as they were again.
  template <typename Try>
  void harm_each(const Try& attempt) const {
    for (const std::string& path : {first, copy})
      for (const bool is_lost : {true, false}) {
        SCOPED_TRACE(fmt::format("{} is {}", path, is_lost ? "lost" : "damaged"));
        fs::remove(path);
        if (!is_lost) {
          Bytes rotten = whole;
          rotten[rotten.size() * 3 / 4] ^= std::byte{1};
          write_file_durably(path, rotten);
        }
        attempt(path, is_lost);
        for (const std::string& each : {first, copy}) {
          remove_file_if_exists(each);
          write_file_durably(each, whole);
        }
      }
  }
};

void expect_status(int status, const Captured& ran) {
  EXPECT_EQ(ran.status.code, status) << describe(ran);
}

TEST(SecondCopies, OneOfTheTwoCommitsOfABackupIsEnoughForEveryCommand) {
  RecoveryScene scene({.major = 17, .wal_segment_mib = 1});
  scene.server().sql("CREATE TABLE public.t AS SELECT g FROM generate_series(1, 1000) g");
  const std::string id = scene.must({"backup"}).at("backup").at("id").as_string();
  const std::string lineage = scene.repository() + "/clusters/main/17-1/";
  const Places commits(lineage + "backups/" + id + ".json",
                       lineage + "backups.copy/" + id + ".json");

  commits.harm_each([&](const std::string& path, bool is_lost) {
    const Json list = scene.must({"backup", "list"});
    ASSERT_EQ(list.at("backups").items().size(), 1u) << list.dump();
    EXPECT_FALSE(list.at("backups").items()[0].at("damaged").as_bool());
    for (const std::vector<std::string>& words :
         {std::vector<std::string>{"info"},
          {"check"},
          {"backup", "show", id},
          {"expire"},
          {"restore", "--into", scene.path("copy"), "--dry-run"},
          {"backup", "delete", id, "--yes", "--delete-last"},
          {"backup", "undelete", id}})
      expect_status(0, scene.run(words));
    // Of two that are there and differ one is damaged; what was lost is put again.
    if (is_lost) {
      EXPECT_EQ(read_file(path), commits.whole) << "by undelete";
      fs::remove(path);
    }
    const Captured verified = scene.run({"verify"});
    expect_status(is_lost && path == commits.copy ? 0 : 3, verified);
    EXPECT_NE((verified.out + verified.err).find(path.substr(scene.repository().size() + 1)),
              std::string::npos)
        << describe(verified);
    if (is_lost) {
      EXPECT_EQ(read_file(path), commits.whole) << "by verify";
      expect_status(0, scene.run({"verify"}));
    }
  });

  fs::remove(commits.first);
  scene.must({"backup"});
  EXPECT_EQ(read_file(commits.first), commits.whole) << "by the next backup";
  fs::remove(commits.first);
  const std::unique_ptr<RestoredServer> restored = scene.restore_into("copy", {"--backup", id});
  EXPECT_EQ(restored->value("SELECT count(*) FROM public.t"), "1000");
}

TEST(SecondCopies, OneOfTheTwoOfAHistoryIsEnoughForEveryCommand) {
  RecoveryScene scene({.major = 17, .wal_segment_mib = 1});
  scene.server().sql("CREATE TABLE public.t AS SELECT g FROM generate_series(1, 1000) g");
  scene.must({"backup"});
  scene.archive_current_segment();
  scene.crash();
  const std::unique_ptr<RestoredServer> promoted = scene.restore_in_place();
  scene.archive_current_segment(promoted->connect());
  const std::string id = scene.must({"backup"}).at("backup").at("id").as_string();
  const std::string lineage = scene.repository() + "/clusters/main/17-1/";
  const Places history(lineage + "wal/00000002.history", lineage + "histories.copy/00000002/0");
  const std::string own = promoted->directory() + "/pg_wal/00000002.history";

  history.harm_each([&](const std::string& path, bool is_lost) {
    for (const std::vector<std::string>& words :
         {std::vector<std::string>{"info"},
          {"check"},
          {"backup", "list"},
          {"wal", "list"},
          {"expire"},
          {"restore", "--into", scene.path("copy"), "--backup", id, "--dry-run"},
          {"wal", "get", "00000002.history", scene.path("got")}})
      expect_status(0, scene.run(words));
    EXPECT_EQ(read_file(scene.path("got")), read_file(own));
    fs::remove(scene.path("got"));
    // The server offers its history when it archives: what is lost may be back by then.
    const bool is_back = is_lost && lstat_if_exists(path);
    expect_status(is_back || (is_lost && path == history.copy) ? 0 : 3, scene.run({"verify"}));
    if (is_lost) {
      EXPECT_EQ(read_file(path), history.whole) << "by verify";
      fs::remove(path);
    }
    expect_status(0, scene.run({"wal", "push", own}));
    if (is_lost) {
      EXPECT_EQ(read_file(path), history.whole) << "by the server that offers it";
    }
  });
}

}  // namespace
}  // namespace holdfast::test
