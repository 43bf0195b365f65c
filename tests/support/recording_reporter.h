// recording_reporter.h: keeps what a verb reported, for a test to look at.
#pragma once

#include <string>
#include <vector>

#include "base/mutex.h"
#include "base/reporter.h"

namespace holdfast::test {

// Safe from any thread.
class RecordingReporter : public Reporter {
 public:
  void phase(std::string_view name, uint64_t) override {
    MutexLock lock(mutex_);
    phases_.emplace_back(name);
  }
  void amount(uint64_t bytes) override {
    MutexLock lock(mutex_);
    total_bytes_ += bytes;
  }
  void note(std::string_view text) override {
    MutexLock lock(mutex_);
    notes_.emplace_back(text);
  }
  void warning(std::string_view text) override {
    MutexLock lock(mutex_);
    warnings_.emplace_back(text);
  }

  std::vector<std::string> phases() const {
    MutexLock lock(mutex_);
    return phases_;
  }
  std::vector<std::string> notes() const {
    MutexLock lock(mutex_);
    return notes_;
  }
  std::vector<std::string> warnings() const {
    MutexLock lock(mutex_);
    return warnings_;
  }
  // Of all phases together.
  uint64_t total_bytes() const {
    MutexLock lock(mutex_);
    return total_bytes_;
  }

 private:
  mutable Mutex mutex_;
  std::vector<std::string> phases_ HF_GUARDED_BY(mutex_);
  std::vector<std::string> notes_ HF_GUARDED_BY(mutex_);
  std::vector<std::string> warnings_ HF_GUARDED_BY(mutex_);
  uint64_t total_bytes_ HF_GUARDED_BY(mutex_) = 0;
};

}  // namespace holdfast::test
