// Each look is a function that adds one item. A look that throws becomes a failed item, for what is
// wrong is the result here, not an accident: this is a place of `catch` beyond the four. Stopping
// (kInterrupted) and defects of ours (kInternal) pass through.
#include "setup/check.h"

#include <algorithm>
#include <memory>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.h"
#include "base/file.h"
#include "base/process.h"
#include "cluster/connection.h"
#include "cluster/data_directory.h"
#include "cluster/running_server.h"
#include "cluster/server_facts.h"
#include "cluster/server_log.h"
#include "cluster/written_wal.h"
#include "pg/version.h"
#include "repo/backup.h"
#include "repo/drill_report.h"
#include "repo/verified_objects.h"
#include "repo/wal_tip.h"
#include "setup/archive_proof.h"
#include "setup/archiver_trial.h"
#include "setup/configured_directory.h"
#include "setup/continuity.h"
#include "setup/push_status.h"
#include "setup/server_settings.h"
#include "store/open_store.h"

namespace holdfast::setup {
namespace {

// So many waiting files are no backlog: the archiver may be at work on them just now.
constexpr uint64_t kFewFiles = 3;
constexpr uint64_t kRoomInSegments = 64;
constexpr uint64_t kRoomInRepository = uint64_t{1} << 30;
constexpr size_t kDrillsLookedAt = 50;
// No wonder between the clocks of two hosts.
constexpr Microseconds kClocksDiffer = std::chrono::minutes(5);
constexpr int kArchiverInActivityMajor = 14;
// A repository of millions of objects on a network file system takes longer to look through.
constexpr std::chrono::seconds kPatienceWithAccess{5};

constexpr std::string_view kConfigure =
    "Run \"holdfast init --configure-server\", then restart the server.";
constexpr const char* kTries = "\"holdfast check\" tries it and finds the cause.";
constexpr std::string_view kRestart = "Restart the server; it takes effect then.";

CheckItem failed(std::string name, Error::Parts parts) {
  return {.name = std::move(name),
          .outcome = CheckOutcome::kFailed,
          .message = std::move(parts.message),
          .detail = std::move(parts.detail),
          .hint = std::move(parts.hint)};
}

std::string joined(std::string first, const std::string& second) {
  if (!first.empty() && !second.empty()) first += ' ';
  return std::move(first) + second;
}

double seconds(Microseconds duration) { return static_cast<double>(duration.count()) / 1e6; }

bool is_off(const std::string& archive_mode) { return archive_mode == "off"; }

// "on", as the server shows it, for any of the ways in which it may be written.
std::string archive_mode_word(const std::string& text) {
  for (std::string_view off : {"off", "false", "no", "0", "of", "f", "n", ""})
    if (text == off) return "off";
  return text == "always" ? "always" : "on";
}

std::string files_wait(uint64_t count) {
  return count == 1 ? std::string("1 file waits") : fmt::format("{} files wait", count);
}

class Check {
 public:
  Check(const CheckOptions& options, const std::function<repo::Repository()>& open,
        const Clock& clock, Reporter& reporter, std::stop_token stop)
      : options_(options),
        open_(open),
        clock_(clock),
        reporter_(reporter),
        stop_(std::move(stop)) {}

  CheckResult run();

 private:
  // Adds what `look` throws as a failed item, or as a warning. True when it threw nothing.
  template <typename Look>
  bool attempt(const std::string& name, Look look, CheckOutcome otherwise = CheckOutcome::kFailed);
  // What is behind a warning, unless an age of it was asked for.
  static CheckOutcome unless_asked(const std::optional<Microseconds>& limit) {
    return limit ? CheckOutcome::kFailed : CheckOutcome::kWarning;
  }
  // Adds an item whose message goes on with its age, " 2 h ago", held against what it may be.
  void add_age(CheckItem item, std::string_view figure, Microseconds age,
               const std::optional<Microseconds>& limit, std::string hint);
  void add_figure(std::string_view name, double value, std::string_view unit,
                  std::optional<double> limit = std::nullopt) {
    result_.figures.push_back(
        {.name = std::string(name), .value = value, .unit = std::string(unit), .limit = limit});
  }
  void add(CheckItem item) { result_.items.push_back(std::move(item)); }
  void add_ok(std::string name, std::string message) {
    add({.name = std::move(name), .message = std::move(message)});
  }
  bool has_failed() const { return result_.cause() != nullptr; }

  void look_at_program();
  void connect();
  void open_repository();
  void look_at_lineage();
  void look_at_data_directory();
  void look_at_wal_level();
  void look_at_archive_mode();
  void look_at_archive_library();
  void look_at_archive_command();
  void judge_hidden_status(const PushStatus& status, const std::string& set_it);
  void judge_own_command(const SettingState& command);
  void try_archive_command();
  void judge_info(const TrialAnswer& answer);
  void look_at_archiver();
  void look_at_lag(const Backlog& backlog);
  void look_at_last_archived();
  void prove();
  void look_at_history();
  void prove_on_primary();
  void prove_on_standby();
  void explain(const ProofResult& proof);
  void explain_failing(const ProofResult& proof, std::string told);
  void look_at_pages();
  void look_at_backups();
  void look_at_verification();
  void look_at_drills();
  void look_at_continuity();
  void look_at_access();
  void look_at_room();

  ArchiverPlace archiver_place() const;
  bool is_ours() const { return is_our_archive_command(settings_.archive_command.running); }
  std::string own_command() const {
    return options_.archive_command(repository_ ? std::optional(repository_->id()) : std::nullopt);
  }

  const CheckOptions& options_;
  const std::function<repo::Repository()>& open_;
  const Clock& clock_;
  Reporter& reporter_;
  std::stop_token stop_;
  CheckResult result_;

