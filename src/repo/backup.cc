#include "repo/backup.h"

#include <algorithm>
#include <map>
#include <set>

#include <fmt/core.h>

#include "base/error.h"
#include "base/log.h"
#include "base/mutex.h"
#include "repo/backup_order.h"
#include "repo/doomed.h"
#include "repo/fields.h"
#include "repo/intent.h"
#include "repo/layout.h"
#include "repo/marks.h"
#include "repo/needed_wal.h"
#include "repo/two_places.h"

namespace holdfast::repo {
namespace {

constexpr uint16_t kRefsSelf = 1;
constexpr uint16_t kRefsPacks = 2;
constexpr uint8_t kEveryExtentForm = 0;
constexpr size_t kPacksPerSection = 16384;

Json named_object(const Bytes16& object, uint64_t bytes, const Bytes32& sha256) {
  return Json::object()
      .set("object", to_hex(object.view()))
      .set("bytes", bytes)
      .set("sha256", to_hex(sha256.view()));
}

// A path may hold any byte but NUL, and a document only UTF-8.
Json path_into(Json json, const std::string& path) {
  json.set("path", path);
  if (!is_utf8(path)) json.set("path_hex", to_hex(as_bytes(path)));
  return json;
}
// One that JSON cannot hold is as good as not known.
Json mount_into(Json json, const std::string& mount) {
  if (!mount.empty() && is_utf8(mount)) json.set("mount", mount);
  return json;
}
std::string mount_from(const Json& json) {
  const Json* mount = json.find("mount");
  return mount == nullptr ? std::string() : mount->as_string();
}
std::string path_from(const Json& json) {
  const Json* hex = json.find("path_hex");
  if (hex == nullptr) return json.at("path").as_string();
  const std::optional<Bytes> bytes = parse_hex(hex->as_string());
  if (!bytes || std::ranges::find(*bytes, std::byte{0}) != bytes->end())
    throw_member("path_hex", "It is no path in hexadecimal.");
  return std::string(as_text(*bytes));
}

}  // namespace

Json to_json(const Backup& backup) {
  Json tablespaces = Json::array();
  for (const Tablespace& tablespace : backup.tablespaces)
    tablespaces.push(mount_into(
        path_into(Json::object().set("oid", tablespace.oid), tablespace.path), tablespace.mount));
  Json external_files = Json::array();
  for (const std::string& path : backup.external_files) external_files.push(path);

  Json directory = mount_into(path_into(Json::object(), backup.data_directory)
                                  .set("mode", fmt::format("{:04o}", backup.data_mode))
                                  .set("user", backup.data_user)
                                  .set("group", backup.data_group),
                              backup.data_mount);
  if (!backup.wal_directory.empty())
    directory.set("pg_wal",
                  mount_into(path_into(Json::object(), backup.wal_directory), backup.wal_mount));

  Json body = Json::object();
  body.set("id", backup.id)
      .set("type", backup.type)
      .set("parent", backup.parent.empty() ? Json() : Json(backup.parent))
      .set("cluster", backup.lineage.cluster)
      .set("lineage", to_string(backup.lineage))
      .set("system_identifier", std::to_string(backup.system_identifier))
      .set("major", backup.major)
      .set("catalog_version", backup.catalog_version)
      .set("started", to_json(backup.started))
      .set("finished", to_json(backup.finished))
      .set("start_time", to_json(backup.start_time))
      .set("stop_time", to_json(backup.stop_time))
      .set("start_lsn", to_json(backup.start_lsn))
      .set("stop_lsn", to_json(backup.stop_lsn))
      .set("checkpoint_lsn", to_json(backup.checkpoint_lsn))
      .set("start_timeline", backup.start_timeline.value)
      .set("stop_timeline", backup.stop_timeline.value)
      .set("start_segment", backup.start_segment)
      .set("stop_segment", backup.stop_segment)
      .set("wal_segment_bytes", backup.wal_segment_bytes)
      .set("block_bytes", backup.block_bytes)
      .set("blocks_per_segment", backup.blocks_per_segment)
      .set("data_checksums", backup.data_checksums)
      .set("from_standby", backup.from_standby)
      .set("damaged", backup.damaged)
      .set("damaged_blocks", backup.damaged_blocks)
      .set("label", backup.label)
      .set("host", backup.host)
      .set("tool", backup.tool)
      .set("data_directory", std::move(directory))
      .set("tablespaces", std::move(tablespaces))
      .set("external_files", std::move(external_files))
      .set("parameters", to_json(backup.floors))
      .set("files", backup.files)
      .set("bytes", backup.bytes)
      .set("stored_bytes", backup.stored_bytes)
      .set("new_bytes", backup.new_bytes)
      .set("packs", backup.packs)
      .set("manifest",
           named_object(backup.manifest_object, backup.manifest_bytes, backup.manifest_sha256))
      .set("refs", named_object(backup.refs_object, backup.refs_bytes, backup.refs_sha256));
  if (backup.configuration) body.set("configuration", to_json(*backup.configuration));
  if (!backup.origin.empty()) body.set("origin", backup.origin);
  if (backup.committed) body.set("committed", to_json(*backup.committed));
  if (!backup.wal.empty()) {
    Json wal = Json::array();
    for (const OwnWal& own : backup.wal) {
      Json item = Json::object().set("file", own.file).set("sha256", to_hex(own.sha256.view()));
      if (own.begins)
        item.set("begins", Json::object()
                               .set("bytes", own.begins->bytes)
                               .set("sha256", to_hex(own.begins->sha256.view())));
      wal.push(std::move(item));
    }
    body.set("wal", std::move(wal));
  }
  return body;
}

Backup backup_from_json(const Json& body) {
  Backup backup;
  backup.id = body.at("id").as_string();
  backup.type = body.at("type").as_string();
  if (const Json& parent = body.at("parent"); !parent.is_null()) backup.parent = parent.as_string();
  if (const Json* origin = body.find("origin"); origin != nullptr)
    backup.origin = origin->as_string();
  std::optional<LineageName> lineage =
      parse_lineage_name(body.at("cluster").as_string(), body.at("lineage").as_string());
  if (!lineage) throw_member("lineage", "It is no lineage's name.");
  backup.lineage = *lineage;
  backup.system_identifier = text_number_member(body, "system_identifier");
  backup.major = number_member<int>(body, "major");
  backup.catalog_version = number_member<uint32_t>(body, "catalog_version");
  backup.started = time_member(body, "started");
  backup.finished = time_member(body, "finished");
  if (body.find("committed") != nullptr) backup.committed = time_member(body, "committed");
  backup.start_time = time_member(body, "start_time");
  backup.stop_time = time_member(body, "stop_time");
  backup.start_lsn = lsn_member(body, "start_lsn");
  backup.stop_lsn = lsn_member(body, "stop_lsn");
  backup.checkpoint_lsn = lsn_member(body, "checkpoint_lsn");
  backup.start_timeline.value = number_member<uint32_t>(body, "start_timeline");
  backup.stop_timeline.value = number_member<uint32_t>(body, "stop_timeline");
  backup.start_segment = body.at("start_segment").as_string();
  backup.stop_segment = body.at("stop_segment").as_string();
  backup.wal_segment_bytes = number_member<uint32_t>(body, "wal_segment_bytes");
  backup.block_bytes = number_member<uint32_t>(body, "block_bytes");
  backup.blocks_per_segment = number_member<uint32_t>(body, "blocks_per_segment");
  backup.data_checksums = body.at("data_checksums").as_bool();
  backup.from_standby = body.at("from_standby").as_bool();
  backup.damaged = body.at("damaged").as_bool();
  backup.damaged_blocks = body.at("damaged_blocks").as_u64();
  backup.label = body.at("label").as_string();
  backup.host = body.at("host").as_string();
  backup.tool = body.at("tool").as_string();

  const Json& directory = body.at("data_directory");
  backup.data_directory = path_from(directory);
  const uint64_t mode = text_number_member(directory, "mode", 8);
  if (mode > 07777) throw_member("mode", "It is no file mode.");
  backup.data_mode = static_cast<uint32_t>(mode);
  backup.data_user = directory.at("user").as_string();
  backup.data_group = directory.at("group").as_string();
  backup.data_mount = mount_from(directory);
  if (const Json* pg_wal = directory.find("pg_wal"); pg_wal != nullptr) {
    backup.wal_directory = path_from(*pg_wal);
    backup.wal_mount = mount_from(*pg_wal);
  }
  for (const Json& item : body.at("tablespaces").items())
    backup.tablespaces.push_back({.oid = number_member<uint32_t>(item, "oid"),
                                  .path = path_from(item),
                                  .mount = mount_from(item)});
  for (const Json& item : body.at("external_files").items())
    backup.external_files.push_back(item.as_string());
  if (const Json* configuration = body.find("configuration"); configuration != nullptr)
    backup.configuration = configuration_from_json(*configuration);
  backup.floors = floors_from_json(body.at("parameters"));
  if (const Json* wal = body.find("wal"); wal != nullptr)
    for (const Json& item : wal->items()) {
      OwnWal own{.file = item.at("file").as_string(), .sha256 = hex_member<32>(item, "sha256")};
      if (const Json* begins = item.find("begins"); begins != nullptr)
        own.begins = {.bytes = begins->at("bytes").as_u64(),
                      .sha256 = hex_member<32>(*begins, "sha256")};
      backup.wal.push_back(std::move(own));
    }

  backup.files = body.at("files").as_u64();
  backup.bytes = body.at("bytes").as_u64();
  backup.stored_bytes = body.at("stored_bytes").as_u64();
  backup.new_bytes = body.at("new_bytes").as_u64();
  backup.packs = body.at("packs").as_u64();
  const Json& manifest = body.at("manifest");
  backup.manifest_object = hex_member<16>(manifest, "object");
  backup.manifest_bytes = manifest.at("bytes").as_u64();
  backup.manifest_sha256 = hex_member<32>(manifest, "sha256");
  const Json& refs = body.at("refs");
  backup.refs_object = hex_member<16>(refs, "object");
  backup.refs_bytes = refs.at("bytes").as_u64();
  backup.refs_sha256 = hex_member<32>(refs, "sha256");
  return backup;
}

// --- Finding ------------------------------------------------------------------------------------

std::vector<CommitEntry> list_commits(const Repository& repository, const LineageName& lineage) {
  std::map<std::string, CommitEntry> commits;
  for (const std::string& folder : {backups_folder(lineage), backup_copies_folder(lineage)})
    store::for_each_entry(
        repository.store(), {.prefix = folder}, [&](const store::ListEntry& entry) {
          std::string_view name = std::string_view(entry.name).substr(folder.size());
          if (!name.ends_with(kJsonSuffix)) return true;
          name.remove_suffix(kJsonSuffix.size());
          if (!is_backup_id(name)) return true;
          const std::string id(name);
          CommitEntry& commit =
              commits.try_emplace(id, CommitEntry{.id = id, .modified = entry.modified})
                  .first->second;
          (folder == backups_folder(lineage) ? commit.has_first : commit.has_copy) = true;
          return true;
        });
  std::vector<CommitEntry> sorted;
  for (auto& [id, commit] : commits) sorted.push_back(std::move(commit));
  return sorted;
}

bool has_commit(const Repository& repository, const LineageName& lineage, const std::string& id) {
  return repository.store().info(backup_name(lineage, id)) ||
         repository.store().info(backup_copy_name(lineage, id));
}

std::vector<std::string> list_backup_ids(const Repository& repository, const LineageName& lineage) {
  std::vector<std::string> ids;
  const std::map<std::string, BackupMarks> deleted = read_deletions(repository, lineage);
  for (CommitEntry& commit : list_commits(repository, lineage))
    if (!deleted.contains(commit.id)) ids.push_back(std::move(commit.id));
  return ids;
}

std::optional<Backup> read_commit(const Repository& repository, const LineageName& lineage,
                                  const std::string& id) {
  if (!is_backup_id(id)) return std::nullopt;
  Context reading("reading backup \"{}\"", id);
  const TwoPlaces places{.first = backup_name(lineage, id), .copy = backup_copy_name(lineage, id)};
  return read_either(
      places,
      [&](const std::string& place) -> std::optional<Backup> {
        const std::optional<Json> body = repository.read_document("backup", places.first, place);
        if (!body) return std::nullopt;
        Backup backup = backup_from_json(*body);
        if (backup.id != id || backup.lineage != lineage)
          throw_damaged(place, fmt::format("It describes the backup \"{}\" of \"{}\".", backup.id,
                                           lineage_folder(backup.lineage)));
        backup.lineage = lineage;  // with the name that it was asked for by
        return backup;
      },
      [&](bool is_damaged) { repository.tell_of_copy(places, is_damaged); });
}

std::optional<Backup> read_backup(const Repository& repository, const LineageName& lineage,
                                  const std::string& id) {
  std::optional<Backup> backup = read_commit(repository, lineage, id);
  if (!backup) return std::nullopt;
  backup->marks = read_marks(repository, lineage, id);
  if (backup->marks.deleted) return std::nullopt;
  if (backup->marks.damaged) backup->damaged = true;
  return backup;
}

std::optional<Backup> read_backup_if_possible(
    const Repository& repository, const LineageName& lineage, const std::string& id,
    const std::function<void(const Error& error)>& unreadable) {
  // One that cannot be read must not hide the others.
  std::optional<Backup> backup;
  const std::optional<Error> error =
      unreadable_of([&] { backup = read_backup(repository, lineage, id); });
  if (error) unreadable(*error);
  return backup;
}

namespace {

std::string quoted_list(std::span<const std::string> ids) {
  std::string text;
  for (const std::string& id : ids) text += fmt::format("{}\"{}\"", text.empty() ? "" : ", ", id);
  return text;
}

// Up to four ids around the place where `text` would stand.
std::string nearest_ids(const std::vector<std::string>& ids, std::string_view text) {
  const size_t place = static_cast<size_t>(std::ranges::lower_bound(ids, text) - ids.begin());
  const size_t first = place > 2 ? place - 2 : 0;
  return quoted_list(std::span(ids).subspan(first, std::min<size_t>(4, ids.size() - first)));
}

void refuse_deleted(const Repository& repository, const LineageName& lineage,
                    std::string_view text) {
  for (const auto& [id, marks] : read_deletions(repository, lineage))
    if (id.starts_with(text))
      throw Error({.code = ErrorCode::kNotFound,
                   .message = fmt::format("backup \"{}\" is deleted", id),
                   .detail = fmt::format(
                       "It was deleted at {}, on host \"{}\".{}", to_local(marks.deleted->at),
                       marks.deleted->by,
                       marks.is_deletion_in_doubt()
                           ? fmt::format(" The mark \"{}\" cannot be read: it may take that back.",
                                         marks.unreadable.back())
                           : std::string()),
                   .hint = fmt::format("\"holdfast backup undelete {}\" takes that back, until an "
                                       "expiry has removed it.",
                                       id)});
}

}  // namespace

Backup resolve_backup(const Repository& repository, const LineageName& lineage,
                      std::string_view text) {
  const std::vector<std::string> ids = list_backup_ids(repository, lineage);
  std::vector<std::string> matches;
  if (text == "latest") {
    if (!ids.empty()) matches.push_back(backup_ids_in_order(repository, lineage).back());
  } else if (!text.empty()) {
    for (const std::string& id : ids)
      if (id.starts_with(text)) matches.push_back(id);
    if (matches.empty()) refuse_deleted(repository, lineage, text);
  }
  if (ids.empty())
    throw Error({.code = ErrorCode::kNotFound,
                 .message = fmt::format("cluster \"{}\" has no backup", lineage.shown()),
                 .detail = fmt::format("The repository at \"{}\" holds none of its lineage \"{}\".",
                                       repository.store().url(), to_string(lineage)),
                 .hint = "Take one with \"holdfast backup\"."});
  if (matches.empty())
    throw Error(
        {.code = ErrorCode::kNotFound,
         .message = fmt::format("cluster \"{}\" has no backup \"{}\"", lineage.shown(), text),
         .detail =
             fmt::format("It has {} backup(s); nearest: {}.", ids.size(), nearest_ids(ids, text)),
         .hint = "Give a backup's id, the beginning of one, or \"latest\". \"holdfast backup "
                 "list\" shows "
                 "them."});
  if (matches.size() > 1)
    throw Error(
        {.code = ErrorCode::kUsage,
         .message = fmt::format("\"{}\" is the beginning of {} backups", text, matches.size()),
         .detail = fmt::format("Among them: {}.", quoted_list(std::span(matches).first(
                                                      std::min<size_t>(4, matches.size())))),
         .hint = "Give more of the id."});
  std::optional<Backup> backup = read_backup(repository, lineage, matches.front());
  if (!backup)
    throw Error(
        {.code = ErrorCode::kNotFound,
         .message = fmt::format("backup \"{}\" was removed at this moment", matches.front()),
         .hint = "\"holdfast backup list\" shows what there is."});
  return *backup;
}

// --- Making -------------------------------------------------------------------------------------

struct BackupWriter::State {
  State(const Repository& r, const Lineage& l, std::string backup_id,
        codec::CompressionSetting setting, const Clock& c)
      : repository(&r),
        lineage(l),
        id(std::move(backup_id)),
        compression(setting),
        clock(&c),
        // Before anything is written; what is written from now on is ours, although no commit names
        // it yet.
        intent(r, l.name, {.what = "backup", .backup = id, .objects_from = r.store().now()}, c),
        manifest_extents(r, l.name, setting),
        manifest(r, l.name, id, l.block_bytes, manifest_extents) {}

