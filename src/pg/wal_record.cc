#include "pg/wal_record.h"

#include <algorithm>

#include <fmt/core.h>

#include "pg/page.h"
#include "pg/page_image.h"
#include "pg/removal_record.h"

namespace holdfast::pg {

namespace {

// Fragment ids.
constexpr uint8_t kLastBlockId = 32;
constexpr uint8_t kTopLevelXid = 252;
constexpr uint8_t kOrigin = 253;
constexpr uint8_t kMainDataLong = 254;
constexpr uint8_t kMainDataShort = 255;

// Fork flags of a block reference.
constexpr uint8_t kForkMask = 0x0F;
constexpr uint8_t kHasImage = 0x10;
constexpr uint8_t kHasData = 0x20;
constexpr uint8_t kSameRelation = 0x80;
constexpr size_t kLocatorBytes = 12;

// Reads fields front to back; past the end it yields zeros and remembers that.
class Cursor {
 public:
  explicit Cursor(ByteView bytes) : rest_(bytes) {}
  bool failed() const { return failed_; }
  size_t remaining() const { return rest_.size(); }
  template <typename T>
  T take() {
    if (rest_.size() < sizeof(T)) {
      failed_ = true;
      rest_ = {};
      return 0;
    }
    T value = load_le<T>(rest_.data());
    rest_ = rest_.subspan(sizeof(T));
    return value;
  }
  ByteView take_bytes(uint64_t count) {
    if (rest_.size() < count) {
      failed_ = true;
      rest_ = {};
      return {};
    }
    ByteView bytes = rest_.first(count);
    rest_ = rest_.subspan(count);
    return bytes;
  }
  // An array that is preceded by its count, an i32.
  void skip_array(uint64_t item_bytes) {
    auto count = take<int32_t>();
    if (count < 0) {
      failed_ = true;
      return;
    }
    take_bytes(static_cast<uint64_t>(count) * item_bytes);
  }

 private:
  ByteView rest_;
  bool failed_ = false;
};

// The walk over a record's fragment headers.
class BodyWalk {
 public:
  // `record` may be the front of a record of `total_bytes`.
  BodyWalk(ByteView record, size_t total_bytes, int major)
      : cursor_(record.subspan(kWalRecordHeaderBytes)),
        total_bytes_(total_bytes),
        cut_bytes_(total_bytes - record.size()),
        major_(major) {}

  WalRecordBody run() {
    // The headers end with the main data's, or where the bytes left are those of the payloads.
    while (!has_main_data_ && bytes_left() > payload_bytes_) {
      std::string_view problem = take_fragment();
      if (cursor_.failed()) problem = "its fragments end too early";
      if (!problem.empty()) return {.problem = problem};
    }
    if (bytes_left() != payload_bytes_) return {.problem = "its length is not that of its parts"};
    body_.main_data_offset = total_bytes_ - body_.main_data_bytes;
    body_.first_block_offset = total_bytes_ - payload_bytes_;
    return body_;
  }

 private:
  size_t bytes_left() const { return cursor_.remaining() + cut_bytes_; }

  // These return what is wrong, or nothing.
  std::string_view take_fragment() {
    auto id = cursor_.take<uint8_t>();
    if (id <= kLastBlockId) {
      if (int{id} <= last_block_id_) return "block references are out of order";
      last_block_id_ = id;
      ++body_.block_count;
      return take_block_reference();
    }
    if (id == kMainDataShort || id == kMainDataLong) {
      body_.main_data_bytes =
          id == kMainDataShort ? cursor_.take<uint8_t>() : cursor_.take<uint32_t>();
      payload_bytes_ += body_.main_data_bytes;
      has_main_data_ = true;
    } else if (id == kOrigin) {
      cursor_.take<uint16_t>();
    } else if (id == kTopLevelXid && major_ >= 14) {
      body_.top_level_xid = cursor_.take<uint32_t>();
    } else {
      return "it has an unknown fragment";
    }
    return {};
  }

