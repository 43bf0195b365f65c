// What a person sees and types at a terminal.
#include <array>
#include <pty.h>
#include <string>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/file.h"
#include "support/holdfast_command.h"

namespace holdfast::test {
namespace {

// The program on a terminal of its own, 80 columns wide.
class AtTerminal {
 public:
  explicit AtTerminal(std::vector<std::string> words) {
    words.insert(words.begin(), holdfast_program());
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    winsize size{};
    size.ws_col = 80;
    size.ws_row = 25;
    int master = -1;
    child_ = forkpty(&master, nullptr, nullptr, &size);
    if (child_ == 0) {
      execv(arguments.front(), arguments.data());
      _exit(127);
    }
    if (child_ < 0) throw_errno("fork", "a terminal");
    keys_ = Fd(master);
  }

  // What is on the screen once `words` are, or once the program has ended.
  std::string until(const std::string& words) {
    std::array<char, 4096> some{};
    while (words.empty() || screen_.find(words) == std::string::npos) {
      const ssize_t count = read(keys_.get(), some.data(), some.size());
      if (count <= 0) break;  // EIO: nobody has the other end open any more
      screen_.append(some.data(), static_cast<size_t>(count));
    }
    return screen_;
  }
  void type(std::string_view text) const { write_all(keys_, as_bytes(text), "the terminal"); }
  // To the end of the program; its exit status.
  int end() {
    until({});
    int status = 0;
    EXPECT_EQ(waitpid(child_, &status, 0), child_);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }

 private:
  pid_t child_ = -1;
  Fd keys_{-1};
  std::string screen_;
};

TEST(Terminal, CtrlCEndsACommandThatAsks) {
  AtTerminal command({"restore", "--in-place", "--repo", "/nowhere", "--pgdata", "/nowhere", "--to",
                      "2026-11-22 08:22+00"});
  const std::string asked = command.until("Go on? (yes/no) ");
  EXPECT_NE(asked.find("the last commit at or before 2026-11-22"), std::string::npos) << asked;
  command.type("\x03");
  EXPECT_EQ(command.end(), 130) << command.until({});
  EXPECT_NE(command.until({}).find("interrupted"), std::string::npos) << command.until({});
}

TEST(Terminal, ShowsErrorsInRedUnlessNoColorIsSet) {
  unsetenv("NO_COLOR");
  setenv("TERM", "xterm", 1);
  AtTerminal coloured({"info", "--repo", "/nowhere"});
  EXPECT_NE(coloured.end(), 0);
  EXPECT_NE(coloured.until({}).find("\x1b[31mERROR:\x1b[0m"), std::string::npos)
      << coloured.until({});
  setenv("NO_COLOR", "1", 1);
  AtTerminal plain({"info", "--repo", "/nowhere"});
  EXPECT_NE(plain.end(), 0);
  EXPECT_EQ(plain.until({}).find('\x1b'), std::string::npos) << plain.until({});
  unsetenv("NO_COLOR");
}

}  // namespace
}  // namespace holdfast::test
