// libpq is used through its asynchronous calls only: each wait is a poll() of the socket in rounds
// of kRound, between which a stop request is looked at. libpq's own connect_timeout does not hold
// for PQconnectPoll, so the deadline is kept here.
#include "cluster/connection.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <poll.h>
#include <unistd.h>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/environment.h"
#include "base/task_group.h"
#include "cluster/libpq.h"
#include "cluster/socket_owner.h"

namespace holdfast::cluster {
namespace {

using std::chrono::milliseconds;
using SteadyTime = std::chrono::steady_clock::time_point;

constexpr milliseconds kRound{200};
constexpr int kDefaultConnectSeconds = 10;
constexpr int kOldestMajor = 13;

// Settings of a session in which nothing ends by itself and nothing depends on the role. Those that
// a server does not have are left out by the join with pg_settings (idle_session_timeout came with
// 14, transaction_timeout with 17).
constexpr std::string_view kPrepareSession = R"(
  SELECT pg_catalog.set_config(s.name, w.value, false)
    FROM pg_catalog.pg_settings s
    JOIN (VALUES ('statement_timeout', '0'), ('lock_timeout', '0'), ('transaction_timeout', '0'),
                 ('idle_in_transaction_session_timeout', '0'), ('idle_session_timeout', '0'),
                 ('search_path', 'pg_catalog'), ('TimeZone', 'UTC'), ('DateStyle', 'ISO, YMD'),
                 ('IntervalStyle', 'postgres'), ('extra_float_digits', '1'), ('bytea_output', 'hex'),
                 ('standard_conforming_strings', 'on')) w(name, value)
      ON s.name OPERATOR(pg_catalog.=) w.name)";

// A role's search_path may name other functions first.
constexpr std::string_view kAskWho =
    "SELECT pg_catalog.pg_backend_pid(), pg_catalog.current_setting('port'), current_user, "
    "pg_catalog.current_setting('is_superuser'), pg_catalog.current_setting('server_version')";

// Before the SQLSTATE, which stands in the detail of each refusal.
constexpr std::string_view kAnsweredWith = "The server answered with SQLSTATE ";
constexpr size_t kSqlstateBytes = 5;

// The one sentence of libpq's text per line, without the newline at its end.
std::string trimmed(const char* text) {
  std::string result = text != nullptr ? text : "";
  while (!result.empty() && (result.back() == '\n' || result.back() == ' ')) result.pop_back();
  return result;
}

// Without libpq's lines "\tIs the server running locally ...?": our hint asks that.
std::string without_questions(std::string text) {
  for (size_t at = text.find("\n\t"); at != std::string::npos; at = text.find("\n\t"))
    text.erase(at, std::min(text.find('\n', at + 1), text.size()) - at);
  return text;
}

struct ResultDeleter {
  void operator()(PGresult* result) const { libpq().clear(result); }
};
using Result = std::unique_ptr<PGresult, ResultDeleter>;

struct OptionsDeleter {
  void operator()(PQconninfoOption* options) const { libpq().conninfo_free(options); }
};

std::string field(const PGresult* result, int code) {
  return trimmed(libpq().result_error_field(result, code));
}

std::unique_ptr<PQconninfoOption, OptionsDeleter> parse_conninfo(const std::string& conninfo) {
  char* problem = nullptr;
  std::unique_ptr<PQconninfoOption, OptionsDeleter> options(
      libpq().conninfo_parse(conninfo.c_str(), &problem));
  if (!options) {
    std::string detail = trimmed(problem);
    libpq().freemem(problem);
    throw Error({.code = ErrorCode::kConfiguration,
                 .message = "the server's connection string cannot be read",
                 .detail = detail + ".",
                 .hint = "Write it as libpq reads it, for example "
                         "conninfo = \"host=/var/run/postgresql port=5432 user=postgres\"."});
  }
  return options;
}

std::string value_of(const std::string& conninfo, std::string_view keyword) {
  const std::unique_ptr<PQconninfoOption, OptionsDeleter> options = parse_conninfo(conninfo);
  for (const PQconninfoOption* option = options.get(); option->keyword != nullptr; ++option)
    if (option->keyword == keyword && option->val != nullptr) return option->val;
  return {};
}

// connect_timeout as conninfo, else the environment, says; checks that conninfo can be read at all.
std::optional<milliseconds> connect_timeout(const ConnectionOptions& options) {
  std::string text = value_of(options.conninfo, "connect_timeout");
  if (const char* given = std::getenv("PGCONNECT_TIMEOUT");
      text.empty() && options.with_environment && given != nullptr)
    text = given;
  int seconds = kDefaultConnectSeconds;
  if (!text.empty()) {
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
    if (error != std::errc() || end != text.data() + text.size())
      throw Error({.code = ErrorCode::kConfiguration,
                   .message = fmt::format("invalid connect_timeout \"{}\"", text),
                   .hint = "Give a number of seconds, or 0 to wait without limit."});
  }
  if (seconds <= 0) return std::nullopt;
  return std::chrono::seconds(seconds);
}

// All that libpq reads of the environment has names that begin so.
constexpr std::string_view kOfLibpq = "PG";

std::string with_environment_named(std::string detail, bool with_environment) {
  const std::string words = with_environment ? environment_hint() : std::string();
  if (!words.empty() && !detail.ends_with('.')) detail += '.';
  return detail + words;
}

// What to look at, by the words that libpq and the server use.
std::string connect_hint(std::string_view problem, uid_t user) {
  auto says = [&](std::string_view words) { return problem.find(words) != std::string_view::npos; };
  if (says("starting up") || says("not yet accepting") || says("not accepting connections") ||
      says("in recovery mode"))
    return "The server is starting or recovering; its log tells how far it is. Try again when it "
           "accepts connections.";
  if (says("shutting down")) return "The server is being stopped; start it again first.";
  if (says("no pg_hba.conf entry") || says("pg_hba.conf rejects"))
    return "Let the role in by a line in pg_hba.conf, for example \"local all postgres peer\", and "
           "reload the server.";
  constexpr std::string_view kForUser = "for user \"";
  std::string role;
  if (const size_t at = problem.find(kForUser); at != std::string_view::npos)
    role = problem.substr(at + kForUser.size(),
                          problem.find('"', at + kForUser.size()) - at - kForUser.size());
  if (says("Peer authentication failed") || says("Ident authentication failed"))
    return fmt::format(
        "The server lets in only the operating system user of the role's name, and this is the "
        "user with id {}. Run the command as that user{}, or name another role in conninfo.",
        user, role.empty() ? std::string() : fmt::format(" (sudo -u {} ...)", role));
  if (says("authentication failed") || says("no password supplied"))
    return "Put the password into the password file (~/.pgpass, mode 0600) of the user that runs "
           "the command.";
  if (says("role \"")) return "Create the role, or name another in conninfo (user=...).";
  if (says("database \""))
    return "Name a database that exists in conninfo, for example dbname=postgres.";
  if (says("too many clients") || says("remaining connection slots"))
    return "All connections are taken; raise max_connections or end some sessions.";
  return "Is the server running, and do host and port of conninfo name its socket directory "
         "(unix_socket_directories) or address? "
         "pg_lsclusters or \"ps -fC postgres\" shows what runs.";
}

// What the operator can do, where the server's own words leave that open.
std::string statement_hint(std::string_view message, std::string hint) {
  auto says = [&](std::string_view words) { return message.find(words) != std::string_view::npos; };
  if (says("WAL level not sufficient"))
    return "Set wal_level = replica in postgresql.conf and restart the server.";
  if (says("full_page_writes"))
    return "Set full_page_writes = on on the primary, let a checkpoint pass, and take the backup "
           "again.";
  if (says("standby was promoted"))
    return "What was copied belongs to two timelines and cannot be used. Take the backup again.";
  if (says("backup is not in progress"))
    return "The session that started the backup was replaced by another, as a connection pooler "
           "does. Connect to the server itself.";
  return hint;
}

}  // namespace

