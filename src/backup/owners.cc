#include "backup/owners.h"

#include <array>
#include <grp.h>
#include <pwd.h>

#include <fmt/format.h>

namespace holdfast::backup {
namespace {

using NameBuffer = std::array<char, 16384>;

}  // namespace

std::string user_name(uint32_t uid) {
  NameBuffer buffer;
  passwd entry{};
  passwd* found = nullptr;
  if (getpwuid_r(uid, &entry, buffer.data(), buffer.size(), &found) == 0 && found != nullptr)
    return entry.pw_name;
  return fmt::format("{}", uid);
}

std::string group_name(uint32_t gid) {
  NameBuffer buffer;
  group entry{};
  group* found = nullptr;
  if (getgrgid_r(gid, &entry, buffer.data(), buffer.size(), &found) == 0 && found != nullptr)
    return entry.gr_name;
  return fmt::format("{}", gid);
}

uint32_t OwnerIndex::index(uint32_t uid, uint32_t gid) {
  if (auto known = known_.find({uid, gid}); known != known_.end()) return known->second;
  uint32_t index =
      manifest_.owner({.user = user_name(uid), .group = group_name(gid), .uid = uid, .gid = gid});
  known_.emplace(std::pair(uid, gid), index);
  return index;
}

}  // namespace holdfast::backup
