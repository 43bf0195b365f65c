// Locks and the sweeper: a writer opens its file, then locks it, then looks whether the file still
// has its name. The sweeper locks a file before it takes the name away. So when the sweeper comes
// between opening and locking, the writer finds the name gone and starts over with another; and
// when it comes later it finds the lock held. The kernel drops the lock with the last descriptor,
// so a killed writer's file is free to be swept.

#include "store/posix_upload.h"

#include <cerrno>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/error.h"
#include "base/random.h"
#include "store/names.h"

namespace holdfast::store {
namespace {

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
  while (!open_new()) {
  }
}

PosixUpload::~PosixUpload() {
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
  if (const int failed = writer_.write(size_, bytes)) root_.fail("write", path_, failed);
  size_ += bytes.size();
}

bool PosixUpload::link_as(const std::string& name) {
  if (const int failed = writer_.flush()) root_.fail("write", path_, failed);
  if (fsync(fd_.get()) != 0) root_.fail("fsync", path_, errno);

  std::string target = root_.path_of(name);
  int failed = link(path_.c_str(), target.c_str()) == 0 ? 0 : errno;
  if (failed == ENOENT || failed == ENOTDIR) {
    root_.check_present();
    root_.make_folders_of(name);
    failed = link(path_.c_str(), target.c_str()) == 0 ? 0 : errno;
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

int sweep_uploads_of(PosixRoot& root) {
  root.check_present();
  std::optional<std::vector<DirectoryEntry>> entries =
      list_directory_if_exists(root.path_of(kUploadFolder));
  if (!entries) return 0;
  int swept = 0;
  for (const DirectoryEntry& entry : *entries) {
    std::string path = join_path(root.path_of(kUploadFolder), entry.name);
    if (!is_component(entry.name)) continue;
    // For writing, because NFS locks a file exclusively only then. Not ours to open, gone, or no
    // file: left alone.
    int fd = open(path.c_str(), O_WRONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) continue;
    Fd file(fd);
    struct stat opened{};
    struct stat named{};
    if (lock_file(fd, LOCK_EX | LOCK_NB) != 0) continue;  // its writer lives
    if (fstat(fd, &opened) != 0 || lstat(path.c_str(), &named) != 0) continue;
    if (!S_ISREG(opened.st_mode) || !is_same_file(opened, named)) continue;
    if (unlink(path.c_str()) == 0) ++swept;
  }
  return swept;
}

}  // namespace holdfast::store
