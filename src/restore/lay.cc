#include "restore/lay.h"

#include <algorithm>
#include <fcntl.h>
#include <map>
#include <memory>
#include <unistd.h>

#include <fmt/core.h>

#include "base/error.h"
#include "base/mutex.h"
#include "base/task_group.h"

namespace holdfast::restore {
namespace {

// Configuration files, labels and pg_control: what is held in memory is small.
constexpr uint64_t kMaxHeldBytes = uint64_t{16} << 20;

bool is_left_out(const std::string& path) {
  return path == "recovery.signal" || path == "standby.signal" || path == "recovery.conf" ||
         path == "recovery.done" || path == "postmaster.pid" || path == "postmaster.opts";
}

bool is_tablespace_link(const std::string& path) {
  return path.starts_with("pg_tblspc/") &&
         path.find('/', std::string_view("pg_tblspc/").size()) == std::string::npos;
}

// A file being written, by as many workers as have a leaf of it.
struct OpenFile {
  std::string path;
  Fd fd;
  repo::FileLocation location;
  uint64_t bytes = 0;
};
struct Region {
  std::shared_ptr<OpenFile> file;
  uint64_t leaf = 0;
};

// Hands out the regions of all files in the manifest's order.
class Regions {
 public:
  Regions(const LayOptions& options, repo::ManifestReader& manifest, const Owners& owners)
      : options_(options), manifest_(manifest), owners_(owners) {}

  std::optional<Region> next();

  // After the workers have ended.
  std::vector<repo::ManifestEntry> take_held() {
    MutexLock lock(mutex_);
    return std::move(held_);
  }
  std::vector<std::string> take_file_systems() {
    MutexLock lock(mutex_);
    std::vector<std::string> paths;
    for (const auto& [device, path] : file_systems_) paths.push_back(path);
    return paths;
  }
  uint64_t files() {
    MutexLock lock(mutex_);
    return files_;
  }

 private:
  std::shared_ptr<OpenFile> open_next() HF_REQUIRES(mutex_);
  void make_directory_entry(const repo::ManifestEntry& entry) HF_REQUIRES(mutex_);
  void make_link(const repo::ManifestEntry& entry) HF_REQUIRES(mutex_);
  std::shared_ptr<OpenFile> create_file(const repo::ManifestEntry& entry) HF_REQUIRES(mutex_);
  void note_file_system(const std::string& path) HF_REQUIRES(mutex_);

