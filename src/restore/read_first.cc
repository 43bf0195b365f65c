#include "restore/read_first.h"

#include <set>
#include <vector>

#include <fmt/core.h>

#include "base/error.h"
#include "base/file.h"
#include "cluster/start_barrier.h"
#include "pg/control_file.h"
#include "repo/layout.h"
#include "repo/refs.h"
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
  const std::optional<Bytes> control = read_if_exists(cluster::control_file_path(directory));
  return control && pg::crc_is_valid(*control) && is_directory(join_path(directory, "base"));
}

void require_packs(const repo::Repository& repository, const repo::Backup& backup,
                   const std::string& directory) {
  const std::optional<std::vector<repo::PackRefs>> refs =
      repo::read_refs(repository, backup.lineage, backup.id);
  if (!refs) throw_not_whole(backup, directory, "Its list of packs is missing.");
  std::set<std::string> missing;
  for (const repo::PackRefs& pack : *refs)
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
                              refs->size(), *missing.begin()));
}

void require_readable(const ReadBackup& read, const repo::Backup& backup,
                      const std::string& directory) {
  if (const std::string problem = read(backup); !problem.empty())
    throw_not_whole(backup, directory, problem);
}

}  // namespace holdfast::restore
