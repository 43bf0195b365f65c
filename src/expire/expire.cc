// Why nothing living is removed, whoever else is at work:
//
// - A run says that it is under way (an intent of its own) before it looks who uses what, and until
//   its last removal. Of two runs one is refused. Where there is no room for that, only what has a
//   name that nobody can begin to use goes before: all but WAL.
// - Whoever begins to use what has been there for long, which is WAL, says so first (an intent) and
//   looks for runs then. A run that begins later sees it; one that is under way is waited for when
//   it has listed what is needed. What a run lists it does not remove: that is a later one's.
// - A commit, which stands in no list, goes a grace period after its backup was deleted. Who takes
//   the deletion back claims the backup first, and is refused while a run is under way. What it
//   reaches may be listed before, and goes behind it: whatever keeps a commit keeps its backup.
// - What else a new backup uses it wrote itself, which is in no list, or its parent uses, whose
//   commit stood when we looked. A restore or mount reads its backup's commit again after it has
//   put its intent, so that stood too.
// - A backup that outlived its intent, slept through a whole grace period, and commits at this very
//   moment finds a list or a missing object behind its commit and marks itself; if it is killed
//   before that, we mark it.
#include "expire/expire.h"

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "base/error.h"
#include "base/task_group.h"
#include "expire/claims.h"
#include "expire/living.h"
#include "repo/doomed.h"
#include "repo/marks.h"
#include "repo/needed_wal.h"
#include "repo/refs.h"

namespace holdfast::expire {
namespace {

using repo::ObjectName;

// `ours`: the intents of the run that asks.
void refuse_beside_another(const repo::Repository& repository, const repo::LineageName& lineage,
                           const std::vector<Bytes16>& ours) {
  for (const repo::RunningExpiry& other : repo::running_expiries(repository, lineage)) {
    if (std::ranges::find(ours, other.id) != ours.end()) continue;
    throw Error({.code = ErrorCode::kBusy,
                 .message = "another expiry is at work",
                 .detail = fmt::format("It is {}.", other.by),
                 .hint =
                     "Wait for its end. If it was killed, \"holdfast claims\" shows its claim, and "
                     "\"holdfast claims --end ID\" ends it."});
  }
}

// Says that a run is under way. From then on whoever begins to use what is listed knows that it may
// be too late.
class Announcement {
 public:
  // Throws kBusy when another run is.
  Announcement(const repo::Repository& repository, const repo::LineageName& lineage,
               store::Remover& remover)
      : lineage_(lineage),
        remover_(remover),
        intent_(repository, lineage, {.what = std::string(repo::kExpireIntent)}, system_clock(),
                repo::kExpireIntentLife) {
    // No destructor takes its note back when this throws.
    const std::optional<Error> refused = error_of(
        even_interrupted, [&] { refuse_beside_another(repository, lineage_, intent_.ids()); });
    if (!refused) return;
    end();
    throw Error(*refused);
  }
  ~Announcement() {
    error_of(even_interrupted, [&] { end(); });
  }
  Announcement(const Announcement&) = delete;
  Announcement& operator=(const Announcement&) = delete;

  void check() { intent_.check(); }
  // Behind the last removal. Nothing is left of it.
  void end() {
    for (const Bytes16& id : intent_.hand_over()) remover_.remove(repo::intent_name(lineage_, id));
  }

 private:
  const repo::LineageName lineage_;
  store::Remover& remover_;
  repo::HeldIntent intent_;
};

// Whether garbage of this kind may go before a list says so: what has a name drawn at random, which
// nobody can begin to use. WAL can be relied on at any moment, and the note that an intent has
// ended goes behind it, as a list sees to.
bool may_go_unlisted(repo::ObjectKind kind) {
  switch (kind) {
    case repo::ObjectKind::kIntent:
    case repo::ObjectKind::kManifest:
    case repo::ObjectKind::kManifestCopy:
    case repo::ObjectKind::kRefs:
    case repo::ObjectKind::kMark:
    case repo::ObjectKind::kPack:
    case repo::ObjectKind::kRedirect:
    case repo::ObjectKind::kVerified:
    case repo::ObjectKind::kWalIndex:
    case repo::ObjectKind::kCatalogNames:
      return true;
    default:
      return false;
  }
}

class LineageExpiry {
 public:
  LineageExpiry(const ExpireOptions& options, const repo::Repository& repository,
                const repo::Lineage& lineage, store::Remover& remover, Reporter& reporter,
                const std::stop_token& stop)
      : options_(options),
        grace_(options.short_grace.value_or(options.grace)),
        at_once_(options.short_grace == Microseconds{0}),
        repository_(repository),
        lineage_(lineage),
        remover_(remover),
        reporter_(reporter),
        stop_(stop) {
    result_.name = lineage.name;
  }

