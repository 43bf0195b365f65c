#include "pg/control_file.h"

#include <gtest/gtest.h>

#include "pg/crc32c.h"
#include "pg/version.h"
#include "support/error_of.h"
#include "support/golden.h"
#include "support/newer_major.h"

namespace holdfast::pg {
namespace {

Bytes control_file_of(int major) { return test::golden(fmt::format("pg-{}/pg_control", major)); }

size_t crc_offset_of(int major) { return major >= 19 ? 308 : major == 18 ? 292 : 288; }

// Changes a field and makes the CRC fit again.
template <typename T>
Bytes with_field(int major, size_t offset, T value) {
  Bytes bytes = control_file_of(major);
  store_le(bytes.data() + offset, value);
  size_t crc_offset = crc_offset_of(major);
  store_le(bytes.data() + crc_offset, crc32c(ByteView(bytes).first(crc_offset)));
  return bytes;
}

// Values as pg_controldata and SQL showed them.
TEST(ParseControlFile, ReadsWhatServersOfEveryMajorWrote) {
  const struct {
    int major;
    uint64_t system_identifier;
    const char* redo;
    uint64_t next_xid;
    uint32_t oldest_xid;
    uint32_t next_oid;
    const char* checkpoint_time;
    uint32_t checksums;
  } cases[] = {
      {13, 7711016004381711055, "0/A00028", 508, 478, 16425, "2026-11-22T15:20:20Z", 0},
      {14, 7711016009526229778, "0/B00028", 756, 726, 16424, "2026-11-22T15:20:21Z", 0},
      {15, 7711016015274031957, "0/B00028", 747, 716, 16424, "2026-11-22T15:20:23Z", 1},
      {16, 7711016020418804628, "0/B00028", 754, 722, 16424, "2026-11-22T15:20:24Z", 1},
      {17, 7711016025432640467, "0/B00028", 762, 730, 16424, "2026-11-22T15:20:26Z", 1},
      {18, 7711016036897029253, "0/C00028", 776, 744, 16424, "2026-11-22T15:20:30Z", 1},
      {19, 7713986141286665821, "0/B052F0", 684, 654, 16399, "2026-11-30T15:26:06Z", 1},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.major);
    Bytes bytes = control_file_of(c.major);
    EXPECT_TRUE(crc_is_valid(bytes));
    ControlFile control = parse_control_file(bytes);
    EXPECT_EQ(control.major, c.major);
    EXPECT_EQ(control.catalog_version, version_of(c.major).catalog_version);
    EXPECT_EQ(control.control_version, version_of(c.major).control_version);
    EXPECT_EQ(control.system_identifier, c.system_identifier);
    EXPECT_EQ(control.state, ClusterState::kShutDown);
    EXPECT_EQ(to_string(control.redo_lsn), c.redo);
    EXPECT_EQ(to_string(control.checkpoint_lsn), c.redo);
    EXPECT_EQ(control.timeline, TimelineId{1});
    EXPECT_EQ(control.previous_timeline, TimelineId{1});
    EXPECT_FALSE(control.full_page_writes);
    EXPECT_EQ(control.next_xid, c.next_xid);
    EXPECT_EQ(control.oldest_xid, c.oldest_xid);
    EXPECT_EQ(control.next_oid, c.next_oid);
    EXPECT_EQ(control.oldest_active_xid, 0U);
    EXPECT_EQ(control.checkpoint_time, parse_rfc3339(c.checkpoint_time));
    EXPECT_FALSE(control.minimum_recovery_lsn.is_valid());
    EXPECT_FALSE(control.backup_start_lsn.is_valid());
    EXPECT_FALSE(control.backup_end_lsn.is_valid());
    EXPECT_FALSE(control.backup_end_required);
    EXPECT_EQ(control.wal_level, WalLevel::kReplica);
    EXPECT_FALSE(control.wal_log_hints);
    EXPECT_EQ(control.max_connections, 42);
    EXPECT_EQ(control.max_worker_processes, 8);
    EXPECT_EQ(control.max_wal_senders, 10);
    EXPECT_EQ(control.max_prepared_transactions, 10);
    EXPECT_EQ(control.max_locks_per_transaction, 77);
    EXPECT_TRUE(control.track_commit_timestamp);
    EXPECT_EQ(control.block_bytes, 8192U);
    EXPECT_EQ(control.blocks_per_relation_segment, 131072U);
    EXPECT_EQ(control.wal_block_bytes, 8192U);
    EXPECT_EQ(control.wal_segment_size, WalSegmentSize(1 << 20));
    EXPECT_EQ(control.data_checksum_version, c.checksums);
    EXPECT_EQ(control.has_checksums(), c.checksums == 1);
  }
}

TEST(ParseControlFile, ReadsTheFieldsOfAClusterInRecovery) {
  for (const auto& [major, growth] : {std::pair<int, size_t>{17, 0}, {19, 8}}) {
    SCOPED_TRACE(major);
    ControlFile control =
        parse_control_file(with_field<uint64_t>(major, 136 + growth, 0x16B374D848));
    EXPECT_EQ(to_string(control.minimum_recovery_lsn), "16/B374D848");
    control = parse_control_file(with_field<uint32_t>(major, 144 + growth, 3));
    EXPECT_EQ(control.minimum_recovery_timeline, TimelineId{3});
    control = parse_control_file(with_field<uint64_t>(major, 152 + growth, 0x2000028));
    EXPECT_EQ(control.backup_start_lsn, Lsn{0x2000028});
    control = parse_control_file(with_field<uint64_t>(major, 160 + growth, 0x2000128));
    EXPECT_EQ(control.backup_end_lsn, Lsn{0x2000128});
    control = parse_control_file(with_field<uint8_t>(major, 168 + growth, 1));
    EXPECT_TRUE(control.backup_end_required);
    control = parse_control_file(with_field<uint32_t>(major, 120 + growth, 77));
    EXPECT_EQ(control.oldest_active_xid, 77U);
  }
  EXPECT_EQ(parse_control_file(with_field<uint32_t>(17, 16, 5)).state,
            ClusterState::kInArchiveRecovery);
  EXPECT_EQ(to_string(ClusterState::kInArchiveRecovery), "in archive recovery");
  EXPECT_EQ(to_string(ClusterState::kInProduction), "in production");
  EXPECT_EQ(to_string(WalLevel::kLogical), "logical");
}

TEST(ParseControlFile, SeesEveryChangedByteOfTheLivePart) {
  for (int major : {13, 18, 19}) {
    Bytes bytes = control_file_of(major);
    for (size_t at = 0; at < crc_offset_of(major) + 4; ++at) {
      if (at >= 8 && at < 12) continue;  // the version, which says where the CRC is
      bytes[at] ^= std::byte{0x40};
      EXPECT_FALSE(crc_is_valid(bytes)) << at;
      Error error = test::error_of([&] { parse_control_file(bytes); });
      EXPECT_EQ(error.code(), ErrorCode::kCorrupt) << at;
      EXPECT_EQ(error.message(), "damaged control file");
      EXPECT_EQ(error.detail(), "Its CRC does not fit its content.");
      bytes[at] ^= std::byte{0x40};
    }
  }
}

TEST(ParseControlFile, RefusesOtherSizes) {
  for (size_t size : {size_t{0}, size_t{300}, size_t{8191}, size_t{8193}}) {
    Bytes bytes = control_file_of(15);
    bytes.resize(size);
    EXPECT_FALSE(crc_is_valid(bytes));
    Error error = test::error_of([&] { parse_control_file(bytes); });
    EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
    EXPECT_EQ(error.detail(), fmt::format("It has {} bytes instead of 8192.", size));
  }
}

TEST(ParseControlFile, NamesTheOtherByteOrder) {
  Error error = test::error_of([] { parse_control_file(with_field<uint32_t>(15, 8, 0x14050000)); });
  EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
  EXPECT_EQ(error.message(), "the cluster was made by a big-endian server");
  EXPECT_EQ(error.detail(),
            "The control file's version reads as 335872000, with its bytes swapped as 1300.");
}

TEST(ParseControlFile, RefusesVersionsThatItDoesNotKnow) {
  Error unknown = test::error_of([] { parse_control_file(with_field<uint32_t>(15, 8, 1201)); });
  EXPECT_EQ(unknown.code(), ErrorCode::kUnsupported);
  EXPECT_EQ(unknown.message(), "unknown control file version 1201");
  Error beta = test::error_of([] { parse_control_file(with_field<uint32_t>(15, 12, 202209062)); });
  EXPECT_EQ(beta.code(), ErrorCode::kUnsupported);
  EXPECT_EQ(beta.message(), "unknown catalog version 202209062");
  // 13's catalog version under 17's layout.
  EXPECT_EQ(
      test::error_of([] { parse_control_file(with_field<uint32_t>(17, 12, 202007201)); }).code(),
      ErrorCode::kUnsupported);
}

TEST(ParseControlFile, ReadsOfANewerMajorWhatAllHaveAtOnePlace) {
  Bytes bytes = test::newer_control_file(7'000'000'000'000'000'001);
  EXPECT_TRUE(crc_is_valid(bytes));
  const ControlFile control = parse_control_file(bytes);
  EXPECT_FALSE(control.is_of_known_major());
  EXPECT_EQ(control.system_identifier, 7'000'000'000'000'000'001U);
  EXPECT_EQ(control.catalog_version, test::kNewerCatalogVersion);
  EXPECT_EQ(control.state, ClusterState::kShutDown);
  EXPECT_EQ(to_string(control.redo_lsn), "0/B052F0");
  EXPECT_EQ(control.timeline, TimelineId{1});
  EXPECT_FALSE(control.has_checksums());
  // Its CRC is found, so damage is too; and nothing stands behind it.
  for (size_t at = 12; at < test::kNewerCrcOffset + 5; ++at) {
    bytes[at] ^= std::byte{0x40};
    EXPECT_FALSE(crc_is_valid(bytes)) << at;
    EXPECT_EQ(test::error_of([&] { parse_control_file(bytes); }).code(), ErrorCode::kCorrupt) << at;
    bytes[at] ^= std::byte{0x40};
  }
}

TEST(ParseControlFile, RefusesForeignBuildsAndImpossibleValues) {
  const struct {
    size_t offset;
    uint32_t value;
    ErrorCode code;
  } cases[] = {{204, 4, ErrorCode::kUnsupported},    {208, 1, ErrorCode::kUnsupported},
               {216, 4096, ErrorCode::kUnsupported}, {224, 16384, ErrorCode::kUnsupported},
               {220, 0, ErrorCode::kUnsupported},    {228, 3 << 20, ErrorCode::kCorrupt},
               {16, 7, ErrorCode::kCorrupt},         {172, 3, ErrorCode::kCorrupt},
               {168, 2, ErrorCode::kCorrupt},        {108, 0x7FFFFFFF, ErrorCode::kCorrupt}};
  for (const auto& c : cases) {
    EXPECT_EQ(test::error_of([&] {
                parse_control_file(with_field<uint32_t>(15, c.offset, c.value));
              }).code(),
              c.code)
        << c.offset;
  }
}

}  // namespace
}  // namespace holdfast::pg
