#include "archive/wal_spool.h"

#include <array>
#include <atomic>
#include <cstdlib>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <thread>
#include <unistd.h>

#include "base/task_group.h"
#include "support/stand_in_server.h"
#include "unit/archive/world.h"

namespace holdfast::archive {
namespace {

using std::chrono::milliseconds;

// A directory in memory, where a spool may be.
class AnotherFileSystem {
 public:
  AnotherFileSystem() { EXPECT_NE(mkdtemp(path_.data()), nullptr); }
  ~AnotherFileSystem() { remove_tree(path_); }
  AnotherFileSystem(const AnotherFileSystem&) = delete;
  AnotherFileSystem& operator=(const AnotherFileSystem&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_ = "/dev/shm/holdfast-spool-test.XXXXXX";
};

class WalSpool : public World {
 protected:
  WalSpool() {
    wal_ = test::WalBuilder({.size = kSize, .system_identifier = kSystem});
    write_wal(wal_, 8);
    server_.put(wal_, 1, 8);
    push_all(server_, 1, 1, 8);
    running_.emplace(server_.data_directory());
    life_ = life_of(cluster::LivingServer::find(server_.data_directory()).value());
    spool().prepare();
  }
  std::string directory() const { return default_spool_directory(server_.data_directory()); }
  Spool::Owner owner() const {
    return {.repository_id = repository_.id(),
            .system_identifier = kSystem,
            .segment_size = kSize,
            .life = life_};
  }
  Spool spool() const { return {directory(), owner()}; }
  // What the spool gives for a segment.
  std::optional<Bytes> take(const std::string& name, const Spool::Owner& owner) const {
    const std::string to = server_.path("taken");
    const bool is_taken = Spool(directory(), owner).take(name, to);
    std::optional<Bytes> content = read_if_exists(to);
    EXPECT_EQ(content.has_value(), is_taken);
    remove_file_if_exists(to);
    return content;
  }
  std::optional<Bytes> take(const std::string& name) const { return take(name, owner()); }
  std::vector<std::string> spooled() const {
    std::vector<std::string> names;
    for (const DirectoryEntry& entry : list_directory(directory()))
      if (entry.name != "lock" && entry.name != "asked") names.push_back(entry.name);
    return names;
  }
  ReadAheadOptions reader_options() const {
    return {.data_directory = server_.data_directory(),
            .cluster = "main",
            .repository_id = repository_.id(),
            .read_ahead = 3,
            .timeout = milliseconds(0),
            .idle_time = milliseconds(300),
            .poll_time = milliseconds(5)};
  }
  GetOptions spooled_get(const std::string& name) const {
    GetOptions options = get_options(server_, name);
    options.repository_id = repository_.id();
    options.read_ahead = 3;
    return options;
  }
  pg::SegmentName segment(uint64_t number) const {
    return {.timeline = {1}, .segment_number = number};
  }
  void expect_nothing_beside_the_destination() const {
    for (const DirectoryEntry& entry : list_directory(server_.wal_directory()))
      EXPECT_FALSE(entry.name.starts_with("RECOVERYXLOG.")) << entry.name;
  }

  // A process that reads ahead, as a thread.
  class Reader {
   public:
    // `source` must outlive it.
    Reader(WalSpool& test, store::Store& source, milliseconds idle_time) : test_(test) {
      ReadAheadOptions options = test.reader_options();
      options.idle_time = idle_time;
      threads_.start([this, &source, options](std::stop_token stop) {
        result_ = run_read_ahead(options, source, {}, test_.reporter_, stop);
        has_ended_ = true;
      });
    }
    // Until it is there, or the reader has ended.
    void wait_for_segment(uint64_t number) const {
      const std::string name = segment_name(1, number);
      while (!test_.spool().holds(name) && !has_ended_ && !threads_.stop_token().stop_requested())
        std::this_thread::yield();
    }
    // Once nothing was asked for so long. Throws what it has thrown.
    ReadAheadResult wait() {
      threads_.wait();
      return result_;
    }

