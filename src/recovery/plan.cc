// How a plan is made: the timeline (sources.h), then the backup, then the place where the target
// lies in the WAL. The kinds of target differ in which backups serve and in how the place is found,
// so each has a function; what they share is in Planner.
#include "recovery/plan.h"

#include <algorithm>
#include <functional>

#include <fmt/core.h>

#include "base/error.h"
#include "pg/transaction_id.h"
#include "pg/version.h"
#include "recovery/parting.h"
#include "recovery/removals.h"
#include "recovery/sources.h"
#include "repo/needed_wal.h"
#include "repo/wal_conflict.h"
#include "repo/wal_line.h"

namespace holdfast::recovery {
namespace {

using pg::to_string;

bool can_be_planned(const repo::Repository& repository, const repo::Lineage& lineage,
                    const Target& target, const AskServer& ask_server);

// A trial only asks whether there is a plan: its refusals name no way out.
enum class Purpose : uint8_t { kPlan, kTrial };

class Planner {
 public:
  Planner(const repo::Repository& repository, const repo::Lineage& lineage, const Target& target,
          const AskServer& ask_server, Purpose purpose)
      : repository_(repository),
        lineage_(lineage),
        sources_(repository, lineage, target),
        archive_(sources_.archive()),
        target_(target),
        ask_server_(ask_server),
        purpose_(purpose) {}

  Plan make();
  // The command to the last record before a segment that cannot be read; empty: there is none.
  std::string up_to_before(pg::SegmentName damaged) const;

 private:
  // --- by the kind of target
  void plan_latest(Plan& plan);
  void plan_time(Plan& plan);
  void plan_lsn(Plan& plan);
  void plan_xid(Plan& plan);
  void plan_name(Plan& plan);
  void plan_immediate(Plan& plan);
  void take_backup_end(Plan& plan, const repo::Backup& backup);
  void plan_record(Plan& plan, Way way, pg::Lsn record, pg::Lsn replayed_to);

  // --- the plan's parts
  void take(Plan& plan, const Way& way, const Reach& reach) const;
  void require_one_tail(Plan& plan, const WalPath& path) const;
  void take_to_the_end(Plan& plan, const Way& way);
  bool take_before_break(Plan& plan, const Way& way, const Reach& reach) const;
  std::optional<pg::Lsn> last_record_before_break(const Way& way, const Reach& reach) const;
  void take_up_to(Plan& plan, const Way& way, const Reach& reach, pg::Lsn last,
                  const std::string& and_why) const;
  void warn_of_clocks(Plan& plan, const Way& way, const Reach& reach,
                      const std::vector<repo::Backup>& later) const;
  void leave_out_beginning(Plan& plan) const;
  Plan without_half_removals(Plan plan) const;
  struct LastTimes {
    Time last, latest;
    bool prove(Time time) const { return last >= time || (latest >= time && !go_back()); }
    bool go_back() const { return last + kTimeToPlace < latest; }
  };
  LastTimes last_times(const Way& way, const Reach& reach) const;
  pg::Lsn archived_to(const Way& way) const;
  TimeAnswer ask_server(const Way& way, pg::Lsn archived_to, std::optional<Time> seen) const;
  TimeAnswer require_server_agrees(const Way& way, pg::Lsn archived_to, Time seen,
                                   const Target& as_archived) const;

  // --- refusals
  void require_backup_wal(const Way& way, const Reach& reach) const;
  void require_time_reached(Plan& plan, const Way& way, const Reach& reach) const;
  [[noreturn]] void throw_not_reached(std::string message, std::string detail,
                                      const Target& as_archived) const;
  void refuse_contradicted(const repo::Backup& backup, pg::Lsn end) const;
  void require_one_line(const Plan& plan) const;
  std::string up_to_the_hole(const Way& way, pg::SegmentName missing) const;
  [[noreturn]] void throw_hole(const Way& way, pg::SegmentName missing) const;
  [[noreturn]] void throw_broken(const Way& way, const Reach::Break& broken) const;
  [[noreturn]] void throw_earlier(const Reach::Break& broken, const std::string& up_to_here) const;
  [[noreturn]] void throw_parted(const std::vector<SegmentCopy>& copies) const;
  void require_no_rivals(const WalPath& path, bool to_its_end) const;
  [[noreturn]] void throw_minimal(const Way& way, const repo::WalSegmentInfo& segment) const;
  [[noreturn]] void throw_before_backups(std::string message, std::string detail,
                                         const Target& earliest) const;
  Target nearest(TargetKind kind) const;
  std::string hint_if_it_works(std::string_view what, const Target& target) const;
  using Has = std::function<bool(Survey&, uint64_t first, uint64_t last)>;
  std::string where_else(const Has& has) const;
  std::string to_the_end_instead() const;
  uint64_t segment_of(pg::Lsn lsn) const { return sources_.segment_of(lsn); }

