#include "expire/delete.h"

#include <gtest/gtest.h>

#include "base/process.h"
#include "repo/intent.h"
#include "repo/marks.h"
#include "support/deletion_world.h"
#include "support/error_of.h"
#include "support/pieces_of.h"
#include "support/wal_builder.h"

namespace holdfast::expire {
namespace {

using namespace std::chrono_literals;
using test::error_of;

class DeleteBackup : public testing::Test, protected test::DeletionWorld {
 protected:
  Deletion plan(std::vector<std::string> ids, bool delete_last = false) {
    return plan_deletion({.ids = std::move(ids), .delete_last = delete_last}, target.repository);
  }
  Error plan_error(std::vector<std::string> ids) {
    return error_of([&] { plan(std::move(ids)); });
  }
  void remove(std::vector<std::string> ids, bool delete_last = false) {
    carry_out(plan(std::move(ids), delete_last), target.repository, target.store);
  }
  std::string backup(std::vector<Bytes16> packs, uint64_t segment = 4) {
    std::string id = put_backup(packs, segment);
    target.clock.advance(1h);
    return id;
  }
  std::vector<std::string> ids() { return repo::list_backup_ids(target.repository, lineage()); }
};

TEST_F(DeleteBackup, TellsWhatWouldGoAndChangesNothingBeforeItIsCarriedOut) {
  const std::string first = backup({pack(1), pack(2)}, 3);
  const std::string second = backup({pack(2)}, 6);
  for (uint64_t segment = 2; segment <= 7; ++segment) put_segment(1, segment);
  const std::vector<std::string> before = test::object_names(target.store);
  const Deletion deletion = plan({first});
  EXPECT_EQ(test::object_names(target.store), before);
  ASSERT_EQ(deletion.backups.size(), 1u);
  EXPECT_EQ(deletion.backups[0].id, first);
  EXPECT_EQ(deletion.freed_objects, 4u);       // pack 1, manifest, copy, refs
  EXPECT_EQ(deletion.freed_wal_segments, 3u);  // 3 to 5; 2 is needed by none as it is
  EXPECT_FALSE(deletion.leaves_no_good_backup);

  carry_out(deletion, target.repository, target.store);
  EXPECT_EQ(ids(), std::vector<std::string>{second});
  EXPECT_TRUE(has(repo::refs_name(lineage(), first)));
  EXPECT_TRUE(has(repo::backup_name(lineage(), first))) << "nothing goes at once";
  EXPECT_FALSE(repo::read_backup(target.repository, lineage(), first));
}

TEST_F(DeleteBackup, TakesSeveralByTheirBeginningsEachOnce) {
  const std::string first = backup({pack(1)});
  const std::string second = backup({pack(2)});
  const std::string third = backup({pack(3)});
  remove({first, first.substr(0, 20), second.substr(0, 16)});
  EXPECT_EQ(ids(), std::vector<std::string>{third});
  EXPECT_EQ(plan_error({"2026"}).message(),
            fmt::format("cluster \"main\" would be left without a good backup"));
  EXPECT_EQ(plan_error({"x"}).code(), ErrorCode::kNotFound);
  EXPECT_EQ(plan_error({""}).code(), ErrorCode::kNotFound);
}

TEST_F(DeleteBackup, RefusesTheBeginningOfSeveral) {
  backup({pack(1)});
  backup({pack(2)});
  EXPECT_EQ(plan_error({"2026"}).code(), ErrorCode::kUsage);
  EXPECT_EQ(plan({"latest"}).backups[0].id, ids().back());
}

TEST_F(DeleteBackup, RefusesTheLastGoodOneUnlessToldTo) {
  const std::string good = backup({pack(1)});
  const std::string marked = backup({pack(2)});
  repo::put_mark(target.repository, lineage(), marked, repo::MarkKind::kDamaged, "");
  const Error error = plan_error({good});
  EXPECT_EQ(error.code(), ErrorCode::kUsage);
  EXPECT_EQ(error.message(), "cluster \"main\" would be left without a good backup");
  EXPECT_NE(error.hint().find("--delete-last"), std::string::npos);
  remove({marked});  // a damaged one counts for nothing
  EXPECT_TRUE(plan({good}, true).leaves_no_good_backup);
  remove({good}, true);
  EXPECT_TRUE(ids().empty());
}

// A recovery to before a mistake has left the others behind.
TEST_F(DeleteBackup, RefusesTheLastOneThatLeadsToTheNewestTimeline) {
  const std::string before = backup({pack(1)}, 1);
  const std::string behind = backup({pack(2)}, 9);
  for (uint64_t segment : {1, 2, 9, 10}) put_segment(1, segment);
  put_history(2, {{.timeline = {1}, .switch_lsn = pg::start_lsn(5, segment_size()), .reason = {}}});
  put_segment(2, 5);
  const Error error = plan_error({before});
  EXPECT_EQ(error.code(), ErrorCode::kUsage);
  EXPECT_EQ(error.message(), "timeline 2 would be left without a good backup");
  EXPECT_FALSE(plan({before}, true).leaves_no_good_backup) << "one of timeline 1 is left";
  EXPECT_FALSE(plan({behind}).leaves_no_good_backup);
  put_backup({pack(3)}, 6, 2);
  put_segment(2, 6);
  EXPECT_FALSE(plan({before}).leaves_no_good_backup);
}

// A copy's timeline has the higher number, and a backup of its own; production goes on.
TEST_F(DeleteBackup, RefusesTheLastOneThatLeadsToATimelineThatIsArchivedStill) {
  const std::string before = backup({pack(1)}, 1);
  put_history(2, {{.timeline = {1}, .switch_lsn = pg::start_lsn(5, segment_size()), .reason = {}}});
  put_segment(2, 5);
  put_backup({pack(3)}, 6, 2);
  EXPECT_FALSE(plan({before}).leaves_no_good_backup);
  target.clock.advance(1h);
  test::WalBuilder wal(
      {.size = segment_size(), .system_identifier = target.lineage.system_identifier});
  wal.add_commit(700, 850'000'000'000'000);
  wal.add_switch();
  const pg::WalFileName file{.kind = pg::WalFileKind::kSegment, .segment = wal.name(0)};
  const Bytes content = wal.segment(0);
  repo::WalArchive(target.repository, target.lineage)
      .put_segment(
          file,
          test::describe_segment(content, file,
                                 {.host = "db1", .pgdata = "/data", .pushed = target.clock.now()}),
          test::pieces_of(content));
  EXPECT_EQ(plan_error({before}).message(), "timeline 1 would be left without a good backup");
}

// So quiet that nothing of it came since: the server is asked.
TEST_F(DeleteBackup, RefusesTheLastOneThatLeadsToTheTimelineOfTheServer) {
  const std::string before = backup({pack(1)}, 1);
  for (uint64_t segment : {1, 2, 3, 4}) put_segment(1, segment);
  put_history(2, {{.timeline = {1}, .switch_lsn = pg::start_lsn(5, segment_size()), .reason = {}}});
  for (uint64_t segment : {5, 6}) put_segment(2, segment);
  const std::string of_copy = put_backup({pack(3)}, 6, 2);
  const auto plan_of = [&](const std::string& id, uint64_t system, uint32_t timeline) {
    return plan_deletion({.ids = {id},
                          .ask_place = [=]() -> std::optional<ClusterPlace> {
                            return ClusterPlace{.system_identifier = system,
                                                .timeline = {timeline}};
                          }},
                         target.repository);
  };
  const uint64_t system = target.lineage.system_identifier;
  EXPECT_EQ(error_of([&] { plan_of(before, system, 1); }).message(),
            "timeline 1 would be left without a good backup");
  plan_of(before, system, 2);
  plan_of(before, system + 1, 1);
  plan_of(of_copy, system, 1);
  // Without an answer it is named.
  const Deletion deletion = plan({before});
  ASSERT_EQ(deletion.losses.size(), 1u);
  EXPECT_EQ(deletion.losses[0].timeline, pg::TimelineId{1});
}

// The other backups end before the gap: they lead nowhere behind it.
TEST_F(DeleteBackup, RefusesTheLastOneThatLeadsToWhatLiesBehindAGap) {
  const std::string before = backup({pack(1)}, 1);
  const std::string behind = backup({pack(2)}, 5);
  for (uint64_t segment : {1, 2, 4, 5, 6}) put_segment(1, segment);
  const Error error = plan_error({behind});
  EXPECT_EQ(error.code(), ErrorCode::kUsage);
  EXPECT_EQ(error.message(), "timeline 1 from " + pg::to_string(commit_of(behind, 1, 5).stop_lsn) +
                                 " on would be left without a good backup");
  EXPECT_EQ(plan({behind}, true).losses.size(), 1u);
  EXPECT_FALSE(plan({behind}, true).leaves_no_good_backup);
  // What the older one alone leads to is of the past, and is named.
  const Deletion of_old = plan({before});
  ASSERT_EQ(of_old.losses.size(), 1u);
  EXPECT_EQ(of_old.losses[0].from, commit_of(before, 1, 1).stop_lsn);
  const std::string another = backup({pack(3)}, 6);
  EXPECT_TRUE(plan({behind}).losses.empty());
}

TEST_F(DeleteBackup, RefusesAPinnedOne) {
  const std::string first = backup({pack(1)});
  backup({pack(2)});
  pin({.id = first}, true, target.repository);
  target.clock.advance(1h);
  const Error error = plan_error({first});
  EXPECT_EQ(error.code(), ErrorCode::kUsage);
  EXPECT_EQ(error.message(), "backup \"" + first + "\" is pinned");
  EXPECT_NE(error.hint().find("holdfast backup pin --off " + first), std::string::npos);
  pin({.id = first}, false, target.repository);
  remove({first});
  EXPECT_EQ(ids().size(), 1u);
}

// Puts a pin before it puts the first mark.
class PinnedMeanwhile : public test::FaultStore {
 public:
  PinnedMeanwhile(store::Store& below, std::function<void()> pin)
      : FaultStore(below, test::Fault::kAllFurther), pin_(std::move(pin)) {}
  bool create(const std::string& name, ByteView bytes) override {
    if (pin_ && name.find("/marks/") != std::string::npos) std::exchange(pin_, nullptr)();
    return FaultStore::create(name, bytes);
  }

