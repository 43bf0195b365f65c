// arguments.cc: the command table.
#include "cli/arguments.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <iterator>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "base/error.h"
#include "base/nearest.h"
#include "base/process.h"
#include "base/time.h"
#include "cli/help.h"
#include "pg/transaction_id.h"

namespace holdfast::cli {
namespace {

constexpr const char* kSettings = "Settings";
constexpr const char* kServerIsDead =
    "the server that postmaster.pid names, or an earlier restore, has ended, where that cannot be "
    "seen from here";

// What the target options hold before they are read: their texts.
struct TargetTexts {
  std::string time, lsn, xid, name, timeline;
  bool latest = false, immediate = false;
};

// Every setting that has an option, as an option of the program.
void add_settings(CLI::App& app, Arguments& arguments) {
  for (const config::Setting& setting : config::settings_table()) {
    if (setting.option.empty()) continue;
    const std::string key(setting.key);
    std::string meaning(setting.meaning);
    if (!setting.default_value.empty())
      meaning += fmt::format(" (default {})", setting.default_value);
    const std::string names =
        setting.option == "--jobs" ? "-j,--jobs" : std::string(setting.option);
    app.add_option_function<std::string>(
           names,
           [&arguments, key](const std::string& text) { arguments.sources.options[key] = text; },
           meaning)
        ->type_name(std::string(setting.value_name))
        ->group(kSettings);
  }
}

void add_lineage(CLI::App* command, Arguments& arguments) {
  command
      ->add_option(
          "--lineage", arguments.lineage,
          "of this lineage, as \"lineage list\" names it (default: the cluster's own, or the "
          "only one with backups)")
      ->type_name("NAME");
}

void add_target(CLI::App* command, Arguments& arguments, TargetTexts& texts) {
  command
      ->add_option("--to", texts.time,
                   "recover to the last commit at or before this time: \"2026-11-22 08:22\", "
                   "\"yesterday 14:00\", \"10 minutes ago\"")
      ->type_name("TIME")
      ->group("Target");
  command->add_option("--to-lsn", texts.lsn, "recover to the record at this LSN")
      ->type_name("LSN")
      ->group("Target");
  command
      ->add_option("--to-xid", texts.xid,
                   "recover to the end of this transaction; with its epoch, as "
                   "pg_current_xact_id() prints it, or its lower 32 bits")
      ->type_name("XID")
      ->group("Target");
  command->add_option("--to-name", texts.name, "recover to this restore point")
      ->type_name("NAME")
      ->group("Target");
  command
      ->add_flag("--to-latest", texts.latest,
                 "recover to the end of the archived WAL (the default)")
      ->group("Target");
  command->add_flag("--to-immediate", texts.immediate, "stop as soon as the backup is consistent")
      ->group("Target");
  command
      ->add_flag("--exclusive", arguments.target.exclusive,
                 "stop just before the target, not just after it")
      ->group("Target");
  command
      ->add_option("--timeline", texts.timeline,
                   "recover along this timeline (default: the newest)")
      ->type_name("N")
      ->group("Target");
  command
      ->add_option("--backup", arguments.target.backup,
                   "start from this backup (default: the newest that can reach the target)")
      ->type_name("ID")
      ->group("Target");
}

// `meant`: what was meant instead, as it is to be typed; empty when nobody knows.
[[noreturn]] void usage(std::string message, std::string detail, const std::string& command,
                        const std::string& meant = {}) {
  throw Error({.code = ErrorCode::kUsage,
               .message = std::move(message),
               .detail = std::move(detail),
               .hint = fmt::format("{}See \"holdfast{}{} --help\".",
                                   meant.empty() ? "" : fmt::format("Did you mean \"{}\"? ", meant),
                                   command.empty() ? "" : " ", command)});
}

void read_target(Arguments& arguments, const TargetTexts& texts, const Clock& clock) {
  recovery::Target& target = arguments.target;
  const int given = int{!texts.time.empty()} + int{!texts.lsn.empty()} + int{!texts.xid.empty()} +
                    int{!texts.name.empty()} + int{texts.latest} + int{texts.immediate};
  if (given > 1)
    usage("more than one recovery target was given", "A recovery ends at one place.",
          arguments.command);
  using recovery::TargetKind;
  if (!texts.time.empty()) {
    target.kind = TargetKind::kTime;
    // What was understood of words is printed back; a written time is in the plan.
    if (error_of({ErrorCode::kInvalidText}, [&] { target.time = parse_time(texts.time); })) {
      target.time = parse_moment(texts.time, clock.now());
      arguments.understood = fmt::format("--to \"{}\" is {}", texts.time, to_local(target.time));
    }
  } else if (!texts.lsn.empty()) {
    target.kind = TargetKind::kLsn;
    target.lsn = pg::parse_lsn(texts.lsn);
  } else if (!texts.xid.empty()) {
    target.kind = TargetKind::kXid;
    if (const std::optional<Error> error =
            error_of([&] { target.xid = pg::parse_transaction_id(texts.xid); }))
      usage(error->message(), error->detail(), arguments.command);
  } else if (!texts.name.empty()) {
    target.kind = TargetKind::kName;
    target.name = texts.name;
    if (target.name.size() > 63)
      usage(fmt::format("restore point name \"{}\" is too long", texts.name),
            "A name has at most 63 bytes.", arguments.command);
  } else if (texts.immediate) {
    target.kind = TargetKind::kImmediate;
  }
  if (target.exclusive && target.kind != TargetKind::kTime && target.kind != TargetKind::kLsn &&
      target.kind != TargetKind::kXid)
    usage("--exclusive needs a target of its kind", "It goes with --to, --to-lsn and --to-xid.",
          arguments.command);
  if (!texts.timeline.empty()) target.timeline = pg::parse_timeline_id(texts.timeline);
}

// The command as it was typed, for a shell, but without these options.
std::string typed_without(int argc, const char* const* argv,
                          std::initializer_list<std::string_view> with_value,
                          std::initializer_list<std::string_view> flags) {
  std::string command = "holdfast";
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (std::ranges::find(flags, word) != flags.end()) continue;
    if (std::ranges::find(with_value, word.substr(0, word.find('='))) != with_value.end()) {
      if (word.find('=') == std::string_view::npos) ++i;
      continue;
    }
    command += ' ';
    command += shell_quote(word);
  }
  return command;
}

// What a refusal completes to a command that works, and what goes on with an interrupted recovery.
void keep_typed(int argc, const char* const* argv, Arguments& arguments) {
  arguments.target.command = typed_without(
      argc, argv, {"--to", "--to-lsn", "--to-xid", "--to-name", "--timeline", "--backup"},
      {"--to-latest", "--to-immediate", "--exclusive", "--dry-run"});
  arguments.resume_command =
      typed_without(argc, argv,
                    {"--to", "--to-lsn", "--to-xid", "--to-name", "--timeline", "--backup",
                     "--tablespace", "--action", "--port", "--archive", "--lineage"},
                    {"--to-latest", "--to-immediate", "--exclusive", "--dry-run", "--start",
                     "--yes", "--delta", "--resume", "--server-is-dead", "--json"}) +
      " --resume";
}

// What a recovery that goes on has from its restore.
void require_only_the_place(const CLI::App& restore, const std::string& command) {
  for (const CLI::Option* option : restore.get_options()) {
    const std::string name = option->get_name();
    if (option->count() > 0 && name != "--resume" && name != "--into" && name != "--in-place" &&
        name != "--action" && name != "--start" && name != "--yes" && name != "--server-is-dead")
      usage(fmt::format("{} does not go with --resume", name),
            "A recovery that goes on has its target and its way from the restore that began it.",
            command);
  }
}

// What a command above the chosen one would do with them: "drill list --destroy" destroys nothing.
void refuse_options_of_parents(const std::vector<const CLI::App*>& commands,
                               const std::string& command) {
  for (size_t at = 1; at + 1 < commands.size(); ++at)
    for (const CLI::Option* option : commands[at]->get_options())
      if (option->count() > 0)
        usage(fmt::format("unknown option \"{}\"", option->get_name()),
              fmt::format("It is one of \"holdfast {}\".", commands[at]->get_name()), command);
}

void choice(CLI::Option* option, std::vector<std::string> values) {
  option
      ->check([values = std::move(values)](const std::string& text) {
        return std::ranges::find(values, text) != values.end()
                   ? std::string()
                   : fmt::format("\"{}\" is not one of {}", text, fmt::join(values, ", "));
      })
      ->type_name("WORD");
}

// The options that say where, as they were given; the cluster last, where it is read best.
std::vector<WholeCommands::Option> place_options(const config::Sources& sources) {
  std::vector<WholeCommands::Option> options;
  const auto add = [&](std::vector<std::string> names, const std::string& value) {
    options.push_back({.names = names, .words = names.front() + " " + shell_quote(value)});
  };
  if (!sources.config_file.empty()) add({"--config"}, sources.config_file);
  for (const char* key : {"repo.url", "repo.key_file", "repo.passphrase_file", "cluster.pgdata",
                          "cluster.conninfo", "cluster.bindir"})
    if (auto given = sources.options.find(key); given != sources.options.end())
      for (const config::Setting& setting : config::settings_table())
        if (setting.key == key) add({std::string(setting.option)}, given->second);
  if (auto given = sources.options.find("cluster"); given != sources.options.end())
    add({"-c", "--cluster"}, given->second);
  return options;
}

// The first option of the line that none of `commands` has; empty without. A word behind it may be
// its value, about which the library would complain instead.
std::string unknown_option(const std::vector<const CLI::App*>& commands, int argc,
                           const char* const* argv) {
  for (int at = 1; at < argc; ++at) {
    const std::string_view word = argv[at];
    if (word == "--") break;
    if (!word.starts_with("--")) continue;
    const std::string name(word.substr(0, word.find('=')));
    if (std::ranges::none_of(commands, [&](const CLI::App* command) {
          return command->get_option_no_throw(name) != nullptr;
        }))
      return name;
  }
  return {};
}

// The option of these commands that was meant by an unknown one.
std::string meant_option(const std::vector<const CLI::App*>& commands, const std::string& unknown) {
  std::vector<std::string> known;
  for (const CLI::App* command : commands)
    for (const CLI::Option* option : command->get_options())
      for (const std::string& name : option->get_lnames()) known.push_back("--" + name);
  return meant_word(unknown, known).value_or(std::string());
}

// The command below `above` that was meant by `word`, whole.
std::string meant_command(const CLI::App& above, const std::string& above_words,
                          const std::string& word) {
  std::vector<std::string> known;
  for (const CLI::App* command : above.get_subcommands(nullptr))
    known.push_back(command->get_name());
  const std::optional<std::string> meant = meant_word(word, known);
  if (!meant) return {};
  return fmt::format("holdfast {}{}{}", above_words, above_words.empty() ? "" : " ", *meant);
}

// A command's options as its page of help has them.
std::vector<HelpItem> help_options(const CLI::App& command) {
  std::vector<HelpItem> items;
  for (const CLI::Option* option : command.get_options()) {
    if (option->get_positional() || option->get_group().empty()) continue;
    std::string term;
    for (const std::string& name : option->get_snames()) term += fmt::format("-{}, ", name);
    term += fmt::format("--{}", option->get_lnames().front());
    if (option->get_type_size_max() > 0 && !option->get_type_name().empty())
      term += " " + option->get_type_name();
    items.push_back({.term = std::move(term),
                     .meaning = option->get_description(),
                     .group = option->get_group() == "Options" ? "" : option->get_group()});
  }
  // Those without a group first.
  std::vector<HelpItem> sorted;
  for (const bool grouped : {false, true})
    for (const HelpItem& item : items)
      if (item.group.empty() != grouped) sorted.push_back(item);
  return sorted;
}

std::string help_of(const CLI::App& program, const CLI::App& command, const std::string& words) {
  HelpPage page{.command = words, .meaning = command.get_description()};
  page.needs_command = &command == &program || command.get_require_subcommand_min() > 0;
  for (const CLI::App* below : command.get_subcommands(nullptr))
    page.commands.push_back({.term = below->get_name(), .meaning = below->get_description()});
  for (const CLI::Option* option : command.get_options()) {
    if (!option->get_positional()) continue;
    const std::string word =
        option->get_name() + (option->get_items_expected_max() > 1 ? "..." : "");
    page.options.push_back({.term = word, .meaning = option->get_description(), .group = "Words"});
    page.words += (page.words.empty() ? "" : " ") +
                  (option->get_required() ? word : fmt::format("[{}]", word));
  }
  if (&command != &program)
    std::ranges::move(help_options(command), std::back_inserter(page.options));
  std::erase_if(page.options, [](const HelpItem& item) { return item.term == "-h, --help"; });
  for (HelpItem& item : help_options(program)) {
    const bool is_setting = item.group == kSettings && !item.term.starts_with("--repo ");
    (is_setting ? page.settings : page.everywhere).push_back(std::move(item));
  }
  return help_text(page);
}

// The library's sentence about a line that does not parse, in our words.
std::string in_our_words(const CLI::ParseError& error, bool has_command) {
  std::string text = error.what();
  while (text.ends_with('\n') || text.ends_with('.')) text.pop_back();
  if (dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr) {
    const std::string words = text.substr(text.find(": ") + 2);
    const char* kind = words.starts_with('-') ? "unknown option"
                       : has_command          ? "unexpected argument"
                                              : "unknown command";
    return fmt::format("{} \"{}\"", kind, words);
  }
  if (dynamic_cast<const CLI::ArgumentMismatch*>(&error) != nullptr) {
    const std::string option = text.substr(0, text.find(':'));
    return text.find("received") != std::string::npos
               ? fmt::format("option {} was given more than once", option)
               : fmt::format("option {} needs a value", option);
  }
  // A name in capitals, as ID, stays as it is.
  const auto is_upper = [](char c) { return c >= 'A' && c <= 'Z'; };
  if (text.size() > 1 && is_upper(text[0]) && !is_upper(text[1]))
    text.front() = static_cast<char>(text.front() - 'A' + 'a');
  return text;
}

}  // namespace