  const repo::Repository& repository_;
  const repo::Lineage& lineage_;
  const Sources sources_;
  const repo::WalArchive& archive_;
  const Target& target_;
  const AskServer& ask_server_;
  const Purpose purpose_;
};

// What both say is said once.
void put_before(std::vector<std::string>& words, std::vector<std::string> first) {
  std::erase_if(
      first, [&](const std::string& one) { return std::ranges::find(words, one) != words.end(); });
  words.insert(words.begin(), first.begin(), first.end());
}

// With where it came from, where that can be read.
std::string words_of(const SegmentCopy& copy, pg::WalSegmentSize size) {
  std::string name = file_name_of(copy, size);
  if (copy.info.file_name.empty()) return name;
  return fmt::format("{} (up to {}, from {})", name, to_string(copy.info.readable_end),
                     repo::pushed_by(copy.info));
}

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

constexpr const char* kWhereItMayBe =
    "It may still lie in the pg_wal directory of the server that wrote it, or of a standby: "
    "archive "
    "it with holdfast wal salvage, which takes a stopped server's whole pg_wal, or holdfast wal "
    "push.";

Target Planner::nearest(TargetKind kind) const {
  Target target = target_;
  target.kind = kind;
  target.exclusive = false;
  // A location is one of every timeline.
  if (kind == TargetKind::kLsn && sources_.histories().size() > 1)
    target.timeline = sources_.history().timeline();
  return target;
}

// "What: the command", when a plan can be made for it.
std::string Planner::hint_if_it_works(std::string_view what, const Target& target) const {
  if (purpose_ == Purpose::kTrial || !can_be_planned(repository_, lineage_, target, ask_server_))
    return {};
  return fmt::format("{}: {}", what, command_for(target));
}

std::string Planner::to_the_end_instead() const {
  return hint_if_it_works("The farthest that can be reached is the end of the archived WAL",
                          nearest(TargetKind::kLatest));
}

// The target's place is behind the start of no backup: what is nearest is the end of the first one.
void Planner::throw_before_backups(std::string message, std::string detail,
                                   const Target& earliest) const {
  Target unnamed = target_;
  unnamed.backup.clear();
  throw_unreachable(
      std::move(message), std::move(detail),
      lines(
          {hint_if_it_works("The earliest that can be reached is the end of that backup", earliest),
           target_.backup.empty()
               ? std::string()
               : hint_if_it_works("An older backup reaches the target", unnamed)}));
}

// A recovery that replays from before a place of which two histories tell different things to
// behind it may take the wrong turn. `end`: up to where it replays.
void Planner::refuse_contradicted(const repo::Backup& backup, pg::Lsn end) const {
  for (const Contradiction& one : sources_.contradictions()) {
    if (!sources_.history().contains(one.older) || backup.start_timeline > one.left ||
        end <= one.earliest_end)
      continue;
    Target before = nearest(TargetKind::kLsn);
    before.lsn = one.earliest_end;
    before.timeline = one.left;
    throw_contradiction(one, hint_if_it_works("Up to there recovery is possible", before));
  }
}

void Planner::require_one_line(const Plan& plan) const {
  const pg::TimelineHistory& history = sources_.history();
  for (const pg::TimelineHistoryEntry& entry : history.ancestors()) {
    const pg::Lsn left = history.switch_point_of(entry.timeline).value_or(pg::Lsn{});
    if (left >= plan.end_lsn || !left_another_line(archive_, history, entry.timeline, plan.backup))
      continue;
    const pg::TimelineId child = history.timeline_at(left);
    Target stay = target_;
    stay.timeline = entry.timeline;
    throw_unreachable(
        fmt::format("timeline {} left another line of timeline {} than the archived one",
                    to_string(child), to_string(entry.timeline)),
        fmt::format("What timeline {} has before {}, where it left, is not what is archived of "
                    "timeline {} now: the server of that one was rolled back since. Recovery would "
                    "mix two histories.",
                    to_string(child), to_string(left), to_string(entry.timeline)),
        lines({hint_if_it_works(
                   fmt::format("Timeline {} can be recovered", to_string(entry.timeline)), stay),
               never_again(archive_, child)}));
  }
}

// The farthest that can be reached without what is missing, from that backup or, where its own WAL
// is not whole, from another.
std::string Planner::up_to_the_hole(const Way& way, pg::SegmentName missing) const {
  if (purpose_ == Purpose::kTrial) return {};
  Target target = nearest(TargetKind::kLsn);
  auto hint_from = [&](const Way& from, uint64_t hole) {
    // Of one that is not whole there is a part.
    const uint64_t end = from.path->at(hole) ? hole + 1 : hole;
    std::optional<pg::Lsn> before;
    damage_of([&] { before = Survey(archive_, *from.path).last_complete_record_before(end); });
    if (!before || *before < from.backup.stop_lsn) return std::string();
    target.lsn = *before;
    return hint_if_it_works("Up to the hole recovery is possible", target);
  };
  std::string hint = hint_from(way, missing.segment_number);
  if (!hint.empty()) return hint;
  target.backup.clear();
  Target any = target_;
  any.backup.clear();
  any.timeline = sources_.history().timeline();
  const Sources all(repository_, lineage_, any);
  all.for_each_backup([&](const repo::Backup& backup) {
    if (backup.id == way.backup.id) return true;
    const Way other = all.way_from(backup);
    const std::optional<pg::SegmentName> hole = other.path->first_hole(other.first);
    const std::optional<uint64_t> last = other.path->last();
    if (hole || last) hint = hint_from(other, hole ? hole->segment_number : *last + 1);
    return hint.empty();
  });
  return hint;
}

std::string Planner::up_to_before(pg::SegmentName damaged) const {
  Target target = nearest(TargetKind::kLsn);
  std::string hint;
  sources_.for_each_backup([&](const repo::Backup& backup) {
    if (backup.stop_lsn > pg::start_lsn(damaged.segment_number, archive_.segment_size()))
      return true;
    const Way way = sources_.way_from(backup);
    const std::optional<pg::Lsn> before =
        Survey(archive_, *way.path).last_complete_record_before(damaged.segment_number);
    if (!before || *before < backup.stop_lsn) return true;
    target.lsn = *before;
    hint = hint_if_it_works("Up to before it recovery is possible", target);
    return hint.empty();
  });
  return hint;
}

void Planner::throw_hole(const Way& way, pg::SegmentName missing) const {
  refuse_contradicted(way.backup, pg::Lsn{UINT64_MAX});
  const pg::WalSegmentSize size = archive_.segment_size();
  const std::string name = pg::segment_file_name(missing, size);
  const std::optional<uint64_t> last = way.path->last();
  const std::optional<WalPath::MissingEnd>& missing_end = way.path->missing_end();
  const bool is_cut = way.path->at(missing.segment_number).has_value();
  std::string held;
  Error::Parts parts{.code = ErrorCode::kTargetUnreachable,
                     .message = fmt::format("WAL segment \"{}\" is not{} in the archive", name,
                                            is_cut ? " whole" : "")};
  if (missing_end && missing_end->first == missing) {
    parts.detail = fmt::format(
        "Timeline {} was written up to {} at least, which {} tells: recovery from backup {} would "
        "end before that and lose what comes after.",
        to_string(missing.timeline), to_string(missing_end->written_to),
        way.path->timeline() == missing.timeline &&
                missing.timeline == sources_.history().timeline()
            ? "what was archived behind it"
            : fmt::format("\"{}\"", pg::history_file_name(sources_.history().timeline())),
        way.backup.id);
    if (missing_end->held_by) {
      Target there = nearest(TargetKind::kLsn);
      there.timeline = missing_end->held_by;
      there.lsn = missing_end->written_to;
      there.exclusive = true;
      held = hint_if_it_works(fmt::format("Timeline {}, which left it there, has what is missing",
                                          to_string(*missing_end->held_by)),
                              there);
    }
  } else if (last && *last > missing.segment_number) {
    uint64_t count = 1;
    while (!way.path->at(missing.segment_number + count)) ++count;
    if (count > 1) {
      pg::SegmentName end = missing;
      end.segment_number += count - 1;
      parts.detail = fmt::format("Neither are those behind it, {} in all up to \"{}\". ", count,
                                 pg::segment_file_name(end, size));
    }
    parts.detail += fmt::format(
        "Later segments are, up to \"{}\": recovery from backup {} would end before it and lose "
        "what comes after.",
        pg::segment_file_name(way.path->at(*last)->name, size), way.backup.id);
    const std::optional<pg::Lsn> began = sources_.history().start_of(missing.timeline);
    if (began && began->is_valid() && segment_of(*began) == missing.segment_number) {
      parts.detail += fmt::format(
          " By its history file timeline {} begins in this segment, at {}; if that file is another "
          "cluster's, this is why nothing fits.",
          to_string(missing.timeline), to_string(*began));
    }
  } else {
    parts.detail =
        fmt::format("Backup {} needs WAL up to {}.", way.backup.id, to_string(way.backup.stop_lsn));
  }
  parts.hint = lines({kWhereItMayBe, held, up_to_the_hole(way, missing)});
  throw Error(std::move(parts));
}

void Planner::throw_broken(const Way& way, const Reach::Break& broken) const {
  refuse_contradicted(way.backup, pg::Lsn{UINT64_MAX});
  if (broken.kind == Reach::Break::Kind::kMinimal) throw_minimal(way, broken.second);
  if (broken.kind == Reach::Break::Kind::kDamaged) throw Error(*broken.damage);
  std::string up_to_here;
  const std::optional<pg::Lsn> before =
      Survey(archive_, *way.path).last_complete_record_before(broken.segment_number);
  if (before && *before >= way.backup.stop_lsn) {
    Target target = nearest(TargetKind::kLsn);
    target.lsn = *before;
    up_to_here = hint_if_it_works("Recovery is possible up to the end of the first", target);
  }
  const std::string& name = broken.second.file_name;
  if (broken.kind == Reach::Break::Kind::kForeign)
    throw Error(
        {.code = ErrorCode::kCorrupt,
         .message = fmt::format("archived WAL segment \"{}\" holds no WAL of its timeline", name),
         .detail =
             fmt::format("It is of timeline {}: a server kept an old file under that name, for "
                         "reuse. It was pushed from \"{}\" on host \"{}\".",
                         to_string(broken.second.highest_page_timeline), broken.second.pgdata,
                         broken.second.host),
         .hint = lines({fmt::format("\"holdfast wal set-aside {}\" takes it out of service.", name),
                        up_to_here})});
  if (broken.kind == Reach::Break::Kind::kEarlier) throw_earlier(broken, up_to_here);
  if (broken.kind == Reach::Break::Kind::kShort)
    throw_unreachable(
        fmt::format("archived WAL segment \"{}\" can be read only up to {}", broken.first.file_name,
                    to_string(broken.first.readable_end)),
        fmt::format(
            "Recovery would end there and lose what comes after: \"{}\" and those behind it "
            "are archived. It was pushed from \"{}\" on host \"{}\".",
            name, broken.first.pgdata, broken.first.host),
        lines({"Where the server that wrote it still has it whole, \"holdfast wal push\" there, or "
               "\"holdfast wal salvage\" of its data directory, repairs it.",
               up_to_here}));
  throw Error(
      {.code = ErrorCode::kCorrupt,
       .message = fmt::format("archived WAL segment \"{}\" is not the continuation of \"{}\"",
                              broken.second.file_name, broken.first.file_name),
       .detail = fmt::format("The first was pushed from \"{}\" on host \"{}\", the second from "
                             "\"{}\" on host \"{}\".",
                             broken.first.pgdata, broken.first.host, broken.second.pgdata,
                             broken.second.host),
       .hint = up_to_here});
}

// It joins what stands before it now, and goes on from what stood there earlier.
void Planner::throw_earlier(const Reach::Break& broken, const std::string& up_to_here) const {
  const std::optional<repo::EarlierLine> proof =
      repo::find_earlier_line(archive_, broken.first, broken.second);
  throw Error(
      {.code = ErrorCode::kCorrupt,
       .message = fmt::format("archived WAL segment \"{}\" is of another history than \"{}\"",
                              broken.second.file_name, broken.first.file_name),
       .detail = fmt::format(
           "It was archived behind another content of \"{0}\"{1}, and nothing behind it is "
           "reached. "
           "The first was pushed from \"{2}\" on host \"{3}\", the second from \"{4}\" on host "
           "\"{5}\".",
           broken.first.file_name,
           proof ? fmt::format(", at {}; the one that is served now has a commit of {}",
                               to_local(proof->archived), to_local(proof->written))
                 : std::string(),
           broken.first.pgdata, broken.first.host, broken.second.pgdata, broken.second.host),
       .hint =
           lines({fmt::format("\"holdfast wal set-aside {} --onward\" takes it and all behind it "
                              "out of service, so that the server's own can be archived.",
                              broken.second.file_name),
                  up_to_here})});
}

void Planner::throw_minimal(const Way& way, const repo::WalSegmentInfo& segment) const {
  std::string up_to_here;
  if (segment.minimal_from >= way.backup.stop_lsn) {
    Target target = nearest(TargetKind::kLsn);
    target.lsn = segment.minimal_from;
    target.exclusive = true;
    up_to_here = hint_if_it_works("Recovery is possible up to there", target);
  }
  throw_unreachable(
      fmt::format("from {} on WAL was written with wal_level \"minimal\"",
                  to_string(segment.minimal_from)),
      fmt::format("It stands in \"{}\". What was loaded meanwhile is not in the WAL, and no "
                  "recovery from backup {} goes past that place.",
                  segment.file_name, way.backup.id),
      lines({"What came after is in a backup that was taken since: \"holdfast backup list\".",
             up_to_here}));
}

// Without all WAL up to its end a backup is worth nothing, whatever the target.
void Planner::require_backup_wal(const Way& way, const Reach& reach) const {
  if (reach.broken) throw_broken(way, *reach.broken);
  const uint64_t last = pg::last_segment_before_end(way.backup.stop_lsn, archive_.segment_size());
  const std::optional<pg::SegmentName> hole = way.path->first_hole(way.first);
  const std::optional<WalPath::MissingEnd>& missing_end = way.path->missing_end();
  // What is missing may lie in that segment, and behind all that the backup needs of it.
  const bool is_behind = missing_end && missing_end->archived_to >= way.backup.stop_lsn;
  if (hole && hole->segment_number <= last && !(is_behind && missing_end->first == *hole))
    throw_hole(way, *hole);
  if (reach.segments == 0)
    throw_hole(way, {.timeline = way.backup.start_timeline, .segment_number = way.first});
  if (way.path->last() < last)
    throw_hole(way, {.timeline = way.path->timeline(), .segment_number = *way.path->last() + 1});
}

// The same target on another timeline, where that has it.
std::string Planner::where_else(const Has& has) const {
  if (purpose_ == Purpose::kTrial) return {};
  const std::optional<pg::TimelineId> timeline = sources_.find_elsewhere(has);
  if (!timeline) return {};
  Target there = target_;
  there.timeline = timeline;
  const std::string what = fmt::format("Timeline {} has it", to_string(*timeline));
  if (std::string hint = hint_if_it_works(what, there); !hint.empty()) return hint;
  there.backup.clear();
  return hint_if_it_works(what, there);
}

// --- parts of a plan ----------------------------------------------------------------------------

void Planner::take(Plan& plan, const Way& way, const Reach& reach) const {
  if (reach.minimal) {
    const pg::Lsn from = reach.minimal->second.minimal_from;
    if (reach.stop_lsn > from || (reach.stop_lsn == from && !plan.target.exclusive))
      throw_broken(way, *reach.minimal);
  }
  if (way.path->last() == reach.last_segment) require_no_rivals(*way.path, !reach.found);
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
  uint64_t next = way.first;
  for (const WalRange& run : way.path->runs()) {
    if (run.first > next && run.first > reach.last_segment)
      plan.absent.push_back({.timeline = way.path->at(run.first)->name.timeline,
                             .first = next,
                             .last = run.first - 1});
    next = run.last + 1;
  }
  if (const auto& tail = way.path->tail();
      tail && tail->name.segment_number <= reach.last_segment) {
    require_one_tail(plan, *way.path);
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
  plan.half_removals =
      find_half_removals(Survey(archive_, *way.path), reach, plan.target, archive_.segment_size());
  plan.floors = way.backup.floors;
  raise(plan.floors, reach.floors);
}

void Planner::throw_parted(const std::vector<SegmentCopy>& copies) const {
  const pg::WalSegmentSize size = archive_.segment_size();
  std::string detail = "The server wrote one of them, and which cannot be told:";
  std::string hint = "Take those that are not meant out of service:";
  for (const SegmentCopy& one : copies) {
    detail += fmt::format(" {}{}", words_of(one, size), &one == &copies.back() ? "." : ",");
    hint += fmt::format("\nholdfast wal set-aside {}", file_name_of(one, size));
  }
  throw_unreachable(
      fmt::format("there are {} unfinished copies of segment \"{}\" that hold different WAL",
                  copies.size(), pg::segment_file_name(copies.front().name, size)),
      detail, hint);
}

// The last segment is archived under its name, cut short, and there are unfinished copies of it
// that go farther. The server is given the short one. `to_its_end`: nothing tells it to stop in it.
void Planner::require_no_rivals(const WalPath& path, bool to_its_end) const {
  const WalPath::Rivals& rivals = path.rivals();
  const pg::WalSegmentSize size = archive_.segment_size();
  if (!rivals.parted.empty()) throw_parted(rivals.parted);
  if (!to_its_end || rivals.longer.empty()) return;
  const std::string name = pg::segment_file_name(rivals.longer.front().name, size);
  throw_unreachable(
      fmt::format("archived WAL segment \"{}\" is cut short, and an unfinished copy of it goes on",
                  name),
      fmt::format("Recovery would end with the short one and lose what is in {}.",
                  words_of(rivals.longer.front(), size)),
      fmt::format("\"holdfast wal set-aside {}\" takes the short one out of service; then recovery "
                  "goes to the end of the other.",
                  name));
}

// Two unfinished copies of one segment with other WAL in them: the wrong one would undo what was
// acknowledged, and bring back what was not.
void Planner::require_one_tail(Plan& plan, const WalPath& path) const {
  if (path.parted().others.empty()) return;
  const pg::WalSegmentSize size = archive_.segment_size();
  std::vector<SegmentCopy> copies;
  const auto add = [&](const Bytes16& partial) {
    SegmentCopy copy{.name = path.tail()->name, .partial = partial, .info = {}};
    unreadable_of([&] { copy.info = Survey(archive_, path).info({copy.name, copy.partial}); });
    copies.push_back(std::move(copy));
  };
  for (const Bytes16& other : path.parted().others) add(other);
  if (path.parted().is_own) {
    for (const SegmentCopy& other : copies)
      plan.warnings.push_back(fmt::format(
          "another unfinished copy of the last segment is archived, with other WAL in it, and is "
          "not used: {}. \"holdfast wal set-aside {}\" takes it out of service",
          words_of(other, size), file_name_of(other, size)));
    return;
  }
  add(*path.tail()->partial);
  throw_parted(copies);
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
      if (const std::optional<pg::SegmentName> hole = way.path->first_hole(way.first))
        throw_hole(way, *hole);
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
  // The parent may be written on meanwhile.
  if (way.path->limit() && plan.last_record) {
    plan.target.kind = TargetKind::kLsn;
    plan.target.lsn = *plan.last_record;
  }
  take(plan, way, reach);
  if (const std::optional<pg::SegmentName> next = set_aside_behind(archive_, *way.path)) {
    const std::string name = pg::segment_file_name(*next, archive_.segment_size());
    plan.warnings.push_back(fmt::format(
        "WAL goes on behind this end in \"{0}\", which was set aside: nothing of it is "
        "recovered. \"holdfast wal set-aside {0} --off\" serves it again (with --onward "
        "all that was taken in one step)",
        name));
  }
}

// Of the times that anything which was walked is of, the last by its place, and the latest. A
// checkpoint has the time at which it began, minutes before its place: it proves that its time was
// reached, and is no sign that one before it was wrong.
Planner::LastTimes Planner::last_times(const Way& way, const Reach& reach) const {
  Moment last{.lsn = way.backup.stop_lsn, .time = way.backup.stop_time};
  if (reach.last_moment && reach.last_moment->lsn > last.lsn) last = *reach.last_moment;
  LastTimes times{.last = last.time,
                  .latest = std::max(way.backup.stop_time, reach.latest_time.value_or(last.time))};
  if (times.prove(target_.time)) return times;
  const std::optional<Moment> checkpoint =
      Survey(archive_, *way.path).last_checkpoint(way.first, reach.last_segment);
  if (!checkpoint) return times;
  times.latest = std::max(times.latest, checkpoint->time);
  if (checkpoint->lsn > last.lsn) times.last = std::max(times.last, checkpoint->time);
  return times;
}

// The end of the archived WAL on that way, or of what lies before a hole in it.
pg::Lsn Planner::archived_to(const Way& way) const {
  const std::optional<pg::SegmentName> hole = way.path->first_hole(way.first);
  const uint64_t number = hole ? hole->segment_number : way.path->last().value_or(way.first);
  pg::Lsn end = std::max(pg::start_lsn(number, archive_.segment_size()), way.backup.stop_lsn);
  if (const std::optional<PathSegment> segment = way.path->at(number))
    unreadable_of(
        [&] { end = std::max(end, Survey(archive_, *way.path).info(*segment).last_record_end); });
  return end;
}

TimeAnswer Planner::ask_server(const Way& way, pg::Lsn archived_to,
                               std::optional<Time> seen) const {
  if (!ask_server_) return {.told = "No server that could tell was asked."};
  if (way.path->limit()) archived_to = std::min(archived_to, *way.path->limit());
  return ask_server_({.timeline = sources_.history().timeline(),
                      .archived_to = archived_to,
                      .time = target_.time,
                      .exclusive = target_.exclusive,
                      .seen = seen});
}

// The archive has what is later than the target. That nothing up to it came behind that is told by
// clocks alone; the server, where it answers, knows.
TimeAnswer Planner::require_server_agrees(const Way& way, pg::Lsn archived_to, Time seen,
                                          const Target& as_archived) const {
  TimeAnswer answer = ask_server(way, archived_to, seen);
  if (answer.says == TimeAnswer::Says::kNotReached || answer.says == TimeAnswer::Says::kFuture)
    throw_not_reached(
        fmt::format("the archived WAL may lack transactions up to {}", to_local(target_.time)),
        fmt::format("It has a time of {}, and it ends at {}. {} A clock was wrong.", to_local(seen),
                    to_string(archived_to), answer.told),
        as_archived);
  return answer;
}

// WAL is missing, or does not join, and what proves that the time was reached lies before that. The
// server is told the place, for it would look for a later transaction behind it.
bool Planner::take_before_break(Plan& plan, const Way& way, const Reach& reach) const {
  const std::optional<pg::Lsn> last = last_record_before_break(way, reach);
  if (!last) return false;
  const LastTimes times = last_times(way, reach);
  if (!times.prove(target_.time)) return false;
  Target before = nearest(TargetKind::kLsn);
  before.lsn = *last;
  require_server_agrees(way, reach.end_lsn, times.latest, before);
  take_up_to(plan, way, reach, *last,
             fmt::format("no transaction before it is later than {}", to_local(target_.time)));
  return true;
}

// nullopt: nothing is broken, or too early. Of minimal WAL nothing proves what it left out.
std::optional<pg::Lsn> Planner::last_record_before_break(const Way& way, const Reach& reach) const {
  if (reach.broken && reach.broken->kind == Reach::Break::Kind::kMinimal) return std::nullopt;
  if ((!reach.hole && !reach.broken) || reach.end_lsn < way.backup.stop_lsn) return std::nullopt;
  const std::optional<pg::Lsn> last =
      Survey(archive_, *way.path).last_complete_record_before(reach.last_segment + 1);
  return last && *last >= way.backup.stop_lsn ? last : std::nullopt;
}

// `and_why`: why no more is wanted.
void Planner::take_up_to(Plan& plan, const Way& way, const Reach& reach, pg::Lsn last,
                         const std::string& and_why) const {
  plan.target.kind = TargetKind::kLsn;
  plan.target.lsn = last;
  plan.target.exclusive = false;
  take(plan, way, reach);
  using enum Reach::Break::Kind;
  const pg::WalSegmentSize size = archive_.segment_size();
  const std::string why =
      !reach.broken
          ? fmt::format("\"{}\" is not{} in the archive", pg::segment_file_name(*reach.hole, size),
                        way.path->at(reach.hole->segment_number) ? " whole" : "")
      : reach.broken->kind == kDamaged
          ? fmt::format(
                "\"{}\" is damaged",
                pg::segment_file_name(way.path->at(reach.broken->segment_number)->name, size))
          : fmt::format(
                "\"{}\" {} the one before it", reach.broken->second.file_name,
                reach.broken->kind == kEarlier ? "is of another history than" : "does not join");
  plan.notes.push_back(fmt::format(
      "WAL segment {}, and {}: recovery goes to the last record before it", why, and_why));
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
  take_backup_end(plan, *backup);
}

void Planner::take_backup_end(Plan& plan, const repo::Backup& backup) {
  plan.target.kind = TargetKind::kImmediate;
  plan.target.exclusive = false;
  // The server must see a record behind the backup's end.
  const uint64_t until = pg::last_segment_before_end(backup.stop_lsn, archive_.segment_size()) + 1;
  std::optional<Way> near = sources_.way_up_to(backup, until);
  const bool is_near = near.has_value();
  const Way way = is_near ? *std::move(near) : sources_.way_from(backup);
  const Reach reach = Survey(archive_, *way.path).to_backup_end(way.first, way.backup.stop_lsn);
  require_backup_wal(way, reach);
  take(plan, way, reach);
  plan.end_lsn = way.backup.stop_lsn;
  if (!way.backup.from_standby) return;
  // A backup of a standby can end where the archive does. The server stops before the first record
  // behind the backup; where there is none it reads on and fails. The last record is the same
  // place.
  const auto look_behind = [&](const Way& from) {
    return Survey(archive_, *from.path).to_lsn(from.first, from.backup.stop_lsn);
  };
  Reach end = look_behind(way);
  if (!end.found && is_near) end = look_behind(sources_.way_from(way.backup));
  if (end.found || !end.last_record.is_valid() || end.last_record >= way.backup.stop_lsn) return;
  plan.target.kind = TargetKind::kLsn;
  plan.target.lsn = end.last_record;
}

void Planner::plan_time(Plan& plan) {
  // A commit that is later than the target and lies before the backup's end makes the server
  // refuse: then an older backup is needed. That happens only where the server's clock was set
  // back.
  Time before = Time::max();
  std::vector<repo::Backup> later;  // by their clocks
  for (;;) {
    std::optional<repo::Backup> backup = sources_.newest_backup([&](const repo::Backup& b) {
      const bool is_before =
          target_.exclusive ? b.stop_time < target_.time : b.stop_time <= target_.time;
      if (!is_before && before == Time::max()) later.push_back(b);
      return is_before && b.stop_time < before;
    });
    if (!backup) break;
    before = backup->stop_time;
    const Way way = sources_.way_from(std::move(*backup));
    Survey survey(archive_, *way.path);
    const Reach reach = survey.to_time(way.first, target_.time, target_.exclusive);
    plan.why_this_backup =
        target_.backup.empty()
            ? fmt::format("It is the newest that ended before the target, at {}.",
                          to_local(way.backup.stop_time))
            : "It was named.";
    if (take_before_break(plan, way, reach)) return;
    require_backup_wal(way, reach);
    if (reach.found && reach.stop_lsn < way.backup.stop_lsn) {
      plan.notes.push_back(
          fmt::format("backup {} cannot be used: while it was taken a transaction ended that is "
                      "later than the target",
                      way.backup.id));
      continue;
    }
    if (reach.hole) throw_hole(way, *reach.hole);
    if (reach.found) {
      Target there = nearest(TargetKind::kLsn);
      there.lsn = reach.stop_lsn;
      there.exclusive = true;
      require_server_agrees(way, archived_to(way), *reach.stop_time, there);
      take(plan, way, reach);
      return warn_of_clocks(plan, way, reach, later);
    }
    require_time_reached(plan, way, reach);
    plan.ran_to_the_end = true;
    return take_to_the_end(plan, way);
  }
  std::optional<repo::Backup> oldest = sources_.oldest_backup();
  Target earliest = nearest(TargetKind::kTime);
  earliest.time = oldest->stop_time;
  throw_before_backups(
      fmt::format("the target is before the end of {} backup",
                  target_.backup.empty() ? "the oldest" : "the named"),
      fmt::format("The target is {}; backup {} ended at {}, and a backup can only be recovered to "
                  "a time after its end.",
                  to_local(target_.time), oldest->id, to_local(oldest->stop_time)),
      earliest);
}

// No later transaction is archived. That none ended up to the target is another matter: what the
// server wrote since its last switch of segments is not in the archive.
void Planner::require_time_reached(Plan& plan, const Way& way, const Reach& reach) const {
  refuse_contradicted(way.backup, pg::Lsn{UINT64_MAX});
  const std::string to_the_end =
      fmt::format("no transaction after {} is archived", to_local(target_.time));
  const LastTimes times = last_times(way, reach);
  const pg::Lsn end = std::max(reach.end_lsn, way.backup.stop_lsn);
  const Target latest = nearest(TargetKind::kLatest);
  const bool is_proven = times.prove(target_.time);
  const TimeAnswer answer = is_proven ? require_server_agrees(way, end, times.latest, latest)
                                      : ask_server(way, end, std::nullopt);
  if (answer.says == TimeAnswer::Says::kReached) {
    plan.notes.push_back(
        fmt::format("{}, and the server has ended none up to then: recovery goes "
                    "to the end of the archived WAL",
                    to_the_end));
    return;
  }
  if (is_proven) {
    plan.notes.push_back(to_the_end + ": recovery goes to the end of the archived WAL");
    return;
  }
  if (answer.says == TimeAnswer::Says::kFuture) {
    Target day_before = target_;
    day_before.time -= std::chrono::days{1};
    throw_unreachable(fmt::format("{} lies in the future", to_local(target_.time)), answer.told,
                      lines({hint_if_it_works("A day before", day_before),
                             hint_if_it_works("To take what is archived", latest)}));
  }
  throw_not_reached(
      fmt::format("the archived WAL does not reach {}", to_local(target_.time)),
      fmt::format("The last that is known of it is of {}{}, and it ends at {}. Transactions that "
                  "ended up to the target may be missing. {}",
                  to_local(times.last),
                  times.go_back() ? fmt::format(" (before it lies a time of {}: a clock was wrong)",
                                                to_local(times.latest))
                                  : "",
                  to_string(way.path->limit() ? std::min(end, *way.path->limit()) : end),
                  answer.told),
      latest);
}

void Planner::throw_not_reached(std::string message, std::string detail,
                                const Target& as_archived) const {
  throw_unreachable(
      std::move(message), std::move(detail),
      lines({fmt::format("If the server still runs, let it archive what it wrote (SELECT "
                         "pg_switch_wal()), then run this again: {}",
                         command_for(target_)),
             hint_if_it_works("To take what is archived", as_archived)}));
}

// The server stops at the first transaction that is later than the target, in the order of the WAL.
// Where a clock was wrong for a while that is not the order of the times.
void Planner::warn_of_clocks(Plan& plan, const Way& way, const Reach& reach,
                             const std::vector<repo::Backup>& later) const {
  Target by_lsn = nearest(TargetKind::kLsn);
  Survey::Behind behind;
  // What is damaged behind the target does not keep it from being recovered.
  if (const std::optional<Error> damage = damage_of([&] {
        behind = Survey(archive_, *way.path)
                     .look_behind({.lsn = reach.stop_lsn, .time = *reach.stop_time}, target_.time,
                                  target_.exclusive);
      }))
    plan.notes.push_back(fmt::format("whether times go back behind the target cannot be told: {}",
                                     damage->message()));
  if (behind.meant) {
    by_lsn.lsn = behind.meant->lsn;
    plan.warnings.push_back(fmt::format(
        "commit times go back: recovery stops at {}, before a transaction that is later than the "
        "target, but transactions up to the target lie behind it, the last at {}. If they are "
        "wanted: {}",
        to_string(reach.stop_lsn), to_string(behind.meant->lsn), command_for(by_lsn)));
  } else if (behind.fall) {
    by_lsn.lsn = behind.fall->from;
    plan.warnings.push_back(fmt::format(
        "commit times go back: recovery stops at {}, before a transaction of {}, but behind it "
        "lies one of {}: a clock was ahead, and what was committed meanwhile may be meant. With "
        "it: {}",
        to_string(reach.stop_lsn), to_local(*reach.stop_time), to_local(behind.fall->to),
        command_for(by_lsn)));
  }
  for (const repo::Backup& backup : later) {
    if (backup.stop_lsn > reach.stop_lsn) continue;
    by_lsn.lsn = reach.stop_lsn;
    by_lsn.exclusive = true;
    plan.warnings.push_back(fmt::format(
        "backup {} ended at {}, before the place at which recovery stops, but by its "
        "clock only at {}, after the target: a clock was wrong. With it: {}",
        backup.id, to_string(backup.stop_lsn), to_local(backup.stop_time), command_for(by_lsn)));
  }
}

void Planner::plan_lsn(Plan& plan) {
  std::optional<repo::Backup> backup =
      sources_.newest_backup([&](const repo::Backup& b) { return b.stop_lsn <= target_.lsn; });
  if (!backup) {
    std::optional<repo::Backup> oldest = sources_.oldest_backup();
    Target earliest = nearest(TargetKind::kLsn);
    earliest.lsn = oldest->stop_lsn;
    throw_before_backups(
        fmt::format("the target is before the end of {} backup",
                    target_.backup.empty() ? "the oldest" : "the named"),
        fmt::format("The target is {}; backup {} ended at {}, and a backup can only be recovered "
                    "to a place behind its end.",
                    to_string(target_.lsn), oldest->id, to_string(oldest->stop_lsn)),
        earliest);
  }
  plan.why_this_backup = target_.backup.empty()
                             ? fmt::format("It is the newest that ended before the target, at {}.",
                                           to_string(backup->stop_lsn))
                             : "It was named.";
  if (const std::optional<Way> near = sources_.way_up_to(*backup, segment_of(target_.lsn) + 1);
      near && (!near->path->limit() || target_.lsn < *near->path->limit())) {
    const Reach reach = Survey(archive_, *near->path).to_lsn(near->first, target_.lsn);
    if (reach.found) return take(plan, *near, reach);
  }
  // The target lies at the archive's end or behind it, or something is wrong before it.
  const Way way = sources_.way_from(std::move(*backup));
  Survey survey(archive_, *way.path);
  const std::optional<pg::Lsn> limit = way.path->limit();
  if (!limit || target_.lsn < *limit) {
    const Reach reach = survey.to_lsn(way.first, target_.lsn);
    if (!reach.found && !reach.broken && target_.lsn == way.backup.stop_lsn)
      return take_backup_end(plan, way.backup);
    if (!reach.found && target_.lsn <= reach.end_lsn)
      if (const std::optional<pg::Lsn> last = last_record_before_break(way, reach))
        return take_up_to(
            plan, way, reach, *last,
            fmt::format("no record starts between {} and it", to_string(target_.lsn)));
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
        lines({to_the_end_instead(), where_else([&](Survey& other, uint64_t first, uint64_t) {
                 return other.to_lsn(first, target).found;
               })}));
  }
  if (target_.lsn == *limit) {
    plan.ran_to_the_end = true;
    return take_to_the_end(plan, way);
  }
  Target farthest = nearest(TargetKind::kLsn), parent = target_;
  farthest.lsn = *limit;
  parent.timeline = way.path->timeline();
  throw_unreachable(
      fmt::format("WAL location {} is not on timeline {}", to_string(target_.lsn),
                  to_string(sources_.history().timeline())),
      fmt::format("Timeline {} was forked off timeline {} at {} and has no WAL of its own yet.",
                  to_string(sources_.history().timeline()), to_string(way.path->timeline()),
                  to_string(*limit)),
      lines({hint_if_it_works("The farthest that can be reached is that place", farthest),
             hint_if_it_works(fmt::format("Timeline {} goes on", to_string(way.path->timeline())),
                              parent)}));
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
  std::optional<uint64_t> other;        // of another epoch
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
      const Survey::FoundTransaction looked = survey.find_transaction(
          target_.xid, way.first, std::min(*way.path->last(), searched_from));
      found = looked.end;
      if (!other) other = looked.other;
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
    Target earliest = nearest(TargetKind::kLsn);
    earliest.lsn = oldest->stop_lsn;
    throw_before_backups(
        fmt::format("transaction {} ended before the end of {} backup", target_.xid,
                    target_.backup.empty() ? "the oldest" : "the named"),
        fmt::format("It ended at {}; backup {} ended at {}.", to_string(found->lsn), oldest->id,
                    to_string(oldest->stop_lsn)),
        earliest);
  }
  if (other)
    throw_unreachable(
        fmt::format("transaction {} is of another epoch than the archived WAL", target_.xid),
        fmt::format(
            "The newest one that ended in the archived WAL with the same lower 32 bits, {}, "
            "is {}.",
            pg::short_transaction_id(target_.xid), *other),
        lines({fmt::format("If that is the one: {}",
                           [&] {
                             Target meant = target_;
                             meant.xid = *other;
                             return command_for(meant);
                           }()),
               to_the_end_instead()}));
  throw_unreachable(
      fmt::format("transaction {} has no end in the archived WAL", target_.xid),
      fmt::format("Neither a commit nor an abort of it was found on timeline {} between {} and {}. "
                  "Transactions that only read have none.",
                  to_string(sources_.history().timeline()), to_string(oldest->start_lsn),
                  to_string(end.value_or(oldest->start_lsn))),
      lines({"Check the number; subtransactions cannot be targets.",
             where_else([&](Survey& there, uint64_t first, uint64_t last) {
               return there.find_transaction(target_.xid, first, last).end.has_value();
             }),
             to_the_end_instead()}));
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
    Target earliest = nearest(TargetKind::kLsn);
    earliest.lsn = oldest->stop_lsn;
    throw_before_backups(
        fmt::format("restore point \"{}\" lies before the end of {} backup", target_.name,
                    target_.backup.empty() ? "the oldest" : "the named"),
        fmt::format("It lies at {}; backup {} ended at {}.", to_string(newest->lsn), oldest->id,
                    to_string(oldest->stop_lsn)),
        earliest);
  }
  throw_unreachable(
      fmt::format("there is no restore point \"{}\" in the archived WAL", target_.name),
      fmt::format("Searched timeline {} from {} on.", to_string(sources_.history().timeline()),
                  to_string(oldest->start_lsn)),
      lines({"Check the spelling; upper and lower case differ.",
             where_else([&](Survey& other, uint64_t first, uint64_t last) {
               return !other.find_restore_points(target_.name, first, last).empty();
             }),
             to_the_end_instead()}));
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
  leave_out_beginning(plan);
  refuse_contradicted(plan.backup, plan.end_lsn);
  require_one_line(plan);
  for (const Contradiction& one : sources_.contradictions())
    plan.notes.push_back(fmt::format(
        "the history of timeline {} contradicts that of timeline {} on where timeline {} ended; "
        "this recovery does not come by there",
        to_string(one.newer), to_string(one.older), to_string(one.left)));
  Parting parting(
      sources_, target_,
      [this](const Target& target) {
        return can_be_planned(repository_, lineage_, target, ask_server_);
      },
      plan);
  parting.find_abandoned();
  parting.ask();
  const NextTimeline next = find_next_timeline(archive_, plan.timeline);
  plan.next_timeline = next.timeline;
  plan.lost_history_of = next.lost_history_of;
  plan.notes.insert(plan.notes.begin(), sources_.notes().begin(), sources_.notes().end());
  return without_half_removals(std::move(plan));
}

