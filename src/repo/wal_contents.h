// wal_contents.h: which content of a WAL file is served. Normative:
// docs/design/repository-format.md, "Contents of a name".
//
// A file has the object in wal/ and, rarely, further ones in amended/, put there because the first
// was cut short, wrong or damaged: nothing is ever replaced. Marks set a content aside. Served is
// the one of the highest number that is not set aside.
//
// Requests: a listing of a folder that is nearly always absent; where it is not, a small read for
// each mark, and for each content that a mark speaks of.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/time.h"
#include "pg/wal_file_name.h"
#include "repo/repository.h"

namespace holdfast::repo {

// A fact about one content, put once; the newest counts.
struct WalMark {
  std::string file;                // as a server names it
  std::optional<uint64_t> number;  // of the content; nullopt: of a partial segment, by its digest
  std::optional<Bytes32> sha256;   // of the content; nullopt: it could not be read
  bool is_set_aside = true;        // false: it is served again
  Time at;                         // by the store's clock
  std::string by;                  // the host
  std::string detail;              // a sentence
};

// What stands beside the object of one file.
struct WalAmendments {
  std::map<uint64_t, uint64_t> further;  // number of a content -> bytes of its object
  std::vector<WalMark> marks;
  std::vector<std::string> unreadable;  // marks, which count for nothing
  bool empty() const { return further.empty() && marks.empty() && unreadable.empty(); }
};
WalAmendments read_amendments(const Repository& repository, const LineageName& lineage,
                              const pg::WalFileName& file, pg::WalSegmentSize size);
// Of all files of a timeline; those that have any.
std::map<std::string, WalAmendments> read_amendments(const Repository& repository,
                                                     const LineageName& lineage,
                                                     pg::TimelineId timeline,
                                                     pg::WalSegmentSize size);

// The mark that sets this content aside; nullptr: none does, or a later one serves it again.
// `may_be`: whether that may be the content's SHA-256; asked only where a mark speaks of it.
const WalMark* set_aside(const WalAmendments& amendments, std::optional<uint64_t> number,
                         const std::function<bool(const Bytes32& sha256)>& may_be);

// Puts a mark under a fresh name, with the store's time and this host's name; durable when it
// returns. `mark.at` and `mark.by` are filled in.
WalMark put_wal_mark(const Repository& repository, const LineageName& lineage,
                     const pg::WalFileName& file, pg::WalSegmentSize size, WalMark mark);

}  // namespace holdfast::repo
