// cluster_names.h: the names that lead to a cluster.
//
// Every object of a cluster carries its whole name, sealed, so what was put below
// "clusters/main/" stays there. A cluster that is renamed gets a further name, an object below
// "clusters/<new>/names/" that leads to its folder; the one with the highest number is what the
// cluster is called. All earlier names go on leading there, so whoever still archives or recovers
// by one of them goes on, and none is ever another cluster's. Normative:
// docs/design/repository-format.md, section 3.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "repo/repository.h"

namespace holdfast::repo {

struct ClusterNames {
  std::string folder;                   // below clusters/; the first name
  std::vector<std::string> names = {};  // what it is called first, then its earlier names
  uint64_t number = 0;                  // of its newest name object; 0: it was never renamed
};
// Sorted by what they are called. A name that cannot be read is left out: the folder's own never
// is.
std::vector<ClusterNames> list_cluster_names(const Repository& repository);

// Where `name` leads: itself, unless it is a later name. Throws what keeps the only object that
// could tell it from being read.
std::string folder_of_cluster(const Repository& repository, const std::string& name);

// False when that number is taken there.
bool put_cluster_name(const Repository& repository, const std::string& folder,
                      const std::string& name, uint64_t number);

}  // namespace holdfast::repo
