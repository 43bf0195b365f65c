#include "pg/relation_file.h"

#include <gtest/gtest.h>

namespace holdfast::pg {
namespace {

constexpr std::string_view kVersionDirectory = "PG_15_202209061";

TEST(ParseRelationPath, ReadsBackEveryPathItWrites) {
  const struct {
    const char* path;
    RelationFile file;
  } cases[] = {
      {"base/5/16384", {.locator = {1663, 5, 16384}}},
      {"base/5/16384.1", {.locator = {1663, 5, 16384}, .segment = 1}},
      {"base/5/16384_fsm", {.locator = {1663, 5, 16384}, .fork = Fork::kFsm}},
      {"base/5/16384_vm.12", {.locator = {1663, 5, 16384}, .fork = Fork::kVm, .segment = 12}},
      {"base/5/16384_init", {.locator = {1663, 5, 16384}, .fork = Fork::kInit}},
      {"base/4294967295/4294967295", {.locator = {1663, UINT32_MAX, UINT32_MAX}}},
      {"global/1260", {.locator = {1664, 0, 1260}}},
      {"pg_tblspc/16400/PG_15_202209061/5/16384.3", {.locator = {16400, 5, 16384}, .segment = 3}},
      {"base/5/t3_16390", {.locator = {1663, 5, 16390}, .temporary_of = 3}},
      {"base/5/t0_16390_fsm", {.locator = {1663, 5, 16390}, .fork = Fork::kFsm, .temporary_of = 0}},
  };
  for (const auto& c : cases) {
    std::optional<RelationFile> parsed = parse_relation_path(c.path, kVersionDirectory);
    ASSERT_TRUE(parsed) << c.path;
    EXPECT_EQ(*parsed, c.file) << c.path;
    EXPECT_EQ(relation_path(c.file, kVersionDirectory), c.path);
  }
}

TEST(ParseRelationPath, TakesNothingElseForARelation) {
  for (const char* path : {
           "pg_xact/0000",
           "pg_multixact/offsets/0000",
           "pg_multixact/members/0001",
           "pg_commit_ts/0000",
           "pg_subtrans/0000",
           "base/5/016384",
           "base/5/0",
           "base/05/16384",
           "base/0/16384",
           "base/5",
           "base/5/",
           "base/5/16384/1",
           "base/16384",
           "base/5/16384.0",
           "base/5/16384.01",
           "base/5/16384.",
           "base/5/16384_foo",
           "base/5/16384_",
           "base/5/16384_main",
           "base/5/16384_fsm_vm",
           "base/5/16384.1_fsm",
           "base/5/4294967296",
           "base/5/pg_filenode.map",
           "base/5/PG_VERSION",
           "base/5/pg_internal.init",
           "base/5/t_16384",
           "base/5/t3",
           "base/5/t3_",
           "base/5/t03_16384",
           "base/5/x3_16384",
           "global/pg_control",
           "global/5/1260",
           "pg_tblspc/16400/PG_14_202107181/5/16384",
           "pg_tblspc/16400/5/16384",
           "pg_tblspc/16400/PG_15_202209061/16384",
           "pg_wal/000000010000000000000001",
           "/base/5/16384",
           "./base/5/16384",
           "base//16384",
           "pg_tblspc/1663/PG_15_202209061/5/16384",
           "base/5/-1",
           "base/5/16384 ",
           "16384",
           "",
       }) {
    EXPECT_FALSE(parse_relation_path(path, kVersionDirectory)) << path;
  }
}

TEST(Fork, HasTheNamesOfSql) {
  EXPECT_EQ(to_string(Fork::kMain), "main");
  EXPECT_EQ(to_string(Fork::kInit), "init");
}

}  // namespace
}  // namespace holdfast::pg
