// Random histories of backups that share packs, deletions, restores, crashes and expiries, in all
// of which another operation can come between any two calls on the store; held against a model that
// knows nothing of how expiry decides.
#include <cstdlib>
#include <random>

#include <gtest/gtest.h>

#include "expire/delete.h"
#include "expire/expire.h"
#include "repo/marks.h"
#include "repo/repair.h"
#include "support/deletion_world.h"

namespace holdfast::expire {
namespace {

using namespace std::chrono_literals;
using Engine = std::mt19937_64;

// What the calls of a process fail with that is dead.
struct Crash : Error {
  Crash() : Error({.code = ErrorCode::kIo, .message = "the process is dead"}) {}
};

// Does something else before the nth call from now on, once. When that crashes, no call comes to
// the store any more, those of destructors neither: so it looks when the process has died.
class Interrupted : public store::Store, public store::Remover {
 public:
  Interrupted(store::MemoryStore& below, uint64_t nth, std::function<void()> event)
      : below_(below), left_(nth), event_(std::move(event)) {}

  std::unique_ptr<store::Upload> upload(const std::string& name) override {
    return call().upload(name);
  }
  bool create(const std::string& name, ByteView bytes) override {
    return call().create(name, bytes);
  }
  std::optional<Bytes> read(const std::string& name, uint64_t offset, uint64_t length) override {
    return call().read(name, offset, length);
  }
  std::optional<size_t> read_into(const std::string& name, uint64_t offset,
                                  std::span<std::byte> into) override {
    return call().read_into(name, offset, into);
  }
  std::optional<store::ObjectInfo> info(const std::string& name) override {
    return call().info(name);
  }
  store::ListPage list(const store::ListRequest& request) override {
    // In small pages, so that much can happen between them.
    store::ListRequest small = request;
    small.limit = std::min<size_t>(request.limit, 3);
    return call().list(small);
  }
  void make_durable(const std::string& name) override { call().make_durable(name); }
  Time now() override { return call().now(); }
  std::string url() const override { return below_.url(); }
  bool remove(const std::string& name) override { return call().remove(name); }

  bool is_dead() const { return is_dead_; }

 private:
  store::MemoryStore& below_;
  store::MemoryStore& call() {
    if (is_dead_) throw Crash();
    if (left_ > 0 && --left_ == 0) {
      try {
        event_();
      } catch (const Crash&) {
        is_dead_ = true;
        throw;
      }
    }
    return below_;
  }
  uint64_t left_;
  bool is_dead_ = false;
  std::function<void()> event_;
};

// What is true of a backup, as those who made it know.
struct MadeBackup {
  std::string id;
  std::set<std::string> objects;  // packs, manifests, refs
  std::vector<repo::PackRefs> refs;
  uint32_t timeline = 1;
  uint64_t segment = 0;
  bool was_protected = true;  // its intent held until its commit
};

struct Running {
  std::unique_ptr<repo::HeldIntent> intent;
  Time begun;
  Time valid_until;
  MadeBackup backup;  // of a backup
  std::string uses;   // of a restore; of a backup its parent, or empty
  std::set<std::string> needs;
  uint32_t timeline = 1;
  uint64_t segment = 0;
  bool is_restore = false;
};

class History : public test::DeletionWorld {
 public:
  explicit History(uint64_t seed) : engine_(seed) {
    repo::put_mark(target.repository, lineage(), new_id(), repo::MarkKind::kVerified,
                   "of nothing");  // garbage from the beginning
    for (int i = 0; i < 3; ++i) push_wal();
  }

  void run(int steps) {
    for (int step = 0; step < steps && !testing::Test::HasFailure(); ++step) {
      pass_time();
      random_step(true);
      check(fmt::format("step {}", step));
    }
    if (!testing::Test::HasFailure()) settle();
  }

 private:
  uint64_t draw(uint64_t below) { return engine_() % below; }
  Time now() const { return target.clock.now(); }

