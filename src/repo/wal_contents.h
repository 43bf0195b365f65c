// wal_contents.h: which content of a WAL file is served. Normative:
// docs/design/repository-format.md, "Contents of a name".
//
// A file has the object in wal/ and, rarely, further ones in amended/, put there because the first
// was cut short, wrong or damaged: nothing is ever replaced. Marks set a content aside. Served is
// the one of the highest number that is not set aside.
//
// A content of a history stands twice (repo/two_places.h), and is there while either of the two is.
//
// Requests: one listing of a folder that is nearly always absent; where it is not, a small read for
// each mark of a file that is asked for, and for each content of it.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/mutex.h"
#include "base/time.h"
#include "pg/wal_file_name.h"
#include "repo/repository.h"

namespace holdfast::repo {

// A fact about a content, put once; the newest counts.
struct WalMark {
  std::string file;     // as a server names it
  std::string content;  // its number; of a partial segment the digest in its name
  // Of the content, of which the mark then speaks under whatever number; nullopt: that object could
  // not be read, and the mark speaks of it alone.
  std::optional<Bytes32> sha256;
  bool is_set_aside = true;  // false: it is served again
  Time at;                   // by the store's clock
  std::string by;            // the host
  std::string detail;        // a sentence
  std::string run = {};      // of a command that sets many aside: what its marks have in common
};

// What stands beside the object of one file.
struct WalAmendments {
  std::map<uint64_t, uint64_t> further;  // number of a content -> bytes of its object
  std::vector<WalMark> marks;            // those that cannot be read count for nothing
  // Behind every number that is there, or that a mark names; 0: there is none.
  uint64_t next_number = 0;
};

// The folder amended/ of a lineage, listed once, when it is asked for first. Any thread.
class AmendedFolder {
 public:
  AmendedFolder(const Repository& repository, LineageName lineage, pg::WalSegmentSize size)
      : repository_(&repository), lineage_(std::move(lineage)), size_(size) {}

  // Files of which there is something, by name.
  std::vector<std::string> files();
  WalAmendments of(const pg::WalFileName& file);
  // The timelines of which a copy of a history stands; listed when it is asked for first, here or
  // of a history.
  std::vector<pg::TimelineId> copied_histories();
  // It is listed anew at the next question.
  void forget();

 private:
  struct Beside {
    std::map<uint64_t, uint64_t> further;
    std::vector<std::string> marks;  // names of objects
  };
  const std::map<std::string, Beside>& listed() HF_REQUIRES(mutex_);
  // The numbers of the contents, and the bytes of their objects.
  using Copies = std::map<pg::TimelineId, std::map<uint64_t, uint64_t>>;
  const Copies& copies() HF_REQUIRES(mutex_);

  const Repository* repository_;
  LineageName lineage_;
  pg::WalSegmentSize size_;
  Mutex mutex_;
  std::optional<std::map<std::string, Beside>> listed_ HF_GUARDED_BY(mutex_);
  std::optional<Copies> copies_ HF_GUARDED_BY(mutex_);
};

// The mark that sets the content of that number (of a partial segment: digest) aside; nullptr: none
// does, or a later one serves it again. `sha256` is asked for where a mark speaks of one; nullopt:
// the object cannot be read.
const WalMark* set_aside(const WalAmendments& amendments, const std::string& content,
                         const std::function<std::optional<Bytes32>()>& sha256);

// Puts a mark under a fresh name, with this host's name and the store's time, but later than those
// that it is to outweigh; durable when it returns.
WalMark put_wal_mark(const Repository& repository, const LineageName& lineage,
                     const pg::WalFileName& file, pg::WalSegmentSize size,
                     const WalAmendments& amendments, WalMark mark);

}  // namespace holdfast::repo
