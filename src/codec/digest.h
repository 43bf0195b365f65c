// digest.h: digests, each for its own purpose.
//
//   XXH3-128        finds accidents (bit rot, a cut file), never attackers; 10 GB/s and more
//   SHA-256         says that two contents are the same, to anybody
//   content digest  says that two contents are the same, to this repository alone:
//                   AES-256(k2, GMAC(k1, nonce 0, content)), both keys drawn for the repository;
//                   several GB/s. Without the keys nobody can make two contents that collide.
#pragma once

#include <memory>
#include <string>

#include "base/bytes.h"

namespace holdfast::codec {

// In XXH3's canonical (big-endian) form.
Bytes16 xxh3_128(ByteView bytes);

// XXH3-64 with seed 0: for choosing places by content, never as a check.
uint64_t xxh3_64(ByteView bytes);

class Xxh3 {
 public:
  Xxh3();
  ~Xxh3();
  Xxh3(Xxh3&&) noexcept;
  void update(ByteView bytes);
  Bytes16 digest() const;
  void reset();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// SHA-224, -256, -384 or -512, for digests that others have chosen; what is ours is SHA-256, below.
class Sha2 {
 public:
  explicit Sha2(int bits);  // REQUIRES: one of the four
  ~Sha2();
  void update(ByteView bytes);
  Bytes finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

Bytes32 sha256(ByteView bytes);
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  void update(ByteView bytes);
  Bytes32 finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// One thread at a time; copies of the key are wiped by the destructor.
class ContentDigest {
 public:
  // `key`: 64 bytes, k1 then k2.
  explicit ContentDigest(ByteView key);
  ~ContentDigest();
  ContentDigest(ContentDigest&&) noexcept;
  Bytes16 digest(ByteView content);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace holdfast::codec
