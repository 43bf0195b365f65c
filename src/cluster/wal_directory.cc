#include "cluster/wal_directory.h"

#include <array>
#include <fcntl.h>
#include <map>
#include <sys/stat.h>

#include <fmt/format.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/file.h"

namespace holdfast::cluster {
namespace {

constexpr size_t kPageAddressOffset = 8;
constexpr std::string_view kReady = ".ready";
constexpr std::string_view kDone = ".done";

// archive_status: "<name>.ready" or "<name>.done". Both can be there after a crash; then the file
// is still to be archived.
std::map<std::string, ArchiveStatus> read_statuses(const std::string& pg_wal) {
  std::map<std::string, ArchiveStatus> statuses;
  std::optional<std::vector<DirectoryEntry>> entries =
      list_directory_if_exists(join_path(pg_wal, "archive_status"));
  if (!entries) return statuses;
  for (const DirectoryEntry& entry : *entries) {
    if (entry.name.ends_with(kReady))
      statuses[entry.name.substr(0, entry.name.size() - kReady.size())] = ArchiveStatus::kReady;
    if (entry.name.ends_with(kDone))
      statuses.try_emplace(entry.name.substr(0, entry.name.size() - kDone.size()),
                           ArchiveStatus::kDone);
  }
  return statuses;
}

bool has_pages(pg::WalFileKind kind) {
  return kind == pg::WalFileKind::kSegment || kind == pg::WalFileKind::kPartial;
}

}  // namespace

bool WalDirectoryFile::holds_own_wal(pg::WalSegmentSize size) const {
  return has_pages(parsed.kind) && bytes == size.bytes() &&
         first_page_lsn == pg::start_lsn(parsed.segment.segment_number, size);
}

std::vector<WalDirectoryFile> list_wal_directory(const std::string& pg_wal,
                                                 pg::WalSegmentSize size) {
  std::map<std::string, ArchiveStatus> statuses = read_statuses(pg_wal);
  std::vector<WalDirectoryFile> files;
  for (const DirectoryEntry& entry : list_directory(pg_wal)) {
    pg::WalFileName parsed = pg::parse_wal_file_name(entry.name, size);
    if (parsed.kind == pg::WalFileKind::kOther) continue;
    std::string path = join_path(pg_wal, entry.name);
    std::optional<Fd> fd = open_if_exists(path, O_RDONLY);
    if (!fd) continue;
    struct stat status{};
    if (fstat(fd->get(), &status) != 0) throw_errno("stat", path);
    if (!S_ISREG(status.st_mode)) continue;
    WalDirectoryFile file{
        .name = entry.name, .parsed = parsed, .bytes = static_cast<uint64_t>(status.st_size)};
    if (auto found = statuses.find(entry.name); found != statuses.end())
      file.status = found->second;
    if (has_pages(parsed.kind)) {
      std::array<std::byte, sizeof(uint64_t)> address;
      if (pread_some(*fd, address, kPageAddressOffset, path) == address.size())
        file.first_page_lsn = pg::Lsn{load_le<uint64_t>(address.data())};
    }
    files.push_back(std::move(file));
  }
  return files;
}

}  // namespace holdfast::cluster
