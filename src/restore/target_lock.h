// target_lock.h: one restore at a time works in a directory.
//
// Two things say that one does. A lock (flock(2)) on the directory itself, which every process of
// this kernel sees, whatever its container or its path to the directory, and which ends with its
// process. And the marker (marker.h), which names the process: where another host may have the file
// system mounted too, a lock that is free proves nothing, and a process that cannot be seen is not
// taken for dead, as it is with servers (cluster/server_end.h).
//
// Facts: flock(2); a network file system's directories are locked on this host alone (Linux 5.12
// and later for NFS too: only a file's locks go to the server).
#pragma once

#include <optional>
#include <string>

#include "base/file.h"
#include "base/process_identity.h"

namespace holdfast::restore {

class TargetLock {
 public:
  TargetLock() = default;  // of nothing
  // Not held where there is no such directory. No child of this process has it. Throws kBusy,
  // naming the process that holds it.
  static TargetLock take(const std::string& directory);
  bool is_held() const { return fd_.is_open(); }

 private:
  Fd fd_;
};

// What the lock does not tell. `here`: this process, as the marker's is told. Throws kBusy.
// REQUIRES: the lock is held.
void require_no_other_restore(const std::string& directory,
                              const std::optional<ProcessIdentity>& here, bool declared_dead);

}  // namespace holdfast::restore