  ExpiredLineage run() {
    announce();
    pass();
    // Nothing that is listed now is removed by what was seen before it was listed.
    if (at_once_ && !options_.dry_run) pass();
    if (announcement_) announcement_->end();
    return std::move(result_);
  }

 private:
  // Looks who uses what, and does what is due by that.
  void pass() {
    // Before anything of who uses what: a list that somebody else puts meanwhile is not ours.
    const std::vector<repo::DoomedList> lists = repo::list_doomed(repository_, lineage_.name);
    read_lists(lists);
    look();
    take_off_deleted();
    living_.emplace(repository_, lineage_, now_, options_.grace);
    tell();
    for (const repo::DoomedList& list : lists) {
      throw_if_stopped(stop_);
      if (list.done)
        remove_finished(list);
      else if (const auto useless = useless_.find(list.id); useless != useless_.end())
        give_up(list, useless->second);
      else if (!names_.contains(list.id))
        continue;  // gone
      else if (is_due(list))
        carry_out(list);
      else
        wait_for(list);
    }
    if (!leaving_.empty()) living_.emplace(repository_, lineage_, now_, options_.grace, leaving_);
    doom();
  }

  // Without a grace period also what was put a moment ago, whatever the ticks of clocks.
  bool is_due(const repo::DoomedList& list) const { return at_once_ || list.put + grace_ <= now_; }

  void look() {
    now_ = repository_.store().now();
    intents_ = repo::read_valid_intents(repository_, lineage_.name, now_, options_.grace);
    std::erase_if(intents_, [](const repo::Intent& i) { return i.what == repo::kExpireIntent; });
    result_.intents = 0;
    for (auto one = intents_.begin(); one != intents_.end(); ++one)
      if (std::none_of(intents_.begin(), one,
                       [&](const repo::Intent& before) { return is_of_same_work(before, *one); }))
        ++result_.intents;
    result_.next_due.reset();
    result_.doomed = {};
    result_.deleted.clear();
    result_.waiting = 0;
    leaving_.clear();
    listed_.clear();
  }

  void tell() {
    result_.backups = living_->backups().size();
    for (const repo::Backup& backup : living_->backups())
      if (leaving_.contains(backup.id) ||
          std::ranges::find(result_.deleted, backup.id, &DeletedBackup::id) !=
              result_.deleted.end())
        --result_.backups;
    result_.has_redirects = living_->has_redirects();
  }

  // Where there is no room for it, some of what may go without it goes first.
  void announce() {
    if (options_.dry_run) return refuse_beside_another(repository_, lineage_.name, {});
    while (!announcement_) {
      const std::optional<Error> no_room = error_of({ErrorCode::kNoSpace}, [&] {
        announcement_ = std::make_unique<Announcement>(repository_, lineage_.name, remover_);
      });
      if (no_room && !make_room()) throw Error(*no_room);
    }
  }

