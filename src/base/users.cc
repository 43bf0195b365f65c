#include "base/users.h"

#include <array>
#include <grp.h>
#include <pwd.h>

#include <fmt/core.h>

namespace holdfast {
namespace {

using NameBuffer = std::array<char, 16384>;

}  // namespace

std::string user_name(uid_t user) {
  NameBuffer buffer;
  passwd entry{};
  passwd* found = nullptr;
  if (getpwuid_r(user, &entry, buffer.data(), buffer.size(), &found) == 0 && found != nullptr)
    return entry.pw_name;
  return fmt::format("{}", user);
}

std::string group_name(gid_t group) {
  NameBuffer buffer;
  struct group entry{};
  struct group* found = nullptr;
  if (getgrgid_r(group, &entry, buffer.data(), buffer.size(), &found) == 0 && found != nullptr)
    return entry.gr_name;
  return fmt::format("{}", group);
}

std::vector<gid_t> groups_of(uid_t user, gid_t group) {
  NameBuffer buffer;
  passwd entry{};
  passwd* found = nullptr;
  if (getpwuid_r(user, &entry, buffer.data(), buffer.size(), &found) != 0 || found == nullptr)
    return {group};
  std::vector<gid_t> groups(64);
  for (;;) {
    int count = static_cast<int>(groups.size());
    const bool fits = getgrouplist(entry.pw_name, group, groups.data(), &count) >= 0;
    const bool is_told = static_cast<size_t>(count) > groups.size();
    groups.resize(static_cast<size_t>(count));
    if (fits) return groups;
    if (!is_told) groups.resize(groups.size() * 2);
  }
}

}  // namespace holdfast
