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
      {key_name(id), kKey},
      {key_copy_name(id), kKeyCopy},
      {lineage_document_name(kOf), kLineage},
      {backup_name(kOf, kBackupId), kBackup},
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
      {folder + "index/00000001/000000010000000000000001-000000010000000000000003.12.01234567",
       kWalIndex},
      {folder + "names/00000001/000000000A000028.01234567", kCatalogNames},
      {intent_name(kOf, id), kIntent},
      {folder + "intents/" + hex + ".ended.json", kIntentEnd},
      {folder + "doomed/" + hex + ".json", kDoomed},
      {folder + "doomed/" + hex + ".done.json", kDoomedEnd},
      {"clusters/main/leases/expire/12.json", kLease},
      {"clusters/main/drills/" + hex + ".json", kDrill},
  };
  std::set<ObjectKind> seen;
  for (const auto& [name, kind] : cases) {
    ASSERT_NE(kind_of_object(name), nullptr) << name;
    EXPECT_EQ(kind_of(name), kind) << name;
    seen.insert(kind);
  }
  EXPECT_EQ(seen.size(), object_kinds().size()) << "a kind without a name here";
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
