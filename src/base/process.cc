#include "base/process.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstring>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fmt/core.h>

#include "base/environment.h"
#include "base/error.h"

namespace holdfast {
namespace {

using SteadyTime = std::chrono::steady_clock::time_point;

// A descriptor that is to become 0, 1 or 2 of the child must not be one of these itself, or an
// earlier dup2 would overwrite it (our own may be closed, under a daemon).
Fd above_standard(Fd fd, std::string_view what) {
  if (fd.get() > STDERR_FILENO) return fd;
  Fd lifted(fcntl(fd.get(), F_DUPFD_CLOEXEC, STDERR_FILENO + 1));
  if (!lifted.is_open()) throw_errno("duplicate", what);
  return lifted;
}

struct Pipe {
  Fd read;   // ours; does not block
  Fd write;  // the child's
};

Pipe make_pipe() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) throw_errno("create", "pipe");
  Pipe made{.read = Fd(ends[0]), .write = Fd(ends[1])};
  if (fcntl(made.read.get(), F_SETFL, O_NONBLOCK) != 0) throw_errno("create", "pipe");
  made.write = above_standard(std::move(made.write), "pipe");
  return made;
}

// The actions and attributes of posix_spawn, released whatever happens.
class SpawnPlan {
 public:
  SpawnPlan() {
    check(posix_spawn_file_actions_init(&actions_));
    check(posix_spawnattr_init(&attributes_));
  }
  ~SpawnPlan() {
    posix_spawn_file_actions_destroy(&actions_);
    posix_spawnattr_destroy(&attributes_);
  }
  SpawnPlan(const SpawnPlan&) = delete;
  SpawnPlan& operator=(const SpawnPlan&) = delete;

  void duplicate(int fd, int as) { check(posix_spawn_file_actions_adddup2(&actions_, fd, as)); }
  void change_directory(int fd) { check(posix_spawn_file_actions_addfchdir_np(&actions_, fd)); }

  // The child begins with no signal blocked or ignored, whatever this process has done to its own.
  void set_attributes(const SpawnOptions& options) {
    sigset_t none;
    sigset_t all;
    sigemptyset(&none);
    sigfillset(&all);
    check(posix_spawnattr_setsigmask(&attributes_, &none));
    check(posix_spawnattr_setsigdefault(&attributes_, &all));
    int flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF;
    if (options.new_session) {
      flags |= POSIX_SPAWN_SETSID;  // brings its own process group
    } else if (options.new_process_group) {
      flags |= POSIX_SPAWN_SETPGROUP;
      check(posix_spawnattr_setpgroup(&attributes_, 0));
    }
    check(posix_spawnattr_setflags(&attributes_, static_cast<short>(flags)));
  }

  pid_t spawn(const SpawnOptions& options) const;

 private:
  static void check(int error_number) {
    if (error_number != 0) throw_errno("prepare", "posix_spawn", error_number);
  }
  posix_spawn_file_actions_t actions_{};
  posix_spawnattr_t attributes_{};
};

// What is taken of the parent's environment, with the options' entries added or replaced.
std::vector<std::string> child_environment(const SpawnOptions& options) {
  std::vector<std::string> entries = environment();
  std::erase_if(entries, [&](const std::string& entry) {
    const std::string_view name = std::string_view(entry).substr(0, entry.find('='));
    return (options.bare_environment &&
            std::ranges::find(kNeededVariables, name) == kNeededVariables.end()) ||
           std::ranges::any_of(options.environment,
                               [&](const auto& pair) { return pair.first == name; });
  });
  for (const auto& [name, value] : options.environment)
    entries.push_back(fmt::format("{}={}", name, value));
  return entries;
}

