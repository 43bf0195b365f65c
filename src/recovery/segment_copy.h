// segment_copy.h: the archived copies of one segment, and whether they hold the same WAL.
//
// Beside the content that is served under a segment's own name there may be unfinished ones
// (.partial), each under its digest. A longer one that begins with all that another holds was saved
// later; where two part, one is of another server, or of one that was rolled back, and which is the
// right one their lengths do not say.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "repo/wal_archive.h"

namespace holdfast::recovery {

struct SegmentCopy {
  pg::SegmentName name;
  std::optional<Bytes16> partial;  // nullopt: under the segment's own name
  repo::WalSegmentInfo info;
};
// As `wal set-aside` takes it.
std::string file_name_of(const SegmentCopy& copy, pg::WalSegmentSize size);

// Whether one begins with what of the other can be read. Reads both, and throws what
// reading throws.
bool agree(const repo::WalArchive& archive, const SegmentCopy& a, const SegmentCopy& b);

// The unfinished copies of `segment` that can be read, and the one under its own name where it is
// cut short: the farthest first; empty where the segment is archived whole. What cannot be read is
// passed over.
std::vector<SegmentCopy> find_unfinished(const repo::WalArchive& archive, pg::SegmentName segment,
                                         const std::vector<Bytes16>& partials);
// Of these those that part from the first.
std::vector<SegmentCopy> parted_from_first(const repo::WalArchive& archive,
                                           const std::vector<SegmentCopy>& copies);

}  // namespace holdfast::recovery
