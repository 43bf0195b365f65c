#include "repo/file_map.h"

#include <thread>

#include <gtest/gtest.h>

#include "support/error_of.h"
#include "support/test_repository.h"

namespace holdfast::repo {
namespace {

using test::error_of;
using test::page_like_bytes;
using test::Sealing;
using test::TestRepository;

constexpr uint32_t kBlock = 8192;
constexpr uint32_t kLeafBlocks = kLeafBytes / kBlock;

class FileMap : public testing::Test {
 private:
  TestRepository target_;

 protected:
  ExtentWriter writer{target_.repository, target_.lineage.name, {}};
  ExtentReader extents{target_.repository, target_.lineage.name};
  FileReader reader{extents, kBlock};

  Bytes read(const FileLocation& location, uint64_t file_bytes) {
    writer.finish();
    reader.open(location, file_bytes);
    Bytes content(file_bytes + 10);
    content.resize(reader.read_range(0, content));
    return content;
  }
};

TEST_F(FileMap, ChoosesTheSmallestLocationThatHolds) {
  using Kind = FileLocation::Kind;
  Bytes sparse(20 * kBlock);
  std::ranges::fill_n(sparse.begin() + 18 * kBlock, kBlock, std::byte{1});
  Bytes far(kLeafBytes + 5 * kBlock);
  far.back() = std::byte{1};
  Bytes one_extent(kLeafBytes + 5 * kBlock);
  one_extent.front() = std::byte{1};
  const struct {
    const char* what;
    Bytes content;
    Kind kind;
  } cases[] = {
      {"empty", {}, Kind::kNone},
      {"one byte", Bytes(1, std::byte{7}), Kind::kDirect},
      {"zeros", Bytes(3 * kBlock), Kind::kNone},
      {"zeros and a short block", Bytes(3 * kBlock + 5), Kind::kNone},
      {"an extent", page_like_bytes(16 * kBlock, 1), Kind::kDirect},
      {"an extent and a byte", page_like_bytes(16 * kBlock + 1, 1), Kind::kLeaf},
      {"few blocks between zeros", sparse, Kind::kDirect},
      {"a short end", page_like_bytes(100 * kBlock + 77, 1), Kind::kLeaf},
      {"a whole leaf", page_like_bytes(kLeafBytes, 1), Kind::kLeaf},
      {"a leaf and a byte", page_like_bytes(kLeafBytes + 1, 1), Kind::kRoot},
      {"only the last block of two leaves", far, Kind::kRoot},
      {"only the first block of two leaves", one_extent, Kind::kDirect},
  };
  for (const auto& c : cases) {
    const FileLocation location = append_file(writer, "base/5/1", c.content, kBlock);
    EXPECT_EQ(location.kind, c.kind) << c.what;
    EXPECT_TRUE(read(location, c.content.size()) == c.content) << c.what;
  }
}

TEST_F(FileMap, CutsExtentsOfSixteenStoredBlocks) {
  // Every third block is zeros: extents are full all the same.
  Bytes content = page_like_bytes(48 * kBlock, 4);
  for (size_t block = 0; block < 48; block += 3)
    std::ranges::fill_n(content.begin() + static_cast<ptrdiff_t>(block * kBlock), kBlock,
                        std::byte{0});
  LeafBuilder builder(writer, kBlock);
  builder.begin(1, 0);
  builder.add(0, content);
  const MapLeaf leaf = builder.finish();
  ASSERT_EQ(leaf.extents.size(), 2u);
  for (const MapExtent& extent : leaf.extents) {
    uint32_t blocks = 0;
    for (const MapRun& run : extent.runs) {
      EXPECT_EQ(run.slot, blocks);
      EXPECT_EQ(run.block % 3, 1u);
      EXPECT_EQ(run.count, 2u);
      blocks += run.count;
    }
    EXPECT_EQ(blocks, kExtentBlocks);
  }
}

TEST_F(FileMap, MakesTheSameLeafHoweverTheBlocksArrive) {
  Bytes content = page_like_bytes(100 * kBlock + 100, 4);
  std::ranges::fill_n(content.begin() + 30 * kBlock, 5 * kBlock, std::byte{0});
  std::vector<std::vector<MapRun>> runs;
  for (size_t step : {size_t{1}, size_t{3}, size_t{16}, size_t{1000}}) {
    LeafBuilder builder(writer, kBlock);
    builder.begin(1, 0);
    for (size_t at = 0; at < content.size(); at += step * kBlock)
      builder.add(at / kBlock,
                  ByteView(content).subspan(at, std::min(step * kBlock, content.size() - at)));
    MapLeaf leaf = builder.finish();
    std::vector<MapRun> all;
    for (const MapExtent& extent : leaf.extents)
      all.insert(all.end(), extent.runs.begin(), extent.runs.end());
    runs.push_back(all);
    FileMapBuilder map;
    map.add(writer, std::move(leaf), kBlock);
    EXPECT_TRUE(read(map.finish(writer, content.size(), kBlock), content.size()) == content)
        << step;
  }
  for (const auto& other : runs) EXPECT_EQ(other, runs.front());
}

TEST_F(FileMap, ReadsAnyRange) {
  Bytes content = page_like_bytes(40 * kBlock + 333, 9);
  std::ranges::fill_n(content.begin() + 17 * kBlock, 6 * kBlock, std::byte{0});
  const FileLocation location = append_file(writer, "x", content, kBlock);
  writer.finish();
  reader.open(location, content.size());
  const struct {
    uint64_t offset;
    size_t bytes;
  } cases[] = {{0, 0},
               {0, 1},
               {1, kBlock},
               {kBlock - 1, 2},
               {16 * kBlock - 5, 10},
               {17 * kBlock, kBlock},
               {17 * kBlock - 1, 7 * kBlock},
               {40 * kBlock, 333},
               {40 * kBlock + 330, 100},
               {5, content.size()},
               {content.size(), 1},
               {content.size() + 1000, 1}};
  for (const auto& c : cases) {
    Bytes into(c.bytes, std::byte{0xEE});
    const size_t count = reader.read_range(c.offset, into);
    const size_t expected =
        c.offset >= content.size() ? 0 : std::min(c.bytes, content.size() - c.offset);
    ASSERT_EQ(count, expected) << c.offset;
    EXPECT_TRUE(std::ranges::equal(
        ByteView(into).first(count),
        ByteView(content).subspan(std::min<size_t>(c.offset, content.size()), count)))
        << c.offset << " " << c.bytes;
  }
}

TEST_F(FileMap, HandsOverPiecesThatTogetherAreWhatIsStored) {
  Bytes content = page_like_bytes(40 * kBlock + 333, 9);
  std::ranges::fill_n(content.begin() + 17 * kBlock, 6 * kBlock, std::byte{0});
  const FileLocation location = append_file(writer, "x", content, kBlock);
  writer.finish();
  reader.open(location, content.size());
  Bytes rebuilt(content.size());
  size_t stored = 0;
  for (uint64_t leaf = 0; leaf < reader.leaf_count(); ++leaf)
    reader.for_each_piece(leaf, [&](uint64_t offset, ByteView bytes) {
      std::ranges::copy(bytes, rebuilt.begin() + static_cast<ptrdiff_t>(offset));
      stored += bytes.size();
    });
  EXPECT_TRUE(rebuilt == content);
  EXPECT_EQ(stored, content.size() - 6 * kBlock);
}

// Brings `there` in line with the file that `reader` has open; what was put and cleared in all.
uint64_t mend(FileReader& reader, Bytes& there) {
  uint64_t touched = 0, told = 0;
  const FileComparison with{
      .read =
          [&](uint64_t offset, std::span<std::byte> into) {
            std::ranges::copy(std::span(there).subspan(offset, into.size()), into.begin());
          },
      .put =
          [&](uint64_t offset, ByteView bytes) {
            std::ranges::copy(bytes, there.begin() + static_cast<ptrdiff_t>(offset));
            touched += bytes.size();
          },
      .clear =
          [&](uint64_t offset, uint64_t count) {
            std::ranges::fill_n(there.begin() + static_cast<ptrdiff_t>(offset),
                                static_cast<ptrdiff_t>(count), std::byte{0});
            touched += count;
          }};
  for (uint64_t leaf = 0; leaf < reader.leaf_count(); ++leaf)
    told += reader.for_each_difference(leaf, with);
  EXPECT_EQ(told, touched);
  return touched;
}

TEST_F(FileMap, ComparesAFileThatIsThereByItsContent) {
  Bytes content = page_like_bytes(kLeafBytes + 70 * kBlock + 100, 9);
  for (const size_t block : {0, 5, 6, 40, 2047, 2048, 2100})
    std::ranges::fill_n(content.begin() + static_cast<ptrdiff_t>(block * kBlock), kBlock,
                        std::byte{0});
  const FileLocation location = append_file(writer, "base/5/1", content, kBlock);
  writer.finish();
  const struct {
    const char* what;
    std::vector<size_t> changed;  // bytes
    uint64_t touched;
  } cases[] = {
      {"nothing", {}, 0},
      {"the first byte of a stored block", {kBlock}, kBlock},
      {"the last byte of a stored block", {2 * kBlock - 1}, kBlock},
      {"two blocks of one extent", {7 * kBlock, 9 * kBlock + 1}, 2 * kBlock},
      {"a byte in each of two that are zeros", {5 * kBlock + 17, 7 * kBlock - 1}, 2 * kBlock},
      {"the block before a leaf's end", {kLeafBytes - 1}, kBlock},
      {"the block behind it", {kLeafBytes}, kBlock},
      {"the short last block", {content.size() - 1}, 100},
  };
  for (const auto& c : cases) {
    Bytes there = content;
    for (const size_t at : c.changed) there[at] ^= std::byte{1};
    reader.open(location, content.size());
    EXPECT_EQ(mend(reader, there), c.touched) << c.what;
    EXPECT_TRUE(there == content) << c.what;
  }
  Bytes garbage(content.size(), std::byte{0x55});
  reader.open(location, content.size());
  EXPECT_EQ(mend(reader, garbage), content.size());
  EXPECT_TRUE(garbage == content);
}

// As a later backup refers to an extent of an earlier one: to some of its blocks, in other places.
TEST_F(FileMap, ComparesBlocksOfAnExtentThatIsUsedInPart) {
  const Bytes stored = page_like_bytes(16 * kBlock, 3);
  LeafBuilder builder(writer, kBlock);
  builder.begin(1, 0);
  builder.add(0, stored);
  MapLeaf leaf = builder.finish();
  ASSERT_EQ(leaf.extents.size(), 1U);
  leaf.extents[0].runs = {{.block = 3, .slot = 8, .count = 4}, {.block = 9, .slot = 2, .count = 1}};
  MapLeaf second = leaf;
  second.extents[0].runs = {{.block = 0, .slot = 0, .count = 2}};
  leaf.extents.push_back(second.extents[0]);
  FileMapBuilder map;
  map.add(writer, leaf, kBlock);
  const FileLocation location = map.finish(writer, 10 * kBlock, kBlock);
  const Bytes content = read(location, 10 * kBlock);
  ASSERT_TRUE(std::ranges::equal(std::span(content).subspan(9 * kBlock),
                                 std::span(stored).subspan(2 * kBlock, kBlock)));

  Bytes there = content;
  reader.open(location, content.size());
  EXPECT_EQ(mend(reader, there), 0U);
  for (const size_t block : {0, 4, 7, 9}) there[block * kBlock + 5] ^= std::byte{1};
  EXPECT_EQ(mend(reader, there), 4U * kBlock);
  EXPECT_TRUE(there == content);
}

TEST_F(FileMap, ASparseFileOfTwentyGigabytesCostsWhatIsInIt) {
  constexpr uint64_t kFileBytes = uint64_t{20} << 30;
  const std::vector<uint64_t> blocks = {0, 1, 999'999, kFileBytes / kBlock - 1};
  LeafBuilder builder(writer, kBlock);
  FileMapBuilder map;
  for (uint64_t block : blocks) {
    const Bytes page = page_like_bytes(kBlock, block);
    if (block == 1) continue;
    builder.begin(5, leaf_index_of(block * kBlock));
    builder.add(block, page);
    if (block == 0) builder.add(1, page_like_bytes(kBlock, 1));
    map.add(writer, builder.finish(), kBlock);
  }
  const FileLocation location = map.finish(writer, kFileBytes, kBlock);
  EXPECT_EQ(location.kind, FileLocation::Kind::kRoot);
  const std::vector<PackSummary> packs = writer.finish();
  ASSERT_EQ(packs.size(), 1u);
  EXPECT_LE(packs[0].extents, 3 + 3 + 1u);
  reader.open(location, kFileBytes);
  EXPECT_EQ(reader.leaf_count(), 1280u);
  Bytes page(kBlock);
  for (uint64_t block : blocks) {
    EXPECT_EQ(reader.read_range(block * kBlock, page), kBlock);
    EXPECT_TRUE(page == page_like_bytes(kBlock, block)) << block;
  }
  EXPECT_EQ(reader.read_range(777'777 * kBlock, page), kBlock);
  EXPECT_TRUE(is_all_zero(page));
  size_t pieces = 0;
  for (uint64_t leaf = 0; leaf < reader.leaf_count(); ++leaf)
    reader.for_each_piece(leaf, [&](uint64_t, ByteView) { ++pieces; });
  EXPECT_EQ(pieces, 3u);
}

TEST_F(FileMap, TakesLeavesFromSeveralWorkersInAnyOrder) {
  TestRepository target;
  const Bytes content = page_like_bytes(2 * kLeafBytes + 12345, 3);
  FileMapBuilder map;
  {
    std::vector<std::jthread> workers;
    for (uint64_t index : {uint64_t{2}, uint64_t{0}, uint64_t{1}})
      workers.emplace_back([&, index] {
        ExtentWriter own(target.repository, target.lineage.name,
                         {.algorithm = codec::Compression::kLz4, .level = 0});
        LeafBuilder builder(own, kBlock);
        builder.begin(1, index);
        ByteView rest = ByteView(content).subspan(index * kLeafBytes);
        builder.add(index * kLeafBlocks, rest.first(std::min<size_t>(rest.size(), kLeafBytes)));
        map.add(own, builder.finish(), kBlock);
        own.finish();
      });
  }
  ExtentWriter last(target.repository, target.lineage.name, {});
  const FileLocation location = map.finish(last, content.size(), kBlock);
  last.finish();
  ExtentReader in(target.repository, target.lineage.name);
  FileReader file(in, kBlock);
  file.open(location, content.size());
  Bytes back(content.size());
  file.read_range(0, back);
  EXPECT_TRUE(back == content);
}

TEST_F(FileMap, RefusesAFileThatNoRootCanHold) {
  FileMapBuilder map;
  Error error = error_of([&] { map.finish(writer, kMaxFileBytes + 1, kBlock); });
  EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
  EXPECT_EQ(error.message(), "a file is too large for the repository");
  EXPECT_EQ(error.detail(), "It has 2748779069441 bytes; at most 2748779069440 are possible.");
  EXPECT_EQ(map.finish(writer, kMaxFileBytes, kBlock).kind, FileLocation::Kind::kNone);
}

TEST_F(FileMap, RootOfTheLargestFileFitsAnExtent) {
  std::vector<MapRootEntry> root(leaf_count_of(kMaxFileBytes));
  for (size_t i = 0; i < root.size(); ++i) root[i].leaf_index = i;
  const Bytes bytes = encode(root);
  EXPECT_LE(bytes.size(), kMaxRawBytes);
  EXPECT_EQ(decode_map_root(bytes), root);
}

MapLeaf two_extents() {
  MapLeaf leaf{.base_block = 3 * kLeafBlocks, .extents = {}};
  leaf.extents.push_back(
      {.ref =
           {.pack = {{std::byte{1}}}, .ordinal = 4, .offset = 96, .unit_bytes = 1000, .digest = {}},
       .runs = {{.block = 0, .slot = 0, .count = 10}, {.block = 20, .slot = 10, .count = 6}}});
  leaf.extents.push_back(
      {.ref =
           {.pack = {{std::byte{2}}}, .ordinal = 9, .offset = 5000, .unit_bytes = 77, .digest = {}},
       .runs = {{.block = kLeafBlocks - 1, .slot = 3, .count = 1}}});
  return leaf;
}

TEST(MapLeaf, ReadsBack) {
  EXPECT_EQ(decode_map_leaf(encode(two_extents()), kLeafBlocks), two_extents());
}

TEST(MapLeaf, RefusesRunsThatOverlapOrLeave) {
  const struct {
    const char* what;
    MapRun run;
  } cases[] = {
      {"overlaps another of its extent", {.block = 9, .slot = 0, .count = 1}},
      {"overlaps another extent's", {.block = kLeafBlocks - 2, .slot = 0, .count = 2}},
      {"leaves the leaf", {.block = kLeafBlocks, .slot = 0, .count = 1}},
      {"reaches out of the leaf", {.block = 100, .slot = 0, .count = kLeafBlocks}},
      {"wraps around", {.block = 100, .slot = 0, .count = UINT32_MAX}},
      {"leaves any extent", {.block = 100, .slot = 128, .count = 1}},
      {"reaches out of any extent", {.block = 100, .slot = 127, .count = 2}},
      {"is empty", {.block = 100, .slot = 0, .count = 0}},
  };
  for (const auto& c : cases) {
    MapLeaf leaf = two_extents();
    leaf.extents[0].runs.push_back(c.run);
    EXPECT_EQ(error_of([&] { decode_map_leaf(encode(leaf), kLeafBlocks); }).code(),
              ErrorCode::kCorrupt)
        << c.what;
  }
  MapLeaf shifted = two_extents();
  shifted.base_block += 1;
  EXPECT_EQ(error_of([&] { decode_map_leaf(encode(shifted), kLeafBlocks); }).code(),
            ErrorCode::kCorrupt);
}

TEST(MapLeaf, RefusesEveryOtherLength) {
  Bytes bytes = encode(two_extents());
  for (size_t length = 0; length < bytes.size(); ++length)
    EXPECT_THROW(decode_map_leaf(ByteView(bytes).first(length), kLeafBlocks), Error) << length;
  bytes.push_back(std::byte{0});
  EXPECT_THROW(decode_map_leaf(bytes, kLeafBlocks), Error);
}

TEST(MapRoot, ReadsBackAndRefusesWhatIsOutOfOrderOrTooFar) {
  std::vector<MapRootEntry> root(3);
  root[1].leaf_index = 1;
  root[2].leaf_index = 100'000;
  EXPECT_EQ(decode_map_root(encode(root)), root);
  root[0].leaf_index = 0;
  Bytes bytes = encode(root);
  bytes[1 + 49] = std::byte{0};  // the second's distance
  EXPECT_THROW(decode_map_root(bytes), Error);
  root = {{.leaf_index = leaf_count_of(kMaxFileBytes), .ref = {}}};
  EXPECT_THROW(decode_map_root(encode(root)), Error);
}

TEST_F(FileMap, RefusesALocationThatDoesNotFitTheFile) {
  const Bytes content = page_like_bytes(5 * kBlock, 1);
  const FileLocation good = append_file(writer, "x", content, kBlock);
  ASSERT_EQ(good.kind, FileLocation::Kind::kDirect);
  writer.finish();
  Bytes into(content.size());
  const struct {
    const char* what;
    MapRun run;
    uint64_t file_bytes;
  } cases[] = {
      {"a shorter file", {.block = 0, .slot = 0, .count = 5}, 4 * kBlock},
      {"a file that ends within its block", {.block = 0, .slot = 0, .count = 5}, 5 * kBlock - 1},
      {"a slot that is not there", {.block = 0, .slot = 1, .count = 5}, 5 * kBlock},
      {"no blocks", {.block = 0, .slot = 0, .count = 0}, 5 * kBlock},
      {"a block behind the end", {.block = 5, .slot = 0, .count = 1}, 5 * kBlock},
      {"more blocks than the extent has", {.block = 0, .slot = 0, .count = 6}, 6 * kBlock},
  };
  for (const auto& c : cases) {
    FileLocation bad = good;
    bad.runs = {c.run};
    Error error = error_of([&] {
      reader.open(bad, c.file_bytes);
      reader.read_range(0, into);
    });
    EXPECT_EQ(error.code(), ErrorCode::kCorrupt) << c.what;
    EXPECT_EQ(error.message(), "damaged file map") << c.what;
    error = error_of([&] {
      reader.open(bad, c.file_bytes);
      reader.for_each_piece(0, [](uint64_t, ByteView) {});
    });
    EXPECT_EQ(error.code(), ErrorCode::kCorrupt) << c.what;
  }
  FileLocation twice = good;
  twice.runs = {{.block = 0, .slot = 0, .count = 3}, {.block = 2, .slot = 3, .count = 2}};
  EXPECT_EQ(error_of([&] { reader.open(twice, content.size()); }).code(), ErrorCode::kCorrupt);
}

TEST(AllZero, LooksAtEveryByte) {
  for (size_t size : {size_t{1}, size_t{7}, size_t{8192}}) {
    Bytes block(size);
    EXPECT_TRUE(is_all_zero(block));
    for (size_t at : {size_t{0}, size / 2, size - 1}) {
      block[at] = std::byte{1};
      EXPECT_FALSE(is_all_zero(block)) << size << " " << at;
      block[at] = std::byte{0};
    }
  }
  EXPECT_TRUE(is_all_zero({}));
}

}  // namespace
}  // namespace holdfast::repo
