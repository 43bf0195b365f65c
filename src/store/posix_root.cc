// The durable mark: a process that archives one segment would have to sync every folder up to the
// root, for it cannot know that somebody has done so before, and each sync is a flush of the
// device. So once a folder's entry and those of the folders above it are durable, the folder is
// given an extended attribute that says so. It names the folder by device and inode, so a copy of
// the repository does not inherit it; a crash may lose it, which costs the syncs once more. Where
// there are no such attributes (NFS before 4.2), each process syncs.
#include "store/posix_root.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/fsuid.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/error.h"
#include "base/process.h"
#include "base/users.h"
#include "store/names.h"

namespace holdfast::store {
namespace {

// A daemon that archives for years meets ever new folders; forgetting them costs a sync each.
constexpr size_t kMostDurableFolders = 4096;

// What a network or FUSE file system answers when its server is gone.
bool is_disconnected(int error_number) {
  switch (error_number) {
    case ESTALE:
    case ETIMEDOUT:
    case EHOSTDOWN:
    case EHOSTUNREACH:
    case ENETDOWN:
    case ENETUNREACH:
    case ECONNABORTED:
    case ECONNREFUSED:
    case ECONNRESET:
    case ENOTCONN:
    case ESHUTDOWN:
    case ENODEV:
    case ENXIO:
    case EREMOTEIO:
      return true;
    default:
      return false;
  }
}

std::string_view describe(int error_number) {
  const char* text = strerrordesc_np(error_number);
  return text != nullptr ? text : "unknown error";
}

constexpr const char* kDurableMark = "user.holdfast.durable";

std::string durable_mark_of(const struct stat& status) {
  return fmt::format("{}:{}", status.st_dev, status.st_ino);
}

bool has_durable_mark(const std::string& folder) {
  std::array<char, 64> mark;
  const ssize_t length = getxattr(folder.c_str(), kDurableMark, mark.data(), mark.size());
  struct stat status{};
  return length > 0 && stat(folder.c_str(), &status) == 0 &&
         std::string_view(mark.data(), static_cast<size_t>(length)) == durable_mark_of(status);
}

// Not every file system has room for one.
void set_durable_mark(const std::string& folder) {
  struct stat status{};
  if (stat(folder.c_str(), &status) != 0) return;
  const std::string mark = durable_mark_of(status);
  setxattr(folder.c_str(), kDurableMark, mark.data(), mark.size(), 0);
}

// nullopt where the file system does not know when a folder was made.
std::optional<FolderIdentity> identity_of(const std::string& folder) {
  struct statx status{};
  constexpr unsigned kWanted = STATX_INO | STATX_BTIME;
  if (statx(AT_FDCWD, folder.c_str(), 0, kWanted, &status) != 0 ||
      (status.stx_mask & kWanted) != kWanted)
    return std::nullopt;
  return FolderIdentity{.device = uint64_t{status.stx_dev_major} << 32U | status.stx_dev_minor,
                        .inode = status.stx_ino,
                        .made = {status.stx_btime.tv_sec, status.stx_btime.tv_nsec}};
}

bool is_missing(int error_number) { return error_number == ENOENT || error_number == ENOTDIR; }

}  // namespace

std::string_view folder_of(std::string_view name) {
  size_t slash = name.rfind('/');
  return slash == std::string_view::npos ? std::string_view{} : name.substr(0, slash);
}

namespace {

Time time_of(const struct timespec& time) {
  return Time{std::chrono::seconds(time.tv_sec) +
              std::chrono::floor<Microseconds>(std::chrono::nanoseconds(time.tv_nsec))};
}

}  // namespace

Time modified_time(const struct stat& status) { return time_of(status.st_mtim); }
Time changed_time(const struct stat& status) { return time_of(status.st_ctim); }

std::string PosixRoot::path_of(std::string_view name) const {
  return name.empty() ? path_ : join_path(path_, name);
}

// --- What errno means ---------------------------------------------------------------------------

void PosixRoot::check_present() const {
  struct stat status{};
  bool found = stat(path_.c_str(), &status) == 0;
  if (found && S_ISDIR(status.st_mode)) return;
  if (!found && !is_missing(errno)) fail("stat", path_, errno);
  throw Error(
      {.code = ErrorCode::kStoreUnavailable,
       .message = fmt::format("repository directory \"{}\" is not there", path_),
       .detail = found ? "There is something of that name, but it is not a directory."
                       : fmt::format("The system says: {}.", describe(errno)),
       .hint =
           "Check the path, and that the file system which holds it is mounted. \"holdfast init\" "
           "makes a new repository."});
}

bool PosixRoot::is_absence(int error_number, std::string_view name) const {
  if (!is_missing(error_number)) return false;
  check_present();
  for (size_t end = name.find('/');; end = name.find('/', end + 1)) {
    std::string path = path_of(name.substr(0, end));
    struct stat status{};
    if (lstat(path.c_str(), &status) != 0) {
      if (is_missing(errno)) return true;
      fail("stat", path, errno);
    }
    if (S_ISLNK(status.st_mode) && stat(path.c_str(), &status) != 0)
      throw Error({.code = ErrorCode::kStoreUnavailable,
                   .message = fmt::format("symbolic link \"{}\" leads nowhere", path),
                   .detail = fmt::format("The system says: {}.", describe(errno)),
                   .hint = "Check that the file system which it leads to is mounted."});
    if (end == std::string_view::npos)
      return true;  // it was absent then; that it came since changes nothing
  }
}

void PosixRoot::fail(std::string_view call, std::string_view path, int error_number) const {
  bool missing = is_missing(error_number);
  if (missing && path != path_) check_present();
  if (missing || is_disconnected(error_number))
    throw Error(
        {.code = ErrorCode::kStoreUnavailable,
         .message = fmt::format("could not {} \"{}\": {}", call, path, describe(error_number)),
         .detail = fmt::format("The repository is \"{}\".", path_),
         .hint = "Check that the file system which holds the repository is mounted and answers."});
  if (error_number == EACCES || error_number == EPERM) fail_refused(call, path, error_number);
  throw_errno(call, path, error_number);
}

void PosixRoot::fail_refused(std::string_view call, std::string_view path, int error_number) const {
  struct stat root{};
  if (!path.starts_with(path_) || stat(path_.c_str(), &root) != 0)
    throw_errno(call, path, error_number);
  // The first on the way down that is another user's; else the last that is there.
  std::string at(path_);
  struct stat status = root;
  for (size_t end = path_.size(); end < path.size() && status.st_uid == root.st_uid;) {
    end = std::min(path.find('/', end + 1), path.size());
    const std::string next(path.substr(0, end));
    struct stat below{};
    if (lstat(next.c_str(), &below) != 0) break;
    at = next;
    status = below;
  }
  const auto self = static_cast<uid_t>(setfsuid(static_cast<uid_t>(-1)));  // only tells
  const std::string owner = user_name(root.st_uid);
  const std::string place = shell_quote(path_);
  // As whom nobody runs a server: a copy that root made, or one of another host.
  const bool is_strangers = root.st_uid == 0 || owner == std::to_string(root.st_uid);
  const std::string give_it = fmt::format("chown -R {}: {}", user_name(self), place);
  throw Error(
      {.code = ErrorCode::kPermission,
       .message = fmt::format("could not {} \"{}\": {}", call, path, describe(error_number)),
       .detail = fmt::format("\"{}\" belongs to {}:{} and has mode {:04o}; the repository belongs "
                             "to {}; this is done "
                             "as {}.",
                             at, user_name(status.st_uid), group_name(status.st_gid),
                             status.st_mode & 07777U, owner, user_name(self)),
       .hint = status.st_uid != root.st_uid
                   ? fmt::format("As root give everything in the repository to its owner: "
                                 "chown -R --reference={0} {0}",
                                 place)
               : self != root.st_uid && is_strangers
                   ? fmt::format("Where {} is the user of the server, as root give him the "
                                 "repository: {}",
                                 user_name(self), give_it)
               : self != root.st_uid
                   ? fmt::format("Run the command as {0}, or as root, who works as {0} in it; or, "
                                 "where {1} is the user of the server, as root give him the "
                                 "repository: {2}",
                                 owner, user_name(self), give_it)
                   : fmt::format("Give its owner back what he may do: chmod -R u+rwX {}", place)});
}

// --- Objects ------------------------------------------------------------------------------------

std::optional<struct stat> PosixRoot::stat_object(std::string_view name) const {
  std::string path = path_of(name);
  struct stat status{};
  if (stat(path.c_str(), &status) != 0) {
    int error_number = errno;
    if (is_absence(error_number, name)) return std::nullopt;
    fail("stat", path, error_number);
  }
  if (!S_ISREG(status.st_mode)) return std::nullopt;
  return status;
}

std::optional<PosixRoot::OpenObject> PosixRoot::open_object(std::string_view name) const {
  std::string path = path_of(name);
  int fd;
  // O_NONBLOCK: a fifo that somebody left there must not hold us up.
  do fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
  while (fd < 0 && errno == EINTR);
  if (fd < 0) {
    int error_number = errno;
    if (is_absence(error_number, name)) return std::nullopt;
    fail("open", path, error_number);
  }
  OpenObject object{.fd = Fd(fd), .status = {}};
  if (fstat(fd, &object.status) != 0) fail("stat", path, errno);
  if (!S_ISREG(object.status.st_mode)) return std::nullopt;
  return object;
}

// --- Durable names ------------------------------------------------------------------------------

bool PosixRoot::make_folder(std::string_view folder) const {
  std::string path = path_of(folder);
  if (mkdir(path.c_str(), kFolderMode) != 0) {
    const int error_number = errno;
    if (error_number == EEXIST || is_absence(error_number, folder)) return false;
    fail("create directory", path, error_number);
  }
  const Fd made(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  // An expiry that finds it empty takes it away again; whoever needs it then makes it again.
  if (!made.is_open() && errno == ENOENT) return true;
  if (!made.is_open()) fail("open directory", path, errno);
  if (fchmod(made.get(), kFolderMode) != 0) fail("set the mode of", path, errno);
  if (const int failed = ownership_.give(made.get())) fail("change the owner of", path, failed);
  return true;
}

void PosixRoot::make_folders_of(std::string_view name) {
  for (size_t end = name.find('/'); end != std::string_view::npos; end = name.find('/', end + 1)) {
    std::string_view folder = name.substr(0, end);
    if (!make_folder(folder) && stat_object(folder)) throw_name_conflict(name, folder);
  }
}

bool PosixRoot::sync_folder_if_there(std::string_view folder) const {
  std::string path = path_of(folder);
  int fd;
  do fd = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  while (fd < 0 && errno == EINTR);
  if (fd < 0 && is_missing(errno)) return false;
  if (fd < 0) fail("open directory", path, errno);
  Fd directory(fd);
  // EINVAL: a file system that has no such call for directories, as PostgreSQL's fsync_fname()
  // takes it.
  if (fsync(fd) != 0 && errno != EINVAL) fail("fsync", path, errno);
  return true;
}

void PosixRoot::sync_folder(std::string_view folder) const {
  if (!sync_folder_if_there(folder)) fail("open directory", path_of(folder), ENOENT);
}

void PosixRoot::sync_removal(std::string_view name) const {
  std::string_view folder = folder_of(name);
  while (!folder.empty() && !sync_folder_if_there(folder)) folder = folder_of(folder);
  if (folder.empty()) sync_folder(folder);
}

void PosixRoot::sync_name(std::string_view name) {
  auto is_durable = [this](std::string_view folder) {
    const std::string path = path_of(folder);
    if (const std::optional<FolderIdentity> identity = identity_of(path)) {
      MutexLock lock(mutex_);
      const auto known = durable_.find(folder);
      if (known != durable_.end() && known->second == *identity) return true;
    }
    return has_durable_mark(path);
  };
  std::string_view folder = folder_of(name);
  sync_folder(folder);
  std::string_view upper = folder;
  for (; !upper.empty() && !is_durable(upper); upper = folder_of(upper))
    sync_folder(folder_of(upper));

  // A mark holds for all folders above, so it comes when all of them are synced.
  for (std::string_view made = folder; made.size() > upper.size(); made = folder_of(made)) {
    const std::string path = path_of(made);
    set_durable_mark(path);
    const std::optional<FolderIdentity> identity = identity_of(path);
    if (!identity) continue;
    MutexLock lock(mutex_);
    if (durable_.size() >= kMostDurableFolders) durable_.clear();
    durable_.insert_or_assign(std::string(made), *identity);
  }
}

void PosixRoot::remove_if_empty(std::string_view folder) const {
  while (!folder.empty() && rmdir(path_of(folder).c_str()) == 0) folder = folder_of(folder);
}

}  // namespace holdfast::store
