#include "backup/owners.h"

#include "base/users.h"

namespace holdfast::backup {

uint32_t OwnerIndex::index(uint32_t uid, uint32_t gid) {
  if (auto known = known_.find({uid, gid}); known != known_.end()) return known->second;
  uint32_t index =
      manifest_.owner({.user = user_name(uid), .group = group_name(gid), .uid = uid, .gid = gid});
  known_.emplace(std::pair(uid, gid), index);
  return index;
}

}  // namespace holdfast::backup
