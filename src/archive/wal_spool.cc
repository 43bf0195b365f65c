#include "archive/wal_spool.h"

#include <algorithm>
#include <atomic>
#include <fcntl.h>
#include <utility>
#include <vector>

#include <fmt/core.h>

#include "base/error.h"
#include "base/file.h"
#include "base/task_group.h"
#include "cluster/data_directory.h"
#include "store/retry_store.h"

namespace holdfast::archive {
namespace {

constexpr std::string_view kMagic = "HFSPOOL1";
constexpr size_t kNameBytes = 24;
constexpr size_t kTrailerBytes = 8 + 16 + 8 + kNameBytes + 32;
constexpr std::string_view kFetching = ".fetching";
constexpr std::string_view kLock = "lock";
constexpr std::string_view kAsked = "asked";

Bytes make_trailer(const Spool::Owner& owner, const std::string& name, const Bytes32& sha256) {
  HF_CHECK(name.size() == kNameBytes);
  ByteWriter writer;
  writer.bytes(as_bytes(kMagic)).bytes(owner.repository_id.view()).u64(owner.system_identifier);
  writer.bytes(as_bytes(name)).bytes(sha256.view());
  HF_CHECK(writer.size() == kTrailerBytes);
  return writer.take();
}

}  // namespace

std::string default_spool_directory(const std::string& data_directory) {
  return join_path(data_directory, "pg_wal/holdfast_spool");
}

Spool::Spool(std::string directory, Owner owner)
    : directory_(std::move(directory)), owner_(owner) {}

std::string Spool::path(const std::string& name) const { return join_path(directory_, name); }
std::string Spool::lock_path() const { return path(std::string(kLock)); }

void Spool::prepare() {
  if (!is_directory(directory_)) make_directories(directory_, 0700);
}

std::optional<Bytes> Spool::take(const std::string& segment) {
  const std::string file = path(segment);
  const size_t segment_bytes = owner_.segment_size.bytes();
  std::optional<Bytes> bytes = read_if_exists(file, size_t{kLargestSpooledSegment} + kTrailerBytes);
  if (!bytes) return std::nullopt;
  // Whatever it is, it is not needed again: the server asks twice only for the last one.
  remove_file_if_exists(file);
  if (bytes->size() != segment_bytes + kTrailerBytes) return std::nullopt;
  const ByteView content = ByteView(*bytes).first(segment_bytes);
  const Bytes wanted = make_trailer(owner_, segment, repo::wal_content_sha256(content));
  if (!std::ranges::equal(ByteView(*bytes).subspan(segment_bytes), ByteView(wanted)))
    return std::nullopt;
  bytes->resize(segment_bytes);
  return bytes;
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
  Fd fd = open_file(temporary, O_WRONLY | O_CREAT | O_TRUNC);
  write_all(fd, as_bytes(segment), temporary);
  rename_path(temporary, path(std::string(kAsked)));
}

std::optional<std::string> Spool::asked() const {
  std::optional<Bytes> bytes = read_if_exists(path(std::string(kAsked)), 4096);
  if (!bytes) return std::nullopt;
  return std::string(as_text(*bytes));
}

bool Spool::fetch(const repo::WalArchive& archive, const pg::SegmentName& segment) {
  const std::string name = pg::segment_file_name(segment, owner_.segment_size);
  const std::string temporary = path(name + std::string(kFetching));
  const pg::WalFileName file{.kind = pg::WalFileKind::kSegment, .segment = segment};
  // A miss is not announced: who asks would wait for nothing.
  std::optional<repo::WalSegmentInfo> info = archive.segment_info(file);
  if (!info || info->bytes != owner_.segment_size.bytes()) return false;
  Fd fd = open_file(temporary, O_WRONLY | O_CREAT | O_TRUNC);
  if (!archive.read_segment(file, [&](ByteView piece) { write_all(fd, piece, temporary); })) {
    remove_file_if_exists(temporary);
    return false;
  }
  write_all(fd, make_trailer(owner_, name, info->sha256), temporary);
  rename_path(temporary, path(name));
  return true;
}

void Spool::keep_only(pg::TimelineId timeline, uint64_t first, uint64_t last) {
  for (const DirectoryEntry& entry : list_directory(directory_)) {
    std::string_view name = entry.name;
    if (name == kLock || name.starts_with(kAsked)) continue;
    if (name.ends_with(kFetching)) name.remove_suffix(kFetching.size());
    const pg::WalFileName file = pg::parse_wal_file_name(name, owner_.segment_size);
    if (file.kind == pg::WalFileKind::kSegment && file.segment.timeline == timeline &&
        file.segment.segment_number >= first && file.segment.segment_number <= last)
      continue;
    remove_file_if_exists(path(entry.name));
  }
}

void Spool::clear() { keep_only(pg::TimelineId{}, 1, 0); }

namespace {

// Fetches what is missing of [first, last], in order, up to the first that is not archived; how
// many.
uint64_t fetch_missing(Spool& spool, const repo::WalArchive& archive, pg::TimelineId timeline,
                       uint64_t first, uint64_t last, int jobs, std::stop_token stop) {
  std::atomic<uint64_t> next = first;
  std::atomic<uint64_t> fetched = 0;
  std::atomic<bool> is_at_end = false;
  TaskGroup workers(std::move(stop));
  for (int job = 0; job < jobs; ++job)
    workers.start([&](std::stop_token stopped) {
      while (!is_at_end && !stopped.stop_requested()) {
        const pg::SegmentName segment{.timeline = timeline, .segment_number = next++};
        if (segment.segment_number > last) return;
        if (spool.holds(pg::segment_file_name(segment, archive.segment_size()))) continue;
        if (spool.fetch(archive, segment))
          ++fetched;
        else
          is_at_end = true;
      }
    });
  workers.wait();
  return fetched;
}

}  // namespace

ReadAheadResult run_read_ahead(const ReadAheadOptions& options, store::Store& source,
                               const repo::KeySource& key, Reporter& /*reporter*/,
                               std::stop_token stop) {
  const std::string directory = options.spool_directory.empty()
                                    ? default_spool_directory(options.data_directory)
                                    : options.spool_directory;
  ReadAheadResult result;
  Context reading("reading WAL ahead into \"{}\"", directory);

  // One process to a spool.
  std::optional<FileLock> lock = FileLock::try_lock(join_path(directory, kLock));
  if (!lock) {
    result.was_busy = true;
    return result;
  }

  // The archive of the server that asks.
  std::unique_ptr<store::Store> patient = store::retrying(source, options.timeout, stop);
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
                          .segment_size = control.wal_segment_size});

  // Stay ahead of what is asked for, until nothing is.
  std::optional<std::string> last_asked;
  auto unasked_since = std::chrono::steady_clock::now();
  while (!stop.stop_requested() &&
         std::chrono::steady_clock::now() - unasked_since < options.idle_time) {
    std::optional<std::string> asked = spool.asked();
    if (asked && asked != last_asked) {
      last_asked = asked;
      unasked_since = std::chrono::steady_clock::now();
      const pg::WalFileName file = pg::parse_wal_file_name(*asked, archive.segment_size());
      if (file.kind != pg::WalFileKind::kSegment) continue;
      const uint64_t first = file.segment.segment_number + 1;
      const uint64_t last = file.segment.segment_number + narrow<uint64_t>(options.read_ahead);
      spool.keep_only(file.segment.timeline, first, last);
      const uint64_t fetched =
          fetch_missing(spool, archive, file.segment.timeline, first, last, options.jobs, stop);
      result.fetched += fetched;
    } else {
      wait_for(stop, options.poll_time);
    }
  }
  spool.clear();
  return result;
}

}  // namespace holdfast::archive
