#include "backup/outside_files.h"

#include <algorithm>
#include <cstring>
#include <fcntl.h>
#include <optional>
#include <sys/stat.h>

#include <fmt/format.h>

#include "backup/configuration.h"
#include "base/error.h"
#include "base/file.h"

namespace holdfast::backup {
namespace {

// A configuration file beyond this is none.
constexpr uint64_t kMaxConfigurationBytes = uint64_t{16} << 20;

struct OutsideFile {
  struct stat status{};
  Bytes content;
};

// nullopt, with the reason in errno, for a file that cannot be read.
std::optional<OutsideFile> try_read(const std::string& path) {
  Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd.is_open()) return std::nullopt;
  OutsideFile file;
  if (fstat(fd.get(), &file.status) != 0) return std::nullopt;
  if (!S_ISREG(file.status.st_mode) ||
      static_cast<uint64_t>(file.status.st_size) > kMaxConfigurationBytes) {
    errno = S_ISREG(file.status.st_mode) ? EFBIG : EINVAL;
    return std::nullopt;
  }
  file.content.resize(static_cast<size_t>(file.status.st_size));
  file.content.resize(read_some(fd, file.content, path));
  return file;
}

Time modification_of(const struct stat& status) {
  return Time(std::chrono::seconds(status.st_mtim.tv_sec) +
              Microseconds(status.st_mtim.tv_nsec / 1000));
}

}  // namespace

OutsideFiles keep_outside_files(const std::vector<std::string>& paths,
                                const std::string& data_directory, uint32_t block_bytes,
                                repo::BackupWriter& writer, repo::ExtentWriter& extents,
                                OwnerIndex& owners, Reporter& reporter) {
  std::string inside = resolve_links(data_directory);
  std::vector<std::string> wanted;
  for (const std::string& path : paths)
    if (!path.empty())
      if (std::optional<std::string> outside = path_outside(path, inside))
        wanted.push_back(*std::move(outside));
  std::ranges::sort(wanted, [](const std::string& a, const std::string& b) {
    return repo::compare_paths(a, b) < 0;
  });
  wanted.erase(std::ranges::unique(wanted).begin(), wanted.end());

  OutsideFiles result;
  for (const std::string& path : wanted) {
    std::optional<OutsideFile> file = try_read(path);
    if (!file) {
      reporter.warning(
          fmt::format("configuration file \"{}\" could not be read and is not in the backup: {}",
                      path, std::strerror(errno)));
      result.unreadable.push_back(path);
      continue;
    }
    repo::ManifestEntry entry;
    entry.root = repo::ManifestRoot::kOutside;
    entry.path = path;
    entry.mode = file->status.st_mode & 07777;
    entry.owner = owners.index(file->status.st_uid, file->status.st_gid);
    entry.modified = modification_of(file->status);
    entry.size = file->content.size();
    entry.location = repo::append_file(extents, path, file->content, block_bytes);
    writer.manifest().add(entry);
    reporter.amount(file->content.size());
    result.kept.push_back(path);
  }
  return result;
}

}  // namespace holdfast::backup
