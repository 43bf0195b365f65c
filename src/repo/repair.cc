#include "repo/repair.h"

#include "base/error.h"
#include "repo/backup.h"
#include "repo/marks.h"
#include "repo/two_places.h"
#include "repo/wal_archive.h"

namespace holdfast::repo {

std::optional<std::string> put_missing_commit(const Repository& repository,
                                              const LineageName& lineage, const std::string& id,
                                              HeldIntent& claim) {
  const TwoPlaces places{.first = backup_name(lineage, id), .copy = backup_copy_name(lineage, id)};
  return put_missing(repository.store(), places, [&](const Bytes& bytes) {
    decode_document(repository.keyring(), "backup", places.first, bytes);
    claim.check();
  });
}

std::vector<std::string> repair_commits(const Repository& repository, const LineageName& lineage,
                                        const Clock& clock) {
  std::vector<std::string> halves;
  for (const CommitEntry& commit : list_commits(repository, lineage))
    if (commit.has_first != commit.has_copy && !read_marks(repository, lineage, commit.id).deleted)
      halves.push_back(commit.id);
  if (halves.empty()) return {};
  HeldIntent claim(repository, lineage, {.what = "repair", .uses = halves}, clock);
  if (!running_expiries(repository, lineage).empty()) return {};
  std::vector<std::string> all;
  for (const std::string& id : halves) {
    if (read_marks(repository, lineage, id).deleted) continue;
    if (std::optional<std::string> put = put_missing_commit(repository, lineage, id, claim))
      all.push_back(*std::move(put));
  }
  return all;
}

std::vector<std::string> repair(const Repository& repository, const Lineage& lineage,
                                const Clock& clock) {
  std::vector<std::string> all = repair_commits(repository, lineage.name, clock);
  const std::vector<std::string> histories =
      WalArchive(repository, lineage).put_missing_histories();
  all.insert(all.end(), histories.begin(), histories.end());
  return all;
}

}  // namespace holdfast::repo
