// The WAL on the way to each timeline is a row of segments (recovery/wal_path.h). It is cut into
// stretches: where a segment is missing, before and behind one that cannot be read, before one that
// does not join. What a backup needs must lie in one stretch; from its stop to the end of that
// stretch everything can be recovered. Behind the last one there is a break too where WAL is proven
// to have been.
//
//   segments   3 4 5 6 _ 8 9 x 11 12 | 13
//   stretches  [-----]   [-]   [---]   [-
#include "recovery/windows.h"

#include <algorithm>
#include <array>
#include <memory>

#include <fmt/core.h>

#include "base/task_group.h"
#include "recovery/survey.h"
#include "recovery/wal_path.h"
#include "repo/layout.h"
#include "repo/needed_wal.h"

namespace holdfast::recovery {
namespace {

// How far from a stretch's end a commit is looked for.
constexpr uint64_t kSegmentsLookedAt = 64;

enum class Cut : uint8_t { kMissing, kDamaged, kUnjoined, kEarlier, kShort, kMinimal, kAside };

struct Stretch {
  uint64_t first = 0, last = 0;
};
struct Break {
  Cut cut = Cut::kMissing;
  pg::SegmentName first;
  uint64_t last = 0;  // number; below first where nothing is missing between two segments
};

std::string_view word_of(Cut cut) {
  switch (cut) {
    case Cut::kMissing:
      return "missing";
    case Cut::kDamaged:
      return "damaged";
    case Cut::kUnjoined:
      return "does not join";
    case Cut::kEarlier:
      return kOtherHistory;
    case Cut::kShort:
      return "cut short";
    case Cut::kMinimal:
      return "behind WAL of wal_level minimal";
    case Cut::kAside:
      return "set aside";
  }
  HF_CHECK(false);
}

struct Commit {
  Time time;
  pg::Lsn lsn;
};

// The path to one timeline, cut.
class CutPath {
 public:
  CutPath(const WindowSources& sources, const pg::TimelineHistory& history, uint64_t first,
          const LeftAt& left)
      : sources_(sources),
        archive_(sources.archive),
        path_(archive_, history, first, left),
        damage_(sources.damage),
        minimal_(damage_.minimal) {
    for (const pg::SegmentName& name : Survey(archive_, path_).find_other_history())
      earlier_.insert(name);
    find_minimal(first);
    find_stretches(first);
    find_missing_end();
    find_aside();
  }

  const WalPath& path() const { return path_; }
  // The number before which no segment was looked into for WAL of wal_level minimal.
  const std::optional<uint64_t>& looked_from() const { return looked_from_; }
  const std::vector<Stretch>& stretches() const { return stretches_; }
  const std::vector<Break>& breaks() const { return breaks_; }

  const Stretch* stretch_of(uint64_t first, uint64_t last) const {
    const auto found = std::ranges::find_if(
        stretches_, [&](const Stretch& s) { return s.first <= first && last <= s.last; });
    return found == stretches_.end() ? nullptr : &*found;
  }
  // The first break in [first, last].
  const Break* break_in(uint64_t first, uint64_t last) const {
    const auto found = std::ranges::find_if(breaks_, [&](const Break& b) {
      const uint64_t end = std::max(b.last, b.first.segment_number);
      return b.first.segment_number <= last && end >= first;
    });
    return found == breaks_.end() ? nullptr : &*found;
  }

