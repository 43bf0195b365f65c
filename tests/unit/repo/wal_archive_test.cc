#include "repo/wal_archive.h"

#include <algorithm>
#include <random>
#include <thread>

#include <gtest/gtest.h>

#include "base/error.h"
#include "store/memory_store.h"
#include "support/error_of.h"
#include "support/fake_clock.h"
#include "support/fault_store.h"
#include "support/newer_major.h"
#include "support/pieces_of.h"
#include "support/test_repository.h"
#include "support/wal_builder.h"

namespace holdfast::repo {
namespace {

const pg::WalSegmentSize kSize(uint64_t{16} << 20);

pg::WalFileName segment_file(uint32_t timeline, uint64_t number) {
  return {.kind = pg::WalFileKind::kSegment,
          .segment = {.timeline = {timeline}, .segment_number = number}};
}
pg::WalFileName partial_file(uint32_t timeline, uint64_t number) {
  return {.kind = pg::WalFileKind::kPartial,
          .segment = {.timeline = {timeline}, .segment_number = number}};
}
pg::WalFileName history_file(uint32_t timeline) {
  return {.kind = pg::WalFileKind::kHistory, .segment = {.timeline = {timeline}}};
}

// Every member has a value of its own, so that one that is lost or swapped shows.
WalSegmentInfo full_info(ByteView content) {
  const Time base{std::chrono::seconds{1795335759}};
  auto after = [&](int seconds) { return base + std::chrono::seconds{seconds}; };
  WalSegmentInfo info;
  info.file_name = "000000020000000000000003";
  info.timeline = {2};
  info.bytes = content.size();
  info.complete = false;
  info.sha256 = wal_content_sha256(content);
  info.system_identifier = UINT64_MAX - 5;
  info.wal_magic = 0xD110;
  info.segment_bytes = kSize.bytes();
  info.host = "alpha";
  info.pgdata = "/srv/\"pg\"";
  info.pushed = after(1);
  info.start_lsn = {0x3000000};
  info.first_record = {0x3000100};
  info.last_record = {0x3900000};
  info.last_record_end = {0x3900100};
  info.previous_record = {0x2FFFF00};
  info.carried_in = 216;
  info.carried_out = 77;
  info.carries_moment = true;
  info.carried_in_bytes = Bytes(216, std::byte{0x11});
  info.carried_out_bytes = Bytes(100, std::byte{0x22});
  info.starts_with_overwrite = true;
  info.ends_with_switch = true;
  info.readable_end = {0x3900108};
  info.highest_page_timeline = {1};
  info.commits = {.count = 9,
                  .first_time = after(2),
                  .last_time = after(3),
                  .lowest_time = after(4),
                  .highest_time = after(5),
                  .lowest_xid = 700,
                  .highest_xid = 4'000'000'000,
                  .last_lsn = {0x3800000}};
  info.restore_points = {{.name = "before \"it\"", .lsn = {0x3400000}, .time = after(6)}};
  info.creates_tablespaces = {{.oid = 16400, .path = "/mnt/ts", .lsn = {0x3500000}}};
  info.parameter_floors = ParameterFloors{.max_connections = 1,
                                          .max_worker_processes = 2,
                                          .max_wal_senders = 3,
                                          .max_prepared_transactions = 4,
                                          .max_locks_per_transaction = 5};
  return info;
}

class WalArchiveTest : public ::testing::TestWithParam<bool> {
 protected:
  WalArchiveTest() {
    KeySource key;
    if (GetParam()) key.key_file = codec::SecretKey::from_bytes(Bytes(32, std::byte{7}));
    repository_.emplace(Repository::create(store_, key, clock_));
    lineage_ = repository_->create_lineage({.name = {.cluster = "main", .major = 15},
                                            .system_identifier = UINT64_MAX - 5,
                                            .catalog_version = 202209061,
                                            .wal_segment_bytes = kSize.bytes(),
                                            .block_bytes = 8192,
                                            .blocks_per_segment = 131072,
                                            .created = clock_.now()});
  }
  WalArchive archive() const { return {*repository_, lineage_}; }
  bool put(const pg::WalFileName& file, ByteView content, int jobs = 1) {
    return archive().put_segment(file, full_info(content), test::pieces_of(content, jobs));
  }
  std::optional<Bytes> read(const pg::WalFileName& file, const Bytes16* partial = nullptr) {
    Bytes content;
    if (!archive().read_segment(
            file,
            [&](ByteView piece) {
              EXPECT_LE(piece.size(), size_t{4} << 20);
              content.insert(content.end(), piece.begin(), piece.end());
            },
            partial))
      return std::nullopt;
    return content;
  }
  std::vector<uint64_t> segments(uint32_t timeline, uint64_t from) const {
    std::vector<uint64_t> numbers;
    archive().for_each_segment({timeline}, from, [&](uint64_t number, uint64_t stored_bytes) {
      EXPECT_GT(stored_bytes, 0U);
      numbers.push_back(number);
      return true;
    });
    return numbers;
  }

