#include "setup/info.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/error.h"
#include "repo/layout.h"

namespace holdfast::setup {
namespace {

constexpr size_t kShownBackups = 10;
// How far back from the end of the archive the last commit is looked for: 1 GB of quiet WAL in
// segments of 16 MB.
constexpr uint64_t kSegmentsLookedAt = 64;

std::optional<repo::Backup> oldest_undamaged(const repo::Repository& repository,
                                             const repo::LineageName& lineage,
                                             const std::vector<std::string>& ids) {
  for (const std::string& id : ids)
    if (std::optional<repo::Backup> backup =
            repo::read_backup_if_possible(repository, lineage, id, [](const Error&) {});
        backup && !backup->damaged)
      return backup;
  return std::nullopt;
}

// What cannot be read is a problem to be told, and the rest is told all the same.
template <typename Work>
void attempt(LineageInfo& info, const Work& work) {
  if (const std::optional<Error> error = unreadable_of(work))
    info.problems.push_back(error->message());
}

void read_timelines(const repo::WalArchive& archive, LineageInfo& info) {
  std::vector<pg::TimelineId> timelines;
  attempt(info, [&] { timelines = archive.timelines(); });
  for (pg::TimelineId id : timelines)
    attempt(info, [&] {
      std::optional<uint64_t> first = archive.first_segment(id);
      std::optional<uint64_t> last = archive.last_segment(id);
      if (!first || !last) return;  // a history file alone
      LineageInfo::Timeline& timeline = info.timelines.emplace_back(
          LineageInfo::Timeline{.timeline = id, .first_segment = *first, .last_segment = *last});
      timeline.last = archive.segment_info({.kind = pg::WalFileKind::kSegment,
                                            .segment = {.timeline = id, .segment_number = *last}});
    });
}

std::optional<Time> last_commit(const repo::WalArchive& archive,
                                const LineageInfo::Timeline& timeline) {
  uint64_t lowest =
      std::max(timeline.first_segment,
               timeline.last_segment - std::min(timeline.last_segment, kSegmentsLookedAt - 1));
  for (uint64_t number = timeline.last_segment;; --number) {
    std::optional<repo::WalSegmentInfo> info = archive.segment_info(
        {.kind = pg::WalFileKind::kSegment,
         .segment = {.timeline = timeline.timeline, .segment_number = number}});
    if (!info)
      return std::nullopt;  // a gap: what lies before it does not tell how far recovery reaches
    if (info->commits.count > 0) return info->commits.last_time;
    if (number == lowest) return std::nullopt;
  }
}

LineageInfo lineage_info(const repo::Repository& repository, const repo::Lineage& lineage) {
  LineageInfo info{.lineage = lineage};
  std::vector<std::string> ids;
  attempt(info, [&] { ids = repo::list_backup_ids(repository, lineage.name); });
  info.backup_count = ids.size();
  size_t shown = std::min(ids.size(), kShownBackups);
  for (size_t at = ids.size() - shown; at < ids.size(); ++at)
    if (std::optional<repo::Backup> backup = repo::read_backup_if_possible(
            repository, lineage.name, ids[at], [&](const Error& error) {
              info.unreadable.push_back({.id = ids[at], .problem = error.message()});
            }))
      info.backups.push_back(*std::move(backup));

  repo::WalArchive archive(repository, lineage);
  read_timelines(archive, info);

  std::optional<repo::Backup> oldest = oldest_undamaged(repository, lineage.name, ids);
  if (!oldest) return info;
  info.recoverable_from = oldest->stop_time;
  // Every undamaged backup can be recovered to its own stop, whatever is archived behind it.
  info.recoverable_to = oldest->stop_time;
  for (const repo::Backup& backup : info.backups)
    if (!backup.damaged) info.recoverable_to = std::max(*info.recoverable_to, backup.stop_time);
  if (info.timelines.empty()) return info;
  attempt(info, [&] {
    if (std::optional<Time> commit = last_commit(archive, info.timelines.back()))
      info.recoverable_to = std::max(*info.recoverable_to, *commit);
  });
  return info;
}

}  // namespace

RepositoryInfo info(const repo::Repository& repository, const std::string& cluster) {
  RepositoryInfo result{.url = repository.store().url(),
                        .id = repository.id(),
                        .sealed = repository.sealed(),
                        .created = repository.created()};
  std::vector<std::string> names = repository.clusters();
  for (const std::string& name : names) {
    if (!cluster.empty() && name != cluster) continue;
    RepositoryInfo::Cluster found{.name = name};
    const auto tell = [&](const repo::LineageName& lineage, const Error& error) {
      found.unreadable.push_back({.name = lineage, .problem = error.message()});
    };
    if (const std::optional<Error> error = unreadable_of([&] {
          for (const repo::Lineage& lineage : repository.lineages(name, tell))
            found.lineages.push_back(lineage_info(repository, lineage));
        }))
      found.problem = error->message();
    result.clusters.push_back(std::move(found));
  }
  if (!cluster.empty() && result.clusters.empty()) repository.throw_no_cluster(cluster);
  return result;
}

}  // namespace holdfast::setup
