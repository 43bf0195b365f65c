// The text files around a backup: backup_label, tablespace_map, timeline history.
#include "base/error.h"
#include "pg/backup_label.h"
#include "pg/tablespace_map.h"
#include "pg/timeline_history.h"

using namespace holdfast;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  int major = 13 + data[0] / 3 % 6;
  try {
    switch (data[0] % 3) {
      case 0: {
        pg::BackupLabel label = pg::parse_backup_label(text, pg::WalSegmentSize());
        HF_CHECK(label.start_timeline.is_valid());
        break;
      }
      case 1: {
        auto entries = pg::parse_tablespace_map(text, major);
        // What can be written is read back.
        HF_CHECK(pg::parse_tablespace_map(pg::format_tablespace_map(entries, major), major) ==
                 entries);
        break;
      }
      default: {
        pg::TimelineHistory history = pg::parse_timeline_history({9}, text);
        HF_CHECK(pg::parse_timeline_history({9}, history.to_text()) == history);
        for (const pg::TimelineHistoryEntry& entry : history.ancestors()) {
          // Of a line that a later recovery left earlier, where that was.
          const pg::Lsn left = history.switch_point_of(entry.timeline).value();
          HF_CHECK(left <= entry.switch_lsn);
          HF_CHECK(history.is_ancestor(entry.timeline, left));
          HF_CHECK(history.timeline_at(left) > entry.timeline);
        }
      }
    }
  } catch (const Error&) {
  }
  return 0;
}
