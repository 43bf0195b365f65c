// world.h: a repository in memory and servers whose pg_wal a test fills, for the tests of this
// room.
#pragma once

#include <fcntl.h>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "archive/wal_get.h"
#include "archive/wal_push.h"
#include "archive/wal_salvage.h"
#include "base/file.h"
#include "pg/crc32c.h"
#include "repo/repository.h"
#include "repo/wal_archive.h"
#include "store/memory_store.h"
#include "support/error_of.h"
#include "support/fake_clock.h"
#include "support/fault_store.h"
#include "support/golden.h"
#include "support/newer_major.h"
#include "support/recording_reporter.h"
#include "support/test_repository.h"
#include "support/wal_builder.h"

namespace holdfast::archive {

inline constexpr uint64_t kSystem = 7'000'000'000'000'000'001;
inline const pg::WalSegmentSize kSize(uint64_t{1} << 20);

inline std::string segment_name(uint32_t timeline, uint64_t number) {
  return pg::segment_file_name({.timeline = {timeline}, .segment_number = number}, kSize);
}

// WAL of a cluster: commits and fillers of uneven lengths, so that records run over the ends of
// segments.
inline void write_wal(test::WalBuilder& wal, uint64_t last_segment, uint32_t seed = 0) {
  const pg::Lsn end = pg::end_lsn(last_segment, kSize);
  uint32_t xid = 700 + seed;
  for (size_t length = 5000 + seed; wal.end_lsn() <= end;
       length = 3000 + (length * 7 + seed) % 9000) {
    wal.add_filler(length);
    wal.add_commit(xid, int64_t{850'000'000'000'000} + 1'000'000 * int64_t{xid});
    ++xid;
  }
}

// A server: a data directory with a control file and a pg_wal.
class Server {
 public:
  explicit Server(std::string host = "alpha", uint64_t system_identifier = kSystem)
      : host_(std::move(host)) {
    make_directories(wal_directory() + "/archive_status");
    make_directory(data_directory() + "/global");
    Bytes control = test::golden("pg-15/pg_control");
    store_le(control.data(), system_identifier);
    store_le(control.data() + 228, kSize.bytes());
    store_le(control.data() + 288, pg::crc32c(ByteView(control).first(288)));
    write(data_directory() + "/global/pg_control", control);
  }
  const std::string& data_directory() const { return directory_.path(); }
  std::string wal_directory() const { return directory_.path() + "/pg_wal"; }
  std::string path(const std::string& name) const { return wal_directory() + "/" + name; }
  const std::string& host() const { return host_; }

  static void write(const std::string& path, ByteView bytes) {
    remove_file_if_exists(path);
    write_all(open_file(path, O_WRONLY | O_CREAT | O_TRUNC), bytes, path);
  }
  void put(const std::string& name, ByteView bytes, bool ready = true) const {
    write(path(name), bytes);
    if (ready) write(path("archive_status/" + name + ".ready"), {});
  }
  void put(const std::string& name, std::string_view text) const { put(name, as_bytes(text)); }
  // Segments [first, last] of the builder's timeline.
  void put(const test::WalBuilder& wal, uint64_t first, uint64_t last, bool ready = true) const {
    for (uint64_t number = first; number <= last; ++number)
      put(segment_name(wal.options().timeline.value, number),
          wal.segment(number - wal.options().first_segment), ready);
  }

 private:
  TemporaryDirectory directory_{"holdfast-archive-test"};
  std::string host_;
};

class World : public ::testing::Test {
 protected:
  World() : repository_(repo::Repository::create(store_, {}, clock_)) {
    lineage_ = repository_.create_lineage({.name = {.cluster = "main", .major = 15},
                                           .system_identifier = kSystem,
                                           .catalog_version = 202209061,
                                           .wal_segment_bytes = kSize.bytes(),
                                           .block_bytes = 8192,
                                           .blocks_per_segment = 131072,
                                           .created = clock_.now()});
  }

  repo::WalArchive archive() const { return {repository_, lineage_}; }

  PushOptions push_options(const Server& server, const std::string& name) const {
    return {.path = server.path(name), .cluster = "main", .host = server.host(), .look_ahead = 0};
  }
  PushResult push(const Server& server, const std::string& name, int look_ahead = 0) {
    PushOptions options = push_options(server, name);
    options.look_ahead = look_ahead;
    return archive::push(options, repository_, reporter_, {}, clock_);
  }
  Error push_error(const Server& server, const std::string& name) {
    return test::error_of([&] { push(server, name); });
  }
  void push_all(const Server& server, uint32_t timeline, uint64_t first, uint64_t last) {
    for (uint64_t number = first; number <= last; ++number)
      push(server, segment_name(timeline, number));
  }

  GetOptions get_options(const Server& server, const std::string& name) const {
    return {.file_name = name,
            .destination = server.path("RECOVERYXLOG"),
            .data_directory = server.data_directory(),
            .cluster = "main",
            .timeout = std::chrono::milliseconds(0)};
  }
  GetResult get(const Server& server, const std::string& name) {
    return archive::get(get_options(server, name), store_, {}, reporter_, {});
  }
  Error get_error(const Server& server, const std::string& name) {
    return test::error_of([&] { get(server, name); });
  }
  static Bytes placed(const Server& server) { return read_file(server.path("RECOVERYXLOG")); }
  static bool nothing_placed(const Server& server) {
    for (const DirectoryEntry& entry : list_directory(server.wal_directory()))
      if (entry.name.starts_with("RECOVERYXLOG")) return false;
    return true;
  }

  std::vector<std::string> archived() {
    std::vector<std::string> names;
    store::for_each_entry(store_, {.prefix = "clusters/main/15-1/wal/"},
                          [&](const store::ListEntry& entry) {
                            names.push_back(base_name(entry.name));
                            return true;
                          });
    return names;
  }
  std::string object_of(const std::string& name) const {
    return archive().object_name(pg::parse_wal_file_name(name, kSize));
  }
  void damage(const std::string& object, size_t from_end) {
    store_.edit(object, [&](Bytes& bytes) { bytes[bytes.size() - from_end] ^= std::byte{1}; });
  }

  test::FakeClock clock_;
  store::MemoryStore store_{clock_};
  repo::Repository repository_;
  repo::Lineage lineage_;
  test::RecordingReporter reporter_;
};

// Timeline 1 up to the middle of segment 3, and what two servers made of it.
struct Fork {
  explicit Fork(uint64_t last_segment = 6) {
    test::WalBuilder common({.size = kSize, .system_identifier = kSystem});
    write_wal(common, 2);
    common.add_filler(300'000);
    switch_lsn = common.end_lsn();
    at_switch = common;
    first = common;
    write_wal(first, last_segment, 11);
    second = common;
    write_wal(second, last_segment, 222);
    promoted = common;
    promoted.set_timeline({2});
    write_wal(promoted, last_segment, 333);
    history = fmt::format("1\t{}\tno recovery target specified\n", pg::to_string(switch_lsn));
  }
  pg::Lsn switch_lsn;
  test::WalBuilder at_switch;
  test::WalBuilder first, second;  // two clusters that both went on on timeline 1
  test::WalBuilder promoted;       // timeline 2
  std::string history;
};

}  // namespace holdfast::archive
