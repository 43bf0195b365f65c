// wal_conflict.h: two servers that write WAL under the same names, in words: who they are, and what
// the operator can do.
//
// There are two ways to come there. Two servers archive one timeline: a restored copy, a clone, a
// former primary. Or one server was rolled back, to a snapshot or an old copy of its files, and
// writes anew what it has archived before: then both names are its own.
#pragma once

#include <string>
#include <string_view>

#include "repo/wal_segment_info.h"

namespace holdfast::repo {

struct WalOwner {
  std::string host;
  std::string data_directory;  // empty: it is not known
};
// "host "a", data directory "/d"".
std::string to_string(const WalOwner& owner);
WalOwner owner_of(const WalSegmentInfo& info);
// The same with the time.
std::string pushed_by(const WalSegmentInfo& info);

// The archived segment `name`, of `there`, stands in the way of `here`: what each of the two cases
// asks for, as a hint.
std::string way_past(const std::string& name, const WalOwner& there, const WalOwner& here);

// The same where the history of a timeline is taken.
inline constexpr std::string_view kTakenTimelineHint =
    "Another server took this timeline before: this one is a restored copy or a former primary, "
    "which should not archive (archive_mode = off); or a standby that was promoted while it could "
    "not ask the archive. If it is the one that is to go on, its WAL needs another place: name the "
    "cluster anew in the configuration ([cluster.NAME]), run \"holdfast -c NAME init "
    "--configure-server --replace\", and take a backup. Nothing of it is lost meanwhile: the "
    "server keeps "
    "what is not archived.";

}  // namespace holdfast::repo
