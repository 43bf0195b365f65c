#include "pg/tablespace_map.h"

#include <gtest/gtest.h>

#include "support/error_of.h"

namespace holdfast::pg {
namespace {

TEST(TablespaceMap, EscapesAsTheMajorDoes) {
  const std::vector<TablespaceMapEntry> entries = {{16400, "/srv/fast"},
                                                   {16401, "/srv/a b"},
                                                   {16402, "/srv/line\nbreak\rx"},
                                                   {16403, "/srv/back\\slash"}};
  EXPECT_EQ(
      format_tablespace_map(entries, 13),
      "16400 /srv/fast\n16401 /srv/a b\n16402 /srv/line\\\nbreak\\\rx\n16403 /srv/back\\slash\n");
  EXPECT_EQ(
      format_tablespace_map(entries, 14),
      "16400 /srv/fast\n16401 /srv/a b\n16402 /srv/line\\\nbreak\\\rx\n16403 /srv/back\\\\slash\n");
  for (int major = 13; major <= 18; ++major) {
    EXPECT_EQ(parse_tablespace_map(format_tablespace_map(entries, major), major), entries) << major;
  }
}

TEST(TablespaceMap, ReadsOneTextDifferentlyByMajor) {
  constexpr std::string_view kText = "1 /a\\b\\\\c\n";
  EXPECT_EQ(parse_tablespace_map(kText, 13).at(0).path, "/a\\b\\\\c");
  EXPECT_EQ(parse_tablespace_map(kText, 14).at(0).path, "/ab\\c");
}

TEST(TablespaceMap, TakesAnyLineEndsAndNoLines) {
  EXPECT_TRUE(parse_tablespace_map("", 15).empty());
  EXPECT_TRUE(parse_tablespace_map("\n\r\n", 15).empty());
  EXPECT_EQ(parse_tablespace_map("1 /a\r\n2 /b", 15),
            (std::vector<TablespaceMapEntry>{{1, "/a"}, {2, "/b"}}));
}

TEST(TablespaceMap, RefusesWhatIsNoMap) {
  for (const char* text : {"x /a\n", "1\n", "1 a\n", "/a\n", " 1 /a\n", "0 /a\n", "4294967296 /a\n",
                           "1  /a\n", "-1 /a\n"}) {
    Error error = test::error_of([&] { parse_tablespace_map(text, 15); });
    EXPECT_EQ(error.code(), ErrorCode::kCorrupt) << text;
    EXPECT_EQ(error.message(), "invalid tablespace map");
  }
  EXPECT_EQ(test::error_of([] { parse_tablespace_map("1 /a\n1 /b\n", 15); }).detail(),
            "The tablespace 1 comes twice.");
}

TEST(TablespaceMap, RefusesPathsThat13CannotRead) {
  for (const char* path : {"/a\\\nb", "/a\\"}) {
    const std::vector<TablespaceMapEntry> entries = {{1, path}};
    EXPECT_EQ(test::error_of([&] { format_tablespace_map(entries, 13); }).code(),
              ErrorCode::kUnsupported);
    EXPECT_EQ(parse_tablespace_map(format_tablespace_map(entries, 14), 14), entries);
  }
}

}  // namespace
}  // namespace holdfast::pg
