#include "repo/lineage_choice.h"

#include <algorithm>
#include <vector>

#include <fmt/format.h>

#include "base/error.h"
#include "repo/backup.h"
#include "repo/backup_order.h"

namespace holdfast::repo {
namespace {

struct Candidate {
  Lineage lineage;
  std::vector<std::string> backups;
};

std::string name_of(const Candidate& candidate) { return to_string(candidate.lineage.name); }

std::string last_backup(const Repository& repository, const Candidate& candidate) {
  const std::string id = backup_ids_in_order(repository, candidate.lineage.name).back();
  const std::optional<Backup> backup =
      read_backup_if_possible(repository, candidate.lineage.name, id, [](const Error&) {});
  return backup ? fmt::format("{}, stopped at {}", id, to_local(backup->stop_time)) : id;
}

// "Lineage 15-1 (PostgreSQL 15, system identifier 76..., made ...) has 10 backups, the last one
// ..."
std::string describe(const Repository& repository, const std::vector<Candidate>& candidates) {
  std::string text;
  for (const Candidate& candidate : candidates) {
    if (candidate.backups.empty()) continue;
    text += fmt::format(
        "{}Lineage {} (system identifier {}, made at {}) has {} backup{}, the last "
        "{}.",
        text.empty() ? "" : " ", name_of(candidate), candidate.lineage.system_identifier,
        to_local(candidate.lineage.created), candidate.backups.size(),
        candidate.backups.size() == 1 ? "" : "s", last_backup(repository, candidate));
  }
  return text;
}

std::string hint(const std::vector<Candidate>& candidates, const LineageChoice& choice) {
  std::string text;
  for (const Candidate& candidate : candidates) {
    if (candidate.backups.empty()) continue;
    text += text.empty() ? "Say which is meant: " : ", or ";
    text += choice.command.empty()
                ? fmt::format("--lineage {}", name_of(candidate))
                : fmt::format("{} --lineage {}", choice.command, name_of(candidate));
  }
  return text;
}

// The chosen one, unless it has nothing to go back to and others have.
Lineage require_backups(const Repository& repository, const std::string& cluster,
                        const std::vector<Candidate>& candidates, const Candidate& chosen,
                        const LineageChoice& choice, const char* why) {
  const bool others_have = std::ranges::any_of(
      candidates, [](const Candidate& candidate) { return !candidate.backups.empty(); });
  if (!chosen.backups.empty() || !others_have) return chosen.lineage;
  throw Error({.code = ErrorCode::kNotFound,
               .message = fmt::format("lineage {} of cluster \"{}\" has no backup", name_of(chosen),
                                      cluster),
               .detail = fmt::format("It is {}. {}", why, describe(repository, candidates)),
               .hint = hint(candidates, choice)});
}

[[noreturn]] void throw_no_lineage(const std::string& cluster, const std::string& name,
                                   const std::vector<Lineage>& lineages) {
  std::string known;
  for (const Lineage& lineage : lineages)
    known += fmt::format("{}{}", known.empty() ? "" : ", ", to_string(lineage.name));
  throw Error({.code = ErrorCode::kNotFound,
               .message = fmt::format("cluster \"{}\" has no lineage \"{}\"", cluster, name),
               .detail = fmt::format("It has: {}.", known),
               .hint = "\"holdfast lineage list\" shows them."});
}

bool names_a_backup(const LineageChoice& choice) {
  return !choice.backup.empty() && choice.backup != "latest";
}

const Candidate* find_by_backup(const std::vector<Candidate>& candidates,
                                const std::string& beginning) {
  const Candidate* found = nullptr;
  for (const Candidate& candidate : candidates)
    for (const std::string& id : candidate.backups) {
      if (!id.starts_with(beginning)) continue;
      if (found != nullptr && found != &candidate)
        throw Error({.code = ErrorCode::kUsage,
                     .message = fmt::format("\"{}\" is the beginning of backups of lineages {} and "
                                            "{}",
                                            beginning, name_of(*found), name_of(candidate)),
                     .hint = "Give more of the id, or --lineage."});
      found = &candidate;
    }
  return found;
}

}  // namespace

Lineage require_lineage(const Repository& repository, const std::string& cluster,
                        const std::string& lineage) {
  std::optional<Error> unreadable;
  const std::vector<Lineage> lineages =
      repository.require_lineages(cluster, [&](const LineageName& name, const Error& error) {
        if (to_string(name) == lineage) unreadable = error;
      });
  if (unreadable) throw Error(*unreadable);
  for (const Lineage& one : lineages)
    if (to_string(one.name) == lineage) return one;
  throw_no_lineage(cluster, lineage, lineages);
}

Lineage choose_lineage(const Repository& repository, const std::string& cluster,
                       const LineageChoice& choice) {
  std::optional<Error> unreadable;
  const std::vector<Lineage> lineages =
      repository.require_lineages(cluster, [&](const LineageName& name, const Error& error) {
        if (choice.lineage.empty() || to_string(name) == choice.lineage) unreadable = error;
      });
  std::vector<Candidate> candidates;
  for (const Lineage& lineage : lineages)
    candidates.push_back(
        {.lineage = lineage, .backups = list_backup_ids(repository, lineage.name)});

  if (!choice.lineage.empty()) {
    const auto named = std::ranges::find(candidates, choice.lineage, name_of);
    if (named == candidates.end()) {
      if (unreadable) throw Error(*unreadable);
      throw_no_lineage(cluster, choice.lineage, lineages);
    }
    if (names_a_backup(choice)) return named->lineage;  // whether it has it is told elsewhere
    return require_backups(repository, cluster, candidates, *named, choice,
                           "the one that is named");
  }
  if (names_a_backup(choice))
    if (const Candidate* found = find_by_backup(candidates, choice.backup)) return found->lineage;
  if (unreadable) throw Error(*unreadable);  // it may be the one

  if (candidates.size() > 1 && choice.ask_system) {
    if (const std::optional<uint64_t> system = choice.ask_system()) {
      const auto its = std::ranges::find_if(candidates, [&](const Candidate& candidate) {
        return candidate.lineage.system_identifier == *system;
      });
      if (its != candidates.end())
        return names_a_backup(choice)
                   ? its->lineage
                   : require_backups(repository, cluster, candidates, *its, choice,
                                     "that of the cluster as its data directory or server has it");
    }
  }
  std::vector<const Candidate*> with_backups;
  for (const Candidate& candidate : candidates)
    if (!candidate.backups.empty()) with_backups.push_back(&candidate);
  if (with_backups.empty()) return lineages.back();
  if (with_backups.size() == 1 || names_a_backup(choice)) return with_backups.back()->lineage;
  throw Error(
      {.code = ErrorCode::kUsage,
       .message = fmt::format("cluster \"{}\" has backups in {} lineages, and nothing tells "
                              "which one is meant",
                              cluster, with_backups.size()),
       .detail = describe(repository, candidates),
       .hint = hint(candidates, choice)});
}

}  // namespace holdfast::repo
