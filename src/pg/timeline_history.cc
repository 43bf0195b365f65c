#include "pg/timeline_history.h"

#include <algorithm>
#include <charconv>

#include <fmt/core.h>

#include "base/error.h"
#include "pg/wal_file_name.h"

namespace holdfast::pg {

namespace {

constexpr std::string_view kBlank = " \t\r\v\f";

[[noreturn]] void fail(TimelineId timeline, std::string detail) {
  throw Error(
      {.code = ErrorCode::kCorrupt,
       .message = fmt::format("invalid timeline history file \"{}\"", history_file_name(timeline)),
       .detail = std::move(detail),
       .hint = fmt::format("Compare it with the server's copy in pg_wal. \"holdfast wal set-aside "
                           "{}\" takes an archived one that is wrong out of service.",
                           history_file_name(timeline))});
}

void skip_blank(std::string_view& text) {
  text.remove_prefix(std::min(text.find_first_not_of(kBlank), text.size()));
}

// Takes a number off the front of `text`; nullopt when none is there.
std::optional<uint32_t> take_number(std::string_view& text, int base) {
  uint32_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc()) return std::nullopt;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return value;
}

std::optional<TimelineHistoryEntry> parse_history_line(std::string_view line) {
  std::optional<uint32_t> id = take_number(line, 10);
  if (!id || *id == 0 || line.empty() || kBlank.find(line.front()) == std::string_view::npos)
    return std::nullopt;
  skip_blank(line);
  std::optional<uint32_t> high = take_number(line, 16);
  if (!high || !line.starts_with('/')) return std::nullopt;
  line.remove_prefix(1);
  std::optional<uint32_t> low = take_number(line, 16);
  if (!low || (!line.empty() && kBlank.find(line.front()) == std::string_view::npos))
    return std::nullopt;
  skip_blank(line);
  return TimelineHistoryEntry{
      .timeline = {*id}, .switch_lsn = {uint64_t{*high} << 32 | *low}, .reason = std::string(line)};
}

// What is wrong with this chain; empty when nothing is.
std::string find_fault(TimelineId timeline, std::span<const TimelineHistoryEntry> ancestors) {
  TimelineId last;
  for (const TimelineHistoryEntry& entry : ancestors) {
    if (entry.timeline <= last) {
      return fmt::format("Timeline {} follows timeline {}: the ids must increase.",
                         entry.timeline.value, last.value);
    }
    if (entry.timeline >= timeline) {
      return fmt::format("Timeline {} cannot be an ancestor of timeline {}.", entry.timeline.value,
                         timeline.value);
    }
    last = entry.timeline;
  }
  return "";
}

}  // namespace

TimelineHistory::TimelineHistory(TimelineId timeline, std::vector<TimelineHistoryEntry> ancestors)
    : timeline_(timeline), ancestors_(std::move(ancestors)) {
  HF_CHECK(find_fault(timeline_, ancestors_).empty());
}

bool TimelineHistory::contains(TimelineId timeline) const {
  return timeline == timeline_ ||
         std::ranges::find(ancestors_, timeline, &TimelineHistoryEntry::timeline) !=
             ancestors_.end();
}

TimelineId TimelineHistory::timeline_at(Lsn lsn) const {
  TimelineId timeline = timeline_;
  for (size_t i = ancestors_.size(); i-- > 0 && lsn < ancestors_[i].switch_lsn;)
    timeline = ancestors_[i].timeline;
  return timeline;
}

std::optional<Lsn> TimelineHistory::start_of(TimelineId timeline) const {
  Lsn start;
  for (const TimelineHistoryEntry& entry : ancestors_) {
    if (entry.timeline == timeline) return start;
    start = entry.switch_lsn;
  }
  return timeline == timeline_ ? std::optional(start) : std::nullopt;
}

std::optional<Lsn> TimelineHistory::switch_point_of(TimelineId timeline) const {
  auto found = std::ranges::find(ancestors_, timeline, &TimelineHistoryEntry::timeline);
  if (found == ancestors_.end()) return std::nullopt;
  return std::ranges::min_element(found, ancestors_.end(), {}, &TimelineHistoryEntry::switch_lsn)
      ->switch_lsn;
}

bool TimelineHistory::is_ancestor(TimelineId timeline, Lsn end) const {
  if (timeline == timeline_) return true;
  std::optional<Lsn> left_at = switch_point_of(timeline);
  return left_at && end <= *left_at;
}

std::string TimelineHistory::to_text() const {
  std::string text;
  for (const TimelineHistoryEntry& entry : ancestors_) {
    text += fmt::format("{}\t{}\t{}\n", entry.timeline.value, to_string(entry.switch_lsn),
                        entry.reason);
  }
  return text;
}

TimelineHistory parse_timeline_history(TimelineId timeline, std::string_view text) {
  std::vector<TimelineHistoryEntry> ancestors;
  while (!text.empty()) {
    size_t newline = text.find('\n');
    std::string_view line = text.substr(0, newline);
    text = newline == std::string_view::npos ? std::string_view() : text.substr(newline + 1);
    skip_blank(line);
    if (line.empty() || line.front() == '#') continue;
    std::optional<TimelineHistoryEntry> entry = parse_history_line(line);
    if (!entry)
      fail(timeline,
           fmt::format("The line \"{}\" is not a timeline and an LSN.", line.substr(0, 200)));
    ancestors.push_back(std::move(*entry));
  }
  if (std::string fault = find_fault(timeline, ancestors); !fault.empty())
    fail(timeline, std::move(fault));
  return TimelineHistory(timeline, std::move(ancestors));
}

}  // namespace holdfast::pg
