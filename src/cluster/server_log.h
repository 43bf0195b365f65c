// server_log.h: where a running server's log goes, and what it says of archive_command.
//
// A command that fails has its own words in the server's log, and nowhere else: they stand before
// the server's line about it, without the server's prefix. A status above 125 ends the archiver
// (FATAL, and it is started again): pg_stat_archiver does not count that, the log alone tells it.
//
// Facts: pgarch.c (13, 14), shell_archive.c (15 to 18). The server's lines are known in English.
#pragma once

#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <sys/types.h>
#include <vector>

#include "cluster/log_follower.h"
#include "cluster/server_facts.h"

namespace holdfast::cluster {

// One failed attempt.
struct ArchiverWords {
  std::string message;             // "archive command failed with exit code 1"
  std::vector<std::string> lines;  // what the command said before, the last of it
  bool ended_archiver = false;     // a status above 125, or a signal
};

// Reads a server's log line by line. Refuses nothing: any text is a log.
class ArchiverWordsParser {
 public:
  static constexpr size_t kMaxLines = 8;
  static constexpr size_t kMaxLineBytes = 1000;

  // The attempt that this line, without its newline, completes.
  std::optional<ArchiverWords> feed(std::string_view line);

 private:
  std::deque<std::string> lines_;
};

// The file that the server logs into, when it is one that this process can read: of the collector,
// else what the postmaster has as its stderr.
std::optional<std::string> find_server_log(const ServerFacts& facts, pid_t postmaster);

// The environment with which a process was started, "NAME=value"; empty when it is not for us to
// see.
std::vector<std::string> environment_of(pid_t pid);

}  // namespace holdfast::cluster
