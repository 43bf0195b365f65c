// wal_spool.h: segments fetched before the server asks for them.
//
//   <spool>/lock                 flocked by the one process that reads ahead
//   <spool>/asked                the segment that was asked for last, its name
//   <spool>/<segment>            content ++ trailer; whole and verified, made by rename
//   <spool>/<segment>.fetching   one on its way
//
//   trailer := magic "HFSPOOL4"[8] repository-id[16] system-identifier u64 life[16] name[24]
//              stamp u64 digest[16]                                                 96 bytes
//   life    := xxh3-128 of the boot of the operating system and the start of the server
//   stamp   := the file's time of modification when it was whole, drawn by lot from years long
//              past: seconds * 2^32 + nanoseconds
//   digest  := xxh3-128 of all before it
//
// The process that reads ahead is a child of its own that outlives the `wal get` which started it.
// It ends when nothing was asked for some seconds, and with the server for which it reads: from
// then on the data directory may be rewound, moved or removed, so it touches nothing any more, and
// leaves what is there as it is. It keeps at most N segments behind the one that
// was asked for last, of the same timeline; all others are removed. It looks at what was asked for
// last before each segment that it fetches. What is not archived yet is not remembered as missing.
//
// A segment is taken by renaming it: its file becomes the one that the server reads, cut to the
// content. Only a spool on another file system is copied from. Nothing in the spool needs to
// survive anything: a file is taken only when its trailer names this repository, this system, this
// segment and this server's start, and its content is what was verified when it was
// fetched: for nobody has written to it since, as it bears the time that was drawn for it, or as
// read back. Any other is removed. (The spool is never synced, so what a crash of the system leaves
// of it is nothing to go by.) Reading 16 MiB back takes longer than all the rest of a call. That
// nobody has written is what the file system says: what is written through mapped memory it does
// not see on tmpfs, and of a disk that lost it the server would learn as little of its own files.
//
// The spool lies in pg_wal unless told otherwise: no base backup copies that, and it is the
// server's own.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>

#include "base/bytes.h"
#include "base/file.h"
#include "base/reporter.h"
#include "cluster/running_server.h"
#include "pg/wal_file_name.h"
#include "repo/keys.h"
#include "repo/wal_archive.h"
#include "store/store.h"

namespace holdfast::archive {

// "<data directory>/pg_wal/holdfast_spool"
std::string default_spool_directory(const std::string& data_directory);

// Larger segments are not read ahead.
inline constexpr uint32_t kLargestSpooledSegment = uint32_t{64} << 20;

// Which start of the operating system this is: another one after each reboot.
Bytes16 this_boot();
// And which start of a server.
Bytes16 life_of(const cluster::LivingServer& server);

class Spool {
 public:
  struct Owner {
    Bytes16 repository_id;
    uint64_t system_identifier = 0;
    pg::WalSegmentSize segment_size;
    Bytes16 life;
    mode_t file_mode = 0600;  // as the data directory's files have it
  };
  Spool(std::string directory, Owner owner);

  // --- for who asks

  // Makes the directory when it is missing; its parent must exist.
  void prepare();
  // A spooled segment, verified, becomes the file `to` and is no longer spooled. False: there is
  // none, and `to` is not there either. `to` is the caller's alone; after an Error it may be there.
  bool take(const std::string& segment, const std::string& to);
  // Whether a living process is fetching it at this moment.
  bool is_coming(const std::string& segment) const;
  void note_asked(const std::string& segment);
  bool has_reader() const;  // somebody reads ahead

  // --- for who reads ahead

  std::optional<std::string> asked() const;
  bool holds(const std::string& segment) const;
  // False: it is not in the archive, or not for a server without a look at it. `may_go_on` is asked
  // before anything is changed, again and again; once it says no kInterrupted is thrown.
  bool fetch(
      const repo::WalArchive& archive, const pg::SegmentName& segment,
      const std::function<bool()>& may_go_on = [] { return true; });
  // Removes every segment that is not of `timeline` with a number in [first, last]. What is on its
  // way stays.
  void keep_only(pg::TimelineId timeline, uint64_t first, uint64_t last);
  void remove_unfinished();  // what is on its way; REQUIRES: nobody fetches
  void clear();              // both
  std::string lock_path() const;

 private:
  std::string path(const std::string& name) const;
  Bytes make_trailer(const std::string& segment, uint64_t stamp) const;  // without the digest
  bool is_good(const Fd& file, const std::string& segment, const Fd* copy) const;

  std::string directory_;
  Owner owner_;
};

struct ReadAheadOptions {
  std::string data_directory = ".";
  std::string cluster;
  std::optional<Bytes16> repository_id = std::nullopt;
  std::string spool_directory = {};  // empty: default_spool_directory()
  int read_ahead = 8;
  int jobs = 2;
  std::chrono::milliseconds timeout = std::chrono::seconds(60);    // of the store
  std::chrono::milliseconds idle_time = std::chrono::seconds(10);  // unasked for so long: it ends
  std::chrono::milliseconds poll_time = std::chrono::milliseconds(10);
};

struct ReadAheadResult {
  uint64_t fetched = 0;
  bool was_busy = false;  // another process reads ahead into this spool
};

// Reads ahead until nothing was asked for `idle_time`; the spool is empty then. Or until the server
// on the data directory has ended; then the spool is as it was at that moment. At once where none
// lives. The spool's directory must exist. Throws like get(), also when stopped: the process ends,
// and the next `wal get` starts another.
ReadAheadResult run_read_ahead(const ReadAheadOptions& options, store::Store& source,
                               const repo::KeySource& key, Reporter& reporter,
                               std::stop_token stop);

}  // namespace holdfast::archive
