#include "expire/claims.h"

#include <gtest/gtest.h>

#include "base/file.h"
#include "base/process.h"
#include "expire/delete.h"
#include "support/deletion_world.h"
#include "support/error_of.h"

namespace holdfast::expire {
namespace {

using namespace std::chrono_literals;
using test::error_of;

class Claims : public testing::Test, protected test::DeletionWorld {
 protected:
  repo::Intent of_another_host(const std::string& used) {
    repo::Intent intent;
    intent.what = "restore";
    intent.uses = {used};
    intent.detail = "/srv/recovery";
    intent.host = "db9";
    intent.pid = 77;
    intent.started = target.clock.now();
    intent.valid_until = target.clock.now() + repo::kIntentLife;
    return intent;
  }
  std::vector<Claim> list() { return list_claims("main", target.repository); }
  Bytes16 put(const repo::Intent& intent) {
    return repo::put_intent(target.repository, lineage(), intent);
  }
};

TEST_F(Claims, AreOneForEachPieceOfWorkWithWhoAndWhat) {
  const std::string used = put_backup({pack(1)});
  repo::HeldIntent held(target.repository, lineage(), {.what = "backup", .backup = new_id()},
                        target.clock);
  held.use_wal({1}, pg::Lsn{0x4000028});
  target.clock.advance(1min);
  repo::Intent crashed = of_another_host(used);
  crashed.host = host_name();
  crashed.process = repo::intent_owner(target.repository).value();
  crashed.process->start += 1;
  put(crashed);
  target.clock.advance(1min);
  put(of_another_host(used));
  target.clock.advance(1min);

  const std::vector<Claim> claims = list();
  ASSERT_EQ(claims.size(), 3u);
  EXPECT_EQ(claims[0].intent.what, "backup");
  EXPECT_EQ(claims[0].ids.size(), 2u);
  EXPECT_EQ(claims[0].intent.wal_from, pg::Lsn{0x4000028});
  EXPECT_EQ(claims[0].intent.pid, process_id());
  EXPECT_EQ(claims[0].state, ProcessState::kAlive);
  EXPECT_EQ(claims[1].state, ProcessState::kDead);
  EXPECT_EQ(claims[2].state, ProcessState::kUnknown);
  EXPECT_EQ(claims[2].intent.detail, "/srv/recovery");
  held.end();
  EXPECT_EQ(list().size(), 2u);
  target.clock.advance(repo::kIntentLife);
  EXPECT_TRUE(list().empty());
}

TEST_F(Claims, OfTheDeadHoldNothingUpAndOfTheUnknownUntilSomebodyEndsThem) {
  const std::string used = put_backup({pack(1)});
  target.clock.advance(1h);
  put_backup({pack(2)});
  repo::Intent crashed = of_another_host(used);
  crashed.host = host_name();
  crashed.process = repo::intent_owner(target.repository).value();
  crashed.process->start += 1;
  put(crashed);
  EXPECT_EQ(plan_deletion({.ids = {used}}, target.repository).backups.size(), 1u);

  const std::string id = to_hex(put(of_another_host(used)).view());
  const Error busy = error_of([&] { plan_deletion({.ids = {used}}, target.repository); });
  EXPECT_EQ(busy.code(), ErrorCode::kBusy);
  EXPECT_NE(busy.hint().find("holdfast claims --end " + id.substr(0, 8)), std::string::npos)
      << busy.hint();
  EXPECT_EQ(end_claim("main", id.substr(0, 8), target.repository).intent.host, "db9");
  EXPECT_EQ(plan_deletion({.ids = {used}}, target.repository).backups.size(), 1u);
}

// Of a restore that was left to be started by hand, and thrown away.
TEST_F(Claims, OfARecoveryEndWithItsDirectoryWhereThatCanBeSeen) {
  const TemporaryDirectory disk("holdfast-test");
  const std::string parent = disk.path() + "/recovery";
  make_directory(parent);
  repo::Intent recovery = of_another_host(put_backup({pack(1)}));
  recovery.what = "recovery";
  recovery.host = host_name();
  recovery.detail = parent + "/copy";
  recovery.place = repo::place_of(target.repository, recovery.detail);
  make_directory(recovery.detail);
  put(recovery);
  const auto state = [&] { return list().at(0).state; };
  EXPECT_EQ(state(), ProcessState::kUnknown);
  EXPECT_EQ(list()[0].intent.place, recovery.place);

  // The disk is not mounted: what is found in its place is another directory.
  rename_path(parent, disk.path() + "/unmounted");
  EXPECT_EQ(state(), ProcessState::kUnknown);
  make_directory(parent);
  EXPECT_EQ(state(), ProcessState::kUnknown);
  remove_empty_directory(parent);
  rename_path(disk.path() + "/unmounted", parent);

  const auto valid = [&] {
    return repo::read_valid_intents(target.repository, lineage(), target.clock.now(), kGrace);
  };
  EXPECT_EQ(valid().size(), 1u);
  remove_empty_directory(recovery.detail);
  EXPECT_EQ(state(), ProcessState::kDead);
  EXPECT_TRUE(valid().empty());
}

TEST_F(Claims, WhoseDirectoryIsOfAnotherHostOrMachineAreNotTakenForGone) {
  const TemporaryDirectory disk("holdfast-test");
  repo::Intent elsewhere = of_another_host(put_backup({pack(1)}));
  elsewhere.what = "recovery";
  elsewhere.detail = disk.path() + "/copy";
  elsewhere.place = repo::place_of(target.repository, elsewhere.detail);
  put(elsewhere);
  elsewhere.host = host_name();
  elsewhere.place->machine = "another";
  put(elsewhere);
  elsewhere.place.reset();  // as earlier programs put it
  put(elsewhere);
  for (const Claim& claim : list()) EXPECT_EQ(claim.state, ProcessState::kUnknown);
}

TEST_F(Claims, OfWorkThatGoesOnHereAreNotEnded) {
  const repo::HeldIntent held(target.repository, lineage(), {.what = "backup"}, target.clock);
  const std::string id = to_hex(held.ids()[0].view());
  const Error error = error_of([&] { end_claim("main", id, target.repository); });
  EXPECT_EQ(error.code(), ErrorCode::kBusy);
  EXPECT_EQ(error.hint(), fmt::format("Wait for its end, or stop it (kill {}): its claim ends with "
                                      "it.",
                                      process_id()));
  for (const char* none : {"", "zz", "00000000000000000000000000000000"})
    EXPECT_EQ(error_of([&] { end_claim("main", none, target.repository); }).code(),
              ErrorCode::kNotFound)
        << none;
}

// The work is done, and the note that says so cannot be read.
TEST_F(Claims, WhoseEndIsDamagedStandByThemselvesAndCanBeEndedAgain) {
  const std::string used = put_backup({pack(1)});
  put_backup({pack(2)});
  const Bytes16 id = put(of_another_host(used));
  const std::string end = repo::intent_end_name(lineage(), id);
  repo::put_intent_end(target.repository, lineage(), id, target.clock.now());
  const auto valid = [&] {
    return repo::read_valid_intents(target.repository, lineage(), target.clock.now(), kGrace);
  };
  EXPECT_TRUE(valid().empty());
  const auto ends = [&] {
    std::vector<std::string> names = test::object_names(target.store);
    std::erase_if(names, [&](const std::string& name) {
      return !name.starts_with(repo::further_intent_ends(lineage(), id));
    });
    return names;
  };
  for (size_t count = 1; count < 3; ++count) {
    ASSERT_EQ(ends().size(), count);
    for (const std::string& one : ends())
      if (repo::has_intent_ended(target.repository, lineage(), id)) flip_a_bit(one);
    ASSERT_EQ(list().size(), 1u);
    EXPECT_TRUE(list()[0].damage.empty());
    EXPECT_EQ(valid().at(0).uses, std::vector<std::string>{used});
    end_claim("main", to_hex(id.view()), target.repository);
    EXPECT_TRUE(list().empty());
    EXPECT_TRUE(valid().empty());
  }
  // An owner looks at the one name alone, so without it the work goes on.
  target.store.remove(end);
  EXPECT_EQ(valid().size(), 1u);
  end_claim("main", to_hex(id.view()), target.repository);
  EXPECT_TRUE(valid().empty());
}

TEST_F(Claims, ThatCannotBeReadAreShownAndCanBeEnded) {
  const Bytes16 id = put(of_another_host(put_backup({pack(1)})));
  flip_a_bit(repo::intent_name(lineage(), id));
  ASSERT_EQ(list().size(), 1u);
  EXPECT_FALSE(list()[0].damage.empty());
  auto read = [&] {
    repo::read_valid_intents(target.repository, lineage(), target.clock.now(), kGrace);
  };
  EXPECT_NE(error_of(read).hint().find("holdfast claims --end " + to_hex(id.view())),
            std::string::npos);
  end_claim("main", to_hex(id.view()), target.repository);
  EXPECT_TRUE(list().empty());
  EXPECT_NO_THROW(read());
}

}  // namespace
}  // namespace holdfast::expire
