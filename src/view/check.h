// check.h: what "check" found, as text and JSON.
#pragma once

#include <string>

#include "base/json.h"
#include "setup/check.h"

namespace holdfast::view {

std::string text(const setup::CheckResult& result);
// What is wrong, and the last line.
std::string text_of_what_is_wrong(const setup::CheckResult& result);
Json json(const setup::CheckResult& result);

}  // namespace holdfast::view
