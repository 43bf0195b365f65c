#include "view/verify.h"

#include <gtest/gtest.h>

#include "verify/verify.h"

namespace holdfast::view {
namespace {

// The last line is about restoring: of a lineage without its document nothing can be.
TEST(VerifyText, SaysThatNothingOfALineageWithoutItsDocumentCanBeRestored) {
  verify::VerifyResult result;
  verify::Finding& finding = result.common.emplace_back();
  finding.object = "clusters/main/15-1/lineage.json";
  finding.problem = "damaged";
  result.lineages.emplace_back();
  result.lost = {"15-1"};
  const std::string words = text(result);
  EXPECT_EQ(words.find("every backup can still be restored"), std::string::npos) << words;
  EXPECT_NE(words.find("nothing of lineage 15-1 can be restored"), std::string::npos) << words;
}

// What is of different histories is whole: to take it from a copy would mend nothing.
TEST(VerifyText, OfDifferentHistoriesNamesTheCommandThatEndsIt) {
  verify::VerifyResult result;
  verify::LineageResult& lineage = result.lineages.emplace_back();
  verify::Gap& gap = lineage.gaps.emplace_back();
  gap.timeline = {1};
  gap.first_segment = gap.last_segment = "000000010000000000000005";
  gap.problem = recovery::kOtherHistory;
  const std::string words = text(result);
  EXPECT_NE(words.find("WAL segment 000000010000000000000005 is of another history"),
            std::string::npos)
      << words;
  EXPECT_NE(words.find("holdfast wal set-aside 000000010000000000000005 --onward"),
            std::string::npos)
      << words;
  EXPECT_NE(words.find("\nNothing is damaged, but WAL of different histories is archived"),
            std::string::npos)
      << words;
}

}  // namespace
}  // namespace holdfast::view
