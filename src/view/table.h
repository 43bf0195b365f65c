// table.h: columns of text, aligned.
#pragma once

#include <string>
#include <vector>

namespace holdfast::view {

// Rows of cells under a headline; numbers (cells that begin with a digit) are flushed right. Two
// spaces between columns, none at the end of a line.
std::string table(const std::vector<std::string>& headline,
                  const std::vector<std::vector<std::string>>& rows);

// "name:   value" lines, values under each other.
std::string fields(const std::vector<std::pair<std::string, std::string>>& lines);

}  // namespace holdfast::view
