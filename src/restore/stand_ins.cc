#include "restore/stand_ins.h"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <sys/file.h>

#include "base/error.h"

namespace holdfast::restore {
namespace {

bool lock(const Fd& fd, int operation) {
  int result;
  do result = flock(fd.get(), operation);
  while (result != 0 && errno == EINTR);
  return result == 0;
}

// One at a time on this host, for the moments in which a directory is made or removed together with
// its lock: by a lock that every user can take and that leaves no file behind.
Fd only_one() {
  Fd root = open_file("/", O_RDONLY | O_DIRECTORY);
  if (!lock(root, LOCK_EX)) throw_errno("lock", "/");
  return root;
}

}  // namespace

void StandIns::hold(const std::string& path, const std::optional<OwnerIds>& owner, bool is_ours) {
  const Fd gate = only_one();
  const size_t made_before = made_.size();
  for (std::string above = path; !lstat_if_exists(above); above = parent_path(above))
    made_.push_back(above);
  if (made_.size() > made_before) {
    make_owned_directories(path, 0700, owner);
    is_ours = true;
  }
  const int opened = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (opened < 0) return;  // not ours to open: production's own
  Fd fd(opened);
  if (!is_ours) {
    // Production's own is locked by nobody; what is, stands in for another copy.
    if (lock(fd, LOCK_EX | LOCK_NB)) return;
    made_.push_back(path);
  }
  if (!lock(fd, LOCK_SH | LOCK_NB)) throw_errno("lock", path);
  held_.push_back({.path = path, .fd = std::move(fd)});
}

void StandIns::release(std::vector<std::string> made) {
  const Fd gate = only_one();
  for (const Held& held : held_)
    if (!lock(held.fd, LOCK_EX | LOCK_NB)) std::erase(made, held.path);
  std::ranges::sort(made, std::ranges::greater());  // the deepest first
  for (const std::string& path : made)
    if (is_directory(path) && is_empty_directory(path)) remove_empty_directory(path);
  held_.clear();
  made_.clear();
}

}  // namespace holdfast::restore
