#include "repo/segment_pass.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <deque>
#include <stop_token>

#include "base/error.h"
#include "base/mutex.h"
#include "base/task_group.h"
#include "codec/digest.h"

namespace holdfast::repo {
namespace {

// Lets the pieces by in their order, one at a time.
class Gate {
 public:
  // Throws kInterrupted when that is stopped.
  void wait(uint64_t piece, const std::stop_token& stop) {
    MutexLock lock(mutex_);
    changed_.wait(mutex_, stop, [&]() HF_REQUIRES(mutex_) { return next_ == piece; });
    throw_if_stopped(stop);
  }
  void pass() {
    {
      MutexLock lock(mutex_);
      ++next_;
    }
    changed_.notify_all();
  }

 private:
  Mutex mutex_;
  ConditionVariable changed_;
  uint64_t next_ HF_GUARDED_BY(mutex_) = 0;
};

}  // namespace

SegmentPass::SegmentPass(codec::CompressionSetting compression, int jobs) {
  HF_CHECK(jobs > 0);
  for (int job = 0; job < jobs; ++job) workers_.emplace_back(compression);
}

void SegmentPass::run(uint64_t bytes, const Read& read, std::span<const Look> looks,
                      const Take& take) {
  const uint64_t piece_count = (bytes + kSegmentPieceBytes - 1) / kSegmentPieceBytes;
  std::atomic<uint64_t> begun = 0;
  std::deque<Gate> gates(looks.size() + 1);
  auto work = [&](Worker& worker, const std::stop_token& stop) {
    for (uint64_t at = begun++; at < piece_count; at = begun++) {
      const uint64_t offset = at * kSegmentPieceBytes;
      const auto size = static_cast<size_t>(std::min<uint64_t>(bytes - offset, kSegmentPieceBytes));
      if (worker.raw.size() < size) worker.raw = RawBytes(size);
      const std::span<std::byte> piece = worker.raw.span().first(size);
      read(piece, offset);
      for (size_t turn = 0; turn < looks.size(); ++turn) {
        gates[turn].wait(at, stop);
        looks[turn](piece);
        gates[turn].pass();
      }
      if (!take) continue;
      CompressedPiece compressed = ObjectWriter::compress(piece, worker.compressor, worker.scratch);
      gates.back().wait(at, stop);
      take(std::move(compressed));
      gates.back().pass();
    }
  };

  const size_t jobs = static_cast<size_t>(std::min<uint64_t>(workers_.size(), piece_count));
  if (jobs == 1) {
    work(workers_.front(), {});
    return;
  }
  TaskGroup threads;
  for (size_t job = 0; job < jobs; ++job)
    threads.start([&, job](const std::stop_token& stop) { work(workers_[job], stop); });
  threads.wait();
}

WalSegmentInfo SegmentPass::describe(uint64_t bytes, const Read& read, const pg::WalFileName& file,
                                     const WalOrigin& origin, const Take& take) {
  codec::Sha256 sha256;
  pg::WalSegmentScanner scanner(file.segment, bytes);
  const std::array<Look, 2> looks = {[&](ByteView piece) { scanner.take(piece); },
                                     [&](ByteView piece) { sha256.update(piece); }};
  run(bytes, read, looks, take);
  return describe_segment(scanner.finish(), sha256.finish(), bytes, file, origin);
}

}  // namespace holdfast::repo
