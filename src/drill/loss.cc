#include "drill/loss.h"

#include <algorithm>
#include <variant>

#include <fmt/format.h>

#include "base/error.h"
#include "base/file.h"
#include "base/task_group.h"
#include "cluster/server_facts.h"
#include "pg/wal_reader.h"

namespace holdfast::drill {
namespace {

// How much of a segment one question asks for; its answer is twice as long.
constexpr uint64_t kPieceBytes = uint64_t{2} << 20;

}  // namespace

ProductionAnswer ask_production(cluster::Connection& connection, const repo::Lineage& lineage) {
  const uint64_t system = cluster::parse_signed_system_identifier(
      connection.query_value("SELECT system_identifier FROM pg_catalog.pg_control_system()"));
  if (system != lineage.system_identifier)
    return {.production = {},
            .why_not = fmt::format("The server that conninfo leads to is another cluster, with "
                                   "system identifier {}.{}",
                                   system, cluster::environment_hint())};
  if (connection.query_value("SELECT pg_catalog.pg_is_in_recovery()") == "t")
    return {.production = {},
            .why_not = "The server that conninfo leads to is a standby, which commits nothing."};
  const cluster::Row row = connection.query_row(
      "SELECT f.flushed, pg_catalog.substr(pg_catalog.pg_walfile_name(f.flushed), 1, 8), "
      "pg_catalog.current_setting('data_directory') "
      "FROM (SELECT pg_catalog.pg_current_wal_flush_lsn() AS flushed) f");
  Production production{.flushed = pg::parse_lsn(row[0].value_or("")),
                        .timeline = {},
                        .data_directory = row[2].value_or("")};
  production.timeline.value = static_cast<uint32_t>(std::stoul(row[1].value_or("0"), nullptr, 16));
  return {.production = std::move(production), .why_not = {}};
}

ReadWalFile wal_files_by_sql(cluster::Connection& connection) {
  return [&connection](const std::string& name) -> std::optional<Bytes> {
    Bytes content;
    for (;;) {
      const std::vector<cluster::Value> parameters = {
          "pg_wal/" + name, std::to_string(content.size()), std::to_string(kPieceBytes)};
      const cluster::Row row = connection.query_row(
          "SELECT pg_catalog.encode(pg_catalog.pg_read_binary_file($1::pg_catalog.text, "
          "$2::pg_catalog.int8, $3::pg_catalog.int8, true), 'hex')",
          parameters);
      if (!row[0]) return content.empty() ? std::nullopt : std::optional(std::move(content));
      const std::optional<Bytes> piece = parse_hex(*row[0]);
      if (!piece)
        throw Error({.code = ErrorCode::kServer,
                     .message = fmt::format("the server's answer for \"{}\" is no text of bytes",
                                            parameters[0].value_or(""))});
      content.insert(content.end(), piece->begin(), piece->end());
      if (piece->size() < kPieceBytes) return content;
    }
  };
}

ReadWalFile wal_files_of(const std::string& pg_wal) {
  return [pg_wal](const std::string& name) {
    return read_if_exists(join_path(pg_wal, name), size_t{1} << 30);
  };
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
  const auto unknown = [&](std::string why) {
    loss.transactions.reset();
    loss.earliest.reset();
    loss.note = std::move(why);
    return loss;
  };
  // From the beginning of a segment on its records are found, also the one that runs into it.
  pg::WalReader reader(size);
  const uint64_t last = pg::last_segment_before_end(production.flushed, size);
  pg::Lsn read_to;
  for (uint64_t number = pg::segment_of(recovered_end, size); number <= last; ++number) {
    throw_if_stopped(stop);
    const std::string name = pg::segment_file_name({production.timeline, number}, size);
    const std::optional<Bytes> content = read(name);
    if (!content)
      return unknown(fmt::format("WAL segment \"{}\" of the server is not there any more.", name));
    pg::WalSegmentScan scan = pg::scan_segment(reader, *content, {production.timeline, number});
    for (const pg::WalEvent& event : scan.events) {
      const auto* end = std::get_if<pg::TransactionEnd>(&event);
      if (end == nullptr || !end->committed || end->lsn < recovered_end ||
          end->end_lsn > production.flushed)
        continue;
      ++*loss.transactions;
      loss.earliest = std::min(loss.earliest.value_or(end->time), end->time);
    }
    read_to = scan.summary.stop_lsn;
    if (scan.summary.stop == pg::WalStop::kSwitch) read_to = pg::end_lsn(number, size);
    if (read_to < std::min(production.flushed, pg::end_lsn(number, size)))
      return unknown(fmt::format("WAL segment \"{}\" of the server can only be read up to {}: {}",
                                 name, pg::to_string(read_to), scan.summary.stop_reason));
  }
  return loss;
}

}  // namespace holdfast::drill
