// intake.h: the gate to the WAL archive: what a server offers is looked at, compared and put, or
// refused.
//
// A file may be archived when all of this holds; everything else is an Error, and what is archived
// stays as it is:
//
//   lineage     the system identifier in the segment's own header (or in global/pg_control, for
//               files without one) has a lineage
//   content     the first page of a segment is for the place that its name says, and not of an
//               older timeline behind the switch: servers keep old segment files under future names
//               for reuse
//   same again  a name that is taken is fine for the same content, once the archived object was
//               read whole and made durable: what is said to be there may be thrown away by who
//               asks; and for a segment that ends early and agrees with the archived one up to
//               there
//   repair      a segment that has all that the archived one has, byte for byte, and goes on, is
//               put beside it and served from then on; and so is any content of a name of which
//               none is served, and of one that cannot be read what its own server offers
//   history     a segment of timeline T > 1: the server's T.history is the archive's; an archive
//               without one is given it first
//   neighbours  a segment joins the archived segment before it (for the first one of a timeline: on
//               the timeline it came from) and the one behind it; otherwise two servers write one
//               timeline, and the later comer is refused
//
// A segment that is short (wal_histories.h) is never refused and never taken for a whole one: what
// a server in production offers is archived with a warning; of all others (a standby with
// archive_mode = always, a push by hand) it is kept as .partial, for its server may not have
// written the rest yet. A .partial never conflicts: its name in the archive holds its digest.
//
// The server would offer a refused file for ever, and nothing behind it. So what only its form
// speaks against (a damaged first page, a history that nobody understands) is kept as it is, with a
// warning, when a server in production offers it.
//
// Used by push, look-ahead and salvage. One thread at a time, but for read() and put() with passes
// of their own.
//
// On paper nothing is put: accept() says what it would do, and later files are checked against
// those that it would have archived.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <sys/stat.h>
#include <vector>

#include "base/bytes.h"
#include "base/reporter.h"
#include "base/time.h"
#include "pg/timeline_history.h"
#include "pg/wal_file_name.h"
#include "repo/doomed.h"
#include "repo/repository.h"
#include "repo/wal_archive.h"
#include "repo/wal_conflict.h"

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
  int jobs = 0;            // threads that read and compress a segment; 0: as many as shorten it
  bool on_paper = false;   // nothing is put
  bool by_server = false;  // by archive_command, or as by it
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
  OfferedFile read(const std::string& name, repo::SegmentPass& pass,
                   uint64_t at_most = UINT64_MAX) const;
  // A segment that ends early as the .partial of its name.
  OfferedFile as_partial(OfferedFile segment) const;
  // The same WAL without the last page, behind which nothing is written: its name in the archive
  // is another one. Where the object of the first is damaged. Throws kCorrupt when every page is
  // written.
  OfferedFile under_another_digest(const OfferedFile& partial);

  // How what is archived under its name stands to `offered`.
  struct Standing {
    enum class Kind : uint8_t {
      kFree,      // nothing is served under that name
      kThere,     // the archive has it, durably: its bytes were read just now
      kAmends,    // what is archived is cut short, or damaged, and this goes on; a backup's history
      kConflict,  // it is something else
      kSetAside,  // this very content was taken out of service
    };
    Kind kind = Kind::kFree;
    uint64_t number = 0;           // the content to be put
    std::string archived_by = {};  // or set aside by whom
    repo::WalOwner owner = {};     // of a conflict
    std::string object = {};       // of what is served
  };
  Standing look(const OfferedFile& offered) const;
  // Whether an archived segment begins with so many bytes of the offered one.
  bool agrees_with(const std::string& object, const OfferedFile& offered, uint64_t bytes) const;
  // Throws kConflict when something else is archived under its name: for who must not keep even a
  // part of it.
  void refuse_conflict(const OfferedFile& offered) const;
  // Throws unless history and neighbours allow `offered`. May put the history file of its timeline.
  void check(const OfferedFile& offered);
  // The segment before it in memory is `previous`, which will be archived first: in place of the
  // archived one.
  void check_behind(const OfferedFile& offered, const repo::WalSegmentInfo& previous);
  // Puts what was checked, by any thread, with a pass of its own; `before_commit` as in WalArchive.
  // False: the name of that content is taken. Throws kIo when a file that is read again has
  // changed.
  bool put(const OfferedFile& offered, uint64_t number, repo::SegmentPass& pass,
           const std::function<void()>& before_commit) const;

  // All of it for one file.
  struct Accepted {
    std::string name;  // as archived: a .partial, where a segment was not taken for whole
    bool was_there = false;
    std::optional<Bytes16> partial = {};  // of a .partial: the digest in its name
  };
  Accepted accept(OfferedFile offered);

 private:
  bool keep_listed(const OfferedFile& offered, const std::string& object);
  static void hand_over(const OfferedFile& offered, repo::SegmentPass& pass,
                        const std::function<void(const repo::CompressedPiece&)>& put_piece);
  bool is_in_production(const std::string& name) const;
  bool is_marked_ready(const std::string& name) const;
  repo::WalSegmentInfo describe(const std::string& name, const OfferedFile& offered,
                                const repo::SegmentPass::Read& read, repo::SegmentPass& pass,
                                const std::function<repo::SegmentPass::Take()>& keep) const;
  repo::WalOwner owner() const;
  Standing look_at_file(const OfferedFile& offered, const repo::WalArchive::Content& served) const;
  Standing look_at_partial(const repo::WalArchive::Content& served) const;
  Standing look_at_segment(const OfferedFile& offered,
                           const repo::WalArchive::Content& served) const;
  [[noreturn]] void throw_set_aside(const OfferedFile& offered, const std::string& by) const;
  bool is_known(pg::TimelineId timeline) const;
  void refuse_foreign(const OfferedFile& offered);
  void check_history(pg::TimelineId timeline);
  void check_joins(const OfferedFile& offered, const repo::WalSegmentInfo& neighbour,
                   bool neighbour_is_first) const;
  void check_is_of_one_line(const OfferedFile& offered, const repo::WalSegmentInfo& next) const;
  bool is_named_the_same(const OfferedFile& offered, const std::string& object) const;
  bool is_shown_to_be_its_server(const OfferedFile& offered) const;
  bool has_the_same(const repo::WalSegmentInfo& archived) const;
  [[noreturn]] void throw_untold(const OfferedFile& offered, const Error& unread) const;
  std::optional<repo::WalSegmentInfo> neighbour_info(pg::SegmentName segment) const;
  [[noreturn]] void throw_conflict(const OfferedFile& offered, const Standing& standing) const;

  const repo::WalArchive* archive_;
  WalSource source_;
  Reporter* reporter_;
  const Clock* clock_;
  pg::TimelineId checked_;                      // the timeline whose history was, last
  std::optional<pg::TimelineHistory> history_;  // of that; nullopt: timeline 1, or not understood
  IntakeSetting setting_;
  repo::SegmentPass pass_;
  // The WAL that is listed for removal, when it was first asked; and from where on we hold it.
  std::optional<repo::DoomedObjects> listed_;
  std::map<pg::TimelineId, pg::Lsn> held_from_;
  // On paper: the segments that would be archived.
  std::map<pg::SegmentName, repo::WalSegmentInfo> would_be_there_;
};

}  // namespace holdfast::archive
