#include "restore/old_tree.h"

#include <algorithm>
#include <array>
#include <dirent.h>
#include <utility>

#include <fmt/core.h>

#include "base/error.h"

namespace holdfast::restore {

void remove_entry(const std::string& directory, const DirectoryEntry& entry,
                  const TellFailure& failed) {
  const std::string path = join_path(directory, entry.name);
  if (entry.type != DT_DIR) return remove_tree(path, failed);
  const std::optional<struct stat> here = stat_if_exists(directory);
  const std::optional<struct stat> status = lstat_if_exists(path);
  if (status && here && status->st_dev != here->st_dev)
    clear_directory(path, {}, failed);
  else
    remove_tree(path, failed);
}

void clear_directory(const std::string& directory, const std::set<std::string>& keep,
                     const TellFailure& failed) {
  for (const DirectoryEntry& entry : list_directory(directory)) {
    if (keep.contains(entry.name) || is_file_systems_own(entry.name)) continue;
    std::set<std::string> below;
    for (const std::string& path : keep)
      if (path.starts_with(entry.name + "/")) below.insert(path.substr(entry.name.size() + 1));
    if (entry.type == DT_DIR && !below.empty())
      clear_directory(join_path(directory, entry.name), below, failed);
    else
      remove_entry(directory, entry, failed);
  }
}

bool Leftovers::is_in_the_way(const std::string& path) const {
  if (!path.starts_with(directory_ + "/")) return true;  // a tablespace's
  const std::string_view below = std::string_view(path).substr(directory_.size() + 1);
  const std::string_view top = below.substr(0, below.find('/'));
  if (top == "base" || top == "global" || top.ends_with(".signal")) return true;
  return std::ranges::any_of(
      std::array<std::string_view, 7>{"pg_", "PG_", "postgresql.", "postmaster.", "backup_",
                                      "tablespace_map", "recovery."},
      [&](std::string_view begin) { return top.starts_with(begin); });
}

void Leftovers::settle(Reporter& reporter) const {
  constexpr size_t kNamed = 20;
  std::string named;
  size_t in_the_way = 0;
  for (const auto& [path, error] : left_) {
    if (!is_in_the_way(path)) {
      reporter.warning(
          fmt::format("\"{}\" could not be removed and stays: {}", path, error.message()));
    } else if (++in_the_way <= kNamed) {
      named += (named.empty() ? "" : "\n") + error.message();
    }
  }
  if (in_the_way == 0) return;
  throw Error({.code = left_.front().second.code(),
               .message = fmt::format("{} of the old data directory could not be removed",
                                      in_the_way == 1
                                          ? "one file or directory"
                                          : fmt::format("{} files and directories", in_the_way)),
               .detail = std::move(named),
               .hint = "All else was. Remove them as root, or move their directory aside, and run "
                       "the command again; or restore into another directory."});
}

OldTree::OldTree(std::string directory, std::set<std::string> keep, TellFailure failed)
    : directory_(std::move(directory)), keep_(std::move(keep)), failed_(std::move(failed)) {
  enter("");
}

std::string OldTree::full_path(const std::string& path) const {
  return path.empty() ? directory_ : join_path(directory_, path);
}

bool OldTree::is_kept(const std::string& path) const {
  return std::ranges::any_of(
      keep_, [&](const std::string& kept) { return kept == path || kept.starts_with(path + "/"); });
}

void OldTree::remove_next(Level& level) {
  const DirectoryEntry& entry = level.entries[level.next++];
  if (is_file_systems_own(entry.name) ||
      is_kept(level.path.empty() ? entry.name : join_path(level.path, entry.name)))
    return;
  remove_entry(full_path(level.path), entry, failed_);
  ++removed_;
}

void OldTree::leave() {
  while (levels_.back().next < levels_.back().entries.size()) remove_next(levels_.back());
  levels_.pop_back();
}

void OldTree::reach(std::string_view path) {
  const size_t slash = path.rfind('/');
  const std::string_view parent = slash == std::string_view::npos ? "" : path.substr(0, slash);
  const std::string_view name = slash == std::string_view::npos ? path : path.substr(slash + 1);
  while (levels_.size() > 1 && levels_.back().path != parent) leave();
  Level& level = levels_.back();
  if (level.path != parent) {
    throw Error({.code = ErrorCode::kCorrupt,
                 .message = "the manifest of the backup is damaged",
                 .detail = fmt::format("It names \"{}\" without its directory.", path)});
  }
  while (level.next < level.entries.size() && level.entries[level.next].name < name)
    remove_next(level);
  if (level.next < level.entries.size() && level.entries[level.next].name == name) ++level.next;
}

void OldTree::enter(const std::string& path, const std::string& only) {
  std::vector<DirectoryEntry> entries = list_directory(full_path(path));
  if (!only.empty())
    std::erase_if(entries, [&](const DirectoryEntry& entry) { return entry.name != only; });
  levels_.push_back({.path = path, .entries = std::move(entries)});
}

void OldTree::finish() {
  while (!levels_.empty()) leave();
}

}  // namespace holdfast::restore
