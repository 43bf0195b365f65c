// error.h: the one way in which Holdfast fails.
//
// An Error is thrown at the call that failed and turned into words once, at the command's boundary
// (cli). Its parts are PostgreSQL's: a message (one line, lower case, no full stop), a detail
// (sentences with the numbers) and a hint (what the operator can do next). The code decides the
// exit status; the table stands in error.cc and in docs/reference/exit-codes.md.
#pragma once

#include <cerrno>
#include <cstdint>
#include <exception>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/core.h>

namespace holdfast {

// A released code keeps its meaning for ever.
enum class ErrorCode : uint8_t {
  kInternal,           // a broken promise of our own code
  kInvalidText,        // text that should have been a value: an LSN, a time, a name
  kUsage,              // a command line that cannot be carried out
  kConfiguration,      // a configuration file or environment that cannot be used
  kIo,                 // a system call on a file failed
  kNotFound,           // what was named does not exist
  kAlreadyExists,      // what should be new exists
  kPermission,         // the operating system or the server refused
  kNoSpace,            // a disk or quota is full
  kCorrupt,            // bytes are not what was written: a damaged object, a wrong checksum
  kWrongKey,           // the repository is sealed, and this key does not open it
  kStoreUnavailable,   // the store cannot be reached or answers with an error
  kServerUnavailable,  // the PostgreSQL server cannot be reached
  kServer,             // the PostgreSQL server refused or failed
  kUnsupported,        // a PostgreSQL or format version, or a library, that is not as is needed
  kWrongCluster,       // another system identifier
  kConflict,           // other content under the same name; a diverged timeline
  kTargetUnreachable,  // the recovery target cannot be reached
  kBusy,               // somebody else is at it
  kObjectiveMissed,    // a drill ran and missed its objective
  kInterrupted,        // a signal asked us to stop, and we did
};

inline constexpr ErrorCode kLastErrorCode = ErrorCode::kInterrupted;

// The exit status of a command that failed with `code` (design: 1 failed, 2 usage, 3 damage, 4
// target, 5 busy, 6 objective, 130 interrupted).
int exit_status(ErrorCode code);
// The code's name in JSON and documents: "invalid_text".
std::string_view to_string(ErrorCode code);

class Error : public std::exception {
 public:
  struct Parts {
    ErrorCode code = ErrorCode::kInternal;
    std::string message;
    std::string detail = {};
    std::string hint = {};
  };
  // Records where it was made and the Context lines in force on this thread, innermost first.
  explicit Error(Parts parts, const char* file = __builtin_FILE(), int line = __builtin_LINE());

  ErrorCode code() const { return parts_.code; }
  const std::string& message() const { return parts_.message; }
  const std::string& detail() const { return parts_.detail; }
  const std::string& hint() const { return parts_.hint; }
  const std::vector<std::string>& context() const { return context_; }
  const char* file() const { return file_; }
  int line() const { return line_; }
  const char* what() const noexcept override { return parts_.message.c_str(); }

 private:
  Parts parts_;
  std::vector<std::string> context_;
  const char* file_;
  int line_;
};

// What the thread is doing, for the CONTEXT of an error; lives on the stack:
//   Context copying("copying file \"{}\"", path);
// The text is formatted at once. Threads of a TaskGroup start with the context of the thread that
// started them.
class Context {
 public:
  template <typename... Args>
  explicit Context(fmt::format_string<Args...> format, Args&&... args)
      : Context(Line{fmt::format(format, std::forward<Args>(args)...)}) {}
  ~Context();
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  // The lines in force on this thread, outermost first; and a copy of another thread's lines put in
  // force here (TaskGroup).
  static std::vector<std::string> lines();
  static void adopt(std::vector<std::string> lines);

 private:
  struct Line {
    std::string text;
  };
  explicit Context(Line line);
};

// Throws the Error for a failed system call: `could not <call> "<path>": <strerror>`. ENOSPC and
// EDQUOT become kNoSpace, EACCES, EPERM and EROFS kPermission, ENOENT kNotFound, EEXIST
// kAlreadyExists, all others kIo; hints where one helps.
[[noreturn]] void throw_errno(std::string_view call, std::string_view path,
                              int error_number = errno, const char* file = __builtin_FILE(),
                              int line = __builtin_LINE());

// Prints the broken invariant to stderr and aborts. Used through HF_CHECK only.
[[noreturn]] void check_failed(const char* condition, const char* file, int line,
                               const char* function);

}  // namespace holdfast

// An invariant of our own code. On in release too: better no backup than one that lies.
#define HF_CHECK(condition)                                         \
  do {                                                              \
    if (!(condition)) [[unlikely]]                                  \
      ::holdfast::check_failed(#condition, __FILE__, __LINE__,      \
                               static_cast<const char*>(__func__)); \
  } while (false)
