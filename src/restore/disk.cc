#include "restore/disk.h"

#include <algorithm>
#include <map>
#include <set>
#include <sys/statfs.h>

#include <fmt/format.h>

#include "base/error.h"
#include "base/file.h"
#include "base/time.h"
#include "pg/version.h"

namespace holdfast::restore {
namespace {

// linux/magic.h has no number for ZFS, which is not part of the kernel.
constexpr uint64_t kBtrfs = 0x9123683E;
constexpr uint64_t kZfs = 0x2FC12FC1;
// Nearly every file system gives out space in this size.
constexpr uint64_t kUnitBytes = 4096;
constexpr std::string_view kTablespaces = "pg_tblspc/";

uint64_t on_disk(uint64_t bytes) { return (bytes + kUnitBytes - 1) / kUnitBytes * kUnitBytes; }

// The path itself, or the directory above it that is there.
std::string existing(std::string path) {
  while (!stat_if_exists(path) && path != "/") path = parent_path(path);
  return path;
}

// What the files below `path` take, by file system; links are not followed. What cannot be read is
// told to `unread`: old data must not be in the way of what replaces it.
void add_used(const std::string& path, std::map<dev_t, uint64_t>& used, const TellFailure& unread) {
  std::vector<DirectoryEntry> entries;
  const std::optional<Error> error = unreadable_of([&] {
    const std::optional<struct stat> status = lstat_if_exists(path);
    if (!status) return;
    used[status->st_dev] += static_cast<uint64_t>(status->st_blocks) * 512;
    if (S_ISDIR(status->st_mode))
      entries = list_directory_if_exists(path).value_or(std::vector<DirectoryEntry>());
  });
  if (error) unread(path, *error);
  for (const DirectoryEntry& entry : entries)
    if (!is_file_systems_own(entry.name)) add_used(join_path(path, entry.name), used, unread);
}

class Measure {
 public:
  Measure(const DiskPlaces& places, const repo::Repository& repository, const repo::Backup& backup)
      : places_(places), repository_(repository), backup_(backup) {
    for (const repo::Tablespace& tablespace : backup.tablespaces) {
      const std::string oid = std::to_string(tablespace.oid);
      targets_[oid] = places.tablespace_target(oid, tablespace.path);
    }
  }

  // By file system; `bytes_of` tells what an entry takes.
  std::map<dev_t, DiskNeed> add_up(
      const std::function<uint64_t(const repo::ManifestEntry&)>& bytes_of, Reporter& reporter) {
    std::map<dev_t, DiskNeed> needs;
    device_of(places_.directory, needs);
    repo::ManifestReader manifest(repository_, backup_.lineage, backup_.id, backup_.manifest_sha256,
                                  [&](std::string_view text) { reporter.warning(text); });
    while (std::optional<repo::ManifestEntry> entry = manifest.next()) {
      if (entry->root == repo::ManifestRoot::kOutside || entry->type != repo::EntryType::kFile)
        continue;
      needs.at(device_of(place_of(entry->path), needs)).needed += bytes_of(*entry);
    }
    if (places_.cleared) add_cleared(needs, reporter);
    return needs;
  }

 private:
  const std::string& place_of(const std::string& path) const {
    if (!path.starts_with(kTablespaces)) return places_.directory;
    const std::string rest = path.substr(kTablespaces.size());
    const auto target = targets_.find(rest.substr(0, rest.find('/')));
    return target == targets_.end() ? places_.directory : target->second;
  }

  dev_t device_of(const std::string& place, std::map<dev_t, DiskNeed>& needs) {
    if (auto known = devices_.find(place); known != devices_.end() && needs.contains(known->second))
      return known->second;
    const std::string at = existing(place);
    const dev_t device = stat_if_exists(at).value().st_dev;
    devices_[place] = device;
    if (needs.contains(device)) return device;
    struct statfs status{};
    if (statfs(at.c_str(), &status) != 0) throw_errno("find the file system of", at);
    const uint64_t type = static_cast<uint32_t>(status.f_type);
    needs[device] = {.path = place,
                     .needed = 0,
                     .free = free_bytes(at),
                     .cleared = 0,
                     .compresses = type == kBtrfs || type == kZfs};
    return device;
  }

  void add_cleared(std::map<dev_t, DiskNeed>& needs, Reporter& reporter) {
    std::map<dev_t, uint64_t> used;
    const auto unread = [&](const std::string& path, const Error& error) {
      if (noted_.insert(path).second)
        reporter.note(fmt::format("what \"{}\" takes is not counted: {}", path, error.message()));
    };
    add_used(places_.directory, used, unread);
    for (const auto& [oid, target] : targets_) {
      if (!target.starts_with(places_.directory + "/"))
        add_used(join_path(target, pg::tablespace_version_directory(backup_.major,
                                                                    backup_.catalog_version)),
                 used, unread);
    }
    for (auto& [device, need] : needs)
      if (auto found = used.find(device); found != used.end()) need.cleared = found->second;
  }

  const DiskPlaces& places_;
  const repo::Repository& repository_;
  const repo::Backup& backup_;
  std::map<std::string, std::string> targets_;  // by oid
  std::map<std::string, dev_t> devices_;
  std::set<std::string> noted_;
};

}  // namespace

std::vector<DiskNeed> measure_disk(const DiskPlaces& places, const repo::Repository& repository,
                                   const repo::Backup& backup, Reporter& reporter) {
  Measure measure(places, repository, backup);
  std::map<dev_t, DiskNeed> needs = measure.add_up(
      [](const repo::ManifestEntry& entry) { return on_disk(entry.size); }, reporter);
  auto all_fit = [&] {
    for (const auto& [device, need] : needs)
      if (!need.fits()) return false;
    return true;
  };
  if (!all_fit()) {
    // Without the blocks of zeros.
    repo::ExtentReader extents(repository, backup.lineage);
    repo::FileReader reader(extents, backup.block_bytes);
    needs = measure.add_up(
        [&](const repo::ManifestEntry& entry) {
          reader.open(entry.location, entry.size);
          uint64_t blocks = 0;
          for (uint64_t index = 0; index < reader.leaf_count(); ++index)
            for (const repo::MapExtent& extent : reader.leaf(index).extents)
              for (const repo::MapRun& run : extent.runs) blocks += run.count;
          return on_disk(std::min(entry.size, blocks * backup.block_bytes));
        },
        reporter);
  }
  std::vector<DiskNeed> result;
  for (auto& [device, need] : needs) result.push_back(std::move(need));
  std::ranges::sort(result, [&](const DiskNeed& a, const DiskNeed& b) {
    return std::pair(a.path != places.directory, a.path) <
           std::pair(b.path != places.directory, b.path);
  });
  return result;
}

void require_disk(const std::vector<DiskNeed>& needs, Reporter& reporter) {
  std::string missing;
  for (const DiskNeed& need : needs) {
    if (need.fits()) continue;
    const std::string line = fmt::format(
        "\"{}\" needs {}, and its file system has {} free{}", need.path,
        to_human_bytes(need.needed), to_human_bytes(need.free),
        need.cleared > 0
            ? fmt::format(" and {} in files that would be cleared", to_human_bytes(need.cleared))
            : "");
    if (need.compresses)
      reporter.warning(line + "; it may compress them so far that they fit");
    else
      missing += (missing.empty() ? "" : " ") + line + ".";
  }
  if (missing.empty()) return;
  throw Error({.code = ErrorCode::kNoSpace,
               .message = "there is not enough disk space for this restore",
               .detail = missing,
               .hint = "Nothing was written. Make room there, or restore to another file system."});
}

}  // namespace holdfast::restore
