#include "view/verify.h"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "view/table.h"
#include "view/windows.h"

namespace holdfast::view {
namespace {

constexpr size_t kShownFindings = 20;

std::string_view word_of(verify::Verdict verdict) {
  switch (verdict) {
    case verify::Verdict::kGood:
      return "good";
    case verify::Verdict::kUsable:
      return "usable";
    case verify::Verdict::kTakenDamaged:
      return "taken damaged";
    case verify::Verdict::kUnreadable:
      return "unreadable";
    case verify::Verdict::kDamaged:
      break;
  }
  return "damaged";
}

std::string text(const verify::Finding& finding) {
  std::string out = fmt::format("{}: {}\n", finding.problem, finding.object);
  if (!finding.detail.empty()) out += fmt::format("    {}\n", finding.detail);
  if (!finding.files.empty()) out += fmt::format("    files: {}\n", fmt::join(finding.files, ", "));
  if (!finding.backups.empty())
    out +=
        fmt::format("    backups that it makes unusable: {}\n", fmt::join(finding.backups, ", "));
  return out;
}

std::string text(const std::vector<verify::Finding>& findings) {
  std::string out;
  for (size_t i = 0; i < std::min(findings.size(), kShownFindings); ++i) out += text(findings[i]);
  return out;
}

std::string text(const verify::Gap& gap) {
  std::string out = fmt::format("{}: {}\n", gap.is_hole ? "hole" : "gap", line(gap));
  if (gap.after) out += fmt::format("    the last commit before it: {}\n", to_local(*gap.after));
  if (gap.before) out += fmt::format("    the first commit behind it: {}\n", to_local(*gap.before));
  if (!gap.backups.empty())
    out += fmt::format("    backups whose recovery ends before it: {}\n",
                       fmt::join(gap.backups, ", "));
  if (!gap.newer_backup.empty())
    out += fmt::format("    backup {} is newer: the hole is of the past\n", gap.newer_backup);
  if (const std::string way_out = way_out_of(gap); !way_out.empty())
    out += fmt::format("    {}\n", way_out);
  return out;
}

std::string text(const verify::LineageResult& lineage) {
  std::string out = fmt::format("cluster {}, lineage {}\n", lineage.lineage.name.shown(),
                                repo::to_string(lineage.lineage.name));
  out +=
      fmt::format("  read: {}, {}, {}: {}\n", plural(lineage.packs_read, "pack"),
                  plural(lineage.segments_read, "WAL segment"),
                  plural(lineage.others_read, "other object"), to_human_bytes(lineage.bytes_read));
  if (lineage.bytes_due > 0)
    out += fmt::format("  of that read again, because it was long ago: {}\n",
                       to_human_bytes(lineage.bytes_due));
  if (lineage.objects_unchanged > 0)
    out += fmt::format("  not read again, unchanged since they were read: {}, {}; {}\n",
                       plural(lineage.objects_unchanged, "object"),
                       to_human_bytes(lineage.bytes_unchanged),
                       lineage.oldest && lineage.oldest->is_known()
                           ? fmt::format("the longest ago at {}", to_local(lineage.oldest->time()))
                           : std::string("of some nobody knows when"));
  for (const verify::BackupVerdict& backup : lineage.backups)
    out += fmt::format("  backup {}: {}{}\n", backup.id, word_of(backup.verdict),
                       backup.reason.empty() ? "" : ": " + backup.reason);
  if (lineage.backups.empty()) out += "  no backup\n";
  for (const verify::Window& window : lineage.windows)
    out += fmt::format("  recoverable on timeline {}: {} to {} ({} to {})\n",
                       pg::to_string(window.timeline), to_local(window.start_time),
                       to_local(window.end_time), pg::to_string(window.start_lsn),
                       pg::to_string(window.end_lsn));
  for (const verify::Gap& gap : lineage.gaps) out += text(gap);
  out += text(lineage.findings);
  if (lineage.finding_count > kShownFindings)
    out += fmt::format("and {} more; --json shows them\n", lineage.finding_count - kShownFindings);
  if (lineage.leftover_count > 0)
    out += fmt::format("  left over, needed by no backup: {}, {}\n",
                       plural(lineage.leftover_count, "object"),
                       to_human_bytes(lineage.leftover_bytes));
  for (const std::string& name : lineage.leftovers)
    out += fmt::format("  not an object of a repository: {}\n", name);
  return out;
}

Json texts(const std::vector<std::string>& all) {
  Json array = Json::array();
  for (const std::string& one : all) array.push(one);
  return array;
}

Json json(const std::vector<verify::Finding>& findings) {
  Json array = Json::array();
  for (const verify::Finding& finding : findings)
    array.push(Json::object()
                   .set("object", finding.object)
                   .set("problem", finding.problem)
                   .set("detail", finding.detail)
                   .set("files", texts(finding.files))
                   .set("backups", texts(finding.backups)));
  return array;
}

Json json(const verify::LineageResult& lineage) {
  Json backups = Json::array();
  for (const verify::BackupVerdict& backup : lineage.backups)
    backups.push(Json::object()
                     .set("id", backup.id)
                     .set("verdict", word_of(backup.verdict))
                     .set("reason", backup.reason.empty() ? Json() : Json(backup.reason)));
  Json windows = Json::array();
  for (const verify::Window& window : lineage.windows) windows.push(view::json(window));
  Json gaps = Json::array();
  for (const verify::Gap& gap : lineage.gaps) gaps.push(view::json(gap));
  return Json::object()
      .set("cluster", lineage.lineage.name.shown())
      .set("lineage", repo::to_string(lineage.lineage.name))
      .set("backups", std::move(backups))
      .set("recoverable", std::move(windows))
      .set("gaps", std::move(gaps))
      .set("findings", json(lineage.findings))
      .set("finding_count", lineage.finding_count)
      .set("packs_read", lineage.packs_read)
      .set("segments_read", lineage.segments_read)
      .set("others_read", lineage.others_read)
      .set("bytes_read", lineage.bytes_read)
      .set("objects_unchanged", lineage.objects_unchanged)
      .set("bytes_unchanged", lineage.bytes_unchanged)
      .set("bytes_read_again", lineage.bytes_due)
      .set("unchanged_read_since", lineage.oldest && lineage.oldest->is_known()
                                       ? Json(to_rfc3339(lineage.oldest->time()))
                                       : Json())
      .set("leftover_objects", lineage.leftover_count)
      .set("leftover_bytes", lineage.leftover_bytes)
      .set("unknown", texts(lineage.leftovers));
}

uint64_t damaged_backups_of(const verify::VerifyResult& result) {
  uint64_t damaged = 0;
  for (const verify::LineageResult& lineage : result.lineages)
    damaged += static_cast<uint64_t>(std::ranges::count(lineage.backups, verify::Verdict::kDamaged,
                                                        &verify::BackupVerdict::verdict));
  return damaged;
}

// One line that a tired person can act on.
std::string last_line(const verify::VerifyResult& result) {
  if (!result.damaged() && result.misses_wal())
    return "Nothing is damaged, but WAL is missing: what was committed behind the hole cannot be "
           "recovered. Next: run \"holdfast backup\".\n";
  if (!result.damaged()) return "No damage: everything is as it was written.\n";
  uint64_t unreadable = 0, mixed = 0, others = 0;
  auto count = [&](const std::vector<verify::Finding>& findings) {
    for (const verify::Finding& finding : findings)
      ++(finding.problem == verify::kUnreadableObject ? unreadable
         : finding.problem == verify::kOtherWal       ? mixed
                                                      : others);
  };
  count(result.common);
  for (const verify::LineageResult& lineage : result.lineages) {
    count(lineage.findings);
    for (const verify::Gap& gap : lineage.gaps)
      if (!gap.is_hole) ++(gap.is_of_other() ? mixed : others);
  }
  if (others == 0 && mixed > 0 && damaged_backups_of(result) == 0)
    return "Nothing is damaged, but WAL of different histories is archived, and no recovery goes "
           "from one to the other. Next: take out of service what is not your server's, as is told "
           "above.\n";
  others += mixed;
  if (unreadable > 0 && others == 0)
    return fmt::format(
        "{} could not be read, and nothing is known of what is in them. Next: put right who may "
        "read what is named above, then run \"holdfast verify\" again.\n",
        plural(unreadable, "object"));
  const uint64_t damaged_backups = damaged_backups_of(result);
  uint64_t backups = 0;
  for (const verify::LineageResult& lineage : result.lineages) backups += lineage.backups.size();
  if (result.lineages.empty())
    return "There is damage, and nothing of the cluster can be restored as it is. Next: take what "
           "is "
           "named above from a copy of the repository.\n";
  if (!result.lost.empty())
    return fmt::format(
        "There is damage: nothing of lineage {} can be restored as it is{}. Next: take what is "
        "named "
        "above from a copy of the repository.\n",
        fmt::join(result.lost, ", "),
        damaged_backups == 0 ? std::string()
                             : fmt::format(", and {} of {} of the others cannot be whole",
                                           damaged_backups, plural(backups, "backup")));
  if (others == 0 && damaged_backups > 0)
    return fmt::format(
        "No object is damaged, but {} of {} cannot be restored, as is told above. Next: where its "
        "WAL is missing and no newer backup is good, run \"holdfast backup\". One whose WAL was "
        "set "
        "aside is none any more: take it off with \"holdfast backup delete\", or serve that WAL "
        "again with \"holdfast wal set-aside FILE --off\".\n",
        damaged_backups, plural(backups, "backup"));
  if (damaged_backups == 0)
    return "There is damage, and every backup can still be restored. Next: take the objects from a "
           "copy of the repository, or run \"holdfast backup\".\n";
  return fmt::format(
      "There is damage: {} of {} cannot be restored whole. Next: run \"holdfast backup\", and take "
      "the objects from a copy of the repository if there is one.\n",
      damaged_backups, plural(backups, "backup"));
}

}  // namespace

std::string text(const verify::VerifyResult& result) {
  std::string out = text(result.common);
  for (const verify::LineageResult& lineage : result.lineages) out += text(lineage);
  if (!result.not_kept.empty())
    out += fmt::format("No mark and no record of this was kept: {}.\n", result.not_kept);
  return out + last_line(result);
}

Json json(const verify::VerifyResult& result) {
  Json lineages = Json::array();
  for (const verify::LineageResult& lineage : result.lineages) lineages.push(json(lineage));
  return Json::object()
      .set("schema", "holdfast.verify.v1")
      .set("url", result.url)
      .set("deep", result.deep)
      .set("damaged", result.damaged())
      .set("misses_wal", result.misses_wal())
      .set("lost_lineages", texts(result.lost))
      .set("findings", json(result.common))
      .set("lineages", std::move(lineages))
      .set("not_kept", result.not_kept.empty() ? Json() : Json(result.not_kept));
}

}  // namespace holdfast::view
