// The order of the looks decides what is proven. Segments of a timeline arrive in order, so a
// segment that was absent when it was looked for and still is after a later one was found is a
// hole; one that is absent, with nothing later to be found afterwards, was not there when the
// server asked.
#include "archive/wal_get.h"

#include <algorithm>
#include <fcntl.h>
#include <utility>

#include <fmt/core.h>

#include "archive/intake.h"
#include "archive/wal_spool.h"
#include "base/error.h"
#include "base/file.h"
#include "base/process.h"
#include "base/task_group.h"
#include "cluster/data_directory.h"
#include "pg/timeline_history.h"
#include "repo/repository.h"
#include "repo/wal_archive.h"
#include "repo/wal_histories.h"
#include "store/retry_store.h"

namespace holdfast::archive {
namespace {

using SteadyTime = std::chrono::steady_clock::time_point;

constexpr std::string_view kTemporary = ".holdfast";
constexpr std::string_view kSpooled = ".holdfast.spooled";
constexpr std::chrono::milliseconds kHolePause = std::chrono::seconds(1);
// How many times as long as for anything else a standby's archive is waited for when it asks for a
// history: the answer may decide which timeline it begins.
constexpr int kHistoryPatience = 3;
constexpr std::chrono::milliseconds kComingPause = std::chrono::milliseconds(2);

// The file that the server will find at the destination: whole or not at all.
class Placement {
 public:
  // `mode`: of the file.
  Placement(std::string destination, mode_t mode)
      : destination_(std::move(destination)),
        mode_(mode),
        temporary_(destination_ + std::string(kTemporary)),
        spooled_(destination_ + std::string(kSpooled)) {}
  ~Placement() {
    if (!is_begun_) return;
    unlink(temporary_.c_str());
    unlink(spooled_.c_str());
  }
  Placement(const Placement&) = delete;
  Placement& operator=(const Placement&) = delete;

  void write(ByteView bytes) {
    begin();
    write_all(fd_, bytes, temporary_);
    written_ += bytes.size();
  }
  uint64_t written() const { return written_; }
  const std::string& file() const { return temporary_; }  // what was written, not yet named
  void fill_up(uint64_t size) {
    begin();
    set_size(size);
  }
  void commit() {
    begin();
    give_name(temporary_);
    is_begun_ = false;
  }

  // In two steps, the first of which may fail and be followed by all of the above.
  bool take(Spool& spool, const std::string& segment) { return spool.take(segment, spooled_); }
  void commit_taken() { give_name(spooled_); }

  // The names are always the same, so that nothing is left over for ever by one that was killed;
  // the server asks for one file at a time, and a second one to this destination is refused.
  void begin() {
    if (is_begun_) return;
    lock_ = FileLock::try_lock(temporary_);
    if (!lock_)
      throw Error({.code = ErrorCode::kBusy,
                   .message = fmt::format("another process is writing \"{}\"", temporary_),
                   .hint = "Two servers, or two calls, use one data directory."});
    is_begun_ = true;
    fd_ = open_file(temporary_, O_WRONLY | O_NOFOLLOW);
    // Only what one that was killed has left: a file that was cut to nothing, even if it was empty,
    // is written out by ext4 when it is closed.
    struct stat status{};
    if (fstat(fd_.get(), &status) != 0) throw_errno("stat", temporary_);
    if (fchmod(fd_.get(), mode_) != 0) throw_errno("change mode of", temporary_);
    if (status.st_size > 0) set_size(0);
    unlink(spooled_.c_str());
  }

 private:
  void set_size(uint64_t size) {
    if (ftruncate(fd_.get(), narrow<off_t>(size)) != 0) throw_errno("set the size of", temporary_);
  }
  // What an earlier call has left goes first: a file that takes the name of another one is written
  // out by ext4 before, which takes as long as all the rest.
  void give_name(const std::string& file) {
    remove_file_if_exists(destination_);
    rename_path(file, destination_);
  }

