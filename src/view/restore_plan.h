// restore_plan.h: the plan of a restore ("restore --dry-run") as text and as JSON.
#pragma once

#include <string>

#include "base/json.h"
#include "restore/restore.h"

namespace holdfast::view {

Json json(const recovery::Plan& plan);

std::string text(const restore::Preview& preview);
Json json(const restore::Preview& preview);

}  // namespace holdfast::view
