#include "base/signals.h"

#include <initializer_list>
#include <pthread.h>
#include <unistd.h>

#include "base/error.h"

namespace holdfast {
namespace {

// Wakes the waiting thread so that the destructor can join it. Harmless to a thread that does not
// block it: its default action is to be ignored (signal(7)).
constexpr int kWakeSignal = SIGURG;

constexpr int kExitInterrupted = 130;

bool is_ignored(int number) {
  struct sigaction action{};
  return sigaction(number, nullptr, &action) == 0 && action.sa_handler == SIG_IGN;
}

}  // namespace

SignalStop::SignalStop() {
  struct sigaction ignore{};
  ignore.sa_handler = SIG_IGN;
  sigaction(SIGPIPE, &ignore, nullptr);

  // What our parent told us to ignore (nohup; a shell's background job) stays ignored. It must be
  // left out: Linux keeps a blocked signal for sigwait even when its action is to be ignored.
  sigset_t stopping;
  sigemptyset(&stopping);
  for (int number : {SIGINT, SIGTERM, SIGHUP})
    if (!is_ignored(number)) sigaddset(&stopping, number);
  HF_CHECK(pthread_sigmask(SIG_BLOCK, &stopping, &previous_mask_) == 0);

  thread_ = std::thread([this, stopping] {
    sigset_t waited = stopping;
    sigaddset(&waited, kWakeSignal);
    pthread_sigmask(SIG_BLOCK, &waited, nullptr);
    // The mask stands before the first look at ending_, so the wake-up cannot be missed.
    while (!ending_) {
      int number = 0;
      if (sigwait(&waited, &number) != 0 || number == kWakeSignal) continue;
      if (signal_ != 0) _exit(kExitInterrupted);
      signal_ = number;
      source_.request_stop();
    }
  });
}

SignalStop::~SignalStop() {
  ending_ = true;
  pthread_kill(thread_.native_handle(), kWakeSignal);
  thread_.join();
  pthread_sigmask(SIG_SETMASK, &previous_mask_, nullptr);
}

}  // namespace holdfast
