// open_store.h: the engine that a URL names.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/users.h"
#include "store/remover.h"
#include "store/store.h"

namespace holdfast::store {

// `url` is a path, absolute or from the working directory, or file:// and an absolute path (taken
// as it stands, without %-escapes). Throws kConfiguration for any other scheme. Nothing is touched
// before the first call on the result.
std::unique_ptr<Store> open_store(const std::string& url);
std::unique_ptr<Remover> open_remover(const std::string& url);
// What `init` does first: makes the place that the URL names, fine when it exists. What root makes
// belongs to `owner`.
void create_store(const std::string& url, const std::optional<OwnerIds>& owner = std::nullopt);
// Removes what killed writers left behind in the engine's own places (never objects); returns how
// many.
int sweep_uploads(const std::string& url);

// What of a store its owner, as whom archiving runs, cannot read, or in which he can make nothing.
struct AccessReport {
  std::string owner = {};  // empty: such a store has none
  uint64_t count = 0, looked_at = 0;
  std::vector<std::string> named = {};  // the first few, and why: "\"path\" belongs to ..."
  bool others_own_it = false;           // some of it belongs to somebody else
  std::string repair = {};              // the command that gives everything to him
  bool complete = true;                 // false: patience ended before everything was looked at
};
AccessReport look_at_access(const std::string& url, std::chrono::milliseconds patience);

}  // namespace holdfast::store
