// windows.h: what the archived WAL allows: where it is broken, and what can be recovered.
//
// One answer for all who tell it (info, verify, check): from what is listed, and from what a reader
// of everything found beside that.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/time.h"
#include "repo/backup.h"
#include "repo/needed_wal.h"
#include "repo/wal_archive.h"

namespace holdfast::recovery {

// Everything from start to end on the way to that timeline can be recovered.
struct Window {
  pg::TimelineId timeline;
  pg::Lsn start_lsn, end_lsn;
  Time start_time;
  Time end_time;                     // of the last commit, or of the newest backup's end
  std::vector<std::string> backups;  // that lead into it, oldest first
  // Before it nobody looked into the segments for WAL of wal_level minimal, past which no recovery
  // goes; nullopt: there are none.
  std::optional<pg::Lsn> looked_from = {};
};

// Of a gap: the segment joins the one before it, and is of the history of another content of that.
inline constexpr std::string_view kOtherHistory = "of another history";

// Segments that are missing, or cannot be read, in the way of a recovery.
//
// A hole is a gap in which nothing is damaged: WAL was never archived, or was taken away. It is of
// the past where a good backup is newer: one behind it on its timeline, or one of another timeline
// that was taken after the last segment of this one was archived, so that nobody writes on it any
// more. Only one that no backup stands behind costs what is committed now.
struct Gap {
  pg::TimelineId timeline;
  std::string first_segment, last_segment;
  uint64_t segment_count = 0;
  pg::Lsn start_lsn, end_lsn;
  std::optional<Time> after, before;  // the commits nearest to it
  // "missing", "damaged", "does not join", "of another history", "cut short", "behind WAL of
  // wal_level minimal", "set aside"
  std::string problem;
  std::vector<std::string> backups;  // whose recovery ends before it
  bool is_hole = false;
  std::string newer_backup = {};  // the first good one that is newer; empty: there is none
  bool costs() const { return is_hole && newer_backup.empty(); }
  // Nothing is wrong with the segment, but that it stands behind this one.
  bool is_of_other() const { return problem == kOtherHistory; }
};

// What reading the segments found.
struct WalDamage {
  std::set<pg::SegmentName> bad;       // cannot be read to its end
  std::set<pg::SegmentName> unjoined;  // is not the continuation of the segment before it
  std::set<pg::SegmentName> minimal;   // follows one with WAL of wal_level minimal
};

// The metadata of so many segments of a way to a timeline are looked into for WAL of wal_level
// minimal, the newest: a small read each. Whoever reads all knows of the others.
inline constexpr uint64_t kSegmentsLookedInto = 512;

struct WalPicture {
  std::vector<Window> windows;
  std::vector<Gap> gaps;
  // Backups whose own WAL, from start to stop, is not whole: why, and by which object.
  struct Broken {
    std::string reason;
    std::string object;  // empty: there is none
  };
  std::map<std::string, Broken> broken;
};

struct WindowSources {
  const repo::WalArchive& archive;
  const std::vector<repo::Backup>& backups;  // those that can be read, oldest first
  const std::set<std::string>& restorable;   // of these, the ids of those that can be laid
  const WalDamage& damage;
  uint64_t look_into = kSegmentsLookedInto;          // of each way
  repo::Compare compare = repo::Compare::kMetadata;  // of what the backups were taken with
  // What cannot be read is told to it, and passed over.
  std::function<void(const std::string& object, const Error& error)> on_damage;
  std::stop_token stop = {};
};
WalPicture look_at_wal(const WindowSources& sources);
// The same by what is listed alone, with the backups that are not marked damaged. `on_damage` is
// told of commit objects too.
WalPicture look_at_wal(
    const repo::Repository& repository, const repo::Lineage& lineage,
    const std::function<void(const std::string& object, const Error& error)>& on_damage);

}  // namespace holdfast::recovery
