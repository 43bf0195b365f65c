#include "setup/info.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/error.h"
#include "repo/layout.h"

namespace holdfast::setup {
namespace {

constexpr size_t kShownBackups = 10;
std::vector<LineageInfo::Timeline> read_timelines(const repo::WalArchive& archive) {
  std::vector<LineageInfo::Timeline> timelines;
  for (pg::TimelineId id : archive.timelines()) {
    std::optional<uint64_t> first = archive.first_segment(id);
    std::optional<uint64_t> last = archive.last_segment(id);
    if (!first || !last) continue;  // a history file alone
    LineageInfo::Timeline timeline{.timeline = id, .first_segment = *first, .last_segment = *last};
    // What of it is damaged is told with the windows.
    damage_of([&] {
      timeline.last = archive.segment_info({.kind = pg::WalFileKind::kSegment,
                                            .segment = {.timeline = id, .segment_number = *last}});
    });
    timelines.push_back(std::move(timeline));
  }
  return timelines;
}

LineageInfo lineage_info(const repo::Repository& repository, const repo::Lineage& lineage) {
  LineageInfo info{.lineage = lineage};
  std::vector<std::string> ids = repo::list_backup_ids(repository, lineage.name);
  info.backup_count = ids.size();
  size_t shown = std::min(ids.size(), kShownBackups);
  for (size_t at = ids.size() - shown; at < ids.size(); ++at)
    if (std::optional<repo::Backup> backup = repo::read_backup_if_possible(
            repository, lineage.name, ids[at], [&](const Error& error) {
              info.unreadable.push_back({.id = ids[at], .problem = error.message()});
            }))
      info.backups.push_back(*std::move(backup));

  repo::WalArchive archive(repository, lineage);
  info.timelines = read_timelines(archive);

  recovery::WalPicture picture = recovery::look_at_wal(
      repository, lineage, [&](const std::string& object, const Error& error) {
        const bool is_shown =
            std::ranges::any_of(info.unreadable, [&](const LineageInfo::Unreadable& backup) {
              return object == repo::backup_name(lineage.name, backup.id);
            });
        if (!is_shown)
          info.unreadable_wal.push_back(fmt::format("{}: {}", object, error.message()));
      });
  info.windows = std::move(picture.windows);
  info.gaps = std::move(picture.gaps);
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
    for (const repo::Lineage& lineage : repository.lineages(name))
      found.lineages.push_back(lineage_info(repository, lineage));
    result.clusters.push_back(std::move(found));
  }
  if (!cluster.empty() && result.clusters.empty()) repository.throw_no_cluster(cluster);
  return result;
}

}  // namespace holdfast::setup
