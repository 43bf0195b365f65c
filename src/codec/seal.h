// seal.h: units of an object, sealed so that each can be opened and checked alone.
//
// An object (a pack, a manifest, a WAL segment) is made of units, numbered by their ordinal. A
// sealed unit is as long as its plain bytes plus kSealBytes: the check. Associated with each unit,
// without being stored in it, are the object's identity and the ordinal, so a unit that stands in
// another place, another object, another repository or under another kind does not open.
//
//   with a key     AES-256-GCM; unit key = HKDF-SHA-256(data key, salt, "holdfast object key 1");
//                  nonce = ordinal u64 ++ 4 zero bytes; check = the 16-byte tag
//   without a key  the bytes stay as they are; check = XXH3-128(associated ++ bytes):
//                  finds accidents, not attackers
//
//   associated = "HFAD1" ++ 3 zero bytes ++ repository id[16] ++ kind u32 ++ version u32
//                ++ object id[16] ++ ordinal u64                                       (56 bytes)
//
// The salt is 32 random bytes drawn for each object that is written, also for each retry, and
// stands in the object's header; so no (key, nonce) pair is ever used twice. Normative:
// docs/design/repository-format.md, "Sealing".
#pragma once

#include <memory>
#include <optional>
#include <span>

#include "base/bytes.h"
#include "codec/secret.h"

namespace holdfast::codec {

inline constexpr size_t kSealBytes = 16;

struct ObjectIdentity {
  Bytes16 repository_id;
  uint32_t kind = 0;     // four characters, as a little-endian number
  uint32_t version = 1;  // of the object's format
  Bytes16 object_id;
};

// Seals and opens the units of one object. One thread at a time; cheap to make (one HKDF), costs no
// allocation per unit.
class ObjectSeal {
 public:
  // `data_key` nullptr: without a key (then the salt is not used).
  ObjectSeal(const SecretKey* data_key, const Bytes32& salt, const ObjectIdentity& identity);
  ~ObjectSeal();
  ObjectSeal(ObjectSeal&&) noexcept;

  // Seals all but the last kSealBytes of `unit` in place and puts the check there.
  // REQUIRES: unit.size() >= kSealBytes; an ordinal is sealed once only, in any order (HF_CHECK: a
  // nonce used twice would give the plain bytes away). Ordinals that follow each other cost nothing
  // to remember.
  void seal(uint64_t ordinal, std::span<std::byte> unit);
  // Opens in place; false when the check does not hold (the bytes are then wiped). REQUIRES:
  // unit.size() >= kSealBytes.
  [[nodiscard]] bool open(uint64_t ordinal, std::span<std::byte> unit) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace holdfast::codec
