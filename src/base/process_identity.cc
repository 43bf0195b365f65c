#include "base/process_identity.h"

#include <array>
#include <cerrno>
#include <charconv>
#include <climits>
#include <csignal>
#include <fcntl.h>
#include <string_view>
#include <unistd.h>

#include <fmt/core.h>

#include "base/file.h"

namespace holdfast {
namespace {

constexpr int kStateField = 3;
constexpr int kStartField = 22;

// The first line of a small file, nullopt for whatever reason: what cannot be read is not known.
std::optional<std::string> line_of(const std::string& path) {
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.is_open()) return std::nullopt;
  std::string text(4096, '\0');
  const ssize_t length = ::read(fd.get(), text.data(), text.size());
  if (length <= 0) return std::nullopt;
  text.resize(static_cast<size_t>(length));
  text.resize(std::min(text.find('\n'), text.size()));
  if (text.empty()) return std::nullopt;
  return text;
}

std::optional<std::string> link_of(const char* path) {
  std::array<char, PATH_MAX> target{};
  const ssize_t length = ::readlink(path, target.data(), target.size());
  if (length <= 0) return std::nullopt;
  return std::string(target.data(), static_cast<size_t>(length));
}

// The n-th field of /proc/<pid>/stat, counted from 1; the second is a name that may hold anything,
// blanks and parentheses too.
std::string_view field_of(std::string_view stat, int number) {
  const size_t name_end = stat.rfind(')');
  if (name_end == std::string_view::npos) return {};
  stat.remove_prefix(std::min(name_end + 2, stat.size()));
  for (int at = kStateField; at < number; ++at) {
    const size_t blank = stat.find(' ');
    if (blank == std::string_view::npos) return {};
    stat.remove_prefix(blank + 1);
  }
  return stat.substr(0, stat.find(' '));
}

struct Seen {
  char state = '?';
  uint64_t start = 0;
};
std::optional<Seen> look_at(int64_t pid) {
  const std::optional<std::string> stat = line_of(fmt::format("/proc/{}/stat", pid));
  if (!stat) return std::nullopt;
  const std::string_view state = field_of(*stat, kStateField);
  const std::string_view start = field_of(*stat, kStartField);
  Seen seen;
  const char* end = start.data() + start.size();
  const std::from_chars_result read = std::from_chars(start.data(), end, seen.start);
  if (state.size() != 1 || start.empty() || read.ec != std::errc{} || read.ptr != end)
    return std::nullopt;
  seen.state = state.front();
  return seen;
}

}  // namespace

std::string_view to_string(ProcessState state) {
  switch (state) {
    case ProcessState::kAlive:
      return "alive";
    case ProcessState::kDead:
      return "dead";
    case ProcessState::kUnknown:
      return "unknown";
  }
  return "unknown";
}

std::optional<ProcessIdentity> this_process() { return identify_process(getpid()); }

std::optional<ProcessIdentity> identify_process(pid_t pid) {
  // A /proc of another namespace shows other processes under our ids.
  if (link_of("/proc/self") != std::to_string(getpid())) return std::nullopt;
  const std::optional<std::string> machine = line_of("/etc/machine-id");
  const std::optional<std::string> boot = line_of("/proc/sys/kernel/random/boot_id");
  const std::optional<std::string> pids = link_of("/proc/self/ns/pid");
  const std::optional<std::string> clocks = link_of("/proc/self/ns/time");  // since Linux 5.6
  const std::optional<Seen> seen = look_at(pid);
  if (!machine || *machine == "uninitialized" || !boot || !pids || !seen) return std::nullopt;
  return ProcessIdentity{.machine = *machine,
                         .boot = *boot,
                         .namespaces = clocks ? fmt::format("{} {}", *pids, *clocks) : *pids,
                         .pid = pid,
                         .start = seen->start};
}

ProcessState state_of(const ProcessIdentity& process, const ProcessIdentity& here) {
  if (process.machine != here.machine || process.boot != here.boot ||
      process.namespaces != here.namespaces || process.pid <= 0 || process.pid > INT_MAX)
    return ProcessState::kUnknown;
  // Asked of the kernel, not of /proc, which may hide other users' processes (hidepid).
  if (::kill(static_cast<pid_t>(process.pid), 0) != 0 && errno == ESRCH) return ProcessState::kDead;
  const std::optional<Seen> seen = look_at(process.pid);
  if (!seen) return ProcessState::kUnknown;
  // What has ended and was not waited for yet is a zombie.
  const bool is_it = seen->start == process.start && seen->state != 'Z' && seen->state != 'X';
  return is_it ? ProcessState::kAlive : ProcessState::kDead;
}

}  // namespace holdfast
