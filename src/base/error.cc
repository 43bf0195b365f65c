#include "base/error.h"

#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace holdfast {
namespace {

struct CodeRow {
  ErrorCode code;
  std::string_view name;
  int exit_status;
};

// One row per code, in the order of the enumeration. docs/reference/exit-codes.md shows the same.
constexpr std::array kCodes = {
    CodeRow{ErrorCode::kInternal, "internal", 1},
    CodeRow{ErrorCode::kInvalidText, "invalid_text", 2},
    CodeRow{ErrorCode::kUsage, "usage", 2},
    CodeRow{ErrorCode::kConfiguration, "configuration", 2},
    CodeRow{ErrorCode::kIo, "io", 1},
    CodeRow{ErrorCode::kNotFound, "not_found", 1},
    CodeRow{ErrorCode::kAlreadyExists, "already_exists", 1},
    CodeRow{ErrorCode::kPermission, "permission", 1},
    CodeRow{ErrorCode::kNoSpace, "no_space", 1},
    CodeRow{ErrorCode::kCorrupt, "corrupt", 3},
    CodeRow{ErrorCode::kWrongKey, "wrong_key", 2},
    CodeRow{ErrorCode::kStoreUnavailable, "store_unavailable", 1},
    CodeRow{ErrorCode::kServerUnavailable, "server_unavailable", 1},
    CodeRow{ErrorCode::kServer, "server", 1},
    CodeRow{ErrorCode::kUnsupported, "unsupported", 1},
    CodeRow{ErrorCode::kWrongCluster, "wrong_cluster", 1},
    CodeRow{ErrorCode::kConflict, "conflict", 1},
    CodeRow{ErrorCode::kTargetUnreachable, "target_unreachable", 4},
    CodeRow{ErrorCode::kBusy, "busy", 5},
    CodeRow{ErrorCode::kObjectiveMissed, "objective_missed", 6},
    CodeRow{ErrorCode::kInterrupted, "interrupted", 130},
};

constexpr bool rows_follow_the_enumeration() {
  for (size_t i = 0; i < kCodes.size(); ++i)
    if (static_cast<size_t>(kCodes[i].code) != i) return false;
  return kCodes.back().code == kLastErrorCode;
}
static_assert(rows_follow_the_enumeration());

const CodeRow& row(ErrorCode code) {
  const auto index = static_cast<size_t>(code);
  HF_CHECK(index < kCodes.size());
  return kCodes[index];
}

// A function, so that it is made on a thread's first use, whatever the order of initialisation.
std::vector<std::string>& context_stack() {
  thread_local std::vector<std::string> lines;
  return lines;
}

ErrorCode code_of_errno(int error_number) {
  switch (error_number) {
    case ENOSPC:
    case EDQUOT:
      return ErrorCode::kNoSpace;
    case EACCES:
    case EPERM:
    case EROFS:
      return ErrorCode::kPermission;
    case ENOENT:
      return ErrorCode::kNotFound;
    case EEXIST:
      return ErrorCode::kAlreadyExists;
    default:
      return ErrorCode::kIo;
  }
}

std::string hint_of_errno(int error_number) {
  switch (error_number) {
    case ENOSPC:
      return "Free space on the file system that holds it, then run the command again.";
    case EDQUOT:
      return "Raise the quota of the user that runs this command, or free space, then run it "
             "again.";
    case EACCES:
    case EPERM:
      return "Check its owner and mode, those of the directories above it, and which user runs "
             "this "
             "command.";
    case EROFS:
      return "The file system is mounted read-only: mount it writable, or choose another place.";
    case ELOOP:
      return "A symbolic link stands there, which is not followed: put the file itself in its "
             "place, "
             "or remove the link.";
    case EMFILE:
    case ENFILE:
      return "Raise the limit of open files (ulimit -n), or run with fewer jobs.";
    default:
      return {};
  }
}

}  // namespace

int exit_status(ErrorCode code) { return row(code).exit_status; }

std::string_view to_string(ErrorCode code) { return row(code).name; }

Error::Error(Parts parts, const char* file, int line)
    : parts_(std::move(parts)),
      context_(context_stack().rbegin(), context_stack().rend()),
      file_(file),
      line_(line) {}

Context::Context(Line line) { context_stack().push_back(std::move(line.text)); }

Context::~Context() { context_stack().pop_back(); }

std::vector<std::string> Context::lines() { return context_stack(); }

void Context::adopt(std::vector<std::string> lines) { context_stack() = std::move(lines); }

void throw_errno(std::string_view call, std::string_view path, int error_number, const char* file,
                 int line) {
  const char* description = strerrordesc_np(error_number);
  throw Error(
      {.code = code_of_errno(error_number),
       .message = fmt::format(
           "could not {} \"{}\": {}", call, path,
           description != nullptr ? description : fmt::format("error number {}", error_number)),
       .hint = hint_of_errno(error_number)},
      file, line);
}

void check_failed(const char* condition, const char* file, int line, const char* function) {
  std::fprintf(stderr, "PANIC:  broken invariant: %s\nLOCATION:  %s, %s:%d\n", condition, function,
               file, line);
  std::abort();
}

}  // namespace holdfast