// A server stops at a record that it replays, and a checkpoint of a shutdown, at which a recovery
// begins, it does not. Where nothing lies behind it, as in the backup of a standby whose primary
// was shut down, the end is reached without a target.
void Planner::leave_out_beginning(Plan& plan) const {
  if (plan.backup.start_lsn != plan.backup.checkpoint_lsn) return;
  const pg::Lsn beginning = plan.backup.checkpoint_lsn;
  if (plan.last_record && *plan.last_record <= beginning) plan.last_record.reset();
  if (plan.target.kind == TargetKind::kLsn && plan.target.lsn <= beginning) {
    plan.target.kind = TargetKind::kLatest;
    plan.target.exclusive = false;
  }
}

// A server stops for a time, and for a transaction, at the end of one alone. Where that is too late
// for what is taken away before its transaction ends, the place before is planned.
Plan Planner::without_half_removals(Plan plan) const {
  const auto works = [&](const Target& target) {
    return can_be_planned(repository_, lineage_, target, ask_server_);
  };
  Target before = nearest(TargetKind::kLsn);
  before.exclusive = true;
  for (const HalfRemoval& half : plan.half_removals) {
    const std::optional<pg::Lsn> place = place_before(half);
    if (!place || plan.target.kind == TargetKind::kLatest ||
        plan.target.kind == TargetKind::kImmediate)
      continue;
    before.lsn = *place;
    if (!works(before)) continue;
    Plan earlier = Planner(repository_, lineage_, before, ask_server_, purpose_).make();
    plan.notes.push_back(stops_before(half, *place));
    put_before(earlier.notes, plan.notes);
    put_before(earlier.warnings, plan.warnings);
    return earlier;
  }
  for (const HalfRemoval& half : plan.half_removals) {
    before.lsn = half.marked ? *half.marked : *half.gone;
    plan.warnings.push_back(warning_of(half, works(before) ? command_for(before) : std::string(),
                                       command_for(target_)));
  }
  return plan;
}

