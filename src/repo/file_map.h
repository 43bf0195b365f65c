// file_map.h: which extent holds which block of a file.
//
// Normative: docs/design/repository-format.md, "File maps". A block that no run covers is all
// zeros.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/mutex.h"
#include "repo/pack.h"

namespace holdfast::repo {

inline constexpr uint64_t kLeafBytes = uint64_t{16} << 20;
// What one root can hold; a larger file is refused.
inline constexpr uint64_t kMaxFileBytes = uint64_t{5} << 39;  // 2.5 TiB

struct MapRun {
  uint32_t block = 0;  // relative to the leaf's base (to 0 for a direct extent)
  uint32_t slot = 0;   // within the extent
  uint32_t count = 0;
  bool operator==(const MapRun&) const = default;
};
struct MapExtent {
  ExtentRef ref;
  std::vector<MapRun> runs;
  bool operator==(const MapExtent&) const = default;
};
struct MapLeaf {
  uint64_t base_block = 0;
  std::vector<MapExtent> extents;
  bool operator==(const MapLeaf&) const = default;
};
Bytes encode(const MapLeaf& leaf);
// Throws kCorrupt: runs that overlap, leave the leaf (`leaf_blocks`) or the extent.
MapLeaf decode_map_leaf(ByteView bytes, uint32_t leaf_blocks);

struct MapRootEntry {
  uint64_t leaf_index = 0;
  ExtentRef ref;
  bool operator==(const MapRootEntry&) const = default;
};
Bytes encode(const std::vector<MapRootEntry>& root);
std::vector<MapRootEntry> decode_map_root(ByteView bytes);

// Where a file's bytes are: what its manifest entry holds.
struct FileLocation {
  enum class Kind : uint8_t { kNone = 0, kDirect = 1, kLeaf = 2, kRoot = 3 };
  Kind kind = Kind::kNone;
  ExtentRef ref;             // unless kNone
  std::vector<MapRun> runs;  // kDirect only
  bool operator==(const FileLocation&) const = default;
};

// --- Writing

// Whether a block is all zeros. Looks at the first bytes only, unless they are.
bool is_all_zero(ByteView block);

// The leaf that holds the byte at `offset`, and the number of leaves that `file_bytes` have.
constexpr uint64_t leaf_index_of(uint64_t offset) { return offset / kLeafBytes; }
constexpr uint64_t leaf_count_of(uint64_t file_bytes) {
  return (file_bytes + kLeafBytes - 1) / kLeafBytes;
}

// Makes one leaf: takes the blocks of one 16 MiB stretch of a file, leaves out those that are all
// zeros, cuts the others into extents of kExtentBlocks and appends these. One thread at a time;
// begin() makes it ready for the next leaf, its buffer is kept.
//
//   LeafBuilder leaf(writer, block_bytes);
//   leaf.begin(file_tag(path), index);
//   while (...) leaf.add(first_block, bytes);     // ascending, with or without gaps; best in
//   pieces of many blocks map.add(writer, leaf.finish());
class LeafBuilder {
 public:
  // `extents` must outlive the builder.
  LeafBuilder(ExtentWriter& extents, uint32_t block_bytes);
  void begin(uint64_t file_tag, uint64_t leaf_index);
  // `raw`: adjacent blocks from block `first_block` of the file on, all of this leaf and behind
  // those added before. Whole blocks; only the file's last may be shorter, and then nothing can be
  // added behind it.
  void add(uint64_t first_block, ByteView raw);
  // Bytes that no add() covered, and blocks of zeros, are absent from it.
  MapLeaf finish();

