// loss.h: what a server had committed that a recovery did not bring back.
//
// What was lost lies between the end of the WAL that was recovered and what the server had flushed
// when the disaster struck: the commits in that WAL are read one by one, from the server's own
// pg_wal (by SQL while it runs, by its files where it was stopped), which nothing is taken from or
// added to. Where it cannot be read the loss is unknown, and says why: never a guess, never zero.
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
#include "repo/repository.h"

namespace holdfast::drill {

// The server as it was at T0.
struct Production {
  pg::Lsn flushed;
  pg::TimelineId timeline;
  std::string data_directory;  // as the server names it
};
// Asks the server behind `conninfo`. nullopt with a sentence in `why_not` when there is none, or
// not this lineage's primary.
struct ProductionAnswer {
  std::optional<Production> production;
  std::string why_not;
};
ProductionAnswer ask_production(cluster::Connection& connection, const repo::Lineage& lineage);

// The bytes of a file of pg_wal, as many as there are; nullopt when there is no such file.
using ReadWalFile = std::function<std::optional<Bytes>(const std::string& name)>;
ReadWalFile wal_files_by_sql(cluster::Connection& connection);
ReadWalFile wal_files_of(const std::string& pg_wal);

struct Loss {
  std::optional<uint64_t> transactions;
  std::optional<uint64_t> wal_bytes;
  std::optional<Time> earliest;  // of the commits lost
  std::string note;              // a sentence
};
// `recovered_end`: exclusive, of what was recovered.
Loss find_loss(const Production& production, pg::Lsn recovered_end, pg::WalSegmentSize size,
               const ReadWalFile& read, const std::stop_token& stop);

}  // namespace holdfast::drill
