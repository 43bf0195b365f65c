// containment.h: whether a file lies below a directory, by whatever path either is named.
//
// Paths do not tell: a symbolic link or a bind mount leads from one place into the other. So every
// directory on the way to the file is compared by device and inode; and, for what is mounted twice,
// the place that each has within its file system, by /proc/self/mountinfo (proc(5)).
#pragma once

#include <set>
#include <string>
#include <vector>

#include "base/error.h"

namespace holdfast {

// `path` may be missing; of a `directory` that is missing nothing is below. What is mounted below
// the directory counts as below it.
bool lies_below(const std::string& path, const std::string& directory);

// Where the file system is mounted on which `path` lies, or would lie; empty where /proc does not
// tell.
std::string mount_point_of(const std::string& path);
// Whether that is one above `mount`, where its file system was mounted: the disk is not there, and
// what is written now is hidden when it is mounted again. Empty: it was not known.
bool is_unmounted(const std::string& path, const std::string& mount);

// What a program cannot lose while it works: its repository, keys and configuration.
struct OwnFile {
  std::string what;  // "the repository"
  std::string path;
};
// Throws kUsage when one of `files` is, or lies below, one of `directories`. `would_be`: "cleared".
void require_apart(const std::vector<OwnFile>& files, const std::set<std::string>& directories,
                   std::string_view would_be);

}  // namespace holdfast
