// fake_clock.h: a clock that stands still until it is told to move.
#pragma once

#include "base/mutex.h"
#include "base/time.h"

namespace holdfast::test {

// Safe from any thread. Both of its clocks move together, unless it sleeps.
class FakeClock : public Clock {
 public:
  explicit FakeClock(Time start = Time{std::chrono::seconds{
                         1795335759}})  // 2026-11-22 08:22:39 UTC
      : now_(start) {}

  Time now() const override {
    MutexLock lock(mutex_);
    return now_;
  }
  std::chrono::steady_clock::time_point steady() const override {
    MutexLock lock(mutex_);
    return std::chrono::steady_clock::time_point{} + passed_;
  }
  void advance(Microseconds by) {
    MutexLock lock(mutex_);
    now_ += by;
    passed_ += by;
  }
  // Of a machine that is suspended the wall clock alone moves on.
  void sleep(Microseconds by) {
    MutexLock lock(mutex_);
    now_ += by;
  }

 private:
  mutable Mutex mutex_;
  Time now_ HF_GUARDED_BY(mutex_);
  Microseconds passed_ HF_GUARDED_BY(mutex_){0};
};

}  // namespace holdfast::test
