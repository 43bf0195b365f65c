// mutex.h: std::mutex with clang's thread-safety annotations. Shared state lives in one class with
// one Mutex; its fields carry HF_GUARDED_BY(mutex_). No callback runs under a lock.
#pragma once

#include <condition_variable>
#include <mutex>

#if defined(__clang__)
#define HF_THREAD_ANNOTATION(x) __attribute__((x))
#else
#define HF_THREAD_ANNOTATION(x)
#endif
#define HF_GUARDED_BY(x) HF_THREAD_ANNOTATION(guarded_by(x))
#define HF_REQUIRES(...) HF_THREAD_ANNOTATION(requires_capability(__VA_ARGS__))

namespace holdfast {

class HF_THREAD_ANNOTATION(capability("mutex")) Mutex {
 public:
  void lock() HF_THREAD_ANNOTATION(acquire_capability()) { mutex_.lock(); }
  void unlock() HF_THREAD_ANNOTATION(release_capability()) { mutex_.unlock(); }
  bool try_lock() HF_THREAD_ANNOTATION(try_acquire_capability(true)) { return mutex_.try_lock(); }

 private:
  std::mutex mutex_;
};

class HF_THREAD_ANNOTATION(scoped_lockable) MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) HF_THREAD_ANNOTATION(acquire_capability(mutex)) : mutex_(mutex) {
    mutex_.lock();
  }
  ~MutexLock() HF_THREAD_ANNOTATION(release_capability()) { mutex_.unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex& mutex_;
};

// Waits on a Mutex (std::condition_variable_any works with any lockable).
using ConditionVariable = std::condition_variable_any;

}  // namespace holdfast
