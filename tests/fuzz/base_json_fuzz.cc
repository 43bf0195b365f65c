// Any bytes are JSON or refused; what was read is written and read back as the same.
#include <cstdint>
#include <cstdlib>

#include "base/bytes.h"
#include "base/error.h"
#include "base/json.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace holdfast;
  const std::string_view text = as_text(std::as_bytes(std::span(data, size)));
  std::string written;
  try {
    written = Json::parse(text, "input").dump();
  } catch (const Error&) {
    return 0;
  }
  // Outside the try: our own text must be readable.
  const std::string again = Json::parse(written, "output").dump();
  if (again != written) std::abort();
  return 0;
}
