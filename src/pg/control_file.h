// control_file.h: global/pg_control, the 8192 bytes in which a cluster says who it is and from
// where to recover.
//
// The layout differs by major (four of them share one version number, see version.h); only the
// first 300 bytes or so are used and a CRC-32C protects them. The server rewrites the file in
// place, so who copies it from a running cluster checks the CRC of the very bytes that it keeps,
// and reads again when that fails (crc_is_valid).
//
// Of a newer PostgreSQL than this program knows only the front is read, which has been the same
// since 13: system identifier, versions, state, and the checkpoint up to full_page_writes. Where
// its CRC stands is found by the CRC itself: it covers all before it, and zeros follow.
//
// Facts: pg_control.h, PostgreSQL 13 to 19; little-endian, 64 bit.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/bytes.h"
#include "base/time.h"
#include "pg/lsn.h"
#include "pg/wal_file_name.h"

namespace holdfast::pg {

inline constexpr size_t kControlFileBytes = 8192;
inline constexpr std::string_view kControlFilePath = "global/pg_control";

enum class ClusterState : uint8_t {
  kStartingUp,
  kShutDown,
  kShutDownInRecovery,
  kShuttingDown,
  kInCrashRecovery,
  kInArchiveRecovery,
  kInProduction,
};
// As pg_controldata prints it: "shut down in recovery".
std::string_view to_string(ClusterState state);
// Of a standby, of a recovery to a target, or, until the WAL of its own is replayed, of any server
// that crashed.
bool is_in_recovery(ClusterState state);

enum class WalLevel : uint8_t { kMinimal, kReplica, kLogical };
std::string_view to_string(WalLevel level);

struct ControlFile {
  uint64_t system_identifier = 0;
  int major =
      0;  // 0: newer than this program knows; what stands behind full_page_writes is not set
  uint32_t control_version = 0;
  uint32_t catalog_version = 0;
  ClusterState state = ClusterState::kStartingUp;
  Time updated_at;

  // The latest checkpoint: where its record lies, and what it says. Replay starts at redo_lsn.
  Lsn checkpoint_lsn;
  Lsn redo_lsn;
  TimelineId timeline;
  TimelineId previous_timeline;
  bool full_page_writes = false;
  uint64_t next_xid = 0;  // epoch in the high half
  uint32_t next_oid = 0;
  uint32_t oldest_xid = 0;
  uint32_t oldest_active_xid = 0;
  Time checkpoint_time;

  // Recovery: replay must reach these before the cluster is consistent. Invalid (0) when there is
  // nothing to reach.
  Lsn minimum_recovery_lsn;
  TimelineId minimum_recovery_timeline;
  Lsn backup_start_lsn;
  Lsn backup_end_lsn;
  bool backup_end_required = false;

  // Settings that have floors on a standby and in recovery.
  WalLevel wal_level = WalLevel::kMinimal;
  bool wal_log_hints = false;
  int32_t max_connections = 0;
  int32_t max_worker_processes = 0;
  int32_t max_wal_senders = 0;
  int32_t max_prepared_transactions = 0;
  int32_t max_locks_per_transaction = 0;
  bool track_commit_timestamp = false;

  // The build and initdb.
  uint32_t block_bytes = 0;
  uint32_t blocks_per_relation_segment = 0;
  uint32_t wal_block_bytes = 0;
  WalSegmentSize wal_segment_size;
  // 0 off, 1 on; more means that the server is changing it: pages cannot be verified then.
  uint32_t data_checksum_version = 0;

  bool is_of_known_major() const { return major != 0; }
  bool has_checksums() const { return data_checksum_version == 1; }
};

// Reads the file. `bytes` may be longer than kControlFileBytes only by a mistake of the caller's,
// and is refused. Throws kCorrupt when the size, CRC or a value is wrong, and kUnsupported for a
// major before the first, a beta, a byte order, block size or alignment that Holdfast does not
// know.
ControlFile parse_control_file(ByteView bytes);

// Whether the CRC fits the bytes: false for a read that met a write, and for damage. Also false
// for a version before the first or of a beta, because the CRC's place is not known then;
// parse_control_file says which.
bool crc_is_valid(ByteView bytes);

}  // namespace holdfast::pg
