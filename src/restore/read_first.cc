#include "restore/read_first.h"

#include <set>
#include <vector>

#include <fmt/core.h>

#include "base/error.h"
#include "base/file.h"
#include "base/task_group.h"
#include "repo/layout.h"
#include "repo/refs.h"
#include "repo/verified_objects.h"
#include "restore/own_directory.h"
#include "store/store.h"

namespace holdfast::restore {
namespace {

[[noreturn]] void throw_not_whole(const repo::Backup& backup, const std::string& directory,
                                  std::string detail) {
  throw Error(
      {.code = ErrorCode::kCorrupt,
       .message = fmt::format("backup {} is not whole, and \"{}\" was left as it is", backup.id,
                              directory),
       .detail = std::move(detail),
       .hint = "Run \"holdfast verify\": it says which backups are whole. \"holdfast backup list\" "
               "shows them; name another one with --backup ID."});
}

}  // namespace

bool holds_a_cluster(const std::string& directory) {
  return valid_control_file(directory) && is_directory(join_path(directory, "base"));
}

void require_packs(const repo::Repository& repository, const repo::Backup& backup,
                   const std::string& directory) {
  std::vector<repo::PackRefs> uses;
  if (const std::optional<Error> lost =
          damage_of([&] { uses = repo::read_uses(repository, backup); }))
    throw_not_whole(backup, directory, lost->message() + ".");
  std::set<std::string> missing;
  for (const repo::PackRefs& pack : uses)
    missing.insert(repo::pack_name(backup.lineage, pack.pack));
  store::for_each_entry(repository.store(),
                        {.prefix = repo::lineage_folder(backup.lineage) + "packs/"},
                        [&](const store::ListEntry& entry) {
                          if (entry.bytes > 0) missing.erase(entry.name);
                          return !missing.empty();
                        });
  if (missing.empty()) return;
  throw_not_whole(backup, directory,
                  fmt::format("{} of its {} packs are missing, \"{}\" among them.", missing.size(),
                              uses.size(), *missing.begin()));
}

void require_readable(const ReadBackup& read, const repo::Backup& backup,
                      const std::string& directory) {
  if (const std::string problem = read(backup); !problem.empty())
    throw_not_whole(backup, directory, problem);
}

void require_readable_wal(const repo::WalArchive& archive, const recovery::Plan& plan,
                          const recovery::Target& target, const std::string& directory,
                          Reporter& reporter, const std::stop_token& stop) {
  // Without records all of it is read.
  const repo::VerifiedRecords records(archive.repository(), archive.lineage().name,
                                      [](const std::string&, const Error&) {});
  const auto require = [&](const pg::WalFileName& file, const Bytes16* partial) {
    throw_if_stopped(stop);
    const std::string name = pg::to_string(file, archive.segment_size());
    const std::optional<std::string> object = archive.served_object(file, partial);
    const std::optional<store::ObjectInfo> info =
        object ? archive.store().info(*object) : std::nullopt;
    if (info && records.cover(*object, info->bytes, std::max(info->modified, info->changed)))
      return;
    std::string problem = "It is not there any more.";
    if (const std::optional<Error> error = unreadable_of([&] {
          if (archive.read_segment(file, [](ByteView) {}, partial)) problem.clear();
        }))
      problem = fmt::format("{}. {}", error->message(), error->detail());
    reporter.amount(archive.segment_size().bytes());
    if (problem.empty()) return;
    throw Error(
        {.code = ErrorCode::kCorrupt,
         .message = fmt::format("WAL file \"{}\" cannot be replayed, and \"{}\" was left as it is",
                                name, directory),
         .detail = std::move(problem),
         .hint =
             recovery::way_before(archive.repository(), archive.lineage(), target, file.segment)});
  };
  reporter.phase("reading the WAL to be replayed", plan.segments * archive.segment_size().bytes());
  for (const recovery::WalRange& range : plan.ranges)
    for (uint64_t number = range.first; number <= range.last; ++number)
      require({.kind = pg::WalFileKind::kSegment,
               .segment = {.timeline = range.timeline, .segment_number = number}},
              nullptr);
  if (plan.tail)
    require({.kind = pg::WalFileKind::kPartial, .segment = plan.tail->segment},
            &plan.tail->partial);
}

}  // namespace holdfast::restore
