// export.h: an exported backup as text and JSON.
#pragma once

#include <string>

#include "base/json.h"
#include "restore/export.h"

namespace holdfast::view {

std::string text(const restore::ExportResult& result);
Json json(const restore::ExportResult& result);

}  // namespace holdfast::view