// Whether a way out of a refusal works is found by trying it.
bool can_be_planned(const repo::Repository& repository, const repo::Lineage& lineage,
                    const Target& target, const AskServer& ask_server) {
  return !error_of(
      {ErrorCode::kTargetUnreachable, ErrorCode::kCorrupt, ErrorCode::kNotFound,
       ErrorCode::kPermission, ErrorCode::kIo},
      [&] { Planner(repository, lineage, target, ask_server, Purpose::kTrial).make(); });
}

}  // namespace

namespace {

std::optional<repo::OwnWal> wal_in(const repo::WalArchive& archive, const PathSegment& segment) {
  const pg::WalFileName file{
      .kind = segment.partial ? pg::WalFileKind::kPartial : pg::WalFileKind::kSegment,
      .segment = segment.name};
  std::optional<repo::OwnWal> wal;
  unreadable_of([&] {
    if (const std::optional<repo::WalSegmentInfo> info =
            archive.segment_info(file, segment.partial ? &*segment.partial : nullptr))
      wal = {.file = pg::to_string(file, archive.segment_size()), .sha256 = info->sha256};
  });
  return wal;
}

}  // namespace

std::optional<repo::OwnWal> last_wal_of(const repo::WalArchive& archive, const Plan& plan) {
  if (plan.tail) return wal_in(archive, {plan.tail->segment, plan.tail->partial});
  if (plan.ranges.empty()) return std::nullopt;
  const WalRange& last = plan.ranges.back();
  return wal_in(archive, {{.timeline = last.timeline, .segment_number = last.last}, {}});
}

