#include "pg/control_file.h"

#include <array>
#include <bit>

#include <fmt/core.h>

#include "base/error.h"
#include "pg/crc32c.h"
#include "pg/page.h"
#include "pg/version.h"
#include "pg/wal_page.h"

namespace holdfast::pg {

namespace {

static_assert(std::endian::native == std::endian::little,
              "pg_control is in the server's byte order; only little-endian is known");

// Offsets that all of 13 to 18 share: the structs grew at the end only.
constexpr size_t kSystemIdentifier = 0;
constexpr size_t kControlVersion = 8;
constexpr size_t kCatalogVersion = 12;
constexpr size_t kState = 16;
constexpr size_t kUpdatedAt = 24;
constexpr size_t kCheckpointLsn = 32;
constexpr size_t kRedoLsn = 40;
constexpr size_t kTimeline = 48;
constexpr size_t kPreviousTimeline = 52;
constexpr size_t kFullPageWrites = 56;
constexpr size_t kNextXid = 64;
constexpr size_t kNextOid = 72;
constexpr size_t kOldestXid = 84;
constexpr size_t kCheckpointTime = 104;
constexpr size_t kOldestActiveXid = 120;
constexpr size_t kMinimumRecoveryLsn = 136;
constexpr size_t kMinimumRecoveryTimeline = 144;
constexpr size_t kBackupStartLsn = 152;
constexpr size_t kBackupEndLsn = 160;
constexpr size_t kBackupEndRequired = 168;
constexpr size_t kWalLevel = 172;
constexpr size_t kWalLogHints = 176;
constexpr size_t kMaxConnections = 180;
constexpr size_t kMaxWorkerProcesses = 184;
constexpr size_t kMaxWalSenders = 188;
constexpr size_t kMaxPreparedTransactions = 192;
constexpr size_t kMaxLocksPerTransaction = 196;
constexpr size_t kTrackCommitTimestamp = 200;
constexpr size_t kMaxAlign = 204;
constexpr size_t kFloatFormat = 208;
constexpr size_t kBlockBytes = 216;
constexpr size_t kRelationSegmentBlocks = 220;
constexpr size_t kWalBlockBytesAt = 224;
constexpr size_t kWalSegmentBytes = 228;
constexpr size_t kChecksumVersion = 252;

// Where the CRC stands: it covers all bytes before it. 18 put "default char signedness" before it.
std::optional<size_t> crc_offset(uint32_t control_version) {
  switch (control_version) {
    case 1300:
    case 1700:
      return 288;
    case 1800:
      return 292;
    default:
      return std::nullopt;
  }
}

[[noreturn]] void fail(std::string detail, std::string hint) {
  throw Error({.code = ErrorCode::kCorrupt,
               .message = "damaged control file",
               .detail = std::move(detail),
               .hint = std::move(hint)});
}

// Seconds since 1970; what a server writes lies in this era, and the bound keeps the arithmetic in
// range.
Time unix_seconds(int64_t seconds, std::string_view field) {
  constexpr int64_t kLimit = int64_t{1} << 40;
  if (seconds < -kLimit || seconds > kLimit) {
    fail(fmt::format("The {} is {} seconds after 1970.", field, seconds), "");
  }
  return Time(std::chrono::seconds(seconds));
}

template <typename T>
T at(ByteView bytes, size_t offset) {
  return load_le<T>(bytes.subspan(offset, sizeof(T)).data());
}

bool flag(ByteView bytes, size_t offset, std::string_view field) {
  auto value = at<uint8_t>(bytes, offset);
  if (value > 1)
    fail(fmt::format("The field {} is {} where only 0 and 1 are possible.", field, value), "");
  return value == 1;
}

[[noreturn]] void refuse_version(uint32_t version) {
  // A server of the other byte order writes its version number back to front, which looks like a
  // huge one.
  uint32_t swapped = __builtin_bswap32(version);
  if (version > 0xFFFF && swapped <= 0xFFFF) {
    throw Error(
        {.code = ErrorCode::kUnsupported,
         .message = "the cluster was made by a big-endian server",
         .detail =
             fmt::format("The control file's version reads as {}, with its bytes swapped as {}.",
                         version, swapped),
         .hint =
             "Only clusters of little-endian servers (x86-64, ARM64, POWER LE) are supported."});
  }
  throw Error({.code = ErrorCode::kUnsupported,
               .message = fmt::format("unknown control file version {}", version),
               .detail = fmt::format("This program knows the control files of PostgreSQL {} to {}: "
                                     "versions 1300, 1700 and 1800.",
                                     kFirstMajor, kLastMajor),
               .hint = "Compare the data directory's PG_VERSION with the versions that this "
                       "program supports; if it is one of "
                       "them, the control file is damaged."});
}

}  // namespace

std::string_view to_string(ClusterState state) {
  constexpr std::array<std::string_view, 7> kNames = {
      "starting up",       "shut down",           "shut down in recovery", "shutting down",
      "in crash recovery", "in archive recovery", "in production"};
  return kNames.at(static_cast<size_t>(state));
}

std::string_view to_string(WalLevel level) {
  constexpr std::array<std::string_view, 3> kNames = {"minimal", "replica", "logical"};
  return kNames.at(static_cast<size_t>(level));
}

bool crc_is_valid(ByteView bytes) {
  if (bytes.size() != kControlFileBytes) return false;
  std::optional<size_t> offset = crc_offset(at<uint32_t>(bytes, kControlVersion));
  return offset && at<uint32_t>(bytes, *offset) == crc32c(bytes.first(*offset));
}

ControlFile parse_control_file(ByteView bytes) {
  if (bytes.size() != kControlFileBytes) {
    fail(fmt::format("It has {} bytes instead of {}.", bytes.size(), kControlFileBytes),
         "Check that the path is a complete PostgreSQL data directory.");
  }
  auto version = at<uint32_t>(bytes, kControlVersion);
  if (!crc_offset(version)) refuse_version(version);
  if (!crc_is_valid(bytes)) {
    fail("Its CRC does not fit its content.",
         "If a server is writing it at this moment, another read will succeed; otherwise take it "
         "from a backup.");
  }

  ControlFile control;
  control.control_version = version;
  control.catalog_version = at<uint32_t>(bytes, kCatalogVersion);
  std::optional<int> major = major_by_catalog_version(control.catalog_version);
  if (!major || version_of(*major).control_version != version) {
    throw Error(
        {.code = ErrorCode::kUnsupported,
         .message = fmt::format("unknown catalog version {}", control.catalog_version),
         .detail = fmt::format(
             "The control file has version {}. No released PostgreSQL {} to {} has both numbers.",
             version, kFirstMajor, kLastMajor),
         .hint =
             "Clusters of beta versions and of forks that changed the catalog are not supported."});
  }
  control.major = *major;
  if (at<uint32_t>(bytes, kMaxAlign) != 8 ||
      std::bit_cast<double>(at<uint64_t>(bytes, kFloatFormat)) != 1234567.0) {
    throw Error(
        {.code = ErrorCode::kUnsupported,
         .message = "the cluster was made on an unsupported architecture",
         .detail = fmt::format(
             "Its alignment is {} (8 is supported), or its floating-point format is foreign.",
             at<uint32_t>(bytes, kMaxAlign)),
         .hint = "Only clusters of 64-bit little-endian servers are supported."});
  }

  control.system_identifier = at<uint64_t>(bytes, kSystemIdentifier);
  auto state = at<uint32_t>(bytes, kState);
  if (state > static_cast<uint32_t>(ClusterState::kInProduction))
    fail(fmt::format("The cluster state is {}.", state), "");
  control.state = static_cast<ClusterState>(state);
  control.updated_at = unix_seconds(at<int64_t>(bytes, kUpdatedAt), "time of the last update");

  control.checkpoint_lsn = {at<uint64_t>(bytes, kCheckpointLsn)};
  control.redo_lsn = {at<uint64_t>(bytes, kRedoLsn)};
  control.timeline = {at<uint32_t>(bytes, kTimeline)};
  control.previous_timeline = {at<uint32_t>(bytes, kPreviousTimeline)};
  control.full_page_writes = flag(bytes, kFullPageWrites, "full_page_writes");
  control.next_xid = at<uint64_t>(bytes, kNextXid);
  control.next_oid = at<uint32_t>(bytes, kNextOid);
  control.oldest_xid = at<uint32_t>(bytes, kOldestXid);
  control.oldest_active_xid = at<uint32_t>(bytes, kOldestActiveXid);
  control.checkpoint_time = unix_seconds(at<int64_t>(bytes, kCheckpointTime), "checkpoint's time");

  control.minimum_recovery_lsn = {at<uint64_t>(bytes, kMinimumRecoveryLsn)};
  control.minimum_recovery_timeline = {at<uint32_t>(bytes, kMinimumRecoveryTimeline)};
  control.backup_start_lsn = {at<uint64_t>(bytes, kBackupStartLsn)};
  control.backup_end_lsn = {at<uint64_t>(bytes, kBackupEndLsn)};
  control.backup_end_required = flag(bytes, kBackupEndRequired, "backup_end_required");

  auto wal_level = at<uint32_t>(bytes, kWalLevel);
  if (wal_level > static_cast<uint32_t>(WalLevel::kLogical))
    fail(fmt::format("The WAL level is {}.", wal_level), "");
  control.wal_level = static_cast<WalLevel>(wal_level);
  control.wal_log_hints = flag(bytes, kWalLogHints, "wal_log_hints");
  control.max_connections = at<int32_t>(bytes, kMaxConnections);
  control.max_worker_processes = at<int32_t>(bytes, kMaxWorkerProcesses);
  control.max_wal_senders = at<int32_t>(bytes, kMaxWalSenders);
  control.max_prepared_transactions = at<int32_t>(bytes, kMaxPreparedTransactions);
  control.max_locks_per_transaction = at<int32_t>(bytes, kMaxLocksPerTransaction);
  control.track_commit_timestamp = flag(bytes, kTrackCommitTimestamp, "track_commit_timestamp");

  control.block_bytes = at<uint32_t>(bytes, kBlockBytes);
  control.blocks_per_relation_segment = at<uint32_t>(bytes, kRelationSegmentBlocks);
  control.wal_block_bytes = at<uint32_t>(bytes, kWalBlockBytesAt);
  auto segment_bytes = at<uint32_t>(bytes, kWalSegmentBytes);
  if (!WalSegmentSize::is_valid(segment_bytes))
    fail(fmt::format("The WAL segment size is {}.", segment_bytes), "");
  control.wal_segment_size = WalSegmentSize(segment_bytes);
  control.data_checksum_version = at<uint32_t>(bytes, kChecksumVersion);
  if (control.block_bytes != kPageBytes || control.wal_block_bytes != kWalBlockBytes ||
      control.blocks_per_relation_segment == 0) {
    throw Error(
        {.code = ErrorCode::kUnsupported,
         .message = "the cluster was built with unusual block sizes",
         .detail = fmt::format(
             "Its data blocks have {} bytes, its WAL blocks {}, its relation segments {} blocks.",
             control.block_bytes, control.wal_block_bytes, control.blocks_per_relation_segment),
         .hint =
             fmt::format("Blocks of {} bytes are supported, PostgreSQL's default.", kPageBytes)});
  }
  return control;
}

}  // namespace holdfast::pg
