#include "backup/servers_wal.h"

#include <fcntl.h>

#include <gtest/gtest.h>

#include "backup/wal_wait.h"
#include "base/file.h"
#include "store/memory_store.h"
#include "support/error_of.h"
#include "support/fake_clock.h"
#include "support/golden.h"
#include "support/pieces_of.h"
#include "support/recording_reporter.h"
#include "support/wal_builder.h"

namespace holdfast::backup {
namespace {

const pg::WalSegmentSize kMib(uint64_t{1} << 20);
constexpr uint64_t kSystem = 7'000'000'000'000'000'001;

// The WAL of a backup: it begins in segment 2 with a checkpoint, and ends in segment 4.
struct BackupsWal {
  explicit BackupsWal(uint32_t xid, pg::TimelineId timeline = {1}, uint32_t last_xid = 800)
      : wal({.size = kMib, .system_identifier = kSystem, .timeline = timeline}) {
    wal.fill_to(pg::start_lsn(2, kMib) + 8192 + 24);
    start = wal.end_lsn();
    wal.add_commit(xid, int64_t{850'000'000'000'000} + xid);
    Bytes copy = test::golden("pg-15/pg_control");
    copy.erase(copy.begin(), copy.begin() + 40);
    copy.resize(88);
    store_le(copy.data(), start.value);
    checkpoint = wal.add_data(pg::kRmXlog, 0x10, 0, copy);
    wal.fill_to(pg::start_lsn(4, kMib) + 8192 + 24);
    wal.add_commit(last_xid, int64_t{850'000'000'000'000} + last_xid);
    wal.fill_to(pg::start_lsn(4, kMib) + 2 * 8192 + 24);
    wal.add_data(pg::kRmXlog, 0x50, 0, ByteWriter().u64(start.value).view());
    stop = wal.end_lsn();
    wal.fill_to(pg::start_lsn(5, kMib) + 24 + 16);
  }
  test::WalBuilder wal;
  pg::Lsn start, checkpoint, stop;
};

class ServersWalTest : public testing::Test {
 protected:
  ServersWalTest() : repository_(repo::Repository::create(store_, {}, clock_)) {
    lineage_ = repository_.create_lineage({.name = {.cluster = "main", .major = 15},
                                           .system_identifier = kSystem,
                                           .catalog_version = 202209061,
                                           .wal_segment_bytes = kMib.bytes(),
                                           .block_bytes = 8192,
                                           .blocks_per_segment = 131072,
                                           .created = clock_.now()});
    make_directory(pg_wal());
  }
  std::string pg_wal() const { return directory_.path() + "/pg_wal"; }
  repo::WalArchive archive() const { return {repository_, lineage_}; }

  static std::string name_of(const BackupsWal& of, uint64_t number) {
    return pg::segment_file_name({of.wal.options().timeline, number}, kMib);
  }
  // Segments 2 to 4 in the server's pg_wal.
  void lay(const BackupsWal& of) const {
    for (uint64_t number = 2; number <= 4; ++number)
      write_file_durably(join_path(pg_wal(), name_of(of, number)), of.wal.segment(number - 1));
  }
  void put(const BackupsWal& of, uint64_t number, const std::string& host) {
    const Bytes content = of.wal.segment(number - 1);
    const pg::WalFileName file = pg::parse_wal_file_name(name_of(of, number), kMib);
    archive().put_segment(
        file,
        test::describe_segment(content, file,
                               {.host = host, .pgdata = "/srv/" + host, .pushed = clock_.now()}),
        test::pieces_of(content));
  }
  void put_all(const BackupsWal& of, const std::string& host) {
    for (uint64_t number = 2; number <= 4; ++number) put(of, number, host);
  }
  ServersWal server_of(const BackupsWal& of) const {
    return {{.data_directory = directory_.path(),
             .host = "alpha",
             .needed = needed(of),
             .checkpoint_lsn = of.checkpoint},
            kMib};
  }
  static repo::NeededWal needed(const BackupsWal& of) {
    return {.timeline = of.wal.options().timeline, .start_lsn = of.start, .end_lsn = of.stop};
  }
  void wait(const BackupsWal& of, ServersWal& server) {
    WalWait wait{.timeout = std::chrono::seconds(0),
                 .archiver = [] { return cluster::ArchiverStatus(); }};
    wait.server = &server;
    wait_for_wal(archive(), needed(of), wait, clock_, reporter_, {});
  }
  Error refused(const BackupsWal& of, ServersWal& server) {
    const Error error = test::error_of([&] { wait(of, server); });
    EXPECT_EQ(error.code(), ErrorCode::kConflict) << error.message();
    return error;
  }

