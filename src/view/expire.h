// expire.h: what deletion says: backup delete, backup pin, expire.
#pragma once

#include <string>

#include "base/json.h"
#include "expire/delete.h"
#include "expire/expire.h"

namespace holdfast::view {

// What a deletion takes off; `done`: it has.
std::string text(const expire::Deletion& deletion, bool done);
Json json(const expire::Deletion& deletion, bool done);

std::string text(const expire::ExpireResult& result);
Json json(const expire::ExpireResult& result);

}  // namespace holdfast::view
