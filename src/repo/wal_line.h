// wal_line.h: whether an archived segment goes on from what stands before it now, or from what
// stood there earlier.
//
// A name may have several contents (wal_contents.h). A server that was rolled back writes a segment
// anew; the first content is set aside, the second is put in its place, and what was archived
// behind the first is still there:
//
//   segments      08   09   0A          pushed at 10:00, 10:01, 10:02; then rolled back
//   set aside     08                    at 11:00
//   served        08'  09   0A          08' written since, pushed at 11:05
//
// Records of equal lengths join whoever wrote them, so 08' joins 09, and a recovery would replay a
// mixture of both histories. What proves it is the order: a segment is never archived before the
// one in front of it was written.
#pragma once

#include <optional>

#include "base/time.h"
#include "repo/wal_archive.h"

namespace holdfast::repo {

struct EarlierLine {
  Time archived;  // when `next` was
  Time written;   // of the last transaction in `here`, which is later
};
// Of two served segments in a row, by their metadata and that of what else there is under the first
// one's name: `next` is of the line of a content that is not served any more. Says nothing where
// the first has no other content, where that is the same again, is short (then the served one
// repairs it) or does not lead on to `next`, and where times do not prove it.
std::optional<EarlierLine> find_earlier_line(const WalArchive& archive, const WalSegmentInfo& here,
                                             const WalSegmentInfo& next);

}  // namespace holdfast::repo
