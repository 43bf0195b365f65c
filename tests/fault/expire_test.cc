// A store that fails at any call, or loses its answer, while something is deleted and expired: what
// lives stays, and the next run does what is left.
#include "expire/expire.h"

#include <gtest/gtest.h>

#include "expire/delete.h"
#include "support/deletion_world.h"

namespace holdfast::expire {
namespace {

using test::DeletionWorld;
using test::Fault;
using test::FaultStore;

class ExpireFaults : public testing::TestWithParam<std::tuple<bool, uint64_t>> {};
INSTANTIATE_TEST_SUITE_P(Kinds, ExpireFaults,
                         testing::Combine(testing::Bool(),
                                          testing::Values(uint64_t{1}, Fault::kAllFurther)),
                         [](const auto& p) {
                           return std::string(std::get<0>(p.param) ? "AnswerLost" : "Refused") +
                                  (std::get<1>(p.param) == 1 ? "Once" : "FromThenOn");
                         });

// A backup that stays, and garbage of every kind: what a deleted backup used, WAL and what belongs
// to it, a finished list, notes that have run out.
struct Scene : DeletionWorld {
  Scene() : all(put_every_kind()), deleted(all.deleted) {
    const std::vector<std::string> names = test::object_names(target.store);
    lives = {names.begin(), names.end()};
    for (const auto& [kind, name] : all.garbage) lives.erase(name);
    for (const std::string& name : commit_names(deleted)) lives.erase(name);
    lives.erase(all.needed.at(repo::ObjectKind::kIntent));  // it runs out before the end
    repo::put_doomed_list(target.repository, lineage(), {}, target.clock.now());
    target.clock.advance(4 * kGrace);
  }

  bool is_listed(const std::string& id) {
    const std::vector<std::string> ids = repo::list_backup_ids(target.repository, lineage());
    return std::ranges::find(ids, id) != ids.end();
  }
  // What another process takes for granted of one that has ended: its announcement is void.
  void let_the_run_be_dead() {
    for (const repo::RunningExpiry& run : repo::running_expiries(target.repository, lineage()))
      repo::put_intent_end(target.repository, lineage(), run.id, target.clock.now());
  }
  void expect_living() {
    for (const std::string& name : lives) EXPECT_TRUE(has(name)) << name;
  }
  // Of notes something is left until a few grace periods later.
  void expect_all_gone() {
    for (int i = 0; i < 8; ++i) {
      expire({.grace = kGrace}, target.repository, target.store, silent_reporter(), {});
      target.clock.advance(kGrace);
    }
    const std::vector<std::string> left = test::object_names(target.store);
    EXPECT_EQ(std::set<std::string>(left.begin(), left.end()), lives);
  }

  EveryKind all;
  std::string deleted;
  std::set<std::string> lives;
};

TEST_P(ExpireFaults, AnyFailedStoreCallRemovesNothingThatLivesAndTheNextRunWorks) {
  const auto [lost_answer, count] = GetParam();
  // The deletion, then the run that lists, then the one that removes.
  for (int phase = 0; phase < 3; ++phase) {
    bool finished = false;
    for (uint64_t nth = 1; !finished; ++nth) {
      ASSERT_LT(nth, 1000u) << "it never comes through";
      SCOPED_TRACE(fmt::format("phase {}, call {}", phase, nth));
      Scene scene;
      auto run = [&](store::Store& store, store::Remover& remover, int what) {
        const repo::Repository repository =
            repo::Repository::open(store, scene.target.key, std::nullopt, scene.target.random);
        if (what == 0)
          carry_out(plan_deletion({.ids = {scene.deleted}}, repository), repository, remover);
        else
          expire({.grace = DeletionWorld::kGrace}, repository, remover, silent_reporter(), {});
      };
      for (int before = 0; before < phase; ++before) {
        run(scene.target.store, scene.target.store, before);
        scene.target.clock.advance(DeletionWorld::kGrace);
      }
      FaultStore faulty(scene.target.store,
                        {.first = nth, .count = count, .lost_answer = lost_answer},
                        &scene.target.store);
      try {
        run(faulty, faulty, phase);
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::kStoreUnavailable) << error.message();
      }
      finished = !faulty.fired();
      scene.let_the_run_be_dead();
      scene.expect_living();
      // The mark may stand though the answer was lost.
      if (phase == 0 && scene.is_listed(scene.deleted))
        run(scene.target.store, scene.target.store, 0);
      scene.expect_all_gone();
      scene.expect_living();
      if (HasFailure()) return;
    }
  }
}

}  // namespace
}  // namespace holdfast::expire
