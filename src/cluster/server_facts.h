// server_facts.h: what init, check and backup must know of a running server, asked once.
//
// Facts: pg_settings, pg_control_*(), pg_file_settings, pg_hba_file_rules, pg_stat_archiver,
// PostgreSQL 13 to 19.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <sys/types.h>
#include <utility>
#include <vector>

#include "base/time.h"
#include "cluster/connection.h"
#include "pg/lsn.h"
#include "pg/wal_file_name.h"

namespace holdfast::cluster {

struct Tablespace {
  uint32_t oid = 0;
  std::string name;
  std::string location;  // an absolute path; empty for one inside the data directory
                         // (allow_in_place_tablespaces)
};

enum class ArchiveMode : uint8_t { kOff, kOn, kAlways };

struct ServerFacts {
  uint64_t system_identifier = 0;
  int major = 0;
  std::string version;  // "15.18"
  uint32_t catalog_version = 0;

  // Files, as absolute paths on the server's host.
  std::string data_directory;
  std::string config_file;
  std::string hba_file;
  std::string ident_file;
  // What those three include, and other files that the settings came from; sorted, without the
  // three. Files that hba_file and ident_file include are known from 16 on (no server before has
  // them).
  std::vector<std::string> included_files;
  // Settings that came with its command line (or, of the port, its environment): the next start has
  // them only if it is given them again. By name, each in the unit in which the server counts it;
  // without the names of files above, and without what holdfast gave it (kGivenSetting).
  std::vector<std::pair<std::string, std::string>> command_line;
  // The owner of the data directory by this host's names; nullopt when the directory cannot be seen
  // from here.
  std::optional<std::string> unix_user;

  // WAL and archiving.
  std::string wal_level;  // "minimal", "replica", "logical"
  ArchiveMode archive_mode = ArchiveMode::kOff;
  std::string archive_command;  // empty when unset (the server shows "(disabled)" while
                                // archive_mode is off)
  std::string archive_library;  // 15 and later
  pg::WalSegmentSize wal_segment_size;
  uint32_t block_size = 0;
  bool data_checksums = false;
  bool full_page_writes = false;
  bool summarize_wal = false;  // 17 and later

  // Where it is. A standby has no current position: its insert and flush LSN are what it has
  // replayed and received.
  bool in_recovery = false;
  pg::TimelineId timeline;
  pg::Lsn insert_lsn;  // primary: pg_current_wal_insert_lsn(); standby: the replay position
  pg::Lsn flush_lsn;   // primary: pg_current_wal_flush_lsn(); standby: what it has received, at
                       // least what it has replayed
  pg::Lsn checkpoint_lsn;
  pg::Lsn redo_lsn;

  std::vector<Tablespace> tablespaces;  // without pg_default and pg_global; by oid

  // Its log.
  std::string log_destination;
  bool logging_collector = false;
  std::string log_directory;
  std::optional<std::string>
      current_log_file;  // of the collector, relative to the data directory unless absolute
  std::string log_timezone;

  // How it listens, for commands that connect to it again.
  std::string unix_socket_directories;
  uint16_t port = 0;
};

// When its postmaster was started, by its own clock.
Time start_time(Connection& connection);

// Names, joined by commas, of the settings that holdfast itself gave a server when it started it: a
// setting without an effect, by which they are told from those that are the server's own.
inline constexpr const char* kGivenSetting = "holdfast.given";

// What pg_stat_archiver says.
struct ArchiverStatus {
  uint64_t archived_count = 0;
  std::optional<std::string> last_archived_wal;
  std::optional<Time> last_archived_time;
  uint64_t failed_count = 0;
  std::optional<std::string> last_failed_wal;
  std::optional<Time> last_failed_time;

  // The last attempt failed. An archiver that dies of an exit status above 125 is not counted by
  // the server and not seen here.
  bool is_failing() const;
};

// Throws what Connection::query throws; kPermission names the GRANTs that are missing.
ServerFacts read_server_facts(Connection& connection);
ArchiverStatus read_archiver_status(Connection& connection);

// The system identifier is an unsigned number that SQL shows as a signed one: "-1" is 2^64-1.
// Throws kInvalidText.
uint64_t parse_signed_system_identifier(std::string_view text);

// Throws kUsage when a repository, a directory of this host or whatever its URL is else, lies in
// the cluster's files: a backup would hold itself, and a restore in place would clear both.
void require_apart_from(const ServerFacts& facts, const std::string& repository);

}  // namespace holdfast::cluster
