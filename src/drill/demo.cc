// demo.cc: the play: scenes in order, each with what is done, by which command, and what is to be
// seen then.
//
// The commands are run as a user runs them: this very program as a child process, its output shown.
// Only the parts that no command plays are code here: the throwaway cluster, the writer, the
// mistake, the disaster, and the questions asked of what came back.
#include "drill/demo.h"

#include <algorithm>
#include <fcntl.h>
#include <fstream>
#include <functional>
#include <memory>
#include <optional>
#include <pwd.h>
#include <set>
#include <sys/stat.h>
#include <unistd.h>
#include <vector>

#include <fmt/format.h>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mutex.h"
#include "base/process.h"
#include "base/task_group.h"
#include "cluster/connection.h"
#include "cluster/installation.h"
#include "cluster/own_server.h"
#include "cluster/running_server.h"
#include "cluster/server_process.h"
#include "pg/version.h"

namespace holdfast::drill {
namespace {

using cluster::Connection;
using cluster::ServerProcess;
using cluster::ServerStart;

constexpr int kPort = 5432;
constexpr int64_t kSeedRows = 2000;
// Long enough for any machine that can run a server at all; a demo that hangs teaches nothing.
constexpr std::chrono::milliseconds kServerTimeout = std::chrono::minutes(2);

cluster::Installation newest_installation(const std::string& bindir) {
  if (!bindir.empty()) {
    const std::string version = run_checked(
        {.arguments = {join_path(bindir, "postgres"), "--version"}, .bare_environment = true});
    const std::optional<std::string> parsed = cluster::parse_postgres_version(version);
    return cluster::find_installation(parsed ? std::atoi(parsed->c_str()) : 0, bindir);
  }
  for (int major = pg::kLastMajor; major > pg::kFirstMajor; --major) {
    std::optional<cluster::Installation> found;  // a major that is not installed is an answer here
    error_of({ErrorCode::kNotFound}, [&] { found = cluster::find_installation(major); });
    if (found) return *found;
  }
  return cluster::find_installation(pg::kFirstMajor);
}

// The acknowledged commits, outside the database: one line for each, on disk before the next
// begins.
class Ledger {
 public:
  explicit Ledger(const std::string& path)
      : path_(path), fd_(open_file(path, O_WRONLY | O_CREAT | O_APPEND, 0600)) {}
  void acknowledge(int64_t order) {
    write_all(fd_, as_bytes(fmt::format("{}\n", order)), path_);
    fsync_file(fd_, path_);
  }
  std::set<int64_t> read() const {
    std::set<int64_t> orders;
    std::ifstream file(path_);
    for (int64_t order = 0; file >> order;) orders.insert(order);
    return orders;
  }

 private:
  std::string path_;
  Fd fd_;
};

// Takes orders, one a transaction, until the server is gone.
class Writer {
 public:
  Writer(std::function<Connection(const std::stop_token&)> connect, Ledger& ledger,
         std::stop_token stop)
      : tasks_(std::move(stop)) {
    tasks_.start([this, connect = std::move(connect), &ledger](std::stop_token task_stop) {
      work(connect, ledger, task_stop);
    });
  }
  // No order is being taken while `action` runs; returns the last one that was acknowledged.
  template <typename Action>
  int64_t pause(Action action) {
    MutexLock lock(mutex_);
    action();
    return last_;
  }
  int64_t last() {
    MutexLock lock(mutex_);
    return last_;
  }
  void wait_for_orders(int64_t count, const std::stop_token& stop) {
    const int64_t from = last();
    while (last() < from + count) {
      MutexLock lock(mutex_);
      if (ended_)
        throw Error({.code = ErrorCode::kServer,
                     .message = "the writer has ended early",
                     .detail = problem_});
      changed_.wait_for(mutex_, std::chrono::milliseconds(200));
      throw_if_stopped(stop);
    }
  }
  void join() { tasks_.wait(); }

 private:
  void work(const std::function<Connection(const std::stop_token&)>& connect, Ledger& ledger,
            const std::stop_token& stop) {
    // The disaster ends the connection, or the demo this thread; both are this writer's way to end.
    const std::optional<Error> end = error_of(even_interrupted, [&] {
      Connection connection = connect(stop);
      while (!stop.stop_requested()) {
        MutexLock lock(mutex_);
        connection.query(
            "INSERT INTO public.orders (id, customer, amount) VALUES ($1::bigint, 'customer ' || "
            "$1::bigint % 97, 1 + $1::bigint % 500)",
            std::vector<cluster::Value>{fmt::format("{}", last_ + 1)});
        ledger.acknowledge(++last_);
        changed_.notify_all();
      }
    });
    MutexLock lock(mutex_);
    if (end) problem_ = end->message();
    ended_ = true;
    changed_.notify_all();
  }

