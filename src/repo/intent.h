// intent.h: who uses what: the notes by which running work holds deletion off.
//
// A backup, a restore or a mount puts an intent before it reads or writes anything that deletion
// could take, and again, under a new id, before the first runs out. It cannot take an intent back,
// for only `expire` removes; what it can do is put a second small document beside it that says
// that the work has ended. Normative: docs/design/repository-format.md, section 12.
//
//   intents/<id>.json         what is used, and until when
//   intents/<id>.ended.json   the work is done: <id> protects nothing any more
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"
#include "pg/lsn.h"
#include "repo/repository.h"

namespace holdfast::repo {

// How long an intent protects unless it is renewed; renewed when half of it has passed.
inline constexpr Microseconds kIntentLife = std::chrono::hours(24);
// No intent is made for longer. What cannot be read is taken for valid until it would have run out.
inline constexpr Microseconds kLongestIntentLife = std::chrono::hours(7 * 24);

struct Intent {
  Bytes16 id = {};                     // its name; not in its body
  std::string what = {};               // "backup", "restore", "recovery", "mount"
  std::string backup = {};             // the id of the backup that is being made; or empty
  std::vector<std::string> uses = {};  // ids of backups, whose commits may be gone by now
  // Everything of the lineage that was made at or after it, by the store's clock; nullopt: nothing.
  std::optional<Time> objects_from = {};
  // WAL from here on, on this timeline and its ancestors.
  std::optional<pg::TimelineId> timeline = {};
  std::optional<pg::Lsn> wal_from = {};
  std::string host = {};
  int64_t pid = 0;
  Time started = {};      // by the owner's clock
  Time valid_until = {};  // by the store's
};
Json to_json(const Intent& intent);
Intent intent_from_json(const Json& body);

// Puts `intent` under a new id, with this host and process in it. Returns the id.
Bytes16 put_intent(const Repository& repository, const LineageName& lineage, const Intent& intent);
// False: it has ended already.
bool put_intent_end(const Repository& repository, const LineageName& lineage,
                    const Bytes16& intent_id, Time now);

// Every intent of the lineage that protects at `now`: not ended, and not longer than `grace` behind
// its end. One that is damaged throws kCorrupt for as long as it may be valid, by the time at which
// it was put: nobody can tell what it protects.
std::vector<Intent> read_valid_intents(const Repository& repository, const LineageName& lineage,
                                       Time now, Microseconds grace);

// An intent that is kept alive by a thread of its own. Safe from any thread.
class HeldIntent {
 public:
  // Puts the first. `valid_until`, `host`, `pid` and `started` of `intent` are filled in.
  // `repository` and `clock` must outlive it.
  HeldIntent(const Repository& repository, const LineageName& lineage, Intent intent,
             const Clock& clock, Microseconds life = kIntentLife);
  // Without end(): what is protected stays so until the intent runs out, as after a crash.
  ~HeldIntent();
  HeldIntent(const HeldIntent&) = delete;
  HeldIntent& operator=(const HeldIntent&) = delete;

  // Protects the objects of one more backup from now on.
  void use(const std::string& backup_id);
  // Before every step that relies on the protection: renews when it is time to. Throws kConflict
  // when the intent ran out before that.
  void check();
  // The work is done. Never throws: what cannot be said runs out by itself.
  void end();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace holdfast::repo
