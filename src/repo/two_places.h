// two_places.h: what stands twice, the same bytes at two places, so that one of them that is lost
// or damaged costs nothing: repo.json, lineage documents, names of clusters, commits, histories of
// timelines. For the sources of repo alone.
#pragma once

#include <optional>
#include <string>

#include "base/error.h"
#include "repo/format.h"
#include "store/store.h"

namespace holdfast::repo {

struct TwoPlaces {
  std::string first;  // which decides
  std::string copy;
};

// So that the copy counts; of a newer version's object it does not.
inline bool is_lost(const Error& error) {
  return error.is_unreadable() && error.code() != ErrorCode::kUnsupported;
}

// What `read` finds at the first, or at the copy; then `tell(is_damaged)` is called. nullopt where
// neither has it.
template <typename Read, typename Tell>
auto read_either(const TwoPlaces& places, const Read& read, const Tell& tell) {
  decltype(read(places.first)) found;
  const std::optional<Error> lost = error_of(is_lost, [&] { found = read(places.first); });
  if (found) return found;
  const std::optional<Error> no_copy = error_of(is_lost, [&] { found = read(places.copy); });
  if (!found && lost) throw Error(*lost);
  if (!found && no_copy) throw Error(*no_copy);
  if (found) tell(lost.has_value());
  return found;
}

// Where one of the two is missing, puts the bytes of the other there. `check(bytes)`, the last
// thing before that, throws where they are not what they should be: nothing is made of damage. The
// name that was put; nullopt: none is missing, or there is nothing to put.
template <typename Check>
std::optional<std::string> put_missing(store::Store& store, const TwoPlaces& places,
                                       const Check& check) {
  std::string missing;
  std::optional<Bytes> bytes;
  const std::optional<Error> unreadable = unreadable_of([&] {
    const bool has_first = store.info(places.first).has_value();
    if (has_first == store.info(places.copy).has_value()) return;
    missing = has_first ? places.copy : places.first;
    bytes = store::read_whole(store, has_first ? places.first : places.copy, kMaxDocumentBytes);
    if (bytes) check(*bytes);
  });
  if (unreadable || !bytes || !store.create(missing, *bytes)) return std::nullopt;
  return missing;
}

}  // namespace holdfast::repo