  // What is known so far.
  std::optional<cluster::Connection> connection_;
  std::optional<cluster::ServerFacts> facts_;
  ArchiveSettings settings_;
  std::optional<repo::Repository> repository_;
  std::optional<repo::Lineage> lineage_;
  std::optional<pid_t> postmaster_;  // on this host
};

template <typename Look>
bool Check::attempt(const std::string& name, Look look, CheckOutcome otherwise) {
  const auto is_answer = [](const Error& error) {
    return error.code() != ErrorCode::kInterrupted && error.code() != ErrorCode::kInternal;
  };
  const std::optional<Error> error = error_of(is_answer, look);
  if (!error) return true;
  CheckItem item =
      failed(name, {.message = error->message(), .detail = error->detail(), .hint = error->hint()});
  item.outcome = otherwise;
  add(std::move(item));
  return false;
}

CheckResult Check::run() {
  result_.read_only = options_.read_only;
  reporter_.phase("checking", 0);
  look_at_program();
  attempt("server", [&] { connect(); });
  attempt("repository", [&] { open_repository(); });
  if (facts_ && repository_)
    attempt("repository",
            [&] { cluster::require_apart_from(*facts_, repository_->store().url()); });
  if (facts_ && repository_) attempt("lineage", [&] { look_at_lineage(); });
  if (facts_) {
    attempt("data directory", [&] { look_at_data_directory(); }, CheckOutcome::kWarning);
    look_at_wal_level();
    look_at_archive_mode();
    look_at_archive_library();
    look_at_archive_command();
    if (!has_failed() && !options_.read_only)
      attempt("server's user", [&] { try_archive_command(); }, CheckOutcome::kWarning);
    attempt(
        "archiver", [&] { look_at_archiver(); },
        options_.read_only ? CheckOutcome::kFailed : unless_asked(options_.max_archive_lag));
  }
  if (connection_ && facts_ && !facts_->in_recovery && lineage_)
    attempt("history", [&] { look_at_history(); });
  if (!options_.read_only)
    prove();
  else if (facts_ && lineage_)
    attempt("last archived", [&] { look_at_last_archived(); });

  if (facts_) look_at_pages();
  if (repository_ && lineage_)
    attempt("last backup", [&] { look_at_backups(); }, unless_asked(options_.max_backup_age));
  if (repository_ && lineage_ && options_.max_verify_age)
    attempt("last verify", [&] { look_at_verification(); });
  if (repository_ && lineage_ && options_.max_drill_age)
    attempt("last drill", [&] { look_at_drills(); });
  if (facts_ && repository_ && lineage_) attempt("continuity", [&] { look_at_continuity(); });
  if (repository_ && !options_.read_only)
    attempt("access", [&] { look_at_access(); }, CheckOutcome::kWarning);
  attempt("room", [&] { look_at_room(); }, CheckOutcome::kWarning);
  return std::move(result_);
}

// --- What takes part ----------------------------------------------------------------------------

void Check::look_at_program() {
  add({.name = "program",
       .outcome = CheckOutcome::kNote,
       .message = fmt::format("holdfast {}, run by \"{}\" on host \"{}\"", options_.tool_version,
                              options_.user, host_name())});
}

void Check::connect() {
  connection_ = cluster::Connection::connect(
      {.conninfo = options_.conninfo, .application_name = "holdfast check"}, stop_);
  cluster::ServerFacts facts = cluster::read_server_facts(*connection_);
  settings_ = read_archive_settings(*connection_);
  facts_ = std::move(facts);
  // Its number alone may be another process's here, when the server runs in a container.
  if (std::optional<struct stat> there = stat_if_exists(facts_->data_directory))
    if (std::optional<cluster::RunningServer> server =
            cluster::find_running_server(facts_->data_directory);
        server && server->is_postmaster)
      postmaster_ = server->pid;
  add_ok("server", fmt::format("PostgreSQL {}, {}, timeline {}, system identifier {}",
                               facts_->version, facts_->in_recovery ? "standby" : "primary",
                               pg::to_string(facts_->timeline), facts_->system_identifier));
  if (pg::is_newer_major(facts_->major))
    add({.name = "server version",
         .outcome = CheckOutcome::kWarning,
         .message = pg::newer_major_notice(facts_->major),
         .hint = "Install a newer Holdfast, which reads the same repository."});
}

void Check::open_repository() {
  const auto began = clock_.steady();
  repository_ = open_();
  const auto took = std::chrono::duration_cast<Microseconds>(clock_.steady() - began);
  add_ok("repository",
         fmt::format("{}, id {}{}", repository_->store().url(), to_hex(repository_->id().view()),
                     repository_->sealed() ? ", sealed; the key opens it" : ", not sealed"));
  // It is made slow to guess, and every program that is started opens the repository anew.
  if (repository_->sealed() && options_.key_is_passphrase)
    add({.name = "passphrase",
         .outcome = CheckOutcome::kNote,
         .message = fmt::format("opening the repository by it took {}, and each call of wal push "
                                "and wal get takes that too",
                                to_human(took)),
         .hint = "A key file costs nothing: \"holdfast repo add-key --new-key-file FILE\", then "
                 "key_file in the configuration in place of the passphrase."});
}

void Check::look_at_lineage() {
  const std::string& cluster = options_.cluster;
  std::optional<repo::Lineage> found =
      repository_->find_lineage(cluster, facts_->system_identifier);
  if (!found) {
    const repo::Lineage newest = repository_->require_lineages(cluster).back();
    throw Error(
        {.code = ErrorCode::kWrongCluster,
         .message = fmt::format("the server is not cluster \"{}\" of the repository", cluster),
         .detail = fmt::format("Its system identifier is {}, that of lineage {} is {}.",
                               facts_->system_identifier, repo::to_string(newest.name),
                               newest.system_identifier),
         .hint = "After pg_upgrade or a new initdb run \"holdfast init --new-lineage\"; otherwise "
                 "correct conninfo, or the cluster's name." +
                 cluster::environment_hint()});
  }
  if (found->wal_segment_bytes != facts_->wal_segment_size.bytes())
    throw Error({.code = ErrorCode::kWrongCluster,
                 .message = "the server's WAL segments have another size than the lineage's",
                 .detail = fmt::format("They have {} bytes, those of lineage {} have {}.",
                                       facts_->wal_segment_size.bytes(),
                                       repo::to_string(found->name), found->wal_segment_bytes),
                 .hint = "After pg_resetwal --wal-segsize begin a new cluster name with -c."});
  lineage_ = std::move(found);
  add_ok("lineage",
         fmt::format("cluster {}, lineage {}", cluster, repo::to_string(lineage_->name)));
}

void Check::look_at_data_directory() {
  check_configured_directory(options_.pgdata, *facts_);
  const std::string directory =
      absolute_path(options_.pgdata.empty() ? facts_->data_directory : options_.pgdata);
  if (!stat_if_exists(directory))
    throw Error(
        {.code = ErrorCode::kNotFound,
         .message = fmt::format("there is no data directory \"{}\" on this host", directory),
         .detail = "A backup reads the files of the cluster where they lie.",
         .hint = "Run the backup on the server's own host."});
  list_directory(join_path(directory, "global"));
  pg::ControlFile control = cluster::read_control_file(directory).control;
  if (control.system_identifier != facts_->system_identifier)
    throw Error(
        {.code = ErrorCode::kWrongCluster,
         .message = fmt::format("data directory \"{}\" is not the server's", directory),
         .detail = fmt::format("Its system identifier is {}, that of the server is {}.",
                               control.system_identifier, facts_->system_identifier),
         .hint = "Correct pgdata or conninfo in the configuration." + cluster::environment_hint()});
  for (const cluster::Tablespace& tablespace : facts_->tablespaces)
    if (!tablespace.location.empty()) list_directory(tablespace.location);
  add_ok("data directory", fmt::format("{}, readable by \"{}\"", directory, options_.user));
  if (!facts_->in_recovery && cluster::has_left_recovery_settings(directory))
    add({.name = "recovery settings",
         .outcome = CheckOutcome::kWarning,
         .message = "the settings of a recovery that has ended are still in postgresql.auto.conf",
         .detail = "A standby that is built from this server has them too, and ends at their "
                   "target.",
         .hint = fmt::format("Run \"holdfast finish {}\".", shell_quote(directory))});
}

// --- Settings -----------------------------------------------------------------------------------

void Check::look_at_wal_level() {
  const SettingState& level = settings_.wal_level;
  if (level.running != "minimal" && level.next() != "minimal")
    return add_ok("wal_level", level.running);
  if (level.running == "minimal" && level.next() == "minimal")
    return add(failed("wal_level",
                      {.message = "wal_level is \"minimal\"",
                       .detail = "Such WAL cannot be recovered from; it must be \"replica\" or "
                                 "\"logical\".",
                       .hint = level.on_command_line ? command_line_hint("wal_level", "replica")
                                                     : std::string(kConfigure)}));
  if (level.running == "minimal")
    return add(
        failed("wal_level",
               {.message = "wal_level is \"minimal\" until the server is restarted",
                .detail = fmt::format("The configuration files say \"{}\" already.", level.next()),
                .hint = std::string(kRestart)}));
  add({.name = "wal_level",
       .outcome = CheckOutcome::kWarning,
       .message = fmt::format("\"{}\", but \"minimal\" from the next restart on", level.running),
       .detail = fmt::format("It is set in {}.", level.file),
       .hint = "Set wal_level = replica in the configuration before the server is restarted."});
}

void Check::look_at_archive_mode() {
  const std::string running = archive_mode_word(settings_.archive_mode.running);
  const std::string next = archive_mode_word(settings_.archive_mode.next());
  if (is_off(running) && is_off(next))
    return add(failed("archive_mode", {.message = "archive_mode is \"off\"",
                                       .detail = "The server archives nothing.",
                                       .hint = settings_.archive_mode.on_command_line
                                                   ? command_line_hint("archive_mode", "on")
                                                   : std::string(kConfigure)}));
  if (is_off(running))
    return add(failed("archive_mode",
                      {.message = "archive_mode is \"off\" until the server is restarted",
                       .detail = fmt::format("The configuration files say \"{}\" already.", next),
                       .hint = std::string(kRestart)}));
  if (is_off(next))
    return add({.name = "archive_mode",
                .outcome = CheckOutcome::kWarning,
                .message = fmt::format("\"{}\", but \"off\" from the next restart on", running),
                .detail = fmt::format("It is set in {}.", settings_.archive_mode.file),
                .hint = "Set archive_mode = on in the configuration before the server is "
                        "restarted."});
  if (facts_->in_recovery && running == "on")
    return add({.name = "archive_mode",
                .outcome = CheckOutcome::kNote,
                .message = "\"on\": a standby archives nothing before it is promoted"});
  add_ok("archive_mode", running);
}

void Check::look_at_archive_library() {
  if (settings_.archive_library.empty()) return;
  add(failed("archive_library",
             {.message = fmt::format("the server archives by the library \"{}\"",
                                     settings_.archive_library),
              .detail = "archive_command is not run while archive_library is set.",
              .hint = settings_.library_on_command_line
                          ? command_line_hint("archive_library", "")
                          : "If Holdfast is to archive, run ALTER SYSTEM RESET archive_library, "
                            "then SELECT pg_reload_conf()."}));
}

void Check::look_at_archive_command() {
  const SettingState& command = settings_.archive_command;
  const std::string set_it = fmt::format(
      "run ALTER SYSTEM SET archive_command = {}, then SELECT "
      "pg_reload_conf()",
      cluster::quote_literal(own_command()));
  if (command.running.empty() && !command.next().empty())
    return add(failed("archive_command",
                      {.message = "archive_command is empty until the configuration is reloaded",
                       .detail = fmt::format("The configuration files say \"{}\".", command.next()),
                       .hint = "Run SELECT pg_reload_conf()."}));
  if (command.running.empty())
    return add(failed(
        "archive_command",
        {.message = "archive_command is empty",
         .detail = "The server keeps every segment in pg_wal, "
                   "which fills its disk.",
         .hint = command.on_command_line ? command_line_hint("archive_command", own_command())
                                         : "Run \"holdfast init "
                                           "--configure-server\"."}));
  if (command.running != command.next())
    return add({.name = "archive_command",
                .outcome = CheckOutcome::kWarning,
                .message = "another one is configured, and not loaded yet",
                .detail = fmt::format("In force is \"{}\"; configured is \"{}\".", command.running,
                                      command.next()),
                .hint = "Run SELECT pg_reload_conf(), or take the change back."});
  if (const PushStatus status = push_status(command.running);
      status.heard != PushStatus::Heard::kYes)
    return judge_hidden_status(status, set_it);
  if (is_ours()) return judge_own_command(command);
  // A script of the user's may well call Holdfast: the proof decides.
  add({.name = "archive_command",
       .outcome = CheckOutcome::kWarning,
       .message = fmt::format("not Holdfast's own: \"{}\"", command.running),
       .detail = "It is not tried by hand, since another tool's command may not be repeatable.",
       .hint = command.on_command_line
                   ? command_line_hint("archive_command", own_command())
                   : fmt::format("If it does not call \"holdfast wal push\", {}. To keep both "
                                 "archives, let one command do both.",
                                 set_it)});
}

// Archiving may well work now; the segment that cannot be stored is the one that is lost.
void Check::judge_hidden_status(const PushStatus& status, const std::string& set_it) {
  const SettingState& command = settings_.archive_command;
  const bool is_certain = status.heard == PushStatus::Heard::kNo;
  add({.name = "archive_command",
       .outcome = is_certain ? CheckOutcome::kFailed : CheckOutcome::kWarning,
       .message = fmt::format("archive_command {} the exit status of \"wal push\"",
                              is_certain ? "hides" : "may hide"),
       .detail =
           fmt::format("It is \"{}\". The server hears the exit status of what follows, \"{}\": "
                       "at 0 it counts a segment as archived and removes it, stored or not.",
                       command.running, status.hidden_by),
       .hint = command.on_command_line ? command_line_hint("archive_command", own_command())
                                       : fmt::format("Leave out what follows: {}.", set_it)});
}

// One that names no repository's id fills whatever repository is made where its own is not mounted.
void Check::judge_own_command(const SettingState& command) {
  const std::optional<ArchivePlace> place = options_.place_of(command.running);
  if (!repository_ || !place || place->id == repository_->id())
    return add_ok("archive_command", command.running);
  if (place->id)
    return add(failed(
        "archive_command",
        {.message = "archive_command archives into another repository",
         .detail = fmt::format("It is \"{}\"; this repository's id is {}.", command.running,
                               to_hex(repository_->id().view())),
         .hint =
             command.on_command_line
                 ? command_line_hint("archive_command", own_command())
                 : "Check what is mounted there. If the server is to archive into this one, run "
                   "\"holdfast init --configure-server --replace\"."}));
  add({.name = "archive_command",
       .outcome = CheckOutcome::kNote,
       .message = command.running,
       .detail = "It does not name the repository's id: where its file system is not mounted, it "
                 "would fill another one that is made there.",
       .hint = command.on_command_line ? command_line_hint("archive_command", own_command())
                                       : "\"holdfast init --configure-server\" writes it anew."});
}

ArchiverPlace Check::archiver_place() const {
  ArchiverPlace place{.archive_command = settings_.archive_command.running,
                      .data_directory = facts_->data_directory,
                      .user = facts_->unix_user};
  if (postmaster_) place.environment = cluster::environment_of(*postmaster_);
  return place;
}

// Which repository the archiver's program sees, with the eyes of the server's user.
void Check::try_archive_command() {
  if (!is_ours()) return;
  if (!postmaster_)
    return add({.name = "server's user",
                .outcome = CheckOutcome::kSkipped,
                .message = "the server runs on another host; its archive_command cannot be tried "
                           "from here"});
  judge_info(try_info(archiver_place(), stop_));
}

void Check::judge_info(const TrialAnswer& answer) {
  const std::string who = fmt::format("archive_command, tried by hand as \"{}\"",
                                      facts_->unix_user.value_or(options_.user));
  if (answer.has_no_program())
    return add(failed(
        "server's user",
        {.message = fmt::format("{}: its program cannot be started", who),
         .detail = fmt::format("/bin/sh says: {} At such a status the server starts its archiver "
                               "again and counts no failure.",
                               answer.words.ends_with('.') ? answer.words : answer.words + "."),
         .hint = fmt::format("Install the program there, readable and executable for the server's "
                             "user, or run ALTER SYSTEM SET archive_command = {}, then SELECT "
                             "pg_reload_conf().",
                             cluster::quote_literal(own_command()))}));
  if (!answer.status.ok() || answer.timed_out || !answer.document) {
    // Configuration and key are the same for wal push; all else the proof will show.
    bool is_certain = !answer.timed_out && answer.status.code == exit_status(ErrorCode::kUsage);
    Error::Parts error = answer.error();
    CheckItem item = failed("server's user", {.message = fmt::format("{}: {}", who, error.message),
                                              .detail = error.detail,
                                              .hint = error.hint});
    if (!is_certain) item.outcome = CheckOutcome::kWarning;
    return add(std::move(item));
  }

  const std::string theirs = answer.document->at("repository_id").as_string();
  const std::string ours = to_hex(repository_->id().view());
  if (theirs != ours)
    return add(failed(
        "server's user",
        {.message = "archive_command archives into another repository",
         .detail =
             fmt::format("It sees repository {} at \"{}\"; this one is {} at \"{}\".", theirs,
                         answer.document->at("url").as_string(), ours, repository_->store().url()),
         .hint = "Run \"holdfast check\" with the configuration that archive_command names, or let "
                 "it name this one: \"holdfast init --configure-server\"."}));
  auto is_lineage = [&](const Json& lineage) {
    return lineage.at("system_identifier").as_string() ==
           fmt::format("{}", facts_->system_identifier);
  };
  auto names_it = [&](const Json& cluster) {
    const Json* const earlier = cluster.find("earlier_names");
    return (cluster.at("name").as_string() == options_.cluster ||
            (earlier != nullptr && std::ranges::any_of(earlier->items(),
                                                       [&](const Json& name) {
                                                         return name.as_string() ==
                                                                options_.cluster;
                                                       }))) &&
           std::ranges::any_of(cluster.at("lineages").items(), is_lineage);
  };
  if (std::ranges::none_of(answer.document->at("clusters").items(), names_it))
    return add(failed(
        "server's user",
        {.message =
             fmt::format("archive_command does not archive as cluster \"{}\"", options_.cluster),
         .detail = fmt::format("It is \"{}\".", settings_.archive_command.running),
         .hint = "Choose the cluster's name with -c, or let archive_command name this one: "
                 "\"holdfast init --configure-server\"."}));
  add_ok("server's user", fmt::format("{}: the program opens the same repository", who));
}

// --- Archiving ----------------------------------------------------------------------------------

void Check::look_at_archiver() {
  if (settings_.archive_mode.running == "off") return;
  Backlog backlog = read_backlog(*connection_);
  look_at_lag(backlog);
  cluster::ArchiverStatus status = cluster::read_archiver_status(*connection_);
  const std::string waiting =
      backlog.files == 0
          ? std::string("nothing waits to be archived")
          : fmt::format("{} to be archived{}", files_wait(backlog.files),
                        backlog.oldest
                            ? fmt::format(", the oldest since {}", to_local(*backlog.oldest))
                            : std::string());
  add_figure("waiting", static_cast<double>(backlog.files), "");
  if (status.is_failing())
    return add({.name = "archiver",
                .outcome = options_.read_only ? CheckOutcome::kFailed : CheckOutcome::kWarning,
                .message = fmt::format("{}; the last attempt failed", waiting),
                .detail = fmt::format("It was to archive \"{}\" at {}.",
                                      status.last_failed_wal.value_or("?"),
                                      to_local(*status.last_failed_time)),
                .hint = options_.read_only ? kTries : ""});
  bool is_gone =
      facts_->major >= kArchiverInActivityMajor && !facts_->in_recovery &&
      connection_->query_value(
          "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'archiver'") == "0";
  if (is_gone)
    return add({.name = "archiver",
                .outcome = options_.read_only && backlog.files > 0 ? CheckOutcome::kFailed
                                                                   : CheckOutcome::kWarning,
                .message = fmt::format("{}; the archiver does not run just now", waiting),
                .detail = "It ends when archive_command ends with a status above 125, as of a "
                          "program that is missing, or by a signal, and the server starts it again "
                          "after some seconds.",
                .hint = options_.read_only ? kTries : ""});
  add({.name = "archiver",
       .outcome = backlog.files > kFewFiles ? CheckOutcome::kWarning : CheckOutcome::kOk,
       .message = waiting});
}

// Before anything else is said of it: what it is that keeps it back is the proof's to tell.
void Check::look_at_lag(const Backlog& backlog) {
  if (backlog.oldest && options_.max_archive_lag)
    return add_age({.name = "archive lag",
                    .message = "the oldest file that waits to be archived was finished"},
                   "archive_lag", clock_.now() - *backlog.oldest, options_.max_archive_lag,
                   "\"holdfast check\" finds the cause.");
  if (options_.max_archive_lag) add_ok("archive lag", "nothing waits to be archived");
  add_figure(
      "archive_lag", backlog.oldest ? seconds(clock_.now() - *backlog.oldest) : 0, "s",
      options_.max_archive_lag ? std::optional(seconds(*options_.max_archive_lag)) : std::nullopt);
}

// In place of the proof: the server's word, held against what is in the repository.
void Check::look_at_last_archived() {
  if (facts_->in_recovery && settings_.archive_mode.running != "always") return;
  const cluster::ArchiverStatus status = cluster::read_archiver_status(*connection_);
  if (!status.last_archived_wal || !status.last_archived_time)
    return add({.name = "last archived",
                .outcome = CheckOutcome::kNote,
                .message = "nothing since the server's statistics were reset"});
  const repo::WalArchive archive(*repository_, *lineage_);
  const pg::WalFileName file =
      pg::parse_wal_file_name(*status.last_archived_wal, archive.segment_size());
  const bool has_segment =
      file.kind == pg::WalFileKind::kSegment || file.kind == pg::WalFileKind::kPartial;
  const bool is_there =
      has_segment ? !archive.contents({.kind = pg::WalFileKind::kSegment, .segment = file.segment})
                            .empty() ||
                        !archive.partials(file.segment).empty()
                  : file.kind != pg::WalFileKind::kOther && !archive.contents(file).empty();
  if (!is_there)
    return add(failed(
        "last archived",
        {.message = fmt::format("the server archived \"{}\", but not into this repository",
                                *status.last_archived_wal),
         .detail = fmt::format("archive_command is \"{}\".", settings_.archive_command.running),
         .hint = "\"holdfast check\" proves archiving, or finds the cause."}));
  add_ok(
      "last archived",
      fmt::format("{}, {} ago, and it is in the repository", *status.last_archived_wal,
                  to_human(std::max(clock_.now() - *status.last_archived_time, Microseconds{0}))));
}

void Check::add_age(CheckItem item, std::string_view figure, Microseconds age,
                    const std::optional<Microseconds>& limit, std::string hint) {
  add_figure(figure, seconds(age), "s", limit ? std::optional(seconds(*limit)) : std::nullopt);
  // Clocks differ; but one that is far ahead would hide any age.
  const bool is_ahead = age < -kClocksDiffer;
  item.message +=
      is_ahead ? fmt::format(" from {} in the future on, by this host's clock", to_human(-age))
               : fmt::format(" {} ago", to_human(std::max(age, Microseconds{0})));
  if (limit && (age > *limit || is_ahead)) {
    item.outcome = CheckOutcome::kFailed;
    if (!is_ahead) item.message += fmt::format(", and at most {} is asked for", to_human(*limit));
    item.hint = is_ahead ? "Put the clocks right." : std::move(hint);
  }
  add(std::move(item));
}

void Check::prove() {
  if (const CheckItem* cause = result_.cause())
    return add(
        {.name = "proof",
         .outcome = CheckOutcome::kSkipped,
         .message = fmt::format("not tried: \"{}\" has to be put right first", cause->name)});
  reporter_.phase(facts_->in_recovery ? "reading back WAL" : "waiting for WAL", 0);
  attempt("proof", [&] { facts_->in_recovery ? prove_on_standby() : prove_on_primary(); });
}

// Two servers that write the same names are told apart by what they wrote.
void Check::look_at_history() {
  const repo::WalArchive archive(*repository_, *lineage_);
  const pg::WalTip archived = repo::read_wal_tip(archive, facts_->timeline);
  if (!archived.segment && !archived.history) return;
  const cluster::ProductionAnswer answer =
      cluster::ask_production(*connection_, lineage_->system_identifier);
  std::optional<cluster::NotTheArchives> other;
  if (answer.production)
    other = cluster::why_not_the_archives(*answer.production, archived, facts_->wal_segment_size,
                                          cluster::wal_files_of_server(*connection_));
  else
    other = {.why = answer.why_not, .is_proven = true};
  // WAL that went elsewhere for a while leaves nothing to compare: what is wrong is found by the
  // proof, and by whoever looks for holes.
  if (other && !other->is_proven)
    return add({.name = "history",
                .outcome = CheckOutcome::kNote,
                .message = "that the server's WAL is the archive's cannot be told",
                .detail = std::move(other->why)});
  if (other)
    throw Error(
        {.code = ErrorCode::kConflict,
         .message = "the archive is not shown to be this server's",
         .detail = std::move(other->why),
         .hint = "If the server was rolled back, \"holdfast wal set-aside SEGMENT --onward\" takes "
                 "what was archived behind the snapshot out of service; its next \"wal push\" "
                 "names the segment. If it is a copy, or a former primary, it must not archive "
                 "here (archive_mode = off)."});
  add_ok("history", "the server's WAL is the archive's");
}

void Check::prove_on_primary() {
  ProofOptions options{
      .timeout = options_.archive_timeout,
      .restore_point = fmt::format("holdfast proof {}-{}", to_compact_utc(clock_.now()),
                                   to_hex(repository_->random().bytes16().view()).substr(0, 6))};
  if (postmaster_) options.log_file = cluster::find_server_log(*facts_, *postmaster_);
  const repo::WalArchive archive(*repository_, *lineage_);
  ProofResult proof = prove_archiving(options, *facts_, *connection_, archive, clock_, stop_);
  if (proof.end != ProofResult::End::kProven) return explain(proof);

  result_.proven = true;
  result_.segment = proof.segment;
  result_.took = proof.took;
  add_figure("archive_time", seconds(proof.took), "s");
  add_ok("proof", fmt::format("segment {} was in the repository after {} and was read back, with "
                              "the restore point \"{}\" in it",
                              proof.segment, to_human(proof.took), options.restore_point));
  if (proof.failed_attempts > 0)
    add({.name = "attempts",
         .outcome = CheckOutcome::kWarning,
         .message = fmt::format("{} of the server's attempts failed before", proof.failed_attempts),
         .detail = fmt::format("The last of them was to archive \"{}\".", proof.failing_file),
         .hint = "Look into the server's log for what archive_command said."});
}

// A standby can complete no segment. What it has whole came from the primary.
void Check::prove_on_standby() {
  const bool archives = settings_.archive_mode.running == "always";
  const uint64_t current = pg::segment_of(facts_->flush_lsn, facts_->wal_segment_size);
  if (current == 0)
    throw Error({.code = ErrorCode::kServer,
                 .message = "this standby has no whole WAL segment yet",
                 .hint = "Wait until the primary has completed one, then run \"holdfast check\" "
                         "again."});
  const pg::WalFileName file{
      .kind = pg::WalFileKind::kSegment,
      .segment = {.timeline = facts_->timeline, .segment_number = current - 1}};
  const std::string name = pg::segment_file_name(file.segment, facts_->wal_segment_size);
  const repo::WalArchive archive(*repository_, *lineage_);
  std::optional<repo::WalSegmentInfo> info = archive.segment_info(file);
  if (!info || !read_back(archive, file))
    throw Error({.code = ErrorCode::kServer,
                 .message = fmt::format("segment {}, the newest whole one of this standby, is not "
                                        "in the repository",
                                        name),
                 .hint = archives ? "Look into the logs of primary and standby for what "
                                    "archive_command said."
                                  : "Run \"holdfast check\" on the primary, which archives."});
  const std::string found = fmt::format(
      "segment {}, the newest whole one of this standby, was read back; host \"{}\" archived it at "
      "{}",
      name, info->host, to_local(info->pushed));
  cluster::ArchiverStatus status = cluster::read_archiver_status(*connection_);
  if (archives && status.last_archived_wal && *status.last_archived_wal >= name &&
      !status.is_failing()) {
    result_.proven = true;
    result_.segment = name;
    return add_ok("proof", found + "; the standby's own archiver says so too");
  }
  add(failed("proof",
             {.message = "archiving cannot be proven from a standby",
              .detail = fmt::format("It cannot complete a segment. What there is: {}.", found),
              .hint = "Run \"holdfast check\" on the primary."}));
}

void Check::explain(const ProofResult& proof) {
  const std::string waited = fmt::format("segment {} did not come into the repository within {}",
                                         proof.segment, to_human(proof.took));
  const std::string backlog = fmt::format(
      "{} in pg_wal/archive_status, {} when this began; the server archived {} meanwhile.",
      files_wait(proof.after.files), proof.before.files, proof.archived);
  switch (proof.end) {
    case ProofResult::End::kProven:
      break;
    case ProofResult::End::kElsewhere:
      return add(failed(
          "proof",
          {.message = fmt::format("the server archived segment {}, but not into this repository",
                                  proof.segment),
           .detail = fmt::format("archive_command is \"{}\".", settings_.archive_command.running),
           .hint = fmt::format("If Holdfast is to archive, run ALTER SYSTEM SET archive_command = "
                               "{}, then SELECT pg_reload_conf(). To keep both archives, let one "
                               "command do both.",
                               cluster::quote_literal(own_command()))}));
    case ProofResult::End::kArchiverDies:
      return explain_failing(
          proof,
          "The server starts its archiver again after a status above 125 or a signal, and does not "
          "count that as a failure: pg_stat_archiver does not show it.");
    case ProofResult::End::kFails:
      return explain_failing(proof, fmt::format("{} attempts failed, the last to archive \"{}\".",
                                                proof.failed_attempts, proof.failing_file));
    case ProofResult::End::kTimeout: {
      bool is_behind = proof.before.files > kFewFiles || proof.after.files > kFewFiles;
      if (!is_behind) return explain_failing(proof, backlog);
      const char* trend = proof.after.files > proof.before.files + 1 ? "growing"
                          : proof.archived == 0                      ? "standing still"
                          : proof.after.files < proof.before.files   ? "shrinking"
                                                                     : "not shrinking";
      return add(failed(
          "proof",
          {.message = fmt::format("archiving is behind, and {}: {}", trend, waited),
           .detail =
               joined(backlog, proof.after.oldest ? fmt::format("The oldest has waited since {}.",
                                                                to_local(*proof.after.oldest))
                                                  : std::string()),
           .hint = proof.archived > 0
                       ? "Run it again with a longer --archive-timeout; if it does not catch up, "
                         "the repository is too slow for what the server writes."
                       : "The archiver does not come forward: look at what its process waits for "
                         "(ps -fC postgres), and into the server's log."}));
    }
  }
}

// In the command's own words: by trying it by hand, else from the server's log.
void Check::explain_failing(const ProofResult& proof, std::string told) {
  const std::string log_says =
      proof.words
          ? fmt::format("The server's log says: {}{}{}.", fmt::join(proof.words->lines, " "),
                        proof.words->lines.empty() ? "" : " ", proof.words->message)
          : std::string();
  if (is_ours() && postmaster_) {
    const std::string file = !proof.failing_file.empty() ? proof.failing_file
                             : proof.after.first.empty() ? proof.segment
                                                         : proof.after.first;
    const std::string who =
        fmt::format("wal push, tried by hand as \"{}\"", facts_->unix_user.value_or(options_.user));
    bool is_tried = attempt(
        "trial",
        [&] {
          TrialAnswer answer = try_push(archiver_place(), file, stop_);
          if (!answer.status.ok() || answer.timed_out) {
            Error::Parts error = answer.error();
            return add(failed("proof", {.message = fmt::format("{}: {}", who, error.message),
                                        .detail = joined(error.detail, told),
                                        .hint = error.hint}));
          }
          add(failed(
              "proof",
              {.message =
                   fmt::format("the server does not archive segment {}, although wal push does "
                               "when it is tried by hand",
                               proof.segment),
               .detail =
                   joined(joined(std::move(told), log_says), "What was tried is archived now."),
               .hint =
                   "Compare what the server's process may do with what its user may do: systemd's "
                   "ProtectSystem and ReadWritePaths, SELinux or AppArmor, limits, mounts."}));
        },
        CheckOutcome::kWarning);
    if (is_tried) return;
  }
  if (proof.words && !proof.words->lines.empty())
    told += fmt::format("\nThe command said: {}", fmt::join(proof.words->lines, "\n"));
  add(failed("proof",
             {.message = proof.words ? proof.words->message
                                     : fmt::format("segment {} did not come into the repository "
                                                   "within {}",
                                                   proof.segment, to_human(proof.took)),
              .detail = std::move(told),
              .hint = fmt::format("{}un archive_command by hand as the server's user: {}",
                                  proof.words ? "R" : "Look into the server's log, and r",
                                  settings_.archive_command.running)}));
}

// --- What else a recovery hangs on --------------------------------------------------------------

void Check::look_at_pages() {
  if (facts_->full_page_writes)
    add_ok("full_page_writes", "on");
  else
    add({.name = "full_page_writes",
         .outcome = CheckOutcome::kWarning,
         .message = "off; a crash can leave pages half written",
         .hint = "Set full_page_writes = on and reload, unless the file system writes pages "
                 "atomically."});
  if (facts_->data_checksums)
    add_ok("data checksums", "on; a backup verifies each page");
  else
    add({.name = "data checksums",
         .outcome = CheckOutcome::kNote,
         .message = "off; of what a disk damages a backup notices what hits a page's header",
         .hint = "With the server stopped, pg_checksums --enable switches them on."});
}

// Each that cannot be read is told, whatever is newer: it may be the only one that goes back so
// far. What a copy, or a line that a recovery has left, has of newer ones is none of the server's.
void Check::look_at_backups() {
  std::optional<pg::TimelineHistory> history;
  if (facts_)  // without it the look at continuity fails
    error_of({ErrorCode::kNotFound, ErrorCode::kCorrupt},
             [&] { history = archived_history(*repository_, *lineage_, facts_->timeline); });
  const NewestBackups newest = find_newest_backups(
      *repository_, lineage_->name, history, [&](const std::string& id, const Error& error) {
        add({.name = "backup",
             .outcome = CheckOutcome::kWarning,
             .message =
                 fmt::format("{} is unreadable, and cannot be restored: {}", id, error.message()),
             .detail = error.detail(),
             .hint = error.hint()});
      });
  const auto elsewhere = [&] {
    return fmt::format(
        "Backup {} is newer, and does not lead to timeline {}, on which the server "
        "is.",
        newest.good->id, pg::to_string(facts_->timeline));
  };
  if (newest.leading) {
    const repo::Backup& leading = *newest.leading;
    // One that was imported is as old as what is in it.
    const Time taken = leading.origin.empty() ? leading.finished : leading.stop_time;
    return add_age({.name = "last backup",
                    .outcome = CheckOutcome::kNote,
                    .message = fmt::format("backup {} was taken", leading.id),
                    .detail = newest.good->id == leading.id ? std::string() : elsewhere()},
                   "backup_age", clock_.now() - taken, options_.max_backup_age,
                   "Run \"holdfast backup\".");
  }
  add({.name = "last backup",
       .outcome = unless_asked(options_.max_backup_age),
       .message =
           newest.looked_at == 0 ? "there is no backup yet"
           : newest.good
               ? fmt::format("of the newest {} backups none is good and leads to timeline {}",
                             newest.looked_at, pg::to_string(facts_->timeline))
               : fmt::format("of the newest {} backups none is good", newest.looked_at),
       .detail = newest.good ? elsewhere() : std::string(),
       .hint = "Run \"holdfast backup\"."});
}

void Check::look_at_verification() {
  const std::optional<repo::VerifyRun> run = repo::last_whole_run(*repository_, lineage_->name);
  const std::string hint = "Run \"holdfast verify\".";
  if (!run)
    return add(failed("last verify", {.message = "no verify of everything is known",
                                      .detail = "A verify that may not write to the repository "
                                                "leaves no trace of it.",
                                      .hint = hint}));
  add_age({.name = "last verify",
           .outcome = CheckOutcome::kNote,
           .message = "verify looked at everything",
           .detail = run->oldest.is_known()
                         ? fmt::format("What it did not read again was read since {}.",
                                       to_local(run->oldest.time()))
                         : std::string()},
          "verify_age", clock_.now() - run->began, options_.max_verify_age, hint);
}

void Check::look_at_drills() {
  std::vector<repo::DrillReport> reports = repo::read_drill_reports(
      *repository_, options_.cluster, kDrillsLookedAt,
      [&](const std::string& id, const Error& error) {
        add({.name = "drill",
             .outcome = CheckOutcome::kWarning,
             .message = fmt::format("{} is unreadable: {}", id, error.message()),
             .detail = error.detail(),
             .hint = error.hint()});
      });
  std::ranges::reverse(reports);
  const auto passed = std::ranges::find(reports, true, &repo::DrillReport::passed);
  if (passed == reports.end())
    return add(
        failed("last drill",
               {.message = reports.empty()
                               ? std::string("there is no drill yet")
                               : fmt::format("of the newest {} drills none passed", reports.size()),
                .hint = "Run \"holdfast drill\"."}));
  add_age({.name = "last drill",
           .outcome = CheckOutcome::kNote,
           .message = fmt::format("drill {} passed", passed->id)},
          "drill_age", clock_.now() - passed->finished, options_.max_drill_age,
          "Run \"holdfast drill\".");
}

// Archiving that works now is no use behind a hole: from the newest good backup on the server's
// timeline everything must be there.
void Check::look_at_continuity() {
  if (repo::list_backup_ids(*repository_, lineage_->name).empty()) return;  // told already
  std::optional<Time> started;
  if (connection_ && !facts_->in_recovery) started = cluster::start_time(*connection_);
  add(setup::look_at_continuity(*repository_, *lineage_, facts_->timeline, started));
}

// What its owner, as whom everything is archived, cannot use is lost to him, whole as it may be.
void Check::look_at_access() {
  const store::AccessReport access =
      store::look_at_access(repository_->store().url(), kPatienceWithAccess);
  if (access.count == 0) return;
  std::string named = fmt::format("{}.", fmt::join(access.named, "; "));
  if (access.count > access.named.size())
    named += fmt::format(" And {} more.", access.count - access.named.size());
  if (!access.complete) named += fmt::format(" {} were looked at, not all.", access.looked_at);
  add({.name = "access",
       .outcome = CheckOutcome::kWarning,
       .message = fmt::format("{} cannot use {} {} in the repository, which is his", access.owner,
                              access.count, access.count == 1 ? "thing" : "things"),
       .detail = std::move(named),
       .hint = access.others_own_it
                   ? fmt::format("As root give everything in it to him: {}", access.repair)
                   : fmt::format("Give him back what he may do: chmod -R u+rwX {}",
                                 shell_quote(repository_->store().url()))});
}

void Check::look_at_room() {
  if (facts_ && postmaster_) {
    const std::string wal = join_path(facts_->data_directory, "pg_wal");
    uint64_t free = free_bytes(wal);
    uint64_t segments = free / facts_->wal_segment_size.bytes();
    bool is_little = segments < kRoomInSegments;
    add_figure("wal_room", static_cast<double>(free), "B");
    add({.name = "room for pg_wal",
         .outcome = is_little ? CheckOutcome::kWarning : CheckOutcome::kOk,
         .message = fmt::format("{} free, for about {} segments while archiving stands still",
                                to_human_bytes(free), segments),
         .hint = is_little ? "Make room on the file system of pg_wal, with other files than those "
                             "in it: they "
                             "may be the only ones of their WAL."
                           : ""});
  }
  if (!repository_ || !is_directory(repository_->store().url())) return;
  uint64_t free = free_bytes(repository_->store().url());
  bool is_little = free < kRoomInRepository;
  add_figure("repository_room", static_cast<double>(free), "B");
  add({.name = "room in repository",
       .outcome = is_little ? CheckOutcome::kWarning : CheckOutcome::kOk,
       .message = to_human_bytes(free) + " free",
       .hint = is_little ? "Make room on the file system of the repository." : ""});
}

}  // namespace

std::string_view to_string(CheckOutcome outcome) {
  switch (outcome) {
    case CheckOutcome::kOk:
      return "ok";
    case CheckOutcome::kNote:
      return "note";
    case CheckOutcome::kWarning:
      return "warning";
    case CheckOutcome::kFailed:
      return "failed";
    case CheckOutcome::kSkipped:
      return "skipped";
  }
  HF_CHECK(false);
}

const CheckItem* CheckResult::cause() const {
  auto found = std::ranges::find(items, CheckOutcome::kFailed, &CheckItem::outcome);
  return found == items.end() ? nullptr : &*found;
}

bool CheckResult::is_well() const {
  return std::ranges::none_of(items, [](const CheckItem& item) {
    return item.outcome == CheckOutcome::kFailed || item.outcome == CheckOutcome::kWarning;
  });
}

CheckResult check(const CheckOptions& options, const std::function<repo::Repository()>& open,
                  const Clock& clock, Reporter& reporter, std::stop_token stop) {
  return Check(options, open, clock, reporter, std::move(stop)).run();
}

}  // namespace holdfast::setup
