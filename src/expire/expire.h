// expire.h: removes what nothing reaches any more, in two phases a grace period apart.
//
//   run at t           what has been garbage for a grace period is put into a doomed list
//   run at t + grace   what is still garbage of that list is removed; the list is marked done
//   run at t + 2 grace the list itself is removed
//
// The commit object of a backup that is deleted stands for a grace period, in which the deletion
// can be taken back; what it alone used is listed meanwhile.
//
// Each run does what is due, and can be killed at any moment, fail on any call, or run beside
// another: the next one does what is left. What lives is decided by living.h, and read again before
// every removal. All times are the store's.
//
// Memory: living.h, and the names of one grace period's garbage.
#pragma once

#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/reporter.h"
#include "base/time.h"
#include "repo/repository.h"
#include "store/remover.h"

namespace holdfast::expire {

struct ExpireOptions {
  std::string cluster = "main";
  Microseconds grace = std::chrono::hours(24);
  // In an emergency, shorter: refused while anybody may be at work. With 0 all garbage goes at
  // once.
  std::optional<Microseconds> short_grace = {};
  bool dry_run = false;  // look, and change nothing
  // Takes away what killed writers left in the store's own places; returns how many. The engine's,
  // because only it knows them.
  std::function<int()> sweep_uploads = {};
};

struct Amount {
  uint64_t objects = 0;
  uint64_t bytes = 0;
};

struct DeletedBackup {
  std::string id;
  Time due;             // from when on it goes
  std::string kept_by;  // what keeps it beyond that: "a restore uses it"; empty: nothing
};

struct ExpiredLineage {
  repo::LineageName name;
  uint64_t backups = 0;                      // kept
  uint64_t intents = 0;                      // valid
  std::vector<std::string> taken_off = {};   // deleted backups whose commits were removed; dry run:
                                             // would be
  std::vector<DeletedBackup> deleted = {};   // whose commits stand
  Amount removed;                            // dry run: what would be
  uint64_t spared = 0;                       // were doomed, and live again
  Amount doomed;                             // listed by this run; dry run: what would be
  uint64_t waiting = 0;                      // listed before, and not yet due
  std::optional<Time> next_due;              // of what waits or was doomed
  std::vector<std::string> damaged_backups;  // marked: they reach what was removed
  bool has_redirects = false;                // packs were left alone
};

struct ExpireResult {
  std::vector<ExpiredLineage> lineages = {};
  int swept_uploads = 0;
  Microseconds grace{};
  bool dry_run = false;
};

// Throws kNotFound (no such cluster), kBusy (another run; with a short grace period anybody),
// kNoSpace (there is no room even to say that it is at work, and nothing that may go first),
// kCorrupt when it cannot be told what a kept backup or a valid intent uses: then nothing is
// removed in its lineage.
ExpireResult expire(const ExpireOptions& options, const repo::Repository& repository,
                    store::Remover& remover, Reporter& reporter, std::stop_token stop);

}  // namespace holdfast::expire
