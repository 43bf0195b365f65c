#include "base/file.h"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <fmt/core.h>

#include "base/error.h"
#include "base/random.h"

namespace holdfast {
namespace {

bool is_absent(int error_number) { return error_number == ENOENT || error_number == ENOTDIR; }

int open_retrying(int directory, const char* path, int flags, mode_t mode = 0) {
  int fd;
  do fd = openat(directory, path, flags | O_CLOEXEC, mode);
  while (fd < 0 && errno == EINTR);
  return fd;
}

// The two halves of reading and writing: `call` is handed what is left and how much is done.
template <typename Call>
size_t transfer_in(std::span<std::byte> into, std::string_view path, Call call) {
  size_t done = 0;
  while (done < into.size()) {
    const ssize_t count = call(into.subspan(done), done);
    if (count == 0) break;
    if (count < 0) {
      if (errno == EINTR) continue;
      throw_errno("read", path);
    }
    done += static_cast<size_t>(count);
  }
  return done;
}

template <typename Call>
void transfer_out(ByteView bytes, std::string_view path, Call call) {
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t count = call(bytes.subspan(done), done);
    if (count < 0 && errno == EINTR) continue;
    // A file that takes nothing and names no error would be asked for ever.
    if (count <= 0) throw_errno("write", path, count < 0 ? errno : EIO);
    done += static_cast<size_t>(count);
  }
}

off_t file_offset(uint64_t offset) { return narrow<off_t>(offset); }

Bytes read_whole(const Fd& fd, const std::string& path, size_t limit) {
  struct stat status{};
  if (fstat(fd.get(), &status) != 0) throw_errno("stat", path);
  // The size is a first guess only: files of /proc tell 0, and a file may grow meanwhile. One byte
  // more than expected shows the end without a second read.
  size_t expected = static_cast<size_t>(std::max<off_t>(status.st_size, 0));
  Bytes bytes;
  size_t filled = 0;
  for (size_t room = std::min(expected, limit) + 1;; room = std::max<size_t>(filled, 4096)) {
    room = std::min(room, limit + 1 - filled);
    bytes.resize(filled + room);
    const size_t count = read_some(fd, std::span(bytes).subspan(filled), path);
    filled += count;
    if (filled > limit)
      throw Error(
          {.code = ErrorCode::kCorrupt,
           .message = fmt::format("file \"{}\" is too large", path),
           .detail = fmt::format("It holds more than the {} bytes that it may have.", limit)});
    if (count < room) break;
  }
  bytes.resize(filled);
  return bytes;
}

class DirectoryStream {
 public:
  // Takes the descriptor.
  DirectoryStream(Fd fd, std::string_view path) : stream_(fdopendir(fd.get())) {
    if (stream_ == nullptr) throw_errno("open directory", path);
    fd.release();
  }
  ~DirectoryStream() { closedir(stream_); }
  DirectoryStream(const DirectoryStream&) = delete;
  DirectoryStream& operator=(const DirectoryStream&) = delete;
  DIR* get() const { return stream_; }

