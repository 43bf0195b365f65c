#include "cluster/wal_directory.h"

#include <algorithm>
#include <fcntl.h>
#include <sys/stat.h>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "pg/timeline_history.h"
#include "pg/wal_page.h"

namespace holdfast::cluster {
namespace {

constexpr std::string_view kReady = ".ready";
constexpr std::string_view kDone = ".done";
constexpr size_t kPieceBytes = size_t{256} << 10;

// Both can be there after a crash; then the file is still to be archived.
ArchiveStatus status_of(const std::string& pg_wal, const std::string& name) {
  const std::string base = join_path(pg_wal, "archive_status/" + name);
  if (stat_if_exists(base + std::string(kReady))) return ArchiveStatus::kReady;
  return stat_if_exists(base + std::string(kDone)) ? ArchiveStatus::kDone : ArchiveStatus::kNone;
}

bool has_pages(pg::WalFileKind kind) {
  return kind == pg::WalFileKind::kSegment || kind == pg::WalFileKind::kPartial;
}

bool is_all_zero(ByteView bytes) {
  return std::ranges::all_of(bytes, [](std::byte byte) { return byte == std::byte{0}; });
}

bool is_zeros(const Fd& fd, const std::string& path) {
  Bytes piece(kPieceBytes);
  for (uint64_t at = 0;; at += kPieceBytes) {
    const size_t got = pread_some(fd, piece, at, path);
    if (!is_all_zero(ByteView(piece).first(got))) return false;
    if (got < kPieceBytes) return true;
  }
}

}  // namespace

bool WalDirectoryFile::is_unused(pg::WalSegmentSize size, std::optional<pg::Lsn> began) const {
  if (parsed.kind != pg::WalFileKind::kSegment || status == ArchiveStatus::kReady) return false;
  return is_empty ||
         pg::segment_file(front, parsed.segment, size, began) == pg::SegmentFile::kForReuse;
}

std::optional<WalDirectoryFile> read_wal_file(const std::string& pg_wal, const std::string& name,
                                              pg::WalSegmentSize size) {
  WalDirectoryFile file;
  file.name = name;
  file.parsed = pg::parse_wal_file_name(name, size);
  const std::string path = join_path(pg_wal, name);
  std::optional<Fd> fd = open_if_exists(path, O_RDONLY);
  if (!fd) return std::nullopt;
  struct stat status{};
  if (fstat(fd->get(), &status) != 0) throw_errno("stat", path);
  if (!S_ISREG(status.st_mode)) return std::nullopt;
  file.bytes = static_cast<uint64_t>(status.st_size);
  file.status = status_of(pg_wal, name);
  if (has_pages(file.parsed.kind)) {
    file.front.resize(pg::kWalLongHeaderBytes);
    file.front.resize(pread_some(*fd, file.front, 0, path));
    file.is_empty = is_all_zero(file.front) && is_zeros(*fd, path);
  }
  return file;
}

std::optional<pg::Lsn> beginning_of(const std::string& pg_wal, pg::TimelineId timeline) {
  std::optional<pg::Lsn> began;
  error_of({ErrorCode::kCorrupt}, [&] {
    if (const std::optional<Bytes> text =
            read_if_exists(join_path(pg_wal, pg::history_file_name(timeline))))
      began = pg::parse_timeline_history(timeline, as_text(*text)).start_of(timeline);
  });
  return began;
}

std::vector<WalDirectoryFile> list_wal_directory(const std::string& pg_wal,
                                                 pg::WalSegmentSize size) {
  std::vector<WalDirectoryFile> files;
  for (const DirectoryEntry& entry : list_directory(pg_wal)) {
    const pg::WalFileName parsed = pg::parse_wal_file_name(entry.name, size);
    if (parsed.kind == pg::WalFileKind::kOther) continue;
    std::optional<WalDirectoryFile> file;
    if (unreadable_of([&] { file = read_wal_file(pg_wal, entry.name, size); }))
      file = {.name = entry.name, .parsed = parsed, .status = status_of(pg_wal, entry.name)};
    if (file) files.push_back(std::move(*file));
  }
  return files;
}

}  // namespace holdfast::cluster
