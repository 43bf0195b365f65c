#include "pg/removal_record.h"

#include <gtest/gtest.h>

#include "codec/compression.h"
#include "pg/page.h"
#include "pg/page_image.h"
#include "pg/version.h"
#include "support/wal_builder.h"

namespace holdfast::pg {
namespace {

using test::WalBuilder;

// The events of a segment in which this is the only record.
std::vector<WalEvent> events_of(int major, uint8_t resource_manager, uint8_t info, uint32_t xid,
                                ByteView body) {
  WalBuilder wal({.major = major});
  wal.add(resource_manager, info, xid, body);
  return test::scan_segment(wal.segment(0), wal.name(0)).events;
}

std::optional<Removal> removal_in(const std::vector<WalEvent>& events) {
  if (events.size() != 1 || !std::holds_alternative<Removal>(events[0])) return std::nullopt;
  return std::get<Removal>(events[0]);
}

// A page whose third row is `row`, behind a header of 24 bytes; between the pointers and the row is
// the hole.
Bytes page_with(ByteView row) {
  Bytes page(kPageBytes);
  const auto bytes = narrow<uint32_t>(24 + row.size());
  const auto offset = narrow<uint32_t>(kPageBytes - (bytes + 7) / 8 * 8);
  store_le(page.data() + kPageHeaderBytes + 8, offset | (1U << 15) | (bytes << 17));
  page[offset + 22] = std::byte{24};
  std::ranges::copy(row, page.begin() + offset + 24);
  return page;
}
constexpr size_t kHoleAt = kPageHeaderBytes + 12;

// As pg_lzcompress.c writes it where nothing repeats: eight literal bytes behind each byte of
// flags.
Bytes literal_pglz(ByteView raw) {
  ByteWriter out;
  for (size_t at = 0; at < raw.size(); at += 8)
    out.u8(0).bytes(raw.subspan(at, std::min<size_t>(8, raw.size() - at)));
  return out.take();
}

TEST(DecodeRemoval, ADatabaseIsMarkedByAnInPlaceUpdateInEveryMajor) {
  for (const Version& version : known_versions()) {
    SCOPED_TRACE(version.major);
    const Bytes row = WalBuilder::database_row(version.major, 16385, "shop", -2);
    const std::optional<Removal> mark = removal_in(
        events_of(version.major, kRmHeap, 0x70, 0, WalBuilder::in_place_update({}, {}, row)));
    ASSERT_TRUE(mark);
    EXPECT_EQ(mark->what, Removal::What::kMark);
    EXPECT_EQ(mark->oid, 16385U);
    EXPECT_EQ(mark->name, "shop");
    EXPECT_EQ(mark->xid, 0U);
    // What VACUUM writes, and what is written of another catalogue.
    const Bytes valid = WalBuilder::database_row(version.major, 16385, "shop", -1);
    for (const Bytes& body : {WalBuilder::in_place_update({}, {}, valid),
                              WalBuilder::in_place_update({}, {}, row, 16385)})
      EXPECT_TRUE(events_of(version.major, kRmHeap, 0x70, 0, body).empty());
    // Cut before the limit it is none.
    EXPECT_TRUE(events_of(version.major, kRmHeap, 0x70, 0,
                          WalBuilder::in_place_update({}, {}, ByteView(row).first(40)))
                    .empty());
  }
}

TEST(DecodeRemoval, AMarkIsReadFromThePageThatTheRecordHolds) {
  for (const int major : {13, 17}) {
    const Bytes row = WalBuilder::database_row(major, 16385, "shop", -2);
    const Bytes page = page_with(row);
    const size_t hole_bytes = kPageBytes - kHoleAt - (24 + row.size() + 7) / 8 * 8;
    Bytes kept(page.begin(), page.begin() + kHoleAt);
    kept.insert(kept.end(), page.begin() + static_cast<ptrdiff_t>(kHoleAt + hole_bytes),
                page.end());
    const auto header = [&](size_t bytes, uint8_t info, bool is_compressed) {
      ByteWriter image;
      image.u16(narrow<uint16_t>(bytes)).u16(kHoleAt).u8(info | 0x01);
      if (is_compressed) image.u16(narrow<uint16_t>(hole_bytes));
      return image.take();
    };
    const auto compressed = [&](codec::Compression algorithm) {
      codec::Compressor compressor({.algorithm = algorithm, .level = 1});
      Bytes frame(compressor.bound(kept.size()));
      frame.resize(compressor.compress(kept, frame).bytes);
      return frame;
    };
    const Bytes pglz = literal_pglz(kept);
    std::vector<std::pair<Bytes, Bytes>> images = {{header(kept.size(), 0, false), kept}};
    if (major == 13) {
      images.emplace_back(header(pglz.size(), 0x02, true), pglz);
    } else {
      const Bytes lz4 = compressed(codec::Compression::kLz4);
      const Bytes zstd = compressed(codec::Compression::kZstd);
      images.emplace_back(header(pglz.size(), 0x04, true), pglz);
      images.emplace_back(header(lz4.size(), 0x08, true), lz4);
      images.emplace_back(header(zstd.size(), 0x10, true), zstd);
    }
    for (const auto& [image_header, image] : images) {
      SCOPED_TRACE(testing::Message() << major << " " << image.size());
      const std::optional<Removal> mark = removal_in(events_of(
          major, kRmHeap, 0x70, 700, WalBuilder::in_place_update(image_header, image, {})));
      ASSERT_TRUE(mark);
      EXPECT_EQ(mark->oid, 16385U);
      EXPECT_EQ(mark->name, "shop");
      EXPECT_EQ(mark->xid, 700U);
    }
    // A damaged image is passed over.
    EXPECT_TRUE(events_of(major, kRmHeap, 0x70, 700,
                          WalBuilder::in_place_update(header(9, major == 13 ? 0x02 : 0x04, true),
                                                      ByteView(pglz).first(9), {}))
                    .empty());
  }
}

TEST(DecodeRemoval, FilesGoWithTheRecordsOfEachMajorAndATransaction) {
  for (const Version& version : known_versions()) {
    SCOPED_TRACE(version.major);
    WalBuilder wal({.major = version.major});
    const Lsn database = wal.add_drop_database(16385, 700);
    const Lsn tablespace = wal.add_drop_tablespace(16386, 701);
    // ALTER DATABASE SET TABLESPACE, behind its commit.
    wal.add_drop_database(16385, 0);
    // CREATE DATABASE, of both kinds from 15 on.
    wal.add_data(kRmDatabase, 0x01, 702, ByteWriter().u32(16387).u32(1663).u64(0).view());
    if (version.major >= 15)
      wal.add_data(kRmDatabase, 0x11, 702, ByteWriter().u32(16387).u32(1663).view());
    const std::vector<WalEvent> events = test::scan_segment(wal.segment(0), wal.name(0)).events;
    ASSERT_EQ(events.size(), 2U);
    const auto& first = std::get<Removal>(events[0]);
    const auto& second = std::get<Removal>(events[1]);
    EXPECT_EQ(first.lsn, database);
    EXPECT_EQ(first.what, Removal::What::kDatabase);
    EXPECT_EQ(first.oid, 16385U);
    EXPECT_EQ(first.xid, 700U);
    EXPECT_EQ(second.lsn, tablespace);
    EXPECT_EQ(second.what, Removal::What::kTablespace);
    EXPECT_EQ(second.oid, 16386U);
    const std::vector<WalEvent> cut =
        events_of(version.major, kRmTablespace, 0x10, 7, WalBuilder::main_data(Bytes(3)));
    ASSERT_EQ(cut.size(), 1U);
    EXPECT_NE(std::get<MalformedRecord>(cut[0]).problem.find("the DROP TABLESPACE record"),
              std::string::npos);
  }
}

TEST(ExpandPglz, FollowsMatchesAndRefusesWhatDoesNotFit) {
  // "abc", a match of 6 from 3 back, a match of 18 + 2 from 1 back.
  const Bytes compressed =
      ByteWriter().u8(0b011000).bytes(as_bytes("abc")).u8(0x03).u8(3).u8(0x0F).u8(1).u8(2).take();
  const std::string text = "abcabcabc" + std::string(20, 'c');
  const std::optional<Bytes> raw = expand_pglz(compressed, text.size());
  ASSERT_TRUE(raw);
  EXPECT_EQ(as_text(*raw), text);
  for (const size_t wrong : {size_t{0}, size_t{5}, text.size() + 1})
    EXPECT_FALSE(expand_pglz(compressed, wrong)) << wrong;
  for (size_t bytes = 0; bytes < compressed.size(); ++bytes)
    EXPECT_FALSE(expand_pglz(ByteView(compressed).first(bytes), text.size())) << bytes;
  // From before the beginning, and from nowhere.
  for (const uint8_t distance : {uint8_t{0}, uint8_t{4}})
    EXPECT_FALSE(
        expand_pglz(ByteWriter().u8(0b1000).bytes(as_bytes("abc")).u8(0).u8(distance).view(), 6));
}

TEST(RowOfPage, IsWithinThePageOrNone) {
  const Bytes row = WalBuilder::database_row(17, 1, "x", -2);
  Bytes page = page_with(row);
  EXPECT_EQ(to_hex(row_of_page(page, 3)), to_hex(row));
  for (const int line : {0, 1, 2, 4, 65535})
    EXPECT_TRUE(row_of_page(page, narrow<uint16_t>(line)).empty()) << line;
  EXPECT_TRUE(row_of_page(ByteView(page).first(100), 3).empty());
  store_le(page.data() + kPageHeaderBytes + 8, uint32_t{8000} | (uint32_t{400} << 17));
  EXPECT_TRUE(row_of_page(page, 3).empty());
}

}  // namespace
}  // namespace holdfast::pg
