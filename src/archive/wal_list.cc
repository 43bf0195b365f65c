#include "archive/wal_list.h"

#include <algorithm>
#include <utility>

#include <fmt/core.h>

#include "base/error.h"
#include "base/task_group.h"
#include "recovery/wal_path.h"
#include "repo/wal_archive.h"
#include "repo/wal_line.h"

namespace holdfast::archive {
namespace {

// Builds one timeline's ranges while its objects pass by in order.
class TimelineReader {
 public:
  TimelineReader(const repo::WalArchive& archive, pg::TimelineId timeline,
                 const std::vector<pg::TimelineHistory>& histories, Reporter& reporter)
      : archive_(archive), histories_(histories), reporter_(reporter) {
    listed_.timeline = timeline;
  }

  WalTimeline read(const std::stop_token& stop) {
    if (const auto history =
            std::ranges::find(histories_, listed_.timeline, &pg::TimelineHistory::timeline);
        history != histories_.end() && !history->ancestors().empty()) {
      listed_.history = *history;
      expected_ = where_it_began();
    }
    attempt([&] {
      archive_.for_each_entry(listed_.timeline, 0, [&](const repo::WalArchive::Entry& entry) {
        throw_if_stopped(stop);
        take(entry);
        return true;
      });
    });
    finish_range();
    find_missing_end();
    find_other_history();
    return std::move(listed_);
  }

 private:
  // The first segment of a timeline is the one in which it began. nullopt where the WAL that led
  // there is not in the archive: then its beginning was expired with that, or was never offered.
  std::optional<uint64_t> where_it_began() const {
    const std::optional<pg::Lsn> start = listed_.history->start_of(listed_.timeline);
    if (!start || listed_.history->ancestors().empty()) return std::nullopt;
    const uint64_t number = pg::segment_of(*start, archive_.segment_size());
    const pg::TimelineId before =
        start->is_valid() ? listed_.history->timeline_at(*start - 1) : listed_.timeline;
    const std::optional<uint64_t> first_before = archive_.first_segment(before);
    return first_before && *first_before <= number ? std::optional(number) : std::nullopt;
  }

  // As a recovery finds it.
  void find_missing_end() {
    const auto history =
        std::ranges::find(histories_, listed_.timeline, &pg::TimelineHistory::timeline);
    if (!expected_ || history == histories_.end()) return;
    const recovery::WalPath path(archive_, *history, *expected_ - (listed_.ranges.empty() ? 0 : 1),
                                 recovery::left_at(histories_));
    const std::optional<recovery::WalPath::MissingEnd>& end = path.missing_end();
    if (!end || end->held_by || end->first.timeline != listed_.timeline) return;
    const uint64_t first = end->first.segment_number;
    const uint64_t last = pg::last_segment_before_end(end->written_to, archive_.segment_size());
    listed_.gaps.push_back({.first_segment = name_of(first),
                            .last_segment = name_of(last),
                            .segment_count = last + 1 - first});
  }

  void find_other_history() {
    for (const pg::WalFileName& file : archive_.amended_files()) {
      if (file.kind != pg::WalFileKind::kSegment || file.segment.timeline != listed_.timeline)
        continue;
      const uint64_t next = file.segment.segment_number + 1;
      const std::optional<repo::WalSegmentInfo> here = info_of(file, nullptr);
      const std::optional<repo::WalSegmentInfo> behind = info_of(segment_file(next), nullptr);
      if (here && behind && repo::find_earlier_line(archive_, *here, *behind))
        listed_.other_history.push_back(name_of(next));
    }
  }

  void take(const repo::WalArchive::Entry& entry) {
    switch (entry.file.kind) {
      case pg::WalFileKind::kSegment:
        take_segment(entry.file.segment.segment_number, entry.stored_bytes);
        break;
      case pg::WalFileKind::kPartial:
        take_partial(entry);
        break;
      default:
        ++listed_.backup_history_count;
    }
  }

  void take_segment(uint64_t number, uint64_t stored_bytes) {
    if (expected_ && number != *expected_) {
      finish_range();
      if (number > *expected_)
        listed_.gaps.push_back({.first_segment = name_of(*expected_),
                                .last_segment = name_of(number - 1),
                                .segment_count = number - *expected_});
    }
    if (!range_first_) range_first_ = number;
    stored_bytes_ += stored_bytes;
    range_last_ = number;
    expected_ = number + 1;
  }

  void take_partial(const repo::WalArchive::Entry& entry) {
    WalPartial partial{
        .segment = pg::partial_file_name(entry.file.segment, archive_.segment_size()),
        .digest = entry.partial.value_or(Bytes16{}),  // partial segments have one
        .stored_bytes = entry.stored_bytes,
        .readable_end = {},
        .host = {}};
    if (std::optional<repo::WalSegmentInfo> info = info_of(entry.file, &partial.digest)) {
      partial.readable_end = info->readable_end;
      partial.host = info->host;
    }
    listed_.partials.push_back(std::move(partial));
  }