struct Connection::Impl {
  std::stop_token stop;
  std::function<void(const Notice&)> on_notice;
  std::vector<Notice> notices;  // waiting to be handed on
  PGconn* connection = nullptr;
  bool with_environment = true;
  std::string version;
  std::string user;
  int major = 0;
  bool superuser = false;

  Impl() = default;
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  ~Impl() { close(); }

  void close() {
    if (connection != nullptr) libpq().finish(connection);
    connection = nullptr;
  }

  // Called by libpq; runs no code of others.
  static void take_notice(void* self, const PGresult* result) noexcept {
    std::string severity = field(result, PG_DIAG_SEVERITY_NONLOCALIZED);
    static_cast<Impl*>(self)->notices.push_back({.severity = std::move(severity),
                                                 .sqlstate = field(result, PG_DIAG_SQLSTATE),
                                                 .message = field(result, PG_DIAG_MESSAGE_PRIMARY),
                                                 .detail = field(result, PG_DIAG_MESSAGE_DETAIL),
                                                 .hint = field(result, PG_DIAG_MESSAGE_HINT)});
  }
  void hand_on_notices() {
    std::vector<Notice> taken = std::exchange(notices, {});
    if (!on_notice) return;
    for (const Notice& notice : taken) on_notice(notice);
  }

