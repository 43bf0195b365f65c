// wal_tail.h: the unfinished last segment of a standby that runs, into the archive as .partial.
//
// A backup of a standby ends within the segment that the standby is receiving, and on a quiet
// system its primary completes that one hours later, or never again. Always as .partial: what lies
// behind the received WAL is what the file held before, so it must not take the name of the
// segment, which the primary will archive.
#pragma once

#include <optional>
#include <string>

#include "base/reporter.h"
#include "base/time.h"
#include "codec/compression.h"
#include "pg/lsn.h"
#include "repo/repository.h"

namespace holdfast::archive {

struct TailOptions {
  std::string wal_directory;  // the standby's pg_wal, in its data directory
  std::string segment;
  std::string cluster;
  codec::CompressionSetting compression = {};
};

// Up to where the records of what was archived can be read; nullopt when the standby has nothing of
// that segment. Throws kConflict when it does not continue the archived segment before it, and what
// the intake throws (intake.h).
std::optional<pg::Lsn> archive_tail(const TailOptions& options, const repo::Repository& repository,
                                    Reporter& reporter, const Clock& clock = system_clock());

}  // namespace holdfast::archive
