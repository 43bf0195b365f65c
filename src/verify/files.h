// files.h: the manifest and the file maps of one backup: every reference against the footer of its
// pack.
//
// Maps and manifest blocks are read; the contents are not, because their packs were, and a footer
// lists the digest of each extent.
#pragma once

#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "repo/manifest.h"
#include "repo/refs.h"
#include "verify/job.h"
#include "verify/packs.h"

namespace holdfast::verify {

// The footers of the packs that were asked for last. Safe from any thread.
class Footers {
 public:
  using Footer = std::shared_ptr<const std::vector<repo::PackFooterEntry>>;
  explicit Footers(const Job& job) : job_(job) {}
  // Throws kCorrupt.
  Footer of(const Bytes16& pack);

 private:
  static constexpr size_t kKept = 32;
  const Job& job_;
  Mutex mutex_;
  std::list<std::pair<Bytes16, Footer>> kept_ HF_GUARDED_BY(mutex_);  // the last used first
};

// Why the backup cannot be restored whole, a sentence; nullopt: it can. What is wrong is told to
// job.findings. `refs` nullptr: they cannot be read.
std::optional<std::string> check_files(const Job& job, Footers& footers, const repo::Backup& backup,
                                       const std::vector<repo::PackRefs>* refs,
                                       const DamagedPacks& damaged);

}  // namespace holdfast::verify
