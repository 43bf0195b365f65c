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
  std::string directory;  // for whoever looks through the claims
};
// Until end() is called on what is returned, or it is destroyed. nullptr, with a warning, where the
// repository cannot be written to. Throws kNotFound when the backup has been deleted meanwhile.
std::unique_ptr<repo::HeldIntent> hold_off_deletion(const Hold& hold,
                                                    const repo::Repository& repository,
                                                    const repo::LineageName& lineage,
                                                    const Clock& clock, Reporter& reporter);

// A recovery goes on without the command that began it: a server replays for days, waits at its
// target, or is started next week. Its WAL is held by no process, for a week from now on, or until
// the directory is thrown away.
class RecoveryHold {
 public:
  // `repository` must outlive it. What cannot be put is a warning: a restore does not fail for it.
  RecoveryHold(const Hold& hold, const repo::Repository& repository,
               const repo::LineageName& lineage, const Clock& clock, Reporter& reporter);
  // Ends it, unless keep() was called: no server can have been started.
  ~RecoveryHold();
  RecoveryHold(const RecoveryHold&) = delete;
  RecoveryHold& operator=(const RecoveryHold&) = delete;

  // For the state of the recovery (state.h); empty: it could not be put.
  const std::string& claim() const { return claim_; }
  void keep() { is_kept_ = true; }
  // The recovery has come to its end.
  void end();

 private:
  const repo::Repository& repository_;
  const repo::LineageName lineage_;
  std::string claim_;
  bool is_kept_ = false;
};

// That of the recovery that a data directory is in, by its state; empty: there is none.
std::string claim_of_recovery_in(const std::string& directory);
// Ends it by its name; an empty one is fine.
void end_recovery_hold(const std::string& claim, const repo::Repository& repository,
                       const repo::LineageName& lineage);

}  // namespace holdfast::restore
