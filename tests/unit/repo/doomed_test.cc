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
  EXPECT_EQ(find_doomed(target.repository, lineage, {"b", "x"}),
            "The object \"b\" is in a list of what will be removed.");
  EXPECT_FALSE(find_doomed(target.repository, lineage, {"x"}));
  put_doomed_end(target.repository, lineage, first, {}, Time{});
  EXPECT_FALSE(find_doomed(target.repository, lineage, {"b", "x"}));
}

// Which of them is not known: whatever a run may have read that is under way, and nothing else.
TEST(DoomedLists, ThatAreDamagedNameEverythingWhileARunMayCarryThemOutAndElseNothing) {
  test::TestRepository target;
  const LineageName& lineage = target.lineage.name;
  const Bytes16 list = put_doomed_list(target.repository, lineage, {"a"}, Time{});
  test::flip_a_bit(target.store, doomed_name(lineage, list));
  const auto all_is_going = [&] {
    const bool is_going = find_doomed(target.repository, lineage, {"x"}).has_value();
    const auto is_x = [](const std::string& name) { return name == "x"; };
    EXPECT_EQ(doomed_objects(target.repository, lineage, is_x).contains("x"), is_going);
    EXPECT_EQ(find_going(target.repository, lineage, is_x).has_value(), is_going);
    return is_going;
  };
  EXPECT_FALSE(all_is_going());
  const HeldIntent run(target.repository, lineage, {.what = std::string(kExpireIntent)},
                       target.clock);
  EXPECT_TRUE(all_is_going());
  EXPECT_NE(find_doomed(target.repository, lineage, {"x"})->find(doomed_name(lineage, list)),
            std::string::npos);
  // One that cannot be read may be a run's.
  test::flip_a_bit(target.store, intent_name(lineage, run.ids().front()));
  EXPECT_TRUE(all_is_going());
  test::flip_a_bit(target.store, intent_name(lineage, run.ids().front()));
  test::flip_a_bit(target.store, doomed_name(lineage, list));
  EXPECT_FALSE(all_is_going());
  test::flip_a_bit_of_the_seal(target.store, doomed_name(lineage, list));
  EXPECT_TRUE(all_is_going());
  put_doomed_end(target.repository, lineage, list, {}, Time{});
  EXPECT_FALSE(all_is_going());
}

}  // namespace
}  // namespace holdfast::repo
