// compression.h: zstd, lz4 or none, one buffer at a time.
//
// A frame's raw length is always known from outside (it stands in our own headers), so
// decompression never trusts a length that the compressed bytes claim and never writes beyond the
// caller's buffer. Contexts are kept between calls: a page loop allocates nothing. One Compressor
// or Decompressor serves one thread.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/bytes.h"

namespace holdfast::codec {

// The numbers stand in our formats.
enum class Compression : uint8_t { kNone = 0, kZstd = 1, kLz4 = 2 };

struct CompressionSetting {
  Compression algorithm = Compression::kZstd;
  int level = 3;  // zstd -7..19; lz4: 0 and 1 the fast compressor, 2..12 the high one; none: 0
  bool operator==(const CompressionSetting&) const = default;
};
// "zstd:3", "zstd", "lz4", "lz4:9", "none". Throws kConfiguration with a hint that names what is
// possible.
CompressionSetting parse_compression(std::string_view text);
std::string to_string(CompressionSetting setting);

class Compressor {
 public:
  explicit Compressor(CompressionSetting setting);
  ~Compressor();
  Compressor(Compressor&&) noexcept;

  // What a frame of `raw_bytes` can need at most.
  size_t bound(size_t raw_bytes) const;
  struct Result {
    Compression algorithm;  // kNone when compression would not have made it smaller: then `into`
                            // holds the raw bytes
    size_t bytes;
  };
  // Compresses `raw` into the front of `into`; the same bytes always make the same frame. zstd of
  // the levels 2 to 9 takes level 1 for bytes that hardly become smaller. REQUIRES: into.size() >=
  // bound(raw.size()).
  Result compress(ByteView raw, std::span<std::byte> into);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

class Decompressor {
 public:
  Decompressor();
  ~Decompressor();
  Decompressor(Decompressor&&) noexcept;

  // Fills `into` exactly; throws kCorrupt when `frame` is damaged or holds more or less than
  // into.size() bytes.
  void decompress(Compression algorithm, ByteView frame, std::span<std::byte> into);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace holdfast::codec
