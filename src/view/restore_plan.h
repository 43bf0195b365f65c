// restore_plan.h: what "restore --dry-run" and "restore --resume" tell, as text and as JSON.
#pragma once

#include <string>

#include "base/json.h"
#include "restore/restore.h"

namespace holdfast::view {

Json json(const recovery::Plan& plan);

std::string text(const restore::Preview& preview);
Json json(const restore::Preview& preview);

std::string text(const restore::ResumeResult& result);
Json json(const restore::ResumeResult& result);

}  // namespace holdfast::view
