// process.h: child processes, each with one owner.
//
// Started with posix_spawn; descriptors are close-on-exec throughout, so a child has only what it
// is given.
#pragma once

#include <array>
#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <sys/types.h>
#include <utility>
#include <vector>

#include "base/file.h"

namespace holdfast {

struct ExitStatus {
  bool signalled = false;
  int code = 0;  // exit status, or the signal's number when signalled
  bool ok() const { return !signalled && code == 0; }
};
// "exited with status 1", "was terminated by signal 9: Killed"
std::string to_string(ExitStatus status);

struct SpawnOptions {
  // arguments[0] is the program, searched in PATH when it holds no slash.
  std::vector<std::string> arguments;
  // Added to, or replacing, what it has of the parent's.
  std::vector<std::pair<std::string, std::string>> environment = {};
  // Of the parent's environment it has only what any program needs (kNeededVariables): no password,
  // and nothing that would lead it elsewhere.
  bool bare_environment = false;
  // Working directory; empty: the parent's. A relative program is looked for in it; the files below
  // are not.
  std::string directory = {};
  // File for stdin; empty: /dev/null.
  std::string input = {};
  // Files appended to (made when missing) for stdout and stderr; empty: the parent's, or what run()
  // reads. `error` "&1": where stdout goes.
  std::string output = {};
  std::string error = {};
  // Its own process group: a signal to the terminal's group does not reach it.
  bool new_process_group = false;
  // setsid(2): its own session and process group.
  bool new_session = false;
};

inline constexpr std::array<std::string_view, 9> kNeededVariables = {
    "PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH"};

struct Captured {
  ExitStatus status;
  std::string out;
  std::string err;
};

// A running child, begun with no signal blocked or ignored. The destructor kills (SIGKILL) and
// reaps one that was neither waited for nor released. The constructor throws when the program
// cannot be started.
class Process {
 public:
  explicit Process(const SpawnOptions& options);
  ~Process();
  Process(Process&& other) noexcept;
  Process& operator=(Process&&) = delete;
  pid_t pid() const { return pid_; }
  void signal(int number) const;
  ExitStatus wait();                                                  // until it ends
  std::optional<ExitStatus> wait(std::chrono::milliseconds timeout);  // nullopt: still running
  std::optional<ExitStatus> poll();
  void release();  // lives on; nobody waits

 private:
  friend Captured run(const SpawnOptions& options, std::string_view input, size_t limit);
  explicit Process(pid_t pid) : pid_(pid) {}

  pid_t pid_ = -1;
  std::optional<ExitStatus> status_;  // once its end was seen; wait() and poll() answer it again
};

// Runs to the end with `input` as stdin and returns what it printed (each at most `limit` bytes;
// more is an error, and the program is killed). What it left running with the same stdout is not
// waited for.
Captured run(const SpawnOptions& options, std::string_view input = {},
             size_t limit = size_t{16} << 20);
// run(), and an Error (kIo) with the program's stderr as detail unless it exited with 0. Returns
// stdout.
std::string run_checked(const SpawnOptions& options);

// "'it'\''s'": one word for a POSIX shell; a word of plain characters stays as it is.
std::string shell_quote(std::string_view word);
// The words of a command line that does no more than run one program with them; nullopt where the
// shell would do more: a second command, a redirection, an expansion, an assignment.
std::optional<std::vector<std::string>> shell_words(std::string_view command);

// The path of the running program, its process id, and this host's name.
std::string program_path();
pid_t process_id();
std::string host_name();

}  // namespace holdfast
