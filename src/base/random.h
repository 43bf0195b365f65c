// random.h: random bytes that are handed in, so that tests can choose them.
#pragma once

#include <span>

#include "base/bytes.h"

namespace holdfast {

class RandomSource {
 public:
  virtual ~RandomSource() = default;
  virtual void fill(std::span<std::byte> into) = 0;
  Bytes16 bytes16();
  Bytes32 bytes32();
};
// getrandom(2); fit for keys, salts and ids. Safe from any thread.
RandomSource& system_random();

}  // namespace holdfast
