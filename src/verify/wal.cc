#include "verify/wal.h"

#include <algorithm>

#include <fmt/core.h>

#include "base/mutex.h"
#include "pg/wal_reader.h"
#include "recovery/segment_copy.h"
#include "repo/wal_conflict.h"
#include "repo/wal_histories.h"

namespace holdfast::verify {
namespace {

// Segments that one worker reads one after the other.
constexpr size_t kChunkSegments = 32;

struct Chunk {
  pg::TimelineId timeline;
  const std::vector<ListedSegment>* all = nullptr;
  size_t first = 0, count = 0;  // in `all`
};

pg::WalFileName file_of(pg::SegmentName name) {
  return {.kind = pg::WalFileKind::kSegment, .segment = name};
}

class WalChecker {
 public:
  WalChecker(const Job& job, const repo::WalArchive& archive, const Inventory& inventory)
      : job_(job), archive_(archive), inventory_(inventory), histories_(archive) {}

  void run(const std::vector<Chunk>& chunks) {
    for_each_in_parallel(job_, chunks.size(),
                         [&] { return [this, &chunks](size_t index) { check(chunks[index]); }; });
  }
  WalDamage take() {
    MutexLock lock(mutex_);
    return std::move(damage_);
  }

 private:
  void check(const Chunk& chunk) {
    pg::WalReader reader(archive_.segment_size());
    // What the first must join.
    std::optional<repo::WalSegmentInfo> before = neighbour(chunk, chunk.first, -1);
    uint64_t expected = (*chunk.all)[chunk.first].number;
    for (size_t at = chunk.first; at < chunk.first + chunk.count; ++at) {
      const ListedSegment& segment = (*chunk.all)[at];
      const pg::SegmentName name{.timeline = chunk.timeline, .segment_number = segment.number};
      if (segment.number != expected) before.reset();
      expected = segment.number + 1;
      const bool is_amended = inventory_.amended.contains(name);
      const std::optional<std::string> served =
          is_amended ? archive_.served_object(file_of(name))
                     : std::optional(archive_.object_name(file_of(name)));
      if (is_amended) check_set_aside(name);
      if (!served) {  // all that there was is set aside
        before.reset();
        continue;
      }
      const std::string& object = *served;

      job_.rate.take(segment.bytes, job_.stop);
      repo::WalSegmentInfo info;
      bool joins = true;
      const std::optional<Error> error =
          unreadable_of([&] { info = check_segment(reader, name, segment.bytes, joins); });
      job_.reporter.amount(segment.bytes);
      // What expires while we look is no damage; where it leaves a hole, that is found.
      if (error && !job_.repository.store().info(object)) {
        before.reset();
        continue;
      }
      if (error) {
        job_.findings.add(object, *error);
        MutexLock lock(mutex_);
        damage_.bad.insert(name);
        before.reset();
        continue;
      }
      if (!joins || (before && !repo::joins(*before, info)))
        note_unjoined(name, object, before);
      else if (info.minimal_from.is_valid())
        note_minimal(name);  // and read each time, for nothing else tells
      else if (!is_amended)
        job_.good.add(object, segment.bytes);
      before = std::move(info);
    }
    // What must join the last.
    const std::optional<repo::WalSegmentInfo> after =
        neighbour(chunk, chunk.first + chunk.count - 1, 1);
    if (before && after && !repo::joins(*before, *after)) {
      const pg::SegmentName name{.timeline = chunk.timeline, .segment_number = expected};
      note_unjoined(name, archive_.object_name(file_of(name)), before);
    }
  }

  // What was whole when it was set aside may be served again.
  void check_set_aside(pg::SegmentName name) const {
    for (const repo::WalArchive::Content& content : archive_.contents(file_of(name))) {
      if (!content.aside || !content.aside->sha256) continue;
      if (const std::optional<Error> error =
              unreadable_of([&] { archive_.read_segment_of(content.object, [](ByteView) {}); }))
        job_.findings.add(content.object, *error);
    }
  }

