// crc32c.h: CRC-32C (Castagnoli), by which PostgreSQL protects WAL records, pg_control and its
// manifests.
//
// Reflected polynomial 0x82F63B78, initial value and final xor 0xFFFFFFFF. Uses the processor's
// instruction where there is one (SSE 4.2, found at run time), else tables; both give the same
// value. Sketch: several GB/s, no memory.
//
// Facts: pg_crc32c.h, PostgreSQL 13 to 19.
#pragma once

#include <cstdint>

#include "base/bytes.h"

namespace holdfast::pg {

// A running sum: the bytes may come in any pieces.
class Crc32c {
 public:
  void update(ByteView bytes);
  uint32_t value() const { return ~state_; }

 private:
  uint32_t state_ = 0xFFFFFFFF;
};

uint32_t crc32c(ByteView bytes);

// The same by tables alone: for processors without the instruction, and for the test that compares
// the two.
uint32_t crc32c_portable(ByteView bytes);

}  // namespace holdfast::pg
