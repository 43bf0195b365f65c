#include "archive/wal_list.h"

#include "support/pieces_of.h"
#include "unit/archive/world.h"

namespace holdfast::archive {
namespace {

class WalList : public World {
 protected:
  WalListing list() { return archive::list({.cluster = "main"}, repository_, reporter_, {}); }
};

TEST_F(WalList, AnEmptyArchiveHasItsLineageAndNothingElse) {
  WalListing listing = list();
  ASSERT_EQ(listing.lineages.size(), 1U);
  EXPECT_TRUE(listing.lineages[0].timelines.empty());
  EXPECT_FALSE(listing.has_gaps());
}

TEST_F(WalList, ShowsRangesGapsHistoryAndPartials) {
  Fork fork(8);
  Server server("alpha");
  server.put(fork.first, 1, 8);
  server.put(fork.promoted, 3, 8);
  server.put("00000002.history", fork.history);
  server.put(segment_name(1, 8) + ".partial", fork.first.segment(7));
  server.put(segment_name(1, 2) + ".00000028.backup", "START WAL LOCATION: 0/200028\n");
  push_all(server, 1, 1, 3);
  push_all(server, 1, 6, 7);
  push(server, segment_name(1, 8) + ".partial");
  push(server, segment_name(1, 2) + ".00000028.backup");
  push_all(server, 2, 5, 6);

  WalListing listing = list();
  EXPECT_TRUE(listing.has_gaps());
  ASSERT_EQ(listing.lineages.size(), 1U);
  ASSERT_EQ(listing.lineages[0].timelines.size(), 2U);
  const WalTimeline& first = listing.lineages[0].timelines[0];
  EXPECT_EQ(first.timeline, pg::TimelineId{1});
  EXPECT_FALSE(first.history);
  ASSERT_EQ(first.ranges.size(), 2U);
  EXPECT_EQ(first.ranges[0].first_segment, segment_name(1, 1));
  EXPECT_EQ(first.ranges[0].last_segment, segment_name(1, 3));
  EXPECT_EQ(first.ranges[0].segment_count, 3U);
  EXPECT_GT(first.ranges[0].stored_bytes, 0U);
  EXPECT_EQ(first.ranges[0].start_lsn, pg::start_lsn(1, kSize));
  EXPECT_EQ(first.ranges[0].end_lsn, pg::end_lsn(3, kSize));
  ASSERT_TRUE(first.ranges[0].first_commit && first.ranges[0].last_commit);
  EXPECT_LT(*first.ranges[0].first_commit, *first.ranges[0].last_commit);
  EXPECT_EQ(first.ranges[0].last_pushed, clock_.now());
  EXPECT_EQ(first.ranges[1].first_segment, segment_name(1, 6));
  ASSERT_EQ(first.gaps.size(), 1U);
  EXPECT_EQ(first.gaps[0].first_segment, segment_name(1, 4));
  EXPECT_EQ(first.gaps[0].last_segment, segment_name(1, 5));
  EXPECT_EQ(first.gaps[0].segment_count, 2U);
  ASSERT_EQ(first.partials.size(), 1U);
  EXPECT_EQ(first.partials[0].segment, segment_name(1, 8) + ".partial");
  EXPECT_EQ(first.partials[0].host, "alpha");
  EXPECT_EQ(first.partials[0].readable_end, pg::end_lsn(8, kSize));
  EXPECT_EQ(first.backup_history_count, 1U);

  // The timeline began in segment 3: what is missing from there on is a gap.
  const WalTimeline& second = listing.lineages[0].timelines[1];
  ASSERT_TRUE(second.history);
  EXPECT_EQ(second.history->ancestors().back().switch_lsn, fork.switch_lsn);
  ASSERT_EQ(second.gaps.size(), 1U);
  EXPECT_EQ(second.gaps[0].first_segment, segment_name(2, 3));
  EXPECT_EQ(second.gaps[0].segment_count, 2U);
}

TEST_F(WalList, WhatATimelineThatLeftProvesToHaveBeenIsAGap) {
  Fork fork;
  Server server("alpha");
  server.put(fork.first, 1, 3);
  server.put(fork.promoted, 3, 3);
  server.put("00000002.history", fork.history);
  push(server, segment_name(1, 1));
  EXPECT_FALSE(list().has_gaps());
  push(server, "00000002.history");
  const WalListing listing = list();
  const WalTimeline& first = listing.lineages[0].timelines[0];
  ASSERT_EQ(first.gaps.size(), 1U);
  EXPECT_EQ(first.gaps[0].first_segment, segment_name(1, 2));
  EXPECT_EQ(first.gaps[0].last_segment, segment_name(1, 3));
  EXPECT_EQ(first.gaps[0].segment_count, 2U);
  // Segment 3 is held by the timeline that left in it.
  push(server, segment_name(2, 3));
  push(server, segment_name(1, 2));
  EXPECT_FALSE(list().has_gaps());
}

TEST_F(WalList, AWholeArchiveHasNoGaps) {
  Fork fork;
  Server server("alpha");
  server.put(fork.first, 1, 3);
  server.put(fork.promoted, 3, 5);
  server.put("00000002.history", fork.history);
  push_all(server, 1, 1, 3);
  push_all(server, 2, 3, 5);
  EXPECT_FALSE(list().has_gaps());
}

TEST_F(WalList, ABeginningThatWasExpiredWithTheTimelineBeforeItIsNoGap) {
  Fork fork;
  Server server("alpha");
  server.put(fork.promoted, 3, 5);
  server.put("00000002.history", fork.history);
  push_all(server, 2, 4, 5);
  const WalListing listing = list();
  ASSERT_EQ(listing.lineages[0].timelines.size(), 1U);
  EXPECT_EQ(listing.lineages[0].timelines[0].ranges.size(), 1U);
  EXPECT_FALSE(listing.has_gaps());
}

TEST_F(WalList, ADamagedObjectIsShownWithAWarning) {
  Fork fork;
  Server server("alpha");
  server.put(fork.first, 1, 1);
  push(server, segment_name(1, 1));
  store_.edit(object_of(segment_name(1, 1)), [](Bytes& bytes) { bytes[200] ^= std::byte{1}; });
  WalListing listing = list();
  EXPECT_EQ(listing.lineages[0].timelines[0].ranges.size(), 1U);
  EXPECT_FALSE(reporter_.warnings().empty());
}

TEST_F(WalList, AnUnknownClusterOrLineageIsAnError) {
  Error error =
      test::error_of([&] { archive::list({.cluster = "other"}, repository_, reporter_, {}); });
  EXPECT_EQ(error.code(), ErrorCode::kNotFound);
  EXPECT_EQ(error.message(), "the repository has no cluster \"other\"");
  ListOptions options{.cluster = "main",
                      .lineage = repo::LineageName{.cluster = "main", .major = 15, .count = 2}};
  error = test::error_of([&] { archive::list(options, repository_, reporter_, {}); });
  EXPECT_EQ(error.message(), "cluster \"main\" has no lineage \"15-2\"");
}

// It joins by its records, and was archived behind another content of the segment before it.
TEST_F(WalList, NamesASegmentThatIsOfAnotherHistoryThanTheOneBeforeIt) {
  const repo::WalArchive archive(repository_, lineage_);
  const auto write = [&](int second_hour) {
    test::WalBuilder wal;
    for (const int hour : {1, second_hour, 3}) {
      wal.add_commit(700, (clock_.now() + std::chrono::hours(hour)).time_since_epoch().count() -
                              946684800'000000);
      wal.add_switch();
    }
    return wal;
  };
  const auto put = [&](const test::WalBuilder& wal, size_t index, int hour, uint64_t number = 0) {
    const pg::WalFileName file{.kind = pg::WalFileKind::kSegment, .segment = wal.name(index)};
    const Bytes content = wal.segment(index);
    archive.put_segment(file,
                        test::describe_segment(content, file,
                                               {.host = "alpha",
                                                .pgdata = "/data",
                                                .pushed = clock_.now() + std::chrono::hours(hour)}),
                        test::pieces_of(content), {}, number);
  };
  const test::WalBuilder first = write(2), again = write(10);
  for (size_t index = 0; index < 3; ++index) put(first, index, static_cast<int>(index) + 2);
  put(first, 0, 9, 1);  // the same once more
  EXPECT_TRUE(list().lineages.at(0).timelines.at(0).other_history.empty());
  put(again, 1, 11, 1);
  EXPECT_EQ(list().lineages.at(0).timelines.at(0).other_history,
            std::vector<std::string>{segment_name(1, 3)});
}

}  // namespace
}  // namespace holdfast::archive
