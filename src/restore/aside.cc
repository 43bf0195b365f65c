#include "restore/aside.h"

#include <string_view>

#include <fmt/core.h>

#include "base/error.h"
#include "base/file.h"
#include "base/process.h"

namespace holdfast::restore {
namespace {

constexpr std::string_view kFrom = "from ";
constexpr std::string_view kTo = "to ";
constexpr size_t kMaxNoteBytes = size_t{1} << 20;
constexpr mode_t kMode = 0644;  // whoever restores here must be able to read it

// Where what lies at `from` goes for the one that comes back from `to`.
std::string replaced_by(const std::string& from, const std::string& to) {
  const size_t time = to.rfind(kAsideSuffix);
  return fmt::format("{}.holdfast-replaced-{}", from,
                     time == std::string::npos ? "" : to.substr(time + kAsideSuffix.size()));
}

// Of those that the note names what still lies aside.
Moves read_aside_note(const std::string& data_directory) {
  Moves moves;
  const std::optional<Bytes> note = read_if_exists(aside_note_path(data_directory), kMaxNoteBytes);
  if (!note) return moves;
  std::string from;
  for (std::string_view text = as_text(*note); !text.empty();) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    if (line.starts_with(kFrom)) from = line.substr(kFrom.size());
    if (!line.starts_with(kTo) || from.empty()) continue;
    const std::string to(line.substr(kTo.size()));
    if (is_directory(to)) moves.emplace_back(from, to);
  }
  return moves;
}

}  // namespace

// Nothing is deleted: who types it twice, or before anything was moved, loses nothing, nor does who
// has committed on what was brought back.
std::string how_to_put_back(const std::string& data_directory, const Moves& aside) {
  if (aside.empty())
    return fmt::format("Its data directory is still at \"{}\"; start the server.", data_directory);
  std::string words =
      fmt::format("To put it back, stop the server if one runs on \"{}\", then:", data_directory);
  for (const auto& [from, to] : aside)
    words += fmt::format("\ntest -d {1} && {{ test ! -e {0} || mv -T {0} {2}; }} && mv -T {1} {0}",
                         shell_quote(from), shell_quote(to), shell_quote(replaced_by(from, to)));
  return words +
         "\nand start the server. What was committed on the one that was there meanwhile is in "
         "what these commands put beside it.";
}

std::string aside_note_path(const std::string& data_directory) {
  return data_directory + ".holdfast-aside";
}

void write_aside_note(const std::string& data_directory, const Moves& moves) {
  std::string text =
      "A drill by holdfast moves the cluster aside, and has not brought it back yet. What was not "
      "archived lies in no other place.\n" +
      how_to_put_back(data_directory, moves) + "\n";
  for (const auto& [from, to] : moves) text += fmt::format("{}{}\n{}{}\n", kFrom, from, kTo, to);
  write_file_durably(aside_note_path(data_directory), as_bytes(text), kMode);
}

void remove_aside_note(const std::string& data_directory) {
  const std::string path = aside_note_path(data_directory);
  remove_file(path);
  fsync_parent(path);
}

void require_nothing_aside(const std::string& data_directory) {
  const Moves aside = read_aside_note(data_directory);
  if (aside.empty()) return;
  const std::string note = aside_note_path(data_directory);
  throw Error(
      {.code = ErrorCode::kConflict,
       .message = fmt::format("the cluster of \"{}\" lies in \"{}\", where a drill has moved it",
                              data_directory, aside.front().second),
       .detail = fmt::format("\"{}\" says so: the drill ended before it had brought the cluster "
                             "back. What was committed and not archived is there and nowhere else.",
                             note),
       .hint = fmt::format("{}\nOr archive what its WAL holds, and restore:\nholdfast wal salvage "
                           "{} && rm {}",
                           how_to_put_back(data_directory, aside),
                           shell_quote(aside.front().second), shell_quote(note))});
}

}  // namespace holdfast::restore
