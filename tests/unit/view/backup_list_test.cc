#include <gtest/gtest.h>

#include "view/view.h"

namespace holdfast::view {
namespace {

TEST(BackupList, SaysThatThereIsNoBackupOnlyWhereNoneCanBe) {
  const std::string none = "There is no backup. Next: run \"holdfast backup\".\n";
  EXPECT_EQ(text(std::vector<repo::Backup>{}, Unreadable{}), none);
  const std::string lost =
      text(std::vector<repo::Backup>{}, Unreadable{.lineages = {{"15-1", "object is damaged"}}});
  EXPECT_EQ(lost.find(none), std::string::npos) << lost;
  EXPECT_NE(
      lost.find("Lineage 15-1 is unreadable, and nobody knows which backups it has: object is "
                "damaged"),
      std::string::npos)
      << lost;
  const std::string unreadable =
      text(std::vector<repo::Backup>{},
           Unreadable{.backups = {{.id = "20261122T080000Z-aaaaaa", .problem = "x"}}});
  EXPECT_NE(unreadable.find("A backup that is unreadable cannot be restored"), std::string::npos)
      << unreadable;
}

}  // namespace
}  // namespace holdfast::view
