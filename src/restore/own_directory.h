// own_directory.h: whether a directory that is to be cleared is this cluster's, or may be
// anybody's.
//
// A path is typed, and "/srv" has a "base" in it. What shows a directory to be the cluster's is a
// valid pg_control with its system identifier, or the marker of a restore that was interrupted in
// this very directory. A destroyed cluster may have neither. Then several names that only a server
// uses must stand at its top, or a segment of its WAL lie in pg_wal, and nothing that neither a
// server, nor a backup of this cluster, nor holdfast puts there: a stranger's work is no word of
// --yes away from being removed. So little is read of a disk that may be failing.
//
// Links and sockets at the top hold nothing themselves and are nobody's work.
#pragma once

#include <optional>
#include <set>
#include <string>

#include "base/bytes.h"
#include "base/reporter.h"
#include "repo/repository.h"

namespace holdfast::restore {

// pg_control of a data directory; nullopt: missing or damaged, as in a destroyed cluster.
std::optional<Bytes> valid_control_file(const std::string& directory);

// True when there is something to clear. Throws kWrongCluster for a data directory of another
// cluster, or of another major; kConflict for what is none.
bool require_data_directory(const std::string& directory, const repo::Lineage& lineage);

// For a directory that only its names show to be what it is, in place or left over from an
// interrupted restore elsewhere. Throws kConflict, naming what is at its top and is of neither.
// `in_place`: for the words.
void require_no_strangers(const std::string& directory, bool in_place,
                          const repo::Repository& repository, const repo::Lineage& lineage);

// Names in pg_wal that no server puts there: a link may lead into a directory that others use.
std::set<std::string> strangers_in(const std::string& pg_wal);

}  // namespace holdfast::restore
