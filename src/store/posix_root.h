// posix_root.h: what the parts of the posix engine share: the root directory, what errno means in
// it, and durable names. For the sources of store alone. Safe from any thread.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <sys/stat.h>

#include "base/file.h"
#include "base/mutex.h"
#include "base/time.h"

namespace holdfast::store {

inline constexpr mode_t kObjectMode = 0640;
inline constexpr mode_t kFolderMode = 0750;
inline constexpr std::string_view kUploadFolder = ".tmp";

class PosixRoot {
 public:
  explicit PosixRoot(std::string path) : path_(std::move(path)) {}
  const std::string& path() const { return path_; }
  // The path of an object or a folder; "" is the root.
  std::string path_of(std::string_view name) const;

  // Throws kStoreUnavailable unless the root is a directory.
  void check_present() const;
  // Whether a call on `name` that failed with `error_number` proves that there is nothing of that
  // name. Throws kStoreUnavailable where the root, or what a symbolic link on the way leads to, is
  // not there: that proves nothing.
  bool is_absence(int error_number, std::string_view name) const;
  // Throws the Error for a system call on `path`, somewhere below the root.
  [[noreturn]] void fail(std::string_view call, std::string_view path, int error_number) const;

  // stat(2), and open(2) for reading with what fstat(2) says; nullopt unless there is a regular
  // file.
  std::optional<struct stat> stat_object(std::string_view name) const;
  struct OpenObject {
    Fd fd;
    struct stat status;
  };
  std::optional<OpenObject> open_object(std::string_view name) const;

  // Makes one directory directly; false when it is there. Its mode does not depend on the umask.
  bool make_folder(std::string_view folder) const;
  // Makes the folders that `name` stands in. Nothing is synced: sync_name() follows.
  void make_folders_of(std::string_view name);
  // Makes the entry of `name` and of each folder that it stands in durable. The folders are synced
  // once only.
  void sync_name(std::string_view name);
  void sync_folder(std::string_view folder) const;

 private:
  const std::string path_;
  Mutex mutex_;
  // Folders whose own entries, up to the root, are known to be durable.
  std::set<std::string, std::less<>> durable_ HF_GUARDED_BY(mutex_);
};

// "a/b/c" -> "a/b"; "a" -> "".
std::string_view folder_of(std::string_view name);
Time modified_time(const struct stat& status);

}  // namespace holdfast::store
