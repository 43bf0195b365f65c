#include "cluster/server_end.h"

#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/file.h"
#include "cluster/connection.h"
#include "cluster/data_directory.h"
#include "cluster/running_server.h"
#include "cluster/server_facts.h"
#include "cluster/start_barrier.h"
#include "pg/control_file.h"

namespace holdfast::cluster {
namespace {

// For a socket or an address out of postmaster.pid; conninfo has its own.
constexpr std::string_view kAskSeconds = "5";
// A server that works writes pg_control between two looks at it, but not every time.
constexpr int kLooks = 3;

struct Place {
  std::string name;  // for people
  ConnectionOptions options;
};

// As the role of conninfo, to somewhere else.
std::string conninfo_to(const std::string& conninfo, const std::string& host, uint16_t port) {
  std::string changed = conninfo.empty() ? "user=postgres dbname=postgres" : conninfo;
  for (const char* keyword : {"hostaddr", "target_session_attrs"})
    changed = conninfo_without(changed, keyword);
  changed = conninfo_with(changed, "host", host);
  changed = conninfo_with(changed, "port", fmt::format("{}", port));
  return conninfo_with(changed, "connect_timeout", kAskSeconds);
}

std::vector<Place> places_to_ask(const std::optional<PostmasterPid>& file,
                                 const std::string& conninfo) {
  std::vector<Place> places;
  const auto add = [&](const std::string& host, std::string name) {
    places.push_back({.name = std::move(name),
                      .options = {.conninfo = conninfo_to(conninfo, host, file->port),
                                  .with_environment = false}});
  };
  if (file && file->port != 0 && !file->socket_directory.empty())
    add(file->socket_directory,
        fmt::format("socket {}/.s.PGSQL.{}", file->socket_directory, file->port));
  if (file && file->port != 0 && !file->listen_address.empty()) {
    const std::string host = file->listen_address == "*" ? "localhost" : file->listen_address;
    add(host, fmt::format("{} port {}", host, file->port));
  }
  if (!conninfo.empty()) places.push_back({.name = "conninfo", .options = {.conninfo = conninfo}});
  for (Place& place : places) place.options.application_name = "holdfast";
  return places;
}

// Two servers of one cluster may agree in much, but not in when each has last written its
// pg_control and where its last checkpoint is.
bool works_on(const std::string& data_directory, Connection& connection) {
  for (int look = 0; look < kLooks; ++look) {
    const Row row = connection.query_row(
        "SELECT s.system_identifier, pg_catalog.date_part('epoch', "
        "s.pg_control_last_modified)::bigint, c.checkpoint_lsn FROM "
        "pg_catalog.pg_control_system() s, pg_catalog.pg_control_checkpoint() c");
    const pg::ControlFile ours = read_control_file(data_directory).control;
    if (parse_signed_system_identifier(row[0].value_or("")) != ours.system_identifier) return false;
    const auto written =
        std::chrono::floor<std::chrono::seconds>(ours.updated_at.time_since_epoch()).count();
    if (row[1] == fmt::format("{}", written) && row[2] == pg::to_string(ours.checkpoint_lsn))
      return true;
  }
  return false;
}

struct Answers {
  std::optional<std::string> from_it;  // where it answered
  std::vector<std::string> others;     // what came of the other places
};

Answers ask(const std::string& data_directory, const std::vector<Place>& places,
            const std::stop_token& stop) {
  Answers answers;
  for (const Place& place : places) {
    const std::optional<Error> failure = error_of([&] {
      Connection connection = Connection::connect(place.options, stop);
      if (works_on(data_directory, connection))
        answers.from_it = place.name;
      else
        answers.others.push_back(fmt::format("{}: another server answers", place.name));
    });
    if (answers.from_it) return answers;
    if (failure)
      answers.others.push_back(
          fmt::format("{}: {}", place.name,
                      failure->detail().empty() ? failure->message() : failure->detail()));
  }
  return answers;
}

Error runs(const std::string& data_directory, const std::string& how, std::string_view purpose) {
  return Error({.code = ErrorCode::kBusy,
                .message = fmt::format("a PostgreSQL server is running on \"{}\"", data_directory),
                .detail = how,
                .hint = fmt::format("Stop it before {}: pg_ctl -D {} stop, or systemctl stop "
                                    "postgresql@<version>-<cluster>.",
                                    purpose, data_directory)});
}

Error may_run(const std::string& data_directory, const UnseenServer& unseen, const Answers& answers,
              std::string_view purpose) {
  const std::string file = join_path(data_directory, "postmaster.pid");
  std::string detail =
      unseen.file ? fmt::format("\"{}\" names process {}, which is not seen from here. {}", file,
                                unseen.file->pid, unseen.why)
                  : fmt::format("\"{}\" is empty, as while a server starts. {}", file, unseen.why);
  if (!answers.others.empty())
    detail += fmt::format(" Asked: {}.", fmt::join(answers.others, "; "));
  return Error({.code = ErrorCode::kBusy,
                .message = fmt::format("it is not certain that the server of \"{}\" has ended",
                                       data_directory),
                .detail = detail,
                .hint = fmt::format("If it runs, stop it where it does before {}. If it is dead, "
                                    "say so: add --server-is-dead, or remove \"{}\".",
                                    purpose, file)});
}

}  // namespace

std::optional<Error> why_server_may_run(const std::string& data_directory, std::string_view purpose,
                                        const ServerWitness& witness, const std::stop_token& stop) {
  if (const std::optional<RunningServer> server = find_running_server(data_directory))
    return runs(data_directory,
                server->is_postmaster
                    ? fmt::format("Its process id is {}.", server->pid)
                    : fmt::format("Process {} of a server still uses its files or its shared "
                                  "memory.",
                                  server->pid),
                purpose);
  const Sight sight = sight_of(data_directory);
  if (sight.all_processes && sight.own_file_system) return std::nullopt;
  const std::optional<UnseenServer> unseen = find_unseen_server(data_directory, sight);
  // Without a pg_control nobody can be told from another.
  if (!unseen && !lstat_if_exists(control_file_path(data_directory))) return std::nullopt;
  const Answers answers = ask(
      data_directory, places_to_ask(unseen ? unseen->file : std::nullopt, witness.conninfo), stop);
  if (answers.from_it)
    return runs(
        data_directory,
        fmt::format("It answers at {}; its process is not seen from here.", *answers.from_it),
        purpose);
  if (!unseen || witness.declared_dead) return std::nullopt;
  return may_run(data_directory, *unseen, answers, purpose);
}

std::optional<Error> why_server_may_write_wal(const std::string& wal_directory,
                                              std::string_view purpose) {
  const std::optional<RunningServer> server = find_server_of_wal(wal_directory);
  if (!server) return std::nullopt;
  return Error(
      {.code = ErrorCode::kBusy,
       .message = fmt::format("a PostgreSQL server writes its WAL into \"{}\"", wal_directory),
       .detail = fmt::format("Process {} works in its data directory.", server->pid),
       .hint = fmt::format("Stop it before {}.", purpose)});
}

void require_no_running_server(const std::string& data_directory, std::string_view purpose,
                               const ServerWitness& witness, const std::stop_token& stop) {
  if (const std::optional<Error> why = why_server_may_run(data_directory, purpose, witness, stop))
    throw Error(*why);
}

}  // namespace holdfast::cluster
