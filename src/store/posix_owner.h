// posix_owner.h: root works in a repository as its owner. For the sources of store alone.
//
// A repository belongs to whom its directory belongs to: the user whose servers archive into it.
// What root made there as root, that user could not read, and archiving and recovery would stand
// still; on a network file system root may be nobody at all. So while root works in a repository
// the thread is its owner to the file system, and whatever is made is the owner's from the start.
// Other users are themselves.
//
// Facts: setfsuid(2), setfsgid(2), credentials(7), capabilities(7): Linux keeps these ids for each
// thread, and with them go the capabilities by which root passes over permissions. setgroups(2) as
// a bare system call is the thread's own too.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <sys/stat.h>
#include <sys/types.h>
#include <vector>

#include "base/mutex.h"
#include "base/users.h"

namespace holdfast::store {

// Who a process is to be in a directory of `owner`; nullopt: who it is.
constexpr std::optional<OwnerIds> whom_to_be(uid_t effective_user, const OwnerIds& owner) {
  if (effective_user != 0 || owner.user == 0) return std::nullopt;
  return owner;
}

// What is known of one repository's owner. Safe from any thread.
class Ownership {
 public:
  explicit Ownership(std::string root) : root_(std::move(root)) {}

  // Gives him what was made for him by root as root, where root cannot be him: because he cannot
  // come there himself (it lies below a directory that is closed to him), or because this root may
  // not become somebody else. Returns errno.
  [[nodiscard]] int give(int fd) const;

 private:
  friend class AsOwner;
  struct Known {
    OwnerIds owner;
    bool can_be = false;             // this process can be him, and he comes there
    std::vector<gid_t> groups = {};  // by which he comes there; empty: he needs none
    std::chrono::steady_clock::time_point at = {};
  };
  // nullopt: there is nobody to be.
  std::optional<Known> find() const;
  std::optional<Known> find_anew() const;
  std::optional<struct stat> look() const;

  const std::string root_;
  mutable Mutex mutex_;
  mutable std::optional<Known> known_ HF_GUARDED_BY(mutex_);
};

// Makes this thread the owner for as long as it lives. One within another of the same repository
// does nothing.
class AsOwner {
 public:
  explicit AsOwner(const Ownership& ownership);
  ~AsOwner();
  AsOwner(const AsOwner&) = delete;
  AsOwner& operator=(const AsOwner&) = delete;

 private:
  const Ownership* outer_ = nullptr;
  std::optional<OwnerIds> before_;  // who the thread was
  std::optional<std::vector<gid_t>> groups_before_;
};

}  // namespace holdfast::store
