#include "cli/prompt.h"

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <fmt/format.h>

#include "base/error.h"
#include "base/file.h"
#include "base/task_group.h"

namespace holdfast::cli {

std::optional<std::string> ask(std::string_view question, const std::stop_token& stop) {
  if (isatty(STDIN_FILENO) != 1) return std::nullopt;
  std::fputs(std::string(question).c_str(), stderr);
  // The signal is another thread's, so that read(2) alone would wait on.
  const Fd stopped(eventfd(0, EFD_CLOEXEC));
  if (stopped.get() < 0) throw_errno("make an eventfd for", "a question");
  const std::stop_callback wake(stop, [&] { eventfd_write(stopped.get(), 1); });
  std::string line;
  for (;;) {
    pollfd waited[] = {{.fd = STDIN_FILENO, .events = POLLIN, .revents = 0},
                       {.fd = stopped.get(), .events = POLLIN, .revents = 0}};
    if (poll(waited, 2, -1) < 0 && errno != EINTR) throw_errno("wait for", "an answer");
    if (stop.stop_requested()) {
      std::fputs("\n", stderr);
      throw_if_stopped(stop);
    }
    if (waited[0].revents == 0) continue;
    char c = 0;
    const ssize_t count = read(STDIN_FILENO, &c, 1);
    if (count < 0 && errno != EINTR) throw_errno("read", "an answer");
    if (count == 0) return std::nullopt;
    if (count < 0) continue;
    if (c == '\n') return line;
    line += c;
  }
}

bool agrees(std::string_view question, const std::stop_token& stop) {
  return ask(fmt::format("{}Go on? (yes/no) ", question), stop) == "yes";
}

}  // namespace holdfast::cli
