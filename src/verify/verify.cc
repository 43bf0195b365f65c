#include "verify/verify.h"

#include <algorithm>
#include <set>

#include <fmt/core.h>

#include "repo/cluster_names.h"
#include "repo/layout.h"
#include "repo/object_check.h"
#include "verify/damage.h"
#include "verify/lineage.h"
#include "verify/listing.h"
#include "verify/pairs.h"

namespace holdfast::verify {
namespace {

// Each key object and its copy.
void check_keys(const repo::Repository& repository, Findings& findings) {
  std::set<std::string> ids;
  for (const std::string_view folder : {repo::kKeysFolder, repo::kKeyCopiesFolder})
    visit_all(
        repository.store(), std::string(folder),
        [&](const store::ListEntry& entry) {
          if (repo::kind_of_object(entry.name) != nullptr)
            ids.insert(entry.name.substr(folder.size()));
        },
        [&](const std::string& closed, const Error& error) { findings.add(closed, error); });
  for (const std::string& id : ids)
    check_pair(repository, std::string(repo::kKeysFolder) + id,
               std::string(repo::kKeyCopiesFolder) + id, true, findings);
}

bool holds_object(store::Store& store, const std::string& folder) {
  return !store.list({.prefix = folder, .limit = 1}).entries.empty();
}

// Folders of lineages whose document is gone: nothing in them can be used, unless a commit told
// what it said (`readable`).
void check_lineage_documents(const repo::Repository& repository, const std::string& cluster,
                             const std::vector<repo::Lineage>& readable, Findings& findings,
                             std::vector<std::string>& lost) {
  const std::string folder = repo::cluster_folder(cluster);
  store::for_each_entry(
      repository.store(), {.prefix = folder, .folders = true, .empty_folders = true},
      [&](const store::ListEntry& entry) {
        if (!entry.is_folder()) return true;
        const std::optional<repo::LineageName> name = repo::parse_lineage_name(
            cluster, entry.name.substr(folder.size(), entry.name.size() - folder.size() - 1));
        if (!name) return true;
        const std::string document = repo::lineage_document_name(*name);
        const std::string copy = repo::lineage_copy_name(*name);
        bool is_there = false, has_copy = false;
        if (unreadable_of([&] {
              is_there = repository.store().info(document).has_value();
              has_copy = repository.store().info(copy).has_value();
            }))
          return true;  // told when the lineages were read
        if (is_there || has_copy) {
          check_pair(repository, document, copy, false, findings);
        } else if (holds_object(repository.store(), entry.name)) {
          const bool is_known =
              std::ranges::find(readable, *name, &repo::Lineage::name) != readable.end();
          findings.add(
              {.object = document,
               .problem = "missing",
               .detail = is_known ? "Its copy is missing too. What they said is taken from the "
                                    "lineage's backups; \"holdfast init\" and the next backup put "
                                    "them again."
                                  : "Without it nothing of the lineage can be used.",
               .backups = {},
               .files = {}});
          if (!is_known) lost.push_back(repo::to_string(*name));
        }
        return true;
      });
}

// `folder`: of the cluster. The names of all clusters are looked at: one that cannot be read does
// not say whose it is.
void check_cluster_objects(const repo::Repository& repository, const std::string& folder,
                           Findings& findings) {
  for (const auto& [first, copy] : repo::places_of_names(repository)) {
    if (!copy.empty())
      check_pair(repository, first, copy, true, findings);
    else if (const std::optional<Error> error = unreadable_of(
                 [&] { repo::check_object(repository, *repo::kind_of_object(first), first); }))
      findings.add(first, *error);
  }
  for (const std::string& place :
       {repo::cluster_folder(folder) + "leases/", repo::drills_folder(folder)})
    visit_all(
        repository.store(), place,
        [&](const store::ListEntry& entry) {
          const repo::KindOfObject* kind = repo::kind_of_object(entry.name);
          if (kind == nullptr) return;
          if (const std::optional<Error> error =
                  unreadable_of([&] { repo::check_object(repository, *kind, entry.name); }))
            findings.add(entry.name, *error);
        },
        [&](const std::string& unreadable, const Error& error) {
          findings.add(unreadable, error);
        });
}

// What was typed must be the name, or the beginning of a name, of some backup.
void check_chosen(const VerifyOptions& options, const repo::Repository& repository,
                  const std::vector<repo::Lineage>& lineages) {
  for (const std::string& word : options.backups) {
    const bool is_there = std::ranges::any_of(lineages, [&](const repo::Lineage& lineage) {
      return std::ranges::any_of(
          repo::list_backup_ids(repository, lineage.name),
          [&](const std::string& id) { return word == "latest" || id.starts_with(word); });
    });
    if (word.empty() || !is_there)
      repo::resolve_backup(repository, lineages.back().name, word);  // throws, with the nearest
  }
}

}  // namespace

bool VerifyResult::damaged() const {
  return !common.empty() || std::ranges::any_of(lineages, [](const LineageResult& lineage) {
    return lineage.finding_count > 0 ||
           std::ranges::any_of(lineage.gaps, [](const Gap& gap) { return !gap.is_hole; }) ||
           std::ranges::any_of(lineage.backups, [](const BackupVerdict& backup) {
             return backup.verdict == Verdict::kDamaged || backup.verdict == Verdict::kUsable;
           });
  });
}

bool VerifyResult::misses_wal() const {
  return std::ranges::any_of(lineages, [](const LineageResult& lineage) {
    return std::ranges::any_of(lineage.gaps, &Gap::costs);
  });
}

VerifyResult verify(const VerifyOptions& options, const repo::Repository& repository,
                    Reporter& reporter, std::stop_token stop) {
  VerifyResult result{.url = repository.store().url(), .deep = options.deep};
  Findings common;
  std::vector<repo::Lineage> lineages =
      repository.lineages(options.cluster, [&](const repo::LineageName& name, const Error& error) {
        common.add(repo::lineage_document_name(name), error);
        result.lost.push_back(repo::to_string(name));
      });
  const std::string folder = repo::folder_of_cluster(repository, options.cluster);
  check_lineage_documents(repository, folder, lineages, common, result.lost);
  if (lineages.empty() && common.count() == 0) repository.throw_no_cluster(options.cluster);
  if (!lineages.empty()) check_chosen(options, repository, lineages);
  check_pair(repository, std::string(repo::kRepositoryName), std::string(repo::kRepositoryCopyName),
             false, common);
  check_keys(repository, common);
  check_cluster_objects(repository, folder, common);
  result.common = common.take();

  // "latest" is the newest of the lineage that a restore would take.
  VerifyOptions of_others = options;
  std::optional<repo::LineageName> meant;
  if (std::erase(of_others.backups, "latest") > 0)
    meant = repo::choose_lineage(repository, options.cluster, options.lineage).name;
  for (const repo::Lineage& lineage : lineages) {
    const bool is_meant = lineage.name == meant;
    if (!options.backups.empty() && !is_meant && of_others.backups.empty()) continue;
    result.lineages.push_back(verify_lineage(is_meant ? options : of_others, repository, lineage,
                                             result.not_kept, reporter, stop));
  }
  return result;
}

}  // namespace holdfast::verify
