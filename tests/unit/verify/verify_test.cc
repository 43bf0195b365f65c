#include "verify/verify.h"

#include <algorithm>

#include <gtest/gtest.h>

#include "repo/marks.h"
#include "repo/verified_objects.h"
#include "support/archive_fixture.h"
#include "support/closed_store.h"
#include "support/counting_store.h"
#include "support/error_of.h"
#include "support/pieces_of.h"
#include "support/recording_reporter.h"
#include "support/whole_repository.h"

namespace holdfast::verify {
namespace {

using repo::ObjectKind;
using test::CountingStore;
using test::error_of;
using test::FaultStore;
using test::Sealing;
using test::WholeRepository;

class ReadOnlyStore : public CountingStore {
 public:
  using CountingStore::CountingStore;
  std::unique_ptr<store::Upload> upload(const std::string&) override { refuse(); }
  bool create(const std::string&, ByteView) override { refuse(); }
  Time now() override { refuse(); }

 private:
  [[noreturn]] static void refuse() {
    throw Error({.code = ErrorCode::kPermission, .message = "read-only file system"});
  }
};

class VerifyTest : public testing::Test {
 protected:
  VerifyResult run(bool deep = false, std::vector<std::string> backups = {}) {
    return verify({.cluster = "main", .deep = deep, .jobs = 2, .backups = std::move(backups)},
                  world_.repository, reporter_, {});
  }
  VerifyResult run_on(store::Store& store, bool deep = false) {
    const repo::Repository repository =
        repo::Repository::open(store, world_.key, std::nullopt, world_.random);
    return verify({.cluster = "main", .deep = deep, .jobs = 2}, repository, reporter_, {});
  }
  static const BackupVerdict& of(const VerifyResult& result, const std::string& id) {
    const auto& backups = result.lineages.at(0).backups;
    const auto found = std::ranges::find(backups, id, &BackupVerdict::id);
    if (found == backups.end()) throw std::logic_error("no verdict on " + id);
    return *found;
  }
  static std::string words(const VerifyResult& result) {
    std::string text;
    for (const Finding& finding : result.common) text += finding.object + "\n";
    for (const LineageResult& lineage : result.lineages) {
      for (const Finding& finding : lineage.findings)
        text += finding.object + ": " + finding.problem + ": " + finding.detail + "\n";
      for (const Gap& gap : lineage.gaps) text += gap.problem + " " + gap.first_segment + "\n";
      for (const BackupVerdict& backup : lineage.backups)
        text += backup.id + " " + backup.reason + "\n";
    }
    return text;
  }
  repo::Backup backup(const std::string& id) {
    return repo::read_backup(world_.repository, world_.lineage.name, id).value();
  }
  // The largest of its kind: of packs the one with the files.
  std::string object_of(ObjectKind kind) {
    std::string largest;
    for (const auto& [each, name] : world_.objects())
      if (each == kind &&
          (largest.empty() || world_.store.info(name)->bytes > world_.store.info(largest)->bytes))
        largest = name;
    return largest;
  }
  void flip(const std::string& name, size_t place) {
    Bytes bytes = test::object_bytes(world_.store, name);
    bytes.at(place) ^= std::byte{0x10};
    world_.replace(name, bytes);
  }
  // As a disk forgets: nothing tells that the object has changed.
  void rot(const std::string& name) {
    world_.store.edit(name, [](Bytes& bytes) { bytes[bytes.size() / 2] ^= std::byte{1}; });
  }
  void archive_up_to(uint64_t segment) {
    world_.write_wal(segment);
    world_.switch_segment();
    world_.archive_wal();
    a_minute_passes();
  }
  void a_minute_passes() { world_.clock.advance(std::chrono::minutes(1)); }

