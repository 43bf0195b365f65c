// file_faults.cc: loaded into the program under test by LD_PRELOAD (tests/support/file_faults.h):
// holds it at the opening of a chosen file, makes reads of a chosen part of a file fail, as a
// worn-out disk does, and makes a whole tree slow and unreliable, as a network file system on a bad
// day.
//
//   HF_PAUSE_AT=SUFFIX HF_PAUSE_DIRECTORY=DIR   at the first open of a path with that end: makes
//                                               DIR/reached, waits until there is DIR/go
//   HF_PAUSE_AT_REMOVAL=PART HF_PAUSE_DIRECTORY=DIR   the same before it removes a path with PART
//   in it HF_EIO_AT=SUFFIX HF_EIO_FROM=N HF_EIO_TO=M  a read that touches [N, M) of such a file:
//   EIO HF_TREE=DIR     calls on DIR and what lies below it ...
//     HF_TREE_SLOW_US=N      ... wait up to N microseconds each
//     HF_TREE_FAIL_ONE_IN=N  ... fail, one in N: EIO, ESTALE or ETIMEDOUT. A link, unlink, mkdir or
//                            fsync is in half of the cases carried out all the same, as when the
//                            answer is lost on its way
//     HF_TREE_SEED=N         repeats the choices, as far as threads allow
//   HF_HOST_NAME=NAME        what gethostname() answers
//   HF_CLOCK_AHEAD_S=N       seconds by which gettimeofday(), a server's clock, is ahead
#include <array>
#include <atomic>
#include <cerrno>
#include <climits>
#include <cstdarg>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <string>
#include <string_view>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