  void connect(const ConnectionOptions& options);
  void establish(const ConnectionOptions& options, std::optional<uid_t> as = std::nullopt);
  void check_server();
  [[noreturn]] void refuse_pooler(const std::string& session, const std::string& port);
  void wait_socket(short events, std::optional<SteadyTime> deadline);
  void interrupt();
  void ensure_open() const;
  Result execute(std::string_view sql, std::span<const Value> parameters);
  [[noreturn]] void throw_lost();
  [[noreturn]] void throw_refused(const PGresult* result);
};

// Waits until the socket is ready or the deadline has passed (the caller finds out which); a stop
// request ends the session.
void Connection::Impl::wait_socket(short events, std::optional<SteadyTime> deadline) {
  for (;;) {
    if (stop.stop_requested()) interrupt();
    if (deadline && std::chrono::steady_clock::now() >= *deadline) return;
    pollfd socket{.fd = libpq().socket(connection), .events = events, .revents = 0};
    int ready = poll(&socket, 1, static_cast<int>(kRound.count()));
    if (ready < 0 && errno != EINTR) throw_errno("poll", "connection to the server");
    if (ready > 0) return;
  }
}

// Cancels what runs, ends the session and throws kInterrupted.
void Connection::Impl::interrupt() {
  if (libpq().status(connection) == CONNECTION_OK) {
    if (PGcancel* cancel = libpq().get_cancel(connection); cancel != nullptr) {
      char unused[256];
      libpq().cancel(cancel, unused, sizeof unused);
      libpq().free_cancel(cancel);
    }
  }
  close();
  throw_if_stopped(stop);
  HF_CHECK(false);
}

void Connection::Impl::ensure_open() const {
  HF_CHECK(connection != nullptr);  // not used again after it was lost or interrupted
}

void Connection::Impl::throw_lost() {
  std::string problem = trimmed(libpq().error_message(connection));
  // A server that ends an idle session says why in a last message, which libpq takes for a notice.
  for (const Notice& notice : notices)
    if (notice.severity == "FATAL" || notice.severity == "PANIC") problem = notice.message + ".";
  close();
  throw Error({.code = ErrorCode::kServerUnavailable,
               .message = "the connection to the server was lost",
               .detail = problem,
               .hint = "Look into the server's log: it was stopped, it crashed, or somebody ended "
                       "the session. A connection pooler in "
                       "between must not be in transaction mode."});
}

