#include "backup/region_copier.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <fmt/format.h>

#include "base/error.h"
#include "base/task_group.h"
#include "pg/relation_map.h"

namespace holdfast::backup {
namespace {

constexpr size_t kPieceBytes = size_t{1} << 20;
constexpr std::chrono::milliseconds kRereadPause{10};
constexpr int kMapRounds = 5;
constexpr uint64_t kStatBlockBytes = 512;
constexpr uint64_t kZfsMagic = 0x2FC12FC1;

// Some versions of ZFS have told of holes where there was data just written; reading finds the
// zeros there just as well.
bool holes_can_be_trusted(const Fd& fd) {
  struct statfs file_system{};
  return fstatfs(fd.get(), &file_system) == 0 &&
         static_cast<uint64_t>(file_system.f_type) != kZfsMagic;
}

Time modified_at(const struct stat& status) {
  return Time(std::chrono::seconds(status.st_mtim.tv_sec) +
              Microseconds(status.st_mtim.tv_nsec / 1000));
}

struct stat stat_of(const Fd& fd, const std::string& path) {
  struct stat status{};
  if (fstat(fd.get(), &status) != 0) throw_errno("stat", path);
  return status;
}

// Fills `into`, less where the file ends before; nullopt when the medium cannot read it (EIO).
std::optional<size_t> pread_if_readable(const Fd& fd, std::span<std::byte> into, uint64_t offset,
                                        const std::string& path) {
  size_t done = 0;
  while (done < into.size()) {
    ssize_t got =
        pread(fd.get(), into.data() + done, into.size() - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EIO) return std::nullopt;
    if (got < 0) throw_errno("read", path);
    if (got == 0) break;
    done += static_cast<size_t>(got);
  }
  return done;
}

}  // namespace

RegionCopier::RegionCopier(const SourceFacts& source, repo::ExtentWriter& extents,
                           Reporter& reporter, std::stop_token stop)
    : source_(source),
      extents_(extents),
      reporter_(reporter),
      stop_(std::move(stop)),
      leaf_(extents, source.block_bytes),
      checker_(source.start_lsn, [this] { wait_for(stop_, kRereadPause); }),
      buffer_(kPieceBytes) {
  HF_CHECK(kPieceBytes % source.block_bytes == 0 && repo::kLeafBytes % kPieceBytes == 0);
}

bool RegionCopier::open(CopyItem& item) {
  std::string path = join_path(source_.data_directory, item.entry.path);
  std::optional<Fd> fd = open_if_exists(path, O_RDONLY | O_NOFOLLOW);
  if (!fd) {
    item.vanished = true;
    return false;
  }
  struct stat status = stat_of(*fd, path);
  posix_fadvise(fd->get(), 0, 0, POSIX_FADV_SEQUENTIAL);
  posix_fadvise(fd->get(), 0, 0, POSIX_FADV_NOREUSE);
  item.bytes = static_cast<uint64_t>(status.st_size);
  // Known now, not after everything has been read.
  if (item.bytes > repo::kMaxFileBytes)
    throw Error({.code = ErrorCode::kUnsupported,
                 .message = fmt::format("\"{}\" is too large for the repository", path),
                 .detail = fmt::format("It has {} bytes; at most {} are possible.", item.bytes,
                                       repo::kMaxFileBytes)});
  item.has_holes = static_cast<uint64_t>(status.st_blocks) * kStatBlockBytes < item.bytes &&
                   holes_can_be_trusted(*fd);
  item.uid = status.st_uid;
  item.gid = status.st_gid;
  item.entry.mode = status.st_mode & 07777;
  item.entry.modified = modified_at(status);
  item.fd = std::move(*fd);
  return true;
}

RegionResult RegionCopier::copy(CopyItem& item, uint64_t region) {
  const uint64_t start = region * repo::kLeafBytes;
  const uint64_t end = std::min(start + repo::kLeafBytes, item.bytes);
  const std::string& path = item.entry.path;
  faults_.clear();
  leaf_.begin(repo::file_tag(path), region);
  // Reading ahead would fill the cache with the zeros of holes.
  if (!item.has_holes)
    posix_fadvise(item.fd.get(), static_cast<off_t>(start), static_cast<off_t>(end - start),
                  POSIX_FADV_WILLNEED);

  uint64_t read_to = 0;
  for (uint64_t at = start; at < end;) {
    throw_if_stopped(stop_);
    if (item.has_holes) {
      at = skip_hole(item, at, end);
      if (at >= end) {
        // A hole as far as the file reaches: it was not read, but it is there.
        uint64_t length = static_cast<uint64_t>(stat_of(item.fd, path).st_size);
        if (length > start) read_to = std::min(end, length);
        break;
      }
    }
    size_t wanted = static_cast<size_t>(std::min<uint64_t>(kPieceBytes, end - at));
    size_t got = read_piece(item, at, std::span(buffer_).first(wanted));
    if (got == 0) break;
    size_t tail = got % source_.block_bytes;
    // A file cut within a block while it is read, of which a later region was read before: the
    // block is filled with zeros.
    if (tail != 0 && end < item.bytes) {
      size_t filled = got - tail + source_.block_bytes;
      std::fill(buffer_.begin() + static_cast<ptrdiff_t>(got),
                buffer_.begin() + static_cast<ptrdiff_t>(filled), std::byte{0});
      got = filled;
      tail = 0;
    }
    // The part of a page at the end is being appended right now; replay writes it whole.
    if (item.relation && source_.has_checksums)
      check_pages(item, *item.relation, at, std::span(buffer_).first(got - tail));
    else if (at == 0 && base_name(path) == pg::kRelationMapName)
      check_relation_map(item, std::span(buffer_).first(got));
    leaf_.add(at / source_.block_bytes, ByteView(buffer_).first(got));
    at += got;
    read_to = at;
    if (got < wanted) break;  // truncated meanwhile
  }

  item.map.add(extents_, leaf_.finish(), source_.block_bytes);
  reporter_.amount(end - start);
  return {.end = read_to, .faults = faults_};
}

void RegionCopier::complete(CopyItem& item) {
  item.fd.reset();
  item.entry.size = item.end;
  item.entry.location = item.map.finish(extents_, item.end, source_.block_bytes);
}

// As pread_some; what cannot be read is zeros and a fault.
size_t RegionCopier::read_piece(const CopyItem& item, uint64_t offset, std::span<std::byte> into) {
  const std::string& path = item.entry.path;
  if (std::optional<size_t> all = pread_if_readable(item.fd, into, offset, path)) return *all;
  size_t done = 0;
  while (done < into.size()) {
    std::span<std::byte> block =
        into.subspan(done, std::min<size_t>(source_.block_bytes, into.size() - done));
    std::optional<size_t> got = pread_if_readable(item.fd, block, offset + done, path);
    if (!got) {
      std::ranges::fill(block, std::byte{0});
      faults_.push_back({.page = narrow<uint32_t>((offset + done) / source_.block_bytes),
                         .reason = FaultReason::kUnreadable});
      got = block.size();
    }
    done += *got;
    if (*got < block.size()) break;  // truncated meanwhile
  }
  return done;
}

void RegionCopier::check_relation_map(const CopyItem& item, std::span<std::byte> content) {
  if (!faults_.empty()) return;  // it could not be read
  for (int round = 0; round < kMapRounds; ++round) {
    if (pg::is_whole_relation_map(content)) return;
    wait_for(stop_, kRereadPause);
    pread_if_readable(item.fd, content, 0, item.entry.path);
  }
  if (!pg::is_whole_relation_map(content))
    faults_.push_back({.page = 0, .reason = FaultReason::kChecksum});
}

// The next byte that may hold data, at the beginning of its block; `end` when there is none before.
uint64_t RegionCopier::skip_hole(const CopyItem& item, uint64_t from, uint64_t end) const {
  off_t data = lseek(item.fd.get(), static_cast<off_t>(from), SEEK_DATA);
  if (data < 0) return errno == ENXIO ? end : from;  // no more data; or the file system cannot tell
  uint64_t at = static_cast<uint64_t>(data);
  return std::min(std::max(from, at - at % source_.block_bytes), end);
}

void RegionCopier::check_pages(const CopyItem& item, const pg::RelationFile& relation,
                               uint64_t offset, std::span<std::byte> pages) {
  uint32_t first_in_file = narrow<uint32_t>(offset / source_.block_bytes);
  pg::BlockNumber first{relation.segment * source_.blocks_per_segment + first_in_file};
  auto reread = [&](uint32_t page, std::span<std::byte, pg::kPageBytes> into) {
    std::optional<size_t> got =
        pread_if_readable(item.fd, into, offset + uint64_t{page} * pg::kPageBytes, item.entry.path);
    // Unreadable by now: as faulty as it was.
    if (!got)
      std::ranges::copy(pages.subspan(size_t{page} * pg::kPageBytes, into.size()), into.begin());
    return !got || *got == into.size();
  };
  for (PageFault fault : checker_.check(pages, first, reread)) {
    fault.page += first_in_file;
    faults_.push_back(fault);
  }
}

}  // namespace holdfast::backup
