// written_wal.h: what a server has written, told by its own pg_wal: whether the archive is its own,
// and which transactions ended behind a place.
//
// The WAL is read by SQL while the server runs, by its files where it was stopped; nothing is taken
// from it or added to it.
#pragma once

#include <functional>
#include <optional>
#include <stop_token>
#include <string>

#include "base/bytes.h"
#include "base/time.h"
#include "cluster/connection.h"
#include "pg/lsn.h"
#include "pg/wal_file_name.h"
#include "pg/wal_record.h"
#include "pg/wal_tip.h"

namespace holdfast::cluster {

// A primary at one moment.
struct Production {
  pg::Lsn flushed;
  pg::TimelineId timeline;
  std::string data_directory;  // as the server names it
};
// Asks the server behind `connection`. nullopt with a sentence in `why_not` when it is not the
// primary of that system.
struct ProductionAnswer {
  std::optional<Production> production;
  std::string why_not;
};
ProductionAnswer ask_production(Connection& connection, uint64_t system_identifier);

// Where a standby of that system is: the timeline that it follows, and how far it has WAL of it.
// nullopt: it is none, or another's.
std::optional<Production> ask_standby(Connection& connection, uint64_t system_identifier);

// The bytes of a file of pg_wal, as many as there are; nullopt when there is no such file.
using ReadWalFile = std::function<std::optional<Bytes>(const std::string& name)>;
// From its data directory where that is on this host and can be read; else by SQL, which needs the
// right to call pg_read_binary_file.
ReadWalFile wal_files_of_server(Connection& connection);
ReadWalFile wal_files_of(const std::string& pg_wal);

// Whether the server is the one that wrote what is archived. A system identifier and a timeline's
// number do not tell: a server that was rolled back has them, and a clone of it. It is when its
// history file is the archived one, when it has written at least as far as `archived` goes, and its
// own file of the archive's last segment begins with the archived bytes; where that file is
// recycled, its next one must go on from them, record by record. Returns why not.
struct NotTheArchives {
  std::string why;         // a sentence
  bool is_proven = false;  // false: that it is cannot be told, nor that it is not
};
std::optional<NotTheArchives> why_not_the_archives(const Production& production,
                                                   const pg::WalTip& archived,
                                                   pg::WalSegmentSize size,
                                                   const ReadWalFile& read);

// Calls `take` for each transaction that ended from `from` on, up to what was flushed. Returns a
// sentence where the WAL cannot be read up to there.
std::optional<std::string> read_written_wal(
    const Production& production, pg::Lsn from, pg::WalSegmentSize size, const ReadWalFile& read,
    const std::function<void(const pg::TransactionEnd&)>& take, const std::stop_token& stop);

// The end of the last record, complete, that a server which was stopped has written in its WAL,
// from `production.flushed` on: it may have flushed more after it was asked.
pg::Lsn written_end(const Production& production, pg::WalSegmentSize size, const ReadWalFile& read,
                    const std::stop_token& stop);

}  // namespace holdfast::cluster
