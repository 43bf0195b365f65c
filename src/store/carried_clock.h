// carried_clock.h: the time of somebody else's clock, asked for once in a while and carried on by
// this host's.
//
// By claims and their ends a host is told what it may remove, and what it still holds. Its steady
// clock stands still while the machine is suspended, and both of its clocks do while a virtual one
// is paused: carried on by the steady clock alone, a claim that ran out in the night would look
// valid for a minute in the morning. So the two have to agree on how long that was.
#pragma once

#include <functional>
#include <optional>

#include "base/mutex.h"
#include "base/time.h"

namespace holdfast::store {

// Safe from any thread.
class CarriedClock {
 public:
  // What `ask` answers, or that carried on for a minute at most; never where the wall clock tells
  // of another time that has passed since.
  Time now(const std::function<Time()>& ask, const Clock& clock = system_clock());

 private:
  Mutex mutex_;
  std::optional<Time> last_ HF_GUARDED_BY(mutex_);
  Time last_wall_ HF_GUARDED_BY(mutex_){};
  std::chrono::steady_clock::time_point last_steady_ HF_GUARDED_BY(mutex_);
};

}  // namespace holdfast::store
