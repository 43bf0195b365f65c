// secret.h: keys: held in memory that is wiped when freed, derived, and wrapped.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/random.h"

namespace holdfast::codec {

// 32 secret bytes; wiped by the destructor; never printed.
class SecretKey {
 public:
  static SecretKey generate(RandomSource& random);
  static SecretKey from_bytes(ByteView thirty_two_bytes);
  ~SecretKey();
  SecretKey(const SecretKey&);
  SecretKey& operator=(const SecretKey&);
  ByteView view() const { return bytes_; }

 private:
  SecretKey() = default;
  std::array<std::byte, 32> bytes_{};
};

// Zeros, in a way that the compiler does not leave out: for copies of secrets on their way.
void wipe(std::span<std::byte> secret);

// HKDF-SHA-256 (RFC 5869), `length` up to 255*32.
Bytes hkdf_sha256(ByteView key, ByteView salt, std::string_view info, size_t length);

// The cost of turning a passphrase into a key. Stored beside each key wrapped so; new keys use the
// defaults.
struct Argon2Cost {
  uint32_t memory_kib = 64 * 1024;
  uint32_t iterations = 3;
  uint32_t lanes = 1;
};
// Argon2id (RFC 9106). Throws kCorrupt when the cost is outside [8 MiB, 4 GiB], [1, 64], [1, 16]:
// it is read from the repository.
SecretKey argon2id(std::string_view passphrase, ByteView salt, Argon2Cost cost);

// One AES-256-GCM box with a nonce of its own: out = nonce[12] ciphertext tag[16]. For wrapping
// keys only (each box draws its nonce).
Bytes seal_box(const SecretKey& key, ByteView plain, ByteView associated, RandomSource& random);
// nullopt: the tag does not match, so another key or changed bytes.
std::optional<Bytes> open_box(const SecretKey& key, ByteView box, ByteView associated);

}  // namespace holdfast::codec