  std::string destination_;
  mode_t mode_;
  std::string temporary_;  // locked
  std::string spooled_;    // what came out of the spool
  std::optional<FileLock> lock_;
  bool is_begun_ = false;  // both are ours, and go
  Fd fd_;
  uint64_t written_ = 0;
};

Error hole(std::string message, std::string detail) {
  return Error({.code = ErrorCode::kCorrupt,
                .message = std::move(message),
                .detail = std::move(detail),
                .hint = "Recovery cannot go on past it. From the data directory of the server that "
                        "wrote it, once that is stopped, \"holdfast wal salvage DIR\" takes it; a "
                        "whole copy in the pg_wal of a standby, \"holdfast wal push FILE\". Or "
                        "choose a recovery target before it."});
}

// Whether both files begin with the same bytes.
bool begin_alike(const std::string& one, const std::string& other, uint64_t bytes) {
  constexpr size_t kPieceBytes = size_t{1} << 20;
  const Fd a = open_file(one, O_RDONLY), b = open_file(other, O_RDONLY);
  Bytes piece_a, piece_b;
  for (uint64_t at = 0; at < bytes; at += kPieceBytes) {
    const size_t length = static_cast<size_t>(std::min<uint64_t>(kPieceBytes, bytes - at));
    piece_a.resize(length);
    piece_b.resize(length);
    if (pread_some(a, piece_a, at, one) != length || pread_some(b, piece_b, at, other) != length ||
        piece_a != piece_b)
      return false;
  }
  return true;
}

class Getter {
 public:
  Getter(const GetOptions& options, const repo::WalArchive& archive, bool is_standby,
         Reporter& reporter)
      : options_(options), archive_(archive), is_standby_(is_standby), reporter_(reporter) {}

  // The answer, or the hole that was found.
  struct Answer {
    GetResult result;
    std::optional<Error> hole;
    bool is_lasting = false;  // the hole: waiting is no use
  };
  Answer get(const pg::WalFileName& file) {
    switch (file.kind) {
      case pg::WalFileKind::kSegment:
        return get_segment(file.segment);
      case pg::WalFileKind::kPartial:
        return get_partial(file.segment);
      case pg::WalFileKind::kHistory:
        return get_history(file);
      case pg::WalFileKind::kBackupHistory:
        return place_file(file) ? placed() : absent();
      case pg::WalFileKind::kOther:
        break;
    }
    throw Error(
        {.code = ErrorCode::kInvalidText,
         .message = fmt::format("\"{}\" is not the name of a WAL file", options_.file_name),
         .detail = fmt::format("Segments have {} bytes in this cluster.", segment_bytes()),
         .hint =
             "Write restore_command = 'holdfast wal get %f \"%p\"': the server names the file."});
  }

 private:
  static Answer placed() {
    return {.result = {.outcome = GetOutcome::kPlaced}, .hole = std::nullopt};
  }
  static Answer absent() {
    return {.result = {.outcome = GetOutcome::kAbsent}, .hole = std::nullopt};
  }
  static Answer found(Error hole) { return {.result = {}, .hole = std::move(hole)}; }
  static Answer lasting(Error hole) {
    return {.result = {}, .hole = std::move(hole), .is_lasting = true};
  }

  uint32_t segment_bytes() const { return archive_.lineage().wal_segment_bytes; }
  std::string name_of(const pg::SegmentName& segment) const {
    return pg::segment_file_name(segment, archive_.segment_size());
  }

  // --- placing

