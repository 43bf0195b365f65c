// doomed.h: lists of what will be removed, put a grace period before.
//
// Normative: docs/design/repository-format.md, section 12.
//
//   doomed/<id>.json        names of objects
//   doomed/<id>.done.json   they are gone, but those that had become living again
//
// A list that is damaged names nobody knows what, so nobody carries it out: a run of expire marks
// it done. Until then it may be one that a run has read before, and counts as naming everything as
// long as a run may be under way, else as naming nothing.
#pragma once

#include <functional>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"
#include "repo/intent.h"
#include "repo/repository.h"

namespace holdfast::repo {

// A list holds at most so many names; more are several lists.
inline constexpr size_t kDoomedPerList = 10'000;

struct DoomedList {
  Bytes16 id;
  Time put;                  // by the store's clock: when its grace period began
  std::optional<Time> done;  // likewise: when it was marked done
};

// Puts a list. REQUIRES: at most kDoomedPerList names.
Bytes16 put_doomed_list(const Repository& repository, const LineageName& lineage,
                        const std::vector<std::string>& objects, Time now);
struct DoomedOutcome {
  uint64_t removed = 0;
  uint64_t spared = 0;
};
// False: somebody else was there first.
bool put_doomed_end(const Repository& repository, const LineageName& lineage, const Bytes16& id,
                    const DoomedOutcome& outcome, Time now);

// What there is, without opening it. A mark whose list is gone is shown as a list that is done.
std::vector<DoomedList> list_doomed(const Repository& repository, const LineageName& lineage);
// The names of a list; nullopt: it is gone. Throws kCorrupt.
std::optional<std::vector<std::string>> read_doomed_list(const Repository& repository,
                                                         const LineageName& lineage,
                                                         const Bytes16& id);
// The same of one that may be damaged.
struct DoomedNames {
  std::optional<std::vector<std::string>> names;
  std::optional<Error> damage;
};
DoomedNames read_doomed_if_whole(const Repository& repository, const LineageName& lineage,
                                 const Bytes16& id);

// Of the first of `names` that stands in a list that is not done what it is, as a sentence. What a
// list that is done held is gone, or lives.
std::optional<std::string> find_doomed(const Repository& repository, const LineageName& lineage,
                                       const std::set<std::string>& names);

// All that `is_meant` in lists that are not done.
struct DoomedObjects {
  std::set<std::string> names;
  bool is_everything = false;
  bool contains(const std::string& name) const { return is_everything || names.contains(name); }
};
DoomedObjects doomed_objects(const Repository& repository, const LineageName& lineage,
                             const std::function<bool(const std::string&)>& is_meant);

// The first object that `is_needed` in a list that is not done, while a run of expire is under way:
// it may have looked for who uses it before the caller said so, and removes what is listed. For who
// has an intent on it already; a list that nobody carries out dooms nothing then.
struct Going {
  std::string what;  // a sentence
  std::string by;    // owner_text() of the run
};
std::optional<Going> find_going(const Repository& repository, const LineageName& lineage,
                                const std::function<bool(const std::string&)>& is_needed);

}  // namespace holdfast::repo
