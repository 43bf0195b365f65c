#include "archive/wal_take.h"

#include <algorithm>
#include <fcntl.h>
#include <optional>
#include <utility>

#include "archive/intake.h"
#include "archive/wal_files.h"
#include "base/error.h"
#include "base/file.h"
#include "base/task_group.h"

namespace holdfast::archive {
namespace {

class Taker {
 public:
  Taker(const TakeOptions& options, Intake& intake, TakeResult& result)
      : options_(options), intake_(intake), result_(result) {}

  void take(const std::string& name, const pg::WalFileName& file) {
    Context taking("archiving WAL file \"{}\"", name);
    if (file.kind == pg::WalFileKind::kHistory) return count(intake_.read(name));
    require_history(file.segment.timeline);
    OfferedFile offered = intake_.read(name);
    // Also where only a part was streamed: the backup is of another history.
    intake_.refuse_conflict(offered);
    count(std::move(offered));
  }

 private:
  void count(OfferedFile offered) {
    Intake::Accepted accepted = intake_.accept(std::move(offered));
    if (accepted.was_there)
      ++result_.already_archived;
    else
      result_.archived.push_back(std::move(accepted.name));
  }

  // The tar may have segments without it; the archive's is as good.
  void require_history(pg::TimelineId timeline) {
    if (timeline.value == 1) return;
    const std::string path = join_path(options_.directory, pg::history_file_name(timeline));
    if (stat_if_exists(path)) return;
    const std::optional<Bytes> archived = intake_.archive().read_file(
        {.kind = pg::WalFileKind::kHistory, .segment = {.timeline = timeline}});
    if (archived) write_file_durably(path, *archived);
  }

  const TakeOptions& options_;
  Intake& intake_;
  TakeResult& result_;
};

}  // namespace

TakeResult take_wal(const TakeOptions& options, const repo::Repository& repository,
                    Reporter& reporter, std::stop_token stop, const Clock& clock) {
  WalSource source = wal_source_of(join_path(options.directory, "unused"), "", "");
  const repo::Lineage lineage = find_lineage(repository, options.cluster, identify(source));
  const repo::WalArchive archive(repository, lineage);

  TakeResult result;
  Intake intake(archive, std::move(source), reporter, clock, {.compression = options.compression});
  Taker taker(options, intake, result);
  // All are listed before the first is taken, which may add a history file.
  for (const auto& [name, file] : list_wal_files(options.directory, archive.segment_size())) {
    throw_if_stopped(stop);
    const bool is_needed =
        file.kind == pg::WalFileKind::kHistory ||
        (file.kind == pg::WalFileKind::kSegment &&
         file.segment.segment_number >= pg::segment_of(options.from, archive.segment_size()));
    if (is_needed) taker.take(name, file);
  }
  return result;
}

}  // namespace holdfast::archive
