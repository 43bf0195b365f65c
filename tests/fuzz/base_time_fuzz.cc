// Any text is a time, a duration or a size, or refused; what is printed of it reads back as the
// same.
#include <cstdint>
#include <cstdlib>

#include "base/bytes.h"
#include "base/error.h"
#include "base/time.h"

namespace {

using namespace holdfast;

// nullopt where the text is refused as it should be.
template <typename Parse>
auto accepted(Parse parse, std::string_view text) -> std::optional<decltype(parse(text))> {
  try {
    return parse(text);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kInvalidText) std::abort();
    return std::nullopt;
  }
}

void expect(bool holds) {
  if (!holds) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text = as_text(std::as_bytes(std::span(data, size)));
  if (const std::optional<Time> time = parse_rfc3339(text)) {
    // An offset can lead out of the years that are read, 1 to 9999.
    const std::optional<Time> again = parse_rfc3339(to_rfc3339(*time));
    expect(!again || *again == *time);
    expect(parse_time(text) == *time);
  }
  if (const std::optional<Time> time = accepted(parse_time, text)) {
    to_local(*time);
    to_compact_utc(*time);
    const std::optional<Time> again = accepted(parse_time, to_postgres(*time));
    expect(!again || *again == *time);
  }
  accepted([](std::string_view words) { return parse_moment(words, Time{}); }, text);
  if (const std::optional<Microseconds> duration = accepted(parse_duration, text)) {
    // Printed in two units at most, cut off: never more than it is.
    expect(parse_duration(to_human(*duration)) <= *duration);
  }
  if (const std::optional<uint64_t> bytes = accepted(parse_bytes, text)) to_human_bytes(*bytes);
  return 0;
}
