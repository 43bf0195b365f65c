#include "restore/marker.h"

#include <algorithm>
#include <charconv>
#include <fcntl.h>
#include <string_view>
#include <sys/stat.h>
#include <vector>

#include <fmt/core.h>

#include "base/error.h"
#include "base/file.h"
#include "cluster/data_directory.h"
#include "cluster/start_barrier.h"

namespace holdfast::restore {
namespace {

constexpr std::string_view kMarkerText =
    "A restore by holdfast is under way in this directory, or was interrupted: no server can be "
    "started on it.\n"
    "Run the same restore again.\n";
constexpr std::string_view kUntouchedText =
    "A restore by holdfast is about to clear this directory: no server can be started on it.\n"
    "Nothing is cleared yet. Run the restore again; or, to have the server back as it was, when no "
    "holdfast works here any more: mv {} {}, and remove this file.\n";
constexpr std::string_view kMarkerDirectory = "directory ";
constexpr std::string_view kMarkerHost = "host ";
constexpr std::string_view kMarkerProcess = "process ";
constexpr std::string_view kMarkerToken = "token ";
// Before each directory that the restore fills outside.
constexpr std::string_view kMarkerPlace = "tablespace ";
constexpr std::string_view kMarkerKeeps = "configuration kept";
constexpr std::string_view kMarkerUntouched = "nothing is cleared yet";
constexpr size_t kMaxMarkerBytes = size_t{16} << 20;

std::string_view next_word(std::string_view& text) {
  const std::string_view word = text.substr(0, text.find(' '));
  text.remove_prefix(std::min(text.size(), word.size() + 1));
  return word;
}

template <typename Number>
Number number_of(std::string_view word) {
  Number number{};
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), number);
  return error == std::errc() && end == word.data() + word.size() ? number : Number{};
}

void take_process(std::string_view line, Marker& marker) {
  ProcessIdentity process;
  process.pid = marker.pid = number_of<int64_t>(next_word(line));
  process.start = number_of<uint64_t>(next_word(line));
  process.machine = next_word(line);
  process.boot = next_word(line);
  process.namespaces = line;
  if (!process.namespaces.empty()) marker.process = std::move(process);
}

void take_line(std::string_view line, Marker& marker) {
  const auto rest_behind = [&](std::string_view begin) {
    return line.starts_with(begin) ? std::optional(line.substr(begin.size())) : std::nullopt;
  };
  if (const auto directory = rest_behind(kMarkerDirectory)) marker.directory = *directory;
  if (const auto host = rest_behind(kMarkerHost)) marker.host = *host;
  if (const auto process = rest_behind(kMarkerProcess)) take_process(*process, marker);
  if (const auto token = rest_behind(kMarkerToken)) marker.token = *token;
  if (const auto place = rest_behind(kMarkerPlace); place && place->starts_with('/'))
    marker.places.emplace(*place);
  if (line == kMarkerKeeps) marker.keeps_configuration = true;
  if (line == kMarkerUntouched) marker.is_untouched = true;
}

}  // namespace

std::string marker_path(const std::string& directory) { return join_path(directory, kMarkerName); }

std::optional<Marker> read_marker(const std::string& directory) {
  const std::optional<Bytes> bytes = read_if_exists(marker_path(directory), kMaxMarkerBytes);
  if (!bytes) return std::nullopt;
  Marker marker;
  std::string_view text = as_text(*bytes);
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    take_line(line, marker);
    text.remove_prefix(std::min(text.size(), line.size() + 1));
  }
  return marker;
}

void write_marker(const std::string& directory, const Marker& marker,
                  const std::optional<OwnerIds>& owner) {
  std::string text = marker.is_untouched ? fmt::format(kUntouchedText, cluster::kBarredControlFile,
                                                       pg::kControlFilePath)
                                         : std::string(kMarkerText);
  const auto add = [&](std::string_view begin, std::string_view rest) {
    if (!rest.empty()) text += fmt::format("{}{}\n", begin, rest);
  };
  add(kMarkerDirectory, marker.directory);
  add(kMarkerHost, marker.host);
  if (marker.process)
    add(kMarkerProcess,
        fmt::format("{} {} {} {} {}", marker.process->pid, marker.process->start,
                    marker.process->machine, marker.process->boot, marker.process->namespaces));
  else if (marker.pid != 0)
    add(kMarkerProcess, std::to_string(marker.pid));
  add(kMarkerToken, marker.token);
  for (const std::string& place : marker.places) add(kMarkerPlace, place);
  if (marker.keeps_configuration) text += fmt::format("{}\n", kMarkerKeeps);
  if (marker.is_untouched) text += fmt::format("{}\n", kMarkerUntouched);
  write_owned_file(marker_path(directory), as_bytes(text), cluster::file_mode_in(directory), owner);
}

bool is_marker_begun(const std::string& directory) {
  std::vector<DirectoryEntry> entries =
      list_directory_if_exists(directory).value_or(std::vector<DirectoryEntry>());
  std::erase_if(entries,
                [](const DirectoryEntry& entry) { return is_file_systems_own(entry.name); });
  return !entries.empty() && std::ranges::all_of(entries, [](const DirectoryEntry& entry) {
    return entry.name.starts_with(kMarkerName) && entry.name.ends_with(".tmp");
  });
}

void remove_marker(const std::string& directory) {
  remove_file(marker_path(directory));
  fsync_directory(directory);
}

std::string identity_of_directory(const std::string& directory) {
  struct statx status{};
  if (statx(AT_FDCWD, directory.c_str(), 0, STATX_INO | STATX_BTIME, &status) != 0)
    throw_errno("stat", directory);
  const bool knows_birth = (status.stx_mask & STATX_BTIME) != 0;
  return fmt::format(
      "{} {}", status.stx_ino,
      knows_birth ? fmt::format("{}.{:09}", status.stx_btime.tv_sec, status.stx_btime.tv_nsec)
                  : "-");
}

}  // namespace holdfast::restore
