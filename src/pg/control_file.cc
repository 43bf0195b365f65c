#include "pg/control_file.h"

#include <algorithm>
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

// What all of 13 to 19 have at the same place: the front, up to the checkpoint's own fields.
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

// Where the rest lies. Until 18 the structure grew at its end alone.
struct Layout {
  uint32_t control_version = 0;
  size_t next_xid = 64;
  size_t next_oid = 72;
  size_t oldest_xid = 84;
  size_t checkpoint_time = 104;
  size_t oldest_active_xid = 120;
  size_t minimum_recovery_lsn = 136;
  size_t minimum_recovery_timeline = 144;
  size_t backup_start_lsn = 152;
  size_t backup_end_lsn = 160;
  size_t backup_end_required = 168;
  size_t wal_level = 172;
  size_t wal_log_hints = 176;
  size_t max_connections = 180;
  size_t max_worker_processes = 184;
  size_t max_wal_senders = 188;
  size_t max_prepared_transactions = 192;
  size_t max_locks_per_transaction = 196;
  size_t track_commit_timestamp = 200;
  size_t max_align = 204;
  size_t float_format = 208;
  size_t block_bytes = 216;
  size_t relation_segment_blocks = 220;
  size_t wal_block_bytes = 224;
  size_t wal_segment_bytes = 228;
  size_t checksum_version = 252;
  // It covers all bytes before it.
  size_t crc = 0;
};

constexpr std::array<Layout, 4> kLayouts = {{
    {.control_version = 1300, .crc = 288},  // 13 to 16
    {.control_version = 1700, .crc = 288},  // 17
    // 18 put "default char signedness" before the CRC.
    {.control_version = 1800, .crc = 292},
    // 19 put "logical decoding enabled" into the checkpoint, made the offset of multixacts 64 bits
    // wide, and put "pages per SLRU segment" and the checksums of initdb between the others.
    {.control_version = 1905,
     .next_xid = 72,
     .next_oid = 80,
     .oldest_xid = 96,
     .checkpoint_time = 112,
     .oldest_active_xid = 128,
     .minimum_recovery_lsn = 144,
     .minimum_recovery_timeline = 152,
     .backup_start_lsn = 160,
     .backup_end_lsn = 168,
     .backup_end_required = 176,
     .wal_level = 180,
     .wal_log_hints = 184,
     .max_connections = 188,
     .max_worker_processes = 192,
     .max_wal_senders = 196,
     .max_prepared_transactions = 200,
     .max_locks_per_transaction = 204,
     .track_commit_timestamp = 208,
     .max_align = 212,
     .float_format = 216,
     .block_bytes = 224,
     .relation_segment_blocks = 228,
     .wal_block_bytes = 236,
     .wal_segment_bytes = 240,
     .checksum_version = 268,
     .crc = 308},
}};

// nullptr for a version that is not known.
const Layout* layout_of(uint32_t control_version) {
  const auto* found = std::ranges::find(kLayouts, control_version, &Layout::control_version);
  return found == kLayouts.end() ? nullptr : found;
}

// A version behind the last one that is known.
bool is_newer(uint32_t control_version) {
  constexpr uint32_t kLastThinkable = 99'99;  // major and a count of two digits
  return control_version > kLayouts.back().control_version && control_version <= kLastThinkable;
}

template <typename T>
T at(ByteView bytes, size_t offset) {
  return load_le<T>(bytes.subspan(offset, sizeof(T)).data());
}

bool is_crc(ByteView bytes, size_t offset) {
  return at<uint32_t>(bytes, offset) == crc32c(bytes.first(offset));
}

