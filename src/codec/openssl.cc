#include "codec/openssl.h"

#include <algorithm>

#include <openssl/err.h>

#include "base/error.h"

namespace holdfast::codec {
namespace {

// OpenSSL counts in int.
constexpr size_t kPieceBytes = size_t{1} << 30;

// Fetched once: to name EVP_aes_256_gcm() in each init would search the providers each time.
const EVP_CIPHER* aes_256_gcm() {
  static const EVP_CIPHER* cipher = EVP_CIPHER_fetch(nullptr, "AES-256-GCM", nullptr);
  check_openssl(cipher != nullptr, "AES-256-GCM");
  return cipher;
}

}  // namespace

void check_openssl(bool ok, std::string_view what, const char* file, int line) {
  if (ok) return;
  char reason[256] = "it gave no reason";
  if (unsigned long code = ERR_get_error(); code != 0)
    ERR_error_string_n(code, reason, sizeof reason);
  ERR_clear_error();
  throw Error({.code = ErrorCode::kInternal,
               .message = fmt::format("the cryptographic library failed at {}", what),
               .detail = fmt::format("OpenSSL says: {}.", reason)},
              file, line);
}

CipherContext gcm_context(ByteView key, bool encrypt) {
  HF_CHECK(key.size() == 32);
  CipherContext context(EVP_CIPHER_CTX_new());
  check_openssl(context != nullptr, "AES-256-GCM");
  check_openssl(EVP_CipherInit_ex(context.get(), aes_256_gcm(), nullptr, as_uchar(key.data()),
                                  nullptr, encrypt ? 1 : 0) == 1,
                "AES-256-GCM");
  return context;
}

void gcm_start(EVP_CIPHER_CTX* context, const GcmNonce& nonce) {
  check_openssl(
      EVP_CipherInit_ex(context, nullptr, nullptr, nullptr, as_uchar(nonce.data()), -1) == 1,
      "a GCM nonce");
}

void gcm_associate(EVP_CIPHER_CTX* context, ByteView bytes) {
  while (!bytes.empty()) {
    size_t piece = std::min(bytes.size(), kPieceBytes);
    int done = 0;
    check_openssl(EVP_CipherUpdate(context, nullptr, &done, as_uchar(bytes.data()),
                                   static_cast<int>(piece)) == 1,
                  "GCM's associated data");
    bytes = bytes.subspan(piece);
  }
}

void gcm_transform(EVP_CIPHER_CTX* context, std::span<std::byte> bytes) {
  while (!bytes.empty()) {
    size_t piece = std::min(bytes.size(), kPieceBytes);
    int done = 0;
    check_openssl(EVP_CipherUpdate(context, as_uchar(bytes.data()), &done, as_uchar(bytes.data()),
                                   static_cast<int>(piece)) == 1,
                  "AES-256-GCM");
    bytes = bytes.subspan(piece);
  }
}

void gcm_tag(EVP_CIPHER_CTX* context, std::span<std::byte, kGcmTagBytes> tag) {
  unsigned char rest[kGcmTagBytes];
  int done = 0;
  check_openssl(EVP_CipherFinal_ex(context, rest, &done) == 1, "a GCM tag");
  check_openssl(
      EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, int{kGcmTagBytes}, tag.data()) == 1,
      "a GCM tag");
}

bool gcm_check(EVP_CIPHER_CTX* context, std::span<const std::byte, kGcmTagBytes> tag) {
  std::array<std::byte, kGcmTagBytes>
      expected;  // OpenSSL asks for a pointer that it could write to
  std::ranges::copy(tag, expected.begin());
  check_openssl(
      EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, int{kGcmTagBytes}, expected.data()) == 1,
      "a GCM tag");
  unsigned char rest[kGcmTagBytes];
  int done = 0;
  bool matches = EVP_CipherFinal_ex(context, rest, &done) == 1;
  if (!matches) ERR_clear_error();
  return matches;
}

}  // namespace holdfast::codec