  // nullopt: it is absent.
  std::optional<repo::WalSegmentInfo> read_into(Placement& placement, const pg::WalFileName& file,
                                                const Bytes16* partial) const {
    std::optional<repo::WalSegmentInfo> info =
        archive_.read_segment(file, [&](ByteView piece) { placement.write(piece); }, partial);
    if (!info) return std::nullopt;
    const bool fits =
        partial ? placement.written() <= segment_bytes() : placement.written() == segment_bytes();
    if (!fits)
      throw Error({.code = ErrorCode::kCorrupt,
                   .message = fmt::format("archived WAL segment \"{}\" has the wrong size",
                                          name_of(file.segment)),
                   .detail = fmt::format("It has {} bytes, not {}.", placement.written(),
                                         segment_bytes())});
    placement.fill_up(segment_bytes());
    return info;
  }
  // nullopt: the segment is not archived.
  std::optional<Answer> place_segment(const pg::SegmentName& segment) {
    Placement placement(options_.destination, cluster::file_mode_in(options_.data_directory));
    const std::optional<repo::WalSegmentInfo> info =
        read_into(placement, {.kind = pg::WalFileKind::kSegment, .segment = segment}, nullptr);
    if (!info) return std::nullopt;
    if (std::optional<Answer> other = instead_of(*info, segment, placement)) return other;
    placement.commit();
    return placed();
  }

  // The server renames what it gets over its own file of that name, and takes the end of its
  // records for the end of WAL. So what is archived of a segment may be less than nothing.
  std::optional<Answer> instead_of(const repo::WalSegmentInfo& info, const pg::SegmentName& segment,
                                   const Placement& placement) {
    const std::string name = name_of(segment);
    if (is_foreign(info))
      return found(Error(
          {.code = ErrorCode::kCorrupt,
           .message = fmt::format("archived WAL segment \"{}\" is of timeline {}", name,
                                  info.highest_page_timeline.value),
           .detail = "A server kept an old file under that name, for reuse.",
           .hint = fmt::format("\"holdfast wal set-aside {}\" takes it out of service.", name)}));
    if (repo::reaches_its_end(info)) return std::nullopt;
    if (own_copy_goes_on(info, segment, placement)) {
      reporter_.warning(fmt::format(
          "answering \"not there\" for \"{}\": the archived one can be read up to {} only, and the "
          "server's own goes on behind that",
          name, pg::to_string(info.readable_end)));
      return absent();
    }
    // A standby has other sources for the rest; a target may lie in what there is.
    if (!is_standby_ && options_.until != name &&
        !repo::is_whole(info, archive_, repo::WalHistories(archive_))) {
      std::optional<Witness> later = later_on_timeline(segment);
      if (!later) later = branches_behind(segment).behind;
      if (later)
        return found(hole(fmt::format("archived WAL segment \"{}\" can be read only up to {}", name,
                                      pg::to_string(info.readable_end)),
                          later->told));
    }
    reporter_.warning(
        fmt::format("\"{}\" can be read only up to {}", name, pg::to_string(info.readable_end)));
    return std::nullopt;
  }
  bool is_foreign(const repo::WalSegmentInfo& info) const {
    if (info.highest_page_timeline >= info.timeline) return false;
    const std::optional<pg::TimelineHistory> history = history_of(info.timeline);
    return history && repo::is_foreign(info, *history->start_of(info.timeline));
  }
  // Whether the server's pg_wal has the same and more.
  bool own_copy_goes_on(const repo::WalSegmentInfo& archived, const pg::SegmentName& segment,
                        const Placement& placement) const {
    const std::string own = join_path(options_.data_directory, "pg_wal/" + name_of(segment));
    const std::optional<Fd> fd = open_if_exists(own, O_RDONLY);
    struct stat status{};
    if (!fd || fstat(fd->get(), &status) != 0 ||
        std::cmp_not_equal(status.st_size, segment_bytes()))
      return false;
    std::optional<repo::WalSegmentInfo> info;
    // What is no segment goes on nowhere.
    damage_of([&] {
      info = repo::SegmentPass({}, 1).describe(
          segment_bytes(),
          [&](std::span<std::byte> into, uint64_t offset) { pread_some(*fd, into, offset, own); },
          {.kind = pg::WalFileKind::kSegment, .segment = segment}, {}, {});
    });
    return info && info->readable_end > archived.readable_end &&
           begin_alike(own, placement.file(), archived.readable_end - archived.start_lsn);
  }
  bool place_file(const pg::WalFileName& file) {
    std::optional<Bytes> content = archive_.read_file(file);
    if (!content) return false;
    Placement placement(options_.destination, cluster::file_mode_in(options_.data_directory));
    placement.write(*content);
    placement.commit();
    return true;
  }

