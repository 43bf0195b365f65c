#include "backup/wal_wait.h"

#include <algorithm>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "base/error.h"
#include "base/file.h"
#include "base/task_group.h"

namespace holdfast::backup {
namespace {

// The first looks come quickly: often the segment is being pushed just now.
constexpr std::chrono::milliseconds kFirstPause{50};
constexpr std::chrono::milliseconds kLongestPause{1000};
constexpr std::chrono::seconds kWarningInterval{10};
constexpr std::chrono::seconds kProofPatience{60};
constexpr std::chrono::seconds kStatisticsPatience{1};

// `needed`: up to where the backup needs it.
std::optional<repo::WalSegmentInfo> whole_segment(const repo::WalArchive& archive,
                                                  const pg::WalFileName& file,
                                                  const std::string& name, pg::Lsn needed) {
  archive.look_again();
  std::optional<repo::WalSegmentInfo> info = archive.segment_info(file);
  if (!info) return std::nullopt;
  if (info->system_identifier != archive.lineage().system_identifier)
    throw Error(
        {.code = ErrorCode::kWrongCluster,
         .message = fmt::format("archived WAL segment \"{}\" is of another cluster", name),
         .detail = fmt::format("Its system identifier is {}, that of the backup is {}.",
                               info->system_identifier, archive.lineage().system_identifier)});
  if (!info->complete || info->bytes != archive.segment_size().bytes())
    throw Error({.code = ErrorCode::kCorrupt,
                 .message = fmt::format("archived WAL segment \"{}\" is not whole", name),
                 .detail = fmt::format("It has {} of {} bytes.", info->bytes,
                                       archive.segment_size().bytes())});
  if (info->readable_end < needed)
    throw Error({.code = ErrorCode::kCorrupt,
                 .message = fmt::format("archived WAL segment \"{}\" can be read only up to {}",
                                        name, pg::to_string(info->readable_end)),
                 .detail = "The backup needs all of it, and could not be recovered, so there is no "
                           "new backup.",
                 .hint =
                     "Take another one: it needs later WAL alone. \"holdfast verify\" says more "
                     "of the segment."});
  return info;
}

std::string last_failure(const cluster::ArchiverStatus& status) {
  if (!status.is_failing() || !status.last_failed_time) return "";
  return fmt::format("The server's last failed attempt was to archive \"{}\" at {}.",
                     status.last_failed_wal.value_or("?"), to_local(*status.last_failed_time));
}

class Waiting {
 public:
  Waiting(const WalWait& wait, const Clock& clock, Reporter& reporter, const std::stop_token& stop)
      : wait_(wait),
        clock_(clock),
        reporter_(reporter),
        stop_(stop),
        started_(clock.steady()),
        warned_(started_) {}

  template <typename IsThere>
  void until(const std::string& name, const IsThere& is_there) {
    for (std::chrono::milliseconds pause = kFirstPause; !is_there();
         pause = std::min(pause * 2, kLongestPause)) {
      throw_if_stopped(stop_);
      if (is_over()) fail(name);
      if (clock_.steady() - warned_ >= kWarningInterval) warn(name);
      wait_for(stop_, pause);
    }
  }

  bool is_over() const { return clock_.steady() - started_ >= wait_.timeout; }
  bool has_taken(Microseconds time) const { return clock_.steady() - started_ >= time; }
  // By the server's statistics; the clock is this host's.
  bool has_archived_since(const std::string& name, Time began) const {
    const cluster::ArchiverStatus status = wait_.archiver();
    return status.last_archived_wal >= name && status.last_archived_time >= began;
  }
  bool is_failing() const { return wait_.archiver().is_failing(); }

  [[noreturn]] void fail(const std::string& name) const {
    std::string failure = last_failure(wait_.archiver());
    throw Error(
        {.code = ErrorCode::kServer,
         .message = fmt::format("WAL file \"{}\" did not reach the archive within {}", name,
                                to_human(wait_.timeout)),
         .detail = "Without it the backup could not be recovered, so there is no new backup." +
                   (failure.empty() ? failure : " " + failure),
         .hint = wait_.by_primary
                     ? "The primary archives it, not this standby. Look into the primary's log, or "
                       "run \"holdfast check\" there."
                     : "Look for the output of archive_command in the server's log, or run "
                       "\"holdfast check\", which names the cause."});
  }

 private:
  void warn(const std::string& name) {
    warned_ = clock_.steady();
    std::string failure = last_failure(wait_.archiver());
    if (failure.empty())
      reporter_.note(fmt::format("still waiting for WAL segment {}", name));
    else
      reporter_.warning(fmt::format("archiving fails: {}", failure));
  }