  std::string_view take_block_reference() {
    auto fork_flags = cursor_.take<uint8_t>();
    auto data_bytes = cursor_.take<uint16_t>();
    if ((fork_flags & kForkMask) > 3) return "a block reference names an unknown fork";
    if (((fork_flags & kHasData) != 0) != (data_bytes > 0))
      return "a block reference contradicts its data length";
    payload_bytes_ += data_bytes;
    const bool is_first = body_.block_count == 1;
    if (is_first) body_.first_block.data_bytes = data_bytes;
    if ((fork_flags & kHasImage) != 0) {
      if (std::string_view problem = take_image(); !problem.empty()) return problem;
    }
    if ((fork_flags & kSameRelation) == 0) {
      const ByteView locator = cursor_.take_bytes(kLocatorBytes);
      if (is_first && !locator.empty()) {
        body_.first_block.tablespace = load_le<uint32_t>(locator.data());
        body_.first_block.database = load_le<uint32_t>(locator.data() + 4);
      }
      has_relation_ = true;
    } else if (!has_relation_) {
      return "a block reference repeats a relation that was not named";
    }
    cursor_.take<uint32_t>();  // block number
    return {};
  }

  std::string_view take_image() {
    auto image_bytes = cursor_.take<uint16_t>();
    auto hole_offset = cursor_.take<uint16_t>();
    auto info = cursor_.take<uint8_t>();
    bool has_hole = (info & kImageHasHole) != 0;
    bool is_compressed =
        (info & (major_ >= 15 ? kImageCompressedFrom15 : kImageCompressedUntil14)) != 0;
    size_t hole_bytes = 0;
    if (is_compressed) {
      if (has_hole) hole_bytes = cursor_.take<uint16_t>();
    } else {
      hole_bytes = kPageBytes - std::min<size_t>(image_bytes, kPageBytes);
    }
    payload_bytes_ += image_bytes;
    if (has_hole && (hole_offset == 0 || hole_bytes == 0))
      return "a page image has an impossible hole";
    if (!has_hole && (hole_offset != 0 || hole_bytes != 0))
      return "a page image has a hole that it does not announce";
    if (image_bytes > kPageBytes || ((has_hole || is_compressed) && image_bytes == kPageBytes)) {
      return "a page image is too long";
    }
    if (body_.block_count == 1) {
      body_.first_block.image_bytes = image_bytes;
      body_.first_block.hole_offset = hole_offset;
      body_.first_block.hole_bytes = hole_bytes;
      body_.first_block.image_info = info;
    }
    return {};
  }

