#include "drill/destroy.h"

#include <algorithm>
#include <span>
#include <unistd.h>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.h"
#include "base/file.h"
#include "base/process.h"
#include "base/task_group.h"
#include "cluster/connection.h"
#include "cluster/data_directory.h"
#include "cluster/own_server.h"
#include "cluster/running_server.h"
#include "cluster/server_end.h"
#include "cluster/server_process.h"
#include "cluster/start_barrier.h"
#include "drill/checks.h"
#include "drill/left_aside.h"
#include "drill/loss.h"
#include "drill/machine.h"
#include "drill/verdict.h"
#include "pg/version.h"
#include "restore/target_lock.h"

namespace holdfast::drill {
namespace {

constexpr std::chrono::hours kProofLasts{24};
constexpr size_t kReportsLookedAt = 100;
constexpr std::chrono::minutes kStopPatience{5};
constexpr uint64_t kSpareDiskBytes = uint64_t{256} << 20;

constexpr struct stat kNothing{};  // no directory, no link

using Moves = std::vector<std::pair<std::string, std::string>>;

class Destruction {
 public:
  Destruction(const DestroyOptions& options, const repo::Repository& repository, const Clock& clock,
              Reporter& reporter, std::stop_token stop)
      : options_(options),
        repository_(repository),
        clock_(clock),
        reporter_(reporter),
        stop_(std::move(stop)) {}

  DestroyResult run();

 private:
  void find_lineage();
  void require_proof();
  void find_server();
  void plan_moves();
  void require_plan();
  void strike();
  void bring_back();
  void write_first();
  void tell_of_slots();
  void compare_and_check();
  std::string only_aside() const;
  void clear_away();
  pg::WalSegmentSize segment_size() const {
    return pg::WalSegmentSize(lineage_->wal_segment_bytes);
  }
  cluster::ReadWalFile old_wal() const;
  [[noreturn]] void throw_with_way_back(const Error& error);

  const DestroyOptions& options_;
  const repo::Repository& repository_;
  const Clock& clock_;
  Reporter& reporter_;
  const std::stop_token stop_;

