// table.h: columns of text, aligned, and counts in words.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"

namespace holdfast::view {

// Rows of cells under a headline; numbers (cells that begin with a digit) are flushed right. Two
// spaces between columns, none at the end of a line.
std::string table(const std::vector<std::string>& headline,
                  const std::vector<std::vector<std::string>>& rows);

// "name:   value" lines, values under each other.
std::string fields(const std::vector<std::pair<std::string, std::string>>& lines);

// A time in a table: to_local() to the second.
std::string short_local(Time time);

// "1 segment", "2 segments".
std::string plural(uint64_t count, std::string_view noun);

}  // namespace holdfast::view