  test::FakeClock clock_;
  store::MemoryStore store_{clock_};
  std::optional<Repository> repository_;
  Lineage lineage_;
};
INSTANTIATE_TEST_SUITE_P(Plain, WalArchiveTest, ::testing::Values(false));
INSTANTIATE_TEST_SUITE_P(Sealed, WalArchiveTest, ::testing::Values(true));

TEST(WalSegmentInfoJson, ReadsBackEverythingItSays) {
  const WalSegmentInfo info = full_info(as_bytes("x"));
  const Json json = to_json(info);
  EXPECT_EQ(to_json(wal_segment_info_from_json(json)).dump(), json.dump());
  EXPECT_EQ(json.at("start_lsn").as_string(), "0/3000000");
  EXPECT_EQ(json.at("system_identifier").as_string(), "18446744073709551610");
  // Every value got its own place.
  WalSegmentInfo read = wal_segment_info_from_json(json);
  EXPECT_EQ(read.carried_in, 216U);
  EXPECT_EQ(read.carried_out, 77U);
  EXPECT_TRUE(read.carries_moment);
  EXPECT_EQ(read.carried_in_bytes, Bytes(216, std::byte{0x11}));
  EXPECT_EQ(read.carried_out_bytes, Bytes(100, std::byte{0x22}));
  EXPECT_EQ(read.commits.highest_xid, 4'000'000'000U);
  EXPECT_EQ(read.commits.lowest_time, info.commits.lowest_time);
  EXPECT_EQ(read.restore_points.at(0).name, "before \"it\"");
  EXPECT_EQ(read.creates_tablespaces.at(0).path, "/mnt/ts");
  EXPECT_EQ(read.parameter_floors.value().max_locks_per_transaction, 5);
}

TEST(WalSegmentInfoJson, WhatIsNotKnownIsNull) {
  WalSegmentInfo info;
  info.timeline = {1};
  info.start_lsn = {0x1000000};
  const Json json = to_json(info);
  for (const char* member : {"first_record", "last_record", "previous_record", "parameter_floors"})
    EXPECT_TRUE(json.at(member).is_null()) << member;
  EXPECT_EQ(json.at("commits").members().size(), 1U);
  EXPECT_EQ(to_json(wal_segment_info_from_json(json)).dump(), json.dump());
}

TEST(WalSegmentInfoJson, RefusesWhatItDoesNotSay) {
  const struct {
    const char* member;
    Json value;
  } cases[] = {{"sha256", "00"},
               {"system_identifier", "18446744073709551616"},
               {"system_identifier", "-1"},
               {"carried_in", uint64_t{1} << 32},
               {"carried_in_bytes", "0"},
               {"carried_out_bytes", std::string(2050, '0')},
               {"wal_magic", 65536},
               {"pushed", "yesterday"},
               {"start_lsn", "0"},
               {"start_lsn", "0/100000000"},
               {"timeline", "1"},
               {"complete", 1},
               {"commits", Json()},
               {"restore_points", Json::object()}};
  for (const auto& c : cases) {
    Json json = to_json(full_info({}));
    json.set(c.member, c.value);
    EXPECT_EQ(test::error_of([&] { wal_segment_info_from_json(json); }).code(), ErrorCode::kCorrupt)
        << c.member;
  }
}

// A program that knows the major must not find a segment that says that nothing was committed in
// it.
TEST(WalSegmentInfoJson, OfANewerMajorSaysThatNothingWasRead) {
  test::WalBuilder wal({.major = 19});
  while (wal.segment_count() < 2) wal.add_filler(5000);
  const auto describe = [&](size_t index) {
    const pg::WalFileName file{.kind = pg::WalFileKind::kSegment, .segment = wal.name(index)};
    return test::describe_segment(test::newer_wal(wal.segment(index)), file, {});
  };
  const WalSegmentInfo info = describe(0);
  EXPECT_TRUE(is_unread(info));
  EXPECT_TRUE(reaches_its_end(info));
  EXPECT_TRUE(joins(info, describe(1)) && leads_into(info, describe(1)));
  const Json json = to_json(info);
  EXPECT_EQ(json.at("readable_end").as_string(), json.at("start_lsn").as_string());
  const WalSegmentInfo read = wal_segment_info_from_json(json);
  EXPECT_TRUE(reaches_its_end(read));
  EXPECT_EQ(read.sha256, info.sha256);
}

TEST(WalJoin, ComparesWhatBothEndsKnow) {
  WalSegmentInfo first;
  first.start_lsn = {0x1000000};
  first.segment_bytes = kSize.bytes();
  first.readable_end = {0x2000000};
  first.last_record = {0x1FFFF00};
  first.carried_out = 100;
  WalSegmentInfo second;
  second.start_lsn = {0x2000000};
  second.previous_record = {0x1FFFF00};
  second.carried_in = 100;
  EXPECT_TRUE(joins(first, second));

  WalSegmentInfo changed = second;
  changed.carried_in = 108;
  EXPECT_FALSE(joins(first, changed));
  changed = second;
  changed.previous_record = {0x1FFFE00};
  EXPECT_FALSE(joins(first, changed));
  changed.previous_record = {};  // no record starts in it
  EXPECT_TRUE(joins(first, changed));
  changed = second;
  changed.carried_in = 0;
  changed.previous_record = {0x1FFF000};
  changed.starts_with_overwrite = true;
  EXPECT_TRUE(joins(first, changed));

  WalSegmentInfo within = first;  // inside one long record
  within.last_record = {};
  EXPECT_TRUE(joins(within, second));
  within.carried_out = 101;
  EXPECT_FALSE(joins(within, second));
  WalSegmentInfo damaged = within;
  damaged.readable_end = {0x1800000};
  EXPECT_TRUE(joins(damaged, second));
}

TEST_P(WalArchiveTest, IsTheSameByOneThreadAndByMore) {
  Bytes content(kSize.bytes());
  std::minstd_rand random(1);
  for (size_t at = 0; at < content.size(); ++at)
    content[at] = static_cast<std::byte>(at % 3 == 0 ? random() : at >> 12);
  uint64_t number = 3;
  std::vector<uint64_t> stored;
  for (const int jobs : {1, 2, 3, 8}) {
    ASSERT_TRUE(put(segment_file(1, ++number), content, jobs));
    EXPECT_EQ(read(segment_file(1, number)), content) << jobs;
  }
  archive().for_each_segment({1}, 4, [&](uint64_t, uint64_t bytes) {
    stored.push_back(bytes);
    return true;
  });
  EXPECT_EQ(stored, std::vector<uint64_t>(4, stored.at(0)));
}

TEST_P(WalArchiveTest, ReadsBackSegmentsOfEverySize) {
  uint64_t number = 1;
  for (size_t size : {size_t{0}, size_t{1}, size_t{8192}, (size_t{4} << 20) - 1, size_t{4} << 20,
                      (size_t{4} << 20) + 1, size_t{16} << 20}) {
    Bytes content(size);
    for (size_t i = 0; i < size; ++i) content[i] = static_cast<std::byte>(i * i >> 7);
    const pg::WalFileName file = segment_file(2, number++);
    EXPECT_TRUE(put(file, content)) << size;
    EXPECT_EQ(read(file), content) << size;
    std::optional<WalSegmentInfo> info = archive().segment_info(file);
    ASSERT_TRUE(info);
    EXPECT_EQ(to_json(*info).dump(), to_json(full_info(content)).dump());
  }
  EXPECT_EQ(archive().segment_info(segment_file(2, 99)), std::nullopt);
  EXPECT_EQ(read(segment_file(2, 99)), std::nullopt);
}

TEST_P(WalArchiveTest, ATakenNameKeepsItsContent) {
  EXPECT_TRUE(put(segment_file(1, 1), as_bytes("first")));
  EXPECT_FALSE(put(segment_file(1, 1), as_bytes("second")));
  EXPECT_EQ(read(segment_file(1, 1)), to_bytes("first"));
}

TEST_P(WalArchiveTest, PartialSegmentsAreToldApartByTheirContent) {
  EXPECT_TRUE(put(partial_file(1, 5), as_bytes("one")));
  EXPECT_TRUE(put(partial_file(1, 5), as_bytes("two")));
  EXPECT_FALSE(put(partial_file(1, 5), as_bytes("two")));
  EXPECT_TRUE(put(segment_file(1, 5), as_bytes("whole")));
  EXPECT_TRUE(put(partial_file(1, 6), as_bytes("other")));
  std::vector<Bytes16> digests = archive().partials({.timeline = {1}, .segment_number = 5});
  ASSERT_EQ(digests.size(), 2U);
  for (const char* content : {"one", "two"}) {
    const Bytes16 digest = partial_digest(wal_content_sha256(as_bytes(content)));
    EXPECT_EQ(std::ranges::count(digests, digest), 1);
    EXPECT_EQ(read(partial_file(1, 5), &digest), to_bytes(content));
  }
  EXPECT_EQ(segments(1, 0), std::vector<uint64_t>{5});
}

TEST_P(WalArchiveTest, KeepsHistoryFiles) {
  const std::string text = "1\t0/3000100\tno recovery target specified\n";
  const WalFileInfo info{.file_name = "00000002.history",
                         .bytes = text.size(),
                         .sha256 = wal_content_sha256(as_bytes(text)),
                         .system_identifier = UINT64_MAX - 5,
                         .host = "alpha",
                         .pushed = clock_.now()};
  EXPECT_TRUE(archive().put_file(history_file(2), info, as_bytes(text)));
  EXPECT_FALSE(archive().put_file(history_file(2), info, as_bytes(text)));
  EXPECT_EQ(archive().read_file(history_file(2)), to_bytes(text));
  EXPECT_EQ(archive().file_info(history_file(2))->host, "alpha");
  EXPECT_EQ(archive().file_info(history_file(2))->sha256, info.sha256);
  EXPECT_EQ(archive().read_file(history_file(3)), std::nullopt);
  EXPECT_EQ(archive().file_info(history_file(3)), std::nullopt);
  const std::string first = archive().object_name(history_file(2));
  for (const std::string& name : {first, copy_of_history(first).value()})
    store_.edit(name, [](Bytes& bytes) { bytes.clear(); });
  EXPECT_NE(test::error_of([&] { archive().read_file(history_file(2)); })
                .hint()
                .find("\"holdfast wal push 00000002.history\""),
            std::string::npos);
}

// Each content of one, the first and further ones.
TEST_P(WalArchiveTest, AHistoryStandsTwiceAndIsThereWhileEitherDoes) {
  const auto put_history = [&](std::string_view text, uint64_t number) {
    const WalFileInfo info{.file_name = "00000002.history",
                           .bytes = text.size(),
                           .sha256 = wal_content_sha256(as_bytes(text)),
                           .system_identifier = 7,
                           .host = "alpha",
                           .pushed = clock_.now()};
    EXPECT_TRUE(archive().put_file(history_file(2), info, as_bytes(text), number));
  };
  const std::vector<std::string> texts = {"1\t0/3000100\tfirst\n", "1\t0/3000100\tsecond\n"};
  for (uint64_t number : {0, 1}) {
    put_history(texts[number], number);
    const std::string object = archive().object_name(history_file(2), nullptr, number);
    const std::string copy = copy_of_history(object).value();
    EXPECT_EQ(history_of_copy(copy), object);
    const Bytes whole = test::object_bytes(store_, object);
    EXPECT_EQ(test::object_bytes(store_, copy), whole);
    for (const std::string& place : {object, copy}) {
      SCOPED_TRACE(place);
      for (const bool is_lost : {true, false}) {
        store_.remove(place);
        if (!is_lost) {
          Bytes rotten = whole;
          rotten[rotten.size() - 30] ^= std::byte{1};
          store_.create(place, rotten);
        }
        const WalArchive archive = this->archive();
        EXPECT_EQ(archive.read_file(history_file(2)), to_bytes(texts[number]));
        EXPECT_EQ(archive.file_info(history_file(2))->host, "alpha");
        EXPECT_TRUE(archive.is_there(history_file(2)));
        EXPECT_EQ(archive.timelines(), std::vector<pg::TimelineId>{{2}});
        EXPECT_EQ(archive.history_timelines(), std::vector<pg::TimelineId>{{2}});
        EXPECT_EQ(archive.contents(history_file(2)).size(), number + 1);
        const std::vector<std::string> put = archive.put_missing_histories();
        EXPECT_EQ(put, is_lost ? std::vector{place} : std::vector<std::string>{});
        if (is_lost) {
          EXPECT_EQ(test::object_bytes(store_, place), whole);
        }
      }
      store_.remove(place);
      store_.create(place, whole);
    }
  }
  // Nothing is made of damage.
  for (const std::string& name : test::object_names(store_))
    if (name.find("00000002") != std::string::npos) test::flip_a_bit(store_, name);
  store_.remove(archive().object_name(history_file(2)));
  EXPECT_TRUE(archive().put_missing_histories().empty());
  EXPECT_EQ(test::error_of([&] { archive().read_file(history_file(2)); }).code(),
            ErrorCode::kCorrupt);
}

TEST_P(WalArchiveTest, ListsTimelinesAndSegmentsInOrderAcrossFolders) {
  // 256 segments of 16 MiB to a folder.
  for (uint64_t number : {1, 255, 256, 257, 511, 1024}) put(segment_file(1, number), as_bytes("x"));
  put(partial_file(1, 2000), as_bytes("x"));  // a folder without a whole segment
  put(segment_file(0x1F, 300), as_bytes("x"));
  WalFileInfo empty;
  empty.sha256 = wal_content_sha256({});
  for (uint32_t timeline : {2U, 0x1FU}) archive().put_file(history_file(timeline), empty, {});

  using Timelines = std::vector<pg::TimelineId>;
  EXPECT_EQ(archive().timelines(), (Timelines{{1}, {2}, {0x1F}}));
  EXPECT_EQ(archive().history_timelines(), (Timelines{{2}, {0x1F}}));
  using Numbers = std::vector<uint64_t>;
  const struct {
    uint64_t from;
    Numbers found;
  } cases[] = {{0, {1, 255, 256, 257, 511, 1024}},
               {1, {1, 255, 256, 257, 511, 1024}},
               {2, {255, 256, 257, 511, 1024}},
               {256, {256, 257, 511, 1024}},
               {257, {257, 511, 1024}},
               {512, {1024}},
               {1024, {1024}},
               {1025, {}},
               {5000, {}}};
  for (const auto& c : cases) {
    EXPECT_EQ(segments(1, c.from), c.found) << c.from;
    EXPECT_EQ(archive().any_segment_after({1}, c.from), c.from < 1024) << c.from;
  }
  EXPECT_EQ(archive().first_segment({1}), 1U);
  EXPECT_EQ(archive().last_segment({1}), 1024U);
  EXPECT_EQ(archive().last_segment({0x1F}), 300U);
  EXPECT_EQ(archive().first_segment({2}), std::nullopt);
  EXPECT_EQ(archive().last_segment({2}), std::nullopt);
}

TEST_P(WalArchiveTest, ReadsListingsOfManyPages) {
  for (uint64_t number = 1; number <= 1300; ++number) put(segment_file(1, number), as_bytes("x"));
  EXPECT_EQ(segments(1, 0).size(), 1300U);
  EXPECT_EQ(segments(1, 700).size(), 601U);
  EXPECT_EQ(archive().last_segment({1}), 1300U);
}

TEST_P(WalArchiveTest, RefusesEveryDamagedByte) {
  Bytes content(3000);
  for (size_t i = 0; i < content.size(); ++i) content[i] = static_cast<std::byte>(i * 7);
  const pg::WalFileName file = segment_file(1, 1);
  put(file, content);
  const std::string name = archive().object_name(file);
  const Bytes whole = *store_.read(name, 0, 1 << 20);
  for (size_t at = 0; at < whole.size(); at += 13) {
    store_.edit(name, [&](Bytes& bytes) {
      bytes = whole;
      bytes[at] ^= std::byte{4};
    });
    ErrorCode code = test::error_of([&] { read(file); }).code();
    EXPECT_TRUE(code == ErrorCode::kCorrupt || code == ErrorCode::kUnsupported) << at;
  }
  for (size_t size = 0; size < whole.size(); size += 101) {
    store_.edit(name, [&](Bytes& bytes) {
      bytes = whole;
      bytes.resize(size);
    });
    EXPECT_EQ(test::error_of([&] { read(file); }).code(), ErrorCode::kCorrupt) << size;
  }
}

TEST_P(WalArchiveTest, ContentThatIsNotWhatTheMetadataTellsIsRefused) {
  // Sealed and whole, and still not what was to be kept: only the digest tells.
  WalSegmentInfo info = full_info(as_bytes("what it says"));
  archive().put_segment(segment_file(1, 1), info, test::pieces_of(as_bytes("what it has ")));
  EXPECT_EQ(test::error_of([&] { read(segment_file(1, 1)); }).code(), ErrorCode::kCorrupt);
}

TEST_P(WalArchiveTest, EachPieceOfALargeSegmentIsPartOfWhatIsCompared) {
  // The pieces are hashed while others are handed over: none may be missed, or hashed when another
  // one's bytes are in its place.
  Bytes content(kSize.bytes());
  std::minstd_rand random(7);
  for (std::byte& byte : content) byte = static_cast<std::byte>(random() >> 8);
  uint64_t number = 0;
  for (size_t at : {size_t{0}, size_t{4} << 20, (size_t{12} << 20) - 1, content.size() - 1}) {
    const WalSegmentInfo info = full_info(content);
    content[at] ^= std::byte{1};
    const pg::WalFileName file = segment_file(1, ++number);
    archive().put_segment(file, info, test::pieces_of(content));
    content[at] ^= std::byte{1};
    const Error error = test::error_of([&] { read(file); });
    EXPECT_EQ(error.code(), ErrorCode::kCorrupt) << at;
    EXPECT_NE(error.detail().find("SHA-256"), std::string::npos) << error.detail();
  }
}

// As they were written before, or by whoever else.
void put_in_pieces_of(size_t size, ByteView content, const auto& put) {
  codec::Compressor compressor({});
  RawBytes scratch;
  for (size_t at = 0; at < content.size(); at += size)
    put(ObjectWriter::compress(content.subspan(at, std::min(size, content.size() - at)), compressor,
                               scratch));
}

TEST_P(WalArchiveTest, PiecesOfUpToFourMebibytesAreRead) {
  Bytes content(kSize.bytes());
  std::minstd_rand random(5);
  for (size_t at = 0; at < content.size(); at += 3) content[at] = static_cast<std::byte>(random());
  uint64_t number = 0;
  for (size_t size : {size_t{4} << 20, size_t{1} << 20, size_t{3} << 18}) {
    archive().put_segment(segment_file(1, ++number), full_info(content),
                          [&](const auto& put) { put_in_pieces_of(size, content, put); });
    EXPECT_EQ(read(segment_file(1, number)), content);
  }
  archive().put_segment(segment_file(1, ++number), full_info(content), [&](const auto& put) {
    put_in_pieces_of((size_t{4} << 20) + 8192, content, put);
  });
  EXPECT_EQ(test::error_of([&] { read(segment_file(1, number)); }).code(), ErrorCode::kCorrupt);
}

TEST_P(WalArchiveTest, WhoTakesThePiecesMayGiveUpAtAny) {
  const Bytes content(kSize.bytes(), std::byte{9});
  put(segment_file(1, 1), content);
  for (int last : {1, 2, 5, 16}) {  // one more than there are buffers, and the last
    int taken = 0;
    const std::thread::id here = std::this_thread::get_id();
    const Error error = test::error_of([&] {
      archive().read_segment(segment_file(1, 1), [&](ByteView) {
        EXPECT_EQ(std::this_thread::get_id(), here);
        if (++taken == last) throw Error({.code = ErrorCode::kNoSpace, .message = "full"});
      });
    });
    EXPECT_EQ(error.code(), ErrorCode::kNoSpace);
    EXPECT_EQ(taken, last);
  }
}

TEST_P(WalArchiveTest, ACommitThatGivesUpLeavesNothing) {
  const Bytes content(100);
  Error error = test::error_of([&] {
    archive().put_segment(segment_file(1, 1), full_info(content), test::pieces_of(content), [] {
      throw Error({.code = ErrorCode::kInterrupted, .message = "enough"});
    });
  });
  EXPECT_EQ(error.code(), ErrorCode::kInterrupted);
  EXPECT_EQ(archive().segment_info(segment_file(1, 1)), std::nullopt);
}

}  // namespace
}  // namespace holdfast::repo
