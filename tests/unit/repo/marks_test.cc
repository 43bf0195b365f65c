#include "repo/marks.h"

#include <gtest/gtest.h>

#include "support/test_repository.h"

namespace holdfast::repo {
namespace {

using test::make_backup;
using test::sample_files;
using test::Sealing;
using test::TestRepository;

const std::string kMarkedBackup = "20261122T082239Z-1f2e3d";

class MarksTest : public testing::TestWithParam<Sealing> {
 protected:
  MarksTest() {
    make_backup(target_.repository, target_.lineage, kMarkedBackup, sample_files(1), target_.clock);
  }
  void put(MarkKind what, std::string detail = "It says so.") {
    put_mark(target_.repository, target_.lineage.name, kMarkedBackup, what, std::move(detail));
  }
  BackupMarks marks() {
    return read_marks(target_.repository, target_.lineage.name, kMarkedBackup);
  }
  Backup backup() {
    return read_backup(target_.repository, target_.lineage.name, kMarkedBackup).value();
  }
  void a_minute_passes() { target_.clock.advance(std::chrono::minutes(1)); }

  TestRepository target_{GetParam()};
};
INSTANTIATE_TEST_SUITE_P(Kinds, MarksTest, testing::Values(Sealing::kNone, Sealing::kKeyFile),
                         [](const auto& p) {
                           return p.param == Sealing::kNone ? "Plain" : "Sealed";
                         });

TEST_P(MarksTest, ABackupWithoutMarksIsAsItsCommitSays) {
  EXPECT_FALSE(backup().damaged);
  const BackupMarks none = marks();
  EXPECT_FALSE(none.pinned || none.damaged || none.verified);
  EXPECT_TRUE(none.unreadable.empty());
}

TEST_P(MarksTest, TheNewestOfDamagedAndVerifiedCounts) {
  put(MarkKind::kDamaged, "Pack 1 is missing.");
  EXPECT_TRUE(backup().damaged);
  EXPECT_EQ(marks().damaged->detail, "Pack 1 is missing.");
  EXPECT_EQ(marks().damaged->at, target_.clock.now());
  EXPECT_FALSE(marks().damaged->by.empty());
  a_minute_passes();
  put(MarkKind::kVerified);
  EXPECT_FALSE(backup().damaged);
  EXPECT_TRUE(marks().verified);
  EXPECT_FALSE(marks().damaged);
  // At one moment the worse counts.
  put(MarkKind::kDamaged);
  EXPECT_TRUE(backup().damaged);
  EXPECT_FALSE(marks().verified);
}

// Restored whole, and none to rely on.
TEST_P(MarksTest, TheNewestOfDamagedUsableAndVerifiedCounts) {
  using enum MarkKind;
  for (const MarkKind what : {kDamaged, kUsable, kVerified, kUsable, kDamaged}) {
    put(what);
    EXPECT_EQ(backup().damaged, what == kDamaged);
    EXPECT_EQ(marks().damaged.has_value(), what == kDamaged);
    EXPECT_EQ(marks().usable.has_value(), what == kUsable);
    EXPECT_EQ(marks().verified.has_value(), what == kVerified);
    EXPECT_EQ(backup().is_good(), what == kVerified);
  }
}

TEST_P(MarksTest, TheNewestOfPinnedAndUnpinnedCounts) {
  put(MarkKind::kPinned, "before the migration");
  EXPECT_EQ(marks().pinned->detail, "before the migration");
  a_minute_passes();
  put(MarkKind::kUnpinned);
  EXPECT_FALSE(marks().pinned);
  a_minute_passes();
  put(MarkKind::kPinned);
  EXPECT_TRUE(marks().pinned);
  EXPECT_FALSE(backup().damaged);
}

// What keeps a backup hangs on no single object.
TEST_P(MarksTest, OneThatProtectsStandsAsLongAsEitherOfItsTwoObjectsCanBeRead) {
  const auto names = [&] {
    std::vector<std::string> all;
    for (const store::ListEntry& entry :
         target_.store.list({.prefix = marks_folder(target_.lineage.name, kMarkedBackup)}).entries)
      all.push_back(entry.name);
    return all;
  };
  const auto stands = [&](MarkKind what) {
    return what == MarkKind::kPinned ? marks().pinned.has_value() : !marks().deleted.has_value();
  };
  for (const MarkKind what : {MarkKind::kPinned, MarkKind::kUndeleted}) {
    SCOPED_TRACE(to_string(what));
    for (const std::string& name : names()) target_.store.remove(name);
    put(MarkKind::kDeleted);
    const std::vector<std::string> before = names();
    put(what);
    std::vector<std::string> both = names();
    std::erase_if(both, [&](const std::string& name) { return name == before.front(); });
    ASSERT_EQ(both.size(), 2u);
    EXPECT_TRUE(marks().alone.empty());
    for (const std::string& name : both) {
      test::flip_a_bit(target_.store, name);
      EXPECT_TRUE(stands(what));
      EXPECT_EQ(marks().unreadable, std::vector<std::string>{name});
      EXPECT_EQ(marks().alone.at(0).what, what);
      test::flip_a_bit(target_.store, name);
    }
    target_.store.remove(both.front());
    EXPECT_TRUE(stands(what));
    ASSERT_EQ(marks().alone.size(), 1u);
    put_again(target_.repository, target_.lineage.name, kMarkedBackup, marks().alone.front());
    EXPECT_TRUE(marks().alone.empty());
    target_.store.remove(both.back());
    EXPECT_TRUE(stands(what));
  }
  // The contrary is said once, and takes back both.
  put(MarkKind::kDeleted);
  EXPECT_TRUE(marks().deleted);
  EXPECT_TRUE(marks().alone.empty());
}

// Whatever is behind a pin does not come true in a moment when the pin is taken off.
TEST_P(MarksTest, APinEndsADeletionAndTheGraceOfALaterOneBeginsWhenItIsTakenOff) {
  put(MarkKind::kDeleted);
  put(MarkKind::kPinned);
  a_minute_passes();
  put(MarkKind::kUnpinned);
  EXPECT_FALSE(marks().deleted);
  a_minute_passes();
  put(MarkKind::kPinned);
  put(MarkKind::kDeleted);  // by somebody who was killed before he looked again
  EXPECT_FALSE(marks().deleted);
  target_.clock.advance(std::chrono::hours(24 * 365));
  put(MarkKind::kUnpinned);
  ASSERT_TRUE(marks().deleted);
  EXPECT_EQ(marks().deleted_from, target_.clock.now());
}

TEST_P(MarksTest, OneThatCannotBeReadIsToldAndHoldsNothingUp) {
  put(MarkKind::kVerified);
  const std::string folder = marks_folder(target_.lineage.name, kMarkedBackup);
  const std::string name = target_.store.list({.prefix = folder}).entries.at(0).name;
  test::flip_a_bit(target_.store, name);
  EXPECT_EQ(marks().unreadable, std::vector<std::string>{name});
  EXPECT_FALSE(marks().verified);
  EXPECT_FALSE(backup().damaged);
}

TEST_P(MarksTest, OneOfALaterVersionIsPassedOver) {
  Json body = Json::object();
  body.set("backup", kMarkedBackup).set("what", "rehearsed");
  const std::string name = mark_name(target_.lineage.name, kMarkedBackup, target_.random.bytes16());
  ASSERT_TRUE(target_.repository.create_document("mark", name, body));
  EXPECT_TRUE(marks().unreadable.empty());
}

TEST_P(MarksTest, ADamagedCommitObjectHidesNoOtherBackup) {
  const std::string other = "20261123T082239Z-aaaaaa";
  make_backup(target_.repository, target_.lineage, other, sample_files(2), target_.clock);
  for (const std::string& name : {backup_name(target_.lineage.name, kMarkedBackup),
                                  backup_copy_name(target_.lineage.name, kMarkedBackup)})
    test::flip_a_bit(target_.store, name);
  std::vector<ErrorCode> told;
  for (const std::string& id : list_backup_ids(target_.repository, target_.lineage.name)) {
    const std::optional<Backup> found =
        read_backup_if_possible(target_.repository, target_.lineage.name, id,
                                [&](const Error& error) { told.push_back(error.code()); });
    EXPECT_EQ(found.has_value(), id == other);
  }
  EXPECT_EQ(told, std::vector<ErrorCode>{ErrorCode::kCorrupt});
}

}  // namespace
}  // namespace holdfast::repo
