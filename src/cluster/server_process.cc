#include "cluster/server_process.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <fmt/format.h>

#include "base/error.h"
#include "base/file.h"
#include "base/task_group.h"
#include "base/users.h"
#include "cluster/data_directory.h"
#include "cluster/log_follower.h"
#include "cluster/recovery_log.h"
#include "cluster/running_server.h"
#include "cluster/server_end.h"

namespace holdfast::cluster {
namespace {

using std::chrono::milliseconds;
using SteadyTime = std::chrono::steady_clock::time_point;

constexpr milliseconds kProcessRound{50};
constexpr milliseconds kDestructorPatience{10'000};
constexpr size_t kMaxReportedLines = 12;

int signal_of(ShutdownMode mode) {
  switch (mode) {
    case ShutdownMode::kSmart:
      return SIGTERM;
    case ShutdownMode::kFast:
      return SIGINT;
    case ShutdownMode::kImmediate:
      return SIGQUIT;
  }
  HF_CHECK(false);
}

struct User {
  uid_t uid = 0;
  gid_t gid = 0;
  std::string home;
};

User find_user(const std::string& name) {
  std::array<char, 16384> buffer;
  passwd entry{};
  passwd* found = nullptr;
  if (getpwnam_r(name.c_str(), &entry, buffer.data(), buffer.size(), &found) == 0 &&
      found != nullptr)
    return {.uid = entry.pw_uid, .gid = entry.pw_gid, .home = entry.pw_dir};
  throw Error({.code = ErrorCode::kNotFound,
               .message = fmt::format("user \"{}\" does not exist on this host", name),
               .hint = "Create the user, or name the one that is to own the cluster."});
}

[[noreturn]] void throw_still_running(const std::string& data_directory, pid_t pid,
                                      milliseconds timeout) {
  throw Error(
      {.code = ErrorCode::kBusy,
       .message = fmt::format("the server on \"{}\" has not ended", data_directory),
       .detail = fmt::format("Process {} is still there after {} s.", pid,
                             std::chrono::duration_cast<std::chrono::seconds>(timeout).count()),
       .hint = "A session or a checkpoint may hold it up; its log tells. Wait, or stop it with "
               "pg_ctl stop -m immediate."});
}

// A process as something that poll() can wait for, and that no other process ever takes the place
// of.
Fd open_process(pid_t pid) {
  long fd = syscall(SYS_pidfd_open, pid, 0);
  if (fd < 0 && errno != ESRCH) throw_errno("watch process", fmt::format("{}", pid));
  return fd < 0 ? Fd() : Fd(static_cast<int>(fd));
}

struct LogTail {
  RecoveryFailure failure = RecoveryFailure::kNone;
  std::string words;  // the failure as the server printed it; else its last lines
};

// What a server that gave up has written since `offset`.
LogTail read_log_tail(const std::string& path, uint64_t offset) {
  LogFollower follower(path, offset);
  RecoveryLogParser parser;
  std::optional<RecoveryEvent> first_failure;
  std::vector<std::string> last_lines;
  auto take = [&](RecoveryEvent event) {
    bool is_fatal = event.kind == RecoveryEventKind::kFailure && event.level >= LogLevel::kFatal;
    if (is_fatal && !first_failure) first_failure = std::move(event);
  };
  while (std::optional<std::string> line = follower.next_line({}, milliseconds(0))) {
    for (RecoveryEvent& event : parser.feed(*line)) take(std::move(event));
    if (last_lines.size() == kMaxReportedLines) last_lines.erase(last_lines.begin());
    last_lines.push_back(std::move(*line));
  }
  if (std::optional<RecoveryEvent> event = parser.flush()) take(std::move(*event));
  LogTail tail;
  if (first_failure) {
    tail.failure = first_failure->failure;
    tail.words = first_failure->message;
    if (!first_failure->detail.empty()) tail.words += "\n" + first_failure->detail;
    return tail;
  }
  for (const std::string& line : last_lines) tail.words += (tail.words.empty() ? "" : "\n") + line;
  return tail;
}

SpawnOptions server_command(const ServerStart& start) {
  std::string directory = absolute_path(start.data_directory);
  SpawnOptions options{.arguments = {start.installation.program("postgres"), "-D", directory}};
  for (const auto& [name, value] : start.settings) {
    options.arguments.push_back("-c");
    options.arguments.push_back(fmt::format("{}={}", name, value));
  }
  // Whoever has SQL on it reads its environment, and what it runs follows it: the caller's
  // passwords and ways (libpq's too) are not the cluster's.
  options.bare_environment = true;
  options.environment = start.environment;
  options.environment.insert(options.environment.end(), {{"LC_ALL", "C"}, {"PGDATA", directory}});
  options.directory = directory;
  options.output = start.log_file;
  options.error = "&1";
  options.new_session = true;
  return options;
}

// As the right user, in the sandbox: that is entered with the caller's rights, and left to the
// server's user.
SpawnOptions whole_command(const ServerStart& start) {
  SpawnOptions options = as_user(server_command(start), start.run_as);
  if (start.sandbox) options.arguments = in_sandbox(*start.sandbox, options.arguments);
  return options;
}

const ServerStart& checked(const ServerStart& start) {
  require_no_running_server(start.data_directory, "another is started");
  return start;
}

}  // namespace

SpawnOptions as_user(SpawnOptions options, const std::optional<std::string>& run_as) {
  uid_t self = geteuid();
  if (!run_as) {
    if (self != 0) return options;
    throw Error(
        {.code = ErrorCode::kPermission,
         .message = fmt::format("\"{}\" cannot be run as root", base_name(options.arguments.at(0))),
         .detail = "PostgreSQL refuses to run with the rights of root.",
         .hint = "Run the command as the user that owns the cluster, for example: runuser -u "
                 "postgres -- holdfast ..."});
  }
  if (self != 0 && *run_as == user_name(self)) return options;  // who may have no name, but an id
  User user = find_user(*run_as);
  if (user.uid == self && self != 0) return options;
  if (self != 0 || user.uid == 0)
    throw Error(
        {.code = ErrorCode::kPermission,
         .message = fmt::format("\"{}\" cannot be run as user \"{}\"",
                                base_name(options.arguments.at(0)), *run_as),
         .detail = self != 0
                       ? fmt::format("Only root can do that; this is the user with id {}.", self)
                       : std::string("PostgreSQL refuses to run with the rights of root."),
         .hint = "Run the command as the user that owns the cluster."});
  // setpriv becomes the program itself, so the pid stays that of the server; runuser and su stay in
  // between.
  std::vector<std::string> arguments = {"setpriv", fmt::format("--reuid={}", user.uid),
                                        fmt::format("--regid={}", user.gid), "--init-groups", "--"};
  arguments.insert(arguments.end(), options.arguments.begin(), options.arguments.end());
  options.arguments = std::move(arguments);
  options.environment.emplace_back("HOME", user.home);
  options.environment.emplace_back("USER", *run_as);
  options.environment.emplace_back("LOGNAME", *run_as);
  if (options.directory.empty()) options.directory = "/";
  return options;
}

ServerProcess::ServerProcess(const ServerStart& start)
    : start_(checked(start)),
      log_offset_(LogFollower::end_of(start.log_file)),
      process_(whole_command(start)) {}

ServerProcess::~ServerProcess() {
  if (left_running_ || process_.pid() <= 0 || process_.poll()) return;
  if (kill(process_.pid(), SIGQUIT) == 0)
    process_.wait(kDestructorPatience);  // then ~Process kills
}

ServerState ServerProcess::state() {
  if (process_.poll()) return ServerState::kEnded;
  std::optional<PostmasterPid> file = read_postmaster_pid(start_.data_directory);
  if (!file || file->pid != process_.pid()) return ServerState::kStarting;
  if (file->status == "stopping") return ServerState::kStopping;
  if (file->status != "ready") return ServerState::kStarting;
  bool recovered =
      read_control_file(start_.data_directory).control.state == pg::ClusterState::kInProduction;
  return recovered ? ServerState::kReady : ServerState::kReadOnly;
}

std::string ServerProcess::last_words() const {
  return read_log_tail(start_.log_file, log_offset_).words;
}

void ServerProcess::wait_until_accepting(Until until, milliseconds timeout,
                                         const std::stop_token& stop) {
  const SteadyTime deadline = std::chrono::steady_clock::now() + timeout;
  for (;;) {
    ServerState now = state();
    if (now == ServerState::kReady || (now == ServerState::kReadOnly && until == Until::kReadOnly))
      return;
    if (now == ServerState::kEnded) {
      ExitStatus status = process_.wait();
      LogTail tail = read_log_tail(start_.log_file, log_offset_);
      const RecoveryFailure failure =
          tail.failure == RecoveryFailure::kNone ? RecoveryFailure::kOther : tail.failure;
      throw Error(
          {.code = ErrorCode::kServer,
           .message = fmt::format("the server on \"{}\" did not start", start_.data_directory),
           .detail = fmt::format("It {}. It said: {}", to_string(status),
                                 tail.words.empty() ? "nothing" : tail.words),
           .hint = fmt::format("{} {} Its log is \"{}\".", advice(failure).meaning,
                               action_after(failure, start_.data_directory), start_.log_file)});
    }
    if (std::chrono::steady_clock::now() >= deadline)
      throw Error(
          {.code = ErrorCode::kBusy,
           .message = fmt::format("the server on \"{}\" does not accept connections yet",
                                  start_.data_directory),
           .detail = fmt::format("Process {} has been starting for {} s.", pid(),
                                 std::chrono::duration_cast<std::chrono::seconds>(timeout).count()),
           .hint =
               fmt::format("It goes on; its log \"{}\" tells how far it is.", start_.log_file)});
    throw_if_stopped(stop);
    process_.wait(kProcessRound);
  }
}

std::optional<ExitStatus> ServerProcess::wait_until_ended(milliseconds timeout,
                                                          const std::stop_token& stop) {
  const SteadyTime deadline = std::chrono::steady_clock::now() + timeout;
  for (;;) {
    auto left =
        std::chrono::duration_cast<milliseconds>(deadline - std::chrono::steady_clock::now());
    if (std::optional<ExitStatus> status =
            process_.wait(std::clamp(left, milliseconds(0), kProcessRound)))
      return status;
    if (left.count() <= 0) return std::nullopt;
    throw_if_stopped(stop);
  }
}

ExitStatus ServerProcess::stop(ShutdownMode mode, milliseconds timeout) {
  if (std::optional<ExitStatus> ended = process_.poll()) return *ended;
  process_.signal(signal_of(mode));
  std::optional<ExitStatus> status = process_.wait(timeout);
  if (!status) throw_still_running(start_.data_directory, pid(), timeout);
  return *status;
}

void ServerProcess::crash() {
  if (process_.poll()) return;
  process_.signal(SIGKILL);
  process_.wait();
}

void ServerProcess::leave_running() {
  left_running_ = true;
  process_.release();
}

bool stop_server(const std::string& data_directory, ShutdownMode mode, milliseconds timeout,
                 const std::stop_token& stop) {
  std::optional<RunningServer> server = find_running_server(data_directory);
  if (!server) return false;
  Fd process = open_process(server->pid);
  if (!process.is_open()) return true;  // it ended just now
  // The pid was looked at before the descriptor was opened: look again, so that no other process
  // gets the signal.
  std::optional<RunningServer> again = find_running_server(data_directory);
  if (!again || again->pid != server->pid) return stop_server(data_directory, mode, timeout, stop);
  if (syscall(SYS_pidfd_send_signal, process.get(), signal_of(mode), nullptr, 0) != 0 &&
      errno != ESRCH)
    throw_errno("stop server process", fmt::format("{}", server->pid));
  const SteadyTime deadline = std::chrono::steady_clock::now() + timeout;
  for (;;) {
    pollfd ended{.fd = process.get(), .events = POLLIN, .revents = 0};
    if (poll(&ended, 1, static_cast<int>(kProcessRound.count())) > 0) return true;
    throw_if_stopped(stop);
    if (std::chrono::steady_clock::now() >= deadline)
      throw_still_running(data_directory, server->pid, timeout);
  }
}

Settings readable_log_settings() {
  return {{"log_destination", "stderr"},
          {"logging_collector", "off"},
          {"lc_messages", "C"},
          {"log_min_messages", "warning"},
          {"log_error_verbosity", "default"},
          {"log_line_prefix", "%m [%p] "}};
}

void initdb(const InitdbOptions& options) {
  std::vector<std::string> arguments = {options.installation.program("initdb"),
                                        "-D",
                                        options.data_directory,
                                        "-U",
                                        options.superuser,
                                        "-A",
                                        "trust",
                                        "-E",
                                        "UTF8",
                                        "--locale=C",
                                        "--no-sync"};
  if (options.data_checksums) arguments.emplace_back("--data-checksums");
  // 18 turned the default around, and only there the opposite is an option.
  if (!options.data_checksums && options.installation.major >= 18)
    arguments.emplace_back("--no-data-checksums");
  if (options.wal_segment_mib)
    arguments.push_back(fmt::format("--wal-segsize={}", *options.wal_segment_mib));
  arguments.insert(arguments.end(), options.extra_arguments.begin(), options.extra_arguments.end());
  run_checked(as_user({.arguments = std::move(arguments),
                       .environment = {{"LC_ALL", "C"}},
                       .bare_environment = true},
                      options.run_as));
}

std::string action_after(RecoveryFailure failure, const std::string& data_directory) {
  std::string action(advice(failure).action);
  if (failure != RecoveryFailure::kAnotherServer) return action;
  std::optional<ServerOfCluster> other;
  // Where the directory does not tell whose it is, the usual advice does.
  error_of([&] {
    other = find_server_of_cluster(read_control_file(data_directory).control.system_identifier,
                                   data_directory);
  });
  if (!other) return action;
  return fmt::format(
      "A server of this very cluster runs here: process {} on \"{}\", {}, port {}. It may be "
      "production by now: do not stop it for this one. If both are wanted, start this one with "
      "another --port.",
      other->pid, other->data_directory, other->is_standby ? "a standby" : "a primary",
      other->port);
}

}  // namespace holdfast::cluster
