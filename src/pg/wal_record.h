// wal_record.h: one WAL record: its header, the way to its main data, and the kinds of record that
// name moments.
//
//   record := header, fragment header*, payload*        the payloads in their headers' order
//   header := total length u32, xid u32, previous record's LSN u64,
//             info u8, resource manager u8, padding u16, CRC-32C u32
//
// Main data is the last payload.
// The CRC covers the bytes behind the header first and then the header up to the CRC. wal_reader.h
// finds records in segments. Of the block references only the first is decoded.
//
// Facts: xlogrecord.h, xlogreader.c (DecodeXLogRecord), xact.h, xactdesc.c (ParseCommitRecord),
// pg_control.h, xlog_internal.h, tablespace.h, PostgreSQL 13 to 19.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "base/bytes.h"
#include "base/time.h"
#include "pg/control_file.h"
#include "pg/lsn.h"

namespace holdfast::pg {

inline constexpr size_t kWalRecordHeaderBytes = 24;
// No server writes longer ones: 16+ stop at 1020 MiB, earlier ones at what palloc can hold.
inline constexpr uint32_t kMaxWalRecordBytes = uint32_t{1} << 30;

// Resource managers that are looked into, or that a rule depends on.
inline constexpr uint8_t kRmXlog = 0;
inline constexpr uint8_t kRmTransaction = 1;
inline constexpr uint8_t kRmDatabase = 4;
inline constexpr uint8_t kRmTablespace = 5;
inline constexpr uint8_t kRmHeap = 10;
inline constexpr uint8_t kRmLogicalMessage = 21;  // the last built-in one
inline constexpr uint8_t kRmFirstCustom = 128;    // extensions' own, 15+

inline constexpr uint8_t kWalInfoOpcode = 0xF0;

struct WalRecordHeader {
  uint32_t total_bytes = 0;
  uint32_t xid = 0;  // may be a subtransaction's; 0 when none
  Lsn previous_lsn = {};
  uint8_t info = 0;
  uint8_t resource_manager = 0;
  uint32_t crc = 0;
};
// REQUIRES: 24 bytes.
WalRecordHeader read_wal_record_header(ByteView record);

bool is_valid_resource_manager(uint8_t resource_manager, int major);

// A record as wal_reader.h hands it out. The views live as long as the callback runs.
struct WalRecord {
  WalRecordHeader header;
  int major = 0;
  Lsn lsn;      // of its first byte
  Lsn end_lsn;  // behind it and its padding, as the server counts; for XLOG_SWITCH the end of the
                // segment
  // The record from its header on; of one longer than kMaxKeptBytes (wal_reader.h) only that much.
  ByteView bytes;
  // The main data, cut likewise. main_data_bytes is its true length.
  ByteView main_data;
  size_t main_data_bytes = 0;

  uint8_t opcode() const { return header.info & kWalInfoOpcode; }
  bool is_switch() const { return header.resource_manager == kRmXlog && opcode() == 0x40; }
};

// A block reference, and how much the record holds of the block: a whole page, data, or both.
struct WalBlock {
  uint32_t tablespace = 0;
  uint32_t database = 0;
  size_t image_bytes = 0;
  uint16_t hole_offset = 0;  // in the page; the image has it not
  size_t hole_bytes = 0;
  uint8_t image_info = 0;  // page_image.h
  size_t data_bytes = 0;
};

// What a record's fragment headers say. `problem` is empty when they are sound.
struct WalRecordBody {
  size_t main_data_offset = 0;  // from the record's start
  size_t main_data_bytes = 0;
  int block_count = 0;
  WalBlock first_block = {};
  size_t first_block_offset = 0;  // of its image and data, in this order, from the record's start
  std::optional<uint32_t> top_level_xid = {};  // 14+, wal_level = logical
  std::string_view problem = {};
};
// `record` may be the front of a record of `total_bytes`; the fragment headers must be in it.
WalRecordBody walk_wal_record(ByteView record, size_t total_bytes, int major);

// --- Moments ------------------------------------------------------------------------------------

struct TransactionEnd {
  Lsn lsn;
  Lsn end_lsn;
  uint32_t xid = 0;  // of COMMIT PREPARED and ROLLBACK PREPARED: the prepared transaction's
  Time time = {};    // taken before the record is inserted: not monotonic in LSN order
  bool committed = false;
  bool two_phase = false;
  bool operator==(const TransactionEnd&) const = default;
};
struct RestorePoint {
  Lsn lsn;
  Lsn end_lsn;
  Time time = {};
  std::string name;
  bool operator==(const RestorePoint&) const = default;
};
struct Checkpoint {
  Lsn lsn;
  Lsn end_lsn;
  Lsn redo_lsn;
  TimelineId timeline;
  TimelineId previous_timeline;
  bool shutdown = false;
  bool full_page_writes = false;
  uint64_t next_xid = 0;
  uint32_t oldest_active_xid = 0;
  Time time = {};
  bool operator==(const Checkpoint&) const = default;
};
struct BackupEnd {
  Lsn lsn;
  Lsn end_lsn;
  Lsn start_lsn;  // redo LSN of the backup that ends here
  bool operator==(const BackupEnd&) const = default;
};
struct ParameterChange {
  Lsn lsn;
  Lsn end_lsn;
  int32_t max_connections = 0;
  int32_t max_worker_processes = 0;
  int32_t max_wal_senders = 0;
  int32_t max_prepared_transactions = 0;
  int32_t max_locks_per_transaction = 0;
  WalLevel wal_level = WalLevel::kMinimal;
  bool wal_log_hints = false;
  bool track_commit_timestamp = false;
  bool operator==(const ParameterChange&) const = default;
};
struct TablespaceCreate {
  Lsn lsn;
  Lsn end_lsn;
  uint32_t oid = 0;
  std::string path;
  bool operator==(const TablespaceCreate&) const = default;
};
// What takes something away when it is replayed, whatever becomes of its transaction.
struct Removal {
  enum class What : uint8_t {
    kMark,        // DROP DATABASE begins: nobody can connect to the database any more
    kDatabase,    // its files go
    kTablespace,  // its directory and the link to it
  };
  Lsn lsn;
  Lsn end_lsn;
  What what = What::kMark;
  uint32_t oid = 0;       // of the database or tablespace
  uint32_t xid = 0;       // 0: a mark may be made before the transaction has one
  std::string name = {};  // kMark: of the database
  bool operator==(const Removal&) const = default;
};
struct EndOfRecovery {
  Lsn lsn;
  Lsn end_lsn;
  Time time = {};
  TimelineId timeline;
  TimelineId previous_timeline;
  bool operator==(const EndOfRecovery&) const = default;
};
// A record of these kinds whose CRC is right and whose content is not what this major writes.
struct MalformedRecord {
  Lsn lsn;
  Lsn end_lsn;
  std::string problem;
  bool operator==(const MalformedRecord&) const = default;
};

using WalEvent = std::variant<TransactionEnd, RestorePoint, Checkpoint, BackupEnd, ParameterChange,
                              TablespaceCreate, Removal, EndOfRecovery, MalformedRecord>;

// nullopt for every other kind of record. Never throws.
std::optional<WalEvent> decode_wal_event(const WalRecord& record);
// False where decode_wal_event() gives nullopt for every record with this header.
bool may_be_wal_event(const WalRecordHeader& header);

}  // namespace holdfast::pg
