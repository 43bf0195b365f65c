#include "repo/key_objects.h"

#include <algorithm>

#include <fmt/core.h>

#include "base/error.h"
#include "repo/fields.h"
#include "repo/format.h"
#include "repo/layout.h"

namespace holdfast::repo {
namespace {

constexpr size_t kMaxKeys = 64;

// The ids of key objects, also of those whose first place has lost them.
std::vector<Bytes16> key_ids(store::Store& store) {
  std::vector<Bytes16> ids;
  for (std::string_view folder : {kKeysFolder, kKeyCopiesFolder}) {
    store::ListPage page = store.list({.prefix = std::string(folder), .limit = kMaxKeys});
    for (const store::ListEntry& entry : page.entries) {
      std::string_view name = std::string_view(entry.name).substr(folder.size());
      if (!name.ends_with(kJsonSuffix)) continue;
      name.remove_suffix(kJsonSuffix.size());
      std::optional<Bytes16> id = parse_hex_array<16>(name);
      if (id && std::ranges::find(ids, *id) == ids.end()) ids.push_back(*id);
    }
  }
  if (ids.size() > kMaxKeys) ids.resize(kMaxKeys);
  return ids;
}

// The body of the key object at a place; nullopt: there is none of this repository.
std::optional<Json> read_body(store::Store& store, const std::string& place, const Bytes16& key_id,
                              const Bytes16& repository_id) {
  std::optional<Bytes> text = store::read_whole(store, place, kMaxDocumentBytes);
  if (!text) return std::nullopt;
  OpenDocument document = decode_open_document("key", key_name(key_id), *text);
  if (document.repository_id != repository_id) return std::nullopt;
  return std::move(document.body);
}

std::optional<codec::SecretKey> unwrap_from(store::Store& store, const std::string& place,
                                            const Bytes16& key_id, const KeySource& source,
                                            const Bytes16& repository_id) {
  const std::optional<Json> body = read_body(store, place, key_id, repository_id);
  if (!body) return std::nullopt;
  return unwrap_data_key(*body, source, repository_id, key_id);
}

}  // namespace

// Tries each key object in its two places. A damaged one is passed over, because the other place,
// or another key object, may still open the repository; what was wrong is told when nothing does.
codec::SecretKey find_data_key(store::Store& store, const KeySource& source,
                               const Bytes16& repository_id) {
  std::vector<Bytes16> ids = key_ids(store);
  std::optional<Error> damage;
  for (const Bytes16& id : ids) {
    for (const std::string& place : {key_name(id), key_copy_name(id)}) {
      std::optional<codec::SecretKey> key;
      bool is_whole = false;
      const std::optional<Error> error = unreadable_of([&] {
        key = unwrap_from(store, place, id, source, repository_id);
        is_whole = !key && store.info(place).has_value();
      });
      if (key) return *key;
      if (is_whole) break;  // and not wrapped by this: its copy holds the same
      if (error) damage = error;
    }
  }
  if (damage) throw Error(*damage);
  if (ids.empty())
    throw Error({.code = ErrorCode::kCorrupt,
                 .message = fmt::format("the repository at \"{}\" has no key objects", store.url()),
                 .detail = "It is sealed, and without them nobody can open it, whatever passphrase "
                           "or key file is given.",
                 .hint = "Take the folder \"keys\" from a copy of the repository."});
  throw Error({.code = ErrorCode::kWrongKey,
               .message = fmt::format("this {} does not open the repository at \"{}\"",
                                      source.key_file ? "key file" : "passphrase", store.url()),
               .detail = fmt::format("It was tried on {} key object(s).", ids.size()),
               .hint = source.key_file
                           ? "Check which key file belongs to this repository."
                           : "Check which passphrase belongs to this repository; passphrases are "
                             "compared with every space in them."});
}

std::vector<Bytes16> key_objects_opened_by(store::Store& store, const KeySource& source,
                                           const Bytes16& repository_id) {
  std::vector<Bytes16> opened;
  for (const Bytes16& id : key_ids(store)) {
    for (const std::string& place : {key_name(id), key_copy_name(id)}) {
      // As in find_data_key().
      bool opens = false;
      unreadable_of(
          [&] { opens = unwrap_from(store, place, id, source, repository_id).has_value(); });
      if (!opens) continue;
      opened.push_back(id);
      break;
    }
  }
  return opened;
}

std::vector<KeyObject> list_key_objects(store::Store& store, const Bytes16& repository_id) {
  std::vector<KeyObject> keys;
  for (const Bytes16& id : key_ids(store)) {
    KeyObject key{.id = id};
    for (const std::string& place : {key_name(id), key_copy_name(id)}) {
      // As in find_data_key().
      unreadable_of([&] {
        const std::optional<Json> body = read_body(store, place, id, repository_id);
        if (!body) return;
        key.kind = body->at("kind").as_string();
        if (body->find("made") != nullptr) key.made = time_member(*body, "made");
        ++key.copies;
      });
    }
    keys.push_back(std::move(key));
  }
  std::ranges::sort(keys, {}, [](const KeyObject& key) {
    return std::pair(key.made.value_or(Time::min()), key.id);
  });
  return keys;
}

Bytes16 add_key_object(store::Store& store, const codec::SecretKey& data_key,
                       const KeySource& source, const Bytes16& repository_id,
                       RandomSource& random) {
  if (key_ids(store).size() >= kMaxKeys)
    throw Error({.code = ErrorCode::kConflict,
                 .message = fmt::format("the repository at \"{}\" has {} keys, which is as many as "
                                        "there can be",
                                        store.url(), kMaxKeys),
                 .hint = "Remove those of lost passphrases and key files from its folders \"keys\" "
                         "and \"keys.copy\"."});
  const Bytes16 key_id = random.bytes16();
  Json wrapped = wrap_data_key(data_key, source, repository_id, key_id, random);
  wrapped.set("made", to_json(store.now()));
  const Bytes text = encode_open_document(repository_id, "key", key_name(key_id), wrapped, random);
  HF_CHECK(store.create(key_name(key_id), text));
  HF_CHECK(store.create(key_copy_name(key_id), text));
  return key_id;
}

void complete_key_object(store::Store& store, const Bytes16& key_id) {
  const std::string places[] = {key_name(key_id), key_copy_name(key_id)};
  for (const int missing : {0, 1}) {
    if (store.info(places[missing])) continue;
    const std::optional<Bytes> text =
        store::read_whole(store, places[1 - missing], kMaxDocumentBytes);
    if (text) store.create(places[missing], *text);
  }
}

}  // namespace holdfast::repo
