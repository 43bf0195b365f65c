#include "support/walk_world.h"

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <map>
#include <regex>
#include <span>
#include <sstream>
#include <unistd.h>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.h"
#include "base/file.h"
#include "base/task_group.h"
#include "cluster/running_server.h"
#include "pg/timeline_history.h"
#include "pg/wal_file_name.h"
#include "support/holdfast_command.h"
#include "support/postgres_server.h"

namespace holdfast::test {
namespace {

using cluster::Connection;
using cluster::ShutdownMode;

constexpr int kFirstPort = 6631;
constexpr int kServers = 3;
constexpr pg::Lsn kEnd{UINT64_MAX};

std::string_view word_of(ShutdownMode mode) {
  return mode == ShutdownMode::kFast ? "fast" : "immediate";
}

bool begins_with(const std::vector<int64_t>& whole, const std::vector<int64_t>& beginning) {
  return beginning.size() <= whole.size() &&
         std::equal(beginning.begin(), beginning.end(), whole.begin());
}

}  // namespace

// --- From a template ----------------------------------------------------------------------------

struct WalkWorld::Template {
  ServerDirectory base;
  std::vector<Server> servers;
  WalkHistory history;
  int64_t next_id = 1;

  std::string world() const { return join_path(base.path(), "w"); }
  std::string first() const { return join_path(base.path(), "first"); }
};

const WalkWorld::Template& WalkWorld::template_of(int major) {
  static std::map<int, std::unique_ptr<Template>> made;
  std::unique_ptr<Template>& place = made[major];
  if (!place) {
    auto one = std::make_unique<Template>();
    WalkWorld maker(one->world(), major);
    maker.make_first();
    one->servers = maker.servers_;
    one->history = maker.history_;
    one->next_id = maker.next_id_;
    rename_path(one->world(), one->first());
    place = std::move(one);
  }
  return *place;
}

WalkWorld::WalkWorld(std::string directory, int major)
    : directory_(std::move(directory)), installation_(test_installation(major)) {
  if (geteuid() == 0)
    throw Error({.code = ErrorCode::kPermission,
                 .message = "root cannot run these tests",
                 .hint = "Run them with tools/run_integration, which takes another user."});
  forget_outer_settings();
}

WalkWorld::WalkWorld(int major, int servers) : WalkWorld(template_of(major).world(), major) {
  const Template& first = template_of(major);
  run_checked({.arguments = {"cp", "-a", first.first(), directory_}});
  servers_ = first.servers;
  while (servers_.size() > static_cast<size_t>(servers)) {
    remove_tree(servers_.back().data);
    servers_.pop_back();
  }
  history_ = first.history;
  next_id_ = first.next_id;
  for (Server& one : servers_) start(one);
  for (Server* standby : having(Role::kStandby)) wait_for_standby(*standby);
  log_.clear();
}

WalkWorld::~WalkWorld() {
  end_processes_below(directory_);
  remove_tree(directory_);
}

void WalkWorld::make_first() {
  make_directory(directory_);
  for (int i = 1; i <= kServers; ++i) {
    Server one{.name = fmt::format("n{}", i), .data = {}, .port = kFirstPort + i};
    one.data = path(one.name);
    write_file_durably(
        config_file(one),
        as_bytes(fmt::format("[repo]\nurl = \"{}\"\ngrace = \"1s\"\n[wal]\ntimeout = "
                             "\"1s\"\n[cluster.main]\npgdata = \"{}\"\nconninfo = "
                             "\"{}\"\nbindir = \"{}\"\n",
                             repository(), one.data, conninfo(one), installation_.bin_directory)));
    servers_.push_back(one);
  }
  Server& first = servers_.front();
  first.role = Role::kPrimary;
  cluster::initdb(
      {.installation = installation_, .data_directory = first.data, .wal_segment_mib = 1});
  write_file_durably(join_path(first.data, "postgresql.conf"), {});
  write_files(first);
  hold_archiving(first);  // there is no repository yet
  start(first);
  {
    Connection connection = connect(first);
    connection.query("UPDATE pg_catalog.pg_database SET datistemplate = false");
    connection.query("DROP DATABASE template0");
    connection.query("CREATE TABLE public.walk (id bigint PRIMARY KEY, payload text)");
    connection.query("ALTER TABLE public.walk ALTER payload SET STORAGE EXTERNAL");
  }
  must(first, {"init"});
  release_archiving(first);
  write();
  back_up(first);
  for (size_t i = 1; i < servers_.size(); ++i) clone(servers_[i]);
  write();
  for (Server* standby : having(Role::kStandby)) wait_for_standby(*standby);
  for (Server& one : servers_) stop(one, ShutdownMode::kFast);
}

// The server's own: whatever it was copied from.
void WalkWorld::write_files(const Server& server) const {
  const std::string holdfast =
      fmt::format("{} -q --config {} --cluster main", holdfast_program(), config_file(server));
  write_file_durably(
      join_path(server.data, "postgresql.conf"),
      as_bytes(fmt::format(
          "listen_addresses = ''\nunix_socket_directories = '{}'\nport = {}\nfsync = off\n"
          "shared_buffers = 16MB\nmax_connections = 20\nmax_wal_senders = 6\nautovacuum = off\n"
          "wal_level = replica\nwal_log_hints = on\nwal_keep_size = 16MB\nmin_wal_size = 4MB\n"
          "max_wal_size = 64MB\ncheckpoint_timeout = 1h\ntrack_commit_timestamp = on\n"
          "timezone = 'UTC'\nlog_line_prefix = '%m '\nlog_min_messages = log\n"
          "wal_retrieve_retry_interval = 100ms\narchive_mode = {}\n"
          "archive_command = 'test ! -e {} && {} wal push %p'\n"
          "restore_command = '{} wal get %f \"%p\"'\nrecovery_target_timeline = latest\n",
          directory_, server.port, server.archives_always ? "always" : "on",
          path(server.name + ".held"), holdfast, holdfast)));
}

// --- Servers ------------------------------------------------------------------------------------

WalkWorld::Server& WalkWorld::server(const std::string& name) {
  return *std::ranges::find(servers_, name, &Server::name);
}

WalkWorld::Server* WalkWorld::primary() {
  const auto found = std::ranges::find(servers_, Role::kPrimary, &Server::role);
  return found != servers_.end() ? &*found : nullptr;
}

WalkWorld::Server& WalkWorld::running_primary() {
  Server* one = primary();
  if (one == nullptr || !one->is_running) complain("the walk itself is wrong: no primary runs");
  return *one;
}

std::vector<WalkWorld::Server*> WalkWorld::having(Role role, std::optional<bool> is_running) {
  std::vector<Server*> found;
  for (Server& one : servers_)
    if (one.role == role && is_running.value_or(one.is_running) == one.is_running)
      found.push_back(&one);
  return found;
}

std::string WalkWorld::conninfo(const Server& server) const {
  return fmt::format("{} port={} user=postgres dbname=postgres",
                     cluster::conninfo_pair("host", directory_), server.port);
}

Connection WalkWorld::connect(const Server& server) const {
  return Connection::connect({.conninfo = conninfo(server)}, {});
}

std::string WalkWorld::value(const Server& server, const std::string& statement) const {
  return connect(server).query_value(statement);
}

std::string WalkWorld::server_log(const Server& server) const {
  const std::string file = path(server.name + ".log");
  const std::string text = lstat_if_exists(file) ? read_text_file(file) : "";
  return text.substr(text.size() - std::min<size_t>(text.size(), 4000));
}

bool WalkWorld::has_tool(const std::string& program) const {
  return lstat_if_exists(installation_.program(program)).has_value();
}

Captured WalkWorld::try_tool(const std::string& program, std::vector<std::string> words) const {
  words.insert(words.begin(), installation_.program(program));
  SpawnOptions options{.arguments = words, .environment = environment_, .directory = directory_};
  options.environment.emplace_back("LC_ALL", "C");
  return holdfast::run(options);
}

void WalkWorld::run_tool(const std::string& program, std::vector<std::string> words) const {
  const Captured ran = try_tool(program, words);
  if (!ran.status.ok())
    complain(fmt::format("{} {}: {}", program, fmt::join(words, " "), describe(ran)));
}

bool WalkWorld::try_start(Server& server) {
  note(fmt::format("start {}", server.name));
  const Captured ran = try_tool(
      "pg_ctl", {"-D", server.data, "-l", path(server.name + ".log"), "-w", "-t", "60", "start"});
  server.is_running = ran.status.ok();
  return server.is_running;
}

void WalkWorld::start(Server& server) {
  if (!try_start(server))
    complain(fmt::format("{} does not start; its log: {}", server.name, server_log(server)));
  if (server.role == Role::kPrimary) take_line(server);
}

void WalkWorld::stop(Server& server, ShutdownMode mode) {
  note(fmt::format("stop {} ({})", server.name, word_of(mode)));
  run_tool("pg_ctl",
           {"-D", server.data, "-w", "-t", "120", "-m", std::string(word_of(mode)), "stop"});
  server.is_running = false;
}

void WalkWorld::kill(Server& server) {
  note(fmt::format("kill -9 {}", server.name));
  if (const auto file = cluster::read_postmaster_pid(server.data)) {
    ::kill(file->pid, SIGKILL);
    comes_true([&] { return ::kill(file->pid, 0) != 0; });
  }
  if (!comes_true([&] { return !cluster::find_running_server(server.data); }))
    complain(fmt::format("processes of {} outlive it", server.name));
  server.is_running = false;
}

void WalkWorld::destroy(Server& server) {
  note(fmt::format("destroy {}", server.name));
  if (server.is_running) kill(server);
  end_processes_below(server.data);
  cluster::remove_shared_memory(server.data);
  remove_tree(server.data);
  server.role = Role::kGone;
}

void WalkWorld::hold_archiving(Server& server) {
  note(fmt::format("the archiving of {} fails from now on", server.name));
  write_file_durably(path(server.name + ".held"), {});
  server.is_held = true;
}

void WalkWorld::release_archiving(Server& server) {
  note(fmt::format("the archiving of {} works again", server.name));
  remove_file_if_exists(path(server.name + ".held"));
  server.is_held = false;
}

void WalkWorld::take_repository_away() {
  note("the repository is away");
  rename_path(repository(), path("repo.away"));
  is_away_ = true;
}

void WalkWorld::bring_repository_back() {
  note("the repository is back");
  rename_path(path("repo.away"), repository());
  is_away_ = false;
}

void WalkWorld::archive_always(Server& standby, bool always) {
  note(fmt::format("{} archives {}", standby.name, always ? "always" : "as a primary only"));
  standby.archives_always = always;
  write_files(standby);
  if (!standby.is_running) return;
  stop(standby, ShutdownMode::kFast);
  start(standby);
}

void WalkWorld::wait_for_standby(Server& standby) {
  const std::string end = value(running_primary(), "SELECT pg_catalog.pg_current_wal_flush_lsn()");
  if (!comes_true([&] {
        return value(standby, "SELECT coalesce(pg_catalog.pg_last_wal_replay_lsn() >= '" + end +
                                  "'::pg_lsn, false)") == "t";
      }))
    complain(
        fmt::format("{} does not come to {}; its log: {}", standby.name, end, server_log(standby)));
}

void WalkWorld::become_standby(Server& server) {
  server.role = Role::kStandby;
  server.line = running_primary().line;
  write_files(server);
  remove_file_if_exists(join_path(server.data, "recovery.signal"));
  write_file_durably(join_path(server.data, "standby.signal"), {});
  write_file_durably(join_path(server.data, "postgresql.auto.conf"),
                     as_bytes(fmt::format("primary_conninfo = '{} application_name={}'\n",
                                          fmt::format("host={} port={} user=postgres", directory_,
                                                      running_primary().port),
                                          server.name)));
}

void WalkWorld::follow(Server& standby) {
  note(fmt::format("{} follows {}", standby.name, running_primary().name));
  if (standby.is_running) stop(standby, ShutdownMode::kFast);
  become_standby(standby);
  start(standby);
}

// By the backup API, for pg_basebackup is not there for every major.
void WalkWorld::clone(Server& server) {
  const Server& from = running_primary();
  note(fmt::format("{} becomes a copy of {}", server.name, from.name));
  if (lstat_if_exists(server.data)) destroy(server);
  Connection connection = connect(from);
  const bool is_older = installation_.major < 15;
  connection.query(is_older ? "SELECT pg_catalog.pg_start_backup('clone', true, false)"
                            : "SELECT pg_catalog.pg_backup_start('clone', true)");
  // Files come and go meanwhile.
  holdfast::run({.arguments = {"cp", "-a", from.data, server.data}});
  const cluster::Row stopped = connection.query_row(
      is_older ? "SELECT labelfile FROM pg_catalog.pg_stop_backup(false, false)"
               : "SELECT labelfile FROM pg_catalog.pg_backup_stop(false)");
  remove_file_if_exists(join_path(server.data, "postmaster.pid"));
  remove_file_if_exists(join_path(server.data, "postmaster.opts"));
  remove_tree(join_path(server.data, "pg_wal"));
  make_directories(join_path(server.data, "pg_wal/archive_status"));
  write_file_durably(join_path(server.data, "backup_label"), as_bytes(stopped.at(0).value()));
  become_standby(server);
  start(server);
}

void WalkWorld::restore_as_standby(Server& server) {
  note(fmt::format("restore of {} as a standby", server.name));
  if (lstat_if_exists(server.data)) destroy(server);
  const Captured ran = run(server, {"restore", "--into", server.data});
  if (ran.status.code == 4 && is_for_a_hole(ran)) {
    note("its WAL was not archived");
    clone(server);
    return;
  }
  if (!ran.status.ok()) complain(describe(ran));
  become_standby(server);
  start(server);
}

bool WalkWorld::rewind(Server& server) {
  if (!has_tool("pg_rewind")) {
    clone(server);
    return true;
  }
  note(fmt::format("pg_rewind of {} to {}", server.name, running_primary().name));
  const Captured ran = try_tool("pg_rewind", {"-D", server.data, "--no-sync", "--source-server",
                                              conninfo(running_primary())});
  if (!ran.status.ok()) {
    note("it could not");
    destroy(server);
    return false;
  }
  become_standby(server);
  start(server);
  return true;
}

// --- Lines --------------------------------------------------------------------------------------

// A server that has become a primary: on the line that it was on, or on a new one that its history
// file tells of.
void WalkWorld::take_line(Server& server) {
  Connection connection = connect(server);
  if (connection.query_value("SELECT pg_catalog.pg_is_in_recovery()") != "f")
    complain(fmt::format("{} is still in recovery", server.name));
  const auto timeline = static_cast<uint32_t>(std::stoul(
      connection
          .query_value("SELECT pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn())")
          .substr(0, 8),
      nullptr, 16));
  server.role = Role::kPrimary;
  if (history_.line(server.line).timeline == timeline) return;
  const std::string name = pg::history_file_name({timeline});
  const std::string text = read_text_file(join_path(server.data, "pg_wal/" + name));
  // Its last line that says something.
  std::optional<pg::TimelineHistoryEntry> last;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    uint32_t parent = 0;
    std::string lsn;
    if (words >> parent >> lsn)
      last = {.timeline = {parent}, .switch_lsn = pg::parse_lsn(lsn), .reason = {}};
  }
  if (!last) complain(fmt::format("{} has an empty {}", server.name, name));
  const std::optional<int> parent = history_.line(server.line).timeline == last->timeline.value
                                        ? std::optional(server.line)
                                        : history_.line_of(last->timeline.value);
  if (!parent) complain(fmt::format("{} stems from a timeline that nobody wrote", name));
  if (history_.line_of(timeline) && wal_object(name))
    complain(fmt::format("{} took timeline {}, whose history is archived already", server.name,
                         timeline));
  server.line = history_.add({.timeline = timeline, .parent = *parent, .fork = last->switch_lsn});
  note(fmt::format("{} is on timeline {} from {} on", server.name, timeline,
                   pg::to_string(last->switch_lsn)));
}

