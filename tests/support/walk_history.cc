#include "support/walk_history.h"

#include <algorithm>

#include <fmt/format.h>

namespace holdfast::test {

int WalkHistory::add(const WalkLine& line) {
  lines_.push_back(line);
  return count() - 1;
}

std::optional<int> WalkHistory::line_of(uint32_t timeline) const {
  for (int number = count() - 1; number >= 0; --number)
    if (line(number).timeline == timeline) return number;
  return std::nullopt;
}

std::vector<WalkRow> WalkHistory::rows(int number, pg::Lsn up_to) const {
  const WalkLine& one = line(number);
  std::vector<WalkRow> found;
  if (one.parent >= 0) found = rows(one.parent, std::min(up_to, one.fork));
  std::ranges::copy_if(one.rows, std::back_inserter(found),
                       [&](const WalkRow& row) { return row.end <= up_to; });
  return found;
}

std::vector<WalkRow> WalkHistory::rows_until(int number, Time time) const {
  std::vector<WalkRow> found = rows(number, pg::Lsn{UINT64_MAX});
  std::erase_if(found, [&](const WalkRow& row) { return row.done > time; });
  return found;
}

bool WalkHistory::is_past_of(int number, int ancestor, pg::Lsn end) const {
  for (; number != ancestor; number = line(number).parent)
    if (line(number).parent < 0 || line(number).fork < end) return false;
  return true;
}

int WalkHistory::line_of_segment(int number, uint64_t segment, pg::WalSegmentSize size) const {
  while (line(number).parent >= 0 && line(number).fork >= pg::end_lsn(segment, size))
    number = line(number).parent;
  return number;
}

std::vector<int64_t> ids_of(const std::vector<WalkRow>& rows) {
  std::vector<int64_t> ids;
  for (const WalkRow& row : rows) ids.push_back(row.id);
  return ids;
}

std::string ranges_of(const std::vector<int64_t>& ids) {
  std::string text;
  for (size_t i = 0; i < ids.size();) {
    size_t end = i + 1;
    while (end < ids.size() && ids[end] == ids[end - 1] + 1) ++end;
    if (!text.empty()) text += ' ';
    text += end - i == 1 ? fmt::format("{}", ids[i]) : fmt::format("{}-{}", ids[i], ids[end - 1]);
    i = end;
  }
  return text.empty() ? "none" : text;
}

}  // namespace holdfast::test
