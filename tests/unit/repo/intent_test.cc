#include "repo/intent.h"

#include <algorithm>

#include <gtest/gtest.h>

#include "base/process.h"
#include "support/error_of.h"
#include "support/fault_store.h"
#include "support/test_repository.h"

namespace holdfast::repo {
namespace {

using test::error_of;
using test::TestRepository;
using namespace std::chrono_literals;

const std::string kUsed = "20261122T082239Z-1f2e3d";

Intent sample() {
  return {.what = "restore",
          .uses = {kUsed},
          .timeline = pg::TimelineId{3},
          .wal_from = pg::Lsn{0x4000028}};
}

class IntentIn : public testing::TestWithParam<test::Sealing> {
 protected:
  std::vector<Intent> valid(Microseconds grace = 24h) {
    return read_valid_intents(target.repository, target.lineage.name, target.clock.now(), grace);
  }
  HeldIntent hold(Intent intent = sample()) {
    return HeldIntent(target.repository, target.lineage.name, std::move(intent), target.clock);
  }
  TestRepository target{GetParam()};
};
INSTANTIATE_TEST_SUITE_P(Sealing, IntentIn,
                         testing::Values(test::Sealing::kNone, test::Sealing::kKeyFile),
                         [](const auto& p) {
                           return p.param == test::Sealing::kNone ? "Plain" : "Sealed";
                         });

TEST_P(IntentIn, SaysWhoUsesWhatAndUntilWhen) {
  HeldIntent held = hold();
  const std::vector<Intent> found = valid();
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].what, "restore");
  EXPECT_EQ(found[0].uses, std::vector<std::string>{kUsed});
  EXPECT_FALSE(found[0].objects_from);
  EXPECT_EQ(found[0].timeline, pg::TimelineId{3});
  EXPECT_EQ(found[0].wal_from, pg::Lsn{0x4000028});
  EXPECT_EQ(found[0].host, host_name());
  EXPECT_EQ(found[0].pid, process_id());
  EXPECT_EQ(found[0].valid_until, target.clock.now() + kIntentLife);
}

TEST_P(IntentIn, ProtectsUntilItsEndAndOneGracePeriodMore) {
  HeldIntent held = hold();
  target.clock.advance(kIntentLife + 24h);
  EXPECT_EQ(valid(24h).size(), 1u);
  target.clock.advance(1us);
  EXPECT_TRUE(valid(24h).empty());
  EXPECT_EQ(valid(25h).size(), 1u);
}

TEST_P(IntentIn, ProtectsNothingAnyMoreOnceItsOwnerIsDone) {
  HeldIntent held = hold();
  HeldIntent other = hold();
  held.end();
  EXPECT_EQ(valid().size(), 1u);
}

// An owner that says nothing of its process, which may be of any host.
Intent left_behind(const TestRepository& target) {
  Intent intent = sample();
  intent.host = host_name();
  intent.started = target.clock.now();
  intent.valid_until = target.clock.now() + kIntentLife;
  return intent;
}

TEST_P(IntentIn, ProtectsAfterACrashThatNobodyCanProve) {
  put_intent(target.repository, target.lineage.name, left_behind(target));
  EXPECT_EQ(valid().size(), 1u);
  Intent elsewhere = left_behind(target);
  elsewhere.process = intent_owner(target.repository).value();
  elsewhere.process->machine = "another";
  elsewhere.process->start += 1;
  put_intent(target.repository, target.lineage.name, elsewhere);
  EXPECT_EQ(valid().size(), 2u);
}

TEST_P(IntentIn, ProtectsNothingOnceItsProcessIsProvenToHaveEnded) {
  Intent crashed = left_behind(target);
  crashed.process = intent_owner(target.repository).value();
  put_intent(target.repository, target.lineage.name, crashed);
  EXPECT_EQ(valid().size(), 1u);
  crashed.process->start += 1;  // the id is another process's by now
  put_intent(target.repository, target.lineage.name, crashed);
  EXPECT_EQ(valid().size(), 1u);
}

TEST_P(IntentIn, NeverTellsTheIdOfItsMachine) {
  const HeldIntent held = hold();
  ASSERT_EQ(valid().size(), 1u);
  EXPECT_EQ(valid()[0].process->machine.size(), 32u);
  EXPECT_NE(valid()[0].process->machine, this_process()->machine);
}

