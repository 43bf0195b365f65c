// rate_limit.h: how many bytes a second several threads may read or write together.
//
// Each take() books its bytes behind those before it and waits until its turn. A pause is not made
// up for: what was not used in a second is gone, but for a tenth of one.
#pragma once

#include <chrono>
#include <cstdint>
#include <stop_token>

#include "base/mutex.h"
#include "base/time.h"

namespace holdfast {

class RateLimit {
 public:
  explicit RateLimit(uint64_t bytes_per_second) : rate_(bytes_per_second) {}  // 0: none

  // Waits until `bytes` more may pass. Throws kInterrupted.
  void take(uint64_t bytes, const std::stop_token& stop);
  // Books them and says how long to wait from `now` on.
  std::chrono::nanoseconds book(uint64_t bytes, std::chrono::steady_clock::time_point now);

 private:
  const uint64_t rate_;
  Mutex mutex_;
  std::chrono::steady_clock::time_point next_ HF_GUARDED_BY(mutex_);
};

}  // namespace holdfast
