#include "drill/loss.h"

#include <algorithm>

#include <fmt/format.h>

#include "repo/wal_tip.h"

namespace holdfast::drill {

// What is archived is read first: behind that the server can only have gone on.
ProductionAnswer ask_archived_production(cluster::Connection& connection,
                                         const repo::WalArchive& archive) {
  const uint64_t system = archive.lineage().system_identifier;
  ProductionAnswer answer = cluster::ask_production(connection, system);
  if (!answer.production) return answer;
  const pg::WalTip archived = repo::read_wal_tip(archive, answer.production->timeline);
  answer = cluster::ask_production(connection, system);
  if (!answer.production) return answer;
  if (std::optional<cluster::NotTheArchives> other =
          cluster::why_not_the_archives(*answer.production, archived, archive.segment_size(),
                                        cluster::wal_files_of_server(connection)))
    return {.production = {}, .why_not = std::move(other->why)};
  return answer;
}

Loss find_loss(const Production& production, pg::Lsn recovered_end, pg::WalSegmentSize size,
               const ReadWalFile& read, const std::stop_token& stop) {
  if (recovered_end >= production.flushed)
    return {.transactions = 0,
            .wal_bytes = 0,
            .earliest = {},
            .note = fmt::format("Everything that the server had flushed, up to {}, was recovered.",
                                pg::to_string(production.flushed))};
  Loss loss{.transactions = 0,
            .wal_bytes = production.flushed - recovered_end,
            .earliest = {},
            .note = fmt::format("The server had flushed up to {}, and what was recovered ends at "
                                "{}; the commits between were read in its own WAL.",
                                pg::to_string(production.flushed), pg::to_string(recovered_end))};
  const std::optional<std::string> problem = cluster::read_written_wal(
      production, recovered_end, size, read,
      [&](const pg::TransactionEnd& end) {
        if (!end.committed) return;
        ++*loss.transactions;
        loss.earliest = std::min(loss.earliest.value_or(end.time), end.time);
      },
      stop);
  if (!problem) return loss;
  loss.transactions.reset();
  loss.earliest.reset();
  loss.note = *problem;
  return loss;
}

}  // namespace holdfast::drill
