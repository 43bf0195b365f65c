// loss.h: what a server had committed that a recovery did not bring back.
//
// What was lost lies between the end of the WAL that was recovered and what the server had flushed
// when the disaster struck: the commits in that WAL are read one by one, from the server's own
// pg_wal (by SQL while it runs, by its files where it was stopped), which nothing is taken from or
// added to. Where it cannot be read the loss is unknown, and says why: never a guess, never zero.
#pragma once

#include <optional>
#include <stop_token>
#include <string>

#include "base/time.h"
#include "cluster/written_wal.h"
#include "repo/wal_archive.h"

namespace holdfast::drill {

using cluster::Production;
using cluster::ProductionAnswer;
using cluster::ReadWalFile;

struct Loss {
  std::optional<uint64_t> transactions;
  std::optional<uint64_t> wal_bytes;
  std::optional<Time> earliest;  // of the commits lost
  std::string note;              // a sentence
};
// Why that cannot be told of the primary behind `connection`, which is asked in the same moment:
// its answer, or that it is of another history than the archive.
ProductionAnswer ask_archived_production(cluster::Connection& connection,
                                         const repo::WalArchive& archive);
// `recovered_end`: exclusive, of what was recovered.
Loss find_loss(const Production& production, pg::Lsn recovered_end, pg::WalSegmentSize size,
               const ReadWalFile& read, const std::stop_token& stop);

}  // namespace holdfast::drill
