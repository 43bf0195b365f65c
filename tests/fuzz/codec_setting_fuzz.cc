// The compression setting as a person may have written it.

#include <cstdlib>

#include "base/error.h"
#include "codec/compression.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace holdfast;
  std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    codec::CompressionSetting setting = codec::parse_compression(text);
    if (codec::parse_compression(codec::to_string(setting)) != setting) std::abort();
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kConfiguration) std::abort();
  }
  return 0;
}
