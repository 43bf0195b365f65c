// A relation of several 1 GiB segments: backed up, laid page for page as it was, and recovered with
// what was changed in each of its segments meanwhile.
#include <algorithm>
#include <fcntl.h>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "support/holdfast_command.h"
#include "support/recovery_scene.h"

namespace holdfast::test {
namespace {

constexpr uint64_t kGib = uint64_t{1} << 30;

uint64_t size_of(const std::string& path) {
  return static_cast<uint64_t>(stat_if_exists(path).value().st_size);
}

// The offset of the first byte in which two files differ.
std::optional<uint64_t> first_difference(const std::string& one, const std::string& other) {
  const Fd first = open_file(one, O_RDONLY), second = open_file(other, O_RDONLY);
  Bytes here(size_t{4} << 20), there(here.size());
  for (uint64_t offset = 0;; offset += here.size()) {
    const size_t count = pread_some(first, here, offset, one);
    const size_t other_count = pread_some(second, there, offset, other);
    const auto end = here.begin() + static_cast<ptrdiff_t>(std::min(count, other_count));
    const auto at = std::mismatch(here.begin(), end, there.begin()).first;
    if (at != end || count != other_count) return offset + static_cast<uint64_t>(at - here.begin());
    if (count < here.size()) return std::nullopt;
  }
}

class LongLargeRelation : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(EachMajor, LongLargeRelation, testing::Values(13, newest_major()),
                         [](const testing::TestParamInfo<int>& tested) {
                           return std::to_string(tested.param);
                         });

TEST_P(LongLargeRelation, OfThreeSegmentsComesBackPageForPageAndRowForRow) {
  RecoveryScene scene({.major = GetParam(), .config = {"max_wal_size = 1GB"}, .archive = false});
  PostgresServer& server = scene.server();
  // Four rows to a page, filled before anything is archived.
  server.sql("CREATE TABLE large (g int, text text)");
  server.sql("ALTER TABLE large ALTER COLUMN text SET STORAGE PLAIN");
  server.sql(
      "INSERT INTO large SELECT g, repeat(md5(g::text), 60) FROM generate_series(1, 1100000) g");
  server.sql("VACUUM (FREEZE) large");
  scene.must({"init", "--configure-server"});
  server.restart();
  server.sql("CHECKPOINT");
  const std::string relation = server.value("SELECT pg_relation_filepath('large')");
  const std::string there = join_path(server.data_directory(), relation);
  ASSERT_EQ(size_of(there), kGib);
  ASSERT_EQ(size_of(there + ".1"), kGib);
  ASSERT_GT(size_of(there + ".2"), 0U);
  scene.must({"backup"});

  scene.must({"restore", "--into", scene.path("laid")});
  for (const char* segment : {"", ".1", ".2"}) {
    const std::string laid = join_path(scene.path("laid"), relation) + segment;
    EXPECT_EQ(first_difference(there + segment, laid), std::nullopt) << laid;
  }
  remove_tree(scene.path("laid"));

  // A row here and there in each segment, and the end of the third.
  server.sql("UPDATE large SET text = repeat(md5((-g)::text), 60) WHERE g % 20000 = 0");
  server.sql("DELETE FROM large WHERE g > 1099000");
  server.sql("VACUUM large");
  scene.archive_current_segment();
  const std::string pages =
      "SELECT count(*) || ' ' || sum(hashtextextended(text, g)::numeric) || ' ' || "
      "sum(hashtextextended(text, (ctid::text::point)[0]::bigint)::numeric) || ' ' || "
      "pg_relation_size('public.large') FROM public.large";
  const std::string expected = server.value(pages);
  scene.destroy();

  const std::unique_ptr<RestoredServer> restored = scene.restore_into("restored", {});
  EXPECT_EQ(restored->value("SELECT pg_catalog.count(*) FROM public.large"), "1099000");
  EXPECT_EQ(restored->value("SELECT pg_catalog.count(*) FROM public.large WHERE text <> "
                            "pg_catalog.repeat(pg_catalog.md5(CASE WHEN g % 20000 = 0 THEN "
                            "(-g)::text ELSE g::text END), 60)"),
            "0");
  EXPECT_EQ(restored->value(pages), expected);
}

}  // namespace
}  // namespace holdfast::test