  // nullopt: it is not there, or cannot be read.
  std::optional<repo::WalSegmentInfo> info(uint64_t number) const {
    const std::optional<PathSegment> segment = path_.at(number);
    if (!segment) return std::nullopt;
    const pg::WalFileName file{
        .kind = segment->partial ? pg::WalFileKind::kPartial : pg::WalFileKind::kSegment,
        .segment = segment->name};
    const Bytes16* digest = segment->partial ? &*segment->partial : nullptr;
    std::optional<repo::WalSegmentInfo> found;
    if (const std::optional<Error> error =
            unreadable_of([&] { found = archive_.segment_info(file, digest); });
        error && !damage_.bad.contains(segment->name))
      sources_.on_damage(archive_.object_name(file, digest), *error);
    if (const auto from = minimal_from_.find(number); found && from != minimal_from_.end())
      found->minimal_from = from->second;
    return found;
  }
  std::optional<Commit> last_commit(const Stretch& stretch) const {
    for (uint64_t back = 0; back < kSegmentsLookedAt && back <= stretch.last - stretch.first;
         ++back)
      if (const std::optional<repo::WalSegmentInfo> here = info(stretch.last - back);
          here && here->commits.count > 0 &&
          !(path_.limit() && here->commits.last_lsn >= *path_.limit()) &&
          !(here->minimal_from.is_valid() && here->commits.last_lsn >= here->minimal_from))
        return Commit{.time = here->commits.last_time, .lsn = here->commits.last_lsn};
    return std::nullopt;
  }
  std::optional<Time> first_commit_from(uint64_t number) const {
    for (uint64_t on = 0; on < kSegmentsLookedAt; ++on) {
      if (!path_.at(number + on)) return std::nullopt;
      if (const std::optional<repo::WalSegmentInfo> here = info(number + on);
          here && here->commits.count > 0)
        return here->commits.first_time;
    }
    return std::nullopt;
  }
  pg::Lsn end_of(const Stretch& stretch) const {
    const std::optional<repo::WalSegmentInfo> here = info(stretch.last);
    pg::Lsn end = pg::start_lsn(stretch.last, archive_.segment_size());
    if (here && here->last_record_end.is_valid()) end = here->last_record_end;
    if (here && repo::is_unread(*here)) end = here->readable_end;
    if (here && here->minimal_from.is_valid()) end = std::min(end, here->minimal_from);
    if (path_.limit()) end = std::min(end, *path_.limit());
    return end;
  }

 private:
  void find_minimal(uint64_t first) {
    const std::optional<uint64_t> last = path_.last();
    if (!last || *last < first || sources_.look_into == 0) return;
    const uint64_t from = std::max(first, *last - std::min(*last, sources_.look_into - 1));
    if (from > first) looked_from_ = from;
    for (const Survey::MinimalPlace& place : Survey(archive_, path_).find_minimal(from, *last)) {
      minimal_from_.emplace(place.segment_number, place.from);
      if (const std::optional<PathSegment> next = path_.at(place.segment_number + 1))
        minimal_.insert(next->name);
    }
  }

  void find_stretches(uint64_t first) {
    uint64_t next = first;
    for (WalRange run : path_.runs()) {
      // Of copies of the last that part nobody knows which is meant.
      if (!path_.rivals().parted.empty() && run.last == path_.runs().back().last) --run.last;
      // What the parent has behind the limit is not on the way.
      if (path_.limit())
        run.last = std::min(run.last, pg::segment_of(*path_.limit(), archive_.segment_size()));
      if (run.last < next || run.last < run.first) continue;
      const uint64_t start = std::max(run.first, next);
      if (start > next) {
        breaks_.push_back({.cut = Cut::kMissing,
                           .first = path_.first_hole(next).value_or(
                               pg::SegmentName{.timeline = run.timeline, .segment_number = next}),
                           .last = start - 1});
        open_ = false;
      } else if (open_ && start > first && !joins_across(start)) {
        cut_before({.timeline = run.timeline, .segment_number = start});
      }
      take_run(run.timeline, start, run.last);
      next = run.last + 1;
    }
    if (const std::optional<PathSegment>& tail = path_.tail();
        tail && tail->name.segment_number >= next &&
        (path_.parted().others.empty() || path_.parted().is_own)) {
      const uint64_t number = tail->name.segment_number;
      if (number > next) {
        breaks_.push_back({.cut = Cut::kMissing,
                           .first = {.timeline = tail->name.timeline, .segment_number = next},
                           .last = number - 1});
        open_ = false;
      } else if (minimal_.contains(tail->name)) {
        cut_before(tail->name, Cut::kMinimal);
      }
      extend(number);
    }
  }