void WalkWorld::promote(Server& standby) {
  note(fmt::format("promote {}", standby.name));
  if (primary() != nullptr) {
    if (primary()->is_running) complain("the walk itself is wrong: two primaries");
    primary()->role = Role::kOld;
  }
  synchronous_.clear();
  const int before = standby.line;
  // What it has acknowledged, and what the archive has, it cannot do without.
  std::vector<int64_t> kept;
  pg::Lsn archived_up_to{0};
  if (!is_away_ && !backups().empty()) archived_up_to = best_reach(before, kEnd).end;
  for (const WalkRow& row : history_.rows(before, kEnd))
    if (row.acknowledged_by.contains(standby.name) || row.end <= archived_up_to)
      kept.push_back(row.id);
  promote_and_take_line(standby);
  const std::vector<int64_t> rows = read_rows(connect(standby));
  std::vector<int64_t> lost;
  std::ranges::set_difference(kept, rows, std::back_inserter(lost));
  if (!lost.empty())
    complain(
        fmt::format("{} was promoted without rows {}, which it or the archive had acknowledged",
                    standby.name, ranges_of(lost)));
  expect_rows(standby);
}

void WalkWorld::promote_and_take_line(Server& standby) {
  if (!try_tool("pg_ctl", {"-D", standby.data, "-w", "-t", "60", "promote"}).status.ok())
    complain(fmt::format("{} is not promoted; its log: {}", standby.name, server_log(standby)));
  take_line(standby);
}

