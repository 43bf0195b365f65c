// How a plan is made: the timeline (sources.h), then the backup, then the place where the target
// lies in the WAL. The kinds of target differ in which backups serve and in how the place is found,
// so each has a function; what they share is in Planner.
#include "recovery/plan.h"

#include <algorithm>
#include <functional>

#include <fmt/core.h>

#include "base/error.h"
#include "recovery/sources.h"

namespace holdfast::recovery {
namespace {

using pg::to_string;

std::string quoted_time(Time time) { return fmt::format("\"{}\"", to_postgres(time)); }

class Planner {
 public:
  Planner(const Sources& sources, const Target& target)
      : sources_(sources), archive_(sources.archive()), target_(target) {}

  Plan make();

 private:
  // --- by the kind of target
  void plan_latest(Plan& plan);
  void plan_time(Plan& plan);
  void plan_lsn(Plan& plan);
  void plan_xid(Plan& plan);
  void plan_name(Plan& plan);
  void plan_immediate(Plan& plan);
  void plan_record(Plan& plan, Way way, pg::Lsn record, pg::Lsn replayed_to);

  // --- the plan's parts
  void take(Plan& plan, const Way& way, const Reach& reach) const;
  void take_to_the_end(Plan& plan, const Way& way);
  void find_abandoned(Plan& plan);
  void require_backup_wal(const Way& way, const Reach& reach) const;
  [[noreturn]] void throw_hole(const Way& way, pg::SegmentName missing) const;
  [[noreturn]] void throw_unreachable(std::string message, std::string detail,
                                      std::string hint) const;
  std::string where_else(const std::function<bool(Survey&, uint64_t first, uint64_t last)>& has);
  uint64_t segment_of(pg::Lsn lsn) const { return sources_.segment_of(lsn); }

