#include "base/log.h"

#include <atomic>
#include <cerrno>
#include <string>
#include <unistd.h>

#include "base/time.h"

namespace holdfast {
namespace {

// The one mutable global of the program: what main chose, read by every thread that logs.
std::atomic<LogLevel> chosen_level{LogLevel::kInfo};

std::string_view name_of(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return "DEBUG";
    case LogLevel::kInfo:
      return "LOG";
    case LogLevel::kWarning:
      return "WARNING";
    case LogLevel::kError:
      return "ERROR";
  }
  return "ERROR";
}

}  // namespace

void set_log_level(LogLevel level) { chosen_level = level; }

LogLevel log_level() { return chosen_level; }

void log_line(LogLevel level, std::string_view text) {
  if (level < log_level()) return;
  std::string line =
      fmt::format("{} [{}] {}:  ", to_local(system_clock().now()), getpid(), name_of(level));
  // Further lines are indented by a tab, as the server's are, so that each entry has one first
  // line.
  for (char c : text) {
    line.push_back(c);
    if (c == '\n') line.push_back('\t');
  }
  line.push_back('\n');

  // One write a line: lines of several processes on one log do not mix. A log that cannot be
  // written has nowhere to say so.
  std::string_view rest = line;
  while (!rest.empty()) {
    const ssize_t count = write(STDERR_FILENO, rest.data(), rest.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return;
    rest.remove_prefix(static_cast<size_t>(count));
  }
}

}  // namespace holdfast
