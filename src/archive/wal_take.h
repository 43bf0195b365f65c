// wal_take.h: into the archive with the WAL that came with a base backup from elsewhere.
//
// As by wal push, file by file and by the rules of intake.h, and what is refused ends it. But a
// tool that streams the WAL of its own backup stops in the middle of a segment, of which the server
// archives the whole: such a one is right when it agrees with the archived one up to its last
// record, and where none is archived it is taken as .partial, so that it does not stand in the
// server's way.
#pragma once

#include <cstdint>
#include <stop_token>
#include <string>
#include <vector>

#include "base/reporter.h"
#include "base/time.h"
#include "codec/compression.h"
#include "pg/lsn.h"
#include "repo/repository.h"

namespace holdfast::archive {

struct TakeOptions {
  std::string directory;  // holds segments and history files under their names
  std::string cluster;
  pg::Lsn from;  // what lies before is left
  codec::CompressionSetting compression = {};
};
struct TakeResult {
  std::vector<std::string> archived;  // names as archived, .partial included
  uint64_t already_archived = 0;
};

// May add history files to the directory. Throws kConflict when the archive holds something else,
// kWrongCluster, kCorrupt, and what the store throws.
TakeResult take_wal(const TakeOptions& options, const repo::Repository& repository,
                    Reporter& reporter, std::stop_token stop, const Clock& clock = system_clock());

}  // namespace holdfast::archive
