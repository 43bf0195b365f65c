#include "pg/lsn.h"

#include <charconv>
#include <optional>

#include <fmt/core.h>

#include "base/error.h"

namespace holdfast::pg {

namespace {

std::optional<uint32_t> parse_half(std::string_view digits) {
  if (digits.empty() || digits.size() > 8) return std::nullopt;
  uint32_t value = 0;
  auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
  if (error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  return value;
}

}  // namespace

Lsn parse_lsn(std::string_view text) {
  size_t slash = text.find('/');
  if (slash != std::string_view::npos) {
    std::optional<uint32_t> high = parse_half(text.substr(0, slash));
    std::optional<uint32_t> low = parse_half(text.substr(slash + 1));
    if (high && low) return {uint64_t{*high} << 32 | *low};
  }
  throw Error({.code = ErrorCode::kInvalidText,
               .message = fmt::format("invalid LSN \"{}\"", text),
               .detail = "An LSN is two hexadecimal numbers of 1 to 8 digits, joined by a slash.",
               .hint = "Write it as pg_current_wal_lsn() prints it, for example 16/B374D848."});
}

std::string to_string(Lsn lsn) {
  return fmt::format("{:X}/{:X}", lsn.value >> 32, lsn.value & 0xFFFFFFFF);
}

TimelineId parse_timeline_id(std::string_view text) {
  uint32_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 10);
  if (error != std::errc() || end != text.data() + text.size() || text.front() == '0') {
    throw Error(
        {.code = ErrorCode::kInvalidText,
         .message = fmt::format("invalid timeline \"{}\"", text),
         .detail = "A timeline is a decimal number from 1 to 4294967295 without leading zeros.",
         .hint = "File names show the timeline in hexadecimal: 0000000A is timeline 10."});
  }
  return {value};
}

std::string to_string(TimelineId timeline) { return fmt::format("{}", timeline.value); }

}  // namespace holdfast::pg
