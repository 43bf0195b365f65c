#include "archive/wal_push.h"

#include <algorithm>
#include <atomic>
#include <utility>

#include <fmt/core.h>

#include "archive/intake.h"
#include "archive/stored_ahead.h"
#include "base/error.h"
#include "base/file.h"
#include "base/mutex.h"
#include "base/process.h"
#include "base/task_group.h"
#include "cluster/data_directory.h"

namespace holdfast::archive {
namespace {

constexpr uint32_t kLargestSegmentAhead = uint32_t{64} << 20;
// How long what look-ahead has put needs no second look: as long as the server's own call for it is
// due. Until then it is as good as what a push has put this moment, which nobody reads again
// either; behind that it is a thing of the past like any other, and is read.
constexpr std::chrono::minutes kJustPut{10};

// The segments behind the named one, in order: each may be committed when the one before it was,
// and none behind one that was refused.
class Chain {
 public:
  explicit Chain(repo::WalSegmentInfo named) : last_(std::move(named)) {}

  // The segment before the one of `turn`, once that is archived. Throws kInterrupted when it never
  // will be.
  repo::WalSegmentInfo wait(size_t turn, const std::stop_token& stop) {
    MutexLock lock(mutex_);
    changed_.wait(mutex_, stop,
                  [&]() HF_REQUIRES(mutex_) { return next_ == turn || ended_ < turn; });
    throw_if_stopped(stop);
    if (next_ != turn)
      throw Error({.code = ErrorCode::kInterrupted, .message = "look-ahead has ended before"});
    return last_;
  }
  void pass(size_t turn, const repo::WalSegmentInfo& archived) {
    {
      MutexLock lock(mutex_);
      HF_CHECK(next_ == turn);
      ++next_;
      last_ = archived;
    }
    changed_.notify_all();
  }
  void end(size_t turn) {
    {
      MutexLock lock(mutex_);
      ended_ = std::min(ended_, turn);
    }
    changed_.notify_all();
  }
  bool has_ended_before(size_t turn) const {
    MutexLock lock(mutex_);
    return ended_ < turn;
  }

 private:
  static constexpr size_t kNever = SIZE_MAX;
  mutable Mutex mutex_;
  ConditionVariable changed_;
  size_t next_ HF_GUARDED_BY(mutex_) = 0;
  size_t ended_ HF_GUARDED_BY(mutex_) = kNever;
  repo::WalSegmentInfo last_ HF_GUARDED_BY(mutex_);
};

class LookAhead {
 public:
  LookAhead(const PushOptions& options, const repo::WalArchive& archive, const WalSource& source,
            const repo::WalSegmentInfo& named, Reporter& reporter, const Clock& clock)
      : options_(options),
        archive_(archive),
        intake_(archive, source, reporter, clock,
                {.compression = options.compression, .jobs = 1, .by_server = true}),
        reporter_(reporter),
        clock_(clock),
        end_(clock.steady() + options.look_ahead_time),
        named_{.timeline = named.timeline,
               .segment_number = pg::segment_of(named.start_lsn, archive.segment_size())},
        chain_(named) {}

  // What was stored, in order.
  std::vector<StoredAhead::File> run(const std::stop_token& parent) {
    TaskGroup workers(parent);
    for (int job = 0; job < std::min(options_.jobs, options_.look_ahead); ++job)
      workers.start([&](const std::stop_token& stop) { work(stop); });
    // Of a stop only what was stored until then is to be told.
    attempt([&] {
      workers.wait();
      return true;
    });
    return std::move(stored_);
  }

 private:
  void work(const std::stop_token& stop) {
    repo::SegmentPass pass(options_.compression, 1);
    for (;;) {
      const size_t turn = turns_++;
      const bool goes_on = !stop.stop_requested() && !chain_.has_ended_before(turn) &&
                           clock_.steady() < end_ && std::cmp_less(turn, options_.look_ahead) &&
                           attempt([&] { return archive_ahead(turn, pass, stop); });
      if (goes_on) continue;
      chain_.end(turn);
      return;
    }
  }

  // The named file is safe, so whatever fails now, memory too, is the failure of the server's own
  // call for that segment, and here only a warning: nothing at all may pass, so this catches
  // itself.
  template <typename Work>
  bool attempt(Work work) {
    try {
      return work();
    } catch (const Error& error) {
      if (error.code() == ErrorCode::kInterrupted) return false;
      warn(error);
    } catch (const std::exception& error) {
      warn(error);
    }
    return false;
  }
  void warn(const std::exception& error) {
    reporter_.warning(fmt::format("looking ahead in \"{}\" ended: {}",
                                  intake_.source().wal_directory, error.what()));
  }

  std::string name_of(const pg::SegmentName& segment) const {
    return pg::segment_file_name(segment, archive_.segment_size());
  }
  bool is_ready(const std::string& name) const {
    return stat_if_exists(
               fmt::format("{}/archive_status/{}.ready", intake_.source().wal_directory, name))
        .has_value();
  }

