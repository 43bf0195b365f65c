#include "base/locked_directory.h"

#include <array>
#include <csignal>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/error.h"

namespace holdfast {
namespace {

constexpr LockedDirectory::Kind kKind{.prefix = "run-", .lock = "run.lock"};

class LockedDirectoryTest : public testing::Test {
 protected:
  const std::string& root() const { return root_.path(); }
  // Made by a process that is killed.
  void abandon() const {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      const LockedDirectory made(root(), kKind);
      write_file_durably(join_path(made.path(), "content"), as_bytes("large"));
      kill(getpid(), SIGKILL);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status));
  }
  std::vector<std::string> removed() const {
    std::vector<std::string> paths;
    remove_abandoned(root(), kKind, [&](const std::string& path) {
      EXPECT_FALSE(FileLock::try_lock(join_path(path, kKind.lock))) << "it is not held meanwhile";
      paths.push_back(path);
      remove_tree(path);
    });
    return paths;
  }
  size_t left() const { return list_directory(root()).size(); }

 private:
  const TemporaryDirectory root_;
};

TEST_F(LockedDirectoryTest, OfARunThatWasKilledIsRemovedByTheNextAndOfALivingOneNever) {
  abandon();
  abandon();
  const LockedDirectory living(root(), kKind);
  EXPECT_EQ(stat_if_exists(living.path())->st_mode & 0777u, 0700u);
  EXPECT_EQ(left(), 3U);
  EXPECT_EQ(removed().size(), 2U);
  EXPECT_EQ(removed().size(), 0U);
  EXPECT_TRUE(is_directory(living.path()));
  EXPECT_EQ(left(), 1U);
}

TEST_F(LockedDirectoryTest, OnlyWhatLooksLikeOneIsTouched) {
  abandon();
  make_directories(join_path(root(), "run-without-lock"));
  make_directories(join_path(root(), "other"));
  write_file_durably(join_path(root(), "other/run.lock"), {});
  write_file_durably(join_path(root(), "run-file"), {});
  ASSERT_EQ(symlink(join_path(root(), "other").c_str(), join_path(root(), "run-link").c_str()), 0);
  EXPECT_EQ(removed().size(), 1U);
  EXPECT_EQ(left(), 4U);
  EXPECT_TRUE(lstat_if_exists(join_path(root(), "other/run.lock")));
}

TEST_F(LockedDirectoryTest, OneThatCannotBeRemovedDoesNotKeepTheOthers) {
  abandon();
  abandon();
  std::vector<std::string> tried;
  remove_abandoned(root(), kKind, [&](const std::string& path) {
    tried.push_back(path);
    if (tried.size() == 1) throw Error({.code = ErrorCode::kCorrupt, .message = "no"});
    remove_tree(path);
  });
  EXPECT_EQ(tried.size(), 2U);
  EXPECT_EQ(left(), 1U);
}

// Killed in its midst it is still known for what it is.
TEST_F(LockedDirectoryTest, ItsLockIsRemovedLast) {
  const LockedDirectory made(root(), kKind);
  for (const char* name : {"a-file", "z-file"})
    write_file_durably(join_path(made.path(), name), {});
  make_directories(join_path(made.path(), "data/base"));
  const Fd watch(inotify_init1(IN_NONBLOCK));
  ASSERT_GE(inotify_add_watch(watch.get(), made.path().c_str(), IN_DELETE), 0);
  remove_locked(made.path(), kKind);
  EXPECT_FALSE(lstat_if_exists(made.path()));
  std::vector<std::string> deleted;
  alignas(inotify_event) std::array<char, 4096> events{};
  const ssize_t bytes = read(watch.get(), events.data(), events.size());
  for (ssize_t at = 0; at < bytes;) {
    const auto* event = reinterpret_cast<const inotify_event*>(events.data() + at);
    if (event->len > 0) deleted.emplace_back(event->name);
    at += static_cast<ssize_t>(sizeof(inotify_event) + event->len);
  }
  ASSERT_EQ(deleted.size(), 4U);
  EXPECT_EQ(deleted.back(), kKind.lock);
}

}  // namespace
}  // namespace holdfast
