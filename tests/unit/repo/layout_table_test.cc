#include "repo/layout_table.h"

#include <set>

#include <gtest/gtest.h>

#include "repo/layout.h"
#include "support/fake_random.h"

namespace holdfast::repo {
namespace {

const LineageName kOf = {.cluster = "main", .major = 15, .count = 2};
constexpr const char* kBackupId = "20261122T082239Z-1f2e3d";

ObjectKind kind_of(const std::string& name) {
  const KindOfObject* kind = kind_of_object(name);
  if (kind == nullptr) throw std::logic_error("no kind: " + name);
  return kind->kind;
}

TEST(LayoutTable, KnowsEveryNameThatTheLayoutSpells) {
  using enum ObjectKind;
  test::FakeRandom random;
  const Bytes16 id = random.bytes16();
  const std::string hex = to_hex(id.view());
  const pg::WalSegmentSize size;
  auto wal = [&](const char* file, const Bytes16* partial = nullptr) {
    return wal_object_name(kOf, pg::parse_wal_file_name(file, size), size, partial);
  };
  const std::string folder = lineage_folder(kOf);
  const std::pair<std::string, ObjectKind> cases[] = {
      {"repo.json", kRepository},
      {"repo.copy.json", kRepositoryCopy},
      {key_name(id), kKey},
      {key_copy_name(id), kKeyCopy},
      {lineage_document_name(kOf), kLineage},
      {lineage_copy_name(kOf), kLineageCopy},
      {backup_name(kOf, kBackupId), kBackup},
      {backup_copy_name(kOf, kBackupId), kBackupCopy},
      {lineage_folder(kOf) + "histories.copy/00000002/0", kHistoryCopy},
      {lineage_folder(kOf) + "histories.copy/00000002/12", kHistoryCopy},
      {manifest_name(kOf, kBackupId), kManifest},
      {manifest_copy_name(kOf, kBackupId), kManifestCopy},
      {pack_name(kOf, id), kPack},
      {refs_name(kOf, kBackupId), kRefs},
      {folder + "redirects/" + hex + "/" + hex, kRedirect},
      {mark_name(kOf, kBackupId, id), kMark},
      {folder + "verified/" + kBackupId, kVerified},
      {wal("00000002000000A50000003C"), kWalSegment},
      {wal("00000002000000A50000003C.partial", &id), kWalPartial},
      {wal("00000002000000A50000003C") + ".part/00000000-00002000." + hex, kWalPiece},
      {wal("00000002000000A50000003C.00000028.backup"), kBackupHistory},
      {wal("00000002.history"), kTimelineHistory},
      {amended_content_name(kOf, pg::parse_wal_file_name("00000002000000A50000003C", size), size,
                            12),
       kFurtherSegment},
      {amended_content_name(
           kOf, pg::parse_wal_file_name("00000002000000A50000003C.00D00028.backup", size), size, 1),
       kFurtherFile},
      {amended_content_name(kOf, pg::parse_wal_file_name("00000002.history", size), size, 1),
       kFurtherFile},
      {amended_mark_name(kOf, pg::parse_wal_file_name("00000002000000A50000003C.partial", size),
                         size, id),
       kSetAside},
      {folder + "index/00000001/000000010000000000000001-000000010000000000000003.12.01234567",
       kWalIndex},
      {folder + "names/00000001/000000000A000028.01234567", kCatalogNames},
      {intent_name(kOf, id), kIntent},
      {folder + "intents/" + hex + ".ended.json", kIntentEnd},
      {folder + "intents/" + hex + ".ended.01234567.json", kFurtherIntentEnd},
      {folder + "doomed/" + hex + ".json", kDoomed},
      {folder + "doomed/" + hex + ".done.json", kDoomedEnd},
      {"clusters/main/leases/expire/12.json", kLease},
      {"clusters/main/drills/" + hex + ".json", kDrill},
      {cluster_name_object("shop", 12), kClusterName},
      {cluster_name_copy("main", "shop", 12), kClusterNameCopy},
  };
  std::set<ObjectKind> seen;
  for (const auto& [name, kind] : cases) {
    ASSERT_NE(kind_of_object(name), nullptr) << name;
    EXPECT_EQ(kind_of(name), kind) << name;
    seen.insert(kind);
  }
  EXPECT_EQ(seen.size(), object_kinds().size()) << "a kind without a name here";
}

// Where the folders above a name say something else than it does, or no server of this segment size
// gives it, it is nobody's.
TEST(LayoutTable, ReadsBackWhatTheNameOfAnObjectOfALineageTells) {
  const std::string id = "00112233445566778899aabbccddeeff";
  const std::string wal = "wal/00000001/0000000100000000/";
  const std::string segment = "000000010000000000000004";
  const std::string folder = lineage_folder(kOf);
  auto parse = [&](const std::string& name) {
    return parse_object_name(kOf, pg::WalSegmentSize(), folder + name);
  };
  for (const std::string& name : std::initializer_list<std::string>{
           "packs/01/" + id,
           "packs/00/" + id + "x",
           "packs/" + id,
           "packs/00/00112233445566778899AABBCCDDEEFF",
           "redirects/" + id + "/x",
           "refs/latest",
           std::string("refs/") + kBackupId + "/x",
           std::string("marks/") + kBackupId + "/x.json",
           "intents/x.json",
           "intents/.json",
           "index/00000002/" + segment + "-" + segment + ".1.01234567",
           "names/00000001/28.01234567",
           wal + "000000010000000100000004",
           wal + "0000000100000000000001FF",
           "wal/00000002/0000000100000000/" + segment,
           "wal/00000000.history",
           wal + segment + ".partial",
           wal + segment + ".01000000.backup",
           wal + segment + ".tmp",
           wal + segment + "/x",
           "drills/" + id + ".json",
           "",
       })
    EXPECT_FALSE(parse(name)) << name;
  EXPECT_FALSE(parse_object_name(kOf, {}, "repo.json"));
  EXPECT_FALSE(parse_object_name(kOf, {}, std::string("clusters/main/15-1/refs/") + kBackupId));

  const Bytes16 bytes = parse_hex_array<16>(id).value();
  const pg::SegmentName fourth{.timeline = {1}, .segment_number = 4};
  EXPECT_EQ(parse(std::string("manifests/") + kBackupId)->backup_id, kBackupId);
  EXPECT_EQ(parse(std::string("verified/") + kBackupId)->backup_id, kBackupId);
  EXPECT_EQ(parse(std::string("marks/") + kBackupId + "/" + id + ".json")->backup_id, kBackupId);
  EXPECT_EQ(parse("packs/00/" + id)->id, bytes);
  EXPECT_EQ(parse("redirects/" + id + "/ffffffffffffffffffffffffffffffff")->id, bytes);
  EXPECT_EQ(parse("intents/" + id + ".ended.json")->id, bytes);
  EXPECT_EQ(parse("intents/" + id + ".ended.01234567.json")->id, bytes);
  for (const std::string& name : {segment, segment + ".partial." + id, segment + ".00000028.backup",
                                  segment + ".part/00000000-00001000." + id})
    EXPECT_EQ(parse(wal + name)->segment, fourth) << name;
  EXPECT_EQ(parse("index/00000001/000000010000000000000002-" + segment + ".1.01234567")->segment,
            fourth);
  EXPECT_EQ(parse("wal/00000007.history")->segment.timeline, pg::TimelineId{7});
  EXPECT_EQ(parse("names/00000003/0000000016B37480.01234567")->lsn, pg::Lsn{0x16B37480});
  EXPECT_EQ(parse("names/00000003/0000000016B37480.01234567")->segment.timeline, pg::TimelineId{3});
}

TEST(LayoutTable, KnowsNothingElse) {
  test::FakeRandom random;
  const Bytes16 id = random.bytes16();
  const std::string pack = pack_name(kOf, id);
  for (const std::string& name : std::initializer_list<std::string>{
           "",
           "repo.json.old",
           "keys/" + to_hex(id.view()),
           "keys/" + to_hex(id.view()) + "0.json",
           "clusters/Main/15-1/lineage.json",
           "clusters/main/15/lineage.json",
           "clusters/main/15-2/backups/latest.json",
           "clusters/main/15-2/backups/20261122T082239Z-1F2E3D.json",
           "clusters/main/15-2/README",
           pack + "x",
           pack.substr(0, pack.size() - 1),
           "clusters/main/15-2/wal/00000001/0000000100000000/00000001000000000000000a",
           "clusters/main/15-2/wal/00000001/0000000100000000/000000010000000000000001.partial",
           "clusters/main/15-2/wal/1.history",
       })
    EXPECT_EQ(kind_of_object(name), nullptr) << name;
}

}  // namespace
}  // namespace holdfast::repo
