// info.h: everything about the repository at a glance, from the repository alone.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "recovery/windows.h"
#include "repo/backup.h"
#include "repo/wal_archive.h"

namespace holdfast::setup {

struct LineageInfo {
  repo::Lineage lineage;
  std::vector<repo::Backup> backups = {};               // the newest ten, oldest first
  std::vector<repo::UnreadableBackup> unreadable = {};  // of these
  uint64_t backup_count = 0;
  struct Timeline {
    pg::TimelineId timeline;
    uint64_t first_segment = 0, last_segment = 0;
    std::optional<repo::WalSegmentInfo> last = {};  // of the last segment
  };
  std::vector<Timeline> timelines = {};
  // What can be recovered, and the holes in the way, by what is listed.
  std::vector<recovery::Window> windows = {};
  std::vector<recovery::Gap> gaps = {};
  std::vector<std::string> unreadable_wal = {};  // lines
  std::vector<std::string> problems = {};        // what else could not be read: lines
};
struct RepositoryInfo {
  std::string url;
  Bytes16 id;
  bool sealed = false;
  Time created;
  struct Cluster {
    std::string name;
    std::vector<std::string> earlier_names = {};
    std::vector<LineageInfo> lineages = {};
    struct Unreadable {
      repo::LineageName name;
      std::string problem;
    };
    std::vector<Unreadable> unreadable = {};  // lineages
    std::string problem = {};                 // that kept all of it from being read
  };
  std::vector<Cluster> clusters = {};
};
// `cluster` empty: all.
RepositoryInfo info(const repo::Repository& repository, const std::string& cluster);

}  // namespace holdfast::setup
