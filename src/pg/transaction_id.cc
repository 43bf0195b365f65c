#include "pg/transaction_id.h"

#include <charconv>

#include <fmt/format.h>

#include "base/error.h"

namespace holdfast::pg {
namespace {

constexpr uint32_t kFirstNormalXid = 3;  // transam.h, FirstNormalTransactionId

}  // namespace

uint64_t parse_transaction_id(std::string_view text) {
  uint64_t xid = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, xid);
  if (error == std::errc() && stop == end && short_transaction_id(xid) >= kFirstNormalXid)
    return xid;
  throw Error({.code = ErrorCode::kInvalidText,
               .message = fmt::format("invalid transaction id \"{}\"", text),
               .detail = "A transaction id is a whole number of 64 bits, as pg_current_xact_id() "
                         "prints it, or its lower 32 bits, from 3 to 4294967295.",
               .hint = "pg_waldump and log_line_prefix's %x show the lower 32 bits."});
}

}  // namespace holdfast::pg
