// path_sorter.h: records with a path each, sorted by it in the order of a manifest, in bounded
// memory.
//
// A tar archive and a server's backup_manifest name files in whatever order the file system gave
// them; a manifest of ours has an order. What does not fit is written, sorted, to files without a
// name in `directory`, which are merged at the end:
//
//   add() add() …  ->  [run][run][run]  ->  next() next() …
//
// Memory: `memory_bytes`, then 64 KiB for each run.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"

namespace holdfast::backup {

class PathSorter {
 public:
  static constexpr size_t kUsualMemory = size_t{32} << 20;

  explicit PathSorter(std::string directory, size_t memory_bytes = kUsualMemory);
  ~PathSorter();

  struct Record {
    std::string path;
    Bytes payload;
  };
  void add(std::string_view path, ByteView payload);
  // In order; those with the same path in the order in which they were added. From the first call
  // on nothing can be added. nullopt behind the last.
  std::optional<Record> next();

 private:
  struct Run;
  void sort_memory();
  void spill();
  void begin_merge();

  const std::string directory_;
  const size_t memory_bytes_;
  struct Held {
    Record record;
    uint64_t number = 0;  // in the order of add()
  };
  static bool comes_before(const Held& a, const Held& b);
  std::vector<Held> records_;
  uint64_t next_number_ = 0;
  size_t held_ = 0;  // bytes of them
  size_t given_ = 0;
  std::vector<std::unique_ptr<Run>> runs_;
  bool merging_ = false;
};

}  // namespace holdfast::backup
