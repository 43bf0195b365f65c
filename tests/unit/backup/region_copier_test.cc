#include "backup/region_copier.h"

#include <gtest/gtest.h>

#include "support/error_of.h"
#include "unit/backup/made_up_cluster.h"

namespace holdfast::backup {
namespace {

using test::BackupScene;
using test::error_of;
using test::MadeUpCluster;
using test::make_page;
using test::make_pages;

constexpr uint64_t kCopyRegion = repo::kLeafBytes;
constexpr uint32_t kRegionBlocks = kCopyRegion / pg::kPageBytes;

// The steps of one file's copy, so that a test can change the file between them.
class RegionCopierTest : public testing::Test {
 protected:
  RegionCopierTest() : extents_(scene_.writer.make_worker()) {}

  bool open(const std::string& path) {
    item_.entry.path = path;
    item_.relation = pg::parse_relation_path(path, source_.version_directory);
    return copier_->open(item_);
  }
  // Copies one region and keeps its end as the window does.
  std::vector<PageFault> copy(uint64_t region) {
    RegionResult result = copier_->copy(item_, region);
    item_.end = std::max(item_.end, result.end);
    return {result.faults.begin(), result.faults.end()};
  }
  // What a restore would lay.
  Bytes finish() {
    copier_->complete(item_);
    scene_.writer.finish_worker(std::move(extents_));
    return scene_.content(item_.entry);
  }

