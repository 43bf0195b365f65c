// locked_directory.h: a private directory for one run of a program, below a place that others use
// too. What a run that was killed leaves there, the next one finds and removes.
//
//   <root>/<prefix>XXXXXX/<lock>      flock(2), held as long as the run lives
//
// Runs on other hosts are told apart only where their root is not shared.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/file.h"

namespace holdfast {

// TMPDIR, or /tmp.
std::string temporary_root();

class LockedDirectory {
 public:
  struct Kind {
    std::string_view prefix;
    std::string_view lock;  // the lock file's name
  };

  // Makes it, of mode 0700. Its owner removes it: the destructor only gives up the lock.
  LockedDirectory(const std::string& root, const Kind& kind);
  const std::string& path() const { return path_; }
  const std::string& lock_path() const { return lock_path_; }

 private:
  std::string path_;
  std::string lock_path_;
  std::optional<FileLock> lock_;
};

// Calls `remove` for every directory of that kind below `root` that is this user's and whose lock
// nobody holds; it is held meanwhile. Directories without a lock file are left alone. What could
// not be removed is logged.
void remove_abandoned(const std::string& root, const LockedDirectory::Kind& kind,
                      const std::function<void(const std::string& path)>& remove);

// Removes one, its lock file last: of one that is half removed when the process is killed the next
// run removes the rest.
void remove_locked(const std::string& path, const LockedDirectory::Kind& kind);
// For destructors: what could not be removed is logged, and left to the next run.
void remove_locked_or_log(const std::string& path, const LockedDirectory::Kind& kind);

}  // namespace holdfast
