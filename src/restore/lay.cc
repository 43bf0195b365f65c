#include "restore/lay.h"

#include <algorithm>
#include <atomic>
#include <fcntl.h>
#include <map>
#include <memory>
#include <unistd.h>

#include <fmt/core.h>

#include "base/direct_writer.h"
#include "base/error.h"
#include "base/mutex.h"
#include "base/rate_limit.h"
#include "base/task_group.h"
#include "restore/configuration.h"
#include "restore/old_tree.h"
#include "restore/tablespaces.h"

namespace holdfast::restore {
namespace {

// Configuration files, labels and pg_control: what is held in memory is small.
constexpr uint64_t kMaxHeldBytes = uint64_t{16} << 20;

bool is_tablespace_link(const std::string& path) {
  return path.starts_with("pg_tblspc/") &&
         path.find('/', std::string_view("pg_tblspc/").size()) == std::string::npos;
}

// A file being written, by as many workers as have a leaf of it. Each opens it first; one does it.
class OpenFile {
 public:
  // `may_be_there`: in a delta.
  OpenFile(std::string file_path, const repo::ManifestEntry& entry, bool may_be_there,
           std::optional<OwnerIds> owner)
      : path(std::move(file_path)),
        location(entry.location),
        bytes(entry.size),
        mode_(entry.mode),
        may_be_there_(may_be_there),
        owner_(owner) {}

  // True: this call made it, or changed the size of what was there.
  bool open();

  const std::string path;
  const repo::FileLocation location;
  const uint64_t bytes;
  // Behind open(): how much of it may be there already, and whether anything had to be changed.
  Fd fd;
  uint64_t old_bytes = 0;
  std::atomic<bool> changed = false;

 private:
  const mode_t mode_;
  const bool may_be_there_;
  const std::optional<OwnerIds> owner_;
  Mutex mutex_;
  bool is_open_ HF_GUARDED_BY(mutex_) = false;
};
struct Region {
  std::shared_ptr<OpenFile> file;
  uint64_t leaf = 0;
};

// File systems make files of different directories, and write others meanwhile, side by side: not
// under the lock of Regions.
bool OpenFile::open() {
  MutexLock lock(mutex_);
  if (is_open_) return false;
  const std::optional<struct stat> there = may_be_there_ ? lstat_if_exists(path) : std::nullopt;
  if (there) {
    if ((there->st_mode & 0600) != 0600 && chmod(path.c_str(), 0600) != 0)
      throw_errno("change mode of", path);
    fd = open_file(path, O_RDWR | O_NOFOLLOW);
    old_bytes = static_cast<uint64_t>(there->st_size);
  } else if (!fd.is_open()) {  // else another worker has failed behind this: so will this one
    fd = open_file(path, O_RDWR | O_CREAT | O_EXCL, 0600);
  }
  changed = !there || old_bytes != bytes;
  set_owner(fd, owner_, path);
  if (fchmod(fd.get(), mode_) != 0) throw_errno("change mode of", path);
  if (bytes != old_bytes && ftruncate(fd.get(), static_cast<off_t>(bytes)) != 0)
    throw_errno("set the size of", path);
  is_open_ = true;
  return changed;
}

// Hands out the regions of all files in the manifest's order.
class Regions {
 public:
  Regions(const LayOptions& options, repo::ManifestReader& manifest, const Owners& owners)
      : options_(options), manifest_(manifest), owners_(owners), left_(options.directory) {
    if (options.delta) old_.emplace(options.directory, options.keep, left_.teller());
  }

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
  void settle_leftovers(Reporter& reporter) {
    MutexLock lock(mutex_);
    left_.settle(reporter);
  }
  uint64_t removed() {
    MutexLock lock(mutex_);
    return old_ ? old_->removed() : 0;
  }

