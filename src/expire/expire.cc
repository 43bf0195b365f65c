// Why nothing living is removed, whoever else is at work:
//
// - What is removed stood in a list for a grace period, and everybody who makes something living
//   looks at the lists: a backup before its commit and after it.
// - What was read before the first removal of a run stays true until its last. A new backup uses
//   what it wrote itself, which is in no list, and what its parent uses; the parent has a commit,
//   so that lived when we looked. A restore or mount reads its backup's commit again after it has
//   put its intent, so that lived too.
// - A backup that outlived its intent, slept through a whole grace period, and commits at this very
//   moment finds a list or a missing object behind its commit and marks itself; if it is killed
//   before that, we mark it.
#include "expire/expire.h"

#include <algorithm>
#include <set>

#include <fmt/format.h>

#include "base/error.h"
#include "base/task_group.h"
#include "expire/living.h"
#include "repo/doomed.h"
#include "repo/marks.h"
#include "repo/refs.h"

namespace holdfast::expire {
namespace {

using repo::ObjectName;

class LineageExpiry {
 public:
  LineageExpiry(const ExpireOptions& options, const repo::Repository& repository,
                const repo::Lineage& lineage, store::Remover& remover, Reporter& reporter,
                const std::stop_token& stop)
      : options_(options),
        repository_(repository),
        lineage_(lineage),
        remover_(remover),
        reporter_(reporter),
        stop_(stop),
        now_(repository.store().now()),
        living_(repository, lineage, now_, options.grace) {
    result_.name = lineage.name;
    result_.backups = living_.backups().size();
    result_.intents = living_.intents().size();
    result_.has_redirects = living_.has_redirects();
  }

  ExpiredLineage run() {
    require_readable_lists();
    for (const repo::DoomedList& list : repo::list_doomed(repository_, lineage_.name)) {
      throw_if_stopped(stop_);
      if (list.done)
        remove_finished(list);
      else if (list.put + options_.grace <= now_)
        carry_out(list);
      else
        wait_for(list);
    }
    doom();
    return std::move(result_);
  }

 private:
  std::optional<ObjectName> parse(const std::string& name) const {
    return repo::parse_object_name(lineage_.name, pg::WalSegmentSize(lineage_.wal_segment_bytes),
                                   name);
  }
  void due_at(Time time) { result_.next_due = std::min(result_.next_due.value_or(time), time); }

  // A list that cannot be read protects whatever it names, and so everything: before anything goes
  // each is read, and what is due is looked at.
  void require_readable_lists() const {
    for (const repo::DoomedList& list : repo::list_doomed(repository_, lineage_.name)) {
      if (list.done) continue;
      const std::optional<std::vector<std::string>> names =
          repo::read_doomed_list(repository_, lineage_.name, list.id);
      if (!names || list.put + options_.grace > now_) continue;
      for (const std::string& name : *names)
        if (parse(name)) repository_.store().info(name);
    }
  }

  // A list is removed before its mark: a mark alone dooms nothing.
  void remove_finished(const repo::DoomedList& list) {
    if (*list.done + options_.grace > now_ || options_.dry_run) return;
    remover_.remove(repo::doomed_name(lineage_.name, list.id));
    remover_.remove(repo::doomed_end_name(lineage_.name, list.id));
  }

  void wait_for(const repo::DoomedList& list) {
    const std::optional<std::vector<std::string>> names =
        repo::read_doomed_list(repository_, lineage_.name, list.id);
    if (!names) return;
    result_.waiting += names->size();
    listed_.insert(names->begin(), names->end());
    due_at(list.put + options_.grace);
  }

