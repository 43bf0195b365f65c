// wal_directory.h: the WAL files of a pg_wal, with what the archiver says of each.
//
// For the salvage of an old pg_wal, and for pushing ahead. A name and a right size prove little:
// the server renames old segments to future names and writes into them later, so each file's first
// page is asked where it belongs.
//
// Facts: xlogarchive.c, xlog_internal.h (page header: address at byte 8), PostgreSQL 13 to 18.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "pg/lsn.h"
#include "pg/wal_file_name.h"

namespace holdfast::cluster {

enum class ArchiveStatus : uint8_t { kNone, kReady, kDone };

struct WalDirectoryFile {
  std::string name;
  pg::WalFileName parsed = {};  // a segment, a .partial, a history file or a backup history file
  uint64_t bytes = 0;
  ArchiveStatus status = ArchiveStatus::kNone;
  // Of a segment or .partial: the position that its first page claims; nullopt when the file ends
  // before.
  std::optional<pg::Lsn> first_page_lsn = {};

  // A segment or .partial of the full size that begins with its own WAL. Whether it is filled to
  // its end is not said by this.
  bool holds_own_wal(pg::WalSegmentSize size) const;
};

// Every WAL file in the directory, sorted by name; other names are passed over, files that vanish
// too. Throws kNotFound when there is no directory, kPermission and kIo for what cannot be read.
std::vector<WalDirectoryFile> list_wal_directory(const std::string& pg_wal,
                                                 pg::WalSegmentSize size);

}  // namespace holdfast::cluster
