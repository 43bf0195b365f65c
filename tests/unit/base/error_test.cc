#include "base/error.h"

#include <map>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <utility>

#include <gtest/gtest.h>

#include "base/file.h"
#include "support/error_of.h"

namespace holdfast {
namespace {

using test::error_of;

TEST(Error, CarriesItsPartsAndWhereItWasMade) {
  const int line = __LINE__ + 1;
  const Error error({.code = ErrorCode::kBusy, .message = "m", .detail = "D.", .hint = "H."});
  EXPECT_EQ(error.code(), ErrorCode::kBusy);
  EXPECT_EQ(error.message(), "m");
  EXPECT_EQ(error.detail(), "D.");
  EXPECT_EQ(error.hint(), "H.");
  EXPECT_STREQ(error.what(), "m");
  EXPECT_STREQ(error.file(), __FILE__);
  EXPECT_EQ(error.line(), line);
}

TEST(Error, ListsTheContextInForceInnermostFirst) {
  Context backup("taking backup {}", 7);
  {
    Context file("copying file \"{}\"", "base/1/1");
    const Error error({.code = ErrorCode::kIo, .message = "m"});
    EXPECT_EQ(error.context(),
              (std::vector<std::string>{"copying file \"base/1/1\"", "taking backup 7"}));
  }
  const Error later({.code = ErrorCode::kIo, .message = "m"});
  EXPECT_EQ(later.context(), std::vector<std::string>{"taking backup 7"});
}

TEST(Error, LosesTheContextOfAnEarlierFailureWhenItIsCaught) {
  error_of([] {
    Context inner("doing what fails");
    throw Error({.code = ErrorCode::kIo, .message = "m"});
  });
  EXPECT_TRUE(Context::lines().empty());
}

// What tests call by this name fails when there is no Error; this is the one of src/.
template <typename... Arguments>
std::optional<Error> tolerated(Arguments&&... arguments) {
  return holdfast::error_of(std::forward<Arguments>(arguments)...);
}

auto failing(ErrorCode code) {
  return [code] { throw Error({.code = code, .message = "m", .detail = "D.", .hint = "H."}); };
}

TEST(ErrorOf, ACallThatDoesNotFailHasNone) {
  int calls = 0;
  const auto count = [&] { return ++calls; };
  EXPECT_FALSE(holdfast::error_of({ErrorCode::kIo}, count));
  EXPECT_FALSE(tolerated(count));
  EXPECT_FALSE(tolerated(even_interrupted, count));
  EXPECT_FALSE(damage_of(count));
  EXPECT_EQ(calls, 4);
}

TEST(ErrorOf, ReturnsTheErrorAsItWasThrown) {
  Context reading("reading {}", "a file");
  const std::optional<Error> error =
      holdfast::error_of({ErrorCode::kIo, ErrorCode::kNotFound}, failing(ErrorCode::kNotFound));
  ASSERT_TRUE(error);
  EXPECT_EQ(error->code(), ErrorCode::kNotFound);
  EXPECT_EQ(error->message(), "m");
  EXPECT_EQ(error->detail(), "D.");
  EXPECT_EQ(error->hint(), "H.");
  EXPECT_EQ(error->context(), std::vector<std::string>{"reading a file"});
  EXPECT_STREQ(error->file(), __FILE__);
}

TEST(ErrorOf, WhatIsNotToleratedPasses) {
  for (int i = 0; i <= static_cast<int>(kLastErrorCode); ++i) {
    const auto code = static_cast<ErrorCode>(i);
    const auto passes = [&](auto call) {
      try {
        return !call();
      } catch (const Error& error) {
        return error.code() == code;
      }
    };
    const auto fail = failing(code);
    const bool is_damage = code == ErrorCode::kCorrupt || code == ErrorCode::kUnsupported;
    EXPECT_EQ(passes([&] { return holdfast::error_of({ErrorCode::kIo, ErrorCode::kBusy}, fail); }),
              code != ErrorCode::kIo && code != ErrorCode::kBusy)
        << to_string(code);
    EXPECT_EQ(passes([&] { return damage_of(fail); }), !is_damage) << to_string(code);
    EXPECT_EQ(tolerated(even_interrupted, fail)->is_damage(), is_damage) << to_string(code);
    // Whoever was asked to end is not kept by somebody who can do without something.
    EXPECT_EQ(passes([&] { return tolerated(fail); }), code == ErrorCode::kInterrupted)
        << to_string(code);
    EXPECT_FALSE(passes([&] { return tolerated(even_interrupted, fail); })) << to_string(code);
    EXPECT_EQ(passes([&] {
                return tolerated([](const Error& error) { return error.hint().empty(); }, fail);
              }),
              true)
        << to_string(code);
  }
}

TEST(ErrorOf, WhatIsNoErrorOfOursPasses) {
  const auto fail = [] { throw std::length_error("no error of ours"); };
  EXPECT_THROW(tolerated(fail), std::length_error);
  EXPECT_THROW(tolerated(even_interrupted, fail), std::length_error);
}

TEST(ThrowErrno, NamesCallPathAndReason) {
  const struct {
    int error_number;
    ErrorCode code;
    const char* message;
    bool has_hint;
  } cases[] = {
      {ENOSPC, ErrorCode::kNoSpace, "could not write \"/a\": No space left on device", true},
      {EDQUOT, ErrorCode::kNoSpace, "could not write \"/a\": Disk quota exceeded", true},
      {EACCES, ErrorCode::kPermission, "could not write \"/a\": Permission denied", true},
      {EPERM, ErrorCode::kPermission, "could not write \"/a\": Operation not permitted", true},
      {EROFS, ErrorCode::kPermission, "could not write \"/a\": Read-only file system", true},
      {ENOENT, ErrorCode::kNotFound, "could not write \"/a\": No such file or directory", false},
      {EEXIST, ErrorCode::kAlreadyExists, "could not write \"/a\": File exists", false},
      {EIO, ErrorCode::kIo, "could not write \"/a\": Input/output error", false},
      {EMFILE, ErrorCode::kIo, "could not write \"/a\": Too many open files", true},
      {99999, ErrorCode::kIo, "could not write \"/a\": error number 99999", false},
  };
  for (const auto& c : cases) {
    const Error error = error_of([&] { throw_errno("write", "/a", c.error_number); });
    EXPECT_EQ(error.code(), c.code) << c.message;
    EXPECT_EQ(error.message(), c.message);
    EXPECT_EQ(!error.hint().empty(), c.has_hint) << c.message;
    EXPECT_STREQ(error.file(), __FILE__);
  }
}

TEST(ErrorCode, TheDocumentShowsTheTableOfTheCode) {
  // Rows look like: | `invalid_text` | 2 | text that ... |
  std::map<std::string, int> documented;
  std::istringstream document(
      read_text_file(HOLDFAST_TESTS_DIR "/../docs/reference/exit-codes.md"));
  for (std::string line; std::getline(document, line);) {
    if (!line.starts_with("| `")) continue;
    const size_t name_end = line.find("` | ");
    ASSERT_NE(name_end, std::string::npos) << line;
    const std::string name = line.substr(3, name_end - 3);
    EXPECT_TRUE(documented.emplace(name, std::stoi(line.substr(name_end + 4))).second) << name;
  }
  std::map<std::string, int> in_code;
  for (int i = 0; i <= static_cast<int>(kLastErrorCode); ++i) {
    const auto code = static_cast<ErrorCode>(i);
    EXPECT_TRUE(in_code.emplace(to_string(code), exit_status(code)).second) << to_string(code);
  }
  EXPECT_EQ(documented, in_code);
}

TEST(ErrorCode, ExitStatusesAreThoseOfTheDesign) {
  EXPECT_EQ(exit_status(ErrorCode::kIo), 1);
  EXPECT_EQ(exit_status(ErrorCode::kUsage), 2);
  EXPECT_EQ(exit_status(ErrorCode::kConfiguration), 2);
  EXPECT_EQ(exit_status(ErrorCode::kCorrupt), 3);
  EXPECT_EQ(exit_status(ErrorCode::kTargetUnreachable), 4);
  EXPECT_EQ(exit_status(ErrorCode::kBusy), 5);
  EXPECT_EQ(exit_status(ErrorCode::kObjectiveMissed), 6);
  EXPECT_EQ(exit_status(ErrorCode::kInterrupted), 130);
}

TEST(CheckDeathTest, ABrokenInvariantStopsTheProcessAndNamesItself) {
  const int answer = 41;
  HF_CHECK(answer == 41);
  EXPECT_DEATH(HF_CHECK(answer == 42), "broken invariant: answer == 42");
}

}  // namespace
}  // namespace holdfast
