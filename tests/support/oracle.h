// oracle.h: what was committed, known from outside the database, and whether a recovery brought
// back exactly that.
//
// Writers commit row after row, each writer on a connection and in a table of its own, and with
// each row move money between shared accounts, tellers and branches, as pgbench does. Each
// acknowledged commit is one line of an fsynced file, written after COMMIT has returned and before
// the next BEGIN. A recovery to some moment is checked in both directions: what was acknowledged
// before it is there, what began after it is not; a writer that was between BEGIN and its answer at
// that moment is in doubt, which is one commit of each writer at most. Every row's hash is computed
// anew from what the recovered server says, and every balance must be the sum of just these rows.
//
// A recovery of a recovery goes along a path of timelines, each with a ledger of its own: what a
// path leaves behind at a fork must be absent.
//
//   line := writer key hash xid lsn-before lsn-after time-before time-after
//
// The times are of the clock that the server reads too; the LSNs are where its WAL ended before
// COMMIT was sent and after it had returned.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/mutex.h"
#include "base/task_group.h"
#include "base/time.h"
#include "cluster/connection.h"
#include "pg/lsn.h"

namespace holdfast::test {

struct Acknowledged {
  int64_t key = 0;
  uint64_t hash = 0;
  uint32_t xid = 0;
  pg::Lsn before, after;
  Time begun, done;
};

// Where a recovery ended, as precisely as it is known.
struct Moment {
  // A commit whose WAL ends by `certain` is there; one that begins at `excluded` or later is not.
  pg::Lsn certain, excluded;
  // In place of those: commits up to this time.
  std::optional<Time> time = std::nullopt;

  static Moment at(pg::Lsn lsn) { return {.certain = lsn, .excluded = lsn}; }
  static Moment at(Time time) { return {.certain = {}, .excluded = {}, .time = time}; }
  static Moment end_of_everything() { return at(pg::Lsn{UINT64_MAX}); }
};

// A part of the way of a recovery: what was written to one timeline, up to the fork at which the
// next one begins, or up to the target.
class Ledger;
struct Stretch {
  const Ledger* ledger;
  Moment end;
};
using Path = std::vector<Stretch>;

struct Findings {
  int64_t present = 0;   // acknowledged before the moment, and there
  int64_t excluded = 0;  // acknowledged after it, and rightly not there
  int64_t in_doubt = 0;
  std::vector<std::string> complaints;
};

// Every acknowledged commit, by writer.
class Ledger {
 public:
  explicit Ledger(const std::string& path);
  // Durable when it returns. Any thread.
  void acknowledge(int writer, const Acknowledged& commit);
  // A row is about to be sent: it may be committed without an answer. Any thread.
  void note_sent(int writer, int64_t key);
  int64_t count() const { return count_; }
  // Read back from the file.
  std::map<int, std::vector<Acknowledged>> read() const;
  std::set<std::pair<int, int64_t>> sent() const;

 private:
  std::string path_;
  Fd fd_;
  std::atomic<int64_t> count_ = 0;
  mutable Mutex mutex_;
  std::set<std::pair<int, int64_t>> sent_ HF_GUARDED_BY(mutex_);
};

// Payload rows carry this text.
inline constexpr const char* kPayloadMark = "acknowledged payload";

// The writers' tables, and what churn needs. `tablespace`, when not empty, takes every second
// writer's table.
void make_oracle_tables(cluster::Connection& connection, int writers,
                        const std::string& tablespace);

// Compares what a server holds with the ledgers on its path.
Findings compare(cluster::Connection& connection, const Path& path);
Findings compare(cluster::Connection& connection, const Ledger& ledger, const Moment& moment);

// A table "churn.<name>_<rows>", as churn makes them.
std::string churn_table_as(int64_t rows);
// What churn leaves is consistent in itself: each table holds the rows that its name says, by heap
// and by index, and each database is the copy that it should be. Returns complaints.
// `connect` opens a database by its name.
std::vector<std::string> check_churn(
    const std::function<cluster::Connection(const std::string&)>& connect);

// Writers, and a session that creates, alters, moves, rewrites, truncates and drops tables, builds
// indexes, vacuums, and makes databases from a template, until stop(), or until the server is gone.
class Load {
 public:
  struct Options {
    std::string conninfo;
    int writers = 3;
    bool churn = true;
    std::string tablespace = {};
    // After a lost connection the writers connect again, until stop().
    bool reconnect = false;
    // Rows and tables are numbered from here on: on each timeline from another number, so that none
    // stands for two.
    int64_t first = 1;
  };
  Load(const Options& options, Ledger& ledger);
  ~Load();
  // Until `count` more commits were acknowledged, with every session still at work. Throws with
  // what went wrong otherwise.
  void wait_for_commits(int64_t count);
  void wait_for_churn(int64_t rounds);
  // From here on sessions may be lost. Returns when all have ended.
  void stop();
  void wait_until_lost();

 private:
  void write(int writer, const std::stop_token& stop);
  void write_once(cluster::Connection& connection, int writer, int64_t key);
  void churn(const std::stop_token& stop);
  void wait_until(const std::function<bool()>& reached);
  void failed(const std::string& problem);

  Options options_;
  Ledger& ledger_;
  std::atomic<int64_t> churned_ = 0;
  Mutex mutex_;
  std::string problem_ HF_GUARDED_BY(mutex_);
  bool joined_ = false;
  TaskGroup tasks_;
};

// A commit of its own, for targets: no other commit is under way meanwhile, so what comes before it
// in WAL has an earlier time too.
struct Marker {
  uint32_t xid = 0;
  pg::Lsn commit, after;  // where its commit record begins and ends
  std::string time;       // in that record; empty without track_commit_timestamp
};
Marker commit_marker(cluster::Connection& connection, const std::string& name);
bool marker_is_there(cluster::Connection& connection, const std::string& name);
pg::Lsn insert_lsn(cluster::Connection& connection);

}  // namespace holdfast::test
