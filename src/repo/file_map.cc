#include "repo/file_map.h"

#include <algorithm>
#include <cstring>

#include <fmt/core.h>

#include "base/error.h"

namespace holdfast::repo {
namespace {

constexpr size_t kMaxLeafRawBytes = size_t{512} << 10;
// How many blocks an extent can have, as a part of a leaf's.
constexpr uint64_t kLeafPerExtent = kLeafBytes / kMaxBlocksBytes;
// pack, ordinal, offset, unit-bytes, digest, run-count: what an extent of a leaf takes at least.
constexpr size_t kLeastExtentBytes = 21;
constexpr size_t kLeastRunBytes = 3;
constexpr size_t kRootEntryBytes = 49;

uint32_t leaf_blocks_of(uint32_t block_bytes) {
  HF_CHECK(block_bytes > 0 && kLeafBytes % block_bytes == 0);
  return static_cast<uint32_t>(kLeafBytes / block_bytes);
}

[[noreturn]] void throw_damaged_map(std::string detail, const char* file = __builtin_FILE(),
                                    int line = __builtin_LINE()) {
  throw Error({.code = ErrorCode::kCorrupt,
               .message = "damaged file map",
               .detail = std::move(detail),
               .hint = "Restore another backup, or this one from a copy of the repository."},
              file, line);
}

// Runs over `blocks`, which ascend; slots count up from 0. Blocks are taken relative to `base`.
std::vector<MapRun> runs_of(std::span<const uint64_t> blocks, uint64_t base) {
  std::vector<MapRun> runs;
  for (size_t slot = 0; slot < blocks.size(); ++slot) {
    if (slot > 0 && blocks[slot] == blocks[slot - 1] + 1)
      ++runs.back().count;
    else
      runs.push_back({.block = narrow<uint32_t>(blocks[slot] - base),
                      .slot = static_cast<uint32_t>(slot),
                      .count = 1});
  }
  return runs;
}

ExtentRef append_leaf(ExtentWriter& extents, const MapLeaf& leaf) {
  return extents.append({.kind = ContentKind::kMapLeaf}, encode(leaf));
}

}  // namespace

// --- Leaves and roots ---------------------------------------------------------------------------

Bytes encode(const MapLeaf& leaf) {
  // Extents name their packs by number; a leaf has few packs.
  std::vector<Bytes16> packs;
  ByteWriter extents;
  for (const MapExtent& extent : leaf.extents) {
    auto found = std::ranges::find(packs, extent.ref.pack);
    const size_t pack = static_cast<size_t>(found - packs.begin());
    if (found == packs.end()) packs.push_back(extent.ref.pack);
    extents.varint(pack)
        .varint(extent.ref.ordinal)
        .varint(extent.ref.offset)
        .varint(extent.ref.unit_bytes)
        .bytes(extent.ref.digest.view())
        .varint(extent.runs.size());
    for (const MapRun& run : extent.runs)
      extents.varint(run.block).varint(run.slot).varint(run.count);
  }
  ByteWriter out;
  out.u64(leaf.base_block).varint(packs.size());
  for (const Bytes16& pack : packs) out.bytes(pack.view());
  out.varint(leaf.extents.size()).bytes(extents.view());
  HF_CHECK(out.size() <= kMaxLeafRawBytes);
  return out.take();
}

MapLeaf decode_map_leaf(ByteView bytes, uint32_t leaf_blocks) {
  ByteReader in(bytes, "map leaf");
  if (bytes.size() > kMaxLeafRawBytes) in.fail(fmt::format("{} bytes are too many", bytes.size()));
  const uint64_t extent_blocks = std::max<uint64_t>(1, leaf_blocks / kLeafPerExtent);
  MapLeaf leaf;
  leaf.base_block = in.u64();
  if (leaf.base_block % leaf_blocks != 0)
    in.fail(fmt::format("the block {} begins no leaf", leaf.base_block));

  const uint64_t pack_count = in.varint();
  if (pack_count > in.remaining() / sizeof(Bytes16)) in.fail(fmt::format("{} packs", pack_count));
  std::vector<Bytes16> packs(pack_count);
  for (Bytes16& pack : packs) pack.bytes = in.array<16>();

  const uint64_t extent_count = in.varint();
  if (extent_count > in.remaining() / kLeastExtentBytes)
    in.fail(fmt::format("{} extents", extent_count));
  leaf.extents.reserve(extent_count);
  std::vector<bool> covered(leaf_blocks);
  while (leaf.extents.size() < extent_count) {
    MapExtent& extent = leaf.extents.emplace_back();
    const uint64_t pack = in.varint();
    const uint64_t ordinal = in.varint();
    extent.ref.offset = in.varint();
    const uint64_t unit_bytes = in.varint();
    if (pack >= packs.size() || ordinal > UINT32_MAX || unit_bytes > kMaxUnitBytes)
      in.fail(fmt::format("an extent of {} bytes is number {} of pack {} of {}", unit_bytes,
                          ordinal, pack, packs.size()));
    extent.ref.pack = packs[pack];
    extent.ref.ordinal = static_cast<uint32_t>(ordinal);
    extent.ref.unit_bytes = static_cast<uint32_t>(unit_bytes);
    extent.ref.digest.bytes = in.array<16>();

    const uint64_t run_count = in.varint();
    if (run_count > in.remaining() / kLeastRunBytes) in.fail(fmt::format("{} runs", run_count));
    extent.runs.reserve(run_count);
    while (extent.runs.size() < run_count) {
      const uint64_t block = in.varint();
      const uint64_t slot = in.varint();
      const uint64_t count = in.varint();
      if (count == 0 || block >= leaf_blocks || count > leaf_blocks - block)
        in.fail(fmt::format("{} blocks from {} leave the leaf", count, block));
      if (slot >= extent_blocks || count > extent_blocks - slot)
        in.fail(fmt::format("{} blocks from slot {} leave their extent", count, slot));
      for (uint64_t at = block; at < block + count; ++at) {
        if (covered[at]) in.fail(fmt::format("the block {} stands in two runs", at));
        covered[at] = true;
      }
      extent.runs.push_back({.block = static_cast<uint32_t>(block),
                             .slot = static_cast<uint32_t>(slot),
                             .count = static_cast<uint32_t>(count)});
    }
  }
  in.expect_end();
  return leaf;
}

Bytes encode(const std::vector<MapRootEntry>& root) {
  ByteWriter out;
  out.varint(root.size());
  uint64_t before = 0;
  for (const MapRootEntry& entry : root) {
    HF_CHECK(&entry == root.data() || entry.leaf_index > before);
    out.varint(entry.leaf_index - before);
    encode(out, entry.ref);
    before = entry.leaf_index;
  }
  return out.take();
}

std::vector<MapRootEntry> decode_map_root(ByteView bytes) {
  ByteReader in(bytes, "map root");
  const uint64_t count = in.varint();
  if (count > in.remaining() / kRootEntryBytes) in.fail(fmt::format("{} leaves", count));
  std::vector<MapRootEntry> root;
  root.reserve(count);
  uint64_t index = 0;
  while (root.size() < count) {
    const uint64_t distance = in.varint();
    if ((distance == 0 && !root.empty()) || distance >= leaf_count_of(kMaxFileBytes) - index)
      in.fail(fmt::format("leaf {} is followed by one {} behind it", index, distance));
    index += distance;
    root.push_back({.leaf_index = index, .ref = decode_extent_ref(in)});
  }
  in.expect_end();
  return root;
}

// --- Writing ------------------------------------------------------------------------------------

bool is_all_zero(ByteView block) {
  // The first bytes decide for nearly every block; the rest is compared with itself, moved by one.
  if (block.empty()) return true;
  if (block.front() != std::byte{0}) return false;
  return std::memcmp(block.data(), block.data() + 1, block.size() - 1) == 0;
}

LeafBuilder::LeafBuilder(ExtentWriter& extents, uint32_t block_bytes)
    : extents_(&extents), block_bytes_(block_bytes) {
  HF_CHECK(leaf_blocks_of(block_bytes) / kLeafPerExtent >= kExtentBlocks);
  pending_.reserve(size_t{kExtentBlocks} * block_bytes);
  blocks_.reserve(kExtentBlocks);
}

void LeafBuilder::begin(uint64_t file_tag, uint64_t leaf_index) {
  HF_CHECK(blocks_.empty());
  file_tag_ = file_tag;
  leaf_.base_block = leaf_index * leaf_blocks_of(block_bytes_);
  leaf_.extents.clear();
  next_block_ = leaf_.base_block;
}

void LeafBuilder::add(uint64_t first_block, ByteView raw) {
  const uint64_t leaf_end = leaf_.base_block + leaf_blocks_of(block_bytes_);
  const uint64_t block_count = (raw.size() + block_bytes_ - 1) / block_bytes_;
  HF_CHECK(first_block >= next_block_ && first_block <= leaf_end);
  HF_CHECK(block_count <= leaf_end - first_block);
  // Behind a short block nothing comes.
  next_block_ = raw.size() % block_bytes_ == 0 ? first_block + block_count : leaf_end;

  auto piece = [&](uint64_t from, uint64_t count) {
    ByteView rest = raw.subspan(from * block_bytes_);
    return rest.first(std::min<uint64_t>(rest.size(), count * block_bytes_));
  };
  for (uint64_t at = 0; at < block_count;) {
    // Blocks that fill an extent as they lie are taken from where they lie.
    uint64_t run = 0;
    while (run < kExtentBlocks && at + run < block_count && !is_all_zero(piece(at + run, 1))) ++run;
    if (run == kExtentBlocks && blocks_.empty()) {
      ExtentRef ref = extents_->append({.kind = ContentKind::kBlocks,
                                        .first_block = first_block + at,
                                        .block_count = kExtentBlocks,
                                        .file_tag = file_tag_},
                                       piece(at, kExtentBlocks));
      const uint32_t block = static_cast<uint32_t>(first_block + at - leaf_.base_block);
      leaf_.extents.push_back(
          {.ref = ref, .runs = {{.block = block, .slot = 0, .count = kExtentBlocks}}});
      at += kExtentBlocks;
      continue;
    }
    if (run == 0) {
      ++at;  // all zeros
      continue;
    }
    run = std::min<uint64_t>(run, kExtentBlocks - blocks_.size());
    ByteView bytes = piece(at, run);
    pending_.insert(pending_.end(), bytes.begin(), bytes.end());
    for (uint64_t i = 0; i < run; ++i) blocks_.push_back(first_block + at + i);
    if (blocks_.size() == kExtentBlocks) flush();
    at += run;
  }
}

void LeafBuilder::flush() {
  if (blocks_.empty()) return;
  ExtentRef ref = extents_->append(
      {.kind = ContentKind::kBlocks, .blocks = blocks_, .file_tag = file_tag_}, pending_);
  leaf_.extents.push_back({.ref = ref, .runs = runs_of(blocks_, leaf_.base_block)});
  blocks_.clear();
  pending_.clear();
}

MapLeaf LeafBuilder::finish() {
  flush();
  MapLeaf leaf{.base_block = leaf_.base_block, .extents = std::move(leaf_.extents)};
  leaf_.extents.clear();
  return leaf;
}

void FileMapBuilder::add(ExtentWriter& extents, MapLeaf leaf, uint32_t block_bytes) {
  if (leaf.extents.empty()) return;
  const uint32_t leaf_blocks = leaf_blocks_of(block_bytes);
  HF_CHECK(leaf.base_block % leaf_blocks == 0);
  if (leaf.base_block == 0) {
    MutexLock lock(mutex_);
    HF_CHECK(!first_);
    first_ = std::move(leaf);
    return;
  }
  ExtentRef ref = append_leaf(extents, leaf);
  MutexLock lock(mutex_);
  others_.push_back({.leaf_index = leaf.base_block / leaf_blocks, .ref = ref});
}

FileLocation FileMapBuilder::finish(ExtentWriter& extents, uint64_t file_bytes,
                                    uint32_t block_bytes) {
  std::optional<MapLeaf> first;
  std::vector<MapRootEntry> root;
  {
    MutexLock lock(mutex_);
    first = std::exchange(first_, std::nullopt);
    root = std::exchange(others_, {});
  }
  if (file_bytes > kMaxFileBytes)
    throw Error({.code = ErrorCode::kUnsupported,
                 .message = "a file is too large for the repository",
                 .detail = fmt::format("It has {} bytes; at most {} are possible.", file_bytes,
                                       kMaxFileBytes)});
  using Kind = FileLocation::Kind;
  if (root.empty()) {
    if (!first) return {};
    const MapRun& last = first->extents.back().runs.back();
    HF_CHECK((uint64_t{last.block} + last.count - 1) * block_bytes < file_bytes);
    if (first->extents.size() == 1)
      return {.kind = Kind::kDirect,
              .ref = first->extents.front().ref,
              .runs = std::move(first->extents.front().runs)};
    if (file_bytes <= kLeafBytes)
      return {.kind = Kind::kLeaf, .ref = append_leaf(extents, *first), .runs = {}};
  }
  if (first) root.push_back({.leaf_index = 0, .ref = append_leaf(extents, *first)});
  std::ranges::sort(root, {}, &MapRootEntry::leaf_index);
  HF_CHECK(root.back().leaf_index < leaf_count_of(file_bytes));
  ExtentRef ref = extents.append({.kind = ContentKind::kMapRoot}, encode(root));
  return {.kind = Kind::kRoot, .ref = ref, .runs = {}};
}

FileLocation append_file(ExtentWriter& extents, std::string_view path, ByteView content,
                         uint32_t block_bytes) {
  LeafBuilder builder(extents, block_bytes);
  FileMapBuilder map;
  for (uint64_t index = 0; index < leaf_count_of(content.size()); ++index) {
    ByteView rest = content.subspan(index * kLeafBytes);
    builder.begin(file_tag(path), index);
    builder.add(index * leaf_blocks_of(block_bytes),
                rest.first(std::min<uint64_t>(rest.size(), kLeafBytes)));
    map.add(extents, builder.finish(), block_bytes);
  }
  return map.finish(extents, content.size(), block_bytes);
}

// --- Reading ------------------------------------------------------------------------------------

FileReader::FileReader(ExtentReader& extents, uint32_t block_bytes)
    : extents_(&extents), block_bytes_(block_bytes) {
  leaf_blocks_of(block_bytes);
}

namespace {

// The runs of a direct extent come from the manifest: none may overlap another or leave the file.
void check_direct_runs(std::vector<MapRun> runs, uint64_t file_blocks) {
  std::ranges::sort(runs, {}, &MapRun::block);
  uint64_t end = 0;
  for (const MapRun& run : runs) {
    if (run.count == 0 || run.block < end || uint64_t{run.block} + run.count > file_blocks)
      throw_damaged_map(
          fmt::format("{} blocks from {} overlap others, or leave the file of {} "
                      "blocks.",
                      run.count, run.block, file_blocks));
    end = uint64_t{run.block} + run.count;
  }
}

}  // namespace

void FileReader::open(const FileLocation& location, uint64_t file_bytes) {
  location_ = location;
  file_bytes_ = file_bytes;
  loaded_.reset();
  root_.clear();
  if (file_bytes > kMaxFileBytes)
    throw_damaged_map(fmt::format("The file claims to have {} bytes; at most {} are possible.",
                                  file_bytes, kMaxFileBytes));
  if (location.kind == FileLocation::Kind::kDirect)
    check_direct_runs(location.runs, (file_bytes + block_bytes_ - 1) / block_bytes_);
  if (location.kind == FileLocation::Kind::kRoot) {
    root_ = decode_map_root(extents_->read(location.ref, ContentKind::kMapRoot).raw);
    if (!root_.empty() && root_.back().leaf_index >= leaf_count())
      throw_damaged_map(fmt::format("It has a leaf {} for a file of {} bytes.",
                                    root_.back().leaf_index, file_bytes));
  }
}

const MapLeaf& FileReader::leaf(uint64_t leaf_index) {
  if (loaded_ == leaf_index) return leaf_;
  loaded_.reset();
  const uint32_t leaf_blocks = leaf_blocks_of(block_bytes_);
  const uint64_t base = leaf_index * leaf_blocks;
  leaf_.base_block = base;
  leaf_.extents.clear();
  auto load = [&](const ExtentRef& ref) {
    leaf_ = decode_map_leaf(extents_->read(ref, ContentKind::kMapLeaf).raw, leaf_blocks);
    if (leaf_.base_block != base)
      throw_damaged_map(fmt::format("The leaf of block {} stands in the place of that of block {}.",
                                    leaf_.base_block, base));
  };

  switch (location_.kind) {
    case FileLocation::Kind::kNone:
      break;
    case FileLocation::Kind::kDirect: {
      MapExtent extent{.ref = location_.ref, .runs = {}};
      for (const MapRun& run : location_.runs) {
        if (run.block / leaf_blocks != leaf_index) continue;
        const uint32_t block = run.block % leaf_blocks;
        if (run.count > leaf_blocks - block)
          throw_damaged_map(
              fmt::format("{} blocks from {} leave their leaf.", run.count, run.block));
        extent.runs.push_back({.block = block, .slot = run.slot, .count = run.count});
      }
      if (!extent.runs.empty()) leaf_.extents.push_back(std::move(extent));
      break;
    }
    case FileLocation::Kind::kLeaf:
      if (leaf_index == 0) load(location_.ref);
      break;
    case FileLocation::Kind::kRoot: {
      auto found = std::ranges::lower_bound(root_, leaf_index, {}, &MapRootEntry::leaf_index);
      if (found != root_.end() && found->leaf_index == leaf_index) load(found->ref);
      break;
    }
  }
  loaded_ = leaf_index;
  return leaf_;
}

// Hands over what is stored of the bytes [start, end) of the file, which lie in `leaf`.
template <typename Take>
void FileReader::pieces_of(const MapLeaf& leaf, uint64_t start, uint64_t end, const Take& take) {
  auto start_of = [&](const MapRun& run) { return (leaf.base_block + run.block) * block_bytes_; };
  auto end_of = [&](const MapRun& run) {
    return std::min(file_bytes_, start_of(run) + uint64_t{run.count} * block_bytes_);
  };
  for (const MapExtent& extent : leaf.extents) {
    if (std::ranges::none_of(extent.runs, [&](const MapRun& run) {
          return start_of(run) < end && end_of(run) > start;
        }))
      continue;
    ExtentReader::Extent content = extents_->read(extent.ref, ContentKind::kBlocks);
    // The last block may be short, as a file's last is.
    const uint64_t block_count = (content.raw.size() + block_bytes_ - 1) / block_bytes_;
    if (block_count != content.block_count)
      throw_damaged_map(fmt::format("An extent of {} blocks has {} bytes.", content.block_count,
                                    content.raw.size()));
    for (const MapRun& run : extent.runs) {
      if (start_of(run) >= end || end_of(run) <= start) continue;
      const uint64_t run_bytes = end_of(run) - start_of(run);
      const uint64_t slot_start = uint64_t{run.slot} * block_bytes_;
      const uint64_t slot_end =
          std::min<uint64_t>(content.raw.size(), slot_start + uint64_t{run.count} * block_bytes_);
      if (slot_start >= slot_end || slot_end - slot_start != run_bytes)
        throw_damaged_map(
            fmt::format("{} blocks from {} of the file are to be slots {} and on of an extent "
                        "of {} bytes.",
                        run.count, leaf.base_block + run.block, run.slot, content.raw.size()));
      const uint64_t from = std::max(start, start_of(run));
      const uint64_t to = std::min(end, end_of(run));
      take(from, content.raw.subspan(slot_start + (from - start_of(run)), to - from));
    }
  }
}

void FileReader::for_each_piece(uint64_t leaf_index,
                                const std::function<void(uint64_t offset, ByteView bytes)>& take) {
  const MapLeaf& wanted = leaf(leaf_index);
  check_ends_in_file(wanted);
  pieces_of(wanted, leaf_index * kLeafBytes, (leaf_index + 1) * kLeafBytes, take);
}

void FileReader::check_ends_in_file(const MapLeaf& leaf) const {
  for (const MapExtent& extent : leaf.extents)
    for (const MapRun& run : extent.runs)
      if ((leaf.base_block + run.block + run.count - 1) * block_bytes_ >= file_bytes_)
        throw_damaged_map(fmt::format("{} blocks from {} lie behind the file's end.", run.count,
                                      leaf.base_block + run.block));
}

uint64_t FileReader::for_each_difference(uint64_t leaf_index, const FileComparison& with) {
  const MapLeaf& wanted = leaf(leaf_index);
  check_ends_in_file(wanted);
  uint64_t differing = 0;
  MapLeaf one{.base_block = wanted.base_block, .extents = {}};
  for (const MapExtent& extent : wanted.extents) {
    if (extent_is_there(wanted, extent, with)) continue;
    one.extents.assign(1, extent);
    pieces_of(
        one, leaf_index * kLeafBytes, (leaf_index + 1) * kLeafBytes,
        [&](uint64_t offset, ByteView bytes) { differing += compare_piece(offset, bytes, with); });
  }
  return differing + clear_gaps(wanted, with);
}

// Only of an extent whose blocks all have a place in the file, in their order, can the digest be
// made from the file.
bool FileReader::extent_is_there(const MapLeaf& leaf, const MapExtent& extent,
                                 const FileComparison& with) {
  std::vector<MapRun> runs = extent.runs;
  std::ranges::sort(runs, {}, &MapRun::slot);
  there_.clear();
  uint32_t next_slot = 0;
  for (const MapRun& run : runs) {
    const uint64_t start = (leaf.base_block + run.block) * block_bytes_;
    const uint64_t bytes = std::min(uint64_t{run.count} * block_bytes_, file_bytes_ - start);
    if (run.slot != next_slot || there_.size() + bytes > kMaxBlocksBytes) return false;
    next_slot += run.count;
    const size_t at = there_.size();
    there_.resize(at + bytes);
    with.read(start, std::span(there_).subspan(at));
  }
  return extents_->holds(extent.ref, there_);
}

// Blocks that differ are put together as far as they are adjacent.
uint64_t FileReader::compare_piece(uint64_t offset, ByteView wanted, const FileComparison& with) {
  there_.resize(wanted.size());
  with.read(offset, there_);
  uint64_t differing = 0;
  size_t start = 0;  // of the stretch that differs and was not put yet
  auto put_until = [&](size_t end) {
    if (start < end) with.put(offset + start, wanted.subspan(start, end - start));
    differing += end - start;
  };
  for (size_t at = 0; at < wanted.size(); at += block_bytes_) {
    const size_t bytes = std::min<size_t>(block_bytes_, wanted.size() - at);
    if (std::memcmp(there_.data() + at, wanted.data() + at, bytes) != 0) continue;
    put_until(at);
    start = at + bytes;
  }
  put_until(wanted.size());
  return differing;
}

// What no run covers must be zeros.
uint64_t FileReader::clear_gaps(const MapLeaf& leaf, const FileComparison& with) {
  std::vector<MapRun> runs;
  for (const MapExtent& extent : leaf.extents)
    runs.insert(runs.end(), extent.runs.begin(), extent.runs.end());
  const uint32_t leaf_blocks = leaf_blocks_of(block_bytes_);
  runs.push_back({.block = leaf_blocks, .slot = 0, .count = 0});
  std::ranges::sort(runs, {}, &MapRun::block);

  uint64_t cleared = 0;
  uint64_t block = 0;
  for (const MapRun& run : runs) {
    const uint64_t end =
        std::min(file_bytes_, (leaf.base_block + run.block) * uint64_t{block_bytes_});
    for (uint64_t at = (leaf.base_block + block) * block_bytes_; at < end;) {
      there_.resize(std::min<uint64_t>(uint64_t{kExtentBlocks} * block_bytes_, end - at));
      with.read(at, there_);
      for (size_t in = 0; in < there_.size(); in += block_bytes_) {
        const size_t bytes = std::min<size_t>(block_bytes_, there_.size() - in);
        if (is_all_zero(ByteView(there_).subspan(in, bytes))) continue;
        with.clear(at + in, bytes);
        cleared += bytes;
      }
      at += there_.size();
    }
    block = uint64_t{run.block} + run.count;
  }
  return cleared;
}

size_t FileReader::read_range(uint64_t offset, std::span<std::byte> into) {
  if (offset >= file_bytes_) return 0;
  into = into.first(std::min<uint64_t>(into.size(), file_bytes_ - offset));
  std::ranges::fill(into, std::byte{0});
  const uint64_t end = offset + into.size();
  for (uint64_t at = offset; at < end;) {
    const uint64_t index = leaf_index_of(at);
    const uint64_t until = std::min(end, (index + 1) * kLeafBytes);
    pieces_of(leaf(index), at, until, [&](uint64_t from, ByteView bytes) {
      std::ranges::copy(bytes, into.begin() + static_cast<ptrdiff_t>(from - offset));
    });
    at = until;
  }
  return into.size();
}

}  // namespace holdfast::repo
