#include "setup/push_status.h"

#include <gtest/gtest.h>

namespace holdfast::setup {
namespace {

using Heard = PushStatus::Heard;

// Commands that users write, not ours: the "|| true" in them is what must be found, or left alone
// where no push stands before it.
TEST(PushStatusTest, IsHiddenByWhatFollowsThePush) {
  const struct {
    const char* command;
    Heard heard;
    const char* hidden_by;
  } cases[] = {
      {"holdfast --config /etc/h.toml wal push %p", Heard::kYes, ""},
      {"holdfast wal push \"%p\" 2>&1 >>'/var/log/a;b'", Heard::kYes, ""},
      {"cd / && holdfast wal push %p && touch /run/archived", Heard::kYes, ""},
      {"holdfast wal push %p || exit 1", Heard::kYes, ""},
      {"holdfast wal push %p || false;", Heard::kYes, ""},
      {"holdfast wal push %p; exit $?", Heard::kYes, ""},
      {"cp %p /b/%f || true; holdfast wal push %p", Heard::kYes, ""},
      {"holdfast wal push %p # || true", Heard::kYes, ""},
      {"bash -o pipefail -c 'holdfast wal push %p | tee -a /log'", Heard::kYes, ""},
      {"{ holdfast wal push %p; }", Heard::kYes, ""},
      {"/usr/bin/archive.sh %p || true", Heard::kYes, ""},  // not known to push
      {"holdfast wal push %p || true", Heard::kNo, "|| true"},
      {"holdfast wal push %p||:", Heard::kNo, "|| :"},
      {"holdfast wal push %p ; true", Heard::kNo, "; true"},
      {"holdfast wal push %p\n/bin/true", Heard::kNo, "; /bin/true"},
      {"holdfast wal push %p; exit 0", Heard::kNo, "; exit 0"},
      {"holdfast wal push %p &", Heard::kNo, "&"},
      {"holdfast wal push %p 2>&1 & wait", Heard::kNo, "& wait"},
      {"holdfast wal push %p 2>&1 | logger -t archive", Heard::kNo, "| logger -t archive"},
      {"nice -n 10 holdfast wal push %p || true", Heard::kNo, "|| true"},
      {"(holdfast wal push %p) || true", Heard::kNo, "|| true"},
      {"sh -c 'holdfast wal push %p || true'", Heard::kNo, "|| true"},
      {"holdfast wal push %p && touch /a || true", Heard::kNo, "|| true"},
      {"holdfast wal push %p || logger failed", Heard::kPerhaps, "|| logger failed"},
      {"holdfast wal push %p; status=$?; logger $status; exit $status", Heard::kPerhaps,
       "; status=$?"},
  };
  for (const auto& c : cases) {
    const PushStatus status = push_status(c.command);
    EXPECT_EQ(status.heard, c.heard) << c.command;
    EXPECT_EQ(status.hidden_by, c.hidden_by) << c.command;
  }
}

}  // namespace
}  // namespace holdfast::setup
