// relation_file.h: which files of a data directory hold relations, and where a relation's file
// lies.
//
//   base/<database>/<file>           tablespace 1663, pg_default
//   global/<file>                    tablespace 1664, pg_global; database 0
//   pg_tblspc/<tablespace>/<version directory>/<database>/<file>
//
//   file := [t<backend>_]<number>[_fsm|_vm|_init][.<segment>]
//
// A "t" marks a temporary relation; the first segment of a fork has no suffix.
// All numbers are decimal without leading zeros. Only these files are made of pages: those in
// pg_xact, pg_multixact, pg_commit_ts and pg_subtrans look alike and are not.
//
// Facts: relpath.c, reinit.c (parse_filename_for_nontemp_relation), PostgreSQL 13 to 19.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace holdfast::pg {

enum class Fork : uint8_t { kMain = 0, kFsm = 1, kVm = 2, kInit = 3 };
// "main", "fsm", "vm", "init": as in pg_relation_size().
std::string_view to_string(Fork fork);

inline constexpr uint32_t kDefaultTablespace = 1663;
inline constexpr uint32_t kGlobalTablespace = 1664;

struct RelFileLocator {
  uint32_t tablespace = 0;
  uint32_t database = 0;  // 0 for the relations that all databases share
  uint32_t file_number = 0;

  auto operator<=>(const RelFileLocator&) const = default;
};

// One file: a segment of a fork of a relation.
struct RelationFile {
  RelFileLocator locator;
  Fork fork = Fork::kMain;
  uint32_t segment = 0;
  // Set for a temporary relation: the number of the session that made it. Never part of a backup.
  std::optional<uint32_t> temporary_of = {};

  auto operator<=>(const RelationFile&) const = default;
};

// The file name alone ("16384_vm.2"): the locator has only its file number. nullopt when it is no
// relation's.
std::optional<RelationFile> parse_relation_file_name(std::string_view name);

// `path` is relative to the data directory. `version_directory` is the cluster's own
// (tablespace_version_directory()); what another major keeps beside it in the same tablespace is
// not ours: nullopt.
std::optional<RelationFile> parse_relation_path(std::string_view path,
                                                std::string_view version_directory);

// The path of a file, relative to the data directory; parse_relation_path() reads it back.
std::string relation_path(const RelationFile& file, std::string_view version_directory);

}  // namespace holdfast::pg