void WalkWorld::promote_in_outage(Server& standby, std::chrono::seconds outage) {
  note(fmt::format("promote {}, while the repository is away for {} s", standby.name,
                   outage.count()));
  if (!is_away_) take_repository_away();
  TaskGroup away;
  away.start([&](const std::stop_token& stop) {
    wait_for(stop, outage);
    rename_path(path("repo.away"), repository());
  });
  promote_and_take_line(standby);
  away.wait();
  is_away_ = false;
  expect_rows(standby);
}

void WalkWorld::adopt(Server& server) {
  server.is_running = true;
  take_line(server);
  expect_rows(server);
}

void WalkWorld::adopt_stray(Server& server) {
  server.is_running = true;
  take_line(server);
  server.role = Role::kOld;
}

// --- What happens on the primary ----------------------------------------------------------------

void WalkWorld::write(int rows, int kib) {
  Server& server = running_primary();
  Connection connection = connect(server);
  if (!synchronous_.empty() &&
      connection
          .query("SELECT 1 FROM pg_catalog.pg_stat_replication WHERE sync_state = 'sync' AND state "
                 "= 'streaming'")
          .empty())
    synchronize_with("");
  std::vector<WalkRow>& line = history_.line(server.line).rows;
  const std::string payload =
      kib == 0 ? "NULL"
               : fmt::format(
                     "(SELECT pg_catalog.string_agg(pg_catalog.md5(({} * g)::text), '') FROM "
                     "pg_catalog.generate_series(1, {}) g)",
                     next_id_, kib * 32);
  for (int i = 0; i < rows; ++i) {
    WalkRow row{.id = next_id_++};
    row.begun = system_clock().now();
    connection.query(fmt::format("INSERT INTO public.walk VALUES ({}, {})", row.id, payload));
    row.done = system_clock().now();
    row.end =
        pg::parse_lsn(connection.query_value("SELECT pg_catalog.pg_current_wal_insert_lsn()"));
    if (!synchronous_.empty()) row.acknowledged_by.insert(synchronous_);
    line.push_back(row);
  }
  note(fmt::format(
      "{}: {}{}, {}, up to {} on timeline {}", server.name,
      rows == 1 ? fmt::format("row {}", next_id_ - 1)
                : fmt::format("rows {} to {}", next_id_ - rows, next_id_ - 1),
      kib == 0 ? "" : fmt::format(" of {} KiB", kib),
      synchronous_.empty() ? "acknowledged" : "acknowledged by " + synchronous_ + " too",
      pg::to_string(line.back().end), history_.line(server.line).timeline));
}

