// verify.h: `verify`: every object of a cluster is read and checked, and what is damaged is told
// together with what that means: which backups, which moments.
//
// What was read whole and found good is noted in the repository (repo/verified_objects.h) and not
// read again while it is unchanged, unless `deep`, but for a part of it at each run (rolling.h).
// Commit objects, references, keys and lineage
// documents are small and read every time. A backup that turns out damaged gets a mark, so that no
// recovery begins with it; one that was read whole and is good gets one too. A store that cannot be
// written to is verified all the same.
//
// The steps, each in a file of its own: inventory (one listing), packs (every extent), files
// (manifests and maps: every reference against the footer of its pack), wal (segments and how they
// join), windows (gaps, and what can be recovered).
//
// Sketch: bound by decompression and digests, about 300 MB/s a job; each pack and segment is read
// once, a segment that cannot be read to its end twice. Memory: for each job 12 MiB; the footers of
// 32 packs; 32 bytes for each pack, 24 for each segment of the repository, and as much again for
// the records.
#pragma once

#include <cstdint>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/reporter.h"
#include "base/time.h"
#include "recovery/windows.h"
#include "repo/backup.h"
#include "repo/lineage_choice.h"
#include "repo/repository.h"
#include "repo/verified_objects.h"

namespace holdfast::verify {

struct VerifyOptions {
  std::string cluster;
  bool deep = false;  // read again what was found good before
  // Within so long everything is read again, a part at each run; 0: only with `deep`.
  Microseconds within = std::chrono::hours(30 * 24);
  int jobs = 2;
  uint64_t bytes_per_second = 0;  // that are read of packs and WAL at most; 0: no limit
  // Ids, beginnings of ids or "latest": what these need and nothing else. Empty: everything.
  std::vector<std::string> backups = {};
  repo::LineageChoice lineage = {};  // for "latest"
};

// One object, or folder, that is not as it was written, is missing, cannot be read, or contradicts
// another.
struct Finding {
  std::string object;
  // A line: "damaged", "missing", kUnreadableObject, kOtherWal, ...
  std::string problem;
  std::string detail;                // sentences
  std::vector<std::string> backups;  // that it makes unusable
  std::vector<std::string> files;    // of these backups; at most kShownFiles
};
inline constexpr std::string_view kUnreadableObject = "unreadable";
// It is whole, and so is another copy of that segment, of another history.
inline constexpr std::string_view kOtherWal = "of different histories";
inline constexpr size_t kShownFiles = 10;
// So many are kept of a lineage; the count is exact.
inline constexpr size_t kKeptFindings = 1000;

enum class Verdict : uint8_t {
  kGood,
  kUsable,  // can be restored, but one of two copies, a pack's footer or the references are damaged
  kTakenDamaged,  // whole, but pages of the cluster were damaged when it was taken
  kDamaged,
  kUnreadable,  // what it needs may be whole, but could not be read
};
struct BackupVerdict {
  std::string id;
  Verdict verdict = Verdict::kGood;
  std::string reason;  // a sentence, unless good
  // nullopt: its commit object cannot be read.
  std::optional<repo::Backup> backup;
};

using recovery::Gap;
using recovery::Window;

struct LineageResult {
  repo::Lineage lineage;
  std::vector<BackupVerdict> backups = {};  // oldest first
  std::vector<Window> windows = {};
  std::vector<Gap> gaps = {};
  std::vector<Finding> findings = {};
  uint64_t finding_count = 0;
  uint64_t packs_read = 0, segments_read = 0, others_read = 0;
  uint64_t bytes_read = 0;
  uint64_t objects_unchanged = 0, bytes_unchanged = 0;  // read earlier and found good
  uint64_t bytes_due = 0;                     // were, and read again because that was long ago
  std::optional<repo::LastRead> oldest = {};  // of what was not read, the longest ago
  // What no backup needs, or no version of the format knows. No damage.
  uint64_t leftover_count = 0, leftover_bytes = 0;
  std::vector<std::string> leftovers = {};  // some of the names that are not known
};

struct VerifyResult {
  std::string url;
  bool deep = false;
  std::vector<Finding> common = {};    // of what all lineages share: keys
  std::vector<std::string> lost = {};  // lineages whose document cannot be read: "15-1"
  std::vector<LineageResult> lineages = {};
  // Why neither marks nor the record were kept; empty: they were.
  std::string not_kept = {};
  // Something is not as it was written. Holes in WAL are no damage: nothing that is there is wrong.
  bool damaged() const;
  // WAL is missing, and no good backup is newer: what was committed behind the hole is lost.
  bool misses_wal() const;
};

// Throws kNotFound when the repository has no such cluster or backup, and whatever a store that
// does not answer makes it throw: a result is a whole one.
VerifyResult verify(const VerifyOptions& options, const repo::Repository& repository,
                    Reporter& reporter, std::stop_token stop);

}  // namespace holdfast::verify
