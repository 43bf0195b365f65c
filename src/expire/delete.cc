#include "expire/delete.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/error.h"
#include "expire/living.h"
#include "pg/timeline_history.h"
#include "recovery/windows.h"
#include "repo/intent.h"
#include "repo/marks.h"
#include "repo/needed_wal.h"
#include "repo/refs.h"
#include "repo/repair.h"
#include "repo/wal_archive.h"

namespace holdfast::expire {
namespace {

using repo::ObjectKind;

struct Found {
  repo::LineageName lineage;
  std::string id;
};

// The one backup of any lineage that `text` names. Its commit may be damaged.
Found find_backup(const repo::Repository& repository, const std::string& cluster,
                  repo::LineageChoice choice, const std::string& text) {
  const std::vector<repo::Lineage> lineages = repository.require_lineages(cluster);
  std::vector<Found> matches;
  for (const repo::Lineage& lineage : lineages)
    if (choice.lineage.empty() || repo::to_string(lineage.name) == choice.lineage)
      for (const std::string& id : repo::list_backup_ids(repository, lineage.name))
        if (!text.empty() && id.starts_with(text)) matches.push_back({lineage.name, id});
  if (matches.size() == 1) return matches.front();
  if (matches.size() > 1 && matches.front().lineage != matches.back().lineage)
    throw Error(
        {.code = ErrorCode::kUsage,
         .message = fmt::format("\"{}\" is the beginning of {} backups", text, matches.size()),
         .detail =
             fmt::format("Among them: \"{}\", \"{}\".", matches.front().id, matches.back().id),
         .hint = "Give more of the id."});
  // "latest", or an error that names the nearest.
  choice.backup = text;
  const repo::LineageName lineage = matches.empty()
                                        ? repo::choose_lineage(repository, cluster, choice).name
                                        : matches.front().lineage;
  return {lineage, repo::resolve_backup(repository, lineage, text).id};
}

// nullopt when its commit cannot be read: a backup that is damaged must not stand in the way of its
// own deletion.
std::optional<repo::Backup> read_if_possible(const repo::Repository& repository,
                                             const Found& found) {
  std::optional<repo::Backup> backup;
  error_of({ErrorCode::kCorrupt},
           [&] { backup = repo::read_backup(repository, found.lineage, found.id); });
  return backup;
}

// Without its list of references a backup is none to rely on: of what it uses its manifest alone
// tells.
bool has_refs(const repo::Repository& repository, const repo::LineageName& lineage,
              const std::string& id) {
  bool has = false;
  unreadable_of([&] { has = repo::read_refs(repository, lineage, id).has_value(); });
  return has;
}

bool is_good(const repo::Repository& repository, const repo::Backup& backup) {
  return backup.is_good() && has_refs(repository, backup.lineage, backup.id);
}

void refuse_pinned(const repo::Repository& repository, const Found& found) {
  const repo::BackupMarks marks = repo::read_marks(repository, found.lineage, found.id);
  if (marks.refused)
    throw Error({.code = marks.refused->code(),
                 .message = fmt::format("cannot tell whether backup \"{}\" is pinned", found.id),
                 .detail = fmt::format("{}. {}", marks.refused->message(), marks.refused->detail()),
                 .hint = marks.refused->hint()});
  if (!marks.pinned) return;
  throw Error({.code = ErrorCode::kUsage,
               .message = fmt::format("backup \"{}\" is pinned", found.id),
               .detail = "Somebody has said that it must stay.",
               .hint = fmt::format("If it need not any more, run \"holdfast backup pin --off {}\".",
                                   found.id)});
}

void refuse_used(const repo::Repository& repository, const Found& found) {
  // Without a grace period: what an intent that has just run out uses stays, whether its commit
  // does or not.
  const Time now = repository.store().now();
  for (const repo::Intent& intent :
       repo::read_valid_intents(repository, found.lineage, now, Microseconds{0})) {
    if (std::ranges::find(intent.uses, found.id) == intent.uses.end()) continue;
    throw Error(
        {.code = ErrorCode::kBusy,
         .message = fmt::format("backup \"{}\" is in use", found.id),
         .detail = fmt::format("A {} uses it: {}.", intent.what, repo::owner_text(intent)),
         .hint = fmt::format("Wait for its end. If its work is over, which cannot be proven from "
                             "here: \"holdfast claims --end {}\", else its claim runs out at {}.",
                             to_hex(intent.id.view()).substr(0, 8), to_local(intent.valid_until))});
  }
}

// Whether one that was named stays, as `deletion` then says.
bool is_left(const repo::Repository& repository, const Found& found, Deletion& deletion) {
  std::optional<Error> why = error_of({ErrorCode::kUsage, ErrorCode::kBusy}, [&] {
    refuse_pinned(repository, found);
    refuse_used(repository, found);
  });
  if (!why) return false;
  deletion.left.push_back({.id = found.id, .why = *std::move(why)});
  return true;
}

// Who pinned it between our look and our mark was told that it stays.
bool is_pinned_meanwhile(const repo::Repository& repository, const Deletion::OneBackup& one,
                         Deletion& deletion) {
  std::optional<Error> why =
      error_of({ErrorCode::kUsage}, [&] { refuse_pinned(repository, {one.lineage, one.id}); });
  if (!why) return false;
  repo::put_mark(repository, one.lineage, one.id, repo::MarkKind::kUndeleted,
                 "It was pinned meanwhile.");
  deletion.left.push_back({.id = one.id, .why = *std::move(why)});
  return true;
}

// Nothing at all is no deletion.
void refuse_nothing(const Deletion& deletion) {
  if (deletion.backups.empty() && !deletion.left.empty()) throw Error(deletion.left.front().why);
}

// What an expiry that did not see it has left of a backup that was taken back.
void require_whole(const repo::Repository& repository, const repo::Lineage& lineage,
                   const repo::Backup& backup) {
  const repo::LineageName& name = lineage.name;
  std::vector<std::string> objects = {repo::manifest_name(name, backup.id)};
  std::vector<repo::PackRefs> uses;
  damage_of([&] { uses = repo::read_uses(repository, backup); });
  for (const repo::PackRefs& pack : uses) objects.push_back(repo::pack_name(name, pack.pack));
  std::optional<std::string> missing = repo::find_missing_wal(repository, lineage,
                                                              {.timeline = backup.stop_timeline,
                                                               .start_lsn = backup.start_lsn,
                                                               .end_lsn = backup.stop_lsn});
  for (const std::string& object : objects)
    if (!missing && !repository.store().info(object)) missing = object;
  const std::optional<repo::TakenWal> taken =
      repo::find_taken_wal(backup, repo::WalArchive(repository, lineage), repo::Compare::kContents);
  if (!missing && !taken) {
    if (!has_refs(repository, name, backup.id))
      repo::put_mark(repository, name, backup.id, repo::MarkKind::kUsable,
                     "Its list of references is missing or damaged.");
    return;
  }
  const std::string detail =
      missing ? fmt::format("The object \"{}\" that it uses is missing.", *missing)
              : taken->words + ".";
  repo::put_mark(repository, name, backup.id, repo::MarkKind::kDamaged, detail);
  throw Error({.code = ErrorCode::kCorrupt,
               .message = fmt::format("backup \"{}\" is there again, and damaged", backup.id),
               .detail = detail,
               .hint = "\"holdfast verify\" tells what is left of it."});
}

struct Deleted {
  repo::Lineage lineage;
  std::string id;
};
// The one deleted backup of any lineage that `text` names.
Deleted find_deleted(const repo::Repository& repository, const std::string& cluster,
                     const std::string& text) {
  const std::vector<repo::Lineage> lineages = repository.require_lineages(cluster);
  std::vector<Deleted> matches;
  for (const repo::Lineage& lineage : lineages)
    for (const auto& [id, marks] : repo::read_deletions(repository, lineage.name))
      if (!text.empty() && id.starts_with(text) && repo::has_commit(repository, lineage.name, id))
        matches.push_back({lineage, id});
  if (matches.size() == 1) return matches.front();
  if (matches.size() > 1)
    throw Error({.code = ErrorCode::kUsage,
                 .message = fmt::format("\"{}\" is the beginning of {} deleted backups", text,
                                        matches.size()),
                 .detail = fmt::format("Among them: \"{}\", \"{}\".", matches.front().id,
                                       matches.back().id),
                 .hint = "Give more of the id."});
  throw Error(
      {.code = ErrorCode::kNotFound,
       .message = fmt::format("no backup \"{}\" is deleted and still there", text),
       .detail = "A deletion can be taken back for a grace period; then an expiry removes "
                 "the backup.",
       .hint = "\"holdfast backup list\" shows what there is, and what can be taken back."});
}

// The good backups that stay of a lineage. One that cannot be read is none that anybody could go
// back to.
std::vector<repo::Backup> good_without(const repo::Repository& repository,
                                       const repo::Lineage& lineage, const Deletion& deletion) {
  std::vector<repo::Backup> good;
  for (const std::string& id : repo::list_backup_ids(repository, lineage.name)) {
    const bool goes = std::ranges::any_of(deletion.backups, [&](const Deletion::OneBackup& one) {
      return one.id == id && one.lineage == lineage.name;
    });
    if (goes) continue;
    unreadable_of([&] {
      const std::optional<repo::Backup> backup = read_if_possible(repository, {lineage.name, id});
      if (backup && is_good(repository, *backup)) good.push_back(*backup);
    });
  }
  return good;
}

// The timelines on which a server may be at work: the one of `place`, however quiet it is there,
// the newest of which there is WAL, and each that was archived from when the newest had begun
// already: a copy's or a test's may have the higher number. What cannot be read is left out.
std::vector<pg::TimelineHistory> histories_in_use(const repo::Repository& repository,
                                                  const repo::Lineage& lineage,
                                                  const std::optional<ClusterPlace>& place) {
  const repo::WalArchive archive(repository, lineage);
  std::vector<pg::TimelineHistory> in_use;
  std::optional<Time> newest_began;
  const std::vector<pg::TimelineId> timelines = archive.timelines();
  for (auto timeline = timelines.rbegin(); timeline != timelines.rend(); ++timeline)
    unreadable_of([&] {
      const pg::WalFileName file{.kind = pg::WalFileKind::kHistory,
                                 .segment = {.timeline = *timeline}};
      std::optional<pg::TimelineHistory> history;
      if (timeline->value == 1) history.emplace(*timeline);
      if (const std::optional<Bytes> text = archive.read_file(file))
        history = pg::parse_timeline_history(*timeline, as_text(*text));
      if (!history) return;
      const std::optional<repo::WalFileInfo> began = archive.file_info(file);
      if (in_use.empty()) {
        if (began) newest_began = began->pushed;
        return in_use.push_back(*std::move(history));
      }
      if (place && place->timeline == *timeline) return in_use.push_back(*std::move(history));
      const std::optional<uint64_t> last = archive.last_segment(*timeline);
      if (!last || !newest_began) return;
      const std::optional<repo::WalSegmentInfo> info =
          archive.segment_info({.kind = pg::WalFileKind::kSegment,
                                .segment = {.timeline = *timeline, .segment_number = *last}});
      if (info && info->pushed > *newest_began) in_use.push_back(*std::move(history));
    });
  return in_use;
}

// What only the backups of `going` lead to, and of each timeline in use, where it is so, that last.
struct Losses {
  std::vector<Deletion::Loss> all;
  std::optional<Deletion::Loss> in_use;
};
Losses find_losses(const repo::Repository& repository, const repo::Lineage& lineage,
                   const std::vector<repo::Backup>& going,
                   const std::vector<pg::TimelineHistory>& in_use) {
  const std::vector<recovery::Window> windows =
      recovery::look_at_wal(repository, lineage, [](const std::string&, const Error&) {}).windows;
  Losses losses;
  for (const recovery::Window& window : windows) {
    const auto goes = [&](const std::string& id) {
      return std::ranges::find(going, id, &repo::Backup::id) != going.end();
    };
    if (!std::ranges::all_of(window.backups, goes)) continue;
    losses.all.push_back({.timeline = window.timeline,
                          .from = window.start_lsn,
                          .to = window.end_lsn,
                          .since = window.start_time,
                          .until = window.end_time});
    const auto is_later = [&](const recovery::Window& other) {
      return other.timeline == window.timeline && other.end_lsn > window.end_lsn;
    };
    if (std::ranges::find(in_use, window.timeline, &pg::TimelineHistory::timeline) !=
            in_use.end() &&
        std::ranges::none_of(windows, is_later))
      losses.in_use = losses.all.back();
  }
  return losses;
}

// What would be without any way back: the cluster, the timeline on which it is at work, or what it
// has written there behind a gap.
void refuse_last(const repo::Repository& repository, const std::vector<repo::Lineage>& lineages,
                 const DeleteOptions& options, Deletion& deletion) {
  auto refuse = [&](const std::string& what, const std::string& detail) {
    if (options.delete_last) return;
    throw Error({.code = ErrorCode::kUsage,
                 .message = fmt::format("{} would be left without a good backup", what),
                 .detail = detail,
                 .hint = "Take another backup first; or, if nothing of it is to be recovered any "
                         "more, add --delete-last."});
  };
  // A newer lineage has taken its place, once it has a good backup.
  for (auto lineage = lineages.rbegin(); lineage != lineages.rend(); ++lineage) {
    std::vector<repo::Backup> going;
    for (const Deletion::OneBackup& one : deletion.backups)
      if (one.lineage == lineage->name && one.backup && !one.backup->damaged)
        going.push_back(*one.backup);
    const std::vector<repo::Backup> left = good_without(repository, *lineage, deletion);
    if (going.empty() && left.empty()) continue;
    if (left.empty()) {
      deletion.leaves_no_good_backup = true;
      return refuse(fmt::format("cluster \"{}\"", options.cluster),
                    fmt::format("Backup \"{}\" is its last that is not damaged.", going.back().id));
    }
    std::optional<ClusterPlace> place;
    if (!going.empty() && options.ask_place) place = options.ask_place();
    if (place && place->system_identifier != lineage->system_identifier) place.reset();
    const std::vector<pg::TimelineHistory> in_use = histories_in_use(repository, *lineage, place);
    for (const pg::TimelineHistory& history : in_use) {
      auto leads_there = [&](const repo::Backup& backup) {
        return backup.stop_timeline == history.timeline() ||
               history.is_ancestor(backup.stop_timeline, backup.stop_lsn);
      };
      if (std::ranges::any_of(going, leads_there) && std::ranges::none_of(left, leads_there))
        refuse(fmt::format("timeline {}", pg::to_string(history.timeline())),
               fmt::format("A server of cluster \"{}\" may be at work on it, and all other backups "
                           "are of others: what was committed on it could not be recovered.",
                           options.cluster));
    }
    const Losses losses = find_losses(repository, *lineage, going, in_use);
    deletion.losses = losses.all;
    if (losses.in_use)
      refuse(fmt::format("timeline {} from {} on", pg::to_string(losses.in_use->timeline),
                         pg::to_string(losses.in_use->from)),
             fmt::format("WAL is missing before that, and no other backup leads past the gap: what "
                         "was committed from {} to {} could not be recovered.",
                         to_local(losses.in_use->since), to_local(losses.in_use->until)));
    return;
  }
}

// What is living now and would not be without the backups of `deletion`, in one lineage. When
// objects were made plays no part: an intent that spares the newest lets go of them some day.
void count_freed(const repo::Repository& repository, const repo::Lineage& lineage,
                 Deletion& deletion) {
  std::set<std::string> before_it, deleted, damaged;
  for (const auto& [id, marks] : repo::read_deletions(repository, lineage.name))
    before_it.insert(id);
  for (const Deletion::OneBackup& one : deletion.backups) {
    if (one.lineage != lineage.name) continue;
    deleted.insert(one.id);
    if (!has_refs(repository, lineage.name, one.id)) damaged.insert(one.id);
  }
  if (deleted.empty()) return;
  before_it.insert(damaged.begin(), damaged.end());
  deleted.insert(before_it.begin(), before_it.end());
  const Time now = repository.store().now();
  const Living before(repository, lineage, now, Microseconds{0}, before_it);
  const Living after(repository, lineage, now, Microseconds{0}, deleted);
  for_each_candidate(
      repository, lineage, after, [&](const store::ListEntry& entry, const repo::ObjectName& name) {
        if (after.is_living(name, Time::min())) return;
        if (!before.is_living(name, Time::min()) && !damaged.contains(name.backup_id)) return;
        if (name.segment.timeline.is_valid()) {
          if (name.kind == ObjectKind::kWalSegment) ++deletion.freed_wal_segments;
          deletion.freed_wal_bytes += entry.bytes;
        } else {
          ++deletion.freed_objects;
          deletion.freed_bytes += entry.bytes;
        }
      });
}

}  // namespace

Deletion plan_deletion(const DeleteOptions& options, const repo::Repository& repository) {
  const std::vector<repo::Lineage> lineages = repository.require_lineages(options.cluster);
  Deletion deletion;
  std::set<std::string> ids;
  for (const std::string& text : options.ids) {
    const Found found = find_backup(repository, options.cluster, options.lineage, text);
    if (!ids.insert(found.id).second || is_left(repository, found, deletion)) continue;
    deletion.backups.push_back(
        {.lineage = found.lineage,
         .id = found.id,
         .backup = read_if_possible(repository, found),
         .unreadable_marks = repo::read_marks(repository, found.lineage, found.id).unreadable});
  }
  refuse_nothing(deletion);
  refuse_last(repository, lineages, options, deletion);
  // Nothing is removed here, and an expiry asks again what every backup uses.
  deletion.why_unknown = damage_of([&] {
    for (const repo::Lineage& lineage : lineages) count_freed(repository, lineage, deletion);
  });
  return deletion;
}

Deletion carry_out(Deletion deletion, const repo::Repository& repository, store::Remover& remover) {
  std::erase_if(deletion.backups, [&](Deletion::OneBackup& one) {
    if (is_left(repository, {one.lineage, one.id}, deletion)) return true;
    one.is_final = !one.backup;
    if (one.backup) {
      // A full repository is what backups are deleted for.
      const std::optional<Error> no_room = error_of({ErrorCode::kNoSpace}, [&] {
        repo::put_mark(repository, one.lineage, one.id, repo::MarkKind::kDeleted,
                       "Somebody said so.");
      });
      one.is_final = no_room.has_value();
      if (!no_room && is_pinned_meanwhile(repository, one, deletion)) return true;
    }
    if (one.is_final) {
      remover.remove(repo::backup_copy_name(one.lineage, one.id));
      remover.remove(repo::backup_name(one.lineage, one.id));
    }
    return false;
  });
  refuse_nothing(deletion);
  return deletion;
}

repo::Backup undelete(const std::string& cluster, const std::string& id,
                      const repo::Repository& repository) {
  const auto [lineage, found] = find_deleted(repository, cluster, id);
  const repo::LineageName& name = lineage.name;
  const auto throw_gone = [&] {
    throw Error({.code = ErrorCode::kNotFound,
                 .message = fmt::format("backup \"{}\" has been removed", found),
                 .detail = "Its grace period is over.",
                 .hint = "\"holdfast backup list\" shows what there is."});
  };
  std::optional<repo::Backup> backup = repo::read_commit(repository, name, found);
  if (!backup) throw_gone();

  // From here on no run of expire that begins takes any of it.
  repo::HeldIntent claim(repository, name,
                         {.what = "undelete",
                          .uses = {found},
                          .timeline = backup->start_timeline,
                          .wal_from = backup->start_lsn},
                         system_clock());
  for (const repo::RunningExpiry& run : repo::running_expiries(repository, name))
    throw Error({.code = ErrorCode::kBusy,
                 .message = fmt::format("an expiry may be removing backup \"{}\"", found),
                 .detail = fmt::format("It is {}.", run.by),
                 .hint = fmt::format(
                     "Try again when it has ended: \"holdfast backup undelete {}\".", found)});
  // An expiry that was killed between the two may have left one.
  repo::put_missing_commit(repository, name, found, claim);
  if (!repo::has_commit(repository, name, found)) throw_gone();
  claim.check();
  repo::put_mark(repository, name, found, repo::MarkKind::kUndeleted, "Somebody said so.");
  backup = repo::read_backup(repository, name, found);
  if (!backup) throw_gone();
  require_whole(repository, lineage, *backup);
  return *std::move(backup);
}

repo::Backup pin(const PinOptions& options, bool pinned, const repo::Repository& repository) {
  const Found found = find_backup(repository, options.cluster, options.lineage, options.id);
  repo::Backup backup = repo::resolve_backup(repository, found.lineage, found.id);
  repo::put_mark(repository, found.lineage, found.id,
                 pinned ? repo::MarkKind::kPinned : repo::MarkKind::kUnpinned,
                 pinned ? "It must stay." : "It need not stay any more.");
  return backup;
}

}  // namespace holdfast::expire
