// backup_label.h: what the stop call of an online backup returns, and the server reads at the first
// start after a restore.
//
//   START WAL LOCATION: 0/4000060 (file 000000010000000000000004)
//   CHECKPOINT LOCATION: 0/40000B8
//   BACKUP METHOD: streamed
//   BACKUP FROM: primary
//   START TIME: 2026-11-22 08:22:37 UTC
//   LABEL: mybk
//   START TIMELINE: 1
//   INCREMENTAL FROM LSN: 0/B000028        these two in incremental backups of 17+ only
//   INCREMENTAL FROM TLI: 1
//
// The file is always kept and written byte for byte as the server gave it; this only reads it. The
// backup history file in pg_wal has the same lines and some more, and can be read too. START TIME
// is in the server's log_timezone and meant for people.
//
// Facts: xlogbackup.c (build_backup_content), xlogrecovery.c (read_backup_label), PostgreSQL 13
// to 19.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "pg/lsn.h"
#include "pg/wal_file_name.h"

namespace holdfast::pg {

struct BackupLabel {
  Lsn start_lsn;  // redo: replay starts here
  std::string start_segment;
  TimelineId start_timeline;  // from the segment's name
  Lsn checkpoint_lsn;
  std::string method;  // "streamed"; "pg_start_backup" is the exclusive one of 13 and 14
  std::string from;    // "primary", "standby"
  std::string start_time;
  std::string label;
  // Set for an incremental backup of 17+, which no server starts from.
  std::optional<Lsn> incremental_from_lsn;
  std::optional<TimelineId> incremental_from_timeline;
  // Set in a backup history file.
  std::optional<Lsn> stop_lsn;
  std::optional<TimelineId> stop_timeline;
};

// Throws kCorrupt when the two lines are missing that the server cannot do without, when a value is
// unreadable, or when the segment or START TIMELINE contradicts the start LSN's line. Unknown lines
// are passed over.
BackupLabel parse_backup_label(std::string_view text, WalSegmentSize size);

}  // namespace holdfast::pg
