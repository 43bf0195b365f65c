#include "archive/stored_ahead.h"

#include <fcntl.h>
#include <vector>

#include "archive/wal_push.h"
#include "base/file.h"
#include "unit/archive/world.h"

namespace holdfast::archive {
namespace {

class StoredAheadTest : public World {
 protected:
  StoredAheadTest() {
    write_wal(wal_, 6);
    server_.put(wal_, 1, 6);
    // Late enough for the files' times to tell them apart from anything that comes.
    clock_.advance(system_clock().now() - clock_.now() + std::chrono::hours(1));
  }
  StoredAhead record() const { return {server_.path(""), repository_.id()}; }
  // The same file with other content.
  static void rewrite(const std::string& path, ByteView content) {
    write_all(open_file(path, O_WRONLY | O_TRUNC), content, path);
  }
  std::string record_path() const { return server_.path("holdfast_stored_ahead"); }
  Bytes32 sha256_of(uint64_t number) const {
    return repo::wal_content_sha256(wal_.segment(number - 1));
  }
  StoredAhead::File look_of(uint64_t number, const Bytes32& sha256) const {
    const std::string name = segment_name(1, number);
    return {.name = name,
            .status = *stat_if_exists(server_.path(name)),
            .read_at = clock_.now(),
            .sha256 = sha256};
  }

  test::WalBuilder wal_{{.size = kSize, .system_identifier = kSystem}};
  Server server_;
};

TEST_F(StoredAheadTest, LookAheadLeavesARecordOfWhatItHasStored) {
  EXPECT_FALSE(record().find(segment_name(1, 2)));
  push(server_, segment_name(1, 1), 3);
  EXPECT_FALSE(record().find(segment_name(1, 1)));  // its call is over
  for (uint64_t number : {2, 3, 4})
    EXPECT_EQ(record().find(segment_name(1, number)), sha256_of(number))
        << number << (reporter_.warnings().empty() ? "" : reporter_.warnings().back());
  EXPECT_FALSE(record().find(segment_name(1, 5)));
  // The next run's takes its place.
  push(server_, segment_name(1, 5), 3);
  EXPECT_FALSE(record().find(segment_name(1, 4)));
  EXPECT_EQ(record().find(segment_name(1, 6)), sha256_of(6));
}

TEST_F(StoredAheadTest, SomeTimeLaterWhatIsArchivedIsReadBeforeItIsSaidToBeThere) {
  push(server_, segment_name(1, 1), 3);
  damage(object_of(segment_name(1, 2)), 400);
  damage(object_of(segment_name(1, 3)), 400);
  EXPECT_TRUE(push(server_, segment_name(1, 2)).was_there);  // put a moment ago
  clock_.advance(std::chrono::minutes(11));
  EXPECT_FALSE(push(server_, segment_name(1, 3)).was_there);
  get(server_, segment_name(1, 3));
  EXPECT_EQ(placed(server_), wal_.segment(2));
}

TEST_F(StoredAheadTest, AFileThatLooksOtherwiseIsNotTheOneThatWasRead) {
  push(server_, segment_name(1, 1), 3);
  const std::string name = segment_name(1, 2);
  EXPECT_FALSE((StoredAhead{server_.path(""), Bytes16{}}.find(name)));
  // Written again, with what was there.
  rewrite(server_.path(name), wal_.segment(1));
  EXPECT_FALSE(record().find(name));
  // Another file under the name.
  rename_path(server_.path(segment_name(1, 4)), server_.path(segment_name(1, 3)));
  EXPECT_FALSE(record().find(segment_name(1, 3)));
  EXPECT_FALSE(record().find(segment_name(1, 4)));
}

TEST_F(StoredAheadTest, AFileThatWasChangedJustNowIsNotRecorded) {
  for (const auto& [later, is_recorded] :
       {std::pair{Microseconds(-1), false}, std::pair{Microseconds(0), true}}) {
    StoredAhead::File file = look_of(2, sha256_of(2));
    file.status.st_ctim.tv_nsec = 1'000'000;
    file.read_at = Time(std::chrono::seconds(file.status.st_ctim.tv_sec)) +
                   std::chrono::milliseconds(51) + later;
    record().remember({{file}});
    EXPECT_EQ(read_file(record_path()).empty(), !is_recorded);
    // A file system that knows no fractions of a second.
    file.status.st_ctim.tv_nsec = 0;
    file.status.st_mtim.tv_nsec = 0;
    file.read_at = clock_.now();
    record().remember({{file}});
    EXPECT_TRUE(read_file(record_path()).empty());
  }
}

TEST_F(StoredAheadTest, ThePushBelievesTheRecordOnlyWithTheArchive) {
  push(server_, segment_name(1, 1), 3);
  const std::string name = segment_name(1, 2);
  // Only one who did not read the file can take it for the archived one now.
  Bytes other = wal_.segment(1);
  other.back() ^= std::byte{1};
  rewrite(server_.path(name), other);
  record().remember({{look_of(2, sha256_of(2))}});
  const PushResult result = push(server_, name, 3);
  EXPECT_TRUE(result.was_there);
  EXPECT_EQ(result.bytes, kSize.bytes());

  record().remember({{look_of(2, repo::wal_content_sha256(other))}});
  EXPECT_EQ(push_error(server_, name).code(), ErrorCode::kConflict);

  // What is not in the archive any more is put again.
  store_.remove(object_of(segment_name(1, 4)));
  record().remember({{look_of(4, sha256_of(4))}});
  EXPECT_FALSE(push(server_, segment_name(1, 4)).was_there);
}

TEST_F(StoredAheadTest, ADamagedRecordOnlyCostsTime) {
  push(server_, segment_name(1, 1), 3);
  const Bytes whole = read_file(record_path());
  const std::string name = segment_name(1, 3);
  for (size_t at = 0; at < whole.size(); ++at) {
    Bytes flipped = whole;
    flipped[at] ^= std::byte{4};
    rewrite(record_path(), flipped);
    if (record().find(name) != sha256_of(3)) {
      EXPECT_TRUE(push(server_, name).was_there) << at;
    }
    rewrite(record_path(), ByteView(whole).first(at));
    const std::optional<Bytes32> found = record().find(name);
    EXPECT_TRUE(!found || found == sha256_of(3)) << at;
  }
  remove_file(record_path());
  make_directories(record_path(), 0700);
  EXPECT_TRUE(push(server_, name).was_there);
  EXPECT_EQ(push(server_, segment_name(1, 5), 3).looked_ahead.size(), 1U);
}

}  // namespace
}  // namespace holdfast::archive
