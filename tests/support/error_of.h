// error_of.h: the Error that a call ends with, so that a test can look at its code and words.
#pragma once

#include <string>
#include <utility>

#include <gtest/gtest.h>

#include "base/error.h"

namespace holdfast::test {

//   Error error = error_of([&] { parse_time("yesterday"); });
//   EXPECT_EQ(error.code(), ErrorCode::kInvalidText);
//
// A call that ends without one fails the test; the Error returned then has no words. One whose
// words were never filled in ("wal set-aside {}") fails it too.
template <typename Call>
Error error_of(Call&& call) {
  try {
    std::forward<Call>(call)();
  } catch (const Error& error) {
    for (const std::string& words : {error.message(), error.detail(), error.hint()})
      EXPECT_EQ(words.find("{}"), std::string::npos) << words;
    return error;
  }
  ADD_FAILURE() << "an Error was expected and none was thrown";
  return Error({.code = ErrorCode::kInternal, .message = ""});
}

}  // namespace holdfast::test
