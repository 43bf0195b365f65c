// wal_directory.h: the WAL files of a pg_wal, with what the archiver says of each.
//
// For the salvage of an old pg_wal, and for pushing ahead. A name and a right size prove little:
// the server renames old segments to future names and writes into them later, so each file's first
// page is asked where it belongs.
//
// What is not understood is never taken for unused: the first page may be all that is damaged.
//
// Facts: xlogarchive.c, xlog_internal.h (page header: address at byte 8), PostgreSQL 13 to 18.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "pg/lsn.h"
#include "pg/wal_file_name.h"

namespace holdfast::cluster {

// Where `wal get` keeps what it reads ahead, in pg_wal unless told otherwise, and the file in there
// that its reader holds locked. No base backup copies it.
inline constexpr std::string_view kSpoolDirectory = "holdfast_spool";
inline constexpr std::string_view kSpoolLock = "lock";

enum class ArchiveStatus : uint8_t { kNone, kReady, kDone };

struct WalDirectoryFile {
  std::string name;
  pg::WalFileName parsed = {};  // a segment, a .partial, a history file or a backup history file
  uint64_t bytes = 0;
  ArchiveStatus status = ArchiveStatus::kNone;
  Bytes front = {};       // of a segment or .partial: of its first page, or what there is of it
  bool is_empty = false;  // of such a file: zeros throughout

  // A segment that nobody has written yet, or of old WAL that the server keeps for reuse, and that
  // does not wait for the archiver. All others hold their own WAL, or what nobody understands.
  // `began`: where the segment's timeline did, when that is known.
  bool is_unused(pg::WalSegmentSize size, std::optional<pg::Lsn> began) const;
};

// One file of that directory; nullopt when it is not there, or no file.
std::optional<WalDirectoryFile> read_wal_file(const std::string& pg_wal, const std::string& name,
                                              pg::WalSegmentSize size);
// Where a timeline began, by the history file that lies there; nullopt when none does, or when it
// cannot be understood.
std::optional<pg::Lsn> beginning_of(const std::string& pg_wal, pg::TimelineId timeline);

// Every WAL file in the directory, sorted by name; other names are passed over, files that vanish
// too. One that cannot be read has no bytes. Throws kNotFound when there is no directory,
// kPermission and kIo when it cannot be listed.
std::vector<WalDirectoryFile> list_wal_directory(const std::string& pg_wal,
                                                 pg::WalSegmentSize size);

}  // namespace holdfast::cluster