  bool make_room() {
    if (std::exchange(may_sweep_, false) && options_.sweep_uploads && options_.sweep_uploads() > 0)
      return true;
    if (!dispensable_) {
      const std::vector<repo::DoomedList> lists = repo::list_doomed(repository_, lineage_.name);
      read_lists(lists);
      look();
      dispensable_.emplace();
      living_.emplace(repository_, lineage_, now_, options_.grace);
      for (const repo::DoomedList& list : lists)
        if (const auto found = names_.find(list.id); found != names_.end() && is_due(list))
          dispensable_->insert(dispensable_->end(), found->second.begin(), found->second.end());
      if (at_once_)
        for_each_candidate(repository_, lineage_, *living_,
                           [&](const store::ListEntry& entry, const ObjectName&) {
                             dispensable_->push_back(entry.name);
                           });
    }
    while (!dispensable_->empty()) {
      throw_if_stopped(stop_);
      const std::string name = std::move(dispensable_->back());
      dispensable_->pop_back();
      const std::optional<ObjectName> parsed = parse(name);
      if (!parsed || !may_go_unlisted(parsed->kind)) continue;
      const std::optional<store::ObjectInfo> info = repository_.store().info(name);
      if (!info || living_->is_living(*parsed, info->modified)) continue;
      if (!is_old(info->modified)) {
        young_.push_back(name);
        continue;
      }
      remove(name, info->bytes);
      return true;
    }
    // Without a grace period all is old in a moment.
    if (young_.empty() || !at_once_) return false;
    holdfast::wait_for(stop_,
                       std::chrono::duration_cast<std::chrono::milliseconds>(store::kClockTicks));
    now_ = repository_.store().now();
    dispensable_ = std::exchange(young_, {});
    return make_room();
  }

  // What was made while we look is nobody's garbage, however short the grace period.
  bool is_old(Time modified) const {
    const Microseconds least = options_.short_grace ? store::kClockTicks : Microseconds{0};
    return modified + std::max(grace_, least) <= now_;
  }

  void remove(const std::string& name, uint64_t bytes) {
    if (!options_.dry_run) {
      if (announcement_) announcement_->check();
      remover_.remove(name);
    }
    ++result_.removed.objects;
    result_.removed.bytes += bytes;
    reporter_.amount(bytes);
  }

  // The commits whose deletion is a grace period old, of each the copy first: one that stands alone
  // was lost, and is put again. What is removed without a list is judged by
  // those that are left, so none of which the commit stands may count as leaving then.
  void take_off_deleted() {
    for (const auto& deletion : repo::read_deletions(repository_, lineage_.name)) {
      const std::string& id = deletion.first;
      const repo::BackupMarks& marks = deletion.second;
      const Time due = marks.deleted_from + grace_;
      if (!repo::has_commit(repository_, lineage_.name, id)) continue;
      std::string kept_by = why_kept(id, marks);
      if (due > now_ || !kept_by.empty()) {
        if (kept_by.empty() && !at_once_) leaving_.insert(id);
        if (due > now_) due_at(due);
        result_.deleted.push_back({.id = id, .due = due, .kept_by = std::move(kept_by)});
        continue;
      }
      if (options_.dry_run)
        leaving_.insert(id);
      else
        for (const std::string& name :
             {repo::backup_copy_name(lineage_.name, id), repo::backup_name(lineage_.name, id)})
          if (const std::optional<store::ObjectInfo> info = repository_.store().info(name))
            remove(name, info->bytes);
      result_.taken_off.push_back(id);
    }
  }

  // What keeps a deleted backup beyond its grace period; empty: nothing.
  std::string why_kept(const std::string& id, const repo::BackupMarks& marks) const {
    for (const repo::Intent& intent : intents_)
      if (intent.backup == id || std::ranges::find(intent.uses, id) != intent.uses.end())
        return fmt::format("a {} uses it", intent.what);
    if (!marks.is_deletion_in_doubt()) return {};
    return fmt::format("\"{}\", which cannot be read, may take its deletion back",
                       marks.unreadable.back());
  }

  std::optional<ObjectName> parse(const std::string& name) const {
    return repo::parse_object_name(lineage_.name, pg::WalSegmentSize(lineage_.wal_segment_bytes),
                                   name);
  }
  void due_at(Time time) { result_.next_due = std::min(result_.next_due.value_or(time), time); }

  // A list that we are not let to read protects whatever it names, and so everything: before
  // anything goes each is read, and what is due is looked at.
  void read_lists(const std::vector<repo::DoomedList>& lists) {
    names_.clear();
    useless_.clear();
    for (const repo::DoomedList& list : lists) {
      if (list.done) continue;
      repo::DoomedNames read = repo::read_doomed_if_whole(repository_, lineage_.name, list.id);
      if (read.damage) useless_.emplace(list.id, read.damage->message());
      if (!read.names) continue;  // or it is gone
      const auto bad = std::ranges::find_if(*read.names, [&](const std::string& name) {
        const std::optional<ObjectName> parsed = parse(name);
        return !parsed || !is_candidate_kind(parsed->kind);
      });
      if (bad != read.names->end()) {
        useless_.emplace(list.id, fmt::format("it names \"{}\", which is never removed", *bad));
        continue;
      }
      if (list.put + grace_ <= repository_.store().now())
        for (const std::string& name : *read.names) repository_.store().info(name);
      names_.emplace(list.id, *std::move(read.names));
    }
  }

