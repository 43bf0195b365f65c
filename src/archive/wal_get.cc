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
#include "store/retry_store.h"

namespace holdfast::archive {
namespace {

using SteadyTime = std::chrono::steady_clock::time_point;

constexpr std::string_view kTemporary = ".holdfast";
constexpr std::string_view kSpooled = ".holdfast.spooled";
constexpr std::chrono::milliseconds kHolePause = std::chrono::seconds(1);
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
                .hint = "Recovery cannot go on past it. The file may still lie in the pg_wal "
                        "directory of the server that wrote it, or of "
                        "a standby: put it into the archive with \"holdfast wal push\"; or choose "
                        "a recovery target before it."});
}

class Getter {
 public:
  Getter(const GetOptions& options, const repo::WalArchive& archive, Reporter& reporter)
      : options_(options), archive_(archive), reporter_(reporter) {}

  // The answer, or the hole that was found.
  struct Answer {
    GetResult result;
    std::optional<Error> hole;
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

  uint32_t segment_bytes() const { return archive_.lineage().wal_segment_bytes; }
  std::string name_of(const pg::SegmentName& segment) const {
    return pg::segment_file_name(segment, archive_.segment_size());
  }

  // --- placing

  bool place_segment(const pg::WalFileName& file, const Bytes16* partial) {
    Placement placement(options_.destination, cluster::file_mode_in(options_.data_directory));
    if (!archive_.read_segment(file, [&](ByteView piece) { placement.write(piece); }, partial))
      return false;
    const bool fits =
        partial ? placement.written() <= segment_bytes() : placement.written() == segment_bytes();
    if (!fits)
      throw Error({.code = ErrorCode::kCorrupt,
                   .message = fmt::format("archived WAL segment \"{}\" has the wrong size",
                                          name_of(file.segment)),
                   .detail = fmt::format("It has {} bytes, not {}.", placement.written(),
                                         segment_bytes())});
    placement.fill_up(segment_bytes());
    placement.commit();
    return true;
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
    if (asked.value == 1) return absent();  // has none
    std::optional<pg::TimelineId> witness;
    for (pg::TimelineId timeline : archive_.timelines())
      if (timeline >= asked && !witness) witness = timeline;
    if (!witness) return absent();
    if (place_file(file)) return placed();  // it came before what was seen
    return found(hole(
        fmt::format("timeline history file \"{}\" is missing in the archive", options_.file_name),
        fmt::format("There are files of timeline {}, which came {} it.", witness->value,
                    *witness == asked ? "with" : "after")));
  }

  // --- segments

  Answer get_segment(const pg::SegmentName& segment) {
    const pg::WalFileName file{.kind = pg::WalFileKind::kSegment, .segment = segment};
    if (place_segment(file, nullptr)) return placed();

    // What lies before the timeline began is its parent's.
    if (segment.timeline.value > 1)
      if (std::optional<pg::TimelineHistory> history = history_of(segment.timeline)) {
        std::optional<pg::Lsn> start = history->start_of(segment.timeline);
        if (start && segment.segment_number < pg::segment_of(*start, archive_.segment_size()))
          return absent();
      }

    std::optional<std::string> later = later_on_timeline(segment);
    const Branches branches = branches_behind(segment);
    if (!later) later = branches.behind;
    if (later) {
      if (place_segment(file, nullptr)) return placed();  // it came before what was seen
      return found(hole(
          fmt::format("WAL segment \"{}\" is missing in the archive", name_of(segment)), *later));
    }
    if (branches.within) return absent();
    return get_tail(segment);
  }

  // A sentence about a later segment of the same timeline.
  std::optional<std::string> later_on_timeline(const pg::SegmentName& segment) const {
    std::optional<uint64_t> next;
    archive_.for_each_segment(segment.timeline, segment.segment_number + 1,
                              [&](uint64_t number, uint64_t) {
                                next = number;
                                return false;
                              });
    if (!next) return std::nullopt;
    return fmt::format("Later segments of its timeline are there, from \"{}\" on.",
                       name_of({.timeline = segment.timeline, .segment_number = *next}));
  }

  // Timelines that left this one behind the segment need it; one that left it within the segment
  // has a copy of its own.
  struct Branches {
    std::optional<std::string> behind;  // a sentence about one
    bool within = false;
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
      if (within)
        branches.within = true;
      else if (archive_.first_segment(timeline))
        branches.behind =
            fmt::format("Timeline {}, which is archived, left timeline {} behind it, at {}.",
                        timeline.value, segment.timeline.value, pg::to_string(*left));
    }
    return branches;
  }

