#include "archive/wal_files.h"

#include <algorithm>
#include <tuple>

#include "base/file.h"

namespace holdfast::archive {

std::vector<WalFile> list_wal_files(const std::string& directory, pg::WalSegmentSize size) {
  std::vector<WalFile> files;
  for (const DirectoryEntry& entry : list_directory(directory)) {
    const pg::WalFileName file = pg::parse_wal_file_name(entry.name, size);
    if (file.kind != pg::WalFileKind::kOther) files.push_back({.name = entry.name, .file = file});
  }
  std::ranges::sort(files, {}, [](const WalFile& found) {
    const pg::WalFileName& file = found.file;
    return std::tuple(file.kind != pg::WalFileKind::kHistory, file.segment, file.kind, file.offset);
  });
  return files;
}

}  // namespace holdfast::archive