  // Nobody carries it out, and what it named is garbage that no list names.
  void give_up(const repo::DoomedList& list, const std::string& why) {
    reporter_.warning(
        fmt::format("the list \"{}\" of what will be removed is useless, and what it "
                    "named is listed anew: {}",
                    repo::doomed_name(lineage_.name, list.id), why));
    if (!options_.dry_run) repo::put_doomed_end(repository_, lineage_.name, list.id, {}, now_);
  }

  // A list is removed before its mark: a mark alone dooms nothing.
  void remove_finished(const repo::DoomedList& list) {
    if (*list.done + grace_ > now_ || options_.dry_run) return;
    remover_.remove(repo::doomed_name(lineage_.name, list.id));
    remover_.remove(repo::doomed_end_name(lineage_.name, list.id));
  }

  void wait_for(const repo::DoomedList& list) {
    const std::vector<std::string>& names = names_.at(list.id);
    result_.waiting += names.size();
    listed_.insert(names.begin(), names.end());
    due_at(list.put + grace_);
  }

  void carry_out(const repo::DoomedList& list) {
    // From the end, so that an intent goes before the note that it has ended.
    std::vector<std::string> names = names_.at(list.id);
    std::ranges::sort(names, std::greater<>());
    repo::DoomedOutcome outcome;
    std::set<std::string> removed;
    bool has_lost = false;  // a run that did not come to its end removed what lives by now
    for (const std::string& name : names) {
      throw_if_stopped(stop_);
      const std::optional<ObjectName> parsed = parse(name);
      HF_CHECK(parsed && is_candidate_kind(parsed->kind));  // read_lists() has looked
      const std::optional<store::ObjectInfo> info = repository_.store().info(name);
      if (!info) {
        removed.insert(name);
        has_lost = has_lost || living_->is_living(*parsed, Time::min());
        continue;
      }
      if (living_->is_living(*parsed, info->modified)) {
        ++outcome.spared;
        continue;
      }
      remove(name, info->bytes);
      removed.insert(name);
      ++outcome.removed;
    }
    result_.spared += outcome.spared;
    if (options_.dry_run) {
      listed_.insert(removed.begin(), removed.end());
      return;
    }
    mark_damaged(removed, has_lost);
    repo::put_doomed_end(repository_, lineage_.name, list.id, outcome, now_);
  }

  // Backups that use what is gone: those that came to be after we had looked, and with `also_known`
  // all.
  void mark_damaged(const std::set<std::string>& removed, bool also_known) {
    if (removed.empty()) return;
    const std::vector<repo::Backup>& known = living_->backups();
    for (const repo::CommitEntry& commit : repo::list_commits(repository_, lineage_.name)) {
      const std::string& id = commit.id;
      if (!also_known && std::ranges::find(known, id, &repo::Backup::id) != known.end()) continue;
      const std::optional<std::string> missing = first_missing(id, removed);
      if (!missing || repo::read_marks(repository_, lineage_.name, id).damaged) continue;
      repo::put_mark(repository_, lineage_.name, id, repo::MarkKind::kDamaged,
                     fmt::format("The object \"{}\" that it uses was removed.", *missing));
      result_.damaged_backups.push_back(id);
    }
  }

  std::optional<std::string> first_missing(const std::string& id,
                                           const std::set<std::string>& removed) const {
    for (const std::string& name :
         {repo::manifest_name(lineage_.name, id), repo::manifest_copy_name(lineage_.name, id),
          repo::refs_name(lineage_.name, id)})
      if (removed.contains(name)) return name;
    const std::optional<repo::Backup> commit = repo::read_commit(repository_, lineage_.name, id);
    if (!commit) return std::nullopt;
    for (const repo::PackRefs& pack : repo::read_uses(repository_, *commit))
      if (std::string name = repo::pack_name(lineage_.name, pack.pack); removed.contains(name))
        return name;
    const std::optional<repo::Backup> backup = repo::read_backup(repository_, lineage_.name, id);
    if (!backup) return std::nullopt;
    const std::optional<std::string> wal =
        repo::find_missing_wal(repository_, lineage_,
                               {.timeline = backup->stop_timeline,
                                .start_lsn = backup->start_lsn,
                                .end_lsn = backup->stop_lsn});
    return wal && removed.contains(*wal) ? wal : std::nullopt;
  }

