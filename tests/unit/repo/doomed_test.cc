#include "repo/doomed.h"

#include <gtest/gtest.h>

#include "support/test_repository.h"

namespace holdfast::repo {
namespace {

using namespace std::chrono_literals;

TEST(DoomedLists, AreFoundInTheOrderInWhichTheyWerePut) {
  test::TestRepository target;
  const LineageName& lineage = target.lineage.name;
  const Time began = target.clock.now();
  const Bytes16 first = put_doomed_list(target.repository, lineage, {"a", "b"}, began);
  target.clock.advance(1h);
  const Bytes16 second = put_doomed_list(target.repository, lineage, {"b", "c"}, began);
  target.clock.advance(1h);
  EXPECT_TRUE(put_doomed_end(target.repository, lineage, first, {.removed = 2}, began));
  EXPECT_FALSE(put_doomed_end(target.repository, lineage, first, {.removed = 2}, began));

  const std::vector<DoomedList> lists = list_doomed(target.repository, lineage);
  ASSERT_EQ(lists.size(), 2u);
  EXPECT_EQ(lists[0].id, first);
  EXPECT_EQ(lists[0].put, began);
  EXPECT_EQ(lists[0].done, began + 2h);
  EXPECT_EQ(lists[1].id, second);
  EXPECT_EQ(lists[1].put, began + 1h);
  EXPECT_FALSE(lists[1].done);
  EXPECT_EQ(read_doomed_list(target.repository, lineage, second),
            (std::vector<std::string>{"b", "c"}));
}

TEST(DoomedLists, HoldWhatWillGoUntilTheyAreDone) {
  test::TestRepository target;
  const LineageName& lineage = target.lineage.name;
  const Bytes16 first = put_doomed_list(target.repository, lineage, {"a", "b"}, Time{});
  EXPECT_EQ(find_doomed(target.repository, lineage, {"b", "x"}), "b");
  EXPECT_FALSE(find_doomed(target.repository, lineage, {"x"}));
  put_doomed_end(target.repository, lineage, first, {}, Time{});
  EXPECT_FALSE(find_doomed(target.repository, lineage, {"b", "x"}));
}

}  // namespace
}  // namespace holdfast::repo
