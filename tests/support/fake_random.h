// fake_random.h: bytes that look random and are the same in every run of a seed.
#pragma once

#include <random>

#include "base/mutex.h"
#include "base/random.h"

namespace holdfast::test {

// Safe from any thread; the order of the calls decides who gets which bytes.
class FakeRandom : public RandomSource {
 public:
  explicit FakeRandom(uint64_t seed = 1) : engine_(seed) {}

  void fill(std::span<std::byte> into) override {
    MutexLock lock(mutex_);
    for (std::byte& byte : into) byte = static_cast<std::byte>(engine_() >> 56);
  }

 private:
  Mutex mutex_;
  std::mt19937_64 engine_ HF_GUARDED_BY(mutex_);
};

}  // namespace holdfast::test
