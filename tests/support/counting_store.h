// counting_store.h: a Store that counts what is read of each object.
#pragma once

#include <map>
#include <string>

#include "base/mutex.h"
#include "support/fault_store.h"

namespace holdfast::test {

// Safe from any thread.
class CountingStore : public FaultStore {
 public:
  explicit CountingStore(store::Store& below)
      : FaultStore(below, Fault{.first = Fault::kAllFurther}) {}

  std::optional<Bytes> read(const std::string& name, uint64_t offset, uint64_t length) override {
    std::optional<Bytes> bytes = FaultStore::read(name, offset, length);
    if (bytes) count(name, bytes->size());
    return bytes;
  }
  std::optional<size_t> read_into(const std::string& name, uint64_t offset,
                                  std::span<std::byte> into) override {
    std::optional<size_t> bytes = FaultStore::read_into(name, offset, into);
    if (bytes) count(name, *bytes);
    return bytes;
  }

  // 0: it was not read.
  uint64_t bytes_of(const std::string& name) {
    MutexLock lock(mutex_);
    return by_name_[name];
  }
  uint64_t total_bytes() {
    MutexLock lock(mutex_);
    uint64_t total = 0;
    for (const auto& [name, bytes] : by_name_) total += bytes;
    return total;
  }

 private:
  void count(const std::string& name, uint64_t bytes) {
    MutexLock lock(mutex_);
    by_name_[name] += bytes;
  }
  Mutex mutex_;
  std::map<std::string, uint64_t> by_name_ HF_GUARDED_BY(mutex_);
};

}  // namespace holdfast::test
