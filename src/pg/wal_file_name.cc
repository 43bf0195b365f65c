#include "pg/wal_file_name.h"

#include <optional>

#include <fmt/core.h>

#include "base/bytes.h"
#include "base/error.h"

namespace holdfast::pg {

namespace {

constexpr std::string_view kPartialSuffix = ".partial";
constexpr std::string_view kHistorySuffix = ".history";
constexpr std::string_view kBackupSuffix = ".backup";
constexpr size_t kGroupDigits = 8;
constexpr size_t kSegmentDigits = 3 * kGroupDigits;

// Exactly 8 upper-case hexadecimal digits.
std::optional<uint32_t> parse_group(std::string_view digits) {
  if (digits.size() != kGroupDigits) return std::nullopt;
  uint32_t value = 0;
  for (char digit : digits) {
    if (digit >= '0' && digit <= '9') {
      value = value << 4 | static_cast<uint32_t>(digit - '0');
    } else if (digit >= 'A' && digit <= 'F') {
      value = value << 4 | static_cast<uint32_t>(digit - 'A' + 10);
    } else {
      return std::nullopt;
    }
  }
  return value;
}

std::optional<SegmentName> parse_segment(std::string_view digits, WalSegmentSize size) {
  if (digits.size() != kSegmentDigits) return std::nullopt;
  std::optional<uint32_t> timeline = parse_group(digits.substr(0, kGroupDigits));
  std::optional<uint32_t> high = parse_group(digits.substr(kGroupDigits, kGroupDigits));
  std::optional<uint32_t> low = parse_group(digits.substr(2 * kGroupDigits));
  if (!timeline || !high || !low || *timeline == 0 || *low >= size.segments_per_high_part())
    return std::nullopt;
  return SegmentName{.timeline = {*timeline},
                     .segment_number = *high * size.segments_per_high_part() + *low};
}

}  // namespace

WalSegmentSize::WalSegmentSize(uint64_t bytes) {
  if (!is_valid(bytes)) {
    throw Error({.code = ErrorCode::kInvalidText,
                 .message = fmt::format("invalid WAL segment size {}", bytes),
                 .detail = "A WAL segment size is a power of two from 1 MiB to 1 GiB.",
                 .hint = "SHOW wal_segment_size and pg_controldata tell the cluster's size."});
  }
  bytes_ = narrow<uint32_t>(bytes);
}

Lsn start_lsn(uint64_t segment_number, WalSegmentSize size) {
  return {segment_number * size.bytes()};
}

Lsn end_lsn(uint64_t segment_number, WalSegmentSize size) {
  return start_lsn(segment_number, size) + size.bytes();
}

uint64_t segment_of(Lsn lsn, WalSegmentSize size) { return lsn.value / size.bytes(); }

uint64_t last_segment_before_end(Lsn end, WalSegmentSize size) {
  HF_CHECK(end.is_valid());
  return segment_of(end - 1, size);
}

std::string segment_file_name(SegmentName segment, WalSegmentSize size) {
  return fmt::format("{:08X}{:08X}{:08X}", segment.timeline.value,
                     segment.segment_number / size.segments_per_high_part(),
                     segment.segment_number % size.segments_per_high_part());
}

std::string partial_file_name(SegmentName segment, WalSegmentSize size) {
  return segment_file_name(segment, size).append(kPartialSuffix);
}

std::string backup_history_file_name(SegmentName segment, uint32_t offset, WalSegmentSize size) {
  return fmt::format("{}.{:08X}{}", segment_file_name(segment, size), offset, kBackupSuffix);
}

std::string history_file_name(TimelineId timeline) {
  return fmt::format("{:08X}{}", timeline.value, kHistorySuffix);
}

std::string to_string(const WalFileName& file, WalSegmentSize size) {
  switch (file.kind) {
    case WalFileKind::kSegment:
      return segment_file_name(file.segment, size);
    case WalFileKind::kPartial:
      return partial_file_name(file.segment, size);
    case WalFileKind::kHistory:
      return history_file_name(file.segment.timeline);
    case WalFileKind::kBackupHistory:
      return backup_history_file_name(file.segment, file.offset, size);
    case WalFileKind::kOther:
      break;
  }
  HF_CHECK(false);
}

WalFileName parse_wal_file_name(std::string_view name, WalSegmentSize size) {
  if (name.size() == kGroupDigits + kHistorySuffix.size() && name.ends_with(kHistorySuffix)) {
    std::optional<uint32_t> timeline = parse_group(name.substr(0, kGroupDigits));
    if (!timeline || *timeline == 0) return {};
    return {.kind = WalFileKind::kHistory,
            .segment = {.timeline = {*timeline}, .segment_number = 0}};
  }
  std::optional<SegmentName> segment = parse_segment(name.substr(0, kSegmentDigits), size);
  if (!segment) return {};
  std::string_view rest = name.substr(kSegmentDigits);
  if (rest.empty()) return {.kind = WalFileKind::kSegment, .segment = *segment};
  if (rest == kPartialSuffix) return {.kind = WalFileKind::kPartial, .segment = *segment};
  if (rest.size() == 1 + kGroupDigits + kBackupSuffix.size() && rest.front() == '.' &&
      rest.ends_with(kBackupSuffix)) {
    std::optional<uint32_t> offset = parse_group(rest.substr(1, kGroupDigits));
    if (offset && *offset < size.bytes()) {
      return {.kind = WalFileKind::kBackupHistory, .segment = *segment, .offset = *offset};
    }
  }
  return {};
}

}  // namespace holdfast::pg