  // The end of a timeline: a partial segment may hold its last transactions.
  Answer get_tail(const pg::SegmentName& segment) {
    const std::vector<Bytes16> digests = archive_.partials(segment);
    if (digests.empty()) return absent();
    const std::string name = pg::partial_file_name(segment, archive_.segment_size());
    if (digests.size() > 1) {
      reporter_.warning(
          fmt::format("there are {} different files \"{}\" in the archive; none of them is used",
                      digests.size(), name));
      return absent();
    }
    const pg::WalFileName file{.kind = pg::WalFileKind::kPartial, .segment = segment};
    std::optional<repo::WalSegmentInfo> info = archive_.segment_info(file, &digests[0]);
    std::optional<repo::WalSegmentInfo> before = archive_.segment_info(
        {.kind = pg::WalFileKind::kSegment,
         .segment = {.timeline = segment.timeline, .segment_number = segment.segment_number - 1}});
    if (!info) return absent();
    if (before && !repo::joins(*before, *info)) {
      reporter_.warning(
          fmt::format("\"{}\" does not join the segment before it and is not used", name));
      return absent();
    }
    if (!place_segment(file, &digests[0])) return absent();
    reporter_.note(fmt::format("serving \"{}\" as the end of its timeline, valid up to {}", name,
                               pg::to_string(info->readable_end)));
    Answer answer = placed();
    answer.result.from_partial = true;
    return answer;
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
    return place_segment({.kind = pg::WalFileKind::kPartial, .segment = segment}, &digests[0])
               ? placed()
               : absent();
  }

  const GetOptions& options_;
  const repo::WalArchive& archive_;
  Reporter& reporter_;
};

// Keeps on asking for a standby, whose server an error would end, until `end`; then it is told "not
// there", and asks again itself.
GetResult ask_for_standby(const GetOptions& options, const std::function<Getter::Answer()>& ask,
                          SteadyTime end, Reporter& reporter, const std::stop_token& stop) {
  Getter::Answer answer;
  // For a standby an outage is an answer.
  std::optional<Error> problem = error_of({ErrorCode::kStoreUnavailable}, [&] {
    for (;;) {
      answer = ask();
      if (!answer.hole) return;
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
          end - std::chrono::steady_clock::now());
      if (left <= left.zero()) return;
      wait_for(stop, std::min(left, kHolePause));
      throw_if_stopped(stop);
    }
  });
  if (!problem) problem = answer.hole;
  if (!problem) return answer.result;
  reporter.warning(fmt::format(
      "answering \"not there\" for \"{}\", for this server is a standby and will ask again: {}",
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

}  // namespace

GetResult get(const GetOptions& options, store::Store& source, const repo::KeySource& key,
              Reporter& reporter, std::stop_token stop) {
  Context getting("fetching WAL file \"{}\"", options.file_name);
  const SteadyTime end = std::chrono::steady_clock::now() + options.timeout;

  // Who asks. Without this nothing is answered.
  const pg::ControlFile control = cluster::read_control_file(options.data_directory).control;
  const pg::WalFileName file = pg::parse_wal_file_name(options.file_name, control.wal_segment_size);
  const bool may_spool = options.read_ahead > 0 && file.kind == pg::WalFileKind::kSegment &&
                         control.wal_segment_size.bytes() <= kLargestSpooledSegment;
  const std::string spool_directory = options.spool_directory.empty()
                                          ? default_spool_directory(options.data_directory)
                                          : options.spool_directory;
  const mode_t file_mode = cluster::file_mode_in(options.data_directory);
  auto spool_of = [&](const Bytes16& repository_id) {
    return Spool(spool_directory, {.repository_id = repository_id,
                                   .system_identifier = control.system_identifier,
                                   .segment_size = control.wal_segment_size,
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

  // The repository: what is in it, and what is proven not to be.
  auto ask_archive = [&]() -> Getter::Answer {
    std::unique_ptr<store::Store> patient = store::retrying(source, options.timeout, stop);
    const repo::Repository repository =
        repo::Repository::open(*patient, key, options.repository_id);
    if (!options.repository_id && place_spooled(repository.id()))
      return {.result = kFromSpool, .hole = std::nullopt};
    const repo::Lineage lineage = find_lineage(
        repository, options.cluster,
        {.system_identifier = control.system_identifier, .segment_size = control.wal_segment_size});
    const repo::WalArchive archive(repository, lineage);
    return Getter(options, archive, reporter).get(file);
  };
  GetResult result;
  if (options.repository_id && place_spooled(*options.repository_id)) {
    result = kFromSpool;
  } else if (stat_if_exists(join_path(options.data_directory, "standby.signal"))) {
    result = ask_for_standby(options, ask_archive, end, reporter, stop);
  } else if (options.until && lies_behind(*options.until, file, control.wal_segment_size)) {
    result = ask_behind_target(options, ask_archive, reporter);
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
      Process reader({.arguments = options.read_ahead_command, .new_session = true});
      reader.release();
    });
  return result;
}

}  // namespace holdfast::archive
