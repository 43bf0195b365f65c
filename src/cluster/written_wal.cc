#include "cluster/written_wal.h"

#include <algorithm>
#include <variant>

#include <fmt/format.h>

#include "base/error.h"
#include "base/file.h"
#include "base/task_group.h"
#include "cluster/own_server.h"
#include "cluster/server_facts.h"
#include "pg/wal_reader.h"

namespace holdfast::cluster {
namespace {

// How much of a segment one question asks for; its answer is twice as long.
constexpr uint64_t kWalPieceBytes = uint64_t{2} << 20;

}  // namespace

ProductionAnswer ask_production(Connection& connection, uint64_t system_identifier) {
  const uint64_t system = parse_signed_system_identifier(
      connection.query_value("SELECT system_identifier FROM pg_catalog.pg_control_system()"));
  if (system != system_identifier)
    return {.production = {},
            .why_not = fmt::format("The server that conninfo leads to is another cluster, with "
                                   "system identifier {}.{}",
                                   system, environment_hint())};
  if (connection.query_value("SELECT pg_catalog.pg_is_in_recovery()") == "t")
    return {.production = {},
            .why_not = "The server that conninfo leads to is a standby, which commits nothing."};
  const Row row = connection.query_row(
      "SELECT f.flushed, pg_catalog.substr(pg_catalog.pg_walfile_name(f.flushed), 1, 8), "
      "pg_catalog.current_setting('data_directory') "
      "FROM (SELECT pg_catalog.pg_current_wal_flush_lsn() AS flushed) f");
  Production production{.flushed = pg::parse_lsn(row[0].value_or("")),
                        .timeline = {},
                        .data_directory = row[2].value_or("")};
  production.timeline.value = static_cast<uint32_t>(std::stoul(row[1].value_or("0"), nullptr, 16));
  return {.production = std::move(production), .why_not = {}};
}

std::optional<Production> ask_standby(Connection& connection, uint64_t system_identifier) {
  const Row row = connection.query_row(
      "SELECT s.system_identifier, pg_catalog.pg_is_in_recovery(), "
      "greatest(pg_catalog.pg_last_wal_receive_lsn(), pg_catalog.pg_last_wal_replay_lsn()), "
      "coalesce((SELECT received_tli FROM pg_catalog.pg_stat_wal_receiver), c.timeline_id), "
      "pg_catalog.current_setting('data_directory') "
      "FROM pg_catalog.pg_control_system() s, pg_catalog.pg_control_checkpoint() c");
  if (parse_signed_system_identifier(row[0].value_or("")) != system_identifier ||
      row[1].value_or("") != "t" || !row[2] || !row[3])
    return std::nullopt;
  return Production{.flushed = pg::parse_lsn(*row[2]),
                    .timeline = {static_cast<uint32_t>(std::stoul(*row[3]))},
                    .data_directory = row[4].value_or("")};
}

ReadWalFile wal_files_of_server(Connection& connection) {
  std::string pg_wal;
  const std::optional<Error> elsewhere = error_of([&] {
    const std::string directory =
        connection.query_value("SELECT pg_catalog.current_setting('data_directory')");
    require_server_of(directory, connection);
    pg_wal = join_path(directory, "pg_wal");
    list_directory(pg_wal);
  });
  if (!elsewhere) return wal_files_of(pg_wal);
  return [&connection](const std::string& name) -> std::optional<Bytes> {
    Bytes content;
    for (;;) {
      const std::vector<Value> parameters = {"pg_wal/" + name, std::to_string(content.size()),
                                             std::to_string(kWalPieceBytes)};
      const Row row = connection.query_row(
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
      if (piece->size() < kWalPieceBytes) return content;
    }
  };
}

ReadWalFile wal_files_of(const std::string& pg_wal) {
  return [pg_wal](const std::string& name) {
    return read_if_exists(join_path(pg_wal, name), size_t{1} << 30);
  };
}

std::optional<NotTheArchives> why_not_the_archives(const Production& production,
                                                   const pg::WalTip& archived,
                                                   pg::WalSegmentSize size,
                                                   const ReadWalFile& read) {
  constexpr std::string_view kOther =
      "the server that conninfo leads to is of another history than the archive: one that was "
      "rolled back, or a copy";
  const auto differs = [](std::string why) {
    return NotTheArchives{.why = std::move(why), .is_proven = true};
  };
  if (production.timeline != archived.timeline)
    return differs(fmt::format("The server that conninfo leads to is on timeline {}.",
                               pg::to_string(production.timeline)));
  if (archived.history) {
    const std::string name = pg::history_file_name(archived.timeline);
    const std::optional<Bytes> own = read(name);
    if (own && *own != *archived.history)
      return differs(fmt::format("Its \"{}\" is not the archived one: {}.", name, kOther));
  }
  if (!archived.segment) return std::nullopt;
  const uint64_t number = archived.segment->segment_number;
  const pg::Lsn end = pg::start_lsn(number, size) + archived.content.size();
  if (production.flushed < end)
    return differs(fmt::format("It has written up to {}, and what is archived ends at {}: {}.",
                               pg::to_string(production.flushed), pg::to_string(end), kOther));
  const std::string name = pg::segment_file_name(*archived.segment, size);
  if (const std::optional<Bytes> own = read(name)) {
    if (own->size() >= archived.content.size() &&
        std::ranges::equal(ByteView(*own).first(archived.content.size()), archived.content))
      return std::nullopt;
    return differs(
        fmt::format("Its own WAL segment \"{}\" is not the archived one: {}.", name, kOther));
  }
  const pg::SegmentName next{.timeline = archived.timeline, .segment_number = number + 1};
  const std::string next_name = pg::segment_file_name(next, size);
  const std::optional<Bytes> own = read(next_name);
  if (!own || archived.content.size() < size.bytes())
    return NotTheArchives{
        .why = fmt::format("Whether it is of the archive's history cannot be told: it has no WAL "
                           "segment \"{}\" any more.",
                           name)};
  pg::WalReader reader(size);
  bool goes_on = false;
  error_of({ErrorCode::kCorrupt, ErrorCode::kUnsupported}, [&] {
    reader.feed(archived.content, *archived.segment, {});
    const pg::WalSegmentSummary summary = reader.feed(*own, next, {});
    goes_on = summary.record_count > 0 || summary.stop == pg::WalStop::kSegmentEnd;
  });
  if (goes_on) return std::nullopt;
  return differs(
      fmt::format("Its own WAL segment \"{}\" does not go on from the archived \"{}\": {}.",
                  next_name, name, kOther));
}

std::optional<std::string> read_written_wal(
    const Production& production, pg::Lsn from, pg::WalSegmentSize size, const ReadWalFile& read,
    const std::function<void(const pg::TransactionEnd&)>& take, const std::stop_token& stop) {
  if (from >= production.flushed) return std::nullopt;
  // From the beginning of a segment on its records are found, also the one that runs into it.
  pg::WalReader reader(size);
  const uint64_t last = pg::last_segment_before_end(production.flushed, size);
  for (uint64_t number = pg::segment_of(from, size); number <= last; ++number) {
    throw_if_stopped(stop);
    const std::string name = pg::segment_file_name({production.timeline, number}, size);
    const std::optional<Bytes> content = read(name);
    if (!content)
      return fmt::format("WAL segment \"{}\" of the server is not there any more.", name);
    const pg::WalSegmentScan scan =
        pg::scan_segment(reader, *content, {production.timeline, number});
    for (const pg::WalEvent& event : scan.events) {
      const auto* end = std::get_if<pg::TransactionEnd>(&event);
      if (end != nullptr && end->lsn >= from && end->end_lsn <= production.flushed) take(*end);
    }
    pg::Lsn read_to = scan.summary.stop_lsn;
    if (scan.summary.stop == pg::WalStop::kSwitch) read_to = pg::end_lsn(number, size);
    if (read_to < std::min(production.flushed, pg::end_lsn(number, size)))
      return fmt::format("WAL segment \"{}\" of the server can only be read up to {}: {}", name,
                         pg::to_string(read_to), scan.summary.stop_reason);
  }
  return std::nullopt;
}

pg::Lsn written_end(const Production& production, pg::WalSegmentSize size, const ReadWalFile& read,
                    const std::stop_token& stop) {
  pg::Lsn end = production.flushed;
  pg::WalReader reader(size);
  for (uint64_t number = pg::segment_of(end, size);; ++number) {
    throw_if_stopped(stop);
    const std::optional<Bytes> content =
        read(pg::segment_file_name({production.timeline, number}, size));
    if (!content) return end;
    // A file that was made ready for later holds old WAL, or none.
    pg::WalSegmentScan scan;
    if (damage_of(
            [&] { scan = pg::scan_segment(reader, *content, {production.timeline, number}); }))
      return end;
    end = std::max(end, scan.summary.last_complete_record_end_lsn.value_or(end));
    if (scan.summary.stop != pg::WalStop::kSegmentEnd && scan.summary.stop != pg::WalStop::kSwitch)
      return end;
  }
}

}  // namespace holdfast::cluster
