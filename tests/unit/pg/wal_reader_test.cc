#include "pg/wal_reader.h"

#include <algorithm>
#include <random>

#include <gtest/gtest.h>

#include "pg/version.h"
#include "pg/wal_page.h"
#include "support/error_of.h"
#include "support/golden.h"
#include "support/newer_major.h"
#include "support/wal_builder.h"

namespace holdfast::pg {
namespace {

using test::scan_segment;
using test::WalBuilder;

constexpr uint64_t kSegment = uint64_t{1} << 20;

struct Read {
  std::vector<WalSegmentSummary> summaries;
  std::vector<Lsn> records;
};

Read read_all(const WalBuilder& builder) {
  Read read;
  WalReader reader(builder.options().size);
  for (size_t i = 0; i < builder.segment_count(); ++i) {
    read.summaries.push_back(
        reader.feed(builder.segment(i), builder.name(i),
                    [&](const WalRecord& record) { read.records.push_back(record.lsn); }));
  }
  return read;
}

TEST(WalReader, ReadsGoldenSegments) {
  struct Case {
    const char* file;
    int major;
    // xid, committed, two-phase: in the order of the WAL
    std::vector<std::tuple<uint32_t, bool, bool>> transactions;
    uint32_t tablespace;
    const char* restore_point_lsn;
    const char* restore_point_time;
  };
  const Case cases[] = {
      {"000000010000000000000009",
       13,
       {{489, true, false},
        {490, true, false},
        {494, false, false},
        {491, true, false},
        {496, false, false},
        {499, false, false},
        {501, false, false},
        {500, false, false},
        {497, true, true},
        {502, true, false},
        {503, true, false},
        {504, true, true},
        {498, false, true},
        {506, true, false},
        {507, true, false}},
       16424,
       "0/90CE10",
       "2026-11-22T15:20:20.517370Z"},
      {"00000001000000000000000A",
       15,
       {{728, true, false},
        {729, true, false},
        {733, false, false},
        {730, true, false},
        {735, false, false},
        {738, false, false},
        {740, false, false},
        {739, false, false},
        {736, true, true},
        {741, true, false},
        {742, true, false},
        {743, true, true},
        {737, false, true},
        {745, true, false},
        {746, true, false}},
       16423,
       "0/A0D3A8",
       "2026-11-22T15:20:23.012333Z"},
      {"00000001000000000000000B",
       18,
       {{757, true, false},
        {758, true, false},
        {762, false, false},
        {759, true, false},
        {764, false, false},
        {767, false, false},
        {769, false, false},
        {768, false, false},
        {765, true, true},
        {770, true, false},
        {771, true, false},
        {772, true, true},
        {766, false, true},
        {774, true, false},
        {775, true, false}},
       16423,
       "0/B0BEA8",
       "2026-11-22T15:20:30.051295Z"},
      {"00000001000000000000000B",
       19,
       {{665, true, false},
        {668, true, false},
        {670, false, false},
        {669, true, false},
        {673, false, false},
        {676, false, false},
        {675, false, false},
        {674, false, false},
        {677, true, false},
        {678, true, true},
        {680, false, true},
        {681, true, true},
        {682, true, false},
        {683, true, false}},
       16398,
       "0/B050A0",
       "2026-11-30T15:26:06.238786Z"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.major);
    Bytes bytes = test::golden(fmt::format("pg-{}/{}", c.major, c.file));
    WalSegmentSize size(kSegment);
    WalSegmentScan scan = scan_segment(bytes, parse_wal_file_name(c.file, size).segment);
    EXPECT_EQ(scan.summary.major, c.major);
    EXPECT_EQ(scan.summary.page_magic, version_of(c.major).wal_magic);
    EXPECT_EQ(scan.summary.stop, WalStop::kShort);
    EXPECT_EQ(scan.summary.remaining_length_at_start, 0U);
    EXPECT_EQ(scan.summary.first_record_lsn,
              parse_wal_segment_header(bytes).page.address + kWalLongHeaderBytes);

    std::vector<std::tuple<uint32_t, bool, bool>> transactions;
    std::vector<Checkpoint> checkpoints;
    std::vector<TablespaceCreate> tablespaces;
    std::vector<RestorePoint> restore_points;
    std::vector<ParameterChange> parameter_changes;
    for (const WalEvent& event : scan.events) {
      if (const auto* end = std::get_if<TransactionEnd>(&event))
        transactions.emplace_back(end->xid, end->committed, end->two_phase);
      if (const auto* checkpoint = std::get_if<Checkpoint>(&event))
        checkpoints.push_back(*checkpoint);
      if (const auto* create = std::get_if<TablespaceCreate>(&event))
        tablespaces.push_back(*create);
      if (const auto* point = std::get_if<RestorePoint>(&event)) restore_points.push_back(*point);
      if (const auto* change = std::get_if<ParameterChange>(&event))
        parameter_changes.push_back(*change);
      EXPECT_FALSE(std::holds_alternative<MalformedRecord>(event));
    }
    EXPECT_EQ(transactions, c.transactions);
    ASSERT_EQ(checkpoints.size(), 2U);
    EXPECT_TRUE(checkpoints[0].shutdown);
    EXPECT_EQ(checkpoints[0].redo_lsn, checkpoints[0].lsn);
    EXPECT_FALSE(checkpoints[1].shutdown);
    EXPECT_LT(checkpoints[1].redo_lsn, checkpoints[1].lsn);
    EXPECT_EQ(checkpoints[1].timeline, TimelineId{1});
    EXPECT_FALSE(checkpoints[1].full_page_writes);
    EXPECT_EQ(checkpoints[1].next_xid, checkpoints[1].oldest_active_xid);
    ASSERT_EQ(tablespaces.size(), 1U);
    EXPECT_EQ(tablespaces[0].oid, c.tablespace);
    EXPECT_EQ(tablespaces[0].path, fmt::format("/tmp/tablespaces/{}", c.major));
    ASSERT_EQ(restore_points.size(), 1U);
    EXPECT_EQ(restore_points[0].name, "golden point");
    EXPECT_EQ(to_string(restore_points[0].lsn), c.restore_point_lsn);
    EXPECT_EQ(restore_points[0].time, parse_rfc3339(c.restore_point_time));
    ASSERT_EQ(parameter_changes.size(), 1U);
    EXPECT_EQ(parameter_changes[0].max_connections, 42);
    EXPECT_EQ(parameter_changes[0].max_worker_processes, 8);
    EXPECT_EQ(parameter_changes[0].max_wal_senders, 10);
    EXPECT_EQ(parameter_changes[0].max_prepared_transactions, 10);
    EXPECT_EQ(parameter_changes[0].max_locks_per_transaction, 77);
    EXPECT_EQ(parameter_changes[0].wal_level, WalLevel::kReplica);
    EXPECT_FALSE(parameter_changes[0].wal_log_hints);
    EXPECT_TRUE(parameter_changes[0].track_commit_timestamp);
  }
}

TEST(WalReader, YieldsEveryRecordOverPagesAndSegments) {
  const unsigned seed = std::random_device()();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  WalBuilder builder;
  std::vector<Lsn> expected;
  while (builder.segment_count() < 4)
    expected.push_back(builder.add_filler(random() % (random() % 20 == 0 ? 100'000 : 600)));
  expected.push_back(builder.add_filler(0));
  Read read = read_all(builder);
  EXPECT_EQ(read.records, expected);
  for (size_t i = 0; i < read.summaries.size(); ++i) {
    const WalSegmentSummary& summary = read.summaries[i];
    if (i + 1 == read.summaries.size()) {
      EXPECT_EQ(summary.stop, WalStop::kZeros);
      EXPECT_EQ(summary.stop_lsn, builder.end_lsn());
      break;
    }
    EXPECT_EQ(summary.stop, WalStop::kSegmentEnd);
    // Neighbours fit: this is what joins segments in an archive.
    const WalSegmentSummary& next = read.summaries[i + 1];
    EXPECT_EQ(summary.remaining_length_at_end, next.remaining_length_at_start);
    EXPECT_EQ(summary.last_record_lsn, next.first_record_previous_lsn);
    // Read alone, a segment tells the same of itself.
    WalSegmentSummary alone = scan_segment(builder.segment(i), builder.name(i)).summary;
    EXPECT_EQ(alone.first_record_lsn, summary.first_record_lsn);
    EXPECT_EQ(alone.first_record_previous_lsn, summary.first_record_previous_lsn);
    EXPECT_EQ(alone.last_record_lsn, summary.last_record_lsn);
    EXPECT_EQ(alone.remaining_length_at_end, summary.remaining_length_at_end);
  }
}

WalSegmentScan scan_in_pieces(WalReader& reader, ByteView segment, SegmentName name, size_t size) {
  WalSegmentScanner scanner(reader, name, segment.size());
  for (size_t at = 0; at < segment.size(); at += size) {
    // Nothing of the piece before may be looked at again.
    const Bytes piece(
        segment.begin() + static_cast<ptrdiff_t>(at),
        segment.begin() + static_cast<ptrdiff_t>(std::min(at + size, segment.size())));
    scanner.take(piece);
  }
  return scanner.finish();
}

TEST(WalReader, SaysTheSameOfASegmentInPieces) {
  const unsigned seed = std::random_device()();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  WalBuilder builder;
  while (builder.segment_count() < 4)
    builder.add_filler(random() % (random() % 20 == 0 ? 100'000 : 600));
  for (size_t size : {kWalBlockBytes, 3 * kWalBlockBytes, size_t{128} << 10, size_t{1} << 30}) {
    SCOPED_TRACE(size);
    WalReader whole(builder.options().size), pieces(builder.options().size);
    for (size_t i = 0; i < builder.segment_count(); ++i) {
      Bytes segment = builder.segment(i);
      EXPECT_EQ(scan_in_pieces(pieces, segment, builder.name(i), size),
                scan_segment(whole, segment, builder.name(i)));
    }
    // Damaged, and cut at a page's end and within one.
    Bytes damaged = builder.segment(1);
    damaged[damaged.size() / 2] ^= std::byte{1};
    WalReader reader(builder.options().size);
    EXPECT_EQ(scan_in_pieces(reader, damaged, builder.name(1), size),
              scan_segment(damaged, builder.name(1)));
    for (size_t length : {5 * kWalBlockBytes, 5 * kWalBlockBytes + 100, size_t{100}}) {
      const ByteView part = ByteView(damaged).first(length);
      EXPECT_EQ(scan_in_pieces(reader, part, builder.name(1), size),
                scan_segment(part, builder.name(1)));
    }
  }
  for (const auto& [major, file] :
       std::vector<std::pair<int, std::string>>{{13, "000000010000000000000009"},
                                                {18, "00000001000000000000000B"},
                                                {19, "00000001000000000000000B"}}) {
    const Bytes bytes = test::golden(fmt::format("pg-{}/{}", major, file));
    const WalSegmentSize size(kSegment);
    const SegmentName name = parse_wal_file_name(file, size).segment;
    WalReader reader(size);
    const WalSegmentScan scan = scan_in_pieces(reader, bytes, name, kWalBlockBytes);
    EXPECT_EQ(scan, scan_segment(bytes, name));
    EXPECT_GT(scan.events.size(), 10U);
  }
}

TEST(WalReader, StopsWhereAFileIsCutBehindARecord) {
  WalBuilder builder;
  const Lsn lsn = builder.add_filler(3);
  builder.add_filler(3);
  const Bytes segment = builder.segment(0);
  // The record has 24 bytes of header and its body; 8 bytes are the places of records.
  const uint64_t start = lsn - start_lsn(builder.name(0).segment_number, builder.options().size);
  for (uint64_t end = start + 1; end <= start + 48; ++end) {
    SCOPED_TRACE(end - start);
    const WalSegmentSummary summary =
        scan_segment(ByteView(segment).first(static_cast<size_t>(end)), builder.name(0)).summary;
    EXPECT_EQ(summary.stop, WalStop::kShort);
    EXPECT_LE(summary.record_count, 1U);
  }
}

TEST(WalReader, RefusesPiecesThatDoNotFit) {
  WalBuilder builder;
  builder.add_filler(100'000);
  const Bytes segment = builder.segment(0);
  const auto refused = [&](const std::vector<size_t>& sizes, uint64_t bytes) {
    WalReader reader(builder.options().size);
    WalSegmentFeed feed(reader, builder.name(0), bytes);
    const Error error = test::error_of([&] {
      size_t at = 0;
      for (size_t size : sizes) {
        feed.take(ByteView(segment).subspan(at, size));
        at += size;
      }
      feed.finish();
    });
    EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
    return error.detail();
  };
  EXPECT_EQ(refused({8192, 100}, 16384), "One ends at 8292 of 16384 bytes.");
  EXPECT_EQ(refused({8192, 8192, 8192}, 16384), "One ends at 24576 of 16384 bytes.");
  EXPECT_EQ(refused({8192, 8192}, 24576), "One ends at 16384 of 24576 bytes.");
  WalReader reader(builder.options().size);
  EXPECT_EQ(test::error_of([&] { WalSegmentFeed(reader, builder.name(0), 0).finish(); }).code(),
            ErrorCode::kCorrupt);
  EXPECT_EQ(test::error_of([&] { WalSegmentScanner(builder.name(0), 0).finish(); }).code(),
            ErrorCode::kCorrupt);
}

TEST(WalReader, HandsOutTheWholeRecordWhereverItLies) {
  // Records start at every place of the last 200 bytes of a segment: the header itself is split
  // too.
  for (uint64_t before = 8; before <= 200; before += 8) {
    WalBuilder builder;
    builder.fill_to({2 * kSegment - kWalBlockBytes + kWalShortHeaderBytes});
    uint64_t left = 2 * kSegment - before - builder.end_lsn().value;
    builder.add_filler(left - kWalRecordHeaderBytes - 5);
    Lsn expected = builder.add_commit(42, 1'000'000);
    builder.add_filler(10);
    ASSERT_EQ(expected, Lsn{2 * kSegment - before});
    std::vector<TransactionEnd> ends;
    WalReader reader(builder.options().size);
    WalSegmentSummary summary;
    for (size_t i = 0; i < builder.segment_count(); ++i) {
      Bytes segment = builder.segment(i);
      WalSegmentScan scan = scan_segment(reader, segment, builder.name(i));
      for (const WalEvent& event : scan.events) ends.push_back(std::get<TransactionEnd>(event));
      summary = scan.summary;
    }
    ASSERT_EQ(ends.size(), 1U) << before;
    EXPECT_EQ(ends[0].lsn, expected);
    EXPECT_EQ(ends[0].xid, 42U);
    EXPECT_EQ(summary.last_complete_record_end_lsn, builder.end_lsn());
  }
}

TEST(WalReader, CarriesARecordThatFillsWholeSegments) {
  WalBuilder builder;
  builder.add_filler(10);
  Lsn big = builder.add_data(kRmLogicalMessage, 0, 0, Bytes(3 * kSegment, std::byte{0x11}));
  Lsn commit = builder.add_commit(7, 0);
  WalReader reader(builder.options().size);
  std::vector<std::pair<Lsn, size_t>> records;
  std::vector<WalSegmentSummary> summaries;
  for (size_t i = 0; i < builder.segment_count(); ++i) {
    summaries.push_back(
        reader.feed(builder.segment(i), builder.name(i), [&](const WalRecord& record) {
          records.emplace_back(record.lsn, record.main_data.size());
          EXPECT_EQ(record.main_data.size(), record.main_data_bytes);
        }));
  }
  ASSERT_EQ(summaries.size(), 4U);
  ASSERT_EQ(records.size(), 3U);
  EXPECT_EQ(records[1], (std::pair<Lsn, size_t>(big, 3 * kSegment)));
  EXPECT_EQ(records[2].first, commit);
  EXPECT_EQ(summaries[0].last_record_lsn, big);
  EXPECT_EQ(summaries[0].remaining_length_at_end, summaries[1].remaining_length_at_start);
  // In the middle no record starts.
  EXPECT_EQ(summaries[1].first_record_lsn, std::nullopt);
  EXPECT_EQ(summaries[1].last_record_lsn, std::nullopt);
  EXPECT_EQ(summaries[1].remaining_length_at_end, summaries[2].remaining_length_at_start);
  EXPECT_GT(summaries[1].remaining_length_at_end, kSegment);
  EXPECT_EQ(summaries[3].first_record_lsn, commit);
  EXPECT_EQ(summaries[3].first_record_previous_lsn, big);

  // Alone, such a segment tells its lengths all the same.
  WalSegmentSummary alone = scan_segment(builder.segment(1), builder.name(1)).summary;
  EXPECT_EQ(alone.stop, WalStop::kSegmentEnd);
  EXPECT_EQ(alone.remaining_length_at_end, summaries[1].remaining_length_at_end);
  EXPECT_EQ(alone.record_count, 0U);
}

TEST(WalReader, StopsAtASwitchAndFollowsItIntoTheNextSegment) {
  WalBuilder builder;
  builder.add_commit(1, 0);
  Lsn at = builder.add_switch();
  Lsn next = builder.add_commit(2, 0);
  Read read = read_all(builder);
  ASSERT_EQ(read.summaries.size(), 2U);
  EXPECT_EQ(read.records.size(), 3U);
  EXPECT_EQ(read.summaries[0].stop, WalStop::kSwitch);
  EXPECT_EQ(read.summaries[0].stop_reason, "");
  EXPECT_EQ(read.summaries[0].last_record_lsn, at);
  EXPECT_EQ(read.summaries[0].last_complete_record_end_lsn, Lsn{2 * kSegment});
  EXPECT_EQ(read.summaries[0].remaining_length_at_end, 0U);
  EXPECT_EQ(read.summaries[1].first_record_lsn, next);
  EXPECT_EQ(read.summaries[1].first_record_previous_lsn, at);
}

TEST(WalReader, DropsARecordThatACrashCutShort) {
  // Within a segment, and where the cut lies at a segment's end.
  for (const auto& [major, start] :
       std::vector<std::pair<int, uint64_t>>{{15, kSegment + 3 * kWalBlockBytes + 1000},
                                             {15, 2 * kSegment - 800},
                                             {19, kSegment + 3 * kWalBlockBytes + 1000}}) {
    WalBuilder builder({.major = major});
    builder.add_filler(10);
    if (start > builder.end_lsn().value + 2 * kWalBlockBytes) {
      builder.fill_to({start / kWalBlockBytes * kWalBlockBytes + kWalShortHeaderBytes});
    }
    while (builder.end_lsn().value + 400 < start) builder.add_filler(300);
    Lsn before = builder.previous_lsn();
    Lsn lost = builder.add_lost_record(50'000, 700);
    Lsn after = builder.add_commit(5, 0);
    Read read = read_all(builder);
    EXPECT_EQ(std::ranges::count(read.records, lost), 0);
    EXPECT_EQ(std::ranges::count(read.records, before), 1);
    EXPECT_EQ(read.records.back(), after);
    EXPECT_EQ(read.summaries.back().stop, WalStop::kZeros);
  }
}

TEST(WalReader, ReadsOnBehindARecordThatAServerOf19Lost) {
  const WalSegmentSize size(kSegment);
  const std::string file = "00000001000000000000000B";
  std::vector<Lsn> records;
  WalReader reader(size);
  const WalSegmentSummary summary = reader.feed(
      test::golden("pg-19/overwritten-" + file), parse_wal_file_name(file, size).segment,
      [&](const WalRecord& record) { records.push_back(record.lsn); });
  EXPECT_EQ(summary.stop, WalStop::kShort) << summary.stop_reason;
  const auto overwrites = std::ranges::find(records, parse_lsn("0/00B0A018"));
  ASSERT_TRUE(overwrites != records.end() && overwrites != records.begin());
  EXPECT_EQ(to_string(*std::prev(overwrites)), "0/B07BC0");
  EXPECT_GT(std::distance(overwrites, records.end()), 2);
}

TEST(WalReader, ReadsNothingOfANewerMajorButWhoseItIs) {
  WalBuilder builder({.major = 19});
  while (builder.segment_count() < 2) builder.add_filler(5000);
  WalReader reader(builder.options().size);
  for (size_t i = 0; i < 2; ++i) {
    const WalSegmentSummary summary =
        reader.feed(test::newer_wal(builder.segment(i)), builder.name(i),
                    [](const WalRecord&) { ADD_FAILURE() << "a record"; });
    EXPECT_EQ(summary.stop, WalStop::kNewerMajor);
    EXPECT_EQ(summary.stop_lsn, start_lsn(builder.name(i).segment_number, summary.segment_size));
    EXPECT_EQ(summary.major, 0);
    EXPECT_EQ(summary.page_magic, test::kNewerWalMagic);
    EXPECT_EQ(summary.system_identifier, builder.options().system_identifier);
    EXPECT_EQ(summary.remaining_length_at_start, 0U);
    EXPECT_EQ(summary.record_count, 0U);
    // The rules for files that are no segments hold all the same.
    EXPECT_TRUE(holds_segment(test::newer_wal(builder.segment(i)), builder.name(i),
                              summary.segment_size, {}));
    EXPECT_FALSE(holds_segment(test::newer_wal(builder.segment(i)), builder.name(i + 1),
                               summary.segment_size, {}));
  }
}

TEST(WalReader, TellsWhereACutRecordWasOverwrittenAcrossSegments) {
  WalBuilder builder;
  builder.fill_to({2 * kSegment - kWalBlockBytes + kWalShortHeaderBytes});
  while (2 * kSegment - builder.end_lsn().value > 1200) builder.add_filler(300);
  Lsn before = builder.previous_lsn();
  uint64_t room = 2 * kSegment - builder.end_lsn().value;
  Lsn lost = builder.add_lost_record(50'000, room);
  Read read = read_all(builder);
  ASSERT_EQ(read.summaries.size(), 2U);
  EXPECT_EQ(read.summaries[0].last_record_lsn, lost);
  EXPECT_EQ(read.summaries[0].last_complete_record_lsn, before);
  EXPECT_GT(read.summaries[0].remaining_length_at_end, 0U);
  EXPECT_TRUE(read.summaries[1].overwrites_record);
  EXPECT_EQ(read.summaries[1].remaining_length_at_start, 0U);
  EXPECT_EQ(read.summaries[1].first_record_previous_lsn, before);
  EXPECT_EQ(read.summaries[1].stop, WalStop::kZeros);
}

TEST(WalReader, StartsAfreshWithASegmentThatDoesNotFollow) {
  WalBuilder builder;
  while (builder.segment_count() < 4) builder.add_filler(5000);
  WalReader reader(builder.options().size);
  reader.feed(builder.segment(0), builder.name(0), {});
  WalSegmentSummary skipped = reader.feed(builder.segment(2), builder.name(2), {});
  EXPECT_EQ(skipped.stop, WalStop::kSegmentEnd);
  EXPECT_GT(skipped.remaining_length_at_start, 0U);
  // The rest of the record that runs in comes first.
  EXPECT_EQ(skipped.first_record_lsn, start_lsn(3, builder.options().size) + kWalLongHeaderBytes +
                                          (skipped.remaining_length_at_start + 7) / 8 * 8);
  EXPECT_EQ(skipped.record_count,
            scan_segment(builder.segment(2), builder.name(2)).summary.record_count);
}

TEST(WalReader, ReadsANewTimelinesFirstSegmentThatBeginsWithTheOldOnesPages) {
  WalBuilder builder;
  builder.fill_to({kSegment + 5 * kWalBlockBytes});
  builder.set_timeline({2});
  builder.add_commit(9, 0);
  WalSegmentScan scan = scan_segment(builder.segment(0), builder.name(0));
  EXPECT_EQ(scan.summary.name.timeline, TimelineId{2});
  EXPECT_EQ(scan.summary.first_page_timeline, TimelineId{1});
  EXPECT_EQ(scan.summary.last_page_timeline, TimelineId{2});
  ASSERT_EQ(scan.events.size(), 1U);

  // The same bytes cannot be timeline 1's.
  scan = scan_segment(builder.segment(0), {.timeline = {1}, .segment_number = 1});
  EXPECT_EQ(scan.summary.stop, WalStop::kBadPage);
  EXPECT_EQ(scan.summary.stop_reason,
            "The page at 0/10A000 is on timeline 2, between 1 and 1 is possible.");
}

TEST(WalReader, SaysWhereAndWhyItStops) {
  struct Case {
    size_t offset;
    uint64_t value;
    size_t bytes;
    WalStop stop;
    const char* reason;
  };
  // A record of 5000 bytes from 0/100030 on... three of them cross from the first page to the
  // third.
  WalBuilder builder;
  Lsn first = builder.add_filler(5000);
  Lsn second = builder.add_filler(5000);
  builder.add_filler(5000);
  builder.add_filler(100);
  ASSERT_EQ(to_string(first), "0/100028");
  ASSERT_EQ(to_string(second), "0/1013D0");
  size_t at = builder.offset_of(second);
  const Case cases[] = {
      {at, 23, 4, WalStop::kBadRecord, "The record at 0/1013D0 is damaged: its length is 23."},
      {at, 0x40000001, 4, WalStop::kBadRecord,
       "The record at 0/1013D0 is damaged: its length is 1073741825."},
      {at, 0, 4, WalStop::kZeros, "Nothing was written from 0/1013D0 on."},
      {at, 5030, 4, WalStop::kBadRecord,
       "The record at 0/1013D0 is damaged: 1910 bytes of it are missing, and the page at 0/102000 "
       "continues 1909."},
      {at + 8, 0x100000, 8, WalStop::kBadRecord,
       "The record at 0/1013D0 is damaged: its link to the record before is 0/100000 instead of "
       "0/100028."},
      {at + 17, 22, 1, WalStop::kBadRecord,
       "The record at 0/1013D0 is damaged: resource manager 22 does not exist."},
      {at + 100, 0, 1, WalStop::kBadRecord,
       "The record at 0/1013D0 is damaged: its CRC does not fit its content."},
      {at + 4, 77, 4, WalStop::kBadRecord,
       "The record at 0/1013D0 is damaged: its CRC does not fit its content."},
      {8192, 0xD106, 2, WalStop::kBadPage, "The page at 0/102000 has the magic D106."},
      {8192 + 2, 0x11, 2, WalStop::kBadPage, "The page at 0/102000 has the flags 0011."},
      {8192 + 2, 0x03, 2, WalStop::kBadPage,
       "The page at 0/102000 has the header of another place in a segment."},
      {8192 + 2, 0x00, 2, WalStop::kBadRecord,
       "The record at 0/1013D0 is damaged: the page at 0/102000 does not continue it."},
      {8192 + 4, 2, 4, WalStop::kBadPage,
       "The page at 0/102000 is on timeline 2, between 1 and 1 is possible."},
      {8192 + 8, 0x902000, 8, WalStop::kBadPage,
       "The page at 0/102000 is one for 0/902000, left from an earlier use of the file."},
      {8192 + 16, 5, 4, WalStop::kBadRecord,
       "The record at 0/1013D0 is damaged: 1909 bytes of it are missing, and the page at 0/102000 "
       "continues 5."},
  };
  for (const Case& c : cases) {
    Bytes segment = builder.segment(0);
    std::copy_n(reinterpret_cast<const std::byte*>(&c.value), c.bytes,
                segment.begin() + static_cast<ptrdiff_t>(c.offset));
    WalSegmentScan scan = scan_segment(segment, builder.name(0));
    EXPECT_EQ(scan.summary.stop, c.stop) << c.reason;
    EXPECT_EQ(scan.summary.stop_reason, c.reason);
    EXPECT_EQ(scan.summary.record_count, 1U) << c.reason;
    EXPECT_EQ(scan.summary.last_record_lsn, first) << c.reason;
    EXPECT_EQ(scan.summary.remaining_length_at_end, 0U) << c.reason;
  }
}

TEST(WalReader, SeesEveryFlippedBitOfARecord) {
  WalBuilder builder;
  builder.add_filler(10);
  Lsn target = builder.add_commit(1234, 567);
  size_t start = builder.offset_of(target);
  size_t end = builder.offset_of(builder.end_lsn());
  builder.add_filler(10);
  for (size_t at = start; at < end; ++at) {
    // Padding behind the record is not covered by anything.
    if (at >= start + kWalRecordHeaderBytes + 10) continue;
    // Nor are the two bytes between resource manager and CRC left out: the CRC covers them.
    for (int bit = 0; bit < 8; ++bit) {
      Bytes segment = builder.segment(0);
      segment[at] ^= static_cast<std::byte>(1 << bit);
      WalSegmentScan scan = scan_segment(segment, builder.name(0));
      EXPECT_TRUE(scan.events.empty()) << at << " " << bit;
      EXPECT_TRUE(scan.summary.stop == WalStop::kBadRecord || scan.summary.stop == WalStop::kZeros)
          << at << " " << bit;
    }
  }
}

TEST(WalReader, StopsWhereTheBytesEnd) {
  WalBuilder builder;
  builder.add_filler(5000);
  builder.add_filler(9000);
  Bytes segment = builder.segment(0);
  for (size_t size : {size_t{40}, size_t{43}, size_t{44}, size_t{100}, size_t{5032}, size_t{8192},
                      size_t{8200}, size_t{12000}}) {
    WalSegmentSummary summary =
        scan_segment(ByteView(segment).first(size), builder.name(0)).summary;
    EXPECT_EQ(summary.stop, WalStop::kShort) << size;
    EXPECT_EQ(summary.stop_reason,
              fmt::format("Only {} of the segment's 1048576 bytes are there.", size));
    EXPECT_LE(summary.stop_lsn, Lsn{kSegment + size}) << size;
  }
}

TEST(WalReader, RefusesFilesThatAreNotTheSegmentTheyAreCalled) {
  WalBuilder builder;
  builder.add_filler(10);
  Bytes segment = builder.segment(0);
  Error other =
      test::error_of([&] { scan_segment(segment, {.timeline = {1}, .segment_number = 2}); });
  EXPECT_EQ(other.code(), ErrorCode::kCorrupt);
  EXPECT_EQ(other.message(),
            "WAL segment \"000000010000000000000002\" holds other WAL than its name says");
  EXPECT_EQ(other.detail(), "Its first page is for 0/100000 on timeline 1.");

  WalReader larger{WalSegmentSize()};
  EXPECT_EQ(test::error_of([&] { larger.feed(segment, builder.name(0), {}); }).message(),
            "WAL segment \"000000010000000000000001\" has the wrong size");
  segment.push_back(std::byte{0});
  EXPECT_EQ(test::error_of([&] { scan_segment(segment, builder.name(0)); }).code(),
            ErrorCode::kCorrupt);
  EXPECT_EQ(test::error_of([&] { scan_segment(Bytes(kSegment), builder.name(0)); }).code(),
            ErrorCode::kCorrupt);
}

TEST(WalReader, KeepsOnlyTheFrontOfAnEndlessRecordAndChecksItWhole) {
  WalBuilder builder({.size = WalSegmentSize(uint64_t{128} << 20)});
  size_t bytes = kMaxKeptBytes + 1'000'000;
  builder.add_filler(bytes);
  Lsn after = builder.add_commit(3, 0);
  size_t seen = 0;
  size_t told = 0;
  WalReader reader(builder.options().size);
  Bytes segment = builder.segment(0);
  WalSegmentSummary summary = reader.feed(segment, builder.name(0), [&](const WalRecord& record) {
    if (record.lsn == after) return;
    seen = record.bytes.size();
    told = record.main_data_bytes;
  });
  EXPECT_EQ(summary.last_record_lsn, after);
  EXPECT_EQ(seen, kMaxKeptBytes);
  EXPECT_EQ(told, bytes);
  // Damage behind what is kept is still seen.
  segment[bytes - 100] ^= std::byte{1};
  EXPECT_EQ(reader.feed(segment, builder.name(0), {}).stop, WalStop::kBadRecord);
}

}  // namespace
}  // namespace holdfast::pg
