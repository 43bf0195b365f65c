#include "repo/layout.h"

#include <gtest/gtest.h>

#include "support/error_of.h"
#include "support/fake_clock.h"
#include "support/fake_random.h"

namespace holdfast::repo {
namespace {

using test::error_of;

const LineageName kLineage = {.cluster = "main", .major = 15, .count = 2};
const Bytes16 kId = {{std::byte{0xAB}, std::byte{0xCD}}};
const std::string kIdText = "abcd" + std::string(28, '0');

TEST(Layout, SpellsTheNamesOfTheFormat) {
  const struct {
    std::string name;
    std::string expected;
  } cases[] = {
      {key_name(kId), "keys/" + kIdText + ".json"},
      {key_copy_name(kId), "keys.copy/" + kIdText + ".json"},
      {lineage_document_name(kLineage), "clusters/main/15-2/lineage.json"},
      {lineage_copy_name(kLineage), "clusters/main/15-2/lineage.copy.json"},
      {backup_name(kLineage, "B"), "clusters/main/15-2/backups/B.json"},
      {backup_copy_name(kLineage, "B"), "clusters/main/15-2/backups.copy/B.json"},
      {history_copies_folder(kLineage), "clusters/main/15-2/histories.copy/"},
      {manifest_name(kLineage, "B"), "clusters/main/15-2/manifests/B"},
      {manifest_copy_name(kLineage, "B"), "clusters/main/15-2/manifests.copy/B"},
      {pack_name(kLineage, kId), "clusters/main/15-2/packs/ab/" + kIdText},
      {refs_name(kLineage, "B"), "clusters/main/15-2/refs/B"},
      {mark_name(kLineage, "B", kId), "clusters/main/15-2/marks/B/" + kIdText + ".json"},
      {intent_name(kLineage, kId), "clusters/main/15-2/intents/" + kIdText + ".json"},
      {doomed_folder(kLineage), "clusters/main/15-2/doomed/"},
      {wal_folder(kLineage), "clusters/main/15-2/wal/"},
      {wal_timeline_folder(kLineage, pg::TimelineId{0x1F}), "clusters/main/15-2/wal/0000001F/"},
  };
  for (const auto& c : cases) EXPECT_EQ(c.name, c.expected);
}

TEST(Layout, KnowsOfEachContentOfAHistoryTheNameOfItsCopy) {
  for (const std::string cluster : {"main", "wal", "amended"}) {
    const std::string lineage = "clusters/" + cluster + "/15-2/";
    for (const auto& [content, copy] :
         {std::pair{"wal/0000001F.history", "histories.copy/0000001F/0"},
          {"amended/0000001F/0000001F.history/12", "histories.copy/0000001F/12"}}) {
      EXPECT_EQ(copy_of_history(lineage + content), lineage + copy);
      EXPECT_EQ(history_of_copy(lineage + copy), lineage + content);
    }
    for (const char* other :
         {"wal/0000001F/0000001F00000000/0000001F0000000000000004", "lineage.json",
          "amended/0000001F/0000001F0000000000000004/1",
          "amended/0000001F/0000001F.history/00112233445566778899aabbccddeeff.json"})
      EXPECT_FALSE(copy_of_history(lineage + other)) << other;
  }
}

TEST(Layout, PutsWhatAServerArchivesInFoldersOfItsTimeline) {
  const pg::WalSegmentSize size;
  const Bytes16 digest = {{std::byte{0x01}}};
  const std::string digest_text = "01" + std::string(30, '0');
  const struct {
    const char* file;
    const Bytes16* partial;
    std::string expected;
  } cases[] = {
      {"00000002000000A50000003C", nullptr, "00000002/00000002000000A5/00000002000000A50000003C"},
      {"00000002000000A50000003C.partial", &digest,
       "00000002/00000002000000A5/00000002000000A50000003C.partial." + digest_text},
      {"00000002000000A50000003C.00000028.backup", nullptr,
       "00000002/00000002000000A5/00000002000000A50000003C.00000028.backup"},
      {"00000002.history", nullptr, "00000002.history"},
  };
  for (const auto& c : cases)
    EXPECT_EQ(wal_object_name(kLineage, pg::parse_wal_file_name(c.file, size), size, c.partial),
              "clusters/main/15-2/wal/" + c.expected);
}

TEST(ClusterName, IsLowerCaseLettersDigitsDashAndUnderscore) {
  for (std::string name : {std::string("main"), std::string("a"), std::string("9"),
                           std::string("billing-15_x"), std::string(63, 'a')})
    EXPECT_TRUE(is_cluster_name(name)) << name;
  for (std::string name : {std::string(), std::string("-a"), std::string("_a"), std::string("Main"),
                           std::string("a.b"), std::string("a/b"), std::string(".."),
                           std::string("ä"), std::string(64, 'a')}) {
    EXPECT_FALSE(is_cluster_name(name)) << name;
    Error error = error_of([&] { check_cluster_name(name); });
    EXPECT_EQ(error.code(), ErrorCode::kUsage);
    EXPECT_EQ(error.message(), "invalid cluster name \"" + name + "\"");
    EXPECT_FALSE(error.hint().empty());
  }
}

TEST(LineageName, ReadsBackWhatItPrints) {
  EXPECT_EQ(to_string(kLineage), "15-2");
  EXPECT_EQ(parse_lineage_name("main", "15-2"), kLineage);
  for (const char* text : {"", "15", "15-", "-2", "15-0", "15-02", "015-2", "15-2-1", "15-x", "a-1",
                           "15- 2", "99999999999-1"})
    EXPECT_EQ(parse_lineage_name("main", text), std::nullopt) << text;
}

TEST(BackupId, IsTheTimeInUtcAndSixDigits) {
  test::FakeRandom random;
  const std::string id = make_backup_id(test::FakeClock().now(), random);
  EXPECT_TRUE(id.starts_with("20261122T082239Z-")) << id;
  EXPECT_TRUE(is_backup_id(id));
  // Two of one second sort by their time.
  const Time now = test::FakeClock().now();
  EXPECT_LT(make_backup_id(now, random),
            make_backup_id(now + std::chrono::milliseconds(5), random));
  EXPECT_NE(id, make_backup_id(test::FakeClock().now(), random));
  for (const char* text :
       {"", "20261122T082239Z", "20261122T082239Z-", "20261122T082239Z-1f2e3",
        "20261122T082239Z-1f2e3d4", "20261122T082239Z-1F2E3D", "20261122t082239Z-1f2e3d",
        "2026112xT082239Z-1f2e3d", "../../../etc/passwd12345"})
    EXPECT_FALSE(is_backup_id(text)) << text;
}

}  // namespace
}  // namespace holdfast::repo
