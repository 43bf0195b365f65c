// lineages.h: the lineages of a cluster as people see them, renaming it, and removing what was made
// by mistake.
//
// A lineage is removed only when nothing in it can be gone back to: its backups are deleted first,
// which can be taken back for a grace period, and removed by an expiry. Normative:
// docs/design/repository-format.md, section 12. Its document goes first; what an interrupted
// removal leaves is no lineage for any reader, and goes with the same command.
#pragma once

#include <cstdint>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/reporter.h"
#include "base/time.h"
#include "repo/repository.h"
#include "store/remover.h"

namespace holdfast::expire {

struct LineageSummary {
  repo::LineageName name;
  // nullopt: its document is gone (an interrupted removal) or cannot be read.
  std::optional<repo::Lineage> lineage = {};
  std::string problem = {};  // why not
  size_t backups = 0;
  std::string last_backup = {};  // its id; empty: none
  size_t deleted = 0;            // backups whose deletion can be taken back
  size_t claims = 0;
  std::optional<Time> last_archived = {};  // the newest object of its WAL, by the store's clock
};
struct ClusterSummary {
  std::string name;                             // what it is called
  std::string folder;                           // its first name
  std::vector<std::string> earlier_names = {};  // which lead there too
  std::vector<LineageSummary> lineages = {};    // sorted by name
  size_t drills = 0;
};
// What a cluster holds, by any of its names, also where no lineage is left. Throws kNotFound (no
// such cluster).
ClusterSummary summarize_cluster(const repo::Repository& repository, const std::string& cluster);
// Every cluster of the repository.
std::vector<ClusterSummary> summarize_clusters(const repo::Repository& repository);

struct RemoveOptions {
  std::string cluster;
  std::string lineage = {};  // "15-2"; empty: the whole cluster
  Microseconds grace{};
  std::string typed_command = {};  // for the hints
};
struct Removal {
  ClusterSummary cluster;  // with the lineages that go
  bool whole_cluster = false;
  uint64_t objects = 0, bytes = 0;
};
// What would go; nothing is changed. Throws kNotFound (no such lineage or cluster), kConflict (it
// has backups, or deleted ones that can still be taken back), kBusy (a claim, an expiry, or a
// server that archives into it).
Removal plan_removal(const RemoveOptions& options, const repo::Repository& repository);
// Removes it, after looking once more. Throws as that does.
Removal carry_out_removal(const RemoveOptions& options, const repo::Repository& repository,
                          store::Remover& remover, Reporter& reporter, const std::stop_token& stop);

struct Renaming {
  std::string folder;    // its first name
  std::string from, to;  // what it was called, and is
  bool done = false;     // false: it was called so already
};
// Gives a cluster another name; every earlier one goes on leading to it. Throws kNotFound (no
// cluster `from`), kAlreadyExists (`to` is another cluster, or leads to one).
Renaming rename_cluster(const repo::Repository& repository, const std::string& from,
                        const std::string& to);

}  // namespace holdfast::expire
