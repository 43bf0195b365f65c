#include "cli/wal_commands.h"

#include <cstdio>
#include <memory>

#include <fmt/format.h>

#include "archive/wal_get.h"
#include "archive/wal_list.h"
#include "archive/wal_push.h"
#include "archive/wal_salvage.h"
#include "archive/wal_set_aside.h"
#include "archive/wal_spool.h"
#include "archive/wal_tail.h"
#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/process.h"
#include "store/open_store.h"
#include "view/wal.h"

namespace holdfast::cli {
namespace {

std::chrono::milliseconds timeout(const config::Settings& settings) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(settings.duration("wal.timeout"));
}

int read_ahead(const config::Settings& settings) { return settings.integer("wal.read_ahead"); }

std::string spool_directory(const config::Settings& settings) {
  return settings.is_set("wal.spool") ? absolute_path(settings.text("wal.spool")) : std::string();
}

// This program again, with the same settings, as the process that reads ahead.
std::vector<std::string> read_ahead_command(const Call& call) {
  std::vector<std::string> words = {program_path()};
  if (!call.settings.config_file().empty())
    words.insert(words.end(), {"--config", call.settings.config_file()});
  words.insert(words.end(), {"--cluster", call.settings.cluster()});
  for (const config::Setting& setting : config::settings_table())
    if (auto given = call.arguments.sources.options.find(std::string(setting.key));
        given != call.arguments.sources.options.end())
      words.insert(words.end(), {std::string(setting.option), given->second});
  words.insert(words.end(), {"wal", "get", "--read-ahead-worker"});
  return words;
}

int run_read_ahead_worker(const Call& call) {
  std::unique_ptr<store::Store> source = store::open_store(call.settings.repository_url());
  archive::run_read_ahead({.data_directory = ".",
                           .cluster = call.settings.cluster(),
                           .repository_id = call.settings.repository_id(),
                           .spool_directory = spool_directory(call.settings),
                           .read_ahead = read_ahead(call.settings),
                           .timeout = timeout(call.settings)},
                          *source, call.settings.key(), call.reporter, call.stop);
  return 0;
}

}  // namespace

int run_wal_push(const Call& call) {
  const OpenRepository opened(call);
  const archive::PushResult result =
      archive::push({.path = call.arguments.words.front(),
                     .cluster = call.settings.cluster(),
                     .look_ahead = call.settings.integer("wal.look_ahead"),
                     .compression = call.settings.compression()},
                    opened.repository, call.reporter, call.stop);
  log_debug("{} \"{}\"{}", result.was_there ? "found" : "archived", result.file,
            result.looked_ahead.empty()
                ? ""
                : fmt::format(" and {} behind it", result.looked_ahead.size()));
  return 0;
}

int run_wal_get(const Call& call) {
  if (call.arguments.read_ahead_worker) return run_read_ahead_worker(call);
  std::unique_ptr<store::Store> source = store::open_store(call.settings.repository_url());
  const archive::GetResult result = archive::get(
      {.file_name = call.arguments.words[0],
       .destination = call.arguments.words[1],
       .data_directory = archive::asking_data_directory(call.arguments.words[1],
                                                        call.settings.is_set("cluster.pgdata")
                                                            ? call.settings.text("cluster.pgdata")
                                                            : std::string()),
       .cluster = call.settings.cluster(),
       .repository_id = call.settings.repository_id(),
       .timeout = timeout(call.settings),
       .until = call.arguments.until.empty() ? std::nullopt : std::optional(call.arguments.until),
       .read_ahead = read_ahead(call.settings),
       .spool_directory = spool_directory(call.settings),
       .read_ahead_command = read_ahead_command(call)},
      *source, call.settings.key(), call.reporter, call.stop);
  return result.outcome == archive::GetOutcome::kPlaced ? 0 : 1;
}

int run_wal_list(const Call& call) {
  const OpenRepository opened(call);
  const archive::WalListing listing = archive::list({.cluster = call.settings.cluster()},
                                                    opened.repository, call.reporter, call.stop);
  print(call, view::json(listing), view::text(listing));
  return 0;
}

int run_wal_set_aside(const Call& call) {
  const OpenRepository opened(call);
  const archive::SetAsideResult result =
      archive::set_aside({.file = call.arguments.words.front(),
                          .cluster = call.settings.cluster(),
                          .lineage = call.arguments.lineage,
                          .off = call.arguments.off,
                          .onward = call.arguments.onward,
                          .conninfo = call.settings.text("cluster.conninfo")},
                         opened.repository, call.stop);
  print(call, view::json(result), unless_quiet(call, true, view::text(result)));
  return 0;
}

// Each file that stays behind is one that nobody else may have.
int run_wal_salvage(const Call& call) {
  archive::SalvageOptions options =
      archive::salvage_options_for(call.arguments.words.front(), server_witness(call), call.stop);
  options.cluster = call.settings.cluster();
  options.compression = call.settings.compression();
  options.dry_run = call.arguments.dry_run;
  const OpenRepository opened(call);
  const archive::SalvageResult result =
      archive::salvage(options, opened.repository, call.reporter, call.stop);
  const bool is_well = !result.server_doubt && result.refused.empty();
  print(call, view::json(result), unless_quiet(call, is_well, view::text(result)));
  // The document has it.
  if (result.server_doubt && !call.arguments.json) throw Error(*result.server_doubt);
  if (result.server_doubt) return exit_status(ErrorCode::kBusy);
  return result.refused.empty() ? 0 : 1;
}

restore::Salvage salvager(const Call& call, const OpenRepository& opened) {
  return [&call, &opened](const std::string& pg_wal, bool on_paper) {
    const archive::SalvageResult result =
        archive::salvage({.wal_directory = pg_wal,
                          .cluster = call.settings.cluster(),
                          .compression = call.settings.compression(),
                          .dry_run = on_paper},
                         opened.repository, call.reporter, call.stop);
    restore::SalvagedWal salvaged{.saved = result.pushed, .partials = result.partials};
    for (const archive::SalvageResult::Conflict& conflict : result.conflicts)
      salvaged.conflicts.push_back({.from = conflict.from, .error = conflict.error});
    if (result.readable_end.is_valid())
      salvaged.seen = {.timeline = result.readable_timeline,
                       .last_record_end = result.readable_end};
    if (result.refused.empty()) salvaged.end = salvaged.seen;
    if (on_paper) return salvaged;
    if (!result.pushed.empty())
      call.reporter.note(fmt::format("saved {} WAL files that were not archived yet, up to {}",
                                     result.pushed.size(), pg::to_string(result.readable_end)));
    for (const archive::SalvageResult::Refused& refused : result.refused) {
      call.reporter.warning(
          fmt::format("WAL file \"{}\" could not be saved: {}", refused.file, refused.reason));
      salvaged.unsaved.push_back(refused.file);
    }
    return salvaged;
  };
}

std::function<std::optional<pg::Lsn>(const std::string& pg_wal, const std::string& segment)>
tail_archiver(const Call& call, const OpenRepository& opened) {
  return [&call, &opened](const std::string& pg_wal, const std::string& segment) {
    return archive::archive_tail({.wal_directory = pg_wal,
                                  .segment = segment,
                                  .cluster = call.settings.cluster(),
                                  .compression = call.settings.compression()},
                                 opened.repository, call.reporter);
  };
}

}  // namespace holdfast::cli
