#include "base/environment.h"

#include <cstdlib>

#include <gtest/gtest.h>

namespace holdfast {
namespace {

TEST(Environment, HidesWhatBeginsWithAPrefixAndShowsItAgain) {
  setenv("HF_HIDDEN_ONE", "1", 1);
  setenv("HF_HIDDEN_TWO", "2", 1);
  setenv("HF_SHOWN", "3", 1);
  const char* const found = std::getenv("HF_HIDDEN_ONE");
  for (int round = 0; round < 2; ++round) {
    const EnvironmentWithout hidden("HF_HIDDEN_");
    EXPECT_EQ(std::getenv("HF_HIDDEN_ONE"), nullptr);
    EXPECT_EQ(std::getenv("HF_HIDDEN_TWO"), nullptr);
    EXPECT_STREQ(std::getenv("HF_SHOWN"), "3");
    EXPECT_STREQ(found, "1");
  }
  EXPECT_STREQ(std::getenv("HF_HIDDEN_ONE"), "1");
  {
    const EnvironmentWithout nothing("");
    EXPECT_STREQ(std::getenv("HF_HIDDEN_ONE"), "1");
  }
  // A variable that came meanwhile is hidden too.
  setenv("HF_HIDDEN_THREE", "3", 1);
  const EnvironmentWithout hidden("HF_HIDDEN_");
  EXPECT_EQ(std::getenv("HF_HIDDEN_THREE"), nullptr);
  EXPECT_STREQ(std::getenv("HF_SHOWN"), "3");
}

}  // namespace
}  // namespace holdfast
