#include "archive/wal_spool.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <fcntl.h>
#include <set>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>
#include <vector>

#include <fmt/core.h>

#include "base/error.h"
#include "base/file.h"
#include "base/mutex.h"
#include "base/random.h"
#include "base/task_group.h"
#include "cluster/data_directory.h"
#include "cluster/wal_directory.h"
#include "codec/digest.h"
#include "store/retry_store.h"

namespace holdfast::archive {
namespace {

constexpr std::string_view kMagic = "HFSPOOL4";
constexpr size_t kNameBytes = 24;
constexpr size_t kDigestBytes = 16;
constexpr size_t kStampBytes = 8;
constexpr size_t kTrailerBytes = 8 + 16 + 8 + 16 + kNameBytes + kStampBytes + kDigestBytes;
constexpr std::string_view kFetching = ".fetching";
constexpr std::string_view kLock = cluster::kSpoolLock;
constexpr std::string_view kAsked = "asked";
constexpr size_t kCheckBytes = size_t{256} << 10;  // at a time: they stay in the processor's cache

uint64_t stamp_of(const timespec& time) {
  return static_cast<uint64_t>(time.tv_sec) << 32U | static_cast<uint64_t>(time.tv_nsec);
}

// A time that no write gives to a file, and no other file of the spool has.
timespec draw_time() {
  std::array<std::byte, 8> drawn{};
  system_random().fill(drawn);
  constexpr uint32_t kYear2004 = uint32_t{1} << 30U;
  return {.tv_sec = load_le<uint32_t>(drawn.data()) % kYear2004,
          .tv_nsec = load_le<uint32_t>(drawn.data() + 4) % 1'000'000'000};
}

}  // namespace

Bytes16 this_boot() {
  const std::string file = "/proc/sys/kernel/random/boot_id";
  std::string text = read_text_file(file);  // "5e1a2c04-…" and a line feed
  std::erase_if(text, [](char c) { return c == '-' || c == '\n'; });
  const std::optional<Bytes16> boot = parse_hex_array<16>(text);
  if (!boot)
    throw Error(
        {.code = ErrorCode::kUnsupported, .message = fmt::format("\"{}\" holds no boot id", file)});
  return *boot;
}

Bytes16 life_of(const cluster::LivingServer& server) {
  codec::Xxh3 digest;
  digest.update(this_boot().view());
  digest.update(as_bytes(server.id()));
  return digest.digest();
}

std::string default_spool_directory(const std::string& data_directory) {
  return fmt::format("{}/pg_wal/{}", data_directory, cluster::kSpoolDirectory);
}

Spool::Spool(std::string directory, Owner owner)
    : directory_(std::move(directory)), owner_(owner) {}

std::string Spool::path(const std::string& name) const { return join_path(directory_, name); }
std::string Spool::lock_path() const { return path(std::string(kLock)); }

void Spool::prepare() {
  if (!is_directory(directory_))
    make_directories(directory_, owner_.file_mode == 0640 ? 0750 : 0700);
}

Bytes Spool::make_trailer(const std::string& segment, uint64_t stamp) const {
  HF_CHECK(segment.size() == kNameBytes);
  ByteWriter writer;
  writer.bytes(as_bytes(kMagic)).bytes(owner_.repository_id.view()).u64(owner_.system_identifier);
  writer.bytes(owner_.life.view()).bytes(as_bytes(segment)).u64(stamp);
  HF_CHECK(writer.size() == kTrailerBytes - kDigestBytes);
  return writer.take();
}

// Whether `file` is a segment as fetch() leaves it; its content goes into `copy`, when given.
bool Spool::is_good(const Fd& file, const std::string& segment, const Fd* copy) const {
  const std::string name = path(segment);
  const uint64_t content_bytes = owner_.segment_size.bytes();
  struct stat status{};
  if (fstat(file.get(), &status) != 0) throw_errno("stat", name);
  if (!S_ISREG(status.st_mode) || status.st_size != narrow<off_t>(content_bytes + kTrailerBytes))
    return false;
  // It becomes the server's own file, which is the caller's.
  if (copy == nullptr && (status.st_uid != geteuid() || status.st_nlink != 1)) return false;

  Bytes trailer(kTrailerBytes - kDigestBytes);
  pread_some(file, trailer, content_bytes, name);
  const auto stamp = load_le<uint64_t>(trailer.data() + trailer.size() - kStampBytes);
  if (trailer != make_trailer(segment, stamp)) return false;
  if (copy == nullptr && stamp_of(status.st_mtim) == stamp) return true;

  Bytes16 digest;
  pread_some(file, digest.bytes, content_bytes + trailer.size(), name);
  codec::Xxh3 read_back;
  RawBytes buffer(kCheckBytes);
  for (uint64_t at = 0; at < content_bytes; at += kCheckBytes) {
    const std::span<std::byte> piece =
        buffer.span().first(std::min<uint64_t>(kCheckBytes, content_bytes - at));
    if (pread_some(file, piece, at, name) != piece.size()) return false;
    read_back.update(piece);
    if (copy != nullptr) write_all(*copy, piece, name);
  }
  read_back.update(trailer);
  return read_back.digest() == digest;
}

bool Spool::take(const std::string& segment, const std::string& to) {
  const std::string file = path(segment);
  // Whatever it is, from here it is nobody else's: who comes second finds nothing.
  const bool is_moved = rename(file.c_str(), to.c_str()) == 0;
  if (!is_moved && errno == ENOENT) return false;
  if (!is_moved && errno != EXDEV) throw_errno("rename", file);
  const std::optional<Fd> spooled = open_if_exists(is_moved ? to : file, O_RDWR | O_NOFOLLOW);
  if (!spooled) return false;

  bool is_taken = false;
  if (is_moved) {
    is_taken = is_good(*spooled, segment, nullptr);
    if (is_taken && ftruncate(spooled->get(), narrow<off_t>(owner_.segment_size.bytes())) != 0)
      throw_errno("cut", to);
  } else {
    const Fd copy = open_file(to, O_WRONLY | O_CREAT | O_EXCL, owner_.file_mode);
    is_taken = is_good(*spooled, segment, &copy);
    remove_file_if_exists(file);
  }
  if (!is_taken) remove_file_if_exists(to);
  return is_taken;
}

bool Spool::holds(const std::string& segment) const {
  return stat_if_exists(path(segment)).has_value();
}

bool Spool::has_reader() const {
  return stat_if_exists(lock_path()).has_value() && !FileLock::try_lock(lock_path());
}

bool Spool::is_coming(const std::string& segment) const {
  return stat_if_exists(path(segment + std::string(kFetching))).has_value() && has_reader();
}

void Spool::note_asked(const std::string& segment) {
  // Not durable, but whole: a reader sees the old name or the new one.
  const std::string temporary = path(std::string(kAsked) + ".new");
  Fd fd = open_file(temporary, O_WRONLY | O_CREAT | O_TRUNC, owner_.file_mode);
  write_all(fd, as_bytes(segment), temporary);
  rename_path(temporary, path(std::string(kAsked)));
}

std::optional<std::string> Spool::asked() const {
  std::optional<Bytes> bytes = read_if_exists(path(std::string(kAsked)), 4096);
  if (!bytes) return std::nullopt;
  return std::string(as_text(*bytes));
}

bool Spool::fetch(const repo::WalArchive& archive, const pg::SegmentName& segment,
                  const std::function<bool()>& may_go_on) {
  const auto go_on = [&] {
    if (!may_go_on())
      throw Error({.code = ErrorCode::kInterrupted, .message = "the server has ended"});
  };
  const std::string name = pg::segment_file_name(segment, owner_.segment_size);
  const std::string temporary = path(name + std::string(kFetching));
  const pg::WalFileName file{.kind = pg::WalFileKind::kSegment, .segment = segment};
  archive.look_again();
  // A miss is not announced: who asks would wait for nothing.
  std::optional<repo::WalSegmentInfo> info = archive.segment_info(file);
  if (!info || info->bytes != owner_.segment_size.bytes()) return false;
  // One that is short is for the call of the server itself to judge.
  if (!repo::reaches_its_end(*info) || info->highest_page_timeline < info->timeline) return false;
  // A file of its own: another process may still be writing the one that was there, when the spool
  // was removed under it.
  go_on();
  remove_file_if_exists(temporary);
  Fd fd = open_file(temporary, O_WRONLY | O_CREAT | O_EXCL, owner_.file_mode);
  codec::Xxh3 digest;
  auto take_piece = [&](ByteView piece) {
    digest.update(piece);
    go_on();
    write_all(fd, piece, temporary);
  };
  if (!archive.read_segment(file, take_piece)) {
    remove_file_if_exists(temporary);
    return false;
  }
  const timespec drawn = draw_time();
  const Bytes trailer = make_trailer(name, stamp_of(drawn));
  digest.update(trailer);
  write_all(fd, trailer, temporary);
  write_all(fd, digest.digest().view(), temporary);
  // Where a file cannot bear that time it will be read back.
  const std::array<timespec, 2> times = {timespec{.tv_sec = 0, .tv_nsec = UTIME_OMIT}, drawn};
  (void)futimens(fd.get(), times.data());
  close_file(std::move(fd), temporary);  // NFS tells here of what did not arrive
  go_on();
  rename_path(temporary, path(name));
  return true;
}

void Spool::keep_only(pg::TimelineId timeline, uint64_t first, uint64_t last) {
  for (const DirectoryEntry& entry : list_directory(directory_)) {
    const std::string_view name = entry.name;
    if (name == kLock || name.starts_with(kAsked) || name.ends_with(kFetching)) continue;
    const pg::WalFileName file = pg::parse_wal_file_name(name, owner_.segment_size);
    if (file.kind == pg::WalFileKind::kSegment && file.segment.timeline == timeline &&
        file.segment.segment_number >= first && file.segment.segment_number <= last)
      continue;
    remove_file_if_exists(path(entry.name));
  }
}

void Spool::remove_unfinished() {
  for (const DirectoryEntry& entry : list_directory(directory_))
    if (entry.name.ends_with(kFetching)) remove_file_if_exists(path(entry.name));
}

void Spool::clear() {
  keep_only(pg::TimelineId{}, 1, 0);
  remove_unfinished();
}

namespace {

using SteadyTime = std::chrono::steady_clock::time_point;

// What is to be fetched: the segments behind the one that was asked for last. Shared by all
// workers; it follows what is asked for with each of their calls.
class Window {
 public:
  // Both must outlive it.
  Window(Spool& spool, const ReadAheadOptions& options, pg::WalSegmentSize size)
      : spool_(spool), options_(options), segment_size_(size) {}

