#include "repo/refs.h"

#include <gtest/gtest.h>

#include "repo/backup.h"
#include "support/error_of.h"
#include "support/test_repository.h"

namespace holdfast::repo {
namespace {

using test::error_of;

Bytes16 pack(uint8_t number) {
  Bytes16 id;
  id.bytes[0] = std::byte{number};
  return id;
}

const std::vector<PackRefs> kBothForms = {
    {.pack = pack(1), .extents = 9, .runs = {}},
    {.pack = pack(2), .extents = 9, .every = false, .runs = {{0, 1}, {2, 3}, {8, 1}}},
    {.pack = pack(3), .extents = 9, .every = false, .runs = {}},
};

TEST(PackRefsText, ReadsBackBothForms) {
  EXPECT_EQ(decode_pack_refs(encode_pack_refs(kBothForms), "refs"), kBothForms);
}

TEST(PackRefsText, RefusesWhatIsNotOne) {
  const struct {
    const char* what;
    std::vector<PackRefs> packs;
  } cases[] = {
      {"disorder", {kBothForms[1], kBothForms[0]}},
      {"twice", {kBothForms[0], kBothForms[0]}},
      {"outside", {{.pack = pack(1), .extents = 3, .every = false, .runs = {{2, 2}}}}},
      {"touching", {{.pack = pack(1), .extents = 9, .every = false, .runs = {{0, 2}, {2, 1}}}}},
      {"nothing", {{.pack = pack(1), .extents = 9, .every = false, .runs = {{3, 0}}}}},
  };
  for (const auto& c : cases)
    EXPECT_EQ(error_of([&] { decode_pack_refs(encode_pack_refs(c.packs), "refs"); }).code(),
              ErrorCode::kCorrupt)
        << c.what;
  Bytes form = encode_pack_refs({kBothForms[0]});
  form.back() = std::byte{2};
  EXPECT_EQ(error_of([&] { decode_pack_refs(form, "refs"); }).code(), ErrorCode::kCorrupt);
  Bytes longer = encode_pack_refs(kBothForms);
  longer.push_back(std::byte{0});
  EXPECT_EQ(error_of([&] { decode_pack_refs(longer, "refs"); }).code(), ErrorCode::kCorrupt);
}

TEST(ReadRefs, ListsEveryPackOfABackup) {
  test::TestRepository target;
  const std::string id = "20261122T082239Z-1f2e3d";
  EXPECT_FALSE(read_refs(target.repository, target.lineage.name, id));
  const Backup made =
      test::make_backup(target.repository, target.lineage, id, test::sample_files(1), target.clock);
  const std::vector<PackRefs> refs = read_refs(target.repository, target.lineage.name, id).value();
  EXPECT_EQ(refs.size(), made.packs);
  for (const PackRefs& one : refs) {
    EXPECT_TRUE(one.every);
    EXPECT_TRUE(target.store.info(pack_name(target.lineage.name, one.pack)));
  }
}

// Of a backup of one writer for each file, so that each map and block of it lies in another pack.
TEST(ReadUses, FindsEveryPackByTheManifestWhereTheListIsLost) {
  test::TestRepository target;
  Bytes large(size_t{33} << 20);  // three leaves, and a root
  for (const size_t at : {size_t{0}, size_t{16} << 20, large.size() - 8192})
    std::ranges::copy(test::page_like_bytes(8192, at), large.begin() + static_cast<ptrdiff_t>(at));
  const uint32_t block_bytes = target.lineage.block_bytes;
  const std::string id = make_backup_id(target.clock.now(), target.random);
  BackupWriter writer(target.repository, target.lineage, id, {}, target.clock);
  const uint32_t owner =
      writer.manifest().owner({.user = "postgres", .group = "postgres", .uid = 1, .gid = 1});
  // The blocks, each leaf and the root of the large file have a writer of their own.
  FileMapBuilder map;
  for (uint64_t index = 0; index < leaf_count_of(large.size()); ++index) {
    ExtentWriter blocks = writer.make_worker();
    LeafBuilder leaf(blocks, block_bytes);
    leaf.begin(file_tag("base/5/1000"), index);
    const ByteView part = ByteView(large).subspan(index * kLeafBytes);
    leaf.add(index * kLeafBytes / block_bytes, part.first(std::min(part.size(), kLeafBytes)));
    ExtentWriter maps = writer.make_worker();
    map.add(maps, leaf.finish(), block_bytes);
    writer.finish_worker(std::move(blocks));
    writer.finish_worker(std::move(maps));
  }
  ExtentWriter root = writer.make_worker();
  writer.manifest().add({.path = "base/5/1000",
                         .owner = owner,
                         .modified = target.clock.now(),
                         .size = large.size(),
                         .location = map.finish(root, large.size(), block_bytes),
                         .target = {}});
  writer.finish_worker(std::move(root));
  ExtentWriter direct = writer.make_worker();
  writer.manifest().add(
      {.path = "base/5/1001",
       .owner = owner,
       .modified = target.clock.now(),
       .size = 8192,
       .location = append_file(direct, "base/5/1001", test::page_like_bytes(8192, 7), block_bytes),
       .target = {}});
  writer.finish_worker(std::move(direct));
  writer.seal_contents();
  Backup backup;
  backup.start_lsn = backup.checkpoint_lsn = pg::Lsn{0x4000028};
  backup.stop_lsn = pg::Lsn{0x4000138};
  backup.start_timeline = backup.stop_timeline = pg::TimelineId{1};
  backup.start_segment = backup.stop_segment = "000000010000000000000004";
  backup = writer.commit(backup);

  const auto packs = [](const std::vector<PackRefs>& all) {
    std::vector<Bytes16> ids;
    for (const PackRefs& one : all) {
      EXPECT_TRUE(one.every);
      ids.push_back(one.pack);
    }
    return ids;
  };
  const std::vector<PackRefs> listed = read_uses(target.repository, backup);
  EXPECT_EQ(listed.size(), 8u);
  const std::string name = refs_name(target.lineage.name, id);
  test::flip_a_bit(target.store, name);
  EXPECT_EQ(packs(read_uses(target.repository, backup)), packs(listed));
  target.store.remove(name);
  EXPECT_EQ(packs(read_uses(target.repository, backup)), packs(listed));
  // With the manifest lost as well nobody knows.
  for (const std::string& object :
       {manifest_name(target.lineage.name, id), manifest_copy_name(target.lineage.name, id)})
    target.store.remove(object);
  EXPECT_EQ(error_of([&] { read_uses(target.repository, backup); }).detail(), "It is missing.");
}

}  // namespace
}  // namespace holdfast::repo
