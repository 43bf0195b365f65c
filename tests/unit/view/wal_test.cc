#include "view/wal.h"

#include <gtest/gtest.h>

namespace holdfast::view {
namespace {

archive::WalRange range(std::string first, std::string last, uint64_t count, uint64_t bytes) {
  archive::WalRange made;
  made.first_segment = std::move(first);
  made.last_segment = std::move(last);
  made.segment_count = count;
  made.stored_bytes = bytes;
  return made;
}

// Segments 3 to 5 and 8 to 70 of timeline 1; 6 and 7 are missing, and 71 is unfinished.
archive::WalListing listing() {
  archive::WalTimeline timeline;
  timeline.timeline = {1};
  timeline.ranges = {
      range("000000010000000000000003", "000000010000000000000005", 3, 1023 << 10),
      range("000000010000000000000008", "000000010000000000000046", 63, uint64_t{900} << 20)};
  timeline.ranges[0].first_commit = parse_rfc3339("2026-11-22T08:22:39.5Z");
  timeline.ranges[0].last_commit = parse_rfc3339("2026-11-22T09:22:39.5Z");
  timeline.gaps = {{.first_segment = "000000010000000000000006",
                    .last_segment = "000000010000000000000007",
                    .segment_count = 2}};
  archive::WalPartial partial;
  partial.segment = "000000010000000000000047.partial";
  partial.stored_bytes = 100;
  timeline.partials = {partial};
  archive::WalLineage lineage;
  lineage.lineage.name = {.cluster = "shop", .major = 15};
  lineage.timelines = {timeline};
  return {.lineages = {lineage}};
}

TEST(WalListing, ShowsAHoleWhereItIs) {
  const std::string text = view::text(listing());
  const size_t hole = text.find("\n000000010000000000000006  ");
  ASSERT_NE(hole, std::string::npos) << text;
  EXPECT_NE(text.find("MISSING", hole), std::string::npos) << text;
  EXPECT_GT(hole, text.find("000000010000000000000003  ")) << text;
  EXPECT_LT(hole, text.find("000000010000000000000008  ")) << text;
  EXPECT_NE(text.find("  commits 2026-11-22 "), std::string::npos) << text;
  EXPECT_NE(text.find("  no commit\n"), std::string::npos) << text;
}

TEST(WalListing, SaysWhatIsOfAnotherHistoryAndHowItIsTakenOutOfService) {
  archive::WalListing mixed = listing();
  EXPECT_EQ(view::text(mixed).find("another history"), std::string::npos);
  mixed.lineages[0].timelines[0].other_history = {"000000010000000000000009"};
  EXPECT_NE(
      view::text(mixed).find("Next: holdfast wal set-aside 000000010000000000000009 --onward"),
      std::string::npos)
      << view::text(mixed);
}

TEST(WalListing, HasATableThatFits80Columns) {
  const std::string text = view::text(listing());
  for (size_t at = 0; at < text.size();) {
    const size_t end = text.find('\n', at);
    const std::string line = text.substr(at, end - at);
    if (line.starts_with("0") || line.starts_with(" ")) {
      EXPECT_LE(line.size(), 80U) << line;
    }
    at = end + 1;
  }
}

}  // namespace
}  // namespace holdfast::view
