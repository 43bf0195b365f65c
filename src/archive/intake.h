// intake.h: the gate to the WAL archive: what a server offers is looked at, compared and put, or
// refused.
//
// A file may be archived when all of this holds; everything else is an Error, and what is archived
// stays as it is:
//
//   lineage     the system identifier in the segment's own header (or in global/pg_control, for
//   files without one) has a lineage content     a segment has exactly the segment size, and its
//   first page is for the place that its name says: servers keep old
//               segment files under future names for reuse
//   same again  a name that is taken is fine for the same SHA-256 and length, once the archived
//   object was made durable history     a segment of timeline T > 1: the server's T.history is the
//   archive's; an archive without one is given it first neighbours  a segment joins the archived
//   segment before it (for the first one of a timeline: on the timeline it came from)
//               and the one behind it; otherwise two servers write one timeline, and the later
//               comer is refused
//
// A .partial file never conflicts: its name in the archive holds its digest.
// Used by push, look-ahead and salvage. One thread at a time, but for read() and put() with passes
// of their own.
//
// On paper nothing is put: accept() says what it would do, and later files are checked against
// those that it would have archived.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <sys/stat.h>
#include <vector>

#include "base/bytes.h"
#include "base/reporter.h"
#include "base/time.h"
#include "pg/timeline_history.h"
#include "pg/wal_file_name.h"
#include "repo/repository.h"
#include "repo/wal_archive.h"

namespace holdfast::archive {

// The server that offers WAL.
struct WalSource {
  std::string wal_directory;   // where its files lie: "/var/lib/postgresql/15/main/pg_wal"
  std::string data_directory;  // empty when it is not known
  std::string host;            // for the metadata, and for messages
};
// The source of a file that a server's archive_command names. `data_directory`, when empty, is the
// one that holds the directory "pg_wal" of the path; `host`, when empty, is this one.
WalSource wal_source_of(const std::string& path, const std::string& data_directory,
                        const std::string& host);

struct WalIdentity {
  uint64_t system_identifier = 0;
  std::optional<pg::WalSegmentSize> segment_size;  // when a control file or a segment told
};
// Who the source is, by pg_control, else by any segment in its directory. Throws kNotFound when
// nothing tells.
WalIdentity identify(const WalSource& source);
// The same for one file: a segment tells by its own header, which must not contradict pg_control
// (kWrongCluster).
WalIdentity identify_file(const WalSource& source, const std::string& name);

// The lineage of `cluster` for that system identifier and segment size. Throws kNotFound (no such
// cluster) and kWrongCluster.
repo::Lineage find_lineage(const repo::Repository& repository, const std::string& cluster,
                           const WalIdentity& identity);

struct OfferedFile {
  std::string name;
  pg::WalFileName file;
  std::string path;  // of the file that was read
  struct stat status{};
  uint64_t bytes = 0;
  Bytes32 sha256;
  repo::WalSegmentInfo segment;                // of segments and partial ones
  std::vector<repo::CompressedPiece> content;  // of these; empty: put() reads the file again
  Bytes small_content;                         // of all others
};

struct IntakeSetting {
  codec::CompressionSetting compression = {};
  int jobs = 0;           // threads that read and compress a segment; 0: as many as shorten it
  bool on_paper = false;  // nothing is put
  // A file that is being written: what is put is what was read at once, at whatever memory.
  bool read_once = false;
};

class Intake {
 public:
  // All must outlive the intake.
  Intake(const repo::WalArchive& archive, WalSource source, Reporter& reporter, const Clock& clock,
         IntakeSetting setting);

  const WalSource& source() const { return source_; }
  const repo::WalArchive& archive() const { return *archive_; }

  // Reads `<wal directory>/<name>` whole and checks that it is what its name says. The compressed
  // content is kept, up to 20 MiB; for more put() reads the file again.
  OfferedFile read(const std::string& name) { return read(name, pass_); }
  // The same by any thread, with a pass of its own.
  OfferedFile read(const std::string& name, repo::SegmentPass& pass) const;
  // A segment that ends early as the .partial of its name.
  OfferedFile as_partial(OfferedFile segment) const;

  // True: the same content is archived, durably. Throws kConflict when other content is.
  bool is_archived(const OfferedFile& offered) const;
  // Throws unless history and neighbours allow `offered`. May put the history file of its timeline.
  void check(const OfferedFile& offered);
  // The segment before it in memory is `previous`, which will be archived first: in place of the
  // archived one.
  void check_behind(const OfferedFile& offered, const repo::WalSegmentInfo& previous);
  // Puts what was checked. False: the same content came there first. Throws kConflict when other
  // content did, kIo when a file that is read again has changed.
  bool put(const OfferedFile& offered) { return put(offered, pass_, {}); }
  // The same by any thread, with a pass of its own; `before_commit` as in WalArchive.
  bool put(const OfferedFile& offered, repo::SegmentPass& pass,
           const std::function<void()>& before_commit) const;

  // All of it for one file; false when it was there already. A segment that cannot be read to its
  // end is a warning of the reporter.
  bool accept(const OfferedFile& offered);

 private:
  static void hand_over(const OfferedFile& offered, repo::SegmentPass& pass,
                        const std::function<void(const repo::CompressedPiece&)>& put_piece);
  void check_history(pg::TimelineId timeline);
  void check_joins(const OfferedFile& offered, const repo::WalSegmentInfo& neighbour,
                   bool neighbour_is_first) const;
  std::optional<repo::WalSegmentInfo> neighbour_info(pg::SegmentName segment) const;
  [[noreturn]] void throw_conflict(const OfferedFile& offered,
                                   const std::string& archived_by) const;

  const repo::WalArchive* archive_;
  WalSource source_;
  Reporter* reporter_;
  const Clock* clock_;
  std::optional<pg::TimelineHistory> history_;  // of the timeline that was checked last
  IntakeSetting setting_;
  repo::SegmentPass pass_;
  // On paper: the segments that would be archived.
  std::map<pg::SegmentName, repo::WalSegmentInfo> would_be_there_;
};

}  // namespace holdfast::archive
