#include "cli/whole_commands.h"

#include <algorithm>
#include <array>

namespace holdfast::cli {
namespace {

constexpr std::string_view kProgram = "holdfast ";

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
