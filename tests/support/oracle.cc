#include "support/oracle.h"

#include <algorithm>
#include <chrono>
#include <fcntl.h>
#include <fstream>
#include <functional>
#include <sstream>

#include <fmt/format.h>

#include "base/error.h"
#include "pg/wal_file_name.h"
#include "support/wal_builder.h"

namespace holdfast::test {
namespace {

using cluster::Connection;
using cluster::Value;

constexpr int kChurnTablesKept = 4;
constexpr int kCopiedRows = 100;
constexpr int kAccounts = 100, kTellers = 10, kBranches = 4;
// Held by churn for a round, and by a marker that wants to be alone.
constexpr const char* kChurnLock = "7010";

// FNV-1a: enough to see any changed byte, and short enough to be sure of.
uint64_t hash_of(std::string_view text) {
  uint64_t hash = 14695981039346656037U;
  for (char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211U;
  return hash;
}

// What does not compress, so that WAL is filled; every sixteenth is long enough for TOAST.
std::string payload(int writer, int64_t key) {
  std::string text = fmt::format("{} {} of {}: ", kPayloadMark, key, writer);
  const size_t length = key % 16 == 0 ? 9000 : 200 + static_cast<size_t>(key * 37 % 600);
  uint64_t state = hash_of(text);
  while (text.size() < length) {
    state = state * 6364136223846793005U + 1442695040888963407U;
    text += fmt::format("{:016x}", state ^ (state >> 29));
  }
  return text;
}

std::string rows_table(int writer) { return fmt::format("oracle.rows_{}", writer); }

// --- Money --------------------------------------------------------------------------------------

// What the transaction of a row moves, and where.
struct Movement {
  int64_t account, teller, branch, delta;
};
Movement movement_of(int writer, int64_t key) {
  const uint64_t hash = hash_of(fmt::format("{} {}", writer, key));
  return {.account = static_cast<int64_t>(hash % kAccounts),
          .teller = static_cast<int64_t>(hash >> 8 & 0xFF) % kTellers,
          .branch = static_cast<int64_t>(hash >> 16 & 0xFF) % kBranches,
          .delta = static_cast<int64_t>(hash >> 24 & 0xFFFF) - 0x8000};
}

// What all balances are when these rows of writers are there, as the server prints them.
struct Balances {
  std::map<int64_t, int64_t> accounts, tellers, branches;
  std::set<std::string> history;

  void add(int writer, int64_t key) {
    const Movement moved = movement_of(writer, key);
    accounts[moved.account] += moved.delta;
    tellers[moved.teller] += moved.delta;
    branches[moved.branch] += moved.delta;
    history.insert(fmt::format("{} {} {} {} {} {}", writer, key, moved.account, moved.teller,
                               moved.branch, moved.delta));
  }
};

// Row for row.
void compare_balances(Connection& connection, Balances& expected,
                      std::vector<std::string>& complaints) {
  const struct {
    const char* table;
    std::map<int64_t, int64_t>& balances;
    int count;
  } tables[] = {{"accounts", expected.accounts, kAccounts},
                {"tellers", expected.tellers, kTellers},
                {"branches", expected.branches, kBranches}};
  for (const auto& [table, balances, count] : tables) {
    int64_t found = 0;
    for (const cluster::Row& row :
         connection.query(fmt::format("SELECT id, balance FROM oracle.{}", table))) {
      ++found;
      const int64_t balance = balances[std::stoll(row[0].value())];
      if (row[1].value() != std::to_string(balance))
        complaints.push_back(fmt::format("oracle.{} {}: the balance is {}, and the rows say {}",
                                         table, row[0].value(), row[1].value(), balance));
    }
    if (found != count) complaints.push_back(fmt::format("oracle.{} has {} rows", table, found));
  }
  for (const cluster::Row& row : connection.query(
           "SELECT writer || ' ' || key || ' ' || account || ' ' || teller || ' ' || branch || ' ' "
           "|| delta FROM oracle.history"))
    if (expected.history.erase(row[0].value()) != 1)
      complaints.push_back(
          fmt::format("the history tells of \"{}\" without its row, or twice", row[0].value()));
  for (const std::string& missing : expected.history)
    complaints.push_back(fmt::format("the history does not tell of \"{}\"", missing));
}

enum class Expected { kPresent, kAbsent, kEither };

Expected expected_at(const Moment& moment, const Acknowledged& commit) {
  if (moment.time) {
    if (commit.done <= *moment.time) return Expected::kPresent;
    return commit.begun > *moment.time ? Expected::kAbsent : Expected::kEither;
  }
  if (commit.after <= moment.certain) return Expected::kPresent;
  return commit.before >= moment.excluded ? Expected::kAbsent : Expected::kEither;
}

}  // namespace

// --- Ledger -------------------------------------------------------------------------------------

Ledger::Ledger(const std::string& path)
    : path_(path), fd_(open_file(path, O_WRONLY | O_CREAT | O_APPEND, 0600)) {}

void Ledger::acknowledge(int writer, const Acknowledged& commit) {
  // One write(2) in append mode: lines of several writers never mix.
  write_all(fd_,
            as_bytes(fmt::format(
                "{} {} {} {} {} {} {} {}\n", writer, commit.key, commit.hash, commit.xid,
                pg::to_string(commit.before), pg::to_string(commit.after),
                commit.begun.time_since_epoch().count(), commit.done.time_since_epoch().count())),
            path_);
  fsync_file(fd_, path_);
  ++count_;
}

void Ledger::note_sent(int writer, int64_t key) {
  MutexLock lock(mutex_);
  sent_.emplace(writer, key);
}

std::map<int, std::vector<Acknowledged>> Ledger::read() const {
  std::map<int, std::vector<Acknowledged>> commits;
  std::ifstream file(path_);
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    int writer = 0;
    Acknowledged commit;
    std::string before, after;
    int64_t begun = 0, done = 0;
    if (!(words >> writer >> commit.key >> commit.hash >> commit.xid >> before >> after >> begun >>
          done))
      throw Error({.code = ErrorCode::kCorrupt, .message = "a line of the ledger is torn"});
    commit.before = pg::parse_lsn(before);
    commit.after = pg::parse_lsn(after);
    commit.begun = Time(Microseconds(begun));
    commit.done = Time(Microseconds(done));
    commits[writer].push_back(commit);
  }
  return commits;
}

std::set<std::pair<int, int64_t>> Ledger::sent() const {
  MutexLock lock(mutex_);
  return sent_;
}

// --- Tables and their comparison ----------------------------------------------------------------

void make_oracle_tables(Connection& connection, int writers, const std::string& tablespace) {
  connection.query("CREATE SCHEMA oracle");
  connection.query("CREATE SCHEMA churn");
  connection.query("CREATE TABLE oracle.marker (name text PRIMARY KEY)");
  connection.query("CREATE TABLE oracle.progress (writer int PRIMARY KEY, key bigint NOT NULL)");
  for (const auto& [table, rows] :
       {std::pair("accounts", kAccounts), std::pair("tellers", kTellers),
        std::pair("branches", kBranches)}) {
    connection.query(fmt::format(
        "CREATE TABLE oracle.{} (id bigint PRIMARY KEY, balance bigint NOT NULL, filler text)",
        table));
    connection.query(
        fmt::format("INSERT INTO oracle.{} SELECT g, 0, pg_catalog.repeat('.', 80) FROM "
                    "pg_catalog.generate_series(0, {}) g",
                    table, rows - 1));
  }
  connection.query(
      "CREATE TABLE oracle.history (writer int, key bigint, account bigint, teller bigint, branch "
      "bigint, delta bigint)");
  for (int writer = 0; writer < writers; ++writer) {
    connection.query(
        fmt::format("CREATE TABLE {} (key bigint PRIMARY KEY, payload text NOT NULL, hash text NOT "
                    "NULL) {}",
                    rows_table(writer),
                    writer % 2 == 1 && !tablespace.empty() ? "TABLESPACE " + tablespace : ""));
    connection.query(fmt::format("INSERT INTO oracle.progress VALUES ({}, 0)", writer));
  }
}

namespace {

// What one writer wrote on one stretch of the path, against the rows that are there; those that
// belong to it are taken out of `rows`.
void compare_stretch(std::map<int64_t, uint64_t>& rows, int writer,
                     const std::vector<Acknowledged>& commits,
                     const std::set<std::pair<int, int64_t>>& sent, const Moment& moment,
                     Findings& findings) {
  auto complain = [&](std::string text) { findings.complaints.push_back(std::move(text)); };
  // Nothing acknowledged up to the moment is absent, nothing beyond it is present.
  std::optional<int64_t> first_absent;
  const Acknowledged* last_before_gap = nullptr;
  for (const Acknowledged& commit : commits) {
    auto row = rows.find(commit.key);
    const bool present = row != rows.end();
    if (present && row->second != commit.hash)
      complain(fmt::format("row {} of writer {} is not what was acknowledged", commit.key, writer));
    switch (expected_at(moment, commit)) {
      case Expected::kPresent:
        if (present)
          ++findings.present;
        else
          complain(
              fmt::format("row {} of writer {} (xid {}) was acknowledged before the target "
                          "and is absent",
                          commit.key, writer, commit.xid));
        break;
      case Expected::kAbsent:
        if (!present)
          ++findings.excluded;
        else
          complain(fmt::format("row {} of writer {} (xid {}) began after the target and is there",
                               commit.key, writer, commit.xid));
        break;
      case Expected::kEither:
        ++findings.in_doubt;
        break;
    }
    // Whatever the moment, one writer's commits come back in order.
    if (!present && !first_absent) first_absent = commit.key;
    if (present && first_absent)
      complain(fmt::format("writer {}: row {} is there without row {} before it", writer,
                           commit.key, *first_absent));
    if (present) rows.erase(row);
    if (!first_absent) last_before_gap = &commit;
  }
  // What is left was committed without an answer: only the one that was under way, at a moment
  // that is later than the last answer.
  bool too_late = false;
  if (last_before_gap != nullptr) {
    Acknowledged under_way = *last_before_gap;
    under_way.before = last_before_gap->after;
    under_way.after = pg::Lsn{UINT64_MAX};
    under_way.begun = last_before_gap->done;
    under_way.done = Time::max();
    too_late = expected_at(moment, under_way) == Expected::kAbsent;
  }
  for (auto row = rows.begin(); row != rows.end();) {
    const int64_t key = row->first;
    if (!sent.contains({writer, key})) {
      ++row;
      continue;
    }
    if ((first_absent && key > *first_absent) || too_late)
      complain(fmt::format("row {} of writer {} is there and was never acknowledged", key, writer));
    row = rows.erase(row);
  }
}

}  // namespace

Findings compare(Connection& connection, const Path& path) {
  Findings findings;
  auto complain = [&](std::string text) { findings.complaints.push_back(std::move(text)); };
  std::vector<std::map<int, std::vector<Acknowledged>>> commits;
  std::vector<std::set<std::pair<int, int64_t>>> sent;
  std::set<int> writers;
  for (const Stretch& stretch : path) {
    commits.push_back(stretch.ledger->read());
    sent.push_back(stretch.ledger->sent());
    for (const auto& [writer, its] : commits.back()) writers.insert(writer);
  }
  Balances balances;
  for (const int writer : writers) {
    // Every row is what its hash says.
    std::map<int64_t, uint64_t> rows;
    for (const cluster::Row& row :
         connection.query(fmt::format("SELECT key, payload, hash FROM {}", rows_table(writer)))) {
      const int64_t key = std::stoll(row[0].value());
      const uint64_t hash = hash_of(row[1].value());
      if (fmt::format("{}", hash) != row[2].value())
        complain(fmt::format("row {} of writer {} is not what its hash says", key, writer));
      rows[key] = hash;
      balances.add(writer, key);
    }
    // The index finds the same.
    connection.query("SET enable_seqscan = off");
    const std::string by_index = connection.query_value(
        fmt::format("SELECT pg_catalog.count(*) FROM {} WHERE key > 0", rows_table(writer)));
    connection.query("RESET enable_seqscan");
    if (by_index != fmt::format("{}", rows.size()))
      complain(
          fmt::format("writer {}: {} rows by heap, {} by index", writer, rows.size(), by_index));
    // A transaction is there as a whole.
    const int64_t progress = std::stoll(connection.query_value(
        fmt::format("SELECT key FROM oracle.progress WHERE writer = {}", writer)));
    if (progress != (rows.empty() ? 0 : rows.rbegin()->first))
      complain(fmt::format("writer {}: the last row is {}, its progress {}", writer,
                           rows.empty() ? 0 : rows.rbegin()->first, progress));

    for (size_t i = 0; i < path.size(); ++i)
      compare_stretch(rows, writer, commits[i][writer], sent[i], path[i].end, findings);
    for (const auto& [key, hash] : rows)
      complain(
          fmt::format("row {} of writer {} is there and was never sent on this path", key, writer));
  }
  compare_balances(connection, balances, findings.complaints);
  return findings;
}

Findings compare(Connection& connection, const Ledger& ledger, const Moment& moment) {
  return compare(connection, {{.ledger = &ledger, .end = moment}});
}

std::string churn_table_as(int64_t rows) {
  return fmt::format(
      "SELECT g AS id, pg_catalog.repeat(pg_catalog.md5(g::text), 4) AS text "
      "FROM pg_catalog.generate_series(1, {}) g",
      rows);
}

std::vector<std::string> check_churn(const std::function<Connection(const std::string&)>& connect) {
  std::vector<std::string> complaints;
  Connection connection = connect("postgres");
  for (const cluster::Row& row : connection.query(
           "SELECT relname FROM pg_catalog.pg_class WHERE relkind = 'r' AND relnamespace = "
           "'churn'::regnamespace")) {
    const std::string table = row[0].value();
    const std::string expected = table.substr(table.rfind('_') + 1);
    for (const char* scan : {"SET enable_seqscan = on", "SET enable_seqscan = off"}) {
      connection.query(scan);
      const std::string count = connection.query_value(
          fmt::format("SELECT pg_catalog.count(*) FROM (SELECT t.id, pg_catalog.to_jsonb(t) AS row "
                      "FROM churn.{} t WHERE t.id > 0) there WHERE "
                      "coalesce(row->>'words', row->>'text') = "
                      "pg_catalog.repeat(pg_catalog.md5(id::text), 4) AND "
                      "coalesce(row->>'extra', '7') = '7'",
                      table));
      if (count != expected)
        complaints.push_back(fmt::format("{}: churn.{} has {} rows", scan, table, count));
    }
  }
  for (const cluster::Row& row : connection.query(
           "SELECT datname FROM pg_catalog.pg_database WHERE datname LIKE 'copied%' AND "
           "datallowconn AND datconnlimit <> -2")) {
    Connection there = connect(row[0].value());
    const std::string count = there.query_value(
        "SELECT pg_catalog.count(*) FROM public.kept WHERE text = pg_catalog.md5(id::text)");
    if (count != std::to_string(kCopiedRows))
      complaints.push_back(fmt::format("database {} has {} rows", row[0].value(), count));
  }
  return complaints;
}

// --- Load ---------------------------------------------------------------------------------------

Load::Load(const Options& options, Ledger& ledger)
    : options_(options), ledger_(ledger), churned_(options.first) {
  if (options_.churn) {
    Connection connection = Connection::connect({.conninfo = options_.conninfo}, {});
    // A recovered cluster has it already.
    if (connection.query("SELECT 1 FROM pg_catalog.pg_database WHERE datname = 'stem'").empty()) {
      connection.query("CREATE DATABASE stem");
      Connection stem = Connection::connect({.conninfo = options_.conninfo + " dbname=stem"}, {});
      stem.query(
          fmt::format("CREATE TABLE public.kept AS SELECT g AS id, pg_catalog.md5(g::text) AS text "
                      "FROM pg_catalog.generate_series(1, {}) g",
                      kCopiedRows));
    }
    tasks_.start([this](std::stop_token stop) { churn(stop); });
  }
  for (int writer = 0; writer < options_.writers; ++writer)
    tasks_.start([this, writer](std::stop_token stop) { write(writer, stop); });
}

Load::~Load() {
  if (!joined_) tasks_.request_stop();
}

void Load::failed(const std::string& problem) {
  MutexLock lock(mutex_);
  if (problem_.empty()) problem_ = problem;
}

void Load::write_once(Connection& connection, int writer, int64_t key) {
  const std::string text = payload(writer, key);
  Acknowledged commit;
  commit.key = key;
  commit.hash = hash_of(text);
  ledger_.note_sent(writer, key);
  const Movement moved = movement_of(writer, key);
  connection.query("BEGIN");
  for (const auto& [table, id] :
       {std::pair("accounts", moved.account), std::pair("tellers", moved.teller),
        std::pair("branches", moved.branch)})
    connection.query(fmt::format("UPDATE oracle.{} SET balance = balance + {} WHERE id = {}", table,
                                 moved.delta, id));
  connection.query(fmt::format("INSERT INTO oracle.history VALUES ({}, {}, {}, {}, {}, {})", writer,
                               key, moved.account, moved.teller, moved.branch, moved.delta));
  const cluster::Row row = connection.query_row(
      fmt::format("WITH added AS (INSERT INTO {} VALUES ($1::bigint, $2, $3)) UPDATE "
                  "oracle.progress SET key = $1::bigint WHERE writer = {} RETURNING "
                  "pg_catalog.txid_current() % 4294967296, pg_catalog.pg_current_wal_insert_lsn()",
                  rows_table(writer), writer),
      std::vector<Value>{std::to_string(key), text, fmt::format("{}", commit.hash)});
  commit.xid = static_cast<uint32_t>(std::stoull(row[0].value()));
  commit.before = pg::parse_lsn(row[1].value());
  commit.begun = system_clock().now();
  connection.query("COMMIT");
  commit.done = system_clock().now();
  commit.after = insert_lsn(connection);
  ledger_.acknowledge(writer, commit);
}

void Load::write(int writer, const std::stop_token& stop) {
  int64_t key = options_.first;
  do {
    try {  // a lost connection is how this writer ends, or what it is to survive
      Connection connection = Connection::connect({.conninfo = options_.conninfo}, {});
      for (; !stop.stop_requested(); ++key) write_once(connection, writer, key);
    } catch (const Error& error) {
      if (!options_.reconnect) failed(fmt::format("a writer: {}", error.message()));
      ++key;  // its fate is not known; it is never sent again
      wait_for(stop, std::chrono::milliseconds(50));
    }
  } while (options_.reconnect && !stop.stop_requested());
}

void Load::churn(const std::stop_token& stop) {
  do {
    try {
      Connection connection = Connection::connect({.conninfo = options_.conninfo}, {});
      const int major = connection.server_major();
      const std::string tablespace =
          options_.tablespace.empty() ? "" : "TABLESPACE " + options_.tablespace;
      const std::string lock = fmt::format("SELECT pg_catalog.pg_advisory_lock({})", kChurnLock);
      const std::string unlock =
          fmt::format("SELECT pg_catalog.pg_advisory_unlock({})", kChurnLock);
      while (!stop.stop_requested()) {
        const int64_t round = ++churned_;
        const int64_t rows = 50 + round * 17 % 300;
        const std::string table = fmt::format("churn.t{}_{}", round, rows);
        const std::string fill = churn_table_as(rows);
        const bool is_aside = round % 2 == 0 && !tablespace.empty();
        connection.query(lock);
        connection.query(
            fmt::format("CREATE TABLE {} {} AS {}", table, is_aside ? tablespace : "", fill));
        connection.query(fmt::format("CREATE INDEX ON {} (id)", table));
        if (round % 3 == 0) {
          connection.query("BEGIN");
          connection.query(fmt::format("TRUNCATE {}", table));
          connection.query(fmt::format("INSERT INTO {} {}", table, fill));
          connection.query("COMMIT");
        }
        if (round % 4 == 0) {
          connection.query(fmt::format("DELETE FROM oracle.marker WHERE name = 'churn{}'", round));
          connection.query(fmt::format("VACUUM {}", table));
          connection.query("VACUUM oracle.progress");
        }
        if (round % 5 == 0) {
          connection.query(fmt::format("ALTER TABLE {} ADD COLUMN extra int DEFAULT 7", table));
          connection.query(fmt::format("ALTER TABLE {} ALTER COLUMN id TYPE bigint", table));
          connection.query(fmt::format("ALTER TABLE {} RENAME COLUMN text TO words", table));
        }
        if (round % 6 == 0) {
          connection.query(fmt::format("VACUUM FULL {}", table));
          connection.query("VACUUM FULL oracle.tellers");
        }
        if (round % 7 == 0) connection.query("REINDEX TABLE oracle.progress");
        if (round % 8 == 0) {
          std::string how;
          if (major >= 15) how = round % 16 == 0 ? " STRATEGY wal_log" : " STRATEGY file_copy";
          if (round % 24 == 0) how += " " + tablespace;
          connection.query(fmt::format("CREATE DATABASE copied{} TEMPLATE stem{}", round, how));
          if (round >= options_.first + 23)
            connection.query(fmt::format("DROP DATABASE IF EXISTS copied{}", round - 16));
        }
        if (round % 9 == 0 && !tablespace.empty())
          connection.query(fmt::format("ALTER TABLE {} SET TABLESPACE {}", table,
                                       is_aside ? "pg_default" : options_.tablespace));
        // Only names tell how many rows there should be, so the oldest is found by its name.
        for (const cluster::Row& row : connection.query(fmt::format(
                 "SELECT relname FROM pg_catalog.pg_class WHERE relkind = 'r' AND relname LIKE "
                 "'t{}\\_%' AND relnamespace = 'churn'::regnamespace",
                 round - kChurnTablesKept)))
          connection.query(fmt::format("DROP TABLE churn.{}", row[0].value()));
        connection.query(unlock);
      }
    } catch (const Error& error) {
      if (!options_.reconnect)
        failed(fmt::format("the session that churns: {} {}", error.message(), error.detail()));
      wait_for(stop, std::chrono::milliseconds(50));
    }
  } while (options_.reconnect && !stop.stop_requested());
}

// Asks for progress as long as every session is at work.
void Load::wait_until(const std::function<bool()>& reached) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(2);
  while (!reached()) {
    {
      MutexLock lock(mutex_);
      if (!problem_.empty())
        throw Error({.code = ErrorCode::kServer,
                     .message = "the load has ended early",
                     .detail = problem_});
    }
    if (std::chrono::steady_clock::now() > deadline)
      throw Error({.code = ErrorCode::kBusy, .message = "the load makes no progress"});
    wait_for({}, std::chrono::milliseconds(5));
  }
}

