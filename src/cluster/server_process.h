// server_process.h: starting and stopping a server on a data directory, and making one.
//
// "postgres" itself is started, in a session of its own, not pg_ctl: its process is our child, so
// its pid is known from the first moment, its end is seen at once with its status, and no wrong
// process is ever signalled. PostgreSQL refuses to run as root; with `run_as`, root starts it as
// that user.
//
// Facts: pidfile.h, postmaster.c, PostgreSQL 13 to 19. The last line of postmaster.pid says whether
// connections are accepted ("ready", in hot standby too; "standby" means recovering without them);
// whether recovery has ended is said by pg_control, written just before the first write is
// possible.
#pragma once

#include <chrono>
#include <optional>
#include <stop_token>
#include <string>
#include <sys/types.h>
#include <utility>
#include <vector>

#include "base/process.h"
#include "cluster/installation.h"
#include "cluster/recovery_log.h"
#include "cluster/sandbox.h"

namespace holdfast::cluster {

using Settings = std::vector<std::pair<std::string, std::string>>;

// smart waits for sessions to end, fast ends them (a clean stop), immediate leaves everything to
// recovery.
enum class ShutdownMode : uint8_t { kSmart, kFast, kImmediate };

enum class ServerState : uint8_t {
  kStarting,  // or recovering without accepting connections
  kReadOnly,  // recovering, and accepts read-only connections
  kReady,     // accepts connections
  kStopping,
  kEnded,
};

struct ServerStart {
  Installation installation;
  std::string data_directory;
  // Given on the command line, where they win over every file. See readable_log_settings().
  Settings settings = {};
  // Its output is appended here; made when missing, readable by the caller alone.
  std::string log_file = {};
  // Beside what any program has (base/process.h, kNeededVariables): what its restore_command needs.
  std::vector<std::pair<std::string, std::string>> environment = {};
  // The operating system user; needed as root, and only there.
  std::optional<std::string> run_as = std::nullopt;
  // Where it is to run, when not among all else of the host.
  std::optional<Sandbox> sandbox = std::nullopt;
};

class ServerProcess {
 public:
  // Throws kPermission as root without run_as, kBusy when a server runs there already, kNotFound
  // and kIo.
  explicit ServerProcess(const ServerStart& start);
  ~ServerProcess();  // stops the server at once (immediate) unless it ended or was left running
  ServerProcess(ServerProcess&&) noexcept = default;
  ServerProcess& operator=(ServerProcess&&) = delete;

  pid_t pid() const { return process_.pid(); }
  const std::string& data_directory() const { return start_.data_directory; }
  const std::string& log_file() const { return start_.log_file; }
  // Why it ended, as its log says since it was started: the first FATAL, or else the last lines.
  std::string last_words() const;

  ServerState state();
  // Set once the server has ended.
  std::optional<ExitStatus> exit_status() { return process_.poll(); }

  // Waits until the server accepts connections, read-only ones too unless `writable` is asked for.
  // Throws kServer with the log's own words when it ends instead, kBusy when `timeout` passes (it
  // runs on), kInterrupted.
  enum class Until { kReadOnly, kReady };
  void wait_until_accepting(Until until, std::chrono::milliseconds timeout,
                            const std::stop_token& stop);
  // nullopt: still running after `timeout`. Throws kInterrupted.
  std::optional<ExitStatus> wait_until_ended(std::chrono::milliseconds timeout,
                                             const std::stop_token& stop);

  // Asks it to stop and waits; throws kBusy when it has not ended within `timeout`.
  ExitStatus stop(ShutdownMode mode, std::chrono::milliseconds timeout = std::chrono::minutes(5));
  // kill -9 of the postmaster, as a crash; its other processes notice and end by themselves. Waits
  // for the postmaster.
  void crash();
  // From here on the server lives without us; only pid-less calls (stop_server) reach it.
  void leave_running();

 private:
  ServerStart start_;
  uint64_t log_offset_;
  Process process_;
  bool left_running_ = false;
};

// Stops the server that runs on a data directory, whoever started it; false when none does.
// Throws kBusy when it has not ended within `timeout`, kPermission when it is another user's,
// kInterrupted.
bool stop_server(const std::string& data_directory, ShutdownMode mode,
                 std::chrono::milliseconds timeout, const std::stop_token& stop);

// A log that LogFollower and RecoveryLogParser can read: to the server's stderr, in English, with
// every line that tells of recovery.
Settings readable_log_settings();

// What to do about a start that failed, as advice() has it. But where a server of this very cluster
// runs on another directory of this host, which may be production, nobody is told to stop it.
std::string action_after(RecoveryFailure failure, const std::string& data_directory);

struct InitdbOptions {
  Installation installation;
  std::string data_directory;  // made by initdb, in a directory that `run_as` may write
  std::string superuser = "postgres";
  bool data_checksums = true;
  std::optional<int> wal_segment_mib = std::nullopt;
  std::vector<std::string> extra_arguments = {};
  std::optional<std::string> run_as = std::nullopt;
};
// Makes a cluster: UTF8, locale C, local connections trusted. Throws kIo with initdb's words.
void initdb(const InitdbOptions& options);

// The same program started as `run_as`: root needs that, everybody else must be that user already.
// Throws kPermission when the user cannot be taken on, kNotFound when there is no such user, and,
// as root without run_as, kPermission (PostgreSQL's programs do not run as root).
SpawnOptions as_user(SpawnOptions options, const std::optional<std::string>& run_as);

}  // namespace holdfast::cluster