  void find_missing_end() {
    const std::optional<WalPath::MissingEnd>& end = path_.missing_end();
    if (!end || end->held_by || damage_.bad.contains(end->first)) return;
    breaks_.push_back(
        {.cut = path_.at(end->first.segment_number) ? Cut::kShort : Cut::kMissing,
         .first = end->first,
         .last = pg::last_segment_before_end(end->written_to, archive_.segment_size())});
  }

  void find_aside() {
    std::optional<pg::SegmentName> next;
    unreadable_of([&] { next = set_aside_behind(archive_, path_); });
    if (next) breaks_.push_back({.cut = Cut::kAside, .first = *next, .last = next->segment_number});
  }

  void take_run(pg::TimelineId timeline, uint64_t first, uint64_t last) {
    const pg::SegmentName start{.timeline = timeline, .segment_number = first};
    // What cuts, by weight: of several at one place the first is told.
    struct Places {
      Cut cut;
      const std::set<pg::SegmentName>* names;
      std::set<pg::SegmentName>::const_iterator next;
    };
    std::array<Places, 4> all = {{{Cut::kDamaged, &damage_.bad, {}},
                                  {Cut::kUnjoined, &damage_.unjoined, {}},
                                  {Cut::kEarlier, &earlier_, {}},
                                  {Cut::kMinimal, &minimal_, {}}}};
    for (Places& places : all) places.next = places.names->lower_bound(start);
    uint64_t from = first;
    for (;;) {
      const Places* nearest = nullptr;
      for (const Places& places : all)
        if (places.next != places.names->end() && places.next->timeline == timeline &&
            places.next->segment_number <= last &&
            (nearest == nullptr || *places.next < *nearest->next))
          nearest = &places;
      if (nearest == nullptr) break;
      const pg::SegmentName at = *nearest->next;
      const Cut cut = nearest->cut;
      for (Places& places : all)
        if (places.next != places.names->end() && *places.next == at) ++places.next;
      if (at.segment_number > from) extend_to(from, at.segment_number - 1);
      if (cut == Cut::kDamaged) {
        breaks_.push_back({.cut = Cut::kDamaged, .first = at, .last = at.segment_number});
        open_ = false;
        from = at.segment_number + 1;
      } else {
        if (open_) cut_before(at, cut);
        from = at.segment_number;
      }
    }
    if (from <= last) extend_to(from, last);
  }

  void cut_before(pg::SegmentName name, Cut cut = Cut::kUnjoined) {
    breaks_.push_back({.cut = cut, .first = name, .last = name.segment_number - 1});
    open_ = false;
  }
  void extend_to(uint64_t first, uint64_t last) {
    if (open_)
      stretches_.back().last = last;
    else
      stretches_.push_back({.first = first, .last = last});
    open_ = true;
  }
  void extend(uint64_t number) { extend_to(number, number); }

  // The first segment of a run against the one before it, which is of another timeline.
  bool joins_across(uint64_t number) const {
    const std::optional<repo::WalSegmentInfo> before = info(number - 1);
    const std::optional<repo::WalSegmentInfo> here = info(number);
    return !before || !here || repo::leads_into(*before, *here);
  }

  const WindowSources& sources_;
  const repo::WalArchive& archive_;
  const WalPath path_;
  const WalDamage& damage_;
  std::set<pg::SegmentName> minimal_;  // as in the damage
  std::map<uint64_t, pg::Lsn> minimal_from_;
  std::optional<uint64_t> looked_from_;
  std::set<pg::SegmentName> earlier_;  // of the line that stood before them earlier
  std::vector<Stretch> stretches_;
  std::vector<Break> breaks_;
  bool open_ = false;  // the last stretch goes on
};

class Looker {
 public:
  explicit Looker(const WindowSources& sources)
      : sources_(sources),
        archive_(sources.archive),
        backups_(sources.backups),
        size_(archive_.segment_size()) {}