  void pass_time() {
    // Longer than an intent's life only now and then: most owners live long enough to renew.
    static constexpr Microseconds kSteps[] = {1min, 1h, 5h, 9h, 11h};
    target.clock.advance(draw(25) == 0 ? Microseconds(30h) : kSteps[draw(std::size(kSteps))]);
    for (Running& one : running_) {
      // Owners that live renew; some are asleep.
      if (draw(20) == 0) continue;
      try {
        one.intent->check();
        if (now() + repo::kIntentLife / 2 > one.valid_until)
          one.valid_until = now() + repo::kIntentLife;
      } catch (const Error&) {
      }
    }
  }

  // `alone`: nothing else is under way, so a step may be interrupted by another.
  void random_step(bool alone) {
    switch (draw(alone ? 12 : 10)) {
      case 0:
      case 1:
        return begin_backup();
      case 2:
      case 3:
        return write_pack();
      case 4:
      case 5:
        return finish_backup();
      case 6:
        return begin_restore();
      case 7:
        return draw(3) == 0 ? end_something() : run_expire_quietly();
      case 8:
        return delete_backup();
      case 9:
        return draw(4) == 0   ? put_record_or_redirect()
               : draw(4) == 0 ? lose_or_repair_a_commit()
                              : push_wal();
      default:
        return run_expire();
    }
  }

  void begin_backup() {
    if (running_.size() > 6) return;
    Running one;
    one.begun = now();
    one.backup.id = new_id();
    one.backup.timeline = current_timeline_;
    one.backup.segment = next_segment_;
    one.intent = std::make_unique<repo::HeldIntent>(
        target.repository, lineage(),
        repo::Intent{.what = "backup", .backup = one.backup.id, .objects_from = now()},
        target.clock);
    one.valid_until = now() + repo::kIntentLife;
    if (!committed_.empty() && draw(3) != 0) {
      const MadeBackup& parent = committed_[draw(committed_.size())];
      one.intent->use(parent.id);
      if (has_commit(parent.id) && parent.was_protected) {
        one.uses = parent.id;
        for (const repo::PackRefs& pack : parent.refs)
          if (draw(2) == 0) add_pack(one.backup, pack);
        one.needs = one.backup.objects;
      }
    }
    running_.push_back(std::move(one));
  }

  void add_pack(MadeBackup& backup, repo::PackRefs refs) {
    refs.every = draw(2) == 0;
    refs.runs.clear();
    if (!refs.every) refs.runs = {{0, 1}, {2, 1}};
    backup.objects.insert(repo::pack_name(lineage(), refs.pack));
    backup.refs.push_back(refs);
  }

  Running* a_running(bool restore) {
    std::vector<Running*> found;
    for (Running& one : running_)
      if (one.is_restore == restore) found.push_back(&one);
    return found.empty() ? nullptr : found[draw(found.size())];
  }
  void forget(const Running* which) {
    std::erase_if(running_, [&](const Running& one) { return &one == which; });
  }

  void write_pack() {
    Running* one = a_running(false);
    if (one == nullptr) return;
    const Bytes16 id = target.random.bytes16();
    put_pack(id);
    add_pack(one->backup, {.pack = id, .extents = 4, .runs = {}});
  }

  bool any_missing(const MadeBackup& backup) {
    return std::ranges::any_of(backup.objects, [&](const std::string& name) { return !has(name); });
  }
  bool any_doomed(const MadeBackup& backup) {
    return repo::find_doomed(target.repository, lineage(), backup.objects).has_value();
  }

