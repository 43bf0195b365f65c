#include "cluster/server_log.h"

#include <algorithm>
#include <array>
#include <climits>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fmt/format.h>

#include "base/file.h"
#include "cluster/recovery_log.h"

namespace holdfast::cluster {
namespace {

constexpr std::array<std::string_view, 2> kAttempts = {"archive command failed",
                                                       "archive command was terminated"};
// What continues another line of the server's.
constexpr std::array<std::string_view, 6> kContinuations = {
    "DETAIL:  ", "HINT:  ", "CONTEXT:  ", "STATEMENT:  ", "QUERY:  ", "LOCATION:  "};

bool is_attempt(std::string_view message) {
  return std::ranges::any_of(kAttempts,
                             [&](std::string_view start) { return message.starts_with(start); });
}

// The server's lines have a prefix (log_line_prefix is not empty by default); a program that words
// its errors in the same way has none.
bool is_servers(std::string_view line) {
  if (split_log_line(line)) return !line.starts_with("ERROR:  ") && !line.starts_with("WARNING:  ");
  return std::ranges::any_of(kContinuations, [&](std::string_view label) {
    size_t at = line.find(label);
    return at != std::string_view::npos && at > 0;
  });
}

}  // namespace

std::optional<ArchiverWords> ArchiverWordsParser::feed(std::string_view line) {
  std::optional<LogLine> split = split_log_line(line);
  if (split && is_attempt(split->message)) {
    ArchiverWords words{.message = std::string(split->message.substr(0, kMaxLineBytes)),
                        .lines = {lines_.begin(), lines_.end()},
                        .ended_archiver = split->level == LogLevel::kFatal};
    lines_.clear();
    return words;
  }
  if (is_servers(line) || line.empty()) return std::nullopt;
  lines_.emplace_back(line.substr(0, kMaxLineBytes));
  if (lines_.size() > kMaxLines) lines_.pop_front();
  return std::nullopt;
}

std::optional<std::string> find_server_log(const ServerFacts& facts, pid_t postmaster) {
  std::string path;
  if (facts.logging_collector) {
    if (!facts.current_log_file) return std::nullopt;
    path = facts.current_log_file->starts_with('/')
               ? *facts.current_log_file
               : join_path(facts.data_directory, *facts.current_log_file);
  } else {
    std::array<char, PATH_MAX> buffer;
    ssize_t count =
        readlink(fmt::format("/proc/{}/fd/2", postmaster).c_str(), buffer.data(), buffer.size());
    if (count <= 0) return std::nullopt;
    path.assign(buffer.data(), static_cast<size_t>(count));
  }
  struct stat status{};
  bool is_file = stat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode);
  if (!is_file || faccessat(AT_FDCWD, path.c_str(), R_OK, AT_EACCESS) != 0) return std::nullopt;
  return path;
}

std::vector<std::string> environment_of(pid_t pid) {
  std::vector<std::string> variables;
  std::string path = fmt::format("/proc/{}/environ", pid);
  if (faccessat(AT_FDCWD, path.c_str(), R_OK, AT_EACCESS) != 0) return variables;
  std::string text = read_text_file(path, size_t{1} << 20);
  for (size_t at = 0; at < text.size();) {
    size_t end = std::min(text.find('\0', at), text.size());
    if (end > at) variables.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return variables;
}

}  // namespace holdfast::cluster
