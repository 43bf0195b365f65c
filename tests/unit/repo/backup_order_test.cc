#include "repo/backup_order.h"

#include <gtest/gtest.h>

#include "repo/marks.h"
#include "support/deletion_world.h"

namespace holdfast::repo {
namespace {

using namespace std::chrono_literals;

class BackupOrder : public testing::Test, protected test::DeletionWorld {
 protected:
  // Committed now, by the store's clock; its id is of another hour.
  std::string commit(const std::string& hour, uint32_t timeline, uint64_t segment) {
    std::string id = "20261122T" + hour + "0000Z-aaaaaa";
    Backup backup = commit_of(id, timeline, segment);
    backup.committed = target.clock.now();
    target.repository.create_document("backup", backup_name(lineage(), id), to_json(backup));
    target.clock.advance(1h);
    return id;
  }
  std::vector<std::string> order() { return backup_ids_in_order(target.repository, lineage()); }
  using Ids = std::vector<std::string>;
};

TEST_F(BackupOrder, OnOneLineIsThatOfTheWalWhateverClocksSay) {
  const std::string of_a_host_ahead = commit("23", 1, 4);
  const std::string newest = commit("08", 1, 9);
  const std::string of_a_delayed_standby = commit("09", 1, 2);  // committed last
  EXPECT_EQ(order(), (Ids{of_a_delayed_standby, of_a_host_ahead, newest}));
}

TEST_F(BackupOrder, FollowsALineOverItsTimelines) {
  put_history(2, {{{1}, pg::start_lsn(6, segment_size()), "test"}});
  const std::string on_2 = commit("10", 2, 8);
  const std::string before_the_fork = commit("12", 1, 4);  // imported later
  EXPECT_EQ(order(), (Ids{before_the_fork, on_2}));
}

TEST_F(BackupOrder, BetweenLinesIsThatOfTheCommitsNotOfTimelinesOrPlaces) {
  put_history(2, {{{1}, pg::start_lsn(6, segment_size()), "test"}});
  const std::string on_2 = commit("10", 2, 20);
  const std::string abandoned = commit("09", 1, 7);  // behind the fork, and goes on
  const std::string newest = commit("08", 2, 21);
  EXPECT_EQ(order(), (Ids{on_2, abandoned, newest}));
}

// An old one of the first line, imported last, comes before all of that line, and so before what
// the second line has behind them.
TEST_F(BackupOrder, IsOneOrderWhereBothRulesMeet) {
  put_history(2, {{{1}, pg::start_lsn(6, segment_size()), "test"}});
  const std::string first = commit("01", 1, 8);
  const std::string second = commit("02", 2, 9);
  const std::string imported = commit("03", 1, 7);
  EXPECT_EQ(order(), (Ids{imported, first, second}));
}

// It has no configuration, and the server of the own one was asked for it.
TEST_F(BackupOrder, AnImportStandsBeforeTheOwnOneThatEndsAtTheSamePlace) {
  const std::string own = commit("01", 1, 8);
  Backup import = commit_of("20261122T020000Z-aaaaaa", 1, 8);
  import.committed = target.clock.now();
  import.origin = "tar";
  target.repository.create_document("backup", backup_name(lineage(), import.id), to_json(import));
  EXPECT_EQ(order(), (Ids{import.id, own}));
}

TEST_F(BackupOrder, HasAPlaceForWhatCannotBeReadAndNoneForWhatIsDeleted) {
  const std::string first = commit("10", 1, 4);
  const std::string damaged = commit("01", 1, 2);
  const std::string deleted = commit("02", 1, 5);
  const std::string last = commit("03", 3, 1);  // its history is not archived
  target.store.edit(backup_name(lineage(), damaged),
                    [](Bytes& bytes) { bytes[bytes.size() / 2] ^= std::byte{1}; });
  put_mark(target.repository, lineage(), deleted, MarkKind::kDeleted, "");
  EXPECT_EQ(order(), (Ids{first, damaged, last}));
}

}  // namespace
}  // namespace holdfast::repo
