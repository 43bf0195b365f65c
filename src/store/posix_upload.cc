// Locks and the sweeper: a writer opens its file, then locks it, then looks whether the file still
// has its name. The sweeper locks a file before it takes the name away. So when the sweeper comes
// between opening and locking, the writer finds the name gone and starts over with another; and
// when it comes later it finds the lock held. The kernel drops the lock with the last descriptor,
// so a killed writer's file is free to be swept.

#include "store/posix_upload.h"

#include <cerrno>
#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/error.h"
#include "base/random.h"
#include "store/names.h"

namespace holdfast::store {
namespace {

constexpr int kMostTries = 100;

bool is_unsupported(int error_number) {
  return error_number == EPERM || error_number == ENOTSUP || error_number == EOPNOTSUPP ||
         error_number == ENOSYS || error_number == ENOLCK || error_number == EXDEV;
}

[[noreturn]] void throw_unsupported(const PosixRoot& root, std::string_view what,
                                    int error_number) {
  throw Error(
      {.code = ErrorCode::kUnsupported,
       .message = fmt::format("the file system of \"{}\" has no {}", root.path(), what),
       .detail = fmt::format("The system says: {}.", strerrordesc_np(error_number)),
       .hint =
           "A repository needs a file system with hard links and locks, such as ext4, xfs, btrfs, "
           "zfs or NFS, all of it on one file system."});
}

bool is_same_file(const struct stat& a, const struct stat& b) {
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

int lock_file(int fd, int operation) {
  int result;
  do result = flock(fd, operation);
  while (result != 0 && errno == EINTR);
  return result;
}

}  // namespace

PosixUpload::PosixUpload(PosixRoot& root) : root_(root) {
  const AsOwner as_owner(root_.ownership());
  while (!open_new()) {
  }
}

PosixUpload::~PosixUpload() {
  const AsOwner as_owner(root_.ownership());
  if (fd_.is_open()) unlink(path_.c_str());  // what stays is swept
}

// False: the name was taken, or the sweeper was quicker.
bool PosixUpload::open_new() {
  std::string name = fmt::format("{}/{}", kUploadFolder, to_hex(system_random().bytes16().view()));
  path_ = root_.path_of(name);
  auto open_once = [this] {
    return open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, kObjectMode);
  };
  int fd = open_once();
  if (fd < 0 && errno == ENOENT) {
    root_.check_present();
    root_.make_folder(kUploadFolder);
    fd = open_once();
  }
  if (fd < 0) {
    if (errno == EEXIST || errno == EINTR) return false;
    root_.fail("create", path_, errno);
  }
  fd_ = Fd(fd);
  writer_.begin(fd_, path_);
  if (lock_file(fd, LOCK_EX) != 0) {
    int error_number = errno;
    unlink(path_.c_str());
    if (is_unsupported(error_number)) throw_unsupported(root_, "file locks", error_number);
    root_.fail("lock", path_, error_number);
  }
  if (!has_own_name()) return false;
  if (fchmod(fd, kObjectMode) != 0) root_.fail("set the mode of", path_, errno);
  if (const int failed = root_.ownership().give(fd))
    root_.fail("change the owner of", path_, failed);
  return true;
}

bool PosixUpload::has_own_name() const {
  struct stat named{};
  if (lstat(path_.c_str(), &named) == 0) return is_same_file(named, status());
  if (errno == ENOENT) return false;
  root_.fail("stat", path_, errno);
}

struct stat PosixUpload::status() const {
  struct stat status{};
  if (fstat(fd_.get(), &status) != 0) root_.fail("stat", path_, errno);
  return status;
}

void PosixUpload::append(ByteView bytes) {
  const AsOwner as_owner(root_.ownership());
  if (const int failed = writer_.write(size_, bytes)) root_.fail("write", path_, failed);
  size_ += bytes.size();
}

bool PosixUpload::link_as(const std::string& name) {
  const AsOwner as_owner(root_.ownership());
  if (const int failed = writer_.flush()) root_.fail("write", path_, failed);
  if (fsync(fd_.get()) != 0) root_.fail("fsync", path_, errno);

  std::string target = root_.path_of(name);
  auto link_once = [&] { return link(path_.c_str(), target.c_str()) == 0 ? 0 : errno; };
  int failed = link_once();
  // An expiry may take a folder away as often as it finds it empty.
  for (int tries = 0; (failed == ENOENT || failed == ENOTDIR) && tries < kMostTries; ++tries) {
    root_.check_present();
    root_.make_folders_of(name);
    failed = link_once();
  }
  // A network file system may have made the link, lost the answer, and found a name taken when it
  // asked again: taken by this file.
  struct stat there{};
  if (failed != 0 && lstat(target.c_str(), &there) == 0 && is_same_file(there, status()))
    failed = 0;
  if (failed == EEXIST) {
    if (is_directory(target)) throw_name_conflict(name, name + "/");
    return false;
  }
  if (is_unsupported(failed)) throw_unsupported(root_, "hard links", failed);
  if (failed != 0) root_.fail("link", target, failed);

  root_.sync_name(name);
  unlink(path_.c_str());
  fd_.reset();
  return true;
}

namespace {

// Every folder below `folder` that holds nothing; by descriptors, and no link is followed.
void remove_empty_below(const Fd& folder, const std::string& path) {
  for (const DirectoryEntry& entry : list_directory(folder, path)) {
    if (entry.type != DT_DIR || !is_component(entry.name)) continue;
    // Most hold something, and those that hold folders are emptied first.
    if (unlinkat(folder.get(), entry.name.c_str(), AT_REMOVEDIR) == 0) continue;
    const Fd below(
        openat(folder.get(), entry.name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!below.is_open()) continue;  // gone, or not ours to look into
    remove_empty_below(below, join_path(path, entry.name));
    unlinkat(folder.get(), entry.name.c_str(), AT_REMOVEDIR);
  }
}

}  // namespace

void remove_empty_folders(PosixRoot& root) {
  const AsOwner as_owner(root.ownership());
  const Fd folder(open(root.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder.is_open()) root.fail("open directory", root.path(), errno);
  remove_empty_below(folder, root.path());
}

// By descriptors, so that nobody who swaps the directory for a link meanwhile leads the sweep
// elsewhere; and only what has an upload's name and is of the repository's owner.
int sweep_uploads_of(PosixRoot& root) {
  const AsOwner as_owner(root.ownership());
  root.check_present();
  const std::string path = root.path_of(kUploadFolder);
  constexpr int kHere = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
  const Fd folder(open(path.c_str(), kHere));
  if (!folder.is_open() && root.is_absence(errno, kUploadFolder)) return 0;
  struct stat own{};
  struct stat repository{};
  if (!folder.is_open() || fstat(folder.get(), &own) != 0 ||
      stat(root.path().c_str(), &repository) != 0)
    root.fail("open directory", path, errno);
  int swept = 0;
  for (const DirectoryEntry& entry : list_directory(folder, path)) {
    if (!parse_hex_array<16>(entry.name)) continue;
    // For writing, because NFS locks a file exclusively only then. Not ours to open, gone, or no
    // file: left alone.
    const Fd file(openat(folder.get(), entry.name.c_str(),
                         O_WRONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY));
    if (!file.is_open() || lock_file(file.get(), LOCK_EX | LOCK_NB) != 0) continue;  // or it lives
    struct stat opened{};
    struct stat named{};
    if (fstat(file.get(), &opened) != 0 ||
        fstatat(folder.get(), entry.name.c_str(), &named, AT_SYMLINK_NOFOLLOW) != 0)
      continue;
    if (!S_ISREG(opened.st_mode) || !is_same_file(opened, named) ||
        opened.st_uid != repository.st_uid)
      continue;
    if (unlinkat(folder.get(), entry.name.c_str(), 0) == 0) ++swept;
  }
  return swept;
}

}  // namespace holdfast::store
