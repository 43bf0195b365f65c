#include "base/bytes.h"

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <new>
#include <sys/mman.h>

#include <fmt/core.h>

#include "base/error.h"

namespace holdfast {

static_assert(std::endian::native == std::endian::little,
              "formats are read by copying little-endian integers; so are PostgreSQL's files");

namespace {
constexpr size_t kHugePage = size_t{2} << 20;
}

RawBytes::RawBytes(size_t size) : size_(size) {
  const size_t alignment = size < kHugePage ? alignof(std::max_align_t) : kHugePage;
  const size_t whole = (std::max(size, size_t{1}) + alignment - 1) / alignment * alignment;
  bytes_.reset(static_cast<std::byte*>(std::aligned_alloc(alignment, whole)));
  if (!bytes_) throw std::bad_alloc();
  // A wish, which the system may not have.
  if (alignment == kHugePage) madvise(bytes_.get(), whole, MADV_HUGEPAGE);
}

void RawBytes::Free::operator()(std::byte* bytes) const { std::free(bytes); }

ByteView as_bytes(std::string_view text) { return std::as_bytes(std::span(text)); }

std::string_view as_text(ByteView bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

Bytes to_bytes(std::string_view text) {
  ByteView view = as_bytes(text);
  return {view.begin(), view.end()};
}

std::string to_hex(ByteView bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  text.reserve(bytes.size() * 2);
  for (std::byte b : bytes) {
    text.push_back(kDigits[std::to_integer<unsigned>(b >> 4)]);
    text.push_back(kDigits[std::to_integer<unsigned>(b & std::byte{15})]);
  }
  return text;
}

std::optional<Bytes> parse_hex(std::string_view text) {
  if (text.size() % 2 != 0) return std::nullopt;
  auto digit = [](char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
  };
  Bytes bytes;
  bytes.reserve(text.size() / 2);
  for (size_t i = 0; i < text.size(); i += 2) {
    const int high = digit(text[i]);
    const int low = digit(text[i + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    bytes.push_back(static_cast<std::byte>(high * 16 + low));
  }
  return bytes;
}

namespace {

constexpr char kBase64Digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

// The value of each digit; -1 for what is none.
constexpr std::array<int8_t, 256> make_base64_values() {
  std::array<int8_t, 256> values{};
  values.fill(-1);
  for (size_t i = 0; i < 64; ++i)
    values[static_cast<unsigned char>(kBase64Digits[i])] = static_cast<int8_t>(i);
  return values;
}
constexpr std::array<int8_t, 256> kBase64Values = make_base64_values();

}  // namespace

std::string to_base64(ByteView bytes) {
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t at = 0; at < bytes.size(); at += 3) {
    const size_t count = std::min<size_t>(3, bytes.size() - at);
    uint32_t group = 0;
    for (size_t i = 0; i < 3; ++i)
      group = group << 8 | (i < count ? std::to_integer<uint32_t>(bytes[at + i]) : 0);
    for (size_t i = 0; i < 4; ++i)
      text.push_back(i <= count ? kBase64Digits[group >> (18 - 6 * i) & 63] : '=');
  }
  return text;
}

std::optional<Bytes> parse_base64(std::string_view text) {
  if (text.size() % 4 != 0) return std::nullopt;
  size_t padding = 0;
  while (padding < 2 && padding < text.size() && text[text.size() - 1 - padding] == '=') ++padding;
  text.remove_suffix(padding);

  Bytes bytes;
  bytes.reserve(text.size() / 4 * 3 + 2);
  uint32_t held = 0;  // bits that do not make a byte yet, below them nothing
  unsigned held_bits = 0;
  for (char digit : text) {
    const int8_t value = kBase64Values[static_cast<unsigned char>(digit)];
    if (value < 0) return std::nullopt;
    held = (held << 6 | static_cast<uint32_t>(value)) & 0xFFFF;
    held_bits += 6;
    if (held_bits >= 8) {
      held_bits -= 8;
      bytes.push_back(static_cast<std::byte>(held >> held_bits & 0xFF));
    }
  }
  // What is left over of the last digit is zero in what to_base64 writes.
  if ((held & ((1u << held_bits) - 1)) != 0) return std::nullopt;
  return bytes;
}

void throw_narrow(const char* file, int line) {
  throw Error({.code = ErrorCode::kInternal,
               .message = "a number does not fit its type",
               .detail = fmt::format("At {}:{}.", file, line)},
              file, line);
}

uint64_t ByteReader::varint() {
  uint64_t value = 0;
  for (unsigned shift = 0; shift < 64; shift += 7) {
    const uint8_t byte = u8();
    // The tenth byte holds the one bit that is left.
    if (shift == 63 && byte > 1) fail("a variable-length number has more than 64 bits");
    value |= uint64_t{byte & 0x7Fu} << shift;
    if ((byte & 0x80) == 0) {
      if (byte == 0 && shift > 0) fail("a variable-length number is not in its shortest form");
      return value;
    }
  }
  fail("a variable-length number has more than 64 bits");
}

ByteView ByteReader::bytes(size_t count) {
  if (count > remaining())
    fail(fmt::format("{} bytes are needed and {} are left", count, remaining()));
  ByteView view = bytes_.subspan(position_, count);
  position_ += count;
  return view;
}

std::string_view ByteReader::text(size_t limit) {
  const uint64_t length = varint();
  if (length > limit)
    fail(fmt::format("a text of {} bytes exceeds its limit of {}", length, limit));
  return as_text(bytes(narrow<size_t>(length)));
}

void ByteReader::expect_end() const {
  if (!at_end()) fail(fmt::format("{} bytes follow its end", remaining()));
}

void ByteReader::fail(std::string_view problem) const {
  throw Error({.code = ErrorCode::kCorrupt,
               .message = fmt::format("damaged {}: {}", what_, problem),
               .detail = fmt::format("Found at byte {} of {}.", position_, bytes_.size())});
}

ByteWriter& ByteWriter::varint(uint64_t v) {
  while (v >= 0x80) {
    u8(static_cast<uint8_t>(v | 0x80));
    v >>= 7;
  }
  return u8(static_cast<uint8_t>(v));
}

ByteWriter& ByteWriter::bytes(ByteView v) {
  buffer_.insert(buffer_.end(), v.begin(), v.end());
  return *this;
}

ByteWriter& ByteWriter::text(std::string_view v) { return varint(v.size()).bytes(as_bytes(v)); }

}  // namespace holdfast