void WalkWorld::switch_wal() {
  Server& server = running_primary();
  Connection connection = connect(server);
  connection.query("SELECT pg_catalog.pg_create_restore_point('the segment ends')");
  note(fmt::format("{}: switch at {}", server.name,
                   connection.query_value("SELECT pg_catalog.pg_switch_wal()")));
}

WalkWorld::Point WalkWorld::restore_point() {
  Server& server = running_primary();
  Connection connection = connect(server);
  Point point{.name = fmt::format("p{}", next_name_++), .line = server.line};
  point.record =
      pg::parse_lsn(connection.query_value("SELECT pg_catalog.pg_current_wal_insert_lsn()"));
  point.lsn = pg::parse_lsn(connection.query_value(
      fmt::format("SELECT pg_catalog.pg_create_restore_point('{}')", point.name)));
  // It is no commit: the WAL writer flushes it, and what comes before that loses it.
  if (!comes_true([&] {
        return pg::parse_lsn(connection.query_value(
                   "SELECT pg_catalog.pg_current_wal_flush_lsn()")) >= point.lsn;
      }))
    complain(fmt::format("restore point {} is not flushed", point.name));
  point.time = system_clock().now();
  points_.push_back(point);
  note(fmt::format("{}: restore point {} at {}, {}", server.name, point.name,
                   pg::to_string(point.lsn), to_postgres(point.time)));
  return point;
}

void WalkWorld::checkpoint() {
  note(fmt::format("{}: checkpoint", running_primary().name));
  connect(running_primary()).query("CHECKPOINT");
}

void WalkWorld::synchronize_with(const std::string& standby) {
  Server& server = running_primary();
  Connection connection = connect(server);
  note(standby.empty() ? "no commit waits for a standby"
                       : fmt::format("each commit waits for {}", standby));
  connection.query(fmt::format("ALTER SYSTEM SET synchronous_standby_names = '{}'", standby));
  connection.query("SELECT pg_catalog.pg_reload_conf()");
  synchronous_ = standby;
  if (!standby.empty() && !comes_true([&] {
        return !connection
                    .query("SELECT 1 FROM pg_catalog.pg_stat_replication WHERE sync_state = 'sync'")
                    .empty();
      }))
    complain(fmt::format("{} does not become synchronous", standby));
}

// --- Holdfast -----------------------------------------------------------------------------------

Captured WalkWorld::run(const Server& server, std::vector<std::string> words,
                        const std::string& directory) {
  words.insert(words.begin(), {"-q", "--config", config_file(server)});
  SpawnOptions options{.arguments = {holdfast_program()},
                       .environment = environment_,
                       .directory = directory.empty() ? directory_ : directory};
  options.arguments.insert(options.arguments.end(), words.begin(), words.end());
  Captured ran = holdfast::run(options);
  note(fmt::format(
      "{}: holdfast {}: {}", server.name, fmt::join(std::span(words).subspan(3), " "),
      ran.status.signalled ? to_string(ran.status) : fmt::format("{}", ran.status.code)));
  return ran;
}

Captured WalkWorld::run_as_root(const Server& server, const std::vector<std::string>& words) {
  std::vector<std::string> command = {holdfast_program(), "-q", "--config", config_file(server)};
  command.insert(command.end(), words.begin(), words.end());
  Captured ran;
  const char* door = std::getenv("HOLDFAST_ROOT_DOOR");
  if (door == nullptr) {
    command.insert(command.begin(), {"unshare", "--user", "--map-root-user"});
    ran = holdfast::run({.arguments = command, .directory = directory_});
  } else {
    const std::string script = path(fmt::format("as_root{}", next_name_++));
    std::string text = fmt::format("cd {}\nexec", shell_quote(directory_));
    for (const std::string& word : command) text += " " + shell_quote(word);
    write_file_durably(script, as_bytes(text + "\n"));
    write_all(open_file(door, O_WRONLY), as_bytes(script + "\n"), door);
    if (!comes_true([&] { return lstat_if_exists(script + ".status").has_value(); }))
      complain("root does not answer");
    ran = {.status = {.signalled = false, .code = std::stoi(read_text_file(script + ".status"))},
           .out = read_text_file(script + ".out"),
           .err = read_text_file(script + ".err")};
  }
  note(fmt::format("root on the host of {}: holdfast {}: {}", server.name, fmt::join(words, " "),
                   ran.status.code));
  return ran;
}

