#include "repo/segment_compressor.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace holdfast::repo {
namespace {

// Pieces that are made before they are asked for: all of a usual segment, not all of a huge one.
constexpr size_t kAhead = 16;

}  // namespace

SegmentCompressor::SegmentCompressor(ByteView content, codec::CompressionSetting compression,
                                     int jobs)
    : content_(content),
      compression_(compression),
      piece_count_((content.size() + kSegmentPieceBytes - 1) / kSegmentPieceBytes) {
  HF_CHECK(jobs > 0);
  for (size_t job = 0; job < std::min(static_cast<size_t>(jobs), piece_count_); ++job)
    workers_.start([this](const std::stop_token& stop) { work(stop); });
}

void SegmentCompressor::work(const std::stop_token& stop) {
  codec::Compressor compressor(compression_);
  RawBytes scratch;
  for (;;) {
    size_t at = 0;
    {
      MutexLock lock(mutex_);
      changed_.wait(mutex_, stop, [this]() HF_REQUIRES(mutex_) {
        return begun_ == piece_count_ || begun_ < taken_ + kAhead;
      });
      if (stop.stop_requested() || begun_ == piece_count_) return;
      at = begun_++;
    }
    const ByteView rest = content_.subspan(at * kSegmentPieceBytes);
    ObjectWriter::Compressed piece = ObjectWriter::compress(
        rest.first(std::min(rest.size(), kSegmentPieceBytes)), compressor, scratch);
    {
      MutexLock lock(mutex_);
      made_.emplace(at, std::move(piece));
    }
    changed_.notify_all();
  }
}

std::optional<ObjectWriter::Compressed> SegmentCompressor::next() {
  std::optional<ObjectWriter::Compressed> piece;
  {
    MutexLock lock(mutex_);
    if (taken_ == piece_count_) return std::nullopt;
    changed_.wait(mutex_, workers_.stop_token(),
                  [this]() HF_REQUIRES(mutex_) { return made_.contains(taken_); });
    if (auto made = made_.extract(taken_)) {
      piece = std::move(made.mapped());
      ++taken_;
    }
  }
  if (!piece) {
    workers_.wait();  // throws: only an error stops the threads
    HF_CHECK(false);
  }
  changed_.notify_all();
  return piece;
}

}  // namespace holdfast::repo
