// key_objects.h: the objects that hold the wrapped data key, each in two places.
//
//   keys/<id>.json, keys.copy/<id>.json      the same bytes; one of them is enough
//
// Normative: docs/design/repository-format.md, "Sealing". Several may be valid at once: each opens
// the same data key, which never changes.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/time.h"
#include "repo/keys.h"
#include "store/store.h"

namespace holdfast::repo {

// Unwraps the data key by whichever key object `source` opens. Throws kWrongKey when it opens none,
// and kCorrupt when there is none, or one that it might have opened is damaged.
codec::SecretKey find_data_key(store::Store& store, const KeySource& source,
                               const Bytes16& repository_id);
// All that `source` opens, in either of their two places; a damaged one is passed over.
std::vector<Bytes16> key_objects_opened_by(store::Store& store, const KeySource& source,
                                           const Bytes16& repository_id);
// What can be told of each without a key. Sorted by time, those whose time is not known first.
struct KeyObject {
  Bytes16 id;
  std::string kind = {};          // "passphrase", "key_file"; empty: neither place can be read
  std::optional<Time> made = {};  // by the store's clock; of those that say so
  int copies = 0;                 // that can be read, of two
};
std::vector<KeyObject> list_key_objects(store::Store& store, const Bytes16& repository_id);
// Wraps the data key for one key more; durable in both places when it returns. Throws kConflict
// when the repository has as many as a reader tries.
Bytes16 add_key_object(store::Store& store, const codec::SecretKey& data_key,
                       const KeySource& source, const Bytes16& repository_id, RandomSource& random);
// Puts what a run that was killed has not put: of two places the missing one.
void complete_key_object(store::Store& store, const Bytes16& key_id);

}  // namespace holdfast::repo