  Mutex mutex_;
  ConditionVariable changed_;
  int64_t last_ HF_GUARDED_BY(mutex_) = kSeedRows;
  bool ended_ HF_GUARDED_BY(mutex_) = false;
  std::string problem_ HF_GUARDED_BY(mutex_);
  TaskGroup tasks_;  // last: its thread uses what stands above
};

class Play {
 public:
  Play(const DemoOptions& options, const std::function<void(std::string_view)>& say,
       const Clock& clock, std::stop_token stop)
      : options_(options),
        say_(say),
        clock_(clock),
        stop_(std::move(stop)),
        installation_(newest_installation(options.bindir)) {
    if (options.directory.empty()) {
      std::string pattern = join_path(temporary_root(), "holdfast-demo-XXXXXX");
      if (mkdtemp(pattern.data()) == nullptr) throw_errno("create directory", pattern);
      directory_ = pattern;
    } else {
      directory_ = absolute_path(options.directory);
      if (lstat_if_exists(directory_) && !is_empty_directory(directory_))
        throw Error({.code = ErrorCode::kAlreadyExists,
                     .message = fmt::format("directory \"{}\" is not empty", directory_),
                     .hint = "Name a directory that does not exist, or leave --directory out."});
      make_directories(directory_);
    }
    // The servers that stay go on archiving, wherever the program that was started goes.
    if (options.keep) {
      options_.program = join_path(directory_, "holdfast");
      write_file_durably(options_.program, read_file(options.program, size_t{1} << 30), 0755);
    }
  }

  ~Play() {
    server_.reset();
    if (options_.keep && !failed_) return;
    // A destructor must not throw, and what went wrong before is what counts.
    const std::optional<Error> error = error_of(even_interrupted, [&] {
      stop_servers();
      if (!failed_) remove_tree(directory_);
    });
    if (error) log_warning("could not clean up \"{}\": {}", directory_, error->message());
  }

  DemoResult run() {
    failed_ = true;  // until the end is reached: what is left can be looked at
    const std::chrono::steady_clock::time_point began = clock_.steady();
    DemoResult result;
    make_cluster();
    back_up();
    make_mistake();
    disaster();
    result.commits_before_mistake = static_cast<uint64_t>(recover_before_mistake());
    result.commits_in_all = static_cast<uint64_t>(recover_everything());
    epilogue();
    result.major = installation_.major;
    result.took = std::chrono::duration_cast<Microseconds>(clock_.steady() - began);
    say("");
    say(
        fmt::format("Both recoveries brought back what they had to: {} orders before the mistake, "
                    "{} acknowledged in all, 0 lost. It took {}.",
                    result.commits_before_mistake, result.commits_in_all, to_human(result.took)));
    if (options_.keep) {
      result.directory = directory_;
      say(fmt::format("Everything is kept in {}, and both servers run. To look:", directory_));
      say(fmt::format("    $ {} --config {} info", options_.program, config_file()));
      say(fmt::format("    $ psql '{}'", conninfo()));
      say("To end it:");
      for (const std::string& directory : {data(), copy()})
        say(fmt::format("    $ {} -D {} stop", installation_.program("pg_ctl"), directory));
      say(fmt::format("    $ rm -rf {}", directory_));
    }
    failed_ = false;
    return result;
  }

 private:
  // --- narration

  void say(std::string_view line) { say_(line); }
  void scene(std::string_view title) {
    say("");
    say(fmt::format("== {}", title));
  }

  // Runs this program with `words`, as a user types it, and shows what it prints.
  std::string holdfast(const std::vector<std::string>& words) {
    std::string typed = "holdfast";
    std::vector<std::string> arguments = {options_.program};
    for (const std::string& word : words) {
      typed += " " + shell_quote(word);
      arguments.push_back(word);
    }
    say("");
    say(fmt::format("$ {}", typed));
    // Nothing of the caller's leads it elsewhere: neither libpq's variables nor Holdfast's own.
    const Captured captured = holdfast::run({.arguments = arguments,
                                             .environment = {{"HOLDFAST_CONFIG", config_file()}},
                                             .bare_environment = true});
    show(captured.status.ok() ? captured.out : captured.err);
    throw_if_stopped(stop_);
    if (!captured.status.ok())
      throw Error({.code = ErrorCode::kInternal,
                   .message = fmt::format("\"{}\" {}", typed, to_string(captured.status)),
                   .detail = captured.err,
                   .hint = fmt::format("What the demo made is kept in \"{}\".", directory_)});
    return captured.out;
  }
  void show(std::string_view text) {
    while (!text.empty()) {
      const size_t end = std::min(text.find('\n'), text.size());
      say(fmt::format("    {}", text.substr(0, end)));
      text.remove_prefix(std::min(end + 1, text.size()));
    }
  }
  std::string ask(Connection& connection, const std::string& sql) {
    const std::string answer = connection.query_value(sql);
    say(fmt::format("    SQL> {};", sql));
    say(fmt::format("         {}", answer));
    return answer;
  }