void Load::wait_for_commits(int64_t count) {
  wait_until([&, until = ledger_.count() + count] { return ledger_.count() >= until; });
}

void Load::wait_for_churn(int64_t rounds) {
  wait_until([&, until = churned_ + rounds] { return churned_ >= until; });
}

void Load::stop() {
  if (joined_) return;
  tasks_.request_stop();
  joined_ = true;
  tasks_.wait();
}

void Load::wait_until_lost() {
  joined_ = true;
  tasks_.wait();
}

// --- Moments ------------------------------------------------------------------------------------

pg::Lsn insert_lsn(Connection& connection) {
  return pg::parse_lsn(connection.query_value("SELECT pg_catalog.pg_current_wal_insert_lsn()"));
}

namespace {

// Where the record of that commit begins, which lies at `from` or behind it: others (a checkpoint,
// a hint on a page) may have written in between. nullopt for one that two segments share.
std::optional<pg::TransactionEnd> commit_record(Connection& connection, pg::Lsn from,
                                                uint32_t xid) {
  const pg::WalSegmentSize size(std::stoull(connection.query_value(
      "SELECT setting FROM pg_catalog.pg_settings WHERE name = 'wal_segment_size'")));
  const pg::SegmentName name{
      .timeline = {static_cast<uint32_t>(
          std::stoul(connection.query_value("SELECT pg_catalog.substr(pg_catalog.pg_walfile_name("
                                            "pg_catalog.pg_current_wal_insert_lsn()), 1, 8)"),
                     nullptr, 16))},
      .segment_number = pg::segment_of(from, size)};
  const std::string file = join_path(connection.query_value("SHOW data_directory"),
                                     "pg_wal/" + pg::segment_file_name(name, size));
  for (const pg::WalEvent& event : scan_segment(read_file(file), name).events)
    if (const auto* end = std::get_if<pg::TransactionEnd>(&event))
      if (end->xid == xid) return *end;
  return std::nullopt;
}

}  // namespace

