// intent.h: who uses what: the notes by which running work holds deletion off.
//
// A backup, a restore or a mount puts an intent before it reads or writes anything that deletion
// could take, and again, under a new id, before the first runs out. It cannot take an intent back,
// for only `expire` removes; what it can do is put a second small document beside it that says
// that the work has ended. Normative: docs/design/repository-format.md, section 12.
//
//   intents/<id>.json         what is used, by whom, and until when
//   intents/<id>.ended.json   the work is done: <id> protects nothing any more
//
// An end that cannot be read ends nothing, and its name is taken: a further one is put beside it,
// with 8 hexadecimal digits in its name.
//
// Users know them as claims. One whose process is proven to have ended (base/process_identity.h)
// has ended with it.
//
// A run of expire has one too, which protects nothing: it tells those who claim what has been there
// for long, WAL above all, that somebody who has not seen their claim may be removing it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/process_identity.h"
#include "base/time.h"
#include "pg/lsn.h"
#include "repo/repository.h"

namespace holdfast::repo {

// How long an intent protects unless it is renewed; renewed when half of it has passed.
inline constexpr Microseconds kIntentLife = std::chrono::hours(24);
// No intent is made for longer. What cannot be read is taken for valid until it would have run out.
inline constexpr Microseconds kLongestIntentLife = std::chrono::hours(7 * 24);
// Of a run of expire: so long others wait for one that was killed on another host.
inline constexpr Microseconds kExpireIntentLife = std::chrono::hours(2);
inline constexpr std::string_view kExpireIntent = "expire";

// Where a directory lies: its parent, which is another one when the disk on which it was is not
// mounted, or in another container.
struct DirectoryPlace {
  std::string machine;  // as in Intent::process
  uint64_t device = 0;
  uint64_t inode = 0;
  bool operator==(const DirectoryPlace&) const = default;
};

struct Intent {
  Bytes16 id = {};          // its name; not in its body
  std::string what = {};    // "backup", "import", "restore", "export", "recovery", "push", "expire"
  std::string backup = {};  // the id of the backup that is being made; or empty
  std::vector<std::string> uses = {};  // ids of backups, whose commits may be gone by now
  // Everything of the lineage that was made at or after it, by the store's clock; nullopt: nothing.
  std::optional<Time> objects_from = {};
  // WAL from here on, on this timeline and its ancestors.
  std::optional<pg::TimelineId> timeline = {};
  std::optional<pg::Lsn> wal_from = {};
  std::string detail = {};  // for whoever looks through them: the directory of a restore; or empty
  std::string host = {};
  int64_t pid = 0;
  // Whose end is its end. nullopt: the work outlives the process, or it cannot be told. `machine`
  // is a digest, made for this repository alone.
  std::optional<ProcessIdentity> process = {};
  // Of the directory `detail`, with which work ends that outlives its process.
  std::optional<DirectoryPlace> place = {};
  Time started = {};      // by the owner's clock
  Time valid_until = {};  // by the store's
};
Json to_json(const Intent& intent);
Intent intent_from_json(const Json& body);

// This process, as an intent tells of it.
std::optional<ProcessIdentity> intent_owner(const Repository& repository);
// Of a directory as seen from here; nullopt: it cannot be told.
std::optional<DirectoryPlace> place_of(const Repository& repository, const std::string& directory);
// Of the process that an intent names, as seen from here; or of its directory, which is dead when
// it is no longer where it was.
ProcessState state_of_owner(const Repository& repository, const Intent& intent);

// Puts `intent` under a new id. Returns the id.
Bytes16 put_intent(const Repository& repository, const LineageName& lineage, const Intent& intent);
// Ends it, unless it has ended already. Behind it, has_intent_ended().
void put_intent_end(const Repository& repository, const LineageName& lineage,
                    const Bytes16& intent_id, Time now);
// An end of it can be read.
bool has_intent_ended(const Repository& repository, const LineageName& lineage,
                      const Bytes16& intent_id);

// Every intent of the lineage that has not ended, and is not longer than `grace` behind its end (of
// a run of expire: not behind it), whatever became of its process; and those that are damaged, for
// as long as they may protect something, by the time at which they were put.
struct DamagedIntent {
  Bytes16 id;
  Error error;
  Time put, until;
};
struct Intents {
  std::vector<Intent> standing;
  std::vector<DamagedIntent> damaged;
};
Intents read_intents(const Repository& repository, const LineageName& lineage, Time now,
                     Microseconds grace);
// Those that protect at `now`: their processes are not known to be dead. One that is damaged throws
// kCorrupt: nobody can tell what it protects.
std::vector<Intent> read_valid_intents(const Repository& repository, const LineageName& lineage,
                                       Time now, Microseconds grace);
// The runs of expire that may be under way: what cannot be read may be a run's, for as long as such
// a one lives.
struct RunningExpiry {
  Bytes16 id;
  std::string by;  // owner_text()
};
std::vector<RunningExpiry> running_expiries(const Repository& repository,
                                            const LineageName& lineage);

// "process 4711 on host "db1", since 2026-11-30 11:00:12"
std::string owner_text(const Intent& intent);

// An intent that is kept alive by a thread of its own. Safe from any thread.
class HeldIntent {
 public:
  // Puts the first. `valid_until`, `host`, `pid`, `process` and `started` of `intent` are filled
  // in. `repository` and `clock` must outlive it.
  HeldIntent(const Repository& repository, const LineageName& lineage, Intent intent,
             const Clock& clock, Microseconds life = kIntentLife);
  // Ends it, if end() did not: work that failed, was refused or interrupted uses nothing either.
  ~HeldIntent();
  HeldIntent(const HeldIntent&) = delete;
  HeldIntent& operator=(const HeldIntent&) = delete;

  // Protects the objects of one more backup from now on.
  void use(const std::string& backup_id);
  // WAL from there on, on that timeline and its ancestors.
  void use_wal(pg::TimelineId timeline, pg::Lsn from);
  // Before every step that relies on the protection: renews when it is time to. Throws kConflict
  // when the intent ran out before that, or somebody has ended it.
  void check();
  // The ids under which it was put so far.
  std::vector<Bytes16> ids() const;
  // The work is done. Never throws: what cannot be said runs out by itself.
  void end();
  // The same for who may remove, and removes what is returned: its notes.
  std::vector<Bytes16> hand_over();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace holdfast::repo
