#include "base/task_group.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace holdfast {

TaskGroup::TaskGroup(std::stop_token parent)
    : parent_token_(parent), parent_(std::move(parent), [this] { source_.request_stop(); }) {}

TaskGroup::~TaskGroup() {
  source_.request_stop();
  threads_.clear();  // joins, while what the tasks use is still there
}

void TaskGroup::start(std::function<void(std::stop_token)> task) {
  threads_.emplace_back([this, task = std::move(task), lines = Context::lines()]() mutable {
    Context::adopt(std::move(lines));
    // The error crosses to the thread that waits.
    try {
      task(source_.get_token());
    } catch (...) {
      {
        MutexLock lock(mutex_);
        if (!first_error_) first_error_ = std::current_exception();
      }
      // After the error was kept, so that what the stop makes other tasks throw comes second.
      source_.request_stop();
    }
  });
}

void TaskGroup::wait() {
  for (std::jthread& thread : threads_)
    if (thread.joinable()) thread.join();
  std::exception_ptr error;
  {
    MutexLock lock(mutex_);
    error = std::exchange(first_error_, nullptr);
  }
  if (error) std::rethrow_exception(std::move(error));
  // Tasks that returned early because of the stop have not done their work: the caller must not
  // take it for done.
  throw_if_stopped(parent_token_);
}

void throw_if_stopped(const std::stop_token& stop) {
  if (stop.stop_requested())
    throw Error({.code = ErrorCode::kInterrupted, .message = "interrupted by a request to stop"});
}

bool wait_for(const std::stop_token& stop, std::chrono::milliseconds duration) {
  // Longer than any command lives, and far from the overflow of the clock.
  constexpr std::chrono::milliseconds kLongest = std::chrono::hours(24 * 365);
  Mutex mutex;
  ConditionVariable never;
  std::unique_lock<Mutex> lock(mutex);
  never.wait_for(lock, stop, std::min(duration, kLongest), [] { return false; });
  return !stop.stop_requested();
}

}  // namespace holdfast