ArchiveEnd find_archive_end(const repo::WalArchive& archive, pg::TimelineId timeline, pg::Lsn known,
                            bool with_tail) {
  const std::vector<pg::TimelineHistory> histories = read_histories(archive, {});
  const auto history = std::ranges::find(histories, timeline, &pg::TimelineHistory::timeline);
  uint64_t number = pg::segment_of(known, archive.segment_size());
  const auto end_in = [&](pg::SegmentName segment, pg::Lsn record) {
    return ArchiveEnd{.record = record,
                      .segment = pg::segment_file_name(segment, archive.segment_size()),
                      .segment_number = segment.segment_number};
  };
  ArchiveEnd as_it_was = end_in({.timeline = timeline, .segment_number = number}, known);
  if (history == histories.end()) return as_it_was;
  const WalPath path(archive, *history, number);
  std::optional<PathSegment> last;
  // Of unfinished copies that part the one that was laid ends with `known`.
  const bool is_tail_known = path.parted().others.empty();
  for (; const std::optional<PathSegment> segment = path.at(number); ++number)
    if (!segment->partial || (with_tail && is_tail_known)) last = segment;
  if (!last) return as_it_was;
  const std::optional<pg::Lsn> record =
      Survey(archive, path).last_complete_record_before(last->name.segment_number + 1);
  if (!record || *record < known) return as_it_was;
  ArchiveEnd end = end_in(last->name, *record);
  end.wal = wal_in(archive, *last);
  if (*record == known) return end;
  Survey survey(archive, path);
  const Reach reach = survey.to_lsn(pg::segment_of(known, archive.segment_size()), *record);
  if (!find_half_removals(survey, reach, {}, archive.segment_size()).empty()) return as_it_was;
  for (const repo::WalTablespace& created : reach.tablespaces)
    if (created.lsn > known) end.created.push_back(created);
  return end;
}

