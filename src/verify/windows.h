// windows.h: what the archived WAL allows: where it is broken, and what can be recovered.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "repo/wal_archive.h"
#include "verify/job.h"
#include "verify/verify.h"
#include "verify/wal.h"

namespace holdfast::verify {

struct WalPicture {
  std::vector<Window> windows;
  std::vector<Gap> gaps;
  // Backups whose own WAL, from start to stop, is not whole, and why.
  std::map<std::string, std::string> broken;
};

// `backups`: those that can be read, oldest first; `restorable`: the ids of those that can be laid.
WalPicture look_at_wal(const Job& job, const repo::WalArchive& archive,
                       const std::vector<repo::Backup>& backups,
                       const std::set<std::string>& restorable, const WalDamage& damage);

}  // namespace holdfast::verify
