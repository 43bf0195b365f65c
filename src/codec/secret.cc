#include "codec/secret.h"

#include <argon2.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#include "base/error.h"
#include "codec/openssl.h"

namespace holdfast::codec {
namespace {

struct FreeKdfContext {
  void operator()(EVP_KDF_CTX* context) const { EVP_KDF_CTX_free(context); }
};

constexpr uint32_t kLeastMemoryKib = 8 * 1024;
constexpr uint32_t kMostMemoryKib = 4 * 1024 * 1024;
constexpr uint32_t kMostIterations = 64;
constexpr uint32_t kMostLanes = 16;

void check_cost(ByteView salt, Argon2Cost cost) {
  bool usable = cost.memory_kib >= kLeastMemoryKib && cost.memory_kib <= kMostMemoryKib &&
                cost.iterations >= 1 && cost.iterations <= kMostIterations && cost.lanes >= 1 &&
                cost.lanes <= kMostLanes && salt.size() >= ARGON2_MIN_SALT_LENGTH;
  if (usable) return;
  throw Error({.code = ErrorCode::kCorrupt,
               .message = "a wrapped key asks for an impossible key derivation",
               .detail = fmt::format(
                   "It asks Argon2id for {} KiB, {} iterations and {} lanes, with a salt of {} "
                   "bytes; possible are {} to {} KiB, 1 to {} iterations and 1 to {} lanes, "
                   "with at least {} bytes.",
                   cost.memory_kib, cost.iterations, cost.lanes, salt.size(), kLeastMemoryKib,
                   kMostMemoryKib, kMostIterations, kMostLanes, ARGON2_MIN_SALT_LENGTH)});
}

}  // namespace

// --- SecretKey ----------------------------------------------------------------------------------

SecretKey SecretKey::generate(RandomSource& random) {
  SecretKey key;
  random.fill(key.bytes_);
  return key;
}

SecretKey SecretKey::from_bytes(ByteView thirty_two_bytes) {
  SecretKey key;
  if (thirty_two_bytes.size() != key.bytes_.size())
    throw Error({.code = ErrorCode::kCorrupt,
                 .message = "a key has the wrong length",
                 .detail = fmt::format("It has {} bytes where {} were expected.",
                                       thirty_two_bytes.size(), key.bytes_.size())});
  std::memcpy(key.bytes_.data(), thirty_two_bytes.data(), key.bytes_.size());
  return key;
}

SecretKey::~SecretKey() { OPENSSL_cleanse(bytes_.data(), bytes_.size()); }
SecretKey::SecretKey(const SecretKey&) = default;
SecretKey& SecretKey::operator=(const SecretKey&) = default;

void wipe(std::span<std::byte> secret) { OPENSSL_cleanse(secret.data(), secret.size()); }

// --- Derivations --------------------------------------------------------------------------------

Bytes hkdf_sha256(ByteView key, ByteView salt, std::string_view info, size_t length) {
  HF_CHECK(length > 0 && length <= 255 * 32);
  static EVP_KDF* const hkdf = EVP_KDF_fetch(nullptr, "HKDF", nullptr);
  std::unique_ptr<EVP_KDF_CTX, FreeKdfContext> context(EVP_KDF_CTX_new(hkdf));
  check_openssl(context != nullptr, "HKDF");

  // OpenSSL reads through these pointers only, but its parameters are not const. An empty salt is
  // left out: RFC 5869 then takes zeros.
  char digest[] = "SHA2-256";
  OSSL_PARAM parameters[5];
  size_t count = 0;
  auto octets = [&](const char* name, const void* data, size_t size) {
    if (size > 0)
      parameters[count++] = OSSL_PARAM_construct_octet_string(name, const_cast<void*>(data), size);
  };
  parameters[count++] = OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0);
  octets(OSSL_KDF_PARAM_KEY, key.data(), key.size());
  octets(OSSL_KDF_PARAM_SALT, salt.data(), salt.size());
  octets(OSSL_KDF_PARAM_INFO, info.data(), info.size());
  parameters[count] = OSSL_PARAM_construct_end();

  Bytes derived(length);
  check_openssl(EVP_KDF_derive(context.get(), as_uchar(derived.data()), length, parameters) == 1,
                "HKDF");
  return derived;
}

SecretKey argon2id(std::string_view passphrase, ByteView salt, Argon2Cost cost) {
  check_cost(salt, cost);
  std::array<std::byte, 32> derived;
  int status = argon2id_hash_raw(cost.iterations, cost.memory_kib, cost.lanes, passphrase.data(),
                                 passphrase.size(), salt.data(), salt.size(), derived.data(),
                                 derived.size());
  if (status != ARGON2_OK)
    throw Error(
        {.code = ErrorCode::kIo,
         .message = "could not derive a key from the passphrase",
         .detail = fmt::format("Argon2id with {} MiB of memory: {}.", cost.memory_kib / 1024,
                               argon2_error_message(status)),
         .hint = "Give this process more memory, or use a key file, which needs no derivation."});
  SecretKey key = SecretKey::from_bytes(derived);
  OPENSSL_cleanse(derived.data(), derived.size());
  return key;
}

// --- Boxes --------------------------------------------------------------------------------------

Bytes seal_box(const SecretKey& key, ByteView plain, ByteView associated, RandomSource& random) {
  Bytes box(kGcmNonceBytes + plain.size() + kGcmTagBytes);
  std::span<std::byte> inside = std::span(box).subspan(kGcmNonceBytes, plain.size());
  GcmNonce nonce;
  random.fill(nonce);
  std::memcpy(box.data(), nonce.data(), nonce.size());
  if (!plain.empty()) std::memcpy(inside.data(), plain.data(), plain.size());

  CipherContext context = gcm_context(key.view(), true);
  gcm_start(context.get(), nonce);
  gcm_associate(context.get(), associated);
  gcm_transform(context.get(), inside);
  gcm_tag(context.get(), std::span(box).last<kGcmTagBytes>());
  return box;
}

std::optional<Bytes> open_box(const SecretKey& key, ByteView box, ByteView associated) {
  if (box.size() < kGcmNonceBytes + kGcmTagBytes) return std::nullopt;
  GcmNonce nonce;
  std::memcpy(nonce.data(), box.data(), nonce.size());
  ByteView inside = box.subspan(kGcmNonceBytes, box.size() - kGcmNonceBytes - kGcmTagBytes);
  Bytes plain(inside.begin(), inside.end());

  CipherContext context = gcm_context(key.view(), false);
  gcm_start(context.get(), nonce);
  gcm_associate(context.get(), associated);
  gcm_transform(context.get(), plain);
  if (gcm_check(context.get(), box.last<kGcmTagBytes>())) return plain;
  OPENSSL_cleanse(plain.data(), plain.size());
  return std::nullopt;
}

}  // namespace holdfast::codec