 private:
  std::function<void()> pin_;
};

TEST_F(DeleteBackup, IsTakenBackWhereItIsPinnedMeanwhile) {
  const std::string first = backup({pack(1)});
  backup({pack(2)});
  PinnedMeanwhile store(target.store, [&] { pin({.id = first}, true, target.repository); });
  const repo::Repository repository =
      repo::Repository::open(store, target.key, std::nullopt, target.random);
  const Deletion early = plan({first});
  EXPECT_EQ(error_of([&] { carry_out(early, repository, target.store); }).message(),
            "backup \"" + first + "\" is pinned");
  target.clock.advance(1h);
  pin({.id = first}, false, target.repository);
  EXPECT_EQ(ids().size(), 2u) << "the pin is off, and nobody has deleted it";
}

// Nobody is told less than there is: neither who deletes, nor who finds one deleted.
TEST_F(DeleteBackup, NamesMarksThatCannotBeReadAndMayKeepIt) {
  const std::string first = backup({pack(1)});
  backup({pack(2)});
  pin({.id = first}, true, target.repository);
  std::vector<std::string> marks;
  for (const store::ListEntry& entry :
       target.store.list({.prefix = repo::marks_folder(lineage(), first)}).entries)
    marks.push_back(entry.name);
  ASSERT_EQ(marks.size(), 2u);
  flip_a_bit(marks.front());
  EXPECT_EQ(plan_error({first}).message(), "backup \"" + first + "\" is pinned");
  flip_a_bit(marks.back());
  EXPECT_EQ(plan({first}).backups.at(0).unreadable_marks, marks);
  remove({first});
  const auto name_it = [&] { repo::resolve_backup(target.repository, lineage(), first); };
  EXPECT_NE(error_of(name_it).detail().find("\"" + marks.back() +
                                            "\" cannot be read: it may take that back."),
            std::string::npos)
      << error_of(name_it).detail();
}

TEST_F(DeleteBackup, RefusesOneThatIsInUseAndNamesByWhom) {
  const std::string first = backup({pack(1)});
  backup({pack(2)});
  const Deletion early = plan({first});
  repo::HeldIntent intent(target.repository, lineage(), {.what = "restore", .uses = {first}},
                          target.clock);
  const Error error = plan_error({first});
  EXPECT_EQ(error.code(), ErrorCode::kBusy);
  EXPECT_EQ(error.message(), "backup \"" + first + "\" is in use");
  EXPECT_NE(
      error.detail().find(fmt::format("process {} on host \"{}\"", process_id(), host_name())),
      std::string::npos)
      << error.detail();
  // Also when it began between the question and the answer.
  EXPECT_EQ(error_of([&] { carry_out(early, target.repository, target.store); }).code(),
            ErrorCode::kBusy);
  EXPECT_EQ(ids().size(), 2u);
  intent.end();
  remove({first});
  EXPECT_EQ(ids().size(), 1u);
}

TEST_F(DeleteBackup, LeavesThoseThatMustStayAndTakesTheOthers) {
  const std::string pinned = backup({pack(1)});
  const std::string used = backup({pack(2)});
  const std::string free = backup({pack(3)});
  const std::string last = backup({pack(4)});
  pin({.id = pinned}, true, target.repository);
  const repo::HeldIntent intent(target.repository, lineage(), {.what = "restore", .uses = {used}},
                                target.clock);
  const Deletion deletion = plan({pinned, used, free});
  ASSERT_EQ(deletion.left.size(), 2u);
  EXPECT_EQ(deletion.left[0].id, pinned);
  EXPECT_EQ(deletion.left[0].why.code(), ErrorCode::kUsage);
  EXPECT_EQ(deletion.left[1].id, used);
  EXPECT_EQ(deletion.left[1].why.code(), ErrorCode::kBusy);
  carry_out(deletion, target.repository, target.store);
  EXPECT_EQ(ids(), (std::vector<std::string>{pinned, used, last}));
  EXPECT_EQ(plan_error({used}).code(), ErrorCode::kBusy) << "of nothing at all it is an error";
}

TEST_F(DeleteBackup, CanBeTakenBackWhole) {
  put_segment(1, 4);
  const std::string first = backup({pack(1)});
  const std::string second = backup({pack(2)});
  remove({first});
  const Error gone = plan_error({first});
  EXPECT_EQ(gone.code(), ErrorCode::kNotFound);
  EXPECT_EQ(gone.message(), "backup \"" + first + "\" is deleted");
  EXPECT_NE(gone.hint().find("holdfast backup undelete " + first), std::string::npos);
  EXPECT_EQ(plan({"latest"}, true).backups[0].id, second);

  EXPECT_EQ(undelete("main", first.substr(0, 20), target.repository).id, first);
  EXPECT_EQ(ids(), (std::vector<std::string>{first, second}));
  EXPECT_EQ(error_of([&] { undelete("main", first, target.repository); }).code(),
            ErrorCode::kNotFound);
  target.clock.advance(1h);
  remove({first});  // and again
  EXPECT_EQ(ids(), std::vector<std::string>{second});
}

TEST_F(DeleteBackup, AndItsTakingBackNeedOneOfTheTwoCommits) {
  put_segment(1, 4);
  const std::string first = backup({pack(1)});
  backup({pack(2)});
  for (const std::string& name : commit_names(first))
    for (const bool is_lost : {false, true}) {
      SCOPED_TRACE(fmt::format("{} {}", name, is_lost));
      const Bytes whole = test::object_bytes(target.store, name);
      if (is_lost)
        target.store.remove(name);
      else
        flip_a_bit(name);
      const Deletion deletion = plan({first});
      EXPECT_TRUE(deletion.backups[0].backup) << "what it uses can be told";
      carry_out(deletion, target.repository, target.store);
      EXPECT_EQ(ids().size(), 1u);
      target.clock.advance(1h);
      EXPECT_EQ(undelete("main", first, target.repository).id, first);
      EXPECT_EQ(ids().size(), 2u);
      if (is_lost)
        EXPECT_EQ(test::object_bytes(target.store, name), whole) << "put again";
      else
        flip_a_bit(name);
      target.clock.advance(1h);
    }
}

TEST_F(DeleteBackup, IsNotTakenBackWhileAnExpiryMayBeRemovingIt) {
  put_segment(1, 4);
  const std::string first = backup({pack(1)});
  backup({pack(2)});
  remove({first});
  {
    const repo::HeldIntent expiry(target.repository, lineage(),
                                  {.what = std::string(repo::kExpireIntent)}, target.clock);
    EXPECT_EQ(error_of([&] { undelete("main", first, target.repository); }).code(),
              ErrorCode::kBusy);
  }
  EXPECT_EQ(undelete("main", first, target.repository).id, first);
}

// Who deletes to make room has none.
TEST_F(DeleteBackup, OfAFullRepositoryTakesTheBackupOffAtOnce) {
  const std::string first = backup({pack(1)});
  backup({pack(2)});
  class Full : public test::FaultStore {
   public:
    using FaultStore::FaultStore;
    bool create(const std::string& name, ByteView) override {
      throw Error({.code = ErrorCode::kNoSpace, .message = "no room for " + name});
    }
  } full(target.store, {.first = 1'000'000});
  const repo::Repository opened =
      repo::Repository::open(full, target.key, std::nullopt, target.random);
  const Deletion deletion =
      carry_out(plan_deletion({.ids = {first}}, opened), opened, target.store);
  EXPECT_TRUE(deletion.backups[0].is_final);
  for (const std::string& name : commit_names(first)) EXPECT_FALSE(has(name)) << name;
}

TEST_F(DeleteBackup, GivesUpOneThatIsDamagedBeyondReading) {
  const std::string commit_damaged = backup({pack(1)});
  const std::string good = backup({pack(4)});
  auto damage = [](Bytes& bytes) { bytes[bytes.size() / 2] ^= std::byte{1}; };
  for (const std::string& name : commit_names(commit_damaged)) target.store.edit(name, damage);
  const Deletion deletion = plan({commit_damaged});
  EXPECT_FALSE(deletion.backups[0].backup);
  EXPECT_FALSE(deletion.leaves_no_good_backup);
  EXPECT_TRUE(carry_out(deletion, target.repository, target.store).backups[0].is_final);
  EXPECT_EQ(ids(), std::vector<std::string>{good});
}

// It can be restored whole: nothing of it is needed for that.
TEST_F(DeleteBackup, OfOneWhoseReferencesAreDamagedCanBeTakenBack) {
  const std::string refs_damaged = backup({pack(2)});
  const std::string refs_missing = backup({pack(3)});
  const std::string good = backup({pack(4)});
  put_segment(1, 4);
  target.store.edit(repo::refs_name(lineage(), refs_damaged), [](Bytes& bytes) { bytes.clear(); });
  target.store.remove(repo::refs_name(lineage(), refs_missing));
  // Of the one it is not known what it uses: nothing is removed here for whose sake the other would
  // have to stay.
  EXPECT_EQ(plan({refs_damaged}).why_unknown.value().message(),
            "cannot tell what backup \"" + refs_missing + "\" uses");
  for (const std::string& id : {refs_damaged, refs_missing})
    EXPECT_FALSE(carry_out(plan({id}), target.repository, target.store).backups[0].is_final);
  EXPECT_EQ(ids(), std::vector<std::string>{good});
  undelete("main", refs_damaged, target.repository);
  EXPECT_TRUE(repo::read_marks(target.repository, lineage(), refs_damaged).usable);
  EXPECT_EQ(ids(), (std::vector<std::string>{refs_damaged, good}));
  EXPECT_EQ(error_of([&] { plan({good}); }).code(), ErrorCode::kUsage) << "no other is good";
}

TEST_F(DeleteBackup, SaysThatThereIsNoSuchCluster) {
  EXPECT_EQ(error_of([&] {
              plan_deletion({.cluster = "other", .ids = {"latest"}}, target.repository);
            }).code(),
            ErrorCode::kNotFound);
  EXPECT_EQ(plan_error({"latest"}).message(), "cluster \"main\" has no backup");
}

}  // namespace
}  // namespace holdfast::expire