  // --- histories

  static pg::WalFileName history_file(pg::TimelineId timeline) {
    return {.kind = pg::WalFileKind::kHistory, .segment = {.timeline = timeline}};
  }
  std::optional<pg::TimelineHistory> history_of(pg::TimelineId timeline) const {
    std::optional<Bytes> content = archive_.read_file(history_file(timeline));
    if (!content) return std::nullopt;
    return pg::parse_timeline_history(timeline, as_text(*content));
  }

  Answer get_history(const pg::WalFileName& file) {
    if (place_file(file)) return placed();
    const pg::TimelineId asked = file.segment.timeline;
    std::optional<pg::TimelineId> witness;
    for (pg::TimelineId timeline : archive_.timelines())
      if (timeline >= asked && !witness) witness = timeline;
    if (!witness) return absent();
    if (place_file(file)) return placed();  // it came before what was seen
    Answer answer = found(Error(
        {.code = ErrorCode::kCorrupt,
         .message = fmt::format("timeline history file \"{}\" is missing in the archive",
                                options_.file_name),
         .detail = fmt::format("There are files of timeline {}, which came {} it.", witness->value,
                               *witness == asked ? "with" : "after"),
         .hint = fmt::format(
             "Archive it with \"holdfast wal push\" from the pg_wal of a server that was on that "
             "timeline; or, where no server ever was, take what is archived of it out of service: "
             "\"holdfast wal set-aside {}\".",
             archive_.first_file(asked).value_or(options_.file_name))}));
    answer.is_lasting = has_stood(archive_.object_name(history_file(*witness)));
    const std::optional<uint64_t> first = archive_.first_segment(*witness);
    if (!answer.is_lasting && first)
      answer.is_lasting = has_stood(
          archive_.object_name({.kind = pg::WalFileKind::kSegment,
                                .segment = {.timeline = *witness, .segment_number = *first}}));
    return answer;
  }

  // WAL is archived in its order, and histories first of all. What is missing beside a later object
  // that has been there for longer than anybody waits is not on its way.
  bool has_stood(const std::string& object) const {
    const std::optional<store::ObjectInfo> info = archive_.store().info(object);
    return info && system_clock().now() - info->modified > options_.timeout;
  }

  // --- segments

  Answer get_segment(const pg::SegmentName& segment) {
    if (std::optional<Answer> answer = place_segment(segment)) return *std::move(answer);

    // The recovery ends in it, and who laid that has laid what there is of it.
    if (options_.until == name_of(segment) && !archive_.partials(segment).empty()) {
      tell_of_partial(segment);
      return absent();
    }

    // What lies before the timeline began is its parent's.
    if (segment.timeline.value > 1)
      if (std::optional<pg::TimelineHistory> history = history_of(segment.timeline)) {
        std::optional<pg::Lsn> start = history->start_of(segment.timeline);
        if (start && segment.segment_number < pg::segment_of(*start, archive_.segment_size()))
          return absent();
      }

    std::optional<Witness> later = later_on_timeline(segment);
    const Branches branches = branches_behind(segment);
    if (!later) later = branches.behind;
    if (later) {
      // It came before what was seen?
      if (std::optional<Answer> answer = place_segment(segment)) return *std::move(answer);
      Answer answer =
          found(hole(fmt::format("WAL segment \"{}\" is missing in the archive", name_of(segment)),
                     later->told));
      answer.is_lasting = is_standby_ && has_stood(later->object);
      return answer;
    }
    if (branches.unheld && !branches.held && archive_.partials(segment).empty())
      return lasting(
          hole(fmt::format("WAL segment \"{}\" is missing in the archive", name_of(segment)),
               *branches.unheld));
    if (!branches.within && !archive_.partials(segment).empty()) tell_of_partial(segment);
    return absent();
  }

