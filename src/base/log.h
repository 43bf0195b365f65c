// log.h: log lines on stderr, "2026-11-22 08:22:39.544 UTC [pid] LEVEL:  text", for work that
// nobody watches (wal push and get run by the server). The level is set once by main. Errors are
// logged or thrown, never both.
#pragma once

#include <string_view>
#include <utility>

#include <fmt/core.h>

namespace holdfast {

enum class LogLevel : unsigned char { kDebug, kInfo, kWarning, kError };
void set_log_level(LogLevel level);
LogLevel log_level();
void log_line(LogLevel level, std::string_view text);

template <typename... Args>
void log_debug(fmt::format_string<Args...> format, Args&&... args) {
  if (log_level() <= LogLevel::kDebug)
    log_line(LogLevel::kDebug, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void log_info(fmt::format_string<Args...> format, Args&&... args) {
  if (log_level() <= LogLevel::kInfo)
    log_line(LogLevel::kInfo, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void log_warning(fmt::format_string<Args...> format, Args&&... args) {
  if (log_level() <= LogLevel::kWarning)
    log_line(LogLevel::kWarning, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace holdfast
