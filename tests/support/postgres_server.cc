#include "support/postgres_server.h"

#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <map>
#include <pwd.h>
#include <sstream>
#include <sys/stat.h>
#include <unistd.h>

#include <fmt/format.h>

#include "base/error.h"
#include "base/file.h"
#include "base/process.h"
#include "base/random.h"
#include "pg/crc32c.h"

namespace holdfast::test {
namespace {

constexpr const char* kServerUser = "postgres";
constexpr std::chrono::minutes kStartPatience{2};

std::string environment(const std::string& name) {
  const char* value = std::getenv(name.c_str());
  return value != nullptr ? value : "";
}

// Makes a copy of a cluster that was never started another cluster, as initdb makes one: the system
// identifier stands in pg_control, whose CRC stands right behind what it covers, and in the first
// page of each segment of WAL (XLogLongPageHeaderData, xlog_internal.h, PostgreSQL 13 to 19).
void give_own_system_identifier(const std::string& data_directory) {
  uint64_t identifier = 0;
  system_random().fill(std::as_writable_bytes(std::span(&identifier, 1)));
  // Of nineteen digits, as every one that initdb makes of the time, and a signed number in SQL.
  constexpr uint64_t kLowest = 1'000'000'000'000'000'000;
  identifier = kLowest + identifier % (8 * kLowest);

  const std::string control_path = join_path(data_directory, "global/pg_control");
  Bytes control = read_file(control_path);
  size_t crc_at = 200;
  uint32_t crc = 0;
  for (; crc_at + sizeof crc <= 512; crc_at += sizeof crc) {
    std::memcpy(&crc, control.data() + crc_at, sizeof crc);
    if (crc == pg::crc32c(ByteView(control).first(crc_at))) break;
  }
  HF_CHECK(crc_at + sizeof crc <= 512);
  std::memcpy(control.data(), &identifier, sizeof identifier);
  crc = pg::crc32c(ByteView(control).first(crc_at));
  std::memcpy(control.data() + crc_at, &crc, sizeof crc);
  write_file_durably(control_path, control);

  const std::string wal = join_path(data_directory, "pg_wal");
  for (const DirectoryEntry& entry : list_directory(wal)) {
    if (entry.name.size() != 24) continue;  // archive_status
    const std::string path = join_path(wal, entry.name);
    const Fd segment = open_file(path, O_WRONLY);
    if (pwrite(segment.get(), &identifier, sizeof identifier, 24) != sizeof identifier)
      throw_errno("write", path);
  }
}

// initdb's work is a second of processor time, so each kind of cluster is made once in a process,
// and copied.
void make_cluster(const cluster::InitdbOptions& options) {
  static ServerDirectory originals;
  static std::map<std::string, std::string> made;
  std::string& original =
      made[fmt::format("{}-{}-{}", options.installation.major, options.data_checksums,
                       options.wal_segment_mib.value_or(0))];
  if (original.empty()) {
    cluster::InitdbOptions first = options;
    first.data_directory = join_path(originals.path(), std::to_string(made.size()));
    cluster::initdb(first);
    original = first.data_directory;
  }
  run_checked({.arguments = {"cp", "-a", original, options.data_directory}});
  give_own_system_identifier(options.data_directory);
}

}  // namespace

std::vector<int> test_majors() {
  std::string text = environment("HOLDFAST_MAJORS");
  std::istringstream words(text.empty() ? "13 15 17 19" : text);
  std::vector<int> majors;
  for (int major = 0; words >> major;) majors.push_back(major);
  return majors;
}

std::vector<int> outer_majors() {
  const std::vector<int> majors = test_majors();
  if (majors.size() == 1) return majors;
  return {majors.front(), majors.back()};
}

std::vector<int> every_major() {
  std::vector<int> majors = {13, 14, 15, 16, 17, 18};
  if (!environment("HOLDFAST_PG19").empty()) majors.push_back(19);
  return majors;
}
int newest_major() { return every_major().back(); }

cluster::Installation test_installation(int major) {
  std::string directory = environment(fmt::format("HOLDFAST_PG{}", major));
  if (directory.empty()) directory = fmt::format("/usr/lib/postgresql/{}/bin", major);
  return cluster::find_installation(major, directory);
}

std::optional<std::string> server_user() {
  if (geteuid() != 0) return std::nullopt;
  return kServerUser;
}

void give_to_server_user(const std::string& path) {
  if (std::optional<std::string> user = server_user())
    run_checked({.arguments = {"chown", "-R", "--no-dereference", *user + ":", path}});
}

ServerDirectory::ServerDirectory() {
  std::string base = environment("TMPDIR");
  // A socket's path may have 107 characters.
  std::string pattern = join_path(base.empty() || base.size() > 60 ? "/tmp" : base, "hf-pg.XXXXXX");
  if (mkdtemp(pattern.data()) == nullptr) throw_errno("create", pattern);
  path_ = pattern;
  if (chmod(path_.c_str(), 0755) != 0) throw_errno("change mode of", path_);
  give_to_server_user(path_);
}

ServerDirectory::~ServerDirectory() { remove_tree(path_); }

std::string ServerDirectory::make(std::string_view name, mode_t mode) const {
  std::string path = join_path(path_, name);
  make_directory(path, mode);
  give_to_server_user(path);
  return path;
}

PostgresServer::PostgresServer(const Options& options)
    : installation_(test_installation(options.major)),
      data_directory_(options.data_directory.value_or(join_path(directory_.path(), "data"))),
      log_file_(join_path(directory_.path(), "log")) {
  if (!options.data_directory) {
    make_cluster({.installation = installation_,
                  .data_directory = data_directory_,
                  .data_checksums = options.data_checksums,
                  .wal_segment_mib = options.wal_segment_mib,
                  .run_as = server_user()});
    std::string path = join_path(data_directory_, "postgresql.conf");
    std::string text = read_text_file(path);
    for (const std::string& line : options.config) text += line + "\n";
    write_file_durably(path, as_bytes(text));
    give_to_server_user(data_directory_);
  }
  if (options.start) start();
}

PostgresServer::~PostgresServer() = default;

cluster::Settings PostgresServer::command_line_settings() const {
  cluster::Settings settings = cluster::readable_log_settings();
  settings.insert(settings.end(), {{"listen_addresses", ""},
                                   {"unix_socket_directories", directory_.path()},
                                   {"port", "5432"},
                                   {"fsync", "off"},
                                   {"shared_buffers", "16MB"}});
  return settings;
}

void PostgresServer::start(const std::vector<std::pair<std::string, std::string>>& environment) {
  process_ = std::make_unique<cluster::ServerProcess>(
      cluster::ServerStart{.installation = installation_,
                           .data_directory = data_directory_,
                           .settings = command_line_settings(),
                           .log_file = log_file_,
                           .environment = environment,
                           .run_as = server_user()});
  process_->wait_until_accepting(cluster::ServerProcess::Until::kReadOnly, kStartPatience, {});
}

void PostgresServer::stop(cluster::ShutdownMode mode) { process_->stop(mode); }

void PostgresServer::restart() {
  stop();
  start();
}

void PostgresServer::crash() { process_->crash(); }

void PostgresServer::destroy() {
  crash();
  remove_tree(data_directory_);
}

bool PostgresServer::is_running() {
  return process_ && process_->state() != cluster::ServerState::kEnded;
}

std::string PostgresServer::conninfo(const std::string& database, const std::string& user) const {
  return fmt::format("{} port=5432 {} {}", cluster::conninfo_pair("host", directory_.path()),
                     cluster::conninfo_pair("user", user),
                     cluster::conninfo_pair("dbname", database));
}

cluster::Connection PostgresServer::connect(const std::string& database, const std::string& user) {
  return cluster::Connection::connect({.conninfo = conninfo(database, user)}, {});
}

std::vector<cluster::Row> PostgresServer::sql(std::string_view statement,
                                              const std::string& database) {
  cluster::Connection connection = connect(database);
  connection.query("SET search_path = public, pg_catalog");
  return connection.query(statement);
}

std::string PostgresServer::value(std::string_view statement, const std::string& database) {
  std::vector<cluster::Row> rows = sql(statement, database);
  if (rows.size() != 1 || rows[0].size() != 1 || !rows[0][0])
    throw Error(
        {.code = ErrorCode::kServer, .message = fmt::format("not one value: {}", statement)});
  return *rows[0][0];
}

std::string PostgresServer::log() const { return read_text_file(log_file_); }

}  // namespace holdfast::test
