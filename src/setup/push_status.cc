#include "setup/push_status.h"

#include <algorithm>
#include <array>
#include <vector>

namespace holdfast::setup {
namespace {

using std::string_view_literals::operator""sv;

// bash -o pipefail: a pipeline fails with any of its commands.
constexpr std::string_view kPipefail = "pipefail";

// A simple command, and the operator before it.
struct Step {
  std::string_view before;  // "||", "|", "&&", "&" or ";", which a line's end is too
  std::string words;
};

// The quotation mark of the text in which that place lies, as in sh -c '...'; else '\0'.
char quoted_by(std::string_view text, size_t place) {
  char mark = '\0';
  for (size_t at = 0; at < place; ++at) {
    if (text[at] == '\\' && mark != '\'')
      ++at;
    else if (mark == '\0' && (text[at] == '\'' || text[at] == '"'))
      mark = text[at];
    else if (text[at] == mark)
      mark = '\0';
  }
  return mark;
}

std::string_view operator_at(std::string_view text, size_t at) {
  for (const std::string_view both : {"||"sv, "&&"sv})
    if (text.substr(at).starts_with(both)) return both;
  // Of a redirection: 2>&1.
  const bool is_duplication =
      text[at] == '&' && at > 0 && (text[at - 1] == '>' || text[at - 1] == '<');
  if (is_duplication) return {};
  for (const std::string_view one : {"|"sv, "&"sv, ";"sv})
    if (text[at] == one.front()) return one;
  return text[at] == '\n' ? ";"sv : std::string_view();
}

// What follows in `text`, which begins with the rest of a command; `mark` is open there.
std::vector<Step> steps_of(std::string_view text, char mark) {
  std::vector<Step> steps = {{.before = {}, .words = {}}};
  for (size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    std::string& words = steps.back().words;
    if (const std::string_view found = operator_at(text, at); !found.empty()) {
      steps.push_back({.before = found, .words = {}});
      at += found.size() - 1;
    } else if (c == '#' && (at == 0 || text[at - 1] == ' ')) {
      at = std::min(text.find('\n', at), text.size()) - 1;
    } else if (c == mark) {
      mark = '\0';
    } else if (c == '\\' || c == '\'' || c == '"') {
      const size_t end = c == '\\' ? at + 1 : text.find(c, at + 1);
      words += text.substr(at, end == std::string_view::npos ? end : end - at + 1);
      at = std::min(end, text.size());
    } else if (c == ')' || c == '}' || c == ' ' || c == '\t') {
      if (!words.empty() && words.back() != ' ') words += ' ';
    } else {
      words += c;
    }
  }
  for (Step& step : steps)
    while (step.words.ends_with(' ')) step.words.pop_back();
  return steps;
}

bool succeeds(std::string_view words) {
  constexpr std::array kAlways = {"true"sv, ":"sv, "/bin/true"sv, "/usr/bin/true"sv, "exit 0"sv};
  return std::ranges::find(kAlways, words) != kAlways.end();
}

}  // namespace

PushStatus push_status(std::string_view archive_command) {
  using Heard = PushStatus::Heard;
  const size_t push = archive_command.rfind(kPush);
  if (push == std::string_view::npos) return {};
  const bool has_pipefail =
      archive_command.substr(0, push).find(kPipefail) != std::string_view::npos;
  PushStatus status;
  for (const Step& step :
       steps_of(archive_command.substr(push + kPush.size()), quoted_by(archive_command, push))) {
    const std::string_view before = step.before;
    const bool decides = before == "||" || before == ";";
    const bool hides =
        before == "&" || (before == "|" && !has_pipefail) || (decides && succeeds(step.words));
    const std::string seen = std::string(before) + (step.words.empty() ? "" : " ") + step.words;
    if (hides) return {.heard = Heard::kNo, .hidden_by = seen};
    if (!decides || step.words.empty() || step.words == "false") continue;
    if (step.words == "exit" || step.words.starts_with("exit ")) return status;
    if (status.heard == Heard::kYes) status = {.heard = Heard::kPerhaps, .hidden_by = seen};
  }
  return status;
}

}  // namespace holdfast::setup
