// claims.h: who holds deletion off, to text and JSON.
#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "expire/claims.h"

namespace holdfast::view {

std::string text(const std::vector<expire::Claim>& claims);
Json json(const std::vector<expire::Claim>& claims);
// One that was ended.
std::string text(const expire::Claim& ended);
Json json(const expire::Claim& ended);

}  // namespace holdfast::view
