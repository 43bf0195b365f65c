// Sealed units and wrapped keys from a repository that anybody may have written to: none opens but
// the one that was sealed, and opening never reads or writes beyond it.

#include <algorithm>
#include <cstdlib>

#include "base/error.h"
#include "codec/digest.h"
#include "codec/seal.h"
#include "codec/secret.h"

// Input: ordinal u64, where u16, xor u8, unit.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace holdfast;
  if (size < 11 + codec::kSealBytes) return 0;
  ByteView input = std::as_bytes(std::span(data, size));
  const uint64_t ordinal = load_le<uint64_t>(input.data());
  const size_t where = load_le<uint16_t>(input.data() + 8);
  const std::byte flip = input[10];
  const ByteView unit = input.subspan(11);

  static const codec::SecretKey key = codec::SecretKey::from_bytes(Bytes(32, std::byte{0x5A}));
  const codec::ObjectIdentity identity{
      .repository_id = {}, .kind = 1, .version = 1, .object_id = {}};
  for (const codec::SecretKey* data_key : {&key, static_cast<const codec::SecretKey*>(nullptr)}) {
    codec::ObjectSeal seal(data_key, Bytes32{}, identity);
    Bytes opened(unit.begin(), unit.end());
    bool valid = seal.open(ordinal, opened);
    if (!valid && std::ranges::any_of(opened, [](std::byte b) { return b != std::byte{0}; }))
      std::abort();

    Bytes sealed(unit.begin(), unit.end());
    seal.seal(ordinal, sealed);
    // Without a key an input may hold the right check; then it is what we would have written.
    if (valid && !std::ranges::equal(sealed, unit)) std::abort();
    Bytes changed = sealed;
    changed[where % changed.size()] ^= flip;
    bool opens = seal.open(ordinal, changed);
    if (opens != (flip == std::byte{0})) std::abort();
  }
  // A box that nobody sealed does not open.
  if (codec::open_box(key, unit, input.first(8))) std::abort();
  return 0;
}