  // What has been garbage for a grace period and stands in no list.
  void doom() {
    std::vector<std::string> names;
    auto put = [&] {
      if (names.empty()) return;
      if (!options_.dry_run) repo::put_doomed_list(repository_, lineage_.name, names, now_);
      names.clear();
    };
    for_each_candidate(repository_, lineage_, *living_,
                       [&](const store::ListEntry& entry, const ObjectName& name) {
                         throw_if_stopped(stop_);
                         if (!is_old(entry.modified)) return;
                         if (living_->is_living(name, entry.modified)) return;
                         if (listed_.contains(entry.name)) return;
                         if (at_once_ && may_go_unlisted(name.kind))
                           return remove(entry.name, entry.bytes);
                         names.push_back(entry.name);
                         ++result_.doomed.objects;
                         result_.doomed.bytes += entry.bytes;
                         if (names.size() == repo::kDoomedPerList) put();
                       });
    put();
    if (result_.doomed.objects > 0) due_at(now_ + grace_);
  }

  const ExpireOptions& options_;
  const Microseconds grace_;
  const bool at_once_;
  const repo::Repository& repository_;
  const repo::Lineage& lineage_;
  store::Remover& remover_;
  Reporter& reporter_;
  const std::stop_token& stop_;
  std::unique_ptr<Announcement> announcement_;  // unset in a dry run
  // What may go to make room for it, when there is none; taken from the end.
  bool may_sweep_ = true;
  std::optional<std::vector<std::string>> dispensable_;
  std::vector<std::string> young_;  // of those: made a moment ago
  // --- of a pass
  std::map<Bytes16, std::vector<std::string>> names_;  // of lists that are not done
  std::map<Bytes16, std::string> useless_;             // of these, and why
  Time now_;
  std::vector<repo::Intent> intents_;
  std::optional<Living> living_;
  // Deleted ones whose commits go before a list of today is due (in a dry run: would be gone).
  std::set<std::string> leaving_;
  std::set<std::string> listed_;  // in lists that are not due, or would be removed by now
  ExpiredLineage result_;
};

// A grace period that is shortened protects nobody who is at work any more.
void require_nobody_at_work(const repo::Repository& repository, const repo::LineageName& lineage,
                            Microseconds grace) {
  std::string who;
  for (const repo::Intent& intent :
       repo::read_valid_intents(repository, lineage, repository.store().now(), grace))
    who += fmt::format("{}A {}: {} (claim {}).", who.empty() ? "" : " ", intent.what,
                       repo::owner_text(intent), to_hex(intent.id.view()).substr(0, 8));
  if (who.empty()) return;
  throw Error({.code = ErrorCode::kBusy,
               .message = "the grace period cannot be shortened while somebody is at work",
               .detail = std::move(who),
               .hint = "Wait for the end of that, or stop it. If its work is over, which cannot be "
                       "proven from here: \"holdfast claims --end CLAIM\"."});
}

}  // namespace

ExpireResult expire(const ExpireOptions& options, const repo::Repository& repository,
                    store::Remover& remover, Reporter& reporter, std::stop_token stop) {
  const std::vector<repo::Lineage> lineages = repository.require_lineages(options.cluster);
  ExpireResult result{.grace = options.short_grace.value_or(options.grace),
                      .dry_run = options.dry_run};
  reporter.phase("removing what nothing uses", 0);
  for (const repo::Lineage& lineage : lineages) {
    Context expiring("expiring lineage \"{}\" of cluster \"{}\"", repo::to_string(lineage.name),
                     options.cluster);
    if (options.short_grace) require_nobody_at_work(repository, lineage.name, options.grace);
    result.lineages.push_back(
        LineageExpiry(options, repository, lineage, remover, reporter, stop).run());
  }
  if (options.sweep_uploads && !options.dry_run) result.swept_uploads = options.sweep_uploads();
  return result;
}

}  // namespace holdfast::expire
