#include "archive/wal_salvage.h"

#include <algorithm>
#include <initializer_list>
#include <optional>
#include <utility>

#include <fmt/core.h>

#include "archive/intake.h"
#include "archive/wal_files.h"
#include "archive/wal_list.h"
#include "base/error.h"
#include "base/file.h"
#include "base/task_group.h"
#include "cluster/server_end.h"
#include "cluster/wal_directory.h"
#include "repo/wal_conflict.h"
#include "repo/wal_histories.h"

namespace holdfast::archive {
namespace {

// What a file's refusal is, and what is a failure of the whole: a store that does not work refuses
// everything. A file that the disk does not give, or that we may not read, is refused too.
constexpr std::initializer_list<ErrorCode> kRefusals = {
    ErrorCode::kConflict, ErrorCode::kCorrupt,     ErrorCode::kWrongCluster,
    ErrorCode::kNotFound, ErrorCode::kUnsupported, ErrorCode::kInvalidText};

// Further along than what was known: a newer timeline, or behind it on the same.
void extend(std::optional<SalvageResult::Reach>& reach, pg::TimelineId timeline,
            const repo::WalSegmentInfo& segment) {
  const bool is_newer = !reach || timeline > reach->timeline;
  if (!is_newer && (timeline != reach->timeline || segment.readable_end <= reach->end)) return;
  std::optional<Time> last_commit;
  if (segment.commits.count > 0)
    last_commit = segment.commits.last_time;
  else if (!is_newer)
    last_commit = reach->last_commit;
  reach = {.timeline = timeline,
           .end = segment.readable_end,
           .last_commit = last_commit,
           .missing_segments = 0};
}

// What the archive holds before anything is added to it.
std::optional<SalvageResult::Reach> archived_reach(const repo::WalArchive& archive) {
  std::optional<SalvageResult::Reach> reach;
  for (const pg::TimelineId timeline : archive.timelines()) {
    const std::optional<uint64_t> last = archive.last_segment(timeline);
    if (!last) continue;
    pg::SegmentName segment{.timeline = timeline, .segment_number = *last};
    if (std::optional<repo::WalSegmentInfo> info =
            archive.segment_info({.kind = pg::WalFileKind::kSegment, .segment = segment}))
      extend(reach, timeline, *info);
    ++segment.segment_number;
    for (const Bytes16& partial : archive.partials(segment))
      if (std::optional<repo::WalSegmentInfo> info = archive.segment_info(
              {.kind = pg::WalFileKind::kPartial, .segment = segment}, &partial))
        extend(reach, timeline, *info);
  }
  return reach;
}

// Segments in gaps, of the timeline that is the newest.
uint64_t count_missing(const SalvageOptions& options, const repo::Repository& repository,
                       const repo::LineageName& lineage, pg::TimelineId timeline,
                       Reporter& reporter, const std::stop_token& stop) {
  uint64_t missing = 0;
  for (const WalLineage& listed :
       list({.cluster = options.cluster, .lineage = lineage}, repository, reporter, stop).lineages)
    for (const WalTimeline& one : listed.timelines)
      if (one.timeline == timeline)
        for (const WalGap& gap : one.gaps) missing += gap.segment_count;
  return missing;
}

// The server has closed it and offered it to its archiver.
bool is_finished(const std::string& wal_directory, const std::string& name) {
  return lstat_if_exists(join_path(wal_directory, fmt::format("archive_status/{}.ready", name)))
      .has_value();
}

class Salvager {
 public:
  Salvager(Intake& intake, SalvageResult& result)
      : intake_(intake), histories_(intake.archive()), result_(result) {}