  // What a server left unfinished is no segment: it may be older than what the asking server has in
  // its own pg_wal, and would take the place of that. `restore` lays it itself.
  void tell_of_partial(const pg::SegmentName& segment) {
    reporter_.note(
        fmt::format("\"{}\" is archived as .partial only, which is not served", name_of(segment)));
  }

  // What proves that a segment was written: a sentence, and the object that it tells of.
  struct Witness {
    std::string told;
    std::string object;
  };

  // What lies behind it on the same timeline: a segment, an unfinished one too, or the history file
  // of a backup that began in it or later.
  std::optional<Witness> later_on_timeline(const pg::SegmentName& segment) const {
    std::optional<repo::WalArchive::Entry> next;
    archive_.for_each_entry(segment.timeline, segment.segment_number,
                            [&](const repo::WalArchive::Entry& entry) {
                              if (entry.file.segment.segment_number > segment.segment_number ||
                                  entry.file.kind == pg::WalFileKind::kBackupHistory)
                                next = entry;
                              return !next;
                            });
    if (!next) return std::nullopt;
    const std::string object =
        archive_.object_name(next->file, next->partial ? &*next->partial : nullptr, next->number);
    if (next->file.kind == pg::WalFileKind::kBackupHistory)
      return Witness{fmt::format("A backup began in \"{}\", as its history file tells.",
                                 name_of(next->file.segment)),
                     object};
    return Witness{fmt::format("Later segments of its timeline are there, from \"{}\" on.",
                               name_of(next->file.segment)),
                   object};
  }

  // A timeline that left this one behind the segment needs it, and proves that it was written,
  // whether any of its own WAL is archived yet or not. One that left it within the segment has a
  // copy of its own.
  struct Branches {
    std::optional<Witness> behind;  // the history of one
    bool within = false;
    std::optional<std::string> unheld;  // a sentence: one has no archived copy, and WAL was there
    bool held = false;                  // a copy is
  };
  Branches branches_behind(const pg::SegmentName& segment) const {
    Branches branches;
    for (pg::TimelineId timeline : archive_.history_timelines()) {
      if (timeline <= segment.timeline) continue;
      std::optional<pg::TimelineHistory> history = history_of(timeline);
      std::optional<pg::Lsn> left =
          history ? history->switch_point_of(segment.timeline) : std::nullopt;
      if (!left || *left < pg::start_lsn(segment.segment_number, archive_.segment_size())) continue;
      const bool within = *left < pg::end_lsn(segment.segment_number, archive_.segment_size());
      const std::string told =
          fmt::format("Timeline {} left timeline {} {} it, at {}.", timeline.value,
                      segment.timeline.value, within ? "in" : "behind", pg::to_string(*left));
      if (!within) branches.behind = Witness{told, archive_.object_name(history_file(timeline))};
      if (!within) continue;
      branches.within = true;
      if (holds({.timeline = timeline, .segment_number = segment.segment_number}))
        branches.held = true;
      else if (*left > pg::start_lsn(segment.segment_number, archive_.segment_size()))
        branches.unheld = told;
    }
    return branches;
  }
  bool holds(const pg::SegmentName& segment) const {
    bool held = false;
    archive_.for_each_segment(segment.timeline, segment.segment_number,
                              [&](uint64_t number, uint64_t) {
                                held = number == segment.segment_number;
                                return false;
                              });
    return held;
  }

  // Asked for by that name, which no server does.
  Answer get_partial(const pg::SegmentName& segment) {
    const std::vector<Bytes16> digests = archive_.partials(segment);
    if (digests.empty()) return absent();
    if (digests.size() > 1)
      throw Error({.code = ErrorCode::kConflict,
                   .message = fmt::format("there are {} different files \"{}\" in the archive",
                                          digests.size(), options_.file_name),
                   .hint = "\"holdfast wal list\" shows them."});
    Placement placement(options_.destination, cluster::file_mode_in(options_.data_directory));
    if (!read_into(placement, {.kind = pg::WalFileKind::kPartial, .segment = segment},
                   digests.data()))
      return absent();
    placement.commit();
    return placed();
  }