  // As BackupWriter does; its steps are pulled apart by what comes between (a crash, sleep).
  void finish_backup() {
    Running* one = a_running(false);
    if (one == nullptr || one->backup.refs.empty()) return;
    MadeBackup made = one->backup;
    put_contents(made.id, made.refs);
    for (const std::string& name :
         {repo::manifest_name(lineage(), made.id), repo::manifest_copy_name(lineage(), made.id),
          repo::refs_name(lineage(), made.id)})
      made.objects.insert(name);
    bool may_commit = draw(8) != 0;  // else it is killed here
    try {
      one->intent->check();
    } catch (const Error&) {
      may_commit = false;
    }
    if (!may_commit || any_missing(made) || any_doomed(made)) return forget(one);
    // Sometimes the process sleeps at the worst moment.
    if (draw(10) == 0) {
      target.clock.advance(80h);
      made.was_protected = false;
      run_expire_quietly();
      target.clock.advance(25h);
      run_expire_quietly();
    }
    ASSERT_TRUE(put_commit(made.id, made.timeline, made.segment));
    if (any_missing(made) || any_doomed(made)) {
      EXPECT_FALSE(made.was_protected) << made.id << " lost its objects under a valid intent";
      repo::put_mark(target.repository, lineage(), made.id, repo::MarkKind::kDamaged, "");
      made.was_protected = false;
    } else if (draw(8) != 0) {
      one->intent->end();
    }
    if (!made.was_protected) unprotected_.insert(made.id);
    committed_.push_back(std::move(made));
    forget(one);
  }

  void begin_restore() {
    if (committed_.empty() || running_.size() > 6) return;
    const MadeBackup backup = committed_[draw(committed_.size())];
    Running one;
    one.is_restore = true;
    one.begun = now();
    one.uses = backup.id;
    one.timeline = backup.timeline;
    one.segment = backup.segment;
    one.intent = std::make_unique<repo::HeldIntent>(
        target.repository, lineage(),
        repo::Intent{.what = "restore",
                     .uses = {backup.id},
                     .timeline = pg::TimelineId{backup.timeline},
                     .wal_from = pg::start_lsn(backup.segment, segment_size())},
        target.clock);
    one.valid_until = now() + repo::kIntentLife;
    if (!has_commit(backup.id)) return;  // deleted at this moment: refused
    if (!backup.was_protected) return;
    one.needs = backup.objects;
    for (const auto& [name, place] : wal_)
      if (place.first == one.timeline && place.second >= one.segment && has(name))
        one.needs.insert(name);
    running_.push_back(std::move(one));
  }

  bool has_commit(const std::string& id) {
    return repo::has_commit(target.repository, lineage(), id);
  }
  // A disk forgets one of the two of a commit, or lets it rot; what is missing is put again.
  void lose_or_repair_a_commit() {
    if (draw(2) == 0) {
      repo::repair_commits(target.repository, lineage(), target.clock);
      return;
    }
    if (committed_.empty()) return;
    const std::vector<std::string> two = commit_names(committed_[draw(committed_.size())].id);
    if (std::ranges::all_of(two, [&](const std::string& name) { return has(name); }))
      target.store.remove(two[draw(two.size())]);
  }

  // A restore comes to its end, or anything is killed.
  void end_something() {
    if (running_.empty()) return;
    Running& one = running_[draw(running_.size())];
    if (one.is_restore && draw(2) == 0) one.intent->end();
    forget(&one);
  }

  void delete_backup() {
    if (committed_.empty()) return;
    const std::string id = committed_[draw(committed_.size())].id;
    // Now and then by somebody who does not ask whether it is in use.
    if (draw(3) == 0) {
      remove_commit(id);
      std::erase_if(committed_, [&](const MadeBackup& one) { return one.id == id; });
      return;
    }
    try {
      const Deletion deletion =
          plan_deletion({.ids = {id}, .delete_last = true}, target.repository);
      carry_out(deletion, target.repository, target.store);
    } catch (const Error& error) {
      EXPECT_TRUE(error.code() == ErrorCode::kBusy || error.code() == ErrorCode::kCorrupt)
          << error.message();
      return;
    }
    std::erase_if(committed_, [&](const MadeBackup& one) { return one.id == id; });
  }