  // A segment that is missing in the spool, from now on for the caller to fetch; nullopt: none at
  // this moment.
  std::optional<pg::SegmentName> next() {
    MutexLock lock(mutex_);
    follow();
    if (!timeline_) return std::nullopt;
    for (uint64_t number = first_; number <= last_; ++number) {
      const pg::SegmentName segment{.timeline = *timeline_, .segment_number = number};
      if (on_the_way_.contains(segment) || had_.contains(segment) ||
          spool_.holds(pg::segment_file_name(segment, segment_size_)))
        continue;
      on_the_way_.insert(segment);
      return segment;
    }
    return std::nullopt;
  }

  void fetched(const pg::SegmentName& segment) {
    MutexLock lock(mutex_);
    on_the_way_.erase(segment);
    had_.insert(segment);
    ++fetched_;
    // When the window went past it meanwhile.
    if (timeline_) spool_.keep_only(*timeline_, first_, last_);
  }
  // Nothing behind it is fetched until something else was asked for.
  void not_archived(const pg::SegmentName& segment) {
    MutexLock lock(mutex_);
    on_the_way_.erase(segment);
    if (timeline_ == segment.timeline && segment.segment_number >= first_)
      last_ = std::min(last_, segment.segment_number - 1);
  }

  // Nothing was asked for any more; once so, for all workers.
  bool is_over() {
    MutexLock lock(mutex_);
    if (std::chrono::steady_clock::now() - unasked_since_ >= options_.idle_time) is_over_ = true;
    return is_over_;
  }
  uint64_t fetched() {
    MutexLock lock(mutex_);
    return fetched_;
  }

