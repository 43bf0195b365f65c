#include "codec/stream_decompressor.h"

#include <algorithm>
#include <zlib.h>

#include <gtest/gtest.h>
#include <lz4frame.h>
#include <zstd.h>

#include "base/error.h"
#include "support/error_of.h"

namespace holdfast::codec {
namespace {

using test::error_of;

Bytes content_of(size_t bytes) {
  Bytes content(bytes);
  for (size_t at = 0; at < bytes; ++at) content[at] = static_cast<std::byte>(at / 7 * at % 251);
  return content;
}

Bytes gzip(ByteView raw) {
  z_stream stream{};
  EXPECT_EQ(deflateInit2(&stream, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
  Bytes out(deflateBound(&stream, raw.size()) + 64);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(raw.data()));
  stream.avail_in = static_cast<uInt>(raw.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  out.resize(out.size() - stream.avail_out);
  deflateEnd(&stream);
  return out;
}
Bytes zstd(ByteView raw) {
  ZSTD_CCtx* context = ZSTD_createCCtx();
  ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1);
  Bytes out(ZSTD_compressBound(raw.size()));
  out.resize(ZSTD_compress2(context, out.data(), out.size(), raw.data(), raw.size()));
  ZSTD_freeCCtx(context);
  return out;
}
Bytes lz4(ByteView raw) {
  LZ4F_preferences_t wishes{};
  wishes.frameInfo.contentChecksumFlag = LZ4F_contentChecksumEnabled;
  Bytes out(LZ4F_compressFrameBound(raw.size(), &wishes));
  out.resize(LZ4F_compressFrame(out.data(), out.size(), raw.data(), raw.size(), &wishes));
  return out;
}

Bytes decompressed(const Bytes& stored, size_t piece = 10'000) {
  size_t at = 0;
  StreamDecompressor stream(
      [&](std::span<std::byte> into) {
        const size_t count = std::min(into.size(), stored.size() - at);
        std::copy_n(stored.begin() + static_cast<ptrdiff_t>(at), count, into.begin());
        at += count;
        return count;
      },
      "x.tar");
  Bytes all;
  for (;;) {
    Bytes into(piece);
    const size_t got = stream.read(into);
    all.insert(all.end(), into.begin(), into.begin() + static_cast<ptrdiff_t>(got));
    if (got < piece) break;
  }
  EXPECT_EQ(at, stored.size());
  Bytes more(10);
  EXPECT_EQ(stream.read(more), 0U);
  return all;
}

TEST(StreamDecompressor, ReadsEachFormatAndWhatIsNotCompressed) {
  for (const size_t size : {size_t{0}, size_t{1}, size_t{5000}, size_t{3'000'000}}) {
    const Bytes content = content_of(size);
    EXPECT_TRUE(decompressed(content) == content) << size;
    for (const Bytes& stored : {gzip(content), zstd(content), lz4(content)}) {
      EXPECT_TRUE(decompressed(stored) == content) << size;
      EXPECT_TRUE(decompressed(stored, 777) == content) << size;
    }
  }
}

TEST(StreamDecompressor, ReadsSeveralFramesInARow) {
  const Bytes one = content_of(1000), two = content_of(70'000);
  Bytes both = one;
  both.insert(both.end(), two.begin(), two.end());
  for (Bytes (*const compress)(ByteView) : {gzip, zstd, lz4}) {
    Bytes stored = compress(one);
    const Bytes behind = compress(two);
    stored.insert(stored.end(), behind.begin(), behind.end());
    EXPECT_TRUE(decompressed(stored) == both);
  }
}

TEST(StreamDecompressor, FindsEveryCutAndEveryFlippedByte) {
  const Bytes content = content_of(3000);
  for (Bytes (*const compress)(ByteView) : {gzip, zstd, lz4}) {
    const Bytes stored = compress(content);
    for (size_t cut = 5; cut < stored.size(); cut += 37) {
      const Error error = error_of([&] {
        decompressed(Bytes(stored.begin(), stored.begin() + static_cast<ptrdiff_t>(cut)));
      });
      EXPECT_EQ(error.code(), ErrorCode::kCorrupt) << cut;
      EXPECT_EQ(error.message(), "\"x.tar\" is damaged");
    }
    for (size_t at = 15; at < stored.size(); at += 11) {
      Bytes changed = stored;
      changed[at] ^= std::byte{0x40};
      EXPECT_EQ(error_of([&] { decompressed(changed); }).code(), ErrorCode::kCorrupt) << at;
    }
  }
}

TEST(StreamDecompressor, SaysWhatToDoWithWhatItCannotRead) {
  for (const auto& [stored, program] :
       {std::pair{to_bytes("BZh91AY"), "bzip2"}, std::pair{to_bytes(std::string_view("\xFD"
                                                                                     "7zXZ\0\0",
                                                                                     7)),
                                                           "xz"}}) {
    const Error error = error_of([&, &bytes = stored] { decompressed(bytes); });
    EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
    EXPECT_NE(error.hint().find(program), std::string::npos) << error.hint();
  }
}

}  // namespace
}  // namespace holdfast::codec
