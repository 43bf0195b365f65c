#include "repo/needed_wal.h"

#include <gtest/gtest.h>

#include "repo/intent.h"
#include "support/deletion_world.h"

namespace holdfast::repo {
namespace {

class NeededWalIn : public testing::Test, protected test::DeletionWorld {
 protected:
  // Segments 4 to 6.
  NeededWal needed(uint32_t timeline = 1) const {
    return {.timeline = {timeline},
            .start_lsn = pg::start_lsn(4, segment_size()) + 0x28,
            .end_lsn = pg::end_lsn(6, segment_size())};
  }
  std::optional<std::string> missing(uint32_t timeline = 1) {
    return find_missing_wal(target.repository, target.lineage, needed(timeline));
  }
  std::optional<std::string> going() {
    const std::optional<Going> found = find_going_wal(target.repository, target.lineage, needed());
    return found ? std::optional(found->what) : std::nullopt;
  }
  Bytes16 doom(const std::string& name) {
    return put_doomed_list(target.repository, lineage(), {name}, target.clock.now());
  }
  HeldIntent announce() {
    return HeldIntent(target.repository, lineage(), {.what = std::string(kExpireIntent)},
                      target.clock, kExpireIntentLife);
  }
};

TEST_F(NeededWalIn, IsMissingFromItsFirstGapOn) {
  EXPECT_EQ(missing(), wal_name(1, 4));
  put_segment(1, 4);
  put_segment(1, 6);
  EXPECT_EQ(missing(), wal_name(1, 5));
  put_segment(1, 5);
  EXPECT_FALSE(missing());
}

TEST_F(NeededWalIn, EndsWithAPartialOneButHasNoneInItsMiddle) {
  auto put_partial = [&](uint64_t segment) {
    target.store.create(wal_name(1, segment) + ".partial." + std::string(32, 'a'),
                        as_bytes("partial"));
  };
  put_segment(1, 4);
  put_partial(5);
  EXPECT_EQ(missing(), wal_name(1, 5));
  put_segment(1, 5);
  EXPECT_EQ(missing(), wal_name(1, 6));
  put_partial(6);
  EXPECT_FALSE(missing());
}

TEST_F(NeededWalIn, OfALaterTimelineHasItsHistory) {
  for (uint64_t segment = 4; segment <= 6; ++segment) put_segment(2, segment);
  const std::string history =
      repo::WalArchive(target.repository, target.lineage)
          .object_name({.kind = pg::WalFileKind::kHistory, .segment = {.timeline = {2}}});
  EXPECT_EQ(missing(2), history);
  put_history(2, {{{1}, pg::start_lsn(3, segment_size()), "test"}});
  EXPECT_FALSE(missing(2));
  target.store.remove(history);
  EXPECT_FALSE(missing(2)) << "its copy stands";
  target.store.remove(copy_of_history(history).value());
  EXPECT_EQ(missing(2), history);
}

// A list that nobody carries out dooms nothing that is claimed: whoever comes to carry it out reads
// the claims first.
TEST_F(NeededWalIn, GoesOnlyWhileARunOfExpireIsUnderWayThatHasItInItsList) {
  const Bytes16 list = doom(wal_name(1, 5));
  EXPECT_FALSE(going());
  {
    HeldIntent expiry = announce();
    EXPECT_NE(going().value().find(wal_name(1, 5)), std::string::npos);
    put_doomed_end(target.repository, lineage(), list, {}, target.clock.now());
    EXPECT_FALSE(going());
    for (const std::string& other : {wal_name(1, 3), wal_name(1, 7), wal_name(2, 5)}) doom(other);
    EXPECT_FALSE(going());
    const pg::WalFileName served{.kind = pg::WalFileKind::kSegment,
                                 .segment = {.timeline = {1}, .segment_number = 4}};
    doom(amended_content_name(lineage(), served, segment_size(), 1));
    EXPECT_TRUE(going()) << "a further content is WAL too";
    target.clock.advance(kExpireIntentLife + std::chrono::seconds(1));
    EXPECT_FALSE(going()) << "it was killed, on a host that cannot be looked at";
  }
  EXPECT_FALSE(going());
}

}  // namespace
}  // namespace holdfast::repo
