#include "repo/object_name.h"

#include <gtest/gtest.h>

namespace holdfast::repo {
namespace {

const LineageName kLineage{.cluster = "main", .major = 15, .count = 2};
const std::string kFolder = "clusters/main/15-2/";
const std::string kBackupId = "20261122T082239Z-1f2e3d";
const std::string kId = "00112233445566778899aabbccddeeff";
const std::string kWal = "wal/00000001/0000000100000000/";
const std::string kSegment = "000000010000000000000004";

TEST(ObjectNames, AreReadBack) {
  using enum LineageObject;
  const struct {
    std::string name;
    LineageObject kind;
  } cases[] = {
      {"backups/" + kBackupId + ".json", LineageObject::kBackup},
      {"manifests/" + kBackupId, kManifest},
      {"manifests.copy/" + kBackupId, kManifestCopy},
      {"refs/" + kBackupId, kRefs},
      {"marks/" + kBackupId + "/" + kId + ".json", kMark},
      {"packs/00/" + kId, kPack},
      {"redirects/" + kId + "/" + kId, kRedirect},
      {"intents/" + kId + ".json", kIntent},
      {"intents/" + kId + ".ended.json", kIntentEnd},
      {"doomed/" + kId + ".json", kDoomed},
      {"doomed/" + kId + ".done.json", kDoomedEnd},
      {kWal + kSegment, kWalSegment},
      {kWal + kSegment + ".partial." + kId, kWalPartial},
      {kWal + kSegment + ".00000028.backup", kWalBackupHistory},
      {kWal + kSegment + ".part/00000000-00001000." + kId, kWalPiece},
      // Never candidates, or not ours.
      {"lineage.json", kOther},
      {"wal/00000002.history", kOther},
      {"packs/01/" + kId, kOther},
      {"packs/00/" + kId + "x", kOther},
      {"packs/00112233445566778899aabbccddeeff", kOther},
      {"packs/00/00112233445566778899AABBCCDDEEFF", kOther},
      {"refs/latest", kOther},
      {"refs/" + kBackupId + "/x", kOther},
      {"marks/" + kBackupId + "/x.json", kOther},
      {"intents/x.json", kOther},
      {"intents/.json", kOther},
      {kWal + "000000010000000100000004", kOther},
      {"wal/00000002/0000000100000000/" + kSegment, kOther},
      {kWal + kSegment + ".partial", kOther},
      {kWal + kSegment + ".tmp", kOther},
      {kWal + kSegment + "/x", kOther},
      {"drills/" + kId + ".json", kOther},
      {"", kOther},
  };
  for (const auto& c : cases) {
    const ObjectName parsed = parse_object_name(kLineage, pg::WalSegmentSize(), kFolder + c.name);
    EXPECT_EQ(parsed.kind, c.kind) << c.name;
  }
  EXPECT_EQ(parse_object_name(kLineage, {}, "repo.json").kind, kOther);
  EXPECT_EQ(parse_object_name(kLineage, {}, "clusters/main/15-1/refs/" + kBackupId).kind, kOther);
}

TEST(ObjectNames, TellWhatTheyNameByBackupIdAndSegment) {
  EXPECT_EQ(parse_object_name(kLineage, {}, manifest_name(kLineage, kBackupId)).backup_id,
            kBackupId);
  EXPECT_EQ(parse_object_name(kLineage, {}, mark_name(kLineage, kBackupId, {})).backup_id,
            kBackupId);
  const Bytes16 id = parse_hex_array<16>(kId).value();
  EXPECT_EQ(parse_object_name(kLineage, {}, pack_name(kLineage, id)).id, id);
  EXPECT_EQ(parse_object_name(kLineage, {}, intent_name(kLineage, id)).id, id);
  EXPECT_EQ(parse_object_name(kLineage, {}, intent_end_name(kLineage, id)).id, id);
  EXPECT_EQ(parse_object_name(kLineage, {}, kFolder + kWal + kSegment).segment,
            (pg::SegmentName{.timeline = {1}, .segment_number = 4}));
}

}  // namespace
}  // namespace holdfast::repo