namespace {

std::string_view variable(const char* name) {
  const char* value = getenv(name);
  return value != nullptr ? value : std::string_view();
}

long number(const char* name) { return atol(std::string(variable(name)).c_str()); }

void pause() {
  static std::atomic<bool> paused = false;
  if (paused.exchange(true)) return;
  const std::string directory(variable("HF_PAUSE_DIRECTORY"));
  const int reached = creat((directory + "/reached").c_str(), 0600);
  if (reached >= 0) close(reached);
  while (access((directory + "/go").c_str(), F_OK) != 0) usleep(2000);
}

void pause_at(const char* path) {
  const std::string_view suffix = variable("HF_PAUSE_AT");
  if (!suffix.empty() && std::string_view(path).ends_with(suffix)) pause();
}

void pause_at_removal(const char* path) {
  const std::string_view part = variable("HF_PAUSE_AT_REMOVAL");
  if (!part.empty() && std::string_view(path).find(part) != std::string_view::npos) pause();
}

std::string path_of(int fd) {
  std::array<char, PATH_MAX> path;
  const ssize_t length =
      readlink(("/proc/self/fd/" + std::to_string(fd)).c_str(), path.data(), path.size());
  return {path.data(), length > 0 ? static_cast<size_t>(length) : 0};
}

bool is_worn_out(int fd, size_t count, off64_t offset) {
  const std::string_view suffix = variable("HF_EIO_AT");
  if (suffix.empty() || !path_of(fd).ends_with(suffix)) return false;
  return offset < number("HF_EIO_TO") &&
         offset + static_cast<off64_t>(count) > number("HF_EIO_FROM");
}

template <typename Function>
Function next(const char* name) {
  return reinterpret_cast<Function>(dlsym(RTLD_NEXT, name));
}

// --- The unreliable tree -------------------------------------------------------------------------

// splitmix64 on a counter: any thread.
uint64_t draw(uint64_t below) {
  static std::atomic<uint64_t> state = static_cast<uint64_t>(number("HF_TREE_SEED"));
  uint64_t mixed = state.fetch_add(0x9E3779B97F4A7C15U) + 0x9E3779B97F4A7C15U;
  mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9U;
  mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EBU;
  return (mixed ^ (mixed >> 31)) % below;
}

bool is_in_tree(std::string_view path) {
  const std::string_view tree = variable("HF_TREE");
  return !tree.empty() && path.starts_with(tree) &&
         (path.size() == tree.size() || path[tree.size()] == '/');
}

// Waits; then true when the call is to fail, with errno set.
bool fails(std::string_view path) {
  if (!is_in_tree(path)) return false;
  static const long slow = number("HF_TREE_SLOW_US");
  static const long one_in = number("HF_TREE_FAIL_ONE_IN");
  if (slow > 0) usleep(static_cast<useconds_t>(draw(static_cast<uint64_t>(slow))));
  if (one_in <= 0 || draw(static_cast<uint64_t>(one_in)) != 0) return false;
  constexpr std::array<int, 3> kErrors = {EIO, ESTALE, ETIMEDOUT};
  errno = kErrors[draw(kErrors.size())];
  return true;
}
bool fails(int fd) { return !variable("HF_TREE").empty() && fails(path_of(fd)); }

// One call: `work`, unless it fails before.
template <typename Place, typename Work>
auto pass(Place place, Work work, decltype(work()) failed = -1) {
  return fails(place) ? failed : work();
}
// The same for one that changes the file system: the answer may be what is lost.
template <typename Place, typename Work>
int pass_effect(Place place, Work work) {
  if (!fails(place)) return work();
  const int error_number = errno;
  if (draw(2) == 0) work();
  errno = error_number;
  return -1;
}

mode_t mode_of(int flags, va_list arguments) {
  return (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(arguments, mode_t) : 0;
}

ssize_t read_at(const char* name, int fd, void* into, size_t count, off64_t offset) {
  if (is_worn_out(fd, count, offset)) {
    errno = EIO;
    return -1;
  }
  return pass(fd, [&] {
    return next<ssize_t (*)(int, void*, size_t, off64_t)>(name)(fd, into, count, offset);
  });
}

}  // namespace

extern "C" {

int open(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = mode_of(flags, arguments);
  va_end(arguments);
  pause_at(path);
  return pass(path,
              [&] { return next<int (*)(const char*, int, ...)>("open")(path, flags, mode); });
}

int open64(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = mode_of(flags, arguments);
  va_end(arguments);
  pause_at(path);
  return pass(path,
              [&] { return next<int (*)(const char*, int, ...)>("open64")(path, flags, mode); });
}

int openat(int directory, const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = mode_of(flags, arguments);
  va_end(arguments);
  pause_at(path);
  const bool is_relative = path[0] != '/' && directory != AT_FDCWD;
  const std::string place = is_relative ? path_of(directory) + "/" + path : path;
  return pass(std::string_view(place), [&] {
    return next<int (*)(int, const char*, int, ...)>("openat")(directory, path, flags, mode);
  });
}

ssize_t pread(int fd, void* into, size_t count, off_t offset) {
  return read_at("pread", fd, into, count, offset);
}

ssize_t pread64(int fd, void* into, size_t count, off64_t offset) {
  return read_at("pread64", fd, into, count, offset);
}

ssize_t write(int fd, const void* from, size_t count) {
  return pass(
      fd, [&] { return next<ssize_t (*)(int, const void*, size_t)>("write")(fd, from, count); });
}

ssize_t pwrite(int fd, const void* from, size_t count, off_t offset) {
  return pass(fd, [&] {
    return next<ssize_t (*)(int, const void*, size_t, off_t)>("pwrite")(fd, from, count, offset);
  });
}

int fsync(int fd) {
  return pass_effect(fd, [&] { return next<int (*)(int)>("fsync")(fd); });
}

int link(const char* from, const char* to) noexcept {
  return pass_effect(to, [&] { return next<int (*)(const char*, const char*)>("link")(from, to); });
}

int unlink(const char* path) noexcept {
  pause_at_removal(path);
  return pass_effect(path, [&] { return next<int (*)(const char*)>("unlink")(path); });
}

int mkdir(const char* path, mode_t mode) noexcept {
  return pass_effect(path, [&] { return next<int (*)(const char*, mode_t)>("mkdir")(path, mode); });
}

int stat(const char* path, struct stat* status) noexcept {
  return pass(path, [&] { return next<int (*)(const char*, struct stat*)>("stat")(path, status); });
}

int lstat(const char* path, struct stat* status) noexcept {
  return pass(path,
              [&] { return next<int (*)(const char*, struct stat*)>("lstat")(path, status); });
}

DIR* opendir(const char* path) {
  return pass(path, [&] { return next<DIR* (*)(const char*)>("opendir")(path); }, nullptr);
}

int gethostname(char* name, size_t size) noexcept {
  const std::string_view given = variable("HF_HOST_NAME");
  if (given.empty()) return next<int (*)(char*, size_t)>("gethostname")(name, size);
  if (given.size() >= size) {
    errno = ENAMETOOLONG;
    return -1;
  }
  given.copy(name, given.size());
  name[given.size()] = '\0';
  return 0;
}

int gettimeofday(struct timeval* time, void* zone) noexcept {
  static const long ahead = number("HF_CLOCK_AHEAD_S");
  const int result = next<int (*)(struct timeval*, void*)>("gettimeofday")(time, zone);
  if (result == 0) time->tv_sec += ahead;
  return result;
}

}  // extern "C"