  MadeUpCluster cluster_;
  SourceFacts source_ = cluster_.source();
  DirectorySource files_{source_.data_directory, source_.block_bytes};
  BackupScene scene_{{.algorithm = codec::Compression::kNone, .level = 0}};
  std::stop_source stop_;
  repo::ExtentWriter extents_;
  CopyItem item_;
  std::optional<RegionCopier> copier_{std::in_place, source_,         files_,
                                      extents_,      scene_.reporter, stop_.get_token()};
};

TEST_F(RegionCopierTest, CopiesAFileWithItsModeOwnerAndTime) {
  Bytes pages = make_pages(0, 300);
  cluster_.put("base/5/1259", pages);
  ASSERT_EQ(chmod(cluster_.path("base/5/1259").c_str(), 0640), 0);
  ASSERT_TRUE(open("base/5/1259"));
  EXPECT_TRUE(copy(0).empty());
  EXPECT_EQ(finish(), pages);
  EXPECT_EQ(item_.entry.mode, 0640u);
  EXPECT_EQ(item_.uid, getuid());
  EXPECT_EQ(item_.entry.size, pages.size());
  EXPECT_NE(item_.entry.modified, Time{});
  EXPECT_EQ(scene_.reporter.total_bytes(), pages.size());
}

TEST_F(RegionCopierTest, AFileThatVanishedIsNoError) {
  EXPECT_FALSE(open("base/5/1259"));
  EXPECT_TRUE(item_.vanished);
}

TEST_F(RegionCopierTest, AFileThatIsRemovedWhileItIsCopiedIsCopiedWhole) {
  Bytes pages = make_pages(0, 20);
  cluster_.put("base/5/1259", pages);
  ASSERT_TRUE(open("base/5/1259"));
  remove_file(cluster_.path("base/5/1259"));
  copy(0);
  EXPECT_EQ(finish(), pages);
}

TEST_F(RegionCopierTest, AFileThatGrowsIsCopiedUpToItsLengthAtTheStart) {
  Bytes pages = make_pages(0, 5);
  cluster_.put("base/5/1259", pages);
  ASSERT_TRUE(open("base/5/1259"));
  cluster_.append("base/5/1259", make_page(5));
  copy(0);
  EXPECT_EQ(finish(), pages);
}

TEST_F(RegionCopierTest, AFileThatShrinksIsCopiedAsFarAsItReaches) {
  const struct {
    uint64_t bytes, cut_to;
  } cases[] = {{20 * pg::kPageBytes, 3 * pg::kPageBytes},
               {20 * pg::kPageBytes, 3 * pg::kPageBytes + 100},
               {20 * pg::kPageBytes, 0},
               {3000, 1000}};
  for (const auto& c : cases) {
    Bytes content = test::page_like_bytes(c.bytes, 3);
    cluster_.put("some_file", content);
    item_.end = 0;
    ASSERT_TRUE(open("some_file"));
    cluster_.cut("some_file", c.cut_to);
    copy(0);
    copier_->complete(item_);
    EXPECT_EQ(item_.entry.size, c.cut_to);
    EXPECT_EQ(item_.entry.location.kind == repo::FileLocation::Kind::kNone, c.cut_to == 0);
  }
}

TEST_F(RegionCopierTest, AFileCutBehindTheRegionBeingReadKeepsWhatWasRead) {
  Bytes pages = make_pages(0, 2 * kRegionBlocks + 3);
  cluster_.put("base/5/1259", pages);
  ASSERT_TRUE(open("base/5/1259"));
  // The last region is read first, as another worker may do; then the file is cut in the middle of
  // the first.
  copy(2);
  cluster_.cut("base/5/1259", 10 * pg::kPageBytes + 100);
  copy(0);
  copy(1);
  Bytes expected(pages.size());
  std::copy_n(pages.begin(), 10 * pg::kPageBytes + 100, expected.begin());
  std::copy(pages.begin() + 2 * kCopyRegion, pages.end(), expected.begin() + 2 * kCopyRegion);
  EXPECT_TRUE(finish() == expected);
  EXPECT_EQ(item_.entry.size, pages.size());
}

TEST_F(RegionCopierTest, StoresAlmostNothingOfAFileOfZeros) {
  const uint64_t bytes = 3 * kCopyRegion + 5 * pg::kPageBytes;
  cluster_.put_sparse("base/5/1259", bytes);
  Bytes page = make_page(kRegionBlocks + 7);
  cluster_.write_at("base/5/1259", kCopyRegion + 7 * pg::kPageBytes, page);
  ASSERT_TRUE(open("base/5/1259"));
  for (uint64_t region = 0; region < 4; ++region) EXPECT_TRUE(copy(region).empty());
  EXPECT_LT(extents_.stored_bytes(), 3 * pg::kPageBytes);
  Bytes expected(bytes);
  std::ranges::copy(page, expected.begin() + kCopyRegion + 7 * pg::kPageBytes);
  EXPECT_TRUE(finish() == expected);
  EXPECT_EQ(item_.entry.size, bytes);
}

TEST_F(RegionCopierTest, AFileOfNothingButHolesKeepsItsLength) {
  cluster_.put_sparse("base/5/1259", kCopyRegion + 12345);
  ASSERT_TRUE(open("base/5/1259"));
  copy(0);
  copy(1);
  EXPECT_TRUE(finish() == Bytes(kCopyRegion + 12345));
  EXPECT_EQ(item_.entry.location.kind, repo::FileLocation::Kind::kNone);
}

TEST_F(RegionCopierTest, VerifiesPagesByTheirNumberInTheWholeFork) {
  // The second segment of a table of more than 1 GiB.
  cluster_.put("base/5/1259.1", make_pages(131072, 40));
  ASSERT_TRUE(open("base/5/1259.1"));
  EXPECT_TRUE(copy(0).empty());
}

TEST_F(RegionCopierTest, TellsDamagedPagesByTheirPlaceInTheFile) {
  const uint32_t damaged = kRegionBlocks + 130;
  Bytes pages = make_pages(131072, kRegionBlocks + 200);
  test::damage(pages, damaged * pg::kPageBytes + 6000);
  cluster_.put("base/5/1259.1", pages);
  ASSERT_TRUE(open("base/5/1259.1"));
  EXPECT_TRUE(copy(0).empty());
  std::vector<PageFault> faults = copy(1);
  ASSERT_EQ(faults.size(), 1u);
  EXPECT_EQ(faults[0].page, damaged);
  EXPECT_TRUE(finish() == pages);
}

TEST_F(RegionCopierTest, VerifiesNothingButWholePagesOfRelations) {
  Bytes bytes = test::page_like_bytes(3 * pg::kPageBytes, 1);
  cluster_.put("pg_xact/0000", bytes);
  ASSERT_TRUE(open("pg_xact/0000"));
  EXPECT_TRUE(copy(0).empty());
  copier_->complete(item_);
  // A page that is just being appended to a relation.
  item_.end = 0;
  Bytes pages = make_pages(0, 2);
  pages.erase(pages.end() - 1000, pages.end());
  cluster_.put("base/5/1259", pages);
  ASSERT_TRUE(open("base/5/1259"));
  EXPECT_TRUE(copy(0).empty());
  EXPECT_EQ(finish(), pages);
}

TEST_F(RegionCopierTest, AStopEndsTheCopyWithinARegion) {
  cluster_.put("base/5/1259", make_pages(0, 2));
  ASSERT_TRUE(open("base/5/1259"));
  stop_.request_stop();
  EXPECT_EQ(error_of([&] { copy(0); }).code(), ErrorCode::kInterrupted);
}

}  // namespace
}  // namespace holdfast::backup