 private:
  void flush();
  ExtentWriter* extents_;
  uint32_t block_bytes_;
  uint64_t file_tag_ = 0;
  uint64_t next_block_ = 0;  // the lowest that may come
  MapLeaf leaf_;
  Bytes pending_;                 // blocks that do not fill an extent yet
  std::vector<uint64_t> blocks_;  // theirs
};

// Collects the leaves of one file and says where it is. add() may be called by several workers at
// once, each with its own writer, in any order; memory: leaf 0, and 60 bytes for each other leaf.
class FileMapBuilder {
 public:
  // `block_bytes`: pg_control's. Leaves without extents may be added or left out.
  void add(ExtentWriter& extents, MapLeaf leaf, uint32_t block_bytes);
  // The location of a file of `file_bytes` bytes, after every leaf was added; what it needs is
  // appended to `extents`. The builder is then ready for the next file. Throws kUnsupported when
  // the file is larger than kMaxFileBytes.
  FileLocation finish(ExtentWriter& extents, uint64_t file_bytes, uint32_t block_bytes);

 private:
  Mutex mutex_;
  std::optional<MapLeaf> first_ HF_GUARDED_BY(mutex_);
  std::vector<MapRootEntry> others_ HF_GUARDED_BY(mutex_);
};

// A file that lies in memory (backup_label, a configuration file), in one call.
FileLocation append_file(ExtentWriter& extents, std::string_view path, ByteView content,
                         uint32_t block_bytes);

// --- Reading

// The other side of a comparison: a file as long as the backup's that may hold some of it already.
struct FileComparison {
  // The bytes that are there now; all of them.
  std::function<void(uint64_t offset, std::span<std::byte> into)> read;
  // What must be there instead: whole blocks, and only such as differ. Valid during the call.
  std::function<void(uint64_t offset, ByteView bytes)> put;
  // Where zeros must be instead.
  std::function<void(uint64_t offset, uint64_t count)> clear;
};

// Reads one file after the other by its location. One thread at a time; several readers, each with
// its own ExtentReader, may read different leaves of one file. Memory: the root, one leaf, one
// extent; in a comparison as much again.
class FileReader {
 public:
  // `extents` must outlive the reader.
  FileReader(ExtentReader& extents, uint32_t block_bytes);

  // `file_bytes`: ManifestEntry::size. Reads the root, if there is one. Throws kCorrupt, as every
  // call here does.
  void open(const FileLocation& location, uint64_t file_bytes);
  uint64_t file_bytes() const { return file_bytes_; }
  // Of a file that has one; else empty.
  const std::vector<MapRootEntry>& root() const { return root_; }
  uint64_t leaf_count() const { return leaf_count_of(file_bytes_); }

  // One leaf: read at most once while it is asked for again; without extents when it is all zeros.
  // Valid until the next call.
  const MapLeaf& leaf(uint64_t leaf_index);
  // Every stretch of the leaf that is stored, extent by extent: bytes of the file from `offset` on.
  // What is not handed over is zeros. The view is valid during the call.
  void for_each_piece(uint64_t leaf_index,
                      const std::function<void(uint64_t offset, ByteView bytes)>& take);
  // How the leaf's stretch of a file that is there already differs from it, by content alone. An
  // extent whose blocks are all in the file is compared by its content digest and not read;
  // otherwise it is read and compared block by block. Returns how many bytes of the stretch differ.
  uint64_t for_each_difference(uint64_t leaf_index, const FileComparison& with);
  // [offset, offset + into.size()) of the file, zeros where nothing is stored; less where the file
  // ends. Reads the extents it touches, no others.
  size_t read_range(uint64_t offset, std::span<std::byte> into);

 private:
  template <typename Take>
  void pieces_of(const MapLeaf& leaf, uint64_t start, uint64_t end, const Take& take);
  void check_ends_in_file(const MapLeaf& leaf) const;
  bool extent_is_there(const MapLeaf& leaf, const MapExtent& extent, const FileComparison& with);
  uint64_t compare_piece(uint64_t offset, ByteView wanted, const FileComparison& with);
  uint64_t clear_gaps(const MapLeaf& leaf, const FileComparison& with);

  Bytes there_;  // what a comparison has read
  ExtentReader* extents_;
  uint32_t block_bytes_;
  uint64_t file_bytes_ = 0;
  FileLocation location_;
  std::vector<MapRootEntry> root_;
  std::optional<uint64_t> loaded_;  // the index of leaf_
  MapLeaf leaf_;
};

}  // namespace holdfast::repo
