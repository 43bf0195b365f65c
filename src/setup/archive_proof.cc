#include "setup/archive_proof.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include <fmt/format.h>

#include "base/error.h"
#include "base/task_group.h"
#include "cluster/log_follower.h"

namespace holdfast::setup {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kFirstPause{50};
constexpr milliseconds kLongestPause{500};
// As often as the archiver tries one file before it rests for a minute (NUM_ARCHIVE_RETRIES).
constexpr uint64_t kAttempts = 3;

pg::WalFileName segment_file(pg::TimelineId timeline, uint64_t number) {
  return {.kind = pg::WalFileKind::kSegment,
          .segment = {.timeline = timeline, .segment_number = number}};
}

class Proof {
 public:
  Proof(const ProofOptions& options, const cluster::ServerFacts& facts,
        cluster::Connection& connection, const repo::WalArchive& archive, const Clock& clock,
        const std::stop_token& stop)
      : options_(options),
        facts_(facts),
        connection_(connection),
        archive_(archive),
        clock_(clock),
        stop_(stop) {
    if (options.log_file)
      log_.emplace(*options.log_file, cluster::LogFollower::end_of(*options.log_file));
  }

  ProofResult run() {
    result_.before = read_backlog(connection_);
    first_status_ = cluster::read_archiver_status(connection_);
    const auto began = clock_.steady();
    complete_segment();
    result_.end = wait(began + options_.timeout);
    result_.took = std::chrono::duration_cast<Microseconds>(clock_.steady() - began);
    if (result_.end == ProofResult::End::kProven) check_content();
    result_.after = read_backlog(connection_);
    return std::move(result_);
  }

 private:
  void complete_segment();
  ProofResult::End wait(std::chrono::steady_clock::time_point deadline);
  std::optional<ProofResult::End> look();
  bool is_archived() const;
  bool is_ours_or_later(const std::string& name) const;
  void read_log();
  void check_content();

