#include "archive/wal_salvage.h"

#include <algorithm>
#include <unistd.h>

#include "cluster/wal_directory.h"
#include "unit/archive/world.h"

namespace holdfast::archive {
namespace {

using Names = std::vector<std::string>;

class WalSalvage : public World {
 protected:
  SalvageResult salvage(const Server& server) {
    return archive::salvage(
        {.wal_directory = server.wal_directory(), .cluster = "main", .host = server.host()},
        repository_, reporter_, {}, clock_);
  }
};

// A crashed server: segments 1 and 2 complete, 3 written half, 4 and 5 kept for reuse with old WAL
// in them.
void crash(const Server& server, const test::WalBuilder& wal, const pg::Lsn end) {
  server.put(wal, 1, 2);
  Bytes last = wal.segment(2);
  std::fill(last.begin() + static_cast<ptrdiff_t>(end - pg::start_lsn(3, kSize)), last.end(),
            std::byte{0});
  server.put(segment_name(1, 3), last, false);
  server.put(segment_name(1, 4), wal.segment(0), false);
  server.put(segment_name(1, 5), wal.segment(1), false);
}

TEST_F(WalSalvage, SavesWhatIsCompleteAndTheUnfinishedEndSoThatItCanBeRecovered) {
  Fork fork;
  Server server("alpha");
  crash(server, fork.first, fork.switch_lsn);
  push(server, segment_name(1, 1));
  SalvageResult result = salvage(server);
  EXPECT_EQ(result.pushed, (Names{segment_name(1, 2), segment_name(1, 3) + ".partial"}));
  EXPECT_EQ(result.already_archived, 1U);
  EXPECT_EQ(result.unused, 2U);
  EXPECT_TRUE(result.refused.empty());
  EXPECT_EQ(result.readable_end, fork.switch_lsn);

  Server restored("beta");
  EXPECT_EQ(get(restored, segment_name(1, 3) + ".partial").outcome, GetOutcome::kPlaced);
  EXPECT_EQ(placed(restored), read_file(server.path(segment_name(1, 3))));

  result = salvage(server);  // again: nothing is new
  EXPECT_TRUE(result.pushed.empty());
  EXPECT_EQ(result.already_archived, 3U);
}

TEST_F(WalSalvage, PutsHistoryBeforeTheSegmentsThatNeedIt) {
  Fork fork;
  Server server("alpha");
  server.put(fork.first, 1, 3);
  server.put(fork.promoted, 3, 4);
  server.put("00000002.history", fork.history);
  server.put(segment_name(1, 1) + ".00000028.backup", "START WAL LOCATION: 0/100028\n");
  SalvageResult result = salvage(server);
  EXPECT_EQ(result.pushed, (Names{"00000002.history", segment_name(1, 1),
                                  segment_name(1, 1) + ".00000028.backup", segment_name(1, 2),
                                  segment_name(1, 3), segment_name(2, 3), segment_name(2, 4)}));
  EXPECT_TRUE(result.refused.empty());
}

TEST_F(WalSalvage, WhatIsRefusedIsToldAndTheRestIsSaved) {
  Fork fork;
  Server winner("alpha");
  winner.put(fork.first, 1, 4);
  push_all(winner, 1, 1, 4);
  Server loser("beta");
  loser.put(fork.second, 1, 3);
  loser.put(segment_name(1, 3) + ".partial", fork.second.segment(2));
  SalvageResult result = salvage(loser);
  EXPECT_EQ(result.already_archived, 2U);
  ASSERT_EQ(result.refused.size(), 2U);
  EXPECT_EQ(result.refused[0].file, segment_name(1, 3));
  EXPECT_NE(result.refused[0].reason.find("already archived with other content"),
            std::string::npos);
  // Its unfinished segment is of that history, too.
  EXPECT_EQ(result.refused[1].file, segment_name(1, 3) + ".partial");
  EXPECT_TRUE(result.pushed.empty());
}

// The archive has the whole segment, of another history: what this server acknowledged in its
// unfinished one is kept, but no recovery would read it.
TEST_F(WalSalvage, AnUnfinishedSegmentThatPartsFromTheArchivedWholeOneIsAConflict) {
  Fork fork;
  Server winner("alpha"), loser("beta"), behind("gamma");
  winner.put(fork.first, 1, 3);
  push_all(winner, 1, 1, 3);
  Bytes unfinished = fork.second.segment(2);
  std::fill(unfinished.begin() + 700'000, unfinished.end(), std::byte{0});
  loser.put(fork.second, 1, 2);
  loser.put(segment_name(1, 3), unfinished, false);
  const SalvageResult result = salvage(loser);
  ASSERT_EQ(result.conflicts.size(), 1U);
  EXPECT_EQ(result.conflicts[0].from, (pg::SegmentName{.timeline = {1}, .segment_number = 3}));
  EXPECT_EQ(result.conflicts[0].error.message(),
            "WAL segment \"" + segment_name(1, 3) + "\" is archived with another history");
  EXPECT_EQ(result.partials.size(), 1U);
  EXPECT_EQ(archive().partials({.timeline = {1}, .segment_number = 3}).size(), 1U);
  // One that has less of the same is none.
  Bytes same = fork.first.segment(2);
  std::fill(same.begin() + 700'000, same.end(), std::byte{0});
  behind.put(fork.first, 1, 2);
  behind.put(segment_name(1, 3), same, false);
  EXPECT_TRUE(salvage(behind).conflicts.empty());
}

// Behind WAL that it does not belong to it would be found by a recovery.
TEST_F(WalSalvage, TakesNothingOfATimelineBehindThePlaceWhereTheArchiveGoesOnOtherwise) {
  Fork fork;
  Server winner("alpha");
  winner.put(fork.first, 1, 3);
  push_all(winner, 1, 1, 3);
  Server loser("beta");
  crash(loser, fork.second, fork.switch_lsn);
  loser.put(fork.second, 3, 5);
  const std::vector<std::string> before = archived();
  const SalvageResult result = salvage(loser);
  EXPECT_EQ(archived(), before);
  Names refused;
  for (const SalvageResult::Refused& one : result.refused) refused.push_back(one.file);
  EXPECT_EQ(refused, (Names{segment_name(1, 3), segment_name(1, 4), segment_name(1, 5)}));
  ASSERT_EQ(result.conflicts.size(), 1U);
  EXPECT_EQ(result.conflicts[0].from, (pg::SegmentName{.timeline = {1}, .segment_number = 3}));
  EXPECT_NE(result.conflicts[0].error.detail().find("host \"alpha\""), std::string::npos);
  ASSERT_TRUE(result.reach);
  EXPECT_EQ(result.reach->end, pg::end_lsn(3, kSize));
}

// What lies in the old pg_wal may be the last copy, and is cleared when this returns.
TEST_F(WalSalvage, PutsAgainWhatTheArchiveDoesNotGiveBack) {
  Fork fork;
  Server server("alpha");
  crash(server, fork.first, fork.switch_lsn);
  const std::string whole = segment_name(1, 2);
  salvage(server);
  const std::string partial = archived().back();
  ASSERT_NE(partial.find(".partial."), std::string::npos);
  damage(object_of(whole), 400);
  damage("clusters/main/15-1/wal/00000001/" + partial.substr(0, 16) + "/" + partial, 400);
  const SalvageResult again = salvage(server);
  EXPECT_EQ(again.pushed, (Names{whole, partial.substr(0, partial.rfind('.'))}));
  EXPECT_TRUE(again.refused.empty());
  get(server, whole);
  EXPECT_EQ(placed(server), read_file(server.path(whole)));
  // Under another digest, for the name of the first is taken.
  EXPECT_EQ(archived().size(), 4U);
  EXPECT_TRUE(salvage(server).pushed.empty());
}

TEST_F(WalSalvage, OnPaperTellsTheSameAndArchivesNothing) {
  Fork fork;
  Server server("alpha");
  server.put(fork.first, 1, 3);
  server.put(fork.promoted, 3, 4);
  server.put("00000002.history", fork.history);
  push(server, segment_name(1, 1));
  const std::vector<std::string> before = archived();
  SalvageOptions options{.wal_directory = server.wal_directory(),
                         .cluster = "main",
                         .host = server.host(),
                         .dry_run = true};
  const SalvageResult paper = archive::salvage(options, repository_, reporter_, {}, clock_);
  EXPECT_EQ(archived(), before);
  options.dry_run = false;
  const SalvageResult done = archive::salvage(options, repository_, reporter_, {}, clock_);
  EXPECT_EQ(paper.pushed, done.pushed);
  EXPECT_EQ(paper.already_archived, done.already_archived);
  EXPECT_TRUE(paper.refused.empty());
  ASSERT_TRUE(paper.reach && done.reach);
  EXPECT_EQ(paper.reach->timeline, pg::TimelineId{2});
  EXPECT_EQ(paper.reach->end, done.reach->end);
  EXPECT_EQ(done.reach->end, pg::end_lsn(4, kSize));
  EXPECT_EQ(done.reach->missing_segments, 0U);
  EXPECT_TRUE(paper.dry_run && !done.dry_run);
}

TEST_F(WalSalvage, OnPaperRefusesWhatDoesNotJoinWhatItWouldArchive) {
  Fork fork;
  Server server("alpha");
  server.put(fork.first, 1, 3);
  server.put(segment_name(1, 4), fork.second.segment(3));
  const SalvageOptions options{
      .wal_directory = server.wal_directory(), .cluster = "main", .dry_run = true};
  const SalvageResult paper = archive::salvage(options, repository_, reporter_, {}, clock_);
  ASSERT_EQ(paper.refused.size(), 1U);
  EXPECT_EQ(paper.refused[0].file, segment_name(1, 4));
  EXPECT_TRUE(archived().empty());
}

TEST_F(WalSalvage, SaysHowFarTheArchiveReachesAndWhatIsMissingBeforeIt) {
  Fork fork;
  Server server("alpha");
  server.put(fork.first, 1, 4);
  push(server, segment_name(1, 1));
  remove_file(server.path(segment_name(1, 2)));
  const SalvageResult result = salvage(server);
  ASSERT_TRUE(result.reach);
  EXPECT_EQ(result.reach->end, pg::end_lsn(4, kSize));
  EXPECT_EQ(result.reach->missing_segments, 1U);
  EXPECT_TRUE(result.reach->last_commit);
}

TEST_F(WalSalvage, TakesADataDirectoryOrAPgWalAndRefusesAnythingElse) {
  Fork fork;
  Server server("alpha");
  server.put(fork.first, 1, 1);
  for (const std::string& named : {server.data_directory(), server.wal_directory()}) {
    const SalvageOptions options = salvage_options_for(named);
    EXPECT_EQ(options.wal_directory, server.wal_directory());
    EXPECT_EQ(options.data_directory, server.data_directory());
  }
  // One that was moved away tells by its files.
  TemporaryDirectory moved;
  rename_path(server.wal_directory(), join_path(moved.path(), "old"));
  EXPECT_EQ(salvage_options_for(join_path(moved.path(), "old")).data_directory, "");
  for (const std::string& none : {moved.path(), server.data_directory(), std::string("/nowhere")}) {
    const Error error = test::error_of([&] { salvage_options_for(none); });
    EXPECT_EQ(error.code(), ErrorCode::kNotFound) << none;
    EXPECT_FALSE(error.hint().empty());
  }
}

// What is archived of a timeline says that its id is taken; without its history no recovery could
// be promoted any more.
TEST_F(WalSalvage, TakesNothingOfATimelineWhoseHistoryNobodyHas) {
  Fork fork;
  Server server("alpha");
  server.put(fork.first, 1, 2);
  const Names of_two = {segment_name(2, 2) + ".00000028.backup", segment_name(2, 3),
                        segment_name(2, 3) + ".partial"};
  server.put(of_two[0], "START WAL LOCATION: 0/200028\n");
  server.put(of_two[1], fork.promoted.segment(2));
  server.put(of_two[2], fork.promoted.segment(2));
  SalvageResult result = salvage(server);
  EXPECT_EQ(result.pushed, (Names{segment_name(1, 1), segment_name(1, 2)}));
  ASSERT_EQ(result.refused.size(), 3U);
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(result.refused[i].file, of_two[i]);
  EXPECT_EQ(get(server, "00000002.history").outcome, GetOutcome::kAbsent);

  server.put("00000002.history", fork.history);
  result = salvage(server);
  EXPECT_EQ(result.pushed.size(), 4U);
  EXPECT_TRUE(result.refused.empty());
}

// As a server leaves them after a recovery to a target: files of the timeline that was left, under
// names of the new one; the number may be the same.
TEST_F(WalSalvage, WhatWasRecycledAfterARecoveryIsNoWalOfTheNewTimeline) {
  Fork fork;
  Server server("alpha");
  server.put("00000002.history", fork.history);
  server.put(fork.promoted, 3, 3);
  server.put(segment_name(2, 4), fork.first.segment(3), false);
  server.put(segment_name(2, 5), fork.first.segment(5), false);
  SalvageResult result = salvage(server);
  EXPECT_EQ(result.pushed, (Names{"00000002.history", segment_name(2, 3)}));
  EXPECT_EQ(result.unused, 2U);
  EXPECT_TRUE(result.refused.empty());
  // Where it even waits for the archiver it is no WAL of timeline 2 all the same, and is told.
  server.put(segment_name(2, 4), fork.first.segment(3), true);
  result = salvage(server);
  ASSERT_EQ(result.refused.size(), 1U);
  EXPECT_EQ(result.refused[0].file, segment_name(2, 4));
  // And the server's own comes to that name.
  server.put(fork.promoted, 4, 4);
  EXPECT_FALSE(push(server, segment_name(2, 4)).was_there);
}

// Unused is only what is zeros throughout, or old WAL for reuse; all else may be the last copy.
TEST_F(WalSalvage, WhatIsNotUnderstoodIsRefusedAndNamed) {
  Fork fork;
  Server server("alpha");
  server.put(fork.first, 1, 2);
  Bytes damaged = fork.first.segment(2);
  std::fill_n(damaged.begin(), 4096, std::byte{0});
  server.put(segment_name(1, 3), damaged);
  Bytes text = to_bytes(std::string(kSize.bytes(), 'x'));
  server.put(segment_name(1, 4), text, false);
  server.put(segment_name(1, 5), Bytes(kSize.bytes()), false);
  server.put(segment_name(1, 6), Bytes(kSize.bytes()), true);
  const SalvageResult result = salvage(server);
  Names refused;
  for (const SalvageResult::Refused& one : result.refused) refused.push_back(one.file);
  EXPECT_EQ(refused, (Names{segment_name(1, 3), segment_name(1, 4), segment_name(1, 6)}));
  EXPECT_EQ(result.unused, 1U);
}

TEST_F(WalSalvage, AFileThatWasCutIsKeptAsFarAsItGoes) {
  Fork fork;
  Server server("alpha");
  Bytes cut = fork.first.segment(0);
  cut.resize(500'000);
  server.put(segment_name(1, 1), cut);
  EXPECT_EQ(salvage(server).pushed, Names{segment_name(1, 1) + ".partial"});
}

TEST_F(WalSalvage, AFailingStoreEndsItWithAnError) {
  Fork fork;
  Server server("alpha");
  crash(server, fork.first, fork.switch_lsn);
  for (uint64_t nth = 1;; ++nth) {
    test::FaultStore faulty(store_, nth);
    bool failed = false;
    try {
      repo::Repository repository = repo::Repository::open(faulty, {});
      archive::salvage({.wal_directory = server.wal_directory(), .cluster = "main"}, repository,
                       reporter_, {}, clock_);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kStoreUnavailable);
      failed = true;
    }
    if (!faulty.fired()) break;
    // A commit whose failure turned out to be a success is none.
    EXPECT_TRUE(failed || archived().size() == 3U) << nth;
  }
  EXPECT_EQ(archived().size(), 3U);
}

// A bad sector, or a file of another owner's, among those of a dying disk.
TEST_F(WalSalvage, WhatTheDiskDoesNotGiveKeepsNoOtherFileFromBeingSaved) {
  Fork fork;
  Server server("alpha");
  crash(server, fork.first, fork.switch_lsn);
  push(server, segment_name(1, 1));
  const std::string path = server.path(segment_name(1, 1));
  remove_file(path);
  ASSERT_EQ(symlink(path.c_str(), path.c_str()), 0);  // who opens it fails
  const SalvageResult result = salvage(server);
  EXPECT_EQ(result.pushed, (Names{segment_name(1, 2), segment_name(1, 3) + ".partial"}));
  ASSERT_EQ(result.refused.size(), 1U);
  EXPECT_EQ(result.refused[0].file, segment_name(1, 1));
  const std::vector<cluster::WalDirectoryFile> listed =
      cluster::list_wal_directory(server.wal_directory(), kSize);
  EXPECT_EQ(listed.front().name, segment_name(1, 1));
  EXPECT_FALSE(listed.front().is_unused(kSize, {})) << "it is not for reuse";
}

TEST_F(WalSalvage, ADamagedControlFileDoesNotKeepItFromSaving) {
  Fork fork;
  Server server("alpha");
  crash(server, fork.first, fork.switch_lsn);
  Server::write(server.data_directory() + "/global/pg_control", Bytes(8192, std::byte{0xFF}));
  EXPECT_EQ(salvage(server).pushed.size(), 3U);
}

TEST_F(WalSalvage, ADirectoryOfAnotherSystemIsRefusedWhole) {
  Server other("gamma", 42);
  Error error = test::error_of([&] { salvage(other); });
  EXPECT_EQ(error.code(), ErrorCode::kWrongCluster);
  remove_tree(other.data_directory() + "/global");
  error = test::error_of([&] { salvage(other); });
  EXPECT_EQ(error.code(), ErrorCode::kNotFound);
  EXPECT_NE(error.message().find("could not find out to which cluster"), std::string::npos);
}

}  // namespace
}  // namespace holdfast::archive
