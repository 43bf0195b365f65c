// outside.h: what a restore clears and fills outside its directory: its tablespaces.
//
// A path that was noted once says nothing of who uses it now: a restore that was interrupted may be
// taken up after weeks, when another cluster has its tablespace there; and a copy of a data
// directory links to the original's tablespaces. So
//
//   - each of these directories ("/srv/fast/PG_15_202209061") that a restore is about to clear or
//     to fill has a file kTokenName with the token of the restore's marker, from before the first
//     file in it is touched until pg_control is laid. An interrupted restore clears what has its
//     token, and nothing else. The token is the last to go;
//   - and no process may use one: have a file open below it, or be a server that links to it.
#pragma once

#include <set>
#include <string>

#include "base/file.h"
#include "repo/backup.h"
#include "restore/marker.h"
#include "restore/owners.h"
#include "restore/tablespaces.h"

namespace holdfast::restore {

inline constexpr const char* kTokenName = "holdfast_restore.token";

// The directory of a tablespace that is this major's.
std::string version_directory(const std::string& location, const repo::Backup& backup);

// Absent, empty, or with nothing in it but what a restore that was killed has left of a token: it
// is nobody's.
bool is_unused(const std::string& version_directory);
bool has_token(const std::string& version_directory, const std::string& token);
// The directory must be there.
void put_token(const std::string& version_directory, const std::string& token,
               const std::optional<OwnerIds>& owner);
// Only this one; another's stays.
void remove_token(const std::string& version_directory, const std::string& token);
// Removes the directory with all that is in it; nothing to clear is fine. Throws kAlreadyExists
// when it does not have the token and has files.
void clear_marked(const std::string& version_directory, const std::string& token,
                  const TellFailure& failed = {});

// Where the links in pg_tblspc lead.
std::set<std::string> linked_places(const std::string& directory);
// Of places those that lie outside the data directory.
std::set<std::string> places_outside(const std::string& directory,
                                     const std::vector<TablespacePlace>& places);
std::set<std::string> places_outside(const std::string& directory,
                                     const std::set<std::string>& places);

// Throws kAlreadyExists when an interrupted restore names, or links to, a directory with files in
// it that does not have the token.
void require_marked(const std::string& directory, const Marker& marker,
                    const std::set<std::string>& places, const repo::Backup& backup);
// Throws kConflict when the data directory that the cluster had at the backup is another one, is
// still there, and links to one of `places`: `directory` is a copy of it.
void require_not_of(const std::string& original, const std::string& directory,
                    const std::set<std::string>& places);
// Throws kBusy when a process uses a cluster's directory in one of `places`, other than a server on
// `directory` itself.
void require_unused(const std::set<std::string>& places, const std::string& directory);

}  // namespace holdfast::restore
