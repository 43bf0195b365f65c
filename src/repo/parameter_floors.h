// parameter_floors.h: settings that a server in recovery must have at least as high as the server
// had whose WAL it replays.
//
// Facts: xlog.c (CheckRequiredParameterValues), PostgreSQL 13 to 18: with a lower one there is no
// hot standby.
#pragma once

#include <cstdint>

#include "base/json.h"
#include "pg/control_file.h"
#include "pg/wal_record.h"

namespace holdfast::repo {

struct ParameterFloors {
  int64_t max_connections = 0;
  int64_t max_worker_processes = 0;
  int64_t max_wal_senders = 0;
  int64_t max_prepared_transactions = 0;
  int64_t max_locks_per_transaction = 0;
};
ParameterFloors floors_of(const pg::ControlFile& control);
ParameterFloors floors_of(const pg::ParameterChange& change);
// Each to the higher of the two.
void raise(ParameterFloors& floors, const ParameterFloors& by);

Json to_json(const ParameterFloors& floors);
ParameterFloors floors_from_json(const Json& object);

}  // namespace holdfast::repo
