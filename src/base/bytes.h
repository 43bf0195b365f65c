// bytes.h: bytes, and reading and writing them field by field.
//
// Bytes travel as std::span<const std::byte>, text as std::string_view. Formats are read through
// ByteReader, which checks every bound and throws kCorrupt naming what was read; no pointer is ever
// cast to a struct. All integers are little-endian: our formats by choice, PostgreSQL's because
// only little-endian servers are supported (static_assert in bytes.cc).
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace holdfast {

using Bytes = std::vector<std::byte>;
using ByteView = std::span<const std::byte>;

// Memory that is read into at once: not filled with zeros before, as a large Bytes would be, and in
// huge pages where the system has them.
class RawBytes {
 public:
  RawBytes() = default;
  explicit RawBytes(size_t size);
  RawBytes(RawBytes&& other) noexcept
      : bytes_(std::move(other.bytes_)), size_(std::exchange(other.size_, 0)) {}
  RawBytes& operator=(RawBytes&& other) noexcept {
    bytes_ = std::move(other.bytes_);
    size_ = std::exchange(other.size_, 0);
    return *this;
  }
  size_t size() const { return size_; }
  std::span<std::byte> span() { return {bytes_.get(), size_}; }
  operator ByteView() const { return {bytes_.get(), size_}; }

 private:
  struct Free {
    void operator()(std::byte* bytes) const;
  };
  std::unique_ptr<std::byte[], Free> bytes_;
  size_t size_ = 0;
};

// Views of each other's memory; nothing is copied.
ByteView as_bytes(std::string_view text);
std::string_view as_text(ByteView bytes);
Bytes to_bytes(std::string_view text);

// Lower-case hexadecimal and back; nullopt when `text` is not an even number of hexadecimal digits.
std::string to_hex(ByteView bytes);
std::optional<Bytes> parse_hex(std::string_view text);

// Base64 (RFC 4648, section 4) with padding, no line breaks; and back: nullopt unless `text` is
// exactly what to_base64 writes for some bytes.
std::string to_base64(ByteView bytes);
std::optional<Bytes> parse_base64(std::string_view text);

// One unaligned little-endian integer. The caller has checked the bound.
template <typename T>
T load_le(const std::byte* at) {
  static_assert(std::is_integral_v<T>);
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}
template <typename T>
void store_le(std::byte* at, T value) {
  static_assert(std::is_integral_v<T>);
  std::memcpy(at, &value, sizeof value);
}

[[noreturn]] void throw_narrow(const char* file, int line);
// The same number in a narrower type; throws kInternal when it does not fit.
template <typename To, typename From>
To narrow(From value, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  static_assert(std::is_integral_v<To> && std::is_integral_v<From>);
  if (!std::in_range<To>(value)) throw_narrow(file, line);
  return static_cast<To>(value);
}

// Reads fields from front to back. `what` names the thing in errors ("pack footer") and must
// outlive the reader.
class ByteReader {
 public:
  ByteReader(ByteView bytes, std::string_view what) : bytes_(bytes), what_(what) {}

  uint8_t u8() { return take<uint8_t>(); }
  uint16_t u16() { return take<uint16_t>(); }
  uint32_t u32() { return take<uint32_t>(); }
  uint64_t u64() { return take<uint64_t>(); }
  int64_t i64() { return take<int64_t>(); }
  // LEB128, at most 10 bytes, shortest form only.
  uint64_t varint();
  // `count` bytes, as a view of the input.
  ByteView bytes(size_t count);
  // A string as ByteWriter::text writes it: varint length, bytes. Throws kCorrupt beyond `limit`.
  std::string_view text(size_t limit = 1 << 16);
  template <size_t N>
  std::array<std::byte, N> array() {
    std::array<std::byte, N> value;
    ByteView from = bytes(N);
    std::memcpy(value.data(), from.data(), N);
    return value;
  }
  void skip(size_t count) { bytes(count); }

  size_t position() const { return position_; }
  size_t remaining() const { return bytes_.size() - position_; }
  bool at_end() const { return remaining() == 0; }
  // Throws kCorrupt unless everything was read.
  void expect_end() const;
  // Throws kCorrupt: `damaged <what>: <problem>`.
  [[noreturn]] void fail(std::string_view problem) const;

 private:
  template <typename T>
  T take() {
    return load_le<T>(bytes(sizeof(T)).data());
  }
  ByteView bytes_;
  std::string_view what_;
  size_t position_ = 0;
};

// Appends fields to a buffer that it owns; the counterpart of ByteReader.
class ByteWriter {
 public:
  ByteWriter& u8(uint8_t v) { return put(v); }
  ByteWriter& u16(uint16_t v) { return put(v); }
  ByteWriter& u32(uint32_t v) { return put(v); }
  ByteWriter& u64(uint64_t v) { return put(v); }
  ByteWriter& i64(int64_t v) { return put(v); }
  ByteWriter& varint(uint64_t v);
  ByteWriter& bytes(ByteView v);
  ByteWriter& text(std::string_view v);
  size_t size() const { return buffer_.size(); }
  ByteView view() const { return buffer_; }
  Bytes take() { return std::exchange(buffer_, {}); }
  void clear() { buffer_.clear(); }

 private:
  template <typename T>
  ByteWriter& put(T v) {
    size_t at = buffer_.size();
    buffer_.resize(at + sizeof v);
    store_le(buffer_.data() + at, v);
    return *this;
  }
  Bytes buffer_;
};

// 128 and 256 bit values: digests and random ids. Ordered bytewise, printed as hexadecimal.
template <size_t N>
struct ByteArray {
  std::array<std::byte, N> bytes{};
  auto operator<=>(const ByteArray&) const = default;
  ByteView view() const { return bytes; }
};
using Bytes16 = ByteArray<16>;
using Bytes32 = ByteArray<32>;

// From exactly 2 * N hexadecimal digits; else nullopt.
template <size_t N>
std::optional<ByteArray<N>> parse_hex_array(std::string_view text) {
  if (text.size() != 2 * N) return std::nullopt;
  std::optional<Bytes> bytes = parse_hex(text);
  if (!bytes) return std::nullopt;
  ByteArray<N> value;
  std::memcpy(value.bytes.data(), bytes->data(), N);
  return value;
}

}  // namespace holdfast
