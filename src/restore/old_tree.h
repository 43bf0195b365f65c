// old_tree.h: what lies in a data directory already, walked in step with a manifest, so that what
// the manifest does not name goes.
//
//   OldTree old(directory, {kMarkerName});
//   for each entry of the manifest, in its order:
//     old.reach(entry.path);      what stands before it, and is not on the way to it, is removed
//     ... make the entry ...
//     old.enter(entry.path);      a directory: its own names come next
//   old.finish();                 the rest
//
// Symbolic links are removed, never followed, but for the directories that were entered. A mount
// point cannot be removed and is emptied; "lost+found" stays. Memory: the names of the directories
// on the way to one file.
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/file.h"
#include "base/reporter.h"

namespace holdfast::restore {

// Removes a name in `directory`, with all that is below it; what cannot be removed as in
// remove_tree().
void remove_entry(const std::string& directory, const DirectoryEntry& entry,
                  const TellFailure& failed = {});
// Everything in a directory but what is to be kept: names in it, and paths below it.
void clear_directory(const std::string& directory, const std::set<std::string>& keep,
                     const TellFailure& failed = {});

// Old data that cannot be removed, named when the rest is gone. A stranger's file beside the
// server's own is not in the way of the restore that replaces them; among those it is.
class Leftovers {
 public:
  explicit Leftovers(std::string data_directory) : directory_(std::move(data_directory)) {}
  TellFailure teller() {
    return [this](const std::string& path, const Error& error) {
      if (!is_file_systems_own(base_name(path))) left_.emplace_back(path, error);
    };
  }
  // Warns of each; throws when one is in the way.
  void settle(Reporter& reporter) const;

 private:
  bool is_in_the_way(const std::string& path) const;
  const std::string directory_;
  std::vector<std::pair<std::string, Error>> left_;
};

class OldTree {
 public:
  // `keep`: paths below the directory that are not looked at, nor what holds them.
  OldTree(std::string directory, std::set<std::string> keep, TellFailure failed = {});

  // Throws kCorrupt when the directory of `path` was not entered: a manifest names each directory
  // before what is in it.
  void reach(std::string_view path);
  // `only`, unless it is empty: the one name in it that is the cluster's (in a tablespace's
  // directory the version's).
  void enter(const std::string& path, const std::string& only = {});
  void finish();

  // Names that were removed; a directory with all that was below it counts once.
  uint64_t removed() const { return removed_; }

 private:
  struct Level {
    std::string path;  // relative to the data directory; empty at the top
    std::vector<DirectoryEntry> entries;
    size_t next = 0;
  };
  std::string full_path(const std::string& path) const;
  bool is_kept(const std::string& path) const;
  void remove_next(Level& level);
  void leave();

  std::string directory_;
  std::set<std::string> keep_;
  TellFailure failed_;
  std::vector<Level> levels_;
  uint64_t removed_ = 0;
};

}  // namespace holdfast::restore