  WalPicture look() {
    std::set<pg::TimelineId> timelines;
    for (pg::TimelineId timeline : archive_.timelines()) timelines.insert(timeline);
    for (const repo::Backup& backup : backups_) timelines.insert(backup.stop_timeline);
    std::vector<pg::TimelineHistory> histories;
    for (pg::TimelineId timeline : timelines)
      if (std::optional<pg::TimelineHistory> history = read_history(timeline))
        histories.push_back(std::move(*history));
    left_ = left_at(histories);
    find_taken_wal();
    for (const pg::TimelineHistory& history : histories) {
      throw_if_stopped(sources_.stop);
      look_at(history);
    }
    find_newer_backups(histories);
    return std::move(picture_);
  }

 private:
  std::optional<pg::TimelineHistory> read_history(pg::TimelineId timeline) {
    const pg::WalFileName file{.kind = pg::WalFileKind::kHistory,
                               .segment = {.timeline = timeline}};
    const std::string object = archive_.object_name(file);
    std::optional<pg::TimelineHistory> history;
    const std::optional<Error> error = unreadable_of([&] {
      const std::optional<Bytes> text = archive_.read_file(file);
      if (text)
        history = pg::parse_timeline_history(timeline, as_text(*text));
      else if (timeline.value == 1)
        history = pg::TimelineHistory(timeline);
      else
        repo::throw_damaged(object, "It is missing: nobody can tell where its timeline began.");
    });
    if (error) {
      sources_.on_damage(object, *error);
      for (const repo::Backup& backup : backups_)
        if (backup.stop_timeline == timeline)
          picture_.broken.emplace(
              backup.id,
              WalPicture::Broken{
                  .reason = fmt::format("the history of its timeline {} is missing or damaged",
                                        pg::to_string(timeline)),
                  .object = object});
    }
    return history;
  }

  uint64_t first_segment(const repo::Backup& backup) const {
    return pg::segment_of(backup.start_lsn, size_);
  }
  uint64_t last_segment(const repo::Backup& backup) const {
    return pg::last_segment_before_end(backup.stop_lsn, size_);
  }

  void look_at(const pg::TimelineHistory& history) {
    std::vector<const repo::Backup*> leading;
    for (const repo::Backup& backup : backups_)
      if (history.is_ancestor(backup.stop_timeline, backup.stop_lsn) &&
          is_of_its_line(history, backup))
        leading.push_back(&backup);
    if (leading.empty()) return;
    uint64_t first = UINT64_MAX;
    for (const repo::Backup* backup : leading) first = std::min(first, first_segment(*backup));
    std::unique_ptr<CutPath> made;
    if (const std::optional<Error> error = unreadable_of(
            [&] { made = std::make_unique<CutPath>(sources_, history, first, left_); })) {
      sources_.on_damage(repo::wal_timeline_folder(archive_.lineage().name, history.timeline()),
                         *error);
      return;
    }
    const CutPath& way = *made;

    // Which stretch each backup leads into; a backup needs its own WAL on its own timeline.
    std::map<const Stretch*, std::vector<const repo::Backup*>> by_stretch;
    for (const repo::Backup* backup : leading) {
      const Stretch* stretch = way.stretch_of(first_segment(*backup), last_segment(*backup));
      if (stretch == nullptr && backup->stop_timeline == history.timeline())
        note_broken(way, *backup);
      if (stretch != nullptr && sources_.restorable.contains(backup->id) &&
          !picture_.broken.contains(backup->id))
        by_stretch[stretch].push_back(backup);
    }
    for (const Stretch& stretch : way.stretches())
      if (const auto found = by_stretch.find(&stretch); found != by_stretch.end())
        add_window(way, history, stretch, found->second);
    for (const Break& here : way.breaks()) add_gap(way, by_stretch, here);
  }

