// check.h: what "check" found, as text and JSON.
#pragma once

#include <string>
#include <string_view>

#include "base/json.h"
#include "setup/check.h"

namespace holdfast::view {

std::string text(const setup::CheckResult& result);
// What is wrong, and the last line.
std::string text_of_what_is_wrong(const setup::CheckResult& result);
// One line as Nagios and its kind take it from a plugin, with performance data; and the status that
// goes with it: 0 OK, 1 WARNING, 2 CRITICAL. `message`: why nothing could be told, UNKNOWN, 3.
std::string nagios_line(const setup::CheckResult& result, std::string_view cluster);
int nagios_status(const setup::CheckResult& result);
std::string nagios_unknown(std::string_view message);
inline constexpr int kNagiosUnknown = 3;
Json json(const setup::CheckResult& result);

}  // namespace holdfast::view
