// server_end.h: that no server works on a data directory, before somebody else writes there.
//
//   1. a process of it is seen, or uses its shared memory       it runs: kBusy
//   2. running_server.h proves that it has ended                nothing more is asked
//   3. whoever listens where postmaster.pid and conninfo say    it runs, if he works on these
//   files:
//      is asked                                                 his pg_control is this one
//   4. it has a postmaster.pid                                  kBusy, unless the user says that it
//                                                               is dead; what 1 and 3 find wins
//
// Removing postmaster.pid says that it is dead too. A server that was alive after all finds that
// out and stops at once, within a minute (postmaster.c, RecheckDataDirLockFile).
#pragma once

#include <optional>
#include <stop_token>
#include <string>
#include <string_view>

#include "base/error.h"

namespace holdfast::cluster {

// What is known of a cluster's server beside its files and processes.
struct ServerWitness {
  std::string conninfo = {};   // empty: nobody is asked there
  bool declared_dead = false;  // by the user: --server-is-dead
};

// nullopt: none works there. `purpose` completes the hint: "Stop it before <purpose>". Throws
// kInterrupted.
std::optional<Error> why_server_may_run(const std::string& data_directory, std::string_view purpose,
                                        const ServerWitness& witness, const std::stop_token& stop);

// The same of the server of a pg_wal, when nobody knows its data directory: one that is seen.
std::optional<Error> why_server_may_write_wal(const std::string& wal_directory,
                                              std::string_view purpose);

// Throws the first one's Error, which is a kBusy.
void require_no_running_server(const std::string& data_directory, std::string_view purpose,
                               const ServerWitness& witness = {}, const std::stop_token& stop = {});

}  // namespace holdfast::cluster
