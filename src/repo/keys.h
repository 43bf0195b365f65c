// keys.h: the key that opens a repository.
//
// The data key is drawn once, by init, and stands in the repository only wrapped: by a passphrase
// (Argon2id) or by a key file (HKDF). Key objects: repository-format.md, "Sealing".
#pragma once

#include <optional>
#include <string>

#include "base/json.h"
#include "base/random.h"
#include "codec/secret.h"

namespace holdfast::repo {

// What the user has to open a repository with. At most one of the two is set.
struct KeySource {
  std::string passphrase = {};
  std::optional<codec::SecretKey> key_file = std::nullopt;
  bool empty() const { return passphrase.empty() && !key_file; }
};

// A file with a secret, `what` it is ("key file"), must not be readable by others than its owner
// and group. Throws kPermission with the chmod.
void require_private(std::string_view what, const std::string& path, uint32_t mode);

// A key file is 32 random bytes, as they are or as 64 hexadecimal digits with an optional line end.
// Throws kConfiguration when it is anything else, readable by others than its owner and group
// (kPermission), or not there (kNotFound).
codec::SecretKey read_key_file(const std::string& path);
// Makes a key file (hexadecimal, mode 0600); kAlreadyExists when there is one.
void create_key_file(const std::string& path, RandomSource& random);

// The body of a key object, and its opening: nullopt when `source` is not what wrapped it.
Json wrap_data_key(const codec::SecretKey& data_key, const KeySource& source,
                   const Bytes16& repository_id, const Bytes16& key_id, RandomSource& random);
std::optional<codec::SecretKey> unwrap_data_key(const Json& body, const KeySource& source,
                                                const Bytes16& repository_id,
                                                const Bytes16& key_id);

}  // namespace holdfast::repo
