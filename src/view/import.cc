#include "view/import.h"

#include <fmt/format.h>

#include "view/table.h"
#include "view/view.h"

namespace holdfast::view {

std::string text(const backup::ImportResult& result) {
  const repo::Backup& backup = result.backup;
  std::vector<std::pair<std::string, std::string>> lines = {
      {"backup", backup.id},
      {"imported", result.place},
      {"cluster",
       fmt::format("{}, lineage {}", backup.lineage.shown(), repo::to_string(backup.lineage))},
      {"files", fmt::format("{}, {}", backup.files, to_human_bytes(backup.bytes))},
      {"stored", fmt::format("{} in {} packs", to_human_bytes(backup.stored_bytes), backup.packs)},
      {"WAL", fmt::format("{} to {}, timeline {}", pg::to_string(backup.start_lsn),
                          pg::to_string(backup.stop_lsn), pg::to_string(backup.stop_timeline))}};
  for (const std::string& file : result.archived_wal) lines.emplace_back("archived", file);
  lines.emplace_back("compared", result.was_compared ? "every file, with its backup_manifest"
                                                     : "with nothing: there is no backup_manifest");
  for (const std::string& file : result.not_included) lines.emplace_back("not included", file);
  lines.emplace_back("took", to_human(backup.finished - backup.started));
  std::string out = fields(lines);
  for (const repo::DamagedBlock& block : result.damaged)
    out += fmt::format("damaged: block {} of \"{}\"\n", block.block, block.path);
  if (backup.damaged)
    out += fmt::format(
        "The base backup has {} damaged pages. It was kept and is marked damaged: it counts for "
        "nothing. Next: import an older one, or run \"holdfast backup\".\n",
        backup.damaged_blocks);
  else
    out += fmt::format("Everything from {} on can be recovered, as far as WAL is archived.\n",
                       to_local(backup.stop_time));
  return out;
}

Json json(const backup::ImportResult& result) {
  const Json as_backup = json(backup::BackupResult{
      .backup = result.backup, .damaged = result.damaged, .unreadable_files = {}});
  Json not_included = Json::array();
  for (const std::string& file : result.not_included) not_included.push(file);
  Json wal = Json::array();
  for (const std::string& file : result.archived_wal) wal.push(file);
  return Json::object()
      .set("schema", "holdfast.backup_import.v1")
      .set("backup", as_backup.at("backup"))
      .set("damaged", as_backup.at("damaged"))
      .set("imported", result.place)
      .set("archived_wal", std::move(wal))
      .set("not_included", std::move(not_included))
      .set("compared_with_manifest", result.was_compared);
}

}  // namespace holdfast::view
