// The tracing is done by a process of its own, for it waits for whatever child comes first, and the
// test has other children: its servers. Between fork and exit it makes no use of the heap but for
// what it has reserved.
#include "support/call_tracer.h"

#include <array>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstring>
#include <fcntl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/file.h"

namespace holdfast::test {
namespace {

struct Call {
  uint64_t number;
  const char* name;
};
constexpr std::array kDurableCalls = {
    Call{SYS_fsync, "fsync"},         Call{SYS_fdatasync, "fdatasync"},
    Call{SYS_syncfs, "syncfs"},       Call{SYS_rename, "rename"},
    Call{SYS_renameat, "renameat"},   Call{SYS_renameat2, "renameat2"},
    Call{SYS_link, "link"},           Call{SYS_linkat, "linkat"},
    Call{SYS_unlink, "unlink"},       Call{SYS_unlinkat, "unlinkat"},
    Call{SYS_ftruncate, "ftruncate"}, Call{SYS_mkdir, "mkdir"},
    Call{SYS_mkdirat, "mkdirat"},     Call{SYS_openat, "openat"},
};
constexpr uint64_t kOptions = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK |
                              PTRACE_O_TRACEVFORK | PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL;

// What the tracer writes to its pipe: the index of each call, then one of these and the status.
constexpr unsigned char kExited = 254;
constexpr unsigned char kSignalled = 255;

const void* as_pointer(uint64_t number) { return reinterpret_cast<const void*>(number); }

struct Pipe {
  Pipe() {
    std::array<int, 2> ends{};
    if (pipe2(ends.data(), O_CLOEXEC) != 0) throw_errno("make", "a pipe");
    reading = Fd(ends[0]);
    writing = Fd(ends[1]);
  }
  Fd reading, writing;
};

std::vector<unsigned char> read_to_end(const Fd& fd) {
  std::vector<unsigned char> bytes;
  std::array<unsigned char, 4096> piece{};
  for (;;) {
    const ssize_t count = read(fd.get(), piece.data(), piece.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return bytes;
    bytes.insert(bytes.end(), piece.begin(), piece.begin() + count);
  }
}

class Tracer {
 public:
  Tracer(int report, uint64_t kill_at) : report_(report), kill_at_(kill_at) {}

  // Starts the program and follows it. Never returns.
  [[noreturn]] void run(char* const* arguments, const char* directory, int output, int alive) {
    program_ = fork();
    if (program_ == 0) {
      fcntl(alive, F_SETFD, 0);
      dup2(output, STDOUT_FILENO);
      dup2(output, STDERR_FILENO);
      ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
      raise(SIGSTOP);  // until the tracer has set its options
      if (*directory != '\0' && chdir(directory) != 0) _exit(127);
      execv(arguments[0], arguments);
      _exit(127);
    }
    close(alive);
    int status = 0;
    waitpid(program_, &status, 0);
    ptrace(PTRACE_SETOPTIONS, program_, nullptr, as_pointer(kOptions));
    ptrace(PTRACE_SYSCALL, program_, nullptr, nullptr);
    for (;;) {
      const pid_t thread = waitpid(-1, &status, __WALL);
      if (thread < 0) {
        if (errno == EINTR) continue;
        _exit(1);
      }
      follow(thread, status);
    }
  }

 private:
  void follow(pid_t thread, int status) {
    if (!WIFSTOPPED(status)) {
      if (thread != program_) return;
      say(WIFSIGNALED(status) ? kSignalled : kExited);
      say(static_cast<unsigned char>(WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status)));
      _exit(0);  // PTRACE_O_EXITKILL ends whatever it has started
    }
    const int signal = WSTOPSIG(status);
    if (signal == (SIGTRAP | 0x80)) {
      look(thread);
      resume(thread, 0);
    } else if (status >> 16 != 0 || signal == SIGTRAP || signal == SIGSTOP) {
      resume(thread, 0);  // an event of ptrace's, or the first stop of a new thread
    } else {
      resume(thread, signal);
    }
  }
  static void resume(pid_t thread, int signal) {
    ptrace(PTRACE_SYSCALL, thread, nullptr, as_pointer(static_cast<uint64_t>(signal)));
  }
  void look(pid_t thread) {
    __ptrace_syscall_info info{};
    if (ptrace(PTRACE_GET_SYSCALL_INFO, thread, as_pointer(sizeof info), &info) <= 0) return;
    if (info.op != PTRACE_SYSCALL_INFO_ENTRY) return;
    for (size_t i = 0; i < kDurableCalls.size(); ++i) {
      if (kDurableCalls[i].number != info.entry.nr) continue;
      if (info.entry.nr == SYS_openat && (info.entry.args[2] & O_CREAT) == 0) return;
      say(static_cast<unsigned char>(i));
      if (++count_ == kill_at_) {
        say(kSignalled);
        say(SIGKILL);
        _exit(0);  // the call is not carried out
      }
      return;
    }
  }
  void say(unsigned char byte) const {
    while (write(report_, &byte, 1) < 0 && errno == EINTR) {
    }
  }

  const int report_;
  const uint64_t kill_at_;
  uint64_t count_ = 0;
  pid_t program_ = -1;
};

}  // namespace

TracedRun trace(const std::vector<std::string>& arguments, const std::string& directory,
                std::optional<uint64_t> kill_at) {
  std::vector<char*> words;
  for (const std::string& argument : arguments)
    words.push_back(const_cast<char*>(argument.c_str()));  // execv() does not change them
  words.push_back(nullptr);
  const TemporaryDirectory scratch("holdfast-trace");
  const std::string output_file = join_path(scratch.path(), "output");
  const Fd output = open_file(output_file, O_WRONLY | O_CREAT | O_APPEND);
  Pipe report;
  // Held open by the program and all that it starts: its end tells that none of them is left.
  Pipe alive;

  const pid_t tracer = fork();
  if (tracer < 0) throw_errno("fork", "the tracer");
  if (tracer == 0)
    Tracer(report.writing.get(), kill_at.value_or(0))
        .run(words.data(), directory.c_str(), output.get(), alive.writing.get());
  report.writing.reset();
  alive.writing.reset();
  const std::vector<unsigned char> said = read_to_end(report.reading);
  read_to_end(alive.reading);
  int status = 0;
  while (waitpid(tracer, &status, 0) < 0 && errno == EINTR) {
  }
  if (said.size() < 2 || said[said.size() - 2] < kExited)
    throw Error({.code = ErrorCode::kInternal,
                 .message = fmt::format("could not trace \"{}\"", arguments.front()),
                 .hint = "ptrace(2) must be permitted here."});

  TracedRun result;
  result.status = {.signalled = said[said.size() - 2] == kSignalled, .code = said.back()};
  for (size_t i = 0; i + 2 < said.size(); ++i)
    result.calls.emplace_back(kDurableCalls[said[i]].name);
  result.output = read_text_file(output_file);
  return result;
}

}  // namespace holdfast::test
