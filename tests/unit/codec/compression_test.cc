#include "codec/compression.h"

#include <algorithm>
#include <random>
#include <string>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "support/error_of.h"

namespace holdfast::codec {
namespace {

using test::error_of;

// Bytes between wholly random and wholly regular, as pages are.
Bytes some_bytes(size_t size, std::mt19937_64& random) {
  Bytes bytes(size);
  uint64_t kind = random() % 4;
  for (size_t i = 0; i < size; ++i) {
    uint64_t draw = random();
    if (kind == 0) bytes[i] = static_cast<std::byte>(draw >> 56);
    if (kind == 1) bytes[i] = static_cast<std::byte>("holdfast"[i % 8]);
    if (kind == 2) bytes[i] = draw % 16 == 0 ? static_cast<std::byte>(draw >> 56) : std::byte{0};
    if (kind == 3) bytes[i] = static_cast<std::byte>('a' + draw % 4);
  }
  return bytes;
}

Bytes compress(Compressor& compressor, ByteView raw, Compression* algorithm = nullptr) {
  Bytes frame(compressor.bound(raw.size()));
  Compressor::Result result = compressor.compress(raw, frame);
  if (algorithm != nullptr) *algorithm = result.algorithm;
  frame.resize(result.bytes);
  return frame;
}

const CompressionSetting kSettings[] = {
    {Compression::kNone, 0}, {Compression::kZstd, -7}, {Compression::kZstd, 1},
    {Compression::kZstd, 3}, {Compression::kZstd, 9},  {Compression::kLz4, 0},
    {Compression::kLz4, 1},  {Compression::kLz4, 2},   {Compression::kLz4, 12}};

TEST(ParseCompression, ReadsWhatPeopleWrite) {
  const struct {
    const char* text;
    CompressionSetting setting;
    const char* printed;
  } cases[] = {{"zstd", {Compression::kZstd, 3}, "zstd:3"},
               {"zstd:3", {Compression::kZstd, 3}, "zstd:3"},
               {"zstd:-7", {Compression::kZstd, -7}, "zstd:-7"},
               {"zstd:19", {Compression::kZstd, 19}, "zstd:19"},
               {"lz4", {Compression::kLz4, 1}, "lz4:1"},
               {"lz4:12", {Compression::kLz4, 12}, "lz4:12"},
               {"lz4:0", {Compression::kLz4, 0}, "lz4:0"},
               {"none", {Compression::kNone, 0}, "none"}};
  for (const auto& c : cases) {
    EXPECT_EQ(parse_compression(c.text), c.setting) << c.text;
    EXPECT_EQ(to_string(c.setting), c.printed);
    EXPECT_EQ(parse_compression(to_string(c.setting)), c.setting);
  }
}

TEST(ParseCompression, SaysWhatIsWrongAndWhatIsPossible) {
  const struct {
    const char* text;
    const char* detail;
  } cases[] = {{"", "No such compression is known."},
               {"gzip", "No such compression is known."},
               {"ZSTD", "No such compression is known."},
               {"zstd ", "No such compression is known."},
               {"zstd:", "\"\" is not a level."},
               {"zstd:three", "\"three\" is not a level."},
               {"zstd:3x", "\"3x\" is not a level."},
               {"zstd:+3", "\"+3\" is not a level."},
               {"zstd:99999999999", "\"99999999999\" is not a level."},
               {"zstd:20", "The level 20 is outside -7 to 19."},
               {"zstd:-8", "The level -8 is outside -7 to 19."},
               {"lz4:13", "The level 13 is outside 0 to 12."},
               {"lz4:-1", "The level -1 is outside 0 to 12."},
               {"none:0", "\"none\" takes no level."}};
  for (const auto& c : cases) {
    Error error = error_of([&] { parse_compression(c.text); });
    EXPECT_EQ(error.code(), ErrorCode::kConfiguration);
    EXPECT_EQ(error.message(), fmt::format("invalid compression \"{}\"", c.text));
    EXPECT_EQ(error.detail(), c.detail);
    EXPECT_EQ(
        error.hint(),
        "Write zstd, lz4 or none; zstd takes a level from -7 to 19 and lz4 one from 0 to 12, as in "
        "\"zstd:3\".");
  }
}

TEST(Compression, GivesBackWhatWasCompressedAtEverySize) {
  uint64_t seed = std::random_device{}();
  SCOPED_TRACE(fmt::format("seed {}", seed));
  std::mt19937_64 random(seed);
  Decompressor decompressor;
  for (CompressionSetting setting : kSettings) {
    SCOPED_TRACE(to_string(setting));
    Compressor compressor(setting);
    for (int round = 0; round < 60; ++round) {
      size_t size =
          round < 20 ? static_cast<size_t>(round) : static_cast<size_t>(random() % (200 << 10));
      Bytes raw = some_bytes(size, random);
      Compression algorithm;
      Bytes frame = compress(compressor, raw, &algorithm);
      EXPECT_TRUE(algorithm == setting.algorithm || algorithm == Compression::kNone);
      EXPECT_LE(frame.size(), raw.size());
      Bytes back(size, std::byte{0xEE});
      decompressor.decompress(algorithm, frame, back);
      ASSERT_EQ(back, raw) << "size " << size;
    }
  }
}

TEST(Compression, KeepsRawWhatWouldNotShrink) {
  std::mt19937_64 random(1);
  Bytes noise(8192);
  for (std::byte& byte : noise) byte = static_cast<std::byte>(random() >> 56);
  for (CompressionSetting setting : kSettings) {
    Compressor compressor(setting);
    Compression algorithm;
    EXPECT_EQ(compress(compressor, noise, &algorithm), noise) << to_string(setting);
    EXPECT_EQ(algorithm, Compression::kNone) << to_string(setting);
    EXPECT_EQ(compress(compressor, {}, &algorithm), Bytes{}) << to_string(setting);
    EXPECT_EQ(algorithm, Compression::kNone) << to_string(setting);
  }
}

TEST(Compression, ShrinksPagesOfText) {
  Bytes text(128 << 10);
  for (size_t i = 0; i < text.size(); ++i)
    text[i] = static_cast<std::byte>("select count(*) from t;\n"[i % 24]);
  for (CompressionSetting setting : kSettings) {
    if (setting.algorithm == Compression::kNone) continue;
    Compressor compressor(setting);
    Compression algorithm;
    EXPECT_LT(compress(compressor, text, &algorithm).size(), text.size() / 50)
        << to_string(setting);
    EXPECT_EQ(algorithm, setting.algorithm);
  }
}

TEST(Compression, MakesTheSameFrameWhateverItCompressedBefore) {
  std::mt19937_64 random(5);
  Bytes raw = some_bytes(50'000, random);
  for (CompressionSetting setting : kSettings) {
    Compressor fresh(setting);
    Compressor used(setting);
    for (int i = 0; i < 5; ++i) compress(used, some_bytes(60'000, random));
    EXPECT_EQ(compress(used, raw), compress(fresh, raw)) << to_string(setting);
  }
}

// An extent as toasted pictures make it: random rows in pages with a regular head.
Bytes dense_pages(size_t size, std::mt19937_64& random) {
  Bytes bytes(size);
  for (size_t i = 0; i < size; ++i)
    bytes[i] = i % 8192 < 300 ? std::byte{0} : static_cast<std::byte>(random() >> 56);
  return bytes;
}

TEST(Compression, TakesTheQuickLevelForBytesThatHardlyShrink) {
  std::mt19937_64 random(11);
  const Bytes raw = dense_pages(256 << 10, random);
  Compressor quick({Compression::kZstd, 1});
  for (int level : {2, 3, 9}) {
    Compressor compressor({Compression::kZstd, level});
    EXPECT_EQ(compress(compressor, raw), compress(quick, raw)) << level;
  }
  // Level 10 was asked for by somebody who has the time.
  Compressor patient({Compression::kZstd, 10});
  const Bytes whole = compress(patient, raw);
  EXPECT_NE(whole, compress(quick, raw));
  EXPECT_GT(whole.size() * 101 / 100, compress(quick, raw).size());
}

TEST(Compression, TakesTheLevelThatWasAskedForWhereverItGains) {
  std::mt19937_64 random(12);
  Compressor quick({Compression::kZstd, 1});
  auto level_of = [&](const Bytes& raw) {
    Compressor compressor({Compression::kZstd, 3});
    return compress(compressor, raw) == compress(quick, raw) ? 1 : 3;
  };
  // Dense pages that are all alike.
  const Bytes page = dense_pages(8192, random);
  Bytes alike;
  for (int i = 0; i < 32; ++i) alike.insert(alike.end(), page.begin(), page.end());
  EXPECT_EQ(level_of(alike), 3);
  // Half of it text.
  Bytes half = dense_pages(256 << 10, random);
  for (size_t i = 0; i < half.size() / 2; ++i)
    half[i] = static_cast<std::byte>('a' + random() % 4 * (random() % 3));
  EXPECT_EQ(level_of(half), 3);
  // Too short to look at a part of it.
  EXPECT_EQ(level_of(dense_pages(60'000, random)), 3);
}

TEST(Compression, WritesNoContentSizeAndNoChecksumIntoZstdFrames) {
  Compressor compressor({Compression::kZstd, 3});
  Bytes frame = compress(compressor, Bytes(100'000));
  // RFC 8878, 3.1.1.1.1: bits 7-6 size of the content size field, 5 single segment, 2 checksum, 1-0
  // dictionary id.
  EXPECT_EQ(load_le<uint32_t>(frame.data()), 0xFD2FB528u);
  EXPECT_EQ(std::to_integer<int>(frame[4]) & 0xE7, 0);
}

TEST(Decompression, RefusesAFrameOfAnotherLength) {
  std::mt19937_64 random(2);
  Decompressor decompressor;
  Bytes raw(10'000, std::byte{'x'});
  for (CompressionSetting setting : kSettings) {
    Compressor compressor(setting);
    Compression algorithm;
    Bytes frame = compress(compressor, raw, &algorithm);
    for (size_t size : {size_t{0}, size_t{1}, size_t{9'999}, size_t{10'001}, size_t{1} << 20}) {
      Bytes into(size);
      EXPECT_EQ(error_of([&] { decompressor.decompress(algorithm, frame, into); }).code(),
                ErrorCode::kCorrupt)
          << to_string(setting) << " " << size;
    }
    Bytes into(raw.size());
    decompressor.decompress(algorithm, frame, into);  // fit for the next after every refusal
    EXPECT_EQ(into, raw);
  }
}

TEST(Decompression, RefusesFramesThatAreCutOrFollowedByAnything) {
  Decompressor decompressor;
  Bytes raw;
  for (int i = 0; i < 3000; ++i) {
    Bytes line = to_bytes(fmt::format("row {} of the table\n", i * i));
    raw.insert(raw.end(), line.begin(), line.end());
  }
  Bytes into(raw.size());
  for (Compression algorithm : {Compression::kZstd, Compression::kLz4}) {
    Compressor compressor({algorithm, 1});
    Bytes frame = compress(compressor, raw);
    for (size_t length = 0; length < frame.size(); length += 7)
      EXPECT_EQ(error_of([&] {
                  decompressor.decompress(algorithm, ByteView(frame).first(length), into);
                }).code(),
                ErrorCode::kCorrupt)
          << length;
    Bytes longer = frame;
    longer.push_back(std::byte{0});
    EXPECT_EQ(error_of([&] { decompressor.decompress(algorithm, longer, into); }).code(),
              ErrorCode::kCorrupt);
    Bytes twice = frame;
    twice.insert(twice.end(), frame.begin(), frame.end());
    Bytes into_twice(2 * raw.size());
    EXPECT_EQ(error_of([&] { decompressor.decompress(algorithm, twice, into_twice); }).code(),
              ErrorCode::kCorrupt);
  }
}

TEST(Decompression, NamesWhatItRefuses) {
  Decompressor decompressor;
  Bytes into(10);
  const Error noise = error_of(
      [&] { decompressor.decompress(Compression::kZstd, as_bytes("not a zstd frame"), into); });
  EXPECT_EQ(noise.message(), "damaged zstd frame");
  EXPECT_FALSE(noise.detail().empty());
  const Error length =
      error_of([&] { decompressor.decompress(Compression::kNone, as_bytes("123456789"), into); });
  EXPECT_EQ(length.message(), "damaged uncompressed frame");
  EXPECT_EQ(length.detail(), "It has 9 bytes where 10 were expected.");
  const Error unknown = error_of(
      [&] { decompressor.decompress(static_cast<Compression>(7), as_bytes("123456789"), into); });
  EXPECT_EQ(unknown.code(), ErrorCode::kCorrupt);
  EXPECT_EQ(unknown.message(), "unknown compression 7");
}

TEST(Decompression, SurvivesFlippedBytesAndStaysWithinItsBuffer) {
  uint64_t seed = std::random_device{}();
  SCOPED_TRACE(fmt::format("seed {}", seed));
  std::mt19937_64 random(seed);
  Decompressor decompressor;
  for (int round = 0; round < 300; ++round) {
    Compression algorithm = round % 2 == 0 ? Compression::kZstd : Compression::kLz4;
    Compressor compressor({algorithm, 1});
    Bytes raw = some_bytes(2000, random);
    Bytes frame = compress(compressor, raw, &algorithm);
    for (int flips = 0; flips < 3; ++flips)
      frame[random() % frame.size()] ^= static_cast<std::byte>(1 << random() % 8);
    Bytes into(raw.size());
    try {
      decompressor.decompress(algorithm, frame, into);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
    }
  }
}

}  // namespace
}  // namespace holdfast::codec
