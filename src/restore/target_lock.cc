#include "restore/target_lock.h"

#include <cerrno>
#include <charconv>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <fmt/format.h>

#include "base/error.h"
#include "cluster/running_server.h"
#include "restore/marker.h"

namespace holdfast::restore {
namespace {

// By /proc/locks: "12: FLOCK  ADVISORY  WRITE 3541 00:2b:43892 0 EOF". Only the inode is compared:
// the device is told otherwise than stat(2) does on some file systems.
std::optional<pid_t> holder_of(const struct stat& directory) {
  std::string text;
  error_of([&] { text = read_text_file("/proc/locks"); });  // only to be told
  const std::string inode = fmt::format(":{} ", directory.st_ino);
  for (size_t at = 0, end = 0; at < text.size(); at = end + 1) {
    end = std::min(text.find('\n', at), text.size());
    const std::string_view line = std::string_view(text).substr(at, end - at);
    const size_t found = line.find(inode);
    if (found == std::string_view::npos || line.find("FLOCK") == std::string_view::npos) continue;
    const std::string_view before = line.substr(0, line.rfind(' ', found));
    const std::string_view word = before.substr(before.rfind(' ') + 1);
    pid_t pid = 0;
    std::from_chars(word.data(), word.data() + word.size(), pid);
    if (pid > 0) return pid;
  }
  return std::nullopt;
}

[[noreturn]] void throw_busy(const std::string& directory, const struct stat& status) {
  const std::optional<pid_t> holder = holder_of(status);
  throw Error({.code = ErrorCode::kBusy,
               .message = fmt::format("another restore works in \"{}\"", directory),
               .detail = holder ? fmt::format("Its process id is {}.", *holder)
                                : "Its process is not seen from here.",
               .hint = "Wait until it has ended, or stop it, then run the command again."});
}

}  // namespace

TargetLock TargetLock::take(const std::string& directory) {
  for (;;) {
    TargetLock lock;
    std::optional<Fd> fd = open_if_exists(directory, O_RDONLY);
    if (!fd) return lock;
    struct stat locked{};
    if (fstat(fd->get(), &locked) != 0) throw_errno("stat", directory);
    if (!S_ISDIR(locked.st_mode)) return lock;  // whoever looks at the place says so
    while (flock(fd->get(), LOCK_EX | LOCK_NB) != 0) {
      if (errno == EWOULDBLOCK) throw_busy(directory, locked);
      if (errno != EINTR) throw_errno("lock", directory);
    }
    // It may have been renamed between the two calls.
    const std::optional<struct stat> named = stat_if_exists(directory);
    if (!named || named->st_dev != locked.st_dev || named->st_ino != locked.st_ino) continue;
    lock.fd_ = std::move(*fd);
    return lock;
  }
}

void require_no_other_restore(const std::string& directory,
                              const std::optional<ProcessIdentity>& here, bool declared_dead) {
  const std::optional<Marker> marker = read_marker(directory);
  if (!marker || declared_dead || cluster::sight_of(directory).own_file_system) return;
  // Of this kernel: it would hold the lock.
  if (marker->process && here && state_of(*marker->process, *here) != ProcessState::kUnknown)
    return;
  throw Error(
      {.code = ErrorCode::kBusy,
       .message =
           fmt::format("it is not certain that the restore into \"{}\" has ended", directory),
       .detail = fmt::format(
           "\"{}\" names process {} of host \"{}\", which is not seen from here. Another host may "
           "have the file system mounted too, and the restore may run there.",
           marker_path(directory), marker->pid, marker->host),
       .hint =
           "If it runs, wait until it has ended. If it is dead, say so: add --server-is-dead."});
}

}  // namespace holdfast::restore
