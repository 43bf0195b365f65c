// Any text is a log: the parser takes it line by line and refuses nothing, and what it keeps is
// bounded.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "cluster/server_log.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace holdfast::cluster;
  std::string_view text(reinterpret_cast<const char*>(data), size);
  ArchiverWordsParser parser;
  while (!text.empty()) {
    size_t end = text.find('\n');
    if (std::optional<ArchiverWords> words = parser.feed(text.substr(0, end))) {
      if (words->message.empty() || words->lines.size() > ArchiverWordsParser::kMaxLines)
        __builtin_trap();
      for (const std::string& line : words->lines)
        if (line.empty() || line.size() > ArchiverWordsParser::kMaxLineBytes) __builtin_trap();
    }
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + 1);
  }
  return 0;
}
