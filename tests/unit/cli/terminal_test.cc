#include "cli/terminal.h"

#include <cstdlib>
#include <pty.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "base/file.h"

namespace holdfast::cli {
namespace {

TEST(Coloured, OutcomesThatBeginALine) {
  EXPECT_EQ(coloured("ok       server: 15\nwarning  wal: x\nfailed   proof: y\n"),
            "\x1b[32mok\x1b[0m       server: 15\n\x1b[33mwarning\x1b[0m  wal: "
            "x\n\x1b[31mfailed\x1b[0m   proof: y\n");
  EXPECT_EQ(coloured("ERROR:  x\n  HOLE: y"), "\x1b[31mERROR:\x1b[0m  x\n  \x1b[31mHOLE:\x1b[0m y");
  EXPECT_EQ(coloured("1  a  b  2  MISSING  -"), "1  a  b  2\x1b[31m  MISSING  \x1b[0m-");
  for (const char* plain : {"", "\n", "failed to start\n", "a  ok  b\n", "okay\n\n"})
    EXPECT_EQ(coloured(plain), plain);
}

TEST(Fitted, BreaksLongLinesUnderTheirText) {
  EXPECT_EQ(fitted("ok       server: a sentence that is longer than the terminal\nshort\n", 40),
            "ok       server: a sentence that is\n"
            "         longer than the terminal\n"
            "short\n");
  EXPECT_EQ(fitted("         HINT:  one two three four five six seven", 40),
            "         HINT:  one two three four five\n"
            "                six seven");
  EXPECT_EQ(fitted("repository:  /a /b /c /d /e /f", 20), "repository:  /a /b\n  /c /d /e /f");
  // What is to be pasted stays in one piece.
  EXPECT_EQ(fitted("Run \"holdfast -c shop init --configure-server\", then restart it.", 30),
            "Run\n  \"holdfast -c shop init --configure-server\",\n  then restart it.");
  EXPECT_EQ(fitted("Next, and this is long: holdfast restore --into /d --resume", 30),
            "Next, and this is long: holdfast restore --into /d --resume");
  EXPECT_EQ(fitted("connect:       psql -h /srv/recovery/a-long-directory -p 5433", 30),
            "connect:       psql -h /srv/recovery/a-long-directory -p 5433");
  EXPECT_EQ(fitted("Stop the server's work: systemctl stop postgresql@15-main", 30),
            "Stop the server's work: systemctl stop postgresql@15-main");
  EXPECT_EQ(
      fitted("Let the server's owner run SET archive_command = 'holdfast wal push %p' now.", 30),
      "Let the server's owner run SET\n  archive_command =\n  'holdfast wal push %p' now.");
  EXPECT_EQ(fitted("\n\nx", 1), "\n\nx");
}

TEST(Colour, IsForTerminalsWithoutNoColor) {
  int master = -1, slave = -1;
  winsize size{};
  size.ws_col = 97;
  ASSERT_EQ(openpty(&master, &slave, nullptr, nullptr, &size), 0);
  const Fd terminal(master), end(slave);
  unsetenv("NO_COLOR");
  setenv("TERM", "xterm", 1);
  EXPECT_TRUE(wants_colour(ColourWhen::kAuto, end.get()));
  EXPECT_FALSE(wants_colour(ColourWhen::kNever, end.get()));
  setenv("NO_COLOR", "1", 1);
  EXPECT_FALSE(wants_colour(ColourWhen::kAuto, end.get()));
  EXPECT_TRUE(wants_colour(ColourWhen::kAlways, end.get()));
  unsetenv("NO_COLOR");
  setenv("TERM", "dumb", 1);
  EXPECT_FALSE(wants_colour(ColourWhen::kAuto, end.get()));

  EXPECT_EQ(terminal_width(end.get()), 97U);
  size.ws_col = 0;
  EXPECT_EQ(ioctl(end.get(), TIOCSWINSZ, &size), 0);
  EXPECT_EQ(terminal_width(end.get()), 80U);

  const Fd file = open_file("/dev/null", O_RDONLY);
  setenv("TERM", "xterm", 1);
  EXPECT_FALSE(wants_colour(ColourWhen::kAuto, file.get()));
  EXPECT_EQ(terminal_width(file.get()), 0U);
}

TEST(CutTo, CountsCharactersAndSaysThatSomethingIsMissing) {
  EXPECT_EQ(cut_to("über alles", 10), "über alles");
  EXPECT_EQ(cut_to("über alles", 5), "über…");
  EXPECT_EQ(cut_to("über alles", 1), "…");
  EXPECT_EQ(cut_to("über", 0), "");
}

}  // namespace
}  // namespace holdfast::cli
