#include "repo/parameter_floors.h"

#include <gtest/gtest.h>

namespace holdfast::repo {
namespace {

template <typename Settings>
Settings with(int32_t a, int32_t b, int32_t c, int32_t d, int32_t e) {
  Settings settings;
  settings.max_connections = a;
  settings.max_worker_processes = b;
  settings.max_wal_senders = c;
  settings.max_prepared_transactions = d;
  settings.max_locks_per_transaction = e;
  return settings;
}

TEST(ParameterFloors, ARaiseLeavesWhatIsHigher) {
  ParameterFloors floors = floors_of(with<pg::ControlFile>(1, 20, 3, 40, 5));
  raise(floors, floors_of(with<pg::ParameterChange>(10, 2, 30, 4, 50)));
  EXPECT_EQ(to_json(floors).dump(0),
            R"({"max_connections":10,"max_worker_processes":20,"max_wal_senders":30,)"
            R"("max_prepared_transactions":40,"max_locks_per_transaction":50})");
  EXPECT_EQ(to_json(floors_from_json(to_json(floors))).dump(), to_json(floors).dump());
}

}  // namespace
}  // namespace holdfast::repo