std::vector<char*> pointers_to(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

pid_t SpawnPlan::spawn(const SpawnOptions& options) const {
  HF_CHECK(!options.arguments.empty());
  std::vector<std::string> arguments = options.arguments;
  std::vector<std::string> environment = child_environment(options);
  pid_t pid = -1;
  const int error_number =
      posix_spawnp(&pid, arguments[0].c_str(), &actions_, &attributes_,
                   pointers_to(arguments).data(), pointers_to(environment).data());
  if (error_number != 0) throw_errno("start program", options.arguments[0], error_number);
  return pid;
}

// The descriptors that run() gives the child in place of what the options name.
struct StandardFds {
  const Fd* in = nullptr;
  const Fd* out = nullptr;
  const Fd* err = nullptr;
};

// Everything that can fail with a path is opened here, in the parent, where the error can name it.
pid_t start_child(const SpawnOptions& options, const StandardFds& given) {
  SpawnPlan plan;
  std::vector<Fd> opened;
  auto give = [&](const std::string& path, int flags, int as) {
    opened.push_back(above_standard(open_file(path, flags, 0600), path));
    plan.duplicate(opened.back().get(), as);
  };
  constexpr int kAppend = O_WRONLY | O_CREAT | O_APPEND;

  if (given.in != nullptr)
    plan.duplicate(given.in->get(), STDIN_FILENO);
  else
    give(options.input.empty() ? "/dev/null" : options.input, O_RDONLY, STDIN_FILENO);

  if (!options.output.empty())
    give(options.output, kAppend, STDOUT_FILENO);
  else if (given.out != nullptr)
    plan.duplicate(given.out->get(), STDOUT_FILENO);

  if (options.error == "&1")
    plan.duplicate(STDOUT_FILENO, STDERR_FILENO);
  else if (!options.error.empty())
    give(options.error, kAppend, STDERR_FILENO);
  else if (given.err != nullptr)
    plan.duplicate(given.err->get(), STDERR_FILENO);

  if (!options.directory.empty()) {
    opened.push_back(
        above_standard(open_file(options.directory, O_RDONLY | O_DIRECTORY), options.directory));
    plan.change_directory(opened.back().get());
  }
  plan.set_attributes(options);
  return plan.spawn(options);
}

ExitStatus status_of(int wait_status) {
  if (WIFSIGNALED(wait_status)) return {.signalled = true, .code = WTERMSIG(wait_status)};
  return {.signalled = false, .code = WEXITSTATUS(wait_status)};
}

// waitpid(2) with `flags`; nullopt only with WNOHANG.
std::optional<ExitStatus> reap(pid_t pid, int flags) {
  int wait_status = 0;
  pid_t result;
  do result = waitpid(pid, &wait_status, flags);
  while (result < 0 && errno == EINTR);
  if (result < 0) throw_errno("wait for process", fmt::format("{}", pid));
  if (result == 0) return std::nullopt;
  return status_of(wait_status);
}

// Readable once the process has ended (Linux 5.3).
Fd open_pid(pid_t pid) {
  const long fd = syscall(SYS_pidfd_open, pid, 0);
  if (fd < 0) throw_errno("watch process", fmt::format("{}", pid));
  return Fd(static_cast<int>(fd));
}

// Milliseconds until `deadline` as poll(2) takes them, rounded up so that it never ends too early.
int poll_milliseconds(SteadyTime deadline) {
  const auto left =
      std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
  return static_cast<int>(std::clamp<int64_t>(left.count(), 0, INT_MAX));
}

// Reads what a pipe has now. False at its end.
bool drain(const Fd& from, std::string& into, size_t limit, const std::string& program) {
  std::array<char, 65536> buffer;
  for (;;) {
    const ssize_t count = read(from.get(), buffer.data(), buffer.size());
    if (count == 0) return false;
    if (count < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN) return true;
      throw_errno("read the output of", program);
    }
    into.append(buffer.data(), static_cast<size_t>(count));
    if (into.size() > limit)
      throw Error({.code = ErrorCode::kIo,
                   .message = fmt::format("program \"{}\" printed too much", program),
                   .detail = fmt::format("At most {} bytes are taken. It was stopped.", limit)});
  }
}

// A file in memory holds the whole input, so the child can read it when it likes and nobody has to
// write while it does.
Fd input_file(std::string_view input) {
  Fd fd(memfd_create("input", MFD_CLOEXEC));
  if (!fd.is_open()) throw_errno("create", "input");
  write_all(fd, as_bytes(input), "input");
  if (lseek(fd.get(), 0, SEEK_SET) != 0) throw_errno("seek", "input");
  return above_standard(std::move(fd), "input");
}

}  // namespace

std::string to_string(ExitStatus status) {
  if (!status.signalled) return fmt::format("exited with status {}", status.code);
  const char* description = sigdescr_np(status.code);
  return fmt::format("was terminated by signal {}: {}", status.code,
                     description != nullptr ? description : "unknown signal");
}

Process::Process(const SpawnOptions& options) : pid_(start_child(options, {})) {}

Process::~Process() {
  if (pid_ < 0 || status_) return;
  kill(pid_, SIGKILL);
  while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) continue;
}

Process::Process(Process&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)), status_(other.status_) {}

void Process::signal(int number) const {
  // After its end was seen, the number may be another process's.
  HF_CHECK(pid_ > 0);
  if (status_) return;
  if (kill(pid_, number) != 0) throw_errno("signal process", fmt::format("{}", pid_));
}

ExitStatus Process::wait() {
  HF_CHECK(pid_ > 0);
  if (!status_) status_ = reap(pid_, 0);
  HF_CHECK(status_.has_value());
  return *status_;
}

