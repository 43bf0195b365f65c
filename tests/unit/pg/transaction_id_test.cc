#include "pg/transaction_id.h"

#include <gtest/gtest.h>

#include "support/error_of.h"

namespace holdfast::pg {
namespace {

TEST(TransactionId, IsReadShortAndFull) {
  EXPECT_EQ(parse_transaction_id("3"), 3u);
  EXPECT_EQ(parse_transaction_id("4294967295"), 4294967295u);
  EXPECT_EQ(parse_transaction_id("4294968023"), (uint64_t{1} << 32) + 727);
  EXPECT_EQ(parse_transaction_id("18446744073709551615"), UINT64_MAX);
  // No transaction has 0, 1 or 2, in no epoch.
  for (const char* none : {"", "0", "2", "-5", "4294967296", "4294967298", "18446744073709551616",
                           "727x", " 727", "0x2d7"})
    EXPECT_EQ(test::error_of([&] { parse_transaction_id(none); }).code(), ErrorCode::kInvalidText)
        << none;
}

TEST(TransactionId, IsMadeFullByTheNextOneOfAMoment) {
  constexpr uint64_t kEpoch = uint64_t{1} << 32;
  const struct {
    uint32_t xid;
    uint64_t next, full;
  } cases[] = {{700, 727, 700},
               {727, 700, 727},
               {700, 5 * kEpoch + 727, 5 * kEpoch + 700},
               // On either side of a wrap-around.
               {5, 5 * kEpoch + 0xFFFFFFF0, 6 * kEpoch + 5},
               {0xFFFFFFF0, 6 * kEpoch + 5, 5 * kEpoch + 0xFFFFFFF0}};
  for (const auto& c : cases) EXPECT_EQ(full_transaction_id(c.xid, c.next), c.full) << c.xid;
  EXPECT_FALSE(has_epoch(727));
  EXPECT_TRUE(has_epoch(kEpoch + 727));
  EXPECT_EQ(short_transaction_id(kEpoch + 727), 727u);
}

}  // namespace
}  // namespace holdfast::pg
