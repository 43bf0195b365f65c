#include "recovery/survey.h"

#include <algorithm>

#include <fmt/core.h>

#include "base/error.h"
#include "pg/transaction_id.h"
#include "pg/wal_reader.h"
#include "repo/wal_line.h"

namespace holdfast::recovery {
namespace {

pg::WalFileName file_name(const PathSegment& segment) {
  return {.kind = segment.partial ? pg::WalFileKind::kPartial : pg::WalFileKind::kSegment,
          .segment = segment.name};
}

const Bytes16* digest_of(const PathSegment& segment) {
  return segment.partial ? &*segment.partial : nullptr;
}

bool is_later(Time time, Time target, bool exclusive) {
  return exclusive ? time >= target : time > target;
}

// How far is searched for what may not be there: at the end of the archive, and behind a target.
constexpr uint64_t kSegmentsSearched = 64;

std::optional<Time> checkpoint_time(const pg::WalEvent& event) {
  if (const auto* checkpoint = std::get_if<pg::Checkpoint>(&event)) return checkpoint->time;
  if (const auto* end = std::get_if<pg::EndOfRecovery>(&event)) return end->time;
  return std::nullopt;
}
void raise_to(std::optional<Time>& latest, Time time) {
  latest = std::max(latest.value_or(time), time);
}
pg::Lsn lsn_of(const pg::WalEvent& event) {
  return std::visit([](const auto& e) { return e.lsn; }, event);
}

void take_times(const repo::WalSegmentInfo& here, Reach& reach) {
  std::optional<Moment> last;
  const auto take = [&](Moment moment) {
    if (!last || last->lsn < moment.lsn) last = moment;
  };
  if (here.commits.count > 0) {
    reach.last_commit = here.commits.last_time;
    raise_to(reach.latest_time, here.commits.highest_time);
    take({.lsn = here.commits.last_lsn, .time = here.commits.last_time});
  }
  for (const repo::WalRestorePoint& point : here.restore_points) {
    raise_to(reach.latest_time, point.time);
    take({.lsn = point.lsn, .time = point.time});
  }
  if (last) reach.last_moment = last;
}

}  // namespace

repo::WalSegmentInfo Survey::info(const PathSegment& segment) const {
  std::optional<repo::WalSegmentInfo> info =
      archive_.segment_info(file_name(segment), digest_of(segment));
  if (!info) {
    const pg::WalSegmentSize size = archive_.segment_size();
    throw Error({.code = ErrorCode::kCorrupt,
                 .message = fmt::format("WAL segment \"{}\" has vanished from the archive",
                                        pg::segment_file_name(segment.name, size)),
                 .detail = "It was listed a moment ago.",
                 .hint = "Check whether somebody expires or removes WAL from this repository, then "
                         "run the command again."});
  }
  return std::move(*info);
}

std::optional<repo::WalSegmentInfo> Survey::info_at(uint64_t segment_number) const {
  const std::optional<PathSegment> segment = path_.at(segment_number);
  return segment ? std::optional(info(*segment)) : std::nullopt;
}

std::vector<pg::WalEvent> Survey::read_events_of(const repo::WalSegmentInfo& here,
                                                 uint64_t segment_number) const {
  uint64_t from = segment_number;
  for (bool begins_earlier = here.carried_in > 0; begins_earlier;) {
    const std::optional<repo::WalSegmentInfo> before = info_at(from - 1);
    if (!before) break;
    --from;
    begins_earlier = !before->first_record.is_valid();
  }
  return read_events(from, segment_number);
}

void Survey::count_moment_between(const repo::WalSegmentInfo& before, repo::WalSegmentInfo& here,
                                  uint64_t segment_number, uint32_t at_most) const {
  if (repo::count_moment_between(before, here, archive_.lineage().name.major) ||
      here.carried_in > at_most)
    return;
  for (const pg::WalEvent& event : read_events_of(here, segment_number)) {
    const bool is_carried = std::visit(
        [&](const auto& e) { return e.lsn < here.start_lsn && e.end_lsn > here.start_lsn; }, event);
    if (is_carried) repo::count_earlier(here, event);
  }
}

void Survey::learn_minimal(repo::WalSegmentInfo& here, uint64_t segment_number) const {
  if (!here.knows_minimal) repo::learn_minimal(here, read_events_of(here, segment_number));
}

std::vector<Survey::MinimalPlace> Survey::find_minimal(uint64_t first, uint64_t last) const {
  std::vector<MinimalPlace> found;
  std::optional<repo::WalSegmentInfo> before;
  for (uint64_t number = first; number <= last; ++number) {
    std::optional<repo::WalSegmentInfo> here;
    unreadable_of([&] {
      here = info_at(number);
      if (here && before)
        count_moment_between(*before, *here, number, repo::kMaxParameterChangeBytes);
      if (here) learn_minimal(*here, number);
    });
    if (here && here->minimal_from.is_valid())
      found.push_back({.segment_number = number, .from = here->minimal_from});
    before = std::move(here);
  }
  return found;
}

std::vector<pg::SegmentName> Survey::find_other_history() const {
  std::vector<pg::SegmentName> found;
  for (const pg::WalFileName& file : archive_.amended_files()) {
    const uint64_t number = file.segment.segment_number;
    const std::optional<PathSegment> here = path_.at(number), next = path_.at(number + 1);
    if (file.kind != pg::WalFileKind::kSegment || !here || !next || here->partial ||
        here->name != file.segment)
      continue;
    unreadable_of([&] {
      if (repo::find_earlier_line(archive_, info(*here), info(*next))) found.push_back(next->name);
    });
  }
  std::ranges::sort(found, {}, &pg::SegmentName::segment_number);
  return found;
}

std::optional<Reach::Break::Kind> Survey::break_between(
    const std::optional<repo::WalSegmentInfo>& before, const repo::WalSegmentInfo& here) const {
  using enum Reach::Break::Kind;
  const std::optional<pg::Lsn> began = path_.history().start_of(here.timeline);
  if (began && repo::is_foreign(here, *began)) return kForeign;
  if (!before) return std::nullopt;
  if (repo::find_earlier_line(archive_, *before, here)) return kEarlier;
  if (repo::leads_into(*before, here)) return std::nullopt;
  return repo::joins(*before, here) ? kShort : kApart;
}

Reach Survey::walk(uint64_t first, const StopsHere& stops_here) {
  Reach reach;
  reach.hole = path_.first_hole(first);
  std::optional<repo::WalSegmentInfo> before;
  uint64_t removals_unknown_from = UINT64_MAX;  // nothing is unknown
  for (uint64_t number = first; std::optional<PathSegment> segment = path_.at(number); ++number) {
    repo::WalSegmentInfo here;
    if (std::optional<Error> damage = damage_of([&] { here = info(*segment); })) {
      reach.broken = {.kind = Reach::Break::Kind::kDamaged,
                      .first = std::move(before).value_or(repo::WalSegmentInfo{}),
                      .second = {},
                      .segment_number = number,
                      .damage = std::move(damage)};
      break;
    }
    if (const std::optional<Reach::Break::Kind> kind = break_between(before, here)) {
      reach.broken = {.kind = *kind,
                      .first = std::move(before).value_or(repo::WalSegmentInfo{}),
                      .second = std::move(here),
                      .segment_number = number};
      return reach;
    }
    if (before) count_moment_between(*before, here, number);
    learn_minimal(here, number);
    ++reach.segments;
    reach.last_segment = number;
    if (here.parameter_floors) raise(reach.floors, *here.parameter_floors);
    std::ranges::copy(here.creates_tablespaces, std::back_inserter(reach.tablespaces));
    if (here.knows_removals) {
      std::ranges::copy(here.removals, std::back_inserter(reach.removals));
      removals_unknown_from = UINT64_MAX;
    } else if (removals_unknown_from == UINT64_MAX) {
      removals_unknown_from = number;
    }
    const bool found = stops_here(here, reach);
    if (here.minimal_from.is_valid()) {
      (found ? reach.minimal : reach.broken) =
          Reach::Break{.kind = Reach::Break::Kind::kMinimal,
                       .first = std::move(before).value_or(repo::WalSegmentInfo{}),
                       .second = here,
                       .segment_number = number};
      if (!found) return reach;
    }
    if (found) {
      reach.found = true;
      reach.hole.reset();
      break;
    }
    take_times(here, reach);
    if (here.last_record_end.is_valid()) {
      reach.end_lsn = here.last_record_end;
      // An unfinished record is none; the one before it is in the same segment only if it began
      // there.
      if (here.carried_out == 0)
        reach.last_record = here.last_record;
      else if (here.first_record < here.last_record)
        reach.last_record = here.first_record;
    }
    if (repo::is_unread(here)) reach.end_lsn = here.readable_end;
    before = std::move(here);
  }
  if (removals_unknown_from != UINT64_MAX) learn_removals(reach, removals_unknown_from);
  return reach;
}

// What a transaction takes away, it takes right before its end.
void Survey::learn_removals(Reach& reach, uint64_t unknown_from) const {
  const uint64_t from = std::max(unknown_from + 1, reach.last_segment) - 1;
  for (repo::WalRemoval& removal : repo::removals_of(read_events(from, reach.last_segment))) {
    removal.ended = false;  // the target may lie before that
    reach.removals.push_back(std::move(removal));
  }
}

bool Survey::has_such_end(pg::Lsn from, pg::Lsn before,
                          const std::function<bool(const repo::WalCommits&)>& may_hold,
                          const std::function<bool(const pg::TransactionEnd&)>& is_it) const {
  std::optional<repo::WalSegmentInfo> earlier;
  for (uint64_t number = pg::segment_of(from, archive_.segment_size());; ++number) {
    std::optional<repo::WalSegmentInfo> here = info_at(number);
    if (!here || here->start_lsn >= before) return false;
    if (earlier) count_moment_between(*earlier, *here, number);
    if (here->commits.count > 0 && may_hold(here->commits))
      for (const pg::WalEvent& event : read_events_of(*here, number))
        if (const auto* end = std::get_if<pg::TransactionEnd>(&event);
            end != nullptr && end->lsn > from && end->lsn < before && is_it(*end))
          return true;
    earlier = std::move(here);
  }
}

bool Survey::has_end(uint32_t xid, pg::Lsn from, pg::Lsn before) const {
  return has_such_end(
      from, before,
      [&](const repo::WalCommits& all) { return xid >= all.lowest_xid && xid <= all.highest_xid; },
      [&](const pg::TransactionEnd& end) { return end.xid == xid; });
}

bool Survey::has_commit(pg::Lsn from, pg::Lsn before) const {
  return has_such_end(
      from, before, [](const repo::WalCommits&) { return true; },
      [](const pg::TransactionEnd& end) { return end.committed; });
}

std::optional<pg::Lsn> Survey::first_record_from(pg::Lsn lsn) const {
  std::optional<pg::Lsn> first;
  pg::WalReader reader(archive_.segment_size());
  uint64_t number = pg::segment_of(lsn, archive_.segment_size());
  for (; std::optional<PathSegment> segment = path_.at(number); ++number) {
    pg::WalSegmentFeed feed(reader, segment->name, bytes_of(*segment),
                            [&](const pg::WalRecord& record) {
                              if (!first && record.lsn >= lsn) first = record.lsn;
                            });
    read(*segment, [&](ByteView piece) { feed.take(piece); });
    feed.finish();
    if (first) break;
  }
  return first;
}

pg::WalSegmentScan Survey::scan(const PathSegment& segment, pg::WalReader& reader) const {
  pg::WalSegmentScanner scanner(reader, segment.name, bytes_of(segment));
  read(segment, [&](ByteView piece) { scanner.take(piece); });
  return scanner.finish();
}

uint64_t Survey::bytes_of(const PathSegment& segment) const {
  return digest_of(segment) ? info(segment).bytes : archive_.segment_size().bytes();
}

void Survey::read(const PathSegment& segment, const std::function<void(ByteView)>& take) const {
  if (!archive_.read_segment(file_name(segment), take, digest_of(segment)))
    info(segment);  // throws
}

std::vector<pg::WalEvent> Survey::read_events(uint64_t first, uint64_t last) const {
  std::vector<pg::WalEvent> events;
  pg::WalReader reader(archive_.segment_size());
  for (uint64_t number = first; number <= last; ++number) {
    const std::optional<PathSegment> segment = path_.at(number);
    if (!segment) continue;
    std::ranges::move(scan(*segment, reader).events, std::back_inserter(events));
  }
  return events;
}

Reach Survey::to_the_end(uint64_t first) {
  return walk(first, [](const repo::WalSegmentInfo&, Reach&) { return false; });
}

Reach Survey::to_backup_end(uint64_t first, pg::Lsn end) {
  const uint64_t last = pg::last_segment_before_end(end, archive_.segment_size());
  return walk(first, [&](const repo::WalSegmentInfo&, Reach& reach) {
    reach.stop_lsn = reach.end_lsn = end;
    return reach.last_segment >= last;
  });
}

// The server stops at a record that starts at or behind the LSN, and it must be complete: one that
// runs over the end of its segment needs the next.
Reach Survey::to_lsn(uint64_t first, pg::Lsn lsn) {
  bool begun = false;
  Reach reach = walk(first, [&](const repo::WalSegmentInfo& here, Reach& so_far) {
    // The record that began in the segment before, or one that begins here, is complete here.
    if (begun && (here.carried_out == 0 || here.first_record.is_valid())) return true;
    if (begun || !here.last_record.is_valid() || here.last_record < lsn) return false;
    const std::optional<pg::Lsn> complete =
        last_complete_record(*path_.at(so_far.last_segment), here);
    if (complete && *complete >= lsn) return true;
    begun = true;
    return false;
  });
  if (!reach.found) return reach;
  reach.stop_lsn = reach.end_lsn = lsn;
  // The last commit before it: by the metadata up to the segment before, and by the records of the
  // last two.
  const uint64_t from = std::max(first, reach.last_segment - 1);
  for (const pg::WalEvent& event : read_events(from, reach.last_segment)) {
    const auto* end = std::get_if<pg::TransactionEnd>(&event);
    if (end != nullptr && end->lsn < lsn) reach.last_commit = end->time;
  }
  std::erase_if(reach.tablespaces,
                [&](const repo::WalTablespace& created) { return created.lsn > lsn; });
  return reach;
}

Reach Survey::to_time(uint64_t first, Time time, bool exclusive) {
  std::optional<pg::TransactionEnd> stop;
  std::optional<Time> last_commit;
  Reach reach = walk(first, [&](const repo::WalSegmentInfo& here, Reach& so_far) {
    if (here.commits.count == 0 || !is_later(here.commits.highest_time, time, exclusive))
      return false;
    for (const pg::WalEvent& event : read_events_of(here, so_far.last_segment)) {
      const auto* end = std::get_if<pg::TransactionEnd>(&event);
      if (end == nullptr || (path_.limit() && end->lsn >= *path_.limit())) continue;
      if (is_later(end->time, time, exclusive)) {
        stop = *end;
        return true;
      }
      last_commit = end->time;
    }
    return false;
  });
  if (!reach.found) return reach;
  reach.stop_lsn = reach.end_lsn = stop->lsn;
  reach.stop_time = stop->time;
  if (last_commit) reach.last_commit = last_commit;
  std::erase_if(reach.tablespaces,
                [&](const repo::WalTablespace& created) { return created.lsn > stop->lsn; });
  return reach;
}

// The newest first: the time of the newest is the latest, but for clocks.
std::optional<Moment> Survey::last_checkpoint(uint64_t first, uint64_t last) {
  for (uint64_t number = last; number >= first && number + kSegmentsSearched > last; --number) {
    const std::optional<repo::WalSegmentInfo> here = info_at(number);
    if (!here) continue;
    std::optional<Moment> found;
    for (const pg::WalEvent& event : read_events_of(*here, number)) {
      const std::optional<Time> time = checkpoint_time(event);
      if (time && !(path_.limit() && lsn_of(event) >= *path_.limit()))
        found = Moment{.lsn = lsn_of(event), .time = *time};
    }
    if (found || number == 0) return found;
  }
  return std::nullopt;
}

std::optional<Survey::Between> Survey::time_of_beginning(pg::Lsn start) {
  const uint64_t number = pg::segment_of(start, archive_.segment_size());
  if (!path_.at(number)) return std::nullopt;
  for (const pg::WalEvent& event : read_events(number, number))
    if (const std::optional<Time> time = checkpoint_time(event); time && lsn_of(event) >= start)
      return Between{.earliest = *time,
                     .latest = std::holds_alternative<pg::Checkpoint>(event)
                                   ? *time + std::chrono::seconds(1) - Microseconds(1)
                                   : *time};
  return std::nullopt;
}

Survey::Behind Survey::look_behind(Moment stop, Time time, bool exclusive) {
  Behind behind;
  pg::Lsn last = stop.lsn;  // of the transactions that were passed
  const auto look_into = [&](const repo::WalSegmentInfo& here, uint64_t number) {
    bool is_any_meant = false;
    for (const pg::WalEvent& event : read_events_of(here, number)) {
      const auto* end = std::get_if<pg::TransactionEnd>(&event);
      if (end == nullptr || end->lsn <= last || (path_.limit() && end->lsn >= *path_.limit()))
        continue;
      if (!is_later(end->time, time, exclusive)) {
        behind.meant = *end;
        is_any_meant = true;
      }
      if (!behind.fall && end->time + kTimeToPlace < stop.time)
        behind.fall = {.from = last, .to = end->time};
      last = end->lsn;
    }
    return is_any_meant;
  };
  uint64_t number = pg::segment_of(stop.lsn, archive_.segment_size());
  uint64_t searched_to = number + kSegmentsSearched;
  for (; number <= searched_to; ++number) {
    const std::optional<repo::WalSegmentInfo> here = info_at(number);
    if (!here) break;
    if (here->commits.count == 0) continue;
    const bool may_hold_meant = !is_later(here->commits.lowest_time, time, exclusive);
    const bool may_fall = !behind.fall && here->commits.lowest_time + kTimeToPlace < stop.time;
    if (!may_hold_meant && !may_fall)
      last = std::max(last, here->commits.last_lsn);
    else if (look_into(*here, number))
      searched_to = number + kSegmentsSearched;
  }
  return behind;
}

std::optional<uint64_t> Survey::next_xid_before(pg::Lsn lsn, uint64_t first) const {
  for (uint64_t number = pg::segment_of(lsn, archive_.segment_size());
       number >= first && number > 0; --number) {
    const std::optional<repo::WalSegmentInfo> here = info_at(number);
    if (!here) continue;
    std::optional<uint64_t> next;
    for (const pg::WalEvent& event : read_events_of(*here, number))
      if (const auto* checkpoint = std::get_if<pg::Checkpoint>(&event);
          checkpoint != nullptr && checkpoint->lsn < lsn)
        next = checkpoint->next_xid;
    if (next) return next;
  }
  return std::nullopt;
}

Survey::FoundTransaction Survey::find_transaction(uint64_t full, uint64_t first, uint64_t last) {
  const uint32_t xid = pg::short_transaction_id(full);
  FoundTransaction result;
  std::optional<repo::WalSegmentInfo> here = info_at(last), before;
  for (uint64_t number = last; number >= first && number > 0; --number, here = std::move(before)) {
    before = number > first ? info_at(number - 1) : std::nullopt;
    if (!here) continue;
    if (before) count_moment_between(*before, *here, number);
    const repo::WalCommits& commits = here->commits;
    if (commits.count == 0 || xid < commits.lowest_xid || xid > commits.highest_xid) continue;
    std::optional<pg::TransactionEnd> found;
    for (const pg::WalEvent& event : read_events_of(*here, number)) {
      const auto* end = std::get_if<pg::TransactionEnd>(&event);
      if (end == nullptr || end->xid != xid || (path_.limit() && end->lsn >= *path_.limit()))
        continue;
      found = *end;
    }
    if (!found) continue;
    if (pg::has_epoch(full)) {
      const std::optional<uint64_t> next = next_xid_before(found->lsn, first);
      // Without a checkpoint nothing contradicts.
      if (const uint64_t its = next ? pg::full_transaction_id(xid, *next) : full; its != full) {
        if (!result.other) result.other = its;
        continue;
      }
    }
    result.end = found;
    return result;
  }
  return result;
}

std::vector<repo::WalRestorePoint> Survey::find_restore_points(const std::string& name,
                                                               uint64_t first, uint64_t last) {
  std::vector<repo::WalRestorePoint> found;
  std::optional<repo::WalSegmentInfo> before;
  for (uint64_t number = first; number <= last; ++number) {
    std::optional<repo::WalSegmentInfo> here = info_at(number);
    if (here && before) count_moment_between(*before, *here, number);
    if (here) {
      for (repo::WalRestorePoint& point : here->restore_points) {
        if (point.name == name && !(path_.limit() && point.lsn >= *path_.limit()))
          found.push_back(std::move(point));
      }
    }
    before = std::move(here);
  }
  return found;
}

std::optional<pg::Lsn> Survey::last_complete_record(const PathSegment& segment,
                                                    const repo::WalSegmentInfo& here) {
  if (!here.first_record.is_valid()) return std::nullopt;
  if (here.carried_out == 0) return here.last_record;
  if (here.first_record == here.last_record) return std::nullopt;
  pg::WalReader alone(archive_.segment_size());
  const std::optional<pg::Lsn> complete = scan(segment, alone).summary.last_complete_record_lsn;
  return complete && *complete >= here.first_record ? complete : std::nullopt;
}

std::optional<pg::Lsn> Survey::last_complete_record_before(uint64_t segment_number) {
  for (uint64_t number = segment_number; number-- > 0;) {
    const std::optional<PathSegment> segment = path_.at(number);
    if (!segment) return std::nullopt;
    const repo::WalSegmentInfo here = info(*segment);
    if (repo::is_unread(here)) return std::nullopt;
    if (std::optional<pg::Lsn> complete = last_complete_record(*segment, here)) return complete;
  }
  return std::nullopt;
}

}  // namespace holdfast::recovery
