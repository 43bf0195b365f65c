// tablespace_map.h: the file that tells a starting server which links to make in pg_tblspc.
//
// One line per tablespace: `<oid> <path>\n`, in any order. The path is absolute in all that
// PostgreSQL makes; to the server it is what the link is to say, which a way from pg_tblspc may be
// too. In the path a backslash stands before a line feed, a carriage return and, from 14 on, a
// backslash: 13 neither writes nor reads that last one, so the text depends on the server's major.
//
// Facts: xlog.c (do_pg_backup_start, read_tablespace_map), PostgreSQL 13 to 19.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::pg {

struct TablespaceMapEntry {
  uint32_t oid = 0;
  std::string path;

  auto operator<=>(const TablespaceMapEntry&) const = default;
};

// Throws kCorrupt for a line that is not an OID, a blank and an absolute path, and for an OID that
// comes twice.
std::vector<TablespaceMapEntry> parse_tablespace_map(std::string_view text, int major);

// The text for a server of `major`. Throws kUnsupported for a path that 13 cannot hold: one with a
// backslash before a line break, or at its end.
std::string format_tablespace_map(std::span<const TablespaceMapEntry> entries, int major);

}  // namespace holdfast::pg
