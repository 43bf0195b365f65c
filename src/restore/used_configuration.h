// used_configuration.h: with which files the server of a data directory was run, by what that has
// left on this machine.
//
//   postmaster.opts                    its command line, in the data directory; written at each
//                                      start
//   /etc/postgresql/MAJOR/NAME/...     Debian's: the postgresql.conf whose data_directory it is
//
// A backup says it too, of the server that was backed up. After a failover that is another one.
//
// Facts: postmaster.c (CreateOptsFile), guc.c (SelectConfigFiles), PostgreSQL 13 to 18;
// pg_lsclusters, postgresql-common 248.
#pragma once

#include <optional>
#include <string>

#include "cluster/configuration_tree.h"

namespace holdfast::restore {

inline constexpr const char* kDebianClusters = "/etc/postgresql";

// nullopt: neither tells, or what they name is not there.
std::optional<cluster::ConfigurationRoles> find_used_configuration(
    const std::string& data_directory, int major,
    const std::string& debian_clusters = kDebianClusters);

}  // namespace holdfast::restore
