// backup_exclusions.h: what a base backup takes from a data directory, and what it leaves.
//
// One table for everybody who walks a data directory: the backup, which takes what is kept, and a
// restore in place, which clears what a backup would have taken. Left out is what the server's own
// base backup leaves out (it is rebuilt at start, or belongs to the running server), and what other
// tools have learned to leave out.
//
// Facts: basebackup.c (excludeDirContents, excludeFiles), PostgreSQL 13 to 18.
#pragma once

#include <cstdint>
#include <set>
#include <span>
#include <string>
#include <string_view>

namespace holdfast::pg {

// What lstat() says of a path.
enum class PathType : uint8_t { kFile, kDirectory, kSymbolicLink, kSpecial };

enum class BackupTreatment : uint8_t {
  kKeep,           // a file with its bytes, a directory to descend into, a tablespace's link
  kDirectoryOnly,  // an empty directory in the backup, also where a link stands; nothing below it
  kSkip,           // left out with all that is below it
  kSkipAndWarn,    // left out, and the operator should know: a socket, a link that the server does
                   // not expect
  kRefuse,  // a link in the place of data that a backup must have: to go on would lose that data
};

// `path` is relative to the data directory, without "./" in front; a tablespace's files are named
// below pg_tblspc/<oid>/. Does not know what only the directory as a whole tells: see
// UnloggedRelations.
BackupTreatment backup_treatment(std::string_view path, PathType type);

// The relations of one directory that have an init fork: unlogged ones. Their other forks are
// rebuilt from it when recovery ends and are left out of a backup.
class UnloggedRelations {
 public:
  // The names in one database's directory of one tablespace.
  explicit UnloggedRelations(std::span<const std::string> names);
  // Whether this name in that directory is left out: a fork other than init of such a relation.
  bool leaves_out(std::string_view name) const;

 private:
  std::set<uint32_t> file_numbers_;
};

// What stands at the top of a data directory.
enum class TopName : uint8_t {
  kStranger,  // no server puts it there, nor does holdfast
  kServers,   // a server's, or holdfast's, and anybody may have something of that name: "base"
  kTelling,   // a server's, and nobody else's: "pg_multixact"
};
TopName top_name(std::string_view name);
// The same of the top of pg_wal: a WAL file, or what a server or holdfast keeps among them.
bool is_name_in_pg_wal(std::string_view name);

// WAL that a restore in place could not archive, where it could not be put beside the directory:
// "holdfast_salvage-20261122T082239Z". No restore clears it, and no backup takes it.
inline constexpr std::string_view kSalvagePrefix = "holdfast_salvage-";

}  // namespace holdfast::pg
