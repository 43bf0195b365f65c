#include "store/carried_clock.h"

namespace holdfast::store {
namespace {

constexpr Microseconds kCarried = std::chrono::minutes(1);
// A wall clock that is being set right runs faster or slower by less.
constexpr Microseconds kApart = std::chrono::seconds(1);

}  // namespace

Time CarriedClock::now(const std::function<Time()>& ask, const Clock& clock) {
  {
    MutexLock lock(mutex_);
    const auto passed = std::chrono::floor<Microseconds>(clock.steady() - last_steady_);
    if (last_ && passed <= kCarried && abs(clock.now() - last_wall_ - passed) <= kApart)
      return *last_ + passed;
  }
  const Time asked = ask();
  MutexLock lock(mutex_);
  last_ = asked;
  last_wall_ = clock.now();
  last_steady_ = clock.steady();
  return asked;
}

}  // namespace holdfast::store
