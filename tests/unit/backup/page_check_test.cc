#include "backup/page_check.h"

#include <gtest/gtest.h>

#include "unit/backup/made_up_cluster.h"

namespace holdfast::backup {
namespace {

using test::damage;
using test::kStartLsn;
using test::make_page;
using test::make_pages;
using Page = std::span<std::byte, pg::kPageBytes>;

class PageCheckTest : public testing::Test {
 protected:
  static Page page(Bytes& pages, size_t index) {
    return std::span(pages).subspan(index * pg::kPageBytes).first<pg::kPageBytes>();
  }
  std::span<const PageFault> check(Bytes& pages, uint32_t first,
                                   const PageChecker::Reread& reread) {
    return checker_.check(pages, pg::BlockNumber{first}, reread);
  }
  // The file holds these bytes for good.
  PageChecker::Reread from(Bytes file) {
    return [this, file = std::move(file)](uint32_t index, Page into) mutable {
      ++rereads_;
      std::ranges::copy(page(file, index), into.begin());
      return true;
    };
  }

  int rereads_ = 0;
  int pauses_ = 0;
  PageChecker checker_{kStartLsn, [this] { ++pauses_; }};
};

TEST_F(PageCheckTest, ReadsPagesThatVerifyAndNewPagesOnce) {
  Bytes pages = make_pages(40, 3);
  pages.resize(pages.size() + pg::kPageBytes);  // one of zeros
  EXPECT_TRUE(check(pages, 40, from(pages)).empty());
  EXPECT_EQ(rereads_, 0);
  EXPECT_EQ(pauses_, 0);
}

TEST_F(PageCheckTest, CountsBlocksFromTheForksBeginning) {
  Bytes pages = make_pages(131072, 2);
  EXPECT_TRUE(check(pages, 131072, from(pages)).empty());
  EXPECT_EQ(check(pages, 0, from(pages)).size(), 2u);
}

TEST_F(PageCheckTest, KeepsWhatTheNextReadShowsOfAPageBeingWritten) {
  Bytes before = make_pages(0, 3, 1);
  Bytes after = make_pages(0, 3, 2);
  Bytes torn = before;
  // The first half of the page is the new one's.
  std::copy_n(after.begin() + pg::kPageBytes, 4096, torn.begin() + pg::kPageBytes);
  ASSERT_NE(pg::verify_page(page(torn, 1), pg::BlockNumber{1}), pg::PageVerdict::kValid);
  EXPECT_TRUE(check(torn, 0, from(after)).empty());
  EXPECT_TRUE(std::ranges::equal(page(torn, 0), page(before, 0)));
  EXPECT_TRUE(std::ranges::equal(page(torn, 1), page(after, 1)));
  EXPECT_EQ(rereads_, 1);
}

TEST_F(PageCheckTest, AcceptsAPageThatChangesAlthoughItDoesNotVerify) {
  Bytes pages = make_page(7);
  damage(pages);
  Bytes other = pages;
  damage(other, 6000);
  EXPECT_TRUE(check(pages, 7, from(other)).empty());
  EXPECT_EQ(pages, other);
}

TEST_F(PageCheckTest, AcceptsAPageThatWasTruncatedAway) {
  Bytes pages = make_page(7);
  damage(pages);
  EXPECT_TRUE(check(pages, 7, [](uint32_t, Page) { return false; }).empty());
}

TEST_F(PageCheckTest, ReportsAPageThatStaysAsItIs) {
  Bytes pages = make_pages(8, 4);
  damage(pages, 1 * pg::kPageBytes + 5000);
  // A page that says it is new and is not.
  store_le<uint16_t>(pages.data() + 3 * pg::kPageBytes + 14, 0);
  std::span<const PageFault> faults = check(pages, 8, from(pages));
  ASSERT_EQ(faults.size(), 2u);
  EXPECT_EQ(faults[0].page, 1u);
  EXPECT_EQ(faults[0].reason, FaultReason::kChecksum);
  EXPECT_FALSE(faults[0].harmless_from.is_valid());
  EXPECT_EQ(faults[1].page, 3u);
  EXPECT_EQ(faults[1].reason, FaultReason::kPageHeader);
}

TEST_F(PageCheckTest, LeavesPagesChangedSinceTheStartToWhoKnowsThePresentPosition) {
  const struct {
    pg::Lsn lsn;
    bool is_since_start;
  } cases[] = {{kStartLsn - 1, false}, {kStartLsn, true}, {pg::Lsn{UINT64_MAX}, true}};
  for (const auto& c : cases) {
    Bytes pages = make_page(3, 1, c.lsn);
    damage(pages);
    std::span<const PageFault> faults = check(pages, 3, from(pages));
    ASSERT_EQ(faults.size(), 1u) << c.lsn.value;
    EXPECT_EQ(faults[0].harmless_from, c.is_since_start ? c.lsn : pg::Lsn{});
  }
}

TEST_F(PageCheckTest, PausesForAllFailingPagesTogether) {
  Bytes one = make_page(0);
  damage(one);
  check(one, 0, from(one));
  int pauses_for_one = std::exchange(pauses_, 0);
  Bytes pages = make_pages(0, 100);
  for (size_t index = 0; index < 100; ++index) damage(pages, index * pg::kPageBytes + 5000);
  EXPECT_EQ(check(pages, 0, from(pages)).size(), 100u);
  EXPECT_EQ(pauses_, pauses_for_one);
  EXPECT_GT(pauses_, 1);
}

}  // namespace
}  // namespace holdfast::backup
