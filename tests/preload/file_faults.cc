// file_faults.cc: loaded into the program under test by LD_PRELOAD (tests/support/file_faults.h):
// holds it at the opening of a chosen file, and makes reads of a chosen part of a file fail, as a
// worn-out disk does.
//
//   HF_PAUSE_AT=SUFFIX HF_PAUSE_DIRECTORY=DIR   at the first open of a path with that end: makes
//                                               DIR/reached, waits until there is DIR/go
//   HF_EIO_AT=SUFFIX HF_EIO_FROM=N HF_EIO_TO=M  a read that touches [N, M) of such a file: EIO
#include <array>
#include <atomic>
#include <cerrno>
#include <climits>
#include <cstdarg>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <fcntl.h>
#include <string>
#include <string_view>
#include <unistd.h>

namespace {

std::string_view variable(const char* name) {
  const char* value = getenv(name);
  return value != nullptr ? value : std::string_view();
}

long number(const char* name) { return atol(std::string(variable(name)).c_str()); }

void pause_at(const char* path) {
  static std::atomic<bool> paused = false;
  const std::string_view suffix = variable("HF_PAUSE_AT");
  if (suffix.empty() || !std::string_view(path).ends_with(suffix) || paused.exchange(true)) return;
  const std::string directory(variable("HF_PAUSE_DIRECTORY"));
  const int reached = creat((directory + "/reached").c_str(), 0600);
  if (reached >= 0) close(reached);
  while (access((directory + "/go").c_str(), F_OK) != 0) usleep(2000);
}

bool is_worn_out(int fd, size_t count, off64_t offset) {
  const std::string_view suffix = variable("HF_EIO_AT");
  if (suffix.empty()) return false;
  std::array<char, PATH_MAX> path;
  const ssize_t length =
      readlink(("/proc/self/fd/" + std::to_string(fd)).c_str(), path.data(), path.size());
  if (length <= 0 || !std::string_view(path.data(), static_cast<size_t>(length)).ends_with(suffix))
    return false;
  return offset < number("HF_EIO_TO") &&
         offset + static_cast<off64_t>(count) > number("HF_EIO_FROM");
}

template <typename Function>
Function next(const char* name) {
  return reinterpret_cast<Function>(dlsym(RTLD_NEXT, name));
}

mode_t mode_of(int flags, va_list arguments) {
  return (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(arguments, mode_t) : 0;
}

ssize_t read_at(const char* name, int fd, void* into, size_t count, off64_t offset) {
  if (is_worn_out(fd, count, offset)) {
    errno = EIO;
    return -1;
  }
  return next<ssize_t (*)(int, void*, size_t, off64_t)>(name)(fd, into, count, offset);
}

}  // namespace

extern "C" {

int open(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = mode_of(flags, arguments);
  va_end(arguments);
  pause_at(path);
  return next<int (*)(const char*, int, ...)>("open")(path, flags, mode);
}

int open64(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = mode_of(flags, arguments);
  va_end(arguments);
  pause_at(path);
  return next<int (*)(const char*, int, ...)>("open64")(path, flags, mode);
}

int openat(int directory, const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = mode_of(flags, arguments);
  va_end(arguments);
  pause_at(path);
  return next<int (*)(int, const char*, int, ...)>("openat")(directory, path, flags, mode);
}

ssize_t pread(int fd, void* into, size_t count, off_t offset) {
  return read_at("pread", fd, into, count, offset);
}

ssize_t pread64(int fd, void* into, size_t count, off64_t offset) {
  return read_at("pread64", fd, into, count, offset);
}

}  // extern "C"