// Where the CRC of a layout that is not known stands.
std::optional<size_t> find_crc(ByteView bytes) {
  // What is used is smaller than a disk's sector, so that it is written as one (pg_control.h).
  constexpr size_t kMaxUsedBytes = 512;
  for (size_t offset = kLayouts.back().crc; offset < kMaxUsedBytes; offset += sizeof(uint32_t)) {
    const ByteView behind = bytes.subspan(offset + sizeof(uint32_t));
    if (is_crc(bytes, offset) &&
        std::ranges::all_of(behind, [](std::byte byte) { return byte == std::byte{0}; }))
      return offset;
  }
  return std::nullopt;
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
                                     "versions 1300, 1700, 1800 and 1905.",
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

bool is_in_recovery(ClusterState state) {
  return state == ClusterState::kShutDownInRecovery || state == ClusterState::kInCrashRecovery ||
         state == ClusterState::kInArchiveRecovery;
}

std::string_view to_string(WalLevel level) {
  constexpr std::array<std::string_view, 3> kNames = {"minimal", "replica", "logical"};
  return kNames.at(static_cast<size_t>(level));
}

bool crc_is_valid(ByteView bytes) {
  if (bytes.size() != kControlFileBytes) return false;
  const auto version = at<uint32_t>(bytes, kControlVersion);
  if (is_newer(version)) return find_crc(bytes).has_value();
  const Layout* layout = layout_of(version);
  return layout != nullptr && is_crc(bytes, layout->crc);
}

ControlFile parse_control_file(ByteView bytes) {
  if (bytes.size() != kControlFileBytes) {
    fail(fmt::format("It has {} bytes instead of {}.", bytes.size(), kControlFileBytes),
         "Check that the path is a complete PostgreSQL data directory.");
  }
  auto version = at<uint32_t>(bytes, kControlVersion);
  const Layout* layout = layout_of(version);
  if (layout == nullptr && !is_newer(version)) refuse_version(version);
  if (!crc_is_valid(bytes)) {
    fail("Its CRC does not fit its content.",
         "If a server is writing it at this moment, another read will succeed; otherwise take it "
         "from a backup.");
  }

  ControlFile control;
  control.control_version = version;
  control.catalog_version = at<uint32_t>(bytes, kCatalogVersion);
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
  if (layout == nullptr) return control;

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
  if (at<uint32_t>(bytes, layout->max_align) != 8 ||
      std::bit_cast<double>(at<uint64_t>(bytes, layout->float_format)) != 1234567.0) {
    throw Error(
        {.code = ErrorCode::kUnsupported,
         .message = "the cluster was made on an unsupported architecture",
         .detail = fmt::format(
             "Its alignment is {} (8 is supported), or its floating-point format is foreign.",
             at<uint32_t>(bytes, layout->max_align)),
         .hint = "Only clusters of 64-bit little-endian servers are supported."});
  }

  control.next_xid = at<uint64_t>(bytes, layout->next_xid);
  control.next_oid = at<uint32_t>(bytes, layout->next_oid);
  control.oldest_xid = at<uint32_t>(bytes, layout->oldest_xid);
  control.oldest_active_xid = at<uint32_t>(bytes, layout->oldest_active_xid);
  control.checkpoint_time =
      unix_seconds(at<int64_t>(bytes, layout->checkpoint_time), "checkpoint's time");

  control.minimum_recovery_lsn = {at<uint64_t>(bytes, layout->minimum_recovery_lsn)};
  control.minimum_recovery_timeline = {at<uint32_t>(bytes, layout->minimum_recovery_timeline)};
  control.backup_start_lsn = {at<uint64_t>(bytes, layout->backup_start_lsn)};
  control.backup_end_lsn = {at<uint64_t>(bytes, layout->backup_end_lsn)};
  control.backup_end_required = flag(bytes, layout->backup_end_required, "backup_end_required");

  auto wal_level = at<uint32_t>(bytes, layout->wal_level);
  if (wal_level > static_cast<uint32_t>(WalLevel::kLogical))
    fail(fmt::format("The WAL level is {}.", wal_level), "");
  control.wal_level = static_cast<WalLevel>(wal_level);
  control.wal_log_hints = flag(bytes, layout->wal_log_hints, "wal_log_hints");
  control.max_connections = at<int32_t>(bytes, layout->max_connections);
  control.max_worker_processes = at<int32_t>(bytes, layout->max_worker_processes);
  control.max_wal_senders = at<int32_t>(bytes, layout->max_wal_senders);
  control.max_prepared_transactions = at<int32_t>(bytes, layout->max_prepared_transactions);
  control.max_locks_per_transaction = at<int32_t>(bytes, layout->max_locks_per_transaction);
  control.track_commit_timestamp =
      flag(bytes, layout->track_commit_timestamp, "track_commit_timestamp");

  control.block_bytes = at<uint32_t>(bytes, layout->block_bytes);
  control.blocks_per_relation_segment = at<uint32_t>(bytes, layout->relation_segment_blocks);
  control.wal_block_bytes = at<uint32_t>(bytes, layout->wal_block_bytes);
  auto segment_bytes = at<uint32_t>(bytes, layout->wal_segment_bytes);
  if (!WalSegmentSize::is_valid(segment_bytes))
    fail(fmt::format("The WAL segment size is {}.", segment_bytes), "");
  control.wal_segment_size = WalSegmentSize(segment_bytes);
  control.data_checksum_version = at<uint32_t>(bytes, layout->checksum_version);
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
