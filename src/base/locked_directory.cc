#include "base/locked_directory.h"

#include <cstdlib>
#include <sys/stat.h>
#include <unistd.h>

#include <fmt/format.h>

#include "base/error.h"
#include "base/log.h"

namespace holdfast {
namespace {

// One that cannot be removed does not keep the others, nor the run itself. Destructors call it, so
// nothing passes.
template <typename Call>
void log_failure(const std::string& path, const Call& remove) {
  if (const std::optional<Error> error = error_of(even_interrupted, remove))
    log_warning("could not remove \"{}\": {}", path, error->message());
}

}  // namespace

std::string temporary_root() {
  const char* root = std::getenv("TMPDIR");
  return absolute_path(root != nullptr && *root != '\0' ? root : "/tmp");
}

LockedDirectory::LockedDirectory(const std::string& root, const Kind& kind) {
  // Another run may take it for abandoned before it is locked.
  while (!lock_) {
    path_ = join_path(root, fmt::format("{}XXXXXX", kind.prefix));
    if (mkdtemp(path_.data()) == nullptr) throw_errno("create directory", path_);
    lock_path_ = join_path(path_, kind.lock);
    lock_ = FileLock::try_lock(lock_path_);
  }
}

void remove_abandoned(const std::string& root, const LockedDirectory::Kind& kind,
                      const std::function<void(const std::string& path)>& remove) {
  for (const DirectoryEntry& entry : list_directory(root)) {
    const std::string path = join_path(root, entry.name);
    const std::string lock_path = join_path(path, kind.lock);
    const std::optional<struct stat> status = lstat_if_exists(path);
    if (!entry.name.starts_with(kind.prefix) || !status || !S_ISDIR(status->st_mode) ||
        status->st_uid != geteuid() || !lstat_if_exists(lock_path))
      continue;
    log_failure(path, [&] {
      const std::optional<FileLock> lock = FileLock::try_lock(lock_path);
      if (lock) remove(path);
    });
  }
}

void remove_locked(const std::string& path, const LockedDirectory::Kind& kind) {
  for (const DirectoryEntry& entry : list_directory(path))
    if (entry.name != kind.lock) remove_tree(join_path(path, entry.name));
  remove_tree(path);
}

void remove_locked_or_log(const std::string& path, const LockedDirectory::Kind& kind) {
  log_failure(path, [&] { remove_locked(path, kind); });
}

}  // namespace holdfast
