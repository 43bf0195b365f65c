#include "base/nearest.h"

#include <algorithm>

namespace holdfast {

// By rows of the usual table (optimal string alignment): before_last and last are the rows above.
size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> before_last(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) last[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      row[j] =
          std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] == b[j - 1] ? 0U : 1U)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        row[j] = std::min(row[j], before_last[j - 2] + 1);
    }
    before_last.swap(last);
    last.swap(row);
  }
  return last[b.size()];
}

std::optional<std::string> meant_word(std::string_view word,
                                      const std::vector<std::string>& known) {
  if (known.empty()) return std::nullopt;
  const auto distance = [&](const std::string& one) { return edit_distance(word, one); };
  std::string nearest = std::ranges::min(known, {}, distance);
  if (distance(nearest) > std::max<size_t>(1, word.size() / 3)) return std::nullopt;
  return nearest;
}

}  // namespace holdfast