void Connection::Impl::throw_refused(const PGresult* result) {
  std::string sqlstate = field(result, PG_DIAG_SQLSTATE);
  std::string message = field(result, PG_DIAG_MESSAGE_PRIMARY);
  if (sqlstate.empty()) throw_lost();  // libpq's own error: there was no answer
  std::string detail = field(result, PG_DIAG_MESSAGE_DETAIL);
  if (!detail.empty() && detail.back() != '.') detail += '.';
  detail += fmt::format("{}{}{}.", detail.empty() ? "" : " ", kAnsweredWith, sqlstate);
  // Class 57P: the server or an administrator ended the session, not the statement.
  if (sqlstate == "57P01" || sqlstate == "57P02" || sqlstate == "57P03" || sqlstate == "57P05") {
    close();
    throw Error({.code = ErrorCode::kServerUnavailable,
                 .message = "the server ended the session: " + message,
                 .detail = detail,
                 .hint = "Look into the server's log for who stopped it, and try again when it "
                         "accepts connections."});
  }
  if (sqlstate == "42501")
    throw Error(
        {.code = ErrorCode::kPermission,
         .message = message,
         .detail = with_environment_named(
             fmt::format("{} The session's role is \"{}\".", detail, user), with_environment),
         .hint = "As a superuser, in the database that conninfo names, run:\n" +
                 backup_role_grants(major, user)});
  throw Error({.code = ErrorCode::kServer,
               .message = message,
               .detail = detail,
               .hint = statement_hint(message, field(result, PG_DIAG_MESSAGE_HINT))});
}

// Sends one statement and waits for its last result.
Result Connection::Impl::execute(std::string_view sql, std::span<const Value> parameters) {
  ensure_open();
  std::string statement(sql);
  std::vector<const char*> values;
  values.reserve(parameters.size());
  for (const Value& parameter : parameters)
    values.push_back(parameter ? parameter->c_str() : nullptr);
  if (stop.stop_requested()) interrupt();
  if (libpq().send_query_params(connection, statement.c_str(), static_cast<int>(values.size()),
                                nullptr, values.data(), nullptr, nullptr, 0) == 0)
    throw_lost();

  for (;;) {  // until all is sent; the server may have to be read from before it reads on
    int unsent = libpq().flush(connection);
    if (unsent < 0) throw_lost();
    if (unsent == 0) break;
    wait_socket(POLLIN | POLLOUT, std::nullopt);
    if (libpq().consume_input(connection) == 0) throw_lost();
  }

  Result last;
  for (;;) {
    while (libpq().is_busy(connection) != 0) {
      wait_socket(POLLIN, std::nullopt);
      if (libpq().consume_input(connection) == 0) throw_lost();
    }
    Result next(libpq().get_result(connection));
    if (!next) break;
    ExecStatusType status = libpq().result_status(next.get());
    // COPY would wait for us for ever; no statement of ours starts one.
    HF_CHECK(status != PGRES_COPY_IN && status != PGRES_COPY_OUT && status != PGRES_COPY_BOTH);
    bool keeps_error = last && libpq().result_status(last.get()) == PGRES_FATAL_ERROR;
    if (!keeps_error) last = std::move(next);
  }
  if (!last) throw_lost();
  hand_on_notices();
  if (libpq().result_status(last.get()) == PGRES_FATAL_ERROR ||
      libpq().result_status(last.get()) == PGRES_BAD_RESPONSE) {
    throw_refused(last.get());
  }
  return last;
}

void Connection::Impl::connect(const ConnectionOptions& options) {
  throw_if_stopped(stop);
  establish(options);
  check_server();
  const Result who = execute(kAskWho, {});
  const auto told = [&](int column) { return std::string(libpq().getvalue(who.get(), 0, column)); };
  // Nothing may be set in a session that others get too.
  if (told(0) != fmt::format("{}", libpq().backend_pid(connection)))
    refuse_pooler(told(0), told(1));
  user = told(2);
  superuser = told(3) == "on";
  version = told(4);
  execute(kPrepareSession, {});
  // "15.20 (Debian 15.20-0+deb12u1)": the number alone.
  version = version.substr(0, version.find(' '));
}

