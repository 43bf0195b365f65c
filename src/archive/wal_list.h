// wal_list.h: `wal list`: what the archive holds of each timeline, as ranges without a gap.
//
// Memory: ranges, partial segments and timelines, never segments. Requests: the listing, and small
// reads from both ends of a range until one finds a commit: two, unless the server idled there.
#pragma once

#include <cstdint>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/reporter.h"
#include "base/time.h"
#include "pg/lsn.h"
#include "pg/timeline_history.h"
#include "repo/repository.h"

namespace holdfast::archive {

struct ListOptions {
  std::string cluster;
  std::optional<repo::LineageName> lineage = std::nullopt;  // nullopt: all of the cluster
};

// An unbroken row of segments, first and last of it included.
struct WalRange {
  std::string first_segment, last_segment;  // file names
  uint64_t segment_count = 0;
  uint64_t stored_bytes = 0;
  pg::Lsn start_lsn, end_lsn;
  // Of the first and the last transaction that ended in it; nullopt when none did.
  std::optional<Time> first_commit, last_commit;
  std::optional<Time> first_pushed, last_pushed;
};
struct WalGap {
  std::string first_segment, last_segment;
  uint64_t segment_count = 0;
};
struct WalPartial {
  std::string segment;  // "….partial"
  Bytes16 digest;
  uint64_t stored_bytes = 0;
  pg::Lsn readable_end;
  std::string host;
};
struct WalTimeline {
  pg::TimelineId timeline;
  // nullopt for timeline 1, and where the file is missing although the timeline has WAL: an archive
  // that is not whole.
  std::optional<pg::TimelineHistory> history;
  std::vector<WalRange> ranges;
  std::vector<WalGap> gaps;  // between the ranges, before the first of a timeline that began in the
                             // archive, and behind the last where WAL is proven to have been
  // Segments that join the one before them and are of the history of another content of that.
  std::vector<std::string> other_history;
  std::vector<WalPartial> partials;
  uint64_t backup_history_count = 0;
};
struct WalSetAside {
  std::string file;  // "….partial.<digest>" of a partial one
  uint64_t number = 0;
  Time at;
  std::string by;
};
struct WalLineage {
  repo::Lineage lineage;
  std::vector<WalTimeline> timelines;
  std::vector<WalSetAside> set_aside;  // what is not served: nowhere else in this listing
};
struct WalListing {
  std::vector<WalLineage> lineages;
  bool has_gaps() const;
};

// Throws kNotFound for a cluster or lineage that is not there.
WalListing list(const ListOptions& options, const repo::Repository& repository, Reporter& reporter,
                std::stop_token stop);

}  // namespace holdfast::archive
