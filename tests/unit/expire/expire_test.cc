#include "expire/expire.h"

#include <memory>

#include <gtest/gtest.h>

#include "expire/delete.h"
#include "expire/living.h"
#include "repo/marks.h"
#include "repo/needed_wal.h"
#include "support/closed_store.h"
#include "support/deletion_world.h"
#include "support/error_of.h"
#include "support/fault_store.h"

namespace holdfast::expire {
namespace {

using namespace std::chrono_literals;
using test::error_of;

class Expire : public testing::Test, protected test::DeletionWorld {
 protected:
  ExpiredLineage run(bool dry_run = false) {
    return expire({.grace = kGrace, .dry_run = dry_run}, target.repository, target.store,
                  silent_reporter(), {})
        .lineages.at(0);
  }
  void pass(Microseconds time) { target.clock.advance(time); }
  std::string pack_object(uint8_t number) { return repo::pack_name(lineage(), pack(number)); }
  // The names of its marks that say so.
  std::vector<std::string> marks_of(const std::string& id, const std::string& what) {
    std::vector<std::string> names;
    for (const store::ListEntry& mark :
         target.store.list({.prefix = repo::marks_folder(lineage(), id)}).entries)
      if (target.repository.read_document("mark", mark.name)->at("what").as_string() == what)
        names.push_back(mark.name);
    return names;
  }
};

TEST_F(Expire, RemovesWhatADeletedBackupAloneUsedAfterTwoGracePeriods) {
  const std::string kept = put_backup({pack(1), pack(2)});
  pass(1h);
  const std::string gone = put_backup({pack(2), pack(3)});
  repo::put_mark(target.repository, lineage(), gone, repo::MarkKind::kVerified, "");
  pass(1h);
  remove_commit(gone);

  EXPECT_EQ(run().doomed.objects, 0u) << "younger than the grace period";
  pass(kGrace);
  const ExpiredLineage listed = run();
  EXPECT_EQ(listed.backups, 1u);
  EXPECT_EQ(listed.doomed.objects, 5u);  // pack 3, manifest, copy, refs, mark
  EXPECT_EQ(listed.next_due, target.clock.now() + kGrace);
  EXPECT_TRUE(has(pack_object(3)));

  pass(kGrace - 1s);
  EXPECT_EQ(run().waiting, 5u);
  EXPECT_TRUE(has(pack_object(3)));
  pass(1s);
  const ExpiredLineage removed = run();
  EXPECT_EQ(removed.removed.objects, 5u);
  EXPECT_GT(removed.removed.bytes, 0u);
  EXPECT_FALSE(has(pack_object(3)));
  EXPECT_FALSE(has(repo::refs_name(lineage(), gone)));
  EXPECT_FALSE(has(repo::manifest_name(lineage(), gone)));
  EXPECT_FALSE(has(repo::manifest_copy_name(lineage(), gone)));
  for (uint8_t number = 1; number <= 2; ++number) EXPECT_TRUE(has(pack_object(number)));
  EXPECT_TRUE(has(repo::refs_name(lineage(), kept)));

  // The list and its mark stay one more grace period.
  EXPECT_EQ(repo::list_doomed(target.repository, lineage()).size(), 1u);
  pass(kGrace - 1s);
  run();
  EXPECT_EQ(repo::list_doomed(target.repository, lineage()).size(), 1u);
  pass(1s);
  run();
  EXPECT_TRUE(repo::list_doomed(target.repository, lineage()).empty());
}

// What nothing needs goes, of every kind that the table says can go; what is needed stays.
TEST_F(Expire, SweepsGarbageOfEveryKindAndNothingThatIsNeeded) {
  const EveryKind all = put_every_kind();
  for (const repo::KindOfObject& kind : repo::object_kinds()) {
    if (kind.removal != repo::Removal::kExpiry) continue;
    EXPECT_TRUE(all.garbage.contains(kind.kind)) << "no garbage that is a " << kind.noun;
    // Redirects that are needed hold off all removal of packs (below); no end of an intent is.
    if (kind.kind != repo::ObjectKind::kRedirect && kind.kind != repo::ObjectKind::kIntentEnd &&
        kind.kind != repo::ObjectKind::kFurtherIntentEnd) {
      EXPECT_TRUE(all.needed.contains(kind.kind)) << "none that is needed: " << kind.noun;
    }
  }
  for (const auto& [kind, name] : all.garbage)
    EXPECT_EQ(repo::kind_of_object(name)->kind, kind) << name;
  const std::vector<std::string> names = test::object_names(target.store);
  std::set<std::string> expected(names.begin(), names.end());
  for (const auto& [kind, name] : all.garbage) expected.erase(name);
  for (const auto& [kind, name] : all.needed) EXPECT_TRUE(expected.contains(name)) << name;
  for (const std::string& name : commit_names(all.deleted)) expected.erase(name);

  remove_commit(all.deleted);
  pass(kGrace);
  EXPECT_EQ(run().doomed.objects, all.garbage.size());
  for (const auto& [kind, name] : all.garbage) EXPECT_TRUE(has(name)) << name;
  for (int i = 0; i < 2; ++i) {
    pass(kGrace);
    run();
  }
  const std::vector<std::string> left = test::object_names(target.store);
  EXPECT_EQ(std::set<std::string>(left.begin(), left.end()), expected);
}

// A server of any timeline looks from its own on for one that nobody has used.
TEST_F(Expire, KeepsHistoriesUntilNothingIsLeftOfTheirTimelineAndOfOlderOnes) {
  put_backup({pack(1)}, 9, 4);
  for (const uint32_t timeline : {2, 3, 4})
    put_history(timeline, {{{1}, pg::start_lsn(timeline, segment_size()), "test"}});
  put_segment(2, 3);
  auto histories = [&] {
    std::vector<pg::TimelineId> left =
        repo::WalArchive(target.repository, target.lineage).history_timelines();
    return left.size();
  };
  pass(kGrace);
  run();
  pass(kGrace);
  run();  // the segment goes
  EXPECT_FALSE(has(wal_name(2, 3)));
  EXPECT_EQ(histories(), 3u);
  // A backup under way may be of any timeline.
  repo::HeldIntent intent(
      target.repository, lineage(),
      {.what = "backup", .backup = new_id(), .objects_from = target.clock.now() + 1000h},
      target.clock);
  for (int i = 0; i < 6; ++i) {
    pass(kGrace / 3);
    intent.check();
    run();
  }
  EXPECT_EQ(histories(), 3u);
  intent.end();
  run();
  pass(kGrace);
  run();
  EXPECT_EQ(histories(), 1u);
}

// On timeline 3, which was forked off 2, off 1: what holds at the start of the backup's WAL was
// written down on 1 last.
TEST_F(Expire, KeepsTheSnapshotThatHoldsWhereTheLivingWalBegins) {
  put_backup({pack(1)}, 9, 3);
  put_history(2, {{{1}, pg::start_lsn(6, segment_size()), "test"}});
  put_history(3, {{{1}, pg::start_lsn(6, segment_size()), "test"},
                  {{2}, pg::start_lsn(8, segment_size()), "test"}});
  auto at = [&](uint32_t timeline, uint64_t segment) {
    return put_snapshot(timeline, pg::start_lsn(segment, segment_size()));
  };
  const std::string before = at(1, 4), in_force = at(1, 5), behind_the_fork = at(1, 7),
                    living = at(3, 10);
  for (int i = 0; i < 3; ++i) {
    pass(kGrace);
    run();
  }
  EXPECT_FALSE(has(before));
  EXPECT_TRUE(has(in_force));
  EXPECT_FALSE(has(behind_the_fork));
  EXPECT_TRUE(has(living));
}

TEST_F(Expire, ChangesNothingInADryRun) {
  const std::string gone = put_backup({pack(3)});
  put_backup({pack(1)});
  remove_commit(gone);
  pass(kGrace);
  const std::vector<std::string> before = test::object_names(target.store);
  EXPECT_EQ(run(true).doomed.objects, 4u);
  EXPECT_EQ(test::object_names(target.store), before);
  run();
  pass(kGrace);
  const std::vector<std::string> listed = test::object_names(target.store);
  const ExpiredLineage due = run(true);
  EXPECT_EQ(due.removed.objects, 4u);
  EXPECT_EQ(due.doomed.objects, 0u);
  EXPECT_EQ(test::object_names(target.store), listed);
}

TEST_F(Expire, SparesWhatLivesAgain) {
  const std::string gone = put_backup({pack(3)});
  put_backup({pack(1)});
  const Bytes commit = test::object_bytes(target.store, repo::backup_name(lineage(), gone));
  remove_commit(gone);
  pass(kGrace);
  EXPECT_EQ(run().doomed.objects, 4u);
  target.store.create(repo::backup_name(lineage(), gone), commit);
  pass(kGrace);
  const ExpiredLineage result = run();
  EXPECT_EQ(result.spared, 4u);
  EXPECT_EQ(result.removed.objects, 0u);
  EXPECT_TRUE(has(pack_object(3)));
}

TEST_F(Expire, KeepsWhatAnIntentUsesAlthoughItsCommitIsGone) {
  const std::string used = put_backup({pack(3)}, 2);
  put_backup({pack(1)}, 9);
  put_segment(1, 2);
  put_segment(1, 1);
  repo::HeldIntent intent(target.repository, lineage(),
                          {.what = "restore",
                           .uses = {used},
                           .timeline = pg::TimelineId{1},
                           .wal_from = pg::start_lsn(2, segment_size())},
                          target.clock);
  remove_commit(used);
  for (int i = 0; i < 6; ++i) {
    pass(kGrace / 3);
    intent.check();
    run();
  }
  EXPECT_TRUE(has(pack_object(3)));
  EXPECT_TRUE(has(repo::manifest_name(lineage(), used)));
  EXPECT_TRUE(has(wal_name(1, 2)));
  EXPECT_FALSE(has(wal_name(1, 1)));
  intent.end();
  run();
  pass(kGrace);
  run();
  EXPECT_FALSE(has(pack_object(3)));
  EXPECT_FALSE(has(wal_name(1, 2)));
  // The notes themselves are swept.
  pass(kGrace);
  run();
  pass(kGrace);
  run();
  EXPECT_TRUE(target.store.list({.prefix = repo::intents_folder(lineage())}).entries.empty());
}

TEST_F(Expire, KeepsWhatARunningBackupWritesAndSweepsWhatACrashedOneLeft) {
  put_backup({pack(1)});
  pass(3 * kGrace);
  const Time began = target.clock.now();
  const std::string id = new_id();
  repo::put_intent(target.repository, lineage(),
                   {.id = {},
                    .what = "backup",
                    .backup = id,
                    .uses = {},
                    .objects_from = began,
                    .timeline = {},
                    .wal_from = {},
                    .host = "db1",
                    .pid = 77,
                    .started = began,
                    .valid_until = began + 24h});
  put_pack(pack(5));
  pass(24h + kGrace);
  run();
  pass(kGrace);
  EXPECT_TRUE(has(pack_object(5)));
  run();
  EXPECT_TRUE(has(pack_object(5))) << "the intent and a grace period, then two more";
  pass(kGrace);
  run();
  EXPECT_FALSE(has(pack_object(5)));
  EXPECT_TRUE(target.store.list({.prefix = repo::intents_folder(lineage())}).entries.empty());
}

TEST_F(Expire, KeepsWalFromTheOldestStartOnByTimeline) {
  // Timeline 2 leaves 1 at the end of segment 6, 3 leaves 1 within segment 3, before any backup.
  const std::string kept = put_backup({pack(1)}, 5);
  for (uint64_t segment = 2; segment <= 9; ++segment) put_segment(1, segment);
  const std::string h2 = put_history(2, {{{1}, pg::end_lsn(6, segment_size()), "test"}});
  const std::string h3 = put_history(3, {{{1}, pg::start_lsn(3, segment_size()) + 100, "test"}});
  for (uint64_t segment = 7; segment <= 8; ++segment) put_segment(2, segment);
  for (uint64_t segment = 3; segment <= 4; ++segment) put_segment(3, segment);
  put_segment(4, 3);  // its history is not archived
  pass(kGrace);
  run();
  pass(kGrace);
  EXPECT_EQ(run().removed.objects, 5u);  // 2 to 4 of timeline 1, both of timeline 3
  for (uint64_t segment = 2; segment <= 9; ++segment)
    EXPECT_EQ(has(wal_name(1, segment)), segment >= 5) << segment;
  for (uint64_t segment = 7; segment <= 8; ++segment) EXPECT_TRUE(has(wal_name(2, segment)));
  for (uint64_t segment = 3; segment <= 4; ++segment) EXPECT_FALSE(has(wal_name(3, segment)));
  EXPECT_TRUE(has(wal_name(4, 3)));
  EXPECT_TRUE(has(h2));
  EXPECT_TRUE(has(h3));
}

// Whatever stands of a timeline is decided alike, also where its further contents are all that
// does.
TEST_F(Expire, RemovesFurtherContentsOfATimelineOfWhichNothingElseIsLeft) {
  put_history(2, {{{1}, pg::start_lsn(6, segment_size()), "test"}});
  put_backup({pack(1)}, 9, 2);
  const auto put_further = [&](uint32_t timeline, uint64_t segment) {
    std::string name =
        repo::amended_content_name(lineage(),
                                   {.kind = pg::WalFileKind::kSegment,
                                    .segment = {.timeline = {timeline}, .segment_number = segment}},
                                   segment_size(), 1);
    target.store.create(name, as_bytes("segment"));
    return name;
  };
  const std::string unneeded = put_further(1, 3), needed = put_further(2, 9);
  pass(kGrace);
  run();
  pass(kGrace);
  run();
  EXPECT_FALSE(has(unneeded));
  EXPECT_TRUE(has(needed));
}

TEST_F(Expire, KeepsAllWalWhereNothingTellsFromWhereItIsNeeded) {
  const std::string gone = put_backup({pack(1)}, 5);
  put_segment(1, 2);
  remove_commit(gone);
  for (int i = 0; i < 4; ++i) {
    pass(kGrace);
    run();
  }
  EXPECT_FALSE(has(pack_object(1)));
  EXPECT_TRUE(has(wal_name(1, 2)));
}

TEST_F(Expire, RemovesNothingWhileItCannotTellWhatABackupUses) {
  const std::string kept = put_backup({pack(1)});
  const std::string gone = put_backup({pack(3)});
  remove_commit(gone);
  const std::string refs = repo::refs_name(lineage(), kept);
  pass(kGrace);
  run();
  pass(kGrace);
  for (const std::vector<std::string>& damaged : {std::vector{refs}, commit_names(kept)}) {
    for (const std::string& name : damaged) flip_a_bit(name);
    const std::vector<std::string> before = test::object_names(target.store);
    const Error error = error_of([&] { run(); });
    EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
    EXPECT_EQ(error.message(), "cannot tell what backup \"" + kept + "\" uses");
    EXPECT_NE(error.hint().find("holdfast backup delete " + kept), std::string::npos);
    EXPECT_EQ(test::object_names(target.store), before);
    for (const std::string& name : damaged) flip_a_bit(name);
  }
  target.store.remove(refs);
  EXPECT_EQ(error_of([&] { run(); }).detail(), "damaged object \"" + refs + "\". It is missing.");
}

// What it uses is told by its manifest and file maps then: nothing of it goes, and all else does.
TEST_F(Expire, GoesOnWhereAListOfReferencesIsLostOrDamaged) {
  std::vector<test::SampleFile> files = test::sample_files(1);
  Bytes large(size_t{33} << 20);  // three leaves, and a root
  for (const size_t at : {size_t{0}, size_t{16} << 20, large.size() - 8192})
    std::ranges::copy(test::page_like_bytes(8192, at), large.begin() + static_cast<ptrdiff_t>(at));
  files.insert(files.begin() + 3, {.path = "base/5/1000", .content = std::move(large)});
  std::vector<std::string> kept;
  for (int i = 0; i < 2; ++i) {
    kept.push_back(new_id());
    make_backup(target.repository, target.lineage, kept.back(), files, target.clock);
    target.clock.advance(1min);
  }
  std::set<std::string> used;
  for (const std::string& id : kept) {
    const auto refs = repo::read_refs(target.repository, lineage(), id);
    for (const repo::PackRefs& pack : refs.value())
      used.insert(repo::pack_name(lineage(), pack.pack));
  }
  remove_commit(put_backup({pack(3)}));
  flip_a_bit(repo::refs_name(lineage(), kept[0]));
  target.store.remove(repo::refs_name(lineage(), kept[1]));
  for (int i = 0; i < 2; ++i) {
    pass(kGrace);
    run();
  }
  EXPECT_FALSE(has(pack_object(3)));
  for (const std::string& name : used) EXPECT_TRUE(has(name)) << name;
}

// A backup of which one commit object was lost, or rots, loses nothing else by that.
TEST_F(Expire, RemovesNothingOfABackupOneOfWhoseTwoCommitsIsLostOrDamaged) {
  const std::string id = put_backup({pack(1)}, 4);
  put_segment(1, 4);
  const std::vector<std::string> whole = test::object_names(target.store);
  for (const std::string& name : commit_names(id))
    for (const bool is_lost : {false, true}) {
      const Bytes bytes = test::object_bytes(target.store, name);
      if (is_lost)
        target.store.remove(name);
      else
        flip_a_bit(name);
      for (int i = 0; i < 4; ++i) {
        pass(kGrace);
        const ExpiredLineage result = run();
        EXPECT_EQ(result.backups, 1u) << name;
        EXPECT_EQ(result.doomed.objects + result.removed.objects, 0u) << name;
      }
      target.store.remove(name);
      target.store.create(name, bytes);
    }
  EXPECT_EQ(test::object_names(target.store), whole);
}

// Named one by one, each would be given up for the other, and nothing gained.
TEST_F(Expire, NamesEveryBackupThatStandsInTheWayAndGoesOnWithoutThem) {
  std::vector<std::string> damaged;
  for (const uint8_t number : {uint8_t{1}, uint8_t{2}}) {
    damaged.push_back(put_backup({pack(number)}));
    target.store.edit(repo::refs_name(lineage(), damaged.back()),
                      [](Bytes& bytes) { bytes.clear(); });
    pass(std::chrono::minutes(1));
  }
  put_backup({pack(3)});
  const Error error = error_of([&] { run(); });
  EXPECT_EQ(error.message(), "cannot tell what 2 backups use");
  EXPECT_NE(
      error.hint().find(fmt::format("\"holdfast backup delete {} {}\"", damaged[0], damaged[1])),
      std::string::npos)
      << error.hint();
  for (const std::string& id : damaged)
    repo::put_mark(target.repository, lineage(), id, repo::MarkKind::kDeleted, "");
  EXPECT_EQ(error_of([&] { run(); }).hint(),
            "Nothing was removed. Expire goes on when the grace period of their deletion is over.");
  pass(kGrace);
  run();
  for (const std::string& id : damaged)
    EXPECT_FALSE(repo::has_commit(target.repository, lineage(), id));
}

// What may not be read protects all that it could name, and before anything goes everything is
// read.
TEST_F(Expire, RemovesNothingWhileThereIsAnythingThatItMayNotRead) {
  const std::string kept = put_backup({pack(1)});
  for (uint8_t number = 3; number <= 4; ++number) {
    const std::string gone = put_backup({pack(number)});
    pass(kGrace);
    remove_commit(gone);
    run();  // a list of its own
    pass(1s);
  }
  pass(2 * kGrace);
  const std::vector<repo::DoomedList> lists = repo::list_doomed(target.repository, lineage());
  ASSERT_EQ(lists.size(), 2u);
  const std::vector<std::string> before = test::object_names(target.store);
  for (const std::string& closed :
       {repo::backup_name(lineage(), kept), repo::refs_name(lineage(), kept),
        repo::doomed_name(lineage(), lists.back().id), repo::lineage_document_name(lineage()),
        repo::lineage_folder(lineage()) + "intents/", repo::lineage_folder(lineage()) + "wal/",
        repo::lineage_folder(lineage()) + "doomed/",
        repo::lineage_folder(lineage()) + "backups/"}) {
    SCOPED_TRACE(closed);
    test::ClosedStore store(target.store);
    store.close(closed);
    if (closed == repo::lineage_document_name(lineage()))
      store.close(repo::lineage_copy_name(lineage()));
    if (closed == repo::backup_name(lineage(), kept))
      store.close(repo::backup_copy_name(lineage(), kept));
    const repo::Repository repository =
        repo::Repository::open(store, target.key, std::nullopt, target.random);
    const Error error = error_of(
        [&] { expire({.grace = kGrace}, repository, target.store, silent_reporter(), {}); });
    EXPECT_EQ(error.code(), ErrorCode::kPermission);
    EXPECT_NE(error.hint().find("Give it back."), std::string::npos) << error.hint();
    EXPECT_EQ(test::object_names(target.store), before);
  }
  EXPECT_GT(run().removed.objects, 0u);
}

// Neither is carried out, and neither holds up what comes after it.
TEST_F(Expire, GivesUpAListThatIsDamagedOrNamesWhatIsNeverRemoved) {
  put_backup({pack(1)});
  const std::string garbage = put_pack(pack(7));
  pass(kGrace);
  run();
  const std::vector<repo::DoomedList> damaged = repo::list_doomed(target.repository, lineage());
  ASSERT_EQ(damaged.size(), 1u);
  flip_a_bit(repo::doomed_name(lineage(), damaged.front().id));
  for (const std::string& name :
       {std::string("repo.json"), std::string("repo.copy.json"),
        repo::lineage_document_name(lineage()), repo::lineage_copy_name(lineage()),
        repo::doomed_name(lineage(), pack(1)), std::string("keys/x.json"),
        std::string("clusters/other/15-1/packs/00/00000000000000000000000000000000")})
    repo::put_doomed_list(target.repository, lineage(), {pack_object(1), name}, target.clock.now());
  pass(kGrace);
  const std::vector<std::string> before = test::object_names(target.store);
  run(true);
  EXPECT_EQ(test::object_names(target.store), before);
  EXPECT_EQ(run().doomed.objects, 1u) << "it is listed anew";
  for (const std::string& name : before) EXPECT_TRUE(has(name)) << name;
  pass(kGrace);
  EXPECT_EQ(run().removed.objects, 1u);
  EXPECT_FALSE(has(garbage));
  EXPECT_TRUE(has("repo.json"));
  pass(kGrace);
  run();
  EXPECT_TRUE(repo::list_doomed(target.repository, lineage()).empty());
}

TEST_F(Expire, LeavesPacksAloneThatALaterVersionHasCompacted) {
  const std::string gone = put_backup({pack(3)});
  put_backup({pack(1)});
  remove_commit(gone);
  const std::string redirect = put_redirect(pack(1));
  pass(kGrace);
  EXPECT_TRUE(run().has_redirects);
  pass(kGrace);
  EXPECT_EQ(run().removed.objects, 3u);
  EXPECT_TRUE(has(pack_object(3)));
  EXPECT_TRUE(has(redirect));
}

// A backup that slept past its intent, and commits while what it wrote is being removed.
TEST_F(Expire, MarksABackupThatCameToBeWhileItsObjectsWereRemoved) {
  put_backup({pack(1)});
  const std::string late = new_id();
  put_pack(pack(4));
  put_contents(late, {{.pack = pack(4), .extents = 1, .runs = {}}});
  pass(kGrace);
  EXPECT_EQ(run().doomed.objects, 4u);
  pass(kGrace);

  class CommitsAtFirstRemoval : public store::Remover {
   public:
    std::function<void()> commit;
    store::Remover* below = nullptr;
    bool remove(const std::string& name) override {
      if (commit) std::exchange(commit, nullptr)();
      return below->remove(name);
    }
  } remover;
  remover.below = &target.store;
  remover.commit = [&] { put_commit(late, 1, 4); };
  // Its references are the first to go here, so only their absence tells.
  const ExpireResult result =
      expire({.grace = kGrace}, target.repository, remover, silent_reporter(), {});
  EXPECT_EQ(result.lineages.at(0).damaged_backups, std::vector<std::string>{late});
  EXPECT_TRUE(repo::read_marks(target.repository, lineage(), late).damaged);
}

// Calls `then` before each removal.
class OnEachRemoval : public store::Remover {
 public:
  OnEachRemoval(store::Remover& below, std::function<void()> then)
      : below_(below), then_(std::move(then)) {}
  bool remove(const std::string& name) override {
    then_();
    return below_.remove(name);
  }

