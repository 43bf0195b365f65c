// removal_record.h: the WAL records that take a database or a tablespace away.
//
// Their transaction ends behind them, and its row in the catalogue goes with that end. A recovery
// that stops in between has the row, and what it stands for is gone.
//
//   DROP DATABASE     mark, (a checkpoint: seconds to minutes), files, commit
//   DROP TABLESPACE   directory, commit
//
// The mark is an in-place update of pg_database: datconnlimit becomes -2, at once and for good.
// Minor versions before August 2023 (13.12, 14.9, 15.4) make none.
//
// Facts: dbcommands.c (dropdb, movedb, dbase_redo), dbcommands_xlog.h, tablespace.c (tblspc_redo),
// heapam_xlog.h (XLOG_HEAP_INPLACE), pg_database.h, PostgreSQL 13 to 19.
#pragma once

#include <optional>

#include "pg/wal_record.h"

namespace holdfast::pg {

// nullopt for every other record, and for the removal of files that no row stands for: ALTER
// DATABASE SET TABLESPACE takes the old ones away when it has committed. Never throws.
std::optional<WalEvent> decode_removal(const WalRecord& record);

// A mark has such a header, and so has what VACUUM and ANALYZE write.
bool is_in_place_update(const WalRecordHeader& header);

}  // namespace holdfast::pg
