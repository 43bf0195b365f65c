// segment_pass.h: one pass over the content of a WAL file: read, looked at and compressed piece by
// piece, each while it is in the processor's cache, several pieces at a time.
//
// Memory: 3 MiB for each thread, whatever the file has; and what the caller keeps of the pieces.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "base/bytes.h"
#include "codec/compression.h"
#include "repo/format.h"
#include "repo/wal_segment_info.h"

namespace holdfast::repo {

// Before compression; the last piece of a content may have less. A multiple of a WAL page.
inline constexpr size_t kSegmentPieceBytes = size_t{1} << 20;

using CompressedPiece = ObjectWriter::Compressed;

// One thread at a time; its memory serves one pass after another.
class SegmentPass {
 public:
  // By `jobs` threads; by the caller's own when that is 1.
  SegmentPass(codec::CompressionSetting compression, int jobs);

  // Fills all of `into` with the content from `offset` on, or throws. Several threads at a time.
  using Read = std::function<void(std::span<std::byte> into, uint64_t offset)>;
  // Looks at the next piece; any thread, one at a time, in order.
  using Look = std::function<void(ByteView piece)>;
  // Takes the next piece; as Look.
  using Take = std::function<void(CompressedPiece&& piece)>;
  // Passes over `bytes`. Different looks may be at different pieces. Without `take` nothing is
  // compressed. Throws what any of them throws.
  void run(uint64_t bytes, const Read& read, std::span<const Look> looks, const Take& take);

  // The same for a segment, or a partial one: describes and hashes it. Throws kCorrupt when the
  // content is not that of `file`.
  WalSegmentInfo describe(uint64_t bytes, const Read& read, const pg::WalFileName& file,
                          const WalOrigin& origin, const Take& take);

 private:
  struct Worker {
    explicit Worker(codec::CompressionSetting compression) : compressor(compression) {}
    codec::Compressor compressor;
    RawBytes raw;
    RawBytes scratch;
  };
  std::vector<Worker> workers_;
};

}  // namespace holdfast::repo
