// tar_entry.h: what a tar says of one of its members, read (tar_reader.h) or to be written
// (tar_writer.h).
#pragma once

#include <cstdint>
#include <string>

#include "base/time.h"

namespace holdfast {

struct TarEntry {
  enum class Type : uint8_t { kFile, kDirectory, kSymlink, kHardLink, kSpecial };
  std::string path = {};  // without "./" in front and "/" behind; empty for "." itself
  Type type = Type::kFile;
  uint64_t bytes = 0;  // of a file
  uint32_t mode = 0;   // permission bits
  std::string user = {}, group = {};
  uint32_t uid = 0, gid = 0;
  Time modified = {};
  std::string target = {};  // of links, as it stands
};

}  // namespace holdfast
