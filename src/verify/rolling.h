// rolling.h: what of that which is known to be good is read again now, because it was read longest
// ago.
//
// A disk loses bits without a trace, and an object that was read once would never be read again. So
// each run reads so much of the oldest that within `within` everything is read once more: of all
// bytes the part t / within must have been read in the last t, for every t.
//
//   age     0 ........ t ............................ within
//   read    [--------- at least t / within of all ---------]
//
// What is missing at the worst t is read now, the oldest first. So what was read all at once is
// spread over the time by the runs that follow, and where verify did not run for long, all that is
// due is read at once. What nobody knows the age of counts as old as that.
//
// Memory: 16 bytes for each run whose reading still counts.
#pragma once

#include <cstdint>
#include <map>

#include "base/time.h"
#include "repo/verified_objects.h"

namespace holdfast::verify {

class Rolling {
 public:
  // What will be read anyway.
  void add_fresh(uint64_t bytes) { fresh_ += bytes; }
  void add(repo::LastRead read, uint64_t bytes) { by_read_[read] += bytes; }
  // After all add()s. `within` 0: nothing is read again.
  void decide(Time now, Microseconds within);
  // Whether one that was added is to be read now. Once for each, in any order.
  bool take(repo::LastRead read, uint64_t bytes);

 private:
  uint64_t due_bytes(Time now, Microseconds within) const;

  std::map<repo::LastRead, uint64_t> by_read_;
  uint64_t fresh_ = 0;
  // All that was read before is taken; of what was read then, so much.
  repo::LastRead cut_ = {};
  uint64_t left_ = 0;
};

}  // namespace holdfast::verify
