// A frame of any algorithm, damaged in any way: it fills the buffer exactly or is refused with an
// Error.

#include <cstdlib>

#include "base/error.h"
#include "codec/compression.h"

// Input: algorithm u8, raw length u24 (as much of it as makes 256 KiB), frame.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace holdfast;
  if (size < 4) return 0;
  ByteView input = std::as_bytes(std::span(data, size));
  size_t raw_bytes = (load_le<uint32_t>(input.data()) >> 8) & 0x3FFFF;
  static codec::Decompressor decompressor;
  Bytes into(raw_bytes);
  codec::Compression algorithm = static_cast<codec::Compression>(data[0]);
  try {
    decompressor.decompress(algorithm, input.subspan(4), into);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kCorrupt) std::abort();
    return 0;
  }
  // What was accepted comes back the same from a frame of our own.
  if (algorithm == codec::Compression::kNone) return 0;
  static codec::Compressor compressors[] = {codec::Compressor({codec::Compression::kZstd, 1}),
                                            codec::Compressor({codec::Compression::kLz4, 1})};
  codec::Compressor& compressor = compressors[algorithm == codec::Compression::kZstd ? 0 : 1];
  Bytes frame(compressor.bound(into.size()));
  codec::Compressor::Result result = compressor.compress(into, frame);
  Bytes again(into.size());
  decompressor.decompress(result.algorithm, ByteView(frame).first(result.bytes), again);
  if (again != into) std::abort();
  return 0;
}