  // False: there is nothing to archive at that place, or nothing that goes on from the one before.
  bool archive_ahead(size_t turn, repo::SegmentPass& pass, const std::stop_token& stop) {
    const pg::SegmentName segment{.timeline = named_.timeline,
                                  .segment_number = named_.segment_number + 1 + turn};
    const std::string name = name_of(segment);
    Context archiving("archiving WAL segment \"{}\" ahead", name);
    if (!is_ready(name)) return false;

    // One that is stored already is passed over unread: the server's own call compares it.
    if (std::optional<repo::WalSegmentInfo> there =
            archive_.segment_info({.kind = pg::WalFileKind::kSegment, .segment = segment})) {
      if (!repo::joins(chain_.wait(turn, stop), *there)) return false;
      chain_.pass(turn, *there);
      return true;
    }

    const Time read_at = clock_.now();
    const OfferedFile offered = intake_.read(name, pass);
    // A file that is not waiting any more may have been recycled while it was read.
    const std::optional<struct stat> now = stat_if_exists(offered.path);
    if (!is_ready(name) || !now || !is_same_and_unchanged(offered.status, *now)) return false;
    // One that is short is for the server's own call.
    if (!repo::reaches_its_end(offered.segment)) return false;
    const bool is_ours = intake_.put(
        offered, 0, pass, [&] { intake_.check_behind(offered, chain_.wait(turn, stop)); });
    if (!is_ours && intake_.look(offered).kind != Intake::Standing::Kind::kThere) return false;
    if (is_ours)
      stored_.push_back(
          {.name = name, .status = offered.status, .read_at = read_at, .sha256 = offered.sha256});
    chain_.pass(turn, offered.segment);
    return true;
  }

  const PushOptions& options_;
  const repo::WalArchive& archive_;
  Intake intake_;
  Reporter& reporter_;
  const Clock& clock_;
  std::chrono::steady_clock::time_point end_;
  pg::SegmentName named_;
  std::atomic<size_t> turns_ = 0;
  Chain chain_;
  std::vector<StoredAhead::File> stored_;  // of the worker whose turn it is
};

}  // namespace

PushResult push(const PushOptions& options, const repo::Repository& repository, Reporter& reporter,
                std::stop_token stop, const Clock& clock) {
  const std::string name = base_name(options.path);
  Context pushing("archiving WAL file \"{}\"", options.path);

  // Whose WAL it is.
  WalSource source = wal_source_of(options.path, options.data_directory, options.host);
  const repo::Lineage lineage =
      find_lineage(repository, options.cluster, identify_file(source, name));
  repo::WalArchive archive(repository, lineage);

  const pg::WalFileName file = pg::parse_wal_file_name(name, archive.segment_size());
  PushResult result{.file = name, .lineage = lineage.name};

  // Said to whoever reads the server's log, for as long as it is so.
  if (!source.data_directory.empty() && cluster::has_left_recovery_settings(source.data_directory))
    reporter.warning(fmt::format(
        "the settings of a recovery that has ended are still in postgresql.auto.conf: a standby "
        "that is built from this server has them too, and ends at their target; run \"holdfast "
        "finish {}\"",
        shell_quote(source.data_directory)));

  // What an earlier call has taken along is known by the looks of its file.
  StoredAhead stored_ahead(source.wal_directory, repository.id());
  if (file.kind == pg::WalFileKind::kSegment)
    if (std::optional<Bytes32> sha256 = stored_ahead.find(name))
      if (std::optional<repo::WalSegmentInfo> there = archive.segment_info(file);
          there && there->sha256 == *sha256 && clock.now() - there->pushed < kJustPut) {
        result.bytes = there->bytes;
        result.was_there = true;
        return result;
      }

  // The file itself. Behind this it is durable.
  Intake intake(archive, source, reporter, clock,
                {.compression = options.compression, .by_server = true});
  OfferedFile offered = intake.read(name);
  result.bytes = offered.bytes;
  const repo::WalSegmentInfo named = offered.segment;
  const Intake::Accepted accepted = intake.accept(std::move(offered));
  result.file = accepted.name;
  result.was_there = accepted.was_there;

  // What waits behind it.
  if (!result.was_there && file.kind == pg::WalFileKind::kSegment && accepted.name == name &&
      options.look_ahead > 0 && options.jobs > 0 &&
      lineage.wal_segment_bytes <= kLargestSegmentAhead) {
    const std::vector<StoredAhead::File> stored =
        LookAhead(options, archive, source, named, reporter, clock).run(stop);
    for (const StoredAhead::File& one : stored) result.looked_ahead.push_back(one.name);
    stored_ahead.remember(stored);
  }
  return result;
}

}  // namespace holdfast::archive