NextTimeline find_next_timeline(const repo::WalArchive& archive, pg::TimelineId timeline) {
  NextTimeline next{.timeline = timeline, .lost_history_of = {}};
  const std::vector<pg::TimelineId> with_history = archive.history_timelines();
  do {
    ++next.timeline.value;
  } while (std::ranges::find(with_history, next.timeline) != with_history.end());
  for (const pg::TimelineId there : archive.timelines())
    if (there >= next.timeline) next.lost_history_of = next.timeline;
  return next;
}

Plan make_plan(const repo::Repository& repository, const repo::Lineage& lineage,
               const Target& target, const AskServer& ask_server) {
  check_target(target);
  if (target.kind != TargetKind::kLatest && target.kind != TargetKind::kImmediate)
    pg::require_known_major(
        lineage.name.major,
        fmt::format("Where the target lies, {}, only its WAL tells, which is not read: it can be "
                    "recovered to its end, or by --to-immediate to a backup's end.",
                    to_string(target)));
  Planner planner(repository, lineage, target, ask_server, Purpose::kPlan);
  Plan plan;
  const std::optional<Error> damage =
      error_of({ErrorCode::kCorrupt}, [&] { plan = planner.make(); });
  if (!damage) return plan;
  // "damaged object "clusters/…/00000001000000000000000A""
  const size_t slash = damage->message().rfind('/'), end = damage->message().rfind('"');
  const pg::WalFileName file =
      slash == std::string::npos || end < slash
          ? pg::WalFileName{}
          : pg::parse_wal_file_name(damage->message().substr(slash + 1, end - slash - 1),
                                    pg::WalSegmentSize(lineage.wal_segment_bytes));
  if (file.kind != pg::WalFileKind::kSegment) throw Error(*damage);
  throw Error(
      {.code = damage->code(),
       .message = damage->message(),
       .detail = damage->detail(),
       .hint = lines({way_before(repository, lineage, target, file.segment), damage->hint()})});
}

std::string way_before(const repo::Repository& repository, const repo::Lineage& lineage,
                       const Target& target, pg::SegmentName damaged) {
  const AskServer nobody;
  std::string up_to_there;
  // Who looks for a way out must not fail for what keeps there from being one.
  error_of([&] {
    up_to_there =
        Planner(repository, lineage, target, nobody, Purpose::kPlan).up_to_before(damaged);
  });
  return lines(
      {fmt::format("Where a server still has the file, \"holdfast wal push\" of it, from "
                   "the pg_wal directory, amends the archive: {}",
                   pg::segment_file_name(damaged, pg::WalSegmentSize(lineage.wal_segment_bytes))),
       up_to_there});
}

}  // namespace holdfast::recovery