Json WalkWorld::must(const Server& server, std::vector<std::string> words) {
  words.emplace_back("--json");
  const Captured ran = run(server, words);
  if (!ran.status.ok())
    complain(fmt::format("holdfast {} failed: {}", fmt::join(words, " "), describe(ran)));
  return Json::parse(ran.out, words.front());
}

std::string WalkWorld::back_up(const Server& server) {
  const std::string id = must(server, {"backup"}).at("backup").at("id").as_string();
  note("that is " + id);
  return id;
}

std::vector<WalkWorld::Backup> WalkWorld::backups() {
  std::vector<Backup> found;
  const Json list = must(servers_.front(), {"backup", "list"});
  log_.pop_back();
  for (const Json& one : list.at("backups").items())
    found.push_back({.id = one.at("id").as_string(),
                     .timeline = static_cast<uint32_t>(one.at("stop_timeline").as_u64()),
                     .start = pg::parse_lsn(one.at("start_lsn").as_string()),
                     .stop = pg::parse_lsn(one.at("stop_lsn").as_string()),
                     .is_damaged = !one.at("damage").is_null()});
  return found;
}

void WalkWorld::delete_backup(const std::string& id) {
  const Captured ran = run(servers_.front(), {"backup", "delete", id, "--yes"});
  // 5: a restore uses it; 2: it would be the last good one.
  if (ran.status.signalled ||
      (ran.status.code != 0 && ran.status.code != 2 && ran.status.code != 5))
    complain(describe(ran));
}

void WalkWorld::make_objects_older() {
  const auto before = std::filesystem::file_time_type::clock::now() - std::chrono::hours(1);
  for (const auto& entry : std::filesystem::recursive_directory_iterator(repository())) {
    std::error_code gone;  // an upload that has ended
    if (entry.is_regular_file(gone)) std::filesystem::last_write_time(entry.path(), before, gone);
  }
}

void WalkWorld::expire() {
  for (int i = 0; i < 2; ++i) {
    make_objects_older();
    const Captured ran = run(servers_.front(), {"expire"});
    // 5: somebody claims something.
    if (!ran.status.ok() && ran.status.code != 5) complain(describe(ran));
  }
}

Captured WalkWorld::salvage(const Server& server) {
  return run(server, {"wal", "salvage", server.data});
}

Captured WalkWorld::push(const Server& server, const std::string& file) {
  return run(server, {"wal", "push", "pg_wal/" + file}, server.data);
}

std::string WalkWorld::take_tar(const Server& server) {
  const std::string directory = path(fmt::format("tar{}", next_name_++));
  if (!has_tool("pg_basebackup")) {
    must(server, {"backup", "export", "latest", "--tar", directory});
    return directory;
  }
  note(fmt::format("pg_basebackup -Ft of {} to {}", server.name, directory));
  run_tool("pg_basebackup", {"-D", directory, "-d", conninfo(server), "-c", "fast", "-Ft", "-X",
                             "fetch", "--no-sync"});
  return directory;
}

std::string WalkWorld::import_tar(const std::string& directory) {
  return must(servers_.front(), {"backup", "import", "--tar", directory})
      .at("backup")
      .at("id")
      .as_string();
}

void WalkWorld::drill() {
  make_directories(path("drills"));
  write();  // or there is nothing to compare
  expect_archiving(running_primary());
  const Captured ran = run(*primary(), {"drill", "--drill-directory", path("drills")});
  if (!ran.status.ok()) complain(describe(ran));
}

WalkWorld::Target WalkWorld::by_name(const Point& point) {
  return {.words = {"--to-name", point.name}, .point = point};
}
WalkWorld::Target WalkWorld::by_lsn(const Point& point) {
  return {.words = {"--to-lsn", pg::to_string(point.record)}, .point = point};
}
WalkWorld::Target WalkWorld::by_time(const Point& point) {
  return {.words = {"--to", to_postgres(point.time)}, .point = point, .by_time = true};
}

// --- What the archive has
// -------------------------------------------------------------------------

std::optional<std::string> WalkWorld::wal_object(const std::string& name) const {
  const std::string clusters = path(is_away_ ? "repo.away/clusters/main" : "repo/clusters/main");
  for (const DirectoryEntry& lineage : list_directory(clusters)) {
    const std::string wal = join_path(join_path(clusters, lineage.name), "wal/");
    const std::string place =
        wal + (name.ends_with(".history")
                   ? name
                   : name.substr(0, 8) + "/" + name.substr(0, 16) + "/" + name);
    if (lstat_if_exists(place)) return place;
  }
  return std::nullopt;
}

std::string WalkWorld::segment_name(uint32_t timeline, uint64_t segment) const {
  return pg::segment_file_name({.timeline = {timeline}, .segment_number = segment}, segment_size());
}

bool WalkWorld::is_archived(uint32_t timeline, uint64_t segment) const {
  return wal_object(segment_name(timeline, segment)).has_value();
}

std::set<uint64_t> WalkWorld::archived(uint32_t timeline) const {
  return archived_of(timeline, pg::WalFileKind::kSegment);
}

