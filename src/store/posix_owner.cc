#include "store/posix_owner.h"

#include <algorithm>
#include <cerrno>
#include <sys/fsuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <utility>

#include "base/file.h"
#include "base/users.h"

namespace holdfast::store {
namespace {

// A repository that is mounted in place of an empty directory has another owner; a look at each
// call would cost as much as the call.
constexpr std::chrono::seconds kLookEvery{1};
// Owners of directories on the way to a repository.
constexpr int kMostOwners = 16;

// Whose owner this thread is.
thread_local const Ownership* inside = nullptr;

// An id that nobody has only tells.
OwnerIds thread_owner() {
  return {.user = static_cast<uid_t>(setfsuid(static_cast<uid_t>(-1))),
          .group = static_cast<gid_t>(setfsgid(static_cast<gid_t>(-1)))};
}

// False: the process may not.
bool become(const OwnerIds& owner) {
  setfsgid(owner.group);
  setfsuid(owner.user);
  return thread_owner() == owner;
}

std::vector<gid_t> thread_groups() {
  std::vector<gid_t> groups(static_cast<size_t>(std::max(getgroups(0, nullptr), 0)));
  const int count = getgroups(static_cast<int>(groups.size()), groups.data());
  groups.resize(static_cast<size_t>(std::max(count, 0)));
  return groups;
}

// glibc's function would change every thread.
bool set_thread_groups(const std::vector<gid_t>& groups) {
  return syscall(SYS_setgroups, groups.size(), groups.data()) == 0;
}

std::optional<struct stat> status_of(const std::string& path) {
  struct stat status{};
  if (stat(path.c_str(), &status) != 0) return std::nullopt;
  return status;
}

OwnerIds owner_in(const struct stat& status) {
  return {.user = status.st_uid, .group = status.st_gid};
}

// Puts a thread back to what it was.
class Restoring {
 public:
  Restoring() : before_(thread_owner()), groups_(thread_groups()) {}
  ~Restoring() {
    become(before_);
    set_thread_groups(groups_);
  }
  Restoring(const Restoring&) = delete;
  Restoring& operator=(const Restoring&) = delete;

 private:
  const OwnerIds before_;
  const std::vector<gid_t> groups_;
};

}  // namespace

int Ownership::give(int fd) const {
  std::optional<Known> known;
  {
    MutexLock lock(mutex_);
    known = known_;
  }
  if (!known || known->can_be || !whom_to_be(geteuid(), known->owner)) return 0;
  return fchown(fd, known->owner.user, known->owner.group) == 0 ? 0 : errno;
}

// A root that is nobody on a network file system sees no more than everybody does: from the deepest
// directory that it sees it goes on as whom that belongs to.
std::optional<struct stat> Ownership::look() const {
  for (int owners = 0; owners < kMostOwners; ++owners) {
    std::optional<struct stat> found = status_of(root_);
    if (found || errno != EACCES) return found;
    std::string above = root_;
    do {
      if (above == "/") return std::nullopt;
      above = parent_path(above);
      found = status_of(above);
    } while (!found && errno == EACCES);
    if (!found || owner_in(*found).user == thread_owner().user || !become(owner_in(*found)))
      return std::nullopt;
  }
  return std::nullopt;
}

std::optional<Ownership::Known> Ownership::find_anew() const {
  const Restoring restoring;
  const std::optional<struct stat> status = look();
  if (!status) return std::nullopt;
  Known known{.owner = owner_in(*status)};
  if (!whom_to_be(geteuid(), known.owner) || !become(known.owner)) return known;
  known.can_be = status_of(root_).has_value();
  if (known.can_be) return known;
  known.groups = groups_of(known.owner.user, known.owner.group);
  known.can_be = set_thread_groups(known.groups) && status_of(root_).has_value();
  return known;
}

std::optional<Ownership::Known> Ownership::find() const {
  const auto now = std::chrono::steady_clock::now();
  {
    MutexLock lock(mutex_);
    if (known_ && now - known_->at < kLookEvery) return known_;
  }
  std::optional<Known> found = find_anew();
  if (found) found->at = now;
  MutexLock lock(mutex_);
  known_ = found;
  return found;
}

AsOwner::AsOwner(const Ownership& ownership) {
  if (geteuid() != 0 || inside == &ownership) return;
  const std::optional<Ownership::Known> known = ownership.find();
  if (!known || !known->can_be) return;
  outer_ = std::exchange(inside, &ownership);
  before_ = thread_owner();
  if (!known->groups.empty()) {
    groups_before_ = thread_groups();
    set_thread_groups(known->groups);
  }
  become(known->owner);
}

AsOwner::~AsOwner() {
  if (!before_) return;
  const int error_number = errno;
  become(*before_);
  if (groups_before_) set_thread_groups(*groups_before_);
  inside = outer_;
  errno = error_number;
}

}  // namespace holdfast::store
