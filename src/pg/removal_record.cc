#include "pg/removal_record.h"

#include <fmt/core.h>

#include "pg/page_image.h"

namespace holdfast::pg {
namespace {

// pg_database is the only shared catalogue whose rows are updated in place: it may have any file
// number, after VACUUM FULL.
constexpr uint32_t kGlobalTablespace = 1664;
constexpr size_t kRowNameAt = 4;
constexpr size_t kRowNameBytes = 64;
constexpr int32_t kInvalidDatabase = -2;  // DATCONNLIMIT_INVALID_DB

// 15 made datcollate and datctype, two names of 64 bytes, texts behind the fixed part; what 15 and
// 17 put in their place fills bytes that were padding.
size_t connection_limit_at(int major) { return major < 15 ? 208 : 80; }

// The new row, without its header. Empty: it cannot be told.
ByteView updated_row(const WalRecord& record, const WalRecordBody& body, Bytes& page) {
  const WalBlock& block = body.first_block;
  const ByteView image = record.bytes.subspan(body.first_block_offset, block.image_bytes);
  if (block.data_bytes > 0)
    return record.bytes.subspan(body.first_block_offset + block.image_bytes, block.data_bytes);
  if (record.main_data.size() < sizeof(uint16_t)) return {};
  std::optional<Bytes> expanded = expand_page_image(block, image, record.major);
  if (!expanded) return {};
  page = std::move(*expanded);
  return row_of_page(page, load_le<uint16_t>(record.main_data.data()));
}

std::optional<WalEvent> decode_mark(const WalRecord& record) {
  if (!is_in_place_update(record.header) || record.bytes.size() != record.header.total_bytes)
    return std::nullopt;
  const WalRecordBody body = walk_wal_record(record.bytes, record.header.total_bytes, record.major);
  if (!body.problem.empty() || body.block_count != 1 ||
      body.first_block.tablespace != kGlobalTablespace || body.first_block.database != 0)
    return std::nullopt;
  Bytes page;
  const ByteView row = updated_row(record, body, page);
  const size_t limit_at = connection_limit_at(record.major);
  if (row.size() < limit_at + sizeof(int32_t) ||
      load_le<int32_t>(row.data() + limit_at) != kInvalidDatabase)
    return std::nullopt;
  const std::string_view name = as_text(row.subspan(kRowNameAt, kRowNameBytes));
  return Removal{.lsn = record.lsn,
                 .end_lsn = record.end_lsn,
                 .what = Removal::What::kMark,
                 .oid = load_le<uint32_t>(row.data()),
                 .xid = record.header.xid,
                 .name = std::string(name.substr(0, name.find('\0')))};
}

// Of a database or a tablespace: both records begin with its OID.
std::optional<WalEvent> decode_files(const WalRecord& record, Removal::What what) {
  if (record.header.xid == 0) return std::nullopt;
  if (record.main_data.size() < sizeof(uint32_t))
    return MalformedRecord{
        .lsn = record.lsn,
        .end_lsn = record.end_lsn,
        .problem = fmt::format("the DROP {} record at {} is not as PostgreSQL {} writes it",
                               what == Removal::What::kDatabase ? "DATABASE" : "TABLESPACE",
                               to_string(record.lsn), record.major)};
  return Removal{.lsn = record.lsn,
                 .end_lsn = record.end_lsn,
                 .what = what,
                 .oid = load_le<uint32_t>(record.main_data.data()),
                 .xid = record.header.xid};
}

}  // namespace

bool is_in_place_update(const WalRecordHeader& header) {
  return header.resource_manager == kRmHeap && (header.info & 0x70) == 0x70;
}

std::optional<WalEvent> decode_removal(const WalRecord& record) {
  // 15 put a second kind of CREATE DATABASE before it.
  const uint8_t drop_database = record.major < 15 ? 0x10 : 0x20;
  constexpr uint8_t kDropTablespace = 0x10;
  const uint8_t manager = record.header.resource_manager;
  if (manager == kRmHeap) return decode_mark(record);
  if (manager == kRmDatabase && record.opcode() == drop_database)
    return decode_files(record, Removal::What::kDatabase);
  if (manager == kRmTablespace && record.opcode() == kDropTablespace)
    return decode_files(record, Removal::What::kTablespace);
  return std::nullopt;
}

}  // namespace holdfast::pg
