// living.h: what commits and valid intents reach in one lineage. All else is garbage.
//
// Normative: docs/design/repository-format.md, section 12. Nothing here is decided by a lock or by
// this machine's clock.
//
// Memory: ids of backups and packs, 64 bytes at most for each pack that is reached. Requests: one
// small read for each commit, intent and record of verification that counts, one read of refs for
// each backup kept (where they are lost, of its manifest and all its file maps), one history file
// for each timeline; listings of redirects, and of each timeline's catalogue snapshots up to its
// first living segment.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "pg/timeline_history.h"
#include "repo/backup.h"
#include "repo/intent.h"
#include "repo/layout_table.h"
#include "repo/refs.h"
#include "repo/wal_archive.h"

namespace holdfast::expire {

// Which backups stay, of all that have a commit. The place of the rules of retention; so far every
// backup stays that nobody has deleted.
std::vector<repo::Backup> kept_backups(std::vector<repo::Backup> committed);

class Living {
 public:
  // Reads the intents, then the commits: an intent that has ended by then had its commit put
  // before. A commit counts as long as it stands, also of a backup that is deleted: that may be
  // taken back. `excluded` are ids that do not count. `repository` must outlive it. Throws kCorrupt
  // when what a kept backup uses cannot be told; it names each of which it cannot.
  Living(const repo::Repository& repository, const repo::Lineage& lineage, Time now,
         Microseconds grace, const std::set<std::string>& excluded = {});

  // Whether an object that was made at `modified` must stay. What can never be garbage stays.
  bool is_living(const repo::ObjectName& name, Time modified) const;
  // For each timeline that has WAL, an index or catalogue snapshots the first segment that must
  // stay; nullopt: none does; 0: all do.
  const std::map<pg::TimelineId, std::optional<uint64_t>>& first_segments() const {
    return first_segments_;
  }

  const std::vector<repo::Backup>& backups() const { return backups_; }
  const std::vector<repo::Intent>& intents() const { return intents_; }
  // Packs that live were moved by a version that compacts; what is garbage among all packs cannot
  // be told here.
  bool has_redirects() const { return has_redirects_; }

 private:
  // Of which backups nobody can tell what they use, and why.
  using UnknownUses = std::vector<std::pair<std::string, Error>>;
  void throw_if_unknown(const UnknownUses& unknown) const;
  void read_commits(const std::set<std::string>& excluded, UnknownUses& unknown);
  void add_packs_of(const repo::Backup& backup, UnknownUses& unknown);
  void add_packs_of(const std::string& backup_id, UnknownUses& unknown);
  void add_packs(const std::vector<repo::PackRefs>& uses);
  void drop_repeated_packs();
  std::set<pg::TimelineId> timelines_with_objects() const;
  std::optional<uint64_t> find_first_segment(pg::TimelineId timeline) const;
  void find_snapshot_in_force(pg::TimelineId timeline);
  void find_oldest_timeline();
  std::optional<pg::TimelineHistory> history_of(pg::TimelineId timeline) const;
  std::vector<pg::TimelineHistory> every_history_of(pg::TimelineId timeline) const;
  bool is_segment_living(pg::SegmentName segment) const;
  bool is_snapshot_living(pg::TimelineId timeline, pg::Lsn lsn) const;

  const repo::Repository& repository_;
  const repo::Lineage lineage_;
  const repo::WalArchive archive_;
  std::vector<repo::Intent> intents_;
  std::vector<repo::Backup> backups_;
  std::set<std::string> reached_ids_;  // of backups that are kept, made or used
  std::set<Bytes16> intent_ids_;
  std::vector<Bytes16> packs_;  // sorted
  size_t distinct_packs_ = 0;   // when it was last sorted
  std::optional<Time> objects_from_;
  bool has_redirects_ = false;
  std::map<pg::TimelineId, std::optional<uint64_t>> first_segments_;
  // Of each timeline the newest catalogue snapshots that hold where living WAL begins, its own and
  // those of timelines that were forked off it.
  std::map<pg::TimelineId, std::set<pg::Lsn>> snapshots_in_force_;
  // Histories from this one on live; 0: all do.
  pg::TimelineId oldest_timeline_{0};
  std::set<std::string> replaced_records_;  // of verification
};

// Whether deletion may ever take an object of this kind.
bool is_candidate_kind(repo::ObjectKind kind);

// Every object that may be a candidate, folder by folder in the order of names; of WAL only what
// lies before the first living segment of its timeline. Lists, opens nothing.
void for_each_candidate(
    const repo::Repository& repository, const repo::Lineage& lineage, const Living& living,
    const std::function<void(const store::ListEntry&, const repo::ObjectName&)>& visit);

}  // namespace holdfast::expire
