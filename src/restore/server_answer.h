// server_answer.h: what the server that still runs says of a time that the archive does not reach.
#pragma once

#include <stop_token>
#include <string>

#include "recovery/plan.h"
#include "repo/repository.h"

namespace holdfast::restore {

// Asks the primary behind `conninfo`: that a transaction ended up to a time, or did not, stands in
// the WAL that it has not archived yet. Never throws but kInterrupted: what cannot be told is not
// proven, nor anything by a server of another history than the archive. Both must outlive the
// result.
recovery::AskServer ask_running_server(const std::string& conninfo,
                                       const repo::Repository& repository,
                                       const repo::Lineage& lineage, std::stop_token stop);

}  // namespace holdfast::restore
