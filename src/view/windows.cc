#include "view/windows.h"

#include <fmt/format.h>

#include "base/time.h"

namespace holdfast::view {
namespace {

Json commit_time(const std::optional<Time>& time) {
  return time ? Json(to_rfc3339(*time)) : Json();
}

Json names(const std::vector<std::string>& all) {
  Json array = Json::array();
  for (const std::string& one : all) array.push(one);
  return array;
}

}  // namespace

std::string line(const recovery::Gap& gap) {
  const std::string what =
      gap.segment_count == 0
          ? fmt::format("WAL segment {} {}", gap.first_segment,
                        gap.is_hole         ? "lies " + gap.problem
                        : gap.is_of_other() ? "is of another history than the one before it"
                                            : "does not join the one before it")
      : gap.segment_count == 1 ? fmt::format("WAL segment {} is {}", gap.first_segment, gap.problem)
                               : fmt::format("{} WAL segments are {}: {} to {}", gap.segment_count,
                                             gap.problem, gap.first_segment, gap.last_segment);
  return fmt::format("{}, timeline {}, {} to {}", what, pg::to_string(gap.timeline),
                     pg::to_string(gap.start_lsn), pg::to_string(gap.end_lsn));
}

std::string way_out_of(const recovery::Gap& gap) {
  if (!gap.is_of_other()) return {};
  return fmt::format(
      "\"holdfast wal set-aside {} --onward\" takes it and all behind it out of service, so that "
      "the server's own can be archived",
      gap.first_segment);
}

Json json(const recovery::Window& window) {
  return Json::object()
      .set("timeline", window.timeline.value)
      .set("start_lsn", pg::to_string(window.start_lsn))
      .set("end_lsn", pg::to_string(window.end_lsn))
      .set("start_time", to_rfc3339(window.start_time))
      .set("end_time", to_rfc3339(window.end_time))
      .set("backups", names(window.backups))
      .set("looked_into_from",
           window.looked_from ? Json(pg::to_string(*window.looked_from)) : Json());
}

Json json(const recovery::Gap& gap) {
  return Json::object()
      .set("timeline", gap.timeline.value)
      .set("problem", gap.problem)
      .set("first_segment", gap.first_segment)
      .set("last_segment", gap.last_segment)
      .set("segments", gap.segment_count)
      .set("start_lsn", pg::to_string(gap.start_lsn))
      .set("end_lsn", pg::to_string(gap.end_lsn))
      .set("last_commit_before", commit_time(gap.after))
      .set("first_commit_behind", commit_time(gap.before))
      .set("backups", names(gap.backups))
      .set("hole", gap.is_hole)
      .set("newer_backup", gap.newer_backup.empty() ? Json() : Json(gap.newer_backup));
}

}  // namespace holdfast::view
