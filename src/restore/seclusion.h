// seclusion.h: what a recovered copy must not see of production, and what is done where it cannot
// be kept from it.
//
// Replay of a CREATE TABLESPACE that is newer than the backup empties and fills the directory that
// the WAL names, whatever tablespace_map says: on the same host that is production's. In the
// sandbox of a started copy that path leads to a directory below the copy. When recovery has ended,
// the links of pg_tblspc that name such a path are made to name that directory itself: it is the
// same one, so a running server does not notice, and the copy is then usable outside of the
// sandbox. Until then it is not: a server that is started on it by hand is kept from replaying by
// the restore_command in its configuration (kOnlyInSandbox), which the sandbox's own overrides.
//
// Covered too, by nothing: production's data directory, its tablespaces, and its sockets. A place
// that holds what the copy itself needs (the repository, the program) stays visible; of such a
// directory of sockets only the sockets are covered.
//
// Facts: tablespace.c (create_tablespace_directories), PostgreSQL 13 to 18.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/reporter.h"
#include "cluster/sandbox.h"
#include "recovery/plan.h"
#include "restore/restore.h"

namespace holdfast::restore {

// The restore_command of a copy that can only be recovered in its sandbox.
inline constexpr const char* kOnlyInSandbox =
    "echo \"holdfast: this copy can only be recovered in its sandbox, or it would write into a "
    "tablespace of production; restore it anew\" >&2; exit 255";

// A tablespace that the WAL creates at a path of this host.
struct NewTablespace {
  uint32_t oid = 0;
  std::string path;
  pg::Lsn lsn;
  std::string place;  // where its files go: below the copy
};

// Of the plan's new tablespaces those whose path is not below `directory`; of several at one path
// the first. Those that a backup's own start is behind are none.
std::vector<NewTablespace> new_tablespaces(const recovery::Plan& plan, const std::string& directory,
                                           const std::string& tablespaces_directory);

struct Seclusion {
  std::optional<cluster::Sandbox> sandbox;  // nullopt: the copy runs among all else
  std::string why_not;                      // a sentence, when it was wanted and cannot be had
};

// Production's data directory and tablespaces, as a backup has them.
std::vector<std::string> production_places(const repo::Backup& backup);

// What the sandbox of a copy at `directory` is to cover, as far as it is known before its
// configuration; tried out. No sandbox when options name no program.
Seclusion seclude(const SandboxOptions& options, std::vector<std::string> production,
                  const std::string& directory, std::span<const NewTablespace> created);

// Adds production's sockets: `directories` as unix_socket_directories has them.
void cover_sockets(cluster::Sandbox& sandbox, const SandboxOptions& options,
                   const std::string& directory, std::span<const std::string> directories);

// Makes the links in pg_tblspc that name a new tablespace's path name its place. Returns how many.
int settle_tablespaces(const std::string& directory, std::span<const NewTablespace> created);

// What is known of preloaded libraries that act on their own: a warning for each, and settings that
// keep them from it where they have any.
struct PreloadCaution {
  std::string warning;
  std::string setting = {}, value = {};
};
std::vector<PreloadCaution> preload_cautions(std::string_view shared_preload_libraries);

}  // namespace holdfast::restore
