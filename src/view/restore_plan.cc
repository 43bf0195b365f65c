#include "view/restore_plan.h"

#include <fmt/format.h>

#include "base/process.h"
#include "pg/wal_file_name.h"
#include "view/table.h"

namespace holdfast::view {
namespace {

using Fields = std::vector<std::pair<std::string, std::string>>;

std::string segment_name(const recovery::Plan& plan, pg::TimelineId timeline, uint64_t number) {
  return pg::segment_file_name({timeline, number},
                               pg::WalSegmentSize(plan.backup.wal_segment_bytes));
}

Json ranges_json(const recovery::Plan& plan, const std::vector<recovery::WalRange>& ranges) {
  Json list = Json::array();
  for (const recovery::WalRange& range : ranges)
    list.push(Json::object()
                  .set("timeline", range.timeline.value)
                  .set("first", segment_name(plan, range.timeline, range.first))
                  .set("last", segment_name(plan, range.timeline, range.last)));
  return list;
}

std::string segments(uint64_t count) {
  return fmt::format("{} segment{}", count, count == 1 ? "" : "s");
}

// "0000...3 to 0000...7 (5 segments)"
std::string range_text(const recovery::Plan& plan, const recovery::WalRange& range) {
  std::string first = segment_name(plan, range.timeline, range.first);
  if (range.first == range.last) return first;
  return fmt::format("{} to {} ({})", first, segment_name(plan, range.timeline, range.last),
                     segments(range.last - range.first + 1));
}

void add_wal(Fields& lines, const recovery::Plan& plan) {
  for (const recovery::WalRange& range : plan.ranges)
    lines.emplace_back("WAL present", range_text(plan, range));
  if (plan.tail)
    lines.emplace_back("WAL present",
                       pg::partial_file_name(plan.tail->segment,
                                             pg::WalSegmentSize(plan.backup.wal_segment_bytes)));
  for (const recovery::WalRange& range : plan.absent)
    lines.emplace_back("WAL absent", range_text(plan, range) + ", behind the target");
  lines.emplace_back(
      "to replay", fmt::format("{}, {} ({} stored), from {} to {}", segments(plan.segments),
                               to_human_bytes(plan.segments * plan.backup.wal_segment_bytes),
                               to_human_bytes(plan.stored_wal_bytes),
                               pg::to_string(plan.backup.start_lsn), pg::to_string(plan.end_lsn)));
  if (plan.last_commit) lines.emplace_back("last commit", to_local(*plan.last_commit));
}

void add_places(Fields& lines, const restore::Preview& preview) {
  lines.emplace_back("data directory",
                     fmt::format("{}{}", preview.directory,
                                 !preview.clears    ? ""
                                 : preview.is_delta ? ", of which what is equal is kept"
                                                    : ", which is cleared first"));
  if (preview.running_server)
    lines.emplace_back("server", fmt::format("runs there as process {}; it must be stopped first",
                                             *preview.running_server));
  if (preview.server_doubt) lines.emplace_back("server", *preview.server_doubt);
  for (const auto& [recorded, place] : preview.tablespaces)
    lines.emplace_back("tablespace",
                       recorded == place ? place : fmt::format("{} at {}", recorded, place));
  for (const repo::WalTablespace& made : preview.plan.tablespaces_created)
    if (!made.path.empty())
      lines.emplace_back("tablespace", fmt::format("{}, made by the WAL", made.path));
  if (preview.where == restore::Where::kInPlace)
    lines.emplace_back("configuration", preview.configuration);
  for (const std::string& file : preview.outside_files) lines.emplace_back("outside", file);
  for (const std::string& file : preview.left_files)
    lines.emplace_back("outside", file + ", is there and stays as it is");
  lines.emplace_back("files", fmt::format("{}, {}", preview.files, to_human_bytes(preview.bytes)));
  for (const restore::DiskNeed& need : preview.disk)
    lines.emplace_back(
        "disk", fmt::format("{} needs {}; {} free{}", need.path, to_human_bytes(need.needed),
                            to_human_bytes(need.free),
                            need.cleared > 0 ? fmt::format(" and {} in files that are cleared",
                                                           to_human_bytes(need.cleared))
                                             : ""));
  for (const auto& [name, value] : preview.raised)
    lines.emplace_back("raised", fmt::format("{} = {}, which the WAL needs", name, value));
  for (const std::string& name : preview.unarchived)
    lines.emplace_back("saved first", fmt::format("{}, not archived yet", name));
}

}  // namespace

Json json(const recovery::Plan& plan) {
  Json notes = Json::array();
  for (const std::string& note : plan.notes) notes.push(note);
  Json warnings = Json::array();
  for (const std::string& warning : plan.warnings) warnings.push(warning);
  Json abandoned = Json::array();
  for (const recovery::AbandonedBranch& branch : plan.abandoned)
    abandoned.push(Json::object()
                       .set("timeline", branch.timeline.value)
                       .set("forked_at", pg::to_string(branch.forked_at))
                       .set("last_commit",
                            branch.last_commit ? Json(to_rfc3339(*branch.last_commit)) : Json()));
  return Json::object()
      .set("backup", plan.backup.id)
      .set("lineage", repo::to_string(plan.backup.lineage))
      .set("why", plan.why_this_backup)
      .set("target", to_string(plan.target))
      .set("ran_to_the_end", plan.ran_to_the_end)
      .set("timeline", plan.timeline.value)
      .set("wal", ranges_json(plan, plan.ranges))
      .set("absent_wal", ranges_json(plan, plan.absent))
      .set("segments", plan.segments)
      .set("stored_wal_bytes", plan.stored_wal_bytes)
      .set("wal_bytes", plan.segments * plan.backup.wal_segment_bytes)
      .set("end_lsn", pg::to_string(plan.end_lsn))
      .set("last_commit", plan.last_commit ? Json(to_rfc3339(*plan.last_commit)) : Json())
      .set("next_timeline", plan.next_timeline.value)
      .set("unfinished_segment",
           plan.tail ? Json(pg::partial_file_name(
                           plan.tail->segment, pg::WalSegmentSize(plan.backup.wal_segment_bytes)))
                     : Json())
      .set("abandoned", std::move(abandoned))
      .set("notes", std::move(notes))
      .set("warnings", std::move(warnings));
}

std::string text(const restore::Preview& preview) {
  const recovery::Plan& plan = preview.plan;
  Fields lines = {
      {"backup", fmt::format("{} of lineage {} ({})", plan.backup.id,
                             repo::to_string(plan.backup.lineage), plan.why_this_backup)},
      {"target", to_string(plan.target)},
      {"timeline", fmt::format("{}, and {} after the promotion", pg::to_string(plan.timeline),
                               pg::to_string(plan.next_timeline))}};
  add_wal(lines, plan);
  add_places(lines, preview);
  for (const std::string& note : plan.notes) lines.emplace_back("note", note);
  for (const std::string& warning : plan.warnings) lines.emplace_back("warning", warning);
  if (!preview.unarchived.empty())
    lines.emplace_back("note", "WAL that is saved first may lead recovery farther than this plan");
  return fields(lines) + fmt::format("Nothing was written. To do it: {}\n", preview.command);
}

Json json(const restore::Preview& preview) {
  Json tablespaces = Json::array();
  for (const auto& [recorded, place] : preview.tablespaces)
    tablespaces.push(Json::object().set("recorded", recorded).set("place", place));
  Json made = Json::array();
  for (const repo::WalTablespace& tablespace : preview.plan.tablespaces_created)
    made.push(tablespace.path);
  Json disk = Json::array();
  for (const restore::DiskNeed& need : preview.disk)
    disk.push(Json::object()
                  .set("path", need.path)
                  .set("needed_bytes", need.needed)
                  .set("free_bytes", need.free)
                  .set("cleared_bytes", need.cleared)
                  .set("fits", need.fits()));
  auto texts = [](const std::vector<std::string>& list) {
    Json array = Json::array();
    for (const std::string& text : list) array.push(text);
    return array;
  };
  Json raised = Json::object();
  for (const auto& [name, value] : preview.raised) raised.set(name, value);
  return Json::object()
      .set("schema", "holdfast.restore_plan.v1")
      .set("plan", json(preview.plan))
      .set("in_place", preview.where == restore::Where::kInPlace)
      .set("directory", preview.directory)
      .set("clears", preview.clears && !preview.is_delta)
      .set("delta", preview.is_delta)
      .set("running_server", preview.running_server ? Json(*preview.running_server) : Json())
      .set("server_doubt", preview.server_doubt ? Json(*preview.server_doubt) : Json())
      .set("unarchived_wal", texts(preview.unarchived))
      .set("files", preview.files)
      .set("bytes", preview.bytes)
      .set("disk", std::move(disk))
      .set("tablespaces", std::move(tablespaces))
      .set("tablespaces_made_by_wal", std::move(made))
      .set("configuration", preview.configuration)
      .set("outside_files", texts(preview.outside_files))
      .set("left_files", texts(preview.left_files))
      .set("raised", std::move(raised))
      .set("command", preview.command);
}

std::string text(const restore::ResumeResult& result) {
  const restore::Recovery& recovery = result.recovery;
  Fields lines = {{"backup", result.backup}, {"target", result.target}};
  if (recovery.recovered_to_lsn.is_valid())
    lines.emplace_back(
        "recovered to",
        fmt::format("{}{}", pg::to_string(recovery.recovered_to_lsn),
                    recovery.recovered_to_time
                        ? fmt::format(", last commit {}", to_local(*recovery.recovered_to_time))
                        : ""));
  lines.emplace_back("replay", to_human(recovery.replay_time));
  if (recovery.new_timeline.is_valid())
    lines.emplace_back("timeline", pg::to_string(recovery.new_timeline));
  const std::string connect =
      fmt::format("psql -h {} -p {}", shell_quote(result.socket_directory), result.port);
  std::string out = fields(lines);
  switch (recovery.ended_by) {
    case recovery::TargetAction::kPromote:
      return out + fmt::format("Recovered and open for work (process {}). Connect with: {}\n",
                               recovery.server_pid, connect);
    case recovery::TargetAction::kPause:
      return out + fmt::format(
                       "Recovery waits at its target; look with: {}  Finish it with: "
                       "holdfast finish {}\n",
                       connect, shell_quote(result.directory));
    case recovery::TargetAction::kShutdown:
      break;
  }
  return out + fmt::format("Recovered to the target and shut down. The cluster is in \"{}\".\n",
                           result.directory);
}

Json json(const restore::ResumeResult& result) {
  const restore::Recovery& recovery = result.recovery;
  auto seconds = [](Microseconds duration) { return static_cast<double>(duration.count()) / 1e6; };
  return Json::object()
      .set("schema", "holdfast.resume.v1")
      .set("directory", result.directory)
      .set("backup", result.backup)
      .set("target", result.target)
      .set("ended_by", to_string(recovery.ended_by))
      .set("server_pid", recovery.server_pid)
      .set("sandboxed", result.sandboxed)
      .set("socket_directory", result.socket_directory)
      .set("port", result.port)
      .set("new_timeline",
           recovery.new_timeline.is_valid() ? Json(recovery.new_timeline.value) : Json())
      .set("recovered_to_lsn", recovery.recovered_to_lsn.is_valid()
                                   ? Json(pg::to_string(recovery.recovered_to_lsn))
                                   : Json())
      .set("recovered_to_time",
           recovery.recovered_to_time ? Json(to_rfc3339(*recovery.recovered_to_time)) : Json())
      .set("replay_seconds", seconds(recovery.replay_time))
      .set("promote_seconds", seconds(recovery.promote_time));
}

}  // namespace holdfast::view
