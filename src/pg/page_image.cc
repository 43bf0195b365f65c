#include "pg/page_image.h"

#include <algorithm>

#include "base/error.h"
#include "codec/compression.h"
#include "pg/page.h"

namespace holdfast::pg {
namespace {

constexpr size_t kLinePointer = 4;
constexpr size_t kRowHeader = 23;
constexpr size_t kRowHeaderBytesAt = 22;  // t_hoff

std::optional<Bytes> expand_with(codec::Compression algorithm, ByteView compressed,
                                 size_t raw_bytes) {
  Bytes raw(raw_bytes);
  if (error_of({ErrorCode::kCorrupt},
               [&] { codec::Decompressor().decompress(algorithm, compressed, raw); }))
    return std::nullopt;
  return raw;
}

std::optional<Bytes> without_hole(uint8_t info, ByteView image, size_t raw_bytes, int major) {
  if (major < 15) {
    if ((info & kImageCompressedUntil14) != 0) return expand_pglz(image, raw_bytes);
  } else {
    if ((info & kImagePglz) != 0) return expand_pglz(image, raw_bytes);
    if ((info & kImageLz4) != 0) return expand_with(codec::Compression::kLz4, image, raw_bytes);
    if ((info & kImageZstd) != 0) return expand_with(codec::Compression::kZstd, image, raw_bytes);
  }
  if (image.size() != raw_bytes) return std::nullopt;
  return Bytes(image.begin(), image.end());
}

}  // namespace

// A byte of eight flags, the lowest first, before eight items: a literal byte, or a match.
//
//   match := (distance >> 4) & 0xF0 | length - 3, distance & 0xFF, if the length is 18: what is
//   added
std::optional<Bytes> expand_pglz(ByteView compressed, size_t raw_bytes) {
  constexpr size_t kShortest = 3, kLongest = 18;
  Bytes raw;
  raw.reserve(raw_bytes);
  size_t at = 0;
  const auto next = [&] { return static_cast<uint8_t>(compressed[at++]); };
  while (at < compressed.size() && raw.size() < raw_bytes) {
    const uint8_t flags = next();
    for (int item = 0; item < 8 && at < compressed.size() && raw.size() < raw_bytes; ++item) {
      if (((flags >> item) & 1) == 0) {
        raw.push_back(compressed[at++]);
        continue;
      }
      if (compressed.size() - at < 2) return std::nullopt;
      const uint8_t first = next();
      size_t length = (first & 0x0FU) + kShortest;
      const size_t distance = (static_cast<size_t>(first & 0xF0U) << 4) | next();
      if (length == kLongest) {
        if (at == compressed.size()) return std::nullopt;
        length += next();
      }
      if (distance == 0 || distance > raw.size()) return std::nullopt;
      for (length = std::min(length, raw_bytes - raw.size()); length > 0; --length)
        raw.push_back(raw[raw.size() - distance]);
    }
  }
  if (at != compressed.size() || raw.size() != raw_bytes) return std::nullopt;
  return raw;
}

std::optional<Bytes> expand_page_image(const WalBlock& block, ByteView image, int major) {
  if (block.hole_bytes > kPageBytes || block.hole_offset > kPageBytes - block.hole_bytes)
    return std::nullopt;
  std::optional<Bytes> page =
      without_hole(block.image_info, image, kPageBytes - block.hole_bytes, major);
  if (page)
    page->insert(page->begin() + static_cast<ptrdiff_t>(block.hole_offset), block.hole_bytes,
                 std::byte{0});
  return page;
}

ByteView row_of_page(ByteView page, uint16_t line) {
  const size_t pointer_at = kPageHeaderBytes + (size_t{line} - 1) * kLinePointer;
  if (line == 0 || page.size() != kPageBytes || pointer_at + kLinePointer > page.size()) return {};
  const auto pointer = load_le<uint32_t>(page.data() + pointer_at);
  const size_t offset = pointer & 0x7FFFU, bytes = pointer >> 17;
  if (bytes < kRowHeader || offset > page.size() || bytes > page.size() - offset) return {};
  const ByteView row = page.subspan(offset, bytes);
  const auto header_bytes = static_cast<uint8_t>(row[kRowHeaderBytesAt]);
  return header_bytes > row.size() ? ByteView{} : row.subspan(header_bytes);
}

}  // namespace holdfast::pg
