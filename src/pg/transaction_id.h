// transaction_id.h: transaction ids, short and full.
//
// WAL records hold 32 bits, which are used again after four billion transactions. The full one,
// which pg_current_xact_id() prints and checkpoints hold, has the epoch in its high half
// (transam.h, FullTransactionId, PostgreSQL 13 to 18). In epoch 0 the two look alike.
#pragma once

#include <cstdint>
#include <string_view>

namespace holdfast::pg {

// A number of at most 64 bits whose low half is an ordinary transaction's, 3 or more. Throws
// kInvalidText.
uint64_t parse_transaction_id(std::string_view text);

constexpr uint32_t short_transaction_id(uint64_t xid) { return static_cast<uint32_t>(xid); }
constexpr bool has_epoch(uint64_t xid) { return xid >> 32 != 0; }

// Of the full ids that end in `xid` the one nearest to `next`, the next one at some moment: the one
// that was meant within two billion transactions of it.
constexpr uint64_t full_transaction_id(uint32_t xid, uint64_t next) {
  return next +
         static_cast<uint64_t>(int64_t{static_cast<int32_t>(xid - short_transaction_id(next))});
}

}  // namespace holdfast::pg
