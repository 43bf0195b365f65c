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
  std::string what;    // "restore"
  std::string done;    // "restored": for the warning
  std::string backup;  // empty: only WAL is used
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

// The backup is laid. `recovered`: so is its WAL, and nothing is used any more; else the recovery
// goes on, or begins, without us, nobody tells when, and the WAL of `hold` is kept for a week. A
// store that fails is a warning: a restore that is done does not fail for its note. `held` may be
// nullptr.
void let_go(repo::HeldIntent* held, const Hold& hold, bool recovered,
            const repo::Repository& repository, const repo::LineageName& lineage,
            const Clock& clock, Reporter& reporter);

}  // namespace holdfast::restore
