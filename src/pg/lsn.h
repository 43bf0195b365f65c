// lsn.h: a position in the WAL, and the timeline that it lies on.
//
// An LSN is a byte position in one endless stream of WAL. Its text is two hexadecimal numbers, high
// and low half, joined by a slash; servers up to 18 print no leading zeros, 19 pads the low half to
// 8 digits, so texts are never compared. Timeline ids are printed in decimal in settings, labels
// and history files, but in hexadecimal in file names (wal_file_name.h).
//
// Facts: xlogdefs.h, pg_lsn.c, PostgreSQL 13 to 19.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

namespace holdfast::pg {

// 0 is no position: the first segment that a cluster uses starts behind it. Sums wrap at 2^64 as
// the server's do.
struct Lsn {
  uint64_t value = 0;

  auto operator<=>(const Lsn&) const = default;
  constexpr bool is_valid() const { return value != 0; }
};

constexpr Lsn operator+(Lsn lsn, uint64_t bytes) { return {lsn.value + bytes}; }
constexpr Lsn operator-(Lsn lsn, uint64_t bytes) { return {lsn.value - bytes}; }
// The bytes from `start` to `end`.
constexpr uint64_t operator-(Lsn end, Lsn start) { return end.value - start.value; }

// Throws kInvalidText unless `text` is two hexadecimal numbers of 1 to 8 digits joined by a slash;
// either case, nothing around it.
Lsn parse_lsn(std::string_view text);
// As pg_current_wal_lsn() prints it in 13 to 18: "16/B374D848".
std::string to_string(Lsn lsn);

// 1 is the timeline that initdb makes; 0 is none.
struct TimelineId {
  uint32_t value = 0;

  auto operator<=>(const TimelineId&) const = default;
  constexpr bool is_valid() const { return value != 0; }
};

// Decimal, as in settings and labels. Parsing throws kInvalidText; leading zeros are refused,
// because the server reads recovery_target_timeline by C's rules, where they mean octal.
TimelineId parse_timeline_id(std::string_view text);
std::string to_string(TimelineId timeline);

}  // namespace holdfast::pg