  const GetOptions& options_;
  const repo::WalArchive& archive_;
  const bool is_standby_;
  Reporter& reporter_;
};

// Keeps on asking for a standby, whose server an error would end, until `end`; then it is told "not
// there", and asks again itself. `before_giving_up` may throw, where the archive was not reached.
GetResult ask_for_standby(const GetOptions& options, const std::function<Getter::Answer()>& ask,
                          SteadyTime end, const std::function<void()>& before_giving_up,
                          Reporter& reporter, const std::stop_token& stop) {
  Getter::Answer answer;
  std::optional<Error> problem;
  for (;;) {
    // For a standby an outage is an answer.
    problem = error_of({ErrorCode::kStoreUnavailable}, [&] { answer = ask(); });
    if (!problem && !answer.hole) return answer.result;
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        end - std::chrono::steady_clock::now());
    if (left <= left.zero() || (!problem && answer.is_lasting)) break;
    wait_for(stop, std::min(left, kHolePause));
    throw_if_stopped(stop);
  }
  if (problem) before_giving_up();
  reporter.warning(fmt::format(
      "answering \"not there\" for \"{}\", for this server is a standby and will ask again: {}",
      options.file_name, problem ? problem->message() : answer.hole->message()));
  return {.outcome = GetOutcome::kAbsent};
}

// What a standby itself has seen of that timeline or a later one: a sentence.
std::optional<std::string> witness_at_hand(const GetOptions& options,
                                           const std::string& spool_directory,
                                           const pg::WalFileName& history,
                                           pg::WalSegmentSize size) {
  for (const std::string& directory :
       {join_path(options.data_directory, "pg_wal"), spool_directory}) {
    if (!is_directory(directory)) continue;
    for (const DirectoryEntry& entry : list_directory(directory)) {
      const pg::WalFileName file = pg::parse_wal_file_name(entry.name, size);
      if (file.kind != pg::WalFileKind::kOther && file.segment.timeline >= history.segment.timeline)
        return fmt::format("There is \"{}\".", join_path(directory, entry.name));
    }
  }
  return std::nullopt;
}

// A standby that is promoted asks for the history of each id behind its own, and takes the first
// that is not there. It cannot be told from one that only looks for a newer timeline, so an answer
// without the archive is the last resort: what the server has seen itself speaks against it.
void require_unseen(const GetOptions& options, const std::string& spool_directory,
                    const pg::WalFileName& history, pg::WalSegmentSize size, Reporter& reporter) {
  // The server looks there itself.
  if (stat_if_exists(join_path(options.data_directory, "pg_wal/" + options.file_name))) return;
  if (const std::optional<std::string> seen =
          witness_at_hand(options, spool_directory, history, size))
    throw Error({.code = ErrorCode::kStoreUnavailable,
                 .message = fmt::format("whether there is a timeline history file \"{}\" cannot be "
                                        "told without the archive",
                                        options.file_name),
                 .detail = *seen + " A server that is promoted now would take that timeline's id.",
                 .hint = "Make the repository reachable."});
  reporter.warning(
      fmt::format("that timeline {} is free is not proven: if this server is promoted now and the "
                  "archive knows that timeline, its WAL will not be archived",
                  history.segment.timeline.value));
}

// Of a history that the server has itself: "not there" makes it read its own (xlogarchive.c,
// RestoreArchivedFile, PostgreSQL 13 to 18). One that is being promoted, whose standby.signal is
// gone by then, would end at any other answer.
GetResult ask_for_own_history(const GetOptions& options, const std::function<Getter::Answer()>& ask,
                              Reporter& reporter) {
  Getter::Answer answer;
  std::optional<Error> problem = error_of({ErrorCode::kStoreUnavailable}, [&] { answer = ask(); });
  if (!problem) problem = answer.hole;
  if (!problem) return answer.result;
  reporter.warning(fmt::format("answering \"not there\" for \"{}\", for the server has it: {}",
                               options.file_name, problem->message()));
  return {.outcome = GetOutcome::kAbsent};
}

// Behind the segment of the recovery target, where nothing is needed: the server asks only because
// it reads ahead.
GetResult ask_behind_target(const GetOptions& options, const std::function<Getter::Answer()>& ask,
                            Reporter& reporter) {
  Getter::Answer answer;
  // Damage that the recovery has no use for must not end it.
  std::optional<Error> problem = unreadable_of([&] { answer = ask(); });
  if (!problem) problem = answer.hole;
  if (!problem) return answer.result;
  reporter.warning(
      fmt::format("answering \"not there\" for \"{}\", which lies behind the recovery target: {}",
                  options.file_name, problem->message()));
  return {.outcome = GetOutcome::kAbsent};
}

bool lies_behind(const std::string& until, const pg::WalFileName& file, pg::WalSegmentSize size) {
  const pg::WalFileName last = pg::parse_wal_file_name(until, size);
  if (last.kind != pg::WalFileKind::kSegment)
    throw Error({.code = ErrorCode::kUsage,
                 .message = fmt::format("\"{}\" is not the name of a WAL segment", until),
                 .hint = "--until names the segment in which the recovery target lies."});
  return file.kind == pg::WalFileKind::kSegment &&
         file.segment.segment_number > last.segment.segment_number;
}

bool is_data_directory(const std::string& directory) {
  return stat_if_exists(join_path(directory, pg::kControlFilePath)).has_value();
}

}  // namespace

