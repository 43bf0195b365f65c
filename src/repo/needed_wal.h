// needed_wal.h: whether the WAL that something is recovered by is in the archive, and stays.
//
// WAL has names that are used again: a backup may need segments that were archived long before it,
// and that stand in a list of the doomed. So whoever relies on WAL that is there puts an intent on
// it first, and only then looks:
//
//   1. the intent            every run of expire that begins later reads it
//   2. is the WAL listed,    one that is under way may have looked before, and remove what it
//      and a run under way   has listed; what is in no list now is in none of its
//   3. is the WAL there      what earlier runs have removed is gone by now
//
// Normative: docs/design/repository-format.md, section 12.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "pg/lsn.h"
#include "repo/backup.h"
#include "repo/doomed.h"
#include "repo/repository.h"
#include "repo/wal_archive.h"

namespace holdfast::repo {

struct NeededWal {
  pg::TimelineId timeline;
  pg::Lsn start_lsn;  // [start_lsn, end_lsn)
  pg::Lsn end_lsn;
};

// Step 2: an object of it, or the timeline's history, that a run of expire may be removing.
std::optional<Going> find_going_wal(const Repository& repository, const Lineage& lineage,
                                    const NeededWal& needed);
// Step 3: the first object of it that is not there; of the last segment a partial one will do.
std::optional<std::string> find_missing_wal(const Repository& repository, const Lineage& lineage,
                                            const NeededWal& needed);

// What a commit says of the WAL that the backup is proven with: the contents of the segment in
// which it starts and of that in which it stops, as they are served. What lies between is of one
// line with them.
std::vector<OwnWal> read_own_wal(const Repository& repository, const Lineage& lineage,
                                 const NeededWal& needed);

// Whether the contents of two objects of segments begin with the same `bytes`; nullopt: one of them
// is not there, or has not so many. Reads both, and throws what reading throws.
std::optional<bool> begin_alike(const WalArchive& archive, const std::string& one,
                                const std::string& other, uint64_t bytes);
// Whether they are shown not to. Of what cannot be read nobody knows.
bool are_parted(const WalArchive& archive, const std::string& one, const std::string& other,
                uint64_t bytes);

// A content that a backup was committed with and that is not served any more, nor what was put for
// its repair: whatever is served under that name now, the pages that were copied went another way.
struct TakenWal {
  std::string object;
  std::string words;  // "WAL file "0000…04", with which it was taken, was set aside at …"
};
// Whether a segment goes on where an unfinished or a short one ended, its contents tell: they are
// read only with kContents.
enum class Compare : uint8_t { kMetadata, kContents };
// Two small reads where nothing is amended. nullopt: there is none, or the commit names none, or
// what is served cannot be read.
std::optional<TakenWal> find_taken_wal(const Backup& backup, const WalArchive& archive,
                                       Compare compare);
// The same of one file that something was recovered by.
std::optional<TakenWal> find_taken_wal(const OwnWal& own, const WalArchive& archive,
                                       Compare compare);
// Throws kTargetUnreachable, with that hint, for who is about to give the backup back with what is
// served. Compares contents.
void require_own_wal(const Backup& backup, const WalArchive& archive, std::string hint);

}  // namespace holdfast::repo
