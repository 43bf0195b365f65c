// wal_builder.h: writes WAL as a server does, to test readers with: pages, continuations, links and
// CRCs are right unless a test makes them wrong. In a header alone, so that fuzz targets can use
// it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "pg/crc32c.h"
#include "pg/lsn.h"
#include "pg/version.h"
#include "pg/wal_file_name.h"
#include "pg/wal_page.h"
#include "pg/wal_reader.h"
#include "pg/wal_record.h"

namespace holdfast::test {

class WalBuilder {
 public:
  struct Options {
    int major = 15;
    pg::WalSegmentSize size = pg::WalSegmentSize(uint64_t{1} << 20);
    uint64_t system_identifier = 7'000'000'000'000'000'001;
    pg::TimelineId timeline = {1};
    uint64_t first_segment = 1;
    pg::Lsn previous_lsn = {};  // the link of the first record
  };

  WalBuilder() : WalBuilder(Options()) {}
  explicit WalBuilder(Options options)
      : options_(options),
        start_(pg::start_lsn(options.first_segment, options.size)),
        previous_lsn_(options.previous_lsn) {}

  // Main data alone, in the fragment form that its length asks for.
  static Bytes main_data(ByteView data) {
    ByteWriter body;
    if (data.size() < 256) {
      body.u8(255).u8(narrow<uint8_t>(data.size()));
    } else {
      body.u8(254).u32(narrow<uint32_t>(data.size()));
    }
    return body.bytes(data).take();
  }

  // Appends a record whose body (fragment headers and payloads) is `body`; returns where it starts.
  pg::Lsn add(uint8_t resource_manager, uint8_t info, uint32_t xid, ByteView body) {
    Bytes record = make_record(resource_manager, info, xid, body);
    begin_record();
    pg::Lsn lsn = end_lsn();
    put(record, record.size());
    while (wal_.size() % 8 != 0) wal_.push_back(std::byte{0});
    previous_lsn_ = lsn;
    return lsn;
  }
  pg::Lsn add_data(uint8_t resource_manager, uint8_t info, uint32_t xid, ByteView data) {
    return add(resource_manager, info, xid, main_data(data));
  }
  // A record of a kind that nobody looks into, with `bytes` bytes of main data.
  pg::Lsn add_filler(size_t bytes) {
    return add_data(pg::kRmLogicalMessage, 0, 0, Bytes(bytes, std::byte{0x5A}));
  }
  pg::Lsn add_commit(uint32_t xid, int64_t postgres_microseconds) {
    return add_data(pg::kRmTransaction, 0x00, xid, ByteWriter().i64(postgres_microseconds).view());
  }
  // Fills up so that the next record starts at `lsn`.
  void fill_to(pg::Lsn lsn) {
    while (end_lsn() < lsn) {
      begin_record();
      if (end_lsn() == lsn) break;
      uint64_t page_left = pg::kWalBlockBytes - wal_.size() % pg::kWalBlockBytes;
      uint64_t want = std::min(page_left, lsn - end_lsn());
      HF_CHECK(want % 8 == 0);
      // One record fills what is left of the page, if a record fits and what it leaves is enough
      // for another.
      uint64_t record = want;
      if (want > 240) record = want - 240 >= 32 ? 240 : 120;
      HF_CHECK(record >= pg::kWalRecordHeaderBytes + 2);
      add_filler(record - pg::kWalRecordHeaderBytes - 2);
    }
  }
  // XLOG_SWITCH, and zeros up to the end of the segment.
  // As a server logs that its settings have changed.
  pg::Lsn add_parameters(uint32_t max_connections, pg::WalLevel level) {
    return add_data(pg::kRmXlog, 0x60, 0,
                    ByteWriter()
                        .u32(max_connections)
                        .u32(8)
                        .u32(10)
                        .u32(0)
                        .u32(64)
                        .u32(static_cast<uint32_t>(level))
                        .u8(0)
                        .u8(0)
                        .u16(0)
                        .view());
  }
  pg::Lsn add_switch() {
    pg::Lsn lsn = add(pg::kRmXlog, 0x40, 0, {});
    wal_.resize((wal_.size() + options_.size.bytes() - 1) / options_.size.bytes() *
                options_.size.bytes());
    return lsn;
  }
  // A crash after the first `written` bytes of a record; the server starts anew on the next page,
  // and says so on it.
  pg::Lsn add_lost_record(size_t data_bytes, size_t written) {
    Bytes record =
        make_record(pg::kRmLogicalMessage, 0, 0, main_data(Bytes(data_bytes, std::byte{0x5A})));
    begin_record();
    pg::Lsn lsn = end_lsn();
    put(ByteView(record).first(written), record.size());
    wal_.resize((wal_.size() + pg::kWalBlockBytes - 1) / pg::kWalBlockBytes * pg::kWalBlockBytes);
    put_page_header(pg::wal_page_overwrites(options_.major), 0);
    add_data(pg::kRmXlog, 0xD0, 0, ByteWriter().u64(lsn.value).i64(0).view());
    return lsn;
  }
  // A row of pg_database without its header, up to its connection limit.
  static Bytes database_row(int major, uint32_t oid, std::string_view name, int32_t limit) {
    Bytes row(major < 15 ? 208 : 80);
    store_le(row.data(), oid);
    std::ranges::copy(as_bytes(name), row.begin() + 4);
    ByteWriter whole;
    return whole.bytes(row).u32(static_cast<uint32_t>(limit)).u32(0).take();
  }
  // An in-place update of the third row of a page of pg_database, its block with `image` (info and
  // all that comes before the locator, and the bytes) or with the row as data.
  static Bytes in_place_update(ByteView image_header, ByteView image, ByteView row,
                               uint32_t database = 0) {
    ByteWriter body;
    body.u8(0)
        .u8(static_cast<uint8_t>((image.empty() ? 0 : 0x10) | (row.empty() ? 0 : 0x20)))
        .u16(narrow<uint16_t>(row.size()))
        .bytes(image_header);
    body.u32(1664).u32(database).u32(1262).u32(0);
    return body.u8(255).u8(2).bytes(image).bytes(row).u16(3).take();
  }
  // DROP DATABASE begins.
  pg::Lsn add_mark(uint32_t oid, std::string_view name, uint32_t xid = 0) {
    return add(pg::kRmHeap, 0x70, xid,
               in_place_update({}, {}, database_row(options_.major, oid, name, -2)));
  }
  // It takes the files away.
  pg::Lsn add_drop_database(uint32_t oid, uint32_t xid) {
    return add_data(pg::kRmDatabase, options_.major < 15 ? 0x11 : 0x21, xid,
                    ByteWriter().u32(oid).u32(1).u32(1663).view());
  }
  pg::Lsn add_drop_tablespace(uint32_t oid, uint32_t xid) {
    return add_data(pg::kRmTablespace, 0x10, xid, ByteWriter().u32(oid).view());
  }
  void set_timeline(pg::TimelineId timeline) { options_.timeline = timeline; }

