#include "codec/seal.h"

#include <algorithm>
#include <random>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "codec/digest.h"
#include "support/fake_random.h"

namespace holdfast::codec {
namespace {

using test::FakeRandom;

template <size_t N>
ByteArray<N> counted(int first) {
  ByteArray<N> value;
  for (size_t i = 0; i < N; ++i)
    value.bytes[i] = static_cast<std::byte>(first + static_cast<int>(i));
  return value;
}

const SecretKey kDataKey = SecretKey::from_bytes(counted<32>(0).view());
const Bytes32 kSalt = counted<32>(100);
const ObjectIdentity kIdentity{.repository_id = counted<16>(0),
                               .kind = 0x4B434150,
                               .version = 1,
                               .object_id = counted<16>(0xF0)};

Bytes unit_of(ByteView plain) {
  Bytes unit(plain.begin(), plain.end());
  unit.resize(plain.size() + kSealBytes);
  return unit;
}
Bytes sealed(ObjectSeal& seal, uint64_t ordinal, ByteView plain) {
  Bytes unit = unit_of(plain);
  seal.seal(ordinal, unit);
  return unit;
}
bool opens(const ObjectSeal& seal, uint64_t ordinal, Bytes unit) {
  return seal.open(ordinal, unit);
}

// With a key (true) and without.
class SealTest : public testing::TestWithParam<bool> {
 protected:
  const SecretKey* key() const { return GetParam() ? &kDataKey : nullptr; }
};
INSTANTIATE_TEST_SUITE_P(Keys, SealTest, testing::Bool(),
                         [](const testing::TestParamInfo<bool>& key) {
                           return key.param ? "WithKey" : "WithoutKey";
                         });

TEST_P(SealTest, OpensWhatItSealedAtEverySize) {
  uint64_t seed = std::random_device{}();
  SCOPED_TRACE(fmt::format("seed {}", seed));
  std::mt19937_64 random(seed);
  FakeRandom bytes(seed);
  ObjectSeal writer(key(), kSalt, kIdentity);
  ObjectSeal reader(key(), kSalt, kIdentity);
  for (uint64_t ordinal = 0; ordinal < 200; ++ordinal) {
    Bytes plain(ordinal < 40 ? ordinal : random() % 200'000);
    bytes.fill(plain);
    Bytes unit = sealed(writer, ordinal, plain);
    // Without a key the bytes stay readable; with one, equal ones would be a wonder from 17 bytes
    // on.
    bool readable = std::ranges::equal(ByteView(unit).first(plain.size()), plain);
    if (key() == nullptr || plain.size() > 16) {
      EXPECT_EQ(readable, key() == nullptr);
    }
    ASSERT_TRUE(reader.open(ordinal, unit)) << ordinal;
    EXPECT_TRUE(std::ranges::equal(ByteView(unit).first(plain.size()), plain));
  }
}

TEST_P(SealTest, UnitsOpenInAnyOrderAndAgain) {
  ObjectSeal seal(key(), kSalt, kIdentity);
  std::vector<Bytes> units;
  for (uint64_t i = 0; i < 10; ++i)
    units.push_back(sealed(seal, i, as_bytes(fmt::format("unit {}", i))));
  for (uint64_t i : {9u, 0u, 5u, 5u, 9u, 1u}) {
    Bytes unit = units[i];
    ASSERT_TRUE(seal.open(i, unit));
    EXPECT_EQ(as_text(ByteView(unit).first(6)), fmt::format("unit {}", i));
  }
}

TEST_P(SealTest, AnyFlippedBitIsRefusedAndTheBytesAreWiped) {
  ObjectSeal seal(key(), kSalt, kIdentity);
  const Bytes unit = sealed(seal, 3, as_bytes("a small unit of forty-odd bytes, sealed"));
  for (size_t bit = 0; bit < unit.size() * 8; ++bit) {
    Bytes changed = unit;
    changed[bit / 8] ^= static_cast<std::byte>(1 << bit % 8);
    EXPECT_FALSE(seal.open(3, changed)) << bit;
    EXPECT_EQ(changed, Bytes(unit.size())) << bit;
  }
  EXPECT_TRUE(opens(seal, 3, unit));
}

TEST_P(SealTest, AUnitOpensNowhereElse) {
  ObjectSeal writer(key(), kSalt, kIdentity);
  const Bytes unit = sealed(writer, 3, as_bytes("a unit"));
  for (uint64_t ordinal : {uint64_t{0}, uint64_t{2}, uint64_t{4}, uint64_t{3} << 32,
                           (uint64_t{1} << 32) + 3, (uint64_t{1} << 63) + 3, UINT64_MAX})
    EXPECT_FALSE(opens(writer, ordinal, unit)) << ordinal;

  ObjectIdentity others[4] = {kIdentity, kIdentity, kIdentity, kIdentity};
  others[0].repository_id.bytes[15] ^= std::byte{1};
  others[1].object_id.bytes[0] ^= std::byte{0x80};
  others[2].kind ^= 1u << 24;
  others[3].version = 2;
  for (const ObjectIdentity& other : others)
    EXPECT_FALSE(opens(ObjectSeal(key(), kSalt, other), 3, unit));
  EXPECT_TRUE(opens(ObjectSeal(key(), kSalt, kIdentity), 3, unit));
}

TEST_P(SealTest, ACutOrGrownUnitIsRefused) {
  ObjectSeal seal(key(), kSalt, kIdentity);
  const Bytes unit = sealed(seal, 3, as_bytes("a unit of some bytes"));
  for (size_t length = kSealBytes; length < unit.size(); ++length) {
    EXPECT_FALSE(
        opens(seal, 3, Bytes(unit.begin(), unit.begin() + static_cast<ptrdiff_t>(length))));
    EXPECT_FALSE(opens(seal, 3, Bytes(unit.end() - static_cast<ptrdiff_t>(length), unit.end())));
  }
  Bytes grown = unit;
  grown.insert(grown.begin() + 4, std::byte{0});
  EXPECT_FALSE(opens(seal, 3, grown));
  EXPECT_FALSE(opens(seal, 3, Bytes(kSealBytes)));
}

TEST(Seal, IsBoundToDataKeyAndSalt) {
  ObjectSeal writer(&kDataKey, kSalt, kIdentity);
  const Bytes unit = sealed(writer, 0, as_bytes("a unit"));
  SecretKey other_key = SecretKey::from_bytes(counted<32>(1).view());
  Bytes32 other_salt = counted<32>(101);
  EXPECT_FALSE(opens(ObjectSeal(&other_key, kSalt, kIdentity), 0, unit));
  EXPECT_FALSE(opens(ObjectSeal(&kDataKey, other_salt, kIdentity), 0, unit));
  EXPECT_FALSE(opens(ObjectSeal(nullptr, kSalt, kIdentity), 0, unit));
  EXPECT_TRUE(opens(writer, 0, unit));

  ObjectSeal plain_writer(nullptr, kSalt, kIdentity);
  EXPECT_FALSE(opens(writer, 0, sealed(plain_writer, 0, as_bytes("a unit"))));
}

TEST(Seal, HidesEqualContentsUnderDifferentOrdinals) {
  ObjectSeal seal(&kDataKey, kSalt, kIdentity);
  Bytes page(8192);
  Bytes one = sealed(seal, 0, page);
  Bytes two = sealed(seal, 1, page);
  EXPECT_NE(one, two);
}

// The bytes of the format, made by another implementation of HKDF and AES-GCM (pyca/cryptography).
TEST(Seal, WithKeyIsWhatTheFormatSays) {
  const struct {
    uint64_t ordinal;
    const char* plain;
    const char* unit;
  } cases[] = {
      {0, "", "f243d0da76e02bd666043d8d859965b4"},
      {7, "the plain bytes of one unit",
       "9bb29f522a623b82f8fe3947f58f57362e4365d294fd45b9ad04c9579bd62dd89b9b28f633d5d1e0929f2a"},
      {uint64_t{1} << 32, "footer", "8999a9baa58b324d5d625c8fae0ea03258e4eef4a64c"}};
  ObjectSeal seal(&kDataKey, kSalt, kIdentity);
  for (const auto& c : cases) EXPECT_EQ(to_hex(sealed(seal, c.ordinal, as_bytes(c.plain))), c.unit);
}

TEST(Seal, WithoutKeyIsWhatTheFormatSays) {
  ByteWriter checked;
  checked.bytes(as_bytes("HFAD1")).u8(0).u8(0).u8(0).bytes(kIdentity.repository_id.view());
  checked.bytes(as_bytes("PACK"))
      .u32(1)
      .bytes(kIdentity.object_id.view())
      .u64(7)
      .bytes(as_bytes("plain"));
  EXPECT_EQ(checked.size(), 56u + 5u);
  ObjectSeal seal(nullptr, kSalt, kIdentity);
  EXPECT_EQ(to_hex(sealed(seal, 7, as_bytes("plain"))),
            to_hex(as_bytes("plain")) + to_hex(xxh3_128(checked.view()).view()));
}

TEST(Seal, SealsOrdinalsInAnyOrder) {
  FakeRandom random;
  std::mt19937_64 draw(11);
  std::vector<uint64_t> ordinals = {0, 1, UINT64_MAX, UINT64_MAX - 1, uint64_t{1} << 32};
  for (uint64_t i = 2; i < 200; ++i) ordinals.push_back(i * (i % 3 + 1) + (i % 5 << 48));
  std::ranges::sort(ordinals);
  ordinals.erase(std::unique(ordinals.begin(), ordinals.end()), ordinals.end());
  std::ranges::shuffle(ordinals, draw);
  ObjectSeal seal(&kDataKey, kSalt, kIdentity);
  for (uint64_t ordinal : ordinals)
    EXPECT_TRUE(opens(seal, ordinal, sealed(seal, ordinal, as_bytes("x"))));
}

TEST(SealDeathTest, SealsAnOrdinalOnce) {
  for (const SecretKey* key : {&kDataKey, static_cast<const SecretKey*>(nullptr)}) {
    ObjectSeal seal(key, kSalt, kIdentity);
    for (uint64_t ordinal : {5u, 3u, 4u, 0u, 7u}) sealed(seal, ordinal, as_bytes("x"));
    sealed(seal, UINT64_MAX, as_bytes("x"));
    for (uint64_t ordinal :
         {uint64_t{0}, uint64_t{3}, uint64_t{4}, uint64_t{5}, uint64_t{7}, UINT64_MAX})
      EXPECT_DEATH(sealed(seal, ordinal, as_bytes("x")), "broken invariant") << ordinal;
    sealed(seal, 6, as_bytes("x"));
    EXPECT_DEATH(sealed(seal, 6, as_bytes("x")), "broken invariant");
  }
}

}  // namespace
}  // namespace holdfast::codec
