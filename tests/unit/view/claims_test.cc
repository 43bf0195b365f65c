#include "view/claims.h"

#include <gtest/gtest.h>

namespace holdfast::view {
namespace {

TEST(ViewClaims, SayWhetherAProcessOrADirectoryHasEnded) {
  expire::Claim claim{.lineage = {}, .ids = {Bytes16{}}, .state = ProcessState::kDead};
  claim.intent.what = "recovery";
  claim.intent.host = "db1";
  claim.intent.pid = 77;
  EXPECT_NE(text(std::vector{claim}).find("process 77 on db1, dead"), std::string::npos);
  claim.intent.place = repo::DirectoryPlace{};
  EXPECT_NE(text(std::vector{claim}).find("process 77 on db1, its directory is gone"),
            std::string::npos);
}

}  // namespace
}  // namespace holdfast::view
