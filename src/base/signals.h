// signals.h: SIGINT, SIGTERM and SIGHUP become a stop request.
#pragma once

#include <atomic>
#include <signal.h>
#include <stop_token>
#include <thread>

namespace holdfast {

// Made once, at the start of main, before any other thread: blocks the signals in all threads and
// runs one thread in sigwait that sets the stop source. A second signal ends the process at once
// with status 130. SIGPIPE is ignored for the process. A signal that is ignored when the process
// starts (nohup) stays ignored. The destructor restores this thread's signal mask.
class SignalStop {
 public:
  SignalStop();
  ~SignalStop();
  std::stop_token token() const { return source_.get_token(); }
  // The number of the signal that came, 0 if none did.
  int signal_number() const { return signal_; }

 private:
  sigset_t previous_mask_{};
  std::stop_source source_;
  std::atomic<int> signal_{0};
  std::atomic<bool> ending_{false};
  std::thread thread_;
};

}  // namespace holdfast
