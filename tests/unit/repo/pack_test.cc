#include "repo/pack.h"

#include <gtest/gtest.h>

#include "support/error_of.h"
#include "support/test_repository.h"

namespace holdfast::repo {
namespace {

using test::error_of;
using test::object_bytes;
using test::object_names;
using test::page_like_bytes;
using test::Sealing;
using test::TestRepository;

class Pack : public testing::TestWithParam<Sealing> {
 protected:
  ExtentWriter writer(codec::CompressionSetting compression = {}) {
    return ExtentWriter(target.repository, target.lineage.name, compression);
  }
  ExtentReader reader() { return ExtentReader(target.repository, target.lineage.name); }
  std::string name_of(const Bytes16& pack) { return pack_name(target.lineage.name, pack); }
  // A pack with an extent of each kind; `refs` says where.
  Bytes16 make_small_pack(std::vector<ExtentRef>& refs) {
    ExtentWriter out = writer();
    const uint64_t blocks[] = {3, 5, 900};
    refs.push_back(
        out.append({.blocks = blocks, .file_tag = file_tag("base/5/1259")}, as_bytes("aabbc")));
    refs.push_back(out.append({.kind = ContentKind::kMapLeaf}, as_bytes("a leaf")));
    refs.push_back(out.append({.kind = ContentKind::kManifestBlock}, Bytes(300, std::byte{'m'})));
    return out.finish().at(0).pack;
  }
  void read_all(const std::vector<ExtentRef>& refs, const Bytes16& pack) {
    ExtentReader in = reader();
    in.read(refs[0], ContentKind::kBlocks);
    in.read(refs[1], ContentKind::kMapLeaf);
    in.read(refs[2], ContentKind::kManifestBlock);
    read_pack_footer(target.repository, target.lineage.name, pack);
  }
  TestRepository target{GetParam()};
};
INSTANTIATE_TEST_SUITE_P(Sealing, Pack, testing::Values(Sealing::kNone, Sealing::kKeyFile),
                         [](const auto& p) {
                           return p.param == Sealing::kNone ? "Plain" : "Sealed";
                         });

TEST_P(Pack, GivesBackEveryExtentUnderEveryCompression) {
  for (const char* setting : {"zstd:3", "zstd:-7", "lz4", "lz4:9", "none"}) {
    ExtentWriter out = writer(codec::parse_compression(setting));
    std::vector<std::pair<ExtentRef, Bytes>> written;
    for (size_t bytes : {size_t{1}, size_t{8192}, size_t{131072}, kMaxBlocksBytes}) {
      Bytes raw = page_like_bytes(bytes, bytes);
      written.emplace_back(out.append({.first_block = 7,
                                       .block_count = static_cast<uint32_t>((bytes + 8191) / 8192),
                                       .file_tag = 99},
                                      raw),
                           raw);
    }
    EXPECT_EQ(out.finish().size(), 1u);
    ExtentReader in = reader();
    for (const auto& [ref, raw] : written) {
      ExtentReader::Extent extent = in.read(ref, ContentKind::kBlocks);
      EXPECT_TRUE(std::ranges::equal(extent.raw, raw)) << setting << " " << raw.size();
      EXPECT_EQ(extent.first_block, 7u);
      EXPECT_EQ(extent.file_tag, 99u);
      EXPECT_EQ(extent.block_count, (raw.size() + 8191) / 8192);
      EXPECT_TRUE(extent.blocks.empty());
    }
  }
}

TEST_P(Pack, KeepsTheListOfBlocksThatAreNotAdjacent) {
  std::vector<ExtentRef> refs;
  make_small_pack(refs);
  ExtentReader in = reader();
  ExtentReader::Extent extent = in.read(refs[0], ContentKind::kBlocks);
  EXPECT_EQ(extent.blocks, (std::vector<uint64_t>{3, 5, 900}));
  EXPECT_EQ(extent.block_count, 3u);
  EXPECT_EQ(as_text(extent.raw), "aabbc");
  EXPECT_EQ(extent.file_tag, file_tag("base/5/1259"));
}

TEST_P(Pack, HasTheBytesOfTheFormatAroundItsExtents) {
  std::vector<ExtentRef> refs;
  const Bytes16 pack = make_small_pack(refs);
  const Bytes bytes = object_bytes(target.store, name_of(pack));
  EXPECT_EQ(as_text(ByteView(bytes).first(12)), "HOLDFASTPACK");
  EXPECT_EQ(refs[0].offset, 96u);
  for (const ExtentRef& ref : refs) {
    ByteView extent = ByteView(bytes).subspan(ref.offset);
    EXPECT_EQ(as_text(extent.first(4)), "HFEX");
    EXPECT_EQ(load_le<uint32_t>(extent.data() + 4), ref.ordinal);
    EXPECT_EQ(load_le<uint32_t>(extent.data() + 8), ref.unit_bytes);
    EXPECT_TRUE(std::ranges::equal(extent.subspan(16, 16), pack.bytes));
    EXPECT_TRUE(std::ranges::equal(extent.subspan(32, 32), ByteView(bytes).subspan(56, 32)))
        << "the pack's salt";
  }
  EXPECT_EQ(refs[1].offset, refs[0].offset + 64 + refs[0].unit_bytes + 16);
  EXPECT_EQ(as_text(ByteView(bytes).last(32).first(8)), "HFTRAIL1");
}

TEST_P(Pack, FooterTellsEveryExtent) {
  std::vector<ExtentRef> refs;
  const Bytes16 pack = make_small_pack(refs);
  const std::vector<PackFooterEntry> entries =
      read_pack_footer(target.repository, target.lineage.name, pack);
  ASSERT_EQ(entries.size(), refs.size());
  for (size_t i = 0; i < refs.size(); ++i) {
    EXPECT_EQ(entries[i].home, pack);
    EXPECT_EQ(entries[i].ordinal, refs[i].ordinal);
    EXPECT_EQ(entries[i].offset, refs[i].offset);
    EXPECT_EQ(entries[i].unit_bytes, refs[i].unit_bytes);
    EXPECT_EQ(entries[i].digest, refs[i].digest);
  }
  EXPECT_EQ(entries[0].kind, ContentKind::kBlocks);
  EXPECT_EQ(entries[0].first_block, 3u);
  EXPECT_EQ(entries[0].raw_bytes, 5u);
  EXPECT_EQ(entries[0].file_tag, file_tag("base/5/1259"));
  EXPECT_EQ(entries[2].kind, ContentKind::kManifestBlock);
}

TEST_P(Pack, RefusesEveryChangedBit) {
  std::vector<ExtentRef> refs;
  const Bytes16 pack = make_small_pack(refs);
  const std::string name = name_of(pack);
  const size_t bits = 8 * object_bytes(target.store, name).size();
  for (size_t bit = 0; bit < bits; ++bit) {
    auto flip = [&](Bytes& all) { all[bit / 8] ^= static_cast<std::byte>(1u << bit % 8); };
    target.store.edit(name, flip);
    ASSERT_THROW(read_all(refs, pack), Error) << "byte " << bit / 8;
    target.store.edit(name, flip);
  }
  EXPECT_NO_THROW(read_all(refs, pack));
}

TEST_P(Pack, RefusesEveryOtherLength) {
  std::vector<ExtentRef> refs;
  const Bytes16 pack = make_small_pack(refs);
  const std::string name = name_of(pack);
  const Bytes bytes = object_bytes(target.store, name);
  for (size_t length = 0; length < bytes.size(); ++length) {
    target.store.edit(name, [&](Bytes& all) {
      all.assign(bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(length));
    });
    ASSERT_EQ(error_of([&] { read_all(refs, pack); }).code(), ErrorCode::kCorrupt) << length;
  }
  target.store.edit(name, [&](Bytes& all) {
    all = bytes;
    all.push_back(std::byte{0});
  });
  EXPECT_THROW(read_all(refs, pack), Error);
}

TEST_P(Pack, RefusesAnExtentInAnotherPlace) {
  // Two extents of one length change places; their headers go with them.
  ExtentWriter out = writer({.algorithm = codec::Compression::kNone, .level = 0});
  const ExtentRef first = out.append({.block_count = 1}, as_bytes("first!"));
  const ExtentRef second = out.append({.block_count = 1}, as_bytes("second"));
  const std::string name = name_of(out.finish().at(0).pack);
  auto at = [](Bytes& all, uint64_t offset) {
    return all.begin() + static_cast<ptrdiff_t>(offset);
  };
  const uint64_t bytes = second.offset - first.offset;
  target.store.edit(name, [&](Bytes& all) {
    std::swap_ranges(at(all, first.offset), at(all, second.offset), at(all, second.offset));
  });
  ExtentReader in = reader();
  for (const ExtentRef& ref : {first, second}) {
    Error error = error_of([&] { in.read(ref, ContentKind::kBlocks); });
    EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
    EXPECT_NE(error.detail().find("another one is there"), std::string::npos) << error.detail();
  }
  // And with the header that is asked for on the other's unit.
  target.store.edit(name, [&](Bytes& all) {
    std::swap_ranges(at(all, first.offset), at(all, first.offset + 64),
                     at(all, first.offset + bytes));
  });
  for (const ExtentRef& ref : {first, second})
    EXPECT_EQ(error_of([&] { in.read(ref, ContentKind::kBlocks); }).code(), ErrorCode::kCorrupt);
}

TEST_P(Pack, RefusesPacksThatChangedNames) {
  std::vector<ExtentRef> refs_a, refs_b;
  const Bytes16 a = make_small_pack(refs_a);
  const Bytes16 b = make_small_pack(refs_b);
  const Bytes bytes_a = object_bytes(target.store, name_of(a));
  const Bytes bytes_b = object_bytes(target.store, name_of(b));
  target.store.edit(name_of(a), [&](Bytes& all) { all = bytes_b; });
  target.store.edit(name_of(b), [&](Bytes& all) { all = bytes_a; });
  ExtentReader in = reader();
  Error error = error_of([&] { in.read(refs_a[0], ContentKind::kBlocks); });
  EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
  EXPECT_EQ(error.message(), "damaged object \"" + name_of(a) + "\"");
  EXPECT_FALSE(error.hint().empty());
  error = error_of([&] { read_pack_footer(target.repository, target.lineage.name, a); });
  EXPECT_NE(error.detail().find("It was written as the pack"), std::string::npos);
}

TEST_P(Pack, RefusesAReferenceToOtherContent) {
  std::vector<ExtentRef> refs;
  make_small_pack(refs);
  ExtentReader in = reader();
  ExtentRef ref = refs[0];
  ref.digest.bytes[0] ^= std::byte{1};
  EXPECT_NE(error_of([&] { in.read(ref, ContentKind::kBlocks); })
                .detail()
                .find("not what its reference names"),
            std::string::npos);
  ref = refs[0];
  ref.offset += 1;
  EXPECT_EQ(error_of([&] { in.read(ref, ContentKind::kBlocks); }).code(), ErrorCode::kCorrupt);
  ref = refs[0];
  ref.unit_bytes -= 1;
  EXPECT_EQ(error_of([&] { in.read(ref, ContentKind::kBlocks); }).code(), ErrorCode::kCorrupt);
  ref.unit_bytes = UINT32_MAX;
  EXPECT_EQ(error_of([&] { in.read(ref, ContentKind::kBlocks); }).code(), ErrorCode::kCorrupt);
  EXPECT_NE(error_of([&] { in.read(refs[1], ContentKind::kBlocks); })
                .detail()
                .find("holds content of kind 2"),
            std::string::npos);
  EXPECT_NO_THROW(in.read(refs[0], ContentKind::kBlocks)) << "a refusal leaves the reader usable";
}

TEST_P(Pack, ThatIsMissingIsDamage) {
  std::vector<ExtentRef> refs;
  const Bytes16 pack = make_small_pack(refs);
  target.store.remove(name_of(pack));
  ExtentReader in = reader();
  Error error = error_of([&] { in.read(refs[0], ContentKind::kBlocks); });
  EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
  EXPECT_EQ(error.detail(), "Extent 0, at byte 96: the pack is missing.");
  EXPECT_EQ(
      error_of([&] { read_pack_footer(target.repository, target.lineage.name, pack); }).code(),
      ErrorCode::kCorrupt);
}

TEST_P(Pack, IsClosedAtItsNumberOfExtents) {
  ExtentWriter out = writer({.algorithm = codec::Compression::kNone, .level = 0});
  std::vector<ExtentRef> refs;
  for (uint32_t i = 0; i < kPackExtents + 3; ++i)
    refs.push_back(out.append({.first_block = i, .block_count = 1}, as_bytes("x")));
  const std::vector<PackSummary> packs = out.finish();
  ASSERT_EQ(packs.size(), 2u);
  EXPECT_EQ(packs[0].extents, kPackExtents);
  EXPECT_EQ(packs[1].extents, 3u);
  EXPECT_EQ(refs[kPackExtents].ordinal, 0u);
  EXPECT_EQ(refs[kPackExtents].pack, packs[1].pack);
  ExtentReader in = reader();
  EXPECT_EQ(in.read(refs[kPackExtents - 1], ContentKind::kBlocks).first_block, kPackExtents - 1);
  EXPECT_EQ(in.read(refs[kPackExtents], ContentKind::kBlocks).first_block, kPackExtents);
  EXPECT_EQ(read_pack_footer(target.repository, target.lineage.name, packs[0].pack).size(),
            kPackExtents);
}

TEST(PackSize, IsClosedWhenItIsLargeEnough) {
  TestRepository target;
  ExtentWriter out(target.repository, target.lineage.name,
                   {.algorithm = codec::Compression::kNone, .level = 0});
  const Bytes raw(kMaxBlocksBytes, std::byte{1});
  for (int i = 0; i < 66; ++i) out.append({.block_count = 128}, raw);
  const std::vector<PackSummary> packs = out.finish();
  ASSERT_EQ(packs.size(), 2u);
  EXPECT_GE(packs[0].bytes, kPackBytes);
  EXPECT_LT(packs[0].bytes, kPackBytes + kMaxBlocksBytes + 100'000);
  for (const PackSummary& pack : packs)
    EXPECT_EQ(target.store.info(pack_name(target.lineage.name, pack.pack))->bytes, pack.bytes);
}

TEST(PackUpload, BeginsWithTheFirstExtentAndLeavesNothingWithoutFinish) {
  TestRepository target;
  const std::vector<std::string> before = object_names(target.store);
  {
    ExtentWriter unused(target.repository, target.lineage.name, {});
    EXPECT_TRUE(unused.finish().empty());
    ExtentWriter abandoned(target.repository, target.lineage.name, {});
    abandoned.append({.block_count = 1}, as_bytes("x"));
  }
  EXPECT_EQ(object_names(target.store), before);
}

TEST(PackSeals, AreKeptForManyPacksAtOnce) {
  TestRepository target(Sealing::kKeyFile);
  std::vector<ExtentRef> refs;
  for (uint32_t i = 0; i < 300; ++i) {
    ExtentWriter out(target.repository, target.lineage.name, {});
    refs.push_back(out.append({.first_block = i, .block_count = 1}, as_bytes("x")));
    out.finish();
  }
  ExtentReader in(target.repository, target.lineage.name);
  for (int round = 0; round < 2; ++round)
    for (uint32_t i = 0; i < refs.size(); ++i)
      ASSERT_EQ(in.read(refs[i], ContentKind::kBlocks).first_block, i);
}

TEST(ExtentRefs, ReadBack) {
  ExtentRef ref{.pack = {{std::byte{1}}},
                .ordinal = 7,
                .offset = uint64_t{1} << 40,
                .unit_bytes = 99,
                .digest = {{std::byte{2}}}};
  ByteWriter out;
  encode(out, ref);
  EXPECT_EQ(out.size(), 48u);
  ByteReader in(out.view(), "reference");
  EXPECT_EQ(decode_extent_ref(in), ref);
}

}  // namespace
}  // namespace holdfast::repo
