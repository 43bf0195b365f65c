// backup_order.h: which backup is older than which.
//
// On one line of ancestry the WAL tells: a backup that stops at an earlier place is older, whenever
// it was committed (a delayed standby's, an imported one). Between lines, which have no common
// measure, the store's time of the commit does. Ids and hosts' clocks decide nothing, nor do the
// numbers of timelines.
//
// Both at once could contradict each other in a circle; so each backup counts with the earliest
// time of itself and of all that come after it on its line, deleted ones too: to mark one changes
// nothing between two others. Normative:
// docs/design/repository-format.md, "Commit objects".
#pragma once

#include <string>
#include <vector>

#include "repo/repository.h"

namespace holdfast::repo {

// The ids of list_backup_ids(), oldest first; also of commits that cannot be read. One small read
// for each backup, one for each history.
std::vector<std::string> backup_ids_in_order(const Repository& repository,
                                             const LineageName& lineage);

}  // namespace holdfast::repo