 private:
  DIR* stream_;
};

unsigned char type_of_mode(mode_t mode) { return static_cast<unsigned char>(IFTODT(mode)); }

std::vector<DirectoryEntry> read_entries(Fd directory, std::string_view path) {
  DirectoryStream stream(std::move(directory), path);
  std::vector<DirectoryEntry> entries;
  for (;;) {
    errno = 0;
    const dirent* entry = readdir(stream.get());
    if (entry == nullptr) break;
    const std::string_view name = entry->d_name;
    if (name == "." || name == "..") continue;
    unsigned char type = entry->d_type;
    if (type == DT_UNKNOWN) {
      struct stat status{};
      if (fstatat(dirfd(stream.get()), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) != 0) {
        if (errno == ENOENT) continue;  // gone since readdir
        throw_errno("stat", join_path(path, name));
      }
      type = type_of_mode(status.st_mode);
    }
    entries.push_back({.name = std::string(name), .type = type});
  }
  if (errno != 0) throw_errno("read directory", path);
  std::ranges::sort(entries, {}, &DirectoryEntry::name);
  return entries;
}

std::string without_trailing_slashes(std::string_view path) {
  while (path.size() > 1 && path.back() == '/') path.remove_suffix(1);
  return std::string(path);
}

bool has_same_file(const struct stat& a, const struct stat& b) {
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

// One directory on the way down in remove_tree.
struct RemovalLevel {
  std::string path;                      // for errors
  std::string name;                      // in the directory above
  struct stat status = {};               // to know it again when coming back up
  std::vector<std::string> directories;  // left to be removed in it
};

}  // namespace

// --- Fd -----------------------------------------------------------------------------------------

Fd::~Fd() { reset(); }

Fd::Fd(Fd&& other) noexcept : fd_(other.release()) {}

Fd& Fd::operator=(Fd&& other) noexcept {
  if (this != &other) {
    reset();
    fd_ = other.release();
  }
  return *this;
}

int Fd::release() { return std::exchange(fd_, -1); }

void Fd::reset() {
  // Linux has freed the descriptor even when close fails: it is never closed again.
  if (fd_ >= 0) close(release());
}

// --- Opening, reading, writing ------------------------------------------------------------------

Fd open_file(const std::string& path, int flags, mode_t mode) {
  if ((flags & (O_CREAT | O_TRUNC | O_APPEND)) != 0) flags |= O_NOFOLLOW;
  const int fd = open_retrying(AT_FDCWD, path.c_str(), flags, mode);
  if (fd < 0) throw_errno((flags & O_CREAT) != 0 ? "create" : "open", path);
  return Fd(fd);
}

std::optional<Fd> open_if_exists(const std::string& path, int flags) {
  const int fd = open_retrying(AT_FDCWD, path.c_str(), flags);
  if (fd >= 0) return Fd(fd);
  if (is_absent(errno)) return std::nullopt;
  throw_errno("open", path);
}

size_t read_some(const Fd& fd, std::span<std::byte> into, std::string_view path) {
  return transfer_in(into, path, [&](std::span<std::byte> rest, size_t) {
    return read(fd.get(), rest.data(), rest.size());
  });
}

size_t pread_some(const Fd& fd, std::span<std::byte> into, uint64_t offset, std::string_view path) {
  return transfer_in(into, path, [&](std::span<std::byte> rest, size_t done) {
    return pread(fd.get(), rest.data(), rest.size(), file_offset(offset + done));
  });
}

void write_all(const Fd& fd, ByteView bytes, std::string_view path) {
  transfer_out(bytes, path,
               [&](ByteView rest, size_t) { return write(fd.get(), rest.data(), rest.size()); });
}

void pwrite_all(const Fd& fd, ByteView bytes, uint64_t offset, std::string_view path) {
  transfer_out(bytes, path, [&](ByteView rest, size_t done) {
    return pwrite(fd.get(), rest.data(), rest.size(), file_offset(offset + done));
  });
}

void fsync_file(const Fd& fd, std::string_view path) {
  if (fsync(fd.get()) != 0) throw_errno("fsync", path);
}

void close_file(Fd fd, std::string_view path) {
  if (close(fd.release()) != 0 && errno != EINTR) throw_errno("close", path);
}

void fsync_directory(const std::string& path) {
  fsync_file(open_file(path, O_RDONLY | O_DIRECTORY), path);
}

void fsync_parent(const std::string& path) { fsync_directory(parent_path(path)); }

Bytes read_file(const std::string& path, size_t limit) {
  return read_whole(open_file(path, O_RDONLY), path, limit);
}

std::optional<Bytes> read_if_exists(const std::string& path, size_t limit) {
  const std::optional<Fd> fd = open_if_exists(path, O_RDONLY);
  if (!fd) return std::nullopt;
  return read_whole(*fd, path, limit);
}

std::string read_text_file(const std::string& path, size_t limit) {
  return std::string(as_text(read_file(path, limit)));
}

void write_file_durably(const std::string& path, ByteView bytes, mode_t mode) {
  DurableFile file(path, mode);
  if (fchmod(file.fd().get(), mode) != 0) throw_errno("change mode of", path);
  file.write(bytes);
  file.commit();
}

// --- DurableFile --------------------------------------------------------------------------------

DurableFile::DurableFile(std::string_view path, mode_t mode)
    : path_(without_trailing_slashes(path)), temporary_(temporary_name(path_)) {
  fd_ = open_file(temporary_, O_RDWR | O_CREAT | O_EXCL, mode);
}

DurableFile::~DurableFile() {
  // Best effort: what stays behind ends in ".tmp" and is nobody's file.
  if (fd_.is_open() && !temporary_.empty()) unlink(temporary_.c_str());
}

void DurableFile::write(ByteView bytes) { write_all(fd_, bytes, path_); }

void DurableFile::commit(Mode mode) {
  HF_CHECK(!temporary_.empty());
  fsync_file(fd_, temporary_);
  if (mode == Mode::kReplace) {
    if (rename(temporary_.c_str(), path_.c_str()) != 0) throw_errno("create", path_);
  } else {
    // rename(2) would replace; link(2) refuses an existing name, in one step, on every file system
    // that a repository lives on.
    if (link(temporary_.c_str(), path_.c_str()) != 0) {
      const int error_number = errno;
      // NFS may answer EEXIST to the repetition of a link that succeeded: then the file has two
      // names.
      struct stat status{};
      const bool linked =
          error_number == EEXIST && fstat(fd_.get(), &status) == 0 && status.st_nlink == 2;
      if (!linked) throw_errno("create", path_, error_number);
    }
    if (unlink(temporary_.c_str()) != 0) throw_errno("remove", temporary_);
  }
  temporary_.clear();
  fsync_parent(path_);
}

std::string DurableFile::temporary_name(const std::string& path) {
  std::array<std::byte, 8> random;
  system_random().fill(random);
  return fmt::format("{}.{}.tmp", path, to_hex(random));
}

// --- Asking about names -------------------------------------------------------------------------

std::optional<struct stat> stat_if_exists(const std::string& path) {
  struct stat status{};
  if (stat(path.c_str(), &status) == 0) return status;
  if (is_absent(errno)) return std::nullopt;
  throw_errno("stat", path);
}

std::optional<struct stat> lstat_if_exists(const std::string& path) {
  struct stat status{};
  if (lstat(path.c_str(), &status) == 0) return status;
  if (is_absent(errno)) return std::nullopt;
  throw_errno("stat", path);
}

bool is_directory(const std::string& path) {
  const std::optional<struct stat> status = stat_if_exists(path);
  return status && S_ISDIR(status->st_mode);
}

bool is_empty_directory(const std::string& path) {
  const std::optional<std::vector<DirectoryEntry>> entries = list_directory_if_exists(path);
  return entries && std::ranges::all_of(*entries, is_file_systems_own, &DirectoryEntry::name);
}

bool is_file_systems_own(std::string_view name) { return name == "lost+found"; }

std::string read_link(const std::string& path) {
  std::string target(PATH_MAX, '\0');
  const ssize_t length = readlink(path.c_str(), target.data(), target.size());
  if (length < 0) throw_errno("read link", path);
  target.resize(static_cast<size_t>(length));
  return target;
}

// --- Making and removing names ------------------------------------------------------------------

void make_directory(const std::string& path, mode_t mode) {
  if (mkdir(path.c_str(), mode) != 0) throw_errno("create directory", path);
}

void make_directories(const std::string& path, mode_t mode) {
  // Upwards to the first directory that is there, then down again.
  std::vector<std::string> missing;
  for (std::string at = without_trailing_slashes(path); !is_directory(at); at = parent_path(at)) {
    missing.push_back(at);
    if (parent_path(at) == at) break;
  }
  for (auto at = missing.rbegin(); at != missing.rend(); ++at) {
    if (mkdir(at->c_str(), mode) != 0) {
      // Somebody else may have made it meanwhile; its durability is still wanted.
      if (errno != EEXIST || !is_directory(*at)) throw_errno("create directory", *at);
    }
    fsync_parent(*at);
  }
}

void remove_file(const std::string& path) {
  if (unlink(path.c_str()) != 0) throw_errno("remove", path);
}

bool remove_file_if_exists(const std::string& path) {
  if (unlink(path.c_str()) == 0) return true;
  if (is_absent(errno)) return false;
  throw_errno("remove", path);
}

void remove_empty_directory(const std::string& path) {
  if (rmdir(path.c_str()) != 0) throw_errno("remove directory", path);
}

void rename_path(const std::string& from, const std::string& to) {
  if (rename(from.c_str(), to.c_str()) != 0)
    throw_errno("rename", fmt::format("{}\" to \"{}", from, to));
}

void prove_writable(const std::string& directory) {
  std::string probe = join_path(directory, ".holdfast-XXXXXX");
  if (mkdtemp(probe.data()) == nullptr) throw_errno("write into", directory);
  remove_empty_directory(probe);
}

// Walks down and up with one descriptor at a time, however deep the tree is. Every step is relative
// to the directory that is open and follows no link, so that nobody who swaps a directory for a
// link meanwhile can lead the removal out of the tree; on the way up, ".." must be the directory
// that we came from.
void remove_tree(const std::string& path, const TellFailure& failed) {
  const auto fail = [&](std::string_view call, const std::string& at, int error_number = errno) {
    if (!failed) throw_errno(call, at, error_number);
    const std::optional<Error> error =
        error_of(even_interrupted, [&] { throw_errno(call, at, error_number); });
    failed(at, *error);
  };
  const std::string top = absolute_path(path);
  HF_CHECK(top != "/");
  const int opened = open_retrying(AT_FDCWD, parent_path(top).c_str(), O_RDONLY | O_DIRECTORY);
  if (opened < 0) {
    if (!is_absent(errno)) fail("open directory", parent_path(top));
    return;
  }
  Fd here(opened);
  std::vector<RemovalLevel> levels;
  levels.push_back({.path = parent_path(top), .name = {}, .directories = {}});
  if (fstat(here.get(), &levels.back().status) != 0) throw_errno("stat", levels.back().path);

  // Removes a name that is not a directory; one that is goes to the list of the level.
  auto remove_or_defer = [&](const std::string& name) {
    if (unlinkat(here.get(), name.c_str(), 0) == 0 || errno == ENOENT) return;
    if (errno == EISDIR)
      levels.back().directories.push_back(name);
    else
      fail("remove", join_path(levels.back().path, name));
  };
  remove_or_defer(base_name(top));

  for (;;) {
    if (!levels.back().directories.empty()) {
      // Down into one of its directories.
      const std::string name = std::move(levels.back().directories.back());
      levels.back().directories.pop_back();
      const std::string below_path = join_path(levels.back().path, name);
      const int below =
          open_retrying(here.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
      if (below < 0) {
        // An empty one goes although it cannot be looked into.
        const int error_number = errno;
        if (error_number != ENOENT && unlinkat(here.get(), name.c_str(), AT_REMOVEDIR) != 0)
          fail("open directory", below_path, error_number);
        continue;
      }
      here = Fd(below);
      levels.push_back({.path = below_path, .name = name, .directories = {}});
      if (fstat(here.get(), &levels.back().status) != 0) throw_errno("stat", below_path);
      std::vector<DirectoryEntry> entries;
      if (const std::optional<Error> error =
              unreadable_of([&] { entries = list_directory(here, below_path); })) {
        if (!failed) throw Error(*error);
        failed(below_path, *error);
      }
      for (const DirectoryEntry& entry : entries) {
        if (entry.type == DT_DIR)
          levels.back().directories.push_back(entry.name);
        else
          remove_or_defer(entry.name);
      }
      continue;
    }

    // Nothing is left in it: up, and remove it.
    const RemovalLevel done = std::move(levels.back());
    levels.pop_back();
    if (levels.empty()) return;
    const int above = open_retrying(here.get(), "..", O_RDONLY | O_DIRECTORY);
    if (above < 0) throw_errno("open directory", levels.back().path);
    here = Fd(above);
    struct stat status{};
    if (fstat(here.get(), &status) != 0) throw_errno("stat", levels.back().path);
    if (!has_same_file(status, levels.back().status))
      throw Error(
          {.code = ErrorCode::kConflict,
           .message = fmt::format("could not remove \"{}\": it was moved meanwhile", done.path)});
    if (unlinkat(here.get(), done.name.c_str(), AT_REMOVEDIR) == 0 || errno == ENOENT) continue;
    // What is left in it was told.
    if (!failed || (errno != ENOTEMPTY && errno != EEXIST)) fail("remove directory", done.path);
  }
}

// --- Directories --------------------------------------------------------------------------------

std::vector<DirectoryEntry> list_directory(const std::string& path) {
  const int fd = open_retrying(AT_FDCWD, path.c_str(), O_RDONLY | O_DIRECTORY);
  if (fd < 0) throw_errno("open directory", path);
  return read_entries(Fd(fd), path);
}

std::vector<DirectoryEntry> list_directory(const Fd& directory, std::string_view path) {
  Fd listed(fcntl(directory.get(), F_DUPFD_CLOEXEC, 0));
  if (!listed.is_open()) throw_errno("open directory", path);
  return read_entries(std::move(listed), path);
}

std::optional<std::vector<DirectoryEntry>> list_directory_if_exists(const std::string& path) {
  std::optional<Fd> fd = open_if_exists(path, O_RDONLY | O_DIRECTORY);
  if (!fd) return std::nullopt;
  return read_entries(std::move(*fd), path);
}

// --- Paths as text ------------------------------------------------------------------------------

std::string join_path(std::string_view directory, std::string_view name) {
  if (directory.empty()) return std::string(name);
  if (name.empty()) return std::string(directory);
  std::string path(directory);
  if (path.back() != '/') path.push_back('/');
  name.remove_prefix(std::min(name.find_first_not_of('/'), name.size()));
  return path.append(name);
}

std::string parent_path(std::string_view path) {
  const std::string trimmed = without_trailing_slashes(path);
  const size_t slash = trimmed.rfind('/');
  if (slash == std::string::npos) return ".";
  return without_trailing_slashes(std::string_view(trimmed).substr(0, std::max<size_t>(slash, 1)));
}

std::string base_name(std::string_view path) {
  std::string trimmed = without_trailing_slashes(path);
  if (trimmed == "/") return trimmed;
  return trimmed.substr(trimmed.rfind('/') + 1);
}

std::string absolute_path(std::string_view path) {
  std::string from;
  if (!path.starts_with('/')) {
    std::string current(PATH_MAX, '\0');
    if (getcwd(current.data(), current.size()) == nullptr) throw_errno("find", "current directory");
    from.append(current.c_str()).push_back('/');
  }
  from.append(path);

  std::vector<std::string_view> parts;
  for (std::string_view rest = from; !rest.empty();) {
    const std::string_view part = rest.substr(0, rest.find('/'));
    rest.remove_prefix(std::min(part.size() + 1, rest.size()));
    if (part.empty() || part == ".") continue;
    if (part != "..")
      parts.push_back(part);
    else if (!parts.empty())
      parts.pop_back();
  }
  std::string clean;
  for (std::string_view part : parts) clean.append("/").append(part);
  return clean.empty() ? "/" : clean;
}

// --- TemporaryDirectory, FileLock, free space ---------------------------------------------------

TemporaryDirectory::TemporaryDirectory(std::string_view prefix) {
  const char* base = std::getenv("TMPDIR");
  path_ =
      join_path(base != nullptr && *base != '\0' ? base : "/tmp", fmt::format("{}-XXXXXX", prefix));
  path_ = absolute_path(path_);
  if (mkdtemp(path_.data()) == nullptr) throw_errno("create directory", path_);
}

TemporaryDirectory::~TemporaryDirectory() {
  // A destructor does not throw: what could not be removed stays below the temporary directory,
  // where the system clears it.
  error_of(even_interrupted, [&] { remove_tree(path_); });
}

std::optional<FileLock> FileLock::try_lock(const std::string& path, bool exclusive, mode_t mode) {
  for (;;) {
    Fd fd = open_file(path, O_RDWR | O_CREAT, mode);  // no link is followed
    while (flock(fd.get(), (exclusive ? LOCK_EX : LOCK_SH) | LOCK_NB) != 0) {
      if (errno == EWOULDBLOCK) return std::nullopt;
      if (errno != EINTR) throw_errno("lock", path);
    }
    // The name may have been removed between the two calls: then the lock is on a file that nobody
    // else will find, and we begin again.
    struct stat locked{};
    if (fstat(fd.get(), &locked) != 0) throw_errno("stat", path);
    const std::optional<struct stat> named = lstat_if_exists(path);
    if (named && has_same_file(locked, *named)) return FileLock(std::move(fd));
  }
}

uint64_t free_bytes(const std::string& path) {
  struct statvfs status{};
  int result;
  do result = statvfs(path.c_str(), &status);
  while (result != 0 && errno == EINTR);
  if (result != 0) throw_errno("find the free space of", path);
  return uint64_t{status.f_bavail} * status.f_frsize;
}

}  // namespace holdfast
