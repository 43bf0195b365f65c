// online_backup.h: a running server kept in backup mode for as long as its files are copied.
//
// Uses the non-exclusive backup API, which belongs to a session: when the session ends without
// stop(), whatever the reason, the server forgets the backup and nothing is left behind in the data
// directory. stop() never waits for archiving (a broken archive would hold it for ever, and
// cancelling loses the label); the caller checks its own archive afterwards.
//
// A connection pooler in transaction mode hands the next statement to another session, in which
// there is no backup, or somebody else's. So the session is asked who it is at each turn.
//
// Facts: xlogfuncs.c, PostgreSQL 13 to 19; 13 and 14 have pg_start_backup(label, fast, exclusive),
// 15 renamed the calls.
#pragma once

#include <string>
#include <string_view>

#include "cluster/connection.h"
#include "pg/lsn.h"

namespace holdfast::cluster {

class OnlineBackup {
 public:
  struct StartOptions {
    // In the label file; at most 1024 bytes, no line breaks.
    std::string label;
    // An immediate checkpoint; otherwise one spread over minutes, for which the constructor waits.
    bool fast_checkpoint = true;
  };
  struct Stopped {
    pg::Lsn stop_lsn;            // on a standby: the point up to which WAL must be replayed
    std::string backup_label;    // the file's bytes, to be written as they are
    std::string tablespace_map;  // the same; empty when there are no tablespaces
  };

  // Takes the connection over and starts the backup: from here on the server writes full pages and
  // awaits our stop(). Throws what Connection::query throws, with a hint for the refusals of which
  // the cause is known; kUsage for a bad label.
  OnlineBackup(Connection connection, const StartOptions& options);
  ~OnlineBackup();  // without stop(): ends the session, and thereby the backup
  OnlineBackup(OnlineBackup&&) noexcept = default;
  OnlineBackup& operator=(OnlineBackup&&) = delete;

  // The backup's redo position: WAL is needed from here on.
  pg::Lsn start_lsn() const { return start_lsn_; }
  bool from_standby() const { return from_standby_; }

  // The session, for questions while the backup runs.
  Connection& connection() { return connection_; }
  // Throws kServerUnavailable when the session has ended and the backup with it, and kServer when
  // another one answers: what is being copied is worth nothing.
  void check_alive();

  // Ends the backup. On a primary the server closes the WAL segment that holds the stop position,
  // so that it will be archived. REQUIRES: not stopped yet. Throws kServer when the server says
  // that the copy is not usable (a standby was promoted, or replayed WAL that was written without
  // full pages).
  Stopped stop();

 private:
  void require_same_session();

  Connection connection_;
  std::string session_;  // the process id of the server's side
  pg::Lsn start_lsn_;
  bool from_standby_ = false;
  bool stopped_ = false;
};

}  // namespace holdfast::cluster
