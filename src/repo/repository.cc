#include "repo/repository.h"

#include <algorithm>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "base/error.h"
#include "base/log.h"
#include "base/mutex.h"
#include "base/nearest.h"
#include "repo/backup.h"
#include "repo/cluster_names.h"
#include "repo/fields.h"
#include "repo/key_objects.h"
#include "repo/two_places.h"

namespace holdfast::repo {
namespace {

constexpr int64_t kFormat = 1;
constexpr std::string_view kTool = "holdfast";
constexpr size_t kDigestKeyBytes = 64;
constexpr std::string_view kDigestKeyInfo = "holdfast content digest 1";

// The folders directly below `prefix`, without it and without the slash.
std::vector<std::string> folders_below(store::Store& store, const std::string& prefix,
                                       bool empty_ones_too) {
  std::vector<std::string> names;
  store::for_each_entry(
      store, {.prefix = prefix, .folders = true, .empty_folders = empty_ones_too},
      [&](const store::ListEntry& entry) {
        if (entry.is_folder())
          names.push_back(entry.name.substr(prefix.size(), entry.name.size() - prefix.size() - 1));
        return true;
      });
  return names;
}

[[noreturn]] void throw_no_repository(const store::Store& store) {
  throw Error({.code = ErrorCode::kNotFound,
               .message = fmt::format("there is no repository at \"{}\"", store.url()),
               .detail = fmt::format("It has no \"{}\".", kRepositoryName),
               .hint = "Check that the file system is mounted and that the name is right. A new "
                       "repository is made by "
                       "\"holdfast init\"."});
}

TwoPlaces places_of_repository() {
  return {.first = std::string(kRepositoryName), .copy = std::string(kRepositoryCopyName)};
}
TwoPlaces places_of(const LineageName& lineage) {
  return {.first = lineage_document_name(lineage), .copy = lineage_copy_name(lineage)};
}

Json body_of(const Lineage& lineage) {
  Json body = Json::object();
  body.set("cluster", lineage.name.cluster).set("lineage", to_string(lineage.name));
  body.set("system_identifier", std::to_string(lineage.system_identifier))
      .set("catalog_version", lineage.catalog_version)
      .set("wal_segment_bytes", lineage.wal_segment_bytes)
      .set("block_bytes", lineage.block_bytes)
      .set("blocks_per_segment", lineage.blocks_per_segment)
      .set("created", to_rfc3339(lineage.created));
  return body;
}

Lineage lineage_of_document(const LineageName& name, const Json& body) {
  return {.name = name,
          .system_identifier = text_number_member(body, "system_identifier"),
          .catalog_version = number_member<uint32_t>(body, "catalog_version"),
          .wal_segment_bytes = number_member<uint32_t>(body, "wal_segment_bytes"),
          .block_bytes = number_member<uint32_t>(body, "block_bytes"),
          .blocks_per_segment = number_member<uint32_t>(body, "blocks_per_segment"),
          .created = time_member(body, "created")};
}

void warn_of_copy(const TwoPlaces& places, bool is_damaged) {
  log_warning("\"{}\" is {}: its copy \"{}\" is read; see \"holdfast verify\"", places.first,
              is_damaged ? "damaged" : "missing", places.copy);
}

// Other files do not belong into a repository, and a repository that has lost its repo.json must
// not get another. Keys may be left of an attempt that failed.
void require_empty(store::Store& target) {
  store::for_each_entry(
      target, {.prefix = "", .folders = true}, [&](const store::ListEntry& entry) {
        if (entry.name == kKeysFolder || entry.name == kKeyCopiesFolder) return true;
        if (entry.name == kClustersFolder) {
          throw Error(
              {.code = ErrorCode::kConflict,
               .message = fmt::format("the repository at \"{}\" has lost its {}", target.url(),
                                      kRepositoryName),
               .detail =
                   fmt::format("There is a folder \"{}\", as only a repository has.", entry.name),
               .hint = fmt::format("Put {} back from a copy of the repository: without it the "
                                   "backups cannot be read. For a new repository choose another "
                                   "place.",
                                   kRepositoryName)});
        }
        throw Error(
            {.code = ErrorCode::kConflict,
             .message = fmt::format("\"{}\" is not empty", target.url()),
             .detail = fmt::format("There is \"{}\", which is no repository's.", entry.name),
             .hint = "Choose an empty or a new place for the repository."});
      });
}

}  // namespace

// --- Repository ---------------------------------------------------------------------------------

struct Repository::Told {
  Mutex mutex;
  std::set<std::string> objects HF_GUARDED_BY(mutex);
};

void Repository::tell_once(const std::string& object, const std::function<void()>& tell) const {
  {
    MutexLock lock(told_->mutex);
    if (!told_->objects.insert(object).second) return;
  }
  tell();
}

void Repository::tell_of_copy(const TwoPlaces& places, bool is_damaged) const {
  tell_once(places.first, [&] { warn_of_copy(places, is_damaged); });
}

Repository Repository::open(store::Store& target, const KeySource& key,
                            const std::optional<Bytes16>& expected_id, RandomSource& random) {
  const TwoPlaces places = places_of_repository();
  const std::string& name = places.first;
  std::optional<OpenDocument> found = read_either(
      places,
      [&](const std::string& place) -> std::optional<OpenDocument> {
        const std::optional<Bytes> text = store::read_whole(target, place, kMaxDocumentBytes);
        if (!text) return std::nullopt;
        return decode_open_document("repository", name, *text);
      },
      [&](bool is_damaged) { warn_of_copy(places, is_damaged); });
  if (!found) throw_no_repository(target);
  const OpenDocument document = *std::move(found);
  const Json& body = document.body;

  int64_t format = body.at("format").as_i64();
  if (format != kFormat || !body.at("features").items().empty())
    throw Error(
        {.code = ErrorCode::kUnsupported,
         .message = fmt::format("the repository at \"{}\" needs a newer version of this program",
                                target.url()),
         .detail = fmt::format(
             "Its format is {} with the features {}; this program knows {} without any.", format,
             body.at("features").dump(0), kFormat),
         .hint = "Use the version of holdfast that made the repository, or a later one."});
  if (hex_member<16>(body, "repository_id") != document.repository_id)
    throw_damaged(name, "It states two different repository ids.");
  if (expected_id && *expected_id != document.repository_id)
    throw Error(
        {.code = ErrorCode::kWrongCluster,
         .message = fmt::format("another repository than expected is at \"{}\"", target.url()),
         .detail = fmt::format("Its id is {}; expected was {}.",
                               to_hex(document.repository_id.view()), to_hex(expected_id->view())),
         .hint = "Check the repository's place in the configuration, and what is mounted there."});

  Repository repository;
  repository.store_ = &target;
  repository.random_ = &random;
  repository.created_ = time_member(body, "created");
  repository.told_ = std::make_shared<Told>();
  Keyring& keyring = repository.keyring_;
  keyring.repository_id = document.repository_id;
  if (!body.at("sealed").as_bool()) {
    if (!key.empty())
      throw Error({.code = ErrorCode::kConfiguration,
                   .message = fmt::format(
                       "a key was given, but the repository at \"{}\" is not sealed", target.url()),
                   .detail = "Everything in it can be read by whoever can read its files.",
                   .hint = "Take the key out of the configuration if that is meant to be so; if it "
                           "is not, this is not "
                           "the repository that you sealed."});
    keyring.content_digest_key = [&] {
      std::optional<Bytes> digest_key = parse_hex(body.at("digest_key").as_string());
      if (!digest_key || digest_key->size() != kDigestKeyBytes)
        throw_member("digest_key", "It is not 64 bytes in hexadecimal.");
      return *digest_key;
    }();
    return repository;
  }

  if (key.empty())
    throw Error(
        {.code = ErrorCode::kWrongKey,
         .message =
             fmt::format("the repository at \"{}\" is sealed, and no key was given", target.url()),
         .hint = "Give --key-file, or set key_file, passphrase_file or passphrase_command in the "
                 "configuration."});
  keyring.data_key = find_data_key(target, key, keyring.repository_id);
  keyring.content_digest_key = codec::hkdf_sha256(
      keyring.data_key->view(), keyring.repository_id.view(), kDigestKeyInfo, kDigestKeyBytes);
  return repository;
}

Repository Repository::create(store::Store& target, const KeySource& key, const Clock& clock,
                              RandomSource& random) {
  std::string name(kRepositoryName);
  auto throw_exists = [&] {
    throw Error({.code = ErrorCode::kAlreadyExists,
                 .message = fmt::format("there is already a repository at \"{}\"", target.url()),
                 .hint = "Choose another place, or use what is there: nothing was changed."});
  };
  if (target.info(name) || target.info(std::string(kRepositoryCopyName))) throw_exists();
  require_empty(target);

  Bytes16 repository_id = random.bytes16();
  Json body = Json::object();
  body.set("repository_id", to_hex(repository_id.view()));
  body.set("format", kFormat)
      .set("features", Json::array())
      .set("created", to_rfc3339(clock.now()));
  body.set("tool", kTool).set("sealed", !key.empty());
  if (key.empty()) {
    Bytes digest_key(kDigestKeyBytes);
    random.fill(digest_key);
    body.set("digest_key", to_hex(digest_key));
  } else {
    // Before repo.json, so that no repository is ever without its keys.
    add_key_object(target, codec::SecretKey::generate(random), key, repository_id, random);
  }
  Bytes text = encode_open_document(repository_id, "repository", name, body, random);
  if (!target.create(name, text)) throw_exists();
  // Every promise of the repository rests on this answer. The bytes are the same, so a store that
  // replaces does no harm here.
  if (target.create(name, text))
    throw Error(
        {.code = ErrorCode::kUnsupported,
         .message = fmt::format("the store at \"{}\" replaces what it should keep", target.url()),
         .detail = "An object was put twice under one name, and both times the store answered that "
                   "the name was "
                   "free. Two programs at work would overwrite each other's objects.",
         .hint = "Do not use what was made there. Choose a store that can put an object only if "
                 "its name is free."});
  target.create(std::string(kRepositoryCopyName), text);
  return open(target, key, repository_id, random);
}

void Repository::complete_copies(const LineageName& lineage) const {
  error_of([&] {
    const TwoPlaces repository = places_of_repository();
    put_missing(*store_, repository, [&](const Bytes& bytes) {
      decode_open_document("repository", repository.first, bytes);
    });
    const TwoPlaces document = places_of(lineage);
    if (!store_->info(document.first) && !store_->info(document.copy))
      if (const std::optional<Lineage> lost = lineage_of_commits(lineage)) put_lineage(*lost);
    put_missing(*store_, document, [&](const Bytes& bytes) {
      decode_document(keyring_, "lineage", document.first, bytes);
    });
    complete_cluster_names(*this, lineage.cluster);
  });
}

std::vector<std::string> Repository::clusters() const {
  std::vector<std::string> names;
  for (const ClusterNames& cluster : list_cluster_names(*this))
    names.push_back(cluster.names.front());
  return names;
}

std::vector<std::string> Repository::cluster_folders() const {
  std::vector<std::string> names = folders_below(*store_, std::string(kClustersFolder), false);
  std::erase_if(names, [](const std::string& name) { return !is_cluster_name(name); });
  return names;
}

std::vector<std::string> Repository::folders_of_cluster(const std::string& folder) const {
  return folders_below(*store_, cluster_folder(folder), true);
}

// A later name costs a further listing and a read; the first one none.
std::vector<LineageName> Repository::lineage_folders(const std::string& cluster) const {
  std::vector<LineageName> found;
  const auto look = [&](const std::string& folder) {
    for (const std::string& below : folders_of_cluster(folder))
      if (std::optional<LineageName> name = parse_lineage_name(folder, below)) {
        if (folder != cluster) name->called = cluster;
        found.push_back(*std::move(name));
      }
  };
  look(cluster);
  if (!found.empty()) return found;
  const std::string folder = folder_of_cluster(*this, cluster);
  if (folder != cluster) look(folder);
  return found;
}

std::vector<Lineage> Repository::lineages(const std::string& cluster,
                                          const TellUnreadable& unreadable) const {
  check_cluster_name(cluster);
  std::vector<Lineage> found;
  // Its document tells whether a folder is a lineage's: none need be looked into.
  for (const LineageName& name : lineage_folders(cluster)) {
    const std::optional<Error> error = unreadable_of([&] {
      const TwoPlaces places = places_of(name);
      const std::optional<Json> body = read_either(
          places,
          [&](const std::string& place) { return read_document("lineage", places.first, place); },
          [&](bool is_damaged) { tell_of_copy(places, is_damaged); });
      if (body)
        found.push_back(lineage_of_document(name, *body));
      else if (std::optional<Lineage> lineage = lineage_of_commits(name))
        found.push_back(*std::move(lineage));
    });
    if (!error) continue;
    if (!unreadable) throw Error(*error);
    unreadable(name, *error);
  }
  std::ranges::sort(found, [](const Lineage& a, const Lineage& b) {
    return std::tie(a.created, a.name) < std::tie(b.created, b.name);
  });
  return found;
}

std::vector<Lineage> Repository::require_lineages(const std::string& cluster,
                                                  const TellUnreadable& unreadable) const {
  bool any_is_there = false;
  const auto tell = [&](const LineageName& lineage, const Error& error) {
    any_is_there = true;
    if (!unreadable) throw Error(error);
    unreadable(lineage, error);
  };
  std::vector<Lineage> found = lineages(cluster, tell);
  if (found.empty() && !any_is_there) throw_no_cluster(cluster);
  return found;
}

void Repository::throw_no_cluster(const std::string& cluster) const {
  const std::vector<std::string> known = clusters();
  const std::string begin = fmt::format("holdfast init -c {}", cluster);
  const std::optional<std::string> meant = meant_word(cluster, known);
  throw Error(
      {.code = ErrorCode::kNotFound,
       .message = fmt::format("the repository has no cluster \"{}\"", cluster),
       .detail = known.empty() ? "It has no cluster at all."
                               : fmt::format("It has: {}.", fmt::join(known, ", ")),
       .hint =
           known.empty()
               ? fmt::format("Run \"{}\" first.", begin)
               : fmt::format("{}Choose one with --cluster NAME. To begin this one, write a section "
                             "[cluster.{}] into the configuration, if there is one, and run "
                             "\"{}\".",
                             meant ? fmt::format("Did you mean \"{}\"? ", *meant) : "", cluster,
                             begin)});
}

std::optional<Lineage> Repository::newest_lineage(const std::string& cluster) const {
  std::vector<Lineage> all = lineages(cluster);
  if (all.empty()) return std::nullopt;
  return all.back();
}

std::optional<Lineage> Repository::find_lineage(const std::string& cluster,
                                                uint64_t system_identifier) const {
  std::optional<Error> unreadable;
  std::vector<Lineage> all =
      lineages(cluster, [&](const LineageName&, const Error& error) { unreadable = error; });
  auto found = std::ranges::find(all, system_identifier, &Lineage::system_identifier);
  if (found != all.end()) return *found;
  if (unreadable) throw Error(*unreadable);  // it may be that one's
  return std::nullopt;
}

Lineage Repository::create_lineage(Lineage lineage, bool beside_others) const {
  check_cluster_name(lineage.name.cluster);
  HF_CHECK(lineage.name.major > 0);
  if (lineage_folders(lineage.name.cluster).empty())
    take_new_cluster_name(*this, lineage.name.cluster);
  if (const std::string folder = folder_of_cluster(*this, lineage.name.cluster);
      folder != lineage.name.cluster)
    lineage.name.called = std::exchange(lineage.name.cluster, folder);
  for (;;) {
    lineage.name.count = 1;
    const std::vector<Lineage> others = lineages(lineage.name.cluster);
    for (const Lineage& other : others) {
      if (other.system_identifier == lineage.system_identifier)
        throw Error({.code = ErrorCode::kAlreadyExists,
                     .message = fmt::format(
                         "cluster \"{}\" already has a lineage for the system identifier {}",
                         lineage.name.cluster, lineage.system_identifier),
                     .detail = fmt::format("It is \"{}\".", to_string(other.name))});
    }
    if (!beside_others && !others.empty()) throw_name_taken(lineage.name.shown());
    // Also what an interrupted removal left: its objects are another lineage's.
    for (const LineageName& there : lineage_folders(lineage.name.cluster))
      if (there.major == lineage.name.major)
        lineage.name.count = std::max(lineage.name.count, there.count + 1);
    if (put_lineage(lineage)) return lineage;
    // Somebody else took the number at this moment: look again.
  }
}

bool Repository::put_lineage(const Lineage& lineage) const {
  const TwoPlaces places = places_of(lineage.name);
  const Bytes text = encode_document(keyring_, "lineage", places.first, body_of(lineage), *random_);
  if (!store_->create(places.first, text)) return false;
  store_->create(places.copy, text);
  return true;
}

// A lineage with a commit is never removed, so what stands without a document and has one has lost
// it.
std::optional<Lineage> Repository::lineage_of_commits(const LineageName& name) const {
  std::optional<Error> unreadable;
  for (const CommitEntry& entry : list_commits(*this, name)) {
    std::optional<Backup> commit;
    if (std::optional<Error> error =
            unreadable_of([&] { commit = read_commit(*this, name, entry.id); }))
      unreadable = std::move(error);
    if (!commit) continue;
    tell_once(lineage_document_name(name), [&] {
      log_warning(
          "\"{}\" and its copy are missing: what they said is taken from backup {}; \"holdfast "
          "init\" and the next backup put them again",
          lineage_document_name(name), entry.id);
    });
    return Lineage{.name = name,
                   .system_identifier = commit->system_identifier,
                   .catalog_version = commit->catalog_version,
                   .wal_segment_bytes = commit->wal_segment_bytes,
                   .block_bytes = commit->block_bytes,
                   .blocks_per_segment = commit->blocks_per_segment,
                   .created = commit->started};
  }
  if (unreadable) throw Error(*unreadable);
  return std::nullopt;
}

std::optional<Json> Repository::read_document(std::string_view kind, const std::string& name,
                                              const std::string& place) const {
  const std::optional<Bytes> text =
      store::read_whole(*store_, place.empty() ? name : place, kMaxDocumentBytes);
  if (!text) return std::nullopt;
  return decode_document(keyring_, kind, name, *text);
}

bool Repository::create_document(std::string_view kind, const std::string& name,
                                 const Json& body) const {
  return store_->create(name, encode_document(keyring_, kind, name, body, *random_));
}

}  // namespace holdfast::repo