  const WalWait& wait_;
  const Clock& clock_;
  Reporter& reporter_;
  const std::stop_token& stop_;
  std::chrono::steady_clock::time_point started_;
  std::chrono::steady_clock::time_point warned_;
};

}  // namespace

void wait_for_expiry(const repo::Repository& repository, const repo::Lineage& lineage,
                     const NeededWal& needed, std::chrono::seconds timeout, const Clock& clock,
                     Reporter& reporter, const std::stop_token& stop) {
  const std::chrono::steady_clock::time_point started = clock.steady();
  bool is_told = false;
  for (std::chrono::milliseconds pause = kFirstPause;; pause = std::min(pause * 2, kLongestPause)) {
    throw_if_stopped(stop);
    const std::optional<repo::Going> going = repo::find_going_wal(repository, lineage, needed);
    if (!going) return;
    if (clock.steady() - started >= timeout)
      throw Error(
          {.code = ErrorCode::kBusy,
           .message = "an expiry may be removing WAL that the backup needs",
           .detail = fmt::format("{} It is {}.", going->what, going->by),
           .hint = "Run the command again when it has ended. If it was killed: \"holdfast claims\" "
                   "shows its claim, and \"holdfast claims --end ID\" ends it."});
    if (!std::exchange(is_told, true))
      reporter.note(
          fmt::format("waiting for the end of an expiry ({}), which may be removing WAL "
                      "that the backup needs",
                      going->by));
    wait_for(stop, pause);
  }
}

void prove_archiving(const repo::WalArchive& archive, const StartSegment& start, WalWait wait,
                     const Clock& clock, Reporter& reporter, const std::stop_token& stop) {
  wait.timeout = std::min(wait.timeout, kProofPatience);
  const Waiting waiting(wait, clock, reporter, stop);
  const std::string name = pg::segment_file_name(start.segment, archive.segment_size());
  const pg::WalFileName file = pg::parse_wal_file_name(name, archive.segment_size());
  const std::string status = join_path(start.status_directory, name);
  for (std::chrono::milliseconds pause = kFirstPause;; pause = std::min(pause * 2, kLongestPause)) {
    // Looked at before the archive: what is done by then is there.
    const bool is_ready = stat_if_exists(status + ".ready").has_value();
    const std::optional<struct stat> done = stat_if_exists(status + ".done");
    archive.look_again();
    if (archive.segment_info(file)) return;
    // The checkpoint that the backup starts with removes the segment and its note when it is done
    // by then: the server's statistics know of it, up to a second later.
    const bool is_elsewhere =
        done ? Time{std::chrono::seconds{done->st_ctim.tv_sec}} +
                       std::chrono::microseconds{done->st_ctim.tv_nsec / 1000} >=
                   start.began
             : !is_ready && waiting.has_archived_since(name, start.began);
    if (is_elsewhere)
      throw Error({.code = ErrorCode::kServer,
                   .message = fmt::format("the server archives elsewhere: WAL segment \"{}\" is "
                                          "archived, and not in this repository",
                                          name),
                   .detail = "Without the WAL that is written while it is taken a backup cannot be "
                             "recovered. Nothing was copied.",
                   .hint = "Run \"holdfast check\", which names the cause."});
    if (!is_ready && (done || waiting.has_taken(kStatisticsPatience))) return;
    throw_if_stopped(stop);
    if (is_ready && waiting.is_over()) {
      if (waiting.is_failing()) waiting.fail(name);
      return reporter.note(
          fmt::format("WAL segment {} is not archived yet: the backup waits for "
                      "its WAL when all is copied",
                      name));
    }
    wait_for(stop, pause);
  }
}

void wait_for_wal(const repo::WalArchive& archive, const NeededWal& needed, const WalWait& wait,
                  const Clock& clock, Reporter& reporter, const std::stop_token& stop) {
  Waiting waiting(wait, clock, reporter, stop);
  pg::WalSegmentSize size = archive.segment_size();
  if (needed.timeline.value > 1) {
    std::string name = pg::history_file_name(needed.timeline);
    pg::WalFileName file = pg::parse_wal_file_name(name, size);
    waiting.until(name, [&] {
      archive.look_again();
      return archive.file_info(file).has_value();
    });
    if (wait.server != nullptr) wait.server->require_same_history(archive);
  }
  uint64_t last = pg::last_segment_before_end(needed.end_lsn, size);
  bool has_put_tail = false;
  for (uint64_t number = pg::segment_of(needed.start_lsn, size); number <= last; ++number) {
    std::string name = pg::segment_file_name({needed.timeline, number}, size);
    pg::WalFileName file = pg::parse_wal_file_name(name, size);
    bool may_take_tail = number == last && wait.archive_tail;
    waiting.until(name, [&] {
      const pg::Lsn needed_end = std::min(pg::end_lsn(number, size), needed.end_lsn);
      if (const std::optional<repo::WalSegmentInfo> there =
              whole_segment(archive, file, name, needed_end)) {
        if (wait.server != nullptr) wait.server->require_same_segment(archive, *there);
        return true;
      }
      has_put_tail = std::exchange(may_take_tail, false) && wait.archive_tail(name);
      return has_put_tail;
    });
  }
  if (wait.server != nullptr) wait.server->require_its_records(archive, has_put_tail);
}

}  // namespace holdfast::backup
