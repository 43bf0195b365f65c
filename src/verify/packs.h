// packs.h: every extent of every pack that is to be read.
#pragma once

#include <map>
#include <set>
#include <vector>

#include "verify/inventory.h"
#include "verify/job.h"

namespace holdfast::verify {

// What of a pack cannot be used.
struct PackDamage {
  bool is_missing = false;
  // Its header, footer or trailer does not hold, so which extents do has to be tried.
  bool has_no_footer = false;
  bool is_unreadable = false;   // and may be whole: we were not let to it, or the disk gave nothing
  std::set<uint32_t> ordinals;  // of extents that do not hold
};
using DamagedPacks = std::map<Bytes16, PackDamage>;

DamagedPacks check_packs(const Job& job, const std::vector<const ListedPack*>& packs);

}  // namespace holdfast::verify
