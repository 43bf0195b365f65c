#include "archive/wal_push.h"

#include <algorithm>
#include <utility>

#include <fmt/core.h>

#include "archive/intake.h"
#include "base/error.h"
#include "base/file.h"
#include "base/mutex.h"
#include "base/task_group.h"

namespace holdfast::archive {
namespace {

constexpr uint32_t kLargestSegmentAhead = uint32_t{64} << 20;

// Lets the workers of a batch commit one after the other.
class Turns {
 public:
  // Waits until all before `turn` were done; throws kInterrupted when they will not be.
  void wait(size_t turn, const std::stop_token& stop) {
    MutexLock lock(mutex_);
    changed_.wait(mutex_, stop, [&]() HF_REQUIRES(mutex_) { return next_ == turn; });
    throw_if_stopped(stop);
  }
  void done(size_t turn) {
    MutexLock lock(mutex_);
    HF_CHECK(next_ == turn);
    ++next_;
    changed_.notify_all();
  }

 private:
  Mutex mutex_;
  ConditionVariable changed_;
  size_t next_ HF_GUARDED_BY(mutex_) = 0;
};

class LookAhead {
 public:
  LookAhead(const PushOptions& options, Intake& intake, const OfferedFile& named,
            Reporter& reporter, std::stop_token stop, const Clock& clock)
      : options_(options),
        intake_(intake),
        reporter_(reporter),
        stop_(std::move(stop)),
        clock_(clock),
        previous_(named.segment),
        segment_(named.file.segment) {}

  std::vector<std::string> run() {
    const auto end = clock_.steady() + options_.look_ahead_time;
    bool go_on = true;
    while (go_on && left_ > 0 && !stop_.stop_requested() && clock_.steady() < end) {
      std::vector<OfferedFile> batch;
      go_on = attempt([&] { gather(batch); });
      // What was gathered before a refusal is good.
      go_on = attempt([&] { put(batch); }) && go_on && !batch.empty();
    }
    MutexLock lock(mutex_);
    return std::move(stored_);
  }

 private:
  // Beyond the four places of `catch`: the named file is safe, so whatever fails now is the
  // failure of the server's own call for that segment, and here only a warning.
  template <typename Work>
  bool attempt(Work work) {
    try {
      work();
      return true;
    } catch (const std::exception& error) {
      if (!stop_.stop_requested())
        reporter_.warning(fmt::format("looking ahead in \"{}\" ended: {}",
                                      intake_.source().wal_directory, error.what()));
      return false;
    }
  }

  std::string name_of(const pg::SegmentName& segment) const {
    return pg::segment_file_name(segment, intake_.archive().segment_size());
  }
  bool is_ready(const std::string& name) const {
    return stat_if_exists(
               fmt::format("{}/archive_status/{}.ready", intake_.source().wal_directory, name))
        .has_value();
  }

  // The next segments that are ready and chain to what is stored, up to one for each worker.
  void gather(std::vector<OfferedFile>& batch) {
    while (left_ > 0 && std::cmp_less(batch.size(), options_.jobs)) {
      ++segment_.segment_number;
      const std::string name = name_of(segment_);
      if (!is_ready(name)) {
        left_ = 0;
        return;
      }
      --left_;
      // One that is stored already is passed over unread: the server's own call compares it.
      if (std::optional<repo::WalSegmentInfo> there = intake_.archive().segment_info(
              {.kind = pg::WalFileKind::kSegment, .segment = segment_})) {
        if (!repo::joins(previous_, *there)) {
          left_ = 0;
          return;
        }
        previous_ = std::move(*there);
        continue;
      }
      OfferedFile offered = intake_.read(name);
      intake_.check_behind(offered, previous_);
      // A file that is not waiting any more may have been recycled while it was read.
      const std::string path = join_path(intake_.source().wal_directory, name);
      std::optional<struct stat> now = stat_if_exists(path);
      if (!is_ready(name) || !now || now->st_dev != offered.status.st_dev ||
          now->st_ino != offered.status.st_ino || now->st_size != offered.status.st_size) {
        left_ = 0;
        return;
      }
      previous_ = offered.segment;
      batch.push_back(std::move(offered));
    }
  }

  void put(const std::vector<OfferedFile>& batch) {
    if (batch.empty()) return;
    Turns turns;
    TaskGroup workers(stop_);
    for (size_t turn = 0; turn < batch.size(); ++turn)
      workers.start([&, turn](std::stop_token stop) {
        const OfferedFile& offered = batch[turn];
        Context putting("archiving WAL segment \"{}\" ahead", offered.name);
        bool is_ours =
            intake_.put(offered, options_.compression, 1, [&] { turns.wait(turn, stop); });
        turns.done(turn);
        if (!is_ours) return;
        MutexLock lock(mutex_);
        stored_.push_back(offered.name);
      });
    workers.wait();
  }

  const PushOptions& options_;
  Intake& intake_;
  Reporter& reporter_;
  std::stop_token stop_;
  const Clock& clock_;
  repo::WalSegmentInfo previous_;
  pg::SegmentName segment_;
  int left_ = options_.look_ahead;
  Mutex mutex_;
  std::vector<std::string> stored_ HF_GUARDED_BY(mutex_);
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

  // The file itself. Behind this it is durable.
  Intake intake(archive, std::move(source), reporter, clock);
  const OfferedFile offered = intake.read(name);
  PushResult result{.file = name, .lineage = lineage.name, .bytes = offered.content.size()};
  result.was_there = !intake.accept(offered, options.compression);

  // What waits behind it.
  if (!result.was_there && offered.file.kind == pg::WalFileKind::kSegment &&
      options.look_ahead > 0 && options.jobs > 0 &&
      lineage.wal_segment_bytes <= kLargestSegmentAhead)
    result.looked_ahead = LookAhead(options, intake, offered, reporter, stop, clock).run();
  return result;
}

}  // namespace holdfast::archive
