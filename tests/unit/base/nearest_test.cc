#include "base/nearest.h"

#include <gtest/gtest.h>

namespace holdfast {
namespace {

TEST(EditDistance, CountsLettersAndSwaps) {
  const struct {
    const char* a;
    const char* b;
    size_t distance;
  } cases[] = {
      {"", "", 0},    {"backup", "backup", 0}, {"bakcup", "backup", 1}, {"restor", "restore", 1},
      {"abc", "", 3}, {"kitten", "sitting", 3}};
  for (const auto& c : cases) {
    EXPECT_EQ(edit_distance(c.a, c.b), c.distance) << c.a << " " << c.b;
    EXPECT_EQ(edit_distance(c.b, c.a), c.distance) << c.b << " " << c.a;
  }
}

TEST(MeantWord, IsOneThatIsNearEnough) {
  const std::vector<std::string> known = {"backup", "check", "wal"};
  EXPECT_EQ(meant_word("bakcup", known), "backup");
  EXPECT_EQ(meant_word("wall", known), "wal");
  EXPECT_EQ(meant_word("config", known), std::nullopt);
  EXPECT_EQ(meant_word("x", {}), std::nullopt);
}

}  // namespace
}  // namespace holdfast
