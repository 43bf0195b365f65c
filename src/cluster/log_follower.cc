#include "cluster/log_follower.h"

#include <algorithm>
#include <array>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/task_group.h"

namespace holdfast::cluster {
namespace {

constexpr std::chrono::milliseconds kFollowRound{50};

}  // namespace

LogFollower::LogFollower(std::string path, uint64_t offset)
    : path_(std::move(path)), offset_(offset) {}

uint64_t LogFollower::end_of(const std::string& path) {
  std::optional<struct stat> status = stat_if_exists(path);
  return status ? static_cast<uint64_t>(status->st_size) : 0;
}

std::optional<std::string> LogFollower::take_line() {
  size_t end = buffer_.find('\n', taken_);
  size_t pending = buffer_.size() - taken_;
  if (end == std::string::npos && pending < kMaxLineBytes) return std::nullopt;
  size_t length = std::min(end == std::string::npos ? pending : end - taken_, kMaxLineBytes);
  std::string line = buffer_.substr(taken_, length);
  taken_ += length;
  if (taken_ < buffer_.size() && buffer_[taken_] == '\n') ++taken_;
  return line;
}

// False when there is nothing new.
bool LogFollower::read_more() {
  std::optional<Fd> fd = open_if_exists(path_, O_RDONLY);
  if (!fd) return false;
  struct stat status{};
  if (fstat(fd->get(), &status) != 0) throw_errno("stat", path_);
  if (static_cast<uint64_t>(status.st_size) < offset_) {
    offset_ = 0;
    buffer_.clear();
    taken_ = 0;
  }
  std::array<std::byte, kMaxLineBytes> piece;
  size_t count = pread_some(*fd, piece, offset_, path_);
  if (count == 0) return false;
  buffer_.erase(0, taken_);
  taken_ = 0;
  buffer_ += as_text(ByteView(piece).first(count));
  offset_ += count;
  return true;
}

std::optional<std::string> LogFollower::next_line(std::stop_token stop,
                                                  std::chrono::milliseconds timeout) {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  for (;;) {
    throw_if_stopped(stop);
    if (std::optional<std::string> line = take_line()) return line;
    if (read_more()) continue;
    auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        deadline - std::chrono::steady_clock::now());
    if (left.count() <= 0) return std::nullopt;
    wait_for(stop, std::min(left, kFollowRound));
  }
}

}  // namespace holdfast::cluster