// As itself first, then, `as` set, as whom root is let in.
void Connection::Impl::establish(const ConnectionOptions& options, std::optional<uid_t> as) {
  std::optional<milliseconds> timeout = connect_timeout(options);
  std::optional<SteadyTime> deadline;
  if (timeout) deadline = std::chrono::steady_clock::now() + *timeout;

  // Of a keyword given twice the last value holds: conninfo may change what stands before it, not
  // what stands behind. PgBouncer refuses whoever names "replication" (before its 1.23), so that is
  // named only where conninfo does.
  const bool names_replication = !conninfo_value(options.conninfo, "replication").empty();
  const char* const keywords[] = {"fallback_application_name",
                                  "keepalives",
                                  "keepalives_idle",
                                  "keepalives_interval",
                                  "keepalives_count",
                                  "tcp_user_timeout",
                                  "dbname",
                                  "client_encoding",
                                  names_replication ? "replication" : nullptr,
                                  nullptr};
  const char* const values[] = {
      options.application_name.c_str(), "1",    "30",    "10",   "6", "90000",
      options.conninfo.c_str(),         "UTF8", "false", nullptr};
  // libpq reads the environment in the first call, and PGTZ and its like when it says hello.
  const std::string_view hidden = options.with_environment ? std::string_view() : kOfLibpq;
  {
    const EnvironmentWithout without(hidden);
    const AsUser user_of_socket(as);
    connection = libpq().connect_start_params(keywords, values, 1);
  }
  if (connection == nullptr) throw std::bad_alloc();
  libpq().set_notice_receiver(connection, &Impl::take_notice, this);

  PostgresPollingStatusType state = PGRES_POLLING_WRITING;
  if (libpq().status(connection) == CONNECTION_BAD) state = PGRES_POLLING_FAILED;
  std::string problem;
  while (state == PGRES_POLLING_READING || state == PGRES_POLLING_WRITING) {
    wait_socket(state == PGRES_POLLING_READING ? POLLIN : POLLOUT, deadline);
    if (timeout && deadline && std::chrono::steady_clock::now() >= *deadline) {
      problem =
          fmt::format("No answer from {}{}{} within {} s.",
                      trimmed(libpq().host(connection)).empty() ? "the server"
                                                                : trimmed(libpq().host(connection)),
                      trimmed(libpq().port(connection)).empty() ? "" : ", port ",
                      trimmed(libpq().port(connection)),
                      std::chrono::duration_cast<std::chrono::seconds>(*timeout).count());
      break;
    }
    const EnvironmentWithout without(hidden);
    const AsUser user_of_socket(as);
    state = libpq().connect_poll(connection);
  }
  if (state != PGRES_POLLING_OK) {
    if (problem.empty() && !as) {
      if (const std::optional<uid_t> owner = socket_owner_for_root(
              trimmed(libpq().host(connection)), trimmed(libpq().port(connection)))) {
        close();
        return establish(options, owner);
      }
    }
    if (problem.empty()) problem = without_questions(trimmed(libpq().error_message(connection)));
    close();
    throw Error({.code = ErrorCode::kServerUnavailable,
                 .message = "could not connect to the PostgreSQL server",
                 .detail = with_environment_named(problem, options.with_environment),
                 .hint = connect_hint(problem, as.value_or(geteuid()))});
  }
}

// A pooler gives its clients keys of its own to cancel by, and lends the server's sessions to one
// after the other: per transaction, or with each client's end. What is set in one stays in it.
void Connection::Impl::refuse_pooler(const std::string& session, const std::string& port) {
  const int told = libpq().backend_pid(connection);
  close();
  throw Error(
      {.code = ErrorCode::kServer,
       .message = "the server is reached through a connection pooler",
       .detail = fmt::format("Process {} of the server answers, and whoever let us in says that it "
                             "is process {}. What is set in such a session is set for others too, "
                             "so nothing was.",
                             session, told),
       .hint = fmt::format("Let conninfo name the server itself, which listens on port {}: its "
                           "address, or a directory of its unix_socket_directories.",
                           port)});
}