std::set<uint64_t> WalkWorld::archived_of(uint32_t timeline, pg::WalFileKind kind) const {
  std::set<uint64_t> numbers;
  const std::string clusters = path(is_away_ ? "repo.away/clusters/main" : "repo/clusters/main");
  for (const DirectoryEntry& lineage : list_directory(clusters)) {
    const std::string wal =
        join_path(join_path(clusters, lineage.name), fmt::format("wal/{:08X}", timeline));
    for (const DirectoryEntry& folder :
         list_directory_if_exists(wal).value_or(std::vector<DirectoryEntry>{}))
      for (const DirectoryEntry& entry : list_directory(join_path(wal, folder.name))) {
        // A partial one has the digest of its content behind its name.
        const std::string name = entry.name.substr(0, entry.name.find('.', 25));
        const pg::WalFileName parsed = pg::parse_wal_file_name(name, segment_size());
        if (parsed.kind == kind) numbers.insert(parsed.segment.segment_number);
      }
  }
  return numbers;
}

pg::Lsn WalkWorld::received(const Server& standby) const {
  return pg::parse_lsn(value(standby,
                             "SELECT greatest(pg_catalog.pg_last_wal_receive_lsn(), "
                             "pg_catalog.pg_last_wal_replay_lsn(), '0/0')"));
}

uint64_t WalkWorld::current_segment(const Server& server) const {
  return pg::segment_of(
      pg::parse_lsn(value(server, "SELECT pg_catalog.pg_current_wal_insert_lsn()")),
      segment_size());
}

pg::Lsn WalkWorld::reach(int line, pg::Lsn start) const {
  uint64_t segment = pg::segment_of(start, segment_size());
  for (;; ++segment) {
    const int of = history_.line_of_segment(line, segment, segment_size());
    if (!is_archived(history_.line(of).timeline, segment)) break;
  }
  return pg::start_lsn(segment, segment_size());
}

WalkWorld::Reach WalkWorld::best_reach(int line, pg::Lsn up_to) {
  Reach best;
  for (const Backup& backup : backups()) {
    const std::optional<int> of = history_.line_of(backup.timeline);
    if (backup.is_damaged || !of || backup.stop > up_to ||
        !history_.is_past_of(line, *of, backup.stop))
      continue;
    best.has_backup = true;
    best.end = std::max(best.end, reach(line, backup.start));
  }
  return best;
}

// Whether a segment is missing for certain: later ones on the way of some line are archived,
// partial ones too, or its history, which begins behind it.
bool WalkWorld::has_hole() const {
  for (int line = 0; line < history_.count(); ++line) {
    const uint32_t timeline = history_.line(line).timeline;
    if (history_.line_of(timeline) != line) continue;
    const std::set<uint64_t> its = archived(timeline);
    uint64_t behind = its.empty() ? 0 : *its.rbegin();
    const std::set<uint64_t> parts = archived_of(timeline, pg::WalFileKind::kPartial);
    if (!parts.empty()) behind = std::max(behind, *parts.rbegin());
    if (wal_object(pg::history_file_name({timeline})))
      behind = std::max(behind, pg::segment_of(history_.line(line).fork, segment_size()));
    uint64_t first = behind;
    for (int of = line; of >= 0; of = history_.line(of).parent)
      if (const std::set<uint64_t> there = archived(history_.line(of).timeline); !there.empty())
        first = std::min(first, *there.begin());
    for (uint64_t segment = first; segment < behind; ++segment) {
      const int of = history_.line_of_segment(line, segment, segment_size());
      if (!is_archived(history_.line(of).timeline, segment)) return true;
    }
  }
  return false;
}

// --- Recovery -----------------------------------------------------------------------------------

std::vector<WalkRow> WalkWorld::expected_at(int line, const Target& target) const {
  if (!target.point) return history_.rows(line, kEnd);
  return target.by_time ? history_.rows_until(line, target.point->time)
                        : history_.rows(line, target.point->lsn);
}

// What a recovery along `line` has brought back, against what the target says and the archive has.
void WalkWorld::expect_recovered(int line, const Target& target, const std::vector<int64_t>& rows,
                                 const std::vector<WalkRow>& at_least) const {
  const std::vector<int64_t> whole = ids_of(expected_at(line, target));
  const bool is_right =
      target.point ? rows == whole
                   : begins_with(whole, rows) && std::ranges::includes(rows, ids_of(at_least));
  if (!is_right)
    complain(fmt::format(
        "a recovery along timeline {} ({}) brought back rows {}; right are {}{}",
        history_.line(line).timeline,
        target.words.empty() ? "latest" : fmt::format("{}", fmt::join(target.words, " ")),
        ranges_of(rows), ranges_of(whole),
        target.point ? "" : fmt::format(", and at least {}", ranges_of(ids_of(at_least)))));
  if (target.point && target.words.front() == "--to-name" &&
      !history_.is_past_of(line, target.point->line, target.point->lsn))
    complain(fmt::format("restore point {} is not on the way to timeline {}", target.point->name,
                         history_.line(line).timeline));
}

// Of this line and another only one can be recovered, and nobody but the user knows which: the
// other has later commits, or is newer and has not.
bool WalkWorld::must_be_named(int line) const {
  const auto last_of = [&](int of) {
    const std::vector<WalkRow> rows = history_.rows(of, kEnd);
    return rows.empty() ? Time::min() : rows.back().done;
  };
  for (int other = 0; other < history_.count(); ++other)
    if (last_of(other) > last_of(line) || (other > line && last_of(other) < last_of(line)))
      return true;
  return false;
}

// Whether the archive has for certain all that a recovery to the target along `line` needs.
bool WalkWorld::can_be_reached(int line, const Target& target) {
  const uint32_t timeline = history_.line(line).timeline;
  if (timeline != 1 && !wal_object(pg::history_file_name({timeline}))) return false;
  const std::vector<WalkRow> rows = expected_at(line, target);
  if (rows.empty()) return false;
  pg::Lsn until = target.point && !target.by_time ? target.point->lsn : rows.back().end;
  if (target.by_time) {
    // A later commit proves that the time was reached.
    const std::vector<WalkRow> all = history_.rows(line, kEnd);
    if (all.size() == rows.size()) return false;
    until = all[rows.size()].end;
  }
  if (target.point && !history_.is_past_of(line, target.point->line, target.point->lsn))
    return false;
  const Reach best = best_reach(line, target.point ? target.point->lsn : kEnd);
  return best.has_backup && best.end >= until;
}