  // --- places

  std::string config_file() const { return join_path(directory_, "holdfast.toml"); }
  std::string data() const { return join_path(directory_, "data"); }
  std::string wal() const { return join_path(directory_, "wal"); }
  std::string copy() const { return join_path(directory_, "before-mistake"); }
  std::string server_log() const { return join_path(directory_, "server.log"); }
  std::string conninfo() const {
    return cluster::conninfo_pair("host", directory_) +
           fmt::format(" port={} user=postgres dbname=postgres", kPort);
  }
  static std::string temporary_root() {
    const char* root = std::getenv("TMPDIR");
    return root != nullptr && *root != '\0' ? root : "/tmp";
  }

  void start_server() {
    server_.emplace(ServerStart{
        .installation = installation_, .data_directory = data(), .log_file = server_log()});
    server_->wait_until_accepting(ServerProcess::Until::kReady, kServerTimeout, stop_);
  }

  // --- scenes

  void make_cluster() {
    scene(fmt::format("A cluster to lose: PostgreSQL {} in {}", installation_.version, directory_));
    say("initdb makes it, with its WAL in a directory of its own, as on a server with a disk for "
        "WAL.");
    cluster::initdb({.installation = installation_,
                     .data_directory = data(),
                     .extra_arguments = {"--waldir", wal()}});
    // The shared memory of a server that is killed goes with its directory (mmap).
    const std::string settings = fmt::format(
        "\nlisten_addresses = ''\nunix_socket_directories = '{}'\nport = {}\nshared_buffers = "
        "64MB\nlogging_collector = off\ndynamic_shared_memory_type = mmap\n",
        directory_, kPort);
    const std::string file = join_path(data(), "postgresql.conf");
    write_file_durably(file, as_bytes(read_text_file(file) + settings));
    start_server();

    const std::string config = fmt::format(
        "[repo]\nurl = \"{}/repo\"\n\n[cluster.shop]\npgdata = \"{}\"\nconninfo = \"{}\"\nbindir = "
        "\"{}\"\n",
        directory_, data(), conninfo(), installation_.bin_directory);
    write_file_durably(config_file(), as_bytes(config));
    say(fmt::format("Holdfast's configuration, {}:", config_file()));
    show(config);
    say("init makes the repository and tells the server to hand over every WAL segment that it has "
        "filled (archive_command).");
    holdfast({"init", "--configure-server"});
    say("archive_mode takes effect with a restart.");
    server_->stop(cluster::ShutdownMode::kFast);
    start_server();
    Connection connection = connect("holdfast", stop_);
    connection.query(
        "CREATE TABLE public.orders (id bigint PRIMARY KEY, customer text NOT NULL, amount numeric "
        "NOT NULL)");
    connection.query(
        fmt::format("INSERT INTO public.orders SELECT i, 'customer ' || i % 97, 1 + i % 500 FROM "
                    "pg_catalog.generate_series(1, {}) i",
                    kSeedRows));
    ledger_ = std::make_unique<Ledger>(join_path(directory_, "acknowledged"));
    for (int64_t order = 1; order <= kSeedRows; ++order) seeded_.insert(order);
    writer_ = std::make_unique<Writer>(
        [this](const std::stop_token& stop) { return connect("orders", stop); }, *ledger_, stop_);
    writer_->wait_for_orders(50, stop_);
    say(
        fmt::format("A shop takes orders, one a transaction. Each that the server has acknowledged "
                    "is noted in a file outside the database: {} so far.",
                    writer_->last()));
  }

  void back_up() {
    scene("A backup, while the shop works on");
    holdfast({"backup"});
    writer_->wait_for_orders(200, stop_);
    say(fmt::format("More orders come in; their WAL goes to the archive: {} acknowledged.",
                    writer_->last()));
  }

