#include "expire/change_key.h"

#include <algorithm>

#include <fmt/core.h>

#include "base/error.h"
#include "repo/key_objects.h"

namespace holdfast::expire {
namespace {

bool is_same(const codec::SecretKey& a, const codec::SecretKey& b) {
  return std::ranges::equal(a.view(), b.view());
}

repo::Repository open_sealed(store::Store& store, const repo::KeySource& key,
                             RandomSource& random) {
  repo::Repository repository = repo::Repository::open(store, key, std::nullopt, random);
  if (!repository.sealed())
    throw Error({.code = ErrorCode::kUsage,
                 .message = fmt::format("the repository at \"{}\" is not sealed", store.url()),
                 .detail = "A repository is sealed from its beginning or not at all.",
                 .hint = "Make a new one with \"holdfast init --encrypt\"."});
  return repository;
}

// Of those that `current` opens one that is not `removed`; nullopt: there is none.
std::optional<Bytes16> opened_beside(store::Store& store, const repo::KeySource& current,
                                     const Bytes16& repository_id, const Bytes16& removed) {
  for (const Bytes16& id : repo::key_objects_opened_by(store, current, repository_id))
    if (id != removed) return id;
  return std::nullopt;
}

}  // namespace

ChangedKey change_key(store::Store& store, const repo::KeySource& current,
                      const repo::KeySource& replacement, bool keep_current,
                      store::Remover& remover, RandomSource& random) {
  const repo::Repository repository = open_sealed(store, current, random);
  const std::vector<Bytes16> old_keys =
      repo::key_objects_opened_by(store, current, repository.id());
  std::vector<Bytes16> new_keys = repo::key_objects_opened_by(store, replacement, repository.id());
  if (std::ranges::find_first_of(old_keys, new_keys) != old_keys.end())
    throw Error({.code = ErrorCode::kUsage,
                 .message = "the new key is the one that the repository has",
                 .detail = "Nothing was changed.",
                 .hint = "Name another key file or passphrase."});

  // The new key, in its two places.
  ChangedKey result;
  result.was_there = !new_keys.empty();
  if (new_keys.empty())
    new_keys.push_back(repo::add_key_object(store, *repository.keyring().data_key, replacement,
                                            repository.id(), random));
  else
    repo::complete_key_object(store, new_keys.front());
  result.added = new_keys.front();

  // It must open what there is before anything that does is taken away.
  const repo::Repository opened =
      repo::Repository::open(store, replacement, repository.id(), random);
  HF_CHECK(is_same(*opened.keyring().data_key, *repository.keyring().data_key));
  if (keep_current) return result;
  for (const Bytes16& id : old_keys) {
    remover.remove(repo::key_name(id));
    remover.remove(repo::key_copy_name(id));
    result.removed.push_back(id);
  }
  return result;
}

repo::KeyObject find_removable_key(store::Store& store, const repo::KeySource& current,
                                   const std::string& id) {
  const repo::Repository repository = open_sealed(store, current, system_random());
  std::vector<repo::KeyObject> found = repo::list_key_objects(store, repository.id());
  const size_t all = found.size();
  std::erase_if(found, [&](const repo::KeyObject& key) {
    return id.empty() || !to_hex(key.id.view()).starts_with(id);
  });
  const std::string list = "\"holdfast repo list-keys\" shows them.";
  if (found.empty())
    throw Error({.code = ErrorCode::kNotFound,
                 .message = fmt::format("the repository has no key \"{}\"", id),
                 .detail = fmt::format("It has {}.", all),
                 .hint = list});
  if (found.size() > 1)
    throw Error({.code = ErrorCode::kUsage,
                 .message = fmt::format("\"{}\" is the beginning of {} keys", id, found.size()),
                 .hint = "Give more of the id. " + list});
  if (!opened_beside(store, current, repository.id(), found.front().id))
    throw Error(
        {.code = ErrorCode::kConflict,
         .message = fmt::format("key {} is the one that this command uses",
                                to_hex(found.front().id.view())),
         .detail = "Without it nothing that was given here opens the repository. Nothing was "
                   "removed.",
         .hint = all == 1 ? "It is the last one. \"holdfast repo change-key\" puts another in its "
                            "place."
                          : "Give another key of the repository with --key-file or "
                            "--passphrase-file, which shows that it opens; or put another in its "
                            "place: \"holdfast repo change-key\"."});
  return found.front();
}

void remove_key(store::Store& store, const repo::KeySource& current, const Bytes16& id,
                store::Remover& remover) {
  const repo::Repository repository = open_sealed(store, current, system_random());
  const std::optional<Bytes16> other = opened_beside(store, current, repository.id(), id);
  HF_CHECK(other.has_value());
  repo::complete_key_object(store, *other);
  remover.remove(repo::key_name(id));
  remover.remove(repo::key_copy_name(id));
}

}  // namespace holdfast::expire
