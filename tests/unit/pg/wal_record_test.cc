#include "pg/wal_record.h"

#include <gtest/gtest.h>

#include "pg/version.h"
#include "pg/wal_reader.h"
#include "support/wal_builder.h"

namespace holdfast::pg {
namespace {

constexpr int64_t kMoment = 848'564'537'000'000;  // 2026-11-22 08:22:17 UTC

// The event of one record with this main data.
std::optional<WalEvent> event_of(int major, uint8_t resource_manager, uint8_t info, uint32_t xid,
                                 ByteView data) {
  WalRecord record{.header = {.xid = xid, .info = info, .resource_manager = resource_manager},
                   .major = major,
                   .lsn = {0x1000028},
                   .end_lsn = {0x1000060},
                   .bytes = {},
                   .main_data = data,
                   .main_data_bytes = data.size()};
  return decode_wal_event(record);
}

WalRecordBody walk(int major, ByteView body, size_t cut = 0) {
  Bytes record(kWalRecordHeaderBytes);
  record.insert(record.end(), body.begin(), body.end());
  return walk_wal_record(ByteView(record).first(record.size() - cut), record.size(), major);
}

// A commit or abort with every optional part, as each major lays them out.
Bytes full_transaction_end(int major, bool commit, uint32_t xid) {
  ByteWriter data;
  uint32_t info = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 4 | 1 << 5 | 1 << 7;
  if (commit) info |= 1 << 3;
  if (major >= 15) info |= 1 << 8;
  data.i64(kMoment).u32(info).u32(5).u32(1663);
  data.u32(2).u32(801).u32(802);
  data.u32(1).u32(1663).u32(5).u32(16384);
  if (major >= 15) {
    data.u32(3).bytes(Bytes(3 * (major >= 18 ? 16 : 12), std::byte{0xEE}));
  }
  if (commit) data.u32(2).bytes(Bytes(32, std::byte{0xDD}));
  data.u32(xid).bytes(as_bytes(std::string_view("gid\0", 4)));
  data.u64(0x123).i64(kMoment);
  return data.take();
}

TEST(DecodeWalEvent, FindsThePreparedTransactionBehindEveryPartInEveryMajor) {
  for (const Version& version : known_versions()) {
    for (bool commit : {true, false}) {
      auto info = static_cast<uint8_t>(0x80 | (commit ? 0x30 : 0x40));
      Bytes data = full_transaction_end(version.major, commit, 777);
      std::optional<WalEvent> event = event_of(version.major, kRmTransaction, info, 0, data);
      ASSERT_TRUE(event);
      EXPECT_EQ(*event, WalEvent(TransactionEnd{.lsn = {0x1000028},
                                                .end_lsn = {0x1000060},
                                                .xid = 777,
                                                .time = from_postgres_microseconds(kMoment),
                                                .committed = commit,
                                                .two_phase = true}))
          << version.major;
      // Cut anywhere before the xid, it is malformed, not misread.
      size_t until = data.size() - 4 - 16;
      for (size_t size = 0; size < until; ++size) {
        event = event_of(version.major, kRmTransaction, info, 0, ByteView(data).first(size));
        EXPECT_TRUE(event && std::holds_alternative<MalformedRecord>(*event))
            << version.major << " " << size;
      }
    }
  }
}

TEST(DecodeWalEvent, TakesTheXidOfOrdinaryTransactionsFromTheHeader) {
  Bytes data = ByteWriter().i64(kMoment).take();
  for (bool commit : {true, false}) {
    std::optional<WalEvent> event = event_of(15, kRmTransaction, commit ? 0x00 : 0x20, 42, data);
    ASSERT_TRUE(event);
    const auto& end = std::get<TransactionEnd>(*event);
    EXPECT_EQ(end.xid, 42U);
    EXPECT_EQ(end.committed, commit);
    EXPECT_FALSE(end.two_phase);
    EXPECT_EQ(end.time, from_postgres_microseconds(kMoment));
  }
}

TEST(DecodeWalEvent, CallsImpossibleContentMalformed) {
  const struct {
    uint8_t resource_manager;
    uint8_t info;
    Bytes data;
    const char* problem;
  } cases[] = {
      {kRmTransaction, 0x00, Bytes(7),
       "the commit record at 0/1000028 is not as PostgreSQL 15 writes it"},
      {kRmTransaction, 0x20, Bytes(8),
       "the abort record at 0/1000028 is not as PostgreSQL 15 writes it"},
      {kRmTransaction, 0x30, Bytes(8),
       "the COMMIT PREPARED record at 0/1000028 is not as PostgreSQL 15 writes it"},
      {kRmTransaction, 0xB0, ByteWriter().i64(0).u32(0x12).u32(0xFFFFFFFF).take(),
       "the commit record at 0/1000028 is not as PostgreSQL 15 writes it"},
      {kRmXlog, 0x00, Bytes(87),
       "the checkpoint record at 0/1000028 is not as PostgreSQL 15 writes it"},
      {kRmXlog, 0x50, Bytes(7),
       "the backup end record at 0/1000028 is not as PostgreSQL 15 writes it"},
      {kRmXlog, 0x60, Bytes(25),
       "the parameter change record at 0/1000028 is not as PostgreSQL 15 writes it"},
      {kRmXlog, 0x70, Bytes(71),
       "the restore point record at 0/1000028 is not as PostgreSQL 15 writes it"},
      {kRmXlog, 0x70, Bytes(72, std::byte{'x'}),
       "the restore point record at 0/1000028 is not as PostgreSQL 15 writes it"},
      {kRmXlog, 0x90, Bytes(15),
       "the end-of-recovery record at 0/1000028 is not as PostgreSQL 15 writes it"},
      {kRmTablespace, 0x00, to_bytes("1234/path"),
       "the CREATE TABLESPACE record at 0/1000028 is not as PostgreSQL 15 writes it"},
  };
  for (const auto& c : cases) {
    std::optional<WalEvent> event = event_of(15, c.resource_manager, c.info, 0, c.data);
    ASSERT_TRUE(event) << c.problem;
    const auto* malformed = std::get_if<MalformedRecord>(&*event);
    ASSERT_NE(malformed, nullptr) << c.problem;
    EXPECT_EQ(malformed->problem, c.problem);
  }
}

TEST(DecodeWalEvent, ReadsTheRecordsThatRecoveryAsksFor) {
  Bytes name(64, std::byte{'?'});
  std::copy_n(as_bytes("before\0").data(), 7, name.begin());
  EXPECT_EQ(event_of(17, kRmXlog, 0x70, 0, ByteWriter().i64(kMoment).bytes(name).view()),
            WalEvent(RestorePoint{.lsn = {0x1000028},
                                  .end_lsn = {0x1000060},
                                  .time = from_postgres_microseconds(kMoment),
                                  .name = "before"}));
  EXPECT_EQ(
      event_of(17, kRmXlog, 0x50, 0, ByteWriter().u64(0x4000060).view()),
      WalEvent(BackupEnd{.lsn = {0x1000028}, .end_lsn = {0x1000060}, .start_lsn = {0x4000060}}));
  EXPECT_EQ(event_of(17, kRmXlog, 0x90, 0, ByteWriter().i64(kMoment).u32(3).u32(2).u32(1).view()),
            WalEvent(EndOfRecovery{.lsn = {0x1000028},
                                   .end_lsn = {0x1000060},
                                   .time = from_postgres_microseconds(kMoment),
                                   .timeline = {3},
                                   .previous_timeline = {2}}));
  EXPECT_EQ(
      event_of(17, kRmTablespace, 0x00, 0,
               ByteWriter().u32(16400).bytes(as_bytes(std::string_view("/srv/x\0", 7))).view()),
      WalEvent(TablespaceCreate{
          .lsn = {0x1000028}, .end_lsn = {0x1000060}, .oid = 16400, .path = "/srv/x"}));
  // Other kinds say nothing.
  EXPECT_EQ(event_of(17, kRmXlog, 0x20, 0, {}), std::nullopt);
  EXPECT_EQ(event_of(17, kRmTransaction, 0x50, 0, {}), std::nullopt);
  EXPECT_EQ(event_of(17, kRmTablespace, 0x10, 0, {}), std::nullopt);
  EXPECT_EQ(event_of(17, 10, 0x00, 0, {}), std::nullopt);
}

TEST(DecodeWalEvent, KeepsAbsurdTimesInRange) {
  for (int64_t time : {INT64_MIN, INT64_MAX}) {
    std::optional<WalEvent> event =
        event_of(15, kRmTransaction, 0x00, 42, ByteWriter().i64(time).view());
    ASSERT_TRUE(event && std::holds_alternative<TransactionEnd>(*event));
  }
}

// A block reference: id, fork flags, data length.
ByteWriter block(uint8_t id, uint8_t flags, uint16_t data_bytes) {
  ByteWriter writer;
  writer.u8(id).u8(flags).u16(data_bytes);
  return writer;
}
constexpr size_t kLocatorAndBlock = 16;

TEST(WalkWalRecord, FindsTheMainDataBehindBlocksAndImages) {
  ByteWriter body = block(0, 0x30, 5);
  body.u16(100).u16(40).u8(0x01).bytes(Bytes(kLocatorAndBlock));  // image with a hole
  body.bytes(block(3, 0x80, 0).view()).u32(7);                    // same relation
  body.u8(253).u16(1);                                            // origin
  body.u8(252).u32(99);                                           // top-level xid
  body.u8(255).u8(3).bytes(Bytes(105)).bytes(as_bytes("abc"));
  WalRecordBody result = walk(15, body.view());
  EXPECT_EQ(result.problem, "");
  EXPECT_EQ(result.block_count, 2);
  EXPECT_EQ(result.top_level_xid, 99U);
  EXPECT_EQ(result.main_data_bytes, 3U);
  EXPECT_EQ(result.main_data_offset, kWalRecordHeaderBytes + body.size() - 3);
  // 13 has no top-level xid.
  EXPECT_EQ(walk(13, body.view()).problem, "it has an unknown fragment");
}

TEST(WalkWalRecord, ReadsImageBitsByMajor) {
  // Compressed with a hole: 14 says so with 0x03, 15 with 0x05; only then a hole length follows.
  for (int major : {13, 14, 15, 18}) {
    ByteWriter body = block(0, 0x10, 0);
    body.u16(100).u16(40).u8(major >= 15 ? 0x05 : 0x03).u16(200).bytes(Bytes(kLocatorAndBlock));
    body.u8(255).u8(2).bytes(Bytes(100)).bytes(as_bytes("xy"));
    EXPECT_EQ(walk(major, body.view()).problem, "") << major;
    EXPECT_EQ(walk(major, body.view()).main_data_bytes, 2U) << major;
    EXPECT_NE(walk(major >= 15 ? 14 : 15, body.view()).problem, "") << major;
  }
}

TEST(WalkWalRecord, TakesRecordsWithoutMainDataAndWithoutAnything) {
  EXPECT_EQ(walk(15, {}).problem, "");
  ByteWriter body = block(0, 0x20, 4);
  body.bytes(Bytes(kLocatorAndBlock)).bytes(as_bytes("data"));
  EXPECT_EQ(walk(15, body.view()).problem, "");
  EXPECT_EQ(walk(15, body.view()).main_data_bytes, 0U);
}

TEST(WalkWalRecord, NeedsOnlyTheFrontOfALongRecord) {
  Bytes body = test::WalBuilder::main_data(Bytes(5000));
  WalRecordBody result = walk(15, body, 4000);
  EXPECT_EQ(result.problem, "");
  EXPECT_EQ(result.main_data_bytes, 5000U);
  EXPECT_EQ(result.main_data_offset, kWalRecordHeaderBytes + 5);
}

TEST(WalkWalRecord, SaysWhatIsWrong) {
  auto image = [](uint16_t bytes, uint16_t hole, uint8_t info) {
    ByteWriter body = block(0, 0x10, 0);
    body.u16(bytes).u16(hole).u8(info).bytes(Bytes(kLocatorAndBlock)).bytes(Bytes(bytes));
    return body.take();
  };
  const struct {
    Bytes body;
    const char* problem;
  } cases[] = {
      {ByteWriter().u8(100).take(), "it has an unknown fragment"},
      {ByteWriter().u8(255).u8(4).u16(0).take(), "its length is not that of its parts"},
      {ByteWriter().u8(255).u8(1).u16(0).take(), "its length is not that of its parts"},
      {ByteWriter().u8(254).u16(0).take(), "its fragments end too early"},
      {block(0, 0x00, 0).take(), "its fragments end too early"},
      {block(0, 0x04, 0).bytes(Bytes(kLocatorAndBlock)).take(),
       "a block reference names an unknown fork"},
      {block(0, 0x20, 0).bytes(Bytes(kLocatorAndBlock)).take(),
       "a block reference contradicts its data length"},
      {block(0, 0x00, 9).bytes(Bytes(kLocatorAndBlock)).take(),
       "a block reference contradicts its data length"},
      {block(0, 0x80, 0).u32(1).take(), "a block reference repeats a relation that was not named"},
      {block(1, 0, 0).bytes(Bytes(kLocatorAndBlock)).bytes(block(1, 0x80, 0).view()).u32(1).take(),
       "block references are out of order"},
      {image(100, 0, 0x01), "a page image has an impossible hole"},
      {image(8192, 10, 0x01), "a page image has an impossible hole"},
      {image(100, 0, 0x00), "a page image has a hole that it does not announce"},
      {image(8193, 0, 0x00), "a page image is too long"},
      {image(8192, 0, 0x04), "a page image is too long"},
  };
  for (const auto& c : cases) EXPECT_EQ(walk(15, c.body).problem, c.problem);
  EXPECT_EQ(walk(15, image(8192, 0, 0x00)).problem, "");
}

TEST(IsValidResourceManager, KnowsExtensionsFrom15On) {
  EXPECT_TRUE(is_valid_resource_manager(21, 13));
  EXPECT_FALSE(is_valid_resource_manager(22, 19));
  EXPECT_FALSE(is_valid_resource_manager(128, 14));
  EXPECT_TRUE(is_valid_resource_manager(128, 15));
  EXPECT_TRUE(is_valid_resource_manager(255, 19));
  EXPECT_FALSE(is_valid_resource_manager(127, 18));
}

TEST(WalEvent, IsNeverMadeOfARecordWhoseHeaderSaysThatItNamesNone) {
  const Bytes zeros(300);
  int decoded = 0;
  for (unsigned kind = 0; kind < 65536; ++kind) {
    WalRecord record;
    record.major = 15;
    record.header.resource_manager = static_cast<uint8_t>(kind >> 8);
    record.header.info = static_cast<uint8_t>(kind & 0xFF);
    record.bytes = record.main_data = zeros;
    record.main_data_bytes = zeros.size();
    if (!decode_wal_event(record)) continue;
    ++decoded;
    EXPECT_TRUE(may_be_wal_event(record.header)) << kind;
  }
  EXPECT_GT(decoded, 100);
}

}  // namespace
}  // namespace holdfast::pg
