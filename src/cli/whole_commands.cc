#include "cli/whole_commands.h"

#include <algorithm>
#include <array>
#include <optional>

#include "base/error.h"
#include "base/file.h"
#include "base/process.h"

namespace holdfast::cli {
namespace {

constexpr std::string_view kProgram = "holdfast ";
constexpr std::string_view kWalPush = "wal push ";
constexpr std::string_view kInDataDirectory = "pg_wal/";
constexpr std::string_view kHexDigits = "0123456789ABCDEF";
constexpr size_t kTimelineDigits = 8;  // with which the name of every file of WAL begins

bool has_option(std::string_view command, std::string_view name) {
  for (size_t at = command.find(name); at != std::string_view::npos;
       at = command.find(name, at + 1)) {
    const size_t end = at + name.size();
    if (command[at - 1] == ' ' &&
        (end == command.size() || command[end] == ' ' || command[end] == '='))
      return true;
  }
  return false;
}

bool may_begin_at(std::string_view text, size_t at) {
  if (at == 0) return true;
  const char before = text[at - 1];
  if (before == '\n' || before == '"' || before == '(') return true;
  if (before != ' ') return false;
  // One blank, or those that indent the line: a column of a table is no sentence.
  const size_t ink = text.find_last_not_of(' ', at - 1);
  return ink == std::string_view::npos || text[ink] == '\n' || ink == at - 2;
}

// The file that "wal push FILE" names, where it is one of a server's pg_wal and not where that is;
// `words`: what follows the program's name.
std::optional<std::string_view> file_without_place(std::string_view words) {
  if (!words.starts_with(kWalPush)) return std::nullopt;
  words.remove_prefix(kWalPush.size());
  std::string_view file = words.substr(0, words.find_first_of(" \n\"',;)"));
  while (file.ends_with('.') || file.ends_with(':')) file.remove_suffix(1);
  const std::string_view name =
      file.starts_with(kInDataDirectory) ? file.substr(kInDataDirectory.size()) : file;
  if (name.size() <= kTimelineDigits || name.find('/') != std::string_view::npos ||
      name.substr(0, kTimelineDigits).find_first_not_of(kHexDigits) != std::string_view::npos)
    return std::nullopt;
  return file;
}

}  // namespace

bool WholeCommands::is_command(std::string_view text, size_t at) const {
  if (!may_begin_at(text, at)) return false;
  const std::string_view rest = text.substr(at + kProgram.size());
  const std::string_view verb = rest.substr(0, rest.find_first_of(" \n\"'`),.;:"));
  return std::ranges::find(verbs_, verb) != verbs_.end();
}

std::string WholeCommands::complete(std::string_view text) const {
  std::string out;
  size_t copied = 0;
  for (size_t at = text.find(kProgram); at != std::string_view::npos;
       at = text.find(kProgram, at + kProgram.size())) {
    if (!is_command(text, at)) continue;
    const std::string_view command = text.substr(at, text.find_first_of("\"\n", at) - at);
    if (has_option(command, "--help")) continue;
    out += text.substr(copied, at + kProgram.size() - copied);
    copied = at + kProgram.size();
    for (const Option& option : options_)
      if (std::ranges::none_of(option.names,
                               [&](const auto& name) { return has_option(command, name); }))
        out += option.words + " ";
    if (data_directory_.empty()) continue;
    const std::optional<std::string_view> file =
        file_without_place(command.substr(kProgram.size()));
    if (!file) continue;
    const std::string path = join_path(join_path(data_directory_, "pg_wal"),
                                       std::string(file->substr(file->find('/') + 1)));
    bool is_there = false;  // another server's file is not
    error_of([&] { is_there = stat_if_exists(path).has_value(); });
    if (!is_there) continue;
    out.append(kWalPush).append(shell_quote(path));
    copied += kWalPush.size() + file->size();
  }
  return out.append(text.substr(copied));
}

Json WholeCommands::complete_sentences(const Json& document) const {
  constexpr std::array<std::string_view, 4> kSentences = {"message", "detail", "hint", "summary"};
  if (document.is_array()) {
    Json out = Json::array();
    for (const Json& item : document.items()) out.push(complete_sentences(item));
    return out;
  }
  if (!document.is_object()) return document;
  Json out = Json::object();
  for (const auto& [key, value] : document.members())
    out.set(key, std::ranges::find(kSentences, key) != kSentences.end()
                     ? Json(complete(value.as_string()))
                     : complete_sentences(value));
  return out;
}

}  // namespace holdfast::cli