  void take(const std::string& name, const pg::WalFileName& file) {
    // One file that is refused does not keep the others from being saved, but those of a history
    // that is not the archive's.
    is_reading_ = true;
    const auto is_refusal = [this](const Error& error) {
      return (is_reading_ && error.is_unreadable()) ||
             std::ranges::find(kRefusals, error.code()) != kRefusals.end();
    };
    const std::optional<Error> error = error_of(is_refusal, [&] {
      if (file.kind == pg::WalFileKind::kSegment)
        take_segment(name, file);
      else
        push(name, file);
    });
    if (error && error->code() == ErrorCode::kConflict)
      result_.conflicts.push_back(
          {.from = {.timeline = file.segment.timeline,
                    .segment_number =
                        file.kind == pg::WalFileKind::kHistory ? 0 : file.segment.segment_number},
           .error = *error});
    if (error)
      result_.refused.push_back({.file = name,
                                 .reason = error->detail().empty()
                                               ? error->message()
                                               : error->message() + ": " + error->detail()});
  }

 private:
  void take_segment(const std::string& name, const pg::WalFileName& file) {
    const std::string& pg_wal = intake_.source().wal_directory;
    const pg::WalSegmentSize size = intake_.archive().segment_size();
    const std::optional<cluster::WalDirectoryFile> found =
        cluster::read_wal_file(pg_wal, name, size);
    std::optional<pg::Lsn> began = cluster::beginning_of(pg_wal, file.segment.timeline);
    if (!began) began = histories_.beginning_of(file.segment.timeline);
    if (!found || found->is_unused(size, began)) {
      ++result_.unused;
      return;
    }
    require_one_history(file);
    OfferedFile offered = intake_.read(name);
    // Ascending names end with the newest timeline.
    if (offered.segment.last_record_end.is_valid()) {
      result_.readable_end = offered.segment.last_record_end;
      result_.readable_timeline = file.segment.timeline;
    }
    // While somebody may still write it, a segment that ends early is not finished.
    const pg::Lsn end = pg::end_lsn(file.segment.segment_number, size);
    if (result_.server_doubt && offered.segment.readable_end != end)
      ++result_.unfinished;
    else
      push(std::move(offered));
  }

  // What is unfinished here is kept beside whatever is archived under its name, and no recovery
  // reads it where that is whole: then that must begin with it.
  bool parts_from_whole(const OfferedFile& offered) const {
    const repo::WalSegmentInfo& here = offered.segment;
    if (!is_wal(offered.file) || repo::reaches_its_end(here)) return false;
    bool is_alike = true;
    // What cannot be read there is amended by who has it whole.
    unreadable_of([&] {
      if (const std::optional<std::string> object =
              intake_.archive().served_object(whole_of(offered.file.segment)))
        is_alike = intake_.agrees_with(*object, offered, here.readable_end - here.start_lsn);
    });
    return !is_alike;
  }
  [[noreturn]] void throw_parted(const std::string& kept_as, pg::SegmentName segment) const {
    const repo::WalSegmentInfo there = intake_.archive().segment_info(whole_of(segment)).value();
    throw Error(
        {.code = ErrorCode::kConflict,
         .message =
             fmt::format("WAL segment \"{}\" is archived with another history", there.file_name),
         .detail = fmt::format("The archived one was pushed by {}; what this server wrote is kept "
                               "as \"{}\", which no recovery reads beside it",
                               repo::pushed_by(there), kept_as),
         .hint = repo::way_past(
             there.file_name, repo::owner_of(there),
             {.host = intake_.source().host, .data_directory = intake_.source().data_directory})});
  }
  static pg::WalFileName whole_of(pg::SegmentName segment) {
    return {.kind = pg::WalFileKind::kSegment, .segment = segment};
  }
  static bool is_wal(const pg::WalFileName& file) {
    return file.kind == pg::WalFileKind::kSegment || file.kind == pg::WalFileKind::kPartial;
  }

  void require_one_history(const pg::WalFileName& file) const {
    const auto parted = std::ranges::find_if(result_.conflicts, [&](const auto& conflict) {
      return conflict.from.timeline == file.segment.timeline &&
             conflict.from.segment_number <= file.segment.segment_number;
    });
    if (parted == result_.conflicts.end() || file.kind == pg::WalFileKind::kHistory) return;
    throw Error({.code = ErrorCode::kCorrupt,
                 .message = "it lies behind the place where the archive goes on otherwise",
                 .detail = parted->error.message() + "."});
  }

