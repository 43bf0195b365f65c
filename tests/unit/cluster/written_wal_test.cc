#include "cluster/written_wal.h"

#include <map>

#include <gtest/gtest.h>

#include "support/wal_builder.h"

namespace holdfast::cluster {
namespace {

const pg::WalSegmentSize kSegment(uint64_t{1} << 20);

// A server whose WAL, in segments 1 to 3, is archived up to the end of segment 2.
class WhyNotTheArchives : public testing::Test {
 protected:
  WhyNotTheArchives() {
    fill(own_, 10);
    fill(other_, 20);
    lay(own_);
    flushed_ = own_.end_lsn();
    archived_ = {.timeline = {1},
                 .segment = pg::SegmentName{.timeline = {1}, .segment_number = 2},
                 .content = own_.segment(1)};
  }
  static void fill(test::WalBuilder& wal, uint32_t seed) {
    wal.add_filler(100 + seed);
    while (wal.segment_count() < 3) wal.add_filler(5000);
    wal.add_commit(700, 1);
  }
  void lay(const test::WalBuilder& wal) {
    for (size_t index = 0; index < 3; ++index)
      files_[pg::segment_file_name(wal.name(index), kSegment)] = wal.segment(index);
  }
  std::string why() const { return answer().value_or(NotTheArchives{}).why; }
  std::optional<NotTheArchives> answer() const {
    return why_not_the_archives({.flushed = flushed_, .timeline = {1}, .data_directory = {}},
                                archived_, kSegment,
                                [&](const std::string& name) -> std::optional<Bytes> {
                                  const auto found = files_.find(name);
                                  if (found == files_.end()) return std::nullopt;
                                  return found->second;
                                });
  }

  test::WalBuilder own_, other_;
  pg::Lsn flushed_;
  pg::WalTip archived_;
  std::map<std::string, Bytes> files_;
};

TEST_F(WhyNotTheArchives, TheServerThatWroteItIs) {
  EXPECT_EQ(why(), "");
  // Its file is recycled: the next one goes on from what is archived.
  files_.erase("000000010000000000000002");
  EXPECT_EQ(why(), "");
  archived_.segment.reset();  // nothing is archived yet
  EXPECT_EQ(why(), "");
}

TEST_F(WhyNotTheArchives, AServerBehindTheArchiveProvesNothing) {
  flushed_ = pg::start_lsn(2, kSegment) + 5000;
  EXPECT_NE(why().find("It has written up to 0/201388, and what is archived ends at 0/300000"),
            std::string::npos)
      << why();
  EXPECT_NE(why().find("of another history than the archive"), std::string::npos);
}

TEST_F(WhyNotTheArchives, ACloneThatWroteAsFarIsNot) {
  lay(other_);
  EXPECT_NE(why().find("\"000000010000000000000002\" is not the archived one"), std::string::npos)
      << why();
  files_.erase("000000010000000000000002");
  EXPECT_NE(why().find("\"000000010000000000000003\" does not go on from"), std::string::npos)
      << why();
  EXPECT_TRUE(answer()->is_proven);
  files_.erase("000000010000000000000003");
  EXPECT_NE(why().find("cannot be told"), std::string::npos) << why();
  EXPECT_FALSE(answer()->is_proven);
}

TEST_F(WhyNotTheArchives, NeitherIsOneWithAnotherHistoryOfItsTimeline) {
  archived_.history = Bytes(10, std::byte{'a'});
  EXPECT_EQ(why(), "");
  files_["00000001.history"] = Bytes(10, std::byte{'b'});
  EXPECT_NE(why().find("\"00000001.history\" is not the archived one"), std::string::npos);
}

}  // namespace
}  // namespace holdfast::cluster