  bool is_of_its_line(const pg::TimelineHistory& history, const repo::Backup& backup) const {
    bool is_other = false;
    for (const pg::TimelineHistoryEntry& entry : history.ancestors())
      unreadable_of([&] {
        is_other = is_other || left_another_line(archive_, history, entry.timeline, backup);
      });
    return !is_other;
  }

  void find_taken_wal() {
    const std::optional<Error> error = unreadable_of([&] {
      for (const repo::Backup& backup : backups_)
        if (const std::optional<repo::TakenWal> taken =
                repo::find_taken_wal(backup, archive_, sources_.compare))
          picture_.broken.emplace(
              backup.id, WalPicture::Broken{.reason = taken->words, .object = taken->object});
    });
    if (error) sources_.on_damage(repo::amended_root(archive_.lineage().name), *error);
  }

  void note_broken(const CutPath& way, const repo::Backup& backup) {
    const Break* cut = way.break_in(first_segment(backup), last_segment(backup));
    WalPicture::Broken broken;
    if (cut != nullptr) {
      const std::string name = pg::segment_file_name(cut->first, size_);
      broken.reason =
          fmt::format("WAL segment \"{}\", which it needs, {}", name,
                      cut->cut == Cut::kUnjoined ? "does not join the one before it"
                                                 : fmt::format("is {}", word_of(cut->cut)));
      broken.object =
          archive_.object_name({.kind = pg::WalFileKind::kSegment, .segment = cut->first});
    } else {
      const std::optional<uint64_t> last = way.path().last();
      const uint64_t missing =
          last && *last >= first_segment(backup) ? *last + 1 : first_segment(backup);
      const pg::SegmentName name{.timeline = backup.stop_timeline, .segment_number = missing};
      broken.reason = fmt::format("WAL segment \"{}\", which it needs, is missing",
                                  pg::segment_file_name(name, size_));
    }
    picture_.broken.emplace(backup.id, std::move(broken));
  }

  void add_window(const CutPath& way, const pg::TimelineHistory& history, const Stretch& stretch,
                  const std::vector<const repo::Backup*>& backups) {
    const auto earliest = *std::ranges::min_element(
        backups, {}, [](const repo::Backup* backup) { return backup->stop_lsn; });
    Window window{.timeline = history.timeline(),
                  .start_lsn = earliest->stop_lsn,
                  .end_lsn = std::max(way.end_of(stretch), earliest->stop_lsn),
                  .start_time = earliest->stop_time,
                  .end_time = {},
                  .backups = {}};
    const auto newest = *std::ranges::max_element(
        backups, {}, [](const repo::Backup* backup) { return backup->stop_lsn; });
    for (const repo::Backup* backup : backups) window.backups.push_back(backup->id);
    window.end_lsn = std::max(window.end_lsn, newest->stop_lsn);
    if (way.looked_from() && *way.looked_from() > stretch.first)
      window.looked_from = pg::start_lsn(*way.looked_from(), size_);
    // By the place, not by the time: a clock may have been wrong.
    const std::optional<Commit> commit = way.last_commit(stretch);
    window.end_time = commit && commit->lsn >= newest->stop_lsn ? commit->time : newest->stop_time;
    picture_.windows.push_back(std::move(window));
  }

  // Once, although the ways to several timelines have it in common.
  void add_gap(const CutPath& way,
               const std::map<const Stretch*, std::vector<const repo::Backup*>>& by_stretch,
               const Break& here) {
    const std::string first = pg::segment_file_name(here.first, size_);
    if (!told_.insert(first + std::string(word_of(here.cut))).second) return;
    const uint64_t first_number = here.first.segment_number;
    Gap gap{.timeline = here.first.timeline,
            .first_segment = first,
            .last_segment = first,
            .segment_count = here.last + 1 - first_number,
            .start_lsn = pg::start_lsn(first_number, size_),
            .end_lsn = pg::start_lsn(here.last + 1, size_),
            .after = {},
            .before = way.first_commit_from(here.last + 1),
            .problem = std::string(word_of(here.cut)),
            .backups = {},
            .is_hole = here.cut == Cut::kMissing || here.cut == Cut::kShort ||
                       here.cut == Cut::kMinimal || here.cut == Cut::kAside};
    if (gap.segment_count > 0)
      gap.last_segment = pg::segment_file_name(
          {.timeline = here.first.timeline, .segment_number = here.last}, size_);
    for (const Stretch& stretch : way.stretches()) {
      if (stretch.last + (here.cut == Cut::kShort ? 0 : 1) != first_number) continue;
      if (const std::optional<Commit> commit = way.last_commit(stretch)) gap.after = commit->time;
      if (const auto found = by_stretch.find(&stretch); found != by_stretch.end())
        for (const repo::Backup* backup : found->second) gap.backups.push_back(backup->id);
    }
    picture_.gaps.push_back(std::move(gap));
  }