  std::optional<repo::Lineage> lineage_;
  std::optional<cluster::Connection> connection_;
  // How it is reached, fixed while it is certain that this is the way to it: what comes back is
  // asked for there, whatever the environment or a service file say then.
  std::string way_;
  Production production_;
  std::vector<cluster::ReplicationSlot> slots_;  // that it had
  std::string data_;
  bool had_prepared_ = false;  // transactions, which are neither committed nor gone
  restore::TargetLock lock_;   // of what is moved aside
  Moves moves_;                // planned; in the order in which they are made
  std::chrono::steady_clock::time_point struck_;
  std::optional<TemporaryDirectory> scratch_;
  restore::RestoreResult restored_;
  DestroyResult result_;
  repo::DrillReport& report_ = result_.report;
};

void Destruction::find_lineage() {
  lineage_ = repo::choose_lineage(repository_, options_.restore.cluster, options_.restore.lineage);
}

void Destruction::require_proof() {
  const std::vector<repo::DrillReport> reports =
      repo::read_drill_reports(repository_, options_.restore.cluster, kReportsLookedAt,
                               [](const std::string&, const Error&) {});  // proves nothing
  const Time oldest = clock_.now() - kProofLasts;
  const auto proves = [&](const repo::DrillReport& report) {
    return report.passed && report.kind == "sandbox" && report.lineage == lineage_->name &&
           report.started >= oldest;
  };
  if (std::ranges::any_of(reports, proves)) return;
  throw Error({.code = ErrorCode::kUsage,
               .message = fmt::format("no drill of cluster \"{}\" has passed within the last day",
                                      options_.restore.cluster),
               .detail = "The cluster is destroyed only when it was shown to come back.",
               .hint = "Run \"holdfast drill\" first."});
}

void Destruction::find_server() {
  connection_.emplace(cluster::Connection::connect(
      {.conninfo = options_.conninfo, .application_name = "holdfast drill"}, stop_));
  ProductionAnswer answer =
      ask_archived_production(*connection_, repo::WalArchive(repository_, *lineage_));
  if (!answer.production)
    throw Error({.code = ErrorCode::kWrongCluster,
                 .message = "the server is not the one to destroy",
                 .detail = answer.why_not,
                 .hint = "Check --cluster and cluster.conninfo."});
  data_ =
      absolute_path(options_.pgdata.empty() ? answer.production->data_directory : options_.pgdata);
  const std::optional<cluster::RunningServer> server = cluster::find_running_server(data_);
  if (!server || !server->is_postmaster ||
      absolute_path(answer.production->data_directory) != data_)
    throw Error({.code = ErrorCode::kServerUnavailable,
                 .message = fmt::format("the server does not run on \"{}\" of this host", data_),
                 .detail = fmt::format("It says that its data directory is \"{}\".",
                                       answer.production->data_directory),
                 .hint = "Run the drill on the server's own host, and check cluster.pgdata."});
  cluster::require_server_of(data_, *connection_);
  lock_ = restore::TargetLock::take(data_);
  way_ = connection_->parameters();
}

// Within the same directory, so that it is a rename: at once, and without copying.
void Destruction::plan_moves() {
  const auto refuse = [&](const std::string& path, const std::string& why) {
    throw Error({.code = ErrorCode::kUnsupported,
                 .message = fmt::format("\"{}\" cannot be moved aside", path),
                 .detail = why,
                 .hint = "Rehearse in the sandbox alone: holdfast drill."});
  };
  const std::string suffix =
      fmt::format("{}{}", restore::kAsideSuffix, to_compact_utc(clock_.now()));
  const auto add = [&](const std::string& path) {
    const struct stat here = lstat_if_exists(path).value_or(kNothing);
    const struct stat above = stat_if_exists(parent_path(path)).value_or(kNothing);
    if (!S_ISDIR(here.st_mode)) refuse(path, "It is no directory.");
    if (here.st_dev != above.st_dev) refuse(path, "A file system is mounted there.");
    if (const auto error = error_of([&] { prove_writable(parent_path(path)); }))
      refuse(path, fmt::format("This user {}.", error->message()));
    moves_.emplace_back(path, path + suffix);
  };
  for (const DirectoryEntry& entry : list_directory(data_))
    if (S_ISLNK(lstat_if_exists(join_path(data_, entry.name)).value_or(kNothing).st_mode))
      refuse(join_path(data_, entry.name), "It is a link to another place.");
  const int major = cluster::read_major(data_);
  add(data_);
  for (const cluster::TablespaceLink& link : cluster::read_tablespace_links(data_))
    if (!link.target.empty()) add(join_path(link.target, pg::tablespace_version_directory(major)));
}

// By a plan of its own: what cannot be carried out is refused while the cluster is still there.
void Destruction::require_plan() {
  const ProductionAnswer answer =
      cluster::ask_production(*connection_, lineage_->system_identifier);
  recovery::Target target;
  if (answer.production)
    target.cluster = {.timeline = answer.production->timeline,
                      .end = answer.production->flushed,
                      .whose = "the server that would be destroyed",
                      .goes_on = true};
  const recovery::Plan plan = recovery::make_plan(repository_, *lineage_, target);
  const uint64_t needed =
      plan.backup.bytes + plan.segments * plan.backup.wal_segment_bytes + kSpareDiskBytes;
  const uint64_t free = free_bytes(parent_path(data_));
  if (free < needed)
    throw Error({.code = ErrorCode::kNoSpace,
                 .message = fmt::format("\"{}\" has too little space for the cluster once more",
                                        parent_path(data_)),
                 .detail = fmt::format("It takes up to {} beside what is moved aside, and {} are "
                                       "free.",
                                       to_human_bytes(needed), to_human_bytes(free)),
                 .hint = "Make space, or rehearse in the sandbox alone: holdfast drill."});
}

// T0. Whatever is committed from here on is behind the disaster.
void Destruction::strike() {
  reporter_.phase("destroying the cluster", 0);
  const ProductionAnswer answer =
      cluster::ask_production(*connection_, lineage_->system_identifier);
  if (!answer.production)
    throw Error({.code = ErrorCode::kWrongCluster,
                 .message = "the server is not the one to destroy any more",
                 .detail = answer.why_not});
  production_ = *answer.production;
  had_prepared_ =
      connection_->query_value("SELECT count(*) > 0 FROM pg_catalog.pg_prepared_xacts") == "t";
  report_.started = clock_.now();
  struck_ = clock_.steady();
  report_.id = repo::make_backup_id(report_.started, repository_.random());
  report_.finished = report_.started;
  connection_.reset();
  // From here on whoever comes after a crash of this program finds out where the cluster lies.
  restore::write_aside_note(data_, moves_);
  cluster::stop_server(data_, cluster::ShutdownMode::kImmediate, kStopPatience, {});
  // Whoever starts servers that have ended would start this one again, and write where it is moved.
  cluster::StartBarrier barrier(data_);
  cluster::require_no_running_server(data_, "moving its data directory aside");
  const std::optional<Error> error = error_of(even_interrupted, [&] {
    for (const auto& [from, to] : moves_) {
      rename_path(from, to);
      result_.aside.emplace_back(from, to);
      if (from == data_) barrier.follow(to);
      fsync_parent(to);
    }
  });
  if (error) {
    for (; !result_.aside.empty(); result_.aside.pop_back()) {
      const auto& [from, to] = result_.aside.back();
      rename_path(to, from);
      if (from == data_) barrier.follow(from);
    }
    restore::remove_aside_note(data_);
    throw Error(*error);
  }
  for (const auto& [from, to] : result_.aside)
    reporter_.note(fmt::format("\"{}\" was moved to \"{}\"", from, to));
  slots_ = cluster::read_replication_slots(moves_.front().second);
  // What it acknowledged after it was asked, up to its end, must not go with what is moved aside.
  production_.flushed = cluster::written_end(production_, segment_size(), old_wal(), stop_);
  report_.flushed = production_.flushed;
}

cluster::ReadWalFile Destruction::old_wal() const {
  return cluster::wal_files_of(join_path(moves_.front().second, "pg_wal"));
}

void Destruction::bring_back() {
  restore::RestoreOptions options = options_.restore;
  options.lineage = {.lineage = repo::to_string(lineage_->name)};  // nobody can be asked any more
  options.where = restore::Where::kInPlace;
  options.directory = data_;
  options.target = {};
  options.action = recovery::TargetAction::kPromote;
  options.yes = true;
  options.start = true;
  options.salvage = {};
  options.without_own_wal = true;  // what lies aside is counted as lost
  options.on_plan = [this](const recovery::Plan& plan) { describe_plan(report_, plan); };
  restored_ = restore::restore(options, repository_, clock_, reporter_, stop_);
  describe_restore(report_, restored_);
}

void Destruction::write_first() {
  cluster::Connection connection = cluster::connect_to_server_of(
      data_, {.conninfo = way_, .application_name = "holdfast drill"}, stop_);
  connection.query("SET default_transaction_read_only = off");
  connection.query("SET synchronous_commit = local");  // no standby is waited for
  connection.query(
      "SELECT pg_catalog.pg_logical_emit_message(true, 'holdfast', 'the drill writes')");
  report_.recovered = true;
  report_.recovery_time = std::chrono::duration_cast<Microseconds>(clock_.steady() - struck_);
  report_.write_time =
      std::max(Microseconds{}, report_.recovery_time - report_.plan_time - report_.lay_time -
                                   report_.replay_time - report_.promote_time);
  reporter_.note(fmt::format("the cluster took its first write {} after the disaster",
                             to_human(report_.recovery_time)));
  const cluster::Row row = connection.query_row(
      "SELECT current_setting('synchronous_standby_names'), (SELECT count(*) FROM "
      "pg_stat_replication WHERE sync_state IN ('sync', 'quorum'))");
  if (const std::string names = row[0].value_or(""); !names.empty() && row[1] == "0")
    reporter_.warning(
        fmt::format("synchronous_standby_names is \"{}\", and no such standby is connected: the "
                    "applications' commits wait until one is",
                    names));
}

// They are no part of a backup, and a standby that uses one stands still without it.
void Destruction::tell_of_slots() {
  for (const cluster::ReplicationSlot& slot : slots_)
    reporter_.warning(
        !slot.is_logical
            ? fmt::format("replication slot \"{0}\" is gone, and who streams by it stands still; "
                          "make it again: SELECT pg_create_physical_replication_slot({1})",
                          slot.name, cluster::quote_literal(slot.name))
            : fmt::format("logical replication slot \"{}\" is gone, and with it the place of who "
                          "reads by it: set that up anew",
                          slot.name));
}

void Destruction::compare_and_check() {
  const auto begun = clock_.steady();
  report_.recovered_end = recovered_end(data_, restored_.new_timeline);
  report_.loss_note = "Where the recovery ended could not be read.";
  if (report_.recovered_end) {
    const std::optional<Error> failure = error_of([&] {
      const pg::Lsn common = common_end(production_, data_, restored_.new_timeline, old_wal());
      take_loss(report_, find_loss(production_, common, segment_size(), old_wal(), stop_));
    });
    if (failure)
      report_.loss_note =
          fmt::format("The WAL that was moved aside could not be read: {}.", words_of(*failure));
  }
  report_.checks.push_back(check_recovered(report_, restored_, {}));
  Checks checks({.installation = restored_.server_start->installation,
                 .data_directory = data_,
                 .base_conninfo = way_,
                 .database = cluster::conninfo_value(way_, "dbname"),
                 .scratch = scratch_->path(),
                 .is_throwaway = false},
                clock_, reporter_, stop_);
  report_.checks.push_back(checks.databases());
  report_.checks.push_back(checks.indexes());
  report_.checks.push_back(checks.tables());
  report_.checks.push_back(checks.dump());
  if (options_.with_statements) {
    report_.checks.push_back(
        checks.sql(options_.statements, cluster::conninfo_value(way_, "dbname")));
  }
  report_.checks.push_back(check_pages(PagesOf::kRunning, data_, clock_, reporter_, stop_));
  report_.check_time = std::chrono::duration_cast<Microseconds>(clock_.steady() - begun);
  report_.finished = clock_.now();
  judge(report_);
}

// What no recovery brings back, and what is no data.
std::string Destruction::only_aside() const {
  std::vector<std::string> names;
  if (!slots_.empty()) names.emplace_back("its replication slots");
  if (had_prepared_) names.emplace_back("its prepared transactions");
  std::vector<std::string> tablespaces;
  for (const auto& [from, to] : std::span(moves_).subspan(1)) tablespaces.push_back(to);
  for (std::string& name : left_aside(moves_.front().second, tablespaces, data_))
    names.push_back(std::move(name));
  return fmt::format("{}", fmt::join(names, ", "));
}

void Destruction::clear_away() {
  if (!report_.passed || report_.lost_transactions != 0) return;
  if (const std::string names = only_aside(); !names.empty()) {
    reporter_.warning(
        fmt::format("what was moved aside stays: what came back does not have {}", names));
    return;
  }
  reporter_.phase("removing what was moved aside", 0);
  for (const auto& [from, to] : result_.aside) remove_tree(to);
  result_.aside.clear();
}

void Destruction::throw_with_way_back(const Error& error) {
  throw Error({.code = error.code(),
               .message = error.message(),
               .detail = error.detail(),
               .hint = fmt::format("Nothing of the cluster is gone. {}",
                                   restore::how_to_put_back(data_, result_.aside))});
}

DestroyResult Destruction::run() {
  // What can be refused is refused while nothing was touched.
  if (options_.conninfo.empty())
    throw Error({.code = ErrorCode::kConfiguration,
                 .message = "the cluster's server is not configured",
                 .hint = "Name it with cluster.conninfo in the configuration."});
  find_lineage();
  require_proof();
  find_server();
  plan_moves();
  for (const auto& [from, to] : moves_)
    require_apart(options_.restore.own_files, {from}, "moved aside");
  require_plan();
  report_.cluster = options_.restore.cluster;
  report_.lineage = lineage_->name;
  report_.kind = "destroy";
  report_.tool = options_.tool_version;
  report_.allowed_recovery_time = options_.allowed_recovery_time;
  report_.allowed_loss_time = options_.allowed_loss_time;
  describe_machine(report_, parent_path(data_));
  result_.data_directory = data_;
  scratch_.emplace("holdfast-drill");
  options_.confirm(data_);
  throw_if_stopped(stop_);

  // From here on the way back is told with every error, that of an interruption too.
  const std::optional<Error> error = error_of(even_interrupted, [&] {
    strike();
    bring_back();
    write_first();
    restore::remove_aside_note(data_);
    tell_of_slots();
    compare_and_check();
  });
  if (error) {
    report_.error = words_of(*error);
    report_.passed = false;
    report_.missed.push_back(fmt::format("It could not be carried out: {}.", error->message()));
    report_.finished = clock_.now();
    error_of(even_interrupted, [&] {
      if (!report_.id.empty()) repo::put_drill_report(repository_, report_);
    });
    throw_with_way_back(*error);
  }
  repo::put_drill_report(repository_, report_);
  clear_away();
  return std::move(result_);
}

}  // namespace

DestroyResult destroy(const DestroyOptions& options, const repo::Repository& repository,
                      const Clock& clock, Reporter& reporter, std::stop_token stop) {
  return Destruction(options, repository, clock, reporter, std::move(stop)).run();
}

}  // namespace holdfast::drill
