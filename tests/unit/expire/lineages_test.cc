#include "expire/lineages.h"

#include <gtest/gtest.h>

#include "expire/delete.h"
#include "expire/expire.h"
#include "support/deletion_world.h"
#include "support/error_of.h"
#include "support/fault_store.h"
#include "support/recording_reporter.h"

namespace holdfast::expire {
namespace {

using namespace std::chrono_literals;
using test::error_of;

// Lineage 15-1 has a backup and WAL; 15-2 was made by mistake, and something was archived into it.
class RemoveLineage : public testing::Test, protected test::DeletionWorld {
 protected:
  RemoveLineage() {
    put_backup({pack(1)});
    put_segment(1, 4);
    repo::Lineage other = test::test_lineage();
    other.system_identifier = 42;
    mistaken = target.repository.create_lineage(other);
    wal = repo::wal_folder(mistaken.name) + "00000001/0000000100000000/000000010000000000000001";
    target.store.create(wal, as_bytes("segment"));
    target.store.create(repo::lineage_folder(mistaken.name) + "unknown/object", as_bytes("?"));
  }
  RemoveOptions options(std::string lineage = "15-2") const {
    return {.cluster = "main",
            .lineage = std::move(lineage),
            .grace = kGrace,
            .typed_command = "holdfast lineage remove 15-2"};
  }
  Removal remove(const RemoveOptions& what) { return remove(what, target.store); }
  Removal remove(const RemoveOptions& what, store::Remover& remover) {
    return carry_out_removal(what, target.repository, remover, reporter, {});
  }
  // Of the removal and of its dry run.
  Error refusal(const RemoveOptions& what) {
    const std::vector<std::string> before = test::object_names(target.store);
    const Error planned = error_of([&] { plan_removal(what, target.repository); });
    Error error = error_of([&] { remove(what); });
    EXPECT_EQ(planned.message(), error.message());
    EXPECT_EQ(test::object_names(target.store), before);
    return error;
  }
  size_t objects_of(const repo::LineageName& name) {
    return static_cast<size_t>(std::ranges::count_if(
        test::object_names(target.store),
        [&](const std::string& object) { return object.starts_with(repo::lineage_folder(name)); }));
  }
  repo::Lineage mistaken;
  std::string wal;
  test::RecordingReporter reporter;
};

TEST_F(RemoveLineage, TakesAllOfItAndNothingElse) {
  target.clock.advance(kGrace);
  const size_t others = objects_of(lineage());
  EXPECT_EQ(plan_removal(options(), target.repository).objects, 4u);
  EXPECT_EQ(remove(options()).objects, 4u);
  EXPECT_EQ(objects_of(mistaken.name), 0u);
  EXPECT_EQ(objects_of(lineage()), others);
  EXPECT_EQ(target.repository.lineages("main").size(), 1u);
  EXPECT_EQ(error_of([&] { remove(options()); }).code(), ErrorCode::kNotFound);
}

TEST_F(RemoveLineage, RefusesWhatCanBeGoneBackTo) {
  target.clock.advance(2 * kGrace);
  Error error = refusal(options("15-1"));
  EXPECT_EQ(error.code(), ErrorCode::kConflict);
  EXPECT_EQ(error.message(), "lineage 15-1 of cluster \"main\" has backups");
  // Of which one of the two commits was lost.
  target.store.remove(commit_names(repo::list_backup_ids(target.repository, lineage()).at(0))[0]);
  EXPECT_EQ(refusal(options("15-1")).message(), error.message());
  // The same of the whole cluster; and a deletion that can still be taken back is respected.
  EXPECT_EQ(refusal({.cluster = "main", .grace = kGrace}).message(), error.message());
  carry_out(plan_deletion({.ids = {"latest"}, .delete_last = true, .lineage = {.lineage = "15-1"}},
                          target.repository),
            target.repository, target.store);
  error = refusal(options("15-1"));
  EXPECT_EQ(error.message(),
            "lineage 15-1 of cluster \"main\" has deleted backups that can be taken back");
}

TEST_F(RemoveLineage, RefusesWhatIsInUseOrArchivedInto) {
  Error error = refusal(options());
  EXPECT_EQ(error.code(), ErrorCode::kBusy);
  EXPECT_EQ(error.message(), "lineage 15-2 of cluster \"main\" has WAL of late");
  EXPECT_NE(error.hint().find("holdfast lineage remove 15-2 --grace 0s"), std::string::npos)
      << error.hint();
  target.clock.advance(kGrace);
  const repo::HeldIntent held(target.repository, mistaken.name,
                              {.what = "restore", .uses = {new_id()}}, target.clock);
  error = refusal(options());
  EXPECT_EQ(error.code(), ErrorCode::kBusy);
  EXPECT_EQ(error.message(), "lineage 15-2 of cluster \"main\" is in use");
}

// Its document goes first: from then on no reader takes what is left for a lineage, no new one
// takes its number, and the same command removes the rest.
TEST_F(RemoveLineage, InterruptedAnywhereLeavesNoHalf) {
  target.clock.advance(kGrace);
  struct Stops : store::Remover {
    Stops(store::Remover& remover, int calls) : inner(remover), left(calls) {}
    bool remove(const std::string& name) override {
      if (left-- == 0) throw Error({.code = ErrorCode::kStoreUnavailable, .message = "away"});
      return inner.remove(name);
    }
    store::Remover& inner;
    int left;
  };
  Stops nothing(target.store, 0), one(target.store, 2);
  EXPECT_EQ(error_of([&] { remove(options(), nothing); }).message(), "away");
  EXPECT_EQ(target.repository.lineages("main").size(), 2u);
  EXPECT_EQ(error_of([&] { remove(options(), one); }).message(), "away");
  EXPECT_EQ(target.repository.lineages("main").size(), 1u);
  const ClusterSummary summary = summarize_cluster(target.repository, "main");
  ASSERT_EQ(summary.lineages.size(), 2u);
  EXPECT_EQ(summary.lineages[1].problem, "its removal was interrupted");

  repo::Lineage third = test::test_lineage();
  third.system_identifier = 43;
  EXPECT_EQ(repo::to_string(target.repository.create_lineage(third).name), "15-3");
  remove(options());
  EXPECT_EQ(objects_of(mistaken.name), 0u);
}

// With a commit it has lost its document, and nobody is to go on with a removal.
TEST_F(RemoveLineage, OneWithoutDocumentAndWithDamagedCommitsIsNoInterruptedRemoval) {
  for (const std::string& name :
       {repo::lineage_document_name(lineage()), repo::lineage_copy_name(lineage())})
    target.store.remove(name);
  EXPECT_TRUE(summarize_cluster(target.repository, "main").lineages.front().lineage);
  for (const std::string& name :
       commit_names(repo::list_backup_ids(target.repository, lineage()).front()))
    flip_a_bit(name);
  EXPECT_EQ(summarize_cluster(target.repository, "main").lineages.front().problem,
            "its document cannot be read");
}

TEST_F(RemoveLineage, OfAWholeClusterTakesItsDrillsToo) {
  repo::Lineage typo = test::test_lineage();
  typo.name.cluster = "mian";
  typo = target.repository.create_lineage(typo);
  target.store.create(repo::drills_folder("mian") + "x.json", as_bytes("{}"));
  target.clock.advance(kGrace);
  EXPECT_EQ(summarize_clusters(target.repository).size(), 2u);
  const Removal removal = remove({.cluster = "mian", .grace = kGrace});
  EXPECT_EQ(removal.objects, 5u);
  EXPECT_EQ(removal.cluster.drills, 1u);
  EXPECT_EQ(target.repository.clusters(), std::vector<std::string>{"main"});
  EXPECT_EQ(error_of([&] { remove({.cluster = "mian", .grace = kGrace}); }).code(),
            ErrorCode::kNotFound);
}

// A lineage into which somebody begins a backup between the look and the removal is there again.
TEST_F(RemoveLineage, OfOneThatComesIntoUseMeanwhileIsTakenBack) {
  target.clock.advance(kGrace);
  std::unique_ptr<repo::HeldIntent> held;
  struct Begins : store::Remover {
    explicit Begins(std::function<void()> call, store::Remover& remover)
        : begin(std::move(call)), inner(remover) {}
    bool remove(const std::string& name) override {
      begin();
      return inner.remove(name);
    }
    std::function<void()> begin;
    store::Remover& inner;
  };
  Begins begins(
      [&] {
        if (!held)
          held = std::make_unique<repo::HeldIntent>(target.repository, mistaken.name,
                                                    repo::Intent{.what = "backup"}, target.clock);
      },
      target.store);
  EXPECT_EQ(error_of([&] { remove(options(), begins); }).code(), ErrorCode::kBusy);
  EXPECT_TRUE(target.repository.find_lineage("main", 42));
  EXPECT_TRUE(target.store.info(wal));
}

class RenameCluster : public testing::Test, protected test::DeletionWorld {
 protected:
  RenameCluster() { put_backup({pack(1)}); }
  Renaming rename(const std::string& from, const std::string& to) {
    return rename_cluster(target.repository, from, to);
  }
  // The server of another cluster comes into the repository.
  repo::Lineage init(const repo::Repository& repository, const std::string& name,
                     uint64_t system_identifier = 42) {
    repo::Lineage lineage = test::test_lineage();
    lineage.name.cluster = name;
    lineage.system_identifier = system_identifier;
    return repository.create_lineage(lineage, false);
  }
  std::vector<std::string> names(const std::string& name) {
    const ClusterSummary summary = summarize_cluster(target.repository, name);
    std::vector<std::string> all = {summary.name};
    all.insert(all.end(), summary.earlier_names.begin(), summary.earlier_names.end());
    return all;
  }
};

TEST_F(RenameCluster, EveryNameThatItHadGoesOnLeadingToIt) {
  using Names = std::vector<std::string>;
  EXPECT_TRUE(rename("main", "shop").done);
  EXPECT_FALSE(rename("main", "shop").done);
  EXPECT_TRUE(rename("shop", "store").done);
  EXPECT_EQ(target.repository.clusters(), Names{"store"});
  for (const char* name : {"main", "shop", "store"}) {
    EXPECT_EQ(names(name), (Names{"store", "shop", "main"})) << name;
    const std::vector<repo::Lineage> found = target.repository.lineages(name);
    ASSERT_EQ(found.size(), 1u) << name;
    EXPECT_EQ(found.front().name, lineage());
    EXPECT_EQ(found.front().name.shown(), name);
    const repo::Backup backup =
        repo::resolve_backup(target.repository, found.front().name, "latest");
    EXPECT_EQ(backup.lineage.shown(), name);
  }
  // Back to the first one, and to one that it had.
  EXPECT_TRUE(rename("shop", "main").done);
  EXPECT_EQ(names("store"), (Names{"main", "store", "shop"}));
  EXPECT_TRUE(rename("store", "shop").done);
  EXPECT_EQ(names("main"), (Names{"shop", "main", "store"}));
}

TEST_F(RenameCluster, TheNextLineageComesIntoTheSameFolder) {
  rename("main", "shop");
  repo::Lineage next = test::test_lineage();
  next.name.cluster = "shop";
  next.system_identifier = 42;
  const repo::Lineage made = target.repository.create_lineage(next);
  EXPECT_EQ(made.name.cluster, "main");
  EXPECT_EQ(made.name.shown(), "shop");
  EXPECT_EQ(repo::to_string(made.name), "15-2");
  EXPECT_EQ(target.repository.lineages("main").size(), 2u);
}

TEST_F(RenameCluster, ANameIsNeverAnotherClusters) {
  repo::Lineage other = test::test_lineage();
  other.name.cluster = "other";
  other.system_identifier = 42;
  target.repository.create_lineage(other);
  rename("main", "shop");
  const std::vector<std::string> before = test::object_names(target.store);
  // Also its first name is kept for it.
  for (const auto& [from, to] :
       {std::pair("main", "other"), {"other", "shop"}, {"other", "main"}}) {
    const Error error = error_of([&] { rename(from, to); });
    EXPECT_EQ(error.code(), ErrorCode::kAlreadyExists) << error.message();
  }
  EXPECT_EQ(error_of([&] { rename("mein", "new"); }).code(), ErrorCode::kNotFound);
  EXPECT_EQ(error_of([&] { rename("main", "No"); }).code(), ErrorCode::kUsage);
  EXPECT_EQ(test::object_names(target.store), before);
}

// Before each call that puts something somebody else does another thing.
struct Meanwhile : test::FaultStore {
  Meanwhile(store::MemoryStore& store, int call, std::function<void()> what)
      : FaultStore(store, test::Fault{.first = UINT64_MAX}, &store),
        left(call),
        event(std::move(what)) {}
  bool create(const std::string& name, ByteView bytes) override {
    if (left-- == 0) event();
    return FaultStore::create(name, bytes);
  }
  int left;
  std::function<void()> event;
};

// Of two that want a name at the same moment one gets it, wherever the other comes in between; no
// name leads to two clusters, and who is told that he has it does.
TEST_F(RenameCluster, OfTwoThatTakeANameAtOnceOneGetsIt) {
  init(target.repository, "other");
  int call = 0;
  const auto try_all = [&](const auto& one, const auto& two, const auto& expect_whole) {
    for (int before = 0;; ++before) {
      SCOPED_TRACE(fmt::format("before call {}", before));
      const std::string name = fmt::format("shop{}", call++);
      std::optional<Error> second;
      Meanwhile store(target.store, before,
                      [&] { second = holdfast::error_of([&] { two(target.repository, name); }); });
      const repo::Repository through = repo::Repository::open(store, {});
      const std::optional<Error> first = holdfast::error_of([&] { one(through, name); });
      if (store.left >= 0) return;  // it makes no such call
      EXPECT_NE(first.has_value(), second.has_value());
      const Error& refused = first ? *first : second.value();
      EXPECT_TRUE(refused.code() == ErrorCode::kAlreadyExists ||
                  refused.code() == ErrorCode::kConflict)
          << refused.message();
      expect_whole(name, !first.has_value());
    }
  };
  const auto rename_main = [](const repo::Repository& repository, const std::string& name) {
    rename_cluster(repository, "main", name);
  };
  const auto rename_other = [](const repo::Repository& repository, const std::string& name) {
    rename_cluster(repository, "other", name);
  };
  const auto init_new = [&](const repo::Repository& repository, const std::string& name) {
    init(repository, name, 43);
  };
  const auto of = [&](const std::string& name) {
    const std::vector<repo::Lineage> found = target.repository.lineages(name);
    return found.size() == 1 ? found.front().name.cluster : std::string("of two");
  };
  try_all(rename_main, rename_other, [&](const std::string& name, bool first_did) {
    EXPECT_EQ(of(name), first_did ? "main" : "other");
    EXPECT_EQ(names(name).front(), name);
    EXPECT_EQ(std::ranges::count(target.repository.clusters(), name), 1);
  });
  try_all(rename_main, init_new, [&](const std::string& name, bool first_did) {
    EXPECT_EQ(of(name), first_did ? "main" : name);
    EXPECT_EQ(names(name).front(), name);
  });
  try_all(init_new, rename_main, [&](const std::string& name, bool first_did) {
    EXPECT_EQ(of(name), first_did ? name : "main");
    EXPECT_EQ(names(name).front(), name);
  });
  EXPECT_GE(call, 8);
}

// One of the two of each object of a name may be lost, damaged or all of its folder be gone.
TEST_F(RenameCluster, EitherOfTheTwoOfANameLeadsToTheCluster) {
  rename("main", "shop");
  const std::vector<std::string> all = test::object_names(target.store);
  std::vector<std::string> firsts, copies;
  for (const std::string& name : all) {
    if (name.starts_with("clusters/shop/")) firsts.push_back(name);
    if (name.starts_with("clusters/main/names.copy/shop/")) copies.push_back(name);
  }
  ASSERT_EQ(firsts.size(), 2u);
  ASSERT_EQ(copies.size(), 2u);
  for (const std::vector<std::string>* half : {&firsts, &copies}) {
    for (const bool damaged : {false, true}) {
      SCOPED_TRACE(fmt::format("{} {}", half->front(), damaged));
      std::map<std::string, Bytes> whole;
      for (const std::string& name : *half) {
        whole.emplace(name, test::object_bytes(target.store, name));
        target.store.remove(name);
        if (damaged) target.store.create(name, as_bytes("rot"));
      }
      EXPECT_EQ(names("main"), (std::vector<std::string>{"shop", "main"}));
      EXPECT_EQ(target.repository.lineages("shop").size(), 1u);
      EXPECT_EQ(error_of([&] {
                  init(target.repository, "shop", target.lineage.system_identifier);
                }).code(),
                ErrorCode::kAlreadyExists);
      target.repository.complete_copies(lineage());
      for (const auto& [name, bytes] : whole) {
        if (damaged) {
          target.store.remove(name);
          target.store.create(name, bytes);
        }
        EXPECT_EQ(test::object_bytes(target.store, name), bytes);
      }
    }
  }
  EXPECT_EQ(test::object_names(target.store), all);
}

// Nobody knows whose it is: it is no cluster, and is given to none.
TEST_F(RenameCluster, ANameOfWhichNothingCanBeReadIsRefused) {
  rename("main", "shop");
  for (const std::string& name : test::object_names(target.store)) {
    if (name.find("/shop/") == std::string::npos) continue;
    target.store.remove(name);
    target.store.create(name, as_bytes("rot"));
  }
  EXPECT_EQ(target.repository.clusters(), std::vector<std::string>{"main"});
  for (const auto& [from, to] : {std::pair("main", "shop"), {"shop", "new"}})
    EXPECT_EQ(error_of([&] { rename(from, to); }).code(), ErrorCode::kCorrupt) << from << to;
  EXPECT_EQ(error_of([&] { init(target.repository, "shop"); }).code(), ErrorCode::kCorrupt);
  // A later name stays the later one, also when the damage is mended.
  rename("main", "new");
  EXPECT_TRUE(target.store.info(repo::cluster_name_object("new", 2)));
}

TEST_F(RenameCluster, GoesWithTheCluster) {
  rename("main", "shop");
  carry_out(
      plan_deletion({.cluster = "shop", .ids = {"latest"}, .delete_last = true}, target.repository),
      target.repository, target.store);
  target.clock.advance(2 * kGrace);
  test::RecordingReporter reporter;
  expire({.cluster = "shop", .grace = kGrace}, target.repository, target.store, reporter, {});
  target.clock.advance(2 * kGrace);
  carry_out_removal({.cluster = "shop", .grace = kGrace}, target.repository, target.store, reporter,
                    {});
  EXPECT_TRUE(target.repository.clusters().empty());
  for (const std::string& name : test::object_names(target.store))
    EXPECT_FALSE(name.starts_with("clusters/")) << name;
}

}  // namespace
}  // namespace holdfast::expire
