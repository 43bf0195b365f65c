// change_key.h: another passphrase or key file for a sealed repository, and one fewer.
//
// The data key never changes; what changes is which key objects wrap it. The new one and its copy
// are durable, and have opened the repository, before anything of the old one is removed: killed at
// any moment, at least one of the two keys opens, and the same command finishes the work.
#pragma once

#include <string>
#include <vector>

#include "repo/key_objects.h"
#include "repo/keys.h"
#include "repo/repository.h"
#include "store/remover.h"

namespace holdfast::expire {

struct ChangedKey {
  Bytes16 added;                 // the key object that the new key opens
  bool was_there = false;        // it was, from a run that did not come to its end, or added before
  std::vector<Bytes16> removed;  // those that the old key opened; none when it was only added
};

// Throws kUsage when the repository is not sealed or both keys are the same, kWrongKey when
// `current` does not open it, kConflict when it has too many keys. `keep_current`: both open it
// afterwards.
ChangedKey change_key(store::Store& store, const repo::KeySource& current,
                      const repo::KeySource& replacement, bool keep_current,
                      store::Remover& remover, RandomSource& random = system_random());

// The key object to be removed: the one of which `id` is the beginning. Throws kUsage (not sealed,
// the beginning of several), kNotFound, and kConflict unless `current` opens the data key by
// another one: so the last one stays, and the one in use.
repo::KeyObject find_removable_key(store::Store& store, const repo::KeySource& current,
                                   const std::string& id);
// Removes it, when the other one stands in both places. Its copy goes last.
void remove_key(store::Store& store, const repo::KeySource& current, const Bytes16& id,
                store::Remover& remover);

}  // namespace holdfast::expire