bool WalkWorld::is_for_a_hole(const Captured& refused, const Server* restored) const {
  std::smatch found;
  static const std::regex kMissing("WAL segment \"([0-9A-F]{24})\" is not in the archive");
  if (!std::regex_search(refused.err, found, kMissing)) return false;
  const std::string name = found[1];
  return !wal_object(name) && (restored == nullptr ||
                               !lstat_if_exists(fmt::format("{}/pg_wal/{}", restored->data, name)));
}

bool WalkWorld::restore_in_place(Server& server, const Target& target,
                                 const std::vector<std::string>& words) {
  const bool was_primary = server.role == Role::kPrimary;
  const int before = server.line;
  std::vector<std::string> all = {"restore", "--in-place", "--yes", "--start", "--json"};
  all.insert(all.end(), target.words.begin(), target.words.end());
  all.insert(all.end(), words.begin(), words.end());
  Captured ran = run(server, all);
  if (ran.status.code == 4 && was_primary && words.empty() && must_be_named(before)) {
    all.insert(all.end(), {"--timeline", fmt::format("{}", history_.line(before).timeline)});
    ran = run(server, all);
  }
  if (ran.status.code == 4) {
    if (was_primary && !is_for_a_hole(ran, &server) && can_be_reached(before, target))
      complain(fmt::format("a target was refused that the archive has whole: {}", describe(ran)));
    return false;
  }
  if (!ran.status.ok()) complain(fmt::format("{}\n{}", describe(ran), server_log(server)));
  const Json result = Json::parse(ran.out, "restore");
  const auto along = static_cast<uint32_t>(result.at("plan").at("timeline").as_u64());
  const std::optional<int> line = history_.line_of(along);
  if (!line) complain(fmt::format("the plan goes along timeline {}", along));
  server.is_running = true;
  synchronous_.clear();
  for (Server& other : servers_) {
    if (&other == &server) continue;
    if (other.is_running) stop(other, ShutdownMode::kFast);
    if (other.role != Role::kGone) other.role = Role::kOld;
  }
  std::vector<int64_t> rows;
  try {  // it is to be where this server always was
    rows = read_rows(connect(server));
  } catch (const Error& error) {
    complain(fmt::format("restored in place, {} is not where it was: {} {}", server.name,
                         error.message(), error.detail()));
  }
  server.line = *line;
  take_line(server);
  std::vector<WalkRow> at_least = history_.rows(*line, best_reach(*line, kEnd).end);
  // To the end: no row is given up that this server had when it ended.
  if (was_primary) at_least = history_.rows(before, kEnd);
  expect_recovered(*line, target, rows, at_least);
  expect_rows(server);
  connect(server).query("ALTER SYSTEM RESET synchronous_standby_names");
  connect(server).query("SELECT pg_catalog.pg_reload_conf()");
  return true;
}

void WalkWorld::expect_recovery(const Target& target, std::optional<uint32_t> timeline) {
  const std::string copy = path("copy");
  std::vector<std::string> words = {"restore", "--into", copy, "--start", "--json"};
  words.insert(words.end(), target.words.begin(), target.words.end());
  if (timeline) words.insert(words.end(), {"--timeline", fmt::format("{}", *timeline)});
  Captured ran = run(servers_.front(), words);
  if (ran.status.code == 4) {
    const std::optional<int> line = timeline ? history_.line_of(*timeline) : std::nullopt;
    if (line && !is_for_a_hole(ran) && can_be_reached(*line, target))
      complain(fmt::format("a target was refused that the archive has whole: {}", describe(ran)));
    return;
  }
  if (!ran.status.ok()) complain(describe(ran));
  const RestoredServer restored(copy, Json::parse(ran.out, "restore"));
  const auto along = static_cast<uint32_t>(restored.result().at("plan").at("timeline").as_u64());
  const std::optional<int> line = history_.line_of(along);
  if (!line) complain(fmt::format("the plan goes along timeline {}", along));
  expect_recovered(*line, target, read_rows(restored.connect()),
                   history_.rows(*line, std::max(best_reach(*line, kEnd).end, begin_of(*line))));
}

void WalkWorld::expect_backup_restores(const Backup& backup) {
  const std::string copy = path("copy");
  const Captured ran = run(servers_.front(), {"restore", "--into", copy, "--start", "--json",
                                              "--backup", backup.id, "--to-immediate"});
  if (!ran.status.ok()) complain(fmt::format("a backup that is listed as good: {}", describe(ran)));
  const RestoredServer restored(copy, Json::parse(ran.out, "restore"));
  const std::optional<int> line = history_.line_of(backup.timeline);
  if (!line) complain(fmt::format("backup {} is of timeline {}", backup.id, backup.timeline));
  const std::vector<int64_t> rows = read_rows(restored.connect());
  if (!begins_with(ids_of(history_.rows(*line, kEnd)), rows) ||
      !begins_with(rows, ids_of(history_.rows(*line, backup.stop))))
    complain(fmt::format("backup {} has rows {}; when it ended there were {}", backup.id,
                         ranges_of(rows), ranges_of(ids_of(history_.rows(*line, backup.stop)))));
}

// --- What must be true --------------------------------------------------------------------------

std::vector<int64_t> WalkWorld::read_rows(Connection connection) const {
  std::vector<int64_t> ids;
  for (const cluster::Row& row : connection.query("SELECT id FROM public.walk ORDER BY id"))
    ids.push_back(std::stoll(row.at(0).value()));
  return ids;
}

void WalkWorld::expect_rows(Server& server) {
  const std::vector<int64_t> rows = read_rows(connect(server));
  const std::vector<int64_t> right = ids_of(history_.rows(server.line, kEnd));
  if (server.role == Role::kPrimary ? rows != right : !begins_with(right, rows))
    complain(fmt::format("{} has rows {}; acknowledged on timeline {} were {}", server.name,
                         ranges_of(rows), history_.line(server.line).timeline, ranges_of(right)));
}

