#include "pg/backup_label.h"

#include <charconv>

#include <fmt/core.h>

#include "base/error.h"

namespace holdfast::pg {

namespace {

[[noreturn]] void reject_label(std::string detail) {
  throw Error(
      {.code = ErrorCode::kCorrupt,
       .message = "invalid backup label",
       .detail = std::move(detail),
       .hint = "The file must be kept exactly as the server returned it, with its line ends."});
}

// "0/4000060": as parse_lsn(), but the fault is the file's and not somebody's typing.
std::optional<Lsn> read_lsn(std::string_view text) {
  size_t slash = text.find('/');
  bool shaped = slash != std::string_view::npos && slash >= 1 && slash <= 8 &&
                text.size() - slash - 1 >= 1 && text.size() - slash - 1 <= 8 &&
                text.find_first_not_of("0123456789abcdefABCDEF/") == std::string_view::npos &&
                text.find('/', slash + 1) == std::string_view::npos;
  return shaped ? std::optional(parse_lsn(text)) : std::nullopt;
}

Lsn require_lsn(std::string_view text, std::string_view line) {
  std::optional<Lsn> lsn = read_lsn(text);
  if (!lsn)
    reject_label(fmt::format("The line {} holds \"{}\" where an LSN should be.", line, text));
  return *lsn;
}

TimelineId require_timeline(std::string_view text, std::string_view line) {
  uint32_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value == 0) {
    reject_label(fmt::format("The line {} holds \"{}\" where a timeline should be.", line, text));
  }
  return {value};
}

struct Location {
  Lsn lsn;
  std::string_view segment;
};

// "0/4000060 (file 000000010000000000000004)"
Location require_location(std::string_view text, std::string_view line) {
  constexpr std::string_view kFile = " (file ";
  size_t file = text.find(kFile);
  if (file == std::string_view::npos || !text.ends_with(')')) {
    reject_label(
        fmt::format("The line {} holds \"{}\" where an LSN and a file should be.", line, text));
  }
  std::string_view segment = text.substr(file + kFile.size());
  segment.remove_suffix(1);
  return {.lsn = require_lsn(text.substr(0, file), line), .segment = segment};
}

}  // namespace

BackupLabel parse_backup_label(std::string_view text, WalSegmentSize size) {
  BackupLabel label;
  bool has_start = false;
  bool has_checkpoint = false;
  std::optional<TimelineId> told_timeline;
  while (!text.empty()) {
    size_t newline = text.find('\n');
    std::string_view line = text.substr(0, newline);
    text = newline == std::string_view::npos ? std::string_view() : text.substr(newline + 1);
    size_t colon = line.find(": ");
    if (colon == std::string_view::npos) continue;
    std::string_view key = line.substr(0, colon);
    std::string_view value = line.substr(colon + 2);

    if (key == "START WAL LOCATION") {
      Location location = require_location(value, key);
      WalFileName name = parse_wal_file_name(location.segment, size);
      if (name.kind != WalFileKind::kSegment)
        reject_label(fmt::format("\"{}\" is not the name of a WAL segment.", location.segment));
      if (name.segment.segment_number != segment_of(location.lsn, size)) {
        reject_label(fmt::format(
            "The start LSN {} does not lie in segment {}; the WAL segment size is {} bytes.",
            to_string(location.lsn), location.segment, size.bytes()));
      }
      label.start_lsn = location.lsn;
      label.start_segment = location.segment;
      label.start_timeline = name.segment.timeline;
      has_start = true;
    } else if (key == "STOP WAL LOCATION") {
      label.stop_lsn = require_location(value, key).lsn;
    } else if (key == "CHECKPOINT LOCATION") {
      label.checkpoint_lsn = require_lsn(value, key);
      has_checkpoint = true;
    } else if (key == "BACKUP METHOD") {
      label.method = value;
    } else if (key == "BACKUP FROM") {
      label.from = value;
    } else if (key == "START TIME") {
      label.start_time = value;
    } else if (key == "LABEL") {
      label.label = value;
    } else if (key == "START TIMELINE") {
      told_timeline = require_timeline(value, key);
    } else if (key == "STOP TIMELINE") {
      label.stop_timeline = require_timeline(value, key);
    } else if (key == "INCREMENTAL FROM LSN") {
      label.incremental_from_lsn = require_lsn(value, key);
    } else if (key == "INCREMENTAL FROM TLI") {
      label.incremental_from_timeline = require_timeline(value, key);
    }
  }
  if (!has_start) reject_label("The line START WAL LOCATION is missing.");
  if (!has_checkpoint) reject_label("The line CHECKPOINT LOCATION is missing.");
  // A backup history file is named for the stop timeline, but its START lines stay those of the
  // start.
  if (told_timeline && *told_timeline != label.start_timeline) {
    reject_label(fmt::format("START TIMELINE is {}, but the start segment {} lies on timeline {}.",
                             told_timeline->value, label.start_segment,
                             label.start_timeline.value));
  }
  return label;
}

}  // namespace holdfast::pg