  void put_refs(const std::vector<PackSummary>& all);
  void put_commit(const Json& body) const;
  std::optional<std::string> find_missing(const std::vector<PackSummary>& all) const;
  std::optional<std::string> find_doomed(const std::vector<PackSummary>& all) const;
  std::string why_not_whole(const std::vector<PackSummary>& all, const Backup& backup) const;

  const Repository* repository;
  Lineage lineage;
  std::string id;
  codec::CompressionSetting compression;
  const Clock* clock;
  HeldIntent intent;
  ExtentWriter manifest_extents;
  ManifestWriter manifest;
  std::optional<pg::TimelineId> wal_timeline;  // of the WAL that is protected

  bool is_sealed = false;  // then these hold
  ManifestWriter::Committed sealed_manifest;
  ObjectWriter::Committed sealed_refs;

  Mutex mutex;
  std::vector<PackSummary> packs HF_GUARDED_BY(mutex);
};

BackupWriter::BackupWriter(const Repository& repository, const Lineage& lineage,
                           std::string backup_id, codec::CompressionSetting compression,
                           const Clock& clock)
    : state_(
          std::make_unique<State>(repository, lineage, std::move(backup_id), compression, clock)) {
  HF_CHECK(is_backup_id(state_->id));
}
BackupWriter::~BackupWriter() = default;

const std::string& BackupWriter::id() const { return state_->id; }
ManifestWriter& BackupWriter::manifest() { return state_->manifest; }

void BackupWriter::protect_wal(pg::TimelineId timeline, pg::Lsn from) {
  if (state_->wal_timeline == timeline) return;
  state_->intent.use_wal(timeline, from);
  state_->wal_timeline = timeline;
}

ExtentWriter BackupWriter::make_worker() {
  return ExtentWriter(*state_->repository, state_->lineage.name, state_->compression);
}

void BackupWriter::finish_worker(ExtentWriter worker) {
  const std::vector<PackSummary> finished = worker.finish();
  state_->intent.check();
  MutexLock lock(state_->mutex);
  state_->packs.insert(state_->packs.end(), finished.begin(), finished.end());
}

void BackupWriter::State::put_refs(const std::vector<PackSummary>& all) {
  const std::string name = refs_name(lineage.name, id);
  ObjectWriter object(repository->store(), repository->keyring(), kRefsKind, name,
                      repository->random());
  object.section(kRefsSelf, ByteWriter().text(name).view());
  codec::Compressor compressor({});
  for (size_t at = 0; at < all.size(); at += kPacksPerSection) {
    const std::span<const PackSummary> part =
        std::span(all).subspan(at, std::min(kPacksPerSection, all.size() - at));
    ByteWriter out;
    out.varint(part.size());
    for (const PackSummary& pack : part)
      out.bytes(pack.pack.view()).varint(pack.extents).u8(kEveryExtentForm);
    object.compressed_section(kRefsPacks, out.view(), compressor);
  }
  sealed_refs = object.commit();
}

void BackupWriter::seal_contents() {
  State& state = *state_;
  HF_CHECK(!state.is_sealed);
  state.manifest.close_blocks();
  const std::vector<PackSummary> manifest_packs = state.manifest_extents.finish();
  state.intent.check();
  std::vector<PackSummary> all;
  {
    MutexLock lock(state.mutex);
    state.packs.insert(state.packs.end(), manifest_packs.begin(), manifest_packs.end());
    std::ranges::sort(state.packs);
    all = state.packs;
  }
  state.sealed_manifest = state.manifest.commit();
  state.put_refs(all);
  state.is_sealed = true;
}

// The first object of this backup that is not there as it was written.
std::optional<std::string> BackupWriter::State::find_missing(
    const std::vector<PackSummary>& all) const {
  auto is_there = [&](const std::string& name, uint64_t bytes) {
    std::optional<store::ObjectInfo> info = repository->store().info(name);
    return info && info->bytes == bytes;
  };
  for (const PackSummary& pack : all)
    if (std::string name = pack_name(lineage.name, pack.pack); !is_there(name, pack.bytes))
      return name;
  for (std::string name : {manifest_name(lineage.name, id), manifest_copy_name(lineage.name, id)})
    if (!is_there(name, sealed_manifest.bytes)) return name;
  if (std::string name = refs_name(lineage.name, id); !is_there(name, sealed_refs.bytes))
    return name;
  return std::nullopt;
}

// What tells that an object of this backup is in a list of what will be removed.
std::optional<std::string> BackupWriter::State::find_doomed(
    const std::vector<PackSummary>& all) const {
  std::set<std::string> ours = {manifest_name(lineage.name, id),
                                manifest_copy_name(lineage.name, id), refs_name(lineage.name, id)};
  for (const PackSummary& pack : all) ours.insert(pack_name(lineage.name, pack.pack));
  return repo::find_doomed(*repository, lineage.name, ours);
}

// The first makes the backup exist. Without its copy it is as whole, and the next backup puts that.
void BackupWriter::State::put_commit(const Json& body) const {
  const std::string first = backup_name(lineage.name, id);
  const std::string copy = backup_copy_name(lineage.name, id);
  const Bytes text =
      encode_document(repository->keyring(), "backup", first, body, repository->random());
  if (!repository->store().create(first, text))
    throw Error({.code = ErrorCode::kAlreadyExists,
                 .message = fmt::format("backup \"{}\" already exists", id),
                 .detail = "What stands there was left as it is."});
  if (const std::optional<Error> error =
          error_of(even_interrupted, [&] { repository->store().create(copy, text); }))
    log_warning("the copy \"{}\" of a commit could not be put: {}", copy, error->message());
}

// Nothing that it names may be gone or be about to go; empty: so it is.
std::string BackupWriter::State::why_not_whole(const std::vector<PackSummary>& all,
                                               const Backup& backup) const {
  if (std::optional<std::string> missing = find_missing(all))
    return fmt::format("The object \"{}\" that it wrote is missing or cut short.", *missing);
  if (std::optional<std::string> doomed = find_doomed(all))
    return fmt::format("What it wrote is about to be removed. {}", *doomed);
  if (!wal_timeline) return {};
  const NeededWal needed{
      .timeline = backup.stop_timeline, .start_lsn = backup.start_lsn, .end_lsn = backup.stop_lsn};
  if (std::optional<Going> going = find_going_wal(*repository, lineage, needed))
    return fmt::format("WAL that it needs is about to be removed. {}", going->what);
  if (std::optional<std::string> missing = find_missing_wal(*repository, lineage, needed))
    return fmt::format("The WAL object \"{}\" that it needs is missing.", *missing);
  return {};
}

Backup BackupWriter::commit(Backup backup) {
  State& state = *state_;
  HF_CHECK(state.is_sealed);
  state.intent.check();
  std::vector<PackSummary> all;
  {
    MutexLock lock(state.mutex);
    all = state.packs;
  }
  const ManifestWriter::Committed& manifest = state.sealed_manifest;
  backup.id = state.id;
  backup.lineage = state.lineage.name;
  backup.system_identifier = state.lineage.system_identifier;
  backup.major = state.lineage.name.major;
  backup.catalog_version = state.lineage.catalog_version;
  backup.wal_segment_bytes = state.lineage.wal_segment_bytes;
  backup.block_bytes = state.lineage.block_bytes;
  backup.blocks_per_segment = state.lineage.blocks_per_segment;
  backup.files = manifest.files;
  backup.bytes = manifest.summary.file_bytes;
  backup.stored_bytes = 0;
  for (const PackSummary& pack : all) backup.stored_bytes += pack.bytes;
  backup.new_bytes = backup.stored_bytes;
  backup.packs = all.size();
  // A caller may count more than it knows the places of.
  backup.damaged_blocks = std::max(backup.damaged_blocks, manifest.damaged_blocks);
  backup.damaged = backup.damaged || backup.damaged_blocks > 0;
  backup.manifest_object = manifest.object_id;
  backup.manifest_bytes = manifest.bytes;
  backup.manifest_sha256 = manifest.sha256;
  backup.refs_object = state.sealed_refs.object_id;
  backup.refs_bytes = state.sealed_refs.bytes;
  backup.refs_sha256 = state.sealed_refs.sha256;

  if (const std::string why = state.why_not_whole(all, backup); !why.empty())
    throw Error({.code = ErrorCode::kConflict,
                 .message = fmt::format("backup \"{}\" cannot be completed", state.id),
                 .detail = why,
                 .hint = "Take the backup again. If its objects were removed by an expiry, it had "
                         "run longer than deletion waits."});

  if (state.wal_timeline)
    backup.wal = read_own_wal(*state.repository, state.lineage,
                              {.timeline = backup.stop_timeline,
                               .start_lsn = backup.start_lsn,
                               .end_lsn = backup.stop_lsn});

  // It was held until now, however long that took. From here on the backup exists.
  state.intent.check();
  backup.committed = state.repository->store().now();
  state.put_commit(to_json(backup));

  // A list of the doomed may have been put, and carried out, while the commit was: it did not see
  // the commit, this sees the list, or what is missing.
  const std::string why = state.why_not_whole(all, backup);
  if (why.empty()) {
    state.intent.end();
    return backup;
  }
  put_mark(*state.repository, state.lineage.name, state.id, MarkKind::kDamaged, why);
  throw Error({.code = ErrorCode::kConflict,
               .message = fmt::format("backup \"{}\" was marked as damaged", state.id),
               .detail = why,
               .hint = "Take the backup again."});
}

}  // namespace holdfast::repo