Arguments parse_arguments(int argc, const char* const* argv, const Clock& clock) {
  Arguments arguments;
  TargetTexts target;
  CLI::App app("PostgreSQL backup and recovery that proves itself", "holdfast");
  app.fallthrough();
  app.require_subcommand(0, 1);
  app.set_help_flag("-h,--help", "show this help");
  app.set_version_flag("-V,--version", "holdfast " HOLDFAST_VERSION, "show the version");
  app.add_option("--config", arguments.sources.config_file,
                 "configuration file (default HOLDFAST_CONFIG, else /etc/holdfast/holdfast.toml)")
      ->type_name("FILE");
  app.add_option_function<std::string>(
         "-c,--cluster",
         [&](const std::string& text) { arguments.sources.options["cluster"] = text; },
         "which cluster; not needed when one is configured")
      ->type_name("NAME");
  app.add_flag("--json", arguments.json, "print the result, or the error, as one JSON document");
  app.add_flag("-q,--quiet", arguments.quiet, "print nothing when all is well");
  app.add_flag("-v,--verbose", arguments.verbose, "print more");
  std::string progress = "auto";
  choice(app.add_option("--progress", progress, "auto, bar, lines, json or none"),
         {"auto", "bar", "lines", "json", "none"});
  std::string colour = "auto";
  choice(app.add_option("--color", colour,
                        "auto (on a terminal, unless NO_COLOR is set), always or never"),
         {"auto", "always", "never"});
  add_settings(app, arguments);

  std::map<const CLI::App*, std::string> names;
  auto command = [&](CLI::App* parent, const char* name, const char* meaning) {
    CLI::App* added = parent->add_subcommand(name, meaning);
    added->fallthrough();
    auto above = names.find(parent);
    names[added] = above == names.end() ? name : above->second + " " + name;
    return added;
  };

  CLI::App* init = command(&app, "init", "make a repository and a cluster's place in it");
  init->add_flag(
      "--encrypt", arguments.encrypt,
      "seal the repository with the configured key; a key file that does not exist is made");
  init->add_flag("--new-lineage", arguments.new_lineage,
                 "begin a new lineage, after pg_upgrade or a new initdb");
  init->add_flag("--second-cluster", arguments.second_cluster,
                 "make one although the repository has this server as another cluster");
  init->add_flag("--configure-server", arguments.configure_server,
                 "set archive_mode, archive_command and wal_level on the server");
  init->add_flag("--replace", arguments.replace,
                 "with --configure-server: move its archiving here from where it goes now");
  init->add_flag("--new-repository", arguments.new_repository,
                 "make one although the server has archived into another at this place, "
                 "which is gone");

  CLI::App* check =
      command(&app, "check", "prove that archiving works, or tell what is wrong with it");
  check
      ->add_option("--archive-timeout", arguments.check_timeout,
                   "how long to wait for a WAL segment to be archived (default 60s)")
      ->type_name("DURATION");
  check->add_flag("--read-only", arguments.read_only,
                  "write nothing and complete no segment, for every minute: go by what the server "
                  "says of its archiver, and by what is in the repository");
  check->add_flag("--nagios", arguments.nagios,
                  "print one line with performance data, and end with 0, 1, 2 or 3 as monitoring "
                  "plugins do");
  const auto age = [&](const char* name, std::string& text, const char* meaning) {
    check->add_option(name, text, meaning)->type_name("DURATION");
  };
  age("--max-backup-age", arguments.max_backup_age, "fail when the last good backup is older");
  age("--max-archive-lag", arguments.max_archive_lag,
      "fail when a WAL file has waited longer to be archived");
  age("--max-verify-age", arguments.max_verify_age,
      "fail when the last verify of everything is older");
  age("--max-drill-age", arguments.max_drill_age, "fail when the last drill that passed is older");

  command(&app, "info", "everything about the repository at a glance");

  CLI::App* backup = command(&app, "backup", "take a base backup of the running cluster");
  backup->require_subcommand(0, 1);
  bool full = false;
  backup->add_flag("--full", full, "copy everything (the only kind so far)");
  choice(backup->add_option("--checkpoint", arguments.checkpoint,
                            "fast: begin at once; spread: spare the server"),
         {"fast", "spread"});
  backup->add_option("--label", arguments.label, "a label, kept with the backup")
      ->type_name("TEXT");
  backup
      ->add_option("--archive-timeout", arguments.archive_timeout,
                   "how long to wait for the last WAL to be archived (default 1h)")
      ->type_name("DURATION");
  backup->add_flag("--if-none-runs", arguments.if_none_runs,
                   "do nothing, successfully, while a backup of the cluster is at work");
  command(backup, "list", "the backups, oldest first");
  CLI::App* show = command(backup, "show", "one backup");
  show->add_option("ID", arguments.words, "an id, the beginning of one, or latest")
      ->expected(1)
      ->required();
  add_lineage(show, arguments);

  CLI::App* exported =
      command(backup, "export", "write a backup as tar files that need no Holdfast");
  exported->add_option("ID", arguments.words, "an id, the beginning of one, or latest")
      ->expected(1)
      ->required();
  exported
      ->add_option(
          "--tar", arguments.tar,
          "a new or empty directory for base.tar and a tar of each tablespace; - for stdout")
      ->type_name("DIR|-")
      ->required();
  add_lineage(exported, arguments);
  choice(exported->add_option("--wal", arguments.wal,
                              "on or off: include the WAL that the backup needs (default on)"),
         {"on", "off"});
  CLI::App* imported =
      command(backup, "import", "take in a base backup that was made elsewhere, as tar files");
  imported
      ->add_option("--tar", arguments.tar,
                   "the directory that pg_basebackup -Ft or backup export filled, its base.tar, or "
                   "- for stdin; .gz, .zst and .lz4 too")
      ->type_name("DIR|FILE|-")
      ->required();
  CLI::App* pin = command(backup, "pin", "protect a backup from deletion");
  pin->add_option("ID", arguments.words, "an id, the beginning of one, or latest")
      ->expected(1)
      ->required();
  pin->add_flag("--off", arguments.off, "protect it no longer");
  add_lineage(pin, arguments);
  CLI::App* remove = command(backup, "delete", "take backups off; expire then frees their space");
  remove->add_option("ID", arguments.words, "ids, the beginnings of some, or latest")->required();
  remove->add_flag("--dry-run", arguments.dry_run, "show what would go, and change nothing");
  remove->add_flag("--yes", arguments.yes, "do not ask");
  remove->add_flag("--delete-last", arguments.delete_last,
                   "also when no good backup of the cluster would be left");
  add_lineage(remove, arguments);

  CLI::App* undelete = command(backup, "undelete", "take the deletion of a backup back");
  undelete->add_option("ID", arguments.words, "an id, or the beginning of one")
      ->expected(1)
      ->required();

  CLI::App* expire =
      command(&app, "expire", "remove what no backup uses, a grace period after it was listed");
  expire->add_flag("--dry-run", arguments.dry_run, "show what would go, and change nothing");
  expire->add_flag("--yes", arguments.yes, "do not ask when --grace shortens the grace period");

  CLI::App* claims = command(&app, "claims", "who is at work and holds deletion off");
  claims
      ->add_option("--end", arguments.claim,
                   "end one whose work is over, which cannot be proven from here")
      ->type_name("CLAIM");

  CLI::App* repo = command(&app, "repo", "keys of a sealed repository");
  repo->require_subcommand(1, 1);
  command(repo, "list-keys", "the keys that open it: id, kind, and when each was added");
  for (CLI::App* keys :
       {command(repo, "change-key", "seal it with another key; the old one no longer opens it"),
        command(repo, "add-key", "let one more key open it")}) {
    keys->add_option("--new-key-file", arguments.new_key_file,
                     "file with the new key; made when it does not exist")
        ->type_name("FILE");
    keys->add_option("--new-passphrase-file", arguments.new_passphrase_file,
                     "file whose first line is the new passphrase")
        ->type_name("FILE");
  }

  CLI::App* remove_key = command(
      repo, "remove-key", "let a key open it no longer; the configured one must open it beside it");
  remove_key->add_option("ID", arguments.words, "an id of list-keys, or the beginning of one")
      ->expected(1)
      ->required();

  CLI::App* cluster = command(&app, "cluster", "the clusters of the repository");
  cluster->require_subcommand(1, 1);
  command(cluster, "list", "every cluster: lineages, backups, when it was last archived");
  CLI::App* remove_cluster =
      command(cluster, "remove", "remove a cluster that has no backups, for good");
  remove_cluster->add_option("NAME", arguments.words, "its name")->expected(1)->required();
  CLI::App* rename_cluster =
      command(cluster, "rename", "give a cluster another name; earlier ones go on leading to it");
  rename_cluster->add_option("NAME NEW", arguments.words, "its name, and the new one")
      ->expected(2)
      ->required();
  CLI::App* lineage = command(&app, "lineage", "the lineages of a cluster");
  lineage->require_subcommand(1, 1);
  command(lineage, "list", "every lineage: system identifier, backups, when it was last archived");
  CLI::App* remove_lineage =
      command(lineage, "remove", "remove a lineage that has no backups, for good");
  remove_lineage->add_option("NAME", arguments.words, "as \"lineage list\" names it: 15-2")
      ->expected(1)
      ->required();
  for (CLI::App* removes : {remove_key, remove_cluster, remove_lineage}) {
    removes->add_flag("--dry-run", arguments.dry_run, "show what would go, and change nothing");
    removes->add_flag("--yes", arguments.yes, "do not ask");
  }

  CLI::App* wal = command(&app, "wal", "archive WAL, fetch it, look at it");
  wal->require_subcommand(1, 1);
  CLI::App* push = command(wal, "push", "archive a WAL file: for archive_command");
  push->add_option("PATH", arguments.words, "the file, %p")->expected(1)->required();
  CLI::App* get = command(wal, "get", "fetch a WAL file: for restore_command");
  get->add_option("FILE PATH", arguments.words, "the file's name and where to put it, %f %p")
      ->expected(0, 2);
  get->add_option("--until", arguments.until,
                  "the segment of the recovery target: one behind it that is missing or damaged "
                  "does not stop the server")
      ->type_name("SEGMENT");
  get->add_flag("--read-ahead-worker", arguments.read_ahead_worker)->group("");
  command(wal, "list", "the archived WAL: ranges and gaps");
  CLI::App* salvage =
      command(wal, "salvage", "archive what the pg_wal of a server that is gone still holds");
  salvage->add_option("DIR", arguments.words, "its data directory, or its pg_wal")
      ->expected(1)
      ->required();
  salvage->add_flag("--dry-run", arguments.dry_run, "archive nothing, say what would be");
  salvage->add_flag("--server-is-dead", arguments.server_is_dead, kServerIsDead);
  CLI::App* set_aside =
      command(wal, "set-aside", "take an archived WAL file that is wrong out of service");
  set_aside
      ->add_option("FILE", arguments.words,
                   "a segment, a .partial, a .backup or a .history file, as the server named it")
      ->expected(1)
      ->required();
  set_aside->add_flag("--off", arguments.off, "serve it again");
  set_aside
      ->add_option("--lineage", arguments.lineage,
                   "of this lineage, as \"lineage list\" names it (default: the only one that has "
                   "such a file)")
      ->type_name("NAME");
  set_aside->add_flag("--onward", arguments.onward,
                      "of a segment: all that is archived behind it on its timeline too (its "
                      "server was rolled back)");

  CLI::App* restore = command(&app, "restore", "bring a cluster back");
  restore
      ->add_option("--into", arguments.into,
                   "into a new directory, as a copy that touches nothing else")
      ->type_name("DIR");
  restore->add_flag("--in-place", arguments.in_place, "in the cluster's own data directory");
  restore->add_flag("--delta", arguments.delta,
                    "keep what the directory holds already and is equal, by content; write and "
                    "remove the rest");
  restore
      ->add_option("--tablespace", arguments.tablespaces,
                   "lay the tablespace of this path or oid in this directory; may be repeated")
      ->type_name("OLD=NEW")
      ->allow_extra_args(false);
  add_target(restore, arguments, target);
  add_lineage(restore, arguments);
  choice(restore->add_option("--action", arguments.action,
                             "at the target: promote, pause or shutdown (default promote)"),
         {"promote", "pause", "shutdown"});
  choice(restore->add_option(
             "--archive", arguments.archive,
             "on or off: does the restored server archive (default: on in place, off elsewhere)"),
         {"on", "off"});
  restore->add_flag("--start", arguments.start,
                    "start the server and follow the recovery to its end");
  restore->add_option("--port", arguments.port, "the started server's port")
      ->type_name("N")
      ->check([](const std::string& text) {
        int number = 0;
        auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), number);
        const bool is_port = error == std::errc() && stop == text.data() + text.size() &&
                             number >= 1 && number <= 65535;
        return is_port ? std::string()
                       : fmt::format("\"{}\" is not a number from 1 to 65535", text);
      });
  restore->add_flag("--resume", arguments.resume,
                    "go on with a recovery that was interrupted; nothing is laid again");
  restore->add_flag("--dry-run", arguments.dry_run,
                    "print the plan, refuse what cannot be done, and write nothing");
  restore->add_flag("--without-own-wal", arguments.without_own_wal,
                    "in place: go along the archive's history, where the directory's own WAL says "
                    "otherwise");
  restore->add_flag("--yes", arguments.yes,
                    "do not ask before an old data directory is emptied or written over");
  restore->add_flag("--server-is-dead", arguments.server_is_dead, kServerIsDead);

  CLI::App* verify = command(&app, "verify", "read everything and say what is damaged");
  add_lineage(verify, arguments);
  verify->add_flag("--deep", arguments.deep, "read again what was found good before");
  verify
      ->add_option("BACKUP", arguments.words,
                   "only what these backups need: ids, beginnings of ids, or latest")
      ->expected(0, -1);

  CLI::App* finish =
      command(&app, "finish", "end a recovery that waits at its target, or make a copy a server");
  CLI::Option* production =
      finish->add_flag("--production", arguments.production,
                       "make a copy a production server: take out what keeps it apart");
  finish
      ->add_flag("--recovery-ended", arguments.recovery_ended,
                 "for recovery_end_command: only take out what the recovery needed")
      ->excludes(production);
  finish->add_option("DIR", arguments.words, "the restored data directory")
      ->expected(1)
      ->required();

  CLI::App* drill =
      command(&app, "drill", "rehearse a recovery in a sandbox, check it and measure it");
  drill->require_subcommand(0, 1);
  add_target(drill, arguments, target);
  add_lineage(drill, arguments);
  drill
      ->add_option("--check", arguments.check_file,
                   "SQL statements that must be true of the recovered cluster")
      ->type_name("FILE");
  drill
      ->add_option("--rto", arguments.rto,
                   "fail unless the first write comes within this time of the disaster")
      ->type_name("DURATION");
  drill->add_option("--rpo", arguments.rpo, "fail unless every commit older than this comes back")
      ->type_name("DURATION");
  drill
      ->add_option("--report", arguments.report_file, "write the report as a page of HTML here too")
      ->type_name("FILE");
  drill->add_flag("--keep", arguments.keep, "leave the recovered cluster, and its server running");
  drill->add_flag("--destroy", arguments.destroy,
                  "on the real cluster: move it aside and bring it back in its place");
  drill
      ->add_option("--confirm", arguments.confirmed_name,
                   "with --destroy: the cluster's name, where nobody can be asked")
      ->type_name("NAME");
  command(drill, "list", "the drills that were made, oldest first");
  CLI::App* drill_show = command(drill, "show", "what one drill found");
  drill_show->add_option("ID", arguments.words, "an id, the beginning of one, or latest")
      ->expected(1)
      ->required();
  drill_show->add_flag("--html", arguments.html, "as a page of HTML");

  CLI::App* demo =
      command(&app, "demo", "back up, destroy and recover a throwaway cluster, step by step");
  demo->add_flag("--keep", arguments.keep, "keep cluster and repository to play with");
  demo->add_option("--directory", arguments.directory, "where (default: a new temporary directory)")
      ->type_name("DIR");

  CLI::App* help = command(&app, "help", "what a command does, and its options");
  std::vector<std::string> help_words;
  help->add_option("COMMAND", help_words, "its words, as in \"help backup list\"")->expected(0, -1);
  CLI::App* version = command(&app, "version", "the version of this program");

  // The program, and the commands of the line from the outermost on.
  auto commands = [&] {
    std::vector<const CLI::App*> all = {&app};
    while (!all.back()->get_subcommands().empty())
      all.push_back(all.back()->get_subcommands().front());
    return all;
  };
  auto chosen = [&]() -> std::string {
    const CLI::App* last = commands().back();
    return last == &app ? std::string() : names.at(last);
  };
  try {  // the library's own exceptions end here and become ours
    app.parse(argc, argv);
  } catch (const CLI::CallForVersion&) {
    arguments.output = "holdfast " HOLDFAST_VERSION "\n";
    return arguments;
  } catch (const CLI::CallForHelp&) {
    arguments.output = help_of(app, *commands().back(), chosen());
    return arguments;
  } catch (const CLI::ParseError& error) {
    const std::string command_words = chosen();
    // What nobody took, in the order of the line: a word that comes first was to be a command.
    const std::vector<std::string> left = app.remaining(true);
    const std::string word = left.empty() || left.front().starts_with('-') ? "" : left.front();
    const std::string option = unknown_option(commands(), argc, argv);
    if (!option.empty() && (word.empty() || !command_words.empty()))
      usage(fmt::format("unknown option \"{}\"", option), {}, command_words,
            meant_option(commands(), option));
    usage(command_words.empty() && !word.empty() ? fmt::format("unknown command \"{}\"", word)
                                                 : in_our_words(error, !command_words.empty()),
          {}, command_words,
          word.empty() ? word : meant_command(*commands().back(), command_words, word));
  }
  arguments.command = chosen();
  std::vector<std::string> verbs;
  for (const CLI::App* verb : app.get_subcommands(nullptr))
    if (verb != help && verb != version && verb != demo)  // these are the same everywhere
      verbs.push_back(verb->get_name());
  arguments.commands = WholeCommands(place_options(arguments.sources), std::move(verbs));
  if (arguments.command.empty() || help->parsed()) {
    const CLI::App* at = &app;
    std::string words;
    for (const std::string& word : help_words) {
      const std::vector<const CLI::App*> all = at->get_subcommands(nullptr);
      const auto found = std::ranges::find(all, word, &CLI::App::get_name);
      if (found == all.end())
        usage(fmt::format("unknown command \"{}\"", word), {}, words,
              meant_command(*at, words, word));
      at = *found;
      words = names.at(at);
    }
    arguments.command.clear();
    arguments.output = help_of(app, *at, words);
    return arguments;
  }
  if (version->parsed()) {
    arguments.command.clear();
    arguments.output = "holdfast " HOLDFAST_VERSION "\n";
    return arguments;
  }
  refuse_options_of_parents(commands(), arguments.command);
  const std::map<std::string, ProgressStyle> styles = {{"auto", ProgressStyle::kAuto},
                                                       {"bar", ProgressStyle::kBar},
                                                       {"lines", ProgressStyle::kLines},
                                                       {"json", ProgressStyle::kJson},
                                                       {"none", ProgressStyle::kNone}};
  arguments.progress = styles.at(progress);
  arguments.colour = colour == "always"  ? ColourWhen::kAlways
                     : colour == "never" ? ColourWhen::kNever
                                         : ColourWhen::kAuto;
  if (arguments.command == "drill") {
    read_target(arguments, target, clock);
    const recovery::Target& chosen_target = arguments.target;
    if (arguments.destroy &&
        (chosen_target.kind != recovery::TargetKind::kLatest || chosen_target.timeline ||
         !chosen_target.backup.empty() || arguments.keep))
      usage("--destroy brings back all that is archived",
            "It goes with no target, and not with --keep.", arguments.command);
    if (!arguments.destroy && !arguments.confirmed_name.empty())
      usage("--confirm goes with --destroy", {}, arguments.command);
    if (!arguments.destroy) keep_typed(argc, argv, arguments);
  }
  arguments.typed_command =
      arguments.command == "init"
          ? typed_without(argc, argv, {}, {"--replace", "--configure-server", "--new-repository"})
          : typed_without(argc, argv, {"--lineage"}, {});
  // Which clusters there are is asked, or which one goes is said: none need be chosen.
  if (arguments.command == "cluster list") arguments.sources.options.emplace("cluster", "main");
  if (arguments.command == "cluster remove" || arguments.command == "cluster rename")
    arguments.sources.options["cluster"] = arguments.words.front();
  if (arguments.replace && !arguments.configure_server)
    usage("--replace goes with --configure-server", {}, arguments.command);
  if (arguments.command == "restore") {
    read_target(arguments, target, clock);
    keep_typed(argc, argv, arguments);
    if (arguments.resume) require_only_the_place(*restore, arguments.command);
    if (arguments.into.empty() != arguments.in_place)
      usage("restore needs to know where to",
            "Exactly one of --into DIR and --in-place must be given.", arguments.command);
  }
  if ((arguments.command == "repo change-key" || arguments.command == "repo add-key") &&
      arguments.new_key_file.empty() == arguments.new_passphrase_file.empty())
    usage(fmt::format("{} needs a new key", arguments.command),
          "Exactly one of --new-key-file FILE and --new-passphrase-file FILE must be given.",
          arguments.command);
  if (arguments.command == "wal get" && !arguments.read_ahead_worker && arguments.words.size() != 2)
    usage("wal get needs a file's name and a path", {}, arguments.command);
  return arguments;
}

}  // namespace holdfast::cli
