#include "cluster/running_server.h"

#include <chrono>
#include <csignal>
#include <filesystem>
#include <sys/ipc.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "base/process.h"
#include "base/time.h"
#include "cluster/server_end.h"
#include "support/error_of.h"

namespace holdfast::cluster {
namespace {

TEST(PostmasterPid, ReadsTheFileOfARunningServer) {
  PostmasterPid file = parse_postmaster_pid(
      "4711\n/var/lib/postgresql/15/main\n1763799757\n5432\n/var/run/postgresql\nlocalhost\n  "
      "5432001         7\nready   \n");
  EXPECT_EQ(file.pid, 4711);
  EXPECT_FALSE(file.single_user);
  EXPECT_EQ(file.data_directory, "/var/lib/postgresql/15/main");
  EXPECT_EQ(to_rfc3339(file.started_at.value()), "2025-11-22T08:22:37.000000Z");
  EXPECT_EQ(file.port, 5432);
  EXPECT_EQ(file.socket_directory, "/var/run/postgresql");
  EXPECT_EQ(file.listen_address, "localhost");
  EXPECT_EQ(file.shared_memory_key, 5432001u);
  EXPECT_EQ(file.shared_memory_id, 7);
  EXPECT_EQ(file.status, "ready");
}

TEST(PostmasterPid, ReadsAsMuchAsAStartingServerHasWritten) {
  const struct {
    const char* text;
    pid_t pid;
    bool single_user;
    const char* status;
  } cases[] = {
      {"4711\n", 4711, false, ""},
      {"4711", 4711, false, ""},
      {"-4711\n/data\n1763799757\n0\n\n\n", 4711, true, ""},
      {"4711\n/data\n1763799757\n5432\n/tmp\n\n  1 2\nstarting\n", 4711, false, "starting"},
      {"4711\n/data\n99999999999999999999\n99999\n/tmp\n*\nnonsense\nstandby \n", 4711, false,
       "standby"},
  };
  for (const auto& c : cases) {
    PostmasterPid file = parse_postmaster_pid(c.text);
    EXPECT_EQ(file.pid, c.pid) << c.text;
    EXPECT_EQ(file.single_user, c.single_user) << c.text;
    EXPECT_EQ(file.status, c.status) << c.text;
  }
}

TEST(PostmasterPid, RefusesWhatHoldsNoProcessId) {
  for (const char* text : {"", "\n", "pid\n", "0\n", "12x\n", "99999999999\n", "-2147483648\n"}) {
    Error error = test::error_of([&] { parse_postmaster_pid(text); });
    EXPECT_EQ(error.code(), ErrorCode::kCorrupt) << text;
    EXPECT_EQ(error.message(), "damaged postmaster.pid");
    EXPECT_EQ(error.hint(), "If no server runs on the data directory, remove the file.");
  }
}

class RunningServerTest : public testing::Test {
 protected:
  RunningServerTest() {
    std::string pattern = testing::TempDir() + "running_server_test.XXXXXX";
    if (mkdtemp(pattern.data()) == nullptr) throw_errno("create", pattern);
    directory_ = pattern;
  }
  ~RunningServerTest() override { remove_tree(directory_); }
  void write_pid(pid_t pid) {
    std::string text = std::to_string(pid) + "\n" + directory_ + "\n1763799757\n5432\n/tmp\n\n";
    write_file_durably(directory_ + "/postmaster.pid", as_bytes(text));
  }
  // A process that passes for a server: its name is postgres and it works in the directory.
  Process pretend_server() {
    return Process({.arguments = {directory_ + "/postgres", "1000"}, .directory = directory_});
  }
  void make_program() {
    Bytes sleep = read_file("/bin/sleep");
    write_file_durably(directory_ + "/postgres", sleep, 0700);
  }
  std::string directory_;
};

TEST_F(RunningServerTest, FindsNothingWhereNothingRuns) {
  EXPECT_FALSE(find_running_server(directory_));
  write_pid(getpid());  // alive, but no postgres
  EXPECT_FALSE(find_running_server(directory_));
  write_file_durably(directory_ + "/postmaster.pid", {});
  EXPECT_FALSE(find_running_server(directory_));
  EXPECT_FALSE(find_running_server(directory_ + "/nowhere"));
}

TEST_F(RunningServerTest, FindsTheProcessThatTheFileNames) {
  make_program();
  Process server = pretend_server();
  write_pid(server.pid());
  std::optional<RunningServer> found = find_running_server(directory_);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->pid, server.pid());
  EXPECT_TRUE(found->is_postmaster);
  // What is seen is stronger than any word.
  Error error = test::error_of(
      [&] { require_no_running_server(directory_, "restoring over it", {.declared_dead = true}); });
  EXPECT_EQ(error.code(), ErrorCode::kBusy);
  EXPECT_EQ(error.message(), "a PostgreSQL server is running on \"" + directory_ + "\"");
  EXPECT_TRUE(error.hint().starts_with("Stop it before restoring over it: ")) << error.hint();
}

TEST_F(RunningServerTest, TakesAProcessThatHasEndedAndWasNotWaitedForAsEnded) {
  make_program();
  Process server = pretend_server();
  write_pid(server.pid());
  ASSERT_TRUE(find_running_server(directory_));
  server.signal(SIGKILL);
  siginfo_t ended{};
  // Sees its end and leaves it a zombie.
  ASSERT_EQ(waitid(P_PID, static_cast<id_t>(server.pid()), &ended, WEXITED | WNOWAIT), 0);
  EXPECT_FALSE(find_running_server(directory_));
}

// A segment in shared memory, removed at the end if the test has not done so.
class Segment {
 public:
  Segment() : id_(shmget(key(), 56, IPC_CREAT | IPC_EXCL | 0600)) {}
  ~Segment() { shmctl(id_, IPC_RMID, nullptr); }
  Segment(const Segment&) = delete;
  Segment& operator=(const Segment&) = delete;

