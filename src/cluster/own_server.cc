#include "cluster/own_server.h"

#include <charconv>

#include <fmt/format.h>

#include "base/error.h"
#include "base/file.h"
#include "cluster/data_directory.h"
#include "cluster/running_server.h"
#include "cluster/server_facts.h"

namespace holdfast::cluster {
namespace {

bool is_same_place(const std::string& a, const std::string& b) {
  const std::optional<struct stat> one = stat_if_exists(a);
  const std::optional<struct stat> other = stat_if_exists(b);
  if (one && other) return one->st_dev == other->st_dev && one->st_ino == other->st_ino;
  return absolute_path(a) == absolute_path(b);
}

}  // namespace

std::string address_of(const std::string& data_directory) {
  const std::optional<PostmasterPid> file = read_postmaster_pid(data_directory);
  if (!file || file->port == 0 || (file->socket_directory.empty() && file->listen_address.empty()))
    throw Error({.code = ErrorCode::kServer,
                 .message = fmt::format("no server accepts connections on \"{}\"", data_directory),
                 .detail = file ? "Its postmaster.pid names neither a socket nor an address."
                                : "It has no postmaster.pid."});
  const std::string host =
      file->socket_directory.empty() ? file->listen_address : file->socket_directory;
  return fmt::format("{} port={}", conninfo_pair("host", host), file->port);
}

Connection connect_to_server_of(const std::string& data_directory, ConnectionOptions options,
                                std::stop_token stop) {
  options.with_environment = false;
  Connection connection = Connection::connect(options, std::move(stop));
  require_server_of(data_directory, connection);
  return connection;
}

void require_server_of(const std::string& data_directory, Connection& connection) {
  const Row row = connection.query_row(
      "SELECT system_identifier, pg_catalog.current_setting('data_directory'), "
      "pg_catalog.pg_backend_pid() FROM pg_catalog.pg_control_system()");
  const uint64_t system = parse_signed_system_identifier(row[0].value_or(""));
  const std::string theirs = row[1].value_or("");
  const std::string session = row[2].value_or("");
  const std::optional<PostmasterPid> file = read_postmaster_pid(data_directory);
  const auto refuse = [&](const std::string& why) {
    throw Error(
        {.code = ErrorCode::kWrongCluster,
         .message = fmt::format("the server that answers is not the one on \"{}\"", data_directory),
         .detail = why,
         .hint = "Nothing was asked of it. Check what listens at that socket or address."});
  };
  if (!is_same_place(theirs, data_directory))
    refuse(fmt::format("Its data directory is \"{}\".", theirs));
  if (const uint64_t ours = read_control_file(data_directory).control.system_identifier;
      system != ours)
    refuse(fmt::format("Its system identifier is {}, that of the data directory is {}.", system,
                       ours));
  pid_t pid = 0;
  std::from_chars(session.data(), session.data() + session.size(), pid);
  const pid_t parent = parent_of(pid).value_or(0);
  if (!file || parent != file->pid)
    refuse(fmt::format("Its session {} is no child of process {}, which postmaster.pid names.",
                       session, file ? file->pid : 0));
}

}  // namespace holdfast::cluster
