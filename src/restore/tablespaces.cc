#include "restore/tablespaces.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <system_error>
#include <unistd.h>

#include <fmt/format.h>

#include "base/error.h"
#include "base/file.h"

namespace holdfast::restore {
namespace {

constexpr const char* kMoveHint =
    "Write --tablespace OLD=NEW, for example --tablespace /srv/fast=/srv/fast2 or --tablespace "
    "16384=/srv/fast2.";

[[noreturn]] void throw_usage(std::string message, std::string detail) {
  throw Error({.code = ErrorCode::kUsage,
               .message = std::move(message),
               .detail = std::move(detail),
               .hint = kMoveHint});
}

bool lies_in(const std::string& path, const std::string& directory) {
  return path == directory || path.starts_with(directory == "/" ? directory : directory + "/");
}

std::string list_of(const std::vector<repo::Tablespace>& tablespaces) {
  if (tablespaces.empty()) return "It has no tablespace beside the built-in ones.";
  std::vector<std::string> lines;
  for (const repo::Tablespace& tablespace : tablespaces)
    lines.push_back(fmt::format("{} at \"{}\"", tablespace.oid, tablespace.path));
  return fmt::format("It has: {}.", fmt::join(lines, ", "));
}

// The place of one tablespace that `was` names, by its oid or by its recorded path.
TablespacePlace& find_place(std::vector<TablespacePlace>& places, const std::string& was,
                            const repo::Backup& backup) {
  uint32_t oid = 0;
  const char* end = was.data() + was.size();
  auto [stop, error] = std::from_chars(was.data(), end, oid);
  const bool is_oid = error == std::errc() && stop == end;
  auto found = std::ranges::find_if(places, [&](const TablespacePlace& place) {
    return is_oid ? place.oid == oid
                  : !place.recorded.empty() && absolute_path(place.recorded) == absolute_path(was);
  });
  if (found != places.end()) return *found;
  throw Error({.code = ErrorCode::kNotFound,
               .message = fmt::format("backup {} has no tablespace \"{}\"", backup.id, was),
               .detail = list_of(backup.tablespaces),
               .hint = kMoveHint});
}

void require_apart_from_data(const TablespacePlace& place, const std::string& directory) {
  const std::string here = resolved_path(place.place);
  const std::string data = resolved_path(directory);
  const bool is_inside = lies_in(here, data);
  if (!is_inside && !lies_in(data, here)) return;
  throw Error({.code = ErrorCode::kConflict,
               .message = fmt::format("\"{}\" is no place for tablespace {}: {} the data directory",
                                      place.place, place.oid, is_inside ? "it is in" : "it holds"),
               .detail = fmt::format("The data directory is \"{}\".", directory),
               .hint = "Name a directory apart from it."});
}

void require_apart(const std::vector<TablespacePlace>& places) {
  for (const TablespacePlace& moved : places) {
    if (!moved.is_moved) continue;
    for (const TablespacePlace& other : places) {
      if (&moved == &other || other.recorded.empty()) continue;
      const std::string here = resolved_path(moved.place);
      const std::string there = resolved_path(other.place);
      if (!lies_in(here, there) && !lies_in(there, here)) continue;
      throw Error(
          {.code = ErrorCode::kConflict,
           .message = fmt::format("tablespaces {} and {} would lie in one place",
                                  std::min(moved.oid, other.oid), std::max(moved.oid, other.oid)),
           .detail = fmt::format("{} is to be at \"{}\", {} at \"{}\".", moved.oid, moved.place,
                                 other.oid, other.place),
           .hint = "Name a directory of its own for each."});
    }
  }
}

void require_free(const TablespacePlace& place, const std::set<std::string>& own) {
  const std::optional<struct stat> status = stat_if_exists(place.place);
  if (!status) {
    if (!lstat_if_exists(place.place)) return;
    throw Error({.code = ErrorCode::kAlreadyExists,
                 .message = fmt::format("\"{}\" is a link that leads nowhere", place.place),
                 .detail = "",
                 .hint = "Name a directory that does not exist or is empty."});
  }
  if (!S_ISDIR(status->st_mode)) {
    throw Error({.code = ErrorCode::kAlreadyExists,
                 .message = fmt::format("\"{}\" is not a directory", place.place),
                 .detail = fmt::format("Tablespace {} was to be laid there.", place.oid),
                 .hint = "Name a directory that does not exist or is empty."});
  }
  const std::string here = resolved_path(place.place);
  if (std::ranges::any_of(own,
                          [&](const std::string& path) { return resolved_path(path) == here; }))
    return;
  if (is_empty_directory(place.place)) return;
  throw Error({.code = ErrorCode::kAlreadyExists,
               .message = fmt::format("tablespace directory \"{}\" is not empty", place.place),
               .detail = fmt::format("Tablespace {} was to be laid there, and the files in it are "
                                     "not known to be this cluster's.",
                                     place.oid),
               .hint = "Name a directory that does not exist or is empty."});
}

}  // namespace

bool is_moved(const std::vector<TablespaceMove>& moves, const repo::Tablespace& tablespace) {
  return std::ranges::any_of(moves, [&](const TablespaceMove& move) {
    return move.was == std::to_string(tablespace.oid) || move.was == tablespace.path;
  });
}

TablespaceMove parse_tablespace_move(std::string_view text) {
  TablespaceMove move;
  size_t at = 0;
  for (; at < text.size() && text[at] != '='; ++at) {
    if (text.substr(at).starts_with("\\=")) ++at;
    move.was += text[at];
  }
  if (at == text.size() || move.was.empty() || at + 1 == text.size())
    throw_usage(fmt::format("invalid value \"{}\" for --tablespace", text),
                "It is the tablespace's recorded path or its oid, an equals sign, and the new "
                "directory.");
  move.to = std::string(text.substr(at + 1));
  if (!move.to.starts_with('/'))
    throw_usage(fmt::format("the new place \"{}\" of a tablespace is relative", move.to),
                "The server finds a tablespace by its absolute path.");
  if (move.to.find_first_of("\n\r") != std::string::npos)
    throw_usage("the new place of a tablespace has a line break in its name",
                "Not every server can read it from tablespace_map.");
  move.to = absolute_path(move.to);
  return move;
}

std::string tablespace_link_text(const std::string& directory, const std::string& place) {
  const std::string inside = directory + "/";
  return place.starts_with(inside) ? "../" + place.substr(inside.size()) : place;
}

void set_tablespace_link(const std::string& directory, uint32_t oid, const std::string& text) {
  const std::string links = join_path(directory, "pg_tblspc");
  const std::string link = join_path(links, std::to_string(oid));
  // Its first name begins as no tablespace's does.
  const std::string temporary = join_path(directory, fmt::format("holdfast_link.{}", oid));
  remove_file_if_exists(temporary);
  if (symlink(text.c_str(), temporary.c_str()) != 0) throw_errno("create link", temporary);
  const std::optional<struct stat> owner = lstat_if_exists(link);
  if (owner && geteuid() == 0 && lchown(temporary.c_str(), owner->st_uid, owner->st_gid) != 0)
    throw_errno("change owner of", temporary);
  rename_path(temporary, link);
  fsync_directory(links);
  fsync_directory(directory);
}

std::string resolved_path(const std::string& path) {
  std::error_code failed;
  const std::string resolved = std::filesystem::weakly_canonical(path, failed).string();
  if (failed) return absolute_path(path);
  return resolved.size() > 1 && resolved.ends_with('/') ? resolved.substr(0, resolved.size() - 1)
                                                        : resolved;
}

std::vector<TablespacePlace> place_tablespaces(const PlacesOptions& options,
                                               const repo::Backup& backup) {
  std::vector<TablespacePlace> places;
  for (const repo::Tablespace& tablespace : backup.tablespaces)
    places.push_back({.oid = tablespace.oid,
                      .recorded = tablespace.path,
                      .place = options.is_copy ? fmt::format("{}/{}/{}", options.directory,
                                                             kTablespacesDirectory, tablespace.oid)
                                               : tablespace.path});
  for (const TablespaceMove& move : options.moves) {
    TablespacePlace& place = find_place(places, move.was, backup);
    if (place.is_moved)
      throw_usage(fmt::format("tablespace {} was given more than one place", place.oid),
                  fmt::format("\"{}\" and \"{}\".", place.place, move.to));
    if (place.recorded.empty()) {
      throw Error({.code = ErrorCode::kUnsupported,
                   .message = fmt::format("tablespace {} cannot be moved", place.oid),
                   .detail = "It is a directory in the data directory "
                             "(allow_in_place_tablespaces), which has no path of its own.",
                   .hint = "Leave it out of --tablespace."});
    }
    place.place = move.to;
    place.is_moved = true;
  }
  for (const TablespacePlace& place : places)
    if (place.is_moved) require_apart_from_data(place, options.directory);
  require_apart(places);
  for (const TablespacePlace& place : places)
    if (place.is_moved) require_free(place, options.own);
  return places;
}

}  // namespace holdfast::restore
