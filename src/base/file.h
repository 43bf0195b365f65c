// file.h: POSIX files, each with one owner, every failure an Error that names the path.
//
// Durable means: the file's bytes are fsynced, and so is each directory in which a name was made. A
// failed fsync is final and is never tried again (the kernel may have dropped the pages).
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <sys/stat.h>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"

namespace holdfast {

// An open file descriptor; closes it. Opened always with O_CLOEXEC.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  ~Fd();
  Fd(Fd&& other) noexcept;
  Fd& operator=(Fd&& other) noexcept;
  int get() const { return fd_; }
  bool is_open() const { return fd_ >= 0; }
  int release();
  void reset();

 private:
  int fd_ = -1;
};

// open(2). The first throws when it cannot; the second answers nullopt for ENOENT and ENOTDIR, and
// throws for the rest. What is opened to be made, cut or appended to is never what a symbolic link
// leads to: whoever may write into the directory would choose the file, and we may be root.
Fd open_file(const std::string& path, int flags, mode_t mode = 0600);
std::optional<Fd> open_if_exists(const std::string& path, int flags);

// Reads until `into` is full or the file ends; returns the bytes read. `path` is for errors only.
size_t read_some(const Fd& fd, std::span<std::byte> into, std::string_view path);
size_t pread_some(const Fd& fd, std::span<std::byte> into, uint64_t offset, std::string_view path);
void write_all(const Fd& fd, ByteView bytes, std::string_view path);
void pwrite_all(const Fd& fd, ByteView bytes, uint64_t offset, std::string_view path);
void fsync_file(const Fd& fd, std::string_view path);
// close(2), whose errors Fd passes over: some file systems tell only then that a write has failed.
void close_file(Fd fd, std::string_view path);
// fsync of a directory by path; and of the directory that holds `path`.
void fsync_directory(const std::string& path);
void fsync_parent(const std::string& path);

// A whole file. `limit` guards memory: a larger file throws kCorrupt. read_if_exists answers
// nullopt when there is none.
Bytes read_file(const std::string& path, size_t limit = size_t{64} << 20);
std::optional<Bytes> read_if_exists(const std::string& path, size_t limit = size_t{64} << 20);
std::string read_text_file(const std::string& path, size_t limit = size_t{64} << 20);

// Writes a whole file durably: a temporary name beside it, fsync, rename over `path`, fsync of the
// directory. It has that mode, whatever the umask: who asks for more than his own rights means it.
void write_file_durably(const std::string& path, ByteView bytes, mode_t mode = 0600);

// A file that exists under its name only after commit(): written to `<path>.<random>.tmp`, then
// fsync, rename (or, with kCreate, link, which refuses an existing name with kAlreadyExists), fsync
// of the directory. The destructor without commit() removes it. The umask applies to `mode`.
class DurableFile {
 public:
  enum class Mode { kReplace, kCreate };
  explicit DurableFile(std::string_view path, mode_t mode = 0600);
  ~DurableFile();
  DurableFile(const DurableFile&) = delete;
  DurableFile& operator=(const DurableFile&) = delete;
  void write(ByteView bytes);
  const Fd& fd() const { return fd_; }
  void commit(Mode mode = Mode::kReplace);

 private:
  static std::string temporary_name(const std::string& path);

  std::string path_;
  std::string temporary_;
  Fd fd_;
};

// stat(2) and lstat(2); nullopt for ENOENT and ENOTDIR.
std::optional<struct stat> stat_if_exists(const std::string& path);
std::optional<struct stat> lstat_if_exists(const std::string& path);
bool is_directory(const std::string& path);
// Whether anybody has put anything into a directory; what the file system itself keeps at the root
// of a mount, readable by root alone, does not count.
bool is_empty_directory(const std::string& path);
bool is_file_systems_own(std::string_view name);  // "lost+found"
std::string read_link(const std::string& path);

// mkdir(2). make_directories makes all missing parents too and fsyncs the parent of each that it
// made.
void make_directory(const std::string& path, mode_t mode = 0700);
void make_directories(const std::string& path, mode_t mode = 0700);
void remove_file(const std::string& path);            // throws when there is none
bool remove_file_if_exists(const std::string& path);  // true when there was one
void remove_empty_directory(const std::string& path);
void rename_path(const std::string& from, const std::string& to);  // no fsync
// That names can be made and removed in a directory, by doing it: of access(2) root is told yes
// where the disk is full, or refuses it. Throws what that throws.
void prove_writable(const std::string& directory);
// Removes a directory with all that is below it; symbolic links are removed, never followed.
// Nothing to remove is fine. What cannot be removed is an error, or told to `failed` and left, and
// the rest goes.
using TellFailure = std::function<void(const std::string& path, const Error& error)>;
void remove_tree(const std::string& path, const TellFailure& failed = {});

struct DirectoryEntry {
  std::string name;
  unsigned char type = 0;  // DT_REG, DT_DIR, DT_LNK, ... as in dirent.h; resolved by lstat when the
                           // file system does not tell
};
// The names in a directory, sorted bytewise, without "." and ".."; nullopt from the second when
// there is no directory.
std::vector<DirectoryEntry> list_directory(const std::string& path);
std::optional<std::vector<DirectoryEntry>> list_directory_if_exists(const std::string& path);
// Of one that is open; `path` is for errors only.
std::vector<DirectoryEntry> list_directory(const Fd& directory, std::string_view path);

// "a" and "b" -> "a/b"; parent of "a/b/c" is "a/b"; base name is "c".
std::string join_path(std::string_view directory, std::string_view name);
std::string parent_path(std::string_view path);
std::string base_name(std::string_view path);
// Absolute, without "." and ".." and doubled slashes; symbolic links are not resolved.
std::string absolute_path(std::string_view path);

// A fresh private directory below TMPDIR (or /tmp), removed with all its content by the destructor.
class TemporaryDirectory {
 public:
  explicit TemporaryDirectory(std::string_view prefix = "holdfast");
  ~TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// flock(2) on a file that is made when missing. try_lock answers nullopt while somebody else holds
// it. Released by the destructor.
class FileLock {
 public:
  static std::optional<FileLock> try_lock(const std::string& path, bool exclusive = true,
                                          mode_t mode = 0600);

 private:
  explicit FileLock(Fd fd) : fd_(std::move(fd)) {}
  Fd fd_;
};

// Bytes free to an ordinary user on the file system that holds `path`.
uint64_t free_bytes(const std::string& path);

}  // namespace holdfast
