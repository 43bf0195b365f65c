// wal_tip.h: the end of what somebody holds of a timeline's WAL, to tell by it whether a server is
// the one that wrote it.
#pragma once

#include <optional>

#include "base/bytes.h"
#include "pg/lsn.h"
#include "pg/wal_file_name.h"

namespace holdfast::pg {

struct WalTip {
  TimelineId timeline;
  std::optional<Bytes> history = {};  // the timeline's file, from 2 on
  // The last segment, from its beginning to where it can be read; nullopt: there is none.
  std::optional<SegmentName> segment = {};
  Bytes content = {};
};

}  // namespace holdfast::pg
