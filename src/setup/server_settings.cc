#include "setup/server_settings.h"

#include <array>

#include <fmt/format.h>

#include "base/error.h"
#include "base/file.h"
#include "base/process.h"
#include "setup/push_status.h"

namespace holdfast::setup {
namespace {

SettingState read_setting(cluster::Connection& connection, std::string_view name) {
  const std::array<cluster::Value, 1> parameters = {std::string(name)};
  SettingState state;
  for (const cluster::Row& row :
       connection.query("SELECT CASE name WHEN 'archive_command' THEN reset_val ELSE setting END, "
                        "source = 'command line' FROM pg_settings WHERE name = $1",
                        parameters)) {
    state.running = row.at(0).value_or("");
    state.on_command_line = row.at(1) == "t";
  }
  // The files are read anew by the view. Of several assignments the last counts.
  for (const cluster::Row& row : connection.query(
           "SELECT setting, sourcefile, sourceline FROM pg_file_settings WHERE name = $1 "
           "ORDER BY seqno DESC LIMIT 1",
           parameters)) {
    state.configured = row.at(0);
    state.file = fmt::format("\"{}\", line {}", row.at(1).value_or("?"), row.at(2).value_or("?"));
  }
  return state;
}

void add_change(SettingsPlan& plan, std::string name, const SettingState& state, bool is_enough_now,
                bool is_enough_next, const std::string& wanted, bool needs_restart) {
  if (!is_enough_next) {
    plan.to_make.push_back({.name = std::move(name),
                            .before = state.next(),
                            .after = wanted,
                            .needs_restart = needs_restart});
  } else if (!is_enough_now && needs_restart) {
    plan.to_restart.push_back({.name = std::move(name),
                               .before = state.running,
                               .after = state.next(),
                               .needs_restart = true});
  }
}

bool is_archiving(const std::string& archive_mode) {
  // A boolean in the files may be written in any of the ways that the server reads.
  for (std::string_view off : {"off", "false", "no", "0", "of", "f", "n", ""})
    if (archive_mode == off) return false;
  return true;
}

// `replace`: the command that takes it out, where that is possible.
[[noreturn]] void refuse_library(const ArchiveSettings& settings, const std::string& replace) {
  throw Error({.code = ErrorCode::kConflict,
               .message = "the server archives by a library already",
               .detail = fmt::format("archive_library is \"{}\".", settings.archive_library),
               .hint = settings.library_on_command_line
                           ? command_line_hint("archive_library", "")
                           : fmt::format("If Holdfast is to archive instead, run: {}", replace)});
}

}  // namespace

ArchiveSettings read_archive_settings(cluster::Connection& connection) {
  const SettingState library = read_setting(connection, "archive_library");
  return {.wal_level = read_setting(connection, "wal_level"),
          .archive_mode = read_setting(connection, "archive_mode"),
          .archive_command = read_setting(connection, "archive_command"),
          .archive_library = library.next(),
          .library_on_command_line = library.on_command_line};
}

bool is_our_archive_command(std::string_view command) {
  size_t start = command.find_first_not_of(" \t'\"");
  if (start == std::string_view::npos) return false;
  size_t end = command.find_first_of(" \t'\"", start);
  if (end == std::string_view::npos) return false;
  if (base_name(command.substr(start, end - start)) != "holdfast") return false;
  return command.substr(end).find(kPush) != std::string_view::npos;
}

WantedCommand wanted_command(const InitOptions& options, const std::optional<Bytes16>& id) {
  return {.text = options.archive_command(id), .without_id = options.archive_command(std::nullopt)};
}

SettingsPlan plan_settings(const ArchiveSettings& settings, const WantedCommand& wanted,
                           bool replace) {
  SettingsPlan plan;
  const SettingState& level = settings.wal_level;
  add_change(plan, "wal_level", level, level.running != "minimal", level.next() != "minimal",
             "replica", true);
  const SettingState& mode = settings.archive_mode;
  add_change(plan, "archive_mode", mode, is_archiving(mode.running), is_archiving(mode.next()),
             "on", true);
  const SettingState& command = settings.archive_command;
  const auto is_right = [&](const std::string& text) {
    return text == wanted.text ||
           (command.on_command_line && !text.empty() && text == wanted.without_id);
  };
  add_change(plan, "archive_command", command, is_right(command.running), is_right(command.next()),
             wanted.text, false);
  if (replace && !settings.archive_library.empty())
    plan.to_make.push_back(
        {.name = "archive_library", .before = settings.archive_library, .after = ""});
  return plan;
}

void refuse_foreign_archiving(const ArchiveSettings& settings, const InitOptions& options,
                              const std::optional<Bytes16>& id) {
  if (options.replace) return;
  const std::string replace = fmt::format("{} --configure-server --replace", options.typed_command);
  if (!settings.archive_library.empty()) refuse_library(settings, replace);

  const std::string& command = settings.archive_command.next();
  const WantedCommand own = wanted_command(options, id);
  if (command.empty() || command == own.text || command == own.without_id) return;
  const bool is_ours = is_our_archive_command(command);
  const ArchivePlace wanted{.cluster = options.cluster, .repository = options.repository, .id = id};
  const std::optional<ArchivePlace> place =
      is_ours && options.place_of ? options.place_of(command) : std::nullopt;
  const bool is_other_there = place && place->repository == wanted.repository && place->id &&
                              place->id != wanted.id && !options.new_repository;
  if (place && place->cluster == wanted.cluster && place->repository == wanted.repository &&
      !is_other_there)
    return;

  Error::Parts refusal{.code = ErrorCode::kConflict,
                       .message = "the server archives by another command already",
                       .detail = fmt::format("archive_command is \"{}\".", command)};
  if (place) {
    const auto words_of = [&](const ArchivePlace& one) {
      return fmt::format("cluster \"{}\" of {}{}", one.cluster, one.repository,
                         is_other_there && one.id
                             ? fmt::format(" with the id {}", to_hex(one.id->view()))
                             : std::string());
    };
    refusal.message = place->repository == wanted.repository && !is_other_there
                          ? fmt::format("the server archives into cluster \"{}\"", place->cluster)
                          : "the server archives into another repository";
    refusal.detail += fmt::format(
        " It archives into {}; this would be {}, and nothing more would come into that "
        "one.",
        words_of(*place), words_of(wanted));
  } else if (is_ours) {
    refusal.detail += " Where it archives to, and what else it does, cannot be told from here.";
  }
  if (settings.archive_command.on_command_line)
    refusal.hint = command_line_hint("archive_command", own.text);
  else if (place)
    refusal.hint = fmt::format(
        "Correct --cluster or --repo. If its archiving is to be moved here, run: {}", replace);
  else
    refusal.hint = fmt::format(
        "If Holdfast is to archive instead, run: {}. To keep both archives, let one command do "
        "both.",
        replace);
  throw Error(std::move(refusal));
}

std::string command_line_hint(const std::string& name, const std::string& wanted) {
  const std::string change = wanted.empty()
                                 ? std::string("Take it out there")
                                 : fmt::format("Take it out there, or write {} in its place",
                                               shell_quote(fmt::format("{}={}", name, wanted)));
  return fmt::format(
      "It stands on the server's command line (-c {}=...: in its service, its container's "
      "\"command\", or pg_ctl's options), which wins over all configuration files and ALTER "
      "SYSTEM. {}, start the server anew, and run this again.",
      name, change);
}

void refuse_fixed_settings(const ArchiveSettings& settings, const WantedCommand& wanted,
                           bool replace) {
  for (const SettingChange& change : plan_settings(settings, wanted, replace).to_make) {
    if (change.name == "archive_library") {
      if (settings.library_on_command_line) refuse_library(settings, {});
      continue;
    }
    const SettingState& state = change.name == "wal_level"      ? settings.wal_level
                                : change.name == "archive_mode" ? settings.archive_mode
                                                                : settings.archive_command;
    if (!state.on_command_line) continue;
    throw Error(
        {.code = ErrorCode::kConflict,
         .message = fmt::format("{} is set on the server's command line", change.name),
         .detail = fmt::format("It is \"{}\" there, and must be \"{}\". Nothing was changed.",
                               change.before, change.after),
         .hint = command_line_hint(change.name, change.after)});
  }
}

void apply_changes(cluster::Connection& connection, const std::vector<SettingChange>& changes) {
  if (changes.empty()) return;
  for (const SettingChange& change : changes) {
    const std::optional<Error> refused = error_of([&] {
      connection.query(fmt::format("ALTER SYSTEM SET {} = {}",
                                   cluster::quote_identifier(change.name),
                                   cluster::quote_literal(change.after)));
    });
    if (!refused) continue;
    // 17: allow_alter_system = off, where something else manages the configuration.
    if (cluster::sqlstate_of(*refused) != "0A000") throw Error(*refused);
    std::string lines;
    for (const SettingChange& wanted : changes)
      lines += fmt::format("\n{} = {}", wanted.name, cluster::quote_literal(wanted.after));
    throw Error({.code = refused->code(),
                 .message = refused->message(),
                 .detail = refused->detail(),
                 .hint = "Put these lines where the server's configuration is managed, and restart "
                         "the server:" +
                         lines});
  }
  connection.query("SELECT pg_reload_conf()");
}

}  // namespace holdfast::setup
