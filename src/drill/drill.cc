#include "drill/drill.h"

#include <algorithm>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.h"
#include "base/file.h"
#include "base/locked_directory.h"
#include "base/log.h"
#include "base/task_group.h"
#include "cluster/connection.h"
#include "cluster/installation.h"
#include "cluster/running_server.h"
#include "cluster/server_process.h"
#include "drill/checks.h"
#include "drill/loss.h"
#include "drill/machine.h"
#include "drill/verdict.h"
#include "pg/timeline_history.h"
#include "restore/hold.h"

namespace holdfast::drill {
namespace {

constexpr std::chrono::minutes kServerPatience{5};
// Beside what is restored: the server's own, new WAL, and what it writes to sort.
constexpr uint64_t kSpareBytes = uint64_t{256} << 20;

// Locked while its drill is at work; the lock file's text names a directory that is to be removed
// too.
constexpr LockedDirectory::Kind kPlaces{.prefix = "holdfast-drill-", .lock = "drill.lock"};

// Stops the server of a place, which has no other, and removes all of it.
void remove_place(const std::string& path, const std::string& beside) {
  cluster::stop_server(join_path(path, "data"), cluster::ShutdownMode::kImmediate, kServerPatience,
                       {});
  cluster::remove_shared_memory(join_path(path, "data"));
  // A child of its restore_command may still be there and write, for a moment.
  for (int attempt = 0; attempt < 100 && lstat_if_exists(path); ++attempt) {
    const std::optional<Error> failure = error_of([&] { remove_locked(path, kPlaces); });
    if (failure && attempt == 99) throw Error(*failure);
    if (failure) wait_for({}, std::chrono::milliseconds(100));
  }
  if (!beside.empty()) remove_tree(beside);
}

// What drills that were killed have left below `root`.
void remove_abandoned_places(const std::string& root, Reporter& reporter) {
  remove_abandoned(root, kPlaces, [&](const std::string& path) {
    remove_place(path, read_text_file(join_path(path, kPlaces.lock)));
    reporter.note(fmt::format("removed \"{}\", which a drill that was killed had left", path));
  });
}

// The sandbox's directory. The destructor stops the server in it and removes it; if it is not
// reached, the next drill does.
class Place {
 public:
  Place(const std::string& below, Reporter& reporter) {
    const std::string root = absolute_path(below.empty() ? temporary_root() : below);
    remove_abandoned_places(root, reporter);
    directory_.emplace(root, kPlaces);
    // Another user's server has to come through; what is in it has owners and modes of its own.
    if (geteuid() == 0 && chmod(path().c_str(), 0711) != 0) throw_errno("change mode of", path());
  }
  ~Place() {
    if (kept_) return;
    const std::optional<Error> failure =
        error_of(even_interrupted, [&] { remove_place(path(), beside_); });
    if (failure) log_warning("could not remove \"{}\": {}", path(), failure->message());
  }
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;

  const std::string& path() const { return directory_->path(); }
  std::string data() const { return join_path(path(), "data"); }
  void also_remove(const std::string& directory) {
    beside_ = directory;
    const std::string& lock = directory_->lock_path();
    write_all(open_file(lock, O_WRONLY), as_bytes(directory), lock);
  }
  bool is_kept() const { return kept_; }
  void keep() {
    remove_file(directory_->lock_path());
    kept_ = true;
  }

 private:
  std::optional<LockedDirectory> directory_;
  std::string beside_;
  bool kept_ = false;
};

std::vector<std::string> without_repetition(const std::vector<std::string>& names) {
  std::vector<std::string> distinct;
  for (const std::string& name : names)
    if (!name.empty() && std::ranges::find(distinct, name) == distinct.end())
      distinct.push_back(name);
  return distinct;
}

class Drill {
 public:
  Drill(const DrillOptions& options, const repo::Repository& repository, const Clock& clock,
        Reporter& reporter, std::stop_token stop)
      : options_(options),
        repository_(repository),
        clock_(clock),
        reporter_(reporter),
        stop_(std::move(stop)) {}
  // A recovery that was interrupted goes with its directory, and what it claimed with it.
  ~Drill() {
    if (!place_ || place_->is_kept()) return;
    error_of(even_interrupted, [&] {
      restore::end_recovery_hold(restore::claim_of_recovery_in(place_->data()), repository_,
                                 lineage_->name);
    });
  }
  Drill(const Drill&) = delete;
  Drill& operator=(const Drill&) = delete;

