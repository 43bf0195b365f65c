#include "codec/digest.h"

#include <new>

#include <openssl/crypto.h>
#include <xxhash.h>

#include "base/error.h"
#include "codec/openssl.h"

namespace holdfast::codec {
namespace {

Bytes16 canonical(XXH128_hash_t hash) {
  XXH128_canonical_t bytes;
  static_assert(sizeof bytes.digest == sizeof(Bytes16));
  XXH128_canonicalFromHash(&bytes, hash);
  Bytes16 result;
  std::memcpy(result.bytes.data(), bytes.digest, sizeof bytes.digest);
  return result;
}

}  // namespace

// --- XXH3 ---------------------------------------------------------------------------------------

uint64_t xxh3_64(ByteView bytes) { return XXH3_64bits(bytes.data(), bytes.size()); }

Bytes16 xxh3_128(ByteView bytes) { return canonical(XXH3_128bits(bytes.data(), bytes.size())); }

struct FreeXxh3 {
  void operator()(XXH3_state_t* state) const { XXH3_freeState(state); }
};
struct Xxh3::State {
  std::unique_ptr<XXH3_state_t, FreeXxh3> xxh3{XXH3_createState()};  // aligned to 64 bytes
};

Xxh3::Xxh3() : state_(std::make_unique<State>()) {
  if (!state_->xxh3) throw std::bad_alloc();
  reset();
}
Xxh3::~Xxh3() = default;
Xxh3::Xxh3(Xxh3&&) noexcept = default;

void Xxh3::update(ByteView bytes) {
  if (bytes.empty()) return;
  HF_CHECK(XXH3_128bits_update(state_->xxh3.get(), bytes.data(), bytes.size()) == XXH_OK);
}
Bytes16 Xxh3::digest() const { return canonical(XXH3_128bits_digest(state_->xxh3.get())); }
void Xxh3::reset() { HF_CHECK(XXH3_128bits_reset(state_->xxh3.get()) == XXH_OK); }

// --- SHA-2 --------------------------------------------------------------------------------------

struct Sha2::State {
  DigestContext context{EVP_MD_CTX_new()};
};

Sha2::Sha2(int bits) : state_(std::make_unique<State>()) {
  HF_CHECK(bits == 224 || bits == 256 || bits == 384 || bits == 512);
  check_openssl(state_->context != nullptr, "SHA-2");
  const EVP_MD* algorithm = bits == 224   ? EVP_sha224()
                            : bits == 256 ? EVP_sha256()
                            : bits == 384 ? EVP_sha384()
                                          : EVP_sha512();
  check_openssl(EVP_DigestInit_ex(state_->context.get(), algorithm, nullptr) == 1, "SHA-2");
}
Sha2::~Sha2() = default;

void Sha2::update(ByteView bytes) {
  check_openssl(EVP_DigestUpdate(state_->context.get(), bytes.data(), bytes.size()) == 1, "SHA-2");
}

Bytes Sha2::finish() {
  Bytes digest(EVP_MAX_MD_SIZE);
  unsigned int length = 0;
  check_openssl(EVP_DigestFinal_ex(state_->context.get(), as_uchar(digest.data()), &length) == 1,
                "SHA-2");
  digest.resize(length);
  return digest;
}

// --- SHA-256 ------------------------------------------------------------------------------------

struct Sha256::State {
  DigestContext context{EVP_MD_CTX_new()};
  bool finished = false;
};

Sha256::Sha256() : state_(std::make_unique<State>()) {
  check_openssl(state_->context != nullptr, "SHA-256");
  static const EVP_MD* sha256 = EVP_MD_fetch(nullptr, "SHA2-256", nullptr);
  check_openssl(EVP_DigestInit_ex(state_->context.get(), sha256, nullptr) == 1, "SHA-256");
}
Sha256::~Sha256() = default;

void Sha256::update(ByteView bytes) {
  HF_CHECK(!state_->finished);
  check_openssl(EVP_DigestUpdate(state_->context.get(), bytes.data(), bytes.size()) == 1,
                "SHA-256");
}

Bytes32 Sha256::finish() {
  HF_CHECK(!state_->finished);
  state_->finished = true;
  Bytes32 digest;
  unsigned int length = 0;
  check_openssl(
      EVP_DigestFinal_ex(state_->context.get(), as_uchar(digest.bytes.data()), &length) == 1,
      "SHA-256");
  HF_CHECK(length == digest.bytes.size());
  return digest;
}

Bytes32 sha256(ByteView bytes) {
  Sha256 hash;
  hash.update(bytes);
  return hash.finish();
}

// --- Content digest -----------------------------------------------------------------------------
//
// GMAC is GCM without anything to encrypt. Under one fixed nonce it is a keyed universal hash of
// the content with a constant added: no two contents can be made to collide by somebody who does
// not know k1, as long as the hash itself stays hidden. The AES block under k2 hides it.

struct ContentDigest::State {
  CipherContext gmac;
  CipherContext block;
};

ContentDigest::ContentDigest(ByteView key) : state_(std::make_unique<State>()) {
  HF_CHECK(key.size() == 64);
  state_->gmac = gcm_context(key.first(32), true);
  state_->block.reset(EVP_CIPHER_CTX_new());
  check_openssl(state_->block != nullptr, "AES-256");
  check_openssl(EVP_EncryptInit_ex(state_->block.get(), EVP_aes_256_ecb(), nullptr,
                                   as_uchar(key.subspan(32).data()), nullptr) == 1,
                "AES-256");
  check_openssl(EVP_CIPHER_CTX_set_padding(state_->block.get(), 0) == 1, "AES-256");
}
ContentDigest::~ContentDigest() = default;
ContentDigest::ContentDigest(ContentDigest&&) noexcept = default;

Bytes16 ContentDigest::digest(ByteView content) {
  Bytes16 digest;
  gcm_start(state_->gmac.get(), GcmNonce{});
  gcm_associate(state_->gmac.get(), content);
  gcm_tag(state_->gmac.get(), digest.bytes);

  int done = 0;
  unsigned char* block = as_uchar(digest.bytes.data());
  check_openssl(EVP_EncryptUpdate(state_->block.get(), block, &done, block,
                                  static_cast<int>(digest.bytes.size())) == 1,
                "AES-256");
  HF_CHECK(done == static_cast<int>(digest.bytes.size()));
  return digest;
}

}  // namespace holdfast::codec
