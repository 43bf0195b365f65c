// import_wal.h: the WAL of a base backup from elsewhere: kept until it can be archived, and read
// from the archive for what it says of the backup.
#pragma once

#include <optional>
#include <stop_token>
#include <string>

#include "base/tar_reader.h"
#include "base/time.h"
#include "pg/lsn.h"
#include "repo/wal_archive.h"

namespace holdfast::backup {

// Puts the WAL that stands in a tar into files of `directory`: whose it is, and whether it belongs
// to the backup, is not known before the tar was read; nor may the archive be asked whether it has
// it, for until it is known from where on WAL is needed nothing keeps it there.
class WalSpool {
 public:
  // `archive` must outlive it.
  WalSpool(const repo::WalArchive& archive, std::string directory)
      : archive_(archive), directory_(std::move(directory)) {}

  // Files under future names, which a server keeps for reuse, and what is neither a segment nor a
  // history file, are passed over.
  void take(const TarEntry& entry, const std::string& name, TarReader& tar);
  const std::string& directory() const { return directory_; }
  bool has_segments() const { return has_segments_; }

 private:
  const repo::WalArchive& archive_;
  const std::string directory_;
  Bytes content_;
  bool has_segments_ = false;
};

struct BackupSpan {
  pg::TimelineId timeline;
  pg::Lsn start_lsn;
  pg::Lsn checkpoint_lsn;
  // nullopt: where the server has written that the backup ends
  std::optional<pg::Lsn> stop_lsn = {};
  // The last checkpoint by the backup's pg_control: that WAL is its own.
  pg::Lsn control_checkpoint = {};
  Time control_time = {};
};
struct BackupWal {
  pg::Lsn stop_lsn;
  Time start_time;  // of the checkpoint with which the backup began
  Time stop_time;   // no commit before stop_lsn carries a later one
};
// Reads the archived WAL of the backup from its start to its end, every record checked. Throws
// kNotFound naming the segments that are missing, kCorrupt when it cannot be read so far.
BackupWal read_backup_wal(const repo::WalArchive& archive, const BackupSpan& span,
                          const std::stop_token& stop);

}  // namespace holdfast::backup
