// openssl.h: owners of OpenSSL's objects, and the one way in which its failures become Errors. For
// the sources of codec alone.
#pragma once

#include <memory>
#include <string_view>

#include <openssl/evp.h>

#include "base/bytes.h"

namespace holdfast::codec {

struct FreeCipherContext {
  void operator()(EVP_CIPHER_CTX* context) const { EVP_CIPHER_CTX_free(context); }
};
struct FreeDigestContext {
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};
using CipherContext =
    std::unique_ptr<EVP_CIPHER_CTX, FreeCipherContext>;  // wipes its key when freed
using DigestContext = std::unique_ptr<EVP_MD_CTX, FreeDigestContext>;

inline constexpr size_t kGcmNonceBytes = 12;
inline constexpr size_t kGcmTagBytes = 16;
using GcmNonce = std::array<std::byte, kGcmNonceBytes>;

// Throws kInternal with OpenSSL's own words unless `ok`: memory is short, or the library lacks what
// we need.
void check_openssl(bool ok, std::string_view what, const char* file = __builtin_FILE(),
                   int line = __builtin_LINE());

// OpenSSL's functions take unsigned char.
inline const unsigned char* as_uchar(const std::byte* at) {
  return reinterpret_cast<const unsigned char*>(at);
}
inline unsigned char* as_uchar(std::byte* at) { return reinterpret_cast<unsigned char*>(at); }

// AES-256-GCM with the key set, to which each message brings its nonce. REQUIRES: key.size() == 32.
CipherContext gcm_context(ByteView key, bool encrypt);
// Begins a message under `nonce`.
void gcm_start(EVP_CIPHER_CTX* context, const GcmNonce& nonce);
// Bytes that are authenticated only; then bytes that are encrypted or decrypted in place. Any
// length.
void gcm_associate(EVP_CIPHER_CTX* context, ByteView bytes);
void gcm_transform(EVP_CIPHER_CTX* context, std::span<std::byte> bytes);
// Ends a message: the tag it has; or whether it has this one.
void gcm_tag(EVP_CIPHER_CTX* context, std::span<std::byte, kGcmTagBytes> tag);
bool gcm_check(EVP_CIPHER_CTX* context, std::span<const std::byte, kGcmTagBytes> tag);

}  // namespace holdfast::codec