void WalkWorld::expect_archiving(Server& server) {
  Connection connection = connect(server);
  const uint32_t timeline = history_.line(server.line).timeline;
  uint64_t segment = 0;
  auto next = [&] {
    connection.query("SELECT pg_catalog.pg_create_restore_point('the segment ends')");
    segment = pg::last_segment_before_end(
        pg::parse_lsn(connection.query_value("SELECT pg_catalog.pg_switch_wal()")), segment_size());
  };
  next();
  const uint64_t wanted = segment;
  // An archiver that has given up for a minute is woken by the next segment.
  auto tried = std::chrono::steady_clock::now();
  const bool gets_ahead = comes_true(
      [&] {
        // The server's word: that something is archived under the name proves nothing.
        const std::string status =
            join_path(server.data, "pg_wal/archive_status/" + segment_name(timeline, wanted));
        if (lstat_if_exists(status + ".done") ||
            (is_archived(timeline, wanted) && !lstat_if_exists(status + ".ready")))
          return true;
        if (std::chrono::steady_clock::now() > tried + std::chrono::seconds(4)) {
          next();
          tried = std::chrono::steady_clock::now();
        }
        return false;
      },
      std::chrono::seconds(25));
  if (!gets_ahead)
    complain(fmt::format("{} cannot archive {}: {} failed last; its log: {}", server.name,
                         segment_name(timeline, wanted),
                         connection.query_value("SELECT coalesce(last_failed_wal, 'nothing') FROM "
                                                "pg_catalog.pg_stat_archiver"),
                         server_log(server)));
}

// Nobody who archives has anything left to archive: what is listed now stays so.
bool WalkWorld::is_quiet() const {
  for (const Server& server : servers_) {
    if (!server.is_running || server.is_held) continue;
    if (server.role != Role::kPrimary && !server.archives_always) continue;
    for (const DirectoryEntry& entry :
         list_directory(join_path(server.data, "pg_wal/archive_status")))
      if (entry.name.ends_with(".ready")) return false;
  }
  return true;
}

void WalkWorld::expect_truthful_words() {
  if (!comes_true([&] { return is_quiet(); }, std::chrono::seconds(5))) return;
  const bool has_one = has_hole();
  const Captured verified = run(servers_.front(), {"verify", "--json"});
  // A newer backup may stand behind it: then it alarms nobody, and is told all the same.
  const bool tells_it = verified.out.find("\"hole\": true") != std::string::npos &&
                        (verified.status.code == 0 || verified.status.code == 4);
  if (has_one ? !tells_it : verified.status.code != 0)
    complain(fmt::format("{}: {}",
                         has_one ? "verify does not see that WAL is missing"
                                 : "nothing is missing or damaged, and verify says",
                         describe(verified)));
  bool lists_one = false;
  const Json listed = must(servers_.front(), {"wal", "list"});
  for (const Json& lineage : listed.at("lineages").items())
    for (const Json& timeline : lineage.at("timelines").items())
      lists_one = lists_one || !timeline.at("gaps").items().empty();
  if (lists_one != has_one)
    complain(fmt::format("{}: {}",
                         has_one ? "wal list does not see that WAL is missing"
                                 : "nothing is missing, and wal list says",
                         listed.dump()));
}

// Each moment that it names as an end of a window can be reached, on paper.
void WalkWorld::expect_truthful_info() {
  const Json info = must(servers_.front(), {"info"});
  for (const Json& lineage : info.at("clusters").items().at(0).at("lineages").items())
    for (const Json& window : lineage.at("recoverable").items())
      for (const char* end : {"start_time", "end_time"}) {
        const Captured ran =
            run(servers_.front(), {"restore", "--dry-run", "--into", path("paper"), "--to",
                                   window.at(end).as_string(), "--timeline",
                                   fmt::format("{}", window.at("timeline").as_u64())});
        if (!ran.status.ok())
          complain(fmt::format("info says \"{}\" {}: {}", end, window.at(end).as_string(),
                               describe(ran)));
      }
}

// Of what is behind the archived WAL of each line, and what is missing in it.
void WalkWorld::expect_truthful_get() {
  Server* server = primary();
  if (server == nullptr || is_away_ || !is_quiet()) return;
  for (int line = 0; line < history_.count(); ++line) {
    const uint32_t timeline = history_.line(line).timeline;
    const std::set<uint64_t> its = archived(timeline);
    if (its.empty() || history_.line_of(timeline) != line) continue;
    uint64_t first_absent = *its.begin();
    while (its.contains(first_absent)) ++first_absent;
    bool is_missed = first_absent < *its.rbegin();
    for (int child = 0; child < history_.count(); ++child) {
      const WalkLine& one = history_.line(child);
      if (one.parent == line && one.fork >= pg::end_lsn(first_absent, segment_size()) &&
          wal_object(pg::history_file_name({one.timeline})))
        is_missed = true;
    }
    const Captured ran = run(*server,
                             {"wal", "get", segment_name(timeline, first_absent), "pg_wal/WALKXLOG",
                              "--read-ahead", "0", "--timeout", "1s"},
                             server->data);
    if (ran.status.code == (is_missed ? 1 : 200) || ran.status.ok())
      complain(fmt::format("wal get {}: {}", segment_name(timeline, first_absent), describe(ran)));
  }
}

void WalkWorld::expect_all_rows() {
  for (Server& server : servers_)
    if (server.is_running && server.role != Role::kOld) expect_rows(server);
}

void WalkWorld::expect_all_is_well() {
  expect_all_rows();
  if (is_away_) return;
  Server* one = primary();
  if (one != nullptr && one->is_running && !one->is_held) expect_archiving(*one);
  expect_truthful_words();
  expect_truthful_info();
  expect_truthful_get();
}

void WalkWorld::note(const std::string& text) {
  const std::chrono::duration<double> since = std::chrono::steady_clock::now() - began_;
  log_.push_back(fmt::format("{:5.1f} s  {}", since.count(), text));
}

void WalkWorld::complain(const std::string& text) const {
  throw Error({.code = ErrorCode::kInternal, .message = text});
}

}  // namespace holdfast::test
