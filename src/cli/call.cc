#include "cli/call.h"

#include <cstdio>
#include <unistd.h>

#include <fmt/format.h>

#include "base/error.h"
#include "base/process.h"
#include "cli/terminal.h"
#include "cluster/connection.h"
#include "store/open_store.h"

namespace holdfast::cli {
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

repo::Lineage OpenRepository::lineage() const {
  return repository.require_lineages(cluster).back();
}

std::string archive_command(const config::Settings& settings) {
  return fmt::format("{} {} wal push %p", config::command_word(program_path()),
                     settings.command_line_for_server());
}

std::string restore_command(const config::Settings& settings, const Bytes16& repository_id) {
  const std::string pin = settings.is_set("repo.id")
                              ? std::string()
                              : fmt::format(" --repo-id {}", to_hex(repository_id.view()));
  return fmt::format("{} {}{} wal get %f \"%p\"", config::command_word(program_path()),
                     settings.command_line_for_server(), pin);
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

restore::SandboxOptions sandbox_options(const Call& call) {
  const config::Settings& settings = call.settings;
  restore::SandboxOptions options{.program = program_path(),
                                  .private_network = !settings.is_set("repo.passphrase_command"),
                                  .production_data_directory = settings.text("cluster.pgdata")};
  const std::string url = settings.repository_url();
  const std::string file = "file://";
  options.keep_visible = {program_path(),
                          settings.config_file(),
                          url.starts_with(file) ? url.substr(file.size()) : url,
                          settings.text("repo.key_file"),
                          settings.text("repo.passphrase_file"),
                          settings.text("wal.spool"),
                          settings.text("cluster.bindir")};
  if (const std::string& conninfo = settings.text("cluster.conninfo"); !conninfo.empty())
    if (std::string host = cluster::conninfo_value(conninfo, "host"); host.starts_with('/'))
      options.socket_directories.push_back(std::move(host));
  return options;
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
