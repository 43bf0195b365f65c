#include "repo/backup_order.h"

#include <algorithm>
#include <map>
#include <tuple>

#include "base/error.h"
#include "pg/timeline_history.h"
#include "repo/backup.h"
#include "repo/marks.h"
#include "repo/wal_archive.h"

namespace holdfast::repo {
namespace {

struct Placed {
  std::string id;
  Time counts_from;         // when it was committed, or one behind it on its line
  pg::TimelineId timeline;  // invalid: it cannot be read
  pg::Lsn stop_lsn;
  bool is_own = true;  // not imported
};

std::vector<Placed> read_places(const Repository& repository, const LineageName& lineage) {
  std::vector<Placed> all;
  for (const CommitEntry& entry : list_commits(repository, lineage)) {
    Placed placed{.id = entry.id, .counts_from = entry.modified, .timeline = {}, .stop_lsn = {}};
    std::optional<Backup> backup;
    // One that cannot be read has a place too.
    unreadable_of([&] { backup = read_commit(repository, lineage, entry.id); });
    if (backup) {
      placed.counts_from = backup->committed.value_or(std::min(backup->finished, entry.modified));
      placed.timeline = backup->stop_timeline;
      placed.stop_lsn = backup->stop_lsn;
      placed.is_own = backup->origin.empty();
    }
    all.push_back(std::move(placed));
  }
  return all;
}

// Of the timelines on which backups stop. One whose history is missing or damaged is a line of its
// own.
std::map<pg::TimelineId, pg::TimelineHistory> read_lines(const Repository& repository,
                                                         const LineageName& lineage,
                                                         const std::vector<Placed>& all) {
  // The size of segments plays no part in the names of histories.
  Lineage any;
  any.name = lineage;
  any.wal_segment_bytes = 16U << 20;
  const WalArchive archive(repository, any);
  std::map<pg::TimelineId, pg::TimelineHistory> lines;
  for (const Placed& placed : all) {
    if (!placed.timeline.is_valid() || lines.contains(placed.timeline)) continue;
    pg::TimelineHistory history(placed.timeline);
    unreadable_of([&] {
      if (const std::optional<Bytes> text = archive.read_file(
              {.kind = pg::WalFileKind::kHistory, .segment = {.timeline = placed.timeline}}))
        history = pg::parse_timeline_history(placed.timeline, as_text(*text));
    });
    lines.emplace(placed.timeline, std::move(history));
  }
  return lines;
}

}  // namespace

std::vector<std::string> backup_ids_in_order(const Repository& repository,
                                             const LineageName& lineage) {
  std::vector<Placed> all = read_places(repository, lineage);
  const std::map<pg::TimelineId, pg::TimelineHistory> lines = read_lines(repository, lineage, all);

  // From the last place on: what comes behind a backup on its line was seen before it, and is on a
  // timeline to which it leads. Of two that end at one place the one that was imported has less to
  // it: nobody could ask its server for the configuration. It stands before the other.
  std::ranges::sort(all, std::ranges::greater(),
                    [](const Placed& placed) { return std::tie(placed.stop_lsn, placed.is_own); });
  std::map<pg::TimelineId, Time> earliest;  // of the backups seen of each timeline
  for (Placed& placed : all) {
    if (!placed.timeline.is_valid()) continue;
    for (const auto& [timeline, time] : earliest)
      if (lines.at(timeline).is_ancestor(placed.timeline, placed.stop_lsn))
        placed.counts_from = std::min(placed.counts_from, time);
    const auto [own, is_first] = earliest.emplace(placed.timeline, placed.counts_from);
    if (!is_first) own->second = std::min(own->second, placed.counts_from);
  }
  std::ranges::sort(all, {}, [](const Placed& placed) {
    return std::tie(placed.counts_from, placed.stop_lsn, placed.is_own, placed.id);
  });
  const std::map<std::string, BackupMarks> deleted = read_deletions(repository, lineage);
  std::vector<std::string> ids;
  for (Placed& placed : all)
    if (!deleted.contains(placed.id)) ids.push_back(std::move(placed.id));
  return ids;
}

}  // namespace holdfast::repo
