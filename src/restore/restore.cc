// The steps of a restore, in order; what each leaves behind is said there. Until pg_control is
// laid, no server starts on the directory.
#include "restore/restore.h"

#include <algorithm>
#include <fcntl.h>
#include <functional>
#include <map>
#include <memory>
#include <signal.h>
#include <unistd.h>

#include <fmt/core.h>

#include "base/error.h"
#include "base/process.h"
#include "base/task_group.h"
#include "base/users.h"
#include "cluster/data_directory.h"
#include "cluster/running_server.h"
#include "cluster/server_facts.h"
#include "pg/control_file.h"
#include "pg/tablespace_map.h"
#include "pg/version.h"
#include "repo/backup_order.h"
#include "repo/intent.h"
#include "repo/wal_archive.h"
#include "restore/aside.h"
#include "restore/begin.h"
#include "restore/configuration.h"
#include "restore/configuration_choice.h"
#include "restore/configuration_places.h"
#include "restore/hold.h"
#include "restore/lay.h"
#include "restore/outside.h"
#include "restore/own_directory.h"
#include "restore/own_disks.h"
#include "restore/owners.h"
#include "restore/prepare.h"
#include "restore/seclusion.h"
#include "restore/server_answer.h"
#include "restore/stand_ins.h"
#include "restore/state.h"
#include "restore/tablespaces.h"
#include "restore/target_lock.h"

namespace holdfast::restore {
namespace {

constexpr const char* kBackupLabel = "backup_label";
constexpr const char* kTablespaceMap = "tablespace_map";
constexpr int kCopyPort = 5432;
// A socket's path has at most 107 bytes (sockaddr_un), and "/.s.PGSQL.65535" comes behind the
// directory.
constexpr size_t kMaxSocketDirectoryBytes = 90;

// The server asks for WAL as its own user, and root can read what that user cannot: the recovery
// would end when everything is laid.
void require_wal_for(const std::string& user, const RestoreOptions& options,
                     const repo::Repository& repository) {
  const size_t get = options.restore_command.find(" wal get ");
  if (get == std::string::npos) return;
  std::string command = "exec " + options.restore_command.substr(0, get) + " info";
  for (size_t at = command.find("%%"); at != std::string::npos; at = command.find("%%", at + 1))
    command.erase(at, 1);
  SpawnOptions spawn{.arguments = {"env"}, .directory = "/"};
  for (const auto& [name, value] : options.server_environment)
    spawn.arguments.push_back(fmt::format("{}={}", name, value));
  spawn.arguments.insert(spawn.arguments.end(), {"/bin/sh", "-c", command});
  const Captured tried = ::holdfast::run(cluster::as_user(std::move(spawn), user));
  // What is damaged was read by us, too.
  if (tried.status.ok() || tried.status.code == exit_status(ErrorCode::kCorrupt)) return;
  const std::string& url = repository.store().url();
  const std::optional<struct stat> there = stat_if_exists(url);
  const bool is_his = !there || user_name(there->st_uid) == user;
  throw Error(
      {.code = ErrorCode::kPermission,
       .message = fmt::format("\"{}\", as whom the server runs, cannot open the repository", user),
       .detail = fmt::format("Its restore_command would fail. Tried by hand as that user:\n{}",
                             tried.err),
       .hint = is_his ? fmt::format("Let that user open it, and run the command again; what was "
                                    "tried: {}",
                                    command)
                      : fmt::format("As root give that user the repository, and run the command "
                                    "again: chown -R {}: {}",
                                    user, shell_quote(url))});
}

class Restore {
 public:
  Restore(const RestoreOptions& options, const repo::Repository& repository, const Clock& clock,
          Reporter& reporter, std::stop_token stop, bool on_paper = false)
      : options_(options),
        repository_(repository),
        clock_(clock),
        reporter_(reporter),
        stop_(std::move(stop)),
        is_copy_(options.where == Where::kInto),
        on_paper_(on_paper) {}

  RestoreResult run();
  Preview preview();

 private:
  // --- steps
  void check();
  void find_lineage();
  void check_place();
  void lock_place();
  void keep_servers_out();
  void take_new_directory();
  void plan();
  void require_own_history() const;
  std::optional<recovery::ClusterEnd> find_cluster_end() const;
  void check_old_copy();
  void require_no_strangers() const;
  void find_own_backup();
  void require_own_disks() const;
  void choose_configuration();
  void require_word_for_standby(const std::string& why) const;
  void require_word_where_a_standby_was() const;
  void place_tablespaces();
  void hold_off_deletion();
  void hold_recovery(const std::string& old);
  void let_go();
  void open_manifest();
  void require_what_a_start_needs();
  void seclude();
  void check_new_tablespaces();
  void require_place_to_wait() const;
  void check_promotion();
  std::vector<DiskNeed> measure_disk() const;
  void read_first();
  void prepare();
  void lay();
  void configure();
  void lay_tail();
  void lay_last();
  bool lies_there_already();
  void start();

  // --- parts
  void require_confirmed() const;
  void save_own_wal();
  void keeping_wal(const std::function<void()>& step) const;
  void require_no_server() const;
  void require_no_production() const;
  std::string recorded_directory() const;
  std::set<std::string> kept_paths() const;
  std::vector<TablespaceMove> tablespace_moves() const;
  ConfigurationPlaces make_places(MadeUpFiles made_up = {}) const;
  bool keeps_configuration() const { return choice_->from == ConfigurationChoice::From::kThere; }
  cluster::Settings servers_own() const;
  bool archives(const std::map<std::string, std::string>& in_force) const;
  void warn_of_archiving() const;
  std::vector<std::string> words_of_slots() const;
  Hold hold() const;
  const HeldFile* held(std::string_view path) const;
  void write_held(const HeldFile& file, ByteView content);
  std::string tablespace_target(const std::string& oid, const std::string& recorded) const;
  std::string make_socket_directory();
  void make_new_tablespace_directories(bool is_cleared);
  void take_cautions(const std::map<std::string, std::string>& in_force);
  void leave_production_out();
  bool is_secluded() const { return seclusion_.sandbox.has_value(); }
  // Nobody may start it by hand before its recovery has ended.
  bool only_in_sandbox() const { return is_secluded() && !created_.empty(); }
  RestoredState state() const;
  cluster::Settings command_line() const;
  Microseconds lap();

  const RestoreOptions& options_;
  const repo::Repository& repository_;
  const Clock& clock_;
  Reporter& reporter_;
  const std::stop_token stop_;
  const bool is_copy_;
  const bool on_paper_;                    // nothing is written
  std::optional<Error> server_runs_ = {};  // on paper: why the run would be refused as things are

