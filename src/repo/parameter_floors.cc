#include "repo/parameter_floors.h"

#include <algorithm>

namespace holdfast::repo {
namespace {

constexpr struct {
  const char* name;
  int64_t ParameterFloors::* value;
} kFloors[] = {
    {"max_connections", &ParameterFloors::max_connections},
    {"max_worker_processes", &ParameterFloors::max_worker_processes},
    {"max_wal_senders", &ParameterFloors::max_wal_senders},
    {"max_prepared_transactions", &ParameterFloors::max_prepared_transactions},
    {"max_locks_per_transaction", &ParameterFloors::max_locks_per_transaction},
};

template <typename Settings>
ParameterFloors floors_in(const Settings& settings) {
  return {.max_connections = settings.max_connections,
          .max_worker_processes = settings.max_worker_processes,
          .max_wal_senders = settings.max_wal_senders,
          .max_prepared_transactions = settings.max_prepared_transactions,
          .max_locks_per_transaction = settings.max_locks_per_transaction};
}

}  // namespace

ParameterFloors floors_of(const pg::ControlFile& control) { return floors_in(control); }
ParameterFloors floors_of(const pg::ParameterChange& change) { return floors_in(change); }

void raise(ParameterFloors& floors, const ParameterFloors& by) {
  for (const auto& floor : kFloors)
    floors.*floor.value = std::max(floors.*floor.value, by.*floor.value);
}

Json to_json(const ParameterFloors& floors) {
  Json object = Json::object();
  for (const auto& floor : kFloors) object.set(floor.name, floors.*floor.value);
  return object;
}

ParameterFloors floors_from_json(const Json& object) {
  ParameterFloors floors;
  for (const auto& floor : kFloors) floors.*floor.value = object.at(floor.name).as_i64();
  return floors;
}

}  // namespace holdfast::repo
