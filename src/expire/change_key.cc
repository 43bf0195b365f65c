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

}  // namespace

ChangedKey change_key(store::Store& store, const repo::KeySource& current,
                      const repo::KeySource& replacement, bool keep_current,
                      store::Remover& remover, RandomSource& random) {
  const repo::Repository repository = repo::Repository::open(store, current, std::nullopt, random);
  if (!repository.sealed())
    throw Error({.code = ErrorCode::kUsage,
                 .message = fmt::format("the repository at \"{}\" is not sealed", store.url()),
                 .detail = "A repository is sealed from its beginning or not at all.",
                 .hint = "Make a new one with \"holdfast init --encrypt\"."});
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

}  // namespace holdfast::expire
