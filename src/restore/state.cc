#include "restore/state.h"

#include <algorithm>

#include <fmt/core.h>

#include "base/error.h"
#include "base/file.h"
#include "cluster/data_directory.h"
#include "pg/control_file.h"
#include "restore/configuration.h"
#include "restore/marker.h"

namespace holdfast::restore {
namespace {

constexpr std::string_view kSchema = "holdfast.restored.v1";

std::string state_path(const std::string& directory) { return join_path(directory, kStateName); }

recovery::TargetAction action_from(const std::string& text) {
  for (recovery::TargetAction action :
       {recovery::TargetAction::kPromote, recovery::TargetAction::kPause,
        recovery::TargetAction::kShutdown})
    if (to_string(action) == text) return action;
  throw Error({.code = ErrorCode::kCorrupt,
               .message = fmt::format("unknown action \"{}\" in \"{}\"", text, kStateName),
               .hint = "Run the restore again."});
}

uint32_t narrow_u32(const Json& json) {
  const uint64_t value = json.as_u64();
  if (value <= UINT32_MAX) return static_cast<uint32_t>(value);
  throw Error({.code = ErrorCode::kCorrupt,
               .message = fmt::format("number {} in \"{}\" is too large", value, kStateName),
               .hint = "Run the restore again."});
}

Json texts(const std::vector<std::string>& list) {
  Json array = Json::array();
  for (const std::string& text : list) array.push(text);
  return array;
}

Json pairs(const cluster::Settings& settings) {
  Json array = Json::array();
  for (const auto& [name, value] : settings) array.push(Json::array().push(name).push(value));
  return array;
}

cluster::Settings settings_from(const Json& array) {
  cluster::Settings settings;
  for (const Json& setting : array.items()) {
    if (setting.items().size() != 2) {
      throw Error({.code = ErrorCode::kCorrupt,
                   .message = fmt::format("a setting in \"{}\" is no pair", kStateName),
                   .hint = "Run the restore again."});
    }
    settings.emplace_back(setting.items()[0].as_string(), setting.items()[1].as_string());
  }
  return settings;
}

}  // namespace

bool RestoredState::is_same_restore(const RestoredState& other) const {
  return cluster == other.cluster && is_copy == other.is_copy && backup == other.backup &&
         target == other.target && action == other.action && timeline == other.timeline &&
         port == other.port && archive == other.archive;
}

Json to_json(const RestoredState& state) {
  Json sandbox;
  if (state.sandbox) {
    Json covers = Json::array();
    for (const cluster::Sandbox::Cover& cover : state.sandbox->covers)
      covers.push(Json::object().set("path", cover.path).set("by", cover.by));
    sandbox = Json::object()
                  .set("covers", std::move(covers))
                  .set("private_network", state.sandbox->private_network);
  }
  Json created = Json::array();
  for (const NewTablespace& tablespace : state.created)
    created.push(Json::object()
                     .set("oid", tablespace.oid)
                     .set("path", tablespace.path)
                     .set("lsn", pg::to_string(tablespace.lsn))
                     .set("place", tablespace.place));
  return Json::object()
      .set("schema", kSchema)
      .set("directory", state.directory.empty() ? Json() : Json(state.directory))
      .set("place", state.place.empty() ? Json() : Json(state.place))
      .set("cluster", state.cluster)
      .set("lineage", state.lineage.empty() ? Json() : Json(state.lineage))
      .set("in_place", !state.is_copy)
      .set("backup", state.backup)
      .set("major", state.major)
      .set("wal_segment_bytes", state.wal_segment_bytes)
      .set("target", state.target)
      .set("action", to_string(state.action))
      .set("timeline", state.timeline.value)
      .set("port", state.port)
      .set("archive", state.archive)
      .set("first_segment", state.first_segment)
      .set("last_segment", state.last_segment)
      .set("target_segment", state.target_segment)
      .set("end_record",
           state.end_record.is_valid() ? Json(pg::to_string(state.end_record)) : Json())
      .set("last_wal", state.last_wal ? Json::object()
                                            .set("file", state.last_wal->file)
                                            .set("sha256", to_hex(state.last_wal->sha256.view()))
                                      : Json())
      .set("ends_in_tail", state.ends_in_tail)
      .set("servers_own", pairs(state.servers_own))
      .set("command_line", pairs(state.command_line))
      .set("only_in_sandbox", state.only_in_sandbox)
      .set("sandbox", std::move(sandbox))
      .set("created", std::move(created))
      .set("made_here", texts(state.made_here))
      .set("production", texts(state.production))
      .set("claim", state.claim.empty() ? Json() : Json(state.claim));
}

namespace {

// Empty where an earlier version has not written it.
std::string text_if_any(const Json& json, const char* name) {
  const Json* text = json.find(name);
  return text == nullptr || text->is_null() ? std::string() : text->as_string();
}

}  // namespace

RestoredState restored_state_from_json(const Json& json) {
  if (json.at("schema").as_string() != kSchema) {
    throw Error({.code = ErrorCode::kUnsupported,
                 .message = fmt::format("\"{}\" is of another version of holdfast", kStateName),
                 .detail = fmt::format("Its schema is \"{}\".", json.at("schema").as_string()),
                 .hint = "Go on with the program that restored this directory."});
  }
  RestoredState state;
  state.directory = text_if_any(json, "directory");
  state.place = text_if_any(json, "place");
  state.cluster = json.at("cluster").as_string();
  state.lineage = text_if_any(json, "lineage");
  state.is_copy = !json.at("in_place").as_bool();
  state.backup = json.at("backup").as_string();
  state.major = static_cast<int>(narrow_u32(json.at("major")) & 0xFFFF);
  state.wal_segment_bytes = narrow_u32(json.at("wal_segment_bytes"));
  state.target = json.at("target").as_string();
  state.action = action_from(json.at("action").as_string());
  state.timeline = {narrow_u32(json.at("timeline"))};
  state.port = static_cast<int>(narrow_u32(json.at("port")) & 0xFFFF);
  if (const Json& archive = json.at("archive"); !archive.is_null())
    state.archive = archive.as_bool();
  state.first_segment = json.at("first_segment").as_u64();
  state.last_segment = json.at("last_segment").as_u64();
  state.target_segment = json.at("target_segment").as_string();
  if (const Json* end = json.find("end_record"); end != nullptr && !end->is_null()) {
    state.end_record = pg::parse_lsn(end->as_string());
    state.ends_in_tail = json.at("ends_in_tail").as_bool();
  }
  if (const Json* wal = json.find("last_wal"); wal != nullptr && !wal->is_null())
    if (const std::optional<Bytes32> sha256 = parse_hex_array<32>(wal->at("sha256").as_string()))
      state.last_wal = {.file = wal->at("file").as_string(), .sha256 = *sha256};
  if (const Json* own = json.find("servers_own"); own != nullptr)
    state.servers_own = settings_from(*own);
  state.command_line = settings_from(json.at("command_line"));
  state.only_in_sandbox = json.at("only_in_sandbox").as_bool();
  if (const Json& sandbox = json.at("sandbox"); !sandbox.is_null()) {
    state.sandbox.emplace();
    state.sandbox->private_network = sandbox.at("private_network").as_bool();
    for (const Json& cover : sandbox.at("covers").items())
      state.sandbox->covers.push_back(
          {.path = cover.at("path").as_string(), .by = cover.at("by").as_string()});
  }
  for (const Json& created : json.at("created").items())
    state.created.push_back({.oid = narrow_u32(created.at("oid")),
                             .path = created.at("path").as_string(),
                             .lsn = pg::parse_lsn(created.at("lsn").as_string()),
                             .place = created.at("place").as_string()});
  for (const Json& made : json.at("made_here").items()) state.made_here.push_back(made.as_string());
  if (const Json* production = json.find("production"); production != nullptr)
    for (const Json& place : production->items()) state.production.push_back(place.as_string());
  state.claim = text_if_any(json, "claim");
  return state;
}

namespace {

// The beginning `from` of each path that may lie in the data directory becomes `to`.
void change_paths(RestoredState& state, const std::string& from, const std::string& to) {
  const auto change = [&](std::string& path) {
    if (path.starts_with(from)) path.replace(0, from.size(), to);
  };
  for (auto& [name, value] : state.command_line) change(value);
  for (NewTablespace& created : state.created) change(created.place);
  if (!state.sandbox) return;
  for (cluster::Sandbox::Cover& cover : state.sandbox->covers) change(cover.by);
}

constexpr const char* kHere = "./";

}  // namespace

void write_state(const std::string& directory, RestoredState state,
                 const std::optional<OwnerIds>& owner) {
  state.directory = identity_of_directory(directory);
  state.place = directory;
  change_paths(state, directory + "/", kHere);
  write_owned_file(state_path(directory), as_bytes(to_json(state).dump() + "\n"),
                   cluster::file_mode_in(directory), owner);
}

std::optional<RestoredState> read_state(const std::string& directory) {
  const std::optional<Bytes> bytes = read_if_exists(state_path(directory));
  if (!bytes) return std::nullopt;
  RestoredState state =
      restored_state_from_json(Json::parse(as_text(*bytes), state_path(directory)));
  if (state.directory != identity_of_directory(directory)) state.claim.clear();
  change_paths(state, kHere, directory + "/");
  return state;
}

void remove_state(const std::string& directory) {
  if (remove_file_if_exists(state_path(directory))) fsync_directory(directory);
}

bool was_started(const std::string& directory) {
  return lstat_if_exists(join_path(directory, "postmaster.opts")) ||
         lstat_if_exists(join_path(directory, "postmaster.pid"));
}

bool is_laid_and_unused(const std::string& directory) {
  return !was_started(directory) && lstat_if_exists(state_path(directory)) &&
         lstat_if_exists(join_path(directory, kRecoverySignal)) &&
         lstat_if_exists(join_path(directory, pg::kControlFilePath));
}

}  // namespace holdfast::restore
