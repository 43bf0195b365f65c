#include "repo/drill_report.h"

#include <algorithm>
#include <cmath>
#include <deque>

#include <fmt/format.h>

#include "base/error.h"
#include "repo/cluster_names.h"
#include "repo/fields.h"

namespace holdfast::repo {
namespace {

// A hundred years; far from what overflows.
constexpr double kMaxSeconds = 100.0 * 366 * 24 * 3600;

Json seconds(Microseconds duration) { return Json(static_cast<double>(duration.count()) / 1e6); }
Json seconds(const std::optional<Microseconds>& duration) {
  return duration ? seconds(*duration) : Json();
}
Microseconds seconds_of(const Json& value, std::string_view key) {
  const double number = value.as_double();
  if (!(number >= 0 && number <= kMaxSeconds)) throw_member(key, "It is no number of seconds.");
  return Microseconds(std::llround(number * 1e6));
}
Microseconds seconds_member(const Json& object, std::string_view key) {
  return seconds_of(object.at(key), key);
}

template <typename T, typename Read>
std::optional<T> optional_member(const Json& object, std::string_view key, const Read& read) {
  if (object.at(key).is_null()) return std::nullopt;
  return read(object, key);
}

Json texts(const std::vector<std::string>& lines) {
  Json array = Json::array();
  for (const std::string& line : lines) array.push(line);
  return array;
}
std::vector<std::string> texts_member(const Json& object, std::string_view key) {
  std::vector<std::string> lines;
  for (const Json& line : object.at(key).items()) lines.push_back(line.as_string());
  return lines;
}

Json to_json(const DrillCheck& check) {
  return Json::object()
      .set("name", check.name)
      .set("state", check.state)
      .set("count", check.count)
      .set("what", check.what)
      .set("failure_count", check.failure_count)
      .set("failures", texts(check.failures))
      .set("note", check.note)
      .set("seconds", seconds(check.took));
}
DrillCheck check_from_json(const Json& json) {
  return {.name = json.at("name").as_string(),
          .state = json.at("state").as_string(),
          .count = json.at("count").as_u64(),
          .what = json.at("what").as_string(),
          .failure_count = json.at("failure_count").as_u64(),
          .failures = texts_member(json, "failures"),
          .note = json.at("note").as_string(),
          .took = seconds_member(json, "seconds")};
}

// Ids, oldest first, to `visit`; nothing is opened.
template <typename Visit>
void for_each_drill_id(const Repository& repository, const std::string& cluster, Visit visit) {
  const std::string folder = drills_folder(cluster);
  store::for_each_entry(repository.store(), {.prefix = folder}, [&](const store::ListEntry& entry) {
    std::string id = entry.name.substr(folder.size());
    if (!id.ends_with(".json")) return true;
    id.resize(id.size() - 5);
    if (is_backup_id(id)) visit(std::move(id));
    return true;
  });
}

DrillReport read_report(const Repository& repository, const std::string& folder,
                        const std::string& id) {
  const std::string name = drill_name(folder, id);
  const std::optional<Json> body = repository.read_document("drill", name);
  if (!body)
    throw Error({.code = ErrorCode::kNotFound,
                 .message = fmt::format("drill {} is gone", id),
                 .detail = "It was listed a moment ago."});
  Context reading("reading drill {}", id);
  DrillReport report = drill_report_from_json(*body);
  if (report.id != id) throw_member("id", "The document is another drill's.");
  return report;
}

}  // namespace

Json to_json(const DrillReport& report) {
  const auto lsn = [](const std::optional<pg::Lsn>& value) {
    return value ? to_json(*value) : Json();
  };
  Json checks = Json::array();
  for (const DrillCheck& check : report.checks) checks.push(to_json(check));
  Json recovery = Json::object();
  recovery.set("done", report.recovered)
      .set("seconds", seconds(report.recovery_time))
      .set("plan_seconds", seconds(report.plan_time))
      .set("lay_seconds", seconds(report.lay_time))
      .set("replay_seconds", seconds(report.replay_time))
      .set("promote_seconds", seconds(report.promote_time))
      .set("write_seconds", seconds(report.write_time))
      .set("allowed_seconds", seconds(report.allowed_recovery_time));
  Json loss = Json::object();
  loss.set("recovered_end", lsn(report.recovered_end))
      .set("last_recovered", report.last_recovered ? to_json(*report.last_recovered) : Json())
      .set("flushed", lsn(report.flushed))
      .set("seconds", seconds(report.loss_time))
      .set("transactions", report.lost_transactions)
      .set("wal_bytes", report.lost_bytes)
      .set("note", report.loss_note)
      .set("allowed_seconds", seconds(report.allowed_loss_time));
  Json machine = Json::object();
  machine.set("host", report.host)
      .set("processor", report.processor)
      .set("processors", report.processors)
      .set("memory_bytes", report.memory_bytes)
      .set("directory", report.directory)
      .set("file_system", report.file_system)
      .set("cache", report.cache);
  return Json::object()
      .set("id", report.id)
      .set("cluster", report.cluster)
      .set("lineage", to_string(report.lineage))
      .set("kind", report.kind)
      .set("tool", report.tool)
      .set("started", to_json(report.started))
      .set("finished", to_json(report.finished))
      .set("passed", report.passed)
      .set("missed", texts(report.missed))
      .set("error", report.error)
      .set("target", report.target)
      .set("backup", report.backup)
      .set("backup_time", to_json(report.backup_time))
      .set("major", report.major)
      .set("timeline", report.timeline.value)
      .set("segments", report.segments)
      .set("files", report.files)
      .set("bytes", report.bytes)
      .set("sandboxed", report.sandboxed)
      .set("recovery", std::move(recovery))
      .set("loss", std::move(loss))
      .set("checks", std::move(checks))
      .set("check_seconds", seconds(report.check_time))
      .set("machine", std::move(machine));
}

DrillReport drill_report_from_json(const Json& body) {
  DrillReport report;
  report.id = body.at("id").as_string();
  report.cluster = body.at("cluster").as_string();
  if (!is_cluster_name(report.cluster)) throw_member("cluster", "It is no cluster's name.");
  const std::optional<LineageName> lineage =
      parse_lineage_name(report.cluster, body.at("lineage").as_string());
  if (!lineage) throw_member("lineage", "It is no lineage's name.");
  report.lineage = *lineage;
  report.kind = body.at("kind").as_string();
  report.tool = body.at("tool").as_string();
  report.started = time_member(body, "started");
  report.finished = time_member(body, "finished");
  report.passed = body.at("passed").as_bool();
  report.missed = texts_member(body, "missed");
  report.error = body.at("error").as_string();
  report.target = body.at("target").as_string();
  report.backup = body.at("backup").as_string();
  report.backup_time = time_member(body, "backup_time");
  report.major = number_member<int>(body, "major");
  report.timeline.value = number_member<uint32_t>(body, "timeline");
  report.segments = body.at("segments").as_u64();
  report.files = body.at("files").as_u64();
  report.bytes = body.at("bytes").as_u64();
  report.sandboxed = body.at("sandboxed").as_bool();

  const Json& recovery = body.at("recovery");
  report.recovered = recovery.at("done").as_bool();
  report.recovery_time = seconds_member(recovery, "seconds");
  report.plan_time = seconds_member(recovery, "plan_seconds");
  report.lay_time = seconds_member(recovery, "lay_seconds");
  report.replay_time = seconds_member(recovery, "replay_seconds");
  report.promote_time = seconds_member(recovery, "promote_seconds");
  report.write_time = seconds_member(recovery, "write_seconds");
  report.allowed_recovery_time =
      optional_member<Microseconds>(recovery, "allowed_seconds", seconds_member);

  const Json& loss = body.at("loss");
  const auto number = [](const Json& object, std::string_view key) {
    return object.at(key).as_u64();
  };
  report.recovered_end = optional_member<pg::Lsn>(loss, "recovered_end", lsn_member);
  report.last_recovered = optional_member<Time>(loss, "last_recovered", time_member);
  report.flushed = optional_member<pg::Lsn>(loss, "flushed", lsn_member);
  report.loss_time = optional_member<Microseconds>(loss, "seconds", seconds_member);
  report.lost_transactions = optional_member<uint64_t>(loss, "transactions", number);
  report.lost_bytes = optional_member<uint64_t>(loss, "wal_bytes", number);
  report.loss_note = loss.at("note").as_string();
  report.allowed_loss_time = optional_member<Microseconds>(loss, "allowed_seconds", seconds_member);

  for (const Json& check : body.at("checks").items())
    report.checks.push_back(check_from_json(check));
  report.check_time = seconds_member(body, "check_seconds");
  const Json& machine = body.at("machine");
  report.host = machine.at("host").as_string();
  report.processor = machine.at("processor").as_string();
  report.processors = machine.at("processors").as_u64();
  report.memory_bytes = machine.at("memory_bytes").as_u64();
  report.directory = machine.at("directory").as_string();
  report.file_system = machine.at("file_system").as_string();
  report.cache = machine.at("cache").as_string();
  return report;
}

void put_drill_report(const Repository& repository, const DrillReport& report) {
  const std::string name = drill_name(folder_of_cluster(repository, report.cluster), report.id);
  if (!repository.create_document("drill", name, to_json(report)))
    throw Error({.code = ErrorCode::kAlreadyExists,
                 .message = fmt::format("drill {} exists already", report.id),
                 .detail = fmt::format("The object is \"{}\".", name)});
}

std::vector<DrillReport> read_drill_reports(
    const Repository& repository, const std::string& cluster, size_t limit,
    const std::function<void(const std::string& id, const Error& error)>& unreadable) {
  const std::string folder = folder_of_cluster(repository, cluster);
  std::deque<std::string> newest;
  for_each_drill_id(repository, folder, [&](std::string id) {
    newest.push_back(std::move(id));
    if (newest.size() > limit) newest.pop_front();
  });
  std::vector<DrillReport> reports;
  reports.reserve(newest.size());
  for (const std::string& id : newest)
    if (const std::optional<Error> error =
            unreadable_of([&] { reports.push_back(read_report(repository, folder, id)); }))
      unreadable(id, *error);
  return reports;
}

DrillReport resolve_drill_report(const Repository& repository, const std::string& cluster,
                                 std::string_view text) {
  const std::string folder = folder_of_cluster(repository, cluster);
  std::vector<std::string> found;  // two are enough to know that it is not one
  std::string last;
  for_each_drill_id(repository, folder, [&](std::string id) {
    if (id.starts_with(text) && found.size() < 2) found.push_back(id);
    last = std::move(id);
  });
  if (text == "latest" && !last.empty()) return read_report(repository, folder, last);
  if (found.size() == 1) return read_report(repository, folder, found.front());
  if (found.empty())
    throw Error(
        {.code = ErrorCode::kNotFound,
         .message = text == "latest" ? fmt::format("cluster \"{}\" has no drill", cluster)
                                     : fmt::format("there is no drill \"{}\"", text),
         .detail = last.empty() ? "None is kept in the repository."
                                : fmt::format("The newest is {}.", last),
         .hint = last.empty() ? "Run \"holdfast drill\"." : "\"holdfast drill list\" shows them."});
  throw Error({.code = ErrorCode::kUsage,
               .message = fmt::format("more than one drill begins with \"{}\"", text),
               .detail = fmt::format("Among them {} and {}.", found[0], found[1]),
               .hint = "Give more of its id."});
}

}  // namespace holdfast::repo
