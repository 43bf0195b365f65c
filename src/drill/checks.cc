#include "drill/checks.h"

#include <algorithm>
#include <fcntl.h>
#include <signal.h>

#include <fmt/format.h>

#include "base/error.h"
#include "base/file.h"
#include "base/process.h"
#include "base/task_group.h"
#include "cluster/data_directory.h"
#include "cluster/own_server.h"
#include "pg/page.h"
#include "pg/relation_file.h"
#include "pg/version.h"

namespace holdfast::drill {
namespace {

constexpr int kRowsAtOnce = 500;
constexpr size_t kReadBytes = size_t{1} << 20;
constexpr size_t kWordsOfAProgram = 2000;
constexpr int kReadAgain = 10;
constexpr std::chrono::milliseconds kReadAgainPause{50};

// What a session begins with wins over what its database and its role have (guc.h, GucSource).
// Event triggers: before 17 those that do not fire in a replica, which are all but the rare ones
// that somebody has enabled for it.
constexpr int kFirstMajorWithEventTriggersOff = 17;
constexpr std::string_view kEventTriggersOff = "-c event_triggers=off";
constexpr std::string_view kAsAReplica = "-c session_replication_role=replica";
constexpr std::string_view kOwnSession[] = {"session_preload_libraries=",
                                            "local_preload_libraries=",
                                            "role=none",
                                            "default_transaction_read_only=off",
                                            "statement_timeout=0",
                                            "ignore_checksum_failure=off",
                                            "zero_damaged_pages=off"};

bool is_bad(pg::PageVerdict verdict) {
  return verdict == pg::PageVerdict::kBadChecksum || verdict == pg::PageVerdict::kBadHeader;
}

std::string directory_of_database(const std::string& oid, const std::string& tablespace,
                                  int major) {
  constexpr const char* kDefaultTablespace = "1663";
  if (tablespace == kDefaultTablespace) return fmt::format("base/{}", oid);
  return fmt::format("pg_tblspc/{}/{}/{}", tablespace, pg::tablespace_version_directory(major),
                     oid);
}

// The database's own code, names or rights stand in the way, which is no damage: classes 0A, 25,
// 3F, 42 and P0 (errcodes.txt). An index calls the functions of its expressions.
bool is_refusal(const Error& error) {
  const std::string state = cluster::sqlstate_of(error).substr(0, 2);
  return state == "0A" || state == "25" || state == "3F" || state == "42" || state == "P0";
}

std::string first_line(std::string_view text) {
  const size_t end = text.find('\n');
  return std::string(text.substr(0, end)) + (end == std::string_view::npos ? "" : " …");
}

}  // namespace

std::string words_of(const Error& error) {
  std::string words = error.message();
  if (!error.detail().empty()) words += ": " + error.detail();
  while (words.ends_with('.')) words.pop_back();
  return words;
}

void add_failure(repo::DrillCheck& check, std::string words) {
  ++check.failure_count;
  if (check.failures.size() < repo::kNamedFailures) check.failures.push_back(std::move(words));
}

std::string CheckedServer::conninfo(const std::string& database_name) const {
  std::string way = cluster::conninfo_with(base_conninfo, "dbname", database_name);
  if (!is_throwaway) return way;
  std::string options(installation.major >= kFirstMajorWithEventTriggersOff ? kEventTriggersOff
                                                                            : kAsAReplica);
  for (const std::string_view setting : kOwnSession) options += fmt::format(" -c {}", setting);
  return cluster::conninfo_with(way, "options", options);
}

cluster::Connection CheckedServer::connect(const std::string& database_name,
                                           const std::stop_token& stop) const {
  return cluster::connect_to_server_of(
      data_directory, {.conninfo = conninfo(database_name), .application_name = "holdfast drill"},
      stop);
}

Checks::Checks(CheckedServer server, const Clock& clock, Reporter& reporter, std::stop_token stop)
    : server_(std::move(server)), clock_(clock), reporter_(reporter), stop_(std::move(stop)) {}

template <typename Check>
repo::DrillCheck Checks::timed(std::string name, std::string what, const Check& check) {
  reporter_.phase(fmt::format("checking: {}", name), 0);
  const auto begun = clock_.steady();
  repo::DrillCheck result{.name = std::move(name), .state = "passed", .what = std::move(what)};
  check(result);
  if (result.failure_count > 0) result.state = "failed";
  result.took = std::chrono::duration_cast<Microseconds>(clock_.steady() - begun);
  return result;
}

repo::DrillCheck Checks::databases() {
  return timed("databases", "databases", [&](repo::DrillCheck& check) {
    std::vector<std::string> names;
    std::string left_out;
    const std::optional<Error> unlisted = error_of([&] {
      cluster::Connection connection = server_.connect(server_.database, stop_);
      for (const cluster::Row& row : connection.query(
               "SELECT datname, datallowconn AND datconnlimit <> -2, oid, dattablespace FROM "
               "pg_catalog.pg_database ORDER BY datname")) {
        // Where nobody can connect it may have been half dropped.
        const std::string directory = directory_of_database(
            row[2].value_or(""), row[3].value_or(""), server_.installation.major);
        if (row[1] == "t") {
          names.push_back(row[0].value_or(""));
        } else if (!lstat_if_exists(join_path(server_.data_directory, directory))) {
          ++check.count;
          add_failure(check, fmt::format("{}: its files are gone, there is no \"{}\"",
                                         row[0].value_or(""), directory));
        } else if (row[0] != "template0") {
          left_out += fmt::format("{}\"{}\"", left_out.empty() ? "" : ", ", row[0].value_or(""));
        }
      }
    });
    if (unlisted) {
      add_failure(check, fmt::format("{}: {}", server_.database, words_of(*unlisted)));
      return;
    }
    if (!left_out.empty())
      check.note = fmt::format("Not looked at, because nobody may connect to them: {}.", left_out);
    for (const std::string& name : names) {
      ++check.count;
      const std::optional<Error> failure = error_of([&] {
        server_.connect(name, stop_)
            .query_value("SELECT pg_catalog.count(*) FROM pg_catalog.pg_class");
      });
      if (failure)
        add_failure(check, fmt::format("{}: {}", name, words_of(*failure)));
      else
        databases_.push_back(name);
    }
  });
}

// In a throwaway cluster. Returns the refusal when something of the database's own is in the way;
// damage that comes to light is thrown.
std::optional<Error> Checks::make_amcheck(cluster::Connection& connection) const {
  if (!server_.is_throwaway) return std::nullopt;
  std::optional<Error> refused =
      error_of([&] { connection.query("CREATE EXTENSION IF NOT EXISTS amcheck"); });
  if (!refused) return std::nullopt;
  if (!is_refusal(*refused)) throw Error(*refused);
  return refused;
}

// One database. A session that is lost ends it.
void Checks::look_at_each(const Relations& relations, const std::string& database,
                          repo::DrillCheck& check) {
  cluster::Connection connection = server_.connect(database, stop_);
  const auto add_note = [&](const std::string& note) {
    check.note += (check.note.empty() ? "" : " ") + note;
  };
  if (connection.query("SELECT 1 FROM pg_catalog.pg_available_extensions WHERE name = 'amcheck'")
          .empty()) {
    check.state = "not run";
    check.note = "The extension amcheck is not installed on this host.";
    return;
  }
  if (const std::optional<Error> refused = make_amcheck(connection))
    return add_note(fmt::format("Not in database \"{}\", where amcheck cannot be made: {}.",
                                database, words_of(*refused)));
  if (connection.query("SELECT 1 FROM pg_catalog.pg_extension WHERE extname = 'amcheck'").empty())
    return add_note(
        fmt::format("Not in database \"{}\", which has no extension amcheck.", database));
  const std::string amcheck = connection.query_value(
      "SELECT pg_catalog.quote_ident(n.nspname) FROM pg_catalog.pg_extension e JOIN "
      "pg_catalog.pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'amcheck'");
  uint64_t passed_over = 0;
  std::string first_passed_over;
  std::string last = "0";
  for (bool is_last = false; !is_last;) {
    // Our own words in our own search_path; what an index calls in the database's, as it was made.
    connection.query("SET search_path = pg_catalog");
    const std::vector<cluster::Value> parameters = {last};
    const std::vector<cluster::Row> rows = connection.query(
        fmt::format("SELECT c.oid, c.oid::regclass FROM pg_class c {} AND c.oid > $1::oid ORDER BY "
                    "c.oid LIMIT {}",
                    relations.which, kRowsAtOnce),
        parameters);
    is_last = rows.size() < kRowsAtOnce;
    connection.query("RESET search_path");
    for (const cluster::Row& row : rows) {
      last = row[0].value_or("0");
      const std::string name = row[1].value_or("");
      std::optional<std::string> wrong;
      const std::optional<Error> failure =
          error_of([&] { wrong = relations.look(connection, last, amcheck); });
      if (failure) connection.check_alive();
      if (failure && is_refusal(*failure)) {
        if (passed_over++ == 0)
          first_passed_over = fmt::format("{} {}: {}", relations.noun, name, words_of(*failure));
        continue;
      }
      ++check.count;
      if (failure) wrong = words_of(*failure);
      if (wrong)
        add_failure(check, fmt::format("{}: {} {}: {}", database, relations.noun, name, *wrong));
    }
  }
  if (passed_over > 0)
    add_note(
        fmt::format("In database \"{}\" {} could not be looked at, because the database's own "
                    "functions, names or rights refuse it; the first: {}.",
                    database, passed_over, first_passed_over));
}

repo::DrillCheck Checks::each_with_amcheck(const std::string& name, const std::string& what,
                                           const Relations& relations) {
  return timed(name, what, [&](repo::DrillCheck& check) {
    for (const std::string& database : databases_) {
      const std::optional<Error> failure =
          error_of([&] { look_at_each(relations, database, check); });
      if (failure) add_failure(check, fmt::format("{}: {}", database, words_of(*failure)));
      if (check.state == "not run") return;
    }
    if (check.count == 0 && check.failure_count == 0) check.state = "not run";
  });
}

repo::DrillCheck Checks::indexes() {
  return each_with_amcheck(
      "indexes", "B-tree indexes",
      {.noun = "index",
       .which = "JOIN pg_am a ON a.oid = c.relam JOIN pg_index i ON i.indexrelid = c.oid WHERE "
                "a.amname = 'btree' AND c.relkind = 'i' AND c.relpersistence <> 't' AND "
                "i.indisready AND i.indisvalid",
       .look = [](cluster::Connection& connection, const std::string& oid,
                  const std::string& amcheck) -> std::optional<std::string> {
         const std::vector<cluster::Value> parameters = {oid};
         connection.query(
             fmt::format("SELECT {}.bt_index_check($1::pg_catalog.oid::pg_catalog.regclass, true)",
                         amcheck),
             parameters);
         return std::nullopt;
       }});
}

repo::DrillCheck Checks::tables() {
  if (server_.installation.major < 14) {
    return {.name = "tables",
            .state = "not run",
            .what = "tables",
            .note = "amcheck looks at tables from PostgreSQL 14 on."};
  }
  return each_with_amcheck(
      "tables", "tables",
      {.noun = "table",
       .which = "JOIN pg_am a ON a.oid = c.relam WHERE a.amname = 'heap' AND c.relkind IN ('r', "
                "'m', 't') AND c.relpersistence <> 't'",
       .look = [](cluster::Connection& connection, const std::string& oid,
                  const std::string& amcheck) -> std::optional<std::string> {
         const std::vector<cluster::Value> parameters = {oid};
         const std::vector<cluster::Row> found = connection.query(
             fmt::format("SELECT blkno, offnum, msg, pg_catalog.count(*) OVER () FROM "
                         "{}.verify_heapam(relation => "
                         "$1::pg_catalog.oid::pg_catalog.regclass, check_toast => true) LIMIT 1",
                         amcheck),
             parameters);
         if (found.empty()) return std::nullopt;
         return fmt::format("block {}, row {}: {} (the first of {})", found[0][0].value_or("?"),
                            found[0][1].value_or("?"), found[0][2].value_or("?"),
                            found[0][3].value_or("?"));
       }});
}

repo::DrillCheck Checks::dump() {
  return timed("dump", "databases", [&](repo::DrillCheck& check) {
    if (!lstat_if_exists(server_.installation.program("pg_dump"))) {
      check.state = "not run";
      check.note =
          fmt::format("There is no pg_dump in \"{}\".", server_.installation.bin_directory);
      return;
    }
    const std::string words_file = join_path(server_.scratch, "pg_dump.stderr");
    // It goes where the sessions before it went; a password is not for everybody to see in its
    // command line.
    std::vector<std::pair<std::string, std::string>> variables = {{"LC_ALL", "C"}};
    if (std::string password = cluster::conninfo_value(server_.base_conninfo, "password");
        !password.empty())
      variables.emplace_back("PGPASSWORD", std::move(password));
    for (const std::string& database : databases_) {
      ++check.count;
      remove_file_if_exists(words_file);
      const std::optional<Error> failure = error_of([&] {
        Process dump(
            {.arguments = {server_.installation.program("pg_dump"), "--no-password", "--dbname",
                           cluster::conninfo_without(server_.conninfo(database), "password")},
             .environment = variables,
             .bare_environment = true,
             .directory = "/",
             .output = "/dev/null",
             .error = words_file});
        std::optional<ExitStatus> status;
        while (!(status = dump.wait(std::chrono::milliseconds(200)))) {
          if (!stop_.stop_requested()) continue;
          dump.signal(SIGTERM);
          dump.wait();
          throw_if_stopped(stop_);
        }
        throw_if_stopped(stop_);
        if (status->ok()) return;
        std::string words = read_text_file(words_file);
        words.resize(std::min(words.size(), kWordsOfAProgram));
        while (words.ends_with('\n')) words.pop_back();
        throw Error({.code = ErrorCode::kServer,
                     .message = fmt::format("pg_dump {}", to_string(*status)),
                     .detail = words});
      });
      if (failure) add_failure(check, fmt::format("{}: {}", database, words_of(*failure)));
    }
  });
}

repo::DrillCheck Checks::sql(std::span<const SqlStatement> statements,
                             const std::string& database) {
  return timed("sql", "statements", [&](repo::DrillCheck& check) {
    std::optional<cluster::Connection> connection;
    std::string connected;
    for (const SqlStatement& statement : statements) {
      ++check.count;
      std::vector<cluster::Row> rows;
      const std::string& wanted = statement.database.empty() ? database : statement.database;
      const std::optional<Error> failure = error_of([&] {
        if (!connection || connected != wanted) {
          connection.emplace(server_.connect(wanted, stop_));
          connected = wanted;
          connection->query("RESET search_path");  // the application's
        }
        rows = connection->query(statement.text);
      });
      const auto failed = [&](const std::string& why) {
        add_failure(
            check, fmt::format("line {}: {}: {}", statement.line, first_line(statement.text), why));
      };
      if (failure) {
        failed(words_of(*failure));
        if (failure->code() == ErrorCode::kServerUnavailable) connection.reset();
        continue;
      }
      if (rows.empty()) {
        failed("it gave no row");
        continue;
      }
      if (rows.front().size() != 1) {
        failed(fmt::format("it gave {} columns, and one boolean is wanted", rows.front().size()));
        continue;
      }
      for (const cluster::Row& row : rows) {
        if (row[0] == "t") continue;
        failed(row[0] == "f" ? "false"
                             : fmt::format("it gave {}, and true is wanted",
                                           row[0] ? "\"" + *row[0] + "\"" : "null"));
        break;
      }
    }
    if (statements.empty()) add_failure(check, "the file holds no statement");
  });
}

repo::DrillCheck check_pages(PagesOf which, const std::string& data_directory, const Clock& clock,
                             Reporter& reporter, const std::stop_token& stop) {
  reporter.phase("checking: pages", 0);
  const auto begun = clock.steady();
  repo::DrillCheck check{.name = "pages", .state = "passed", .what = "pages"};
  const pg::ControlFile control = cluster::read_control_file(data_directory).control;
  const std::string version_directory = pg::tablespace_version_directory(control.major);
  if (!control.has_checksums())
    check.note = "The cluster has no page checksums: only the headers were looked at.";
  Bytes buffer(kReadBytes);
  int rests = 0;  // files that end within a page
  std::string first_rest;
  cluster::walk_data_directory(
      data_directory, silent_reporter(), [&](const cluster::DataEntry& entry) {
        if (entry.type != cluster::EntryType::kFile) return;
        const std::optional<pg::RelationFile> file =
            pg::parse_relation_path(entry.path, version_directory);
        if (!file || file->temporary_of) return;
        throw_if_stopped(stop);
        const std::string path = join_path(data_directory, entry.path);
        const std::optional<Fd> opened = open_if_exists(path, O_RDONLY);
        if (!opened) return;  // dropped meanwhile
        const Fd& fd = *opened;
        uint64_t block = uint64_t{file->segment} * control.blocks_per_relation_segment;
        for (uint64_t offset = 0;;) {
          const size_t read = pread_some(fd, buffer, offset, path);
          for (size_t at = 0; at + pg::kPageBytes <= read; at += pg::kPageBytes, ++block) {
            ++check.count;
            const std::span<std::byte, pg::kPageBytes> page(buffer.data() + at, pg::kPageBytes);
            const auto verify = [&] {
              return pg::verify_page(page, {static_cast<uint32_t>(block)}, control.has_checksums());
            };
            pg::PageVerdict verdict = verify();
            for (int again = 0; is_bad(verdict) && which == PagesOf::kRunning && again < kReadAgain;
                 ++again) {
              wait_for(stop, kReadAgainPause);
              if (pread_some(fd, page, offset + at, path) < page.size())
                verdict = pg::PageVerdict::kValid;  // cut off meanwhile
              else
                verdict = verify();
            }
            if (is_bad(verdict))
              add_failure(check, fmt::format("block {} of \"{}\": {}", block, entry.path,
                                             verdict == pg::PageVerdict::kBadChecksum
                                                 ? "its checksum is wrong"
                                                 : "its header is damaged"));
          }
          reporter.amount(read);
          offset += read;
          // PostgreSQL counts whole pages (_mdnblocks, md.c) and writes over the rest when it
          // extends the file; what a table then lacks, its rows and indexes tell.
          if (const size_t rest = read % pg::kPageBytes; rest != 0 && rests++ == 0)
            first_rest = fmt::format("\"{}\" has {} bytes", entry.path, rest);
          if (read < buffer.size()) break;
        }
      });
  if (rests > 0)
    check.note += fmt::format(
        "{}{}{} behind the last whole page, as a full disk leaves them; "
        "PostgreSQL does not read them.",
        check.note.empty() ? "" : " ", first_rest,
        rests == 1 ? "" : fmt::format(", and {} more files have some,", rests - 1));
  if (check.failure_count > 0) check.state = "failed";
  check.took = std::chrono::duration_cast<Microseconds>(clock.steady() - begun);
  return check;
}

}  // namespace holdfast::drill
