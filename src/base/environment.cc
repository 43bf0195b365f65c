#include "base/environment.h"

#include <algorithm>
#include <memory>
#include <unistd.h>

namespace holdfast {
namespace {

Mutex& guard() {
  static Mutex mutex;
  return mutex;
}

// Of the environment without those variables, the list for `environ`. A list stays for ever, for
// another thread's getenv() may be reading it; the same one serves as long as nothing has changed.
// REQUIRES: the guard.
char** list_without(std::string_view prefix) {
  static std::vector<std::unique_ptr<std::vector<char*>>> lists;
  std::vector<char*> entries;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry)
    if (!std::string_view(*entry).starts_with(prefix)) entries.push_back(*entry);
  entries.push_back(nullptr);
  const auto same = std::ranges::find_if(lists, [&](const auto& list) { return *list == entries; });
  if (same != lists.end()) return (*same)->data();
  lists.push_back(std::make_unique<std::vector<char*>>(std::move(entries)));
  return lists.back()->data();
}

}  // namespace

std::vector<std::string> environment() {
  const MutexLock lock(guard());
  std::vector<std::string> entries;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry)
    entries.emplace_back(*entry);
  return entries;
}

EnvironmentWithout::EnvironmentWithout(std::string_view prefix) : lock_(guard()), whole_(environ) {
  if (!prefix.empty()) environ = list_without(prefix);
}

EnvironmentWithout::~EnvironmentWithout() { environ = whole_; }

}  // namespace holdfast
