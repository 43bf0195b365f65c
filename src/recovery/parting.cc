#include "recovery/parting.h"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include <fmt/core.h>
#include <fmt/ranges.h>

#include "base/error.h"
#include "repo/wal_conflict.h"

namespace holdfast::recovery {

using pg::to_string;

namespace {

// How far back from the end of an abandoned timeline a commit is looked for.
constexpr uint64_t kSegmentsOfBranch = 64;

// The latest that the plan brings back.
Time reached_by(const Plan& plan) {
  return std::max(plan.backup.stop_time, plan.last_commit.value_or(Time::min()));
}

// Which backup was named decides, where it leads to one of two alone: those that part at `fork`.
bool is_told_by_backup(const Target& target, const Plan& plan, pg::Lsn fork) {
  return !target.backup.empty() && target.backup != "latest" && plan.backup.stop_lsn > fork;
}

pg::WalFileName history_file(pg::TimelineId timeline) {
  return {.kind = pg::WalFileKind::kHistory, .segment = {.timeline = timeline}};
}

}  // namespace

// While anything of it is served its number is taken, and without its history no recovery could be
// promoted: its WAL goes first.
std::string never_again(const repo::WalArchive& archive, pg::TimelineId timeline) {
  if (timeline.value == 1) return {};
  std::vector<std::string> commands;
  if (const std::optional<uint64_t> first = archive.first_segment(timeline))
    commands.push_back(
        fmt::format("holdfast wal set-aside {} --onward",
                    pg::segment_file_name({.timeline = timeline, .segment_number = *first},
                                          archive.segment_size())));
  const std::vector<pg::TimelineId> with_history = archive.history_timelines();
  if (std::ranges::find(with_history, timeline) != with_history.end())
    commands.push_back(fmt::format("holdfast wal set-aside {}", pg::history_file_name(timeline)));
  return fmt::format(
      "Timeline {} is never followed again, if it was a test's or a copy's and no server of the "
      "cluster went on on it, after: {}",
      to_string(timeline), fmt::join(commands, " && "));
}

// --- what is shared -----------------------------------------------------------------------------

const pg::TimelineHistory* Parting::history_of(pg::TimelineId timeline) const {
  const auto found =
      std::ranges::find(sources_.histories(), timeline, &pg::TimelineHistory::timeline);
  return found == sources_.histories().end() ? nullptr : &*found;
}

Target Parting::along(pg::TimelineId timeline) const {
  Target target = target_;
  target.timeline = timeline;
  return target;
}

std::string Parting::to_go_along(pg::TimelineId timeline) const {
  return fmt::format("To go along timeline {}: {}", to_string(timeline),
                     command_for(along(timeline)));
}

// Up to where they part both have the same; but nobody who goes to the end means an end before what
// the other one has.
bool Parting::makes_no_difference(std::optional<pg::Lsn> fork) const {
  return fork && ((!goes_to_the_end() && plan_.end_lsn <= *fork) ||
                  is_told_by_backup(target_, plan_, *fork));
}

// The timeline on which the path to the chosen one goes on behind that place. One that was left
// again before it began has nothing on the way.
std::optional<pg::TimelineId> Parting::first_behind(pg::Lsn fork) const {
  std::vector<pg::TimelineId> timelines;
  for (const pg::TimelineHistoryEntry& entry : chosen_.ancestors())
    timelines.push_back(entry.timeline);
  timelines.push_back(chosen_.timeline());
  for (const pg::TimelineId timeline : timelines) {
    const pg::Lsn start = chosen_.start_of(timeline).value_or(pg::Lsn{});
    if (start.is_valid() && start >= fork && chosen_.timeline_at(start) == timeline)
      return timeline;
  }
  return std::nullopt;
}

// --- what the plan leaves -----------------------------------------------------------------------

void Parting::find_abandoned() {
  for (const pg::TimelineHistory& history : sources_.histories()) {
    const std::optional<pg::Lsn> fork = fork_of(history, chosen_);
    if (!fork) continue;
    // Nobody needs it for this recovery.
    if (const std::optional<Error> damage = damage_of([&] {
          is_led_by_time() ? look_at_branch(history, *fork) : look_at_end_of_branch(history, *fork);
        }))
      plan_.warnings.push_back(fmt::format("what timeline {} holds cannot be told: {}",
                                           to_string(history.timeline()), damage->message()));
  }
  for (const AbandonedBranch& branch : plan_.abandoned) {
    plan_.notes.push_back(fmt::format(
        "timeline {0} left this path at {1} and is not followed; its last commit is of {2} "
        "(--timeline {0})",
        to_string(branch.timeline), to_string(branch.forked_at), to_local(*branch.last_commit)));
  }
}

void Parting::add_branch(pg::TimelineId timeline, pg::Lsn fork, Time last,
                         std::optional<Time> meant) {
  plan_.abandoned.push_back(
      {.timeline = timeline, .forked_at = fork, .last_commit = last, .last_commit_meant = meant});
}

// A damaged segment hides what is in it, not the commits that lie before it.
void Parting::look_at_branch(const pg::TimelineHistory& history, pg::Lsn fork) {
  const uint64_t first = std::max(sources_.segment_of(fork), uint64_t{1});
  const WalPath path(archive_, history, first);
  if (!path.last() || path.timeline() != history.timeline()) return;
  Survey survey(archive_, path);
  std::optional<Error> damage;
  for (uint64_t number = *path.last(); number >= first; --number) {
    const std::optional<PathSegment> segment = path.at(number);
    if (!segment) break;
    repo::WalSegmentInfo info;
    if (std::optional<Error> here = damage_of([&] { info = survey.info(*segment); })) {
      if (!damage) damage = std::move(here);
      continue;
    }
    if (info.commits.count == 0) continue;
    if (info.commits.last_lsn < fork) break;
    const Time last = info.commits.last_time;
    std::optional<Time> meant = last;
    if (target_.kind == TargetKind::kTime) {
      meant = std::min(last, target_.time);  // where damage keeps it from being told, it may be
      const Reach reach = survey.to_time(first, target_.time, target_.exclusive);
      if (!reach.broken || !reach.broken->damage)
        meant = reach.last_commit;
      else if (!damage)
        damage = reach.broken->damage;
    }
    add_branch(history.timeline(), fork, last, meant);
    break;
  }
  if (damage) throw Error(*damage);
}

// For a place it is named alone: what lies between its parting and its end is not read.
void Parting::look_at_end_of_branch(const pg::TimelineHistory& history, pg::Lsn fork) {
  const std::optional<uint64_t> last = archive_.last_segment(history.timeline());
  for (uint64_t back = 0; last && back < std::min(kSegmentsOfBranch, *last); ++back) {
    const std::optional<repo::WalSegmentInfo> info = archive_.segment_info(
        {.kind = pg::WalFileKind::kSegment,
         .segment = {.timeline = history.timeline(), .segment_number = *last - back}});
    if (!info || info->readable_end <= fork) return;
    if (info->commits.count == 0) continue;
    if (info->commits.last_lsn >= fork)
      add_branch(history.timeline(), fork, info->commits.last_time, info->commits.last_time);
    return;
  }
}

// --- the question -------------------------------------------------------------------------------

void Parting::ask() {
  if (target_.timeline) return;
  if (target_.cluster) ask_cluster(*target_.cluster);
  // Where the cluster is on the one that is followed, its end, and its newest backup's, are plain.
  const bool is_end = target_.kind == TargetKind::kLatest || target_.kind == TargetKind::kImmediate;
  if (is_end && target_.cluster && target_.cluster->timeline == chosen_.timeline()) return;
  ask_untold();
  ask_newest_backup();
  const bool is_place = !is_led_by_time();
  if (is_place && target_.kind != TargetKind::kImmediate) ask_place();
  for (const AbandonedBranch& branch : std::vector(plan_.abandoned)) {
    if (!branch.last_commit_meant) continue;
    if (is_place && plan_.end_lsn <= branch.forked_at) continue;
    const bool is_earlier = is_place || *branch.last_commit_meant <= reached_by(plan_);
    // Two that lived side by side are two clusters, whichever was written to last.
    if (is_earlier && took_over_from(branch, false).value_or(false)) continue;
    if (target_.kind == TargetKind::kTime && !plan_.ran_to_the_end &&
        took_over_from(branch, true) == true)
      continue;
    ask_branch(branch);
  }
}

// --- the cluster's own server

// Two servers may have taken one number: what is archived under it is then not the cluster's.
void Parting::require_its_history(const ClusterEnd& cluster) const {
  if (!cluster.history || cluster.timeline.value == 1) return;
  const std::string name = pg::history_file_name(cluster.timeline);
  std::optional<Bytes> archived;
  unreadable_of([&] { archived = archive_.read_file(history_file(cluster.timeline)); });
  if (!archived || *archived == *cluster.history) return;
  throw_unreachable(
      fmt::format("timeline {} of {} is not the archive's", to_string(cluster.timeline),
                  cluster.whose),
      fmt::format("Its \"{}\" is another than the archived one: two servers took that number, and "
                  "nothing that this one wrote since is archived.",
                  name),
      lines({std::string(repo::kTakenTimelineHint),
             fmt::format("To go along timeline {} as it is archived: {}",
                         to_string(chosen_.timeline()), command_for(along(chosen_.timeline())))}));
}

void Parting::ask_cluster(const ClusterEnd& cluster) {
  require_its_history(cluster);
  if (cluster.timeline == chosen_.timeline()) return;
  const pg::TimelineHistory* own = history_of(cluster.timeline);
  if (own == nullptr) return ask_cluster_without_history(cluster);
  const std::optional<pg::Lsn> fork = fork_of(*own, chosen_);
  if (!fork || makes_no_difference(fork)) return;
  // A server that goes on before the parting is on a line of its own: nobody leaves a timeline
  // ahead of the one that writes it.
  if (cluster.end <= *fork && !cluster.goes_on) return;
  throw_unreachable(
      fmt::format("{} is on timeline {}, and timeline {} would be followed", cluster.whose,
                  to_string(cluster.timeline), to_string(chosen_.timeline())),
      fmt::format("They part at {}, and it has written up to {}{}: what it committed behind that "
                  "place would be left out.",
                  to_string(*fork), to_string(cluster.end), cluster.goes_on ? " at least" : ""),
      lines({to_go_along(cluster.timeline), to_go_along(chosen_.timeline()),
             never_again(archive_, chosen_.timeline())}));
}

// The archive does not tell where the cluster's timeline parts from the others; the server may.
void Parting::ask_cluster_without_history(const ClusterEnd& cluster) {
  const std::string name = pg::history_file_name(cluster.timeline);
  const std::vector<repo::WalArchive::Content> contents =
      archive_.contents(history_file(cluster.timeline));
  if (!contents.empty() || archive_.first_segment(cluster.timeline)) {
    const bool is_aside = !contents.empty() && contents.back().aside.has_value();
    throw_unreachable(
        fmt::format("{} is on timeline {}, whose history cannot be read", cluster.whose,
                    to_string(cluster.timeline)),
        fmt::format("\"{}\" {}: what that server committed would be left out.", name,
                    is_aside           ? "was set aside"
                    : contents.empty() ? "is not in the archive, and WAL of the timeline is"
                                       : "is damaged"),
        lines({is_aside ? fmt::format("To serve it again: holdfast wal set-aside {} --off", name)
                        : fmt::format("Archive it again from the server's pg_wal: holdfast wal "
                                      "push {}",
                                      name),
               to_go_along(chosen_.timeline())}));
  }
  // A run saves it first, and asks then.
  if (cluster.is_saved_first) return;
  std::optional<pg::Lsn> fork;
  if (cluster.history)
    damage_of([&] {
      fork =
          fork_of(pg::parse_timeline_history(cluster.timeline, as_text(*cluster.history)), chosen_);
    });
  const std::string nothing = fmt::format("{} is on timeline {}, of which nothing is archived",
                                          cluster.whose, to_string(cluster.timeline));
  if (fork && !makes_no_difference(fork) && plan_.end_lsn > *fork)
    throw_unreachable(
        nothing,
        fmt::format("It left timeline {}, which would be followed, at {}, and what is archived of "
                    "that goes on up to {}: another server wrote it.",
                    to_string(chosen_.timeline()), to_string(*fork), to_string(plan_.end_lsn)),
        lines({"Have the server archive what it wrote, or save its pg_wal when it is stopped: "
               "holdfast wal salvage",
               to_go_along(chosen_.timeline())}));
  if (fork && !goes_to_the_end() && plan_.end_lsn <= *fork) return;
  plan_.warnings.push_back(
      fmt::format("{}: what it committed{} is not recovered", nothing,
                  fork ? fmt::format(" behind {}", to_string(*fork)) : std::string()));
}

// --- later timelines of which nothing is known

void Parting::ask_untold() const {
  const auto later = std::ranges::find_if(sources_.untold(), [&](const Sources::Untold& untold) {
    return untold.timeline > plan_.timeline && archive_.first_segment(untold.timeline);
  });
  if (later == sources_.untold().end()) return;
  const std::string name = pg::history_file_name(later->timeline);
  throw_unreachable(
      fmt::format("timeline {} may have gone on, and its history {}", to_string(later->timeline),
                  later->is_damaged ? "cannot be read" : "is not in the archive"),
      fmt::format("\"{}\" is {}, and WAL of that timeline is archived: where it left timeline {}, "
                  "which would be followed, is not known.",
                  name, later->is_damaged ? "damaged" : "missing", to_string(chosen_.timeline())),
      lines({fmt::format("Archive it again from the pg_wal directory of a server: holdfast wal "
                         "push {}",
                         name),
             to_go_along(chosen_.timeline()), never_again(archive_, later->timeline)}));
}

// --- the newest backup

// It was made when the timeline that would be followed was there, and does not lead to it: somebody
// went on elsewhere, whatever was committed later here (by a drill, a test, a copy). A damaged one
// tells that as well.
void Parting::ask_newest_backup() const {
  const std::optional<repo::Backup> newest = sources_.newest_of_all();
  if (!newest || !newest->origin.empty() ||
      chosen_.is_ancestor(newest->stop_timeline, newest->stop_lsn))
    return;
  const pg::TimelineHistory* own = history_of(newest->stop_timeline);
  const std::optional<pg::Lsn> fork = own ? fork_of(*own, chosen_) : std::nullopt;
  if (makes_no_difference(fork)) return;
  // What is behind the parting began with the timeline that leaves there; what left that one later
  // says nothing. A time of modification is that of a copy of the repository.
  std::optional<repo::WalFileInfo> began;
  for (const std::optional<pg::TimelineId> timeline :
       std::array{first_behind(fork.value_or(pg::Lsn{})), std::optional(chosen_.timeline())})
    if (timeline && !began)
      unreadable_of([&] { began = archive_.file_info(history_file(*timeline)); });
  const Time committed = newest->committed.value_or(newest->finished);
  if (!began || committed <= began->pushed) return;
  throw_unreachable(
      fmt::format("the newest backup is of timeline {}, and timeline {} would be followed",
                  to_string(newest->stop_timeline), to_string(chosen_.timeline())),
      fmt::format("Backup {} was committed at {}, when \"{}\" was archived already, and does not "
                  "lead to timeline {}: a server went on on timeline {}, and what it committed "
                  "would be left behind.",
                  newest->id, to_local(committed), began->file_name, to_string(chosen_.timeline()),
                  to_string(newest->stop_timeline)),
      lines({to_go_along(newest->stop_timeline), to_go_along(chosen_.timeline()),
             never_again(archive_, chosen_.timeline())}));
}

// --- a place

// The timelines of one fork go on with the same locations and the same transaction numbers, and a
// name can be given on each: which of them is meant only the operator knows.
void Parting::ask_place() {
  for (const pg::TimelineHistory& history : sources_.histories()) {
    const std::optional<pg::Lsn> fork = fork_of(history, chosen_);
    if (!fork || plan_.end_lsn <= *fork || is_told_by_backup(target_, plan_, *fork)) continue;
    bool has_one = false;
    // Nobody needs it for this recovery.
    if (const std::optional<Error> damage = damage_of([&] { has_one = has_place(history, *fork); }))
      plan_.warnings.push_back(
          fmt::format("whether timeline {} has such a place cannot be told: "
                      "{}",
                      to_string(history.timeline()), damage->message()));
    if (!has_one) continue;
    throw_unreachable(
        fmt::format("timeline {} has such a place too: {}", to_string(history.timeline()),
                    to_string(target_)),
        fmt::format("Timeline {}, which would be followed, and timeline {} part at {}, and go on "
                    "with the same numbers.",
                    to_string(chosen_.timeline()), to_string(history.timeline()), to_string(*fork)),
        lines({to_go_along(chosen_.timeline()), to_go_along(history.timeline()),
               never_again(archive_, chosen_.timeline())}));
  }
}

bool Parting::has_place(const pg::TimelineHistory& history, pg::Lsn fork) const {
  if (target_.kind == TargetKind::kLsn) return target_.lsn > fork && has_location(history);
  const uint64_t first = std::max(sources_.segment_of(fork), uint64_t{1});
  const WalPath path(archive_, history, first);
  if (!path.last() || path.timeline() != history.timeline()) return false;
  Survey survey(archive_, path);
  if (target_.kind == TargetKind::kXid) {
    const std::optional<pg::TransactionEnd> end =
        survey.find_transaction(target_.xid, first, *path.last()).end;
    return end && end->lsn >= fork;
  }
  return std::ranges::any_of(survey.find_restore_points(target_.name, first, *path.last()),
                             [&](const repo::WalRestorePoint& point) { return point.lsn >= fork; });
}

// However much of it is archived, two segments at most are looked at.
bool Parting::has_location(const pg::TimelineHistory& history) const {
  const pg::SegmentName segment{.timeline = history.timeline(),
                                .segment_number = sources_.segment_of(target_.lsn)};
  if (archive_.last_segment(history.timeline()).value_or(0) > segment.segment_number) return true;
  const auto holds = [&](const std::optional<repo::WalSegmentInfo>& info) {
    return info && info->readable_end > target_.lsn;
  };
  if (holds(archive_.segment_info({.kind = pg::WalFileKind::kSegment, .segment = segment})))
    return true;
  return std::ranges::any_of(archive_.partials(segment), [&](const Bytes16& partial) {
    return holds(
        archive_.segment_info({.kind = pg::WalFileKind::kPartial, .segment = segment}, &partial));
  });
}

// --- commits of another timeline

// Whether the timeline that is followed from the parting on began when the branch had committed its
// last: then it is the one that went on. What was forked off that one later says nothing.
// `by_target`: had begun at the target's time, too. nullopt: when it began is not told.
std::optional<bool> Parting::took_over_from(const AbandonedBranch& branch, bool by_target) const {
  const std::optional<pg::TimelineId> timeline = first_behind(branch.forked_at);
  if (!timeline) return std::nullopt;
  const pg::Lsn start = *chosen_.start_of(*timeline);
  const uint64_t number = sources_.segment_of(start);
  std::optional<WalPath> path = WalPath::up_to(archive_, chosen_, number, number);
  if (!path) path.emplace(archive_, chosen_, number);  // it may be unfinished
  const auto began = Survey(archive_, *path).time_of_beginning(start);
  if (!began) return std::nullopt;
  const bool had_begun = !by_target || began->earliest <= target_.time;
  return had_begun && *branch.last_commit_meant <= began->latest;
}

void Parting::ask_branch(const AbandonedBranch& branch) {
  const std::string parting = fmt::format(
      "They part at {}. Up to the target the last commit on the way to timeline {} is {}, on "
      "timeline {} it is of {}",
      to_string(branch.forked_at), to_string(chosen_.timeline()),
      plan_.last_commit ? "of " + to_local(*plan_.last_commit) : "before the backup's end",
      to_string(branch.timeline), to_local(*branch.last_commit_meant));
  if (is_told_by_backup(target_, plan_, branch.forked_at)) {
    plan_.warnings.push_back(
        fmt::format("timeline {} has later commits than timeline {}, which is "
                    "followed. {}.",
                    to_string(branch.timeline), to_string(chosen_.timeline()), parting));
    return;
  }
  const bool is_later = *branch.last_commit_meant > reached_by(plan_);
  bool is_led_to = true;
  const std::string there = way_to(branch, is_led_to);
  throw_unreachable(
      fmt::format("timeline {} has {} commits {} timeline {}, which would be followed",
                  to_string(branch.timeline), is_later ? "later" : "other",
                  is_later ? "than" : "beside", to_string(chosen_.timeline())),
      fmt::format("{}: {}.", parting,
                  is_led_to ? "only one of them can be recovered"
                            : fmt::format("what is on timeline {} would be left behind, for no "
                                          "backup leads there",
                                          to_string(branch.timeline))),
      lines({to_go_along(chosen_.timeline()), there, never_again(archive_, chosen_.timeline()),
             never_behind(branch)}));
}

std::string Parting::way_to(const AbandonedBranch& branch, bool& is_led_to) const {
  Target there = along(branch.timeline);
  if (target_.backup == "latest") there.backup.clear();
  if (works_(there))
    return fmt::format("To go along timeline {}: {}", to_string(branch.timeline),
                       command_for(there));
  if (sources_.has_backup_for(branch.timeline))
    return fmt::format("What keeps timeline {} from being recovered, this tells: {}",
                       to_string(branch.timeline), command_for(there));
  is_led_to = false;
  if (const std::optional<std::string> deleted = sources_.deleted_backup_for(branch.timeline))
    return fmt::format(
        "A backup that leads to timeline {} was deleted. Until an expiry takes it, it can be had "
        "back: holdfast backup undelete {}",
        to_string(branch.timeline), *deleted);
  return fmt::format(
      "While the server of timeline {} runs, a backup of it makes that one recoverable: holdfast "
      "backup",
      to_string(branch.timeline));
}

// How what a branch has behind the parting is ended for good. The segment of the parting is the
// other's too, which has its own copy of it.
std::string Parting::never_behind(const AbandonedBranch& branch) const {
  if (chosen_.start_of(branch.timeline) == std::nullopt) return {};
  return fmt::format(
      "What timeline {} has behind that place is never asked about again, if no server goes on on "
      "it, after: holdfast wal set-aside {} --onward",
      to_string(branch.timeline),
      pg::segment_file_name(
          {.timeline = branch.timeline, .segment_number = sources_.segment_of(branch.forked_at)},
          archive_.segment_size()));
}

}  // namespace holdfast::recovery
