// The page cache: the file is read ahead (WILLNEED, SEQUENTIAL) and marked NOREUSE, so that from
// Linux 6.3 on reading does not make its pages look busy and they leave the cache before those that
// the server works with. DONTNEED is not used: it would also throw out the pages that the server
// had in the cache before, and the kernel does not tell which those were.
#include "backup/file_source.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <fmt/format.h>

#include "base/error.h"
#include "base/file.h"

namespace holdfast::backup {
namespace {

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

bool DirectorySource::open(CopyItem& item) {
  std::string path = join_path(data_directory_, item.entry.path);
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

void DirectorySource::will_read(const CopyItem& item, uint64_t start, uint64_t bytes) {
  posix_fadvise(item.fd.get(), static_cast<off_t>(start), static_cast<off_t>(bytes),
                POSIX_FADV_WILLNEED);
}

std::optional<size_t> DirectorySource::read(const CopyItem& item, uint64_t offset,
                                            std::span<std::byte> into) {
  rate_.take(into.size(), stop_);
  return pread_if_readable(item.fd, into, offset, item.entry.path);
}

uint64_t DirectorySource::skip_hole(const CopyItem& item, uint64_t from, uint64_t end) {
  off_t data = lseek(item.fd.get(), static_cast<off_t>(from), SEEK_DATA);
  if (data < 0) return errno == ENXIO ? end : from;  // no more data; or the file system cannot tell
  uint64_t at = static_cast<uint64_t>(data);
  return std::min(std::max(from, at - at % block_bytes_), end);
}

uint64_t DirectorySource::length(const CopyItem& item) {
  return static_cast<uint64_t>(stat_of(item.fd, item.entry.path).st_size);
}

}  // namespace holdfast::backup
