#include "restore/recover.h"

#include <algorithm>
#include <vector>

#include <fmt/core.h>

#include "base/error.h"
#include "base/task_group.h"
#include "cluster/data_directory.h"
#include "cluster/log_follower.h"
#include "cluster/recovery_log.h"
#include "cluster/running_server.h"
#include "pg/wal_file_name.h"

namespace holdfast::restore {
namespace {

using cluster::RecoveryEvent;
using cluster::RecoveryEventKind;
using cluster::RecoveryFailure;
using std::chrono::milliseconds;

// How long the log is waited for before the server is looked at.
constexpr milliseconds kLogPatience{200};

// "2026-11-22 08:22:39.544793+00", in whatever zone the server prints; a name in place of a number
// is not read.
std::optional<Time> time_of(const std::string& text) {
  const size_t zone = text.find_last_of("+-");
  if (text.size() < 20 || zone == std::string::npos || zone < 19) return std::nullopt;
  return parse_time(text);
}

class Follower {
 public:
  Follower(const cluster::ServerStart& start, const Following& following, const Clock& clock,
           Reporter& reporter)
      : following_(following),
        clock_(clock),
        reporter_(reporter),
        size_(following.segment_size),
        log_(start.log_file, cluster::LogFollower::end_of(start.log_file)),
        server_(start),
        begun_(clock.steady()) {
    recovery_.action = following.action;
    if (following.last_segment >= following.first_segment)
      segments_ = following.last_segment - following.first_segment + 1;
    recovery_.server_pid = server_.pid();
  }

  Recovery run(const std::stop_token& stop);

 private:
  // True when that was the last event to wait for.
  bool take(const RecoveryEvent& event);
  void take_file(const std::string& name);
  void show_position(pg::Lsn lsn);
  void drain();
  [[noreturn]] void throw_failed(const ExitStatus& status);
  [[noreturn]] void throw_ended_short() const;
  [[noreturn]] void stop_and_throw();
  Microseconds since(std::chrono::steady_clock::time_point start) const {
    return std::chrono::duration_cast<Microseconds>(clock_.steady() - start);
  }

