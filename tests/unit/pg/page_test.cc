#include "pg/page.h"

#include <random>

#include <gtest/gtest.h>

#include "support/golden.h"

namespace holdfast::pg {
namespace {

PageView view(const Bytes& page) { return PageView(page.data(), kPageBytes); }

const struct {
  const char* file;
  uint32_t block;
} kGoldenPages[] = {{"pg-18/page-main-5", 5},
                    {"pg-18/page-fsm-2", 2},
                    {"pg-18/page-vm-0", 0},
                    {"pg-18/page-index-29", 29}};

TEST(VerifyPage, AcceptsPagesOfEveryKindThatAServerWrote) {
  for (const auto& c : kGoldenPages) {
    Bytes page = test::golden(c.file);
    ASSERT_EQ(page.size(), kPageBytes);
    EXPECT_EQ(checksum(view(page), {c.block}), read_page_header(view(page)).checksum) << c.file;
    EXPECT_EQ(verify_page(view(page), {c.block}), PageVerdict::kValid) << c.file;
  }
}

TEST(VerifyPage, SeesAnySingleChangedByteAndAWrongPlace) {
  for (const auto& c : kGoldenPages) {
    Bytes page = test::golden(c.file);
    EXPECT_EQ(verify_page(view(page), {c.block + 1}), PageVerdict::kBadChecksum) << c.file;
    for (size_t at = 0; at < kPageBytes; at += 7) {
      if (at == 14 || at == 15)
        continue;  // `upper`: 0 there makes a new page, which is judged otherwise
      page[at] ^= std::byte{0x10};
      EXPECT_EQ(verify_page(view(page), {c.block}), PageVerdict::kBadChecksum)
          << c.file << " byte " << at;
      page[at] ^= std::byte{0x10};
    }
  }
}

TEST(VerifyPage, TakesOnlyAllZeroPagesAsNew) {
  Bytes page(kPageBytes);
  EXPECT_TRUE(is_new(view(page)));
  EXPECT_EQ(verify_page(view(page), {7}), PageVerdict::kNew);
  for (size_t at : {size_t{0}, size_t{8}, size_t{4000}, kPageBytes - 1}) {
    page[at] = std::byte{1};
    EXPECT_FALSE(is_new(view(page))) << at;
    EXPECT_EQ(verify_page(view(page), {7}), PageVerdict::kBadHeader) << at;
    page[at] = std::byte{0};
  }
}

TEST(VerifyPage, JudgesTheHeaderAloneWithoutChecksums) {
  const struct {
    size_t offset;
    uint16_t value;
    const char* what;
  } cases[] = {{10, 0x0008, "an unknown flag"},
               {12, 8192, "lower above upper"},
               {14, 8200, "upper above special"},
               {16, 8200, "special beyond the page"},
               {16, 8189, "special not aligned"}};
  for (const auto& c : cases) {
    Bytes page = test::golden("pg-18/page-main-5");
    page[100] ^= std::byte{1};
    EXPECT_EQ(verify_page(view(page), {5}, false), PageVerdict::kValid);
    store_le(page.data() + c.offset, c.value);
    EXPECT_EQ(verify_page(view(page), {5}, false), PageVerdict::kBadHeader) << c.what;
    // The checksum may be right for what is written all the same.
    store_le(page.data() + 8, checksum(view(page), {5}));
    EXPECT_EQ(verify_page(view(page), {5}), PageVerdict::kBadHeader) << c.what;
  }
}

TEST(ReadPageHeader, PutsTheHalvesOfTheLsnInTheirOrder) {
  Bytes page(kPageBytes);
  store_le(page.data(), uint32_t{0x16});
  store_le(page.data() + 4, uint32_t{0xB374D848});
  EXPECT_EQ(read_page_header(view(page)).lsn, parse_lsn("16/B374D848"));
}

TEST(Checksum, IsTheSameWithAndWithoutWideInstructions) {
  const unsigned seed = std::random_device()();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  Bytes page(kPageBytes);
  for (int i = 0; i < 50; ++i) {
    for (size_t at = 0; at < kPageBytes; at += 4)
      store_le(page.data() + at, static_cast<uint32_t>(random()));
    BlockNumber block{static_cast<uint32_t>(random())};
    EXPECT_EQ(checksum(view(page), block), checksum_portable(view(page), block));
    EXPECT_NE(checksum(view(page), block), 0);
  }
}

}  // namespace
}  // namespace holdfast::pg
