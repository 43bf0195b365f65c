// hold.h: keeps others from deleting what is being read: an intent in the repository.
#pragma once

#include <string>

#include "base/reporter.h"
#include "base/time.h"
#include "repo/backup.h"

namespace holdfast::restore {

struct Hold {
  std::string what;  // "restore"
  std::string done;  // "restored": for the warning
  std::string backup;
  pg::TimelineId timeline;
  pg::Lsn wal_from;
};
// A week's; nobody takes it back. That the repository cannot be written to is no more than a
// warning.
void hold_off_deletion(const Hold& hold, const repo::Repository& repository,
                       const repo::LineageName& lineage, const Clock& clock, Reporter& reporter);

}  // namespace holdfast::restore
