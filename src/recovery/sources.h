// sources.h: what the repository has for a recovery: usable backups, timelines, and the one
// timeline that is followed.
//
// First the timeline is chosen, then everything else is asked along it: the backups that lead to
// it, newest first, and the WAL from each on.
#pragma once

#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "pg/timeline_history.h"
#include "recovery/survey.h"
#include "recovery/target.h"
#include "recovery/wal_path.h"

namespace holdfast::recovery {

// The refusal of a target that the archive does not lead to: exit status 4.
[[noreturn]] void throw_unreachable(std::string message, std::string detail, std::string hint);
// Sentences of a hint, each on a line of its own, for commands stand at their ends.
std::string lines(std::initializer_list<std::string> sentences);

// One backup on the way to a timeline, with the WAL that leads on from it.
struct Way {
  repo::Backup backup;
  std::unique_ptr<WalPath> path;
  uint64_t first = 0;  // segment
};

// Two history files of which one repeats the other and says something else: neither can be told
// wrong.
struct Contradiction {
  pg::TimelineId newer, older;
  pg::TimelineId left;   // the timeline of which they tell different ends
  pg::Lsn earliest_end;  // the earlier of the two; before it they agree
};

class Sources {
 public:
  // Chooses the timeline: the one that `target` names, for kImmediate that of the newest backup,
  // else the newest to which a backup leads. Throws kNotFound (no backup, no usable one), kCorrupt
  // (a damaged history that was asked for, or one to which no backup leads and which contradicts
  // another), kTargetUnreachable (no WAL; the timeline that was asked for, or its history, is not
  // there). The three must outlive the object.
  Sources(const repo::Repository& repository, const repo::Lineage& lineage, const Target& target);

  const repo::WalArchive& archive() const { return archive_; }
  uint64_t segment_of(pg::Lsn lsn) const { return pg::segment_of(lsn, archive_.segment_size()); }
  const std::vector<Contradiction>& contradictions() const { return contradictions_; }
  // Every timeline with a readable history, newest first; and the chosen one.
  const std::vector<pg::TimelineHistory>& histories() const { return histories_; }
  const pg::TimelineHistory& history() const { return *history_; }
  // Where timelines were left at latest, as all histories say.
  const LeftAt& left() const { return left_; }
  // Timelines whose history is damaged, or lost: what was set aside is neither.
  struct Untold {
    pg::TimelineId timeline;
    bool is_damaged = false;
  };
  const std::vector<Untold>& untold() const { return untold_; }
  // What was passed over so far.
  const std::vector<std::string>& notes() const { return notes_; }

  // Backups that lead to the chosen timeline, newest first; `visit` returns false to end.
  void for_each_backup(const std::function<bool(const repo::Backup&)>& visit) const;
  std::optional<repo::Backup> newest_backup(
      const std::function<bool(const repo::Backup&)>& serves) const;
  std::optional<repo::Backup> oldest_backup() const;
  // On whatever timeline, damaged or not: where a server lived both tell.
  std::optional<repo::Backup> newest_of_all() const;
  Way way_from(repo::Backup backup) const;
  // The same up to that segment, whatever lies behind it; nullopt: not all of it is archived.
  std::optional<Way> way_up_to(const repo::Backup& backup, uint64_t until) const;

  // Whether any backup that can be used leads to that timeline; and the newest that was deleted and
  // does.
  bool has_backup_for(pg::TimelineId timeline) const;
  std::optional<std::string> deleted_backup_for(pg::TimelineId timeline) const;

  // The newest other timeline on which `has` finds something.
  std::optional<pg::TimelineId> find_elsewhere(
      const std::function<bool(Survey&, uint64_t first, uint64_t last)>& has) const;

 private:
  void find_backups();
  void read_histories();
  void find_contradictions();
  void choose_timeline();
  std::string without_timeline() const;
  std::optional<repo::Backup> read_usable(const std::string& id) const;  // a named one as it is
  std::optional<repo::Backup> read_if_usable(const std::string& id) const;
  bool leads_to(const repo::Backup& backup, pg::TimelineId timeline) const;
  void tell_once(std::string note) const;
  // Why the WAL that a backup was taken with is not served any more; nullopt: it is.
  std::optional<std::string> taken_wal_of(const repo::Backup& backup) const;

  const repo::Repository& repository_;
  const repo::Lineage& lineage_;
  const repo::WalArchive archive_;
  const Target& target_;
  std::vector<std::string> backup_ids_;         // oldest first; one when named
  std::vector<pg::TimelineHistory> histories_;  // newest first
  std::vector<Untold> untold_;
  LeftAt left_;
  std::optional<pg::TimelineHistory> history_;  // of the chosen timeline
  std::vector<Contradiction> contradictions_;
  mutable std::vector<std::string> notes_;  // backups are read, and passed over, when asked for
};

// Throws kCorrupt, which names both.
[[noreturn]] void throw_contradiction(const Contradiction& contradiction, std::string up_to_there);

// Where the path of `other` parts from `chosen`: the end of what both have. nullopt when neither
// parts from the other, or when they have nothing in common.
std::optional<pg::Lsn> fork_of(const pg::TimelineHistory& other, const pg::TimelineHistory& chosen);

}  // namespace holdfast::recovery
