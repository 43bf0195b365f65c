#include "cluster/sandbox.h"

#include <algorithm>
#include <cstring>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <unistd.h>

#include <fmt/format.h>

#include "base/error.h"
#include "base/file.h"
#include "base/process.h"

namespace holdfast::cluster {
namespace {

constexpr std::string_view kCoverWord = "--cover";
constexpr std::string_view kNetworkWord = "--private-network";
constexpr std::string_view kCommandWord = "--";

// A cover is laid before those below it.
bool is_above(const Sandbox::Cover& a, const Sandbox::Cover& b) { return a.path < b.path; }

void write_map(const char* path, const std::string& text) {
  write_all(open_file(path, O_WRONLY), as_bytes(text), path);
}

void mount_or_throw(const char* source, const std::string& target, const char* type,
                    unsigned long flags, const char* data) {
  if (mount(source, target.c_str(), type, flags, data) != 0) throw_errno("cover", target);
}

// What this process does from now on it does as the same user as before; but in a user namespace
// of its own it may mount.
void make_namespaces(bool private_network) {
  const uid_t user = geteuid();
  const gid_t group = getegid();
  const int own = CLONE_NEWNS | (private_network ? CLONE_NEWNET : 0);
  if (unshare(user == 0 ? own : own | CLONE_NEWUSER) != 0)
    throw_errno("make", "namespaces for a sandbox");
  if (user != 0) {
    write_map("/proc/self/setgroups", "deny");
    write_map("/proc/self/uid_map", fmt::format("{0} {0} 1", user));
    write_map("/proc/self/gid_map", fmt::format("{0} {0} 1", group));
  }
  // Mounts of the host still come in (a repository that is mounted when it is used), none goes out.
  mount_or_throw("none", "/", nullptr, MS_REC | MS_SLAVE, nullptr);
}

// Until 14 a server needs the loopback for its statistics.
void bring_up_loopback() {
  const Fd control(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!control.is_open()) throw_errno("open", "loopback interface");
  ifreq request{};
  std::memcpy(static_cast<char*>(request.ifr_name), "lo", 3);
  if (ioctl(control.get(), SIOCGIFFLAGS, &request) != 0) throw_errno("ask", "loopback interface");
  request.ifr_flags = static_cast<short>(request.ifr_flags | IFF_UP);
  if (ioctl(control.get(), SIOCSIFFLAGS, &request) != 0)
    throw_errno("bring up", "loopback interface");
}

// One that only tries whether it can be covered: the place is shown there itself.
bool is_a_trial(const Sandbox::Cover& cover) { return cover.by == cover.path; }

// Whether what is made at `path` comes to lie in the cover.
bool hides(const Sandbox::Cover& cover, const std::string& path) {
  return !is_a_trial(cover) && path.starts_with(cover.path + "/");
}

// Whether there is a place to cover. It is made below another cover, and nowhere else: that would
// be on the host. What has gone there meanwhile need not be hidden.
bool make_place(const Sandbox::Cover& cover, std::span<const Sandbox::Cover> laid) {
  if (stat_if_exists(cover.path)) return true;
  if (std::ranges::any_of(laid,
                          [&](const Sandbox::Cover& above) { return hides(above, cover.path); })) {
    make_directories(cover.path, 0700);
    return true;
  }
  if (cover.by.empty() || is_a_trial(cover)) return false;
  throw Error({.code = ErrorCode::kNotFound,
               .message = fmt::format("\"{}\", which is to be covered, is not there", cover.path)});
}

void lay_covers(std::span<const Sandbox::Cover> covers) {
  std::vector<Sandbox::Cover> laid;
  for (const Sandbox::Cover& cover : covers) {
    if (!make_place(cover, laid)) continue;
    laid.push_back(cover);
    if (cover.by.empty())
      mount_or_throw("holdfast", cover.path, "tmpfs", MS_NOSUID | MS_NODEV, "size=64k,mode=0755");
    else
      mount_or_throw(cover.by.c_str(), cover.path, nullptr, MS_BIND | MS_REC, nullptr);
  }
  for (const Sandbox::Cover& cover : laid) {
    if (!cover.by.empty()) continue;
    // One that another cover has hidden meanwhile is out of reach already.
    if (mount("holdfast", cover.path.c_str(), "tmpfs",
              MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV, "size=64k,mode=0755") != 0 &&
        errno != EINVAL)
      throw_errno("cover", cover.path);
  }
}

}  // namespace

std::vector<std::string> in_sandbox(const Sandbox& sandbox, std::span<const std::string> command) {
  std::vector<std::string> words = {sandbox.program, std::string(kSandboxWord)};
  std::vector<Sandbox::Cover> covers = sandbox.covers;
  std::ranges::sort(covers, is_above);
  for (Sandbox::Cover& cover : covers) {
    words.emplace_back(kCoverWord);
    words.push_back(std::move(cover.path));
    words.push_back(std::move(cover.by));
  }
  if (sandbox.private_network) words.emplace_back(kNetworkWord);
  words.emplace_back(kCommandWord);
  words.insert(words.end(), command.begin(), command.end());
  return words;
}

std::optional<std::string> why_no_sandbox(const Sandbox& sandbox) {
  Sandbox tried = sandbox;
  for (Sandbox::Cover& cover : tried.covers)
    if (!cover.by.empty()) cover.by = cover.path;
  const std::vector<std::string> command = {"/bin/true"};
  Captured captured = run({.arguments = in_sandbox(tried, command), .directory = "/"});
  if (captured.status.ok()) return std::nullopt;
  std::string words = std::move(captured.err);
  while (!words.empty() && words.back() == '\n') words.pop_back();
  if (const size_t level = words.find(":  "); level != std::string::npos)
    words = words.substr(level + 3);
  return words.empty() ? to_string(captured.status) : words;
}

void enter_sandbox(std::span<const std::string> words) {
  std::vector<Sandbox::Cover> covers;
  bool private_network = false;
  size_t at = 0;
  for (; at < words.size() && words[at] != kCommandWord; ++at) {
    if (words[at] == kNetworkWord) {
      private_network = true;
    } else if (words[at] == kCoverWord && at + 2 < words.size()) {
      covers.push_back({.path = words[at + 1], .by = words[at + 2]});
      at += 2;
    } else {
      break;
    }
  }
  if (at + 1 >= words.size() || words[at] != kCommandWord)
    throw Error({.code = ErrorCode::kUsage,
                 .message = fmt::format("{} is not for people", kSandboxWord),
                 .detail = "Holdfast starts servers with it."});
  make_namespaces(private_network);
  if (private_network) bring_up_loopback();
  lay_covers(covers);
  std::vector<std::string> command(words.begin() + static_cast<std::ptrdiff_t>(at) + 1,
                                   words.end());
  std::vector<char*> arguments;
  for (std::string& word : command) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  execvp(arguments.front(), arguments.data());
  throw_errno("start program", command.front());
}

}  // namespace holdfast::cluster
