// data_directory.h: the files of a cluster, read while its server may be running.
//
// A running server makes, grows, shrinks and removes files at any time: what vanishes between being
// named and being looked at was dropped, and replay of the WAL makes the copy right. What is there
// and cannot be read is an error.
//
// Memory: the names of the directories on the way to one file, never those of the whole cluster.
//
// Facts: basebackup.c, controldata_utils.c (get_controlfile), PostgreSQL 13 to 19.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <sys/types.h>
#include <vector>

#include "base/bytes.h"
#include "base/reporter.h"
#include "base/time.h"
#include "pg/control_file.h"

namespace holdfast::cluster {

// The major that PG_VERSION names. Throws kNotFound when `data_directory` is no data directory,
// kPermission when it cannot be read.
int read_major(const std::string& data_directory);

struct ControlFileCopy {
  Bytes bytes;  // the very bytes of which the CRC is right: what a backup must store
  pg::ControlFile control;
};
// One read of the whole file; again, up to 10 times 10 ms apart, while it meets a write of the
// server's. Throws kCorrupt when the same wrong bytes are read twice, kNotFound, and what
// pg::parse_control_file throws.
ControlFileCopy read_control_file(const std::string& data_directory);

// What its server calls its directory in every tablespace (pg::tablespace_version_directory). Of a
// major that is not known pg_control tells it. Throws as read_major and read_control_file.
std::string tablespace_version_directory_of(const std::string& data_directory);

struct TablespaceLink {
  uint32_t oid = 0;
  std::string target = {};  // absolute; empty for a directory in place of a link
                            // (allow_in_place_tablespaces)
};
// pg_tblspc, by oid.
std::vector<TablespaceLink> read_tablespace_links(const std::string& data_directory);

// pg_replslot, by name; without those of a session (ReplicationSlotOnDisk, slot.c, PostgreSQL 13 to
// 19). One that cannot be read counts as physical.
struct ReplicationSlot {
  std::string name;
  bool is_logical = false;
};
std::vector<ReplicationSlot> read_replication_slots(const std::string& data_directory);

// Whether the settings of a recovery by holdfast are still in its configuration, and no recovery
// is to come: neither is it the data directory of a standby.
bool has_left_recovery_settings(const std::string& data_directory);

enum class EntryType : uint8_t { kFile, kDirectory, kTablespaceLink };

struct DataEntry {
  std::string path;  // relative to the data directory; a tablespace's files are named below
                     // pg_tblspc/<oid>/
  EntryType type = EntryType::kFile;
  uint64_t bytes = 0;  // of a file, when it was looked at
  mode_t mode = 0;     // permission bits alone
  uid_t owner = 0;
  gid_t group = 0;
  Time modified_at = {};
  // Of a tablespace's link; and of a directory that is a link here and is kept as a directory
  // (pg_wal on a disk of its own).
  std::string link_target = {};
};

struct WalkTotals {
  uint64_t file_count = 0;
  uint64_t file_bytes = 0;
  uint64_t directory_count = 0;
  uint64_t vanished_count = 0;
};

// What is to become of a symbolic link where a base backup expects none: true when `take_link`
// keeps it (a file that the server reads), and else it is left out with a warning.
using TakeLink = std::function<bool(const std::string& path, const std::string& target)>;

// Calls `visit` for everything that a base backup keeps (pg/backup_exclusions.h), without the data
// directory itself: a directory, all that is below it, then its next sibling, siblings in the order
// of their bytes. global/pg_control comes among the rest (who backs up copies it last). Of a
// tablespace only this major's directory is walked; one that lies inside the data directory is
// walked below pg_tblspc alone. What is left out although the operator may want it (sockets, links
// that the server does not expect) is a warning of `reporter`. Throws kNotFound when the data
// directory or a tablespace is missing, kPermission for what cannot be read, kUnsupported for a
// link in the place of data, and what `visit` throws.
WalkTotals walk_data_directory(const std::string& data_directory, Reporter& reporter,
                               const std::function<void(const DataEntry&)>& visit,
                               const TakeLink& take_link = {});

// The mode of files that the server makes in a data directory of that mode: with group access the
// group may read them (src/common/file_perm.c, PostgreSQL 11 and later). Directories have the data
// directory's own.
constexpr mode_t file_mode_in(mode_t data_directory_mode) {
  constexpr mode_t kGroupAccess = 0750;
  return (data_directory_mode & kGroupAccess) == kGroupAccess ? 0640 : 0600;
}
// Of one that is there; 0600 where it is not.
mode_t file_mode_in(const std::string& data_directory);

}  // namespace holdfast::cluster