  RestoreResult result_;
  std::optional<repo::Lineage> lineage_;
  std::string directory_;
  bool must_clear_ = false;
  bool was_a_primarys_ = false;  // the directory, as its pg_control says
  SalvagedWal salvaged_;
  std::vector<cluster::ReplicationSlot> slots_;  // that are cleared
  TargetLock lock_;
  Marker marker_;
  std::optional<KeepOut> keep_out_;           // behind the lock: it ends first
  std::unique_ptr<repo::HeldIntent> intent_;  // unset where the repository cannot be written to
  std::optional<RecoveryHold> recovery_;      // from when a server may be started on
  std::unique_ptr<repo::ManifestReader> manifest_;
  std::optional<Owners> owners_;
  Laid laid_;
  ChoiceOptions choice_options_;
  std::optional<repo::Backup> own_backup_;  // whose configuration is the cluster's own
  std::optional<ConfigurationChoice> choice_;
  ConfigurationFiles files_;       // the server's three, where they lie now
  bool archives_ = true;           // as it is configured now
  std::set<std::string> settled_;  // settings that no command line of the server's may change
  std::string socket_directory_;
  CopySettings copy_;
  std::vector<NewTablespace> created_;
  Seclusion seclusion_;
  cluster::Settings cautions_;  // of preloaded libraries
  RestoredState state_;
  StandIns stand_ins_;
  std::chrono::steady_clock::time_point lap_began_;
};

Microseconds Restore::lap() {
  const auto now = clock_.steady();
  return std::chrono::duration_cast<Microseconds>(now - std::exchange(lap_began_, now));
}

void Restore::find_lineage() {
  repo::LineageChoice choice = options_.lineage;
  choice.backup = options_.target.backup;
  choice.command = options_.target.command;
  lineage_ = repo::choose_lineage(repository_, options_.cluster, choice);
}

void Restore::require_confirmed() const {
  if (options_.yes) return;
  throw Error({.code = ErrorCode::kUsage,
               .message = fmt::format("data directory \"{}\" would be {}", directory_,
                                      options_.delta ? "written over" : "cleared"),
               .detail = fmt::format(
                   "A restore {} removes what is in it{}.{}", is_copy_ ? "over a copy" : "in place",
                   options_.delta ? " and differs from the backup" : "",
                   is_copy_ ? "" : " WAL that is not archived yet is saved first."),
               .hint = is_copy_ ? "Confirm with --yes, or name a new directory."
                                : "Confirm with --yes, or restore elsewhere with --into DIR."});
}

// Where the cluster was when it was backed up: by the backup that is named, or by the newest that
// can be read.
std::string Restore::recorded_directory() const {
  // Where a standby has its files, nobody knows the cluster's to be.
  auto directory_of = [](const repo::Backup& backup) {
    return backup.from_standby ? std::string() : backup.data_directory;
  };
  if (!options_.target.backup.empty())
    return directory_of(repo::resolve_backup(repository_, lineage_->name, options_.target.backup));
  const std::vector<std::string> ids = repo::backup_ids_in_order(repository_, lineage_->name);
  for (auto id = ids.rbegin(); id != ids.rend(); ++id)
    if (const std::optional<repo::Backup> backup =
            repo::read_backup_if_possible(repository_, lineage_->name, *id, [](const Error&) {});
        backup && !directory_of(*backup).empty())
      return directory_of(*backup);
  return directory_of(repo::resolve_backup(repository_, lineage_->name, "latest"));  // says why
}

// Elsewhere the place is looked at when it is made. In place what must be refused is refused now,
// and the old WAL is saved: the plan may need it.
void Restore::check_place() {
  directory_ = options_.directory;
  if (directory_.empty() && !is_copy_) directory_ = recorded_directory();
  if (directory_.empty()) {
    throw Error({.code = ErrorCode::kUsage,
                 .message = "no directory to restore into was named",
                 .detail = "",
                 .hint = "Name a new one with --into DIR, or use --in-place with cluster.pgdata "
                         "set in the configuration."});
  }
  directory_ = absolute_path(directory_);
  result_.directory = directory_;
  result_.in_place = !is_copy_;
  require_apart(options_.own_files, {directory_, join_path(directory_, "pg_wal")}, "cleared");
  lock_place();
  if (is_copy_) {
    // One that holds this very restore is known when the plan is.
    if (!options_.delta && !is_laid_and_unused(directory_)) require_place_for_copy(directory_);
    return require_may_write(directory_);
  }
  if (!options_.without_own_wal) require_nothing_aside(directory_);
  // The plan can be made while it runs; what the run would say then stands behind it.
  if (on_paper_)
    server_runs_ = error_of({ErrorCode::kBusy}, [&] { require_no_server(); });
  else
    require_no_server();
  require_may_write(directory_);
  must_clear_ = require_data_directory(directory_, *lineage_);
  if (lstat_if_exists(join_path(directory_, kStandbySignal)))
    require_word_for_standby(fmt::format("It has a \"{}\".", kStandbySignal));
  if (const std::optional<Bytes> control = valid_control_file(directory_))
    was_a_primarys_ = !pg::is_in_recovery(pg::parse_control_file(*control).state);
  // A copy of a data directory links to the original's tablespaces.
  require_unused(linked_places(directory_), directory_);
  if (on_paper_ && !server_runs_)
    server_runs_ = error_of({ErrorCode::kBusy}, [&] { require_no_production(); });
  else if (!on_paper_)
    require_no_production();
  if (!must_clear_) return;
  if (!options_.without_own_wal) require_wal_there(directory_);
  slots_ = cluster::read_replication_slots(directory_);
  if (!on_paper_) {
    require_confirmed();
    keep_servers_out();
    reporter_.phase("saving old WAL", 0);
  }
  save_own_wal();
}

// A repository that takes nothing (a snapshot, a copy that is mounted read-only, a full one) does
// not keep the cluster from being recovered, when somebody gives up what only the directory has.
void Restore::save_own_wal() {
  const pg::WalSegmentSize size(lineage_->wal_segment_bytes);
  const std::optional<Error> refusal = error_of({ErrorCode::kPermission, ErrorCode::kNoSpace}, [&] {
    keeping_wal([&] { salvaged_ = salvage_wal(directory_, options_.salvage, size, on_paper_); });
    if (on_paper_ && !salvaged_.saved.empty()) repository_.store().require_writable();
  });
  if (!refusal) return;
  if (!options_.without_own_wal)
    throw Error({.code = refusal->code(),
                 .message = refusal->message(),
                 .detail = refusal->detail(),
                 .hint = refusal->hint() +
                         "\nIf the repository cannot be made to take it: add --without-own-wal to "
                         "the command. What the directory's pg_wal has and the archive has not is "
                         "moved aside then, and nothing of it is recovered."});
  reporter_.warning(fmt::format("the WAL of the old server is not saved, and is moved aside: {}",
                                refusal->message()));
  salvaged_ = salvage_wal(directory_, options_.salvage, size, true);
  salvaged_.saved.clear();
  salvaged_.partials.clear();
  salvaged_.end.reset();
  salvaged_.unsaved = salvage_wal(directory_, {}, size, true).unsaved;
}

// Who is told to make room on a full disk looks at pg_wal first, and until the directory is cleared
// that may be all there is of what was committed.
void Restore::keeping_wal(const std::function<void()>& step) const {
  const std::optional<Error> full = error_of({ErrorCode::kNoSpace}, step);
  if (!full) return;
  const std::string pg_wal = join_path(directory_, "pg_wal");
  if (is_copy_ || !is_directory(pg_wal)) throw Error(*full);
  throw Error({.code = full->code(),
               .message = full->message(),
               .detail = full->detail(),
               .hint = fmt::format(
                   "Delete nothing in \"{}\": it may be the only WAL there is. \"holdfast wal "
                   "salvage {}\" archives it and needs no room there. Then make room with other "
                   "files on the file system that the message names, and run the command again.",
                   pg_wal, shell_quote(directory_))});
}

// What this server wrote and the archive has otherwise is on no way to be recovered: a restore
// along the archive's history puts another server's rows in the place of its own.
void Restore::require_own_history() const {
  if (options_.without_own_wal) return;
  const recovery::Plan& plan = result_.plan;
  const pg::WalSegmentSize size(lineage_->wal_segment_bytes);
  for (const SalvagedWal::Conflict& conflict : salvaged_.conflicts) {
    // To the end: what goes on right behind it, and on the plan's own timeline all that this server
    // wrote, for an end that it has passed is none.
    const bool to_the_end = plan.target.kind == recovery::TargetKind::kLatest;
    const auto is_behind = [&](pg::TimelineId timeline, uint64_t last) {
      return timeline == conflict.from.timeline &&
             ((to_the_end && timeline == plan.timeline) ||
              last + (to_the_end ? 1 : 0) >= conflict.from.segment_number);
    };
    const bool is_on_the_way =
        std::ranges::any_of(plan.ranges,
                            [&](const recovery::WalRange& range) {
                              return is_behind(range.timeline, range.last);
                            }) ||
        (plan.tail && is_behind(plan.tail->segment.timeline, plan.tail->segment.segment_number));
    if (!is_on_the_way) continue;
    const pg::Lsn from = pg::start_lsn(conflict.from.segment_number, size);
    throw Error(
        {.code = ErrorCode::kConflict,
         .message = fmt::format("the archive holds another history than \"{}\"", directory_),
         .detail = fmt::format(
             "{}: {} What this server wrote there is not archived, and a restore would replace it "
             "by the archive's. Nothing was changed.",
             conflict.error.message(), conflict.error.detail()),
         .hint = fmt::format(
             "{}\nTo restore to before the place where they part: {} --to-lsn {} --exclusive. To "
             "give up what this server wrote there (its files are moved aside): add "
             "--without-own-wal to the command.",
             conflict.error.hint(), options_.target.command, pg::to_string(from))});
  }
}

void Restore::require_no_server() const {
  cluster::require_no_running_server(directory_, "restoring over its data directory",
                                     options_.witness, stop_);
}

// A restore in place ends with a primary that archives. Where production lives elsewhere, as behind
// an address that follows it, there would be two.
void Restore::require_no_production() const {
  const bool is_meant =
      options_.action_is_named && options_.action == recovery::TargetAction::kPromote;
  if (options_.witness.declared_dead || is_meant) return;
  restore::require_no_production(options_.witness.conninfo, lineage_->system_identifier, stop_);
}

// From here on no other restore works in the directory. One that is not there yet is locked when it
// is made; on paper it is only seen that none does.
void Restore::lock_place() {
  TargetLock lock = TargetLock::take(directory_);
  if (!lock.is_held()) return;
  require_no_other_restore(directory_, repo::intent_owner(repository_),
                           options_.witness.declared_dead);
  if (on_paper_) return;
  lock_ = std::move(lock);
  settle_untouched(directory_);
  marker_ = make_marker(directory_, repo::intent_owner(repository_), repository_.random());
}

// From here on no server starts in it: what is saved of its WAL is all that there is. One may have
// been started since it was looked for.
void Restore::keep_servers_out() {
  marker_.places.merge(places_outside(
      directory_, is_copy_ ? own_places(directory_, true, options_.delta, result_.plan.backup)
                           : linked_places(directory_)));
  keep_out_.emplace(directory_, marker_);
  require_no_server();
}

void Restore::take_new_directory() {
  if (lock_.is_held()) return;
  make_owned_directories(directory_, result_.plan.backup.data_mode, owners_->of_cluster());
  lock_place();
  if (is_empty_directory(directory_)) return;
  throw Error({.code = ErrorCode::kAlreadyExists,
               .message = fmt::format("directory \"{}\" is not empty any more", directory_),
               .detail = "It was not there when this restore began.",
               .hint = "Find out who has made it, then run the command again."});
}

// A restore in place ends with a primary. One that nobody has asked for writes a timeline of its
// own into the archive, beside the primary that it followed.
void Restore::require_word_for_standby(const std::string& why) const {
  if (options_.action_is_named) return;
  throw Error({.code = ErrorCode::kConflict,
               .message = fmt::format("\"{}\" is the data directory of a standby", directory_),
               .detail = fmt::format("{} A restore in place would make a primary of it, beside the "
                                     "one that it followed, on a timeline of its own.",
                                     why),
               .hint = "To build the standby anew, run pg_basebackup --write-recovery-conf against "
                       "its primary. To make it a primary, add --action promote to the command."});
}

// A standby's signal may be lost with other files. Where pg_control does not show that the server
// was none, its last backup says it.
void Restore::require_word_where_a_standby_was() const {
  const std::optional<repo::Backup> last =
      find_newest_of_this_server(directory_, repository_, lineage_->name);
  if (last && last->from_standby)
    require_word_for_standby(fmt::format("It was one when backup {} was taken.", last->id));
}

void Restore::find_own_backup() {
  const repo::Backup& backup = result_.plan.backup;
  choice_options_ = {
      .directory = directory_,
      .is_copy = is_copy_,
      .is_standbys_place = lstat_if_exists(join_path(directory_, kStandbySignal)).has_value(),
      .debian_clusters = options_.debian_clusters};
  if (!is_copy_ && !was_a_primarys_) require_word_where_a_standby_was();
  own_backup_ = restore::find_own_backup(choice_options_, repository_, backup);
  if (is_copy_ || backup.from_standby || !own_backup_ || own_backup_->id == backup.id ||
      own_backup_->start_lsn > backup.start_lsn)
    return;
  result_.plan.warnings.push_back(fmt::format(
      "{}:{} HAS TAKEN OVER: backup {} is of the primary there, and the newest one of this server "
      "is {}. If that primary lives, this restore makes a second one beside it",
      backup.host, backup.data_directory, backup.id, own_backup_->id));
  if (!on_paper_) reporter_.warning(result_.plan.warnings.back());
}

void Restore::require_own_disks() const {
  if (is_copy_) return;
  if (const std::optional<repo::Backup> last =
          find_newest_of_this_server(directory_, repository_, lineage_->name))
    restore::require_own_disks({.directory = directory_,
                                .holds_files = must_clear_,
                                .without_own_wal = options_.without_own_wal,
                                .moves = options_.tablespaces},
                               *last, reporter_);
}

void Restore::choose_configuration() {
  choice_ = restore::choose_configuration(choice_options_, repository_, result_.plan.backup,
                                          own_backup_, reporter_);
  result_.configuration = choice_->words();
}

// Another server has its tablespaces where it likes; in place they go where the cluster has its
// own.
std::vector<TablespaceMove> Restore::tablespace_moves() const {
  std::vector<TablespaceMove> moves = options_.tablespaces;
  const repo::Backup& backup = result_.plan.backup;
  if (is_copy_ || (own_backup_ && own_backup_->id == backup.id)) return moves;
  std::map<uint32_t, std::string> own;
  if (own_backup_)
    for (const repo::Tablespace& tablespace : own_backup_->tablespaces)
      own[tablespace.oid] = tablespace.path;
  if (is_directory(join_path(directory_, "pg_tblspc")))
    for (const cluster::TablespaceLink& link : cluster::read_tablespace_links(directory_))
      if (!link.target.empty()) own[link.oid] = link.target;
  for (const repo::Tablespace& tablespace : backup.tablespaces) {
    if (is_moved(options_.tablespaces, tablespace) || tablespace.path.empty()) continue;
    const std::string oid = std::to_string(tablespace.oid);
    const auto found = own.find(tablespace.oid);
    if (found == own.end() || found->second.empty()) {
      reporter_.warning(fmt::format(
          "tablespace {} is laid at \"{}\", where the server of {} has it; --tablespace {}=DIR "
          "lays it elsewhere",
          oid, tablespace.path, backup.host, oid));
    } else if (found->second != tablespace.path) {
      moves.push_back({.was = oid, .to = found->second});
    }
  }
  return moves;
}

void Restore::plan() {
  reporter_.phase("planning", 0);
  recovery::Target target = options_.target;
  target.own_partials = salvaged_.partials;
  target.cluster = find_cluster_end();
  if (target.cluster) target.cluster->is_saved_first = on_paper_ && must_clear_;
  auto make = [&] {
    recovery::AskServer ask = ask_running_server(options_.conninfo, repository_, *lineage_, stop_);
    if (salvaged_.end && !on_paper_)
      ask = ask_ended_server(*salvaged_.end, pg::WalSegmentSize(lineage_->wal_segment_bytes),
                             clock_, std::move(ask));
    const auto began = clock_.steady();
    const std::optional<Error> refusal = error_of({ErrorCode::kTargetUnreachable}, [&] {
      result_.plan = recovery::make_plan(repository_, *lineage_, target, ask);
    });
    if (!refusal) return;
    if (!wait_for_archiver(options_.conninfo, *lineage_, began, clock_, reporter_, stop_))
      throw Error(*refusal);
    result_.plan = recovery::make_plan(repository_, *lineage_, target, ask);
  };
  if (on_paper_ && must_clear_) {
    const Context without(
        "planning without the WAL in \"{}\", which a restore in place saves first",
        join_path(directory_, "pg_wal"));
    make();
  } else {
    make();
  }
  if (!on_paper_)
    for (const std::string& note : result_.plan.notes) reporter_.note(note);
  if (!on_paper_)
    for (const std::string& warning : result_.plan.warnings) reporter_.warning(warning);
  if (result_.plan.backup.damaged) {
    reporter_.warning(fmt::format("backup {} holds {} damaged pages, which are laid as they are",
                                  result_.plan.backup.id, result_.plan.backup.damaged_blocks));
  }
}

Hold Restore::hold() const {
  return {.what = "restore",
          .done = "restored",
          .backup = result_.plan.backup.id,
          .timeline = result_.plan.timeline,
          .wal_from = result_.plan.backup.start_lsn,
          .directory = directory_};
}

void Restore::hold_off_deletion() {
  intent_ = restore::hold_off_deletion(hold(), repository_, lineage_->name, clock_, reporter_);
}

// From here on a server on the directory asks for WAL, with this command or without it. `old`: the
// claim of a recovery that ends with this.
void Restore::hold_recovery(const std::string& old) {
  if (intent_) recovery_.emplace(hold(), repository_, lineage_->name, clock_, reporter_);
  end_recovery_hold(old, repository_, lineage_->name);
  if (recovery_) state_.claim = recovery_->claim();
  write_state(directory_, state_, owners_->of_cluster());
}

void Restore::let_go() {
  if (recovery_ && result_.new_timeline.is_valid()) recovery_->end();
  if (intent_) intent_->end();
}

void Restore::open_manifest() {
  const repo::Backup& backup = result_.plan.backup;
  manifest_ = std::make_unique<repo::ManifestReader>(
      repository_, backup.lineage, backup.id, backup.manifest_sha256,
      [&](std::string_view text) { reporter_.warning(text); });
  owners_.emplace(backup, manifest_->summary().owners);
}

// Before the first byte is written, not behind the last.
void Restore::require_what_a_start_needs() {
  const repo::Backup& backup = result_.plan.backup;
  if (options_.start && owners_->server_user())
    require_wal_for(*owners_->server_user(), options_, repository_);
  for (const std::string_view path : {pg::kControlFilePath, std::string_view(kBackupLabel)}) {
    if (path == kBackupLabel && backup.type == "advance") continue;
    const std::optional<repo::ManifestEntry> entry =
        manifest_->find(repo::ManifestRoot::kDataLast, path);
    if (entry && entry->type == repo::EntryType::kFile) continue;
    throw Error(
        {.code = ErrorCode::kCorrupt,
         .message = fmt::format("backup {} has no {}", backup.id, base_name(path)),
         .detail = "No server can be recovered from it.",
         .hint =
             "Restore another backup: holdfast backup list shows them, --backup ID names one."});
  }
}

// A server that is started on a copy is kept from production where the system permits it.
void Restore::seclude() {
  if (!is_copy_) return;
  const int major = result_.plan.backup.major;
  if (options_.start)
    pg::require_known_major(major,
                            "Whether its WAL makes a tablespace in a directory of this host is not "
                            "read, so a copy is not started here.");
  if (pg::is_newer_major(major))
    reporter_.warning(fmt::format(
        "the WAL of PostgreSQL {} is not read: if it makes a tablespace in a directory of this "
        "host, a server that is started on this copy writes into that directory; start it on a "
        "host that has none of production's",
        major));
  created_ =
      new_tablespaces(result_.plan, directory_, join_path(directory_, kTablespacesDirectory));
  if (!options_.start || options_.sandbox.program.empty()) return;
  SandboxOptions sandbox = options_.sandbox;
  for (const TablespacePlace& place : result_.tablespaces)
    if (place.is_moved) sandbox.keep_visible.push_back(place.place);
  seclusion_ =
      restore::seclude(sandbox, production_places(result_.plan.backup), directory_, created_);
  if (is_secluded() && !seclusion_.sandbox->private_network)
    reporter_.note(
        "the sandbox keeps the host's network: restore_command runs passphrase_command, which may "
        "need it");
  if (is_secluded()) return;
  if (options_.sandbox.required) {
    throw Error({.code = ErrorCode::kPermission,
                 .message = "the copy cannot be kept from production",
                 .detail = fmt::format("No sandbox can be made: {}.", seclusion_.why_not),
                 .hint =
                     "Run it as root, or where user namespaces are permitted (sysctl "
                     "user.max_user_namespaces, kernel.apparmor_restrict_unprivileged_userns)."});
  }
  reporter_.note(fmt::format("the copy's server runs without a sandbox: {}", seclusion_.why_not));
}

// Replay makes a tablespace at the path that the WAL names, whatever tablespace_map says. In a copy
// that would write into production's.
void Restore::check_new_tablespaces() {
  for (const NewTablespace& created : created_) {
    if (!lstat_if_exists(created.path)) continue;
    const bool ends_open = options_.action == recovery::TargetAction::kPromote;
    if (is_secluded() && ends_open) continue;
    throw Error(
        {.code = ErrorCode::kConflict,
         .message = fmt::format(
             "recovery would write into tablespace directory \"{}\" of this host", created.path),
         .detail = fmt::format(
             "The WAL to replay creates tablespace {} there, at {}, and {}.", created.oid,
             pg::to_string(created.lsn),
             is_secluded() ? "a copy that waits or was shut down would make it there when it is "
                             "started again"
                           : "a copy cannot make it elsewhere without a sandbox"),
         .hint =
             fmt::format("Let a started copy recover to its end (--start --action promote) where "
                         "a sandbox is permitted, choose a target before that (--to-lsn {} "
                         "--exclusive), take a newer backup, or restore on a host that does not "
                         "have this directory.",
                         pg::to_string(created.lsn))});
  }
}

void Restore::place_tablespaces() {
  const repo::Backup& backup = result_.plan.backup;
  const std::set<std::string> own = own_places(directory_, is_copy_, options_.delta, backup);
  result_.tablespaces = restore::place_tablespaces(
      {.directory = directory_, .is_copy = is_copy_, .moves = tablespace_moves(), .own = own},
      backup);
  if (!is_copy_) {
    require_free_tablespaces(directory_, result_.tablespaces, backup);
    require_free_new_tablespaces(directory_, result_.plan, own);
  }
  for (const TablespacePlace& place : result_.tablespaces)
    if (place.is_moved || (!is_copy_ && !place.recorded.empty())) require_may_write(place.place);
  require_not_of(backup.data_directory, directory_, own);
  std::set<std::string> versions;
  for (const std::set<std::string>& places : {own, places_outside(directory_, result_.tablespaces)})
    for (const std::string& place : places) versions.insert(version_directory(place, backup));
  require_apart(options_.own_files, versions, "cleared");
}

// A server waits at a record that it replays; without one it is opened for work, whatever the
// action.
void Restore::require_place_to_wait() const {
  const recovery::Plan& plan = result_.plan;
  if (options_.action == recovery::TargetAction::kPromote ||
      plan.target.kind != recovery::TargetKind::kLatest || plan.last_record)
    return;
  throw Error({.code = ErrorCode::kTargetUnreachable,
               .message = fmt::format("a recovery of backup {} to this target cannot wait there",
                                      plan.backup.id),
               .detail = "A server waits at a record that it replays, and behind the beginning of "
                         "that backup none is known: it is opened for work.",
               .hint = "Leave out --action, or take a newer backup."});
}

// At its promotion a server asks for histories until one is proven not to be there.
void Restore::check_promotion() {
  const std::optional<pg::TimelineId>& lost = result_.plan.lost_history_of;
  if (!lost) return;
  const std::string file = pg::history_file_name(*lost);
  const std::string why =
      fmt::format("files of timeline {} or a later one are archived and \"{}\" is not",
                  pg::to_string(*lost), file);
  if (options_.action != recovery::TargetAction::kPromote) {
    reporter_.warning(fmt::format("the server could not be promoted at its target: {}", why));
    return;
  }
  throw Error(
      {.code = ErrorCode::kTargetUnreachable,
       .message = fmt::format("timeline history file \"{}\" is not in the archive", file),
       .detail = fmt::format("When its recovery ends the server takes the first timeline "
                             "that nobody has used. That this is timeline {} cannot be "
                             "proven: {}. Two servers would write WAL under one name.",
                             pg::to_string(*lost), why),
       .hint = fmt::format(
           "Archive it with holdfast wal push from the pg_wal directory of a server that was on "
           "that timeline; or, where no server ever was, take what is archived of it out of "
           "service, file by file: holdfast wal set-aside {}. To look at the data without a "
           "promotion add --action pause.",
           repo::WalArchive(repository_, *lineage_).first_file(*lost).value_or(file))});
}

std::vector<DiskNeed> Restore::measure_disk() const {
  return restore::measure_disk({.directory = directory_,
                                .tablespace_target =
                                    [this](const std::string& oid, const std::string& recorded) {
                                      return tablespace_target(oid, recorded);
                                    },
                                .cleared = must_clear_},
                               repository_, result_.plan.backup, reporter_);
}

void Restore::check_old_copy() {
  if (!is_copy_ || !options_.delta) return;
  must_clear_ = check_delta_into(directory_, *lineage_, result_.plan.backup.data_directory,
                                 options_.witness, stop_);
  if (!must_clear_ || on_paper_) return;
  require_confirmed();
  keep_servers_out();
}

// Over an earlier copy that was said in so many words.
void Restore::require_no_strangers() const {
  if (is_copy_ ? !options_.delta && lstat_if_exists(directory_).has_value() : must_clear_)
    restore::require_no_strangers(directory_, !is_copy_, repository_, *lineage_);
}

// Who has something to lose loses it only for a backup that was read: now, or by a verify before.
// Else time is what matters: that its packs are there has been seen.
void Restore::read_first() {
  if (is_copy_ || !must_clear_) return;
  const repo::Backup& backup = result_.plan.backup;
  if (!options_.read_backup || !holds_a_cluster(directory_)) return;
  reporter_.note("reading the backup and its WAL before anything is cleared");
  require_readable(options_.read_backup, backup, directory_);
  recovery::Target target = options_.target;
  target.timeline = result_.plan.timeline;
  require_readable_wal(repo::WalArchive(repository_, *lineage_), result_.plan, target, directory_,
                       reporter_, stop_);
}

// Which of two timelines is the cluster's nobody tells by their numbers or times: what its server
// wrote does, that of the directory in place, else the one that runs.
std::optional<recovery::ClusterEnd> Restore::find_cluster_end() const {
  std::optional<recovery::ClusterEnd> cluster;
  if (salvaged_.seen)
    cluster = {.timeline = salvaged_.seen->timeline,
               .end = salvaged_.seen->last_record_end,
               .whose = fmt::format("the server of \"{}\"", directory_),
               .goes_on = !salvaged_.end};
  if (!cluster) cluster = ask_where_it_is(options_.conninfo, lineage_->system_identifier, stop_);
  if (!cluster && !is_copy_ && holds_a_cluster(directory_)) {
    const pg::ControlFile control = cluster::read_control_file(directory_).control;
    cluster = {.timeline = control.timeline,
               .end = control.checkpoint_lsn,
               .whose = fmt::format("the server of \"{}\"", directory_),
               .goes_on = control.state == pg::ClusterState::kInProduction ||
                          control.state == pg::ClusterState::kShuttingDown ||
                          control.state == pg::ClusterState::kInCrashRecovery};
  }
  if (cluster && !cluster->history && !is_copy_)
    cluster->history = read_if_exists(
        fmt::format("{}/pg_wal/{}", directory_, pg::history_file_name(cluster->timeline)));
  return cluster;
}

void Restore::prepare() {
  const repo::Backup& backup = result_.plan.backup;
  take_new_directory();
  // That a place cannot be made should not be found out when the old cluster is gone.
  const std::set<std::string> outside = places_outside(directory_, result_.tablespaces);
  for (const TablespacePlace& place : result_.tablespaces) {
    if (!place.is_moved) continue;
    make_owned_directories(place.place, 0700, owners_->of_cluster());
    set_owner(place.place, owners_->of_cluster());
  }
  for (const std::string& place : outside) {
    make_owned_directories(place, 0700, owners_->of_cluster());
    prove_writable(place);
  }
  make_new_tablespace_directories(false);
  reporter_.phase(!must_clear_     ? "making the data directory"
                  : options_.delta ? "preparing the data directory"
                                   : "clearing the data directory",
                  0);
  // Of an interrupted restore its pg_control may be laid already.
  if (!must_clear_ && lstat_if_exists(join_path(directory_, pg::kControlFilePath)))
    keep_servers_out();
  const std::set<std::string> own =
      places_outside(directory_, own_places(directory_, is_copy_, options_.delta, backup));
  marker_.places.insert(own.begin(), own.end());
  marker_.places.insert(outside.begin(), outside.end());
  marker_.keeps_configuration = keeps_configuration() && !choice_->left.empty();
  // The last look, right before the first file goes.
  require_unused(marker_.places, directory_);
  if (must_clear_) require_no_server();
  mark_places(own, marker_, backup, *owners_);
  const ClearOptions clear{.directory = directory_,
                           .unsaved = salvaged_.unsaved,
                           .time = to_compact_utc(clock_.now()),
                           .places = result_.tablespaces,
                           .marker = marker_,
                           .left = keeps_configuration() ? choice_->left : std::set<std::string>()};
  if (options_.delta) {
    result_.moved_aside =
        prepare_delta({.is_copy = is_copy_, .clear = clear}, backup, *owners_, reporter_);
  } else if (is_copy_) {
    prepare_into(directory_, marker_, backup, *owners_);
  } else {
    result_.moved_aside = prepare_in_place(clear, backup, *owners_, reporter_);
  }
  for (const auto& [from, to] : result_.moved_aside)
    reporter_.warning(
        fmt::format("\"{}\" could not be archived and was moved to \"{}\"", from, to));
  begin_places(outside, marker_, backup, *owners_);
  make_new_tablespace_directories(true);
}

// The server would end its recovery at a tablespace whose directory is missing. In a sandbox it is
// only the place on which the copy's own is laid. Those in the data directory are made when that is
// cleared, all others before.
void Restore::make_new_tablespace_directories(bool is_cleared) {
  for (const repo::WalTablespace& created : result_.plan.tablespaces_created) {
    if (created.path.empty() || created.path.starts_with(directory_ + "/") != is_cleared) continue;
    if (is_secluded()) {
      if (created.lsn >= result_.plan.backup.start_lsn)
        stand_ins_.hold(created.path, owners_->of_cluster());
      continue;
    }
    if (lstat_if_exists(created.path)) continue;
    make_owned_directories(created.path, 0700, owners_->of_cluster());
    reporter_.note(
        fmt::format("made directory \"{}\", in which the WAL creates a tablespace", created.path));
  }
  if (!is_secluded() || !is_cleared) return;
  for (const NewTablespace& created : created_)
    make_owned_directories(created.place, 0700, owners_->of_cluster());
}

std::string Restore::tablespace_target(const std::string& oid, const std::string& recorded) const {
  for (const TablespacePlace& place : result_.tablespaces)
    if (std::to_string(place.oid) == oid) return place.place;
  return is_copy_ ? fmt::format("{}/{}/{}", directory_, kTablespacesDirectory, oid) : recorded;
}

// What a delta passes by: the marker, and tablespaces that lie in the data directory, which the
// manifest names below pg_tblspc alone.
std::set<std::string> Restore::kept_paths() const {
  std::set<std::string> kept = salvages_in(directory_);
  kept.insert(kMarkerName);
  if (const std::string pg_wal = join_path(directory_, "pg_wal"); is_directory(pg_wal))
    for (const std::string& stranger : strangers_in(pg_wal)) kept.insert("pg_wal/" + stranger);
  if (keeps_configuration()) kept.insert(choice_->left.begin(), choice_->left.end());
  const std::string root = resolved_path(directory_) + "/";
  for (const TablespacePlace& place : result_.tablespaces)
    if (const std::string path = resolved_path(place.place);
        !place.recorded.empty() && path.starts_with(root))
      kept.insert(path.substr(root.size()));
    else
      kept.insert(fmt::format("pg_tblspc/{}/{}/{}", place.oid,
                              pg::tablespace_version_directory(result_.plan.backup.major,
                                                               result_.plan.backup.catalog_version),
                              kTokenName));
  return kept;
}

void Restore::lay() {
  const LayOptions options{.directory = directory_,
                           .tablespace_target =
                               [this](const std::string& oid, const std::string& target) {
                                 return tablespace_target(oid, target);
                               },
                           .jobs = options_.jobs,
                           .bytes_per_second = options_.bytes_per_second,
                           .delta = options_.delta,
                           .tablespace_directory = pg::tablespace_version_directory(
                               result_.plan.backup.major, result_.plan.backup.catalog_version),
                           .keep = kept_paths(),
                           .left = choice_->left};
  const mode_t mode = result_.plan.backup.data_mode;
  if (is_copy_ && !result_.plan.backup.tablespaces.empty())
    make_owned_directories(join_path(directory_, kTablespacesDirectory), mode,
                           owners_->of_cluster());
  laid_ =
      lay_files(options, repository_, result_.plan.backup, *manifest_, *owners_, reporter_, stop_);
  result_.files = laid_.files;
  result_.bytes = laid_.bytes;
  if (options_.delta)
    result_.delta = {.files_kept = laid_.files_kept,
                     .bytes_kept = laid_.bytes_kept,
                     .bytes_written = laid_.bytes - laid_.bytes_kept,
                     .removed = laid_.removed};
  for (const char* name : {"pg_wal", "pg_wal/archive_status"})
    make_owned_directories(join_path(directory_, name), mode, owners_->of_cluster());
}

// In the data directory, as its configuration says; where that path is too long for a socket the
// server that we start has it in a directory of its own below /tmp.
std::string Restore::make_socket_directory() {
  std::string path = join_path(directory_, kSocketLink);
  make_owned_directories(join_path(directory_, kSocketDirectory), 0700, owners_->of_cluster());
  remove_tree(path);
  if (symlink(kSocketDirectory, path.c_str()) != 0) throw_errno("create symbolic link", path);
  set_owner(path, owners_->of_cluster());
  if (path.size() <= kMaxSocketDirectoryBytes) return path;
  path = "/tmp/holdfast-XXXXXX";
  if (mkdtemp(path.data()) == nullptr) throw_errno("create directory", path);
  set_owner(path, owners_->of_cluster());
  reporter_.note(fmt::format(
      "the server's socket is in \"{}\": the data directory's path is too long for one", path));
  return path;
}

// Production's sockets, by what the laid configuration says: settled before it is changed.
void Restore::leave_production_out() {
  std::vector<std::string> directories = options_.sandbox.socket_directories;
  const std::map<std::string, std::string> in_force = read_settings_in_force(files_, directory_);
  auto configured = in_force.find("unix_socket_directories");
  std::string places =
      configured == in_force.end() ? "/tmp, /var/run/postgresql" : configured->second;
  for (const auto& [name, value] : choice_->configuration.command_line)
    if (name == "unix_socket_directories") places = value;
  places += ",";
  for (size_t at = 0, comma = 0; (comma = places.find(',', at)) != std::string::npos;
       at = comma + 1) {
    std::string place = places.substr(at, comma - at);
    std::erase(place, ' ');
    std::erase(place, '"');
    if (!place.empty()) directories.push_back(std::move(place));
  }
  cover_sockets(*seclusion_.sandbox, options_.sandbox, directory_, directories);
}

// What the libraries that its configuration loads would do on their own. Those are kept: without
// them a server may not start, nor read its own WAL.
void Restore::take_cautions(const std::map<std::string, std::string>& in_force) {
  auto libraries = in_force.find("shared_preload_libraries");
  if (libraries == in_force.end()) return;
  for (PreloadCaution& caution : preload_cautions(libraries->second)) {
    reporter_.warning(caution.warning);
    if (!caution.setting.empty())
      cautions_.emplace_back(std::move(caution.setting), std::move(caution.value));
  }
}

ConfigurationPlaces Restore::make_places(MadeUpFiles made_up) const {
  return {choice_->configuration,
          choice_->outside,
          {.directory = directory_,
           .is_copy = is_copy_,
           .is_foreign = choice_->is_foreign(),
           .leaves_inner = keeps_configuration(),
           .made_up = std::move(made_up)}};
}

// What was on the server's command line at the backup and may be on it again: not the places of
// files, which are ours, not what the WAL needs otherwise, and not another server's addresses.
cluster::Settings Restore::servers_own() const {
  cluster::Settings settings;
  for (const auto& [name, value] : choice_->configuration.command_line) {
    const bool is_address = std::ranges::find(kAddressNames, name) != kAddressNames.end();
    if (settled_.contains(name) || name == "external_pid_file" ||
        (is_address && (is_copy_ || !choice_->is_own)))
      continue;
    settings.emplace_back(name, value);
  }
  return settings;
}

bool Restore::archives(const std::map<std::string, std::string>& in_force) const {
  auto value = [&](const char* name) {
    const auto found = in_force.find(name);
    return found == in_force.end() ? std::string() : found->second;
  };
  const std::string mode = value("archive_mode");
  for (const char* off : {"", "off", "false", "no", "0"})
    if (mode == off) return false;
  return !value("archive_command").empty() || !value("archive_library").empty();
}

// No backup has them, and without them standbys and subscribers stand still.
std::vector<std::string> Restore::words_of_slots() const {
  std::vector<std::string> words;
  for (const cluster::ReplicationSlot& slot : slots_)
    words.push_back(
        slot.is_logical
            ? fmt::format("logical replication slot \"{}\" does not come back: what its subscriber "
                          "has not read yet is lost to it, and it must be built anew",
                          slot.name)
            : fmt::format("replication slot \"{}\" does not come back: make it again for its "
                          "standby, SELECT pg_create_physical_replication_slot({})",
                          slot.name, cluster::quote_literal(slot.name)));
  return words;
}

// In place: a cluster that archived goes on with it, or whoever restored it knows.
void Restore::warn_of_archiving() const {
  if (is_copy_ || options_.archive == false || archives_) return;
  // Without WAL in the archive there were no backup; a standby archives nothing itself.
  const repo::Configuration& configuration = choice_->configuration;
  if (!configuration.archives && choice_->is_own && !configuration.of_standby) return;
  reporter_.warning(
      fmt::format("THIS SERVER DOES NOT ARCHIVE: it did when backup {} was taken, and now its "
                  "configuration ({}) has archive_mode off, or no archive_command. What is "
                  "committed from here on is in no archive. Run \"holdfast init "
                  "--configure-server\", restart the server, then \"holdfast check\" and "
                  "\"holdfast backup\".",
                  result_.plan.backup.id, files_.config_file));
}

// From here on the directory is configured for this recovery, but nothing starts on it yet.
void Restore::configure() {
  const recovery::Plan& plan = result_.plan;
  reporter_.phase("configuring", 0);
  for (const HeldFile& file : choice_->inner) {
    if (choice_->backup == plan.backup.id) break;  // laid with all else
    const std::string path = join_path(directory_, file.entry.path);
    make_owned_directories(parent_path(path), 0700, owners_->of_cluster());
    write_owned_file(path, file.content, file.entry.mode, owners_->of_cluster());
  }
  const ConfigurationPlaces places = make_places();
  const ConfigurationPlaces::Laid laid =
      places.lay(*choice_->owners, owners_->of_cluster(), reporter_);
  files_ = places.files();
  result_.outside_files = laid.outside;
  result_.configuration = choice_->words(laid.others);
  if (!is_copy_) reporter_.note(fmt::format("configuration {}", result_.configuration));
  for (const pg::ConfSetting& setting : laid.not_taken_over)
    reporter_.warning(fmt::format("{} = '{}' is the other server's and was not taken over",
                                  setting.name, setting.value));

  ConfSettings lasting;
  if (is_copy_) {
    socket_directory_ = make_socket_directory();
    copy_ = {.socket_directory = kSocketDirectory,
             .port = options_.port == 0 ? kCopyPort : options_.port,
             .archive = options_.archive.value_or(false),
             .major = plan.backup.major};
    lasting = copy_settings(copy_);
    if (is_secluded()) leave_production_out();
  } else if (options_.archive == false) {
    lasting.push_back({.name = "archive_mode", .value = "off"});
  }

  std::map<std::string, std::string> in_force = read_settings_in_force(files_, directory_);
  std::map<std::string, std::string> with_command_line = in_force;
  for (const auto& [name, value] : servers_own()) with_command_line[name] = value;
  if (is_copy_) take_cautions(with_command_line);
  ConfSettings recovery = raised_to_floors(plan.floors, with_command_line, plan.backup.major);
  for (const pg::ConfSetting& raised : recovery)
    reporter_.note(
        fmt::format("{} is {} during recovery: the WAL needs it", raised.name, raised.value));
  recovery.push_back({.name = "recovery_min_apply_delay", .value = "0"});
  // Without connections a pause would be a shutdown.
  if (options_.action == recovery::TargetAction::kPause)
    recovery.push_back({.name = "hot_standby", .value = "on"});
  for (auto& [name, value] : recovery::recovery_settings(
           plan,
           only_in_sandbox() ? kOnlyInSandbox
                             : recovery::restore_command_until(options_.restore_command,
                                                               recovery::target_segment(plan)),
           options_.action))
    recovery.push_back({.name = name, .value = value});
  if (!options_.end_command.empty()) {
    const auto theirs = in_force.find("recovery_end_command");
    // Production's own is none of a copy's.
    recovery.push_back({.name = "recovery_end_command",
                        .value = end_command_behind(
                            is_copy_ || theirs == in_force.end() ? std::string() : theirs->second,
                            options_.end_command)});
  }
  for (const ConfSettings& ours : {lasting, recovery})
    for (const pg::ConfSetting& setting : ours) settled_.insert(setting.name);
  // Who starts it by hand gives it its settings himself, if he knows of them.
  archives_ = archives(options_.start ? with_command_line : in_force);
  if (!is_copy_ && options_.archive != false && archives_ &&
      with_command_line["archive_library"].empty())
    result_.archive_command = with_command_line["archive_command"];
  result_.server_user = owners_->server_user();
  // Names alone: a value may be a secret.
  std::string by_hand;
  for (const auto& [name, value] : servers_own()) by_hand += (by_hand.empty() ? "" : ", ") + name;
  if (!by_hand.empty() && !is_copy_)
    reporter_.warning(fmt::format(
        "the server had settings on its command line; start it with them again: {}", by_hand));
  write_recovery_configuration(directory_, lasting, recovery, *owners_, reporter_);
  state_ = state();
}

// What whoever goes on with the recovery needs to know.
RestoredState Restore::state() const {
  const recovery::Plan& plan = result_.plan;
  const uint64_t first =
      pg::segment_of(plan.backup.start_lsn, pg::WalSegmentSize(plan.backup.wal_segment_bytes));
  return {.cluster = options_.cluster,
          .lineage = repo::to_string(lineage_->name),
          .is_copy = is_copy_,
          .backup = plan.backup.id,
          .major = plan.backup.major,
          .wal_segment_bytes = plan.backup.wal_segment_bytes,
          .target = to_string(plan.target),
          .action = options_.action,
          .timeline = plan.timeline,
          .port = options_.port,
          .archive = options_.archive,
          .first_segment = first,
          .last_segment = first + std::max(plan.segments, uint64_t{1}) - 1,
          .target_segment = recovery::target_segment(plan),
          .end_record = plan.target.kind == recovery::TargetKind::kLatest
                            ? plan.last_record.value_or(pg::Lsn{})
                            : pg::Lsn{},
          .last_wal = recovery::last_wal_of(repo::WalArchive(repository_, *lineage_), plan),
          .ends_in_tail = plan.tail.has_value(),
          .servers_own = servers_own(),
          .command_line = command_line(),
          .only_in_sandbox = only_in_sandbox(),
          .sandbox = seclusion_.sandbox,
          .created = created_,
          .made_here = stand_ins_.made(),
          .production = production_places(plan.backup)};
}

// This very restore, laid to its end by a run that was interrupted just then: nothing is laid
// again.
bool Restore::lies_there_already() {
  if (!is_copy_ || options_.delta || lstat_if_exists(join_path(directory_, kMarkerName)) ||
      !is_laid_and_unused(directory_))
    return false;
  std::optional<RestoredState> there = read_state(directory_);
  if (!there || !there->is_same_restore(state())) return false;
  state_ = std::move(*there);
  if (state_.sandbox) state_.sandbox->program = options_.sandbox.program;
  reporter_.note(fmt::format(
      "\"{}\" holds this restore already, and no server was started on it: nothing is laid again",
      directory_));
  return true;
}

void Restore::lay_tail() {
  const std::optional<recovery::WalTail>& tail = result_.plan.tail;
  if (!tail) return;
  const repo::WalArchive archive(repository_, *lineage_);
  const pg::WalSegmentSize size = archive.segment_size();
  Bytes content;
  archive.read_segment(
      {.kind = pg::WalFileKind::kPartial, .segment = tail->segment},
      [&](ByteView piece) { content.insert(content.end(), piece.begin(), piece.end()); },
      &tail->partial);
  content.resize(size.bytes());
  write_owned_file(
      fmt::format("{}/pg_wal/{}", directory_, pg::segment_file_name(tail->segment, size)), content,
      cluster::file_mode_in(result_.plan.backup.data_mode), owners_->of_cluster());
}

const HeldFile* Restore::held(std::string_view path) const {
  auto found = std::ranges::find_if(laid_.last,
                                    [&](const HeldFile& file) { return file.entry.path == path; });
  return found == laid_.last.end() ? nullptr : &*found;
}

// The label and the map are no files of the cluster's: they have the mode that its own would have.
void Restore::write_held(const HeldFile& file, ByteView content) {
  const bool is_the_backups = file.entry.path == kBackupLabel || file.entry.path == kTablespaceMap;
  write_owned_file(
      join_path(directory_, file.entry.path), content,
      is_the_backups ? cluster::file_mode_in(result_.plan.backup.data_mode) : file.entry.mode,
      owners_->of_entry(file.entry.owner));
}

// backup_label and tablespace_map, and pg_control behind everything else: from then on a server
// starts, and recovers.
void Restore::lay_last() {
  const repo::Backup& backup = result_.plan.backup;
  const HeldFile* control = held(pg::kControlFilePath);
  HF_CHECK(control != nullptr);
  if (const pg::ControlFile parsed = pg::parse_control_file(control->content);
      parsed.system_identifier != backup.system_identifier) {
    throw Error({.code = ErrorCode::kCorrupt,
                 .message = fmt::format("pg_control of backup {} is of another cluster", backup.id),
                 .detail = fmt::format("Its system identifier is {}, that of the backup is {}.",
                                       parsed.system_identifier, backup.system_identifier)});
  }
  for (const HeldFile& file : laid_.last) {
    if (&file == control) continue;
    if (file.entry.path == kTablespaceMap) {
      std::vector<pg::TablespaceMapEntry> entries;
      for (const TablespacePlace& place : result_.tablespaces)
        if (!place.recorded.empty())
          entries.push_back(
              {.oid = place.oid, .path = tablespace_link_text(directory_, place.place)});
      write_held(file, as_bytes(pg::format_tablespace_map(entries, backup.major)));
    } else {
      write_held(file, file.content);
    }
  }
  sync_file_system(directory_);
  if (recovery_) recovery_->keep();
  write_held(*control, control->content);
  remove_marks(directory_);
}

// What holds for a copy also when its files were changed: the command line wins over them. That it
// is this directory which is started says whoever starts it.
cluster::Settings Restore::command_line() const {
  cluster::Settings settings = cluster::readable_log_settings();
  if (is_copy_) {
    CopySettings copy = copy_;
    copy.socket_directory = socket_directory_;
    for (const pg::ConfSetting& setting : copy_settings(copy))
      if (setting.name != "log_destination") settings.emplace_back(setting.name, setting.value);
    settings.insert(settings.end(), cautions_.begin(), cautions_.end());
  } else {
    if (files_.outside) {
      settings.emplace_back("config_file", files_.config_file);
      settings.emplace_back("hba_file", files_.hba_file);
      settings.emplace_back("ident_file", files_.ident_file);
    }
    if (options_.port != 0) settings.emplace_back("port", std::to_string(options_.port));
  }
  return settings;
}

void Restore::start() {
  Begun begun =
      begin_recovery({.directory = directory_,
                      .installation = cluster::find_installation(
                          result_.plan.backup.major,
                          options_.bindir.empty() ? std::nullopt : std::optional(options_.bindir)),
                      .run_as = owners_->server_user(),
                      .owners = *owners_,
                      .restore_command = options_.restore_command,
                      .resume_command = options_.resume_command,
                      .server_settings = is_copy_ ? options_.server_settings : cluster::Settings(),
                      .server_environment = options_.server_environment,
                      .commit_times = commit_times_of(repository_, *lineage_),
                      .find_end = end_finder(repository_, *lineage_),
                      .stand_ins = stand_ins_},
                     state_, clock_, reporter_, stop_);
  const Recovery& recovery = begun.recovery;
  result_.started = true;
  result_.finished = true;
  result_.sandboxed = state_.sandbox.has_value();
  result_.server_start = std::move(begun.server_start);
  result_.moved_tablespaces = std::move(begun.moved_tablespaces);
  result_.socket_directory = std::move(begun.socket_directory);
  result_.port = begun.port;
  result_.server_pid = recovery.server_pid;
  result_.new_timeline = recovery.new_timeline;
  result_.recovered_to_lsn = recovery.recovered_to_lsn;
  result_.recovered_to_time = recovery.recovered_to_time;
  result_.replay_time = recovery.replay_time;
  result_.promote_time = recovery.promote_time;
}

// What can be refused is refused before anything is written.
void Restore::check() {
  find_lineage();
  check_place();
  plan();
  if (const std::optional<repo::Mark>& usable = result_.plan.backup.marks.usable)
    reporter_.warning(fmt::format("backup {} is restored whole, but is none to rely on: {}",
                                  result_.plan.backup.id, usable->detail));
  require_own_history();
  require_place_to_wait();
  check_promotion();
  check_old_copy();
  require_no_strangers();
  find_own_backup();
  require_own_disks();
  if (options_.on_plan) options_.on_plan(result_.plan);
  place_tablespaces();
  seclude();
  check_new_tablespaces();
  if (options_.start) {
    // A program that is missing should not be found missing after an hour of laying files.
    cluster::find_installation(result_.plan.backup.major, options_.bindir.empty()
                                                              ? std::nullopt
                                                              : std::optional(options_.bindir));
  }
}

RestoreResult Restore::run() {
  lap_began_ = clock_.steady();
  check();
  // From here on the backup and its WAL stay, whoever expires.
  hold_off_deletion();
  if (!is_copy_ && must_clear_) require_packs(repository_, result_.plan.backup, directory_);
  open_manifest();
  require_what_a_start_needs();
  choose_configuration();
  const bool is_there = lies_there_already();
  if (!is_there && is_copy_ && !options_.delta) require_place_for_copy(directory_);
  if (is_there) {
    result_.plan_time = lap();
    hold_recovery(state_.claim);
    if (recovery_) recovery_->keep();
    if (options_.start) start();
    let_go();
    return std::move(result_);
  }
  require_disk(measure_disk(), reporter_);
  throw_if_stopped(stop_);
  read_first();
  result_.plan_time = lap();

  const std::string old_claim = claim_of_recovery_in(directory_);

  // From here to lay_last() no server starts on the directory, and the same restore can be run
  // again.
  keeping_wal([&] { prepare(); });
  lay();
  configure();
  lay_tail();
  hold_recovery(old_claim);
  lay_last();
  result_.lay_time = lap();

  if (options_.start) start();
  let_go();
  warn_of_archiving();
  for (const std::string& words : words_of_slots()) reporter_.warning(words);
  return std::move(result_);
}

// The small files are read from the backup, in place of those that would be laid.
Preview Restore::preview() {
  check();
  if (!is_copy_ && must_clear_) require_packs(repository_, result_.plan.backup, directory_);
  open_manifest();
  require_what_a_start_needs();
  choose_configuration();
  const bool is_there = lies_there_already();
  if (!is_there && is_copy_ && !options_.delta) require_place_for_copy(directory_);
  Preview preview;
  preview.where = options_.where;
  preview.directory = directory_;
  preview.clears = must_clear_;
  preview.is_delta = options_.delta;
  preview.disk = measure_disk();
  if (!is_there) require_disk(preview.disk, reporter_);
  if (!is_copy_) {
    if (std::optional<cluster::RunningServer> server = cluster::find_running_server(directory_))
      preview.running_server = server->pid;
    else if (server_runs_)
      preview.server_doubt = fmt::format("{}: {}", server_runs_->message(), server_runs_->detail());
    preview.refusal = server_runs_;
    preview.unarchived = salvaged_.saved;
    for (std::string& words : words_of_slots()) result_.plan.warnings.push_back(std::move(words));
    const std::optional<recovery::WalTail>& tail = result_.plan.tail;
    if (tail && !salvaged_.partials.empty() &&
        std::ranges::find(salvaged_.partials, tail->partial) == salvaged_.partials.end())
      result_.plan.warnings.push_back(fmt::format(
          "the end of this plan, {}, is that of an archived copy of an unfinished segment; this "
          "server's own copy is saved first, and is used where the two differ",
          pg::to_string(tail->info.readable_end)));
  }
  const recovery::Plan& plan = result_.plan;
  preview.files = plan.backup.files;
  preview.bytes = manifest_->summary().file_bytes;
  for (const repo::Tablespace& tablespace : plan.backup.tablespaces)
    preview.tablespaces.emplace_back(
        tablespace.path, tablespace_target(std::to_string(tablespace.oid), tablespace.path));

  MadeUpFiles made_up;
  for (HeldFile& file : choice_->inner)
    made_up[join_path(directory_, file.entry.path)] = std::move(file.content);
  const ConfigurationPlaces places = make_places(std::move(made_up));
  preview.configuration = choice_->words(static_cast<size_t>(std::ranges::count_if(
      choice_->outside, [&](const HeldFile& file) { return places.is_left_and_other(file); })));
  for (const HeldFile& file : choice_->outside)
    (places.is_left(file.entry.path) ? preview.left_files : preview.outside_files)
        .push_back(places.of(file.entry.path));
  std::map<std::string, std::string> in_force =
      read_settings_in_force(places.files(), directory_, places.preview());
  for (const auto& [name, value] : servers_own()) in_force[name] = value;
  for (const pg::ConfSetting& setting : raised_to_floors(plan.floors, in_force, plan.backup.major))
    preview.raised.emplace_back(setting.name, setting.value);
  preview.command = recovery::command_for(options_.target);
  preview.plan = std::move(result_.plan);
  return preview;
}

}  // namespace

RestoreResult restore(const RestoreOptions& options, const repo::Repository& repository,
                      const Clock& clock, Reporter& reporter, std::stop_token stop) {
  return Restore(options, repository, clock, reporter, std::move(stop)).run();
}

Preview preview(const RestoreOptions& options, const repo::Repository& repository,
                const Clock& clock, Reporter& reporter, std::stop_token stop) {
  return Restore(options, repository, clock, reporter, std::move(stop), true).preview();
}

}  // namespace holdfast::restore