std::optional<ExitStatus> Process::wait(std::chrono::milliseconds timeout) {
  // A day at a time is enough for anyone, and far from the overflow of the clock.
  const SteadyTime deadline = std::chrono::steady_clock::now() +
                              std::min<std::chrono::milliseconds>(timeout, std::chrono::hours(24));
  if (poll()) return status_;
  const Fd watched = open_pid(pid_);
  for (;;) {
    pollfd entry{.fd = watched.get(), .events = POLLIN, .revents = 0};
    const int ready = ::poll(&entry, 1, poll_milliseconds(deadline));
    if (ready < 0 && errno != EINTR) throw_errno("wait for process", fmt::format("{}", pid_));
    if (ready == 0) return std::nullopt;
    if (ready > 0) return wait();
  }
}

std::optional<ExitStatus> Process::poll() {
  HF_CHECK(pid_ > 0);
  if (!status_) status_ = reap(pid_, WNOHANG);
  return status_;
}

void Process::release() { pid_ = -1; }

Captured run(const SpawnOptions& options, std::string_view input, size_t limit) {
  // Start it with pipes that we read, and drop our copies of its ends.
  Pipe out = make_pipe();
  Pipe err = make_pipe();
  Fd in;
  if (!input.empty()) in = input_file(input);
  Process child(start_child(
      options, {.in = in.is_open() ? &in : nullptr, .out = &out.write, .err = &err.write}));
  out.write.reset();
  err.write.reset();
  in.reset();

  // Read both until both end, or until the child has ended: a server that it left running may hold
  // the pipes open for as long as it lives.
  const Fd watched = open_pid(child.pid());
  const std::string& program = options.arguments[0];
  Captured captured;
  bool ended = false;
  while (!ended && (out.read.is_open() || err.read.is_open())) {
    // poll(2) passes over descriptors of -1.
    std::array<pollfd, 3> entries = {pollfd{.fd = out.read.get(), .events = POLLIN, .revents = 0},
                                     pollfd{.fd = err.read.get(), .events = POLLIN, .revents = 0},
                                     pollfd{.fd = watched.get(), .events = POLLIN, .revents = 0}};
    if (::poll(entries.data(), entries.size(), -1) < 0) {
      if (errno == EINTR) continue;
      throw_errno("read the output of", program);
    }
    ended = entries[2].revents != 0;
    if (out.read.is_open() && !drain(out.read, captured.out, limit, program)) out.read.reset();
    if (err.read.is_open() && !drain(err.read, captured.err, limit, program)) err.read.reset();
  }
  captured.status = child.wait();
  return captured;
}

std::string run_checked(const SpawnOptions& options) {
  Captured captured = run(options);
  if (!captured.status.ok()) {
    std::string detail = std::move(captured.err);
    while (!detail.empty() && (detail.back() == '\n' || detail.back() == ' ')) detail.pop_back();
    throw Error({.code = ErrorCode::kIo,
                 .message = fmt::format("program \"{}\" {}", options.arguments[0],
                                        to_string(captured.status)),
                 .detail = std::move(detail)});
  }
  return std::move(captured.out);
}

std::string shell_quote(std::string_view word) {
  const bool plain = !word.empty() && std::ranges::all_of(word, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("_@%+=:,./-").find(c) != std::string_view::npos;
  });
  if (plain) return std::string(word);
  std::string quoted = "'";
  for (char c : word) {
    if (c == '\'')
      quoted += "'\\''";
    else
      quoted.push_back(c);
  }
  return quoted + "'";
}

std::optional<std::vector<std::string>> shell_words(std::string_view command) {
  constexpr std::string_view kMeansMore = "$`&|;<>()*?[]#~!{}\n";
  std::vector<std::string> words;
  bool in_word = false;
  for (size_t at = 0; at < command.size(); ++at) {
    const char c = command[at];
    if (!in_word && c != ' ' && c != '\t') {
      words.emplace_back();
      in_word = true;
    }
    if (c == '\'') {
      const size_t end = command.find('\'', at + 1);
      if (end == std::string_view::npos) return std::nullopt;
      words.back() += command.substr(at + 1, end - at - 1);
      at = end;
    } else if (c == '"') {
      const size_t end = command.find_first_of("\"$`\\", at + 1);
      if (end == std::string_view::npos || command[end] != '"') return std::nullopt;
      words.back() += command.substr(at + 1, end - at - 1);
      at = end;
    } else if (c == '\\') {
      ++at;
      if (at == command.size() || command[at] == '\n') return std::nullopt;
      words.back() += command[at];
    } else if (c == ' ' || c == '\t') {
      in_word = false;
    } else if (kMeansMore.find(c) != std::string_view::npos) {
      return std::nullopt;
    } else {
      words.back() += c;
    }
  }
  if (!words.empty() && words.front().find('=') != std::string::npos) return std::nullopt;
  return words;
}

std::string program_path() { return read_link("/proc/self/exe"); }

pid_t process_id() { return getpid(); }

std::string host_name() {
  std::array<char, HOST_NAME_MAX + 1> name{};
  if (gethostname(name.data(), name.size()) != 0) throw_errno("find", "host name");
  name.back() = '\0';
  return name.data();
}

}  // namespace holdfast
