#include "repo/manifest.h"

#include <algorithm>

#include <gtest/gtest.h>

#include "codec/digest.h"
#include "repo/manifest_block.h"
#include "support/error_of.h"
#include "support/test_repository.h"

namespace holdfast::repo {
namespace {

using test::error_of;
using test::object_bytes;
using test::Sealing;
using test::TestRepository;

const std::string kBackup = "20261122T082239Z-1f2e3d";

ManifestEntry file_entry(std::string path, uint64_t size = 0) {
  ManifestEntry entry;
  entry.path = std::move(path);
  entry.size = size;
  entry.modified = Time(Microseconds(-5));
  return entry;
}

struct Written {
  ManifestWriter::Committed committed;
  std::vector<PackSummary> packs;
};

Written write_manifest(TestRepository& target, const std::vector<ManifestEntry>& entries,
                       const std::vector<DamagedBlock>& damaged = {},
                       const std::string& backup = kBackup) {
  ExtentWriter extents(target.repository, target.lineage.name, {});
  ManifestWriter writer(target.repository, target.lineage.name, backup, 8192, extents);
  writer.owner({.user = "postgres", .group = "postgres", .uid = 105, .gid = 109});
  writer.owner({.user = "root", .group = "ssl-cert", .uid = 0, .gid = 117});
  for (const ManifestEntry& entry : entries) writer.add(entry);
  for (const DamagedBlock& block : damaged) writer.add_damaged(block);
  writer.close_blocks();
  std::vector<PackSummary> packs = extents.finish();
  return {.committed = writer.commit(), .packs = std::move(packs)};
}

ManifestReader open_manifest(TestRepository& target, const Written& written,
                             std::vector<std::string>* warnings = nullptr) {
  return ManifestReader(target.repository, target.lineage.name, kBackup, written.committed.sha256,
                        [=](std::string_view text) {
                          if (warnings) warnings->emplace_back(text);
                        });
}

std::vector<ManifestEntry> many_entries(size_t count) {
  std::vector<ManifestEntry> entries;
  for (size_t i = 0; i < count; ++i)
    entries.push_back(file_entry(fmt::format("base/16384/{:08}", i), i));
  return entries;
}

TEST(ManifestOrder, IsThatOfADirectoryWalk) {
  const std::vector<std::string> sorted = {"a",   "a/b", "a/b/c", "a/c", "a!",
                                           "a-b", "a.b", "ab",    "b",   "ä"};
  for (size_t i = 0; i < sorted.size(); ++i)
    for (size_t j = 0; j < sorted.size(); ++j) {
      const int order = compare_paths(sorted[i], sorted[j]);
      EXPECT_EQ(order < 0, i < j) << sorted[i] << " " << sorted[j];
      EXPECT_EQ(order == 0, i == j);
    }
  ManifestEntry late = file_entry("a"), early = file_entry("z");
  late.root = ManifestRoot::kDataLast;
  EXPECT_TRUE(manifest_less(early, late));
  EXPECT_FALSE(manifest_less(late, early));
}

TEST(ManifestPath, IsOneThatStaysWhereItIsLaid) {
  using enum ManifestRoot;
  const struct {
    ManifestRoot root;
    std::string path;
    bool good;
  } cases[] = {
      {kData, "PG_VERSION", true},
      {kData, "base/5/1259", true},
      {kData, "a..b/...", true},
      {kData, std::string(4096, 'x'), true},
      {kData, std::string(4097, 'x'), false},
      {kData, "", false},
      {kData, "/etc/passwd", false},
      {kData, "..", false},
      {kData, "a/../b", false},
      {kData, "a/..", false},
      {kData, "./a", false},
      {kData, "a//b", false},
      {kData, "a/", false},
      {kData, std::string("a\0b", 3), false},
      {kDataLast, "backup_label", true},
      {kDataLast, "/a", false},
      {kOutside, "/etc/a", true},
      {kOutside, "etc/a", false},
      {kOutside, "/", false},
      {kOutside, "/a/../b", false},
  };
  for (const auto& c : cases) EXPECT_EQ(is_manifest_path(c.root, c.path), c.good) << c.path;
}

TEST(Manifest, ReadsBackEveryKindOfEntry) {
  for (Sealing sealing : {Sealing::kNone, Sealing::kKeyFile}) {
    TestRepository target(sealing);
    std::vector<ManifestEntry> entries(6, file_entry(""));
    entries[0].path = "base";
    entries[0].type = EntryType::kDirectory;
    entries[0].mode = 0700;
    entries[1].path = "base/1";
    entries[1].size = 5;
    entries[1].has_damaged_blocks = true;
    entries[1].location = {
        .kind = FileLocation::Kind::kDirect,
        .ref = {.pack = {{std::byte{1}}},
                .ordinal = 2,
                .offset = 3,
                .unit_bytes = 4,
                .digest = {{std::byte{5}}}},
        .runs = {{.block = 0, .slot = 0, .count = 2}, {.block = 9, .slot = 2, .count = 1}}};
    entries[2].path = "base/2";
    entries[2].size = uint64_t{1} << 40;
    entries[2].pages_verified = true;
    entries[2].location = {
        .kind = FileLocation::Kind::kRoot, .ref = entries[1].location.ref, .runs = {}};
    entries[3].path = "pg_wal";
    entries[3].type = EntryType::kSymlink;
    entries[3].target = "/srv/wal";
    entries[4].root = ManifestRoot::kOutside;
    entries[4].path = "/etc/x";
    entries[4].owner = 1;
    entries[4].mode = 0644;
    entries[4].location = {
        .kind = FileLocation::Kind::kLeaf, .ref = entries[1].location.ref, .runs = {}};
    entries[5].root = ManifestRoot::kDataLast;
    entries[5].path = "backup_label";
    const Written written =
        write_manifest(target, entries,
                       {{.root = ManifestRoot::kData, .path = "base/1", .block = 7, .reason = 1}});
    EXPECT_EQ(written.committed.files, 4u);
    EXPECT_EQ(written.committed.damaged_blocks, 1u);

    ManifestReader reader = open_manifest(target, written);
    EXPECT_EQ(reader.summary().entries, 6u);
    EXPECT_EQ(reader.summary().file_bytes, 5 + (uint64_t{1} << 40));
    EXPECT_EQ(reader.summary().block_bytes, 8192u);
    ASSERT_EQ(reader.summary().owners.size(), 2u);
    EXPECT_EQ(reader.summary().owners[1],
              (Owner{.user = "root", .group = "ssl-cert", .uid = 0, .gid = 117}));
    ASSERT_EQ(reader.damaged().size(), 1u);
    EXPECT_EQ(reader.damaged()[0].path, "base/1");
    EXPECT_EQ(reader.damaged()[0].block, 7u);
    for (const ManifestEntry& expected : entries) {
      const std::optional<ManifestEntry> entry = reader.next();
      ASSERT_TRUE(entry.has_value());
      EXPECT_EQ(entry->root, expected.root);
      EXPECT_EQ(entry->path, expected.path);
      EXPECT_EQ(entry->type, expected.type);
      EXPECT_EQ(entry->mode, expected.mode);
      EXPECT_EQ(entry->owner, expected.owner);
      EXPECT_EQ(entry->modified, expected.modified);
      EXPECT_EQ(entry->size, expected.size);
      EXPECT_EQ(entry->has_damaged_blocks, expected.has_damaged_blocks);
      EXPECT_EQ(entry->pages_verified, expected.pages_verified);
      EXPECT_EQ(entry->location, expected.location);
      EXPECT_EQ(entry->target, expected.target);
    }
    EXPECT_FALSE(reader.next().has_value());
    EXPECT_FALSE(reader.next().has_value());
  }
}

TEST(Manifest, OfFiftyThousandEntriesStreamsAndFinds) {
  TestRepository target;
  constexpr size_t kCount = 50'000;
  const Written written = write_manifest(target, many_entries(kCount));
  EXPECT_LT(written.committed.bytes, 40'000u) << "the object itself is small";
  ManifestReader reader = open_manifest(target, written);
  for (size_t i = 0; i < kCount; ++i) {
    const std::optional<ManifestEntry> entry = reader.next();
    ASSERT_TRUE(entry.has_value());
    ASSERT_EQ(entry->size, i);
    if (i % 5000 == 0) {
      // Looking something up does not disturb the stream.
      const size_t other = (i + 31'415) % kCount;
      const std::optional<ManifestEntry> found =
          reader.find(ManifestRoot::kData, fmt::format("base/16384/{:08}", other));
      ASSERT_TRUE(found.has_value());
      EXPECT_EQ(found->size, other);
    }
  }
  EXPECT_FALSE(reader.next().has_value());
  for (const char* path :
       {"a", "base", "base/16384", "base/16384/00000000x", "base/16384/99999999", "z"})
    EXPECT_FALSE(reader.find(ManifestRoot::kData, path).has_value()) << path;
  EXPECT_FALSE(reader.find(ManifestRoot::kOutside, "base/16384/00000007").has_value());
}

TEST(Manifest, WithoutEntriesIsOne) {
  TestRepository target;
  const Written written = write_manifest(target, {});
  ManifestReader reader = open_manifest(target, written);
  EXPECT_FALSE(reader.next().has_value());
  EXPECT_FALSE(reader.find(ManifestRoot::kData, "x").has_value());
}

// The digests of a manifest's blocks, in order.
std::vector<Bytes16> block_digests(TestRepository& target, const Written& written) {
  std::vector<Bytes16> digests;
  for (const PackSummary& pack : written.packs)
    for (const PackFooterEntry& entry :
         read_pack_footer(target.repository, target.lineage.name, pack.pack))
      digests.push_back(entry.digest);
  return digests;
}

TEST(Manifest, AFileMoreChangesOneBlock) {
  TestRepository target;
  std::vector<ManifestEntry> entries = many_entries(20'000);
  const std::vector<Bytes16> before = block_digests(target, write_manifest(target, entries));
  entries.insert(entries.begin() + 10'001, file_entry("base/16384/00010000_vm"));
  const std::vector<Bytes16> after =
      block_digests(target, write_manifest(target, entries, {}, "20261122T082240Z-000000"));
  EXPECT_GT(before.size(), 20u);
  size_t kept = 0;
  for (const Bytes16& digest : after)
    if (std::ranges::find(before, digest) != before.end()) ++kept;
  // One, or two when the new file ends a block.
  EXPECT_GE(kept + 2, after.size());
  EXPECT_LT(kept, after.size());
}

TEST(Manifest, BlocksAreCutThoughNoPathAsksForIt) {
  TestRepository target;
  // Paths of 4,000 bytes: few entries, many bytes.
  std::vector<ManifestEntry> entries;
  for (size_t i = 0; i < 300; ++i)
    entries.push_back(file_entry(fmt::format("{:03}", i) + std::string(4000, 'x')));
  const Written written = write_manifest(target, entries);
  for (const PackFooterEntry& entry :
       read_pack_footer(target.repository, target.lineage.name, written.packs.at(0).pack))
    EXPECT_LE(entry.raw_bytes, (128u << 10) + 5000u);
  ManifestReader reader = open_manifest(target, written);
  for (const ManifestEntry& expected : entries) ASSERT_EQ(reader.next()->path, expected.path);
}

TEST(Manifest, IsReadFromItsCopyAndSaysSo) {
  for (const bool missing : {false, true}) {
    TestRepository target;
    const Written written = write_manifest(target, many_entries(3));
    const std::string name = manifest_name(target.lineage.name, kBackup);
    EXPECT_EQ(object_bytes(target.store, name),
              object_bytes(target.store, manifest_copy_name(target.lineage.name, kBackup)));
    if (missing)
      target.store.remove(name);
    else
      target.store.edit(name, [](Bytes& all) { all[all.size() / 2] ^= std::byte{1}; });
    std::vector<std::string> warnings;
    ManifestReader reader = open_manifest(target, written, &warnings);
    EXPECT_TRUE(reader.next().has_value());
    ASSERT_EQ(warnings.size(), 1u);
    EXPECT_TRUE(warnings[0].starts_with("the manifest of backup \"" + kBackup +
                                        "\" is read from its copy: damaged object"))
        << warnings[0];

    target.store.remove(manifest_copy_name(target.lineage.name, kBackup));
    EXPECT_EQ(error_of([&] { open_manifest(target, written); }).code(), ErrorCode::kCorrupt);
  }
}

TEST(Manifest, OfAnotherBackupIsRefused) {
  TestRepository target(Sealing::kKeyFile);
  const std::string other = "20261121T000000Z-abcdef";
  const Written written = write_manifest(target, many_entries(3));
  const Written older = write_manifest(target, many_entries(2), {}, other);
  const Bytes bytes = object_bytes(target.store, manifest_name(target.lineage.name, other));
  for (const std::string& name : {manifest_name(target.lineage.name, kBackup),
                                  manifest_copy_name(target.lineage.name, kBackup)})
    target.store.edit(name, [&](Bytes& all) { all = bytes; });
  // The commit's digest tells; and where even that is the other's, the manifest's own name does.
  EXPECT_EQ(error_of([&] { open_manifest(target, written); }).detail(),
            "It is not the one that the backup names.");
  EXPECT_NE(error_of([&] { open_manifest(target, older); })
                .detail()
                .find("It was written under the name"),
            std::string::npos);
}

TEST(Manifest, RefusesEveryChangedByteThoughTheDigestAgrees) {
  for (Sealing sealing : {Sealing::kNone, Sealing::kKeyFile}) {
    TestRepository target(sealing);
    Written written =
        write_manifest(target, many_entries(3),
                       {{.root = ManifestRoot::kData, .path = "x", .block = 1, .reason = 1}});
    const std::string name = manifest_name(target.lineage.name, kBackup);
    target.store.remove(manifest_copy_name(target.lineage.name, kBackup));
    const Bytes bytes = object_bytes(target.store, name);
    for (size_t at = 0; at < bytes.size(); ++at) {
      Bytes changed = bytes;
      changed[at] ^= std::byte{0x10};
      target.store.edit(name, [&](Bytes& all) { all = changed; });
      written.committed.sha256 = codec::sha256(changed);
      ASSERT_THROW(open_manifest(target, written), Error) << at;
    }
  }
}

TEST(Manifest, KeepsOwnersApartAndReturnsTheSameIndex) {
  TestRepository target;
  ExtentWriter extents(target.repository, target.lineage.name, {});
  ManifestWriter writer(target.repository, target.lineage.name, kBackup, 8192, extents);
  const Owner a{.user = "postgres", .group = "postgres", .uid = 1, .gid = 1};
  Owner b = a;
  b.gid = 2;
  EXPECT_EQ(writer.owner(a), 0u);
  EXPECT_EQ(writer.owner(b), 1u);
  EXPECT_EQ(writer.owner(a), 0u);
}

TEST(Manifest, CountsEveryDamagedBlockThoughItListsTheFirst) {
  TestRepository target;
  const std::vector<DamagedBlock> damaged(
      100'005, {.root = ManifestRoot::kData, .path = "base/5/1259", .block = 3, .reason = 2});
  const Written written = write_manifest(target, many_entries(1), damaged);
  EXPECT_EQ(written.committed.damaged_blocks, 100'005u);
  EXPECT_EQ(open_manifest(target, written).damaged().size(), 100'000u);
}

TEST(Manifest, RefusesToHoldAPathThatCannotBeLaid) {
  TestRepository target;
  Error error = error_of([&] { write_manifest(target, {file_entry("a/../../b")}); });
  EXPECT_EQ(error.code(), ErrorCode::kInternal);
  EXPECT_EQ(error.message(), "a manifest cannot hold the path \"a/../../b\"");
}

TEST(ManifestDeathTest, EntriesComeInOrder) {
  TestRepository target;
  EXPECT_DEATH(write_manifest(target, {file_entry("b"), file_entry("a")}), "compare_manifest_keys");
  EXPECT_DEATH(write_manifest(target, {file_entry("a"), file_entry("a")}), "compare_manifest_keys");
}

Bytes block_of(const std::vector<ManifestEntry>& entries) {
  ByteWriter out;
  out.varint(entries.size());
  std::string before;
  for (const ManifestEntry& entry : entries) {
    encode_entry(out, entry, before);
    before = entry.path;
  }
  return out.take();
}

void read_block(Bytes bytes) {
  ManifestBlockReader reader(std::move(bytes));
  while (reader.next()) {
  }
}

TEST(ManifestBlock, RefusesWhatARestoreMustNotLay) {
  EXPECT_NO_THROW(read_block(block_of({file_entry("a"), file_entry("b")})));
  ManifestEntry escape = file_entry("../x"), mode = file_entry("a"), owner = file_entry("a"),
                size = file_entry("a"), link = file_entry("a");
  mode.mode = 010000;
  owner.owner = kMaxOwners;
  size.size = kMaxFileBytes + 1;
  link.type = EntryType::kSymlink;
  const std::vector<std::vector<ManifestEntry>> bad = {{escape},
                                                       {mode},
                                                       {owner},
                                                       {size},
                                                       {link},
                                                       {},
                                                       {file_entry("b"), file_entry("a")},
                                                       {file_entry("a"), file_entry("a")}};
  for (size_t i = 0; i < bad.size(); ++i)
    EXPECT_EQ(error_of([&] { read_block(block_of(bad[i])); }).code(), ErrorCode::kCorrupt) << i;
  Bytes longer = block_of({file_entry("a")});
  for (size_t length = 0; length < longer.size(); ++length)
    EXPECT_THROW(read_block(Bytes(longer.begin(), longer.begin() + static_cast<ptrdiff_t>(length))),
                 Error)
        << length;
  longer.push_back(std::byte{0});
  EXPECT_THROW(read_block(longer), Error);
}

}  // namespace
}  // namespace holdfast::repo
