// error.h: the one way in which Holdfast fails.
//
// An Error is thrown at the call that failed and turned into words once, at the command's boundary
// (cli). Its parts are PostgreSQL's: a message (one line, lower case, no full stop), a detail
// (sentences with the numbers) and a hint (what the operator can do next). The code decides the
// exit status; the table stands in error.cc and in docs/reference/exit-codes.md.
#pragma once

#include <algorithm>
#include <cerrno>
#include <concepts>
#include <cstdint>
#include <exception>
#include <functional>
#include <initializer_list>
#include <optional>
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
  // What was read is not what it should be: damaged, or made by a version that we do not know.
  bool is_damage() const {
    return code() == ErrorCode::kCorrupt || code() == ErrorCode::kUnsupported;
  }
  // One thing cannot be read, whole as it may be; others beside it may well be.
  bool is_unreadable() const {
    return is_damage() || code() == ErrorCode::kPermission || code() == ErrorCode::kIo;
  }
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

// What `call` failed with; nullopt when it did not fail. What `call` returns is dropped: it leaves
// its result in a variable of the caller. Only what is tolerated is returned, every other error
// passes. This is how src/ catches: why the work can go on without `call` stands at the call.
//
//   error_of({ErrorCode::kNotFound}, call)  errors of these codes
//   damage_of(call)                         damage
//   unreadable_of(call)                     whatever keeps one object from being read
//   error_of(call)                          every error but kInterrupted: who is to end, ends
//   error_of(even_interrupted, call)        every error
//   error_of(tolerates, call)               those of which tolerates(error) holds
//
// even_interrupted is for where none may pass (a destructor, a thread with nobody to tell), and for
// where an interruption is told in other words, or by somebody else.
template <class Tolerates, class Call>
  requires std::predicate<Tolerates, const Error&>
std::optional<Error> error_of(Tolerates tolerates, Call&& call) {
  try {
    static_cast<void>(std::forward<Call>(call)());
  } catch (const Error& error) {
    if (!std::invoke(tolerates, error)) throw;
    return error;
  }
  return std::nullopt;
}

template <class Call>
std::optional<Error> error_of(std::initializer_list<ErrorCode> tolerated, Call&& call) {
  return error_of(
      [&](const Error& error) {
        return std::ranges::find(tolerated, error.code()) != tolerated.end();
      },
      std::forward<Call>(call));
}

template <class Call>
std::optional<Error> error_of(Call&& call) {
  return error_of([](const Error& error) { return error.code() != ErrorCode::kInterrupted; },
                  std::forward<Call>(call));
}

template <class Call>
std::optional<Error> damage_of(Call&& call) {
  return error_of(&Error::is_damage, std::forward<Call>(call));
}

template <class Call>
std::optional<Error> unreadable_of(Call&& call) {
  return error_of(&Error::is_unreadable, std::forward<Call>(call));
}

inline constexpr auto even_interrupted = [](const Error&) { return true; };

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
