#include "cli/call.h"

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <unistd.h>

#include <fmt/format.h>

#include "base/error.h"
#include "base/file.h"
#include "base/process.h"
#include "cli/terminal.h"
#include "cluster/connection.h"
#include "cluster/data_directory.h"
#include "cluster/server_facts.h"
#include "store/open_store.h"

namespace holdfast::cli {
namespace {

std::string repository_directory(const config::Settings& settings) {
  constexpr std::string_view kFile = "file://";
  const std::string url = settings.repository_url();
  return url.starts_with(kFile) ? url.substr(kFile.size()) : url;
}

}  // namespace

OpenRepository::OpenRepository(const Call& call)
    : cluster(call.settings.cluster()),
      store(store::open_store(call.settings.repository_url())),
      repository(
          repo::Repository::open(*store, call.settings.key(), call.settings.repository_id())),
      reporter(call.reporter) {}

std::vector<repo::Lineage> OpenRepository::lineages() const {
  return repository.require_lineages(
      cluster, [&](const repo::LineageName& lineage, const Error& error) {
        reporter.warning(
            fmt::format("lineage {} is unreadable: {}", repo::to_string(lineage), error.message()));
      });
}

namespace {

// As its data directory says it, which outlives its server; else as the server does.
std::optional<uint64_t> system_of_cluster(const Call& call) {
  std::optional<uint64_t> system;
  const std::string& directory = call.settings.text("cluster.pgdata");
  if (!directory.empty())
    error_of([&] { system = cluster::read_control_file(directory).control.system_identifier; });
  const std::string& conninfo = call.settings.text("cluster.conninfo");
  if (!system && !conninfo.empty())
    error_of([&] {
      cluster::Connection connection = cluster::Connection::connect(
          {.conninfo = conninfo, .application_name = "holdfast"}, call.stop);
      system = cluster::read_server_facts(connection).system_identifier;
    });
  return system;
}

}  // namespace

repo::LineageChoice lineage_choice(const Call& call, std::string backup) {
  return {.lineage = call.arguments.lineage,
          .backup = std::move(backup),
          .ask_system = [&call] { return system_of_cluster(call); },
          .command = call.arguments.typed_command};
}

namespace {

std::string server_command(const config::Settings& settings,
                           const std::optional<Bytes16>& repository_id, std::string_view words) {
  const std::string pin = !repository_id || settings.is_set("repo.id")
                              ? std::string()
                              : fmt::format(" --repo-id {}", to_hex(repository_id->view()));
  return fmt::format("{} {}{} {}", config::command_word(program_path()),
                     settings.command_line_for_server(), pin, words);
}

}  // namespace

std::string archive_command(const config::Settings& settings,
                            const std::optional<Bytes16>& repository_id) {
  return server_command(settings, repository_id, "wal push %p");
}

std::string restore_command(const config::Settings& settings, const Bytes16& repository_id) {
  return server_command(settings, repository_id, "wal get %f \"%p\"");
}

// Its working directory is the data directory.
std::string recovery_end_command(const config::Settings& settings, const Bytes16& repository_id) {
  return server_command(settings, repository_id, "finish --recovery-ended .");
}

std::string archived_repository(const config::Settings& settings) {
  const std::string url = settings.repository_url();
  const std::string_view file = "file://";
  std::string place = url.starts_with(file) ? url.substr(file.size()) : url;
  if (!place.starts_with('/')) return place;
  std::error_code unresolvable;
  const std::filesystem::path real = std::filesystem::weakly_canonical(place, unresolvable);
  return unresolvable ? place : real.string();
}

std::optional<setup::ArchivePlace> archive_place_of(const std::string& command) {
  std::optional<std::vector<std::string>> words = shell_words(command);
  if (!words || words->size() < 3) return std::nullopt;
  std::vector<const char*> line;
  for (std::string& word : *words) {
    if (word == "%p") word = "pg_wal/000000010000000000000001";
    for (size_t at = word.find("%%"); at != std::string::npos; at = word.find("%%", at + 1))
      word.erase(at, 1);
    line.push_back(word.c_str());
  }
  std::optional<setup::ArchivePlace> place;
  error_of([&] {
    const Arguments parsed =
        parse_arguments(static_cast<int>(line.size()), line.data(), system_clock());
    if (parsed.command != "wal push") return;
    const config::Settings settings = config::Settings::load(parsed.sources);
    place = {.cluster = settings.cluster(),
             .repository = archived_repository(settings),
             .id = settings.repository_id()};
  });
  return place;
}

cluster::ServerWitness server_witness(const Call& call) {
  return {.conninfo = call.settings.text("cluster.conninfo"),
          .declared_dead = call.arguments.server_is_dead};
}

std::vector<std::pair<std::string, std::string>> server_environment(const Call& call) {
  std::vector<std::pair<std::string, std::string>> variables;
  for (const char* key : {"repo.passphrase_command", "wal.read_ahead", "wal.timeout", "wal.spool"})
    for (const config::Setting& setting : config::settings_table())
      if (setting.key == key)
        if (auto given = call.arguments.sources.environment.find(std::string(setting.environment));
            given != call.arguments.sources.environment.end())
          variables.emplace_back(given->first, given->second);
  return variables;
}

std::string debian_clusters() {
  const char* named = getenv("PG_CLUSTER_CONF_ROOT");  // PgCommon.pm, postgresql-common
  return named != nullptr && *named == '/' ? named : restore::kDebianClusters;
}

restore::SandboxOptions sandbox_options(const Call& call) {
  const config::Settings& settings = call.settings;
  restore::SandboxOptions options{.program = program_path(),
                                  .private_network = !settings.is_set("repo.passphrase_command"),
                                  .production_data_directory = settings.text("cluster.pgdata")};
  options.keep_visible = {program_path(),
                          settings.config_file(),
                          repository_directory(settings),
                          settings.text("repo.key_file"),
                          settings.text("repo.passphrase_file"),
                          settings.text("wal.spool"),
                          settings.text("cluster.bindir")};
  if (const std::string& conninfo = settings.text("cluster.conninfo"); !conninfo.empty())
    if (std::string host = cluster::conninfo_value(conninfo, "host"); host.starts_with('/'))
      options.socket_directories.push_back(std::move(host));
  return options;
}

std::vector<OwnFile> own_files(const Call& call) {
  const config::Settings& settings = call.settings;
  return {{.what = "the repository", .path = repository_directory(settings)},
          {.what = "the key file", .path = settings.text("repo.key_file")},
          {.what = "the passphrase file", .path = settings.text("repo.passphrase_file")},
          {.what = "the configuration file", .path = settings.config_file()}};
}

void print(const Call& call, const std::string& text) {
  call.reporter.clear();
  std::string whole = call.arguments.commands.complete(text);
  if (const size_t columns = terminal_width(STDOUT_FILENO); columns > 0)
    whole = fitted(whole, columns);
  if (wants_colour(call.arguments.colour, STDOUT_FILENO)) whole = coloured(whole);
  std::fwrite(whole.data(), 1, whole.size(), stdout);
}

void print(const Call& call, const Json& document) {
  call.reporter.clear();
  const std::string text = document.dump() + "\n";
  std::fwrite(text.data(), 1, text.size(), stdout);
}

void print(const Call& call, const Json& document, const std::string& text) {
  if (call.arguments.json)
    print(call, document);
  else
    print(call, text);
}

std::string unless_quiet(const Call& call, bool is_well, std::string text) {
  return call.arguments.quiet && is_well ? std::string() : std::move(text);
}

}  // namespace holdfast::cli
