#include "view/check.h"

#include <algorithm>
#include <array>
#include <string_view>

#include <fmt/format.h>

namespace holdfast::view {
namespace {

constexpr size_t kOutcomeWidth = 9;  // "warning" and two spaces

// The text behind its label, its further lines below its first.
void add_part(std::string& out, std::string_view label, std::string_view text) {
  if (text.empty()) return;
  std::string indent(kOutcomeWidth, ' ');
  out += indent + std::string(label) + ":  ";
  for (char c : text) {
    out += c;
    if (c == '\n') out += indent + "    ";
  }
  out += '\n';
}

// One line, without what begins the performance data.
std::string for_nagios(std::string text) {
  for (char& c : text) c = c == '|' ? '/' : c == '\n' ? ' ' : c;
  return text;
}

std::string without_full_stop(std::string text) {
  while (text.ends_with('.')) text.pop_back();
  return text;
}

std::string closing(const setup::CheckResult& result) {
  if (const setup::CheckItem* cause = result.cause())
    return fmt::format("{} {}.{}{}",
                       result.proven      ? "Archiving works, but"
                       : result.read_only ? "Not all is well:"
                                          : "Archiving is not proven:",
                       without_full_stop(cause->message), cause->hint.empty() ? "" : " ",
                       cause->hint);
  auto warnings =
      std::ranges::count(result.items, setup::CheckOutcome::kWarning, &setup::CheckItem::outcome);
  std::string works =
      result.read_only ? std::string("Nothing is wrong, as far as it can be told without writing")
                       : fmt::format("Archiving works: segment {} was read back", result.segment);
  if (warnings == 0) return works + ".";
  return fmt::format("{}. See to the {} above.", works,
                     warnings == 1 ? std::string("warning") : fmt::format("{} warnings", warnings));
}

bool is_wrong(const setup::CheckItem& item) {
  return item.outcome == setup::CheckOutcome::kWarning ||
         item.outcome == setup::CheckOutcome::kFailed;
}

std::string lines(const setup::CheckResult& result, bool wrong_only) {
  std::string out;
  for (const setup::CheckItem& item : result.items) {
    if (wrong_only && !is_wrong(item)) continue;
    out += fmt::format("{:<{}}{}: {}\n", setup::to_string(item.outcome), kOutcomeWidth, item.name,
                       item.message);
    add_part(out, "DETAIL", item.detail);
    // The hint of the cause is the last line.
    if (&item != result.cause()) add_part(out, "HINT", item.hint);
  }
  return out + closing(result) + "\n";
}

}  // namespace

int nagios_status(const setup::CheckResult& result) {
  if (result.cause() != nullptr) return 2;
  return result.is_well() ? 0 : 1;
}

std::string nagios_unknown(std::string_view message) {
  return fmt::format("HOLDFAST UNKNOWN - {}\n", for_nagios(std::string(message)));
}

// label=value[unit];[warning];[critical];[minimum], as the guidelines for plugins have it.
std::string nagios_line(const setup::CheckResult& result, std::string_view cluster) {
  constexpr std::array<std::string_view, 3> kWords = {"OK", "WARNING", "CRITICAL"};
  const int status = nagios_status(result);
  std::string message = without_full_stop(closing(result));
  // The first warning in place of "see above".
  const auto warning =
      std::ranges::find(result.items, setup::CheckOutcome::kWarning, &setup::CheckItem::outcome);
  if (status == 1) message = fmt::format("{}: {}", warning->name, warning->message);
  const auto wrong = std::ranges::count_if(result.items, is_wrong);
  if (wrong > 1) message += fmt::format(" (and {} more)", wrong - 1);
  std::string line =
      fmt::format("HOLDFAST {} - cluster {}: {}", kWords.at(static_cast<size_t>(status)), cluster,
                  for_nagios(std::move(message)));
  std::string_view before = " |";
  for (const setup::CheckFigure& figure : result.figures) {
    line += fmt::format("{} {}={:.{}f}{};;{};0", before, figure.name, figure.value,
                        figure.unit == "s" ? 3 : 0, figure.unit,
                        figure.limit ? fmt::format("{:.15g}", *figure.limit) : "");
    before = "";
  }
  return line + "\n";
}

std::string text(const setup::CheckResult& result) { return lines(result, false); }

std::string text_of_what_is_wrong(const setup::CheckResult& result) { return lines(result, true); }

Json json(const setup::CheckResult& result) {
  Json checks = Json::array();
  for (const setup::CheckItem& item : result.items)
    checks.push(Json::object()
                    .set("name", item.name)
                    .set("outcome", setup::to_string(item.outcome))
                    .set("message", item.message)
                    .set("detail", item.detail)
                    .set("hint", item.hint));
  Json figures = Json::object();
  for (const setup::CheckFigure& figure : result.figures) figures.set(figure.name, figure.value);
  const setup::CheckItem* cause = result.cause();
  return Json::object()
      .set("schema", "holdfast.check.v1")
      .set("read_only", result.read_only)
      .set("proven", result.proven)
      .set("cause", cause != nullptr ? Json(cause->name) : Json())
      .set("segment", result.proven ? Json(result.segment) : Json())
      .set("archive_seconds",
           result.proven ? Json(static_cast<double>(result.took.count()) / 1e6) : Json())
      .set("checks", std::move(checks))
      .set("figures", std::move(figures))
      .set("summary", closing(result));
}

}  // namespace holdfast::view
