#include "codec/secret.h"

#include <algorithm>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "support/error_of.h"
#include "support/fake_random.h"

namespace holdfast::codec {
namespace {

using test::error_of;
using test::FakeRandom;

Bytes hex(std::string_view text) { return parse_hex(text).value(); }

TEST(SecretKey, HoldsTheBytesItWasGiven) {
  FakeRandom random;
  SecretKey key = SecretKey::generate(random);
  EXPECT_EQ(key.view().size(), 32u);
  SecretKey same = SecretKey::from_bytes(key.view());
  EXPECT_TRUE(std::ranges::equal(key.view(), same.view()));
  SecretKey other = SecretKey::generate(random);
  EXPECT_FALSE(std::ranges::equal(key.view(), other.view()));
  other = key;
  EXPECT_TRUE(std::ranges::equal(key.view(), other.view()));
}

TEST(SecretKey, HasThirtyTwoBytes) {
  for (size_t size : {0u, 16u, 31u, 33u, 64u}) {
    Error error = error_of([&] { SecretKey::from_bytes(Bytes(size)); });
    EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
    EXPECT_EQ(error.message(), "a key has the wrong length");
    EXPECT_EQ(error.detail(), fmt::format("It has {} bytes where 32 were expected.", size));
  }
}

TEST(Hkdf, GivesTheValuesOfRfc5869) {
  const struct {
    std::string key, salt, info, derived;
  } cases[] = {
      {"0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "000102030405060708090a0b0c",
       "f0f1f2f3f4f5f6f7f8f9",
       "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"},
      {"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2"
       "d2e2f"
       "303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f",
       "606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f808182838485868788898a8b8c8"
       "d8e8f"
       "909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeaf",
       "b0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcd"
       "ddedf"
       "e0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff",
       "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e5"
       "90e09"
       "da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87"},
      {"0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "", "",
       "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"}};
  for (const auto& c : cases) {
    Bytes info = hex(c.info);
    Bytes derived = hkdf_sha256(hex(c.key), hex(c.salt), as_text(info), c.derived.size() / 2);
    EXPECT_EQ(to_hex(derived), c.derived);
  }
}

TEST(Hkdf, GivesLongOutputsThatBeginAsShortOnes) {
  Bytes longest = hkdf_sha256(Bytes(32), Bytes(32), "info", 255 * 32);
  for (size_t length : {1u, 31u, 32u, 33u, 64u, 8159u}) {
    Bytes shorter = hkdf_sha256(Bytes(32), Bytes(32), "info", length);
    EXPECT_TRUE(std::ranges::equal(shorter, ByteView(longest).first(length))) << length;
  }
}

// The inputs and values of the reference implementation's tests (version 0x13, one lane). RFC
// 9106's own example uses 32 KiB, which is less than we accept.
TEST(Argon2id, GivesTheValuesOfTheReferenceImplementation) {
  const struct {
    const char* passphrase;
    const char* salt;
    Argon2Cost cost;
    const char* derived;
  } cases[] = {{"password",
                "somesalt",
                {.memory_kib = 65536, .iterations = 2, .lanes = 1},
                "09316115d5cf24ed5a15a31a3ba326e5cf32edc24702987c02b6566f61913cf7"},
               {"password",
                "somesalt",
                {.memory_kib = 65536, .iterations = 1, .lanes = 1},
                "f6a5adc1ba723dddef9b5ac1d464e180fcd9dffc9d1cbf76cca2fed795d9ca98"},
               {"differentpassword",
                "somesalt",
                {.memory_kib = 65536, .iterations = 2, .lanes = 1},
                "0b84d652cf6b0c4beaef0dfe278ba6a80df6696281d7e0d2891b817d8c458fde"},
               {"password",
                "diffsalt",
                {.memory_kib = 65536, .iterations = 2, .lanes = 1},
                "bdf32b05ccc42eb15d58fd19b1f856b113da1e9a5874fdcc544308565aa8141c"}};
  for (const auto& c : cases) {
    SecretKey key = argon2id(c.passphrase, as_bytes(c.salt), c.cost);
    EXPECT_EQ(to_hex(key.view()), c.derived);
  }
}

TEST(Argon2id, DependsOnEachOfItsInputs) {
  const Argon2Cost cost{.memory_kib = 8 * 1024, .iterations = 1, .lanes = 1};
  const SecretKey keys[] = {argon2id("passphrase", as_bytes("saltsalt"), cost),
                            argon2id("", as_bytes("saltsalt"), cost),
                            argon2id("passphrase", as_bytes("saltsals"), cost),
                            argon2id("passphrase", as_bytes("saltsalt"),
                                     {.memory_kib = 8 * 1024 + 4, .iterations = 1, .lanes = 1}),
                            argon2id("passphrase", as_bytes("saltsalt"),
                                     {.memory_kib = 8 * 1024, .iterations = 2, .lanes = 1}),
                            argon2id("passphrase", as_bytes("saltsalt"),
                                     {.memory_kib = 8 * 1024, .iterations = 1, .lanes = 2})};
  for (const SecretKey& a : keys)
    for (const SecretKey& b : keys) EXPECT_EQ(std::ranges::equal(a.view(), b.view()), &a == &b);
}

TEST(Argon2id, RefusesCostsThatNoKeyOfOursHas) {
  const struct {
    Argon2Cost cost;
    size_t salt_bytes;
  } cases[] = {{{.memory_kib = 0, .iterations = 3, .lanes = 1}, 16},
               {{.memory_kib = 8 * 1024 - 1, .iterations = 3, .lanes = 1}, 16},
               {{.memory_kib = 4 * 1024 * 1024 + 1, .iterations = 3, .lanes = 1}, 16},
               {{.memory_kib = UINT32_MAX, .iterations = 3, .lanes = 1}, 16},
               {{.memory_kib = 65536, .iterations = 0, .lanes = 1}, 16},
               {{.memory_kib = 65536, .iterations = 65, .lanes = 1}, 16},
               {{.memory_kib = 65536, .iterations = 3, .lanes = 0}, 16},
               {{.memory_kib = 65536, .iterations = 3, .lanes = 17}, 16},
               {{.memory_kib = 65536, .iterations = 3, .lanes = 1}, 7}};
  for (const auto& c : cases) {
    Error error = error_of([&] { argon2id("passphrase", Bytes(c.salt_bytes), c.cost); });
    EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
    EXPECT_EQ(error.message(), "a wrapped key asks for an impossible key derivation");
    EXPECT_NE(error.detail().find(fmt::format("{} KiB, {} iterations and {} lanes",
                                              c.cost.memory_kib, c.cost.iterations, c.cost.lanes)),
              std::string::npos)
        << error.detail();
  }
}

class BoxTest : public testing::Test {
 protected:
  FakeRandom random_;
  SecretKey key_ = SecretKey::generate(random_);
  Bytes plain_ = to_bytes("thirty-two bytes of a data key..");
  Bytes associated_ = to_bytes("which repository, which key");
};

TEST_F(BoxTest, OpensWithItsKeyAndNoOther) {
  for (size_t size : {0u, 1u, 15u, 16u, 17u, 32u, 1000u}) {
    Bytes plain(size, std::byte{'k'});
    Bytes box = seal_box(key_, plain, associated_, random_);
    EXPECT_EQ(box.size(), size + 28);
    EXPECT_EQ(open_box(key_, box, associated_), plain);
    EXPECT_FALSE(open_box(SecretKey::generate(random_), box, associated_));
  }
}

TEST_F(BoxTest, DrawsItsNonce) {
  Bytes one = seal_box(key_, plain_, associated_, random_);
  Bytes two = seal_box(key_, plain_, associated_, random_);
  EXPECT_FALSE(std::ranges::equal(ByteView(one).first(12), ByteView(two).first(12)));
  EXPECT_FALSE(std::ranges::equal(ByteView(one).subspan(12), ByteView(two).subspan(12)));
}

TEST_F(BoxTest, AnyFlippedBitIsRefused) {
  Bytes box = seal_box(key_, plain_, associated_, random_);
  for (size_t bit = 0; bit < box.size() * 8; ++bit) {
    box[bit / 8] ^= static_cast<std::byte>(1 << bit % 8);
    EXPECT_FALSE(open_box(key_, box, associated_)) << bit;
    box[bit / 8] ^= static_cast<std::byte>(1 << bit % 8);
  }
  for (size_t bit = 0; bit < associated_.size() * 8; ++bit) {
    Bytes other = associated_;
    other[bit / 8] ^= static_cast<std::byte>(1 << bit % 8);
    EXPECT_FALSE(open_box(key_, box, other)) << bit;
  }
  EXPECT_EQ(open_box(key_, box, associated_), plain_);
}

TEST_F(BoxTest, ACutBoxIsRefused) {
  Bytes box = seal_box(key_, plain_, associated_, random_);
  for (size_t length = 0; length < box.size(); ++length)
    EXPECT_FALSE(open_box(key_, ByteView(box).first(length), associated_)) << length;
}

// NIST's GCM test case 14 (McGrew and Viega): key, nonce and plain bytes all zero.
TEST(Box, IsAesGcm) {
  Bytes box =
      hex("000000000000000000000000"
          "cea7403d4d606b6e074ec5d3baf39d18"
          "d0d1c8a799996bf0265b98b5d48ab919");
  EXPECT_EQ(open_box(SecretKey::from_bytes(Bytes(32)), box, {}), Bytes(16));
}

}  // namespace
}  // namespace holdfast::codec
