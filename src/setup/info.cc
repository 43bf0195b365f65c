#include "setup/info.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/error.h"
#include "repo/backup_order.h"
#include "repo/cluster_names.h"
#include "repo/layout.h"

namespace holdfast::setup {
namespace {

constexpr size_t kShownBackups = 10;
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
      // What of it is damaged is told with the windows.
      damage_of([&] {
        timeline.last =
            archive.segment_info({.kind = pg::WalFileKind::kSegment,
                                  .segment = {.timeline = id, .segment_number = *last}});
      });
    });
}

LineageInfo lineage_info(const repo::Repository& repository, const repo::Lineage& lineage) {
  LineageInfo info{.lineage = lineage};
  std::vector<std::string> ids;
  attempt(info, [&] { ids = repo::backup_ids_in_order(repository, lineage.name); });
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

  recovery::WalPicture picture = recovery::look_at_wal(
      repository, lineage, [&](const std::string& object, const Error& error) {
        const bool is_shown =
            std::ranges::any_of(info.unreadable, [&](const repo::UnreadableBackup& backup) {
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
  for (const repo::ClusterNames& names : repo::list_cluster_names(repository)) {
    if (!cluster.empty() && std::ranges::find(names.names, cluster) == names.names.end()) continue;
    const std::string& name = names.names.front();
    RepositoryInfo::Cluster found{.name = name,
                                  .earlier_names = {names.names.begin() + 1, names.names.end()}};
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
