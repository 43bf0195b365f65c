// hold.h: keeps others from deleting what is being read: an intent in the repository.
#pragma once

#include <memory>
#include <string>

#include "base/reporter.h"
#include "base/time.h"
#include "repo/backup.h"
#include "repo/intent.h"

namespace holdfast::restore {

struct Hold {
  std::string what;  // "restore"
  std::string done;  // "restored": for the warning
  std::string backup;
  pg::TimelineId timeline;
  pg::Lsn wal_from;
};
// Until end() is called on what is returned, or a day behind the end of this process. nullptr, with
// a warning, where the repository cannot be written to. Throws kNotFound when the backup has been
// deleted meanwhile.
std::unique_ptr<repo::HeldIntent> hold_off_deletion(const Hold& hold,
                                                    const repo::Repository& repository,
                                                    const repo::LineageName& lineage,
                                                    const Clock& clock, Reporter& reporter);

// Keeps the WAL of `hold` alone for a week: the backup is laid, and its recovery goes on, or
// begins, without us. Throws what the store throws.
void hold_wal_for_recovery(const Hold& hold, const repo::Repository& repository,
                           const repo::LineageName& lineage, const Clock& clock);

}  // namespace holdfast::restore
