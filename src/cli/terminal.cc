#include "cli/terminal.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <sys/ioctl.h>
#include <unistd.h>

namespace holdfast::cli {
namespace {

constexpr std::string_view kGreen = "\x1b[32m";
constexpr std::string_view kYellow = "\x1b[33m";
constexpr std::string_view kRed = "\x1b[31m";
constexpr std::string_view kPlain = "\x1b[0m";

struct Outcome {
  std::string_view word;
  std::string_view colour;
};
// With what stands behind them: a sentence may begin with such a word too.
constexpr std::array kOutcomes = {
    Outcome{"ok  ", kGreen},      Outcome{"Passed:", kGreen}, Outcome{"warning  ", kYellow},
    Outcome{"WARNING:", kYellow}, Outcome{"failed  ", kRed},  Outcome{"Failed:", kRed},
    Outcome{"ERROR:", kRed},      Outcome{"FATAL:", kRed},    Outcome{"HOLE:", kRed},
    Outcome{"OK  ", kGreen},      Outcome{"CRITICAL", kRed}};
constexpr std::string_view kMissing = "  MISSING  ";

std::string coloured_line(std::string_view line) {
  const size_t ink = std::min(line.find_first_not_of(' '), line.size());
  for (const Outcome& outcome : kOutcomes) {
    if (!line.substr(ink).starts_with(outcome.word)) continue;
    const size_t end = outcome.word.find_last_not_of(' ') + 1;
    return std::string(line.substr(0, ink))
        .append(outcome.colour)
        .append(outcome.word.substr(0, end))
        .append(kPlain)
        .append(line.substr(ink + end));
  }
  const size_t missing = line.find(kMissing);
  if (missing == std::string_view::npos) return std::string(line);
  return std::string(line.substr(0, missing))
      .append(kRed)
      .append(kMissing)
      .append(kPlain)
      .append(line.substr(missing + kMissing.size()));
}

// Where the text of a line begins, behind its name or outcome; at most in the middle.
size_t text_begin(std::string_view line, size_t columns) {
  const size_t ink = std::min(line.find_first_not_of(' '), line.size());
  const size_t gap = line.find("  ", ink);
  if (gap != std::string_view::npos) {
    const size_t text = line.find_first_not_of(' ', gap);
    if (text != std::string_view::npos && text <= columns / 2 &&
        line.substr(0, gap).find(' ', ink) == std::string_view::npos)
      return text;
  }
  return ink + 2;
}

// "...: holdfast restore ...", "connect:    psql -h ...": to be pasted.
bool ends_with_command(std::string_view line) {
  constexpr std::array<std::string_view, 9> kPrograms = {
      "holdfast ", "psql ", "pg_ctl ", "systemctl ", "sudo ", "chown ", "chmod ", "rm ", "mv "};
  for (size_t colon = line.find(": "); colon != std::string_view::npos;
       colon = line.find(": ", colon + 1)) {
    const std::string_view rest =
        line.substr(std::min(line.find_first_not_of(' ', colon + 1), line.size()));
    if (std::ranges::any_of(kPrograms,
                            [&](std::string_view name) { return rest.starts_with(name); }))
      return true;
  }
  return false;
}

std::string fitted_line(std::string_view line, size_t columns) {
  if (columns_of(line) <= columns || ends_with_command(line)) return std::string(line);
  const size_t indent = text_begin(line, columns);
  std::string out;
  size_t used = 0;
  char quoted_by = '\0';
  for (size_t at = 0; at < line.size();) {
    // A word, with the blanks before it; what is quoted is one.
    size_t end = std::min(line.find_first_not_of(' ', at), line.size());
    for (; end < line.size() && (quoted_by != '\0' || line[end] != ' '); ++end) {
      // Of SQL and of a shell; one within a word is an apostrophe.
      const bool opens = line[end] == '"' || (line[end] == '\'' && end > 0 && line[end - 1] == ' ');
      if (quoted_by == line[end])
        quoted_by = '\0';
      else if (quoted_by == '\0' && opens)
        quoted_by = line[end];
    }
    std::string_view word = line.substr(at, end - at);
    if (used > indent && used + columns_of(word) > columns) {
      out += "\n" + std::string(indent, ' ');
      used = indent;
      word.remove_prefix(std::min(word.find_first_not_of(' '), word.size()));
    }
    out += word;
    used += columns_of(word);
    at = end;
  }
  return out;
}

// The first byte of a character of UTF-8.
bool begins_character(char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }

template <typename Work>
std::string by_line(std::string_view text, const Work& work) {
  std::string out;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    out += work(text.substr(0, end));
    if (end < text.size()) out += '\n';
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return out;
}

}  // namespace

size_t terminal_width(int fd) {
  constexpr size_t kUsual = 80;
  if (isatty(fd) != 1) return 0;
  winsize size{};
  return ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : kUsual;
}

bool wants_colour(ColourWhen when, int fd) {
  if (when != ColourWhen::kAuto) return when == ColourWhen::kAlways;
  const char* no_colour = getenv("NO_COLOR");
  const char* terminal = getenv("TERM");
  if (no_colour != nullptr && *no_colour != '\0') return false;
  return isatty(fd) == 1 && (terminal == nullptr || std::string_view(terminal) != "dumb");
}

std::string coloured(std::string_view text) { return by_line(text, coloured_line); }

std::string fitted(std::string_view text, size_t columns) {
  return by_line(text, [&](std::string_view line) { return fitted_line(line, columns); });
}

size_t columns_of(std::string_view text) {
  return static_cast<size_t>(std::ranges::count_if(text, begins_character));
}

std::string cut_to(std::string_view text, size_t columns) {
  if (columns_of(text) <= columns) return std::string(text);
  if (columns == 0) return {};
  size_t at = 0, taken = 0;
  for (; at < text.size(); ++at)
    if (begins_character(text[at]) && ++taken == columns) break;
  return std::string(text.substr(0, at)) + "…";
}

}  // namespace holdfast::cli
