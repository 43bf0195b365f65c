// copy_window.h: the files of a backup on their way: handed to workers region by region, given back
// in order.
//
// One thread walks the data directory and pushes what it meets; the same thread takes finished
// entries from the front and adds them to the manifest, which wants them in the order of the walk.
// Workers take the next region (a map leaf, 16 MiB) of the first file that has one left. A large
// file is copied by all workers at once; behind it small files finish and wait. The window bounds
// how many wait.
//
//     front                                    back
//       [ done | done | copying 3 of 64 | done | copying 1 of 1 | waiting | waiting ]  <- push()
//       pop_front_if_done()                          next() ->
//
// A file's length is what it has when a worker opens it: a file that grows is copied up to there,
// one that was replaced since the walk met it is copied whole. One descriptor serves all its
// regions, so they are of one file, and is closed with the last.
//
// Memory: per entry about 400 bytes, its path, and 24 bytes for each fault (at most kMaxFaults).
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <vector>

#include "backup/page_check.h"
#include "base/file.h"
#include "base/mutex.h"
#include "pg/relation_file.h"
#include "repo/file_map.h"
#include "repo/manifest.h"

namespace holdfast::backup {

// Faults of one file that are kept with their place; more are only counted.
inline constexpr size_t kMaxFaults = 1024;

// One entry of the manifest. Fields below a line belong to whom the line names; the window's mutex
// hands them over.
struct CopyItem {
  // --- who pushes it
  repo::ManifestEntry entry;
  std::optional<pg::RelationFile> relation;  // its pages are verified
  uint32_t uid = 0;
  uint32_t gid = 0;

  // --- the worker that opens it, then read by all
  Fd fd;
  uint64_t bytes = 0;
  bool has_holes = false;
  bool vanished = false;
  repo::FileMapBuilder map;  // safe by itself

  // --- the window, under its mutex
  enum class State : uint8_t { kWaiting, kOpening, kCopying, kDone };
  State state = State::kWaiting;
  uint64_t next_region = 0;
  uint64_t regions = 0;
  uint64_t regions_done = 0;
  uint64_t end = 0;  // of the last byte that was read
  std::vector<PageFault> faults;
  uint64_t more_faults = 0;
};

// What came of one region.
struct RegionResult {
  uint64_t end = 0;  // of the last byte that was read, from the file's start; 0 when there was none
  std::span<const PageFault> faults = {};
};

class CopyWindow {
 public:
  explicit CopyWindow(size_t capacity) : capacity_(capacity) {}

  // --- the walking thread

  bool is_full() const;
  bool is_empty() const;
  // REQUIRES: !is_full(). Directories and links are done at once.
  void push(std::unique_ptr<CopyItem> item);
  // Nothing more will be pushed: next() ends when everything is handed out.
  void close();
  // The first entry when it is done; nullptr when it is not, or there is none.
  std::unique_ptr<CopyItem> pop_front_if_done();
  // Waits until the first entry is done, `at_most` that long, or until `stop`.
  void wait_for_front(const std::stop_token& stop, std::chrono::milliseconds at_most);

  // --- workers

  struct Work {
    CopyItem* item = nullptr;
    bool to_open = false;  // call opened() or vanished(); otherwise copy `region`
    uint64_t region = 0;
  };
  // The first work in order that nobody has; waits for more. nullopt: all is handed out and closed,
  // or `stop`.
  std::optional<Work> next(const std::stop_token& stop);
  // The file is open, with `item.bytes` set. Returns its first region for the caller to copy;
  // nullopt when it has none: then the caller finishes it.
  std::optional<Work> opened(CopyItem& item);
  // True for the last region of the file: the caller now owns the item until it calls finish().
  bool region_done(CopyItem& item, const RegionResult& result);
  // The item is complete (or vanished), and is the walking thread's from here on.
  void finish(CopyItem& item);

 private:
  std::optional<Work> take_work() HF_REQUIRES(mutex_);

  const size_t capacity_;
  mutable Mutex mutex_;
  ConditionVariable work_;
  ConditionVariable front_;
  std::deque<std::unique_ptr<CopyItem>> items_ HF_GUARDED_BY(mutex_);
  size_t cursor_ HF_GUARDED_BY(mutex_) = 0;  // items_ before it have nothing left to hand out
  bool closed_ HF_GUARDED_BY(mutex_) = false;
};

}  // namespace holdfast::backup
