// A tar archive, its content read and passed over in turn.
#include <algorithm>

#include "base/error.h"
#include "base/tar_reader.h"

using namespace holdfast;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const ByteView bytes(reinterpret_cast<const std::byte*>(data), size);
  size_t at = 0;
  TarReader reader(
      [&](std::span<std::byte> into) {
        const size_t count = std::min(into.size(), bytes.size() - at);
        std::ranges::copy(bytes.subspan(at, count), into.begin());
        at += count;
        return count;
      },
      "tar");
  try {
    Bytes buffer(300);
    for (bool reads = true; std::optional<TarEntry> entry = reader.next(); reads = !reads) {
      HF_CHECK(!entry->path.starts_with('/') && entry->path.find('\0') == std::string::npos);
      HF_CHECK(entry->path != ".." && entry->path.find("../") != 0);
      HF_CHECK(entry->path.find("/../") == std::string::npos);
      while (reads && reader.read(buffer) > 0) {
      }
    }
  } catch (const Error&) {
  }
  return 0;
}