  const Following& following_;
  const Clock& clock_;
  Reporter& reporter_;
  pg::WalSegmentSize size_;
  cluster::LogFollower log_;
  cluster::RecoveryLogParser parser_;
  cluster::ServerProcess server_;
  Recovery recovery_;
  std::vector<RecoveryEvent> failures_;
  uint64_t segments_ = 0;
  uint64_t segments_seen_ = 0;
  uint64_t highest_segment_ = 0;
  pg::SegmentName last_seen_;
  std::optional<Time> commits_up_to_;
  std::chrono::steady_clock::time_point begun_;
  std::optional<std::chrono::steady_clock::time_point> redo_done_;
  bool shut_down_at_target_ = false;
};

// Each segment counts once: the server asks for the last one again when recovery has ended. When it
// asks for a segment it has the one before it behind it, but for the few bytes that it reads ahead.
void Follower::take_file(const std::string& name) {
  const pg::WalFileName file = pg::parse_wal_file_name(name, size_);
  if (file.kind != pg::WalFileKind::kSegment || file.segment.segment_number <= highest_segment_)
    return;
  if (segments_seen_ > 0 && following_.commit_times)
    if (std::optional<Time> time = following_.commit_times(last_seen_)) commits_up_to_ = time;
  highest_segment_ = file.segment.segment_number;
  last_seen_ = file.segment;
  ++segments_seen_;
  show_position(pg::start_lsn(highest_segment_, size_));
  if (segments_seen_ <= segments_) reporter_.amount(size_.bytes());
}

void Follower::show_position(pg::Lsn lsn) {
  std::string text = segments_ > 0 ? fmt::format("segment {} of {}", segments_seen_,
                                                 std::max(segments_, segments_seen_))
                                   : fmt::format("segment {}", segments_seen_);
  text += fmt::format(", {}", pg::to_string(lsn));
  if (commits_up_to_) text += fmt::format(", commits up to {}", to_local(*commits_up_to_));
  reporter_.position(text);
}

bool Follower::take(const RecoveryEvent& event) {
  switch (event.kind) {
    case RecoveryEventKind::kRestoredFile:
      take_file(event.name);
      break;
    case RecoveryEventKind::kRedoStarts:
      reporter_.note(fmt::format("replay starts at {}", pg::to_string(event.lsn)));
      break;
    case RecoveryEventKind::kRedoProgress:
      show_position(event.lsn);
      break;
    case RecoveryEventKind::kHousekeeping:
      reporter_.position(event.message);
      break;
    case RecoveryEventKind::kConsistent:
      reporter_.note(fmt::format("consistent at {}", pg::to_string(event.lsn)));
      break;
    case RecoveryEventKind::kStopping:
      if (!following_.end_record.is_valid()) reporter_.note(event.message);
      if (event.lsn.is_valid()) recovery_.recovered_to_lsn = event.lsn;
      break;
    case RecoveryEventKind::kPausedAtTarget:
      recovery_.ended_by = recovery::TargetAction::kPause;
      recovery_.replay_time = since(begun_);
      return true;
    case RecoveryEventKind::kShutdownAtTarget:
      shut_down_at_target_ = true;
      recovery_.ended_by = recovery::TargetAction::kShutdown;
      recovery_.replay_time = since(begun_);
      break;
    case RecoveryEventKind::kRedoDone:
      recovery_.recovered_to_lsn = event.lsn;
      recovery_.replay_time = since(begun_);
      redo_done_ = clock_.steady();
      reporter_.phase("promoting", 0);
      break;
    case RecoveryEventKind::kLastTransaction:
      recovery_.recovered_to_time = time_of(event.time);
      reporter_.note(event.message);
      break;
    case RecoveryEventKind::kNewTimeline:
      recovery_.new_timeline = event.timeline;
      reporter_.note(
          fmt::format("the server goes on on timeline {}", pg::to_string(event.timeline)));
      break;
    case RecoveryEventKind::kReady:
      if (redo_done_) recovery_.promote_time = since(*redo_done_);
      return true;
    case RecoveryEventKind::kFailure:
      // Sessions that come too early are refused by FATAL too: what it means is seen when the
      // server ends.
      failures_.push_back(event);
      break;
    default:
      break;
  }
  return false;
}

void Follower::drain() {
  while (std::optional<std::string> line = log_.next_line({}, milliseconds(0))) {
    for (const RecoveryEvent& event : parser_.feed(*line)) take(event);
  }
  while (std::optional<RecoveryEvent> event = parser_.flush()) take(*event);
}

// The archive has more, and the server could not read on: it was not promoted.
void Follower::throw_ended_short() const {
  const std::string reached = recovery_.recovered_to_lsn.is_valid()
                                  ? pg::to_string(recovery_.recovered_to_lsn)
                                  : std::string("an unknown place");
  throw Error(
      {.code = ErrorCode::kServer,
       .message =
           fmt::format("recovery on \"{}\" ended at {}, short of the end of the archived WAL "
                       "at {}",
                       server_.data_directory(), reached, pg::to_string(following_.end_record)),
       .detail = fmt::format("The server could not read on from there, and was not promoted: the "
                             "directory stays as it is. Its log is \"{}\".",
                             server_.log_file()),
       .hint =
           fmt::format("\"holdfast verify\" tells what is wrong with the WAL there. When it was "
                       "mended, go on with: {}\nTo do without what comes behind, restore with "
                       "--to-lsn {}.",
                       following_.resume_command, reached)});
}

void Follower::throw_failed(const ExitStatus& status) {
  // The first cause that has a name; what follows it are consequences.
  auto cause = std::ranges::find_if(failures_, [](const RecoveryEvent& event) {
    return event.failure != RecoveryFailure::kOther && event.failure != RecoveryFailure::kNone;
  });
  if (cause == failures_.end() && !failures_.empty()) cause = failures_.begin();
  const RecoveryFailure failure =
      cause == failures_.end() ? RecoveryFailure::kOther : cause->failure;
  std::string words;
  if (cause != failures_.end()) {
    words = cause->message;
    for (const std::string& more : {cause->detail, cause->hint})
      if (!more.empty()) words += " / " + more;
  }
  // It may have ended before it had a log to write FATAL into.
  if (words.empty()) words = server_.last_words();
  if (failure == RecoveryFailure::kTargetNotReached && following_.end_record.is_valid())
    throw_ended_short();
  const cluster::Advice& what = cluster::advice(failure);
  const bool unreachable =
      failure == RecoveryFailure::kTargetNotReached || failure == RecoveryFailure::kTargetTooEarly;
  throw Error(
      {.code = unreachable ? ErrorCode::kTargetUnreachable : ErrorCode::kServer,
       .message = fmt::format("recovery on \"{}\" failed", server_.data_directory()),
       .detail = fmt::format("The server {}. It said: {} Its log is \"{}\".", to_string(status),
                             words.empty()          ? "nothing."
                             : words.ends_with('.') ? words
                                                    : words + ".",
                             server_.log_file()),
       .hint = fmt::format(
           "{} {}{}", what.meaning, cluster::action_after(failure, server_.data_directory()),
           what.can_resume ? "\nThen go on with: " + following_.resume_command : std::string())});
}

void Follower::stop_and_throw() {
  server_.stop(cluster::ShutdownMode::kFast);
  throw Error({.code = ErrorCode::kInterrupted,
               .message = "recovery was interrupted",
               .detail = fmt::format("The server on \"{}\" was stopped; its log is \"{}\".",
                                     server_.data_directory(), server_.log_file()),
               .hint = "Go on where it stopped with: " + following_.resume_command});
}

Recovery Follower::run(const std::stop_token& stop) {
  reporter_.phase("replaying WAL", segments_ * size_.bytes());
  for (;;) {
    if (stop.stop_requested()) stop_and_throw();
    bool ended = false;
    if (std::optional<std::string> line = log_.next_line({}, kLogPatience)) {
      for (const RecoveryEvent& event : parser_.feed(*line)) ended = take(event) || ended;
    } else {
      while (std::optional<RecoveryEvent> event = parser_.flush()) ended = take(*event) || ended;
      if (std::optional<ExitStatus> status = server_.exit_status()) {
        drain();
        if (!shut_down_at_target_) throw_failed(*status);
        recovery_.server_pid = 0;
        return recovery_;
      }
    }
    if (!ended) continue;
    server_.leave_running();
    return recovery_;
  }
}

}  // namespace

Recovery run_recovery(const cluster::ServerStart& start, const Following& following,
                      const Clock& clock, Reporter& reporter, const std::stop_token& stop) {
  return Follower(start, following, clock, reporter).run(stop);
}

void wait_until_promoted(const std::string& data_directory, const std::stop_token& stop) {
  for (;;) {
    const std::optional<cluster::RunningServer> server =
        cluster::find_running_server(data_directory);
    if (!server || !server->is_postmaster) {
      throw Error({.code = ErrorCode::kServer,
                   .message = fmt::format("the server on \"{}\" ended before it was promoted",
                                          data_directory),
                   .detail = fmt::format("Its log tells why: \"{}\" if holdfast started it.",
                                         join_path(data_directory, kLogName)),
                   .hint = "Correct the cause, start the server and run the command again."});
    }
    // "ready" alone also means that read-only sessions are let in; pg_control knows that recovery
    // is over.
    if (server->file && server->file->status == "ready" &&
        cluster::read_control_file(data_directory).control.state == pg::ClusterState::kInProduction)
      return;
    if (!wait_for(stop, milliseconds(100))) {
      throw Error({.code = ErrorCode::kInterrupted,
                   .message = "waiting for the promotion was interrupted",
                   .detail = fmt::format("The server on \"{}\" goes on with it.", data_directory),
                   .hint = "Run the command again to have the recovery settings taken out."});
    }
  }
}

}  // namespace holdfast::restore