  void push_wal() {
    if (draw(6) == 0) {  // a promotion
      const uint32_t before = current_timeline_++;
      std::vector<pg::TimelineHistoryEntry> ancestors = ancestors_[before];
      // Sometimes to a point in the past.
      const uint64_t back = draw(3) == 0 ? std::min<uint64_t>(draw(5), next_segment_ - 2) : 0;
      next_segment_ -= back;
      pg::Lsn fork = pg::start_lsn(next_segment_, segment_size()) + 0x10;
      if (!ancestors.empty()) fork = std::max(fork, ancestors.back().switch_lsn);
      next_segment_ = pg::segment_of(fork, segment_size());
      ancestors.push_back({{before}, fork, "test"});
      ancestors_[current_timeline_] = ancestors;
      const std::string history = put_history(current_timeline_, ancestors);
      for (const std::string& name : {history, repo::copy_of_history(history).value()})
        histories_[name] = current_timeline_;
    }
    const std::string name = put_segment(current_timeline_, next_segment_);
    wal_[name] = {current_timeline_, next_segment_};
    if (draw(3) == 0) {
      const uint64_t first = next_segment_ - std::min<uint64_t>(draw(3), next_segment_ - 1);
      indexes_[put_index(current_timeline_, first, next_segment_)] = {current_timeline_,
                                                                      next_segment_};
    }
    if (draw(3) == 0)
      snapshots_[put_snapshot(current_timeline_,
                              pg::start_lsn(next_segment_, segment_size()) + draw(1000))] = {
          current_timeline_, next_segment_};
    ++next_segment_;
  }

  // A verification; or what a compaction has left of a pack that is long gone.
  void put_record_or_redirect() {
    if (draw(3) == 0) {
      put_redirect(target.random.bytes16());
      return;
    }
    std::vector<std::string> replaced;
    if (draw(2) == 0) {
      replaced = records_;
      counting_.clear();
    }
    records_.push_back(put_record(replaced));
    counting_.insert(record_name(records_.back()));
  }

  void run_expire() {
    const uint64_t nth = draw(3) == 0 ? 0 : 1 + draw(150);
    const bool crashes = draw(2) == 0;
    Interrupted store(target.store, nth, [&] {
      if (crashes) {
        dead_until_ = now() + repo::kExpireIntentLife;
        throw Crash();
      }
      ++expiries_under_way_;
      for (uint64_t more = 1 + draw(3); more > 0; --more)
        draw(3) == 0 ? run_expire_quietly() : random_step(false);
      --expiries_under_way_;
    });
    try {
      const repo::Repository repository =
          repo::Repository::open(store, target.key, std::nullopt, target.random);
      expire({.grace = kGrace}, repository, store, silent_reporter(), {});
    } catch (const Error& error) {
      if (store.is_dead() || is_refused_beside_another(error)) return;
      EXPECT_EQ(error.code(), ErrorCode::kCorrupt) << error.message() << " " << error.detail();
      // Also one that is deleted stands in the way until its grace period is over.
      EXPECT_TRUE(std::ranges::any_of(unprotected_, [&](const std::string& id) {
        return repo::has_commit(target.repository, lineage(), id);
      })) << error.message();
    }
  }
  void run_expire_quietly() {
    try {
      expire({.grace = kGrace}, target.repository, target.store, silent_reporter(), {});
    } catch (const Error& error) {
      if (is_refused_beside_another(error)) return;
      EXPECT_EQ(error.code(), ErrorCode::kCorrupt) << error.message();
    }
  }
  // One that died seems to be at work for as long as its announcement holds.
  bool is_refused_beside_another(const Error& error) const {
    return error.code() == ErrorCode::kBusy && (expiries_under_way_ > 0 || now() <= dead_until_);
  }

  // --- the model

  // Whether a recovery from `start` on `from` can come to segment `segment` of `timeline`.
  bool leads_to(uint32_t from, uint64_t start, uint32_t timeline, uint64_t segment) {
    if (segment < start) return false;
    if (timeline == from) return true;
    for (const pg::TimelineHistoryEntry& entry : ancestors_[timeline])
      if (entry.timeline.value == from)
        return entry.switch_lsn >= pg::start_lsn(start, segment_size()) + 0x28;
    return false;
  }
  bool holds_wal(const Running& one, uint32_t timeline, uint64_t segment) {
    if (!one.is_restore || segment < one.segment) return false;
    if (timeline == one.timeline) return true;
    return std::ranges::any_of(ancestors_[one.timeline],
                               [&](const auto& entry) { return entry.timeline.value == timeline; });
  }

