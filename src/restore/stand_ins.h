// stand_ins.h: directories of this host in place of those in which replay makes tablespaces.
//
// In a copy's sandbox the copy's own directory is laid over the path that the WAL names. Where
// nothing is at that path, an empty directory must stand in, for as long as the sandbox is; removed
// while it is covered there, the cover goes with it. Several copies on one host need the same one:
// each holds a shared lock on it, and the last removes it.
//
// Facts: mount_namespaces(7), "Restrictions on mount namespaces"; flock(2).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/file.h"
#include "restore/owners.h"

namespace holdfast::restore {

class StandIns {
 public:
  // Makes the directory where there is none, and keeps others from removing it; so too one that
  // another copy has made, or (`is_ours`) an earlier run of this one. Any other that is there is
  // production's, and left alone.
  void hold(const std::string& path, const std::optional<OwnerIds>& owner, bool is_ours = false);
  // What hold() made, and what another copy of this host has made and left to the last.
  const std::vector<std::string>& made() const { return made_; }
  // Lets go of all, and removes of `made` what is empty and nobody else holds. Without it they
  // stay, for a recovery that is gone on with.
  void release(std::vector<std::string> made);

 private:
  struct Held {
    std::string path;
    Fd fd;
  };
  std::vector<Held> held_;
  std::vector<std::string> made_;
};

}  // namespace holdfast::restore
