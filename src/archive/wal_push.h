// wal_push.h: `wal push %p`: one file of the server's pg_wal into the archive, and what waits
// behind it.
//
// push() returns only when the file is durable in the archive, also when it was there already (the
// server offers a file again after a crash). What may be archived, and what is refused: intake.h.
//
// Look-ahead: once the named segment was stored, the segments behind it that the server also has
// ready (archive_status/*.ready) are stored in parallel, so that the calls for them are answered by
// what is there: see stored_ahead.h. They are taken only in an unbroken chain, each joining the one
// before it, and they become visible in that order: an archive that is read meanwhile never shows a
// hole. A segment is read whole, and then its .ready and its file must be the ones from before. The
// first one that is refused ends it with a warning; the call has succeeded by then. When a call
// finds its segment there it does not look ahead, so the work is done once.
//
// Memory: for each of `jobs` threads 3 MiB, and at most 20 MiB of what its segment is compressed
// to. Look-ahead is off for segments of more than 64 MiB. Threads die with the process.
#pragma once

#include <chrono>
#include <stop_token>
#include <string>
#include <vector>

#include "base/reporter.h"
#include "base/time.h"
#include "repo/repository.h"

namespace holdfast::archive {

struct PushOptions {
  std::string path;  // %p: absolute, or from the working directory
  std::string cluster;
  std::string data_directory = {};  // empty: the one that holds the path's pg_wal
  std::string host = {};            // empty: this host's name
  int look_ahead = 16;              // segments at most behind the named one; 0: none
  int jobs = 4;                     // at a time
  std::chrono::milliseconds look_ahead_time =
      std::chrono::seconds(5);  // after which no further segment is begun
  codec::CompressionSetting compression = {};
};

struct PushResult {
  std::string file;
  repo::LineageName lineage;
  uint64_t bytes = 0;
  bool was_there = false;
  std::vector<std::string> looked_ahead = {};  // stored too
};

// Throws, with nothing put: kNotFound (no such file, no such cluster, a timeline whose history the
// server does not have), kWrongCluster, kCorrupt (a recycled or damaged file), kConflict (other
// content under the name; a diverged timeline), and what the store throws.
PushResult push(const PushOptions& options, const repo::Repository& repository, Reporter& reporter,
                std::stop_token stop, const Clock& clock = system_clock());

}  // namespace holdfast::archive