 private:
  void follow() HF_REQUIRES(mutex_) {
    std::optional<std::string> asked = spool_.asked();
    if (!asked || asked == asked_) return;
    asked_ = asked;
    unasked_since_ = std::chrono::steady_clock::now();
    const pg::WalFileName file = pg::parse_wal_file_name(*asked, segment_size_);
    if (file.kind != pg::WalFileKind::kSegment) return;
    timeline_ = file.segment.timeline;
    first_ = file.segment.segment_number + 1;
    last_ = file.segment.segment_number + narrow<uint64_t>(options_.read_ahead);
    spool_.keep_only(*timeline_, first_, last_);
    std::erase_if(had_, [this](const pg::SegmentName& segment) HF_REQUIRES(mutex_) {
      return segment.timeline != *timeline_ || segment.segment_number < first_ ||
             segment.segment_number > last_;
    });
  }

  Spool& spool_;
  const ReadAheadOptions& options_;
  const pg::WalSegmentSize segment_size_;

  Mutex mutex_;
  std::optional<std::string> asked_ HF_GUARDED_BY(mutex_);
  SteadyTime unasked_since_ HF_GUARDED_BY(mutex_) = std::chrono::steady_clock::now();
  std::optional<pg::TimelineId> timeline_ HF_GUARDED_BY(mutex_);
  uint64_t first_ HF_GUARDED_BY(mutex_) = 1;
  uint64_t last_ HF_GUARDED_BY(mutex_) = 0;
  std::set<pg::SegmentName> on_the_way_ HF_GUARDED_BY(mutex_);
  // Of the window: one that is not in the spool any more was taken, and is asked for next.
  std::set<pg::SegmentName> had_ HF_GUARDED_BY(mutex_);
  uint64_t fetched_ HF_GUARDED_BY(mutex_) = 0;
  bool is_over_ HF_GUARDED_BY(mutex_) = false;
};

}  // namespace

ReadAheadResult run_read_ahead(const ReadAheadOptions& options, store::Store& source,
                               const repo::KeySource& key, Reporter& /*reporter*/,
                               std::stop_token stop) {
  const std::string directory = options.spool_directory.empty()
                                    ? default_spool_directory(options.data_directory)
                                    : options.spool_directory;
  ReadAheadResult result;
  Context reading("reading WAL ahead into \"{}\"", directory);

  // For a server alone, and no longer than it lives.
  const std::optional<cluster::LivingServer> server =
      cluster::LivingServer::find(options.data_directory);
  if (!server) return result;

  // One process to a spool.
  std::optional<FileLock> lock = FileLock::try_lock(join_path(directory, kLock), true,
                                                    cluster::file_mode_in(options.data_directory));
  if (!lock) {
    result.was_busy = true;
    return result;
  }

  // The archive of the server that asks. Whatever waits for it ends with the server.
  std::stop_source over;
  const std::stop_callback stopped_too(stop, [&] { over.request_stop(); });
  std::unique_ptr<store::Store> patient =
      store::retrying(source, options.timeout, over.get_token());
  const repo::Repository repository = repo::Repository::open(*patient, key, options.repository_id);
  const pg::ControlFile control = cluster::read_control_file(options.data_directory).control;
  std::optional<repo::Lineage> lineage =
      repository.find_lineage(options.cluster, control.system_identifier);
  if (!lineage || lineage->wal_segment_bytes != control.wal_segment_size.bytes() ||
      lineage->wal_segment_bytes > kLargestSpooledSegment)
    return result;  // whoever asks is told why
  const repo::WalArchive archive(repository, *lineage);
  Spool spool(directory, {.repository_id = repository.id(),
                          .system_identifier = control.system_identifier,
                          .segment_size = control.wal_segment_size,
                          .life = life_of(*server),
                          .file_mode = cluster::file_mode_in(options.data_directory)});

  spool.remove_unfinished();  // of one that was killed

  // Stay ahead of what is asked for, until nothing is.
  Window window(spool, options, archive.segment_size());
  const auto lives = [&] { return server->lives(); };
  TaskGroup workers(over.get_token());
  workers.start([&](const std::stop_token& stopped) {
    while (lives() && !window.is_over() && wait_for(stopped, options.poll_time)) {
    }
    if (!lives()) over.request_stop();
  });
  for (int job = 0; job < options.jobs; ++job)
    workers.start([&](const std::stop_token& stopped) {
      while (!stopped.stop_requested() && lives() && !window.is_over()) {
        const std::optional<pg::SegmentName> segment = window.next();
        if (!segment)
          wait_for(stopped, options.poll_time);
        else if (spool.fetch(archive, *segment, lives))
          window.fetched(*segment);
        else
          window.not_archived(*segment);
      }
    });
  const std::optional<Error> ended = error_of({ErrorCode::kInterrupted}, [&] { workers.wait(); });
  result.fetched = window.fetched();
  if (!lives()) return result;
  if (ended) throw Error(*ended);
  spool.clear();
  return result;
}

}  // namespace holdfast::archive