void Connection::Impl::check_server() {
  major = libpq().server_version(connection) / 10000;
  if (major >= kOldestMajor) return;
  int number = libpq().server_version(connection);
  close();
  throw Error({.code = ErrorCode::kUnsupported,
               .message = fmt::format("PostgreSQL {} is not supported", major),
               .detail = fmt::format("The server reports version number {}.", number),
               .hint = fmt::format("Holdfast backs up PostgreSQL {} and later.", kOldestMajor)});
}

Connection::Connection(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Connection::~Connection() = default;
Connection::Connection(Connection&&) noexcept = default;
Connection& Connection::operator=(Connection&&) noexcept = default;

Connection Connection::connect(const ConnectionOptions& options, std::stop_token stop) {
  auto impl = std::make_unique<Impl>();
  impl->stop = std::move(stop);
  impl->on_notice = options.on_notice;
  impl->with_environment = options.with_environment;
  impl->connect(options);
  return Connection(std::move(impl));
}

std::vector<Row> Connection::query(std::string_view sql, std::span<const Value> parameters) {
  Result result = impl_->execute(sql, parameters);
  int row_count = libpq().ntuples(result.get());
  int column_count = libpq().nfields(result.get());
  std::vector<Row> rows(static_cast<size_t>(row_count));
  for (int r = 0; r < row_count; ++r) {
    Row& row = rows[static_cast<size_t>(r)];
    row.resize(static_cast<size_t>(column_count));
    for (int c = 0; c < column_count; ++c) {
      if (libpq().getisnull(result.get(), r, c) != 0) continue;
      row[static_cast<size_t>(c)].emplace(
          libpq().getvalue(result.get(), r, c),
          static_cast<size_t>(libpq().getlength(result.get(), r, c)));
    }
  }
  return rows;
}

Row Connection::query_row(std::string_view sql, std::span<const Value> parameters) {
  std::vector<Row> rows = query(sql, parameters);
  if (rows.size() != 1)
    throw Error({.code = ErrorCode::kServer,
                 .message = fmt::format("the server answered with {} rows where one was expected",
                                        rows.size()),
                 .detail = fmt::format("The statement was: {}", sql)});
  return std::move(rows.front());
}

std::string Connection::query_value(std::string_view sql, std::span<const Value> parameters) {
  Row row = query_row(sql, parameters);
  if (row.size() == 1)
    if (Value& value = row.front()) return std::move(*value);
  throw Error({.code = ErrorCode::kServer,
               .message = "the server answered with nothing where one value was expected",
               .detail = fmt::format("The statement was: {}", sql)});
}

void Connection::check_alive() {
  impl_->ensure_open();
  if (impl_->stop.stop_requested()) impl_->interrupt();
  // Something came: a notice, or a goodbye and the end of the stream, which takes a second read to
  // be seen.
  for (int reads = 0; reads < 2; ++reads) {
    pollfd socket{.fd = libpq().socket(impl_->connection), .events = POLLIN, .revents = 0};
    if (poll(&socket, 1, 0) <= 0) break;
    if (libpq().consume_input(impl_->connection) == 0) impl_->throw_lost();
    libpq().is_busy(impl_->connection);  // reads the messages that came
  }
  if (libpq().status(impl_->connection) != CONNECTION_OK) impl_->throw_lost();
  impl_->hand_on_notices();
}

int Connection::server_major() const { return impl_->major; }
const std::string& Connection::server_version() const { return impl_->version; }
const std::string& Connection::role() const { return impl_->user; }
bool Connection::is_superuser() const { return impl_->superuser; }
pid_t Connection::backend_pid() const {
  impl_->ensure_open();
  return libpq().backend_pid(impl_->connection);
}

std::string Connection::parameters() const {
  impl_->ensure_open();
  const std::unique_ptr<PQconninfoOption, OptionsDeleter> options(
      libpq().conninfo(impl_->connection));
  if (!options) throw std::bad_alloc();
  std::string text;
  for (const PQconninfoOption* option = options.get(); option->keyword != nullptr; ++option) {
    // What a service file says is among the values already.
    const std::string_view keyword = option->keyword;
    if (option->val == nullptr || *option->val == '\0' || keyword.starts_with("service")) continue;
    text += fmt::format("{}{}", text.empty() ? "" : " ", conninfo_pair(keyword, option->val));
  }
  return text;
}

std::string backup_role_grants(int server_major, std::string_view role) {
  std::string name = quote_identifier(role);
  std::string functions =
      server_major >= 15
          ? "pg_backup_start(text, boolean), pg_backup_stop(boolean)"
          : "pg_start_backup(text, boolean, boolean), pg_stop_backup(boolean, boolean)";
  // 16 can include files in pg_hba.conf and pg_ident.conf, and shows them in these two views.
  std::string ident_function = server_major >= 16 ? ", pg_ident_file_mappings()" : "";
  std::string ident_view = server_major >= 16 ? ", pg_ident_file_mappings" : "";
  return fmt::format(
      "GRANT pg_monitor TO {0};\n"
      "GRANT EXECUTE ON FUNCTION {1}, pg_switch_wal(), pg_create_restore_point(text), "
      "pg_show_all_file_settings(), pg_hba_file_rules(){2} TO {0};\n"
      "GRANT SELECT ON pg_file_settings, pg_hba_file_rules{3} TO {0};",
      name, functions, ident_function, ident_view);
}

std::string sqlstate_of(const Error& error) {
  const size_t at = error.detail().rfind(kAnsweredWith);
  if (at == std::string::npos) return {};
  return error.detail().substr(at + kAnsweredWith.size(), kSqlstateBytes);
}

void require_libpq() { libpq(); }

// By names alone: a value can be a password.
std::string environment_hint() {
  // Those of options; and what libpq reads beside them.
  std::vector<std::string> names = {"PGDATESTYLE", "PGGEQO", "PGSERVICEFILE", "PGSYSCONFDIR",
                                    "PGTZ"};
  const std::unique_ptr<PQconninfoOption, OptionsDeleter> options = parse_conninfo("");
  for (const PQconninfoOption* option = options.get(); option->keyword != nullptr; ++option)
    if (option->envvar != nullptr) names.emplace_back(option->envvar);
  std::erase_if(names,
                [](const std::string& name) { return std::getenv(name.c_str()) == nullptr; });
  std::ranges::sort(names);
  names.erase(std::ranges::unique(names).begin(), names.end());
  if (names.empty()) return "";
  return fmt::format(" libpq reads {} in the environment.", fmt::join(names, ", "));
}

std::string quote_identifier(std::string_view name) {
  std::string quoted = "\"";
  for (char c : name) {
    if (c == '"') quoted += '"';
    quoted += c;
  }
  return quoted + "\"";
}

std::string quote_literal(std::string_view text) {
  std::string quoted = "'";
  for (char c : text) {
    if (c == '\'') quoted += '\'';
    quoted += c;
  }
  return quoted + "'";
}

std::string conninfo_value(const std::string& conninfo, std::string_view keyword) {
  return value_of(conninfo, keyword);
}

std::string conninfo_with(const std::string& conninfo, std::string_view keyword,
                          std::string_view value) {
  const std::string others = conninfo_without(conninfo, keyword);
  return conninfo_pair(keyword, value) + (others.empty() ? "" : " ") + others;
}

std::string conninfo_without(const std::string& conninfo, std::string_view keyword) {
  const std::unique_ptr<PQconninfoOption, OptionsDeleter> options = parse_conninfo(conninfo);
  std::string others;
  for (const PQconninfoOption* option = options.get(); option->keyword != nullptr; ++option)
    if (option->val != nullptr && option->keyword != keyword)
      others += fmt::format("{}{}", others.empty() ? "" : " ",
                            conninfo_pair(option->keyword, option->val));
  return others;
}

std::string conninfo_pair(std::string_view key, std::string_view value) {
  std::string pair = fmt::format("{}='", key);
  for (char c : value) {
    if (c == '\'' || c == '\\') pair += '\\';
    pair += c;
  }
  return pair + "'";
}

}  // namespace holdfast::cluster
