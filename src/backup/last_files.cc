#include "backup/last_files.h"

#include "pg/control_file.h"

namespace holdfast::backup {

void add_last_files(const LastFiles& files, uint32_t block_bytes, repo::BackupWriter& writer,
                    repo::ExtentWriter& extents) {
  auto add = [&](std::string_view path, const LastFile& file) {
    repo::ManifestEntry entry;
    entry.root = repo::ManifestRoot::kDataLast;
    entry.path = path;
    entry.mode = file.mode;
    entry.owner = files.owner;
    entry.modified = file.modified;
    entry.size = file.content.size();
    entry.location = repo::append_file(extents, path, file.content, block_bytes);
    writer.manifest().add(entry);
  };
  add("backup_label", files.backup_label);
  add(pg::kControlFilePath, files.control);
  if (!files.tablespace_map.content.empty()) add("tablespace_map", files.tablespace_map);
}

}  // namespace holdfast::backup