  void make_mistake() {
    scene("The mistake");
    Connection connection = connect("somebody", stop_);
    last_before_mistake_ = writer_->pause(
        [&] { moment_before_ = connection.query_value("SELECT pg_catalog.clock_timestamp()"); });
    std::vector<cluster::Row> deleted = connection.query("DELETE FROM public.orders RETURNING id");
    for (const cluster::Row& row : deleted) deleted_.insert(std::stoll(row.front().value()));
    say(fmt::format(
        "At {} there were {} orders. Then somebody types a DELETE and forgets the WHERE:",
        moment_before_, last_before_mistake_));
    say("    SQL> DELETE FROM orders;");
    say(fmt::format("         DELETE {}", deleted.size()));
    writer_->wait_for_orders(100, stop_);
    say("Nobody notices. The shop takes more orders into the emptied table. A segment of WAL is "
        "archived when it is full, or when");
    say("archive_timeout has passed; here somebody hurries it:");
    const std::string switched =
        connection.query_value("SELECT pg_catalog.pg_walfile_name(pg_catalog.pg_switch_wal())");
    say(fmt::format("    SQL> SELECT pg_switch_wal();    -- archives {}", switched));
    wait_until_archived(connection, switched);
    writer_->wait_for_orders(100, stop_);
    say("And more orders come in, whose WAL is not archived yet.");
  }

  void disaster() {
    scene("Step 1, the disaster");
    server_->crash();
    server_.reset();
    writer_->join();
    cluster::remove_shared_memory(data());
    remove_tree(data());
    say("The server is killed in the middle of its work (kill -9), and the data directory is "
        "deleted:");
    say(fmt::format("    $ kill -9 $(head -1 {}/postmaster.pid); rm -rf {}", data(), data()));
    say("What is left: the repository, and the other disk with the newest WAL.");
  }

  int64_t recover_before_mistake() {
    scene("Steps 2 to 7: recovery to just before the mistake, into a new directory");
    say("One command makes the directory with its owner and modes (step 2), writes recovery.signal "
        "(3), lays the full backup (4),");
    say("has the WAL fetched from the archive in order (5), writes restore_command and the target "
        "into the configuration (6), starts the");
    say("server and follows its log (7). With --action pause the server waits at the target, "
        "read-only, so that one can look first.");
    holdfast({"restore", "--into", copy(), "--to", moment_before_, "--start", "--action", "pause"});
    struct stat status{};
    if (stat(copy().c_str(), &status) != 0) throw_errno("stat", copy());
    say(fmt::format("    step 2: {} has mode {:04o}", copy(), status.st_mode & 07777));
    say(fmt::format("    step 3: recovery.signal is {}",
                    lstat_if_exists(join_path(copy(), "recovery.signal")) ? "there" : "absent"));
    say("    step 6: what restore wrote into postgresql.auto.conf:");
    std::ifstream settings(join_path(copy(), "postgresql.auto.conf"));
    for (std::string line; std::getline(settings, line);)
      if (line.starts_with("restore_command") ||
          (line.starts_with("recovery_target") && line.find("''") == std::string::npos))
        say("        " + line);
    Connection connection = connect_to_copy();
    say("Is it the right moment? Ask the waiting server:");
    ask(connection, "SELECT count(*) FROM public.orders");
    ask(connection, "SELECT pg_catalog.pg_is_in_recovery()");

    scene("Step 8: finish");
    say("It is. finish lets the server go on (pg_wal_replay_resume) and opens it for work, on a "
        "timeline of its own:");
    holdfast({"finish", copy()});

    scene("Step 9: test");
    ask(connection, "SELECT pg_catalog.pg_is_in_recovery()");
    ask(connection, "SELECT count(*) FROM public.orders");
    ask(connection, "SELECT max(id) FROM public.orders");
    std::set<int64_t> expected = seeded_;
    for (int64_t order : ledger_->read())
      if (order <= last_before_mistake_) expected.insert(order);
    compare(connection, expected, std::nullopt, "the recovery to just before the mistake");
    say(fmt::format(
        "Every order acknowledged before {} is there, each of {}, and none that came later.",
        moment_before_, expected.size()));
    connection.query("INSERT INTO public.orders VALUES (0, 'test', 0)");
    say("It takes writes.");
    return static_cast<int64_t>(expected.size());
  }

