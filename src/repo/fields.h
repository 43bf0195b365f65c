// fields.h: how numbers, times and positions stand in the JSON of our documents. For the sources of
// repo alone.
//
// 64-bit identifiers and LSNs are text, times RFC 3339, other numbers numbers. Everything throws
// kCorrupt naming the member.
#pragma once

#include <charconv>
#include <limits>
#include <string>
#include <string_view>

#include <fmt/core.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/json.h"
#include "base/time.h"
#include "pg/lsn.h"

namespace holdfast::repo {

[[noreturn]] inline void throw_member(std::string_view key, std::string_view problem) {
  throw Error({.code = ErrorCode::kCorrupt,
               .message = fmt::format("unexpected value of the member \"{}\"", key),
               .detail = std::string(problem)});
}

template <typename T>
T number_member(const Json& object, std::string_view key) {
  uint64_t value = object.at(key).as_u64();
  if (value > static_cast<uint64_t>(std::numeric_limits<T>::max()))
    throw_member(key, fmt::format("The number {} is too large.", value));
  return static_cast<T>(value);
}

inline Json to_json(Time time) { return Json(to_rfc3339(time)); }
inline Time time_member(const Json& object, std::string_view key) {
  std::optional<Time> time = parse_rfc3339(object.at(key).as_string());
  if (!time) throw_member(key, "It is no time as RFC 3339 writes them.");
  return *time;
}

// A number in text: decimal, or in another base.
inline uint64_t text_number_member(const Json& object, std::string_view key, int base = 10) {
  const std::string& text = object.at(key).as_string();
  uint64_t value = 0;
  const char* end = text.data() + text.size();
  std::from_chars_result read = std::from_chars(text.data(), end, value, base);
  if (text.empty() || read.ec != std::errc{} || read.ptr != end)
    throw_member(key, "It is no number in text.");
  return value;
}

inline Json to_json(pg::Lsn lsn) { return Json(pg::to_string(lsn)); }
inline pg::Lsn lsn_member(const Json& object, std::string_view key) {
  const std::string& text = object.at(key).as_string();
  size_t slash = text.find('/');
  auto half = [&](std::string_view digits) {
    uint32_t value = 0;
    const char* end = digits.data() + digits.size();
    std::from_chars_result read = std::from_chars(digits.data(), end, value, 16);
    if (digits.empty() || read.ec != std::errc{} || read.ptr != end)
      throw_member(key, "It is no LSN.");
    return uint64_t{value};
  };
  if (slash == std::string::npos) throw_member(key, "It is no LSN.");
  std::string_view view = text;
  return {half(view.substr(0, slash)) << 32 | half(view.substr(slash + 1))};
}

template <size_t N>
ByteArray<N> hex_member(const Json& object, std::string_view key) {
  std::optional<ByteArray<N>> value = parse_hex_array<N>(object.at(key).as_string());
  if (!value) throw_member(key, fmt::format("It is not {} hexadecimal digits.", 2 * N));
  return *value;
}

}  // namespace holdfast::repo
