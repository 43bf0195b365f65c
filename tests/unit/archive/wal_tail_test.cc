#include "archive/wal_tail.h"

#include <algorithm>

#include "unit/archive/world.h"

namespace holdfast::archive {
namespace {

class WalTail : public World {
 protected:
  std::optional<pg::Lsn> tail(const Server& server, const std::string& segment) {
    return archive_tail(
        {.wal_directory = server.wal_directory(), .segment = segment, .cluster = "main"},
        repository_, reporter_, clock_);
  }
};

TEST_F(WalTail, IsArchivedAsPartialAsFarAsItWasReceived) {
  Fork fork;
  Server standby;
  standby.put(fork.first, 1, 2);
  Bytes received = fork.first.segment(2);
  std::fill(received.begin() + static_cast<ptrdiff_t>(fork.switch_lsn - pg::start_lsn(3, kSize)),
            received.end(), std::byte{0});
  standby.put(segment_name(1, 3), received, false);
  push_all(standby, 1, 1, 2);

  EXPECT_EQ(tail(standby, segment_name(1, 3)), fork.switch_lsn);
  EXPECT_FALSE(archive().segment_info(pg::parse_wal_file_name(segment_name(1, 3), kSize)));
  Server restored("beta");
  EXPECT_EQ(get(restored, segment_name(1, 3)).outcome, GetOutcome::kAbsent);
  EXPECT_EQ(get(restored, segment_name(1, 3) + ".partial").outcome, GetOutcome::kPlaced);

  // Also when all of it was received: the segment's name is the primary's to take.
  standby.put(segment_name(1, 3), fork.first.segment(2), false);
  EXPECT_EQ(tail(standby, segment_name(1, 3)), pg::end_lsn(3, kSize));
  EXPECT_FALSE(archive().segment_info(pg::parse_wal_file_name(segment_name(1, 3), kSize)));
  push(standby, segment_name(1, 3));
  EXPECT_EQ(get(restored, segment_name(1, 3)).outcome, GetOutcome::kPlaced);
}

TEST_F(WalTail, IsNothingWhereTheFileIsMissingOrStillHoldsOldWal) {
  Fork fork;
  Server standby;
  standby.put(fork.first, 1, 2);
  push_all(standby, 1, 1, 2);
  const std::vector<std::string> before = archived();
  EXPECT_FALSE(tail(standby, segment_name(1, 3)));
  standby.put(segment_name(1, 3), fork.first.segment(0), false);
  EXPECT_FALSE(tail(standby, segment_name(1, 3)));
  EXPECT_EQ(archived(), before);
}

// The standby of another history: what it has does not continue what is archived.
TEST_F(WalTail, ThatDoesNotJoinTheArchiveIsRefused) {
  Fork fork;
  Server first("alpha"), second("beta");
  first.put(fork.first, 1, 3);
  push_all(first, 1, 1, 3);
  second.put(fork.second, 1, 4);
  const std::vector<std::string> before = archived();
  EXPECT_EQ(test::error_of([&] { tail(second, segment_name(1, 4)); }).code(), ErrorCode::kConflict);
  EXPECT_EQ(archived(), before);
}

}  // namespace
}  // namespace holdfast::archive
