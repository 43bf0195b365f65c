// lineage_choice.h: which lineage of a cluster is meant by who goes back to its backups.
//
// A cluster may have several: after pg_upgrade or a new initdb, and by a mistake (init
// --new-lineage pointed at a test server). Which one was made last says nothing about which one is
// meant. In this order, and told in docs/guide/clusters-and-lineages.md:
//
//   1. the one that is named (--lineage)
//   2. the one that has the backup that is named
//   3. that of the cluster itself, where its data directory or its server can still be asked
//   4. the only one that has backups; where several have, nobody knows
//
// What is chosen so and has no backups is an error that names those that have.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "repo/repository.h"

namespace holdfast::repo {

struct LineageChoice {
  std::string lineage = {};  // "15-1", or empty
  std::string backup = {};   // an id or the beginning of one; "latest" and empty name none
  // The system identifier of the cluster as it stands, asked for only where it decides; nullopt
  // where nobody can tell. Unset: nobody is asked.
  std::function<std::optional<uint64_t>()> ask_system = {};
  std::string command = {};  // as it was typed, for the hints; empty: they name the option alone
};

// Throws kNotFound (no such cluster or lineage; the chosen one has no backup, others have), kUsage
// (nothing tells which is meant; the beginning of backups of several). A lineage whose document
// cannot be read is an error unless another one is named by its id or by a backup's. With
// no backup at all it is the newest.
Lineage choose_lineage(const Repository& repository, const std::string& cluster,
                       const LineageChoice& choice);

// As it is named, of a cluster that must be there.
Lineage require_lineage(const Repository& repository, const std::string& cluster,
                        const std::string& lineage);

}  // namespace holdfast::repo
