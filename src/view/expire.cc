#include "view/expire.h"

#include <algorithm>

#include <fmt/format.h>

#include "view/table.h"

namespace holdfast::view {
namespace {

std::string amount(const expire::Amount& amount) {
  if (amount.objects == 0) return "nothing";
  return fmt::format("{} object{}, {}", amount.objects, amount.objects == 1 ? "" : "s",
                     to_human_bytes(amount.bytes));
}
Json amount_json(const expire::Amount& amount) {
  return Json::object().set("objects", amount.objects).set("bytes", amount.bytes);
}

bool is_among(const std::vector<Bytes16>& ids, const Bytes16& id) {
  return std::ranges::find(ids, id) != ids.end();
}

std::string what_goes(const expire::Deletion& deletion, bool done) {
  std::vector<std::pair<std::string, std::string>> lines;
  for (const expire::Deletion::OneBackup& one : deletion.backups)
    lines.emplace_back(done ? "deleted" : "to delete",
                       one.backup ? fmt::format("{}, {}, recovers from {}", one.id,
                                                one.backup->type, to_local(one.backup->stop_time))
                                  : fmt::format("{}, damaged beyond reading", one.id));
  for (const expire::Deletion::OneBackup& one : deletion.backups)
    for (const std::string& mark : one.unreadable_marks)
      lines.emplace_back("doubtful",
                         fmt::format("{}: \"{}\" cannot be read, and may pin it", one.id, mark));
  for (const expire::Deletion::Left& left : deletion.left)
    lines.emplace_back("stays", fmt::format("{}", left.why.message()));
  if (deletion.why_unknown) {
    lines.emplace_back("frees", fmt::format("unknown: {}", deletion.why_unknown->message()));
  } else {
    lines.emplace_back(
        "frees", fmt::format("{}, used by no other backup", to_human_bytes(deletion.freed_bytes)));
    lines.emplace_back("WAL", deletion.freed_wal_bytes == 0
                                  ? "stays"
                                  : fmt::format("{}, {}, needed by no other backup",
                                                plural(deletion.freed_wal_segments, "segment"),
                                                to_human_bytes(deletion.freed_wal_bytes)));
  }
  for (const expire::Deletion::Loss& loss : deletion.losses)
    lines.emplace_back(
        "gives up",
        fmt::format("every moment from {} to {} on timeline {}: no other good "
                    "backup leads there",
                    to_local(loss.since), to_local(loss.until), pg::to_string(loss.timeline)));
  std::string out = fields(lines);
  if (deletion.leaves_no_good_backup)
    out += "No good backup is left: nothing of the cluster can be recovered.\n";
  return out;
}

}  // namespace

std::string question(const expire::Deletion& deletion) { return what_goes(deletion, false); }

std::string text(const expire::Deletion& deletion, bool done) {
  std::string out = what_goes(deletion, done);
  if (!done) return out + "Nothing was changed. Next: run it without --dry-run.\n";
  for (const expire::Deletion::OneBackup& one : deletion.backups)
    if (one.is_final && one.backup)
      out += fmt::format("The repository is full: {} is gone at once.\n", one.id);
  out += "Next: \"holdfast expire\" frees the space, after its grace period.\n";
  for (const expire::Deletion::OneBackup& one : deletion.backups)
    if (!one.is_final)
      out += fmt::format("Until then \"holdfast backup undelete {}\" takes it back.\n", one.id);
  return out;
}

Json json(const expire::Deletion& deletion, bool done) {
  Json backups = Json::array();
  for (const expire::Deletion::OneBackup& one : deletion.backups) {
    Json unreadable = Json::array();
    for (const std::string& mark : one.unreadable_marks) unreadable.push(mark);
    backups.push(Json::object()
                     .set("id", one.id)
                     .set("lineage", repo::to_string(one.lineage))
                     .set("readable", one.backup.has_value())
                     .set("unreadable_marks", std::move(unreadable))
                     .set("final", one.is_final));
  }
  Json left = Json::array();
  for (const expire::Deletion::Left& stays : deletion.left)
    left.push(Json::object().set("id", stays.id).set("reason", stays.why.message()));
  Json losses = Json::array();
  for (const expire::Deletion::Loss& loss : deletion.losses)
    losses.push(Json::object()
                    .set("timeline", loss.timeline.value)
                    .set("start_lsn", pg::to_string(loss.from))
                    .set("end_lsn", pg::to_string(loss.to))
                    .set("start_time", to_rfc3339(loss.since))
                    .set("end_time", to_rfc3339(loss.until)));
  return Json::object()
      .set("schema", "holdfast.backup_delete.v1")
      .set("deleted", done)
      .set("backups", std::move(backups))
      .set("left", std::move(left))
      .set("losses", std::move(losses))
      .set("frees_unknown", deletion.why_unknown ? Json(deletion.why_unknown->message()) : Json())
      .set("freed_objects", deletion.freed_objects)
      .set("freed_bytes", deletion.freed_bytes)
      .set("freed_wal_segments", deletion.freed_wal_segments)
      .set("freed_wal_bytes", deletion.freed_wal_bytes)
      .set("leaves_no_good_backup", deletion.leaves_no_good_backup);
}

std::string text(const expire::ExpireResult& result) {
  std::string out;
  std::optional<Time> next;
  bool found = false;
  for (const expire::ExpiredLineage& lineage : result.lineages) {
    out += fmt::format("cluster {}, lineage {}: {} backup{} kept, {} at work\n",
                       lineage.name.shown(), repo::to_string(lineage.name), lineage.backups,
                       lineage.backups == 1 ? "" : "s", lineage.intents);
    std::vector<std::pair<std::string, std::string>> lines = {
        {result.dry_run ? "to remove" : "removed", amount(lineage.removed)},
        {result.dry_run ? "to be listed" : "listed", amount(lineage.doomed)}};
    if (lineage.waiting > 0)
      lines.emplace_back("waiting", fmt::format("{} objects listed before", lineage.waiting));
    if (lineage.spared > 0)
      lines.emplace_back("spared", fmt::format("{} objects that are used again", lineage.spared));
    for (const std::string& id : lineage.taken_off)
      lines.emplace_back(result.dry_run ? "to take off" : "taken off",
                         fmt::format("{}: its deletion is a grace period old", id));
    for (const expire::DeletedBackup& one : lineage.deleted)
      lines.emplace_back(
          "deleted", fmt::format("{}: {}; \"holdfast backup undelete {}\" takes it back", one.id,
                                 one.kept_by.empty() ? fmt::format("goes at {}", to_local(one.due))
                                                     : fmt::format("stays: {}", one.kept_by),
                                 one.id));
    for (const std::string& id : lineage.damaged_backups)
      lines.emplace_back("damaged", fmt::format("{}: it uses what was removed", id));
    if (lineage.has_redirects)
      lines.emplace_back("packs", "left alone: a later version has compacted them");
    out += fields(lines);
    if (lineage.next_due && (!next || *lineage.next_due < *next)) next = lineage.next_due;
    found = found || lineage.removed.objects + lineage.doomed.objects > 0;
  }
  if (result.swept_uploads > 0)
    out += fmt::format("Swept {} unfinished uploads of killed programs.\n", result.swept_uploads);
  if (result.dry_run)
    out += found ? "Nothing was changed. Next: run it without --dry-run.\n"
                 : "Nothing was changed, and there is nothing to do.\n";
  else if (next)
    out += fmt::format("Next: a run after {} removes what is due then.\n", to_local(*next));
  else
    out += "Nothing waits to be removed.\n";
  return out;
}

Json json(const expire::ExpireResult& result) {
  Json lineages = Json::array();
  for (const expire::ExpiredLineage& lineage : result.lineages) {
    Json damaged = Json::array(), taken_off = Json::array(), deleted = Json::array();
    for (const expire::DeletedBackup& one : lineage.deleted)
      deleted.push(Json::object()
                       .set("id", one.id)
                       .set("due", to_rfc3339(one.due))
                       .set("kept_by", one.kept_by.empty() ? Json() : Json(one.kept_by)));
    for (const std::string& id : lineage.taken_off) taken_off.push(id);
    for (const std::string& id : lineage.damaged_backups) damaged.push(id);
    lineages.push(
        Json::object()
            .set("cluster", lineage.name.shown())
            .set("lineage", repo::to_string(lineage.name))
            .set("backups", lineage.backups)
            .set("intents", lineage.intents)
            .set("taken_off", std::move(taken_off))
            .set("deleted", std::move(deleted))
            .set("removed", amount_json(lineage.removed))
            .set("doomed", amount_json(lineage.doomed))
            .set("waiting", lineage.waiting)
            .set("spared", lineage.spared)
            .set("next_due", lineage.next_due ? Json(to_rfc3339(*lineage.next_due)) : Json())
            .set("damaged_backups", std::move(damaged))
            .set("packs_left_alone", lineage.has_redirects));
  }
  return Json::object()
      .set("schema", "holdfast.expire.v1")
      .set("dry_run", result.dry_run)
      .set("grace_seconds", static_cast<double>(result.grace.count()) / 1e6)
      .set("swept_uploads", int64_t{result.swept_uploads})
      .set("lineages", std::move(lineages));
}

std::string text(const std::vector<repo::KeyObject>& keys, const std::vector<Bytes16>& opened) {
  std::vector<std::vector<std::string>> rows;
  bool all_whole = true;
  for (const repo::KeyObject& key : keys) {
    all_whole = all_whole && key.copies == 2;
    rows.push_back({to_hex(key.id.view()),
                    key.kind == "key_file" ? "key file"
                    : key.kind.empty()     ? "unknown"
                                           : key.kind,
                    key.made ? to_local(*key.made) : "unknown", fmt::format("{} of 2", key.copies),
                    is_among(opened, key.id) ? "yes" : ""});
  }
  std::string out = table({"key", "kind", "added", "copies", "configured"}, rows);
  out += all_whole && rows.size() == 1
             ? "It is the only one: without it nothing in the repository can be read. Next: "
               "\"holdfast repo add-key --new-key-file FILE\" lets another one open it too.\n"
         : all_whole
             ? "Each of them opens the whole repository. Next: \"holdfast repo change-key\" takes "
               "the configured one away.\n"
             : "Of one a copy is missing or damaged. Next: run \"holdfast repo change-key\" with "
               "that key.\n";
  return out;
}

Json json(const std::vector<repo::KeyObject>& keys, const std::vector<Bytes16>& opened) {
  Json list = Json::array();
  for (const repo::KeyObject& key : keys)
    list.push(Json::object()
                  .set("id", to_hex(key.id.view()))
                  .set("kind", key.kind.empty() ? Json() : Json(key.kind))
                  .set("added", key.made ? Json(to_rfc3339(*key.made)) : Json())
                  .set("copies", int64_t{key.copies})
                  .set("configured", is_among(opened, key.id)));
  return Json::object().set("schema", "holdfast.repo_keys.v1").set("keys", std::move(list));
}

}  // namespace holdfast::view
