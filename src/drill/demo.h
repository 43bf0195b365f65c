// demo.h: the nine steps of a recovery, played on a throwaway cluster, narrated for somebody who
// learns it.
//
// Everything is real: a server of its own in a directory of its own, a writer that notes each
// acknowledged commit outside the database, a repository, a backup, a mistake, a disaster, two
// recoveries, and SQL that proves them. Nothing outside the directory is touched; the servers
// listen on sockets in it.
#pragma once

#include <functional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/time.h"

namespace holdfast::drill {

struct DemoOptions {
  std::string directory;  // empty: a new one below TMPDIR; else absent or empty
  bool keep = false;      // leave cluster, repository and the last recovered server
  std::string bindir;     // empty: the newest major that is installed and known
  std::string program;    // this program, for archive_command and restore_command
  int jobs = 2;
};

struct DemoResult {
  std::string directory;  // empty unless kept
  int major = 0;
  uint64_t commits_before_mistake = 0;  // rows that the first recovery had to bring back, and did
  uint64_t commits_in_all = 0;          // acknowledged until the disaster
  uint64_t lost = 0;  // acknowledged and archived, yet absent after the recovery to the end: 0
  Microseconds took{};
};

// `say` is given the narration, line by line. Throws kConflict when a recovered cluster is not what
// was committed.
DemoResult demo(const DemoOptions& options, const std::function<void(std::string_view)>& say,
                const Clock& clock, std::stop_token stop);

// Runs `program` with `arguments` as the user that may run servers (postgres, else nobody), from a
// copy that this user can read, and returns its exit status. REQUIRES: the caller is root.
int run_as_server_user(const std::string& program, const std::vector<std::string>& arguments);

}  // namespace holdfast::drill
