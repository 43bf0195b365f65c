#include "base/file.h"

#include <array>
#include <atomic>
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <thread>
#include <unistd.h>

#include <gtest/gtest.h>

#include "base/error.h"
#include "support/error_of.h"

namespace holdfast {
namespace {

using test::error_of;

class Files : public testing::Test {
 protected:
  std::string path(std::string_view name) const { return join_path(directory_.path(), name); }
  void put(std::string_view name, std::string_view text) const {
    write_file_durably(path(name), as_bytes(text));
  }
  std::vector<std::string> names(std::string_view below = "") const {
    std::vector<std::string> result;
    for (const DirectoryEntry& entry : list_directory(path(below))) result.push_back(entry.name);
    return result;
  }

  TemporaryDirectory directory_;
};

using DurableFileTest = Files;
using RemoveTree = Files;
using Lock = Files;

std::array<Fd, 2> make_pipe() {
  int ends[2];
  EXPECT_EQ(pipe2(ends, O_CLOEXEC), 0);
  return {Fd(ends[0]), Fd(ends[1])};
}

TEST_F(Files, AnFdClosesOnceAndMovesItsOwnership) {
  Fd first = open_file("/dev/null", O_RDONLY);
  const int number = first.get();
  EXPECT_NE(fcntl(number, F_GETFD) & FD_CLOEXEC, 0);
  Fd second = std::move(first);
  EXPECT_FALSE(
      first.is_open());  // NOLINT(bugprone-use-after-move): what the move leaves is promised
  EXPECT_EQ(second.get(), number);
  second.reset();
  EXPECT_EQ(fcntl(number, F_GETFD), -1);
}

TEST_F(Files, OpeningWhatIsAbsentIsAnAnswerOrAnErrorAsAsked) {
  put("file", "x");
  EXPECT_FALSE(open_if_exists(path("absent"), O_RDONLY));
  EXPECT_FALSE(open_if_exists(path("file/below"), O_RDONLY));
  EXPECT_TRUE(open_if_exists(path("file"), O_RDONLY));
  const Error error = error_of([&] { open_file(path("absent"), O_RDONLY); });
  EXPECT_EQ(error.code(), ErrorCode::kNotFound);
  EXPECT_EQ(error.message(),
            "could not open \"" + path("absent") + "\": No such file or directory");
  EXPECT_EQ(error_of([&] { open_file(path("no/such"), O_WRONLY | O_CREAT); }).message(),
            "could not create \"" + path("no/such") + "\": No such file or directory");
}

TEST_F(Files, ReadsAndWritesAtPlaces) {
  const Fd fd = open_file(path("file"), O_RDWR | O_CREAT);
  write_all(fd, as_bytes("0123456789"), "file");
  pwrite_all(fd, as_bytes("xyz"), 8, "file");
  std::array<std::byte, 20> buffer;
  EXPECT_EQ(pread_some(fd, buffer, 6, "file"), 5u);
  EXPECT_EQ(as_text(std::span(buffer).first(5)), "67xyz");
  EXPECT_EQ(pread_some(fd, buffer, 100, "file"), 0u);
  EXPECT_EQ(lseek(fd.get(), 9, SEEK_SET), 9);
  EXPECT_EQ(read_some(fd, buffer, "file"), 2u);
}

TEST_F(Files, ReadingGoesOnAfterSignalsAndShortReads) {
  // A handler without SA_RESTART: system calls end with EINTR.
  static std::atomic<int> handled = 0;
  struct sigaction action{};
  action.sa_handler = [](int) { ++handled; };
  struct sigaction before{};
  ASSERT_EQ(sigaction(SIGUSR1, &action, &before), 0);

  std::array<Fd, 2> ends = make_pipe();
  constexpr size_t kCount = 200;
  std::array<std::byte, kCount + 10> buffer;
  size_t got = 0;
  std::thread reader([&] { got = read_some(ends[0], buffer, "pipe"); });
  for (size_t i = 0; i < kCount; ++i) {
    const int seen = handled;
    pthread_kill(reader.native_handle(), SIGUSR1);
    while (handled == seen) std::this_thread::yield();
    write_all(ends[1], as_bytes("x"), "pipe");
  }
  ends[1].reset();
  reader.join();
  EXPECT_EQ(got, kCount);
  sigaction(SIGUSR1, &before, nullptr);
}

TEST_F(Files, WritingGoesOnAfterShortWrites) {
  std::array<Fd, 2> ends = make_pipe();
  const Bytes many(1 << 20, std::byte{7});  // a pipe holds less
  std::thread writer([&] {
    write_all(ends[1], many, "pipe");
    ends[1].reset();
  });
  Bytes got(many.size() + 1);
  EXPECT_EQ(read_some(ends[0], got, "pipe"), many.size());
  writer.join();
  got.pop_back();
  EXPECT_EQ(got, many);
}

TEST_F(Files, AFullDiskIsNoSpaceWithAHint) {
  const Fd full = open_file("/dev/full", O_WRONLY);
  const Error error = error_of([&] { write_all(full, as_bytes("x"), "/dev/full"); });
  EXPECT_EQ(error.code(), ErrorCode::kNoSpace);
  EXPECT_EQ(error.message(), "could not write \"/dev/full\": No space left on device");
  EXPECT_EQ(error.hint(),
            "Free space on the file system that holds it, then run the command again.");
}

TEST_F(Files, AFailedFsyncIsAnError) {
  const std::array<Fd, 2> ends = make_pipe();  // a pipe cannot be synced
  EXPECT_EQ(error_of([&] { fsync_file(ends[1], "pipe"); }).message(),
            "could not fsync \"pipe\": Invalid argument");
}

TEST_F(Files, ReadsWholeFilesUpToTheLimit) {
  put("file", "12345");
  EXPECT_EQ(read_text_file(path("file")), "12345");
  EXPECT_EQ(read_text_file(path("file"), 5), "12345");
  EXPECT_EQ(read_if_exists(path("absent")), std::nullopt);
  EXPECT_EQ(as_text(read_if_exists(path("file")).value()), "12345");
  const Error error = error_of([&] { read_file(path("file"), 4); });
  EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
  EXPECT_EQ(error.message(), "file \"" + path("file") + "\" is too large");
  EXPECT_EQ(error.detail(), "It holds more than the 4 bytes that it may have.");
  put("empty", "");
  EXPECT_EQ(read_text_file(path("empty"), 0), "");
  EXPECT_EQ(error_of([&] { read_file(directory_.path()); }).code(), ErrorCode::kIo);
}

// Whoever may write into a directory would choose the file that is made, cut or appended to.
TEST_F(Files, WhatIsOpenedToBeMadeOrCutIsNotWhatALinkLeadsTo) {
  const std::string link = path("link");
  write_file_durably(path("victim"), as_bytes("kept"));
  ASSERT_EQ(symlink(path("victim").c_str(), link.c_str()), 0);
  for (int flags : {O_WRONLY | O_CREAT, O_WRONLY | O_TRUNC, O_WRONLY | O_CREAT | O_APPEND}) {
    const Error error = error_of([&] { open_file(link, flags); });
    EXPECT_EQ(error.code(), ErrorCode::kIo);
    EXPECT_NE(error.hint().find("symbolic link"), std::string::npos) << error.hint();
  }
  EXPECT_EQ(error_of([&] { FileLock::try_lock(link); }).code(), ErrorCode::kIo);
  EXPECT_EQ(read_text_file(link), "kept");
}

TEST_F(Files, ADirectoryInWhichTheFileSystemKeepsItsOwnIsEmpty) {
  make_directory(path("mount"));
  EXPECT_TRUE(is_empty_directory(path("mount")));
  make_directory(path("mount/lost+found"));
  EXPECT_TRUE(is_empty_directory(path("mount")));
  write_file_durably(path("mount/x"), {});
  EXPECT_FALSE(is_empty_directory(path("mount")));
}

TEST_F(Files, ReadsFilesThatTellNoSize) {
  // 0 by stat(2), some thousand bytes by read(2).
  EXPECT_TRUE(read_text_file("/proc/self/status").starts_with("Name:"));
  EXPECT_GT(read_file("/proc/self/maps").size(), 4096u);
}

TEST_F(DurableFileTest, IsThereOnlyAfterCommit) {
  {
    DurableFile file(path("a"), 0640);
    file.write(as_bytes("one"));
    file.write(as_bytes("two"));
    EXPECT_FALSE(stat_if_exists(path("a")));
    file.commit();
    EXPECT_EQ(read_text_file(path("a")), "onetwo");
  }
  EXPECT_EQ(names(), std::vector<std::string>{"a"});
  const mode_t mask = umask(0);
  umask(mask);
  EXPECT_EQ(stat_if_exists(path("a"))->st_mode & 07777u, 0640u & ~mask);
}

TEST_F(DurableFileTest, LeavesNothingWithoutCommit) {
  put("a", "old");
  {
    DurableFile file(path("a"));
    file.write(as_bytes("new"));
    EXPECT_EQ(names().size(), 2u);
  }
  EXPECT_EQ(names(), std::vector<std::string>{"a"});
  EXPECT_EQ(read_text_file(path("a")), "old");
}

TEST_F(DurableFileTest, ReplacesOrRefusesAnExistingNameAsAsked) {
  put("a", "old");
  {
    DurableFile file(path("a"));
    file.write(as_bytes("other"));
    const Error error = error_of([&] { file.commit(DurableFile::Mode::kCreate); });
    EXPECT_EQ(error.code(), ErrorCode::kAlreadyExists);
    EXPECT_EQ(error.message(), "could not create \"" + path("a") + "\": File exists");
  }
  EXPECT_EQ(read_text_file(path("a")), "old");
  EXPECT_EQ(names(), std::vector<std::string>{"a"});

  put("a", "new");
  EXPECT_EQ(read_text_file(path("a")), "new");

  DurableFile fresh(path("b"));
  fresh.write(as_bytes("b"));
  fresh.commit(DurableFile::Mode::kCreate);
  EXPECT_EQ(names(), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(stat_if_exists(path("b"))->st_nlink, 1u);
}

TEST_F(DurableFileTest, OneOfManyCreatorsWins) {
  std::atomic<int> won = 0;
  std::atomic<int> refused = 0;
  std::vector<std::jthread> threads;
  for (int i = 0; i < 8; ++i)
    threads.emplace_back([&, i] {
      DurableFile file(path("a"));
      file.write(as_bytes(std::to_string(i)));
      try {
        file.commit(DurableFile::Mode::kCreate);
        ++won;
      } catch (const Error& error) {
        if (error.code() == ErrorCode::kAlreadyExists) ++refused;
      }
    });
  threads.clear();
  EXPECT_EQ(won, 1);
  EXPECT_EQ(refused, 7);
  EXPECT_EQ(names(), std::vector<std::string>{"a"});
}

TEST_F(Files, TellsWhatANameIs) {
  put("file", "123");
  make_directory(path("dir"));
  ASSERT_EQ(symlink("dir", path("link").c_str()), 0);
  ASSERT_EQ(symlink("absent", path("dangling").c_str()), 0);
  EXPECT_EQ(stat_if_exists(path("file"))->st_size, 3);
  EXPECT_TRUE(S_ISLNK(lstat_if_exists(path("link"))->st_mode));
  EXPECT_TRUE(is_directory(path("link")));
  EXPECT_TRUE(is_directory(path("dir")));
  EXPECT_FALSE(is_directory(path("file")));
  EXPECT_FALSE(is_directory(path("absent")));
  EXPECT_FALSE(stat_if_exists(path("dangling")));
  EXPECT_TRUE(lstat_if_exists(path("dangling")));
  EXPECT_FALSE(lstat_if_exists(path("file/below")));
  EXPECT_TRUE(is_empty_directory(path("dir")));
  EXPECT_FALSE(is_empty_directory(directory_.path()));
  EXPECT_FALSE(is_empty_directory(path("absent")));
  EXPECT_EQ(read_link(path("dangling")), "absent");
  EXPECT_EQ(error_of([&] { read_link(path("file")); }).code(), ErrorCode::kIo);
}

TEST_F(Files, MakesDirectoriesWithTheirParents) {
  make_directories(path("a/b/c"));
  make_directories(path("a/b/c/"));
  EXPECT_TRUE(is_directory(path("a/b/c")));
  EXPECT_EQ(error_of([&] { make_directory(path("a")); }).code(), ErrorCode::kAlreadyExists);
  put("file", "");
  EXPECT_EQ(error_of([&] { make_directories(path("file/x")); }).message(),
            "could not create directory \"" + path("file") + "\": File exists");
}

TEST_F(Files, RemovesAndRenames) {
  put("a", "a");
  rename_path(path("a"), path("b"));
  EXPECT_EQ(names(), std::vector<std::string>{"b"});
  EXPECT_EQ(
      error_of([&] { rename_path(path("a"), path("c")); }).message(),
      "could not rename \"" + path("a") + "\" to \"" + path("c") + "\": No such file or directory");
  EXPECT_TRUE(remove_file_if_exists(path("b")));
  EXPECT_FALSE(remove_file_if_exists(path("b")));
  EXPECT_EQ(error_of([&] { remove_file(path("b")); }).code(), ErrorCode::kNotFound);
  make_directories(path("d/e"));
  EXPECT_EQ(error_of([&] { remove_empty_directory(path("d")); }).code(), ErrorCode::kIo);
  remove_empty_directory(path("d/e"));
  EXPECT_TRUE(is_empty_directory(path("d")));
}

TEST_F(RemoveTree, RemovesEverythingBelowAndNothingElse) {
  make_directories(path("outside/kept"));
  put("outside/file", "kept");
  make_directories(path("tree/a/b"));
  make_directories(path("tree/empty"));
  put("tree/a/b/file", "x");
  put("tree/a/file", "x");
  ASSERT_EQ(symlink(path("outside").c_str(), path("tree/a/link").c_str()), 0);
  ASSERT_EQ(symlink("absent", path("tree/dangling").c_str()), 0);
  ASSERT_EQ(mkfifo(path("tree/fifo").c_str(), 0600), 0);
  remove_tree(path("tree/"));
  EXPECT_EQ(names(), std::vector<std::string>{"outside"});
  EXPECT_EQ(names("outside"), (std::vector<std::string>{"file", "kept"}));
}

TEST_F(RemoveTree, OfALinkRemovesTheLinkAlone) {
  make_directory(path("target"));
  put("target/file", "kept");
  ASSERT_EQ(symlink("target", path("link").c_str()), 0);
  remove_tree(path("link/"));
  EXPECT_EQ(names(), std::vector<std::string>{"target"});
  EXPECT_EQ(names("target"), std::vector<std::string>{"file"});
}

TEST_F(RemoveTree, OfNothingIsFineAndOfAFileRemovesIt) {
  remove_tree(path("absent"));
  remove_tree(path("absent/below"));
  put("file", "x");
  remove_tree(path("file"));
  EXPECT_TRUE(names().empty());
}

TEST_F(RemoveTree, NeedsFewDescriptorsHoweverDeep) {
  // Deeper than PATH_MAX can name.
  make_directory(path("deep"));
  Fd at = open_file(path("deep"), O_RDONLY | O_DIRECTORY);
  for (int i = 0; i < 1500; ++i) {
    ASSERT_EQ(mkdirat(at.get(), "level", 0700), 0);
    ASSERT_EQ(mkdirat(at.get(), "other", 0700), 0);
    at = Fd(openat(at.get(), "level", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    ASSERT_TRUE(at.is_open());
  }
  at.reset();

  struct rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  const int highest = open("/dev/null", O_RDONLY | O_CLOEXEC);
  close(highest);
  struct rlimit few = before;
  few.rlim_cur = static_cast<rlim_t>(highest) + 8;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
  remove_tree(path("deep"));
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_TRUE(names().empty());
}

TEST_F(RemoveTree, NamesWhatItCouldNotRemove) {
  make_directories(path("tree/locked"));
  put("tree/locked/file", "x");
  ASSERT_EQ(chmod(path("tree/locked").c_str(), 0500), 0);
  // Root may remove everything: such a test goes on as nobody.
  constexpr uid_t kNobody = 65534;
  const bool was_root = geteuid() == 0;
  if (was_root) {
    for (const char* name : {"", "tree", "tree/locked", "tree/locked/file"})
      ASSERT_EQ(chown(path(name).c_str(), kNobody, kNobody), 0);
    ASSERT_EQ(seteuid(kNobody), 0);
  }
  const Error error = error_of([&] { remove_tree(path("tree")); });
  // Who is told of it has the rest gone.
  make_directories(path("tree/rest/deeper"));
  std::vector<std::string> told;
  remove_tree(path("tree"), [&](const std::string& at, const Error& failed) {
    told.push_back(at + failed.hint());
  });
  if (was_root) {
    ASSERT_EQ(seteuid(0), 0);
  }
  ASSERT_EQ(chmod(path("tree/locked").c_str(), 0700), 0);
  EXPECT_EQ(error.code(), ErrorCode::kPermission);
  EXPECT_EQ(error.message(),
            "could not remove \"" + path("tree/locked/file") + "\": Permission denied");
  EXPECT_EQ(told, std::vector<std::string>{path("tree/locked/file") + error.hint()});
  EXPECT_EQ(names("tree"), std::vector<std::string>{"locked"});
}

TEST_F(Files, ListsDirectoriesSortedBytewiseWithTypes) {
  for (const char* name : {"b", "B", "a", "_", "\xc3\xa4", "10", "9"}) put(name, "");
  make_directory(path("c"));
  ASSERT_EQ(symlink("c", path("l").c_str()), 0);
  EXPECT_EQ(names(),
            (std::vector<std::string>{"10", "9", "B", "_", "a", "b", "c", "l", "\xc3\xa4"}));
  for (const DirectoryEntry& entry : list_directory(directory_.path())) {
    const unsigned char expected = entry.name == "c" ? DT_DIR : entry.name == "l" ? DT_LNK : DT_REG;
    EXPECT_EQ(entry.type, expected) << entry.name;
  }
  EXPECT_EQ(list_directory_if_exists(path("absent")).has_value(), false);
  EXPECT_EQ(list_directory_if_exists(path("c"))->size(), 0u);
  EXPECT_EQ(error_of([&] { list_directory(path("absent")); }).message(),
            "could not open directory \"" + path("absent") + "\": No such file or directory");
}

TEST(Paths, JoinAndComeApart) {
  EXPECT_EQ(join_path("a", "b"), "a/b");
  EXPECT_EQ(join_path("a/", "b"), "a/b");
  EXPECT_EQ(join_path("a", "/b"), "a/b");
  EXPECT_EQ(join_path("/", "b"), "/b");
  EXPECT_EQ(join_path("", "b"), "b");
  EXPECT_EQ(join_path("a", ""), "a");
  const struct {
    const char* path;
    const char* parent;
    const char* base;
  } cases[] = {{"a/b/c", "a/b", "c"}, {"a/b/", "a", "b"}, {"a", ".", "a"},   {"/a", "/", "a"},
               {"/", "/", "/"},       {"//a", "/", "a"},  {"a//b", "a", "b"}};
  for (const auto& c : cases) {
    EXPECT_EQ(parent_path(c.path), c.parent) << c.path;
    EXPECT_EQ(base_name(c.path), c.base) << c.path;
  }
}

TEST(Paths, BecomeAbsoluteAndClean) {
  EXPECT_EQ(absolute_path("/a//b/./c/../d/"), "/a/b/d");
  EXPECT_EQ(absolute_path("/../.."), "/");
  EXPECT_EQ(absolute_path("/"), "/");
  const std::string here = absolute_path(".");
  EXPECT_TRUE(here.starts_with("/"));
  EXPECT_EQ(absolute_path("x/../y"), join_path(here, "y"));
  EXPECT_EQ(absolute_path(""), here);
}

TEST(TemporaryDirectoryTest, IsPrivateAndGoesWithItsContent) {
  std::string path;
  {
    TemporaryDirectory directory("holdfast-test");
    path = directory.path();
    EXPECT_TRUE(base_name(path).starts_with("holdfast-test-"));
    EXPECT_EQ(stat_if_exists(path)->st_mode & 0777u, 0700u);
    make_directories(join_path(path, "a/b"));
  }
  EXPECT_FALSE(lstat_if_exists(path));
}

TEST_F(Lock, IsHeldByOneUntilItIsGone) {
  {
    const std::optional<FileLock> held = FileLock::try_lock(path("lock"));
    ASSERT_TRUE(held);
    EXPECT_FALSE(FileLock::try_lock(path("lock")));
    EXPECT_FALSE(FileLock::try_lock(path("lock"), false));
  }
  EXPECT_TRUE(FileLock::try_lock(path("lock")));
}

TEST_F(Lock, SharedIsHeldByMany) {
  const std::optional<FileLock> one = FileLock::try_lock(path("lock"), false);
  const std::optional<FileLock> two = FileLock::try_lock(path("lock"), false);
  EXPECT_TRUE(one && two);
  EXPECT_FALSE(FileLock::try_lock(path("lock")));
}

TEST_F(Lock, OnAFileThatWasRemovedDoesNotCount) {
  const std::optional<FileLock> old = FileLock::try_lock(path("lock"));
  remove_file(path("lock"));
  EXPECT_TRUE(FileLock::try_lock(path("lock")));
}

TEST_F(Files, FreeSpaceIsKnown) {
  EXPECT_GT(free_bytes(directory_.path()), 0u);
  EXPECT_EQ(error_of([&] { free_bytes(path("absent")); }).code(), ErrorCode::kNotFound);
}

// What is made for another user's process is no use to it otherwise.
TEST_F(Files, AFileHasTheModeThatIsAskedForWhateverTheUmask) {
  const mode_t old = umask(077);
  write_file_durably(path("for-all"), {}, 0644);
  umask(old);
  EXPECT_EQ(stat_if_exists(path("for-all"))->st_mode & 0777U, 0644U);
}

}  // namespace
}  // namespace holdfast
