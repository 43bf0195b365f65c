// servers_wal.h: whether the WAL in the archive is that of the server which is backed up.
//
// A name, a system identifier and a place in the WAL do not tell. A clone, a former primary and a
// server that was rolled back write the same names, and two servers of one load, or of none, begin
// their backups at the same place. A backup with another server's WAL restores to a mixture of
// both, and nothing says so. So contents are compared:
//
//   history      of a timeline above 1: the archived one is the server's, byte for byte
//   segments     each from the start to the stop whose file still lies in the server's pg_wal
//   the end      the file of the segment that holds the stop is looked at when the copy has
//                ended, before it may be recycled; where there is none, the record that ends this
//                very backup must stand in the archive
//   checkpoint   the record that backup_label names stands in the archive, and begins the replay
//                where the backup starts
//
// Used by one thread. Reads each of those segments once, from the data directory; of the archive
// their metadata alone, but where a file differs from what is archived as a whole.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "repo/needed_wal.h"
#include "repo/wal_archive.h"
#include "repo/wal_conflict.h"

namespace holdfast::backup {

class ServersWal {
 public:
  struct Options {
    std::string data_directory;
    std::string host;
    repo::NeededWal needed;
    pg::Lsn checkpoint_lsn;
  };
  // Right behind the stop: remembers what of the last segment there is.
  ServersWal(Options options, pg::WalSegmentSize size);

  // These throw kConflict, naming both servers.
  void require_same_history(const repo::WalArchive& archive) const;
  // `archived`: what is served of a segment from the start to the stop.
  void require_same_segment(const repo::WalArchive& archive, const repo::WalSegmentInfo& archived);
  // Behind all segments. `has_put_tail`: what there is of the last one was archived from this very
  // data directory.
  void require_its_records(const repo::WalArchive& archive, bool has_put_tail) const;

 private:
  std::string path_of(const std::string& name) const;
  // The first of the segments up to that one whose file in pg_wal is another than the archived one,
  // as far back as they are there: where the two histories part.
  std::string first_other(const repo::WalArchive& archive,
                          const repo::WalSegmentInfo& archived) const;
  [[noreturn]] void throw_other(const repo::WalArchive& archive,
                                const repo::WalSegmentInfo& archived, const std::string& how) const;

  Options options_;
  pg::WalSegmentSize size_;
  std::optional<Bytes32> last_;  // of the last segment up to the stop
  bool is_end_proven_ = false;
};

}  // namespace holdfast::backup