  DrillResult run();

 private:
  void prepare();
  void strike();
  void require_space(const recovery::Plan& plan);
  void restore();
  std::vector<std::string> roles_to_try() const;
  std::vector<std::string> databases_to_try() const;
  void write_first();
  void note_first_write();
  void compare();
  void check();
  void check_at_rest();
  void start_again();
  [[noreturn]] void throw_with_place(const Error& error);
  // Of production's; empty where none is configured, or it does not say.
  std::string conninfo_value(std::string_view keyword) const {
    return options_.conninfo.empty() ? std::string()
                                     : cluster::conninfo_value(options_.conninfo, keyword);
  }
  Microseconds since(std::chrono::steady_clock::time_point begun) const {
    return std::chrono::duration_cast<Microseconds>(clock_.steady() - begun);
  }

  const DrillOptions& options_;
  const repo::Repository& repository_;
  const Clock& clock_;
  Reporter& reporter_;
  const std::stop_token stop_;

  std::optional<repo::Lineage> lineage_;
  std::optional<Place> place_;
  std::optional<cluster::Connection> production_;
  ProductionAnswer answer_;
  std::chrono::steady_clock::time_point struck_;  // T0
  restore::RestoreResult restored_;
  CheckedServer server_;
  DrillResult result_;
  repo::DrillReport& report_ = result_.report;
};

void Drill::prepare() {
  const std::string& cluster = options_.restore.cluster;
  repo::LineageChoice choice = options_.restore.lineage;
  choice.backup = options_.restore.target.backup;
  lineage_ = repo::choose_lineage(repository_, cluster, choice);
  if (options_.allowed_loss_time && options_.restore.target.kind != recovery::TargetKind::kLatest)
    throw Error({.code = ErrorCode::kUsage,
                 .message = "--rpo goes with a drill to the end of the archived WAL",
                 .detail = "Another target leaves later commits out on purpose.",
                 .hint = "Leave out --rpo or the target."});
  cluster::require_libpq();  // before anything is laid
  place_.emplace(options_.directory, reporter_);
  write_file_durably(join_path(place_->path(), "hba.conf"),
                     as_bytes("# Only who may enter the socket's directory comes this far.\n"
                              "local all all trust\n"),
                     0644);
  report_.cluster = cluster;
  report_.lineage = lineage_->name;
  report_.tool = options_.tool_version;
  report_.allowed_recovery_time = options_.allowed_recovery_time;
  report_.allowed_loss_time = options_.allowed_loss_time;
  describe_machine(report_, place_->path());
  if (options_.conninfo.empty()) {
    answer_.why_not = "No server is configured (conninfo).";
    return;
  }
  const std::optional<Error> failure = error_of([&] {
    production_.emplace(cluster::Connection::connect(
        {.conninfo = options_.conninfo, .application_name = "holdfast drill"}, stop_));
  });
  if (failure)
    answer_.why_not = fmt::format("The server could not be asked: {}.", failure->message());
}

// T0. Of production nothing but a position is wanted.
void Drill::strike() {
  if (production_) {
    const std::optional<Error> failure = error_of([&] {
      answer_ = ask_archived_production(*production_, repo::WalArchive(repository_, *lineage_));
    });
    if (failure)
      answer_.why_not = fmt::format("The server could not be asked: {}.", words_of(*failure));
  }
  report_.started = clock_.now();
  struck_ = clock_.steady();
  report_.id = repo::make_backup_id(report_.started, repository_.random());
  report_.finished = report_.started;
  if (answer_.production) report_.flushed = answer_.production->flushed;
}

void Drill::require_space(const recovery::Plan& plan) {
  describe_plan(report_, plan);
  const uint64_t needed =
      plan.backup.bytes + plan.segments * plan.backup.wal_segment_bytes + kSpareBytes;
  const uint64_t free = free_bytes(place_->path());
  if (free >= needed) return;
  throw Error({.code = ErrorCode::kNoSpace,
               .message = fmt::format("\"{}\" has too little space for the drill",
                                      parent_path(place_->path())),
               .detail = fmt::format("The cluster and its WAL take up to {}, and {} are free.",
                                     to_human_bytes(needed), to_human_bytes(free)),
               .hint = "Name a directory with more space: --drill-directory DIR."});
}

void Drill::restore() {
  restore::RestoreOptions options = options_.restore;
  options.lineage = {.lineage = repo::to_string(lineage_->name)};
  options.where = restore::Where::kInto;
  options.directory = place_->data();
  options.action = recovery::TargetAction::kPromote;
  options.archive = false;
  options.resume_command = "holdfast drill";  // nothing is left to go on with
  options.start = true;
  options.on_plan = [this](const recovery::Plan& plan) { require_space(plan); };
  options.server_settings = {{"hba_file", join_path(place_->path(), "hba.conf")},
                             {"default_transaction_read_only", "off"},
                             {"autovacuum", "off"}};
  restored_ = restore::restore(options, repository_, clock_, reporter_, stop_);
  if (!restored_.socket_directory.starts_with(place_->path() + "/"))
    place_->also_remove(restored_.socket_directory);
  describe_restore(report_, restored_);
}

// As whom and where a session of the copy may begin: conninfo's own role and database first. Each
// of them may be absent, or closed.
std::vector<std::string> Drill::roles_to_try() const {
  return without_repetition({conninfo_value("user"), "postgres", restored_.plan.backup.data_user});
}
std::vector<std::string> Drill::databases_to_try() const {
  return without_repetition(
      {conninfo_value("dbname"), "postgres", "template1", conninfo_value("user")});
}

// The server works for somebody from here on.
void Drill::write_first() {
  server_ = {.installation = restored_.server_start->installation,
             .data_directory = place_->data(),
             .base_conninfo = {},
             .database = {},
             .scratch = place_->path()};
  const std::string address = fmt::format(
      "{} port={}", cluster::conninfo_pair("host", restored_.socket_directory), restored_.port);
  std::vector<std::string> problems;
  for (const std::string& role : roles_to_try()) {
    server_.base_conninfo = address + " " + cluster::conninfo_pair("user", role);
    for (const std::string& database : databases_to_try()) {
      bool is_superuser = true;
      const std::optional<Error> failure = error_of([&] {
        cluster::Connection connection = server_.connect(database, stop_);
        is_superuser = connection.is_superuser();
        if (!is_superuser)
          throw Error({.code = ErrorCode::kPermission,
                       .message = fmt::format("role \"{}\" is no superuser", role)});
        connection.query(
            "SELECT pg_catalog.pg_logical_emit_message(true, 'holdfast', 'the drill writes')");
      });
      if (!failure) {
        server_.database = database;
        note_first_write();
        return;
      }
      problems.push_back(
          fmt::format("As \"{}\" in database \"{}\": {}.", role, database, words_of(*failure)));
      if (!is_superuser) break;
    }
  }
  throw Error({.code = ErrorCode::kServer,
               .message = "the recovered server does not take a write",
               .detail = fmt::format("{}", fmt::join(problems, " ")),
               .hint = "The drill connects as the user and to the database of conninfo, else as "
                       "postgres, to postgres or template1: let conninfo name a superuser, and a "
                       "database that lets him in (user=..., dbname=...)."});
}

void Drill::note_first_write() {
  report_.recovered = true;
  report_.recovery_time = since(struck_);
  report_.write_time =
      std::max(Microseconds{}, report_.recovery_time - report_.plan_time - report_.lay_time -
                                   report_.replay_time - report_.promote_time);
  reporter_.note(fmt::format("the recovered server took its first write {} after the disaster",
                             to_human(report_.recovery_time)));
}

void Drill::compare() {
  const std::optional<pg::Lsn> end = recovered_end(place_->data(), restored_.new_timeline);
  report_.recovered_end = end;
  const bool to_the_end = restored_.plan.target.kind == recovery::TargetKind::kLatest;
  if (!to_the_end) {
    report_.loss_note = "The target leaves what came later out on purpose.";
  } else if (!answer_.production || !end) {
    report_.loss_note = answer_.production
                            ? std::string("Where the recovery ended could not be read.")
                            : answer_.why_not;
  } else {
    const auto find = [&](const ReadWalFile& read) {
      const pg::Lsn common =
          common_end(*answer_.production, place_->data(), restored_.new_timeline, read);
      take_loss(report_, find_loss(*answer_.production, common,
                                   pg::WalSegmentSize(lineage_->wal_segment_bytes), read, stop_));
    };
    const std::optional<Error> failure =
        error_of([&] { find(cluster::wal_files_of_server(*production_)); });
    if (failure)
      report_.loss_note =
          fmt::format("The server's WAL could not be read: {}.", words_of(*failure));
  }
  report_.checks.push_back(check_recovered(report_, restored_, answer_.why_not));
}

void Drill::check() {
  Checks checks(server_, clock_, reporter_, stop_);
  report_.checks.push_back(checks.databases());
  report_.checks.push_back(checks.indexes());
  report_.checks.push_back(checks.tables());
  report_.checks.push_back(checks.dump());
  if (options_.with_statements) {
    const std::string database = conninfo_value("dbname");
    report_.checks.push_back(
        checks.sql(options_.statements, database.empty() ? server_.database : database));
  }
}

void Drill::check_at_rest() {
  reporter_.phase("shutting the sandbox's server down", 0);
  cluster::stop_server(place_->data(), cluster::ShutdownMode::kFast, kServerPatience, stop_);
  report_.checks.push_back(
      check_pages(PagesOf::kStopped, place_->data(), clock_, reporter_, stop_));
}

// Now without recovery.
void Drill::start_again() {
  cluster::ServerProcess server(*restored_.server_start);
  server.wait_until_accepting(cluster::ServerProcess::Until::kReady, kServerPatience, stop_);
  server.leave_running();
  place_->keep();
  result_.kept_directory = place_->data();
  result_.connect = cluster::conninfo_with(server_.base_conninfo, "dbname", server_.database);
}

// The words of a failed start name the server's log.
void Drill::throw_with_place(const Error& error) {
  if (options_.keep) place_->keep();
  if (options_.keep || error.detail().find(place_->path()) == std::string::npos) throw Error(error);
  throw Error({.code = error.code(),
               .message = error.message(),
               .detail = error.detail() +
                         " It is removed with the drill's directory; --keep leaves "
                         "that.",
               .hint = error.hint()});
}

DrillResult Drill::run() {
  prepare();
  strike();
  const std::optional<Error> failure = error_of([&] {
    restore();
    write_first();
  });
  if (failure) {
    // The directory goes, and with it the recovery.
    restore::end_recovery_hold(restore::claim_of_recovery_in(place_->data()), repository_,
                               lineage_->name);
    // That it could not be carried out is evidence too.
    report_.error = words_of(*failure);
    report_.missed.push_back(fmt::format("It could not be carried out: {}.", failure->message()));
    report_.finished = clock_.now();
    repo::put_drill_report(repository_, report_);
    throw_with_place(*failure);
  }
  const auto checks_begun = clock_.steady();
  compare();
  check();
  check_at_rest();
  report_.check_time = since(checks_begun);
  report_.finished = clock_.now();
  judge(report_);
  repo::put_drill_report(repository_, report_);
  if (options_.keep) start_again();
  return std::move(result_);
}

}  // namespace

DrillResult drill(const DrillOptions& options, const repo::Repository& repository,
                  const Clock& clock, Reporter& reporter, std::stop_token stop) {
  return Drill(options, repository, clock, reporter, std::move(stop)).run();
}

}  // namespace holdfast::drill
