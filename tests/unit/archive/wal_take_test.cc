#include "archive/wal_take.h"

#include "unit/archive/world.h"

namespace holdfast::archive {
namespace {

using test::error_of;

class WalTake : public World {
 protected:
  WalTake() { write_wal(wal_, 6); }

  TakeResult take(const std::string& directory, pg::Lsn from = {kSize.bytes()}) {
    return take_wal({.directory = directory, .cluster = "main", .from = from}, repository_,
                    reporter_, {}, clock_);
  }
  Bytes segment(uint64_t number) const { return wal_.segment(number - 1); }
  // As one that was streamed up to `bytes`, and padded.
  Bytes cut_segment(uint64_t number, size_t bytes) const {
    Bytes content = segment(number);
    std::fill(content.begin() + static_cast<ptrdiff_t>(bytes), content.end(), std::byte{0});
    return content;
  }

  test::WalBuilder wal_{{.size = kSize, .system_identifier = kSystem}};
  TemporaryDirectory spool_;
  void put(uint64_t number, ByteView content) {
    write_file_durably(join_path(spool_.path(), segment_name(1, number)), content);
  }
};

TEST_F(WalTake, ArchivesWholeSegmentsFromItsStartOnAndTheLastAsPartial) {
  for (const uint64_t number : {1, 2, 3}) put(number, segment(number));
  put(4, cut_segment(4, 300'000));
  const TakeResult result = take(spool_.path(), pg::start_lsn(2, kSize) + 100);
  EXPECT_EQ(result.archived, (std::vector<std::string>{segment_name(1, 2), segment_name(1, 3),
                                                       segment_name(1, 4) + ".partial"}));
  EXPECT_FALSE(archive().segment_info(pg::parse_wal_file_name(segment_name(1, 1), kSize)));
  EXPECT_FALSE(archive().segment_info(pg::parse_wal_file_name(segment_name(1, 4), kSize)));
  // The same again is fine; and the server archives the whole.
  EXPECT_EQ(take(spool_.path(), pg::start_lsn(2, kSize)).already_archived, 3U);
  Server server;
  server.put(wal_, 4, 4);
  EXPECT_FALSE(push(server, segment_name(1, 4)).was_there);
}

TEST_F(WalTake, ASegmentThatTheArchiveContinuesIsThere) {
  Server server;
  server.put(wal_, 1, 6);
  push_all(server, 1, 1, 6);
  const size_t before = archived().size();
  put(3, segment(3));
  put(4, cut_segment(4, 300'000));
  const TakeResult result = take(spool_.path());
  EXPECT_TRUE(result.archived.empty());
  EXPECT_EQ(result.already_archived, 2U);
  EXPECT_EQ(archived().size(), before);
}

TEST_F(WalTake, RefusesOtherWalUnderTheName) {
  Server server;
  server.put(wal_, 1, 6);
  push_all(server, 1, 1, 6);
  test::WalBuilder other({.size = kSize, .system_identifier = kSystem});
  write_wal(other, 6, 55);
  Bytes content = other.segment(2);
  std::fill(content.begin() + 300'000, content.end(), std::byte{0});
  for (const Bytes& offered : {other.segment(2), content}) {
    remove_file_if_exists(join_path(spool_.path(), segment_name(1, 3)));
    put(3, offered);
    const Error error = error_of([&] { take(spool_.path()); });
    EXPECT_EQ(error.code(), ErrorCode::kConflict);
    EXPECT_NE(error.message().find("already archived with other content"), std::string::npos);
  }
}

TEST_F(WalTake, ASegmentThatEndsWithASwitchIsWhole) {
  test::WalBuilder wal({.size = kSize, .system_identifier = kSystem});
  write_wal(wal, 2);
  wal.add_filler(100'000);
  wal.add_switch();
  write_file_durably(join_path(spool_.path(), segment_name(1, 3)), wal.segment(2));
  EXPECT_EQ(take(spool_.path()).archived, std::vector<std::string>{segment_name(1, 3)});
}

TEST_F(WalTake, OfALaterTimelineUsesTheHistoryThatCameOrThatIsArchived) {
  const Fork fork;
  Server server;
  server.put("00000002.history", fork.history);
  server.put(fork.promoted, 3, 6);
  write_file_durably(join_path(spool_.path(), segment_name(2, 4)), fork.promoted.segment(3));
  // Nobody has it.
  EXPECT_EQ(error_of([&] { take(spool_.path()); }).code(), ErrorCode::kNotFound);
  push(server, "00000002.history");
  EXPECT_EQ(take(spool_.path()).archived, std::vector<std::string>{segment_name(2, 4)});
}

TEST_F(WalTake, OfAnotherClusterIsRefused) {
  test::WalBuilder foreign({.size = kSize, .system_identifier = kSystem + 1});
  write_wal(foreign, 2);
  put(1, foreign.segment(0));
  EXPECT_EQ(error_of([&] { take(spool_.path()); }).code(), ErrorCode::kWrongCluster);
}

}  // namespace
}  // namespace holdfast::archive