TEST_P(IntentIn, EndsWithItsWorkAlsoWhereThatFails) {
  EXPECT_EQ(error_of([&] {
              const HeldIntent held = hold();
              throw Error({.code = ErrorCode::kInterrupted, .message = "interrupted"});
            }).code(),
            ErrorCode::kInterrupted);
  EXPECT_TRUE(valid().empty());
}

TEST_P(IntentIn, StopsItsOwnerWhenSomebodyHasEndedIt) {
  HeldIntent held = hold();
  held.check();
  put_intent_end(target.repository, target.lineage.name, held.ids().back(), target.clock.now());
  EXPECT_EQ(error_of([&] { held.check(); }).detail(),
            "Somebody has ended its claim; expiry may have removed what it needs.");
}

TEST_P(IntentIn, ClaimsWalAsSoonAsItIsKnownFromWhereOn) {
  HeldIntent held = hold({.what = "backup"});
  EXPECT_FALSE(valid().at(0).wal_from);
  held.use_wal({2}, pg::Lsn{0x5000000});
  const std::vector<Intent> found = valid();
  EXPECT_EQ(std::ranges::count(found, pg::Lsn{0x5000000}, &Intent::wal_from), 1);
}

TEST_P(IntentIn, IsRenewedWhenHalfOfItHasPassedAndEndsWithAllItsNotes) {
  HeldIntent held = hold();
  target.clock.advance(kIntentLife / 2);
  held.check();
  EXPECT_EQ(valid().size(), 1u);
  target.clock.advance(1us);
  held.check();
  EXPECT_EQ(valid().size(), 2u);
  held.use("20261123T082239Z-aaaaaa");
  EXPECT_EQ(valid().size(), 3u);
  held.end();
  EXPECT_TRUE(valid().empty());
}

TEST_P(IntentIn, StopsItsOwnerWhenItRanOutBeforeItCouldBeRenewed) {
  HeldIntent held = hold();
  target.clock.advance(kIntentLife + 1us);
  const Error error = error_of([&] { held.check(); });
  EXPECT_EQ(error.code(), ErrorCode::kConflict);
  EXPECT_EQ(error.message(), "this restore has lost the protection of its objects");
  EXPECT_FALSE(error.hint().empty());
}

TEST_P(IntentIn, DoesNotFailWorkThatIsDoneForItsNote) {
  // The calls of opening, of the intent, and then none.
  uint64_t calls = 0;
  {
    test::FaultStore counting(target.store, {.first = 1000});
    const Repository counted = Repository::open(counting, target.key, std::nullopt, target.random);
    HeldIntent held(counted, target.lineage.name, sample(), target.clock);
    calls = counting.calls();
    held.end();
  }
  test::FaultStore failing(target.store, {.first = calls + 1, .count = test::Fault::kAllFurther});
  const Repository opened = Repository::open(failing, target.key, std::nullopt, target.random);
  HeldIntent held(opened, target.lineage.name, sample(), target.clock);
  held.end();
  EXPECT_TRUE(failing.fired());
  EXPECT_EQ(valid().size(), 1u) << "it runs out by itself";
}

TEST_P(IntentIn, ThatIsDamagedStopsDeletionForAsLongAsItMayBeValid) {
  const HeldIntent held = hold();
  const std::string name =
      target.store.list({.prefix = intents_folder(target.lineage.name)}).entries.at(0).name;
  for (const auto flip : {test::flip_a_bit, test::flip_a_bit_of_the_seal}) {
    flip(target.store, name);
    const Error error = error_of([&] { valid(); });
    EXPECT_TRUE(error.is_damage());
    EXPECT_EQ(error.message(), "damaged intent \"" + name + "\"");
    flip(target.store, name);
  }
  test::flip_a_bit_of_the_seal(target.store, name);
  target.clock.advance(kLongestIntentLife + 24h + 1us);
  EXPECT_TRUE(valid().empty());
}

TEST(IntentText, ThatNamesNoBackupOrWalWithoutATimelineIsRefused) {
  Json body = to_json(sample());
  EXPECT_EQ(to_json(intent_from_json(body)).dump(), body.dump());
  for (const auto& [member, value] :
       {std::pair<const char*, Json>{"uses", Json(Json::Array{Json("../../x")})},
        {"backup", Json("x")},
        {"timeline", Json()},
        {"valid_until", Json("soon")}}) {
    Json changed = body;
    changed.set(member, value);
    EXPECT_EQ(error_of([&] { intent_from_json(changed); }).code(), ErrorCode::kCorrupt) << member;
  }
}

}  // namespace
}  // namespace holdfast::repo