  void check(const std::string& when) {
    SCOPED_TRACE(when);
    EXPECT_TRUE(has("repo.json"));
    EXPECT_TRUE(has(repo::lineage_document_name(lineage())));
    for (const auto& [name, timeline] : histories_)
      if (!committed_.empty() && is_history_needed(timeline) && !was_free_.contains(name)) {
        EXPECT_TRUE(has(name)) << name;
      }
    for (const std::string& name : counting_) EXPECT_TRUE(has(name)) << name;
    for (const auto* places : {&indexes_, &snapshots_})
      for (const auto& [name, place] : *places)
        if (is_wal_needed(place.first, place.second) && !was_free_.contains(name)) {
          EXPECT_TRUE(has(name)) << name;
        }
    for (const std::string& name : snapshots_in_force())
      if (!was_free_.contains(name)) {
        EXPECT_TRUE(has(name)) << name;
      }
    for (const MadeBackup& backup : committed_) {
      if (!backup.was_protected) continue;
      EXPECT_TRUE(has_commit(backup.id));
      for (const std::string& name : backup.objects) EXPECT_TRUE(has(name)) << backup.id << name;
      for (const auto& [name, place] : wal_)
        if (leads_to(backup.timeline, backup.segment, place.first, place.second) &&
            !was_free_.contains(name)) {
          EXPECT_TRUE(has(name)) << backup.id << " " << name;
        }
      EXPECT_FALSE(repo::read_marks(target.repository, lineage(), backup.id).damaged) << backup.id;
    }
    for (const Running& one : running_) {
      if (now() > one.valid_until + kGrace) continue;
      for (const std::string& name : one.needs) EXPECT_TRUE(has(name)) << one.uses << " " << name;
      for (const std::string& name : one.backup.objects)
        EXPECT_TRUE(has(name)) << one.backup.id << " " << name;
    }
    // WAL that nobody needed at some moment may go even if somebody could need it later.
    if (committed_.empty()) return;
    const std::set<std::string> in_force = snapshots_in_force();
    for (const auto* places : {&wal_, &indexes_, &snapshots_})
      for (const auto& [name, place] : *places)
        if (!is_wal_needed(place.first, place.second) && !in_force.contains(name))
          was_free_.insert(name);
    for (const auto& [name, timeline] : histories_)
      if (!is_history_needed(timeline)) was_free_.insert(name);
  }
  // Somebody can recover on that timeline, or be promoted from an older one.
  bool is_history_needed(uint32_t timeline) {
    auto is_there = [&](const auto& places) {
      return std::ranges::any_of(
          places, [&](const auto& one) { return one.second.first <= timeline && has(one.first); });
    };
    return committed_.empty() || is_there(wal_) || is_there(indexes_) || is_there(snapshots_) ||
           std::ranges::any_of(committed_,
                               [&](const MadeBackup& one) { return one.timeline <= timeline; }) ||
           std::ranges::any_of(running_, [&](const Running& one) {
             return now() <= one.valid_until + kGrace &&
                    (one.is_restore ? one.timeline : one.backup.timeline) <= timeline;
           });
  }
  // Those that hold where each backup's WAL begins.
  std::set<std::string> snapshots_in_force() {
    std::set<std::string> found;
    for (const MadeBackup& backup : committed_) {
      const pg::Lsn start = pg::start_lsn(backup.segment, segment_size());
      // The path of its timeline, newest first, each up to where it was left.
      std::vector<std::pair<uint32_t, pg::Lsn>> path = {{backup.timeline, start}};
      const auto& ancestors = ancestors_[backup.timeline];
      for (auto at = ancestors.rbegin(); at != ancestors.rend(); ++at)
        path.emplace_back(at->timeline.value, std::min(at->switch_lsn, path.back().second));
      for (const auto& [timeline, until] : path) {
        std::string newest;  // names of one timeline sort by their LSNs
        for (const auto& [name, place] : snapshots_)
          if (place.first == timeline && has(name) &&
              repo::parse_object_name(lineage(), segment_size(), name)->lsn <= until)
            newest = name;
        if (newest.empty()) continue;
        found.insert(newest);
        break;
      }
    }
    return found;
  }
  bool is_wal_needed(uint32_t timeline, uint64_t segment) {
    return std::ranges::any_of(committed_, [&](const MadeBackup& backup) {
      return leads_to(backup.timeline, backup.segment, timeline, segment);
    });
  }

