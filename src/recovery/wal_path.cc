#include "recovery/wal_path.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/error.h"
#include "repo/needed_wal.h"
#include "repo/wal_line.h"

namespace holdfast::recovery {
namespace {

constexpr uint64_t kNoEnd = std::numeric_limits<uint64_t>::max();

pg::Lsn end_of(const SegmentCopy& copy) {
  return std::max(copy.info.last_record_end, copy.info.readable_end);
}

}  // namespace

LeftAt left_at(std::span<const pg::TimelineHistory> histories) {
  LeftAt left;
  for (const pg::TimelineHistory& history : histories)
    for (const pg::TimelineHistoryEntry& entry : history.ancestors())
      if (Left& last = left[entry.timeline]; last.at <= entry.switch_lsn)
        last = {.at = entry.switch_lsn, .by = history.timeline()};
  return left;
}

std::vector<pg::TimelineHistory> read_histories(const repo::WalArchive& archive,
                                                const PassedOver& passed_over) {
  std::vector<pg::TimelineId> timelines = archive.timelines();
  std::ranges::sort(timelines, std::greater<>());
  std::vector<pg::TimelineHistory> histories;
  for (const pg::TimelineId timeline : timelines) {
    std::optional<pg::TimelineHistory> history;
    const std::optional<Error> damage = unreadable_of([&] {
      const std::optional<Bytes> text =
          archive.read_file({.kind = pg::WalFileKind::kHistory, .segment = {.timeline = timeline}});
      if (text)
        history = pg::parse_timeline_history(timeline, as_text(*text));
      else if (timeline.value == 1)
        history = pg::TimelineHistory(timeline);
    });
    if (history)
      histories.push_back(std::move(*history));
    else if (passed_over)
      passed_over(timeline, damage);
  }
  return histories;
}

WalPath::WalPath(const repo::WalArchive& archive, const pg::TimelineHistory& history,
                 uint64_t first_segment, const LeftAt& left, std::span<const Bytes16> own_partials)
    : WalPath(archive.segment_size(), history) {
  const bool found_any =
      list(archive, first_segment, kNoEnd, [&](pg::TimelineId timeline, uint64_t first) {
        timeline_ = timeline;
        find_tail(archive, runs_.empty() ? first : runs_.back().last + 1, own_partials);
        return !runs_.empty() || tail_;
      });
  if (!found_any) return;
  find_missing_end(archive, first_segment, left);
  find_rivals(archive);
}

std::optional<WalPath> WalPath::up_to(const repo::WalArchive& archive,
                                      const pg::TimelineHistory& history, uint64_t first_segment,
                                      uint64_t until) {
  WalPath path(archive.segment_size(), history);
  const bool found_any =
      path.list(archive, first_segment, until + 1, [&](pg::TimelineId timeline, uint64_t first) {
        bool has_any = false;
        archive.for_each_entry(timeline, first, [&](const repo::WalArchive::Entry& entry) {
          has_any = entry.file.kind != pg::WalFileKind::kBackupHistory;
          return !has_any;
        });
        return has_any;
      });
  if (!found_any || path.last() != until || path.first_hole(first_segment)) return std::nullopt;
  path.find_rivals(archive);
  return path;
}

bool WalPath::list(const repo::WalArchive& archive, uint64_t first_segment, uint64_t end,
                   const HasWal& has_wal) {
  std::vector<pg::TimelineId> timelines;
  for (const pg::TimelineHistoryEntry& entry : history_.ancestors())
    timelines.push_back(entry.timeline);
  timelines.push_back(history_.timeline());

  bool found_any = false;  // a newer timeline has WAL
  for (auto timeline = timelines.rbegin(); timeline != timelines.rend(); ++timeline) {
    const pg::Lsn switch_lsn = history_.start_of(*timeline).value_or(pg::Lsn{});
    // A line that the path passes by: it was left again before it began.
    if (const std::optional<pg::Lsn> left_at = history_.switch_point_of(*timeline);
        left_at && *left_at <= switch_lsn && switch_lsn.is_valid())
      continue;
    const uint64_t own_first = std::max(pg::segment_of(switch_lsn, size_), uint64_t{1});
    const uint64_t first = std::max(own_first, first_segment);
    std::vector<WalRange> newer = std::exchange(runs_, {});
    if (first < end) list_runs(archive, *timeline, first, end);
    if (!found_any && has_wal(*timeline, first)) {
      timeline_ = *timeline;
      found_any = true;
    }
    runs_.insert(runs_.end(), newer.begin(), newer.end());
    if (first_segment >= own_first && found_any) break;
    if (found_any)
      end = std::min(end, own_first);
    else if (timeline + 1 != timelines.rend())
      limit_ = limit_ ? std::min(*limit_, switch_lsn) : switch_lsn;
  }
  if (!found_any) {
    timeline_ = history_.timeline();
    limit_.reset();
  }
  return found_any;
}

void WalPath::find_missing_end(const repo::WalArchive& archive, uint64_t first_segment,
                               const LeftAt& left) {
  const uint64_t next = runs_.empty() ? first_segment : runs_.back().last + 1;
  const Left written = written_to(archive, next, left);
  const pg::Lsn archived = archived_to(archive, next, written.at);
  if (written.at <= archived) return;
  const uint64_t number = pg::segment_of(archived, size_);
  const pg::Lsn known = std::min(written.at, pg::end_lsn(number, size_));
  missing_end_ = {.first = {.timeline = history_.timeline_at(known - 1), .segment_number = number},
                  .archived_to = archived,
                  .written_to = written.at,
                  .held_by = {}};
  if (written.by != pg::TimelineId{} && known == written.at)
    archive.for_each_segment(written.by, number, [&](uint64_t found, uint64_t) {
      if (found == number) missing_end_->held_by = written.by;
      return false;
    });
}

// A timeline of which there is nothing but its history began where its parent was left. `next`: the
// number behind the last whole segment.
Left WalPath::written_to(const repo::WalArchive& archive, uint64_t next, const LeftAt& left) const {
  const auto found = left.find(history_.timeline());
  Left written = found == left.end() ? Left{} : found->second;
  if (timeline_ != history_.timeline()) {
    const pg::Lsn start = history_.start_of(history_.timeline()).value_or(pg::Lsn{});
    return written.at > start ? written : Left{.at = start, .by = {}};
  }
  archive.for_each_entry(timeline_, next, [&](const repo::WalArchive::Entry& entry) {
    const pg::Lsn start = pg::start_lsn(entry.file.segment.segment_number, size_);
    // Of an unfinished segment the tail is made, if it is the next one; all before it was written.
    pg::Lsn at;
    if (entry.file.kind == pg::WalFileKind::kPartial) at = start;
    if (entry.file.kind == pg::WalFileKind::kBackupHistory) at = start + 1;
    if (at > written.at) written = {.at = at, .by = {}};
    return true;
  });
  return written;
}

pg::Lsn WalPath::archived_to(const repo::WalArchive& archive, uint64_t next,
                             pg::Lsn written_to) const {
  pg::Lsn archived = tail_ ? tail_end_ : pg::start_lsn(next, size_);
  // The last whole one may have been cut short; that is asked only where it matters.
  if (!tail_ && !runs_.empty() && written_to <= archived &&
      written_to > pg::start_lsn(next - 1, size_)) {
    const pg::WalFileName last{
        .kind = pg::WalFileKind::kSegment,
        .segment = {.timeline = runs_.back().timeline, .segment_number = next - 1}};
    std::optional<repo::WalSegmentInfo> info;
    // That it is damaged is told by who reads it.
    unreadable_of([&] { info = archive.segment_info(last); });
    if (info) archived = info->readable_end;
  }
  return limit_ ? std::min(archived, *limit_) : archived;
}

void WalPath::list_runs(const repo::WalArchive& archive, pg::TimelineId timeline, uint64_t first,
                        uint64_t end) {
  archive.for_each_segment(timeline, first, [&](uint64_t number, uint64_t) {
    if (number >= end) return false;
    if (!runs_.empty() && runs_.back().last + 1 == number)
      runs_.back().last = number;
    else
      runs_.push_back({.timeline = timeline, .first = number, .last = number});
    return true;
  });
}

// Several unfinished copies of one segment may be archived. A longer one that begins with all that
// the others hold was salvaged later, and is taken. Where they part one of them is of another
// server, or of a server that was rolled back, and their lengths say nothing about which: then the
// one that is known to be meant is taken; else the farthest, and whoever needs it must ask.
void WalPath::find_tail(const repo::WalArchive& archive, uint64_t segment_number,
                        std::span<const Bytes16> own_partials) {
  const pg::SegmentName name{.timeline = timeline_, .segment_number = segment_number};
  const std::vector<Bytes16> digests = archive.partials(name);
  const pg::WalFileName file{.kind = pg::WalFileKind::kPartial, .segment = name};
  std::optional<repo::WalSegmentInfo> before;
  if (!runs_.empty() && !digests.empty()) {
    before = archive.segment_info(
        {.kind = pg::WalFileKind::kSegment,
         .segment = {.timeline = timeline_, .segment_number = segment_number - 1}});
  }
  std::vector<SegmentCopy> candidates;
  for (const Bytes16& digest : digests) {
    SegmentCopy candidate{.name = name, .partial = digest, .info = {}};
    // Of several one that is damaged is passed over.
    const std::optional<Error> unread = unreadable_of([&] {
      std::optional<repo::WalSegmentInfo> info =
          digests.size() == 1 ? archive.segment_info(file, &digest)
                              : archive.read_segment(file, [](ByteView) {}, &digest);
      if (!info || (before && (!repo::joins(*before, *info) ||
                               repo::find_earlier_line(archive, *before, *info))))
        return;
      candidate.info = std::move(*info);
    });
    if (unread && digests.size() == 1) throw Error(*unread);
    if (!unread && end_of(candidate) > candidate.info.start_lsn)
      candidates.push_back(std::move(candidate));
  }
  if (candidates.empty()) return;
  std::ranges::sort(candidates, [](const SegmentCopy& a, const SegmentCopy& b) {
    return end_of(a) != end_of(b) ? end_of(a) > end_of(b) : a.partial < b.partial;
  });
  // The farthest that begins with the own one.
  const auto own = std::ranges::find_if(candidates, [&](const SegmentCopy& candidate) {
    return std::ranges::find(own_partials, *candidate.partial) != own_partials.end();
  });
  const auto chosen = own == candidates.end()
                          ? candidates.begin()
                          : std::ranges::find_if(candidates, [&](const SegmentCopy& candidate) {
                              return agree(archive, candidate, *own);
                            });
  parted_.is_own = own != candidates.end();
  for (const SegmentCopy& candidate : candidates)
    if (candidate.partial != chosen->partial && !agree(archive, *chosen, candidate))
      parted_.others.push_back(*candidate.partial);
  tail_end_ = end_of(*chosen);
  tail_ = PathSegment{.name = name, .partial = chosen->partial};
}

// A server that asks for the segment is given the one that is archived under its name, and goes no
// farther than that goes.
void WalPath::find_rivals(const repo::WalArchive& archive) {
  if (tail_ || runs_.empty() || runs_.back().timeline != timeline_) return;
  const pg::SegmentName last{.timeline = timeline_, .segment_number = runs_.back().last};
  const std::vector<Bytes16> partials = archive.partials(last);
  if (partials.empty()) return;
  std::vector<SegmentCopy> copies = find_unfinished(archive, last, partials);
  const auto served =
      std::ranges::find_if(copies, [](const SegmentCopy& copy) { return !copy.partial; });
  if (served == copies.end()) return;
  const std::optional<pg::Lsn> began = history_.start_of(timeline_);
  if ((began && repo::is_foreign(served->info, *began)) ||
      (limit_ && *limit_ <= served->info.readable_end))
    return;
  for (auto copy = copies.begin(); copy != served; ++copy)
    unreadable_of([&] {
      (agree(archive, *copy, *served) ? rivals_.longer : rivals_.parted).push_back(*copy);
    });
  if (!rivals_.parted.empty()) rivals_.parted.push_back(*served);
}

std::optional<uint64_t> WalPath::last() const {
  if (tail_) return tail_->name.segment_number;
  if (!runs_.empty()) return runs_.back().last;
  return std::nullopt;
}

std::optional<PathSegment> WalPath::at(uint64_t segment_number) const {
  for (const WalRange& run : runs_) {
    if (segment_number >= run.first && segment_number <= run.last)
      return PathSegment{.name = {.timeline = run.timeline, .segment_number = segment_number},
                         .partial = std::nullopt};
  }
  if (tail_ && tail_->name.segment_number == segment_number) return tail_;
  return std::nullopt;
}

pg::SegmentName WalPath::expected_name(uint64_t segment_number) const {
  // The newest timeline that covers any of it: that of its last byte.
  return {
      .timeline = std::min(timeline_, history_.timeline_at(pg::end_lsn(segment_number, size_) - 1)),
      .segment_number = segment_number};
}

std::optional<pg::SegmentName> WalPath::first_hole(uint64_t from) const {
  const std::optional<uint64_t> end = last();
  if (!end || *end < from) return expected_name(from);
  uint64_t next = from;
  for (const WalRange& run : runs_) {
    if (run.last < next) continue;
    // What the parent lacks behind the limit belongs to nobody.
    if (run.first > next && limit_ && next > pg::segment_of(*limit_, size_)) break;
    if (run.first > next) return expected_name(next);
    next = run.last + 1;
  }
  if (!limit_ && next <= *end && !(tail_ && tail_->name.segment_number == next))
    return expected_name(next);
  if (missing_end_) return missing_end_->first;
  return std::nullopt;
}

bool left_another_line(const repo::WalArchive& archive, const pg::TimelineHistory& history,
                       pg::TimelineId timeline, const repo::Backup& backup) {
  const pg::Lsn left = history.switch_point_of(timeline).value_or(pg::Lsn{});
  if (left <= backup.start_lsn) return false;
  const pg::SegmentName parent{.timeline = timeline,
                               .segment_number = pg::segment_of(left, archive.segment_size())};
  const pg::SegmentName child{.timeline = history.timeline_at(left),
                              .segment_number = parent.segment_number};
  const pg::Lsn start = pg::start_lsn(parent.segment_number, archive.segment_size());
  if (parent.segment_number == 0 || left == start) return false;
  const bool ends_here = backup.stop_timeline == timeline && backup.stop_lsn > start;
  const repo::WalAmendments before = archive.amendments(
      {.kind = pg::WalFileKind::kSegment,
       .segment = {.timeline = timeline, .segment_number = parent.segment_number - 1}});
  if (!ends_here && before.further.empty() && before.marks.empty()) return false;
  const auto served = [&](pg::SegmentName segment) {
    const std::optional<std::string> object =
        archive.served_object({.kind = pg::WalFileKind::kSegment, .segment = segment});
    std::optional<repo::WalSegmentInfo> info;
    if (object) unreadable_of([&] { info = archive.segment_info_of(*object); });
    return info ? object : std::nullopt;
  };
  const std::optional<std::string> of_child = served(child);
  if (!of_child) return false;
  // As far as both can be read: one that is short says nothing of what it lacks.
  const auto alike = [&](const std::string& object) -> std::optional<bool> {
    std::optional<bool> is_alike;
    unreadable_of([&] {
      pg::Lsn end = left;
      for (const std::string& one : {object, *of_child})
        if (const std::optional<repo::WalSegmentInfo> info = archive.segment_info_of(one))
          end = std::min(end, info->readable_end);
      if (end > start) is_alike = repo::begin_alike(archive, object, *of_child, end - start);
    });
    return is_alike;
  };
  if (const std::optional<std::string> of_parent = served(parent))
    return alike(*of_parent) == false;
  // The new line has not come there yet: the timeline left what was taken out of service.
  const std::vector<repo::WalArchive::SetAside> all = archive.all_set_aside();
  return std::ranges::any_of(all, [&](const repo::WalArchive::SetAside& one) {
    const bool has_pages =
        one.file.kind == pg::WalFileKind::kSegment || one.file.kind == pg::WalFileKind::kPartial;
    return has_pages && one.file.segment == parent && alike(one.content.object) == true;
  });
}

std::optional<pg::SegmentName> set_aside_behind(const repo::WalArchive& archive,
                                                const WalPath& path) {
  const std::optional<uint64_t> last = path.last();
  if (!last || path.limit()) return std::nullopt;
  const std::optional<PathSegment> end = path.at(*last);
  if (!end || end->partial) return std::nullopt;
  const auto file = [](pg::SegmentName name) {
    return pg::WalFileName{.kind = pg::WalFileKind::kSegment, .segment = name};
  };
  const repo::WalAmendments amended = archive.amendments(file(end->name));
  if (!amended.further.empty() || !amended.marks.empty()) return std::nullopt;
  const pg::SegmentName next{.timeline = end->name.timeline, .segment_number = *last + 1};
  const std::vector<repo::WalArchive::Content> contents = archive.contents(file(next));
  if (contents.empty() ||
      !std::ranges::all_of(contents, [](const auto& content) { return content.aside.has_value(); }))
    return std::nullopt;
  return next;
}

}  // namespace holdfast::recovery