  static int key() { return getpid(); }
  int id() const { return id_; }
  bool is_there() const {
    shmid_ds status{};
    return shmctl(id_, IPC_STAT, &status) == 0;
  }

 private:
  int id_;
};

// Nothing of the server is seen: what that proves depends on what would be.
TEST_F(RunningServerTest, TakesAServerForEndedOnlyWhereItWouldBeSeen) {
  const std::string file = directory_ + "/postmaster.pid";
  const Sight everything{.all_processes = true, .own_file_system = true};
  const Sight container{.all_processes = false, .own_file_system = true};
  const Sight shared{.all_processes = true, .own_file_system = false};
  for (const Sight& sight : {everything, container, shared})
    EXPECT_FALSE(find_unseen_server(directory_, sight)) << "there is no postmaster.pid";

  write_pid(getpid());
  EXPECT_FALSE(find_unseen_server(directory_, everything));
  const std::optional<UnseenServer> elsewhere = find_unseen_server(directory_, container);
  ASSERT_TRUE(elsewhere);
  EXPECT_EQ(elsewhere->file.value().pid, getpid());
  EXPECT_NE(elsewhere->why.find("pid namespace"), std::string::npos) << elsewhere->why;
  const std::optional<UnseenServer> abroad = find_unseen_server(directory_, shared);
  ASSERT_TRUE(abroad);
  EXPECT_NE(abroad->why.find("Another host"), std::string::npos) << abroad->why;

  write_file_durably(file, {});  // as while a server starts
  EXPECT_FALSE(find_unseen_server(directory_, everything));
  const std::optional<UnseenServer> starting = find_unseen_server(directory_, container);
  ASSERT_TRUE(starting);
  EXPECT_FALSE(starting->file);
}

TEST_F(RunningServerTest, TakesAServerForEndedWhoseOwnMemoryIsHereAndUnused) {
  const Segment segment;
  const Sight nothing{};
  const int64_t made = system_clock().now().time_since_epoch() / std::chrono::seconds(1);
  const auto leave = [&](pid_t pid, int key, int64_t started) {
    write_file_durably(directory_ + "/postmaster.pid",
                       as_bytes(fmt::format("{}\n{}\n{}\n5432\n/tmp\n*\n {:9} {:9}\nready\n", pid,
                                            directory_, started, key, segment.id())));
  };
  leave(getpid(), Segment::key(), made - 60);
  EXPECT_FALSE(find_unseen_server(directory_, nothing));
  leave(getpid(), Segment::key(), made + 60);  // an earlier server of this directory has left it
  EXPECT_TRUE(find_unseen_server(directory_, nothing));
  leave(getpid() + 1, Segment::key(), made - 60);
  EXPECT_TRUE(find_unseen_server(directory_, nothing));
  leave(getpid(), Segment::key() + 1, made - 60);
  EXPECT_TRUE(find_unseen_server(directory_, nothing));

  leave(getpid(), Segment::key(), made - 60);
  void* const used = shmat(segment.id(), nullptr, SHM_RDONLY);
  EXPECT_TRUE(find_unseen_server(directory_, nothing));
  EXPECT_TRUE(find_running_server(directory_));
  shmdt(used);
  EXPECT_FALSE(find_unseen_server(directory_, nothing));
}

TEST(PostmasterPid, ReadsAKeyWithItsHighestBitSet) {
  // The key is the directory's inode, as an int.
  EXPECT_EQ(parse_postmaster_pid("1\n/d\n1\n0\n\n\n18446744073709551615  3\n").shared_memory_key,
            0xFFFFFFFFU);
}

TEST(ParentOf, IsWhoStartedTheProcess) {
  Process child({.arguments = {"sleep", "1000"}});
  EXPECT_EQ(parent_of(child.pid()), getpid());
  EXPECT_EQ(parent_of(getpid()), getppid());
  child.signal(SIGKILL);
  child.wait();
  EXPECT_FALSE(parent_of(child.pid()));
}

TEST_F(RunningServerTest, RemovesTheSharedMemoryThatPostmasterPidNamesAndNoOther) {
  const Segment segment;
  ASSERT_TRUE(segment.is_there());
  const auto leave = [&](int key) {
    write_file_durably(directory_ + "/postmaster.pid",
                       as_bytes(fmt::format("1\n{}\n1700000000\n5432\n/tmp\n*\n {:9} {:9}\nready\n",
                                            directory_, key, segment.id())));
  };
  remove_shared_memory(directory_);  // no such file
  leave(Segment::key() + 1);         // its id is another program's by now
  remove_shared_memory(directory_);
  EXPECT_TRUE(segment.is_there());
  leave(Segment::key());
  remove_shared_memory(directory_);
  EXPECT_FALSE(segment.is_there());
  remove_shared_memory(directory_);
}

TEST_F(RunningServerTest, FindsAServerWhoseDataDirectoryWasDeletedOrLostItsPidFile) {
  make_program();
  Process server = pretend_server();
  std::optional<RunningServer> found = find_running_server(directory_);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->pid, server.pid());
  EXPECT_FALSE(found->is_postmaster);
  remove_tree(directory_);
  ASSERT_TRUE(find_running_server(directory_));
  make_directory(directory_);  // a new one in its place: the old server is gone from it, but not
                               // from the machine
  EXPECT_TRUE(find_running_server(directory_));
}

// Of another container, whose directories have names that say nothing here.
TEST_F(RunningServerTest, APathOfAnotherMountNamespaceIsAnotherPlace) {
  make_program();
  const std::string other = directory_ + "/other";
  make_directory(other);
  const std::string words = "mount -t tmpfs none \"$1\" && cd \"$1\" && exec \"$0\" 1000";
  Process server({.arguments = {"unshare", "--user", "--map-root-user", "--mount", "sh", "-c",
                                words, directory_ + "/postgres", other}});
  const auto is_there = [&] {
    std::error_code error;
    return std::filesystem::read_symlink(fmt::format("/proc/{}/cwd", server.pid()), error) ==
               other &&
           read_text_file(fmt::format("/proc/{}/comm", server.pid())) == "postgres\n";
  };
  const auto end = std::chrono::steady_clock::now() + std::chrono::minutes(1);
  while (!is_there() && std::chrono::steady_clock::now() < end) std::this_thread::yield();
  ASSERT_TRUE(is_there());
  EXPECT_FALSE(find_running_server(other));
}

}  // namespace
}  // namespace holdfast::cluster
