// damage.h: how an Error of one object becomes a finding, and the findings of a lineage.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/mutex.h"
#include "verify/verify.h"

namespace holdfast::verify {

Finding finding_of(const std::string& object, const Error& error);

// Safe from any thread. One finding for each object: what is added for one that has one already
// goes to its detail.
class Findings {
 public:
  void add(Finding finding);
  void add(const std::string& object, const Error& error) { add(finding_of(object, error)); }
  // That backup cannot be restored because of what was found of that object.
  void blame(const std::string& object, const std::string& backup, const std::string& file = {});
  bool has(const std::string& object) const;
  // Whether that backup is blamed on objects that could not be read, and on nothing else.
  bool is_only_unreadable(const std::string& backup) const;

  uint64_t count() const;
  std::vector<Finding> take();

 private:
  mutable Mutex mutex_;
  std::map<std::string, Finding> by_object_ HF_GUARDED_BY(mutex_);
  uint64_t dropped_ HF_GUARDED_BY(mutex_) = 0;
};

}  // namespace holdfast::verify