 private:
  std::shared_ptr<OpenFile> next_file() HF_REQUIRES(mutex_);
  void make_directory_entry(const repo::ManifestEntry& entry) HF_REQUIRES(mutex_);
  void make_link(const repo::ManifestEntry& entry) HF_REQUIRES(mutex_);
  void make_room(const repo::ManifestEntry& entry) HF_REQUIRES(mutex_);
  bool keep_link(const repo::ManifestEntry& entry, const std::string& target) HF_REQUIRES(mutex_);
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
  Leftovers left_ HF_GUARDED_BY(mutex_);              // of a delta
  std::optional<OldTree> old_ HF_GUARDED_BY(mutex_);  // of a delta
};

std::optional<Region> Regions::next() {
  MutexLock lock(mutex_);
  // Of a file without bytes too there is one region: for the worker that makes the file.
  while (!current_ || next_leaf_ >= std::max<uint64_t>(repo::leaf_count_of(current_->bytes), 1)) {
    current_ = next_file();
    next_leaf_ = 0;
    if (!current_) return std::nullopt;
  }
  return Region{.file = current_, .leaf = next_leaf_++};
}

// The next regular file, yet to be opened; what stands before it in the manifest is made.
std::shared_ptr<OpenFile> Regions::next_file() {
  while (std::optional<repo::ManifestEntry> entry = manifest_.next()) {
    Context laying("laying \"{}\"", entry->path);
    if (entry->root == repo::ManifestRoot::kData &&
        (is_left_out(entry->path) ||
         (entry->type != repo::EntryType::kDirectory && options_.left.contains(entry->path))))
      continue;
    if (entry->root != repo::ManifestRoot::kData && entry->type == repo::EntryType::kFile) {
      held_.push_back(std::move(*entry));
      continue;
    }
    if (entry->root == repo::ManifestRoot::kOutside)
      continue;  // directories are made for the files in them
    if (old_ && entry->root == repo::ManifestRoot::kData) make_room(*entry);
    if (entry->type == repo::EntryType::kDirectory) {
      make_directory_entry(*entry);
    } else if (entry->type == repo::EntryType::kSymlink) {
      make_link(*entry);
    } else {
      ++files_;
      return std::make_shared<OpenFile>(join_path(options_.directory, entry->path), *entry,
                                        old_.has_value(), owners_.of_entry(entry->owner));
    }
  }
  if (old_) old_->finish();
  return nullptr;
}

// Removes what stands before the entry in the directory and is not of the backup, and what bears
// its name and is something else.
void Regions::make_room(const repo::ManifestEntry& entry) {
  old_->reach(entry.path);
  const std::string path = join_path(options_.directory, entry.path);
  const std::optional<struct stat> there = lstat_if_exists(path);
  if (!there) return;
  bool stays = false;
  switch (entry.type) {
    case repo::EntryType::kDirectory:
      // pg_wal may be a link to its own disk; whoever prepared the directory has seen to it that it
      // is the cluster's.
      stays = S_ISDIR(there->st_mode) ||
              (S_ISLNK(there->st_mode) && entry.path == "pg_wal" && is_directory(path));
      break;
    case repo::EntryType::kSymlink:
      stays = S_ISLNK(there->st_mode);
      break;
    case repo::EntryType::kFile:
      stays = S_ISREG(there->st_mode) && there->st_nlink == 1 &&
              (geteuid() == 0 || there->st_uid == geteuid());
      break;
  }
  if (stays) return;
  if (S_ISDIR(there->st_mode))
    remove_tree(path);
  else
    remove_file(path);
}

void Regions::make_directory_entry(const repo::ManifestEntry& entry) {
  const std::string path = join_path(options_.directory, entry.path);
  if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) throw_errno("create directory", path);
  // A pg_wal that a restore in place has kept may be a link to one on another disk; it follows the
  // backup in mode and owner. No other link is ours to follow.
  const Fd directory =
      open_file(path, O_RDONLY | O_DIRECTORY | (entry.path == "pg_wal" ? 0 : O_NOFOLLOW));
  set_owner(directory, owners_.of_entry(entry.owner), path);
  if (fchmod(directory.get(), entry.mode) != 0) throw_errno("change mode of", path);
  note_file_system(path);
  if (old_) old_->enter(entry.path);
}

void Regions::make_link(const repo::ManifestEntry& entry) {
  const std::string path = join_path(options_.directory, entry.path);
  std::string target = entry.target;
  if (is_tablespace_link(entry.path)) {
    target = options_.tablespace_target(base_name(entry.path), target);
    make_owned_directories(target, 0700, owners_.of_cluster());
    note_file_system(target);
    target = tablespace_link_text(options_.directory, target);
  }
  if (!keep_link(entry, target) && symlink(target.c_str(), path.c_str()) != 0)
    throw_errno("create symbolic link", path);
  set_owner(path, owners_.of_entry(entry.owner));
  if (old_ && is_tablespace_link(entry.path))
    old_->enter(entry.path, options_.tablespace_directory);
}

// A link that is there: true when it is the one that is wanted; another one is removed.
bool Regions::keep_link(const repo::ManifestEntry& entry, const std::string& target) {
  const std::string path = join_path(options_.directory, entry.path);
  if (!old_ || !lstat_if_exists(path)) return false;
  if (read_link(path) == target) return true;
  remove_file(path);
  return false;
}

void Regions::note_file_system(const std::string& path) {
  if (std::optional<struct stat> status = stat_if_exists(path))
    file_systems_.emplace(status->st_dev, path);
}

struct LaidRegions {
  uint64_t bytes = 0;
  uint64_t bytes_kept = 0;
  uint64_t files_changed = 0;
};

// A hole, where the file system can make one; else zeros.
void clear_range(const OpenFile& file, uint64_t offset, uint64_t count) {
  if (fallocate(file.fd.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                static_cast<off_t>(offset), static_cast<off_t>(count)) == 0)
    return;
  if (errno != EOPNOTSUPP) throw_errno("clear a part of", file.path);
  pwrite_all(file.fd, Bytes(count), offset, file.path);
}

// Writes what differs in one leaf of a file that was there. Returns how much that was.
uint64_t lay_difference(repo::FileReader& reader, const OpenFile& file, uint64_t leaf) {
  return reader.for_each_difference(
      leaf, {.read =
                 [&](uint64_t offset, std::span<std::byte> into) {
                   const size_t got = pread_some(file.fd, into, offset, file.path);
                   std::ranges::fill(into.subspan(got), std::byte{0});
                 },
             .put = [&](uint64_t offset,
                        ByteView bytes) { pwrite_all(file.fd, bytes, offset, file.path); },
             .clear = [&](uint64_t offset, uint64_t count) { clear_range(file, offset, count); }});
}

// One worker: region after region, the reader kept open while they are of one file.
LaidRegions lay_regions(Regions& regions, const repo::Repository& repository,
                        const repo::Backup& backup, RateLimit& rate, Reporter& reporter,
                        const std::stop_token& stop) {
  repo::ExtentReader extents(repository, backup.lineage);
  repo::FileReader reader(extents, backup.block_bytes);
  DirectWriter writer;
  std::shared_ptr<OpenFile> open;
  LaidRegions laid;
  auto require = [&](int failed) {
    if (failed != 0) throw_errno("write", open->path, failed);
  };
  while (std::optional<Region> region = regions.next()) {
    throw_if_stopped(stop);
    Context laying("laying \"{}\"", region->file->path);
    if (open != region->file) {
      if (open) require(writer.flush());
      open = region->file;
      if (open->open()) ++laid.files_changed;
      writer.begin(open->fd, open->path);
      if (open->bytes == 0) continue;
      reader.open(open->location, open->bytes);
    }
    const uint64_t start = region->leaf * repo::kLeafBytes;
    const uint64_t count = std::min(repo::kLeafBytes, open->bytes - start);
    if (start < open->old_bytes) {
      rate.take(count, stop);
      const uint64_t differing = lay_difference(reader, *open, region->leaf);
      laid.bytes_kept += count - differing;
      if (differing > 0 && !open->changed.exchange(true)) ++laid.files_changed;
    } else {
      reader.for_each_piece(region->leaf, [&](uint64_t offset, ByteView piece) {
        rate.take(piece.size(), stop);
        require(writer.write(offset, piece));
      });
    }
    laid.bytes += count;
    reporter.amount(count);
  }
  if (open) require(writer.flush());
  return laid;
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

bool is_left_out(const std::string& path) {
  return path == kRecoverySignal || path == kStandbySignal || path == "recovery.conf" ||
         path == "recovery.done" || path == "postmaster.pid" || path == "postmaster.opts";
}

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
  RateLimit rate(options.bytes_per_second);
  std::vector<LaidRegions> parts(static_cast<size_t>(std::max(options.jobs, 1)));
  {
    TaskGroup workers(stop);
    for (LaidRegions& own : parts)
      workers.start([&](std::stop_token token) {
        own = lay_regions(regions, repository, backup, rate, reporter, token);
      });
    workers.wait();
  }
  regions.settle_leftovers(reporter);
  Laid laid;
  laid.files_kept = regions.files();
  for (const LaidRegions& own : parts) {
    laid.bytes += own.bytes;
    laid.bytes_kept += own.bytes_kept;
    laid.files_kept -= own.files_changed;
  }
  laid.files = regions.files();
  laid.removed = regions.removed();

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
