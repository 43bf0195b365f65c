// view.cc: one text and one JSON form for each result.
#include "view/view.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/process.h"
#include "pg/conf_file.h"
#include "pg/version.h"
#include "pg/wal_file_name.h"
#include "view/restore_plan.h"
#include "view/table.h"
#include "view/windows.h"

namespace holdfast::view {
namespace {

std::string indented(std::string_view label, const std::string& text) {
  if (text.empty()) return {};
  std::string out = fmt::format("{}:  ", label);
  for (char c : text) {
    out += c;
    if (c == '\n') out += "    ";
  }
  return out + "\n";
}

double seconds(Microseconds duration) { return static_cast<double>(duration.count()) / 1e6; }

std::string segment_name(pg::TimelineId timeline, uint64_t number, uint32_t segment_bytes) {
  return pg::segment_file_name({timeline, number}, pg::WalSegmentSize(segment_bytes));
}

Json document(std::string_view schema) { return Json::object().set("schema", schema); }

Json lineage_json(const repo::Lineage& lineage) {
  return Json::object()
      .set("name", repo::to_string(lineage.name))
      .set("cluster", lineage.name.shown())
      .set("major", lineage.name.major)
      .set("system_identifier", fmt::format("{}", lineage.system_identifier))
      .set("created", to_rfc3339(lineage.created));
}

// Everything of a commit object but what only a reader of the repository needs.
Json backup_json(const repo::Backup& backup) {
  Json body = repo::to_json(backup);
  Json out = Json::object();
  for (const auto& [key, value] : body.members())
    if (key != "self" && key != "manifest" && key != "refs") out.set(key, value);
  if (backup.configuration) {
    // Names alone: a value may be a secret.
    Json names = Json::array();
    for (const auto& [name, value] : backup.configuration->command_line) names.push(name);
    Json shown = *out.find("configuration");
    out.set("configuration", std::move(shown.set("command_line", std::move(names))));
  }
  const repo::BackupMarks& marks = backup.marks;
  return out.set("damage", marks.damaged ? Json(marks.damaged->detail) : Json())
      .set("usable", marks.usable ? Json(marks.usable->detail) : Json())
      .set("verified", marks.verified ? Json(to_rfc3339(marks.verified->at)) : Json());
}

std::string backup_type(const repo::Backup& backup) {
  return backup.origin.empty() ? backup.type : backup.type + ", imported";
}

std::string backup_state(const repo::Backup& backup) {
  if (backup.damaged_blocks > 0) return fmt::format("damaged, {} pages", backup.damaged_blocks);
  if (backup.damaged) return "damaged";
  if (backup.marks.usable) return "usable";
  return backup.marks.verified ? "good, verified" : "good";
}

Json json(const std::vector<repo::UnreadableBackup>& unreadable) {
  Json list = Json::array();
  for (const repo::UnreadableBackup& backup : unreadable)
    list.push(Json::object().set("id", backup.id).set("problem", backup.problem));
  return list;
}

}  // namespace

std::string text(const Error& error) {
  std::string context;
  for (const std::string& line : error.context()) context += (context.empty() ? "" : "\n") + line;
  return indented("ERROR", error.message()) + indented("DETAIL", error.detail()) +
         indented("HINT", error.hint()) + indented("CONTEXT", context);
}

Json json(const Error& error) {
  Json context = Json::array();
  for (const std::string& line : error.context()) context.push(line);
  return document("holdfast.error.v1")
      .set("code", to_string(error.code()))
      .set("exit_status", exit_status(error.code()))
      .set("message", error.message())
      .set("detail", error.detail())
      .set("hint", error.hint())
      .set("context", std::move(context));
}

std::string text(const setup::InitResult& result, const std::string& repository_url,
                 const std::string& configure) {
  constexpr size_t kColumns = 80;  // of a terminal
  std::string out = fmt::format(
      "{} repository at \"{}\"{}\n{} lineage {} of cluster \"{}\": PostgreSQL {}, system "
      "identifier {}\n",
      result.repository_created ? "Made" : "Found", repository_url,
      result.sealed ? ", sealed with a key" : "", result.lineage_created ? "Made" : "Found",
      repo::to_string(result.lineage.name), result.lineage.name.shown(), result.lineage.name.major,
      result.lineage.system_identifier);
  if (!result.changes.empty() && !result.changes_made) out += "The server still needs:\n";
  for (const setup::SettingChange& change : result.changes) {
    const std::string wanted =
        fmt::format("{} = {}", change.name, pg::quote_conf_value(change.after));
    const std::string before =
        fmt::format("(it {} '{}'{})", result.changes_made ? "was" : "is", change.before,
                    change.needs_restart ? "; needs a restart of the server" : "");
    const bool fits = wanted.size() + before.size() + 4 <= kColumns;
    out += fmt::format("{}{}    {}\n", wanted, fits ? "" : "\n", before);
  }
  if (!result.archives_elsewhere.empty())
    out += fmt::format("But {}. To move its archiving here run \"{} --replace\".\n",
                       result.archives_elsewhere, configure);
  else if (!result.changes.empty() && !result.changes_made)
    out += fmt::format("Next: run \"{}\", which makes these settings.\n", configure);
  else if (result.restart_needed)
    out += "Next: restart the server, then run \"holdfast backup\".\n";
  else if (!result.changes.empty())
    out += "Next: run \"holdfast backup\".\n";
  else
    out += "The server archives to this repository. Next: run \"holdfast backup\".\n";
  return out;
}

Json json(const setup::InitResult& result) {
  Json changes = Json::array();
  for (const setup::SettingChange& change : result.changes)
    changes.push(Json::object()
                     .set("name", change.name)
                     .set("before", change.before)
                     .set("after", change.after)
                     .set("needs_restart", change.needs_restart));
  return document("holdfast.init.v1")
      .set("repository_id", to_hex(result.repository_id.view()))
      .set("repository_created", result.repository_created)
      .set("sealed", result.sealed)
      .set("lineage_created", result.lineage_created)
      .set("lineage", lineage_json(result.lineage))
      .set("changes", std::move(changes))
      .set("changes_made", result.changes_made)
      .set("archives_elsewhere", result.archives_elsewhere)
      .set("restart_needed", result.restart_needed);
}

namespace {

std::string backup_table(const std::vector<repo::Backup>& backups,
                         const std::vector<repo::UnreadableBackup>& unreadable) {
  std::vector<std::vector<std::string>> rows;
  for (const repo::Backup& backup : backups)
    // What does not fit 80 columns says "backup show".
    rows.push_back({backup.id, backup.origin.empty() ? backup.type : "imported",
                    short_local(backup.stop_time), to_human_bytes(backup.stored_bytes),
                    backup.damaged          ? "damaged"
                    : backup.marks.usable   ? "usable"
                    : backup.marks.verified ? "verified"
                                            : "good"});
  for (const repo::UnreadableBackup& backup : unreadable)
    rows.push_back({backup.id, "-", "-", "-", "unreadable"});
  std::ranges::sort(rows);
  return table({"backup", "type", "recovers from", "stored", "state"}, rows);
}

// One line for each stretch in which every moment can be recovered, and for each hole.
std::string recoverable(const setup::LineageInfo& lineage) {
  std::string out;
  for (const std::string& problem : lineage.unreadable_wal)
    out += fmt::format("  cannot be read: {}\n", problem);
  const bool has_several = std::ranges::any_of(lineage.windows, [&](const recovery::Window& w) {
    return w.timeline != lineage.windows.front().timeline;
  });
  for (const recovery::Window& window : lineage.windows) {
    out += fmt::format(
        "  recoverable{}: any moment\n    from {} to {}\n",
        has_several ? fmt::format(" on timeline {}", to_string(window.timeline)) : std::string(),
        to_local(window.start_time), to_local(window.end_time));
    if (window.looked_from)
      out += fmt::format(
          "    (whether WAL before {} is of wal_level minimal, only holdfast verify tells)\n",
          to_string(*window.looked_from));
  }
  if (lineage.windows.empty())
    out += "  recoverable: nothing yet. Next: run \"holdfast backup\".\n";
  for (const recovery::Gap& gap : lineage.gaps)
    out += fmt::format(
        "  {}: {}{}{}\n", gap.newer_backup.empty() ? "HOLE" : "hole of the past", line(gap),
        gap.backups.empty() ? "" : ": no recovery of the backups before it gets past it",
        (gap.newer_backup.empty() ? std::string()
                                  : fmt::format("; backup {} is newer", gap.newer_backup)) +
            (way_out_of(gap).empty() ? std::string() : "; " + way_out_of(gap)));
  return out;
}

}  // namespace

std::string text(const setup::RepositoryInfo& info) {
  std::string out = fields({{"repository", info.url},
                            {"id", to_hex(info.id.view())},
                            {"sealed", info.sealed ? "yes, AES-256-GCM" : "no"},
                            {"created", to_local(info.created)}});
  if (info.clusters.empty()) out += "\nThere is no cluster in it. Next: run \"holdfast init\".\n";
  for (const setup::RepositoryInfo::Cluster& cluster : info.clusters) {
    if (!cluster.problem.empty())
      out += fmt::format("\ncluster {} is unreadable: {}\n", cluster.name, cluster.problem);
    for (const setup::RepositoryInfo::Cluster::Unreadable& lineage : cluster.unreadable)
      out += fmt::format(
          "\ncluster {}, lineage {} is unreadable, and nothing of it can be restored: {}\n",
          cluster.name, repo::to_string(lineage.name), lineage.problem);
    for (const setup::LineageInfo& lineage : cluster.lineages) {
      out += fmt::format("\ncluster {}, lineage {}: PostgreSQL {}\n  system identifier: {}\n",
                         cluster.name, repo::to_string(lineage.lineage.name),
                         lineage.lineage.name.major, lineage.lineage.system_identifier);
      if (lineage.backup_count > lineage.backups.size())
        out += fmt::format("  {} backups, the newest {}:\n", lineage.backup_count,
                           lineage.backups.size());
      std::string listing = lineage.backups.empty() && lineage.unreadable.empty()
                                ? "no backup\n"
                                : backup_table(lineage.backups, lineage.unreadable);
      for (size_t at = 0; at < listing.size();) {
        size_t end = listing.find('\n', at);
        out += "  " + listing.substr(at, end - at) + "\n";
        at = end + 1;
      }
      for (const repo::UnreadableBackup& backup : lineage.unreadable)
        out += fmt::format("  backup {} is unreadable, and cannot be restored: {}\n", backup.id,
                           backup.problem);
      for (const std::string& problem : lineage.problems)
        out += fmt::format("  unreadable: {}\n", problem);
      for (const setup::LineageInfo::Timeline& timeline : lineage.timelines)
        out += fmt::format("  WAL of timeline {}: {} to {}\n{}", to_string(timeline.timeline),
                           segment_name(timeline.timeline, timeline.first_segment,
                                        lineage.lineage.wal_segment_bytes),
                           segment_name(timeline.timeline, timeline.last_segment,
                                        lineage.lineage.wal_segment_bytes),
                           timeline.last ? fmt::format("    the last archived {}\n",
                                                       to_local(timeline.last->pushed))
                                         : "");
      out += recoverable(lineage);
    }
  }
  return out;
}

Json json(const setup::RepositoryInfo& info) {
  Json clusters = Json::array();
  for (const setup::RepositoryInfo::Cluster& cluster : info.clusters) {
    Json lineages = Json::array();
    for (const setup::LineageInfo& lineage : cluster.lineages) {
      Json backups = Json::array();
      for (const repo::Backup& backup : lineage.backups) backups.push(backup_json(backup));
      Json timelines = Json::array();
      for (const setup::LineageInfo::Timeline& timeline : lineage.timelines) {
        const uint32_t bytes = lineage.lineage.wal_segment_bytes;
        Json one =
            Json::object()
                .set("timeline", timeline.timeline.value)
                .set("first_segment",
                     segment_name(timeline.timeline, timeline.first_segment, bytes))
                .set("last_segment", segment_name(timeline.timeline, timeline.last_segment, bytes));
        if (timeline.last) one.set("last_pushed", to_rfc3339(timeline.last->pushed));
        timelines.push(std::move(one));
      }
      Json one = lineage_json(lineage.lineage);
      Json problems = Json::array();
      for (const std::string& problem : lineage.problems) problems.push(problem);
      one.set("backup_count", lineage.backup_count)
          .set("unreadable", json(lineage.unreadable))
          .set("problems", std::move(problems))
          .set("backups", std::move(backups))
          .set("timelines", std::move(timelines));
      Json windows = Json::array(), gaps = Json::array(), unreadable_wal = Json::array();
      for (const recovery::Window& window : lineage.windows) windows.push(view::json(window));
      for (const recovery::Gap& gap : lineage.gaps) gaps.push(view::json(gap));
      for (const std::string& problem : lineage.unreadable_wal) unreadable_wal.push(problem);
      one.set("recoverable", std::move(windows))
          .set("gaps", std::move(gaps))
          .set("unreadable_wal", std::move(unreadable_wal));
      lineages.push(std::move(one));
    }
    Json unreadable = Json::array();
    for (const setup::RepositoryInfo::Cluster::Unreadable& lineage : cluster.unreadable)
      unreadable.push(Json::object()
                          .set("name", repo::to_string(lineage.name))
                          .set("problem", lineage.problem));
    Json earlier_names = Json::array();
    for (const std::string& name : cluster.earlier_names) earlier_names.push(name);
    clusters.push(Json::object()
                      .set("name", cluster.name)
                      .set("earlier_names", std::move(earlier_names))
                      .set("lineages", std::move(lineages))
                      .set("unreadable", std::move(unreadable))
                      .set("problem", cluster.problem.empty() ? Json() : Json(cluster.problem)));
  }
  return document("holdfast.info.v1")
      .set("url", info.url)
      .set("repository_id", to_hex(info.id.view()))
      .set("sealed", info.sealed)
      .set("created", to_rfc3339(info.created))
      .set("clusters", std::move(clusters));
}

std::string text(const backup::BackupResult& result) {
  const repo::Backup& backup = result.backup;
  const Microseconds took = backup.finished - backup.started;
  std::string out = fields(
      {{"backup", backup.id},
       {"cluster",
        fmt::format("{}, lineage {}", backup.lineage.shown(), repo::to_string(backup.lineage))},
       {"files", fmt::format("{}, {}", backup.files, to_human_bytes(backup.bytes))},
       {"stored", fmt::format("{} in {} packs", to_human_bytes(backup.stored_bytes), backup.packs)},
       {"WAL", fmt::format("{} to {}, timeline {}", pg::to_string(backup.start_lsn),
                           pg::to_string(backup.stop_lsn), pg::to_string(backup.stop_timeline))},
       {"took", to_human(took)}});
  for (const repo::DamagedBlock& block : result.damaged)
    out += fmt::format("damaged: block {} of \"{}\"\n", block.block, block.path);
  if (backup.damaged)
    out += fmt::format(
        "The cluster has {} damaged pages. The backup was kept and is marked damaged: it counts "
        "for nothing. Next: repair the "
        "pages, then back up again.\n",
        backup.damaged_blocks);
  else
    out += fmt::format("Everything from {} on can be recovered.\n",
                       to_local(result.window ? result.window->start_time : backup.stop_time));
  return out;
}

Json json(const backup::BackupResult& result) {
  Json damaged = Json::array();
  for (const repo::DamagedBlock& block : result.damaged)
    damaged.push(Json::object()
                     .set("path", block.path)
                     .set("block", block.block)
                     .set("reason", int{block.reason}));
  return document("holdfast.backup.v1")
      .set("backup", backup_json(result.backup))
      .set("recoverable", result.window ? json(*result.window) : Json())
      .set("damaged", std::move(damaged));
}

std::string text(const std::vector<repo::Backup>& backups, const Unreadable& unreadable) {
  std::string out;
  if (!backups.empty() || !unreadable.backups.empty())
    out += backup_table(backups, unreadable.backups);
  for (const Unreadable::Lineage& lineage : unreadable.lineages)
    out += fmt::format(
        "Lineage {} is unreadable, and nobody knows which backups it has: {}. Next: holdfast "
        "verify\n",
        lineage.name, lineage.problem);
  if (!unreadable.backups.empty())
    out +=
        "A backup that is unreadable cannot be restored; the others do not need it. Next: "
        "holdfast verify\n";
  if (out.empty()) return "There is no backup. Next: run \"holdfast backup\".\n";
  return out;
}

Json json(const std::vector<repo::Backup>& backups, const Unreadable& unreadable) {
  Json list = Json::array();
  for (const repo::Backup& backup : backups) list.push(backup_json(backup));
  Json lineages = Json::array();
  for (const Unreadable::Lineage& lineage : unreadable.lineages)
    lineages.push(Json::object().set("name", lineage.name).set("problem", lineage.problem));
  return document("holdfast.backup_list.v1")
      .set("backups", std::move(list))
      .set("unreadable", json(unreadable.backups))
      .set("unreadable_lineages", std::move(lineages));
}

std::string text(const repo::Backup& backup) {
  std::vector<std::pair<std::string, std::string>> lines = {
      {"backup", backup.id},
      {"type", backup_type(backup)},
      {"state", backup_state(backup)},
      {"cluster",
       fmt::format("{}, lineage {}", backup.lineage.shown(), repo::to_string(backup.lineage))},
      {"server",
       fmt::format("PostgreSQL {}, system identifier {}", backup.major, backup.system_identifier)},
      {"started", to_local(backup.started)},
      {"finished", to_local(backup.finished)},
      {"recovers from", to_local(backup.stop_time)},
      {"start LSN", fmt::format("{}, timeline {}, segment {}", pg::to_string(backup.start_lsn),
                                pg::to_string(backup.start_timeline), backup.start_segment)},
      {"stop LSN", fmt::format("{}, timeline {}, segment {}", pg::to_string(backup.stop_lsn),
                               pg::to_string(backup.stop_timeline), backup.stop_segment)},
      {"label", backup.label},
      {"host", backup.host},
      {"data directory", fmt::format("{} ({}:{}, mode {:04o})", backup.data_directory,
                                     backup.data_user, backup.data_group, backup.data_mode)},
      {"page checksums", pg::is_newer_major(backup.major) ? "not looked at, of a newer PostgreSQL"
                         : backup.data_checksums          ? "on, verified"
                                                          : "off"},
      {"files", fmt::format("{}, {}", backup.files, to_human_bytes(backup.bytes))},
      {"stored", fmt::format("{} in {} packs", to_human_bytes(backup.stored_bytes), backup.packs)},
      {"made by", fmt::format("holdfast {}", backup.tool)}};
  if (const std::optional<repo::Mark>& mark = backup.marks.damaged)
    lines.emplace_back("damage", fmt::format("{} (found at {} on host \"{}\")", mark->detail,
                                             to_local(mark->at), mark->by));
  if (const std::optional<repo::Mark>& mark = backup.marks.usable)
    lines.emplace_back("usable", fmt::format("{} It is restored whole (found at {} on host \"{}\")",
                                             mark->detail, to_local(mark->at), mark->by));
  if (const std::optional<repo::Mark>& mark = backup.marks.verified)
    lines.emplace_back("verified", fmt::format("{} on host \"{}\"", to_local(mark->at), mark->by));
  for (const repo::Tablespace& tablespace : backup.tablespaces)
    lines.emplace_back("tablespace", fmt::format("{} at {}", tablespace.oid, tablespace.path));
  for (const std::string& file : backup.external_files) lines.emplace_back("outside", file);
  if (backup.configuration)
    for (const auto& [name, value] : backup.configuration->command_line)
      lines.emplace_back("command line", name);
  return fields(lines) +
         fmt::format("Restore it with: holdfast restore --into DIR --backup {}\n", backup.id);
}

Json json(const repo::Backup& backup) {
  return document("holdfast.backup_show.v1").set("backup", backup_json(backup));
}

std::string text(const restore::RestoreResult& result) {
  const recovery::Plan& plan = result.plan;
  std::vector<std::pair<std::string, std::string>> lines = {
      {"backup", fmt::format("{} of lineage {} ({})", plan.backup.id,
                             repo::to_string(plan.backup.lineage), plan.why_this_backup)},
      {"target", to_string(plan.target)},
      {"WAL", fmt::format("{} segment{} to replay, timeline {}", plan.segments,
                          plan.segments == 1 ? "" : "s", pg::to_string(plan.timeline))},
      {"files", fmt::format("{}, {} in {}", result.files, to_human_bytes(result.bytes),
                            to_human(result.lay_time))}};
  if (result.delta)
    lines.emplace_back(
        "delta", fmt::format("{} kept as they were in {} files, {} written, {} names removed",
                             to_human_bytes(result.delta->bytes_kept), result.delta->files_kept,
                             to_human_bytes(result.delta->bytes_written), result.delta->removed));
  for (const restore::TablespacePlace& tablespace : result.tablespaces)
    if (tablespace.is_moved)
      lines.emplace_back("tablespace", fmt::format("{} (\"{}\") at \"{}\"", tablespace.oid,
                                                   tablespace.recorded, tablespace.place));
  if (result.in_place) lines.emplace_back("configuration", result.configuration);
  for (const std::string& file : result.outside_files) lines.emplace_back("outside", file);
  for (const auto& [from, to] : result.moved_aside)
    lines.emplace_back("moved aside", fmt::format("{} to {}", from, to));
  for (const std::string& note : plan.notes) lines.emplace_back("note", note);
  for (const std::string& warning : plan.warnings) lines.emplace_back("warning", warning);
  if (result.started) {
    lines.emplace_back("replay", to_human(result.replay_time));
    if (result.recovered_to_lsn.is_valid())
      lines.emplace_back(
          "recovered to",
          fmt::format("{}{}", pg::to_string(result.recovered_to_lsn),
                      result.recovered_to_time
                          ? fmt::format(", last commit {}", to_local(*result.recovered_to_time))
                          : ""));
    if (result.new_timeline.is_valid())
      lines.emplace_back("timeline", pg::to_string(result.new_timeline));
  }
  std::string out = fields(lines);
  const std::string connect =
      result.socket_directory.empty()
          ? std::string()
          : fmt::format("psql -h {} -p {}", shell_quote(result.socket_directory), result.port);
  if (!result.started)
    out += fmt::format(
        "Restored to \"{}\"; recovery begins when the server is started on it. Next: holdfast "
        "restore {} --resume\n{}",
        result.directory,
        result.in_place ? "--in-place" : "--into " + shell_quote(result.directory),
        result.in_place
            ? fmt::format("Or start it as you always do; if \"holdfast check\" says then that its "
                          "recovery settings are still there: holdfast finish {}\n",
                          shell_quote(result.directory))
            : "");
  else if (result.new_timeline.is_valid())
    out += fmt::format("Recovered and open for work (process {}). Connect with: {}\n",
                       result.server_pid, connect);
  else if (result.server_pid != 0)
    out += fmt::format(
        "Recovery waits at its target; look with: {}  Finish it with: holdfast finish {}\n",
        connect, shell_quote(result.directory));
  else
    out += fmt::format("Recovered to the target and shut down. The cluster is in \"{}\".\n",
                       result.directory);
  return out;
}

Json json(const restore::RestoreResult& result) {
  Json moved = Json::array();
  for (const auto& [from, to] : result.moved_aside)
    moved.push(Json::object().set("from", from).set("to", to));
  Json outside = Json::array();
  for (const std::string& file : result.outside_files) outside.push(file);
  Json tablespaces = Json::array();
  for (const restore::TablespacePlace& tablespace : result.tablespaces)
    tablespaces.push(Json::object()
                         .set("oid", tablespace.oid)
                         .set("was", tablespace.recorded)
                         .set("path", tablespace.place));
  return document("holdfast.restore.v1")
      .set("plan", json(result.plan))
      .set("directory", result.directory)
      .set("files", result.files)
      .set("bytes", result.bytes)
      .set("delta", result.delta ? Json::object()
                                       .set("files_kept", result.delta->files_kept)
                                       .set("bytes_kept", result.delta->bytes_kept)
                                       .set("bytes_written", result.delta->bytes_written)
                                       .set("removed", result.delta->removed)
                                 : Json())
      .set("tablespaces", std::move(tablespaces))
      .set("configuration", result.configuration)
      .set("outside_files", std::move(outside))
      .set("moved_aside", std::move(moved))
      .set("started", result.started)
      .set("sandboxed", result.sandboxed)
      .set("finished", result.finished)
      .set("server_pid", result.server_pid)
      .set("socket_directory", result.socket_directory)
      .set("port", result.port)
      .set("new_timeline",
           result.new_timeline.is_valid() ? Json(result.new_timeline.value) : Json())
      .set("recovered_to_lsn", result.recovered_to_lsn.is_valid()
                                   ? Json(pg::to_string(result.recovered_to_lsn))
                                   : Json())
      .set("recovered_to_time",
           result.recovered_to_time ? Json(to_rfc3339(*result.recovered_to_time)) : Json())
      .set("plan_seconds", seconds(result.plan_time))
      .set("lay_seconds", seconds(result.lay_time))
      .set("replay_seconds", seconds(result.replay_time))
      .set("promote_seconds", seconds(result.promote_time));
}

std::string text(const restore::FinishResult& result) {
  if (!result.production && result.was_over)
    return fmt::format(
        "There is no recovery to finish: the server is open for work on timeline {}.\n",
        pg::to_string(result.new_timeline));
  if (!result.production)
    return fmt::format("Recovery is finished: the server is open for work on timeline {}.\n",
                       pg::to_string(result.new_timeline));
  std::vector<std::pair<std::string, std::string>> lines;
  for (const auto& [name, value] : result.taken_out)
    lines.emplace_back("taken out", fmt::format("{} = '{}'", name, value));
  return fields(lines) +
         fmt::format(
             "\"{}\" is no copy any more. {} as your server is started (pg_ctl restart "
             "would keep the copy's settings), then run: holdfast init "
             "--configure-server && holdfast backup\n",
             result.directory,
             result.running_server
                 ? fmt::format("It still runs as one (process {}): stop it, then start it",
                               *result.running_server)
                 : "Start it");
}

Json json(const restore::FinishResult& result) {
  Json taken_out = Json::array();
  for (const auto& [name, value] : result.taken_out)
    taken_out.push(Json::object().set("name", name).set("value", value));
  return document("holdfast.finish.v1")
      .set("new_timeline", result.new_timeline.value)
      .set("production", result.production)
      .set("server_pid", result.running_server)
      .set("taken_timeline", result.taken ? Json(result.taken->message()) : Json())
      .set("taken_out", std::move(taken_out));
}

}  // namespace holdfast::view
