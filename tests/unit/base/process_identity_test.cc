#include "base/process_identity.h"

#include <sys/wait.h>

#include <gtest/gtest.h>

#include "base/process.h"

namespace holdfast {
namespace {

ProcessState state(const ProcessIdentity& process) {
  return state_of(process, this_process().value());
}

TEST(ProcessIdentity, OfARunningProcessIsAliveUntilItEnds) {
  EXPECT_EQ(state(this_process().value()), ProcessState::kAlive);
  Process child({.arguments = {"sleep", "600"}});
  const ProcessIdentity identity = identify_process(child.pid()).value();
  EXPECT_EQ(state(identity), ProcessState::kAlive);
  child.signal(SIGKILL);
  // Ended and not yet waited for.
  siginfo_t info;
  ASSERT_EQ(waitid(P_PID, static_cast<id_t>(child.pid()), &info, WEXITED | WNOWAIT), 0);
  EXPECT_EQ(state(identity), ProcessState::kDead);
  child.wait();
  EXPECT_EQ(state(identity), ProcessState::kDead);
}

TEST(ProcessIdentity, IsDeadWhenItsIdIsSomebodyElsesByNow) {
  ProcessIdentity before = this_process().value();
  before.start -= 1;
  EXPECT_EQ(state(before), ProcessState::kDead);
}

TEST(ProcessIdentity, IsUnknownWhereNothingProvesThatItHasEnded) {
  const ProcessIdentity here = this_process().value();
  ProcessIdentity gone = here;
  gone.pid = INT_MAX;  // an id that no process has
  EXPECT_EQ(state(gone), ProcessState::kDead);
  const struct {
    const char* what;
    void (*change)(ProcessIdentity&);
  } cases[] = {
      {"another machine", [](ProcessIdentity& p) { p.machine = "another"; }},
      {"another boot, of a copy of this machine", [](ProcessIdentity& p) { p.boot = "another"; }},
      {"another container", [](ProcessIdentity& p) { p.namespaces = "pid:[4026532999]"; }},
  };
  for (const auto& c : cases) {
    ProcessIdentity other = gone;
    c.change(other);
    EXPECT_EQ(state(other), ProcessState::kUnknown) << c.what;
  }
}

}  // namespace
}  // namespace holdfast
