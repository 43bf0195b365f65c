// salvage.h: what becomes of the WAL files in the pg_wal of a cluster that is restored in place.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "pg/lsn.h"
#include "pg/wal_file_name.h"

namespace holdfast::restore {

struct SalvagedWal {
  std::vector<std::string> saved = {};    // names as archived, or as they would be
  std::vector<std::string> unsaved = {};  // names in pg_wal, to be moved aside
  std::vector<Bytes16> partials = {};  // its unfinished segments in the archive, by their digests
  // From where on, on a timeline, the archive holds another history than the directory.
  struct Conflict {
    pg::SegmentName from;
    Error error;
  };
  std::vector<Conflict> conflicts = {};
  // Where all that the directory has of its newest timeline ends; nullopt: not all of it is saved.
  struct End {
    pg::TimelineId timeline;
    pg::Lsn last_record_end;
  };
  std::optional<End> end = {};
  std::optional<End> seen = {};  // the same of what could be read, whatever is not saved
};
// `on_paper`: nothing is archived.
using Salvage = std::function<SalvagedWal(const std::string& pg_wal, bool on_paper)>;

}  // namespace holdfast::restore