  const ProofOptions& options_;
  const cluster::ServerFacts& facts_;
  cluster::Connection& connection_;
  const repo::WalArchive& archive_;
  const Clock& clock_;
  const std::stop_token& stop_;
  std::optional<cluster::LogFollower> log_;
  cluster::ArchiverWordsParser parser_;
  cluster::ArchiverStatus first_status_;
  pg::WalFileName file_;
  ProofResult result_;
};

// The restore point makes sure that there is something to switch away from.
void Proof::complete_segment() {
  const std::array<cluster::Value, 1> name = {options_.restore_point};
  pg::Lsn point = pg::parse_lsn(
      connection_.query_row("SELECT pg_create_restore_point($1)", name).at(0).value_or(""));
  connection_.query("SELECT pg_switch_wal()");
  file_ =
      segment_file(facts_.timeline, pg::last_segment_before_end(point, facts_.wal_segment_size));
  result_.segment = pg::segment_file_name(file_.segment, facts_.wal_segment_size);
}

ProofResult::End Proof::wait(std::chrono::steady_clock::time_point deadline) {
  for (milliseconds pause = kFirstPause;; pause = std::min(pause * 2, kLongestPause)) {
    throw_if_stopped(stop_);
    if (is_archived()) return ProofResult::End::kProven;
    if (std::optional<ProofResult::End> end = look()) {
      // It may have come between the two questions.
      return is_archived() ? ProofResult::End::kProven : *end;
    }
    if (clock_.steady() >= deadline) {
      // The attempts so far are the reason, be they fewer than the archiver makes.
      return result_.failed_attempts > 0 ? ProofResult::End::kFails : ProofResult::End::kTimeout;
    }
    wait_for(stop_, pause);
  }
}

// Under a name that was taken and set aside it comes as a further content.
bool Proof::is_archived() const {
  archive_.look_again();
  return archive_.segment_info(file_).has_value();
}

// Whether there is anything left to wait for.
std::optional<ProofResult::End> Proof::look() {
  read_log();
  if (result_.words && result_.words->ended_archiver) return ProofResult::End::kArchiverDies;
  cluster::ArchiverStatus status = cluster::read_archiver_status(connection_);
  // The statistics can be reset meanwhile.
  auto since = [](uint64_t now, uint64_t before) { return now >= before ? now - before : now; };
  result_.archived = since(status.archived_count, first_status_.archived_count);
  result_.failed_attempts = since(status.failed_count, first_status_.failed_count);
  if (result_.failed_attempts > 0) result_.failing_file = status.last_failed_wal.value_or("");
  if (is_ours_or_later(status.last_archived_wal.value_or(""))) return ProofResult::End::kElsewhere;
  if (result_.failed_attempts >= kAttempts) return ProofResult::End::kFails;
  return std::nullopt;
}

// The archiver takes segments of a timeline in the order of their names.
bool Proof::is_ours_or_later(const std::string& name) const {
  constexpr size_t kTimelineDigits = 8;
  return name.size() == result_.segment.size() &&
         name.compare(0, kTimelineDigits, result_.segment, 0, kTimelineDigits) == 0 &&
         name >= result_.segment;
}

void Proof::read_log() {
  if (!log_) return;
  while (std::optional<std::string> line = log_->next_line(stop_, milliseconds(0)))
    if (std::optional<cluster::ArchiverWords> words = parser_.feed(*line))
      result_.words = std::move(words);
}

void Proof::check_content() {
  auto holds_the_point = [&](const std::optional<repo::WalSegmentInfo>& info) {
    return info && std::ranges::find(info->restore_points, options_.restore_point,
                                     &repo::WalRestorePoint::name) != info->restore_points.end();
  };
  // The record may begin in the segment before the one in which it ends.
  const uint64_t number = file_.segment.segment_number;
  std::optional<repo::WalSegmentInfo> before;
  if (number > 0) before = archive_.segment_info(segment_file(facts_.timeline, number - 1));
  std::optional<repo::WalSegmentInfo> here = archive_.segment_info(file_);
  const bool is_told =
      !before || !here || repo::count_moment_between(*before, *here, archive_.lineage().name.major);
  const bool is_unread = here && repo::is_unread(*here);
  if (is_told && !is_unread && !holds_the_point(here) && !holds_the_point(before))
    throw Error(
        {.code = ErrorCode::kCorrupt,
         .message = fmt::format("archived WAL segment \"{}\" does not hold what the server "
                                "has just written",
                                result_.segment),
         .detail = fmt::format("Restore point \"{}\" is not in it.", options_.restore_point),
         .hint = "Another server has archived under that name: a restored copy, or a "
                 "former primary. \"holdfast wal list\" shows what is archived."});
  if (!read_back(archive_, file_)) HF_CHECK(false);
}

}  // namespace

Backlog read_backlog(cluster::Connection& connection) {
  cluster::Row row = connection.query_row(
      "SELECT count(*), min(modification), min(name) FROM pg_ls_archive_statusdir() "
      "WHERE name LIKE '%.ready'");
  Backlog backlog;
  const std::string count = row.at(0).value_or("0");
  std::from_chars(count.data(), count.data() + count.size(), backlog.files);
  if (row.at(1)) backlog.oldest = parse_time(*row.at(1));
  backlog.first = row.at(2).value_or("");
  backlog.first.resize(std::min(backlog.first.size(), backlog.first.rfind(".ready")));
  return backlog;
}

ProofResult prove_archiving(const ProofOptions& options, const cluster::ServerFacts& facts,
                            cluster::Connection& connection, const repo::WalArchive& archive,
                            const Clock& clock, const std::stop_token& stop) {
  return Proof(options, facts, connection, archive, clock, stop).run();
}

bool read_back(const repo::WalArchive& archive, const pg::WalFileName& file) {
  uint64_t bytes = 0;
  if (!archive.read_segment(file, [&](ByteView piece) { bytes += piece.size(); })) return false;
  if (bytes == archive.segment_size().bytes()) return true;
  throw Error(
      {.code = ErrorCode::kCorrupt,
       .message = fmt::format("archived WAL segment \"{}\" is not whole",
                              pg::segment_file_name(file.segment, archive.segment_size())),
       .detail = fmt::format("It has {} of {} bytes.", bytes, archive.segment_size().bytes())});
}

}  // namespace holdfast::setup
