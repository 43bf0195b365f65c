// wal_files.h: the WAL files that lie in a directory, in the order in which they can be archived.
#pragma once

#include <string>
#include <vector>

#include "pg/wal_file_name.h"

namespace holdfast::archive {

struct WalFile {
  std::string name;
  pg::WalFileName file;
};
// History files first, oldest first: segments need them. Then segments, each before what else bears
// its name. What is no WAL file is left out.
std::vector<WalFile> list_wal_files(const std::string& directory, pg::WalSegmentSize size);

}  // namespace holdfast::archive