  const Sources& sources_;
  const repo::WalArchive& archive_;
  const Target& target_;
};

// --- the target ---------------------------------------------------------------------------------

void check_target(const Target& target) {
  const bool has_sides = target.kind == TargetKind::kTime || target.kind == TargetKind::kLsn ||
                         target.kind == TargetKind::kXid;
  if (target.exclusive && !has_sides) {
    throw Error(
        {.code = ErrorCode::kUsage,
         .message = "an exclusive target must be a time, an LSN or a transaction",
         .detail = fmt::format("The target is {}.", to_string(target)),
         .hint = "Leave out --exclusive, or name the target by --to, --to-lsn or --to-xid."});
  }
}

// --- refusals -----------------------------------------------------------------------------------

void Planner::throw_unreachable(std::string message, std::string detail, std::string hint) const {
  throw Error({.code = ErrorCode::kTargetUnreachable,
               .message = std::move(message),
               .detail = std::move(detail),
               .hint = std::move(hint)});
}

void Planner::throw_hole(const Way& way, pg::SegmentName missing) const {
  const pg::WalSegmentSize size = archive_.segment_size();
  const std::string name = pg::segment_file_name(missing, size);
  const std::optional<uint64_t> last = way.path->last();
  Error::Parts parts{.code = ErrorCode::kCorrupt,
                     .message = fmt::format("WAL segment \"{}\" is not in the archive", name)};
  if (last && *last > missing.segment_number) {
    parts.detail = fmt::format(
        "Later segments are, up to \"{}\": recovery from backup {} would end before it and lose "
        "what comes after.",
        pg::segment_file_name(way.path->at(*last)->name, size), way.backup.id);
  } else {
    parts.detail =
        fmt::format("Backup {} needs WAL up to {}.", way.backup.id, to_string(way.backup.stop_lsn));
  }
  parts.hint =
      "Archive it with holdfast wal push if the old server or another archive still has it.";
  const std::optional<pg::Lsn> before =
      Survey(archive_, *way.path).last_complete_record_before(missing.segment_number);
  if (before && *before >= way.backup.stop_lsn)
    parts.hint +=
        fmt::format(" Up to the hole recovery is possible: --to-lsn {}.", to_string(*before));
  throw Error(std::move(parts));
}

// Without all WAL up to its end a backup is worth nothing, whatever the target.
void Planner::require_backup_wal(const Way& way, const Reach& reach) const {
  const uint64_t last = pg::last_segment_before_end(way.backup.stop_lsn, archive_.segment_size());
  const std::optional<pg::SegmentName> hole = way.path->first_hole(way.first);
  if (hole && hole->segment_number <= last) throw_hole(way, *hole);
  if (reach.segments == 0)
    throw_hole(way, {.timeline = way.backup.start_timeline, .segment_number = way.first});
  if (way.path->last() < last)
    throw_hole(way, {.timeline = way.path->timeline(), .segment_number = *way.path->last() + 1});
}

// What another timeline has, for the hint of a refusal: " Timeline 1 has it: add --timeline 1."
std::string Planner::where_else(
    const std::function<bool(Survey&, uint64_t first, uint64_t last)>& has) {
  const std::optional<pg::TimelineId> timeline = sources_.find_elsewhere(has);
  return timeline ? fmt::format(" Timeline {0} has it: add --timeline {0}.", to_string(*timeline))
                  : std::string();
}

// --- parts of a plan ----------------------------------------------------------------------------

void Planner::take(Plan& plan, const Way& way, const Reach& reach) const {
  plan.backup = way.backup;
  plan.timeline = way.path->timeline();
  for (WalRange run : way.path->runs()) {
    if (run.first > reach.last_segment) break;
    run.last = std::min(run.last, reach.last_segment);
    plan.ranges.push_back(run);
    archive_.for_each_segment(run.timeline, run.first, [&](uint64_t number, uint64_t bytes) {
      if (number > run.last) return false;
      plan.stored_wal_bytes += bytes;
      return true;
    });
  }
  if (const auto& tail = way.path->tail();
      tail && tail->name.segment_number <= reach.last_segment) {
    plan.tail = WalTail{.segment = tail->name,
                        .partial = *tail->partial,
                        .info = Survey(archive_, *way.path).info(*tail)};
    archive_.for_each_entry(tail->name.timeline, tail->name.segment_number,
                            [&](const repo::WalArchive::Entry& entry) {
                              if (entry.file.segment.segment_number > tail->name.segment_number)
                                return false;
                              if (entry.partial == tail->partial)
                                plan.stored_wal_bytes += entry.stored_bytes;
                              return true;
                            });
    plan.notes.push_back(fmt::format("the last WAL, up to {}, comes from an unfinished segment",
                                     to_string(plan.tail->info.last_record_end)));
  }
  plan.segments = reach.segments;
  plan.end_lsn = reach.end_lsn;
  plan.last_commit = reach.last_commit;
  plan.tablespaces_created = reach.tablespaces;
  plan.floors = way.backup.floors;
  auto raise = [](int64_t& floor, int64_t by) { floor = std::max(floor, by); };
  raise(plan.floors.max_connections, reach.floors.max_connections);
  raise(plan.floors.max_worker_processes, reach.floors.max_worker_processes);
  raise(plan.floors.max_wal_senders, reach.floors.max_wal_senders);
  raise(plan.floors.max_prepared_transactions, reach.floors.max_prepared_transactions);
  raise(plan.floors.max_locks_per_transaction, reach.floors.max_locks_per_transaction);
}

// The end of what belongs to the timeline: of the archived WAL, or its fork where only the parent
// has WAL.
void Planner::take_to_the_end(Plan& plan, const Way& way) {
  Survey survey(archive_, *way.path);
  if (const std::optional<pg::Lsn> limit = way.path->limit()) {
    plan.notes.push_back(fmt::format(
        "timeline {} has no WAL of its own yet: recovery ends where it was forked off timeline {}, "
        "at {}",
        to_string(sources_.history().timeline()), to_string(way.path->timeline()),
        to_string(*limit)));
    Reach reach = survey.to_lsn(way.first, *limit);
    if (reach.found) {
      require_backup_wal(way, reach);
      plan.target.kind = TargetKind::kLsn;
      plan.target.lsn = *limit;
      plan.target.exclusive = true;
      take(plan, way, reach);
      return;
    }
  }
  Reach reach = survey.to_the_end(way.first);
  require_backup_wal(way, reach);
  if (reach.hole) throw_hole(way, *reach.hole);
  plan.target.kind = TargetKind::kLatest;
  plan.target.exclusive = false;
  plan.last_record = survey.last_complete_record_before(reach.last_segment + 1);
  take(plan, way, reach);
}

// Every other timeline whose own WAL goes on behind the fork, with the time of its last commit.
void Planner::find_abandoned(Plan& plan) {
  for (const pg::TimelineHistory& history : sources_.histories()) {
    const std::optional<pg::Lsn> fork = fork_of(history, sources_.history());
    const std::optional<uint64_t> last = archive_.last_segment(history.timeline());
    if (!fork || !last) continue;
    for (uint64_t number = *last; number >= std::max(segment_of(*fork), uint64_t{1}); --number) {
      std::optional<repo::WalSegmentInfo> info = archive_.segment_info(
          {.kind = pg::WalFileKind::kSegment,
           .segment = {.timeline = history.timeline(), .segment_number = number}});
      if (!info) break;
      if (info->commits.count == 0) continue;
      if (info->commits.last_lsn >= *fork)
        plan.abandoned.push_back({.timeline = history.timeline(),
                                  .forked_at = *fork,
                                  .last_commit = info->commits.last_time});
      break;
    }
  }
  for (const AbandonedBranch& branch : plan.abandoned) {
    plan.notes.push_back(fmt::format(
        "timeline {0} left this path at {1} and is not followed; its last commit is of {2} "
        "(--timeline {0})",
        to_string(branch.timeline), to_string(branch.forked_at), to_local(*branch.last_commit)));
  }
}

// --- by the kind of target ----------------------------------------------------------------------

void Planner::plan_latest(Plan& plan) {
  std::optional<repo::Backup> backup =
      sources_.newest_backup([](const repo::Backup&) { return true; });
  plan.why_this_backup = target_.backup.empty()
                             ? "It is the newest: the least WAL is to be replayed."
                             : "It was named.";
  take_to_the_end(plan, sources_.way_from(std::move(*backup)));
}

void Planner::plan_immediate(Plan& plan) {
  std::optional<repo::Backup> backup =
      sources_.newest_backup([](const repo::Backup&) { return true; });
  plan.why_this_backup = target_.backup.empty() ? "It is the newest." : "It was named.";
  const Way way = sources_.way_from(std::move(*backup));
  const Reach reach = Survey(archive_, *way.path).to_backup_end(way.first, way.backup.stop_lsn);
  require_backup_wal(way, reach);
  take(plan, way, reach);
  plan.end_lsn = way.backup.stop_lsn;
}

void Planner::plan_time(Plan& plan) {
  // A commit that is later than the target and lies before the backup's end makes the server
  // refuse: then an older backup is needed. That happens only where the server's clock was set
  // back.
  Time before = Time::max();
  for (;;) {
    std::optional<repo::Backup> backup = sources_.newest_backup([&](const repo::Backup& b) {
      return (target_.exclusive ? b.stop_time < target_.time : b.stop_time <= target_.time) &&
             b.stop_time < before;
    });
    if (!backup) break;
    before = backup->stop_time;
    const Way way = sources_.way_from(std::move(*backup));
    Survey survey(archive_, *way.path);
    const Reach reach = survey.to_time(way.first, target_.time, target_.exclusive);
    require_backup_wal(way, reach);
    if (reach.found && reach.stop_lsn < way.backup.stop_lsn) {
      plan.notes.push_back(
          fmt::format("backup {} cannot be used: while it was taken a transaction ended that is "
                      "later than the target",
                      way.backup.id));
      continue;
    }
    if (reach.hole) throw_hole(way, *reach.hole);
    plan.why_this_backup =
        target_.backup.empty()
            ? fmt::format("It is the newest that ended before the target, at {}.",
                          to_local(way.backup.stop_time))
            : "It was named.";
    if (reach.found) return take(plan, way, reach);
    plan.ran_to_the_end = true;
    plan.notes.push_back(fmt::format(
        "no transaction after {} is archived: recovery goes to the end of the archived WAL",
        to_local(target_.time)));
    return take_to_the_end(plan, way);
  }
  std::optional<repo::Backup> oldest = sources_.oldest_backup();
  throw_unreachable(
      fmt::format("the target is before the end of {} backup",
                  target_.backup.empty() ? "the oldest" : "the named"),
      fmt::format("The target is {}; backup {} ended at {}, and a backup can only be recovered to "
                  "a time after its end.",
                  to_local(target_.time), oldest->id, to_local(oldest->stop_time)),
      fmt::format(
          "The earliest time that can be reached is --to {}.{}", quoted_time(oldest->stop_time),
          target_.backup.empty() ? "" : " Leave out --backup to have an older backup chosen."));
}

void Planner::plan_lsn(Plan& plan) {
  std::optional<repo::Backup> backup =
      sources_.newest_backup([&](const repo::Backup& b) { return b.stop_lsn <= target_.lsn; });
  if (!backup) {
    std::optional<repo::Backup> oldest = sources_.oldest_backup();
    throw_unreachable(
        fmt::format("the target is before the end of {} backup",
                    target_.backup.empty() ? "the oldest" : "the named"),
        fmt::format("The target is {}; backup {} ended at {}, and a backup can only be recovered "
                    "to a place behind its end.",
                    to_string(target_.lsn), oldest->id, to_string(oldest->stop_lsn)),
        fmt::format(
            "The earliest place that can be reached is --to-lsn {}.{}", to_string(oldest->stop_lsn),
            target_.backup.empty() ? "" : " Leave out --backup to have an older backup chosen."));
  }
  plan.why_this_backup = target_.backup.empty()
                             ? fmt::format("It is the newest that ended before the target, at {}.",
                                           to_string(backup->stop_lsn))
                             : "It was named.";
  const Way way = sources_.way_from(std::move(*backup));
  Survey survey(archive_, *way.path);
  const std::optional<pg::Lsn> limit = way.path->limit();
  if (!limit || target_.lsn < *limit) {
    const Reach reach = survey.to_lsn(way.first, target_.lsn);
    require_backup_wal(way, reach);
    if (reach.found) return take(plan, way, reach);
    if (reach.hole) throw_hole(way, *reach.hole);
    if (target_.lsn <= reach.end_lsn) {
      plan.ran_to_the_end = true;
      plan.notes.push_back(fmt::format(
          "no record starts at or behind {}: recovery goes to the end of the archived WAL",
          to_string(target_.lsn)));
      return take_to_the_end(plan, way);
    }
    const pg::Lsn target = target_.lsn;
    throw_unreachable(
        fmt::format("WAL location {} is not archived", to_string(target)),
        fmt::format("The archived WAL of timeline {} ends at {}.", to_string(way.path->timeline()),
                    to_string(reach.end_lsn)),
        fmt::format("The farthest that can be reached is --to-lsn {}, which is --to-latest.{}",
                    to_string(reach.end_lsn),
                    where_else([&](Survey& other, uint64_t first, uint64_t) {
                      return other.to_lsn(first, target).found;
                    })));
  }
  if (target_.lsn == *limit) {
    plan.ran_to_the_end = true;
    return take_to_the_end(plan, way);
  }
  throw_unreachable(
      fmt::format("WAL location {} is not on timeline {}", to_string(target_.lsn),
                  to_string(sources_.history().timeline())),
      fmt::format("Timeline {} was forked off timeline {} at {} and has no WAL of its own yet.",
                  to_string(sources_.history().timeline()), to_string(way.path->timeline()),
                  to_string(*limit)),
      fmt::format("The farthest that can be reached is --to-lsn {}. Timeline {} goes on: add "
                  "--timeline {}.",
                  to_string(*limit), to_string(way.path->timeline()),
                  to_string(way.path->timeline())));
}

// The target's record is known: the way there must be whole.
void Planner::plan_record(Plan& plan, Way way, pg::Lsn record, pg::Lsn replayed_to) {
  const Reach reach = Survey(archive_, *way.path).to_lsn(way.first, record);
  require_backup_wal(way, reach);
  if (!reach.found)
    throw_hole(way, reach.hole.value_or(pg::SegmentName{.timeline = way.path->timeline(),
                                                        .segment_number = segment_of(record)}));
  plan.why_this_backup =
      target_.backup.empty()
          ? fmt::format("It is the newest that ended before the target, which lies at {}.",
                        to_string(record))
          : "It was named.";
  take(plan, way, reach);
  plan.end_lsn = replayed_to;
}

// Looks from the newest backup to the older ones, in the WAL that lies behind each: a number that
// was used again after a wraparound means the newest transaction.
void Planner::plan_xid(Plan& plan) {
  std::optional<pg::TransactionEnd> found;
  uint64_t searched_from = UINT64_MAX;  // what lies behind is known not to hold it
  std::optional<repo::Backup> oldest;
  std::optional<pg::Lsn> end;
  bool planned = false;
  sources_.for_each_backup([&](const repo::Backup& backup) {
    oldest = backup;
    Way way = sources_.way_from(backup);
    if (!found && way.path->last()) {
      Survey survey(archive_, *way.path);
      if (!end) end = survey.info(*way.path->at(*way.path->last())).last_record_end;
      found = survey.find_transaction(target_.xid, way.first,
                                      std::min(*way.path->last(), searched_from));
      searched_from = way.first;
    }
    if (!found || found->lsn < backup.stop_lsn) return true;
    plan_record(plan, std::move(way), found->lsn, target_.exclusive ? found->lsn : found->end_lsn);
    if (!target_.exclusive && found->committed) plan.last_commit = found->time;
    planned = true;
    return false;
  });
  if (planned) return;
  if (found) {
    throw_unreachable(fmt::format("transaction {} ended before the end of {} backup", target_.xid,
                                  target_.backup.empty() ? "the oldest" : "the named"),
                      fmt::format("It ended at {}; backup {} ended at {}.", to_string(found->lsn),
                                  oldest->id, to_string(oldest->stop_lsn)),
                      fmt::format("The earliest place that can be reached is --to-lsn {}.",
                                  to_string(oldest->stop_lsn)));
  }
  throw_unreachable(
      fmt::format("transaction {} has no end in the archived WAL", target_.xid),
      fmt::format("Neither a commit nor an abort of it was found on timeline {} between {} and {}. "
                  "Transactions that only read have none.",
                  to_string(sources_.history().timeline()), to_string(oldest->start_lsn),
                  to_string(end.value_or(oldest->start_lsn))),
      fmt::format("Check the number; subtransactions cannot be targets. The farthest that can be "
                  "reached is --to-latest.{}",
                  where_else([&](Survey& other, uint64_t first, uint64_t last) {
                    return other.find_transaction(target_.xid, first, last).has_value();
                  })));
}

void Planner::plan_name(Plan& plan) {
  std::optional<repo::WalRestorePoint> newest;
  std::optional<repo::Backup> oldest;
  uint64_t searched_from = UINT64_MAX;
  bool planned = false;
  sources_.for_each_backup([&](const repo::Backup& backup) {
    oldest = backup;
    Way way = sources_.way_from(backup);
    if (!way.path->last()) return true;
    Survey survey(archive_, *way.path);
    if (!newest) {
      const std::vector<repo::WalRestorePoint> points = survey.find_restore_points(
          target_.name, way.first, std::min(*way.path->last(), searched_from));
      searched_from = way.first;
      if (!points.empty()) newest = points.back();
    }
    if (!newest || newest->lsn < backup.stop_lsn) return true;
    // The server stops at the first of that name behind the backup's start.
    const std::vector<repo::WalRestorePoint> seen =
        survey.find_restore_points(target_.name, way.first, segment_of(newest->lsn));
    const auto passed = std::ranges::count_if(seen, [&](const repo::WalRestorePoint& point) {
      return point.lsn >= backup.start_lsn && point.lsn < newest->lsn;
    });
    plan_record(plan, std::move(way), newest->lsn, newest->lsn);
    if (passed > 0) {
      plan.target.kind = TargetKind::kLsn;
      plan.target.lsn = newest->lsn;
      plan.notes.push_back(
          fmt::format("{} restore points are named \"{}\"; the newest is meant, of {}, at {}",
                      passed + 1, target_.name, to_local(newest->time), to_string(newest->lsn)));
    }
    planned = true;
    return false;
  });
  if (planned) return;
  if (newest) {
    throw_unreachable(
        fmt::format("restore point \"{}\" lies before the end of {} backup", target_.name,
                    target_.backup.empty() ? "the oldest" : "the named"),
        fmt::format("It lies at {}; backup {} ended at {}.", to_string(newest->lsn), oldest->id,
                    to_string(oldest->stop_lsn)),
        fmt::format("The earliest place that can be reached is --to-lsn {}.",
                    to_string(oldest->stop_lsn)));
  }
  throw_unreachable(
      fmt::format("there is no restore point \"{}\" in the archived WAL", target_.name),
      fmt::format("Searched timeline {} from {} on.", to_string(sources_.history().timeline()),
                  to_string(oldest->start_lsn)),
      fmt::format("Check the spelling; upper and lower case differ. The farthest that can be "
                  "reached is --to-latest.{}",
                  where_else([&](Survey& other, uint64_t first, uint64_t last) {
                    return !other.find_restore_points(target_.name, first, last).empty();
                  })));
}

Plan Planner::make() {
  Plan plan;
  plan.target = target_;
  switch (target_.kind) {
    case TargetKind::kLatest:
      plan_latest(plan);
      break;
    case TargetKind::kTime:
      plan_time(plan);
      break;
    case TargetKind::kLsn:
      plan_lsn(plan);
      break;
    case TargetKind::kXid:
      plan_xid(plan);
      break;
    case TargetKind::kName:
      plan_name(plan);
      break;
    case TargetKind::kImmediate:
      plan_immediate(plan);
      break;
  }
  find_abandoned(plan);
  plan.notes.insert(plan.notes.begin(), sources_.notes().begin(), sources_.notes().end());
  return plan;
}

}  // namespace

Plan make_plan(const repo::Repository& repository, const repo::Lineage& lineage,
               const Target& target) {
  check_target(target);
  const Sources sources(repository, lineage, target);
  return Planner(sources, target).make();
}

}  // namespace holdfast::recovery
