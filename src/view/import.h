// import.h: an imported backup as text and JSON.
#pragma once

#include <string>

#include "backup/import.h"
#include "base/json.h"

namespace holdfast::view {

std::string text(const backup::ImportResult& result);
Json json(const backup::ImportResult& result);

}  // namespace holdfast::view
