// verify.h: what a verification found, as text and JSON.
#pragma once

#include <string>

#include "base/json.h"
#include "verify/verify.h"

namespace holdfast::view {

std::string text(const verify::VerifyResult& result);
Json json(const verify::VerifyResult& result);

}  // namespace holdfast::view
