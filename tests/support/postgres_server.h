// postgres_server.h: throwaway clusters for tests, of any major, each in a directory and on a
// socket of its own.
//
// A thin wrapper of cluster's ServerProcess. Finding no server program is a failure of the test,
// not a skip. A test process of root's runs its servers as the user "postgres".
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cluster/connection.h"
#include "cluster/installation.h"
#include "cluster/server_process.h"

namespace holdfast::test {

// The majors to test with: HOLDFAST_MAJORS, else 13, 15, 17 and 19.
std::vector<int> test_majors();
std::vector<int> outer_majors();  // the first and the last of them
// All that there are: 13 to 18, and 19 where it is installed (tools/run_integration).
std::vector<int> every_major();
int newest_major();
// Its programs: in HOLDFAST_PG<major>, else /usr/lib/postgresql/<major>/bin. Throws when there are
// none.
cluster::Installation test_installation(int major);
// Who runs servers: "postgres" for a test process of root's, else nullopt.
std::optional<std::string> server_user();

// A directory of its own below TMPDIR, owned by the server's user; removed with all that is in it.
class ServerDirectory {
 public:
  ServerDirectory();
  ~ServerDirectory();
  ServerDirectory(const ServerDirectory&) = delete;
  ServerDirectory& operator=(const ServerDirectory&) = delete;
  const std::string& path() const { return path_; }
  // "<path>/<name>", made and owned by the server's user.
  std::string make(std::string_view name, mode_t mode = 0700) const;

 private:
  std::string path_;
};
// Gives a file or a tree to the server's user.
void give_to_server_user(const std::string& path);

class PostgresServer {
 public:
  struct Options {
    int major = 15;
    // Lines of postgresql.conf.
    std::vector<std::string> config = {};
    std::optional<int> wal_segment_mib = std::nullopt;
    bool data_checksums = true;
    // A data directory that is there, for instance a restored one: no initdb, and no line is added
    // to its files.
    std::optional<std::string> data_directory = std::nullopt;
    bool start = true;
  };
  // Makes the cluster and starts it.
  explicit PostgresServer(const Options& options);
  ~PostgresServer();  // stops it by its own pid

  void start(const std::vector<std::pair<std::string, std::string>>& environment = {});
  void stop(cluster::ShutdownMode mode = cluster::ShutdownMode::kFast);
  void restart();
  void crash();    // kill -9
  void destroy();  // kill -9, and the data directory is gone
  bool is_running();
  pid_t pid() const { return process_->pid(); }
  cluster::ServerProcess& process() { return *process_; }
  // The settings that start() gives on the command line: socket, log, nothing durable.
  cluster::Settings command_line_settings() const;

  std::vector<cluster::Row> sql(std::string_view statement,
                                const std::string& database = "postgres");
  // One value as text.
  std::string value(std::string_view statement, const std::string& database = "postgres");
  cluster::Connection connect(const std::string& database = "postgres",
                              const std::string& user = "postgres");
  std::string conninfo(const std::string& database = "postgres",
                       const std::string& user = "postgres") const;

  const cluster::Installation& installation() const { return installation_; }
  int major() const { return installation_.major; }
  const std::string& directory() const { return directory_.path(); }
  const ServerDirectory& server_directory() const { return directory_; }
  const std::string& data_directory() const { return data_directory_; }
  const std::string& log_file() const { return log_file_; }
  std::string log() const;

 private:
  ServerDirectory directory_;
  cluster::Installation installation_;
  std::string data_directory_;
  std::string log_file_;
  std::unique_ptr<cluster::ServerProcess> process_;
};

}  // namespace holdfast::test
