// connection.h: one session on a PostgreSQL server, by SQL in text form.
//
// Whatever is asked of the server here is short text: settings, positions, the two calls of a
// backup. The session is made fit for a long backup: every timeout by which the server could end it
// is off, keepalives notice a server that went away, and what it prints does not depend on the
// role's settings (UTF-8, UTC, ISO dates, search_path pg_catalog). All of that is set in the
// session and stays in it, so a session that is not ours alone, a connection pooler's, is refused
// before.
//
// A stop request is seen within a second, also while the server works: the statement is cancelled,
// the session ends, and the call throws kInterrupted. One thread at a time.
//
// Facts: libpq of PostgreSQL 15, "Asynchronous Command Processing"; SQLSTATEs from errcodes.txt.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <sys/types.h>
#include <vector>

#include "base/error.h"

namespace holdfast::cluster {

// What the server says beside its answer: NOTICE, WARNING.
struct Notice {
  std::string severity;  // "WARNING", in English from every server
  std::string sqlstate;
  std::string message;
  std::string detail;
  std::string hint;
};

struct ConnectionOptions {
  // A libpq connection string or URI; what it leaves out comes from libpq's defaults.
  std::string conninfo;
  // Before the defaults comes libpq's environment (PGHOST, PGHOSTADDR, PGSERVICE, PGOPTIONS ...),
  // as for psql: the way to production is the user's to choose. To a server of ours it leads
  // elsewhere (own_server.h).
  bool with_environment = true;
  // What pg_stat_activity shows, unless conninfo names something else.
  std::string application_name = "holdfast";
  // Called after the statement that caused the notice, never from within libpq.
  std::function<void(const Notice&)> on_notice = {};
};

using Value = std::optional<std::string>;  // nullopt is SQL's NULL
using Row = std::vector<Value>;

class Connection {
 public:
  // Connects within connect_timeout seconds of conninfo or PGCONNECT_TIMEOUT (10 when neither says;
  // 0 waits for ever), for all hosts of conninfo together. Root that a server's socket does not let
  // in comes as the user whose socket it is. `stop` holds for the whole life of the
  // connection. Throws kConfiguration for a conninfo that cannot be read, kServerUnavailable when
  // nobody answers or the server does not let us in, kServer for a pooler's session, kUnsupported
  // for a server older than 13 and where libpq cannot be loaded, kInterrupted.
  static Connection connect(const ConnectionOptions& options, std::stop_token stop);

  ~Connection();  // ends the session
  Connection(Connection&&) noexcept;
  Connection& operator=(Connection&&) noexcept;

  // Runs one statement with $1, $2, ... and returns its rows, empty for a statement without any.
  // Throws kServer (SQLSTATE in the detail), kPermission for 42501 with the GRANTs that the backup
  // role needs, kServerUnavailable when the connection is lost, kInterrupted. After the last two
  // the connection can only be destroyed.
  std::vector<Row> query(std::string_view sql, std::span<const Value> parameters = {});
  // The same for a statement that gives exactly one row; and one row of one value that is not NULL.
  // Throws kServer otherwise.
  Row query_row(std::string_view sql, std::span<const Value> parameters = {});
  std::string query_value(std::string_view sql, std::span<const Value> parameters = {});

  // Throws kServerUnavailable when the server has ended the session or gone away; asks the server
  // nothing when nothing came.
  void check_alive();

  int server_major() const;                   // 15
  const std::string& server_version() const;  // "15.18"
  // The role of this session, and whether it is a superuser.
  const std::string& role() const;
  bool is_superuser() const;
  pid_t backend_pid() const;
  // How the server was reached, as a connection string that needs no environment and no service
  // file to lead there again. Holds the password, if one was given.
  std::string parameters() const;

 private:
  struct Impl;
  explicit Connection(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// The statements that let `role` do all that Holdfast asks of a server of this major by SQL, one a
// line, to be run by a superuser in the database that Holdfast connects to.
std::string backup_role_grants(int server_major, std::string_view role);

// With which the server has refused a statement; empty for an error of another kind.
std::string sqlstate_of(const Error& error);

// Throws kUnsupported where libpq cannot be loaded, as connect() would later.
void require_libpq();

// A sentence for a hint, when production turns out to be another server: that libpq's environment
// had a part in the way there, by the names of its variables. Begins with a blank; empty without
// any.
std::string environment_hint();

// "name" as an SQL identifier and 'text' as an SQL literal, quoted.
std::string quote_identifier(std::string_view name);
std::string quote_literal(std::string_view text);
// What a connection string says of a keyword ("host", "user"); empty when it says nothing. Throws
// kConfiguration for one that cannot be read, kUnsupported where libpq cannot be loaded.
std::string conninfo_value(const std::string& conninfo, std::string_view keyword);
// The same connection string with another value for a keyword.
std::string conninfo_with(const std::string& conninfo, std::string_view keyword,
                          std::string_view value);
// The same connection string without that keyword.
std::string conninfo_without(const std::string& conninfo, std::string_view keyword);
// key='value' with the value quoted for a libpq connection string.
std::string conninfo_pair(std::string_view key, std::string_view value);

}  // namespace holdfast::cluster