  // The metadata of the segment beside the one at `index`, when it is archived and can be read.
  std::optional<repo::WalSegmentInfo> neighbour(const Chunk& chunk, size_t index,
                                                int direction) const {
    const std::vector<ListedSegment>& all = *chunk.all;
    const uint64_t number = all[index].number + static_cast<uint64_t>(int64_t{direction});
    const size_t there = index + static_cast<size_t>(int64_t{direction});
    if (there >= all.size() || all[there].number != number) return std::nullopt;
    std::optional<repo::WalSegmentInfo> info;
    // Damage of it is told by who reads it.
    unreadable_of([&] {
      info = archive_.segment_info(file_of({.timeline = chunk.timeline, .segment_number = number}));
    });
    return info;
  }

  void note_unjoined(pg::SegmentName name, const std::string& object,
                     const std::optional<repo::WalSegmentInfo>& before) {
    std::string detail = "Its first record is not the continuation of the segment before it.";
    if (before)
      detail += fmt::format(" That one was pushed from \"{}\" on host \"{}\".", before->pgdata,
                            before->host);
    job_.findings.add({.object = object,
                       .problem = "does not join",
                       .detail = std::move(detail),
                       .backups = {},
                       .files = {}});
    MutexLock lock(mutex_);
    damage_.unjoined.insert(name);
  }

  // What is behind it is reached by no backup from before.
  void note_minimal(pg::SegmentName name) {
    ++name.segment_number;
    MutexLock lock(mutex_);
    damage_.minimal.insert(name);
  }

  pg::WalSegmentSummary read_by(pg::WalReader& reader, pg::SegmentName name) const {
    pg::WalSegmentFeed feed(reader, name, archive_.segment_size().bytes());
    archive_.read_segment(file_of(name), [&](ByteView piece) { feed.take(piece); });
    return feed.finish();
  }

  void learn_minimal(repo::WalSegmentInfo& info, pg::SegmentName name) const {
    pg::WalSegmentScanner scanner(name, info.bytes);
    archive_.read_segment(file_of(name), [&](ByteView piece) { scanner.take(piece); });
    repo::learn_minimal(info, scanner.finish().events);
  }

  // Throws kCorrupt. `joins`: whether its records continue those that the reader was fed.
  repo::WalSegmentInfo check_segment(pg::WalReader& reader, pg::SegmentName name,
                                     uint64_t stored_bytes, bool& joins) const {
    const std::string object = archive_.object_name(file_of(name));
    std::optional<repo::WalSegmentInfo> found = archive_.segment_info(file_of(name));
    if (!found) repo::throw_damaged(object, "It disappeared while it was read.");
    if (!found->knows_minimal) learn_minimal(*found, name);
    const repo::WalSegmentInfo& info = *found;
    const pg::WalSegmentSize size = archive_.segment_size();
    if (info.file_name != pg::segment_file_name(name, size) || info.timeline != name.timeline ||
        !info.complete || info.bytes != size.bytes() || info.segment_bytes != size.bytes() ||
        info.start_lsn != pg::start_lsn(name.segment_number, size))
      repo::throw_damaged(object, fmt::format("Its metadata describe \"{}\", of {} bytes.",
                                              info.file_name, info.bytes));
    if (info.system_identifier != job_.lineage.system_identifier)
      repo::throw_damaged(object,
                          fmt::format("It is of the system {}; the lineage is of {}.",
                                      info.system_identifier, job_.lineage.system_identifier));
    pg::WalSegmentSummary summary = read_by(reader, name);
    auto reaches_end = [](const pg::WalSegmentSummary& s) {
      return s.stop == pg::WalStop::kSegmentEnd || s.stop == pg::WalStop::kSwitch ||
             s.stop == pg::WalStop::kNewerMajor;
    };
    if (!reaches_end(summary)) {
      // By itself, or only as the continuation of what came before?
      job_.rate.take(stored_bytes, job_.stop);
      pg::WalReader alone(size);
      pg::WalSegmentSummary by_itself = read_by(alone, name);
      joins = !reaches_end(by_itself);
      summary = std::move(by_itself);
    }
    if (histories_.is_foreign(info))
      repo::throw_damaged(
          object,
          fmt::format("It is of timeline {}: a server kept an old file under that name, for "
                      "reuse. \"holdfast wal set-aside {}\" takes it out of service.",
                      info.highest_page_timeline.value, info.file_name));
    const bool ends_here = !reaches_end(summary) && repo::is_whole(info, archive_, histories_);
    if (!reaches_end(summary) && !ends_here)
      repo::throw_damaged(object, fmt::format("Its records can be read up to {} only{}. {}",
                                              pg::to_string(summary.stop_lsn),
                                              info.readable_end == summary.stop_lsn
                                                  ? "; so it was when the server archived it"
                                                  : "",
                                              summary.stop_reason));
    if (summary.system_identifier != info.system_identifier ||
        summary.remaining_length_at_start != info.carried_in ||
        summary.remaining_length_at_end != info.carried_out ||
        summary.overwrites_record != info.starts_with_overwrite ||
        summary.first_record_lsn.value_or(pg::Lsn{}) != info.first_record ||
        summary.last_record_lsn.value_or(pg::Lsn{}) != info.last_record ||
        info.readable_end !=
            (ends_here ? summary.stop_lsn : pg::end_lsn(name.segment_number, size)))
      repo::throw_damaged(object, "Its metadata do not describe its content.");
    return info;
  }

