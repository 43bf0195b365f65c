// manifest.h: all files of one backup, in order.
//
// Normative: docs/design/repository-format.md, "Manifests". Written and read as a stream: memory is
// one block and the root of first keys.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/time.h"
#include "repo/file_map.h"

namespace holdfast::repo {

enum class ManifestRoot : uint8_t { kData = 0, kOutside = 1, kDataLast = 2 };
enum class EntryType : uint8_t { kFile = 1, kDirectory = 2, kSymlink = 3 };

struct ManifestEntry {
  ManifestRoot root = ManifestRoot::kData;
  std::string path;  // relative to the data directory; absolute for kOutside
  EntryType type = EntryType::kFile;
  uint32_t mode = 0600;  // permission bits
  uint32_t owner = 0;    // index into the owner table
  Time modified;
  uint64_t size = 0;  // files
  bool has_damaged_blocks = false;
  bool pages_verified = false;
  FileLocation location;  // files
  std::string target;     // symbolic links
};
// The order of a manifest: root, then path bytewise with '/' before every other byte. Negative, 0,
// positive.
int compare_paths(std::string_view a, std::string_view b);
bool manifest_less(const ManifestEntry& a, const ManifestEntry& b);

struct Owner {
  std::string user;
  std::string group;
  uint32_t uid = 0;
  uint32_t gid = 0;
  auto operator<=>(const Owner&) const = default;
};

struct DamagedBlock {
  ManifestRoot root = ManifestRoot::kData;
  std::string path;
  uint64_t block = 0;
  uint8_t reason = 0;  // 1 checksum, 2 page header, 3 could not be read
};

struct ManifestSummary {
  uint32_t block_bytes = 0;
  uint64_t entries = 0;
  uint64_t file_bytes = 0;
  std::vector<Owner> owners;
};

// Whether a restore may lay something there: 1 to 4096 bytes, no empty, "." or ".." component, no
// zero byte; absolute for kOutside, relative for the others.
bool is_manifest_path(ManifestRoot root, std::string_view path);

// Takes entries in manifest order (HF_CHECK) and appends blocks through `extents`.
class ManifestWriter {
 public:
  ManifestWriter(const Repository& repository, LineageName lineage, std::string backup_id,
                 uint32_t block_bytes, ExtentWriter& extents);
  ~ManifestWriter();
  // The owner's index, adding it when new (at most 65536).
  uint32_t owner(const Owner& owner);
  // Throws kInternal for a path that is_manifest_path() refuses.
  void add(const ManifestEntry& entry);
  void add_damaged(DamagedBlock block);  // at most 100,000 are kept; the count is exact
  struct Committed {
    Bytes16 object_id;
    uint64_t bytes = 0;
    Bytes32 sha256;
    ManifestSummary summary;
    uint64_t files = 0;  // entries that are files
    uint64_t damaged_blocks = 0;
  };
  // First close_blocks(), which appends the last block; then the caller finishes `extents`, so that
  // the blocks are durable; then commit(), which puts the MANI object and its copy.
  void close_blocks();
  Committed commit();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Reads a manifest; the copy when the first is absent or damaged (told by `warn`). Throws kCorrupt
// when neither holds.
class ManifestReader {
 public:
  ManifestReader(const Repository& repository, LineageName lineage, const std::string& backup_id,
                 const Bytes32& sha256, const std::function<void(std::string_view)>& warn);
  ~ManifestReader();
  // Reads one of the two objects whole, the first or its copy. Throws kCorrupt when it does not
  // hold.
  static void check(const Repository& repository, const LineageName& lineage,
                    const std::string& backup_id, const Bytes32& sha256, bool copy);
  const ManifestSummary& summary() const;
  const std::vector<DamagedBlock>& damaged() const;
  // Where its blocks lie.
  std::vector<ExtentRef> blocks() const;
  // Entries in order, one block at a time; nullopt at the end.
  std::optional<ManifestEntry> next();
  // One path, by reading one block.
  std::optional<ManifestEntry> find(ManifestRoot root, std::string_view path);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace holdfast::repo
