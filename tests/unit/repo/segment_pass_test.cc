#include "repo/segment_pass.h"

#include <array>
#include <random>

#include <gtest/gtest.h>

#include "base/error.h"
#include "support/error_of.h"
#include "support/pieces_of.h"
#include "support/wal_builder.h"

namespace holdfast::repo {
namespace {

Bytes random_bytes(size_t size) {
  std::minstd_rand random(11);
  Bytes bytes(size);
  // A byte of 16 values: it compresses by half.
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random() >> 8 & 15);
  return bytes;
}

void append(Bytes& to, ByteView piece) { to.insert(to.end(), piece.begin(), piece.end()); }

Bytes expanded(const CompressedPiece& piece) {
  Bytes raw(piece.raw_bytes);
  codec::Decompressor().decompress(piece.algorithm, piece.frame, raw);
  return raw;
}

class SegmentPassBy : public testing::TestWithParam<int> {};

TEST_P(SegmentPassBy, HandsOverEveryPieceInOrder) {
  SegmentPass pass({}, GetParam());
  for (size_t size : {size_t{0}, size_t{1}, kSegmentPieceBytes - 1, kSegmentPieceBytes,
                      7 * kSegmentPieceBytes + 17, 2 * kSegmentPieceBytes}) {
    SCOPED_TRACE(size);
    const Bytes content = random_bytes(size);
    Bytes first, second, taken;
    const std::array<SegmentPass::Look, 2> looks = {[&](ByteView piece) { append(first, piece); },
                                                    [&](ByteView piece) { append(second, piece); }};
    size_t compressed_bytes = 0;
    pass.run(size, test::read_from(content), looks, [&](CompressedPiece&& piece) {
      EXPECT_LE(piece.raw_bytes, kSegmentPieceBytes);
      compressed_bytes += piece.frame.size();
      append(taken, expanded(piece));
    });
    EXPECT_EQ(first, content);
    EXPECT_EQ(second, content);
    EXPECT_EQ(taken, content);
    EXPECT_LE(compressed_bytes, size * 2 / 3 + 1);

    first.clear();
    pass.run(size, test::read_from(content), {looks.data(), 1}, {});
    EXPECT_EQ(first, content);
  }
}

TEST_P(SegmentPassBy, EndsByTheFirstErrorAndCanBeUsedAgain) {
  SegmentPass pass({}, GetParam());
  const Bytes content = random_bytes(8 * kSegmentPieceBytes);
  enum Stage { kRead, kLook, kTake };
  for (Stage failing : {kRead, kLook, kTake}) {
    SCOPED_TRACE(failing);
    uint64_t looked = 0, taken = 0;
    const auto fail = [](bool now) {
      if (now) throw Error({.code = ErrorCode::kNoSpace, .message = "full"});
    };
    const SegmentPass::Look look = [&](ByteView) { fail(looked++ == 3 && failing == kLook); };
    const Error error = test::error_of([&] {
      pass.run(
          content.size(),
          [&](std::span<std::byte> into, uint64_t offset) {
            fail(failing == kRead && offset == 3 * kSegmentPieceBytes);
            test::read_from(content)(into, offset);
          },
          {&look, 1}, [&](CompressedPiece&&) { fail(taken++ == 3 && failing == kTake); });
    });
    EXPECT_EQ(error.code(), ErrorCode::kNoSpace);
    EXPECT_LE(taken, failing == kTake ? 4U : 3U);
  }
  Bytes all, taken;
  const SegmentPass::Look look = [&](ByteView piece) { append(all, piece); };
  pass.run(content.size(), test::read_from(content), {&look, 1},
           [&](CompressedPiece&& piece) { append(taken, expanded(piece)); });
  EXPECT_EQ(all, content);
  EXPECT_EQ(taken, content);
}

TEST_P(SegmentPassBy, DescribesAsOneThatHoldsTheContent) {
  pg::WalSegmentSize size(uint64_t{4} << 20);
  test::WalBuilder builder({.size = size, .system_identifier = 7});
  while (builder.segment_count() < 3) builder.add_filler(90'000);
  const Bytes content = builder.segment(1);
  const pg::WalFileName file{.kind = pg::WalFileKind::kSegment, .segment = builder.name(1)};
  const WalOrigin origin{.host = "db1", .pgdata = "/data", .pushed = {}};
  SegmentPass pass({}, GetParam());
  const WalSegmentInfo info =
      pass.describe(content.size(), test::read_from(content), file, origin, {});
  EXPECT_EQ(to_json(info).dump(),
            to_json(describe_segment(test::scan_segment(content, file.segment),
                                     wal_content_sha256(content), content.size(), file, origin))
                .dump());
  EXPECT_EQ(info.sha256, wal_content_sha256(content));
  EXPECT_GT(info.carried_in, 0U);
  EXPECT_EQ(test::error_of([&] { pass.describe(0, test::read_from({}), file, origin, {}); }).code(),
            ErrorCode::kCorrupt);
}

INSTANTIATE_TEST_SUITE_P(Jobs, SegmentPassBy, testing::Values(1, 2, 5));

}  // namespace
}  // namespace holdfast::repo
