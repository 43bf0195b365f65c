// A compressed file, in pieces.
#include <algorithm>

#include "base/error.h"
#include "codec/stream_decompressor.h"

using namespace holdfast;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const ByteView bytes(reinterpret_cast<const std::byte*>(data), size);
  size_t at = 0;
  try {
    codec::StreamDecompressor stream(
        [&](std::span<std::byte> into) {
          const size_t count = std::min(into.size(), bytes.size() - at);
          std::ranges::copy(bytes.subspan(at, count), into.begin());
          at += count;
          return count;
        },
        "x");
    Bytes buffer(10'000);
    // What little bytes can become is bounded here, not there.
    for (int piece = 0; piece < 2000 && stream.read(buffer) == buffer.size(); ++piece) {
    }
  } catch (const Error&) {
  }
  return 0;
}
