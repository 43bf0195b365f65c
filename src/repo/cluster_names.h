// cluster_names.h: the names that lead to a cluster.
//
// Every object of a cluster carries its whole name, sealed, so what was put below
// "clusters/main/" stays there. A cluster that is renamed gets a further name, objects below
// "clusters/<new>/names/" that lead to its folder. Number 0 takes the name: it is put by create, so
// of all who want it one gets it, for good. The others say when the cluster was called so: the
// highest of all is what it is called. All earlier names go on leading there, so whoever still
// archives or recovers by one of them goes on, and none is ever another cluster's. Each stands
// twice (two_places.h), the copy with the cluster. Normative: docs/design/repository-format.md,
// section 3.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "repo/repository.h"

namespace holdfast::repo {

struct ClusterNames {
  std::string folder;                   // below clusters/; the first name
  std::vector<std::string> names = {};  // what it is called first, then its earlier names
  uint64_t number = 0;                  // the highest of all names of all clusters
};
// Sorted by what they are called. A name that cannot be read is left out: the folder's own never
// is.
std::vector<ClusterNames> list_cluster_names(const Repository& repository);

// Where `name` leads: itself, unless it is a later name. Throws what keeps the only object that
// could tell it from being read.
std::string folder_of_cluster(const Repository& repository, const std::string& name);

// The name, for a cluster that is only now made under it.
void take_new_cluster_name(const Repository& repository, const std::string& name);
// kConflict: somebody else took it at this moment.
[[noreturn]] void throw_name_taken(const std::string& name);

// False when that number is taken there.
bool put_cluster_name(const Repository& repository, const std::string& folder,
                      const std::string& name, uint64_t number);

// Puts what is missing of the two places of every name that leads to that folder.
void complete_cluster_names(const Repository& repository, const std::string& folder);

struct NamePlaces {
  std::string first;
  std::string copy;  // empty: there is none, and nothing tells where it would stand
};
// Of every object of every name.
std::vector<NamePlaces> places_of_names(const Repository& repository);

}  // namespace holdfast::repo