Marker commit_marker(Connection& connection, const std::string& name) {
  for (;;) {
    Marker marker;
    connection.query("BEGIN");
    connection.query(fmt::format("SELECT pg_catalog.pg_advisory_xact_lock({})", kChurnLock));
    connection.query("LOCK TABLE oracle.progress IN ACCESS EXCLUSIVE MODE");
    connection.query("DELETE FROM oracle.marker WHERE name = $1", std::vector<Value>{name});
    marker.xid = static_cast<uint32_t>(std::stoull(connection.query_value(
        "INSERT INTO oracle.marker VALUES ($1) RETURNING pg_catalog.txid_current() % 4294967296",
        std::vector<Value>{name})));
    const pg::Lsn before = insert_lsn(connection);
    connection.query("COMMIT");
    const std::optional<pg::TransactionEnd> commit = commit_record(connection, before, marker.xid);
    if (!commit) continue;  // the next one lies elsewhere
    marker.commit = commit->lsn;
    marker.after = commit->end_lsn;
    if (connection.query_value("SHOW track_commit_timestamp") == "on")
      marker.time = connection.query_value(
          fmt::format("SELECT pg_catalog.pg_xact_commit_timestamp('{}'::xid)::text", marker.xid));
    return marker;
  }
}

bool marker_is_there(Connection& connection, const std::string& name) {
  return connection.query_value("SELECT pg_catalog.count(*) FROM oracle.marker WHERE name = $1",
                                std::vector<Value>{name}) == "1";
}

}  // namespace holdfast::test
