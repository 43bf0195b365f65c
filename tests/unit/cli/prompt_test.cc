#include "cli/prompt.h"

#include <array>
#include <fcntl.h>
#include <pty.h>
#include <thread>
#include <unistd.h>

#include <gtest/gtest.h>

#include "base/file.h"
#include "support/error_of.h"

namespace holdfast::cli {
namespace {

using test::error_of;

// Stdin is a terminal as long as this lives; what the person types is written to `keys`.
class StdinIsATerminal {
 public:
  StdinIsATerminal() : before_(dup(STDIN_FILENO)) {
    int master = -1, slave = -1;
    EXPECT_EQ(openpty(&master, &slave, nullptr, nullptr, nullptr), 0);
    keys = Fd(master);
    dup2(slave, STDIN_FILENO);
    close(slave);
  }
  ~StdinIsATerminal() { dup2(before_.get(), STDIN_FILENO); }

  void type(std::string_view text) const { write_all(keys, as_bytes(text), "the terminal"); }

  Fd keys{-1};

 private:
  Fd before_;
};

TEST(Prompt, ReturnsTheLineThatIsTyped) {
  const StdinIsATerminal terminal;
  terminal.type("shop\nyes\nYES\n");
  testing::internal::CaptureStderr();
  EXPECT_EQ(ask("Name? ", {}), "shop");
  EXPECT_TRUE(agrees("It is removed.\n", {}));
  EXPECT_FALSE(agrees("It is removed.\n", {}));
  EXPECT_EQ(testing::internal::GetCapturedStderr(),
            "Name? It is removed.\nGo on? (yes/no) It is removed.\nGo on? (yes/no) ");
}

TEST(Prompt, EndsAtOnceWhenItIsInterrupted) {
  const StdinIsATerminal terminal;
  std::stop_source stop;
  std::jthread interrupt([&] { stop.request_stop(); });
  testing::internal::CaptureStderr();
  EXPECT_EQ(error_of([&] { ask("Name? ", stop.get_token()); }).code(), ErrorCode::kInterrupted);
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "Name? \n");
}

TEST(Prompt, AsksNobodyWhereThereIsNoTerminal) {
  const Fd before(dup(STDIN_FILENO));
  const Fd nothing = open_file("/dev/null", O_RDONLY);
  dup2(nothing.get(), STDIN_FILENO);
  testing::internal::CaptureStderr();
  EXPECT_EQ(ask("Name? ", {}), std::nullopt);
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
  dup2(before.get(), STDIN_FILENO);
}

}  // namespace
}  // namespace holdfast::cli