  // Nobody works any more, intents run out, two grace periods pass: what is left is what lives.
  void settle() {
    running_.clear();
    std::erase_if(committed_, [&](const MadeBackup& one) {
      if (one.was_protected) return false;
      remove_commit(one.id);
      return true;
    });
    target.clock.advance(repo::kLongestIntentLife + kGrace + 1h);
    repo::repair_commits(target.repository, lineage(), target.clock);
    for (int i = 0; i < 6; ++i) {
      expire({.grace = kGrace}, target.repository, target.store, silent_reporter(), {});
      target.clock.advance(kGrace);
      check("settling");
    }
    expire({.grace = kGrace}, target.repository, target.store, silent_reporter(), {});
    std::set<std::string> expected = snapshots_in_force();
    expected.insert(counting_.begin(), counting_.end());
    expected.insert({"repo.json", "repo.copy.json"});
    expected.insert({repo::lineage_document_name(lineage()), repo::lineage_copy_name(lineage())});
    expected.insert(
        {repo::cluster_name_object("main", 0), repo::cluster_name_copy("main", "main", 0)});
    for (const MadeBackup& backup : committed_) {
      for (const std::string& name : commit_names(backup.id)) expected.insert(name);
      expected.insert(backup.objects.begin(), backup.objects.end());
    }
    for (const auto* places : {&wal_, &indexes_, &snapshots_})
      for (const auto& [name, place] : *places)
        if (has(name) && (committed_.empty() || is_wal_needed(place.first, place.second)))
          expected.insert(name);
    for (const auto& [name, timeline] : histories_)
      if (has(name) && is_history_needed(timeline)) expected.insert(name);
    const std::vector<std::string> names = test::object_names(target.store);
    const std::set<std::string> there(names.begin(), names.end());
    for (const std::string& name : there)
      EXPECT_TRUE(expected.contains(name)) << "garbage: " << name;
    for (const std::string& name : expected) EXPECT_TRUE(there.contains(name)) << "gone: " << name;
  }

  Engine engine_;
  std::vector<Running> running_;
  std::vector<MadeBackup> committed_;
  std::set<std::string> unprotected_;                         // of these
  std::map<std::string, std::pair<uint32_t, uint64_t>> wal_;  // all that was ever pushed
  // Each by the last segment of what it tells.
  std::map<std::string, std::pair<uint32_t, uint64_t>> indexes_, snapshots_;
  std::set<std::string> was_free_;  // of these what no commit needed once
  std::map<std::string, uint32_t> histories_;
  std::vector<std::string> records_;  // of verification
  std::set<std::string> counting_;    // of them, by name
  std::map<uint32_t, std::vector<pg::TimelineHistoryEntry>> ancestors_;
  uint32_t current_timeline_ = 1;
  uint64_t next_segment_ = 2;
  int expiries_under_way_ = 0;
  Time dead_until_{};
};

TEST(Histories, NeverLoseWhatLivesAndLeaveNoGarbage) {
  const char* given = std::getenv("HOLDFAST_SEED");
  const uint64_t first = given != nullptr ? std::stoull(given) : std::random_device()();
  const int histories = given != nullptr ? 1 : std::getenv("HOLDFAST_LONG") != nullptr ? 1000 : 16;
  for (int i = 0; i < histories; ++i) {
    const uint64_t seed = first + static_cast<uint64_t>(i);
    SCOPED_TRACE(fmt::format("HOLDFAST_SEED={}", seed));
    History(seed).run(150);
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace holdfast::expire