  void finish_range() {
    if (!range_first_) return;
    const uint64_t first = *range_first_;
    const uint64_t last = range_last_;
    WalRange range{.first_segment = name_of(first),
                   .last_segment = name_of(last),
                   .segment_count = last - first + 1,
                   .stored_bytes = stored_bytes_,
                   .start_lsn = pg::start_lsn(first, archive_.segment_size()),
                   .end_lsn = pg::end_lsn(last, archive_.segment_size()),
                   .first_commit = {},
                   .last_commit = {},
                   .first_pushed = {},
                   .last_pushed = {}};
    // Segments at the ends may hold no commit; the next that does is looked for from both.
    uint64_t with_first = first;
    for (; with_first <= last && !range.first_commit; ++with_first)
      if (std::optional<repo::WalSegmentInfo> info = info_of(segment_file(with_first), nullptr)) {
        if (info->commits.count > 0) range.first_commit = info->commits.first_time;
        if (with_first == first) range.first_pushed = info->pushed;
      }
    for (uint64_t number = last;; --number) {
      if (std::optional<repo::WalSegmentInfo> info = info_of(segment_file(number), nullptr)) {
        if (info->commits.count > 0) range.last_commit = info->commits.last_time;
        if (number == last) range.last_pushed = info->pushed;
      }
      if (range.last_commit || !range.first_commit || number == first) break;
    }
    listed_.ranges.push_back(std::move(range));
    range_first_.reset();
    stored_bytes_ = 0;
  }

  std::string name_of(uint64_t number) const {
    return pg::segment_file_name({.timeline = listed_.timeline, .segment_number = number},
                                 archive_.segment_size());
  }
  pg::WalFileName segment_file(uint64_t number) const {
    return {.kind = pg::WalFileKind::kSegment,
            .segment = {.timeline = listed_.timeline, .segment_number = number}};
  }

  // A list shows what is there, also where one object cannot be read.
  template <typename Work>
  void attempt(const Work& work) const {
    if (const std::optional<Error> error = unreadable_of(work)) reporter_.warning(error->message());
  }
  std::optional<repo::WalSegmentInfo> info_of(const pg::WalFileName& file,
                                              const Bytes16* partial) const {
    std::optional<repo::WalSegmentInfo> info;
    attempt([&] { info = archive_.segment_info(file, partial); });
    return info;
  }

  const repo::WalArchive& archive_;
  const std::vector<pg::TimelineHistory>& histories_;
  Reporter& reporter_;
  WalTimeline listed_;
  std::optional<uint64_t> expected_;     // the number that would follow
  std::optional<uint64_t> range_first_;  // of the range that is being read
  uint64_t range_last_ = 0;
  uint64_t stored_bytes_ = 0;
};

}  // namespace

bool WalListing::has_gaps() const {
  return std::ranges::any_of(lineages, [](const WalLineage& lineage) {
    return std::ranges::any_of(lineage.timelines,
                               [](const WalTimeline& timeline) { return !timeline.gaps.empty(); });
  });
}

WalListing list(const ListOptions& options, const repo::Repository& repository, Reporter& reporter,
                std::stop_token stop) {
  WalListing listing;
  const auto tell = [&](const repo::LineageName& lineage, const Error& error) {
    if (options.lineage && lineage == *options.lineage) throw Error(error);
    reporter.warning(
        fmt::format("lineage {} is unreadable: {}", repo::to_string(lineage), error.message()));
  };
  for (const repo::Lineage& lineage : repository.lineages(options.cluster, tell)) {
    if (options.lineage && lineage.name != *options.lineage) continue;
    repo::WalArchive archive(repository, lineage);
    WalLineage listed{.lineage = lineage, .timelines = {}, .set_aside = {}};
    for (const repo::WalArchive::SetAside& one : archive.all_set_aside()) {
      std::string name = pg::to_string(one.file, archive.segment_size());
      if (one.partial) name += "." + to_hex(one.partial->view());
      listed.set_aside.push_back({.file = std::move(name),
                                  .number = one.content.number,
                                  .at = one.content.aside->at,
                                  .by = one.content.aside->by});
    }
    const std::vector<pg::TimelineHistory> histories =
        recovery::read_histories(archive, [&](pg::TimelineId, const std::optional<Error>& damage) {
          if (damage) reporter.warning(damage->message());
        });
    for (pg::TimelineId timeline : archive.timelines())
      listed.timelines.push_back(TimelineReader(archive, timeline, histories, reporter).read(stop));
    listing.lineages.push_back(std::move(listed));
  }
  if (!listing.lineages.empty()) return listing;
  if (!options.lineage) repository.throw_no_cluster(options.cluster);
  throw Error({.code = ErrorCode::kNotFound,
               .message = fmt::format("cluster \"{}\" has no lineage \"{}\"", options.cluster,
                                      repo::to_string(*options.lineage)),
               .detail = fmt::format("The repository is \"{}\".", repository.store().url()),
               .hint = "\"holdfast info\" shows what is in it."});
}

}  // namespace holdfast::archive