 private:
  store::Remover& below_;
  std::function<void()> then_;
};

// Calls `then` once, before the first.
class AtFirstRemoval : public OnEachRemoval {
 public:
  AtFirstRemoval(store::Remover& below, std::function<void()> then)
      : OnEachRemoval(below, [then = std::move(then), is_first = true]() mutable {
          if (std::exchange(is_first, false)) then();
        }) {}
};

// WAL that nothing needed was listed, and is needed by now: by an import, or a backup of a standby
// that is days behind.
TEST_F(Expire, NeverRemovesWalBehindTheBackOfWhoeverHasClaimedIt) {
  put_backup({pack(1)}, 9);
  for (uint64_t segment = 3; segment <= 9; ++segment) put_segment(1, segment);
  const repo::NeededWal needed{.timeline = {1},
                               .start_lsn = pg::start_lsn(4, segment_size()) + 0x28,
                               .end_lsn = pg::end_lsn(5, segment_size())};
  auto is_going = [&] {
    return repo::find_going_wal(target.repository, target.lineage, needed).has_value();
  };
  auto is_missing = [&] {
    return repo::find_missing_wal(target.repository, target.lineage, needed).has_value();
  };
  auto claim = [&] {
    return std::make_unique<repo::HeldIntent>(
        target.repository, lineage(),
        repo::Intent{.what = "import", .timeline = pg::TimelineId{1}, .wal_from = needed.start_lsn},
        target.clock);
  };
  pass(kGrace);
  run();
  pass(kGrace);
  // Claimed before a run: it sees the claim.
  auto held = claim();
  EXPECT_FALSE(is_going());
  EXPECT_FALSE(is_missing());
  EXPECT_EQ(run().spared, 5u);
  EXPECT_FALSE(is_missing());
  held.reset();
  run();
  pass(kGrace);
  // Claimed while a run is removing: the claimant sees the run, and waits.
  bool was_going = false, was_missing = true;
  AtFirstRemoval remover(target.store, [&] {
    held = claim();
    was_going = is_going();
    was_missing = is_missing();
  });
  expire({.grace = kGrace}, target.repository, remover, silent_reporter(), {});
  EXPECT_TRUE(was_going);
  EXPECT_FALSE(was_missing) << "all that looking for it would have shown";
  EXPECT_FALSE(is_going());
  EXPECT_TRUE(is_missing());
}

TEST_F(Expire, RefusesASecondRunBesideTheFirstAndLeavesNothingOfEither) {
  const std::string gone = put_backup({pack(3)});
  put_backup({pack(1)});
  remove_commit(gone);
  pass(kGrace);
  run();
  pass(kGrace);
  std::optional<Error> second;
  AtFirstRemoval remover(target.store, [&] { second = error_of([&] { run(); }); });
  expire({.grace = kGrace}, target.repository, remover, silent_reporter(), {});
  ASSERT_TRUE(second);
  EXPECT_EQ(second->code(), ErrorCode::kBusy);
  EXPECT_EQ(second->message(), "another expiry is at work");
  EXPECT_FALSE(has(pack_object(3)));
  EXPECT_TRUE(repo::running_expiries(target.repository, lineage()).empty());
}

// Stopped for longer than others wait for it, it must not go on with what it has seen.
TEST_F(Expire, EndsWhenItSleptPastItsOwnClaim) {
  const std::string gone = put_backup({pack(3)});
  put_backup({pack(1)});
  remove_commit(gone);
  pass(kGrace);
  run();
  pass(kGrace);
  AtFirstRemoval remover(target.store, [&] { pass(repo::kExpireIntentLife + 1s); });
  EXPECT_EQ(error_of([&] {
              expire({.grace = kGrace}, target.repository, remover, silent_reporter(), {});
            }).code(),
            ErrorCode::kConflict);
}

// Behind a claim that ran out: nobody is told in time, so whoever was committed is marked.
TEST_F(Expire, MarksABackupWhoseWalItHasRemoved) {
  put_backup({pack(1)}, 9);
  for (uint64_t segment = 3; segment <= 9; ++segment) put_segment(1, segment);
  pass(kGrace);
  run();
  pass(kGrace);
  const std::string late = new_id();
  AtFirstRemoval remover(target.store, [&] {
    put_pack(pack(4));
    put_contents(late, {{.pack = pack(4), .extents = 1, .runs = {}}});
    put_commit(late, 1, 5);
  });
  const ExpireResult result =
      expire({.grace = kGrace}, target.repository, remover, silent_reporter(), {});
  EXPECT_EQ(result.lineages.at(0).damaged_backups, std::vector<std::string>{late});
}

// The same as if its commit had gone at once, but for the way back.
TEST_F(Expire, RemovesADeletedBackupAGracePeriodAfterItsDeletion) {
  put_backup({pack(1), pack(2)});
  pass(1h);
  const std::string gone = put_backup({pack(2), pack(3)});
  pass(kGrace);
  repo::put_mark(target.repository, lineage(), gone, repo::MarkKind::kDeleted, "");
  const ExpiredLineage listed = run();
  EXPECT_EQ(listed.backups, 1u);
  EXPECT_EQ(listed.doomed.objects, 4u);  // pack 3, manifest, copy, refs
  EXPECT_TRUE(listed.taken_off.empty());
  pass(kGrace - 1s);
  run();
  EXPECT_TRUE(has(repo::backup_name(lineage(), gone)));
  EXPECT_TRUE(has(pack_object(3)));
  pass(1s);
  const ExpiredLineage removed = run();
  EXPECT_EQ(removed.taken_off, std::vector<std::string>{gone});
  EXPECT_FALSE(has(repo::backup_name(lineage(), gone)));
  EXPECT_FALSE(has(pack_object(3)));
  EXPECT_TRUE(has(pack_object(2)));
}

// Between the two it is deleted as before: the next run goes on, or the deletion is taken back.
TEST_F(Expire, TakesTheCopyOfADeletedCommitBeforeItAndGoesOnWhereItWasKilled) {
  struct KilledBehindOne : store::Remover {
    explicit KilledBehindOne(store::Remover& remover) : inner(remover) {}
    bool remove(const std::string& name) override {
      if (!removed.empty()) throw Error({.code = ErrorCode::kStoreUnavailable, .message = "away"});
      removed = name;
      return inner.remove(name);
    }
    store::Remover& inner;
    std::string removed = {};
  };
  put_segment(1, 4);
  put_backup({pack(1)});
  for (const bool is_taken_back : {false, true}) {
    const std::string id = put_backup({pack(2)});
    repo::put_mark(target.repository, lineage(), id, repo::MarkKind::kDeleted, "");
    pass(kGrace);
    KilledBehindOne killed(target.store);
    EXPECT_EQ(error_of([&] {
                expire({.grace = kGrace}, target.repository, killed, silent_reporter(), {});
              }).message(),
              "away");
    EXPECT_EQ(killed.removed, repo::backup_copy_name(lineage(), id));
    EXPECT_TRUE(has(repo::backup_name(lineage(), id)));
    EXPECT_FALSE(repo::read_backup(target.repository, lineage(), id));
    for (const repo::RunningExpiry& dead : repo::running_expiries(target.repository, lineage()))
      repo::put_intent_end(target.repository, lineage(), dead.id, target.clock.now());
    if (is_taken_back) {
      EXPECT_EQ(undelete("main", id, target.repository).id, id);
      for (const std::string& name : commit_names(id)) EXPECT_TRUE(has(name)) << name;
    } else {
      EXPECT_EQ(run().taken_off, std::vector<std::string>{id});
      for (const std::string& name : commit_names(id)) EXPECT_FALSE(has(name)) << name;
    }
  }
}

TEST_F(Expire, SparesABackupWhoseDeletionWasTakenBack) {
  put_backup({pack(1)}, 9);
  const std::string back = put_backup({pack(3)}, 4);
  put_segment(1, 5);
  pass(kGrace);
  repo::put_mark(target.repository, lineage(), back, repo::MarkKind::kDeleted, "");
  EXPECT_EQ(run().doomed.objects, 5u);
  pass(kGrace / 2);
  repo::put_mark(target.repository, lineage(), back, repo::MarkKind::kUndeleted, "");
  pass(kGrace / 2);
  EXPECT_EQ(run().spared, 5u);
  EXPECT_TRUE(has(pack_object(3)));
  EXPECT_TRUE(has(wal_name(1, 5)));
  EXPECT_TRUE(repo::read_backup(target.repository, lineage(), back));
}

TEST_F(Expire, LeavesADeletedBackupThatIsInUseOrMayHaveBeenTakenBack) {
  put_backup({pack(1)});
  const std::string used = put_backup({pack(3)});
  const std::string doubtful = put_backup({pack(4)});
  for (const std::string& id : {used, doubtful})
    repo::put_mark(target.repository, lineage(), id, repo::MarkKind::kDeleted, "");
  pass(1s);
  repo::put_mark(target.repository, lineage(), doubtful, repo::MarkKind::kUndeleted, "");
  repo::HeldIntent intent(target.repository, lineage(), {.what = "restore", .uses = {used}},
                          target.clock);
  for (const std::string& mark : marks_of(doubtful, "undeleted")) flip_a_bit(mark);
  for (int i = 0; i < 7; ++i) {
    pass(kGrace / 3);
    intent.check();
    EXPECT_TRUE(run().taken_off.empty());
  }
  for (const std::string& id : {used, doubtful}) {
    EXPECT_TRUE(has(repo::backup_name(lineage(), id)));
    EXPECT_TRUE(has(repo::refs_name(lineage(), id)));
  }
  // Said once more, it is meant.
  repo::put_mark(target.repository, lineage(), doubtful, repo::MarkKind::kDeleted, "");
  pass(kGrace);
  EXPECT_EQ(run().taken_off, std::vector<std::string>{doubtful});
}

class ExpireAtOnce : public Expire {
 protected:
  ExpiredLineage run_at_once(const repo::Repository& repository) {
    return expire({.grace = kGrace, .short_grace = 0s}, repository, target.store, silent_reporter(),
                  {})
        .lineages.at(0);
  }
  ExpiredLineage run_at_once() { return run_at_once(target.repository); }
};

TEST_F(ExpireAtOnce, FreesAllThatNothingUsesInOneRun) {
  put_backup({pack(1)}, 9);
  const std::string gone = put_backup({pack(3)}, 4);
  for (uint64_t segment = 3; segment <= 9; ++segment) put_segment(1, segment);
  pass(1min);
  repo::put_mark(target.repository, lineage(), gone, repo::MarkKind::kDeleted, "");
  const std::string young = put_pack(pack(7));
  const ExpiredLineage result = run_at_once();
  EXPECT_EQ(result.taken_off, std::vector<std::string>{gone});
  EXPECT_FALSE(has(pack_object(3)));
  for (uint64_t segment = 3; segment <= 9; ++segment)
    EXPECT_EQ(has(wal_name(1, segment)), segment >= 9) << segment;
  EXPECT_TRUE(has(pack_object(1)));
  EXPECT_TRUE(has(young)) << "it may have been made while the run was looking";
  pass(1min);
  run_at_once();
  EXPECT_FALSE(has(young));
}

// What a deleted backup uses goes when its commit has gone, and not before: the deletion may have
// been taken back by a mark that cannot be read, or the store's clock was ahead when it was put.
TEST_F(ExpireAtOnce, LeavesWholeWhatACommitThatStandsReaches) {
  put_backup({pack(1)}, 9);
  const std::string doubtful = put_backup({pack(3)}, 4);
  const std::string early = put_backup({pack(4)}, 4);
  put_segment(1, 5);
  pass(1min);
  repo::put_mark(target.repository, lineage(), doubtful, repo::MarkKind::kDeleted, "");
  repo::put_mark(target.repository, lineage(), doubtful, repo::MarkKind::kUndeleted, "");
  pass(30min);
  repo::put_mark(target.repository, lineage(), early, repo::MarkKind::kDeleted, "");
  pass(-15min);
  const std::vector<std::string> marks = marks_of(doubtful, "undeleted");
  for (const std::string& mark : marks) flip_a_bit(mark);

  const std::vector<std::string> before = test::object_names(target.store);
  for (int i = 0; i < 2; ++i) {
    const ExpiredLineage kept = run_at_once();
    EXPECT_EQ(kept.deleted.size(), 2u);
    EXPECT_EQ(kept.removed.objects, 0u);
    EXPECT_EQ(test::object_names(target.store), before);
  }
  for (const std::string& mark : marks) flip_a_bit(mark);
  pass(30min);
  EXPECT_EQ(run_at_once().taken_off, std::vector<std::string>{early});
  EXPECT_FALSE(has(pack_object(4)));
  EXPECT_TRUE(has(pack_object(3)));
  EXPECT_TRUE(has(wal_name(1, 5)));
  repo::put_mark(target.repository, lineage(), doubtful, repo::MarkKind::kDeleted, "");
  pass(1min);
  EXPECT_EQ(run_at_once().taken_off, std::vector<std::string>{doubtful});
  EXPECT_FALSE(has(pack_object(3)));
  EXPECT_FALSE(has(wal_name(1, 5)));
}

TEST_F(ExpireAtOnce, IsRefusedWhileAnybodyMayBeAtWork) {
  const std::string kept = put_backup({pack(1)});
  const std::string garbage = put_pack(pack(7));
  pass(1h);
  repo::Intent unknown{.what = "restore"};
  unknown.uses = {kept};
  unknown.host = "db9";
  unknown.started = target.clock.now();
  unknown.valid_until = target.clock.now() + 1h;
  const Bytes16 id = repo::put_intent(target.repository, lineage(), unknown);
  const Error error = error_of([&] { run_at_once(); });
  EXPECT_EQ(error.code(), ErrorCode::kBusy);
  EXPECT_NE(error.detail().find("A restore: process 0 on host \"db9\""), std::string::npos);
  EXPECT_NE(error.hint().find("holdfast claims --end"), std::string::npos);
  EXPECT_TRUE(has(garbage));
  repo::put_intent_end(target.repository, lineage(), id, target.clock.now());
  run_at_once();
  EXPECT_FALSE(has(garbage));
}

// Who claims WAL while the run is at it is either seen by its second look, or sees its list.
TEST_F(ExpireAtOnce, TakesNoWalFromWhoeverClaimsItMeanwhile) {
  put_backup({pack(1)}, 9);
  put_pack(pack(3));  // garbage: removed before the second look
  for (uint64_t segment = 3; segment <= 9; ++segment)
    if (segment != 6) put_segment(1, segment);
  const std::string further = repo::amended_content_name(
      lineage(),
      {.kind = pg::WalFileKind::kSegment, .segment = {.timeline = {1}, .segment_number = 6}},
      segment_size(), 1);
  target.store.create(further, as_bytes("segment"));
  pass(1h);
  std::unique_ptr<repo::HeldIntent> held;
  AtFirstRemoval remover(target.store, [&] {
    held = std::make_unique<repo::HeldIntent>(
        target.repository, lineage(),
        repo::Intent{.what = "import",
                     .timeline = pg::TimelineId{1},
                     .wal_from = pg::start_lsn(5, segment_size())},
        target.clock);
  });
  expire({.grace = kGrace, .short_grace = 0s}, target.repository, remover, silent_reporter(), {});
  for (uint64_t segment = 3; segment <= 9; ++segment)
    EXPECT_EQ(has(wal_name(1, segment)), segment >= 5 && segment != 6) << segment;
  EXPECT_TRUE(has(further));
}

// An end without its intent is nothing; an intent without its end would protect again.
TEST_F(ExpireAtOnce, RemovesNoEndBeforeItsIntentWhereverItIsKilled) {
  put_backup({pack(1)});
  const Bytes16 id =
      repo::put_intent(target.repository, lineage(),
                       {.what = "restore",
                        .host = "db9",
                        .started = target.clock.now(),
                        .valid_until = target.clock.now() + repo::kLongestIntentLife});
  repo::put_intent_end(target.repository, lineage(), id, target.clock.now());
  pass(1h);
  int allowed = 1;
  OnEachRemoval remover(target.store, [&] {
    if (allowed-- == 0) throw Error({.code = ErrorCode::kIo, .message = "killed"});
  });
  EXPECT_EQ(error_of([&] {
              expire({.grace = kGrace, .short_grace = 0s}, target.repository, remover,
                     silent_reporter(), {});
            }).message(),
            "killed");
  EXPECT_FALSE(has(repo::intent_name(lineage(), id)));
  EXPECT_TRUE(has(repo::intent_end_name(lineage(), id)));
}

// A repository without room for a single object more, until something is removed.
class FullStore : public test::FaultStore {
 public:
  FullStore(store::MemoryStore& below, size_t objects)
      : FaultStore(below, {.first = 1'000'000'000}), below_(below), objects_(objects) {}
  bool create(const std::string& name, ByteView bytes) override {
    if (test::object_names(below_).size() >= objects_)
      throw Error({.code = ErrorCode::kNoSpace, .message = "no room for " + name});
    return FaultStore::create(name, bytes);
  }

 private:
  store::MemoryStore& below_;
  size_t objects_;
};

TEST_F(ExpireAtOnce, WorksOnARepositoryThatHasNoRoomForAnObjectMore) {
  put_backup({pack(1)}, 9);
  put_pack(pack(3));
  put_pack(pack(4));
  put_segment(1, 3);
  pass(1h);
  FullStore full(target.store, test::object_names(target.store).size());
  const repo::Repository opened =
      repo::Repository::open(full, target.key, std::nullopt, target.random);
  run_at_once(opened);
  EXPECT_FALSE(has(pack_object(3)));
  EXPECT_FALSE(has(wal_name(1, 3)));
  EXPECT_TRUE(has(pack_object(1)));
}

TEST_F(Expire, CanBeStoppedAndGoesOnWithTheNextRun) {
  const std::string gone = put_backup({pack(3)});
  put_backup({pack(1)});
  remove_commit(gone);
  pass(kGrace);
  run();
  pass(kGrace);
  std::stop_source stop;
  stop.request_stop();
  EXPECT_EQ(error_of([&] {
              expire({.grace = kGrace}, target.repository, target.store, silent_reporter(),
                     stop.get_token());
            }).code(),
            ErrorCode::kInterrupted);
  EXPECT_EQ(run().removed.objects, 4u);
}

TEST_F(Expire, SaysWhichClusterIsNotThere) {
  EXPECT_EQ(error_of([&] {
              expire({.cluster = "other"}, target.repository, target.store, silent_reporter(), {});
            }).message(),
            "the repository has no cluster \"other\"");
}

}  // namespace
}  // namespace holdfast::expire
