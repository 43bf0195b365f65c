// recover.h: starts the server on a restored data directory and follows its log until recovery has
// ended.
//
// What the server says is the progress: segments, positions, the commit that was reached. A server
// that fails is told of in its own words, with what they mean and what to do. When asked to stop,
// the server is stopped cleanly; started again, it goes on.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>

#include "base/reporter.h"
#include "base/time.h"
#include "cluster/server_process.h"
#include "pg/wal_file_name.h"
#include "recovery/target.h"

namespace holdfast::restore {

inline constexpr const char* kLogName = "holdfast_recovery.log";

struct Recovery {
  recovery::TargetAction action = recovery::TargetAction::kPromote;
  // How it ended: promoted (the server runs), paused (it runs and waits), or shut down.
  recovery::TargetAction ended_by = recovery::TargetAction::kPromote;
  int server_pid = 0;
  pg::TimelineId new_timeline;
  pg::Lsn recovered_to_lsn;
  std::optional<Time> recovered_to_time;
  Microseconds replay_time{}, promote_time{};
};

// When the last transaction of an archived segment ended, for the progress; nullopt where that
// cannot be told.
using CommitTimes = std::function<std::optional<Time>(pg::SegmentName segment)>;

struct Following {
  recovery::TargetAction action = recovery::TargetAction::kPromote;
  pg::WalSegmentSize segment_size;
  uint64_t first_segment = 0, last_segment = 0;  // that are replayed, as far as is known
  // To the end of the archived WAL: the record that must be replayed, the server's target. Invalid
  // for every other.
  pg::Lsn end_record;
  CommitTimes commit_times;
  std::string resume_command;  // that goes on when it was interrupted
};

// REQUIRES: the data directory is configured for recovery. Throws kTargetUnreachable when the
// server did not get to its target, kServer when it failed otherwise or did not get to the end,
// kInterrupted. A server that was promoted or waits lives on.
Recovery run_recovery(const cluster::ServerStart& start, const Following& following,
                      const Clock& clock, Reporter& reporter, const std::stop_token& stop);

// Waits until the server on `data_directory`, which was asked to promote, accepts connections.
// Throws kServer when it ends instead, kInterrupted.
void wait_until_promoted(const std::string& data_directory, const std::stop_token& stop);

}  // namespace holdfast::restore