  TemporaryDirectory directory_{"holdfast-servers-wal-test"};
  test::FakeClock clock_;
  store::MemoryStore store_{clock_};
  repo::Repository repository_;
  repo::Lineage lineage_;
  test::RecordingReporter reporter_;
  BackupsWal own_{700};
  BackupsWal others_{900};  // at the same places
};

TEST_F(ServersWalTest, IsTakenWhenItIsTheServersOwn) {
  lay(own_);
  put_all(own_, "alpha");
  ServersWal server = server_of(own_);
  wait(own_, server);
  // Of what the server has recycled meanwhile its last segment was looked at before.
  for (uint64_t number = 2; number <= 4; ++number)
    remove_file(join_path(pg_wal(), name_of(own_, number)));
  wait(own_, server);
}

TEST_F(ServersWalTest, RefusesASegmentOfAnotherServerAndNamesBoth) {
  ASSERT_EQ(own_.stop, others_.stop);
  lay(own_);
  put_all(others_, "beta");
  ServersWal server = server_of(own_);
  const Error error = refused(own_, server);
  EXPECT_EQ(error.message(),
            "archived WAL segment \"" + name_of(own_, 2) + "\" is not the server's");
  for (const char* named :
       {"host \"beta\", data directory \"/srv/beta\"", "host \"alpha\"", "there is no new backup"})
    EXPECT_NE(error.detail().find(named), std::string::npos) << error.detail();
  EXPECT_NE(error.hint().find("holdfast wal set-aside " + name_of(own_, 2) + " --onward"),
            std::string::npos)
      << error.hint();
}

TEST_F(ServersWalTest, TheLastSegmentTellsWhenAllOthersWereRecycled) {
  lay(own_);
  for (uint64_t number = 2; number <= 3; ++number) {
    put(own_, number, "alpha");
    remove_file(join_path(pg_wal(), name_of(own_, number)));
  }
  put(BackupsWal(700, {1}, 900), 4, "beta");
  ServersWal server = server_of(own_);
  EXPECT_NE(refused(own_, server).message().find(name_of(own_, 4)), std::string::npos);
}

// The server's own file of the last segment is not there: then the record that ends this backup is
// asked for.
TEST_F(ServersWalTest, WithoutAFileTheRecordsOfTheBackupAreItsProof) {
  put_all(own_, "alpha");
  ServersWal server = server_of(own_);
  wait(own_, server);
  BackupsWal other_stop = own_;
  other_stop.stop = own_.stop + 8;
  ServersWal of_another = server_of(other_stop);
  EXPECT_NE(refused(other_stop, of_another).detail().find("that ends the backup"),
            std::string::npos);
  BackupsWal other_checkpoint = own_;
  other_checkpoint.checkpoint = own_.checkpoint + 8;
  ServersWal began_elsewhere = server_of(other_checkpoint);
  EXPECT_NE(refused(other_checkpoint, began_elsewhere).detail().find("of the checkpoint"),
            std::string::npos);
}

TEST_F(ServersWalTest, RefusesAnotherHistoryOfTheTimeline) {
  const BackupsWal second(700, {2});
  lay(second);
  put_all(second, "alpha");
  const auto history = [](const char* at) {
    return fmt::format("1\t{}\tno recovery target specified\n", at);
  };
  write_file_durably(join_path(pg_wal(), "00000002.history"), as_bytes(history("0/100500")));
  const std::string text = history("0/100700");
  const Bytes content = to_bytes(text);
  archive().put_file({.kind = pg::WalFileKind::kHistory, .segment = {.timeline = {2}}},
                     {.file_name = "00000002.history",
                      .bytes = content.size(),
                      .sha256 = repo::wal_content_sha256(content),
                      .system_identifier = kSystem,
                      .host = "beta",
                      .pushed = clock_.now()},
                     content);
  ServersWal server = server_of(second);
  const Error error = refused(second, server);
  EXPECT_NE(error.message().find("\"00000002.history\" is not the server's"), std::string::npos);
  EXPECT_NE(error.detail().find("host \"beta\""), std::string::npos);
  write_file_durably(join_path(pg_wal(), "00000002.history"), as_bytes(text));
  wait(second, server);
}

}  // namespace
}  // namespace holdfast::backup
