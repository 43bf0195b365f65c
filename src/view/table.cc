#include "view/table.h"

#include <algorithm>

#include <fmt/format.h>

namespace holdfast::view {
namespace {

// Characters as a terminal shows them: UTF-8 continuation bytes do not count.
size_t width(const std::string& text) {
  return static_cast<size_t>(std::ranges::count_if(
      text, [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

}  // namespace

std::string table(const std::vector<std::string>& headline,
                  const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths(headline.size());
  std::vector<bool> right(headline.size(), !rows.empty());
  for (size_t column = 0; column < headline.size(); ++column) {
    widths[column] = width(headline[column]);
    for (const std::vector<std::string>& row : rows) {
      widths[column] = std::max(widths[column], width(row[column]));
      const char first = row[column].empty() ? '0' : row[column].front();
      if (first < '0' || first > '9' || row[column].size() > 12) right[column] = false;
    }
  }
  std::string out;
  auto line = [&](const std::vector<std::string>& cells) {
    std::string text;
    for (size_t column = 0; column < cells.size(); ++column) {
      std::string space(widths[column] - width(cells[column]), ' ');
      if (column > 0) text += "  ";
      text += right[column] ? space + cells[column] : cells[column] + space;
    }
    text.erase(text.find_last_not_of(' ') + 1);
    out += text + "\n";
  };
  line(headline);
  for (const std::vector<std::string>& row : rows) line(row);
  return out;
}

std::string fields(const std::vector<std::pair<std::string, std::string>>& lines) {
  size_t widest = 0;
  for (const auto& [name, value] : lines) widest = std::max(widest, width(name));
  std::string out;
  for (const auto& [name, value] : lines)
    out += fmt::format("{}:{}{}\n", name, std::string(widest - width(name) + 2, ' '), value);
  return out;
}

std::string short_local(Time time) {
  constexpr size_t kSeconds = std::string_view("2026-11-22 09:22:39").size();
  std::string text = to_local(time);
  const size_t zone = text.find(' ', kSeconds);
  return zone == std::string::npos ? text : text.erase(kSeconds, zone - kSeconds);
}

std::string plural(uint64_t count, std::string_view noun) {
  return fmt::format("{} {}{}", count, noun, count == 1 ? "" : "s");
}

}  // namespace holdfast::view
