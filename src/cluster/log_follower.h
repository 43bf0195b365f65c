// log_follower.h: the lines of a log file while a server writes them.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <stop_token>
#include <string>

#include "base/file.h"

namespace holdfast::cluster {

// Reads whole lines only; a longer one than kMaxLineBytes comes in pieces. A file that becomes
// shorter is read from its start again. One thread at a time.
class LogFollower {
 public:
  static constexpr size_t kMaxLineBytes = 65536;

  // Begins at `offset`. The file may not be there yet.
  explicit LogFollower(std::string path, uint64_t offset = 0);
  // Where a follower begins that is to see only what is written from now on.
  static uint64_t end_of(const std::string& path);

  // The next line without its newline; nullopt when none is complete within `timeout`. Throws
  // kInterrupted.
  std::optional<std::string> next_line(std::stop_token stop, std::chrono::milliseconds timeout);

 private:
  bool read_more();
  std::optional<std::string> take_line();

  std::string path_;
  uint64_t offset_;  // of the byte behind those in buffer_
  std::string buffer_;
  size_t taken_ = 0;  // bytes at the start of buffer_ that were given out
};

}  // namespace holdfast::cluster
