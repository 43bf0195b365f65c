// listing.h: every object below a folder, past folders that cannot be looked into.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "store/store.h"

namespace holdfast::verify {

// Hands each object below `folder` that sorts behind `after` to `visit`, in order; what keeps a
// folder from being listed to `tell(folder, error)`.
template <typename Visit, typename Tell>
void visit_all(store::Store& store, const std::string& folder, const Visit& visit, const Tell& tell,
               std::string after = {}) {
  const std::optional<Error> failed = unreadable_of([&] {
    store::for_each_entry(store, {.prefix = folder, .after = after},
                          [&](const store::ListEntry& entry) {
                            after = entry.name;
                            visit(entry);
                            return true;
                          });
  });
  if (!failed) return;
  // One of the folders below it, or it itself.
  std::vector<store::ListEntry> children;
  const std::optional<Error> own = unreadable_of([&] {
    store::for_each_entry(store, {.prefix = folder, .folders = true, .empty_folders = true},
                          [&](const store::ListEntry& entry) {
                            children.push_back(entry);
                            return true;
                          });
  });
  if (own) return tell(folder, *own);
  for (const store::ListEntry& child : children) {
    if (child.name <= after && !after.starts_with(child.name)) continue;
    if (child.is_folder())
      visit_all(store, child.name, visit, tell, after);
    else if (child.name > after)
      visit(child);
  }
}

}  // namespace holdfast::verify
