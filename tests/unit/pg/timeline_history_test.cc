#include "pg/timeline_history.h"

#include <gtest/gtest.h>

#include "support/error_of.h"

namespace holdfast::pg {
namespace {

// As servers write it: the time target leaves a blank line.
constexpr std::string_view kText =
    "1\t0/6000160\tno recovery target specified\n"
    "2\t0/A0000A0\tbefore 2026-11-22 08:22:39.544793+00\n"
    "\n"
    "# a remark\n"
    "4\t1/20\tat restore point \"x\"\n";

TEST(TimelineHistory, ReadsAncestorsOldestFirst) {
  TimelineHistory history = parse_timeline_history({5}, kText);
  ASSERT_EQ(history.ancestors().size(), 3U);
  EXPECT_EQ(
      history.ancestors()[0],
      (TimelineHistoryEntry{
          .timeline = {1}, .switch_lsn = {0x6000160}, .reason = "no recovery target specified"}));
  EXPECT_EQ(history.ancestors()[1].reason, "before 2026-11-22 08:22:39.544793+00");
  EXPECT_EQ(history.ancestors()[2].switch_lsn, Lsn{0x100000020});
  EXPECT_EQ(history.timeline(), TimelineId{5});
}

TEST(TimelineHistory, ReadsBackWhatItWrites) {
  TimelineHistory history = parse_timeline_history({5}, kText);
  EXPECT_EQ(parse_timeline_history({5}, history.to_text()), history);
  EXPECT_EQ(TimelineHistory(TimelineId{1}).to_text(), "");
  EXPECT_EQ(parse_timeline_history({1}, ""), TimelineHistory(TimelineId{1}));
}

TEST(TimelineHistory, FindsTheTimelineThatHoldsAPosition) {
  TimelineHistory history = parse_timeline_history({5}, kText);
  const struct {
    uint64_t lsn;
    uint32_t timeline;
  } cases[] = {{0, 1},         {0x600015F, 1},   {0x6000160, 2},   {0xA00009F, 2},
               {0xA0000A0, 4}, {0x10000001F, 4}, {0x100000020, 5}, {UINT64_MAX, 5}};
  for (const auto& c : cases)
    EXPECT_EQ(history.timeline_at({c.lsn}), TimelineId{c.timeline}) << to_string(Lsn{c.lsn});
}

TEST(TimelineHistory, KnowsWhereEachTimelineBeginsAndWasLeft) {
  TimelineHistory history = parse_timeline_history({5}, kText);
  EXPECT_EQ(history.start_of({1}), Lsn{0});
  EXPECT_EQ(history.start_of({2}), Lsn{0x6000160});
  EXPECT_EQ(history.start_of({5}), Lsn{0x100000020});
  EXPECT_EQ(history.start_of({3}), std::nullopt);
  EXPECT_EQ(history.switch_point_of({1}), Lsn{0x6000160});
  EXPECT_EQ(history.switch_point_of({5}), std::nullopt);
  EXPECT_TRUE(history.contains({4}));
  EXPECT_TRUE(history.contains({5}));
  EXPECT_FALSE(history.contains({3}));
  EXPECT_FALSE(history.contains({6}));
}

TEST(TimelineHistory, AncestorsCountOnlyUpToWhereTheyWereLeft) {
  TimelineHistory history = parse_timeline_history({5}, kText);
  EXPECT_TRUE(history.is_ancestor({1}, {0x6000160}));
  EXPECT_FALSE(history.is_ancestor({1}, {0x6000161}));
  EXPECT_TRUE(history.is_ancestor({5}, {UINT64_MAX}));
  EXPECT_FALSE(history.is_ancestor({3}, {1}));
  EXPECT_FALSE(history.is_ancestor({6}, {1}));
}

// What a server writes that recovered along timeline 2 to a place before timeline 2 began, and how
// it reads that.
TEST(TimelineHistory, FollowsTheServersRulesWhereSwitchPointsGoDown) {
  const TimelineHistory history = parse_timeline_history(
      {3}, "1\t0/3018D48\tat restore point \"late\"\n2\t0/3018C78\tat restore point \"early\"\n");
  EXPECT_EQ(parse_timeline_history({3}, history.to_text()), history);
  const struct {
    uint64_t lsn;
    uint32_t timeline;
  } cases[] = {{0x3018C77, 1}, {0x3018C78, 3}, {0x3018D47, 3}, {0x3018D48, 3}, {0x4000000, 3}};
  for (const auto& c : cases)
    EXPECT_EQ(history.timeline_at({c.lsn}), TimelineId{c.timeline}) << to_string(Lsn{c.lsn});
  // Timeline 1 is followed up to where timeline 3 began, not up to where timeline 2 did.
  EXPECT_EQ(history.switch_point_of({1}), Lsn{0x3018C78});
  EXPECT_EQ(history.switch_point_of({2}), Lsn{0x3018C78});
  EXPECT_EQ(history.start_of({3}), Lsn{0x3018C78});
  EXPECT_TRUE(history.is_ancestor({1}, {0x3018C78}));
  EXPECT_FALSE(history.is_ancestor({1}, {0x3018D48}));
  EXPECT_FALSE(history.is_ancestor({2}, {0x3018D50}));
  // And once more, to before that and on from there.
  const TimelineHistory later =
      parse_timeline_history({5}, history.to_text() + "3\t0/2000000\tx\n4\t0/9000000\tx\n");
  EXPECT_EQ(later.timeline_at({0x1FFFFFF}), TimelineId{1});
  EXPECT_EQ(later.timeline_at({0x2000000}), TimelineId{4});
  EXPECT_EQ(later.timeline_at({0x8FFFFFF}), TimelineId{4});
  EXPECT_EQ(later.timeline_at({0x9000000}), TimelineId{5});
  EXPECT_EQ(later.switch_point_of({3}), Lsn{0x2000000});
  EXPECT_EQ(later.switch_point_of({4}), Lsn{0x9000000});
}

TEST(TimelineHistory, RefusesFilesThatContradictThemselves) {
  const struct {
    const char* text;
    const char* detail;
  } cases[] = {
      {"2\t0/1\tx\n1\t0/2\tx\n", "Timeline 1 follows timeline 2: the ids must increase."},
      {"2\t0/1\tx\n2\t0/2\tx\n", "Timeline 2 follows timeline 2: the ids must increase."},
      {"5\t0/1\tx\n", "Timeline 5 cannot be an ancestor of timeline 5."},
      {"x\t0/1\n", "The line \"x\t0/1\" is not a timeline and an LSN."},
      {"1\t01\n", "The line \"1\t01\" is not a timeline and an LSN."},
      {"1\n", "The line \"1\" is not a timeline and an LSN."},
      {"0\t0/1\n", "The line \"0\t0/1\" is not a timeline and an LSN."},
      {"10/1\n", "The line \"10/1\" is not a timeline and an LSN."},
      {"1\t0/123456789\tx\n", "The line \"1\t0/123456789\tx\" is not a timeline and an LSN."},
  };
  for (const auto& c : cases) {
    Error error = test::error_of([&] { parse_timeline_history({5}, c.text); });
    EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
    EXPECT_EQ(error.message(), "invalid timeline history file \"00000005.history\"");
    EXPECT_EQ(error.detail(), c.detail);
  }
}

}  // namespace
}  // namespace holdfast::pg