  void push(const std::string& name, const pg::WalFileName& file) {
    require_one_history(file);
    push(intake_.read(name));
  }

  void push(OfferedFile offered) {
    is_reading_ = false;
    const repo::WalSegmentInfo segment = offered.segment;
    const pg::SegmentName name = offered.file.segment;
    const bool parts = parts_from_whole(offered);
    Intake::Accepted accepted = intake_.accept(std::move(offered));
    if (accepted.partial) {
      result_.partials.push_back(*accepted.partial);
      if (parts) throw_parted(accepted.name, name);
    }
    if (accepted.was_there)
      ++result_.already_archived;
    else
      result_.pushed.push_back(std::move(accepted.name));
    if (segment.readable_end.is_valid()) extend(result_.reach, segment.timeline, segment);
  }

  Intake& intake_;
  const repo::WalHistories histories_;
  SalvageResult& result_;
  bool is_reading_ = true;  // the file at hand; else the store is at work
};

}  // namespace

SalvageResult salvage(const SalvageOptions& options, const repo::Repository& repository,
                      Reporter& reporter, std::stop_token stop, const Clock& clock) {
  Context salvaging("salvaging WAL from \"{}\"", options.wal_directory);

  // Whose WAL it is.
  WalSource source = wal_source_of(join_path(options.wal_directory, "unused"),
                                   options.data_directory, options.host);
  const repo::Lineage lineage = find_lineage(repository, options.cluster, identify(source));
  repo::WalArchive archive(repository, lineage);

  const std::vector<WalFile> files = list_wal_files(source.wal_directory, archive.segment_size());

  SalvageResult result;
  result.lineage = lineage.name;
  result.dry_run = options.dry_run;
  result.server_doubt = options.server_doubt;
  result.reach = archived_reach(archive);
  Intake intake(archive, source, reporter, clock,
                {.compression = options.compression, .on_paper = options.dry_run});
  Salvager salvager(intake, result);
  for (const auto& [name, file] : files) {
    throw_if_stopped(stop);
    if (options.server_doubt && !is_finished(source.wal_directory, name))
      ++result.unfinished;
    else
      salvager.take(name, file);
  }
  if (result.reach && !options.dry_run)
    result.reach->missing_segments =
        count_missing(options, repository, lineage.name, result.reach->timeline, reporter, stop);
  return result;
}

SalvageOptions salvage_options_for(const std::string& directory,
                                   const cluster::ServerWitness& witness,
                                   const std::stop_token& stop) {
  constexpr const char* kPurpose = "salvaging the rest of its WAL";
  const std::string path = absolute_path(directory);
  const std::string hint =
      "Name the data directory of the server that is gone, or its pg_wal, or a copy of either.";
  if (!is_directory(path)) {
    throw Error({.code = ErrorCode::kNotFound,
                 .message = fmt::format("there is no directory \"{}\"", path),
                 .detail = "",
                 .hint = hint});
  }
  SalvageOptions options;
  const std::string below = join_path(path, "pg_wal");
  if (is_directory(below)) {
    options.wal_directory = below;
    options.data_directory = path;
  } else {
    options.wal_directory = path;
    // Names of any cluster are legal for the smallest segments.
    const pg::WalSegmentSize smallest(uint64_t{1} << 20);
    if (list_wal_files(path, smallest).empty()) {
      throw Error({.code = ErrorCode::kNotFound,
                   .message = fmt::format("\"{}\" holds no WAL", path),
                   .detail = "It has neither a directory \"pg_wal\" nor a WAL file.",
                   .hint = hint});
    }
    if (base_name(path) == "pg_wal") options.data_directory = parent_path(path);
  }
  if (!options.data_directory.empty())
    options.server_doubt =
        cluster::why_server_may_run(options.data_directory, kPurpose, witness, stop);
  if (!options.server_doubt)
    options.server_doubt = cluster::why_server_may_write_wal(options.wal_directory, kPurpose);
  return options;
}

}  // namespace holdfast::archive
