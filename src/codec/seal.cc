#include "codec/seal.h"

#include <algorithm>
#include <iterator>
#include <map>

#include <openssl/crypto.h>

#include "base/error.h"
#include "codec/digest.h"
#include "codec/openssl.h"

namespace holdfast::codec {
namespace {

constexpr std::string_view kKeyInfo = "holdfast object key 1";
constexpr std::string_view kAssociatedMagic{"HFAD1\0\0\0", 8};
constexpr size_t kAssociatedBytes = 8 + 16 + 4 + 4 + 16 + 8;
constexpr size_t kOrdinalAt = kAssociatedBytes - 8;
static_assert(kAssociatedBytes == 56);
static_assert(kSealBytes == kGcmTagBytes && kSealBytes == sizeof(Bytes16));

// Which ordinals were sealed, as closed ranges: a pack's extents are one range.
class OrdinalSet {
 public:
  // False when it is there.
  bool add(uint64_t ordinal) {
    Ranges::iterator above = ranges_.upper_bound(ordinal);
    Ranges::iterator below = above == ranges_.begin() ? ranges_.end() : std::prev(above);
    if (below != ranges_.end() && ordinal <= below->second) return false;
    if (below != ranges_.end() && ordinal == below->second + 1)
      below->second = ordinal;
    else
      below = ranges_.emplace_hint(above, ordinal, ordinal);
    if (above != ranges_.end() && above->first == ordinal + 1) {
      below->second = above->second;
      ranges_.erase(above);
    }
    return true;
  }

 private:
  using Ranges = std::map<uint64_t, uint64_t>;
  Ranges ranges_;
};

}  // namespace

struct ObjectSeal::State {
  std::array<std::byte, kAssociatedBytes> associated;  // all but the ordinal
  std::optional<SecretKey> unit_key;
  // Made when first needed: most seals either only seal or only open.
  CipherContext encrypt;
  CipherContext decrypt;
  Xxh3 xxh3;
  OrdinalSet sealed;

  ByteView associate(uint64_t ordinal) {
    store_le(associated.data() + kOrdinalAt, ordinal);
    return associated;
  }
  EVP_CIPHER_CTX* start(CipherContext& context, uint64_t ordinal, bool encrypting) {
    HF_CHECK(unit_key.has_value());
    if (!context) context = gcm_context(unit_key->view(), encrypting);
    GcmNonce nonce{};
    store_le(nonce.data(), ordinal);
    gcm_start(context.get(), nonce);
    gcm_associate(context.get(), associate(ordinal));
    return context.get();
  }
  Bytes16 checksum(uint64_t ordinal, ByteView plain) {
    xxh3.reset();
    xxh3.update(associate(ordinal));
    xxh3.update(plain);
    return xxh3.digest();
  }
};

ObjectSeal::ObjectSeal(const SecretKey* data_key, const Bytes32& salt,
                       const ObjectIdentity& identity)
    : state_(std::make_unique<State>()) {
  ByteWriter associated;
  associated.bytes(as_bytes(kAssociatedMagic))
      .bytes(identity.repository_id.view())
      .u32(identity.kind)
      .u32(identity.version)
      .bytes(identity.object_id.view())
      .u64(0);
  HF_CHECK(associated.size() == kAssociatedBytes);
  std::ranges::copy(associated.view(), state_->associated.begin());

  if (data_key != nullptr) {
    Bytes unit_key = hkdf_sha256(data_key->view(), salt.view(), kKeyInfo, 32);
    state_->unit_key = SecretKey::from_bytes(unit_key);
    OPENSSL_cleanse(unit_key.data(), unit_key.size());
  }
}
ObjectSeal::~ObjectSeal() = default;
ObjectSeal::ObjectSeal(ObjectSeal&&) noexcept = default;

void ObjectSeal::seal(uint64_t ordinal, std::span<std::byte> unit) {
  HF_CHECK(unit.size() >= kSealBytes);
  HF_CHECK(state_->sealed.add(ordinal));
  std::span<std::byte> plain = unit.first(unit.size() - kSealBytes);
  std::span<std::byte, kSealBytes> check = unit.last<kSealBytes>();
  if (state_->unit_key) {
    EVP_CIPHER_CTX* context = state_->start(state_->encrypt, ordinal, true);
    gcm_transform(context, plain);
    gcm_tag(context, check);
  } else {
    std::ranges::copy(state_->checksum(ordinal, plain).bytes, check.begin());
  }
}

bool ObjectSeal::open(uint64_t ordinal, std::span<std::byte> unit) const {
  HF_CHECK(unit.size() >= kSealBytes);
  std::span<std::byte> plain = unit.first(unit.size() - kSealBytes);
  std::span<const std::byte, kSealBytes> check = unit.last<kSealBytes>();
  bool holds = false;
  if (state_->unit_key) {
    EVP_CIPHER_CTX* context = state_->start(state_->decrypt, ordinal, false);
    gcm_transform(context, plain);
    holds = gcm_check(context, check);
  } else {
    holds = std::ranges::equal(state_->checksum(ordinal, plain).bytes, check);
  }
  if (!holds) OPENSSL_cleanse(unit.data(), unit.size());
  return holds;
}

}  // namespace holdfast::codec
