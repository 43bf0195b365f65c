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
    if (is_in_the_archive(offered)) {
      ++result_.already_archived;
      return;
    }
    if (is_whole(offered)) return count(offered);
    count(intake_.as_partial(std::move(offered)));
  }

 private:
  void count(const OfferedFile& offered) {
    if (intake_.accept(offered))
      result_.archived.push_back(offered.name);
    else
      ++result_.already_archived;
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

  // True also when the archived segment goes on where this one ends.
  bool is_in_the_archive(const OfferedFile& offered) {
    const std::optional<repo::WalSegmentInfo> there = intake_.archive().segment_info(offered.file);
    if (!there || there->sha256 == offered.sha256) return there.has_value();
    const pg::Lsn end = std::max(offered.segment.last_record_end, offered.segment.start_lsn);
    const uint64_t bytes = std::min<uint64_t>(end - offered.segment.start_lsn, offered.bytes);
    const Fd fd = open_file(offered.path, O_RDONLY);
    uint64_t at = 0;
    bool agrees = bytes > 0;
    Bytes here;
    intake_.archive().read_segment(offered.file, [&](ByteView piece) {
      const uint64_t compared = std::min<uint64_t>(piece.size(), bytes - std::min(at, bytes));
      here.resize(static_cast<size_t>(compared));
      agrees = agrees && pread_some(fd, here, at, offered.path) == compared &&
               std::ranges::equal(piece.first(here.size()), here);
      at += piece.size();
    });
    if (!agrees) intake_.is_archived(offered);  // throws, with both sides' names
    return agrees;
  }

  // Behind a switch a server leaves zeros (11 and later), as whoever cuts and pads one does: such a
  // segment is the server's, byte for byte.
  bool is_whole(const OfferedFile& offered) const {
    return offered.segment.readable_end ==
           pg::end_lsn(offered.file.segment.segment_number, intake_.archive().segment_size());
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
