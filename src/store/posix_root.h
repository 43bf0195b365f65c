// posix_root.h: what the parts of the posix engine share: the root directory, what errno means in
// it, and durable names. For the sources of store alone. Safe from any thread.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <sys/stat.h>
#include <utility>

#include "base/file.h"
#include "base/mutex.h"
#include "base/time.h"
#include "store/posix_owner.h"

namespace holdfast::store {

inline constexpr mode_t kObjectMode = 0640;
inline constexpr mode_t kFolderMode = 0750;
inline constexpr std::string_view kUploadFolder = ".tmp";

// Which of all folders that ever bore a name: an expiry takes one that is empty away, and its
// inode's number is used again.
struct FolderIdentity {
  uint64_t device = 0;
  uint64_t inode = 0;
  std::pair<int64_t, uint32_t> made;  // when
  bool operator==(const FolderIdentity&) const = default;
};

class PosixRoot {
 public:
  explicit PosixRoot(std::string path) : path_(std::move(path)), ownership_(path_) {}
  const std::string& path() const { return path_; }
  // Whoever works here does it as AsOwner(ownership()): each call of the store, the whole of it.
  const Ownership& ownership() const { return ownership_; }
  // The path of an object or a folder; "" is the root.
  std::string path_of(std::string_view name) const;

  // Throws kStoreUnavailable unless the root is a directory.
  void check_present() const;
  // Whether a call on `name` that failed with `error_number` proves that there is nothing of that
  // name. Throws kStoreUnavailable where the root, or what a symbolic link on the way leads to, is
  // not there: that proves nothing.
  bool is_absence(int error_number, std::string_view name) const;
  // Throws the Error for a system call on `path`, somewhere below the root. A refusal names who
  // owns what is in the way, and the command that puts it right.
  [[noreturn]] void fail(std::string_view call, std::string_view path, int error_number) const;

  // stat(2), and open(2) for reading with what fstat(2) says; nullopt unless there is a regular
  // file.
  std::optional<struct stat> stat_object(std::string_view name) const;
  struct OpenObject {
    Fd fd;
    struct stat status;
  };
  std::optional<OpenObject> open_object(std::string_view name) const;

  // Makes one directory directly; false when it is there, or the one above it is not. Its mode does
  // not depend on the umask.
  bool make_folder(std::string_view folder) const;
  // Makes the folders that `name` stands in. Nothing is synced: sync_name() follows.
  void make_folders_of(std::string_view name);
  // Makes the entry of `name` and of each folder that it stands in durable. The folders are synced
  // once only.
  void sync_name(std::string_view name);
  void sync_folder(std::string_view folder) const;
  // Makes it durable that there is no entry of `name`. Its folder may be gone too.
  void sync_removal(std::string_view name) const;
  // Takes away a folder that holds nothing, and those above it that held it alone. Safe at any
  // time: who finds the folder gone makes it again.
  void remove_if_empty(std::string_view folder) const;

 private:
  bool sync_folder_if_there(std::string_view folder) const;
  [[noreturn]] void fail_refused(std::string_view call, std::string_view path,
                                 int error_number) const;

  const std::string path_;
  const Ownership ownership_;
  Mutex mutex_;
  // Folders whose own entries, up to the root, are known to be durable.
  std::map<std::string, FolderIdentity, std::less<>> durable_ HF_GUARDED_BY(mutex_);
};

// "a/b/c" -> "a/b"; "a" -> "".
std::string_view folder_of(std::string_view name);
Time modified_time(const struct stat& status);
Time changed_time(const struct stat& status);

}  // namespace holdfast::store
