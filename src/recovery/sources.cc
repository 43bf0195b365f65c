#include "recovery/sources.h"

#include <algorithm>
#include <functional>

#include <fmt/core.h>
#include <fmt/ranges.h>

#include "base/error.h"
#include "repo/backup_order.h"
#include "repo/marks.h"
#include "repo/needed_wal.h"

namespace holdfast::recovery {

using pg::to_string;

void throw_unreachable(std::string message, std::string detail, std::string hint) {
  throw Error({.code = ErrorCode::kTargetUnreachable,
               .message = std::move(message),
               .detail = std::move(detail),
               .hint = std::move(hint)});
}

std::string lines(std::initializer_list<std::string> sentences) {
  std::string text;
  for (const std::string& sentence : sentences)
    if (!sentence.empty()) text += (text.empty() ? "" : "\n") + sentence;
  return text;
}

Sources::Sources(const repo::Repository& repository, const repo::Lineage& lineage,
                 const Target& target)
    : repository_(repository), lineage_(lineage), archive_(repository, lineage), target_(target) {
  find_backups();
  read_histories();
  choose_timeline();
}

void Sources::find_backups() {
  if (!target_.backup.empty()) {
    repo::Backup named = repo::resolve_backup(repository_, lineage_.name, target_.backup);
    if (named.damaged)
      notes_.push_back(
          fmt::format("backup {} is marked damaged; it is used because it was named", named.id));
    repo::require_own_wal(named, archive_,
                          "Restore another backup, or serve that WAL again: \"holdfast wal "
                          "set-aside FILE --off\".");
    backup_ids_ = {named.id};
    return;
  }
  backup_ids_ = repo::backup_ids_in_order(repository_, lineage_.name);
  if (backup_ids_.empty()) {
    throw Error(
        {.code = ErrorCode::kNotFound,
         .message = fmt::format("there is no backup of cluster \"{}\"", lineage_.name.shown()),
         .detail = fmt::format("Looked at lineage {} of {}.", to_string(lineage_.name),
                               repository_.store().url()),
         .hint = "Take one with holdfast backup, or check --repo and --cluster."});
  }
}

void Sources::read_histories() {
  // A damaged history of one timeline must not keep the others from being recovered: it is thrown
  // only when that timeline was asked for.
  histories_ = recovery::read_histories(archive_, [&](pg::TimelineId timeline,
                                                      const std::optional<Error>& damage) {
    if (target_.timeline == timeline && damage) throw Error(*damage);
    if (target_.timeline == timeline) return;
    const bool is_aside =
        !damage &&
        !archive_.contents({.kind = pg::WalFileKind::kHistory, .segment = {.timeline = timeline}})
             .empty();
    if (!is_aside) untold_.push_back({.timeline = timeline, .is_damaged = damage.has_value()});
    notes_.push_back(fmt::format("timeline {} is passed over: {}", to_string(timeline),
                                 damage     ? damage->message()
                                 : is_aside ? "its history file was set aside"
                                            : "its history file is not in the archive"));
  });
  left_ = left_at(histories_);
  find_contradictions();
}

// A history repeats those of its ancestors. One that says something else of an ancestor than the
// ancestor's own file is another cluster's, or that one is.
void Sources::find_contradictions() {
  for (const pg::TimelineHistory& history : histories_) {
    for (const pg::TimelineHistory& other : histories_) {
      if (other.timeline() >= history.timeline() || !history.contains(other.timeline())) continue;
      std::optional<Contradiction> found;
      for (const pg::TimelineHistoryEntry& entry : other.ancestors()) {
        // As its line says: where the path leaves it may lie before.
        const auto line = std::ranges::find(history.ancestors(), entry.timeline,
                                            &pg::TimelineHistoryEntry::timeline);
        const std::optional<pg::Lsn> end =
            line == history.ancestors().end() ? std::nullopt : std::optional(line->switch_lsn);
        if (end == entry.switch_lsn) continue;
        found = {.newer = history.timeline(),
                 .older = other.timeline(),
                 .left = entry.timeline,
                 .earliest_end = end ? std::min(*end, entry.switch_lsn) : entry.switch_lsn};
        break;
      }
      // The newer one knows of a past before the first timeline.
      if (const pg::TimelineHistoryEntry& first = history.ancestors().front();
          !found && other.ancestors().empty() && first.timeline != other.timeline())
        found = {.newer = history.timeline(),
                 .older = other.timeline(),
                 .left = first.timeline,
                 .earliest_end = first.switch_lsn};
      if (found) contradictions_.push_back(*found);
    }
  }
}

void throw_contradiction(const Contradiction& contradiction, std::string up_to_there) {
  throw Error(
      {.code = ErrorCode::kCorrupt,
       .message = fmt::format("the history of timeline {} contradicts that of timeline {}",
                              to_string(contradiction.newer), to_string(contradiction.older)),
       .detail = fmt::format("They tell different ends of timeline {}, the earlier one at {}: one "
                             "of the two files is not of this cluster, and following it would "
                             "replay WAL that does not belong together.",
                             to_string(contradiction.left), to_string(contradiction.earliest_end)),
       .hint = fmt::format("Compare both with those in the pg_wal directories of the servers that "
                           "wrote them, and take the wrong one out of service: \"holdfast wal "
                           "set-aside {}\" or \"holdfast wal set-aside {}\".{}",
                           pg::history_file_name(contradiction.newer),
                           pg::history_file_name(contradiction.older),
                           up_to_there.empty() ? std::move(up_to_there) : "\n" + up_to_there)});
}

void Sources::tell_once(std::string note) const {
  if (std::ranges::find(notes_, note) == notes_.end()) notes_.push_back(std::move(note));
}

std::optional<std::string> Sources::taken_wal_of(const repo::Backup& backup) const {
  const std::optional<repo::TakenWal> taken =
      repo::find_taken_wal(backup, archive_, repo::Compare::kContents);
  if (!taken) return std::nullopt;
  return taken->words;
}

std::optional<repo::Backup> Sources::read_usable(const std::string& id) const {
  if (!target_.backup.empty()) return repo::read_backup(repository_, lineage_.name, id);
  return read_if_usable(id);
}

std::optional<repo::Backup> Sources::read_if_usable(const std::string& id) const {
  std::optional<repo::Backup> backup =
      repo::read_backup_if_possible(repository_, lineage_.name, id, [&](const Error& error) {
        tell_once(fmt::format("backup {} is passed over: {}", id, error.message()));
      });
  if (!backup) return std::nullopt;
  for (const std::string& mark : backup->marks.unreadable)
    tell_once(fmt::format("the mark \"{}\" of backup {} cannot be read", mark, id));
  if (!backup->damaged) {
    const std::optional<std::string> taken = taken_wal_of(*backup);
    if (!taken) return backup;
    tell_once(fmt::format("backup {} is passed over: {}", id, *taken));
    return std::nullopt;
  }
  if (backup->marks.damaged)
    tell_once(fmt::format("backup {} is passed over: it was found damaged at {}", id,
                          to_local(backup->marks.damaged->at)));
  return std::nullopt;
}

void Sources::for_each_backup(const std::function<bool(const repo::Backup&)>& visit) const {
  for (auto id = backup_ids_.rbegin(); id != backup_ids_.rend(); ++id) {
    std::optional<repo::Backup> backup = read_usable(*id);
    if (backup && history_->is_ancestor(backup->stop_timeline, backup->stop_lsn) && !visit(*backup))
      return;
  }
}

std::optional<repo::Backup> Sources::newest_of_all() const {
  const std::vector<std::string> ids = repo::backup_ids_in_order(repository_, lineage_.name);
  for (auto id = ids.rbegin(); id != ids.rend(); ++id) {
    std::optional<repo::Backup> backup =
        repo::read_backup_if_possible(repository_, lineage_.name, *id, [](const Error&) {});
    if (backup && !taken_wal_of(*backup)) return backup;
  }
  return std::nullopt;
}

std::optional<repo::Backup> Sources::newest_backup(
    const std::function<bool(const repo::Backup&)>& serves) const {
  std::optional<repo::Backup> found;
  for_each_backup([&](const repo::Backup& backup) {
    if (serves(backup)) found = backup;
    return !found;
  });
  return found;
}

std::optional<repo::Backup> Sources::oldest_backup() const {
  for (const std::string& id : backup_ids_) {
    std::optional<repo::Backup> backup = read_usable(id);
    if (backup && history_->is_ancestor(backup->stop_timeline, backup->stop_lsn)) return backup;
  }
  return std::nullopt;
}

bool Sources::leads_to(const repo::Backup& backup, pg::TimelineId timeline) const {
  const auto history = std::ranges::find(histories_, timeline, &pg::TimelineHistory::timeline);
  return history != histories_.end() && history->is_ancestor(backup.stop_timeline, backup.stop_lsn);
}

bool Sources::has_backup_for(pg::TimelineId timeline) const {
  return std::ranges::any_of(backup_ids_, [&](const std::string& id) {
    const std::optional<repo::Backup> backup = read_usable(id);
    return backup && leads_to(*backup, timeline);
  });
}

std::optional<std::string> Sources::deleted_backup_for(pg::TimelineId timeline) const {
  std::optional<repo::Backup> found;
  for (const auto& [id, marks] : repo::read_deletions(repository_, lineage_.name)) {
    std::optional<repo::Backup> backup;
    unreadable_of([&] { backup = repo::read_commit(repository_, lineage_.name, id); });
    if (backup && leads_to(*backup, timeline) && (!found || found->stop_lsn < backup->stop_lsn))
      found = std::move(backup);
  }
  return found ? std::optional(found->id) : std::nullopt;
}

// The same command with everything left to be chosen.
std::string Sources::without_timeline() const {
  Target target = target_;
  target.timeline.reset();
  target.backup.clear();
  return command_for(target);
}

void Sources::choose_timeline() {
  auto leads_somewhere = [&] {
    return newest_backup([](const repo::Backup&) { return true; }).has_value();
  };
  std::vector<std::string> known;
  for (auto history = histories_.rbegin(); history != histories_.rend(); ++history)
    known.push_back(to_string(history->timeline()));

  if (target_.timeline || target_.kind == TargetKind::kImmediate) {
    std::optional<pg::TimelineId> wanted = target_.timeline;
    if (!wanted) {
      for (auto id = backup_ids_.rbegin(); id != backup_ids_.rend() && !wanted; ++id) {
        if (std::optional<repo::Backup> backup = read_usable(*id)) wanted = backup->stop_timeline;
      }
    }
    auto history = std::ranges::find_if(
        histories_, [&](const pg::TimelineHistory& h) { return wanted == h.timeline(); });
    if (wanted && history == histories_.end()) {
      const std::vector<pg::TimelineId> with_files = archive_.timelines();
      const bool has_wal = std::ranges::find(with_files, *wanted) != with_files.end();
      throw_unreachable(
          has_wal ? fmt::format("timeline history file \"{}\" is not in the archive",
                                pg::history_file_name(*wanted))
                  : fmt::format("timeline {} is not in the archive", to_string(*wanted)),
          has_wal
              ? fmt::format("WAL of timeline {} is, but where it was forked off cannot be told.",
                            to_string(*wanted))
          : known.empty() ? "No timeline is."
                          : fmt::format("These are: {}.", fmt::join(known, ", ")),
          has_wal ? "Archive it with holdfast wal push from the pg_wal directory of a server that "
                    "was on that timeline; or leave --timeline out: " +
                        without_timeline()
                  : "Name one of those with --timeline, or leave it out: " + without_timeline());
    }
    if (wanted) history_ = *history;
    if (wanted && leads_somewhere()) return;
    if (wanted && target_.timeline) {
      for (const Contradiction& one : contradictions_)
        if (history->contains(one.older)) throw_contradiction(one, {});
      throw_unreachable(
          fmt::format("no {}backup leads to timeline {}",
                      target_.backup.empty() ? "undamaged " : "such ", to_string(*wanted)),
          "A backup leads to the timelines that were forked off behind its end, and to its own.",
          "Choose another timeline with --timeline, another backup with --backup, or neither: " +
              without_timeline());
    }
  } else {
    for (const pg::TimelineHistory& history : histories_) {
      history_ = history;
      if (leads_somewhere()) return;
      notes_.push_back(
          fmt::format("timeline {} is passed over: {} leads to it", to_string(history.timeline()),
                      target_.backup.empty() ? "no undamaged backup" : "the backup does not"));
    }
  }
  if (histories_.empty()) {
    throw_unreachable(
        fmt::format("no WAL of cluster \"{}\" is archived", lineage_.name.shown()),
        "A backup cannot be used without the WAL that was written while it was taken.",
        "Check whether WAL was removed from the repository. What another archive still has, or the "
        "pg_wal directory of the old server, can be archived with holdfast wal push and holdfast "
        "wal salvage.");
  }
  throw Error(
      {.code = ErrorCode::kNotFound,
       .message = fmt::format("there is no usable backup of cluster \"{}\"", lineage_.name.shown()),
       .detail = fmt::format("Of {} backups none is both undamaged and on an archived timeline.",
                             backup_ids_.size()),
       .hint =
           "See holdfast backup list. A damaged backup is used when it is named with --backup."});
}

Way Sources::way_from(repo::Backup backup) const {
  const uint64_t first = segment_of(backup.start_lsn);
  return {
      .backup = std::move(backup),
      .path = std::make_unique<WalPath>(archive_, *history_, first, left_, target_.own_partials),
      .first = first};
}

std::optional<Way> Sources::way_up_to(const repo::Backup& backup, uint64_t until) const {
  const uint64_t first = segment_of(backup.start_lsn);
  std::optional<WalPath> path = WalPath::up_to(archive_, *history_, first, until);
  if (!path) return std::nullopt;
  return Way{.backup = backup, .path = std::make_unique<WalPath>(std::move(*path)), .first = first};
}

std::optional<pg::TimelineId> Sources::find_elsewhere(
    const std::function<bool(Survey&, uint64_t first, uint64_t last)>& has) const {
  for (const pg::TimelineHistory& history : histories_) {
    if (history.timeline() == history_->timeline()) continue;
    const std::optional<uint64_t> first = archive_.first_segment(history.timeline());
    if (!first) continue;
    const WalPath path(archive_, history, *first);
    Survey survey(archive_, path);
    if (path.last() && has(survey, *first, *path.last())) return history.timeline();
  }
  return std::nullopt;
}

std::optional<pg::Lsn> fork_of(const pg::TimelineHistory& other,
                               const pg::TimelineHistory& chosen) {
  if (other == chosen) return std::nullopt;
  auto chain = [](const pg::TimelineHistory& history) {
    std::vector<std::pair<pg::TimelineId, pg::Lsn>> entries;
    for (const pg::TimelineHistoryEntry& entry : history.ancestors())
      entries.emplace_back(entry.timeline, *history.switch_point_of(entry.timeline));
    entries.emplace_back(history.timeline(), pg::Lsn{UINT64_MAX});
    return entries;
  };
  const auto a = chain(other), b = chain(chosen);
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    // Two may have left one parent at one place.
    if (a[i].first != b[i].first) return i > 0 ? std::optional(a[i - 1].second) : std::nullopt;
    if (a[i].second != b[i].second) return std::min(a[i].second, b[i].second);
  }
  return std::nullopt;
}

}  // namespace holdfast::recovery