  const Job& job_;
  const repo::WalArchive& archive_;
  const Inventory& inventory_;
  const repo::WalHistories histories_;
  Mutex mutex_;
  WalDamage damage_ HF_GUARDED_BY(mutex_);
};

}  // namespace

void check_unfinished(const Job& job, const repo::WalArchive& archive, pg::SegmentName segment,
                      const std::vector<Bytes16>& partials) {
  const std::vector<recovery::SegmentCopy> copies =
      recovery::find_unfinished(archive, segment, partials);
  const pg::WalSegmentSize size = archive.segment_size();
  for (const recovery::SegmentCopy& other : recovery::parted_from_first(archive, copies)) {
    const recovery::SegmentCopy& first = copies.front();
    const auto words_of = [&](const recovery::SegmentCopy& copy) {
      return fmt::format("{} (up to {}, from {})", recovery::file_name_of(copy, size),
                         pg::to_string(copy.info.readable_end), repo::pushed_by(copy.info));
    };
    const pg::WalFileName file{
        .kind = other.partial ? pg::WalFileKind::kPartial : pg::WalFileKind::kSegment,
        .segment = segment};
    const Bytes16* digest = other.partial ? &*other.partial : nullptr;
    job.findings.add(
        {.object = archive.served_object(file, digest).value_or(archive.object_name(file, digest)),
         .problem = std::string(kOtherWal),
         .detail = fmt::format(
             "{} and {} are copies of one segment, and neither goes on from the other: one is of "
             "another server, or of one that was rolled back. \"holdfast wal set-aside\" with the "
             "name of the one that is not meant takes it out of service; till then no recovery "
             "goes into that segment.",
             words_of(other), words_of(first)),
         .backups = {},
         .files = {}});
  }
}

WalDamage check_wal(
    const Job& job, const repo::WalArchive& archive, const Inventory& inventory,
    const std::function<bool(pg::TimelineId timeline, const ListedSegment&)>& is_wanted,
    uint64_t& segments_read, uint64_t& bytes_read) {
  std::vector<Chunk> chunks;
  uint64_t total = 0;
  for (const auto& [timeline, all] : inventory.segments) {
    for (size_t at = 0; at < all.size(); ++at) {
      if (!is_wanted(timeline, all[at]) &&
          !inventory.amended.contains({.timeline = timeline, .segment_number = all[at].number}))
        continue;
      total += all[at].bytes;
      ++segments_read;
      if (!chunks.empty() && chunks.back().timeline == timeline &&
          chunks.back().first + chunks.back().count == at && chunks.back().count < kChunkSegments)
        ++chunks.back().count;
      else
        chunks.push_back({.timeline = timeline, .all = &all, .first = at, .count = 1});
    }
  }
  bytes_read += total;
  job.reporter.phase("verifying WAL", total);
  WalChecker checker(job, archive, inventory);
  checker.run(chunks);
  return checker.take();
}

}  // namespace holdfast::verify
