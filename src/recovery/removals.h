// removals.h: what a recovery would remove by half, and the place before that.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "recovery/plan.h"
#include "recovery/survey.h"

namespace holdfast::recovery {

// Of what was walked to `reach`, which is of that target.
std::vector<HalfRemoval> find_half_removals(const Survey& survey, const Reach& reach,
                                            const Target& target, pg::WalSegmentSize size);

// The LSN before which recovery is to stop so that what is in `half` is whole, and no committed
// transaction is lost; nullopt: there is none.
std::optional<pg::Lsn> place_before(const HalfRemoval& half);

// For the operator: that recovery stops there now.
std::string stops_before(const HalfRemoval& half, pg::Lsn place);
// That it does not. `before`: the command that makes it, empty where none does; `here`: the one
// that was given.
std::string warning_of(const HalfRemoval& half, const std::string& before, const std::string& here);

}  // namespace holdfast::recovery