   private:
    WalSpool& test_;
    ReadAheadResult result_;
    std::atomic<bool> has_ended_ = false;
    TaskGroup threads_;
  };

  Server server_;
  std::optional<test::StandInServer> running_;
  Bytes16 life_;
  test::WalBuilder wal_;
};

TEST_F(WalSpool, GivesASegmentOnceAndOnlyToItsOwner) {
  const std::string name = segment_name(1, 2);
  EXPECT_EQ(take(name), std::nullopt);
  EXPECT_TRUE(spool().fetch(archive(), segment(2)));
  EXPECT_EQ(take(name), wal_.segment(1));
  EXPECT_EQ(take(name), std::nullopt);

  Spool::Owner strangers[] = {owner(), owner(), owner()};
  strangers[0].repository_id.bytes[3] ^= std::byte{1};
  strangers[1].system_identifier = 42;
  strangers[2].life.bytes[0] ^= std::byte{1};  // the server was started again since
  for (const Spool::Owner& stranger : strangers) {
    EXPECT_TRUE(spool().fetch(archive(), segment(2)));
    EXPECT_EQ(take(name, stranger), std::nullopt);
    EXPECT_TRUE(spooled().empty());
  }
}

TEST_F(WalSpool, NeverGivesWhatIsDamagedOrUnderAnotherName) {
  const std::string name = segment_name(1, 2);
  const std::string path = directory() + "/" + name;
  spool().fetch(archive(), segment(2));
  const Bytes good = read_file(path);
  for (size_t at : {size_t{0}, size_t{500'000}, good.size() - 97, good.size() - 96,
                    good.size() - 60, good.size() - 20, good.size() - 1}) {
    Bytes bad = good;
    bad[at] ^= std::byte{1};
    Server::write(path, bad);
    EXPECT_EQ(take(name), std::nullopt) << at;
    EXPECT_TRUE(spooled().empty()) << at;
  }
  for (size_t size : {size_t{0}, size_t{40}, size_t{kSize.bytes()}, good.size() - 1}) {
    Server::write(path, ByteView(good).first(size));
    EXPECT_EQ(take(name), std::nullopt) << size;
  }
  Server::write(directory() + "/" + segment_name(1, 3), good);
  EXPECT_EQ(take(segment_name(1, 3)), std::nullopt);
}

// What its writer verified is not read again, unless somebody has written to the file since.
TEST_F(WalSpool, ReadsBackWhatDoesNotBearItsTime) {
  const std::string name = segment_name(1, 2);
  const std::string path = directory() + "/" + name;
  const auto fetch = [&] {
    spool().fetch(archive(), segment(2));
    return stat_if_exists(path)->st_mtim;
  };
  const auto change_a_byte = [&] {
    const Fd fd = open_file(path, O_RDWR);
    std::array<std::byte, 1> byte{};
    pread_some(fd, byte, 500'000, path);
    byte[0] ^= std::byte{1};
    pwrite_all(fd, byte, 500'000, path);
  };
  const auto set_time = [&](timespec time) {
    const std::array<timespec, 2> times = {time, time};
    EXPECT_EQ(utimensat(AT_FDCWD, path.c_str(), times.data(), 0), 0);
  };

  const timespec first = fetch();
  change_a_byte();
  EXPECT_EQ(take(name), std::nullopt);

  // Each file has a time of its own, and no other will do.
  const timespec second = fetch();
  EXPECT_NE(std::pair(first.tv_sec, first.tv_nsec), std::pair(second.tv_sec, second.tv_nsec));
  change_a_byte();
  set_time(first);
  EXPECT_EQ(take(name), std::nullopt);

  // One that was only touched is as good as before.
  set_time({.tv_sec = fetch().tv_sec + 1, .tv_nsec = 0});
  EXPECT_EQ(take(name), wal_.segment(1));

  // This is how it shows that nothing is read back.
  const timespec third = fetch();
  change_a_byte();
  set_time(third);
  const std::optional<Bytes> unread = take(name);
  ASSERT_TRUE(unread);
  EXPECT_NE(*unread, wal_.segment(1));
}

// A spool may be removed while its reader waits, whose next one makes it anew: then two fetch the
// same segment.
TEST_F(WalSpool, GivesNoFileThatAnotherReaderStillWrites) {
  const std::string name = segment_name(1, 2);
  const std::string on_its_way = directory() + "/" + name + ".fetching";
  const Fd other = open_file(on_its_way, O_WRONLY | O_CREAT);
  write_all(other, as_bytes("the start of it"), on_its_way);
  spool().fetch(archive(), segment(2));
  pwrite_all(other, as_bytes("what comes later"), 500'000, on_its_way);
  EXPECT_EQ(take(name), wal_.segment(1));
}

// Through memory a file is written to without a call.
TEST_F(WalSpool, SeesWhatIsWrittenThroughMemory) {
  struct statfs system{};
  ASSERT_EQ(statfs(directory().c_str(), &system), 0);
  // tmpfs alone gives a file that is written to through memory no new time, which wal_spool.h owns
  // to: there is nothing to be seen, here or by a server. On all else it has to be.
  if (system.f_type == TMPFS_MAGIC)
    GTEST_SKIP() << "the spool lies on tmpfs, which does not see it";
  const std::string name = segment_name(1, 2);
  const std::string path = directory() + "/" + name;
  spool().fetch(archive(), segment(2));
  {
    const Fd fd = open_file(path, O_RDWR);
    void* const memory =
        mmap(nullptr, kSize.bytes(), PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
    ASSERT_NE(memory, MAP_FAILED);
    static_cast<char*>(memory)[500'000] ^= 1;
    munmap(memory, kSize.bytes());
  }
  EXPECT_EQ(take(name), std::nullopt);
}

// The server keeps it in pg_wal, where such a time would mislead whoever looks there.
TEST_F(WalSpool, TheFileThatIsGivenHasTheTimeOfNow) {
  const std::string name = segment_name(1, 2);
  spool().fetch(archive(), segment(2));
  EXPECT_LT(stat_if_exists(directory() + "/" + name)->st_mtim.tv_sec, 1'100'000'000);
  const std::string to = server_.path("taken");
  ASSERT_TRUE(spool().take(name, to));
  EXPECT_GT(stat_if_exists(to)->st_mtim.tv_sec, 1'700'000'000);
}

TEST_F(WalSpool, GivesTheFileItselfOnItsOwnFileSystem) {
  const std::string name = segment_name(1, 2);
  spool().fetch(archive(), segment(2));
  const struct stat spooled = *stat_if_exists(directory() + "/" + name);
  GetOptions options = spooled_get(name);
  Server::write(options.destination, as_bytes("what an earlier call placed"));
  test::FaultStore down(store_, test::Fault{.first = 1, .count = test::Fault::kAllFurther});
  EXPECT_TRUE(archive::get(options, down, {}, reporter_, {}).from_spool);
  const struct stat there = *stat_if_exists(options.destination);
  EXPECT_EQ(there.st_ino, spooled.st_ino);
  EXPECT_EQ(there.st_mode & 07777U, 0600U);
  EXPECT_EQ(placed(server_), wal_.segment(1));
  expect_nothing_beside_the_destination();
}

TEST_F(WalSpool, GivesACopyOnAnotherFileSystem) {
  const AnotherFileSystem elsewhere;
  ASSERT_NE(stat_if_exists(elsewhere.path())->st_dev, stat_if_exists(directory())->st_dev);
  const std::string name = segment_name(1, 2);
  Spool other(elsewhere.path(), owner());
  GetOptions options = spooled_get(name);
  options.spool_directory = elsewhere.path();
  test::FaultStore down(store_, test::Fault{.first = 1, .count = test::Fault::kAllFurther});
  for (int i = 0; i < 2; ++i) {
    other.fetch(archive(), segment(2));
    EXPECT_TRUE(archive::get(options, down, {}, reporter_, {}).from_spool);
    EXPECT_EQ(placed(server_), wal_.segment(1));
    EXPECT_FALSE(other.holds(name));
    expect_nothing_beside_the_destination();
  }
  // Verified there too.
  other.fetch(archive(), segment(2));
  const std::string spooled = elsewhere.path() + "/" + name;
  Bytes changed = read_file(spooled);
  changed[700'000] ^= std::byte{1};
  Server::write(spooled, changed);
  EXPECT_FALSE(archive::get(options, store_, {}, reporter_, {}).from_spool);
  EXPECT_EQ(placed(server_), wal_.segment(1));
  EXPECT_FALSE(other.holds(name));
  expect_nothing_beside_the_destination();
}

TEST_F(WalSpool, NothingThatIsNoGoodReachesTheDestination) {
  const std::string name = segment_name(1, 2);
  const std::string path = directory() + "/" + name;
  const GetOptions options = spooled_get(name);
  test::FaultStore down(store_, test::Fault{.first = 1, .count = test::Fault::kAllFurther});
  auto expect_refused = [&](const std::string& what) {
    EXPECT_EQ(test::error_of([&] { archive::get(options, down, {}, reporter_, {}); }).code(),
              ErrorCode::kStoreUnavailable)
        << what;
    EXPECT_TRUE(nothing_placed(server_)) << what;
    EXPECT_FALSE(spool().holds(name)) << what;
  };
  spool().fetch(archive(), segment(2));
  const Bytes good = read_file(path);

  // What one that was killed between the cut and the rename left.
  Server::write(path, ByteView(good).first(kSize.bytes()));
  expect_refused("cut");
  Server::write(path, {});
  expect_refused("empty");
  Bytes bad = good;
  bad[kSize.bytes() - 1] ^= std::byte{1};
  Server::write(path, bad);
  expect_refused("the content's last byte");
  for (size_t at = kSize.bytes(); at < good.size(); at += 7) {
    bad = good;
    bad[at] ^= std::byte{1};
    Server::write(path, bad);
    expect_refused(fmt::format("byte {} of the trailer", at - kSize.bytes()));
  }
  Server::write(path + ".x", good);
  ASSERT_EQ(link((path + ".x").c_str(), path.c_str()), 0);
  expect_refused("a file that has another name too");
  ASSERT_EQ(symlink((path + ".x").c_str(), path.c_str()), 0);
  expect_refused("a symbolic link");
  EXPECT_EQ(read_file(path + ".x"), good);
}

TEST_F(WalSpool, OneWriterToADestination) {
  spool().fetch(archive(), segment(2));
  const GetOptions options = spooled_get(segment_name(1, 2));
  {
    std::optional<FileLock> other = FileLock::try_lock(options.destination + ".holdfast");
    EXPECT_EQ(test::error_of([&] { archive::get(options, store_, {}, reporter_, {}); }).code(),
              ErrorCode::kBusy);
    EXPECT_TRUE(spool().holds(segment_name(1, 2)));
    EXPECT_TRUE(stat_if_exists(options.destination + ".holdfast")) << "it is the other one's";
  }
  // What one that was killed left is in nobody's way.
  Server::write(options.destination + ".holdfast", as_bytes("a part"));
  Server::write(options.destination + ".holdfast.spooled", as_bytes("a part"));
  EXPECT_TRUE(archive::get(options, store_, {}, reporter_, {}).from_spool);
  EXPECT_EQ(placed(server_), wal_.segment(1));
  expect_nothing_beside_the_destination();
}

TEST_F(WalSpool, AMissLeavesNothingBehind) {
  EXPECT_FALSE(spool().fetch(archive(), segment(9)));
  EXPECT_TRUE(spooled().empty());
}

TEST_F(WalSpool, ADamagedObjectIsNotSpooled) {
  store_.edit(object_of(segment_name(1, 2)),
              [](Bytes& bytes) { bytes[bytes.size() / 2] ^= std::byte{1}; });
  EXPECT_EQ(test::error_of([&] { spool().fetch(archive(), segment(2)); }).code(),
            ErrorCode::kCorrupt);
  EXPECT_EQ(take(segment_name(1, 2)), std::nullopt);
}

TEST_F(WalSpool, TheReaderStaysAheadAndLeavesNothingWhenItEnds) {
  spool().note_asked(segment_name(1, 2));
  Reader reader(*this, store_, milliseconds(3000));
  // The segments behind the one that was asked for are served without a call on the repository.
  test::FaultStore down(store_, test::Fault{.first = 1, .count = test::Fault::kAllFurther});
  for (uint64_t number = 3; number <= 5; ++number) {
    GetOptions get = spooled_get(segment_name(1, number));
    get.read_ahead_command = {"/bin/false"};  // not needed: a reader is there
    reader.wait_for_segment(number);
    EXPECT_TRUE(archive::get(get, down, {}, reporter_, {}).from_spool) << number;
    EXPECT_EQ(placed(server_), wal_.segment(number - 1)) << number;
  }
  EXPECT_FALSE(down.fired());
  // Three ahead of segment 5, and no more.
  for (uint64_t number : {6, 7, 8}) reader.wait_for_segment(number);
  EXPECT_EQ(spooled(),
            (std::vector<std::string>{segment_name(1, 6), segment_name(1, 7), segment_name(1, 8)}));
  EXPECT_GE(reader.wait().fetched, 6U);
  EXPECT_TRUE(spooled().empty());
}

// Who takes a segment says so only when it is in place.
TEST_F(WalSpool, TheReaderDoesNotFetchAgainWhatWasJustTaken) {
  spool().note_asked(segment_name(1, 2));
  Reader reader(*this, store_, milliseconds(1000));
  for (uint64_t number : {3, 4, 5}) reader.wait_for_segment(number);
  EXPECT_EQ(take(segment_name(1, 3)), wal_.segment(2));
  EXPECT_EQ(reader.wait().fetched, 3U);  // many looks later
}

// A store that holds back the content of one segment until it is told to go on.
class Holding : public test::FaultStore {
 public:
  Holding(store::Store& below, std::string object)
      : FaultStore(below, UINT64_MAX), object_(std::move(object)) {}
  std::optional<size_t> read_into(const std::string& name, uint64_t offset,
                                  std::span<std::byte> into) override {
    // The first time its metadata alone are read.
    if (name == object_ && reads_++ > 0)
      while (!goes_on_) std::this_thread::yield();
    return FaultStore::read_into(name, offset, into);
  }
  void go_on() { goes_on_ = true; }

 private:
  const std::string object_;
  std::atomic<int> reads_ = 0;
  std::atomic<bool> goes_on_ = false;
};

TEST_F(WalSpool, TheReaderFollowsWhatIsAskedForWhileItFetches) {
  spool().note_asked(segment_name(1, 1));
  Holding slow(store_, object_of(segment_name(1, 2)));
  Reader reader(*this, slow, milliseconds(5000));
  auto becomes_true = [](auto condition) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!condition() && std::chrono::steady_clock::now() < end) std::this_thread::yield();
    return condition();
  };
  auto comes = [&](uint64_t number) {
    return becomes_true([&] { return spool().holds(segment_name(1, number)); });
  };
  // One worker is held up at segment 2; the other one stays ahead, by three and no more.
  EXPECT_TRUE(comes(3) && comes(4));
  EXPECT_TRUE(spool().is_coming(segment_name(1, 2)));
  EXPECT_FALSE(spool().holds(segment_name(1, 5)));
  spool().note_asked(segment_name(1, 4));
  EXPECT_TRUE(comes(5) && comes(6) && comes(7));
  EXPECT_TRUE(spool().is_coming(segment_name(1, 2))) << "it was taken away from under the worker";
  // What comes too late is not kept.
  slow.go_on();
  EXPECT_TRUE(becomes_true([&] {
    return !spool().is_coming(segment_name(1, 2)) && !spool().holds(segment_name(1, 2));
  }));
  spool().note_asked(segment_name(1, 5));
  EXPECT_TRUE(comes(8));
  EXPECT_EQ(spooled(),
            (std::vector<std::string>{segment_name(1, 6), segment_name(1, 7), segment_name(1, 8)}));
  EXPECT_EQ(reader.wait().fetched, 7U);
  EXPECT_TRUE(spooled().empty());
}

TEST_F(WalSpool, TheReaderRemovesWhatOneThatWasKilledLeft) {
  const std::string left = directory() + "/" + segment_name(1, 1) + ".fetching";
  Server::write(left, as_bytes("a part"));
  spool().note_asked(segment_name(1, 2));
  Reader reader(*this, store_, milliseconds(300));
  reader.wait_for_segment(3);
  EXPECT_FALSE(stat_if_exists(left)) << "who asks for it would wait";
  reader.wait();
}

TEST_F(WalSpool, AnotherTimelineEmptiesIt) {
  for (uint64_t number : {3, 4, 5}) spool().fetch(archive(), segment(number));
  spool().keep_only({1}, 4, 6);
  EXPECT_EQ(spooled(), (std::vector<std::string>{segment_name(1, 4), segment_name(1, 5)}));
  spool().note_asked(segment_name(2, 3));
  ReadAheadOptions options = reader_options();
  options.idle_time = milliseconds(50);
  EXPECT_EQ(run_read_ahead(options, store_, {}, reporter_, {}).fetched, 0U);
  EXPECT_TRUE(spooled().empty());
}

TEST_F(WalSpool, OneReaderToASpool) {
  std::optional<FileLock> lock = FileLock::try_lock(spool().lock_path());
  ASSERT_TRUE(lock);
  EXPECT_TRUE(spool().has_reader());
  EXPECT_TRUE(run_read_ahead(reader_options(), store_, {}, reporter_, {}).was_busy);
  lock.reset();
  EXPECT_FALSE(spool().has_reader());
}

TEST_F(WalSpool, WaitsOnlyForAReaderThatLives) {
  const std::string coming = directory() + "/" + segment_name(1, 2) + ".fetching";
  Server::write(coming, as_bytes("left by one that was killed"));
  EXPECT_FALSE(spool().is_coming(segment_name(1, 2)));
  GetOptions options = spooled_get(segment_name(1, 2));
  options.timeout = std::chrono::minutes(10);
  EXPECT_FALSE(archive::get(options, store_, {}, reporter_, {}).from_spool);
  EXPECT_EQ(placed(server_), wal_.segment(1));
  std::optional<FileLock> lock = FileLock::try_lock(spool().lock_path());
  EXPECT_TRUE(spool().is_coming(segment_name(1, 2)));
}

// pg_rewind, or a person: whoever else works in that pg_wal must not meet a reader, nor what it
// left.
TEST_F(WalSpool, WithoutAServerNothingIsReadAheadAndNothingIsTakenFromTheSpool) {
  EXPECT_TRUE(spool().fetch(archive(), segment(2)));
  running_->stop();
  const std::vector<std::string> before = spooled();
  GetOptions options = spooled_get(segment_name(1, 2));
  const std::string started = server_.data_directory() + "/started";
  options.read_ahead_command = {"/bin/sh", "-c", "echo started >> \"$0\"", started};
  EXPECT_FALSE(archive::get(options, store_, {}, reporter_, {}).from_spool);
  EXPECT_EQ(placed(server_), wal_.segment(1));
  EXPECT_EQ(spooled(), before);
  EXPECT_EQ(spool().asked(), std::nullopt);
  EXPECT_FALSE(stat_if_exists(started));
  EXPECT_EQ(run_read_ahead(reader_options(), store_, {}, reporter_, {}).fetched, 0U);
  EXPECT_EQ(spooled(), before);
}

TEST_F(WalSpool, TheReaderEndsWithItsServerAndTouchesNothingAfterwards) {
  for (const bool is_killed : {false, true}) {
    SCOPED_TRACE(is_killed);
    spool().clear();
    spool().note_asked(segment_name(1, 2));
    Holding slow(store_, object_of(segment_name(1, 4)));
    Reader reader(*this, slow, std::chrono::minutes(10));
    reader.wait_for_segment(3);
    while (!spool().is_coming(segment_name(1, 4))) std::this_thread::yield();
    if (is_killed)
      running_->crash();
    else
      running_->stop();
    const std::vector<std::string> before = spooled();
    slow.go_on();
    reader.wait();
    EXPECT_EQ(spooled(), before);
    EXPECT_FALSE(spool().has_reader());
    running_.emplace(server_.data_directory());
    EXPECT_EQ(
        take(segment_name(1, 3),
             {.repository_id = repository_.id(),
              .system_identifier = kSystem,
              .segment_size = kSize,
              .life = life_of(cluster::LivingServer::find(server_.data_directory()).value())}),
        std::nullopt)
        << "it was read ahead for another start of the server";
    life_ = life_of(cluster::LivingServer::find(server_.data_directory()).value());
  }
}

TEST_F(WalSpool, GetStartsAReaderUnlessThereIsOne) {
  const std::string started = server_.data_directory() + "/started";
  GetOptions options = spooled_get(segment_name(1, 1));
  // Each start adds a line.
  options.read_ahead_command = {"/bin/sh", "-c", "echo started >> \"$0\"", started};
  {
    std::optional<FileLock> lock = FileLock::try_lock(spool().lock_path());
    archive::get(options, store_, {}, reporter_, {});
    EXPECT_EQ(spool().asked(), segment_name(1, 1));
  }
  options.file_name = segment_name(1, 2);
  archive::get(options, store_, {}, reporter_, {});
  EXPECT_EQ(spool().asked(), segment_name(1, 2));
  const auto said = [&] {
    return stat_if_exists(started) ? read_text_file(started) : std::string();
  };
  for (int i = 0; i < 2000 && said().empty(); ++i) wait_for({}, milliseconds(5));
  EXPECT_EQ(said(), "started\n");
  // A miss is not worth reading ahead of.
  options.file_name = segment_name(1, 9);
  EXPECT_EQ(archive::get(options, store_, {}, reporter_, {}).outcome, GetOutcome::kAbsent);
  EXPECT_EQ(spool().asked(), segment_name(1, 2));
}

TEST_F(WalSpool, ASpoolThatCannotBeUsedIsOnlyAWarning) {
  remove_tree(directory());
  Server::write(directory(), as_bytes("a file in its place"));
  GetOptions options = spooled_get(segment_name(1, 1));
  options.read_ahead_command = {"/bin/true"};
  EXPECT_EQ(archive::get(options, store_, {}, reporter_, {}).outcome, GetOutcome::kPlaced);
  EXPECT_FALSE(reporter_.warnings().empty());
}

TEST_F(WalSpool, ServesWithoutAnExpectedRepositoryOnceItKnowsWhichItIs) {
  spool().fetch(archive(), segment(2));
  GetOptions options = spooled_get(segment_name(1, 2));
  options.repository_id.reset();
  EXPECT_TRUE(archive::get(options, store_, {}, reporter_, {}).from_spool);
  EXPECT_EQ(placed(server_), wal_.segment(1));
}

}  // namespace
}  // namespace holdfast::archive