  void carry_out(const repo::DoomedList& list) {
    std::optional<std::vector<std::string>> names =
        repo::read_doomed_list(repository_, lineage_.name, list.id);
    if (!names) return;  // another run was quicker
    // From the end, so that an intent goes before the note that it has ended.
    std::ranges::sort(*names, std::greater<>());
    repo::DoomedOutcome outcome;
    std::set<std::string> removed;
    bool has_lost = false;  // a run that did not come to its end removed what lives by now
    for (const std::string& name : *names) {
      throw_if_stopped(stop_);
      const std::optional<ObjectName> parsed = parse(name);
      if (!parsed || !is_candidate_kind(parsed->kind))
        throw Error({.code = ErrorCode::kCorrupt,
                     .message = fmt::format("doomed list \"{}\" names what is never removed",
                                            repo::doomed_name(lineage_.name, list.id)),
                     .detail = fmt::format("It names \"{}\".", name)});
      const std::optional<store::ObjectInfo> info = repository_.store().info(name);
      if (!info) {
        removed.insert(name);
        has_lost = has_lost || living_.is_living(*parsed, Time::min());
        continue;
      }
      if (living_.is_living(*parsed, info->modified)) {
        ++outcome.spared;
        continue;
      }
      if (!options_.dry_run) remover_.remove(name);
      removed.insert(name);
      ++outcome.removed;
      ++result_.removed.objects;
      result_.removed.bytes += info->bytes;
      reporter_.amount(info->bytes);
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
    const std::vector<repo::Backup>& known = living_.backups();
    for (const std::string& id : repo::list_backup_ids(repository_, lineage_.name)) {
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
    const std::optional<std::vector<repo::PackRefs>> refs =
        repo::read_refs(repository_, lineage_.name, id);
    if (!refs) return repo::refs_name(lineage_.name, id);
    for (const repo::PackRefs& pack : *refs)
      if (std::string name = repo::pack_name(lineage_.name, pack.pack); removed.contains(name))
        return name;
    return std::nullopt;
  }

  // What has been garbage for a grace period and stands in no list.
  void doom() {
    std::vector<std::string> names;
    auto put = [&] {
      if (names.empty()) return;
      if (!options_.dry_run) repo::put_doomed_list(repository_, lineage_.name, names, now_);
      names.clear();
    };
    for_each_candidate(repository_, lineage_, living_,
                       [&](const store::ListEntry& entry, const ObjectName& name) {
                         throw_if_stopped(stop_);
                         if (entry.modified + options_.grace > now_) return;
                         if (living_.is_living(name, entry.modified)) return;
                         if (listed_.contains(entry.name)) return;
                         names.push_back(entry.name);
                         ++result_.doomed.objects;
                         result_.doomed.bytes += entry.bytes;
                         if (names.size() == repo::kDoomedPerList) put();
                       });
    put();
    if (result_.doomed.objects > 0) due_at(now_ + options_.grace);
  }

  const ExpireOptions& options_;
  const repo::Repository& repository_;
  const repo::Lineage& lineage_;
  store::Remover& remover_;
  Reporter& reporter_;
  const std::stop_token& stop_;
  const Time now_;
  const Living living_;
  std::set<std::string> listed_;  // in lists that are not due, or would be removed by now
  ExpiredLineage result_;
};

}  // namespace

ExpireResult expire(const ExpireOptions& options, const repo::Repository& repository,
                    store::Remover& remover, Reporter& reporter, std::stop_token stop) {
  const std::vector<repo::Lineage> lineages = repository.require_lineages(options.cluster);
  ExpireResult result{.grace = options.grace, .dry_run = options.dry_run};
  reporter.phase("removing what nothing uses", 0);
  for (const repo::Lineage& lineage : lineages) {
    Context expiring("expiring lineage \"{}\" of cluster \"{}\"", repo::to_string(lineage.name),
                     options.cluster);
    result.lineages.push_back(
        LineageExpiry(options, repository, lineage, remover, reporter, stop).run());
  }
  if (options.sweep_uploads && !options.dry_run) result.swept_uploads = options.sweep_uploads();
  return result;
}

}  // namespace holdfast::expire