  const LayOptions& options_;
  Mutex mutex_;
  // Guarded by mutex_.
  repo::ManifestReader& manifest_ HF_GUARDED_BY(mutex_);
  const Owners& owners_;
  std::shared_ptr<OpenFile> current_ HF_GUARDED_BY(mutex_);
  uint64_t next_leaf_ HF_GUARDED_BY(mutex_) = 0;
  uint64_t files_ HF_GUARDED_BY(mutex_) = 0;
  std::vector<repo::ManifestEntry> held_ HF_GUARDED_BY(mutex_);
  std::map<dev_t, std::string> file_systems_ HF_GUARDED_BY(mutex_);
};

std::optional<Region> Regions::next() {
  MutexLock lock(mutex_);
  while (!current_ || next_leaf_ >= repo::leaf_count_of(current_->bytes)) {
    current_ = open_next();
    next_leaf_ = 0;
    if (!current_) return std::nullopt;
  }
  return Region{.file = current_, .leaf = next_leaf_++};
}

// The next regular file; what stands before it in the manifest is made.
std::shared_ptr<OpenFile> Regions::open_next() {
  while (std::optional<repo::ManifestEntry> entry = manifest_.next()) {
    Context laying("laying \"{}\"", entry->path);
    if (entry->root == repo::ManifestRoot::kData && is_left_out(entry->path)) continue;
    if (entry->root != repo::ManifestRoot::kData && entry->type == repo::EntryType::kFile) {
      held_.push_back(std::move(*entry));
      continue;
    }
    if (entry->root == repo::ManifestRoot::kOutside)
      continue;  // directories are made for the files in them
    if (entry->type == repo::EntryType::kDirectory)
      make_directory_entry(*entry);
    else if (entry->type == repo::EntryType::kSymlink)
      make_link(*entry);
    else
      return create_file(*entry);
  }
  return nullptr;
}

void Regions::make_directory_entry(const repo::ManifestEntry& entry) {
  const std::string path = join_path(options_.directory, entry.path);
  if (mkdir(path.c_str(), 0700) != 0 && (errno != EEXIST || !is_directory(path)))
    throw_errno("create directory", path);
  // A directory that a restore in place has kept may be a link to one on another disk; it follows
  // the backup in mode and owner.
  if (chmod(path.c_str(), entry.mode) != 0) throw_errno("change mode of", path);
  if (const std::optional<OwnerIds> owner = owners_.of_entry(entry.owner);
      owner && chown(path.c_str(), owner->user, owner->group) != 0)
    throw_errno("change owner of", path);
  note_file_system(path);
}

void Regions::make_link(const repo::ManifestEntry& entry) {
  const std::string path = join_path(options_.directory, entry.path);
  std::string target = entry.target;
  if (is_tablespace_link(entry.path)) {
    target = options_.tablespace_target(base_name(entry.path), target);
    make_owned_directories(target, 0700, owners_.of_cluster());
    note_file_system(target);
  }
  if (symlink(target.c_str(), path.c_str()) != 0) throw_errno("create symbolic link", path);
  set_owner(path, owners_.of_entry(entry.owner));
}

std::shared_ptr<OpenFile> Regions::create_file(const repo::ManifestEntry& entry) {
  const std::string path = join_path(options_.directory, entry.path);
  auto file = std::make_shared<OpenFile>();
  file->path = path;
  file->fd = open_file(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
  file->location = entry.location;
  file->bytes = entry.size;
  set_owner(file->fd, owners_.of_entry(entry.owner), path);
  if (fchmod(file->fd.get(), entry.mode) != 0) throw_errno("change mode of", path);
  if (entry.size > 0 && ftruncate(file->fd.get(), static_cast<off_t>(entry.size)) != 0)
    throw_errno("set the size of", path);
  ++files_;
  return file;
}

void Regions::note_file_system(const std::string& path) {
  if (std::optional<struct stat> status = stat_if_exists(path))
    file_systems_.emplace(status->st_dev, path);
}

// One worker: region after region, the reader kept open while they are of one file.
uint64_t lay_regions(Regions& regions, const repo::Repository& repository,
                     const repo::Backup& backup, Reporter& reporter, const std::stop_token& stop) {
  repo::ExtentReader extents(repository, backup.lineage);
  repo::FileReader reader(extents, backup.block_bytes);
  std::shared_ptr<OpenFile> open;
  uint64_t bytes = 0;
  while (std::optional<Region> region = regions.next()) {
    throw_if_stopped(stop);
    Context laying("laying \"{}\"", region->file->path);
    if (open != region->file) {
      open = region->file;
      reader.open(open->location, open->bytes);
    }
    reader.for_each_piece(region->leaf, [&](uint64_t offset, ByteView piece) {
      pwrite_all(open->fd, piece, offset, open->path);
    });
    const uint64_t start = region->leaf * repo::kLeafBytes;
    const uint64_t count = std::min(repo::kLeafBytes, open->bytes - start);
    bytes += count;
    reporter.amount(count);
  }
  return bytes;
}

HeldFile read_held(repo::FileReader& reader, repo::ManifestEntry entry) {
  Context reading("reading \"{}\"", entry.path);
  if (entry.size > kMaxHeldBytes) {
    throw Error(
        {.code = ErrorCode::kUnsupported,
         .message = fmt::format("\"{}\" is too large for its place in the backup", entry.path),
         .detail = fmt::format("It has {} bytes; configuration and control files have at most {}.",
                               entry.size, kMaxHeldBytes)});
  }
  HeldFile held{.entry = std::move(entry), .content = {}};
  held.content.resize(held.entry.size);
  reader.open(held.entry.location, held.entry.size);
  reader.read_range(0, held.content);
  return held;
}

}  // namespace

std::vector<HeldFile> read_small_files(
    const repo::Repository& repository, const repo::Backup& backup, repo::ManifestReader& manifest,
    const std::function<bool(const repo::ManifestEntry&)>& wanted) {
  repo::ExtentReader extents(repository, backup.lineage);
  repo::FileReader reader(extents, backup.block_bytes);
  std::vector<HeldFile> files;
  while (std::optional<repo::ManifestEntry> entry = manifest.next()) {
    if (entry->type == repo::EntryType::kFile && entry->size <= kMaxHeldBytes && wanted(*entry))
      files.push_back(read_held(reader, std::move(*entry)));
  }
  return files;
}

void sync_file_system(const std::string& path) {
  const Fd fd = open_file(path, O_RDONLY | O_DIRECTORY);
  if (syncfs(fd.get()) != 0) throw_errno("sync the file system of", path);
}

Laid lay_files(const LayOptions& options, const repo::Repository& repository,
               const repo::Backup& backup, repo::ManifestReader& manifest, const Owners& owners,
               Reporter& reporter, const std::stop_token& stop) {
  reporter.phase("laying files", manifest.summary().file_bytes);
  Regions regions(options, manifest, owners);
  std::vector<uint64_t> bytes(static_cast<size_t>(std::max(options.jobs, 1)));
  {
    TaskGroup workers(stop);
    for (uint64_t& own : bytes)
      workers.start([&](std::stop_token token) {
        own = lay_regions(regions, repository, backup, reporter, token);
      });
    workers.wait();
  }
  Laid laid;
  for (uint64_t own : bytes) laid.bytes += own;
  laid.files = regions.files();

  repo::ExtentReader extents(repository, backup.lineage);
  repo::FileReader reader(extents, backup.block_bytes);
  for (repo::ManifestEntry& entry : regions.take_held()) {
    HeldFile held = read_held(reader, std::move(entry));
    reporter.amount(held.content.size());
    laid.bytes += held.content.size();
    ++laid.files;
    (held.entry.root == repo::ManifestRoot::kOutside ? laid.outside : laid.last)
        .push_back(std::move(held));
  }

  reporter.phase("syncing files", 0);
  sync_file_system(options.directory);
  for (const std::string& path : regions.take_file_systems()) sync_file_system(path);
  return laid;
}

}  // namespace holdfast::restore
