#include "pg/version.h"

#include <gtest/gtest.h>

#include "support/error_of.h"

namespace holdfast::pg {
namespace {

TEST(Version, IsFoundByCatalogVersionAndByWalMagic) {
  int expected = kFirstMajor;
  for (const Version& version : known_versions()) {
    EXPECT_EQ(version.major, expected++);
    EXPECT_EQ(major_by_catalog_version(version.catalog_version), version.major);
    EXPECT_EQ(major_by_wal_magic(version.wal_magic), version.major);
    EXPECT_EQ(&version_of(version.major), &version);
  }
  EXPECT_EQ(expected, kLastMajor + 1);
  EXPECT_EQ(major_by_catalog_version(1300), std::nullopt);
  EXPECT_EQ(major_by_wal_magic(0), std::nullopt);
}

TEST(Version, NamesTheDirectoryInTablespaces) {
  EXPECT_EQ(tablespace_version_directory(13), "PG_13_202007201");
  EXPECT_EQ(tablespace_version_directory(18), "PG_18_202506291");
  EXPECT_EQ(tablespace_version_directory(19), "PG_19_202610061");
}

TEST(Version, RefusesMajorsThatItDoesNotKnow) {
  for (int major : {0, 12, 20}) {
    Error error = test::error_of([&] { version_of(major); });
    EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
    EXPECT_EQ(error.detail(), "This program knows PostgreSQL 13 to 19.");
  }
  EXPECT_EQ(test::error_of([] { version_of(20); }).hint(), "A newer Holdfast may know it.");
}

TEST(Version, TellsNewerMajorsFromKnownOnesAndBetas) {
  EXPECT_FALSE(is_newer_major(kLastMajor));
  EXPECT_TRUE(is_newer_major(kLastMajor + 1));
  for (const uint16_t magic :
       std::initializer_list<uint16_t>{0, 0xD0FF, 0xD106, 0xD120, 0xD121, 0xD122, 0xD300, 0xFFFF})
    EXPECT_FALSE(is_newer_wal_magic(magic)) << magic;
  EXPECT_TRUE(is_newer_wal_magic(0xD123));
  EXPECT_TRUE(is_newer_wal_magic(0xD201));
  require_known_major(kLastMajor, "Nothing.");
  const Error error = test::error_of([] { require_known_major(20, "Its WAL is not read."); });
  EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
  EXPECT_EQ(error.message(), "PostgreSQL 20 is newer than this program");
  EXPECT_EQ(error.detail(), "Its WAL is not read. This program knows PostgreSQL 13 to 19.");
}

TEST(ParseVersionFile, ReadsOneNumber) {
  EXPECT_EQ(parse_version_file("17\n"), 17);
  EXPECT_EQ(parse_version_file("13"), 13);
  EXPECT_EQ(parse_version_file("18\r\n"), 18);
  for (const char* text : {"", "\n", "9.6\n", "17x\n", "x", "17\n18\n", "-15\n", "99999999999\n"}) {
    EXPECT_EQ(test::error_of([&] { parse_version_file(text); }).code(), ErrorCode::kCorrupt)
        << text;
  }
}

}  // namespace
}  // namespace holdfast::pg
