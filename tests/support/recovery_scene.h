// recovery_scene.h: a cluster with its repository, to be backed up, destroyed and brought back.
//
// Everything lies below one directory: the cluster, the repository, keys, configuration file, and
// what is restored. The destructor ends every process that works below it.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/process.h"
#include "pg/lsn.h"
#include "pg/wal_file_name.h"
#include "support/postgres_server.h"
#include "support/sealing.h"

namespace holdfast::test {

// Asks until the answer is yes; what is waited for is another process, so only its own signs can be
// looked at. False when a minute has passed.
bool comes_true(const std::function<bool()>& question,
                std::chrono::seconds patience = std::chrono::seconds(60));

// Ends (SIGKILL) every process of ours whose working directory is `directory` or below it, and
// waits for their end.
void end_processes_below(const std::string& directory);
// Waits until no process works there any more.
void wait_until_deserted(const std::string& directory);

// "path mode size mtime" of everything below `directory`, sorted; empty when there is none.
std::vector<std::string> listing(const std::string& directory);
// Path below `directory` and SHA-256 of every file.
std::vector<std::string> contents(const std::string& directory);

// A server that a restore has started; stopped, and its directory removed, by the destructor.
class RestoredServer {
 public:
  RestoredServer(std::string directory, Json result);
  ~RestoredServer();
  RestoredServer(const RestoredServer&) = delete;
  RestoredServer& operator=(const RestoredServer&) = delete;

  const std::string& directory() const { return directory_; }
  const Json& result() const { return result_; }  // what "restore --json" printed
  std::string conninfo(const std::string& database = "postgres") const;
  cluster::Connection connect(const std::string& database = "postgres") const;
  std::string value(const std::string& statement) const;
  void destroy();  // now: kill -9, rm -rf

 private:
  std::string directory_;
  Json result_;
};

class RecoveryScene {
 public:
  struct Options {
    int major = 15;
    Sealing sealing = Sealing::kNone;
    std::string compression = "zstd:3";
    std::optional<int> wal_segment_mib = std::nullopt;
    std::vector<std::string> config = {};
    bool archive = true;  // archive_mode and, by "init --configure-server", archive_command
  };
  // Makes and starts the cluster, and runs "init".
  explicit RecoveryScene(const Options& options);
  // The grace period of its configuration; to be shorter than that is an emergency.
  void configure_grace(const std::string& grace) const;
  ~RecoveryScene();

  PostgresServer& server() { return *server_; }
  const std::string& directory() const { return server_->directory(); }
  std::string path(const std::string& name) const;
  std::string repository() const { return path("repo"); }
  std::string config_file() const { return path("holdfast.toml"); }
  std::string key_file() const { return path("key"); }
  pg::WalSegmentSize segment_size() const { return segment_size_; }

  // "holdfast --config FILE WORDS".
  Captured run(std::vector<std::string> words, const std::string& directory = {}) const;
  // The same, with --json, for a command that must succeed. Throws with its words when it does not.
  Json must(std::vector<std::string> words) const;
  // "restore --into <path(name)> --start WORDS".
  std::unique_ptr<RestoredServer> restore_into(const std::string& name,
                                               const std::vector<std::string>& words) const;
  // "restore --in-place --yes --start WORDS".
  std::unique_ptr<RestoredServer> restore_in_place(
      const std::vector<std::string>& words = {}) const;

  // Completes the WAL segment of the server behind `conninfo` and waits until it is archived.
  // Returns its name.
  std::string archive_current_segment();
  std::string archive_current_segment(cluster::Connection connection) const;
  // Where the archived file lies in the repository; nullopt when it is not archived.
  std::optional<std::string> wal_object(const std::string& name) const;
  // The end of the last segment archived of a timeline. Throws when there is none.
  pg::Lsn archive_end(uint32_t timeline = 1) const;
  // Names of the archived segments of a timeline, in order.
  std::vector<std::string> archived_segments(uint32_t timeline = 1) const;

  // kill -9 of the server, and none of its processes (the archiver's too) is left.
  void crash();
  // The same, and the data directory and all tablespaces are gone.
  void destroy();

  // A directory for a tablespace, named in destroy().
  std::string make_tablespace_directory(const std::string& name);

 private:
  std::unique_ptr<PostgresServer> server_;
  pg::WalSegmentSize segment_size_;
  std::vector<std::string> tablespaces_;
};

}  // namespace holdfast::test
