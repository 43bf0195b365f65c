// task_group.h: threads that are always joined.
//
//   TaskGroup workers(stop);
//   for (int job = 0; job < jobs; ++job) workers.start([&](std::stop_token stop) { ... });
//   workers.wait();   // joins; rethrows the first error; the first error stops the others
//
// Each task starts with the Context of the thread that started it. The destructor requests stop and
// joins.
#pragma once

#include <chrono>
#include <exception>
#include <functional>
#include <stop_token>
#include <thread>
#include <vector>

#include "base/mutex.h"

namespace holdfast {

class TaskGroup {
 public:
  // Tasks are stopped too when `parent` is.
  explicit TaskGroup(std::stop_token parent = {});
  ~TaskGroup();
  TaskGroup(const TaskGroup&) = delete;
  TaskGroup& operator=(const TaskGroup&) = delete;

  void start(std::function<void(std::stop_token)> task);
  void request_stop() { source_.request_stop(); }
  std::stop_token stop_token() const { return source_.get_token(); }
  // Joins all; rethrows the first error that a task threw; else throws kInterrupted when the parent
  // was stopped, for then tasks may have returned with their work undone. May be called once.
  void wait();

 private:
  std::stop_token parent_token_;
  std::stop_source source_;
  std::stop_callback<std::function<void()>> parent_;
  std::vector<std::jthread> threads_;
  Mutex mutex_;
  std::exception_ptr first_error_ HF_GUARDED_BY(mutex_);
};

// Throws kInterrupted when `stop` was requested.
void throw_if_stopped(const std::stop_token& stop);

// Waits for `duration` or until stop is requested; false when stopped. The only way to wait for
// time in src/.
bool wait_for(const std::stop_token& stop, std::chrono::milliseconds duration);

}  // namespace holdfast