  int64_t recover_everything() {
    scene("Once more, all steps at once: in place, to the last commit");
    say("The same cluster in its own place. Before anything is touched, the WAL that the archive "
        "does not have yet is saved from the other disk.");
    make_directory(data(), 0700);
    if (symlink(wal().c_str(), join_path(data(), "pg_wal").c_str()) != 0)
      throw_errno("create link", join_path(data(), "pg_wal"));
    say(fmt::format("    $ mkdir {0}; ln -s {1} {0}/pg_wal", data(), wal()));
    holdfast({"restore", "--in-place", "--yes", "--start"});
    Connection connection = connect("holdfast", stop_);
    ask(connection, "SELECT count(*) FROM public.orders");
    ask(connection, "SELECT max(id) FROM public.orders");
    const std::set<int64_t> acknowledged = ledger_->read();
    std::set<int64_t> expected = acknowledged;
    expected.insert(seeded_.begin(), seeded_.end());
    for (int64_t order : deleted_) expected.erase(order);
    // The order that was under way when the server was killed may have been committed without an
    // answer.
    compare(connection, expected, *acknowledged.rbegin() + 1, "the recovery to the last commit");
    say("The mistake is there too, as it should be; and every order that was acknowledged after "
        "it, up to the last.");
    return static_cast<int64_t>(acknowledged.size()) + kSeedRows;
  }

  void epilogue() {
    scene("What the repository holds now");
    holdfast({"info"});
  }

  void wait_until_archived(Connection& connection, const std::string& segment) {
    while (connection.query_value(fmt::format(
               "SELECT coalesce(last_archived_wal >= '{}', false) FROM pg_catalog.pg_stat_archiver",
               segment)) != "t")
      if (!wait_for(stop_, std::chrono::milliseconds(50))) throw_if_stopped(stop_);
  }

  // --- proof

  // What the table holds must be `expected`, and `in_doubt` may be there or not.
  void compare(Connection& connection, const std::set<int64_t>& expected,
               std::optional<int64_t> in_doubt, std::string_view what) {
    std::set<int64_t> found;
    for (const cluster::Row& row : connection.query("SELECT id FROM public.orders"))
      found.insert(std::stoll(row.front().value()));
    if (in_doubt) found.erase(*in_doubt);
    std::vector<int64_t> absent, surplus;
    std::ranges::set_difference(expected, found, std::back_inserter(absent));
    std::ranges::set_difference(found, expected, std::back_inserter(surplus));
    if (absent.empty() && surplus.empty()) return;
    throw Error({.code = ErrorCode::kConflict,
                 .message = fmt::format("{} did not bring back what was committed", what),
                 .detail = fmt::format(
                     "{} orders are absent (the first is {}), {} are too many (the first is {}).",
                     absent.size(), absent.empty() ? 0 : absent.front(), surplus.size(),
                     surplus.empty() ? 0 : surplus.front()),
                 .hint = fmt::format("Everything is kept in \"{}\" to look at.", directory_)});
  }

  Connection connect(const std::string& application_name, const std::stop_token& stop) const {
    return cluster::connect_to_server_of(
        data(), {.conninfo = conninfo(), .application_name = application_name}, stop);
  }
  Connection connect_to_copy() const {
    return cluster::connect_to_server_of(
        copy(), {.conninfo = cluster::address_of(copy()) + " user=postgres dbname=postgres"},
        stop_);
  }

  // Those that the restores have started.
  void stop_servers() {
    for (const std::string& directory : {copy(), data()})
      if (is_directory(directory))
        cluster::stop_server(directory, cluster::ShutdownMode::kFast, kServerTimeout, {});
  }

  DemoOptions options_;
  const std::function<void(std::string_view)>& say_;
  const Clock& clock_;
  std::stop_token stop_;
  cluster::Installation installation_;
  std::string directory_;
  bool failed_ = false;
  std::optional<ServerProcess> server_;
  std::unique_ptr<Ledger> ledger_;
  std::unique_ptr<Writer> writer_;
  std::set<int64_t> seeded_, deleted_;
  std::string moment_before_;
  int64_t last_before_mistake_ = 0;
};

}  // namespace

DemoResult demo(const DemoOptions& options, const std::function<void(std::string_view)>& say,
                const Clock& clock, std::stop_token stop) {
  cluster::require_libpq();  // before anything is begun
  Play play(options, say, clock, std::move(stop));
  return play.run();
}

int run_as_server_user(const std::string& program, const std::vector<std::string>& arguments) {
  // The servers' user cannot enter root's home, where the program may lie: it is given a copy.
  const TemporaryDirectory place("holdfast-demo-program");
  if (chmod(place.path().c_str(), 0755) != 0) throw_errno("change mode of", place.path());
  const std::string copy = join_path(place.path(), "holdfast");
  write_file_durably(copy, read_file(program, size_t{1} << 30), 0755);
  SpawnOptions options{.arguments = {copy}, .directory = place.path()};
  options.arguments.insert(options.arguments.end(), arguments.begin(), arguments.end());
  const ExitStatus status =
      Process(cluster::as_user(options, getpwnam("postgres") != nullptr ? "postgres" : "nobody"))
          .wait();
  return status.signalled ? 128 + status.code : status.code;
}

}  // namespace holdfast::drill
