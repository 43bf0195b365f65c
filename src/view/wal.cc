#include "view/wal.h"

#include <algorithm>

#include <fmt/format.h>

#include "view/table.h"

namespace holdfast::view {
namespace {

Json time_or_null(const std::optional<Time>& time) {
  return time ? Json(to_rfc3339(*time)) : Json();
}

std::string content_words(const archive::SetAsideResult::Content& content) {
  const std::string which =
      content.number == 0 ? "the first" : fmt::format("content {}", content.number);
  return content.is_damaged ? which + ", which is damaged"
                            : fmt::format("{}, pushed by host \"{}\" at {}", which, content.host,
                                          to_local(content.pushed));
}
Json content_json(const std::optional<archive::SetAsideResult::Content>& content) {
  if (!content) return {};
  return Json::object()
      .set("number", content->number)
      .set("damaged", content->is_damaged)
      .set("host", content->is_damaged ? Json() : Json(content->host))
      .set("pushed", content->is_damaged ? Json() : Json(to_rfc3339(content->pushed)));
}

}  // namespace

std::string text(const archive::SetAsideResult& result) {
  std::vector<std::pair<std::string, std::string>> lines = {
      {"file", fmt::format("{} of lineage {}", result.file, repo::to_string(result.lineage))}};
  if (result.changed)
    lines.emplace_back(result.off ? "served again" : "set aside", content_words(*result.changed));
  lines.emplace_back("served now",
                     result.served ? content_words(*result.served) : "nothing: it is not there");
  if (!result.onward.empty())
    lines.emplace_back("and behind it", fmt::format("{} files, {} to {}", result.onward.size(),
                                                    result.onward.front(), result.onward.back()));
  std::string out = fields(lines);
  for (const std::string& id : result.broken_backups)
    out += fmt::format("Backup {} needs it, and cannot be recovered without it.\n", id);
  if (result.still_there)
    out +=
        fmt::format("The number of its timeline is still taken. Next: holdfast wal set-aside {}\n",
                    *result.still_there);
  if (result.was_so)
    out += result.off ? "Nothing of it was set aside.\n" : "Nothing of it was served.\n";
  else if (!result.off)
    out += fmt::format(
        "The next server that offers it has it archived. To undo this: holdfast wal set-aside {} "
        "{}--off\n",
        result.file, result.onward.empty() ? "" : "--onward ");
  else if (result.served && result.changed && result.served->number != result.changed->number)
    out += fmt::format(
        "What is served now came later, and hides what came back. To have that instead: holdfast "
        "wal set-aside {}\n",
        result.file);
  else
    out += "Next: \"holdfast verify\" looks which backups can be recovered again.\n";
  return out;
}

Json json(const archive::SetAsideResult& result) {
  Json broken = Json::array();
  for (const std::string& id : result.broken_backups) broken.push(id);
  Json onward = Json::array();
  for (const std::string& name : result.onward) onward.push(name);
  return Json::object()
      .set("schema", "holdfast.wal_set_aside.v1")
      .set("file", result.file)
      .set("lineage", repo::to_string(result.lineage))
      .set("off", result.off)
      .set("changed", content_json(result.changed))
      .set("served", content_json(result.served))
      .set("onward", std::move(onward))
      .set("broken_backups", std::move(broken))
      .set("still_there", result.still_there ? Json(*result.still_there) : Json());
}

namespace {

struct WalRow {
  std::vector<std::string> cells;
  std::string below;  // a line of its own
};

// In the order of the WAL: a hole stands where it is.
void add_rows(const archive::WalTimeline& timeline, std::vector<WalRow>& rows) {
  const auto first = static_cast<std::ptrdiff_t>(rows.size());
  for (const archive::WalRange& range : timeline.ranges)
    rows.push_back(
        {.cells = {range.first_segment, range.last_segment, fmt::format("{}", range.segment_count),
                   to_human_bytes(range.stored_bytes)},
         .below = range.first_commit && range.last_commit
                      ? fmt::format("  commits {} to {}", to_local(*range.first_commit),
                                    to_local(*range.last_commit))
                      : "  no commit"});
  for (const archive::WalGap& gap : timeline.gaps)
    rows.push_back({.cells = {gap.first_segment, gap.last_segment,
                              fmt::format("{}", gap.segment_count), "MISSING"},
                    .below = {}});
  for (const archive::WalPartial& partial : timeline.partials)
    rows.push_back(
        {.cells = {partial.segment, "", "1", to_human_bytes(partial.stored_bytes)}, .below = {}});
  // An unfinished segment behind what begins with it.
  std::sort(rows.begin() + first, rows.end(), [](const WalRow& a, const WalRow& b) {
    return std::pair(a.cells[0], a.cells[1].empty()) < std::pair(b.cells[0], b.cells[1].empty());
  });
}

std::string wal_table(const std::vector<WalRow>& rows) {
  std::vector<std::vector<std::string>> cells;
  for (const WalRow& row : rows) cells.push_back(row.cells);
  std::string out;
  const std::string lines = table({"first segment", "last segment", "segments", "stored"}, cells);
  size_t begin = 0;
  for (size_t line = 0; begin < lines.size(); ++line) {
    const size_t end = lines.find('\n', begin) + 1;
    out += lines.substr(begin, end - begin);
    if (line > 0 && !rows[line - 1].below.empty()) out += rows[line - 1].below + "\n";
    begin = end;
  }
  return out;
}

}  // namespace

std::string text(const archive::WalListing& listing) {
  std::string out;
  uint64_t segments = 0, gaps = 0;
  for (const archive::WalLineage& lineage : listing.lineages) {
    out += fmt::format("cluster {}, lineage {}\n", lineage.lineage.name.shown(),
                       repo::to_string(lineage.lineage.name));
    std::vector<WalRow> rows;
    for (const archive::WalTimeline& timeline : lineage.timelines) {
      for (const archive::WalRange& range : timeline.ranges) segments += range.segment_count;
      for (const archive::WalGap& gap : timeline.gaps) gaps += gap.segment_count;
      add_rows(timeline, rows);
    }
    out += wal_table(rows);
    for (const archive::WalTimeline& timeline : lineage.timelines)
      for (const std::string& name : timeline.other_history)
        out += fmt::format(
            "{0} is of another history than the segment before it, and no recovery goes on in it. "
            "Next: holdfast wal set-aside {0} --onward\n",
            name);
    for (const archive::WalSetAside& one : lineage.set_aside)
      out += fmt::format("set aside, and not served: {}, by {} at {}\n", one.file, one.by,
                         to_local(one.at));
  }
  if (gaps > 0)
    out += fmt::format(
        "{} missing: no recovery can go across the gap. Next: run \"holdfast backup\", so that "
        "there is a backup behind it.\n",
        gaps == 1 ? "1 segment is" : fmt::format("{} segments are", gaps));
  else
    out += fmt::format("{}, no gap.\n", plural(segments, "segment"));
  return out;
}

Json json(const archive::WalListing& listing) {
  Json lineages = Json::array();
  for (const archive::WalLineage& lineage : listing.lineages) {
    Json timelines = Json::array();
    for (const archive::WalTimeline& timeline : lineage.timelines) {
      Json ranges = Json::array();
      for (const archive::WalRange& range : timeline.ranges)
        ranges.push(Json::object()
                        .set("first_segment", range.first_segment)
                        .set("last_segment", range.last_segment)
                        .set("segments", range.segment_count)
                        .set("stored_bytes", range.stored_bytes)
                        .set("start_lsn", pg::to_string(range.start_lsn))
                        .set("end_lsn", pg::to_string(range.end_lsn))
                        .set("first_commit", time_or_null(range.first_commit))
                        .set("last_commit", time_or_null(range.last_commit))
                        .set("last_pushed", time_or_null(range.last_pushed)));
      Json gaps = Json::array();
      for (const archive::WalGap& gap : timeline.gaps)
        gaps.push(Json::object()
                      .set("first_segment", gap.first_segment)
                      .set("last_segment", gap.last_segment)
                      .set("segments", gap.segment_count));
      Json partials = Json::array();
      for (const archive::WalPartial& partial : timeline.partials)
        partials.push(Json::object()
                          .set("segment", partial.segment)
                          .set("digest", to_hex(partial.digest.view()))
                          .set("stored_bytes", partial.stored_bytes)
                          .set("readable_end", pg::to_string(partial.readable_end))
                          .set("host", partial.host));
      Json other_history = Json::array();
      for (const std::string& name : timeline.other_history) other_history.push(name);
      timelines.push(Json::object()
                         .set("timeline", timeline.timeline.value)
                         .set("ranges", std::move(ranges))
                         .set("gaps", std::move(gaps))
                         .set("other_history", std::move(other_history))
                         .set("partials", std::move(partials)));
    }
    Json set_aside = Json::array();
    for (const archive::WalSetAside& one : lineage.set_aside)
      set_aside.push(Json::object()
                         .set("file", one.file)
                         .set("number", one.number)
                         .set("at", to_rfc3339(one.at))
                         .set("by", one.by));
    lineages.push(Json::object()
                      .set("cluster", lineage.lineage.name.shown())
                      .set("lineage", repo::to_string(lineage.lineage.name))
                      .set("timelines", std::move(timelines))
                      .set("set_aside", std::move(set_aside)));
  }
  return Json::object().set("schema", "holdfast.wal_list.v1").set("lineages", std::move(lineages));
}

std::string text(const archive::SalvageResult& result) {
  std::vector<std::pair<std::string, std::string>> lines;
  const char* archived = result.dry_run ? "would archive" : "archived";
  for (const std::string& file : result.pushed) lines.emplace_back(archived, file);
  if (result.pushed.empty()) lines.emplace_back(archived, "nothing new");
  lines.emplace_back("already archived", fmt::format("{}", result.already_archived));
  if (result.unused > 0)
    lines.emplace_back("without WAL",
                       fmt::format("{}, kept by the server for reuse", result.unused));
  if (result.unfinished > 0)
    lines.emplace_back("left",
                       fmt::format("{}, which the server may still write", result.unfinished));
  for (const archive::SalvageResult::Refused& refused : result.refused)
    lines.emplace_back("refused", fmt::format("{}: {}", refused.file, refused.reason));
  std::string out = fields(lines);
  if (result.reach) {
    out += fmt::format(
        "The archived WAL {} {} on timeline {}{}.\n", result.dry_run ? "would reach" : "reaches",
        pg::to_string(result.reach->end), pg::to_string(result.reach->timeline),
        result.reach->last_commit
            ? fmt::format(", with a last commit at {}", to_local(*result.reach->last_commit))
            : "");
    if (result.reach->missing_segments > 0)
      out += fmt::format(
          "{} missing before that, and no recovery goes across the gap. Next: holdfast wal list\n",
          result.reach->missing_segments == 1
              ? "1 segment is"
              : fmt::format("{} segments are", result.reach->missing_segments));
  }
  if (result.server_doubt) out += "Only what the server has finished was looked at.\n";
  if (!result.refused.empty()) out += "Keep the directory: what was refused is nowhere else.\n";
  return out;
}

Json json(const archive::SalvageResult& result) {
  Json pushed = Json::array();
  for (const std::string& file : result.pushed) pushed.push(file);
  Json refused = Json::array();
  for (const archive::SalvageResult::Refused& one : result.refused)
    refused.push(Json::object().set("file", one.file).set("reason", one.reason));
  Json reach;
  if (result.reach)
    reach = Json::object()
                .set("timeline", result.reach->timeline.value)
                .set("end_lsn", pg::to_string(result.reach->end))
                .set("last_commit", time_or_null(result.reach->last_commit))
                .set("missing_segments", result.reach->missing_segments);
  return Json::object()
      .set("schema", "holdfast.wal_salvage.v1")
      .set("dry_run", result.dry_run)
      .set("lineage", repo::to_string(result.lineage))
      .set("archived", std::move(pushed))
      .set("already_archived", result.already_archived)
      .set("unused", result.unused)
      .set("unfinished", result.unfinished)
      .set("server_doubt", result.server_doubt
                               ? Json(fmt::format("{}: {}", result.server_doubt->message(),
                                                  result.server_doubt->detail()))
                               : Json())
      .set("refused", std::move(refused))
      .set("reach", std::move(reach));
}

}  // namespace holdfast::view
