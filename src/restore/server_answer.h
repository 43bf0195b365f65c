// server_answer.h: what the server that still runs says of a time that the archive does not reach.
#pragma once

#include <chrono>
#include <optional>
#include <stop_token>
#include <string>

#include "base/reporter.h"
#include "base/time.h"
#include "recovery/plan.h"
#include "repo/repository.h"
#include "restore/salvage.h"

namespace holdfast::restore {

// Asks the primary behind `conninfo`: that a transaction ended up to a time, or did not, stands in
// the WAL that it has not archived yet. Never throws but kInterrupted: what cannot be told is not
// proven, nor anything by a server of another history than the archive. Both must outlive the
// result.
recovery::AskServer ask_running_server(const std::string& conninfo,
                                       const repo::Repository& repository,
                                       const repo::Lineage& lineage, std::stop_token stop);

// The same of a server that has ended and whose WAL was saved: behind its end it wrote nothing.
// Of other timelines, and where the archive goes on behind that segment, `otherwise` is asked.
recovery::AskServer ask_ended_server(const SalvagedWal::End& end, pg::WalSegmentSize size,
                                     const Clock& clock, recovery::AskServer otherwise);

// Where the server of that system behind `conninfo` is: a primary, or a standby, which has what its
// primary wrote; nullopt where none answers. Never throws but kInterrupted.
std::optional<recovery::ClusterEnd> ask_where_it_is(const std::string& conninfo,
                                                    uint64_t system_identifier,
                                                    const std::stop_token& stop);
// Throws kBusy when there is one, or one that cannot be asked: who ends a recovery in place makes a
// primary that archives.
void require_no_production(const std::string& conninfo, uint64_t system_identifier,
                           const std::stop_token& stop);

// A plan that was begun `since` then found too little. Waits while the primary behind `conninfo`
// archives what it has completed, as long as that goes on. Returns whether anything was archived
// meanwhile; never throws but kInterrupted.
bool wait_for_archiver(const std::string& conninfo, const repo::Lineage& lineage,
                       std::chrono::steady_clock::time_point since, const Clock& clock,
                       Reporter& reporter, const std::stop_token& stop);

}  // namespace holdfast::restore
