#include "base/rate_limit.h"

#include <algorithm>

#include "base/task_group.h"

namespace holdfast {
namespace {

constexpr std::chrono::milliseconds kUnused{100};

}  // namespace

std::chrono::nanoseconds RateLimit::book(uint64_t bytes,
                                         std::chrono::steady_clock::time_point now) {
  if (rate_ == 0) return {};
  const auto length = std::chrono::duration_cast<std::chrono::nanoseconds>(
      std::chrono::duration<double>(static_cast<double>(bytes) / static_cast<double>(rate_)));
  MutexLock lock(mutex_);
  next_ = std::max(next_, now - kUnused);
  const auto turn = next_;
  next_ += length;
  return std::max(std::chrono::nanoseconds(turn - now), std::chrono::nanoseconds(0));
}

void RateLimit::take(uint64_t bytes, const std::stop_token& stop) {
  const std::chrono::nanoseconds wait = book(bytes, std::chrono::steady_clock::now());
  if (wait.count() == 0) return;
  wait_for(stop, std::chrono::ceil<std::chrono::milliseconds>(wait));
  throw_if_stopped(stop);
}

}  // namespace holdfast