std::string asking_data_directory(const std::string& destination, const std::string& configured) {
  const std::string folder = parent_path(absolute_path(destination));
  if (base_name(folder) == "pg_wal") return parent_path(folder);
  if (is_data_directory(".") || configured.empty() || !is_data_directory(configured)) return ".";
  return configured;
}

GetResult get(const GetOptions& options, store::Store& source, const repo::KeySource& key,
              Reporter& reporter, std::stop_token stop) {
  Context getting("fetching WAL file \"{}\"", options.file_name);
  const SteadyTime begun = std::chrono::steady_clock::now();
  const SteadyTime end = begun + options.timeout;

  // Who asks. Without this nothing is answered.
  const pg::ControlFile control = cluster::read_control_file(options.data_directory).control;
  const pg::WalFileName file = pg::parse_wal_file_name(options.file_name, control.wal_segment_size);
  // Timeline 1 has none. A server that is promoted asks for its parent's all the same, and ends if
  // an outage is the answer.
  const bool is_history = file.kind == pg::WalFileKind::kHistory;
  if (is_history && file.segment.timeline.value == 1) return {.outcome = GetOutcome::kAbsent};
  const bool has_own =
      is_history &&
      stat_if_exists(join_path(options.data_directory, "pg_wal/" + options.file_name)).has_value();

  // For a server alone: pg_rewind, and whoever asks for a stopped one, works in the same pg_wal.
  std::optional<cluster::LivingServer> server;
  if (options.read_ahead > 0 && file.kind == pg::WalFileKind::kSegment &&
      control.wal_segment_size.bytes() <= kLargestSpooledSegment)
    server = cluster::LivingServer::find(options.data_directory);
  const bool may_spool = server.has_value();
  const std::string spool_directory = options.spool_directory.empty()
                                          ? default_spool_directory(options.data_directory)
                                          : options.spool_directory;
  const mode_t file_mode = cluster::file_mode_in(options.data_directory);
  auto spool_of = [&](const Bytes16& repository_id) {
    return Spool(spool_directory, {.repository_id = repository_id,
                                   .system_identifier = control.system_identifier,
                                   .segment_size = control.wal_segment_size,
                                   .life = life_of(*server),
                                   .file_mode = file_mode});
  };
  // A spool that cannot be used makes a recovery slow, never wrong.
  auto spooling = [&](auto work) {
    if (!may_spool) return;
    if (const std::optional<Error> error = error_of(work))
      reporter.warning(fmt::format("reading ahead is not possible: {}", error->message()));
  };

  // What was fetched ahead, or is on its way.
  auto place_spooled = [&](const Bytes16& repository_id) {
    bool is_there = false;
    spooling([&] {
      const Spool spool = spool_of(repository_id);
      while (!(is_there = spool.holds(options.file_name)) && spool.is_coming(options.file_name) &&
             std::chrono::steady_clock::now() < end && wait_for(stop, kComingPause)) {
      }
      if (!is_there) is_there = spool.holds(options.file_name);  // it came at the last moment
    });
    if (!is_there) return false;
    Placement placement(options.destination, file_mode);
    placement.begin();
    bool is_taken = false;
    spooling([&] {
      Spool spool = spool_of(repository_id);
      is_taken = placement.take(spool, options.file_name);
    });
    if (is_taken) placement.commit_taken();
    return is_taken;
  };
  constexpr GetResult kFromSpool{.outcome = GetOutcome::kPlaced, .from_spool = true};

  const bool is_standby =
      stat_if_exists(join_path(options.data_directory, "standby.signal")).has_value();
  // The repository: what is in it, and what is proven not to be.
  auto ask_archive = [&]() -> Getter::Answer {
    std::unique_ptr<store::Store> patient = store::retrying(source, options.timeout, stop);
    std::optional<repo::Repository> opened;
    // An empty mount point is what an outage looks like.
    const std::optional<Error> absent_repository = error_of(
        [&](const Error& error) {
          return (is_standby || has_own) && error.code() == ErrorCode::kNotFound;
        },
        [&] { opened = repo::Repository::open(*patient, key, options.repository_id); });
    if (absent_repository)
      throw Error({.code = ErrorCode::kStoreUnavailable,
                   .message = absent_repository->message(),
                   .detail = absent_repository->detail(),
                   .hint = absent_repository->hint()});
    const repo::Repository& repository = *opened;
    if (!options.repository_id && place_spooled(repository.id()))
      return {.result = kFromSpool, .hole = std::nullopt};
    const repo::Lineage lineage = find_lineage(
        repository, options.cluster,
        {.system_identifier = control.system_identifier, .segment_size = control.wal_segment_size});
    const repo::WalArchive archive(repository, lineage);
    return Getter(options, archive, is_standby, reporter).get(file);
  };
  GetResult result;
  if (options.repository_id && place_spooled(*options.repository_id)) {
    result = kFromSpool;
  } else if (is_standby) {
    result = ask_for_standby(
        options, ask_archive, is_history ? begun + kHistoryPatience * options.timeout : end,
        [&] {
          if (is_history)
            require_unseen(options, spool_directory, file, control.wal_segment_size, reporter);
        },
        reporter, stop);
  } else if (options.until && lies_behind(*options.until, file, control.wal_segment_size)) {
    result = ask_behind_target(options, ask_archive, reporter);
  } else if (has_own) {
    result = ask_for_own_history(options, ask_archive, reporter);
  } else {
    Getter::Answer answer = ask_archive();
    if (answer.hole) throw Error(*answer.hole);
    result = answer.result;
  }

  // From here the server has its file; the next ones may be fetched.
  if (result.outcome == GetOutcome::kPlaced && !options.read_ahead_command.empty())
    spooling([&] {
      Spool spool = spool_of(options.repository_id.value_or(Bytes16{}));
      spool.prepare();
      spool.note_asked(options.file_name);
      if (spool.has_reader()) return;
      Process reader({.arguments = options.read_ahead_command,
                      .directory = options.data_directory,
                      .output = "/dev/null",
                      .error = "/dev/null",
                      .new_session = true});
      reader.release();
    });
  return result;
}

}  // namespace holdfast::archive