  // Where the next byte goes.
  pg::Lsn end_lsn() const { return start_ + wal_.size(); }
  pg::Lsn previous_lsn() const { return previous_lsn_; }
  size_t offset_of(pg::Lsn lsn) const { return lsn - start_; }
  Bytes& bytes() { return wal_; }

  pg::SegmentName name(size_t index) const {
    return {.timeline = options_.timeline, .segment_number = options_.first_segment + index};
  }
  size_t segment_count() const {
    return (wal_.size() + options_.size.bytes() - 1) / options_.size.bytes();
  }
  // Whole, with zeros behind what was written.
  Bytes segment(size_t index) const {
    Bytes bytes(options_.size.bytes());
    size_t from = index * bytes.size();
    size_t count = std::min(bytes.size(), wal_.size() - std::min(wal_.size(), from));
    std::copy_n(wal_.begin() + static_cast<ptrdiff_t>(from), count, bytes.begin());
    return bytes;
  }
  const Options& options() const { return options_; }

 private:
  Bytes make_record(uint8_t resource_manager, uint8_t info, uint32_t xid, ByteView body) const {
    ByteWriter record;
    record.u32(narrow<uint32_t>(pg::kWalRecordHeaderBytes + body.size()))
        .u32(xid)
        .u64(previous_lsn_.value);
    record.u8(info).u8(resource_manager).u16(0);
    pg::Crc32c crc;
    crc.update(body);
    crc.update(record.view());
    return record.u32(crc.value()).bytes(body).take();
  }
  void begin_record() {
    if (wal_.size() % pg::kWalBlockBytes == 0) put_page_header(0, 0);
  }
  void put_page_header(uint16_t flags, size_t remaining) {
    bool is_long = wal_.size() % options_.size.bytes() == 0;
    if (is_long) flags |= pg::kWalPageIsLong;
    ByteWriter header;
    header.u16(pg::version_of(options_.major).wal_magic)
        .u16(flags)
        .u32(options_.timeline.value)
        .u64(end_lsn().value);
    header.u32(narrow<uint32_t>(remaining)).u32(0);
    if (is_long)
      header.u64(options_.system_identifier).u32(options_.size.bytes()).u32(pg::kWalBlockBytes);
    append(header.view());
  }
  // Writes `bytes`, the front of a record of `total` bytes, over as many pages as it takes.
  void put(ByteView bytes, size_t total) {
    size_t written = 0;
    while (written < bytes.size()) {
      if (wal_.size() % pg::kWalBlockBytes == 0)
        put_page_header(pg::kWalPageContinues, total - written);
      size_t count =
          std::min(bytes.size() - written, pg::kWalBlockBytes - wal_.size() % pg::kWalBlockBytes);
      append(bytes.subspan(written, count));
      written += count;
    }
  }
  void append(ByteView bytes) { wal_.insert(wal_.end(), bytes.begin(), bytes.end()); }

  Options options_;
  pg::Lsn start_;
  pg::Lsn previous_lsn_;
  Bytes wal_;
};

// One segment alone.
inline pg::WalSegmentScan scan_segment(ByteView segment, pg::SegmentName name) {
  pg::WalSegmentScanner scanner(name, segment.size());
  scanner.take(segment);
  return scanner.finish();
}

}  // namespace holdfast::test
