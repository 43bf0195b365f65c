#include "pg/backup_label.h"

#include <gtest/gtest.h>

#include "support/error_of.h"

namespace holdfast::pg {
namespace {

constexpr std::string_view kLabel =
    "START WAL LOCATION: 0/4000060 (file 000000010000000000000004)\n"
    "CHECKPOINT LOCATION: 0/40000B8\n"
    "BACKUP METHOD: streamed\n"
    "BACKUP FROM: primary\n"
    "START TIME: 2026-11-22 08:22:37 UTC\n"
    "LABEL: my: backup\n"
    "START TIMELINE: 1\n";

TEST(ParseBackupLabel, ReadsEveryLine) {
  BackupLabel label = parse_backup_label(kLabel, WalSegmentSize());
  EXPECT_EQ(label.start_lsn, Lsn{0x4000060});
  EXPECT_EQ(label.start_segment, "000000010000000000000004");
  EXPECT_EQ(label.start_timeline, TimelineId{1});
  EXPECT_EQ(label.checkpoint_lsn, Lsn{0x40000B8});
  EXPECT_EQ(label.method, "streamed");
  EXPECT_EQ(label.from, "primary");
  EXPECT_EQ(label.start_time, "2026-11-22 08:22:37 UTC");
  EXPECT_EQ(label.label, "my: backup");
  EXPECT_FALSE(label.incremental_from_lsn);
  EXPECT_FALSE(label.incremental_from_timeline);
}

TEST(ParseBackupLabel, TellsAnIncrementalBackup) {
  std::string text(kLabel);
  text += "INCREMENTAL FROM LSN: 0/0B000028\nINCREMENTAL FROM TLI: 10\n";
  BackupLabel label = parse_backup_label(text, WalSegmentSize());
  EXPECT_EQ(label.incremental_from_lsn, Lsn{0xB000028});
  EXPECT_EQ(label.incremental_from_timeline, TimelineId{10});
}

TEST(ParseBackupLabel, ReadsABackupHistoryFile) {
  BackupLabel label = parse_backup_label(
      "START WAL LOCATION: 0/4000060 (file 000000010000000000000004)\n"
      "STOP WAL LOCATION: 0/4000138 (file 000000010000000000000004)\n"
      "CHECKPOINT LOCATION: 0/40000B8\nBACKUP METHOD: streamed\nBACKUP FROM: primary\nSTART TIME: "
      "x\nLABEL: y\n"
      "START TIMELINE: 1\nSTOP TIME: z\nSTOP TIMELINE: 2\n",
      WalSegmentSize());
  EXPECT_EQ(label.stop_lsn, Lsn{0x4000138});
  EXPECT_EQ(label.stop_timeline, TimelineId{2});
}

TEST(ParseBackupLabel, RefusesWhatAServerWouldRefuse) {
  const struct {
    std::string_view from;
    std::string_view to;
    std::string_view detail;
  } cases[] = {
      {"START WAL", "ST WAL", "The line START WAL LOCATION is missing."},
      {"CHECKPOINT", "CHECK", "The line CHECKPOINT LOCATION is missing."},
      {"0/4000060", "0/5000060",
       "The start LSN 0/5000060 does not lie in segment 000000010000000000000004; the WAL segment "
       "size is 16777216 bytes."},
      {"file 000000010000000000000004", "file 00000001.history",
       "\"00000001.history\" is not the name of a WAL segment."},
      {"START TIMELINE: 1", "START TIMELINE: 2",
       "START TIMELINE is 2, but the start segment 000000010000000000000004 lies on timeline 1."},
      {"START TIMELINE: 1", "START TIMELINE: one",
       "The line START TIMELINE holds \"one\" where a timeline should be."},
      {"0/40000B8\n", "0/40000B8\r\n",
       "The line CHECKPOINT LOCATION holds \"0/40000B8\r\" where an LSN should be."},
      {"0/40000B8", "040000B8",
       "The line CHECKPOINT LOCATION holds \"040000B8\" where an LSN should be."},
  };
  for (const auto& c : cases) {
    std::string text(kLabel);
    size_t at = text.find(c.from);
    ASSERT_NE(at, std::string::npos);
    text.replace(at, c.from.size(), c.to);
    Error error = test::error_of([&] { parse_backup_label(text, WalSegmentSize()); });
    EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
    EXPECT_EQ(error.message(), "invalid backup label");
    EXPECT_EQ(error.detail(), c.detail);
    EXPECT_EQ(error.hint(),
              "The file must be kept exactly as the server returned it, with its line ends.");
  }
  EXPECT_EQ(test::error_of([] { parse_backup_label("", WalSegmentSize()); }).code(),
            ErrorCode::kCorrupt);
}

}  // namespace
}  // namespace holdfast::pg
