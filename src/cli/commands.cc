// commands.cc: one function for each command, and the table of them.
#include "cli/commands.h"

#include <array>
#include <cstdio>
#include <fcntl.h>
#include <memory>
#include <unistd.h>

#include <fmt/format.h>

#include "backup/backup.h"
#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/process.h"
#include "base/users.h"
#include "cli/call.h"
#include "cli/check_command.h"
#include "cli/drill_commands.h"
#include "cli/expire_commands.h"
#include "cli/export_command.h"
#include "cli/import_command.h"
#include "cli/lineage_commands.h"
#include "cli/prompt.h"
#include "cli/verify_commands.h"
#include "cli/wal_commands.h"
#include "cluster/server_log.h"
#include "drill/demo.h"
#include "expire/claims.h"
#include "repo/backup_order.h"
#include "restore/aside.h"
#include "restore/restore.h"
#include "setup/archiver_trial.h"
#include "setup/info.h"
#include "setup/init.h"
#include "setup/server_settings.h"
#include "store/open_store.h"
#include "view/restore_plan.h"
#include "view/view.h"

namespace holdfast::cli {
namespace {

template <typename Result>
void show(const Call& call, const Result& result) {
  print(call, view::json(result), view::text(result));
}

// Of a command that does something.
template <typename Result>
void show_done(const Call& call, const Result& result, bool is_well = true) {
  print(call, view::json(result), unless_quiet(call, is_well, view::text(result)));
}

repo::KeySource make_key_file(const Call& call, const std::string& key_file,
                              const std::optional<OwnerIds>& owner) {
  repo::create_key_file(key_file, system_random());
  call.reporter.warning(
      fmt::format("made key file \"{}\": without it nobody can read the repository; keep a copy "
                  "of it in another place",
                  key_file));
  if (owner) {
    const Fd file = open_file(key_file, O_RDONLY | O_NOFOLLOW);
    if (fchown(file.get(), owner->user, owner->group) != 0)
      throw_errno("change the owner of", key_file);
  }
  return call.settings.key();
}

int run_init(const Call& call) {
  const config::Settings& settings = call.settings;
  settings.cluster();  // that none was chosen is no reason to make a key file
  const std::string& key_file = settings.text("repo.key_file");
  const bool makes_key = call.arguments.encrypt && !key_file.empty() && !lstat_if_exists(key_file);
  repo::KeySource key;
  if (!makes_key) key = settings.key();
  if (call.arguments.encrypt && !makes_key && key.empty())
    throw Error({.code = ErrorCode::kUsage,
                 .message = "--encrypt needs a key",
                 .detail = "Neither key_file nor passphrase_file nor passphrase_command is set.",
                 .hint = "Name a key file, which is made if it does not exist: --key-file FILE."});
  const std::string url = settings.repository_url();
  std::unique_ptr<store::Store> target = store::open_store(url);
  // What root makes is for the user whose server archives into it.
  const auto make_place = [&](const std::string& data_directory) {
    std::optional<OwnerIds> owner;
    if (geteuid() == 0) {
      if (const std::optional<struct stat> status = stat_if_exists(data_directory))
        owner = {.user = status->st_uid, .group = status->st_gid};
      else if (!stat_if_exists(target->url()))
        call.reporter.warning(
            fmt::format("\"{}\" will be root's, for the server's data directory is not on this "
                        "host: give it to "
                        "the user who archives into it",
                        target->url()));
    }
    store::create_store(url, owner);
    return makes_key ? make_key_file(call, key_file, owner) : key;
  };
  const setup::InitResult result = setup::init(
      {.cluster = settings.cluster(),
       .configured_clusters = settings.configured_clusters(),
       .config_file = settings.config_file(),
       .conninfo = settings.text("cluster.conninfo"),
       .pgdata = settings.text("cluster.pgdata"),
       .new_lineage = call.arguments.new_lineage,
       .second_cluster = call.arguments.second_cluster,
       .key = key,
       .configure_server = call.arguments.configure_server,
       .expected_id = settings.repository_id(),
       .new_repository = call.arguments.new_repository,
       .archive_command =
           [&](const std::optional<Bytes16>& id) { return archive_command(settings, id); },
       .repository = archived_repository(settings),
       .place_of = archive_place_of,
       .replace = call.arguments.replace,
       .typed_command = call.arguments.typed_command,
       .make_place = make_place},
      *target, call.reporter, call.stop);
  const std::string text =
      view::text(result, url, call.arguments.typed_command + " --configure-server");
  print(call, view::json(result), unless_quiet(call, true, text));
  return 0;
}

int run_info(const Call& call) {
  const std::unique_ptr<store::Store> store = store::open_store(call.settings.repository_url());
  const repo::Repository repository =
      repo::Repository::open(*store, call.settings.key(), call.settings.repository_id());
  // Of all clusters, unless one was named; one that is configured alone is no choice.
  const bool chosen = call.arguments.sources.options.contains("cluster");
  show(call, setup::info(repository, chosen ? call.settings.cluster() : std::string()));
  return 0;
}

// Says so when a backup of the cluster is at work, or may be on another host.
bool is_backup_at_work(const Call& call, const OpenRepository& opened) {
  for (const expire::Claim& claim : expire::list_claims(opened.cluster, opened.repository)) {
    if (claim.intent.what != "backup" || claim.state == ProcessState::kDead) continue;
    const std::string by =
        fmt::format("process {} on host \"{}\"", claim.intent.pid, claim.intent.host);
    call.reporter.note(fmt::format("a backup is at work ({}): nothing was done", by));
    if (call.arguments.json)
      print(call, Json::object()
                      .set("schema", "holdfast.backup.v1")
                      .set("backup", Json())
                      .set("at_work", by));
    return true;
  }
  return false;
}

int run_backup(const Call& call) {
  const OpenRepository opened(call);
  opened
      .lineages();  // a name that the repository does not know is refused by that, not by a server
  if (call.arguments.if_none_runs && is_backup_at_work(call, opened)) return 0;
  const backup::BackupResult result =
      backup::backup({.cluster = call.settings.cluster(),
                      .conninfo = call.settings.text("cluster.conninfo"),
                      .pgdata = call.settings.text("cluster.pgdata"),
                      .jobs = call.settings.integer("jobs"),
                      .bytes_per_second = call.settings.bytes("rate"),
                      .fast_checkpoint = call.arguments.checkpoint == "fast",
                      .compression = call.settings.compression(),
                      .label = call.arguments.label,
                      .tool_version = HOLDFAST_VERSION,
                      .archive_timeout = std::chrono::duration_cast<std::chrono::seconds>(
                          parse_duration(call.arguments.archive_timeout)),
                      .archive_tail = tail_archiver(call, opened)},
                     opened.repository, call.reporter, call.stop);
  show_done(call, result, !result.backup.damaged);
  return result.backup.damaged ? exit_status(ErrorCode::kCorrupt) : 0;
}

// Whose commits stand, so that the deletion can be taken back.
std::vector<std::pair<std::string, repo::BackupMarks>> deleted_backups(
    const OpenRepository& opened, const std::vector<repo::Lineage>& lineages) {
  std::vector<std::pair<std::string, repo::BackupMarks>> deleted;
  for (const repo::Lineage& lineage : lineages)
    for (const auto& [id, marks] : repo::read_deletions(opened.repository, lineage.name))
      if (repo::has_commit(opened.repository, lineage.name, id)) deleted.emplace_back(id, marks);
  return deleted;
}

// What is shown of a backup is without what these say.
void warn_of_unreadable_marks(const Call& call, const std::string& id,
                              const repo::BackupMarks& marks) {
  for (const std::string& mark : marks.unreadable)
    call.reporter.warning(
        fmt::format("the mark \"{}\" of backup {} cannot be read{}", mark, id,
                    marks.is_deletion_in_doubt() ? ", and may take its deletion back" : ""));
}

int run_backup_list(const Call& call) {
  const OpenRepository opened(call);
  std::vector<repo::Backup> backups;
  view::Unreadable unreadable;
  // Of a lineage whose document is lost nobody knows which backups there are.
  std::optional<Error> lost;
  const std::vector<repo::Lineage> lineages = opened.repository.require_lineages(
      opened.cluster, [&](const repo::LineageName& lineage, const Error& error) {
        unreadable.lineages.push_back(
            {.name = repo::to_string(lineage), .problem = error.message()});
        if (error.is_damage()) lost = error;
      });
  for (const repo::Lineage& lineage : lineages)
    for (const std::string& id : repo::backup_ids_in_order(opened.repository, lineage.name))
      if (std::optional<repo::Backup> backup = repo::read_backup_if_possible(
              opened.repository, lineage.name, id, [&](const Error& error) {
                unreadable.backups.push_back({.id = id, .problem = error.message()});
                call.reporter.warning(
                    fmt::format("backup {} is unreadable: {}", id, error.message()));
              }))
        backups.push_back(std::move(*backup));
  const std::vector<std::pair<std::string, repo::BackupMarks>> deleted =
      deleted_backups(opened, lineages);
  for (const repo::Backup& backup : backups)
    warn_of_unreadable_marks(call, backup.id, backup.marks);
  for (const auto& [id, marks] : deleted) warn_of_unreadable_marks(call, id, marks);
  const int status = lost ? exit_status(lost->code()) : 0;
  if (call.arguments.json) {
    Json list = Json::array();
    for (const auto& [id, marks] : deleted)
      list.push(Json::object()
                    .set("id", id)
                    .set("deleted", to_rfc3339(marks.deleted->at))
                    .set("in_doubt", marks.is_deletion_in_doubt()));
    print(call, view::json(backups, unreadable).set("deleted", std::move(list)));
    return status;
  }
  print(call, view::text(backups, unreadable));
  for (const auto& [id, marks] : deleted)
    print(call, fmt::format("Deleted at {}: {}; \"holdfast backup undelete {}\" takes it back.\n",
                            to_local(marks.deleted->at), id, id));
  return status;
}

int run_backup_show(const Call& call) {
  const OpenRepository opened(call);
  const std::string& id = call.arguments.words.front();
  const repo::Lineage lineage =
      repo::choose_lineage(opened.repository, opened.cluster, lineage_choice(call, id));
  const repo::Backup backup = repo::resolve_backup(opened.repository, lineage.name, id);
  warn_of_unreadable_marks(call, backup.id, backup.marks);
  show(call, backup);
  return 0;
}

// Asks on a terminal; elsewhere --yes must have been given.
void confirm(const Call& call, std::string_view what, const std::string& question) {
  call.reporter.clear();
  if (!agrees(question + "\n", call.stop))
    throw Error({.code = ErrorCode::kUsage,
                 .message = fmt::format("restore {} was not confirmed", what),
                 .detail = question,
                 .hint = "Confirm it with --yes, or restore elsewhere with --into DIR."});
}

// An archive_command comes back with the configuration; the program, the configuration file and the
// key that it names need not be on this machine.
void warn_of_archive_command(const Call& call, const OpenRepository& opened,
                             const restore::RestoreResult& result) {
  if (!setup::is_our_archive_command(result.archive_command) ||
      !setup::info_command(result.archive_command))
    return;
  setup::ArchiverPlace place{.archive_command = result.archive_command,
                             .data_directory = result.directory,
                             .user = result.server_user};
  if (result.server_pid != 0) place.environment = cluster::environment_of(result.server_pid);
  std::string why;
  // The restore is done; what cannot be tried is not known to fail.
  error_of(even_interrupted, [&] {
    const setup::TrialAnswer answer = setup::try_info(place, call.stop);
    if (answer.timed_out) return;
    if (!answer.status.ok()) {
      const Error::Parts error = answer.error();
      why = fmt::format("{}{}{}", error.message, error.detail.empty() ? "" : ". ", error.detail);
    } else if (answer.document && answer.document->at("repository_id").as_string() !=
                                      to_hex(opened.repository.id().view())) {
      why = fmt::format("it archives into another repository, \"{}\"",
                        answer.document->at("url").as_string());
    }
  });
  if (why.empty()) return;
  call.reporter.warning(fmt::format(
      "THIS SERVER DOES NOT ARCHIVE: its archive_command was laid as it was at the backup, and "
      "fails here: {}{} What is committed from here on is in no archive. When the server runs: "
      "\"holdfast init --configure-server --replace\", then \"holdfast check\" and \"holdfast "
      "backup\".",
      why, why.ends_with('.') ? "" : "."));
}

int run_restore(const Call& call) {
  const Arguments& arguments = call.arguments;
  const config::Settings& settings = call.settings;
  if (arguments.in_place && !arguments.yes && !arguments.dry_run && !arguments.resume)
    confirm(call, "--in-place",
            fmt::format("The data directory of cluster \"{}\" will be {} and restored{}; WAL in it "
                        "that is not archived is saved first.",
                        settings.cluster(), arguments.delta ? "written over" : "emptied",
                        arguments.target.kind == recovery::TargetKind::kLatest
                            ? ""
                            : ", to " + recovery::to_string(arguments.target)));
  if (arguments.delta && !arguments.in_place && !arguments.yes && !arguments.dry_run &&
      is_directory(arguments.into) && !is_empty_directory(arguments.into))
    confirm(call, "--delta",
            fmt::format("What is in \"{}\" and not in the backup will be removed, its "
                        "WAL too.",
                        absolute_path(arguments.into)));
  const OpenRepository opened(call);
  restore::RestoreOptions options;
  options.cluster = settings.cluster();
  options.where = arguments.in_place ? restore::Where::kInPlace : restore::Where::kInto;
  options.directory =
      arguments.in_place ? settings.text("cluster.pgdata") : absolute_path(arguments.into);
  options.lineage = lineage_choice(call);
  options.target = arguments.target;
  options.action = arguments.action == "pause"      ? recovery::TargetAction::kPause
                   : arguments.action == "shutdown" ? recovery::TargetAction::kShutdown
                                                    : recovery::TargetAction::kPromote;
  options.action_is_named = !arguments.action.empty();
  options.restore_command = restore_command(settings, opened.repository.id());
  options.end_command = recovery_end_command(settings, opened.repository.id());
  for (const std::string& move : arguments.tablespaces)
    options.tablespaces.push_back(restore::parse_tablespace_move(move));
  if (!arguments.archive.empty()) options.archive = arguments.archive == "on";
  options.jobs = settings.integer("jobs");
  options.bytes_per_second = settings.bytes("rate");
  options.yes = true;
  options.delta = arguments.delta;
  options.start = arguments.start;
  options.port = arguments.port;
  options.bindir = settings.text("cluster.bindir");
  options.conninfo = settings.text("cluster.conninfo");
  options.own_files = own_files(call);
  options.read_backup = backup_reader(call, opened);
  options.salvage = salvager(call, opened);
  options.without_own_wal = arguments.without_own_wal;
  options.sandbox = sandbox_options(call);
  options.resume_command = arguments.resume_command;
  options.server_environment = server_environment(call);
  options.debian_clusters = debian_clusters();
  options.witness = server_witness(call);
  if (arguments.resume) {
    if (!arguments.action.empty()) options.new_action = options.action;
    if (arguments.in_place && !options.directory.empty())
      restore::require_nothing_aside(absolute_path(options.directory));
    show_done(call,
              restore::resume(options, opened.repository, call.clock, call.reporter, call.stop));
    return 0;
  }
  if (arguments.dry_run) {
    const restore::Preview preview =
        restore::preview(options, opened.repository, call.clock, call.reporter, call.stop);
    show(call, preview);
    if (!preview.refusal) return 0;
    std::fflush(stdout);
    std::fputs(view::text(*preview.refusal).c_str(), stderr);
    return exit_status(preview.refusal->code());
  }
  const restore::RestoreResult result =
      restore::restore(options, opened.repository, call.clock, call.reporter, call.stop);
  warn_of_archive_command(call, opened, result);
  show_done(call, result);
  return 0;
}

int run_finish(const Call& call) {
  restore::FinishResult result =
      restore::finish({.data_directory = absolute_path(call.arguments.words.front()),
                       .production = call.arguments.production,
                       .recovery_ended = call.arguments.recovery_ended,
                       .configured_directory = call.settings.text("cluster.pgdata"),
                       .conninfo = call.settings.text("cluster.conninfo")},
                      call.reporter, call.stop);
  // Before its archiver fails for the first time.
  if (result.production)
    error_of([&] {
      const OpenRepository opened(call);
      result.taken = restore::find_taken_timeline(result.directory, result.new_timeline,
                                                  opened.repository, opened.cluster);
    });
  if (result.taken)
    call.reporter.warning(fmt::format("{}. {} {}", result.taken->message(), result.taken->detail(),
                                      result.taken->hint()));
  // Where the repository is not at hand the claim of the recovery runs out by itself.
  if (!result.claim.empty())
    error_of([&] {
      const OpenRepository opened(call);
      expire::end_claim(opened.cluster, result.claim, opened.repository);
    });
  if (!call.arguments.recovery_ended) show_done(call, result);
  return 0;
}

int run_demo(const Call& call) {
  if (geteuid() == 0) {  // PostgreSQL does not run as root
    std::vector<std::string> words = {"demo"};
    if (call.arguments.keep) words.emplace_back("--keep");
    if (!call.arguments.directory.empty())
      words.insert(words.end(), {"--directory", call.arguments.directory});
    if (call.settings.is_set("cluster.bindir"))
      words.insert(words.end(), {"--bindir", call.settings.text("cluster.bindir")});
    return drill::run_as_server_user(program_path(), words);
  }
  const drill::DemoResult result = drill::demo(
      {.directory = call.arguments.directory,
       .keep = call.arguments.keep,
       .bindir = call.settings.text("cluster.bindir"),
       .program = program_path(),
       .jobs = call.settings.integer("jobs")},
      [&call](std::string_view line) {
        print(call, fmt::format("{}\n", line));
        std::fflush(stdout);
      },
      call.clock, call.stop);
  return result.lost == 0 ? 0 : 1;
}

struct Command {
  std::string_view name;
  int (*run)(const Call&);
};
constexpr std::array kCommands = {
    Command{"init", run_init},
    Command{"check", run_check},
    Command{"info", run_info},
    Command{"backup", run_backup},
    Command{"backup list", run_backup_list},
    Command{"backup show", run_backup_show},
    Command{"backup export", run_backup_export},
    Command{"backup import", run_backup_import},
    Command{"backup pin", run_backup_pin},
    Command{"backup delete", run_backup_delete},
    Command{"backup undelete", run_backup_undelete},
    Command{"expire", run_expire},
    Command{"claims", run_claims},
    Command{"repo list-keys", run_repo_list_keys},
    Command{"repo change-key", run_repo_change_key},
    Command{"repo add-key", run_repo_add_key},
    Command{"repo remove-key", run_repo_remove_key},
    Command{"cluster list", run_cluster_list},
    Command{"cluster remove", run_cluster_remove},
    Command{"cluster rename", run_cluster_rename},
    Command{"lineage list", run_lineage_list},
    Command{"lineage remove", run_lineage_remove},
    Command{"wal push", run_wal_push},
    Command{"wal get", run_wal_get},
    Command{"wal list", run_wal_list},
    Command{"wal salvage", run_wal_salvage},
    Command{"wal set-aside", run_wal_set_aside},
    Command{"restore", run_restore},
    Command{"verify", run_verify},
    Command{"finish", run_finish},
    Command{"drill", run_drill},
    Command{"drill list", run_drill_list},
    Command{"drill show", run_drill_show},
    Command{"demo", run_demo},
};

}  // namespace

int run_command(const Arguments& arguments, const Clock& clock, ProgressReporter& reporter,
                std::stop_token stop) {
  const config::Settings settings = config::Settings::load(arguments.sources);
  const Call call{arguments, settings, clock, reporter, std::move(stop)};
  if (!arguments.understood.empty()) reporter.note(arguments.understood);
  for (const Command& command : kCommands)
    if (command.name == arguments.command) return command.run(call);
  HF_CHECK(false);
}

}  // namespace holdfast::cli
