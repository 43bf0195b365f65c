#include "codec/digest.h"

#include <random>
#include <set>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/bytes.h"

namespace holdfast::codec {
namespace {

Bytes counted_bytes(size_t size, size_t modulus) {
  Bytes bytes(size);
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(i % modulus);
  return bytes;
}

TEST(Xxh3, IsXxh3InItsCanonicalForm) {
  // xxh3 of nothing as in xxHash's own sanity checks; the other by the library's one-shot call,
  // printed as it prints canonical values.
  EXPECT_EQ(to_hex(xxh3_128({}).view()), "99aa06d3014798d86001c324468d497f");
  EXPECT_EQ(to_hex(xxh3_128(as_bytes("holdfast")).view()), "d725ef720e130d9fdf1a3c122ca59e45");
}

TEST(Xxh3, GivesTheSameInPiecesAsAtOnce) {
  Bytes bytes = counted_bytes(100'000, 253);
  Xxh3 pieces;
  for (int round = 0; round < 2; ++round) {  // reset makes it new
    for (size_t at = 0, length = 0; at < bytes.size(); at += length, length = length * 3 + 1)
      pieces.update(ByteView(bytes).subspan(at, std::min(length, bytes.size() - at)));
    EXPECT_EQ(pieces.digest(), xxh3_128(bytes));
    EXPECT_EQ(pieces.digest(), xxh3_128(bytes));
    pieces.reset();
    EXPECT_EQ(pieces.digest(), xxh3_128({}));
  }
}

TEST(Sha256, GivesTheValuesOfFips180) {
  const struct {
    std::string text;
    const char* digest;
  } cases[] = {{"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
               {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
               {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
                "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
               {std::string(1'000'000, 'a'),
                "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"}};
  for (const auto& c : cases) {
    EXPECT_EQ(to_hex(sha256(as_bytes(c.text)).view()), c.digest);
    Sha256 pieces;
    for (char letter : c.text) pieces.update(as_bytes(std::string_view(&letter, 1)));
    EXPECT_EQ(to_hex(pieces.finish().view()), c.digest);
  }
}

TEST(Sha256DeathTest, IsFinishedOnce) {
  Sha256 hash;
  hash.finish();
  EXPECT_DEATH(hash.finish(), "broken invariant");
  EXPECT_DEATH(hash.update({}), "broken invariant");
}

// Values from another implementation of AES-GCM and AES (pyca/cryptography); key = 00 01 02 .. 3f.
TEST(ContentDigest, IsAesOfGmacWithTwoKeys) {
  ContentDigest digest(counted_bytes(64, 256));
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(to_hex(digest.digest({}).view()), "89295279c44c3f79cae872a714e0f826");
    EXPECT_EQ(to_hex(digest.digest(as_bytes("holdfast")).view()),
              "d6ca4ed1b37fbb151113c5fd7f719464");
    EXPECT_EQ(to_hex(digest.digest(counted_bytes(131'072, 251)).view()),
              "d7455a706629c561db6f48cee4f968ea");
  }
}

TEST(ContentDigest, DependsOnEveryBitOfContentKeyAndLength) {
  Bytes key = counted_bytes(64, 256);
  Bytes content = counted_bytes(70, 256);
  std::set<std::string> seen;
  auto add = [&] {
    std::string digest = to_hex(ContentDigest(key).digest(content).view());
    EXPECT_TRUE(seen.insert(digest).second);
  };
  add();
  for (size_t bit = 0; bit < content.size() * 8; ++bit) {
    content[bit / 8] ^= static_cast<std::byte>(1 << bit % 8);
    add();
    content[bit / 8] ^= static_cast<std::byte>(1 << bit % 8);
  }
  for (size_t bit = 0; bit < key.size() * 8; ++bit) {
    key[bit / 8] ^= static_cast<std::byte>(1 << bit % 8);
    add();
    key[bit / 8] ^= static_cast<std::byte>(1 << bit % 8);
  }
  for (int zeros = 0; zeros < 40; ++zeros) {
    content.push_back(std::byte{0});
    add();
  }
}

}  // namespace
}  // namespace holdfast::codec