  Cursor cursor_;
  size_t total_bytes_;
  size_t cut_bytes_;
  int major_;
  WalRecordBody body_;
  size_t payload_bytes_ = 0;
  int last_block_id_ = -1;
  bool has_relation_ = false;
  bool has_main_data_ = false;
};

// Any 64-bit value may stand in a record; those beyond what the arithmetic can hold become the
// outermost times.
Time time_of(int64_t postgres_microseconds) {
  constexpr int64_t kLimit = int64_t{1} << 62;
  return from_postgres_microseconds(std::clamp(postgres_microseconds, -kLimit, kLimit));
}

Time time_of_unix_seconds(int64_t seconds) {
  constexpr int64_t kLimit = int64_t{1} << 40;
  return Time(std::chrono::seconds(std::clamp(seconds, -kLimit, kLimit)));
}

MalformedRecord malformed(const WalRecord& record, std::string_view what) {
  return {.lsn = record.lsn,
          .end_lsn = record.end_lsn,
          .problem = fmt::format("the {} record at {} is not as PostgreSQL {} writes it", what,
                                 to_string(record.lsn), record.major)};
}

WalEvent decode_transaction_end(const WalRecord& record) {
  constexpr uint8_t kHasInfo = 0x80;
  constexpr uint8_t kCommit = 0x00;
  constexpr uint8_t kCommitPrepared = 0x30;
  constexpr uint8_t kAbortPrepared = 0x40;
  constexpr uint32_t kHasDatabase = 1U << 0;
  constexpr uint32_t kHasSubtransactions = 1U << 1;
  constexpr uint32_t kHasDroppedFiles = 1U << 2;
  constexpr uint32_t kHasInvalidations = 1U << 3;
  constexpr uint32_t kHasTwoPhase = 1U << 4;
  constexpr uint32_t kHasDroppedStatistics = 1U << 8;

  uint8_t opcode = record.header.info & 0x70;
  bool prepared = opcode == kCommitPrepared || opcode == kAbortPrepared;
  TransactionEnd end{.lsn = record.lsn,
                     .end_lsn = record.end_lsn,
                     .xid = record.header.xid,
                     .committed = opcode == kCommit || opcode == kCommitPrepared,
                     .two_phase = prepared};
  Cursor cursor(record.main_data);
  end.time = time_of(cursor.take<int64_t>());
  // Only a prepared transaction's xid stands behind the variable parts; for the others the header
  // has it.
  if (prepared) {
    uint32_t info = (record.header.info & kHasInfo) != 0 ? cursor.take<uint32_t>() : 0;
    if ((info & kHasDatabase) != 0) cursor.take_bytes(8);
    if ((info & kHasSubtransactions) != 0) cursor.skip_array(4);
    if ((info & kHasDroppedFiles) != 0) cursor.skip_array(kLocatorBytes);
    if (record.major >= 15 && (info & kHasDroppedStatistics) != 0)
      cursor.skip_array(record.major >= 18 ? 16 : 12);
    if (end.committed && (info & kHasInvalidations) != 0) cursor.skip_array(16);
    if ((info & kHasTwoPhase) == 0)
      return malformed(record, end.committed ? "COMMIT PREPARED" : "ROLLBACK PREPARED");
    end.xid = cursor.take<uint32_t>();
  }
  if (cursor.failed() || end.xid == 0) return malformed(record, end.committed ? "commit" : "abort");
  return end;
}

WalEvent decode_checkpoint(const WalRecord& record, bool shutdown) {
  // The structure as in pg_control, where it starts at byte 40. 19 put "logical decoding enabled"
  // before the next xid.
  constexpr size_t kBytesUntil18 = 88;
  const size_t growth = record.major >= 19 ? 8 : 0;
  if (record.main_data.size() < kBytesUntil18 + growth) return malformed(record, "checkpoint");
  const std::byte* at = record.main_data.data();
  return Checkpoint{.lsn = record.lsn,
                    .end_lsn = record.end_lsn,
                    .redo_lsn = {load_le<uint64_t>(at)},
                    .timeline = {load_le<uint32_t>(at + 8)},
                    .previous_timeline = {load_le<uint32_t>(at + 12)},
                    .shutdown = shutdown,
                    .full_page_writes = load_le<uint8_t>(at + 16) != 0,
                    .next_xid = load_le<uint64_t>(at + 24 + growth),
                    .oldest_active_xid = load_le<uint32_t>(at + 80 + growth),
                    .time = time_of_unix_seconds(load_le<int64_t>(at + 64 + growth))};
}

WalEvent decode_restore_point(const WalRecord& record) {
  constexpr size_t kNameBytes = 64;
  Cursor cursor(record.main_data);
  RestorePoint point{.lsn = record.lsn,
                     .end_lsn = record.end_lsn,
                     .time = time_of(cursor.take<int64_t>()),
                     .name = {}};
  std::string_view name = as_text(cursor.take_bytes(kNameBytes));
  // What follows the NUL is whatever was in the server's memory.
  size_t end = name.find('\0');
  if (cursor.failed() || end == std::string_view::npos) return malformed(record, "restore point");
  point.name = name.substr(0, end);
  return point;
}

WalEvent decode_parameter_change(const WalRecord& record) {
  Cursor cursor(record.main_data);
  ParameterChange change{.lsn = record.lsn,
                         .end_lsn = record.end_lsn,
                         .max_connections = cursor.take<int32_t>(),
                         .max_worker_processes = cursor.take<int32_t>(),
                         .max_wal_senders = cursor.take<int32_t>(),
                         .max_prepared_transactions = cursor.take<int32_t>(),
                         .max_locks_per_transaction = cursor.take<int32_t>()};
  auto wal_level = cursor.take<uint32_t>();
  change.wal_log_hints = cursor.take<uint8_t>() != 0;
  change.track_commit_timestamp = cursor.take<uint8_t>() != 0;
  if (cursor.failed() || wal_level > static_cast<uint32_t>(WalLevel::kLogical))
    return malformed(record, "parameter change");
  change.wal_level = static_cast<WalLevel>(wal_level);
  return change;
}

WalEvent decode_end_of_recovery(const WalRecord& record) {
  Cursor cursor(record.main_data);
  EndOfRecovery end{.lsn = record.lsn,
                    .end_lsn = record.end_lsn,
                    .time = time_of(cursor.take<int64_t>()),
                    .timeline = {cursor.take<uint32_t>()},
                    .previous_timeline = {cursor.take<uint32_t>()}};
  if (cursor.failed()) return malformed(record, "end-of-recovery");
  return end;
}

WalEvent decode_backup_end(const WalRecord& record) {
  Cursor cursor(record.main_data);
  BackupEnd end{
      .lsn = record.lsn, .end_lsn = record.end_lsn, .start_lsn = {cursor.take<uint64_t>()}};
  if (cursor.failed()) return malformed(record, "backup end");
  return end;
}

WalEvent decode_tablespace_create(const WalRecord& record) {
  Cursor cursor(record.main_data);
  TablespaceCreate create{
      .lsn = record.lsn, .end_lsn = record.end_lsn, .oid = cursor.take<uint32_t>(), .path = {}};
  std::string_view path = as_text(cursor.take_bytes(cursor.remaining()));
  size_t end = path.find('\0');
  if (cursor.failed() || end == std::string_view::npos)
    return malformed(record, "CREATE TABLESPACE");
  create.path = path.substr(0, end);
  return create;
}

}  // namespace

WalRecordHeader read_wal_record_header(ByteView record) {
  const std::byte* at = record.first(kWalRecordHeaderBytes).data();
  return {.total_bytes = load_le<uint32_t>(at),
          .xid = load_le<uint32_t>(at + 4),
          .previous_lsn = {load_le<uint64_t>(at + 8)},
          .info = load_le<uint8_t>(at + 16),
          .resource_manager = load_le<uint8_t>(at + 17),
          .crc = load_le<uint32_t>(at + 20)};
}

bool is_valid_resource_manager(uint8_t resource_manager, int major) {
  return resource_manager <= kRmLogicalMessage ||
         (major >= 15 && resource_manager >= kRmFirstCustom);
}

WalRecordBody walk_wal_record(ByteView record, size_t total_bytes, int major) {
  return BodyWalk(record, total_bytes, major).run();
}

bool may_be_wal_event(const WalRecordHeader& header) {
  // Every kind that is decoded, and of the others as many as one line tells.
  if (header.resource_manager == kRmXlog) return (header.info & kWalInfoOpcode) < 0xA0;
  return header.resource_manager == kRmTransaction || header.resource_manager == kRmTablespace ||
         header.resource_manager == kRmDatabase || is_in_place_update(header);
}

std::optional<WalEvent> decode_wal_event(const WalRecord& record) {
  switch (record.header.resource_manager) {
    case kRmXlog:
      switch (record.opcode()) {
        case 0x00:
          return decode_checkpoint(record, true);
        case 0x10:
          return decode_checkpoint(record, false);
        case 0x50:
          return decode_backup_end(record);
        case 0x60:
          return decode_parameter_change(record);
        case 0x70:
          return decode_restore_point(record);
        case 0x90:
          return decode_end_of_recovery(record);
        default:
          return std::nullopt;
      }
    case kRmTransaction:
      switch (record.header.info & 0x70) {
        case 0x00:
        case 0x20:
        case 0x30:
        case 0x40:
          return decode_transaction_end(record);
        default:
          return std::nullopt;
      }
    case kRmTablespace:
      return record.opcode() == 0x00 ? std::optional(decode_tablespace_create(record))
                                     : decode_removal(record);
    case kRmDatabase:
    case kRmHeap:
      return decode_removal(record);
    default:
      return std::nullopt;
  }
}

}  // namespace holdfast::pg
