#include "restore/outside.h"

#include <algorithm>

#include <fmt/core.h>

#include "base/error.h"
#include "cluster/data_directory.h"
#include "cluster/running_server.h"
#include "pg/version.h"
#include "restore/old_tree.h"

namespace holdfast::restore {
namespace {

constexpr size_t kMaxTokenBytes = 256;

std::string token_path(const std::string& directory) { return join_path(directory, kTokenName); }

// A token that a restore was writing when it was killed (DurableFile).
bool is_begun_token(const DirectoryEntry& entry) {
  return entry.name.starts_with(std::string(kTokenName) + ".") && entry.name.ends_with(".tmp");
}

void remove_begun_tokens(const std::string& directory) {
  for (const DirectoryEntry& entry : list_directory(directory))
    if (is_begun_token(entry)) remove_file(join_path(directory, entry.name));
}

}  // namespace

std::string version_directory(const std::string& location, const repo::Backup& backup) {
  return join_path(location,
                   pg::tablespace_version_directory(backup.major, backup.catalog_version));
}

bool is_unused(const std::string& directory) {
  return !is_directory(directory) ||
         std::ranges::all_of(list_directory(directory), [](const DirectoryEntry& entry) {
           return is_file_systems_own(entry.name) || is_begun_token(entry);
         });
}

bool has_token(const std::string& directory, const std::string& token) {
  const std::optional<Bytes> there = read_if_exists(token_path(directory), kMaxTokenBytes);
  return there && !token.empty() && as_text(*there) == token + "\n";
}

void put_token(const std::string& directory, const std::string& token,
               const std::optional<OwnerIds>& owner) {
  remove_begun_tokens(directory);
  if (has_token(directory, token)) return;
  write_owned_file(token_path(directory), as_bytes(token + "\n"), 0600, owner);
}

void remove_token(const std::string& directory, const std::string& token) {
  if (!has_token(directory, token)) return;
  remove_file(token_path(directory));
  fsync_directory(directory);
}

void clear_marked(const std::string& directory, const std::string& token,
                  const TellFailure& failed) {
  if (!is_directory(directory)) return;
  if (!has_token(directory, token) && !is_unused(directory))
    throw Error({.code = ErrorCode::kAlreadyExists,
                 .message = fmt::format("files have come into \"{}\" meanwhile", directory),
                 .detail = "They are not known to be the cluster's, and nothing was removed.",
                 .hint = "Find out who has put them there, then run the command again."});
  clear_directory(directory, {kTokenName}, failed);
  fsync_directory(directory);
  remove_tree(directory, failed);
}

std::set<std::string> linked_places(const std::string& directory) {
  std::set<std::string> linked;
  if (!is_directory(join_path(directory, "pg_tblspc"))) return linked;
  for (const cluster::TablespaceLink& link : cluster::read_tablespace_links(directory))
    if (!link.target.empty()) linked.insert(link.target);
  return linked;
}

std::set<std::string> places_outside(const std::string& directory,
                                     const std::vector<TablespacePlace>& places) {
  std::set<std::string> paths;
  for (const TablespacePlace& place : places)
    if (!place.recorded.empty()) paths.insert(absolute_path(place.place));
  return places_outside(directory, paths);
}

std::set<std::string> places_outside(const std::string& directory,
                                     const std::set<std::string>& places) {
  const std::string root = resolved_path(directory) + "/";
  std::set<std::string> outside;
  for (const std::string& place : places)
    if (!resolved_path(place).starts_with(root)) outside.insert(place);
  return outside;
}

void require_marked(const std::string& directory, const Marker& marker,
                    const std::set<std::string>& places, const repo::Backup& backup) {
  const bool is_its_own = marker.directory == identity_of_directory(directory);
  for (const std::string& place : places) {
    const std::string version = version_directory(place, backup);
    if (is_unused(version)) continue;
    if (is_its_own && has_token(version, marker.token)) continue;
    throw Error({.code = ErrorCode::kAlreadyExists,
                 .message = fmt::format(
                     "tablespace directory \"{}\" is not known to be this restore's", version),
                 .detail = fmt::format(
                     "The restore that was interrupted in \"{}\" names it, {}: another "
                     "cluster may use it by now.",
                     directory,
                     is_its_own ? fmt::format("and it has no \"{}\" of that restore", kTokenName)
                                : std::string("but that note was copied from another directory")),
                 .hint = fmt::format(
                     "If no cluster uses it, remove it: rm -r {}. If one does, take the "
                     "line \"tablespace {}\" out of \"{}\" and the link to it out of "
                     "\"{}\", or restore into another directory.",
                     version, place, marker_path(directory), join_path(directory, "pg_tblspc"))});
  }
}

void require_not_of(const std::string& original, const std::string& directory,
                    const std::set<std::string>& places) {
  if (original.empty() || !is_directory(original) ||
      resolved_path(original) == resolved_path(directory))
    return;
  std::set<std::string> resolved;
  for (const std::string& place : places) resolved.insert(resolved_path(place));
  for (const std::string& place : linked_places(original)) {
    if (!resolved.contains(resolved_path(place))) continue;
    throw Error(
        {.code = ErrorCode::kConflict,
         .message =
             fmt::format("tablespace directory \"{}\" is also that of \"{}\"", place, original),
         .detail = fmt::format("\"{}\" is a copy of that data directory and links to the same "
                               "place.",
                               directory),
         .hint = "If the other one is not used any more, move it away. Else lay the tablespace "
                 "elsewhere (--tablespace OLD=NEW), and take the link away."});
  }
}

void require_unused(const std::set<std::string>& places, const std::string& directory) {
  std::set<std::string> directories;
  for (const std::string& place : places)
    for (const DirectoryEntry& entry :
         list_directory_if_exists(place).value_or(std::vector<DirectoryEntry>()))
      if (entry.name.starts_with("PG_")) directories.insert(join_path(place, entry.name));
  const std::optional<cluster::DirectoryUse> use = cluster::find_use_of(directories, directory);
  if (!use) return;
  throw Error({.code = ErrorCode::kBusy,
               .message = fmt::format("tablespace directory \"{}\" is in use", use->directory),
               .detail = use->how,
               .hint = "Stop that process, if the directory is this cluster's alone. Else the link "
                       "that leads there is of a copied data directory: lay the tablespace "
                       "elsewhere (--tablespace OLD=NEW), and take the link away."});
}

}  // namespace holdfast::restore
