// Any text is a log: the parser takes it line by line and refuses nothing.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "cluster/recovery_log.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace holdfast::cluster;
  std::string_view text(reinterpret_cast<const char*>(data), size);
  RecoveryLogParser parser;
  auto look = [](const RecoveryEvent& event) {
    if (event.kind == RecoveryEventKind::kFailure && advice(event.failure).action.empty())
      __builtin_trap();
    if (event.kind != RecoveryEventKind::kFailure && event.failure != RecoveryFailure::kNone)
      __builtin_trap();
  };
  while (!text.empty()) {
    size_t end = text.find('\n');
    for (const RecoveryEvent& event : parser.feed(text.substr(0, end))) look(event);
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + 1);
  }
  if (std::optional<RecoveryEvent> event = parser.flush()) look(*event);
  return 0;
}