  void find_newer_backups(const std::vector<pg::TimelineHistory>& histories) {
    std::vector<const repo::Backup*> good;
    for (const repo::Backup& backup : backups_)
      if (sources_.restorable.contains(backup.id) && !picture_.broken.contains(backup.id))
        good.push_back(&backup);
    std::ranges::sort(good, {}, [](const repo::Backup* backup) {
      return std::pair(backup->stop_lsn, backup->id);
    });
    for (Gap& gap : picture_.gaps) {
      const std::optional<Time> last_archived = when_last_archived(gap.timeline);
      const auto history =
          std::ranges::find(histories, gap.timeline, &pg::TimelineHistory::timeline);
      const auto is_newer = [&](const repo::Backup* backup) {
        if (backup->stop_timeline == gap.timeline) return backup->start_lsn >= gap.end_lsn;
        // One of an ancestor leads up to the hole, whenever it was taken in.
        if (history != histories.end() &&
            history->is_ancestor(backup->stop_timeline, backup->stop_lsn))
          return false;
        return last_archived && backup->committed.value_or(backup->finished) > *last_archived;
      };
      if (const auto found = std::ranges::find_if(good, is_newer); found != good.end())
        gap.newer_backup = (*found)->id;
    }
  }

  // By the clock of who pushed it, for a time of modification is that of a copy of the repository;
  // nullopt: nobody knows.
  std::optional<Time> when_last_archived(pg::TimelineId timeline) const {
    std::optional<Time> when;
    const std::optional<uint64_t> last = archive_.last_segment(timeline);
    if (!last) return when;
    const pg::WalFileName file{.kind = pg::WalFileKind::kSegment,
                               .segment = {.timeline = timeline, .segment_number = *last}};
    unreadable_of([&] {
      if (const std::optional<repo::WalSegmentInfo> info = archive_.segment_info(file))
        when = info->pushed;
    });
    return when;
  }

  const WindowSources& sources_;
  const repo::WalArchive& archive_;
  const std::vector<repo::Backup>& backups_;
  const pg::WalSegmentSize size_;
  LeftAt left_;
  WalPicture picture_;
  std::set<std::string> told_;
};

}  // namespace

WalPicture look_at_wal(const WindowSources& sources) { return Looker(sources).look(); }

WalPicture look_at_wal(
    const repo::Repository& repository, const repo::Lineage& lineage,
    const std::function<void(const std::string& object, const Error& error)>& on_damage) {
  std::vector<repo::Backup> backups;
  std::set<std::string> restorable;
  for (const std::string& id : repo::list_backup_ids(repository, lineage.name)) {
    std::optional<repo::Backup> backup = repo::read_backup_if_possible(
        repository, lineage.name, id,
        [&](const Error& error) { on_damage(repo::backup_name(lineage.name, id), error); });
    if (!backup) continue;
    if (!backup->damaged) restorable.insert(id);
    backups.push_back(std::move(*backup));
  }
  const repo::WalArchive archive(repository, lineage);
  const WalDamage nothing_read;
  return look_at_wal({.archive = archive,
                      .backups = backups,
                      .restorable = restorable,
                      .damage = nothing_read,
                      .on_damage = on_damage});
}

}  // namespace holdfast::recovery
