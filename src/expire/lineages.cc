#include "expire/lineages.h"

#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "base/error.h"
#include "base/task_group.h"
#include "repo/backup.h"
#include "repo/backup_order.h"
#include "repo/cluster_names.h"
#include "repo/intent.h"
#include "repo/layout.h"
#include "repo/marks.h"
#include "store/store.h"

namespace holdfast::expire {
namespace {

using Visit = std::function<void(const store::ListEntry&)>;

void for_each_object(const repo::Repository& repository, const std::string& folder,
                     const Visit& visit) {
  store::for_each_entry(repository.store(), {.prefix = folder}, [&](const store::ListEntry& entry) {
    visit(entry);
    return true;
  });
}

std::optional<Time> last_archived(const repo::Repository& repository,
                                  const repo::LineageName& lineage) {
  std::optional<Time> last;
  const Visit look = [&](const store::ListEntry& entry) {
    last = std::max(last.value_or(entry.modified), entry.modified);
  };
  for_each_object(repository, repo::wal_folder(lineage), look);
  for_each_object(repository, repo::amended_root(lineage), look);
  return last;
}

// Those that stand, of deleted backups too; what expire notes of itself apart.
std::vector<repo::Intent> claims_of(const repo::Repository& repository,
                                    const repo::LineageName& lineage, Microseconds grace) {
  std::vector<repo::Intent> intents =
      repo::read_valid_intents(repository, lineage, repository.store().now(), grace);
  std::erase_if(intents,
                [](const repo::Intent& intent) { return intent.what == repo::kExpireIntent; });
  return intents;
}

LineageSummary summarize(const repo::Repository& repository, const repo::LineageName& name,
                         const std::vector<repo::Lineage>& whole) {
  LineageSummary summary{.name = name};
  const auto found = std::ranges::find(whole, name, &repo::Lineage::name);
  if (found != whole.end())
    summary.lineage = *found;
  else
    summary.problem = repository.store().info(repo::lineage_document_name(name))
                          ? "its document cannot be read"
                          : "its removal was interrupted";
  unreadable_of([&] {
    const std::vector<std::string> ids = repo::backup_ids_in_order(repository, name);
    summary.backups = ids.size();
    if (!ids.empty()) summary.last_backup = ids.back();
    summary.deleted = repo::list_commits(repository, name).size() - ids.size();
  });
  // None is removed while it has a commit: its document was lost.
  if (!summary.lineage && summary.backups + summary.deleted > 0)
    summary.problem = "its document cannot be read";
  unreadable_of([&] { summary.claims = claims_of(repository, name, Microseconds{0}).size(); });
  unreadable_of([&] { summary.last_archived = last_archived(repository, name); });
  return summary;
}

[[noreturn]] void refuse(ErrorCode code, const repo::LineageName& lineage, std::string what,
                         std::string detail, std::string hint) {
  throw Error({.code = code,
               .message = fmt::format("lineage {} of cluster \"{}\" {}", repo::to_string(lineage),
                                      lineage.shown(), what),
               .detail = std::move(detail) + " Nothing was removed.",
               .hint = std::move(hint)});
}

void require_nothing_to_go_back_to(const repo::Repository& repository,
                                   const repo::LineageName& lineage) {
  const size_t commits = repo::list_commits(repository, lineage).size();
  if (commits == 0) return;
  const std::vector<std::string> ids = repo::list_backup_ids(repository, lineage);
  if (!ids.empty())
    refuse(
        ErrorCode::kConflict, lineage, "has backups",
        fmt::format("It has {}, from {} to {}.", ids.size(), ids.front(), ids.back()),
        fmt::format("If none of them is to be gone back to any more: \"holdfast -c {} backup "
                    "delete ID ... --lineage {}\", then \"holdfast -c {} expire\", which removes "
                    "them a grace period later (--grace 0s: at once).",
                    lineage.shown(), repo::to_string(lineage), lineage.shown()));
  refuse(ErrorCode::kConflict, lineage, "has deleted backups that can be taken back",
         fmt::format("It has {}.", commits),
         fmt::format("\"holdfast -c {} expire\" removes them when their grace period is over; "
                     "--grace 0s does at once.",
                     lineage.shown()));
}

void require_unused(const repo::Repository& repository, const repo::LineageName& lineage,
                    const RemoveOptions& options) {
  std::string who;
  for (const repo::Intent& intent : claims_of(repository, lineage, options.grace))
    who += fmt::format("{}A {}: {} (claim {}).", who.empty() ? "" : " ", intent.what,
                       repo::owner_text(intent), to_hex(intent.id.view()).substr(0, 8));
  if (!who.empty())
    refuse(ErrorCode::kBusy, lineage, "is in use", std::move(who),
           "Wait for the end of that. If its work is over, which cannot be proven from here: "
           "\"holdfast claims --end CLAIM\".");
  for (const repo::RunningExpiry& run : repo::running_expiries(repository, lineage))
    refuse(ErrorCode::kBusy, lineage, "is being expired",
           fmt::format("An expiry is at work: {}.", run.by), "Wait for its end.");
  require_nothing_to_go_back_to(repository, lineage);
}

void require_no_server(const repo::Repository& repository, const repo::LineageName& lineage,
                       const RemoveOptions& options) {
  const std::optional<Time> last = last_archived(repository, lineage);
  if (!last || *last + options.grace <= repository.store().now()) return;
  refuse(ErrorCode::kBusy, lineage, "has WAL of late",
         fmt::format("A server archived into it at {}, and may do so again.", to_local(*last)),
         fmt::format("Turn its archiving to where it belongs, then wait for a grace period of {}, "
                     "or run: {} --grace 0s",
                     to_human(options.grace), options.typed_command));
}

ClusterSummary summarize(const repo::Repository& repository, const repo::ClusterNames& names) {
  ClusterSummary summary{.name = names.names.front(),
                         .folder = names.folder,
                         .earlier_names = {names.names.begin() + 1, names.names.end()}};
  const std::vector<repo::Lineage> whole =
      repository.lineages(names.folder, [](const repo::LineageName&, const Error&) {});
  for (repo::LineageName name : repository.lineage_folders(names.folder)) {
    if (summary.name != summary.folder) name.called = summary.name;
    summary.lineages.push_back(summarize(repository, name, whole));
  }
  std::ranges::sort(summary.lineages, {}, &LineageSummary::name);
  for_each_object(repository, repo::drills_folder(names.folder),
                  [&](const store::ListEntry&) { ++summary.drills; });
  return summary;
}

repo::ClusterNames find_cluster(const repo::Repository& repository, const std::string& name) {
  repo::check_cluster_name(name);
  for (repo::ClusterNames& one : repo::list_cluster_names(repository))
    if (std::ranges::find(one.names, name) != one.names.end()) return std::move(one);
  repo::folder_of_cluster(repository, name);  // throws where nothing can be read of the name
  repository.throw_no_cluster(name);
}

// Throws kAlreadyExists when `name` is or leads to another cluster.
void require_free_name(const repo::Repository& repository, const std::string& name,
                       const std::string& wanted_folder) {
  const std::string folder = repo::folder_of_cluster(repository, name);
  if (folder == wanted_folder) return;
  const bool is_anything =
      !repository.store().list({.prefix = repo::cluster_folder(name), .limit = 1}).entries.empty();
  if (!is_anything) return;
  throw Error(
      {.code = ErrorCode::kAlreadyExists,
       .message = fmt::format("the repository has another cluster \"{}\"", name),
       .detail =
           folder == name
               ? "Nothing was changed."
               : fmt::format("That name leads to cluster \"{}\" for good: whoever archives by "
                             "it goes on doing so. Nothing was changed.",
                             folder),
       .hint = "Choose another name; \"holdfast cluster list\" shows those that are taken."});
}

}  // namespace

ClusterSummary summarize_cluster(const repo::Repository& repository, const std::string& cluster) {
  return summarize(repository, find_cluster(repository, cluster));
}

std::vector<ClusterSummary> summarize_clusters(const repo::Repository& repository) {
  std::vector<ClusterSummary> summaries;
  for (const repo::ClusterNames& names : repo::list_cluster_names(repository))
    summaries.push_back(summarize(repository, names));
  return summaries;
}

Removal plan_removal(const RemoveOptions& options, const repo::Repository& repository) {
  Removal removal{.cluster = summarize_cluster(repository, options.cluster),
                  .whole_cluster = options.lineage.empty()};
  std::vector<LineageSummary>& lineages = removal.cluster.lineages;
  if (!removal.whole_cluster) {
    std::string known;
    for (const LineageSummary& one : lineages)
      known += fmt::format("{}{}", known.empty() ? "" : ", ", repo::to_string(one.name));
    std::erase_if(lineages, [&](const LineageSummary& one) {
      return repo::to_string(one.name) != options.lineage;
    });
    if (lineages.empty())
      throw Error(
          {.code = ErrorCode::kNotFound,
           .message = fmt::format("cluster \"{}\" has no lineage \"{}\"", options.cluster,
                                  options.lineage),
           .detail = known.empty() ? "It has none at all." : fmt::format("It has: {}.", known),
           .hint = "\"holdfast lineage list\" shows them."});
  }
  for (const LineageSummary& one : lineages) {
    require_unused(repository, one.name, options);
    require_no_server(repository, one.name, options);
  }
  for_each_object(repository,
                  removal.whole_cluster ? repo::cluster_folder(removal.cluster.folder)
                                        : repo::lineage_folder(lineages.front().name),
                  [&](const store::ListEntry& entry) {
                    ++removal.objects;
                    removal.bytes += entry.bytes;
                  });
  return removal;
}

Removal carry_out_removal(const RemoveOptions& options, const repo::Repository& repository,
                          store::Remover& remover, Reporter& reporter,
                          const std::stop_token& stop) {
  Removal removal = plan_removal(options, repository);
  reporter.phase("removing", removal.bytes);
  removal.objects = removal.bytes = 0;
  const auto remove_one = [&](const std::string& name, uint64_t bytes) {
    throw_if_stopped(stop);
    if (!remover.remove(name)) return;
    ++removal.objects;
    removal.bytes += bytes;
    reporter.amount(bytes);
  };
  const auto remove_all = [&](const std::string& folder) {
    std::vector<store::ListEntry> entries;
    for_each_object(repository, folder,
                    [&](const store::ListEntry& entry) { entries.push_back(entry); });
    for (const store::ListEntry& entry : entries) remove_one(entry.name, entry.bytes);
  };
  for (const LineageSummary& one : removal.cluster.lineages) {
    // The copy first: as long as the document is there it is a lineage.
    std::map<std::string, Bytes> documents;
    for (const std::string& name :
         {repo::lineage_copy_name(one.name), repo::lineage_document_name(one.name)}) {
      const std::optional<Bytes> text =
          store::read_whole(repository.store(), name, repo::kMaxDocumentBytes);
      if (text) documents.emplace(name, *text);
      remove_one(name, text ? text->size() : 0);
    }
    // Who found it before it went has said so by now.
    const std::optional<Error> used =
        error_of(even_interrupted, [&] { require_unused(repository, one.name, options); });
    if (used) {
      for (const auto& [name, text] : documents) repository.store().create(name, text);
      throw Error(*used);
    }
    remove_all(repo::lineage_folder(one.name));
  }
  if (removal.whole_cluster) {
    // Its later names first: none is to lead to another cluster that is given the first one.
    for (const std::string& name : removal.cluster.earlier_names)
      remove_all(repo::cluster_names_folder(name));
    remove_all(repo::cluster_names_folder(removal.cluster.name));
    remove_all(repo::cluster_folder(removal.cluster.folder));
  }
  return removal;
}

Renaming rename_cluster(const repo::Repository& repository, const std::string& from,
                        const std::string& to) {
  repo::check_cluster_name(to);
  const repo::ClusterNames cluster = find_cluster(repository, from);
  Renaming renaming{.folder = cluster.folder, .from = cluster.names.front(), .to = to};
  if (renaming.from == to) return renaming;
  require_free_name(repository, to, cluster.folder);
  // Of all who want the name at this moment one gets it: it is looked at again.
  repo::put_cluster_name(repository, cluster.folder, to, 0);
  require_free_name(repository, to, cluster.folder);
  uint64_t number = cluster.number + 1;
  while (!repo::put_cluster_name(repository, cluster.folder, to, number)) ++number;
  renaming.done = true;
  return renaming;
}

}  // namespace holdfast::expire