  WholeRepository world_{Sealing::kNone};
  test::RecordingReporter reporter_;
};

TEST(VerifyNewerMajor, ReadsEveryByteOfWalThatItDoesNotKnow) {
  test::ArchiveFixture world(test::kNewerMajor);
  test::WalBuilder wal;
  while (wal.segment_count() < 3) wal.add_filler(5000);
  wal.add_switch();
  world.put_segments(wal);
  test::RecordingReporter reporter;
  const auto run = [&] {
    return verify({.cluster = "main", .deep = true, .jobs = 1}, world.repository(), reporter, {});
  };
  const VerifyResult good = run();
  EXPECT_FALSE(good.damaged());
  EXPECT_EQ(good.lineages.at(0).segments_read, 3U);
  const std::string object =
      world.archive().object_name({.kind = pg::WalFileKind::kSegment, .segment = wal.name(1)});
  world.store().edit(object, [](Bytes& bytes) { bytes[bytes.size() - 100] ^= std::byte{1}; });
  const VerifyResult bad = run();
  ASSERT_EQ(bad.lineages.at(0).findings.size(), 1U);
  EXPECT_EQ(bad.lineages.at(0).findings.front().object, object);
}

TEST_F(VerifyTest, AWholeRepositoryIsGoodAndSaysWhatCanBeRecovered) {
  const std::string first = world_.take_backup(1);
  world_.write_wal(6);
  const std::string second = world_.take_backup(2);
  archive_up_to(12);
  const VerifyResult result = run();
  EXPECT_FALSE(result.damaged()) << words(result);
  EXPECT_EQ(of(result, first).verdict, Verdict::kGood);
  EXPECT_EQ(of(result, second).verdict, Verdict::kGood);
  const LineageResult& lineage = result.lineages.at(0);
  EXPECT_EQ(lineage.segments_read, 12u);
  EXPECT_EQ(lineage.leftover_count, 0u);
  ASSERT_EQ(lineage.windows.size(), 1u);
  const Window& window = lineage.windows.front();
  EXPECT_EQ(window.start_lsn, backup(first).stop_lsn);
  EXPECT_EQ(window.end_lsn, pg::end_lsn(12, world_.size()));
  EXPECT_EQ(window.backups, (std::vector<std::string>{first, second}));
  EXPECT_GT(window.end_time, backup(second).stop_time);
  // A good backup that was read whole says so from now on.
  EXPECT_TRUE(backup(first).marks.verified);
  EXPECT_TRUE(backup(second).marks.verified);
}

TEST_F(VerifyTest, TheSecondRunReadsOnlyWhatIsNewAndDeepReadsAll) {
  world_.take_backup(1);
  archive_up_to(6);
  CountingStore first(world_.store);
  EXPECT_FALSE(run_on(first).damaged());
  a_minute_passes();

  CountingStore second(world_.store);
  const VerifyResult again = run_on(second);
  EXPECT_FALSE(again.damaged()) << words(again);
  EXPECT_EQ(again.lineages.at(0).packs_read, 0u);
  EXPECT_EQ(again.lineages.at(0).segments_read, 0u);
  for (const auto& [kind, name] : world_.objects()) {
    if (kind != ObjectKind::kPack && kind != ObjectKind::kManifest &&
        kind != ObjectKind::kManifestCopy)
      continue;
    EXPECT_GT(first.bytes_of(name), 0u) << name;
    EXPECT_EQ(second.bytes_of(name), 0u) << name;
  }
  // Of WAL the metadata of the last alone, for the last commit.
  EXPECT_EQ(second.bytes_of(world_.segment_object(3)), 0u);
  EXPECT_LT(second.total_bytes(), first.total_bytes() / 3);

  // Two segments more.
  archive_up_to(8);
  CountingStore third(world_.store);
  const VerifyResult more = run_on(third);
  EXPECT_FALSE(more.damaged()) << words(more);
  EXPECT_EQ(more.lineages.at(0).packs_read, 0u);
  EXPECT_EQ(more.lineages.at(0).segments_read, 2u);
  EXPECT_EQ(third.bytes_of(world_.segment_object(3)), 0u);
  EXPECT_GT(third.bytes_of(world_.segment_object(7)), 0u);

  a_minute_passes();
  CountingStore deep(world_.store);
  const VerifyResult all = run_on(deep, true);
  EXPECT_FALSE(all.damaged()) << words(all);
  EXPECT_EQ(all.lineages.at(0).segments_read, 8u);
  EXPECT_EQ(all.lineages.at(0).objects_unchanged, 0u);
  EXPECT_GT(deep.total_bytes(), first.total_bytes());
}

// A disk forgets without a trace: what was read longest ago is read again, a part at each run, so
// that nothing is older than the time that was asked for; and it is said since when the rest was
// not.
TEST_F(VerifyTest, EverythingIsReadAgainWithinATimeAndRotIsFound) {
  const std::string id = world_.take_backup();
  archive_up_to(20);
  const Time first = world_.clock.now();
  EXPECT_FALSE(run().damaged());
  const repo::VerifyRun noted =
      repo::last_whole_run(world_.repository, world_.lineage.name).value();
  EXPECT_EQ(noted.began, first);
  EXPECT_FALSE(noted.oldest.is_known()) << "it read all";
  a_minute_passes();
  rot(world_.segment_object(5));
  rot(object_of(ObjectKind::kPack));
  const VerifyResult soon = run();
  EXPECT_FALSE(soon.damaged()) << words(soon);
  EXPECT_EQ(soon.lineages.at(0).oldest, repo::LastRead::of(first));
  EXPECT_EQ(repo::last_whole_run(world_.repository, world_.lineage.name)->oldest,
            repo::LastRead::of(first));

  uint64_t bytes = soon.lineages.at(0).bytes_unchanged, most = 0;
  bool found_wal = false, found_pack = false;
  for (int day = 1; day <= 31; ++day) {
    world_.clock.advance(std::chrono::hours(24));
    const VerifyResult result = run();
    const LineageResult& lineage = result.lineages.at(0);
    if (!result.damaged()) most = std::max(most, lineage.bytes_due);
    if (lineage.oldest) {
      EXPECT_LE(world_.clock.now() - lineage.oldest->time(), std::chrono::hours(24) * 31) << day;
    }
    found_wal = found_wal || std::ranges::any_of(lineage.gaps, [](const Gap& gap) {
                  return gap.first_segment == "000000010000000000000005";
                });
    found_pack = found_pack || of(result, id).verdict == Verdict::kDamaged;
  }
  EXPECT_TRUE(found_wal);
  EXPECT_TRUE(found_pack);
  EXPECT_LT(most, bytes / 2) << "not all at once";
}

// A record of 0.1.0: what it had taken over from others was read nobody knows when.
TEST_F(VerifyTest, WhatARecordDoesNotTellTheAgeOfIsReadAgain) {
  world_.take_backup();
  archive_up_to(6);
  EXPECT_FALSE(run().damaged());
  a_minute_passes();
  EXPECT_EQ(run().lineages.at(0).segments_read, 0u);
  a_minute_passes();
  repo::VerifiedObjects of_old;
  for (const auto& [kind, name] : world_.objects())
    if (kind == ObjectKind::kWalSegment)
      of_old.add(world_.lineage.name, name, world_.store.info(name)->bytes, {});
  of_old.sort();
  std::vector<std::string> all;
  for (const auto& [kind, name] : world_.objects())
    if (kind == ObjectKind::kVerified) all.push_back(name.substr(name.rfind('/') + 1));
  repo::put_verified(world_.repository, world_.lineage.name,
                     {.began = world_.clock.now(), .everything = true}, of_old, all);
  a_minute_passes();
  EXPECT_GT(run().lineages.at(0).segments_read, 0u);
}

TEST_F(VerifyTest, WhatChangedSinceItWasReadIsReadAgain) {
  const std::string id = world_.take_backup();
  EXPECT_FALSE(run().damaged());
  a_minute_passes();
  const std::string pack = object_of(ObjectKind::kPack);
  const Bytes whole = test::object_bytes(world_.store, pack);
  flip(pack, 3000);
  const VerifyResult result = run();
  EXPECT_TRUE(result.damaged());
  EXPECT_EQ(of(result, id).verdict, Verdict::kDamaged) << words(result);
  EXPECT_TRUE(backup(id).damaged);
  // A backup that was found damaged is read again whatever its time says.
  a_minute_passes();
  world_.store.edit(pack, [&](Bytes& bytes) { bytes = whole; });
  EXPECT_FALSE(run().damaged());
  EXPECT_FALSE(backup(id).damaged) << "it is whole again";
  // Shorter, although its time is old.
  a_minute_passes();
  world_.store.edit(pack, [](Bytes& bytes) { bytes.pop_back(); });
  EXPECT_TRUE(run().damaged());
}

TEST_F(VerifyTest, DeepFindsWhatRottedAndTheNextRunDoesNotForgetIt) {
  const std::string id = world_.take_backup();
  archive_up_to(4);  // the metadata of the last segment are read every time
  EXPECT_FALSE(run().damaged());
  a_minute_passes();
  for (const std::string& name : {world_.segment_object(2), object_of(ObjectKind::kPack)}) {
    SCOPED_TRACE(name);
    const Bytes whole = test::object_bytes(world_.store, name);
    rot(name);
    EXPECT_FALSE(run().damaged()) << "the same size and time: not read";
    a_minute_passes();
    const VerifyResult deep = run(true, {id});
    EXPECT_TRUE(deep.damaged());
    EXPECT_EQ(of(deep, id).verdict, Verdict::kDamaged) << words(deep);
    a_minute_passes();
    EXPECT_TRUE(run().damaged());
    EXPECT_TRUE(backup(id).damaged);
    a_minute_passes();
    world_.store.edit(name, [&](Bytes& bytes) { bytes = whole; });
    EXPECT_FALSE(run().damaged());
    EXPECT_FALSE(backup(id).damaged);
    a_minute_passes();
  }
}

// A standby with archive_mode = always closes the last segment of a timeline at its end.
TEST_F(VerifyTest, ASegmentThatEndsWhereItsTimelineWasLeftIsWhole) {
  world_.take_backup();
  archive_up_to(4);
  world_.write_wal(5);
  const size_t last = world_.wal().segment_count() - 1;
  world_.put_segment(last);
  a_minute_passes();
  const VerifyResult cut = run();
  EXPECT_TRUE(cut.damaged());
  const std::string text =
      fmt::format("1\t{}\tno recovery target specified\n", pg::to_string(world_.wal().end_lsn()));
  world_.archive.put_file({.kind = pg::WalFileKind::kHistory, .segment = {.timeline = {2}}},
                          {.file_name = "00000002.history",
                           .bytes = text.size(),
                           .sha256 = repo::wal_content_sha256(as_bytes(text)),
                           .system_identifier = WholeRepository::kSystemIdentifier,
                           .host = "db1",
                           .pushed = world_.clock.now()},
                          as_bytes(text));
  a_minute_passes();
  const VerifyResult whole = run();
  EXPECT_FALSE(whole.damaged()) << words(whole);
  EXPECT_EQ(whole.lineages.at(0).windows.front().end_lsn, world_.wal().end_lsn());
}

// An old file that a server kept for reuse under a name of the new timeline: of the right number,
// with records that can be read.
TEST_F(VerifyTest, AnOldFileUnderTheNameOfANewTimelineIsDamage) {
  world_.take_backup();
  archive_up_to(5);
  const std::string text =
      fmt::format("1\t{}\tx\n", pg::to_string(pg::start_lsn(4, world_.size()) + 64));
  world_.archive.put_file({.kind = pg::WalFileKind::kHistory, .segment = {.timeline = {2}}},
                          {.file_name = "00000002.history",
                           .bytes = text.size(),
                           .sha256 = repo::wal_content_sha256(as_bytes(text)),
                           .system_identifier = WholeRepository::kSystemIdentifier,
                           .host = "db1",
                           .pushed = world_.clock.now()},
                          as_bytes(text));
  const Bytes content = world_.wal().segment(4);
  const pg::WalFileName file{.kind = pg::WalFileKind::kSegment,
                             .segment = {.timeline = {2}, .segment_number = 5}};
  world_.archive.put_segment(
      file,
      test::describe_segment(content, file,
                             {.host = "db1", .pgdata = "/data", .pushed = world_.clock.now()}),
      test::pieces_of(content));
  a_minute_passes();
  const VerifyResult result = run();
  EXPECT_TRUE(result.damaged());
  EXPECT_NE(words(result).find("It is of timeline 1: a server kept an old file"), std::string::npos)
      << words(result);
  EXPECT_NE(words(result).find("holdfast wal set-aside 000000020000000000000005"),
            std::string::npos);
}

TEST_F(VerifyTest, RottenWalBehindTheBackupsIsNotForgottenEither) {
  world_.take_backup();
  archive_up_to(6);
  EXPECT_FALSE(run().damaged());
  a_minute_passes();
  rot(world_.segment_object(5));
  EXPECT_TRUE(run(true).damaged());
  a_minute_passes();
  const VerifyResult result = run();
  ASSERT_EQ(result.lineages.at(0).gaps.size(), 1u);
  EXPECT_EQ(result.lineages.at(0).gaps.front().problem, "damaged");
  EXPECT_EQ(result.lineages.at(0).segments_read, 1u) << "that one alone";
}

TEST_F(VerifyTest, ADamagedPackNamesTheBackupsAndFilesThatNeedIt) {
  const std::string first = world_.take_backup(1);
  const std::string of_first = object_of(ObjectKind::kPack);
  const std::string second = world_.take_backup(2);
  for (const auto& [kind, name] : world_.objects())
    if (kind == ObjectKind::kPack && name != of_first && world_.store.info(name)->bytes > 20000)
      flip(name, 3000);
  const VerifyResult result = run();
  EXPECT_EQ(of(result, first).verdict, Verdict::kGood) << words(result);
  EXPECT_EQ(of(result, second).verdict, Verdict::kDamaged);
  ASSERT_EQ(result.lineages.at(0).findings.size(), 1u) << words(result);
  const Finding& finding = result.lineages.at(0).findings.front();
  EXPECT_EQ(finding.backups, std::vector<std::string>{second});
  EXPECT_EQ(finding.files, std::vector<std::string>{"base/5/1259"});
  EXPECT_EQ(result.lineages.at(0).windows.at(0).backups, std::vector<std::string>{first});
  EXPECT_FALSE(backup(first).damaged);
  EXPECT_TRUE(backup(second).damaged);
  EXPECT_FALSE(backup(second).marks.damaged->detail.empty());
}

// What may not be read may be whole: it is named, and nothing that others go by calls it damaged.
TEST_F(VerifyTest, WhatCannotBeReadIsUnreadableAndTheRestIsVerified) {
  const std::string first = world_.take_backup(1);
  const std::string of_first = object_of(ObjectKind::kPack);
  world_.write_wal(6);
  const std::string second = world_.take_backup(2);
  for (const std::string& closed :
       {of_first, of_first.substr(0, of_first.rfind('/') + 1),
        repo::backup_name(world_.lineage.name, first), repo::refs_name(world_.lineage.name, first),
        repo::lineage_folder(world_.lineage.name) + "marks/" + first + "/"}) {
    SCOPED_TRACE(closed);
    test::ClosedStore store(world_.store);
    store.close(closed);
    const VerifyResult result = run_on(store, true);
    EXPECT_TRUE(result.damaged());
    EXPECT_EQ(of(result, second).verdict, Verdict::kGood) << words(result);
    bool named = false;
    for (const Finding& finding : result.lineages.at(0).findings) {
      EXPECT_EQ(finding.problem, kUnreadableObject) << words(result);
      named = named || finding.object == closed;
    }
    EXPECT_TRUE(named) << words(result);
    EXPECT_FALSE(backup(first).marks.damaged) << closed;
    EXPECT_FALSE(backup(second).marks.damaged);
  }
  EXPECT_FALSE(run(true).damaged());
}

// The same for one call in hundreds that the disk fails.
TEST_F(VerifyTest, ACallThatFailsMakesNothingDamaged) {
  const std::string id = world_.take_backup();
  test::FaultStore counting(world_.store, {.first = test::Fault::kAllFurther});
  run_on(counting, true);
  for (uint64_t nth = 1; nth <= counting.calls(); nth += 5) {
    SCOPED_TRACE(nth);
    test::FaultStore store(world_.store, {.first = nth, .count = 1, .code = ErrorCode::kIo});
    VerifyResult result;
    const std::optional<Error> error = holdfast::error_of([&] { result = run_on(store, true); });
    if (error || result.lineages.empty()) continue;
    EXPECT_NE(of(result, id).verdict, Verdict::kDamaged) << words(result);
    EXPECT_FALSE(backup(id).marks.damaged);
    for (const Finding& finding : result.lineages.front().findings)
      EXPECT_EQ(finding.problem, kUnreadableObject) << words(result);
  }
}

TEST_F(VerifyTest, APackWhoseFooterIsLostLeavesTheBackupUsableAsFarAsItsExtentsHold) {
  const std::string id = world_.take_backup();
  const std::string pack = object_of(ObjectKind::kPack);
  flip(pack, world_.store.info(pack)->bytes - 5);
  VerifyResult result = run();
  EXPECT_TRUE(result.damaged());
  EXPECT_EQ(of(result, id).verdict, Verdict::kUsable) << words(result);
  flip(pack, 3000);
  result = run();
  EXPECT_EQ(of(result, id).verdict, Verdict::kDamaged) << words(result);
}

// It can be restored whole, but nothing else can be done with it: it counts as good no more, until
// what was damaged is whole again.
TEST_F(VerifyTest, ABackupWhoseReferencesOrFooterAreDamagedIsMarked) {
  const std::string id = world_.take_backup();
  for (const ObjectKind kind : {ObjectKind::kRefs, ObjectKind::kPack})
    for (const bool is_missing : {false, true}) {
      if (is_missing && kind == ObjectKind::kPack) continue;
      const std::string name = object_of(kind);
      SCOPED_TRACE(fmt::format("{} {}", name, is_missing));
      const Bytes whole = test::object_bytes(world_.store, name);
      if (is_missing)
        world_.store.remove(name);
      else
        flip(name, whole.size() - 5);
      for (int again = 0; again < 2; ++again) {
        const VerifyResult result = run();
        EXPECT_TRUE(result.damaged());
        EXPECT_EQ(of(result, id).verdict, Verdict::kUsable) << words(result);
        EXPECT_FALSE(backup(id).damaged) << "no restore refuses what can be restored";
        EXPECT_FALSE(backup(id).is_good());
        ASSERT_TRUE(backup(id).marks.usable);
        EXPECT_NE(backup(id).marks.usable->detail.find(
                      kind == ObjectKind::kPack ? "the footer of pack" : "its list of references"),
                  std::string::npos);
        world_.clock.advance(std::chrono::minutes(1));
      }
      world_.replace(name, whole);
      EXPECT_FALSE(run().damaged());
      EXPECT_TRUE(backup(id).is_good());
      world_.clock.advance(std::chrono::minutes(1));
    }
}

TEST_F(VerifyTest, OneGoodCopyOfTwoIsDamageAndKeepsTheBackupUsable) {
  const std::string id = world_.take_backup();
  for (const auto kind : {ObjectKind::kManifest, ObjectKind::kManifestCopy}) {
    const std::string name = object_of(kind);
    const Bytes whole = test::object_bytes(world_.store, name);
    for (const bool is_missing : {false, true}) {
      SCOPED_TRACE(fmt::format("{} {}", name, is_missing));
      if (is_missing)
        world_.store.remove(name);
      else
        flip(name, 200);
      const VerifyResult result = run();
      EXPECT_TRUE(result.damaged());
      EXPECT_EQ(of(result, id).verdict, Verdict::kUsable) << words(result);
      EXPECT_FALSE(backup(id).damaged);
      world_.replace(name, whole);
      EXPECT_FALSE(run().damaged());
    }
  }
  flip(object_of(ObjectKind::kManifest), 200);
  flip(object_of(ObjectKind::kManifestCopy), 210);
  EXPECT_EQ(of(run(), id).verdict, Verdict::kDamaged);
  EXPECT_TRUE(backup(id).damaged);
}

TEST_F(VerifyTest, OneOfTwoCommitsThatIsDamagedIsNamedWithTheOtherAndOneThatIsLostIsPutAgain) {
  const std::string id = world_.take_backup();
  for (const auto kind : {ObjectKind::kBackup, ObjectKind::kBackupCopy}) {
    const std::string name = object_of(kind);
    const std::string other =
        object_of(kind == ObjectKind::kBackup ? ObjectKind::kBackupCopy : ObjectKind::kBackup);
    SCOPED_TRACE(name);
    const Bytes whole = test::object_bytes(world_.store, name);
    flip(name, whole.size() / 2);
    VerifyResult result = run();
    EXPECT_EQ(of(result, id).verdict, Verdict::kUsable) << words(result);
    EXPECT_EQ(of(result, id).reason, "one of its two commit objects is missing or damaged");
    ASSERT_EQ(result.lineages.at(0).findings.size(), 1u) << words(result);
    EXPECT_EQ(result.lineages.at(0).findings[0].object, name);
    EXPECT_NE(result.lineages.at(0).findings[0].detail.find(
                  "\"" + other + "\" holds the same bytes: put them in its place."),
              std::string::npos)
        << words(result);
    EXPECT_FALSE(backup(id).damaged);

    // A copy may never have been put; a first was.
    world_.store.remove(name);
    result = run();
    EXPECT_EQ(result.damaged(), kind == ObjectKind::kBackup) << words(result);
    EXPECT_EQ(of(result, id).verdict, Verdict::kGood);
    if (kind == ObjectKind::kBackup) {
      EXPECT_EQ(result.lineages.at(0).findings.at(0).problem, "missing");
      EXPECT_EQ(result.lineages.at(0).findings.at(0).detail,
                "It was put again, with the bytes of its copy.");
    }
    EXPECT_EQ(test::object_bytes(world_.store, name), whole);
    EXPECT_FALSE(run().damaged());

    // Where nothing can be put it is named.
    world_.store.remove(name);
    ReadOnlyStore closed(world_.store);
    result = run_on(closed);
    EXPECT_EQ(result.damaged(), kind == ObjectKind::kBackup) << words(result);
    EXPECT_FALSE(world_.store.info(name));
    EXPECT_FALSE(run().damaged() && kind == ObjectKind::kBackupCopy);
  }
  for (const auto kind : {ObjectKind::kBackup, ObjectKind::kBackupCopy}) flip(object_of(kind), 600);
  const VerifyResult result = run();
  EXPECT_EQ(of(result, id).verdict, Verdict::kDamaged) << words(result);
  EXPECT_EQ(result.lineages.at(0).findings.size(), 2u) << words(result);
}

TEST_F(VerifyTest, OneOfTheTwoOfAHistoryThatIsDamagedIsNamedAndOneThatIsLostIsPutAgain) {
  const std::string id = world_.take_backup();
  world_.add_every_kind(id);
  for (const auto kind : {ObjectKind::kTimelineHistory, ObjectKind::kHistoryCopy}) {
    const std::string name = object_of(kind);
    SCOPED_TRACE(name);
    const Bytes whole = test::object_bytes(world_.store, name);
    flip(name, whole.size() / 2);
    for (int again = 0; again < 2; ++again) {
      const VerifyResult result = run();
      ASSERT_EQ(result.lineages.at(0).findings.size(), 1u) << words(result);
      EXPECT_EQ(result.lineages.at(0).findings[0].object, name);
      EXPECT_NE(result.lineages.at(0).findings[0].detail.find("put them in its place"),
                std::string::npos)
          << words(result);
      a_minute_passes();
    }
    world_.store.remove(name);
    const VerifyResult result = run();
    EXPECT_EQ(result.damaged(), kind == ObjectKind::kTimelineHistory) << words(result);
    EXPECT_EQ(test::object_bytes(world_.store, name), whole);
    EXPECT_FALSE(run().damaged());
  }
}

TEST_F(VerifyTest, TwoCommitsThatDifferAreNamed) {
  const std::string id = world_.take_backup();
  const std::string first = object_of(ObjectKind::kBackup);
  const std::string copy = object_of(ObjectKind::kBackupCopy);
  repo::Backup other = backup(id);
  other.label = "another";
  world_.replace(copy, repo::encode_document(world_.repository.keyring(), "backup", first,
                                             repo::to_json(other), world_.random));
  const VerifyResult result = run();
  EXPECT_TRUE(result.damaged());
  EXPECT_EQ(of(result, id).verdict, Verdict::kUsable);
  EXPECT_EQ(result.lineages.at(0).findings.at(0).object, copy) << words(result);
}

TEST_F(VerifyTest, AWithheldObjectIsNoticed) {
  world_.take_backup(1);
  world_.take_backup(2);
  for (const auto& [kind, name] : world_.objects()) {
    // Whose absence nobody can know of: repository-format.md, section 4.
    if (kind == ObjectKind::kIntent || kind == ObjectKind::kIntentEnd ||
        kind == ObjectKind::kFurtherIntentEnd || kind == ObjectKind::kBackupCopy ||
        kind == ObjectKind::kRepository)
      continue;
    SCOPED_TRACE(name);
    const Bytes whole = test::object_bytes(world_.store, name);
    world_.store.remove(name);
    // An earlier version has put no copies; the next backup does.
    EXPECT_EQ(run().damaged(), !name.ends_with(".copy.json"));
    world_.replace(name, whole);
    const VerifyResult after = run();
    EXPECT_FALSE(after.damaged()) << words(after);
  }
  world_.store.remove("repo.json");
  EXPECT_TRUE(run().damaged());
  world_.store.remove("repo.copy.json");
  EXPECT_EQ(error_of([&] { run_on(world_.store); }).code(), ErrorCode::kNotFound);
}

TEST_F(VerifyTest, WalOfLevelMinimalEndsTheWindowEachTime) {
  const std::string first = world_.take_backup(1);
  world_.write_wal(4);
  const pg::Lsn from = world_.wal().end_lsn();
  world_.wal().add_parameters(100, pg::WalLevel::kMinimal);
  archive_up_to(8);
  for (int times = 0; times < 2; ++times) {
    const VerifyResult result = run();
    EXPECT_FALSE(result.damaged()) << words(result);
    EXPECT_TRUE(result.misses_wal()) << "no backup stands behind it";
    ASSERT_EQ(result.lineages.at(0).gaps.size(), 1u);
    EXPECT_TRUE(result.lineages.at(0).gaps[0].is_hole);
    EXPECT_EQ(result.lineages.at(0).windows.at(0).end_lsn, from);
  }
  const std::string second = world_.take_backup(2);
  const VerifyResult after = run();
  EXPECT_FALSE(after.misses_wal());
  EXPECT_EQ(of(after, second).verdict, Verdict::kGood);
}

TEST_F(VerifyTest, AGapIsNamedWithTheBackupsBeforeItAndTheWindowsThatAreLeft) {
  const std::string first = world_.take_backup(1);  // segments 1 and 2
  world_.write_wal(8);
  const std::string second = world_.take_backup(2);  // segments 8 and 9
  archive_up_to(11);
  for (uint64_t missing : {5, 6}) world_.store.remove(world_.segment_object(missing));
  const VerifyResult result = run();
  EXPECT_FALSE(result.damaged()) << words(result);
  EXPECT_FALSE(result.misses_wal()) << "a backup stands behind it";
  EXPECT_EQ(of(result, first).verdict, Verdict::kGood);
  EXPECT_EQ(of(result, second).verdict, Verdict::kGood);
  const LineageResult& lineage = result.lineages.at(0);
  ASSERT_EQ(lineage.gaps.size(), 1u) << words(result);
  const Gap& gap = lineage.gaps.front();
  EXPECT_EQ(gap.problem, "missing");
  EXPECT_EQ(gap.first_segment, "000000010000000000000005");
  EXPECT_EQ(gap.last_segment, "000000010000000000000006");
  EXPECT_EQ(gap.segment_count, 2u);
  EXPECT_EQ(gap.start_lsn, pg::start_lsn(5, world_.size()));
  EXPECT_EQ(gap.end_lsn, pg::end_lsn(6, world_.size()));
  EXPECT_EQ(gap.backups, std::vector<std::string>{first});
  EXPECT_TRUE(gap.is_hole);
  EXPECT_EQ(gap.newer_backup, second);
  ASSERT_TRUE(gap.after && gap.before);
  EXPECT_LT(*gap.after, *gap.before);
  ASSERT_EQ(lineage.windows.size(), 2u);
  EXPECT_EQ(lineage.windows[0].backups, std::vector<std::string>{first});
  EXPECT_LE(lineage.windows[0].end_lsn, gap.start_lsn);
  EXPECT_EQ(lineage.windows[0].end_time, gap.after);
  EXPECT_EQ(lineage.windows[1].backups, std::vector<std::string>{second});
  EXPECT_EQ(lineage.windows[1].start_lsn, backup(second).stop_lsn);

  // Within a backup it makes that one worthless.
  world_.store.remove(world_.segment_object(9));
  const VerifyResult worse = run();
  EXPECT_EQ(of(worse, first).verdict, Verdict::kGood);
  EXPECT_EQ(of(worse, second).verdict, Verdict::kDamaged) << words(worse);
  EXPECT_NE(of(worse, second).reason.find("000000010000000000000009"), std::string::npos);
  EXPECT_TRUE(backup(second).damaged);
  ASSERT_EQ(worse.lineages.at(0).windows.size(), 1u);
  EXPECT_TRUE(worse.damaged());
  EXPECT_TRUE(worse.misses_wal()) << "what stands behind it is no good backup any more";
}

// Nothing that is there is wrong: it is told apart from damage, and costs what is committed until a
// good backup is newer.
TEST_F(VerifyTest, AHoleIsNoDamageAndAlarmsUntilAGoodBackupIsNewer) {
  const std::string first = world_.take_backup(1);
  archive_up_to(8);
  world_.store.remove(world_.segment_object(5));
  const VerifyResult open = run();
  EXPECT_FALSE(open.damaged()) << words(open);
  EXPECT_TRUE(open.misses_wal());
  ASSERT_EQ(open.lineages.at(0).gaps.size(), 1u);
  EXPECT_EQ(open.lineages.at(0).gaps.front().newer_backup, "");
  a_minute_passes();
  const std::string second = world_.take_backup(2);
  a_minute_passes();
  const VerifyResult past = run();
  EXPECT_FALSE(past.damaged()) << words(past);
  EXPECT_FALSE(past.misses_wal());
  EXPECT_EQ(past.lineages.at(0).gaps.at(0).newer_backup, second);
  // One that is damaged is no recovery's beginning.
  repo::put_mark(world_.repository, world_.lineage.name, second, repo::MarkKind::kDamaged, "Test.");
  const recovery::WalPicture listed = recovery::look_at_wal(
      world_.repository, world_.lineage, [](const std::string&, const Error&) {});
  ASSERT_EQ(listed.gaps.size(), 1u);
  EXPECT_TRUE(listed.gaps.front().costs());
}

TEST_F(VerifyTest, ASegmentOfAnotherServerDoesNotJoin) {
  world_.take_backup(1);
  archive_up_to(5);
  EXPECT_FALSE(run().damaged());
  // The same name, whole and sealed in itself: of a server that went another way.
  test::WalBuilder other({.size = world_.size(),
                          .system_identifier = WholeRepository::kSystemIdentifier,
                          .first_segment = 4,
                          .previous_lsn = pg::start_lsn(3, world_.size()) + 400});
  other.add_filler(3000);
  other.add_switch();
  const Bytes content = other.segment(0);
  const pg::WalFileName file{.kind = pg::WalFileKind::kSegment, .segment = other.name(0)};
  world_.store.remove(world_.segment_object(4));
  world_.archive.put_segment(
      file, test::describe_segment(content, file, {.host = "db2", .pgdata = "/x", .pushed = {}}),
      test::pieces_of(content));
  a_minute_passes();
  for (int run_number = 0; run_number < 2; ++run_number) {
    const VerifyResult result = run();
    EXPECT_TRUE(result.damaged());
    ASSERT_FALSE(result.lineages.at(0).gaps.empty());
    EXPECT_EQ(result.lineages.at(0).gaps.front().problem, "does not join");
    EXPECT_EQ(result.lineages.at(0).gaps.front().first_segment, "000000010000000000000004");
    const pg::Lsn end = result.lineages.at(0).windows.at(0).end_lsn;
    EXPECT_GT(end, pg::start_lsn(3, world_.size()));
    EXPECT_LE(end, pg::end_lsn(3, world_.size()));
    a_minute_passes();
  }
}

// One segment was written twice, and the rest of the first line is still there. Its records have
// the lengths of the second's: only the order in which they were archived tells.
TEST_F(VerifyTest, WhatIsArchivedBehindAContentThatWasSetAsideIsOfAnotherHistory) {
  world_.take_backup(1);
  archive_up_to(5);
  test::WalBuilder again = world_.wal();
  for (int count = 0; count < 3; ++count) {
    world_.wal().add_commit(900, world_.postgres_time());
    world_.switch_segment();
    world_.archive_wal();
    a_minute_passes();
  }
  EXPECT_FALSE(run().damaged());
  const size_t index = again.segment_count();
  const pg::WalFileName file{.kind = pg::WalFileKind::kSegment, .segment = again.name(index)};
  repo::put_wal_mark(world_.repository, world_.lineage.name, file, world_.size(), {},
                     {.file = {},
                      .content = "0",
                      .sha256 = world_.archive.segment_info(file).value().sha256,
                      .at = {},
                      .by = {},
                      .detail = "for the test"});
  a_minute_passes();
  again.add_commit(901, world_.postgres_time());
  again.add_switch();
  a_minute_passes();
  world_.put_content(index, again.segment(index), false, 1);
  world_.archive.look_again();
  for (int times = 0; times < 2; ++times) {
    const VerifyResult result = run();
    EXPECT_TRUE(result.damaged());
    const LineageResult& lineage = result.lineages.at(0);
    EXPECT_EQ(lineage.finding_count, 0U) << words(result);
    ASSERT_EQ(lineage.gaps.size(), 1U) << words(result);
    EXPECT_TRUE(lineage.gaps[0].is_of_other());
    EXPECT_EQ(lineage.gaps[0].first_segment,
              pg::segment_file_name(again.name(index + 1), world_.size()));
    EXPECT_EQ(lineage.windows.at(0).end_lsn, lineage.gaps[0].start_lsn);
    a_minute_passes();
  }
}

TEST_F(VerifyTest, UnfinishedCopiesOfASegmentThatPartAreNamedUntilOneIsSetAside) {
  world_.take_backup(1);
  archive_up_to(5);
  const size_t index = world_.wal().segment_count();
  test::WalBuilder common = world_.wal();
  common.add_filler(3000);
  test::WalBuilder longer = common, other = world_.wal();
  longer.add_filler(2000);
  other.add_commit(901, world_.postgres_time());
  other.add_filler(9000);
  for (const test::WalBuilder* one : {&common, &longer})
    world_.put_content(index, one->segment(index), true);
  a_minute_passes();
  EXPECT_FALSE(run().damaged()) << "one goes on from the other";
  world_.put_content(index, other.segment(index), true);
  a_minute_passes();
  const auto set_aside = [&](const test::WalBuilder& wal) {
    const Bytes32 sha256 = repo::wal_content_sha256(wal.segment(index));
    repo::put_wal_mark(world_.repository, world_.lineage.name,
                       {.kind = pg::WalFileKind::kPartial, .segment = wal.name(index)},
                       world_.size(), {},
                       {.file = {},
                        .content = to_hex(repo::partial_digest(sha256).view()),
                        .sha256 = sha256,
                        .at = {},
                        .by = {},
                        .detail = "for the test"});
    a_minute_passes();
  };
  for (int times = 0; times < 2; ++times) {
    const VerifyResult result = run();
    const std::vector<Finding>& findings = result.lineages.at(0).findings;
    ASSERT_EQ(findings.size(), 2U) << words(result);
    for (const Finding& finding : findings) {
      EXPECT_EQ(finding.problem, kOtherWal);
      EXPECT_NE(finding.detail.find("wal set-aside"), std::string::npos);
      EXPECT_NE(finding.detail.find(to_hex(
                    repo::partial_digest(repo::wal_content_sha256(other.segment(index))).view())),
                std::string::npos)
          << finding.detail;
    }
    a_minute_passes();
  }
  set_aside(other);
  EXPECT_FALSE(run().damaged());
  // The same of one that is archived as the segment, and cut short; none of whole ones.
  test::WalBuilder cut = world_.wal();
  cut.add_commit(902, world_.postgres_time());
  world_.put_content(index, cut.segment(index), false);
  a_minute_passes();
  const VerifyResult short_too = run();
  ASSERT_EQ(short_too.lineages.at(0).findings.size(), 1U) << words(short_too);
  EXPECT_NE(short_too.lineages.at(0).findings[0].detail.find("copies of one segment"),
            std::string::npos)
      << words(short_too);
  cut.add_switch();
  world_.put_content(index, cut.segment(index), false, 1);
  a_minute_passes();
  EXPECT_FALSE(run().damaged()) << "no recovery goes into an unfinished one any more";
}

TEST_F(VerifyTest, OneBackupCanBeVerifiedAlone) {
  const std::string first = world_.take_backup(1);
  const std::string second = world_.take_backup(2);
  archive_up_to(8);
  CountingStore counting(world_.store);
  const repo::Repository repository =
      repo::Repository::open(counting, world_.key, std::nullopt, world_.random);
  const VerifyResult result =
      verify({.cluster = "main", .backups = {first}}, repository, reporter_, {});
  EXPECT_FALSE(result.damaged()) << words(result);
  ASSERT_EQ(result.lineages.at(0).backups.size(), 1u);
  EXPECT_EQ(result.lineages.at(0).backups.front().id, first);
  EXPECT_EQ(result.lineages.at(0).segments_read, 2u);
  EXPECT_EQ(counting.bytes_of(world_.segment_object(7)), 0u);
  EXPECT_EQ(run(false, {"latest"}).lineages.at(0).backups.front().id, second);
  EXPECT_EQ(error_of([&] { run(false, {"20200101"}); }).code(), ErrorCode::kNotFound);
}

TEST_F(VerifyTest, WhatNobodyNeedsIsANoteAndNoDamage) {
  world_.take_backup();
  world_.store.create("clusters/main/15-1/README", as_bytes("hello"));
  {
    repo::ExtentWriter orphan(world_.repository, world_.lineage.name, {});
    orphan.append({.kind = repo::ContentKind::kMapLeaf}, Bytes(100, std::byte{1}));
    orphan.finish();
  }
  const VerifyResult result = run();
  EXPECT_FALSE(result.damaged()) << words(result);
  EXPECT_EQ(result.lineages.at(0).leftover_count, 2u);
  EXPECT_EQ(result.lineages.at(0).leftovers, std::vector<std::string>{"clusters/main/15-1/README"});
}

// A store that refuses to be written to.
TEST_F(VerifyTest, AStoreThatCannotBeWrittenToIsVerifiedAndThatIsSaid) {
  const std::string id = world_.take_backup();
  ReadOnlyStore read_only(world_.store);
  VerifyResult result = run_on(read_only);
  EXPECT_FALSE(result.damaged());
  EXPECT_EQ(result.not_kept, "read-only file system");
  EXPECT_FALSE(backup(id).marks.verified);
  flip(object_of(ObjectKind::kPack), 3000);
  result = run_on(read_only);
  EXPECT_TRUE(result.damaged());
  EXPECT_EQ(of(result, id).verdict, Verdict::kDamaged);
  EXPECT_FALSE(backup(id).damaged);
}

TEST_F(VerifyTest, WhatKeepsABackupAndStandsAloneIsNamedAndPutAgain) {
  const std::string id = world_.take_backup();
  const repo::LineageName& lineage = world_.lineage.name;
  repo::put_mark(world_.repository, lineage, id, repo::MarkKind::kPinned, "It must stay.");
  run();
  EXPECT_TRUE(reporter_.warnings().empty());
  const auto pins = [&] {
    std::vector<std::string> names;
    for (const store::ListEntry& entry :
         world_.store.list({.prefix = repo::marks_folder(lineage, id)}).entries)
      if (world_.repository.read_document("mark", entry.name)->at("what").as_string() == "pinned")
        names.push_back(entry.name);
    return names;
  };
  const std::vector<std::string> both = pins();
  ASSERT_EQ(both.size(), 2u);
  world_.store.remove(both.front());
  ReadOnlyStore read_only(world_.store);
  EXPECT_FALSE(run_on(read_only).damaged());
  run();
  const std::string named =
      "of the two objects that say that backup " + id + " is pinned one is gone or damaged";
  EXPECT_EQ(reporter_.warnings(), (std::vector<std::string>{named, named + "; it was put again"}));
  world_.store.remove(both.back());
  EXPECT_TRUE(backup(id).marks.pinned);
  EXPECT_EQ(pins().size(), 1u);
}

TEST_F(VerifyTest, AnyFailedCallIsAnErrorAndNeverGood) {
  world_.take_backup();
  flip(object_of(ObjectKind::kPack), 3000);
  bool finished = false;
  for (uint64_t nth = 1; !finished; ++nth) {
    ASSERT_LT(nth, 1000u);
    FaultStore faulty(world_.store, nth);
    try {
      EXPECT_TRUE(run_on(faulty).damaged()) << nth;
      EXPECT_FALSE(faulty.fired()) << nth;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kStoreUnavailable) << nth << ": " << error.message();
    }
    finished = !faulty.fired();
  }
}

TEST_F(VerifyTest, RecordsAreMergedBeforeTheyAreMany) {
  world_.take_backup();
  for (uint64_t segment = 4; segment < 20; ++segment) {
    archive_up_to(segment);
    EXPECT_FALSE(run().damaged());
    a_minute_passes();
  }
  const repo::VerifiedRecords records(
      world_.repository, world_.lineage.name,
      [](const std::string& name, const Error&) { ADD_FAILURE() << name; });
  EXPECT_LE(records.ids().size(), 8u);
  EXPECT_EQ(run().lineages.at(0).segments_read, 0u);
}

TEST_F(VerifyTest, ADamagedRecordIsToldAndEverythingIsReadAgain) {
  world_.take_backup();
  EXPECT_FALSE(run().damaged());
  a_minute_passes();
  const std::string record = object_of(ObjectKind::kVerified);
  flip(record, 200);
  const VerifyResult result = run();
  ASSERT_EQ(result.lineages.at(0).findings.size(), 1u) << words(result);
  EXPECT_EQ(result.lineages.at(0).findings.front().object, record);
  EXPECT_EQ(result.lineages.at(0).backups.front().verdict, Verdict::kGood);
  EXPECT_GT(result.lineages.at(0).packs_read, 0u);
}

TEST(VerifySealed, AWrongKeyAndAnEmptyStoreAreErrors) {
  WholeRepository world(Sealing::kKeyFile);
  world.take_backup();
  const repo::KeySource other{.key_file = codec::SecretKey::from_bytes(Bytes(32, std::byte{1}))};
  EXPECT_EQ(error_of([&] { repo::Repository::open(world.store, other); }).code(),
            ErrorCode::kWrongKey);
  store::MemoryStore empty;
  EXPECT_EQ(error_of([&] { repo::Repository::open(empty, {}); }).code(), ErrorCode::kNotFound);
}

}  // namespace
}  // namespace holdfast::verify
