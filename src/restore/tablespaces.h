// tablespaces.h: where each tablespace of a backup is to lie after a restore.
//
//   --tablespace OLD=NEW   at NEW; OLD is the path that the backup recorded, or the oid
//   otherwise in place     where it was
//   otherwise elsewhere    below the new data directory: nothing of production is touched
//
// A place that is named must be absent or empty, or the restored cluster's own already: one that an
// interrupted restore has begun to fill, or that the data directory links to. Nothing is written
// before all of this is known.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "repo/backup.h"

namespace holdfast::restore {

inline constexpr const char* kTablespacesDirectory = "holdfast_tablespaces";

struct TablespaceMove {
  std::string was;  // as typed: an absolute path or an oid
  std::string to;   // absolute
};
// "OLD=NEW"; an equals sign of OLD is written "\=". Throws kUsage: without "=", an empty half, a
// relative NEW, a line break in NEW.
TablespaceMove parse_tablespace_move(std::string_view text);

// Whether one of them is of that tablespace.
bool is_moved(const std::vector<TablespaceMove>& moves, const repo::Tablespace& tablespace);

struct TablespacePlace {
  uint32_t oid = 0;
  std::string recorded;  // where it was; empty: a directory in the data directory, which stays one
  std::string place;
  bool is_moved = false;  // by --tablespace
};

struct PlacesOptions {
  std::string directory;  // the data directory to be
  bool is_copy = false;
  std::vector<TablespaceMove> moves;
  // Directories that may hold files, because they are this cluster's own.
  std::set<std::string> own;
};
// In the backup's order. Throws kNotFound for a tablespace that the backup does not have; kUsage
// for one that is moved twice; kUnsupported for one that lies in the data directory; kConflict for
// a place inside the data directory or around it, and for two that lie in each other;
// kAlreadyExists for a place that is not empty.
std::vector<TablespacePlace> place_tablespaces(const PlacesOptions& options,
                                               const repo::Backup& backup);

// What a link in pg_tblspc says of a place. In the data directory it names the way from pg_tblspc:
// a copy that is moved or copied has its own tablespaces, and none of them is another's.
std::string tablespace_link_text(const std::string& directory, const std::string& place);
// Makes the link of a tablespace that is there say `text`, in one step: a server may use it.
void set_tablespace_link(const std::string& directory, uint32_t oid, const std::string& text);

// The same file or directory, whatever links lead to it; also for what is not there yet.
std::string resolved_path(const std::string& path);

}  // namespace holdfast::restore
